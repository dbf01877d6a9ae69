package main

import (
	"errors"
	"fmt"

	"github.com/omniq-go/omniq"
)

// The exit statuses.
const (
	exitDone    = 0
	exitFailed  = 1
	exitUsage   = 2
	exitNot     = 3 // there is no such task, or the check does not hold
	exitRefused = 4 // by the state of a task
)

// failure is an error with its exit status. Without an error all is said.
type failure struct {
	status int
	err    error
}

func (f *failure) Error() string {
	if f.err == nil {
		return ""
	}
	return f.err.Error()
}

func (f *failure) Unwrap() error { return f.err }

// wrongUsage is about what was typed.
func wrongUsage(format string, args ...any) error {
	return &failure{exitUsage, fmt.Errorf(format, args...)}
}

// failed gives an error its status by what it is about, unless it has one.
func failed(err error) error {
	if _, ours := errors.AsType[*failure](err); err == nil || ours {
		return err
	}
	return &failure{statusOf(err), err}
}

// statusOf is what the errors of package omniq mean here.
func statusOf(err error) int {
	switch {
	case errors.Is(err, omniq.ErrInvalid):
		return exitUsage
	case errors.Is(err, omniq.ErrState), errors.Is(err, omniq.ErrDuplicate):
		return exitRefused
	case errors.Is(err, omniq.ErrNotFound):
		return exitNot
	}
	return exitFailed
}

// exitOf is the exit status of what run has returned.
func exitOf(err error) int {
	if f, ours := errors.AsType[*failure](err); ours {
		return f.status
	}
	return exitDone
}
