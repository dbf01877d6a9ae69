package omniq

import (
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/google/uuid"
)

// Errors to branch on with [errors.Is].
var (
	// ErrInvalid is in every error about an invalid value of a task, a result, an event or an option. The message says
	// which value it is, and what would be right. Trying again does not help.
	ErrInvalid = errors.New("omniq: invalid")

	// ErrDuplicate is in the error of an enqueue whose task's ID or unique key was taken. The task that had it first
	// is untouched. [DuplicateError] says which.
	ErrDuplicate = errors.New("omniq: duplicate task")

	// ErrState says that a task's state does not allow what was asked: to cancel one that has ended, to enqueue one
	// again that has not failed, to forget one that has not ended, to run one now that is not pending.
	ErrState = errors.New("omniq: not possible in the task's state")

	// ErrNotFound says that no task has this ID: it was never enqueued, or its result's TTL is over.
	ErrNotFound = errors.New("omniq: no such task")

	// ErrLeaseLost says that a lease ran out or went to another worker, and the task cannot be settled with it. It
	// is also the cause of the end of a handler's context when that happens while it runs.
	ErrLeaseLost = errors.New("omniq: lease lost")

	// ErrUncertain says that the answer to a call was lost: the connection broke, and whether the work was done is
	// unknown. To enqueue the same tasks again is safe because of their IDs; a [Client] does so by itself. A settlement
	// that is repeated may find its lease lost.
	ErrUncertain = errors.New("omniq: outcome unknown")

	// ErrNoEvents says that the backend keeps no events, because it was not told to when it was opened; from Events, that
	// nobody else has kept one in its store either.
	ErrNoEvents = errors.New("omniq: the backend keeps no events")

	// ErrEventsGone says that events after a cursor were removed because their time was over: the reader was too slow.
	// It can go on from [CursorOldest].
	ErrEventsGone = errors.New("omniq: events after the cursor are gone")

	// ErrClosed is returned by each method of a backend after Close.
	ErrClosed = errors.New("omniq: backend closed")

	// ErrTimeout is in the [TaskError] of an attempt that ended because of the task's timeout, and the cause of the
	// end of its context.
	ErrTimeout = errors.New("omniq: task timed out")

	// ErrShutdown is the cause of the end of a handler's context when the worker stops before it has returned. The
	// task is given back without an attempt used.
	ErrShutdown = errors.New("omniq: worker shut down")

	// ErrCancelled is in the [TaskError] of a task that was cancelled.
	ErrCancelled = errors.New("omniq: task cancelled")

	// ErrExpired is in the [TaskError] of a task whose TTL passed before it could start.
	ErrExpired = errors.New("omniq: task expired")

	// ErrDependency is in the [TaskError] of a task that could never start, because a task that it needs has ended without
	// success.
	ErrDependency = errors.New("omniq: a task that it needs did not succeed")

	// ErrUnknownTask is in the [TaskError] of a task whose name or codec no worker of its queue has known for
	// [MaxUnknown].
	ErrUnknownTask = errors.New("omniq: no handler of this name")
)

// Duplicate says which task stands in the way of another. Backends report it; errors.Is finds [ErrDuplicate] in it.
type Duplicate struct {
	ID     uuid.UUID // of the task that was not stored
	Holder uuid.UUID // of the task that was there: the same ID, or that of the task that holds the unique key

	// Replaced says that the holder, which was pending, is what the other one was to be: all is done that the enqueue was
	// to do, under the holder's ID. It is so only for a task whose OnHeld says so.
	Replaced bool
}

func (d Duplicate) Error() string {
	if d.ID == d.Holder {
		return fmt.Sprintf("%v: the ID %v is taken", ErrDuplicate, d.ID)
	}
	if d.Replaced {
		return fmt.Sprintf("%v: task %v has taken the place of task %v", ErrDuplicate, d.ID, d.Holder)
	}
	return fmt.Sprintf("%v: task %v holds the unique key of task %v", ErrDuplicate, d.Holder, d.ID)
}

// Unwrap returns [ErrDuplicate].
func (d Duplicate) Unwrap() error { return ErrDuplicate }

// DuplicateError says which tasks of an enqueue were not stored because there were others. Those that were Replaced are not
// among them. errors.Is finds
// [ErrDuplicate] in it.
type DuplicateError struct {
	Duplicates []Duplicate // in the order of the call, at least one
}

func (e *DuplicateError) Error() string {
	if len(e.Duplicates) == 1 {
		return e.Duplicates[0].Error()
	}
	return fmt.Sprintf("%v, and %d more", e.Duplicates[0], len(e.Duplicates)-1)
}

// Unwrap returns [ErrDuplicate].
func (e *DuplicateError) Unwrap() error { return ErrDuplicate }

// Types of the errors that the runtime itself records in a [TaskError].
const (
	typeCancelled = "omniq.Cancelled"
	typeExpired   = "omniq.Expired"
	typeTimeout   = "omniq.Timeout"
	typeUnknown   = "omniq.UnknownTask"
	typeLeaseLost = "omniq.LeaseLost"
	typePanic     = "omniq.Panic"
	typeDecode    = "omniq.Decode"
	typeSchedule  = "omniq.Schedule"
	typeEncode    = "omniq.Encode"
	typeBatch     = "omniq.Batch"
	typeRefused   = "omniq.Refused"

	typeNotCommitted = "omniq.NotCommitted"
	typeDependency   = "omniq.Dependency"
	typeInput        = "omniq.Input"
)

var sentinels = map[string]error{
	typeCancelled:  ErrCancelled,
	typeExpired:    ErrExpired,
	typeTimeout:    ErrTimeout,
	typeUnknown:    ErrUnknownTask,
	typeLeaseLost:  ErrLeaseLost,
	typeDependency: ErrDependency,
}

// TaskError is why a task or an attempt failed, in the form that crosses the wire. It is what Wait returns for a
// task that ended without success.
type TaskError struct {
	// Type names the kind of error: what an ErrorType method in the handler's error says, else the Go type of the
	// first error in the chain that is not one of packages errors and fmt, else "error". Errors of the runtime have
	// types that begin with "omniq.".
	Type string `json:"type"`

	// Message is the error's text.
	Message string `json:"message"`

	// Stack is the stack of a handler that panicked, empty otherwise.
	Stack string `json:"stack,omitempty"`

	// Retryable tells that another attempt could have helped: the error was not permanent.
	Retryable bool `json:"retryable"`
}

// Error returns the type and the message.
func (e *TaskError) Error() string {
	if e.Type == "" || e.Type == "error" {
		return e.Message
	}
	return e.Type + ": " + e.Message
}

// Is makes errors.Is find the sentinel of an error that the runtime recorded: [ErrCancelled], [ErrExpired],
// [ErrTimeout], [ErrUnknownTask], [ErrLeaseLost] or [ErrDependency].
func (e *TaskError) Is(target error) bool {
	sentinel, ok := sentinels[e.Type]
	return ok && sentinel == target
}

// NewTaskError returns the form of err that crosses the wire. A [TaskError] in err's chain is kept; nil gives nil. Of a
// text that is longer than 64 KiB the rest is cut off, with "... (N bytes cut)" in its place; what is not UTF-8 is replaced.
func NewTaskError(err error) *TaskError {
	if err == nil {
		return nil
	}
	var permanent *permanentError
	retryable := !errors.As(err, &permanent)
	var known *TaskError
	if errors.As(err, &known) {
		return &TaskError{
			Type: validText(known.Type), Message: validText(known.Message), Stack: validText(known.Stack),
			Retryable: known.Retryable && retryable,
		}
	}
	return &TaskError{Type: errorType(err), Message: validText(err.Error()), Retryable: retryable}
}

// errorType finds the name of an error's kind, see [TaskError].
func errorType(err error) string {
	var named interface{ ErrorType() string }
	if errors.As(err, &named) {
		return validText(named.ErrorType())
	}
	for err != nil {
		t := reflect.TypeOf(err)
		elem := t
		if t.Kind() == reflect.Pointer {
			elem = t.Elem()
		}
		if p := elem.PkgPath(); p != "errors" && p != "fmt" && elem != reflect.TypeFor[permanentError]() && elem != reflect.TypeFor[retryAfterError]() {
			return t.String()
		}
		switch e := err.(type) {
		case interface{ Unwrap() error }:
			err = e.Unwrap()
		case interface{ Unwrap() []error }:
			err = nil
			if errs := e.Unwrap(); len(errs) > 0 {
				err = errs[0]
			}
		default:
			err = nil
		}
	}
	return "error"
}

// Permanent marks err, which a handler returns, as one that another attempt cannot mend. The task fails at once.
// Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }
func (e *permanentError) Unwrap() error { return e.err }

// RetryAfter makes err, which a handler returns, a failure whose retry comes after delay instead of the worker's
// backoff. A delay that is not positive means at once. RetryAfter(d, nil) is nil. It uses an attempt.
func RetryAfter(delay time.Duration, err error) error {
	if err == nil {
		return nil
	}
	return &retryAfterError{max(delay, 0), err}
}

type retryAfterError struct {
	delay time.Duration
	err   error
}

func (e *retryAfterError) Error() string { return e.err.Error() }
func (e *retryAfterError) Unwrap() error { return e.err }

// Snooze is returned by a handler that wants to be run again after delay without an attempt used: what it needs is
// not there yet. A delay below 100 ms means 100 ms, so that a task that snoozes again and again does not keep a processor
// busy. The task's TTL goes on.
func Snooze(delay time.Duration) error {
	return &snoozeError{delay: max(delay, minSnooze)}
}

const minSnooze = 100 * time.Millisecond

type snoozeError struct {
	delay time.Duration
	lane  bool // it is Throttled
}

// Snoozed reports whether err, which a handler has returned, is a [Snooze] or a [Throttled], and for how long. It is for middleware and for
// tests of handlers.
func Snoozed(err error) (delay time.Duration, ok bool) {
	s, ok := errors.AsType[*snoozeError](err)
	if !ok {
		return 0, false
	}
	return s.delay, true
}

func (e *snoozeError) Error() string {
	if e.lane {
		return "throttled for " + e.delay.String()
	}
	return "snoozed for " + e.delay.String()
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...)
}
