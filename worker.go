package omniq

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq/internal/batch"
	"github.com/omniq-go/omniq/internal/logkey"
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
// cannot be decoded, or a result that cannot be encoded, fails the task for good. So does an outcome that the engine
// refuses: the TaskError's type is "omniq.Refused", and it says what was refused and why. A task whose TTL has passed is
// not started.
//
// A task of a name or a codec that this worker does not know is given back for another worker, without an attempt: after
// 100 ms at first, and more and more seldom, up to a minute. If it has a TTL it waits until that has passed, otherwise for
// [MaxUnknown]; then it fails with [ErrUnknownTask].
//
// An attempt counts from the moment at which its handler starts, or a few milliseconds earlier: see [Prefetch]. One that
// ends with its process, or loses its lease, was lost. It is not one of the attempts that may fail, because the task may
// not be to blame: another task of the same process may have ended it. Still a task that ends its process must not do so for ever. A task that was lost twice runs
// with no other such task at once in the same worker; those are given back for some seconds. A task that was lost as
// often as it may fail, and three times or more, fails with [ErrLeaseLost].
//
// So a handler may begin more than once. For at most once, give the task Retries(0), and let its handler return a
// [Permanent] error when [Info].Attempt is more than 1: what the attempt before did is not known then. With Prefetch(0) its handler
// had begun, or was about to.
//
// # Contexts
//
// A handler's context ends, with a cause that [context.Cause] tells, when the attempt's timeout is over ([ErrTimeout]),
// when the task is cancelled ([ErrCancelled]), when the lease is lost ([ErrLeaseLost]) and when the worker has to stop
// ([ErrShutdown]). The handler's place is taken by another task only when it has returned. Attempts of one task never
// overlap in one worker: while a handler goes on although its lease is lost, the worker gives the task back.
type Worker struct {
	backend         Backend
	specs           map[string]handlerSpec
	middleware      []Middleware
	enqueues        enqueueMiddleware
	codecs          codecs
	concurrency     int
	prefetch        int // the most that is taken ahead
	queues          []string
	weights         []int          // of queues, nil for the strict order
	limits          map[string]int // of queues: tasks at once
	onSettle        []func(SettledAttempt)
	lease           time.Duration
	shutdownTimeout time.Duration
	backoff         Backoff
	jitter          float64
	maxAttempts     int
	timeout         time.Duration
	log             *slog.Logger
	id              string

	handlers map[string]HandlerFunc // specs inside the middleware
	keep     EnqueueFunc            // keepTasks inside of that around enqueues
	names    []string               // of handlers
	starts   *batch.Group[LeaseID]
	jotter   *jotter

	noSchedules bool

	mu       sync.Mutex
	running  bool
	leaving  bool // nothing is leased any more
	stopping bool // nothing is started any more
	ending   bool // handlers have no more time
	free     int  // places for leases
	wanted   int  // of these, so many must be free before the end of an attempt wakes fetch
	pace     pace
	inQueue  map[string]int     // places that are taken, of queues with limits
	renew    context.CancelFunc // ends the call that asks for leases, if it leaves out a queue that is full; nil for none
	troubled int                // attempts that the backend has failed to settle, and that are tried again
	held     held               // attempts from their lease until they are settled and their handlers have returned
	early    revoked            // leases that were revoked before they were held
	suspect  *attempt           // the one that runs of those that were lost too often to run with another such one
	strange  strangers          // names and codecs that the log has

	gatherers map[string]flusher // of batches, by name
	flushed   bool               // these do not wait any more
	extra     int                // places for tasks that they gather, beside those of handlers
	gathering int                // tasks that have joined a batch which has not begun
	slots     chan struct{}      // has one for each handler and each batch that runs; nil if there are no batches
	blocked   int                // batches that have begun and wait for a slot
	handling  int                // handlers and batches that run
	pulse     pulse
	freed     chan struct{} // holds a token after there may be more to reserve
}

// NewWorker returns a worker on the backend, which does nothing until Run. It fails with [ErrInvalid] if an option
// has an invalid value, if two handlers have one name, or if there is no handler.
func NewWorker(b Backend, opts ...WorkerOption) (*Worker, error) {
	if b == nil {
		return nil, invalid("a worker without a backend")
	}
	w := &Worker{
		backend: b, specs: make(map[string]handlerSpec), concurrency: DefaultConcurrency, queues: []string{DefaultQueue},
		lease: DefaultLease, prefetch: DefaultPrefetch, shutdownTimeout: DefaultShutdownTimeout,
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
	for name := range w.limits {
		if !slices.Contains(w.queues, name) {
			return nil, invalid("QueueLimit is of queue %q, and the worker takes tasks from %q only", name, w.queues)
		}
	}
	w.free = w.concurrency + w.prefetch
	w.inQueue = make(map[string]int, len(w.limits))
	w.log = w.log.With(logkey.Worker, w.id)
	w.handlers = make(map[string]HandlerFunc, len(w.specs))
	for name, s := range w.specs {
		if s.batch && w.slots == nil {
			w.slots = make(chan struct{}, w.concurrency)
		}
		h := HandlerFunc(func(ctx context.Context, t *RawTask) (RawResult, error) {
			innermost(ctx)
			return s.run(ctx, t, w.codecs)
		})
		for i := len(w.middleware) - 1; i >= 0; i-- {
			if h = w.middleware[i](h); h == nil {
				return nil, invalid("middleware %d returned nil for task %q", i+1, name)
			}
		}
		w.handlers[name] = h
	}
	if w.keep = w.enqueues.around(keepTasks); w.keep == nil {
		return nil, errNilEnqueue
	}
	w.names = slices.Sorted(maps.Keys(w.handlers))
	w.starts, w.jotter = batch.New(w.startLeases, nil), newJotter(w)
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

// Run takes and runs tasks until ctx ends, and then stops: it takes no further task, gives back at once what no handler
// has begun, lets the handlers go on for the shutdown timeout, ends their contexts, and gives back what had not finished
// without using up an attempt. It returns nil once all handlers have returned, or an error that names the tasks whose
// handlers have not, 5 s after their contexts ended: another worker will get these while they still run. While the
// backend cannot settle what handlers have returned, Run goes on trying for as long as a lease lasts. So it returns after
// the shutdown timeout, 5 s and one lease at the latest.
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
	w.running, w.leaving, w.stopping, w.ending = true, false, false, false
	w.gatherers, w.flushed, w.pulse, w.pace = make(map[string]flusher), false, pulse{}, pace{}
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
	if w.backend.Capabilities().Notes {
		beat.Go(func() { w.jotter.run(beatCtx) })
	}
	defer beat.Wait()
	defer stopBeat()
	life := newBeater(w)
	life.start(beatCtx)
	if w.servesSchedules() {
		var schedules sync.WaitGroup
		schedules.Go(func() { (&scheduler{w}).run(ctx) })
		defer schedules.Wait()
	}

	// Leases flow from fetch to the handlers' goroutines and on to those that settle.
	waiting := newLine(w.concurrency + w.prefetch)
	s := newSettler(w)
	handlers := &crew{worker: w, ctx: handlerCtx, attempts: waiting.attempts, settler: s}
	for range w.concurrency {
		handlers.hire()
	}
	s.run()

	w.log.Debug("worker started", logkey.Queues, w.queues, logkey.Concurrency, w.concurrency, logkey.Handlers, len(w.handlers))
	turns, stopTurns := context.WithCancel(handlerCtx)
	var keeping sync.WaitGroup
	keeping.Go(func() { w.keepTurns(turns, waiting, s) })
	err := w.fetch(ctx, waiting)
	waiting.close()
	life.leave()
	w.giveBack(waiting.attempts, s)
	stopTurns()
	keeping.Wait()
	w.flush()
	w.log.Debug("worker stopping", logkey.Timeout, w.shutdownTimeout)
	done := make(chan struct{})
	go func() {
		handlers.all.Wait()
		close(done)
	}()
	if !within(done, w.shutdownTimeout) {
		w.endHandlers()
		if !within(done, afterShutdown) {
			err = errors.Join(err, w.abandon(s))
		}
	}
	end := time.Now().Add(w.lease)
	s.close()
	life.end(end)
	w.log.Debug("worker stopped")
	return err
}
