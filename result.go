package omniq

import (
	"time"

	"github.com/google/uuid"
)

// TaskResult is what became of a task.
//
// The JSON form has the keys of the first five fields, always, and those of the others where they are set.
// ResultData is null there when it is the zero value and Status is not [StatusSuccess].
type TaskResult[R any] struct {
	TaskID     uuid.UUID
	Status     Status
	ResultData R              // what the handler returned
	Timestamp  time.Time      // when the task got this status; in UTC and microseconds
	TTL        *time.Duration // how long after Timestamp it can be read; nil for ever

	Error    *TaskError // why a task that is final did not succeed, nil otherwise
	Attempts int        // how often the task was started

	// Codec names the codec of the payload of a [RawResult] when that is not JSON, as for [Task].
	Codec string
}

type resultConfig struct {
	ttl      *time.Duration
	attempts int
}

type resultOption func(*resultConfig) error

func (o resultOption) applyResult(c *resultConfig) error { return o(c) }

// Attempts records how often the task was started.
func Attempts(n int) ResultOption {
	return resultOption(func(c *resultConfig) error {
		if n < 0 {
			return invalid("Attempts is %d, want at least 0", n)
		}
		c.attempts = n
		return nil
	})
}

// NewSuccess returns the result of a task that succeeded just now. It fails with [ErrInvalid] if the ID is all zeros or
// an option has an invalid value.
func NewSuccess[R any](taskID uuid.UUID, data R, opts ...ResultOption) (TaskResult[R], error) {
	return newResult(TaskResult[R]{TaskID: taskID, Status: StatusSuccess, ResultData: data}, opts)
}

// NewFailure returns the result of a task that failed just now because of err, which must not be nil and becomes a
// [TaskError]. It fails as [NewSuccess] does.
func NewFailure[R any](taskID uuid.UUID, err error, opts ...ResultOption) (TaskResult[R], error) {
	if err == nil {
		return TaskResult[R]{}, invalid("a failure without an error")
	}
	return newResult(TaskResult[R]{TaskID: taskID, Status: StatusFailure, Error: NewTaskError(err)}, opts)
}

func newResult[R any](r TaskResult[R], opts []ResultOption) (TaskResult[R], error) {
	if r.TaskID == uuid.Nil {
		return TaskResult[R]{}, invalid("a result without a task ID")
	}
	var c resultConfig
	for _, o := range opts {
		if err := o.applyResult(&c); err != nil {
			return TaskResult[R]{}, err
		}
	}
	r.Timestamp, r.TTL, r.Attempts = now(), c.ttl, c.attempts
	return r, nil
}

// Err is nil for a success and for a task that is not final, and otherwise the [TaskError] that says what happened.
func (r *TaskResult[R]) Err() error {
	if r.Status == StatusSuccess || !r.Status.Final() {
		return nil
	}
	if r.Error != nil {
		return r.Error
	}
	switch r.Status {
	case StatusCancelled:
		return &TaskError{Type: typeCancelled, Message: "the task was cancelled"}
	case StatusExpired:
		return &TaskError{Type: typeExpired, Message: "the task's TTL passed before it could start"}
	default:
		return &TaskError{Message: "the task failed without saying why"}
	}
}

// ExpiredResult is the result of a task whose TTL passed at the given time or before. Backends record it.
func ExpiredResult(t *RawTask, at time.Time, attempts int) *RawResult {
	r := finalResult(t, StatusExpired, at, attempts)
	r.Error = &TaskError{Type: typeExpired, Message: "the task's TTL of " + t.TTL.String() + " passed before it could start"}
	return r
}

// CancelledResult is the result of a task that was cancelled at the given time. Backends record it.
func CancelledResult(t *RawTask, at time.Time, attempts int) *RawResult {
	r := finalResult(t, StatusCancelled, at, attempts)
	r.Error = &TaskError{Type: typeCancelled, Message: "the task was cancelled"}
	return r
}

// finalResult has what each result of t has.
func finalResult(t *RawTask, s Status, at time.Time, attempts int) *RawResult {
	ttl := t.ResultTTL
	if ttl == nil {
		ttl = &defaultResultTTL
	}
	if s == StatusFailure || s == StatusExpired {
		switch {
		case t.FailureTTL != nil:
			ttl = t.FailureTTL
		case *ttl < DefaultFailureTTL:
			ttl = &defaultFailureTTL
		}
	}
	return &RawResult{TaskID: t.ID, Status: s, Timestamp: at.UTC().Truncate(time.Microsecond), TTL: ttl, Attempts: attempts}
}

var (
	defaultResultTTL  = DefaultResultTTL
	defaultFailureTTL = DefaultFailureTTL
)
