package omniq

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"
)

// outcome is how the attempt ends after its handler has returned.
func (w *Worker) outcome(ctx context.Context, a *attempt, timeout time.Duration, result RawResult, err error) (s Settlement) {
	defer func() { // the methods of the handler's error may panic, too, and the Backoff
		if v := recover(); v != nil {
			s = w.retry(a, DefaultRetryDelay, panicError(v))
		}
	}()
	w.mu.Lock()
	if !a.settling && !a.over {
		a.took = time.Since(a.began)
	}
	lost, inTx := a.lost != nil, a.inTx
	w.mu.Unlock()
	outbox := w.shut(a)
	if inTx {
		if w.committed(ctx, a) {
			return Settlement{Action: ActionRelease} // which is dropped
		}
		if err == nil {
			err = errNotCommitted
		}
	}
	if err == nil {
		r := finalResult(a.lease.Task, StatusSuccess, time.Now(), a.lease.Attempt)
		r.ResultData, r.Codec = result.ResultData, result.Codec
		return Settlement{Action: ActionFinish, Result: r, KeepTask: a.lease.Task.KeepTask, Effects: outbox.effects()}
	}
	if wait, ok := errors.AsType[*waitError](err); ok {
		if s, err = w.pass(a, outbox, wait); err == nil {
			return s
		}
	}
	if ended, ok := errors.AsType[*endedError](err); ok {
		r := finalResult(a.lease.Task, ended.result.Status, time.Now(), a.lease.Attempt)
		r.Error = ended.result.Error
		return Settlement{Action: ActionFinish, Result: r}
	}
	if snoozed, ok := errors.AsType[*snoozeError](err); ok {
		if snoozed.lane && w.backend.Capabilities().Limits {
			return Settlement{Action: ActionRelease, Hold: snoozed.delay}
		}
		return Settlement{Action: ActionRelease, Delay: snoozed.delay}
	}
	if name, ok := w.unknownCodec(a.lease.Task, err); ok {
		return w.shun(a, "codec", name)
	}
	cause := context.Cause(ctx)
	if errors.Is(cause, ErrShutdown) {
		return Settlement{Action: ActionRelease}
	}
	if lost { // whatever it is, it is dropped; nothing is to say that it will be tried again
		return Settlement{Action: ActionRelease, Error: NewTaskError(err)}
	}
	e := NewTaskError(err)
	if errors.Is(cause, ErrTimeout) && e.Type != typePanic {
		e = &TaskError{
			Type: typeTimeout, Message: fmt.Sprintf("no result within %v: %s", timeout, e.Message), Retryable: e.Retryable,
		}
	}
	n := a.failures()
	var delay time.Duration
	switch after, ok := errors.AsType[*retryAfterError](err); {
	case !e.Retryable || n >= w.limit(a):
	case ok:
		delay = after.delay
	default:
		if delay = w.backoff(Failure{w.infoOf(a), n, err}); delay < 0 {
			return failure(a, a.lease.Attempt, e)
		}
		delay = max(spread(delay, w.jitter), 0)
	}
	return w.retry(a, delay, e)
}

// failures is how often the task has failed when the attempt has.
func (a *attempt) failures() int { return a.lease.Attempt - a.lease.Lost }

// retry is how an attempt ends that failed, for good if it must.
func (w *Worker) retry(a *attempt, delay time.Duration, e *TaskError) Settlement {
	if !e.Retryable || a.failures() >= w.limit(a) {
		return failure(a, a.lease.Attempt, e)
	}
	return Settlement{Action: ActionRetry, Delay: delay, Error: e}
}

// failure is how a task ends for good after so many attempts.
func failure(a *attempt, attempts int, e *TaskError) Settlement {
	r := finalResult(a.lease.Task, StatusFailure, time.Now(), attempts)
	r.Error = e
	return Settlement{Action: ActionFinish, Result: r}
}

var errNotCommitted = &TaskError{
	Type:      typeNotCommitted,
	Message:   "the handler returned without an error, and did not commit the transaction in which CompleteTx has recorded its result",
	Retryable: true,
}

func panicError(v any) *TaskError {
	return &TaskError{Type: typePanic, Message: validText(fmt.Sprint("panic: ", v)), Stack: stack(), Retryable: true}
}

// stack is that of the goroutine. In a deferred function it shows what panicked, or ended the goroutine.
func stack() string { return validText(string(debug.Stack())) }
