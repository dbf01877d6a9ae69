package ui

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/omniq-go/omniq"
)

// statusError is what a page is refused with.
type statusError struct {
	status int
	text   string
}

func (e *statusError) Error() string { return e.text }

// methodError says by which methods a path can be asked for.
type methodError struct{ methods []string }

func (e *methodError) Error() string { return "This page cannot be asked for in that way." }

// moved is where a page is.
type moved string

func (m moved) Error() string { return "moved to " + string(m) }

// statusOf is the HTTP status of an error.
func statusOf(err error) int {
	if s, ok := errors.AsType[*statusError](err); ok {
		return s.status
	}
	if _, ok := errors.AsType[*methodError](err); ok {
		return http.StatusMethodNotAllowed
	}
	switch {
	case errors.Is(err, omniq.ErrNotFound):
		return http.StatusNotFound
	case errors.Is(err, omniq.ErrState), errors.Is(err, omniq.ErrDuplicate):
		return http.StatusConflict
	case errors.Is(err, omniq.ErrInvalid):
		return http.StatusBadRequest
	case errors.Is(err, context.DeadlineExceeded):
		return http.StatusGatewayTimeout
	}
	return http.StatusServiceUnavailable
}

// explained is what somebody is told of an error.
func explained(err error) string {
	text := withoutSecrets(strings.ReplaceAll(err.Error(), "omniq: ", ""))
	switch statusOf(err) {
	case http.StatusGatewayTimeout:
		return fmt.Sprintf("The engine has not answered within %v. Whether the call was done is unknown.", patience)
	case http.StatusServiceUnavailable:
		if _, own := errors.AsType[*statusError](err); !own {
			return "The engine does not answer: " + text
		}
	}
	return text
}

// said is what somebody is told of an error. What is the engine's own is logged as well.
func (h *Handler) said(c *call, err error) string {
	text := explained(err)
	if statusOf(err) >= http.StatusInternalServerError && !errors.Is(err, context.Canceled) {
		h.log.Error("ui: the engine has failed", "path", c.r.URL.Path, logged(err))
	}
	return text
}
