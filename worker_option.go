package omniq

import (
	"context"
	"log/slog"
	"maps"
	"math"
	"slices"
	"time"
)

// WorkerOption sets something of a worker.
type WorkerOption interface{ applyWorker(*Worker) error }

type workerOption func(*Worker) error

func (o workerOption) applyWorker(w *Worker) error { return o(w) }

// HandlerFunc runs one attempt of a task in its raw form: what [Middleware] wraps. Of the result only ResultData and
// Codec count. The task must not be changed; it is the handler's until it returns.
type HandlerFunc func(ctx context.Context, task *RawTask) (RawResult, error)

// Middleware puts something around every handler of a worker: logs, traces, metrics, checks. It is called once for each
// handler when the worker is made, and what it returns once for each attempt. It sees what the worker will see: an
// error with its [Permanent] or [RetryAfter], and a panic that it may recover from.
type Middleware func(next HandlerFunc) HandlerFunc

// Handlers gives the worker the tasks that it can run. Two of one name are an error.
func Handlers(handlers ...Handler) WorkerOption {
	return workerOption(func(w *Worker) error {
		for _, h := range handlers {
			if h == nil {
				return invalid("a nil handler")
			}
			s := h.spec()
			if s.run == nil {
				return invalid("a definition that Define has not made")
			}
			if _, ok := w.specs[s.name]; ok {
				return invalid("two handlers are named %q", s.name)
			}
			w.specs[s.name] = s
		}
		return nil
	})
}

// Use puts middleware around the handlers: the first is the outermost, and those of a later Use are inside.
func Use(middleware ...Middleware) WorkerOption {
	return workerOption(func(w *Worker) error {
		if slices.ContainsFunc(middleware, func(m Middleware) bool { return m == nil }) {
			return invalid("a nil middleware")
		}
		w.middleware = append(w.middleware, middleware...)
		return nil
	})
}

// What a worker does unless it is told otherwise, beside what is said of retries.
const (
	DefaultConcurrency     = 16               // handlers at once
	DefaultShutdownTimeout = 30 * time.Second // for handlers when the worker's context has ended
)

// MaxConcurrency is the greatest [Concurrency] of a worker. Each place is a goroutine from the start.
const MaxConcurrency = 100_000

// Concurrency sets how many handlers run at once at the most: 16 by default, 1 to [MaxConcurrency].
func Concurrency(n int) WorkerOption {
	return workerOption(func(w *Worker) error {
		if n < 1 || n > MaxConcurrency {
			return invalid("Concurrency is %d, want 1 to %d", n, MaxConcurrency)
		}
		w.concurrency = n
		return nil
	})
}

// DefaultPrefetch is how many tasks a worker takes ahead at the most.
const DefaultPrefetch = 1000

// Prefetch bounds how many tasks the worker takes ahead: leases beyond those that its handlers run. It is [DefaultPrefetch] by
// default and at most [MaxConcurrency]; 0 switches it off.
//
// How many the worker takes it finds out by itself: as many as its handlers have begun of late within 20 ms, or within twice the
// time that a lease call takes, if that is longer, up to 100 ms. So where handlers take a millisecond or less the engine works in
// large batches; where they take a second nothing is taken ahead, and no task is kept from a worker that is idle. Nor is anything
// with [QueueWeights], which are drawn for each lease. A task that has waited 250 ms for a handler is given back, without an attempt,
// and so are all of them when the worker begins to stop.
//
// For everybody else tasks that were taken ahead are running. A task that comes later with a higher priority runs after them, and
// so do those of a queue that stands earlier in [Queues]. Their attempts count from when they are taken: if the process dies, those
// that no handler had begun are lost like those that ran. A task that was lost before is the exception: its attempt counts from when
// its handler begins, so that no task comes nearer to failing for good by what runs beside it.
func Prefetch(n int) WorkerOption {
	return workerOption(func(w *Worker) error {
		if n < 0 || n > MaxConcurrency {
			return invalid("Prefetch is %d, want 0 to %d", n, MaxConcurrency)
		}
		w.prefetch = n
		return nil
	})
}

// Queues sets which queues the worker takes tasks from, by default [DefaultQueue] alone. As long as an earlier one has a task
// that is due, none is taken from a later one. See [QueueWeights] for shares instead.
func Queues(names ...string) WorkerOption {
	return workerOption(func(w *Worker) error {
		if len(names) == 0 {
			return invalid("no queues, want at least one")
		}
		for i, name := range names {
			if err := checkQueue(name); err != nil {
				return err
			}
			if slices.Contains(names[:i], name) {
				return invalid("queue %q stands twice", name)
			}
		}
		w.queues, w.weights = slices.Clone(names), nil
		return nil
	})
}

// QueueWeights sets which queues the worker takes tasks from, and how often each is looked at first. Of queues with the weights
// 6, 3 and 1 that always have tasks, the first provides about six tasks of ten. A queue without tasks costs the others
// nothing, and none waits for ever. Weights are 1 to 1,000,000.
//
// [Queues] sets a strict order instead. Of several of these options the last one holds.
func QueueWeights(weights map[string]int) WorkerOption {
	return workerOption(func(w *Worker) error {
		if len(weights) == 0 {
			return invalid("no queues, want at least one")
		}
		w.queues, w.weights = slices.Sorted(maps.Keys(weights)), nil
		for _, name := range w.queues {
			if err := checkQueue(name); err != nil {
				return err
			}
			if n := weights[name]; n < 1 || n > 1_000_000 {
				return invalid("the weight of queue %q is %d, want 1 to 1000000", name, n)
			}
			w.weights = append(w.weights, weights[name])
		}
		return nil
	})
}

// QueueLimit sets how many tasks of a queue this worker holds at once, at least 1. So one queue cannot take all the handlers.
// Tasks that were taken ahead count, see [Prefetch]. The queue must be one of the worker's. Other workers have limits of
// their own.
func QueueLimit(queue string, n int) WorkerOption {
	return workerOption(func(w *Worker) error {
		if n < 1 {
			return invalid("the limit of queue %q is %d, want at least 1", queue, n)
		}
		if w.limits == nil {
			w.limits = make(map[string]int)
		}
		w.limits[queue] = n
		return nil
	})
}

// WithoutSchedules keeps the worker from serving schedules: it does not enqueue their runs. Without it each worker does, beside
// its handlers and without taking their places; at least one worker that does so must run. See [Schedule].
func WithoutSchedules() WorkerOption {
	return workerOption(func(w *Worker) error {
		w.noSchedules = true
		return nil
	})
}

// LeaseDuration sets how long the worker holds a task without a sign of life, [DefaultLease] by default and at least
// 30 ms. It extends its leases at a third of that. A short one finds dead workers sooner, and costs more.
func LeaseDuration(d time.Duration) WorkerOption {
	return workerOption(func(w *Worker) error {
		if d < 30*time.Millisecond {
			return invalid("LeaseDuration is %v, want at least 30ms", d)
		}
		w.lease = d
		return nil
	})
}

// ShutdownTimeout sets how long handlers may go on once the worker's context has ended, before theirs end: 30 s by
// default; 0 ends them at once.
func ShutdownTimeout(d time.Duration) WorkerOption {
	return workerOption(func(w *Worker) error {
		if d < 0 {
			return invalid("ShutdownTimeout is %v, want at least 0", d)
		}
		w.shutdownTimeout = d
		return nil
	})
}

// RetryDelays sets how long to wait before a retry, and for which failures there is one: see [Backoff]. The default is
// [Exponential] from [DefaultRetryDelay] to [MaxRetryDelay], with [DefaultJitter]. The jitter is the part of each delay, from
// 0 to 1, that chance adds or takes.
func RetryDelays(backoff Backoff, jitter float64) WorkerOption {
	return workerOption(func(w *Worker) error {
		if backoff == nil {
			return invalid("a nil Backoff")
		}
		if !(jitter >= 0 && jitter <= 1) {
			return invalid("jitter is %v, want 0 to 1", jitter)
		}
		w.backoff, w.jitter = backoff, jitter
		return nil
	})
}

// LoggerOption is what [Logger] returns: it fits workers and routes.
type LoggerOption interface {
	WorkerOption
	RouteOption
}

// Logger sets where the worker logs, [slog.Default] by default: failed attempts, outcomes that are dropped, and the first
// task of each name or codec that it does not know at level Warn; tasks that failed for good and trouble with the backend
// at Error; outcomes that are dropped because the task was cancelled at Info; each settled task, further ones that are
// given back, and its own start and stop at Debug.
//
// What is logged of an attempt has the keys task, func, queue and attempt, and the context that its handler got: a slog.Handler
// that looks for a trace there finds the one that a [Middleware] has begun.
//
// A [Route] logs at Error that a backend is in trouble, each time that it leaves it out, and at Info that this is over.
func Logger(l *slog.Logger) LoggerOption { return loggerOption{l} }

type loggerOption struct{ log *slog.Logger }

func (o loggerOption) check() error {
	if o.log == nil {
		return invalid("a nil logger")
	}
	return nil
}

func (o loggerOption) applyWorker(w *Worker) error {
	w.log = o.log
	return o.check()
}

func (o loggerOption) applyRoute(r *route) error {
	r.log = o.log
	return o.check()
}

// WorkerID sets the name that the worker goes by in logs and events: by default one of the host, the process and chance.
// [CheckWorkerID] says what it may be.
func WorkerID(id string) WorkerOption {
	return workerOption(func(w *Worker) error {
		w.id = id
		return CheckWorkerID(id)
	})
}

// LimitOption is what [Retries] and [Timeout] return. Given to a worker it holds for the tasks that do not say.
type LimitOption interface {
	TaskOption
	WorkerOption
}

type retriesOption int

func (n retriesOption) check() error {
	if n < 0 || n >= math.MaxInt32 {
		return invalid("Retries is %d, want at least 0, and less than %d", int(n), math.MaxInt32)
	}
	return nil
}

func (n retriesOption) applyTask(c *taskConfig) error {
	c.maxAttempts = int(n) + 1
	return n.check()
}

func (n retriesOption) applyWorker(w *Worker) error {
	w.maxAttempts = int(n) + 1
	return n.check()
}

// Retries sets how often a task is tried again after its first attempt failed; 0 means never. A task that does not say
// leaves it to the worker, whose default is [DefaultRetries].
func Retries(n int) LimitOption { return retriesOption(n) }

type timeoutOption time.Duration

func (d timeoutOption) check() error {
	if time.Duration(d) < time.Microsecond {
		return invalid("Timeout is %v, want at least 1µs", time.Duration(d))
	}
	return nil
}

func (d timeoutOption) applyTask(c *taskConfig) error {
	c.timeout = time.Duration(d).Truncate(time.Microsecond)
	return d.check()
}

func (d timeoutOption) applyWorker(w *Worker) error {
	w.timeout = time.Duration(d)
	return d.check()
}

// Timeout bounds how long one attempt may take: its handler's context ends then, with the cause [ErrTimeout]. The least is a
// microsecond. A task that does not say leaves it to the worker. There is no default: where neither says, a handler may run
// for as long as its worker lives.
func Timeout(d time.Duration) LimitOption { return timeoutOption(d) }
