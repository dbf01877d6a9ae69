// Package engine is what several backends have in common.
package engine

import (
	"context"
	"fmt"
	"strconv"

	"github.com/omniq-go/omniq"
)

// Report puts an error into the i-th of n places. It returns the places, which are made for the first one.
func Report(errs []error, n, i int, err error) []error {
	if errs == nil {
		errs = make([]error, n)
	}
	errs[i] = err
	return errs
}

// ContextError is the error of a call of a backend whose context has ended, with its cause.
func ContextError(ctx context.Context, backend string) error {
	if cause := context.Cause(ctx); cause != ctx.Err() {
		return fmt.Errorf("%s: %w: %w", backend, ctx.Err(), cause)
	}
	return fmt.Errorf("%s: %w", backend, ctx.Err())
}

// Count adds n tasks or results of a status to the statistics of their queue. Pending tasks are ready; those that are not
// yet due are the caller's to count.
func Count(s *omniq.QueueStats, status omniq.Status, n int) {
	switch status {
	case omniq.StatusWaiting:
		s.Waiting += n
	case omniq.StatusPending:
		s.Ready += n
	case omniq.StatusRunning:
		s.Running += n
	case omniq.StatusSuccess:
		s.Succeeded += n
	case omniq.StatusFailure:
		s.Failed += n
	case omniq.StatusCancelled:
		s.Cancelled += n
	case omniq.StatusExpired:
		s.Expired += n
	}
}

// CountMember adds n members of a status to the figures of their flow.
func CountMember(s *omniq.FlowStats, status omniq.Status, n int) {
	var q omniq.QueueStats
	Count(&q, status, n)
	s.Waiting, s.Pending, s.Running = s.Waiting+q.Waiting, s.Pending+q.Ready, s.Running+q.Running
	s.Succeeded, s.Failed = s.Succeeded+q.Succeeded, s.Failed+q.Failed
	s.Cancelled, s.Expired = s.Cancelled+q.Cancelled, s.Expired+q.Expired
}

// Most is how many tasks there may be in the answer to a request when its i-th queue has been looked at, of which there are n
// before.
func Most(r *omniq.LeaseRequest, i, n int) int {
	if r.Limits == nil {
		return r.Max
	}
	return min(r.Max, n+r.Limits[i])
}

// Starts reports whether the i-th task of the answer to a request starts with its lease. It was lost so many times before.
func Starts(r *omniq.LeaseRequest, i, lost int) bool {
	return i < r.Max-r.Ahead || r.Soon && lost == 0
}

// EventOf is the event of a task that becomes final with a status.
var EventOf = map[omniq.Status]omniq.EventType{
	omniq.StatusSuccess:   omniq.EventCompleted,
	omniq.StatusFailure:   omniq.EventFailed,
	omniq.StatusCancelled: omniq.EventCancelled,
	omniq.StatusExpired:   omniq.EventExpired,
}

// Cursor is the cursor after the n-th event.
func Cursor(n int64) omniq.Cursor { return omniq.Cursor(strconv.FormatInt(n, 10)) }

// After is the number of the event that a cursor of [Cursor], or one of those with names, comes after. The numbers of the
// last event, and of the last of those that are gone, are known. It fails with [omniq.ErrEventsGone], and with
// [omniq.ErrInvalid] for what is no cursor.
func After(cursor omniq.Cursor, last, gone int64) (int64, error) {
	switch cursor {
	case omniq.CursorLatest:
		return last, nil
	case omniq.CursorOldest:
		return gone, nil
	}
	n, err := strconv.ParseInt(string(cursor), 10, 64)
	switch {
	case err != nil || n < 0 || n > last:
		return 0, fmt.Errorf("%w: %.40q is no cursor of these events", omniq.ErrInvalid, cursor)
	case n < gone:
		return 0, omniq.ErrEventsGone
	}
	return n, nil
}

// Updated is the envelope of a task with the payload of an update. It is not for a task of another name, which is
// [omniq.ErrState]. The error is about this task alone.
func Updated(envelope []byte, u *omniq.Update) ([]byte, error) {
	var t omniq.RawTask
	if err := t.UnmarshalJSON(envelope); err != nil {
		return nil, fmt.Errorf("%w: it cannot be read: %w", omniq.ErrState, err)
	}
	if t.FuncName != u.FuncName {
		return nil, fmt.Errorf("%w: it is named %q, want %q", omniq.ErrState, t.FuncName, u.FuncName)
	}
	if err := CheckWas(&t, u); err != nil {
		return nil, err
	}
	t.Args, t.Kwargs, t.Codec = u.Args, u.Kwargs, u.Codec
	updated, err := t.AppendJSON(make([]byte, 0, len(envelope)+len(u.Args)+len(u.Kwargs)))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", omniq.ErrInvalid, err)
	}
	return updated, nil
}
