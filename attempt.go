package omniq

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/omniq-go/omniq/internal/logkey"
)

// attempt is one lease in a worker's hands, from its start until it is settled or lost.
type attempt struct {
	lease Lease     // its Expires is by this process's clock, and mu guards it
	since time.Time // when the worker got it
	crew  *crew     // whose goroutine runs it, nil before

	// The settler's.
	settlement Settlement
	uncertain  bool // a call that may have settled it has failed
	refused    bool // the engine has refused its outcome, and the settlement says so

	// The worker's mu guards these.
	giveBack bool // do not run it: the worker is stopping
	joined   bool // it is, or was, part of a batch: its goroutine runs no other attempt
	vacated  bool // its place is that of the batch
	phase    phase
	settling bool                    // the settler has it
	over     bool                    // it is settled or lost, and held only because its handler runs
	inTx     bool                    // its result is in a transaction of the handler's, which may have been committed
	shut     bool                    // what its handler does is part of a settlement
	cancel   context.CancelCauseFunc // ends the handler's context, nil before it has one
	lost     error                   // ErrLeaseLost, ErrCancelled, ErrExpired or errCommitted: the task is not this worker's any more
	older    *attempt                // in held

	began time.Time     // when its handler did, zero before
	took  time.Duration // the handler's, once it has returned or the attempt is settled without it

	ctx       context.Context                 // of Run, for the log
	inner     atomic.Pointer[context.Context] // the context that the handler has got, for the log; nil before
	own       context.Context                 // execution
	execution execution                       // the handler's context
	outbox    *outbox                         // what it does if it succeeds, nil for nothing
	jot       atomic.Pointer[jot]             // what it leaves of its task, nil for nothing; read without the lock
}

// phase is how far the handler of an attempt is.
type phase uint8

const (
	waiting  phase = iota
	starting       // it is the task's next handler in this worker
	handling       // the handler runs
	returned
)

// crew are the goroutines that run the attempts of one Run: as many as handlers may run at once, and one for each task of a batch.
type crew struct {
	worker   *Worker
	ctx      context.Context
	attempts <-chan *attempt
	settler  *settler
	all      sync.WaitGroup // these, and the batches
}

// hire adds one to the crew.
func (c *crew) hire() { c.all.Go(c.serve) }

// serve runs attempts one after another, until one has joined a batch. Goroutines that last keep the stacks that
// handlers have grown.
func (c *crew) serve() {
	var a *attempt
	done := false
	defer func() {
		if !done && !c.worker.hasJoined(a) { // a handler has ended the goroutine
			c.hire()
		}
	}()
	for a = range c.attempts {
		a.crew = c
		if c.worker.attend(c.ctx, a, c.settler) {
			break
		}
	}
	done = true
}

func (w *Worker) hasJoined(a *attempt) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return a.joined
}

// attend runs one attempt and passes its outcome on, even if the handler ends the goroutine. It reports whether the attempt has
// joined a batch.
func (w *Worker) attend(ctx context.Context, a *attempt, s *settler) (joined bool) {
	settlement := Settlement{Action: ActionRelease}
	slot := w.slots != nil && !w.specs[a.lease.Task.FuncName].batch
	if slot {
		w.slots <- struct{}{}
	}
	defer func() {
		joined = w.leave(a)
		s.settle(a, settlement)
		w.vacate(a)
		if slot {
			<-w.slots
		}
	}()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if w.enter(a, cancel, &settlement) && w.start(ctx, a) {
		w.run(ctx, a, &settlement)
	}
	return joined
}

// enter decides whether the attempt can be started by this worker now. If not, it says in s how it ends.
func (w *Worker) enter(a *attempt, cancel context.CancelCauseFunc, s *Settlement) bool {
	if _, ok := w.handlers[a.lease.Task.FuncName]; !ok {
		w.mu.Lock()
		skip := a.giveBack || w.stopping
		w.mu.Unlock()
		if !skip {
			*s = w.shun(a, "handler", a.lease.Task.FuncName)
		}
		return false
	}
	lost := a.lease.Lost
	limit := w.limit(a)
	w.mu.Lock()
	if a.giveBack || a.lost != nil || a.settling || w.stopping {
		w.mu.Unlock()
		return false
	}
	if lost >= max(limit, minLosses) {
		w.mu.Unlock()
		*s = failure(a, a.lease.Attempt-1, lostTooOften(lost))
		return false
	}
	suspect := lost >= maxTogether
	if w.held.busy(a) || suspect && w.suspect != nil {
		w.mu.Unlock()
		s.Delay = spread(afterBusy, 0.5)
		w.logAttempt(a, slog.LevelDebug, "task is given back for a while", slog.Int(logkey.Lost, lost), slog.Duration(logkey.Delay, s.Delay))
		return false
	}
	if suspect {
		w.suspect = a
	}
	a.phase = starting
	a.cancel = cancel
	if w.ending {
		cancel(ErrShutdown)
	}
	w.mu.Unlock()
	return true
}

// leave is told that the attempt's handler has returned, or will not begin, and reports whether it has joined a batch.
func (w *Worker) leave(a *attempt) (joined bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if a.phase == handling && !a.joined {
		w.handling--
	}
	a.phase = returned
	if w.suspect == a {
		w.suspect = nil
	}
	if a.over {
		w.held.remove(a)
	}
	return a.joined
}

// limit is how often the attempt's task may fail.
func (w *Worker) limit(a *attempt) int {
	if n := a.lease.Task.MaxAttempts; n > 0 {
		return n
	}
	return w.maxAttempts
}

// run runs the handler and decides how the attempt ends. It fills s in even if the handler ends its goroutine.
func (w *Worker) run(ctx context.Context, a *attempt, s *Settlement) {
	t := a.lease.Task
	timeout := t.Timeout
	if timeout == 0 {
		timeout = w.timeout
	}
	if timeout > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeoutCause(ctx, timeout, ErrTimeout)
		defer stop()
	}
	a.execution = execution{ctx, w, a}
	a.own = &a.execution
	ctx = a.own
	var result RawResult
	var err error
	ended := false
	defer func() {
		if !ended {
			err = &TaskError{Type: typePanic, Message: "the handler ended its goroutine", Stack: stack(), Retryable: true}
		}
		*s = w.outcome(ctx, a, timeout, result, err)
	}()
	result, err = w.perform(ctx, a)
	ended = true
}

// infoOf is what is known of an attempt.
func (w *Worker) infoOf(a *attempt) Info {
	t := a.lease.Task
	return Info{
		ID: t.ID, FuncName: t.FuncName, Queue: cmp.Or(t.Queue, DefaultQueue), Attempt: a.lease.Attempt, MaxAttempts: w.limit(a),
		Lost: a.lease.Lost, CreatedAt: t.CreatedAt, Metadata: t.Metadata, WorkerID: w.id, Waited: a.waited(),
		Flow: t.Flow, Lane: t.Lane,
	}
}

// innermost notes the context that a handler gets: its own, or what the middleware has made of it.
func innermost(ctx context.Context) {
	h, ok := ctx.Value(executionKey{}).(*execution)
	switch {
	case !ok:
	case ctx == context.Context(h):
		h.attempt.inner.Store(&h.attempt.own)
	default:
		inner := ctx // so that nothing is allocated where there is no middleware
		h.attempt.inner.Store(&inner)
	}
}

// waited is how long the task was due before the attempt's handler began, or until now.
func (a *attempt) waited() time.Duration {
	if a.began.IsZero() {
		return a.lease.Waited + time.Since(a.since)
	}
	return a.lease.Waited + a.began.Sub(a.since)
}

// perform runs the handler, unless the task stands for others.
func (w *Worker) perform(ctx context.Context, a *attempt) (RawResult, error) {
	each := false
	if input := a.lease.Task.Input; len(input) > 0 {
		r, err := readRecipe(Raw(input))
		if err != nil {
			return RawResult{}, &TaskError{Type: typeDecode, Message: validText(err.Error())}
		}
		each = r.each
	}
	switch {
	case a.lease.Resumed:
		return w.resume(a, each)
	case each:
		return RawResult{}, w.spread(a)
	}
	return w.call(ctx, a.lease.Task)
}

// call runs the handler and turns a panic into an error.
func (w *Worker) call(ctx context.Context, t *RawTask) (result RawResult, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = panicError(v)
		}
	}()
	return w.handlers[t.FuncName](ctx, t)
}

// What holds for tasks whose attempts were lost.
const (
	minLosses   = 3               // no task fails because of fewer
	maxTogether = 2               // with so many a task runs with no other such one in a worker
	afterBusy   = 2 * time.Second // the pause of a task that this worker must not run now; half of it is chance
)

func lostTooOften(n int) *TaskError {
	return &TaskError{
		Type: typeLeaseLost,
		Message: fmt.Sprintf("%d attempts did not end: each time the worker died while the task ran, or lost its lease. "+
			"Perhaps the task ends its process or uses up its memory", n),
		Retryable: true,
	}
}
