package omniq

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"
)

// attempt is one lease in a worker's hands, from its start until it is settled or lost.
type attempt struct {
	worker  *Worker
	lease   *Lease
	cancel  context.CancelCauseFunc
	expires time.Time // by this process's clock; guarded by the worker's mu
	lost    bool      // guarded by the worker's mu
}

// start begins an attempt in a goroutine of its own, in a place that was reserved. When the worker is stopping the
// lease is given back instead.
func (w *Worker) start(ctx context.Context, l *Lease, received time.Time, stopping bool) {
	ctx, cancel := context.WithCancelCause(ctx)
	a := &attempt{worker: w, lease: l, cancel: cancel, expires: received.Add(w.lease)}
	w.mu.Lock()
	w.held[a] = struct{}{}
	w.mu.Unlock()
	w.done.Add(1)
	go func() {
		defer w.done.Done()
		defer cancel(nil)
		if stopping {
			w.unreserve(1)
			w.finish(a, Settlement{Action: ActionRelease})
			return
		}
		s := Settlement{}
		defer func() {
			w.unreserve(1)
			w.finish(a, s)
		}()
		a.run(ctx, &s)
	}()
}

// run decides how the attempt ends, and says so in s. It fills s in even if the handler ends its goroutine.
func (a *attempt) run(ctx context.Context, s *Settlement) {
	w, t := a.worker, &a.lease.Task
	if deadline, ok := t.Deadline(); ok && !time.Now().Before(deadline) {
		*s = Settlement{Action: ActionFinish, Result: ExpiredResult(t, time.Now(), a.lease.Attempt-1)}
		w.log.Warn("task expired", a.attrs()...)
		return
	}
	limit := t.MaxAttempts
	if limit == 0 {
		limit = w.maxAttempts
	}
	if a.lease.Attempt > limit {
		*s = a.fail(limit, limit, &TaskError{
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
	ctx = &infoContext{ctx, Info{
		ID: t.ID, FuncName: t.FuncName, Queue: queue, Attempt: a.lease.Attempt, MaxAttempts: limit,
		CreatedAt: t.CreatedAt, Metadata: t.Metadata, WorkerID: w.id,
	}}
	var result RawResult
	var err error = &TaskError{Type: typePanic, Message: "the handler ended its goroutine", Retryable: true}
	defer func() { *s = a.outcome(ctx, limit, timeout, result, err) }()
	result, err = a.call(ctx, t)
}

// call runs the handler and turns a panic into an error.
func (a *attempt) call(ctx context.Context, t *RawTask) (result RawResult, err error) {
	handler, ok := a.worker.handlers[t.FuncName]
	if !ok {
		return RawResult{}, &TaskError{
			Type:      typeUnknown,
			Message:   fmt.Sprintf("worker %s has no handler named %q", a.worker.id, t.FuncName),
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

func panicError(v any) error {
	return &TaskError{
		Type: typePanic, Message: validText(fmt.Sprint("panic: ", v)), Stack: validText(string(debug.Stack())), Retryable: true,
	}
}

// outcome is how the attempt ends after its handler has returned.
func (a *attempt) outcome(ctx context.Context, limit int, timeout time.Duration, result RawResult, err error) Settlement {
	w, t, n := a.worker, &a.lease.Task, a.lease.Attempt
	if err == nil {
		r := finalResult(t, StatusSuccess, time.Now(), n)
		r.ResultData, r.Codec = result.ResultData, result.Codec
		return Settlement{Action: ActionFinish, Result: r}
	}
	var snooze *snoozeError
	if errors.As(err, &snooze) {
		return Settlement{Action: ActionRelease, At: time.Now().Add(snooze.delay)}
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
	if !e.Retryable || n >= limit {
		return a.fail(n, limit, e)
	}
	var after *retryAfterError
	var delay time.Duration
	if errors.As(err, &after) {
		delay = after.delay
	} else {
		delay = spread(w.backoff(n), w.jitter)
	}
	w.log.Warn("attempt failed", a.attrs("of", limit, "retry_in", delay, "error", e)...)
	return Settlement{Action: ActionRetry, At: time.Now().Add(max(delay, 0)), Error: e}
}

func (a *attempt) fail(attempts, limit int, e *TaskError) Settlement {
	a.worker.log.Error("task failed", a.attrs("of", limit, "error", e)...)
	r := finalResult(&a.lease.Task, StatusFailure, time.Now(), attempts)
	r.Error = e
	return Settlement{Action: ActionFinish, Result: r}
}

func (a *attempt) attrs(more ...any) []any {
	return append([]any{"task", a.lease.Task.ID, "func", a.lease.Task.FuncName, "attempt", a.lease.Attempt}, more...)
}

// finish settles the attempt, unless that has been done or the lease is lost. While the backend is in trouble it tries
// again until the lease has run out.
func (w *Worker) finish(a *attempt, s Settlement) {
	s.LeaseID = a.lease.LeaseID
	pause := 20 * time.Millisecond
	for {
		w.mu.Lock()
		_, held := w.held[a]
		lost, expires, ctx := a.lost, a.expires, w.settleCtx
		w.mu.Unlock()
		if !held {
			if lost {
				w.log.Warn("lease lost: the attempt's outcome is dropped", a.attrs()...)
			}
			return
		}
		errs, err := w.settle.Do(ctx, []Settlement{s})
		if err == nil && errs != nil {
			err = errs[0]
		}
		switch {
		case err == nil:
			if w.log.Enabled(ctx, slog.LevelDebug) {
				w.log.Debug("attempt settled", a.attrs("action", s.Action, "status", s.Result.Status)...)
			}
		case errors.Is(err, ErrLeaseLost):
			w.log.Warn("lease lost: the attempt's outcome is dropped", a.attrs()...)
		case errors.Is(err, ErrClosed), errors.Is(err, ErrInvalid), time.Now().Add(pause).After(expires):
			w.log.Error("cannot settle the attempt; it will run again", a.attrs("error", err)...)
		default:
			w.log.Error("cannot settle the attempt; trying again", a.attrs("pause", pause, "error", err)...)
			time.Sleep(pause)
			pause = min(2*pause, time.Second)
			continue
		}
		w.mu.Lock()
		delete(w.held, a)
		w.mu.Unlock()
		return
	}
}
