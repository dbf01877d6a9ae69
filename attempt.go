package omniq

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"
)

// attempt is one lease in a worker's hands, from its start until it is settled or lost.
type attempt struct {
	lease    Lease
	giveBack bool // do not run it: the worker is stopping

	// The worker's mu guards these.
	cancel   context.CancelCauseFunc // ends the handler's context, nil before it has one
	expires  time.Time               // by this process's clock
	lost     error                   // ErrLeaseLost or ErrCancelled: the task is not this worker's any more
	settling bool                    // the settler has it
	index    int                     // in held

	info       infoContext // the handler's context
	settlement Settlement  // the settler's
}

// serve runs attempts one after another: it is one of the worker's places. Goroutines that last keep the stacks that
// handlers have grown.
func (w *Worker) serve(ctx context.Context, attempts <-chan *attempt, s *settler, places *sync.WaitGroup) {
	done := false
	defer func() {
		if !done { // a handler has ended the goroutine
			places.Go(func() { w.serve(ctx, attempts, s, places) })
		}
	}()
	for a := range attempts {
		w.attend(ctx, a, s)
	}
	done = true
}

// attend runs one attempt and passes its outcome on, even if the handler ends the goroutine.
func (w *Worker) attend(ctx context.Context, a *attempt, s *settler) {
	settlement := Settlement{Action: ActionRelease}
	defer func() {
		s.settle(a, settlement)
		w.unreserve(1)
	}()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w.mu.Lock()
	a.cancel = cancel
	skip := a.giveBack || a.lost != nil || a.settling || w.stopping
	if w.ending {
		cancel(ErrShutdown)
	}
	w.mu.Unlock()
	if !skip {
		w.run(ctx, a, &settlement)
	}
}

// run decides how the attempt ends, and says so in s. It fills s in even if the handler ends its goroutine.
func (w *Worker) run(ctx context.Context, a *attempt, s *Settlement) {
	t := a.lease.Task
	limit := t.MaxAttempts
	if limit == 0 {
		limit = w.maxAttempts
	}
	if a.lease.Attempt > limit {
		*s = w.fail(a, limit, limit, &TaskError{
			Type:      typeLeaseLost,
			Message:   fmt.Sprintf("attempt %d of %d did not end: its worker died or lost the lease", a.lease.Attempt-1, limit),
			Retryable: true,
		})
		return
	}
	timeout := t.Timeout
	if timeout == 0 {
		timeout = w.timeout
	}
	if timeout > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeoutCause(ctx, timeout, ErrTimeout)
		defer stop()
	}
	queue := t.Queue
	if queue == "" {
		queue = DefaultQueue
	}
	a.info = infoContext{ctx, Info{
		ID: t.ID, FuncName: t.FuncName, Queue: queue, Attempt: a.lease.Attempt, MaxAttempts: limit,
		CreatedAt: t.CreatedAt, Metadata: t.Metadata, WorkerID: w.id,
	}}
	ctx = &a.info
	var result RawResult
	var err error
	returned := false
	defer func() {
		if !returned {
			err = &TaskError{Type: typePanic, Message: "the handler ended its goroutine", Stack: stack(), Retryable: true}
		}
		*s = w.outcome(ctx, a, limit, timeout, result, err)
	}()
	result, err = w.call(ctx, t)
	returned = true
}

// call runs the handler and turns a panic into an error.
func (w *Worker) call(ctx context.Context, t *RawTask) (result RawResult, err error) {
	handler, ok := w.handlers[t.FuncName]
	if !ok {
		return RawResult{}, &TaskError{
			Type:      typeUnknown,
			Message:   fmt.Sprintf("worker %s has no handler named %q", w.id, t.FuncName),
			Retryable: true,
		}
	}
	defer func() {
		if v := recover(); v != nil {
			err = panicError(v)
		}
	}()
	return handler(ctx, t)
}

func panicError(v any) *TaskError {
	return &TaskError{Type: typePanic, Message: validText(fmt.Sprint("panic: ", v)), Stack: stack(), Retryable: true}
}

// stack is that of the goroutine. In a deferred function it shows what panicked, or ended the goroutine.
func stack() string { return validText(string(debug.Stack())) }

// outcome is how the attempt ends after its handler has returned.
func (w *Worker) outcome(ctx context.Context, a *attempt, limit int, timeout time.Duration, result RawResult, err error) (s Settlement) {
	t, n := a.lease.Task, a.lease.Attempt
	defer func() { // the methods of the handler's error may panic, too, and the Backoff
		if v := recover(); v != nil {
			s = w.retry(a, limit, DefaultRetryDelay, panicError(v))
		}
	}()
	if err == nil {
		r := finalResult(t, StatusSuccess, time.Now(), n)
		r.ResultData, r.Codec = result.ResultData, result.Codec
		return Settlement{Action: ActionFinish, Result: r}
	}
	var snooze *snoozeError
	if errors.As(err, &snooze) {
		return Settlement{Action: ActionRelease, Delay: snooze.delay}
	}
	cause := context.Cause(ctx)
	if errors.Is(cause, ErrShutdown) {
		return Settlement{Action: ActionRelease}
	}
	e := NewTaskError(err)
	if errors.Is(cause, ErrTimeout) && e.Type != typePanic {
		e = &TaskError{
			Type: typeTimeout, Message: fmt.Sprintf("no result within %v: %s", timeout, e.Message), Retryable: e.Retryable,
		}
	}
	var after *retryAfterError
	var delay time.Duration
	switch {
	case !e.Retryable || n >= limit:
	case errors.As(err, &after):
		delay = after.delay
	default:
		delay = max(spread(w.backoff(n), w.jitter), 0)
	}
	return w.retry(a, limit, delay, e)
}

// retry is how an attempt ends that failed, for good if it must.
func (w *Worker) retry(a *attempt, limit int, delay time.Duration, e *TaskError) Settlement {
	if !e.Retryable || a.lease.Attempt >= limit {
		return w.fail(a, a.lease.Attempt, limit, e)
	}
	w.log.Warn("attempt failed", a.attrs("of", limit, "retry_in", delay, "error", e)...)
	return Settlement{Action: ActionRetry, Delay: delay, Error: e}
}

func (w *Worker) fail(a *attempt, attempts, limit int, e *TaskError) Settlement {
	w.log.Error("task failed", a.attrs("of", limit, "error", e)...)
	r := finalResult(a.lease.Task, StatusFailure, time.Now(), attempts)
	r.Error = e
	return Settlement{Action: ActionFinish, Result: r}
}

func (a *attempt) attrs(more ...any) []any {
	return append([]any{"task", a.lease.Task.ID, "func", a.lease.Task.FuncName, "attempt", a.lease.Attempt}, more...)
}
