package omniq

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
)

// Worker takes tasks from a backend and runs their handlers.
//
// # Attempts
//
// A task is leased, and the lease extended while its handler runs. What the handler returns decides:
//
//   - a result: the task succeeded;
//   - an error: the attempt failed. The task is run again after a delay, as [Retries], [RetryDelays] and [RetryAfter]
//     say, or has failed for good if no attempt is left or the error is [Permanent];
//   - [Snooze]: the task is run again after a delay, and the attempt does not count.
//
// A panic, and a handler that ends its goroutine, is a failed attempt whose [TaskError] has the stack. A payload that
// cannot be decoded, or a result that cannot be encoded, fails the task for good. A task of a name or a codec that this
// worker does not know is a failed attempt like any other: another worker may know it. A task whose TTL has passed is not started.
// An attempt that ends with its process, or loses its lease, counts; when it was the last, the task fails.
//
// # Contexts
//
// A handler's context ends, with a cause that [context.Cause] tells, when the attempt's timeout is over ([ErrTimeout]),
// when the task is cancelled ([ErrCancelled]), when the lease is lost ([ErrLeaseLost]) and when the worker has to stop
// ([ErrShutdown]). The handler's place is taken by another task only when it has returned, so attempts of one task never
// overlap in one worker.
type Worker struct {
	backend         Backend
	specs           map[string]handlerSpec
	middleware      []Middleware
	codecs          codecs
	concurrency     int
	prefetch        int
	queues          []string
	lease           time.Duration
	shutdownTimeout time.Duration
	backoff         Backoff
	jitter          float64
	maxAttempts     int
	timeout         time.Duration
	log             *slog.Logger
	id              string

	handlers map[string]HandlerFunc // specs inside the middleware

	mu       sync.Mutex
	running  bool
	stopping bool          // nothing is started any more
	ending   bool          // handlers have no more time
	free     int           // places for leases
	troubled int           // attempts that the backend has failed to settle, and that are tried again
	held     []*attempt    // from their lease until they are settled, in no order
	freed    chan struct{} // holds a token after there may be more to reserve
}

// NewWorker returns a worker on the backend, which does nothing until Run. It fails with [ErrInvalid] if an option's
// value cannot be, two handlers have one name, or there is none.
func NewWorker(b Backend, opts ...WorkerOption) (*Worker, error) {
	if b == nil {
		return nil, invalid("a worker without a backend")
	}
	w := &Worker{
		backend: b, specs: make(map[string]handlerSpec), concurrency: DefaultConcurrency, queues: []string{DefaultQueue},
		lease: DefaultLease, shutdownTimeout: DefaultShutdownTimeout,
		backoff: Exponential(DefaultRetryDelay, MaxRetryDelay), jitter: DefaultJitter, maxAttempts: DefaultRetries + 1,
		log: slog.Default(), id: newWorkerID(),
		freed: make(chan struct{}, 1),
	}
	for _, o := range opts {
		if err := o.applyWorker(w); err != nil {
			return nil, err
		}
	}
	if len(w.specs) == 0 {
		return nil, invalid("a worker without handlers: give it some with Handlers")
	}
	w.free = w.concurrency + w.prefetch
	w.log = w.log.With("worker", w.id)
	w.handlers = make(map[string]HandlerFunc, len(w.specs))
	for name, s := range w.specs {
		h := HandlerFunc(func(ctx context.Context, t *RawTask) (RawResult, error) { return s.run(ctx, t, w.codecs) })
		for i := len(w.middleware) - 1; i >= 0; i-- {
			if h = w.middleware[i](h); h == nil {
				return nil, invalid("middleware %d returned nil for task %q", i+1, name)
			}
		}
		w.handlers[name] = h
	}
	return w, nil
}

func newWorkerID() string {
	host, err := os.Hostname()
	if err != nil || checkText("host", host, MaxWorkerIDLen-50) != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s:%d:%.8s", host, os.Getpid(), uuid.New())
}

// ID is the name that the worker goes by; see [WorkerID].
func (w *Worker) ID() string { return w.id }

// afterShutdown is how long a handler has to return once its context has ended with [ErrShutdown].
const afterShutdown = 5 * time.Second

// Run takes and runs tasks until ctx ends, and then stops: it takes no further task, lets the handlers go on for the
// shutdown timeout, ends their contexts, and gives back what had not finished without using up an attempt. It returns
// nil once all handlers have returned, or an error that names the tasks whose handlers have not, 5 s after their contexts
// ended: another worker will get these while they still run. While the backend cannot settle what handlers have returned,
// Run goes on trying for as long as a lease lasts.
//
// Trouble with the backend is logged and tried again, and ends Run only when the backend is closed, with [ErrClosed].
// A worker can be run again after Run has returned, but not twice at once: that is [ErrInvalid].
//
// Handlers see the values of ctx, not its end.
func (w *Worker) Run(ctx context.Context) error {
	w.mu.Lock()
	if w.running {
		w.mu.Unlock()
		return invalid("the worker is running already")
	}
	w.running, w.stopping, w.ending = true, false, false
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		w.running = false
		w.mu.Unlock()
	}()

	handlerCtx := context.WithoutCancel(ctx)
	beatCtx, stopBeat := context.WithCancel(context.WithoutCancel(ctx))
	var beat sync.WaitGroup
	beat.Go(func() { w.heartbeat(beatCtx) })
	beat.Go(func() { w.watch(beatCtx) })
	defer beat.Wait()
	defer stopBeat()

	// Leases flow from fetch to the handlers' goroutines and on to the one that settles.
	attempts := make(chan *attempt, w.concurrency+w.prefetch)
	s := newSettler(w)
	var handlers, settler sync.WaitGroup
	for range w.concurrency {
		handlers.Go(func() { w.serve(handlerCtx, attempts, s, &handlers) })
	}
	settler.Go(s.run)

	w.log.Debug("worker started", "queues", w.queues, "concurrency", w.concurrency, "tasks", len(w.handlers))
	err := w.fetch(ctx, attempts)
	w.mu.Lock()
	w.stopping = w.prefetch > 0 // what was taken ahead is given back; without that, each task has a place and is started
	w.mu.Unlock()
	close(attempts)
	w.log.Debug("worker stopping", "timeout", w.shutdownTimeout)
	done := make(chan struct{})
	go func() {
		handlers.Wait()
		close(done)
	}()
	if !within(done, w.shutdownTimeout) {
		w.endHandlers()
		if !within(done, afterShutdown) {
			err = errors.Join(err, w.abandon(s))
		}
	}
	s.close()
	settler.Wait()
	w.log.Debug("worker stopped")
	return err
}

// within reports whether done is closed before d has passed.
func within(done <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

// fetch leases tasks for the places that are free, until ctx ends or the backend is closed.
func (w *Worker) fetch(ctx context.Context, attempts chan<- *attempt) error {
	const minPause, maxPause = 50 * time.Millisecond, 5 * time.Second
	pause := minPause
	for ctx.Err() == nil {
		n, ok := w.reserve(ctx)
		if !ok {
			return nil
		}
		leases, err := w.backend.Lease(ctx, LeaseRequest{
			Queues: w.queues, Max: n, Duration: w.lease, Wait: time.Minute, WorkerID: w.id,
		})
		w.unreserve(n - len(leases))
		w.hold(leases, attempts, ctx.Err() != nil)
		switch {
		case err == nil:
			pause = minPause
		case errors.Is(err, ErrClosed):
			return fmt.Errorf("omniq: worker: %w", err)
		case ctx.Err() == nil:
			w.log.Error("cannot lease tasks; trying again", "pause", pause, "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
			pause = min(2*pause, maxPause)
		}
	}
	return nil
}

// hold takes charge of leases, for which places are reserved, and passes them on. It does not block.
func (w *Worker) hold(leases []Lease, attempts chan<- *attempt, stopping bool) {
	if len(leases) == 0 {
		return
	}
	expires := time.Now().Add(w.lease)
	all := make([]*attempt, len(leases)) // each by itself: a long one must not keep the others' payloads
	for i := range leases {
		all[i] = &attempt{lease: leases[i], expires: expires, giveBack: stopping}
	}
	w.mu.Lock()
	for i, a := range all {
		a.index = len(w.held) + i
	}
	w.held = append(w.held, all...)
	w.mu.Unlock()
	for _, a := range all {
		attempts <- a
	}
}

// reserve takes all the places that are free, and waits until one is. Attempts that cannot be settled count like those
// that run: a backend in trouble is not asked for ever more tasks.
func (w *Worker) reserve(ctx context.Context) (n int, ok bool) {
	for {
		runtime.Gosched() // handlers that are about to return do so first, and one lease serves them all
		w.mu.Lock()
		n = max(min(w.free, w.concurrency+w.prefetch-w.troubled), 0)
		w.free -= n
		w.mu.Unlock()
		if n > 0 {
			return n, true
		}
		select {
		case <-w.freed:
		case <-ctx.Done():
			return 0, false
		}
	}
}

func (w *Worker) unreserve(n int) {
	if n == 0 {
		return
	}
	w.mu.Lock()
	w.free += n
	w.mu.Unlock()
	w.wakeReserve()
}

func (w *Worker) addTroubled(n int) {
	if n == 0 {
		return
	}
	w.mu.Lock()
	w.troubled += n
	w.mu.Unlock()
	w.wakeReserve()
}

func (w *Worker) wakeReserve() {
	select {
	case w.freed <- struct{}{}:
	default:
	}
}

// drop lets go of an attempt. The worker's mu is locked.
func (w *Worker) drop(a *attempt) {
	last := len(w.held) - 1
	w.held[a.index] = w.held[last]
	w.held[a.index].index = a.index
	w.held[last] = nil
	w.held = w.held[:last]
}

// endHandlers ends the contexts of the handlers. It does so one by one: a context that they had in common would be a
// lock that all of them take twice.
func (w *Worker) endHandlers() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ending = true
	for _, a := range w.held {
		if a.cancel != nil {
			a.cancel(ErrShutdown)
		}
	}
}

// abandon gives back the tasks whose handlers do not return.
func (w *Worker) abandon(s *settler) error {
	w.mu.Lock()
	var stuck []*attempt
	for _, a := range w.held {
		if !a.settling {
			stuck = append(stuck, a)
		}
	}
	w.mu.Unlock()
	ids := make([]uuid.UUID, len(stuck))
	for i, a := range stuck {
		ids[i] = a.lease.Task.ID
		s.settle(a, Settlement{Action: ActionRelease})
	}
	if len(ids) == 0 {
		return nil // the last ones wait only to be settled
	}
	w.log.Error("handlers have not returned; their tasks are given back", "tasks", ids)
	return fmt.Errorf("omniq: worker: %d handlers have not returned %v after their contexts ended: tasks %v",
		len(ids), afterShutdown, ids)
}

// heartbeat extends the leases that are held, at a third of their duration.
func (w *Worker) heartbeat(ctx context.Context) {
	ticker := time.NewTicker(w.lease / 3)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			w.extend(ctx)
		}
	}
}

func (w *Worker) extend(ctx context.Context) {
	w.mu.Lock()
	held := make([]*attempt, 0, len(w.held))
	leases := make([]LeaseID, 0, len(w.held))
	for _, a := range w.held {
		if a.lost == nil {
			held = append(held, a)
			leases = append(leases, a.lease.LeaseID)
		}
	}
	w.mu.Unlock()
	if len(held) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, w.lease/3)
	defer cancel()
	asked := time.Now()
	errs, err := w.backend.Extend(ctx, leases, w.lease)
	if err != nil && ctx.Err() == nil {
		w.log.Error("cannot extend leases; trying again", "leases", len(leases), "error", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, a := range held {
		switch {
		case err == nil && (errs == nil || errs[i] == nil):
			a.expires = asked.Add(w.lease)
		case err == nil && errors.Is(errs[i], ErrCancelled):
			a.lose(ErrCancelled)
		case err == nil && errors.Is(errs[i], ErrLeaseLost), !time.Now().Before(a.expires):
			a.lose(ErrLeaseLost)
		}
	}
}

// lose says that the task is not this worker's any more, and ends its handler's context. The worker's mu is locked.
func (a *attempt) lose(why error) {
	if a.lost == nil {
		a.lost = why
		if a.cancel != nil {
			a.cancel(why)
		}
	}
}

// watch ends the contexts of handlers whose tasks are cancelled, until ctx ends.
func (w *Worker) watch(ctx context.Context) {
	for ctx.Err() == nil {
		leases, err := w.backend.Revoked(ctx, w.id)
		w.revoke(leases)
		if err == nil || ctx.Err() != nil {
			continue
		}
		if errors.Is(err, ErrClosed) {
			return
		}
		w.log.Error("cannot ask for cancelled tasks; trying again", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

func (w *Worker) revoke(leases []LeaseID) {
	if len(leases) == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range w.held {
		if slices.Contains(leases, a.lease.LeaseID) {
			a.lose(ErrCancelled)
		}
	}
}
