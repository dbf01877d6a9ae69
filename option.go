package omniq

import (
	"maps"
	"time"

	"github.com/google/uuid"
)

// TaskOption sets something of one task, or, given to a definition or a reference, the default of its tasks. Later
// options override earlier ones, and those of a call override the defaults.
type TaskOption interface{ applyTask(*taskConfig) error }

// ResultOption sets something of a result.
type ResultOption interface{ applyResult(*resultConfig) error }

// SignalOption is what [ID], [KeepID], [ResultTTL], [FailureTTL], [Unique], [UniqueFor] and [Metadata] return, and [TTL]: it fits
// tasks and signals. What is about running a task fits no signal.
type SignalOption interface {
	TaskOption
	fitsSignals()
}

// taskConfig is what task options set.
type taskConfig struct {
	id          uuid.UUID
	ttl         *time.Duration
	queue       string
	priority    int
	runAt       time.Time
	delay       time.Duration
	maxAttempts int
	timeout     time.Duration
	resultTTL   *time.Duration
	failureTTL  *time.Duration
	idFor       time.Duration
	uniqueKey   string
	uniqueFor   time.Duration
	onHeld      OnHeld
	within      time.Duration // ReplaceWithin
	keepTask    bool
	lane        string
	metadata    map[string]string // never changed in place: configurations share it
}

func (c *taskConfig) apply(opts []TaskOption) error {
	for _, o := range opts {
		if err := o.applyTask(c); err != nil {
			return err
		}
	}
	return nil
}

type taskOption func(*taskConfig) error

func (o taskOption) applyTask(c *taskConfig) error { return o(c) }

type signalOption func(*taskConfig) error

func (o signalOption) applyTask(c *taskConfig) error { return o(c) }
func (signalOption) fitsSignals()                    {}

// TTLOption is what [TTL] returns: it fits tasks, signals and results.
type TTLOption interface {
	SignalOption
	ResultOption
}

type ttlOption time.Duration

func (o ttlOption) check() (*time.Duration, error) {
	d := time.Duration(o)
	if d < time.Microsecond {
		return nil, invalid("TTL is %v, want at least 1µs", d)
	}
	return new(d.Truncate(time.Microsecond)), nil
}

func (ttlOption) fitsSignals() {}

func (o ttlOption) applyTask(c *taskConfig) (err error) {
	c.ttl, err = o.check()
	return err
}

func (o ttlOption) applyResult(c *resultConfig) (err error) {
	c.ttl, err = o.check()
	return err
}

// TTL bounds for how long after its creation a task may start, for how long a signal is waited for, or for how long after its time
// a result can be read. Without it a task or a signal waits for ever. The least is a microsecond; what is shorter than one is cut off.
//
// The client tells the backend what is left of a task's TTL when it enqueues; from then on the backend's clock counts.
func TTL(d time.Duration) TTLOption { return ttlOption(d) }

// ID sets the task's ID. An ID that is derived from what the task is about makes enqueuing idempotent: the same ID again is
// refused with [ErrDuplicate].
//
// That holds until the task is final and its result is gone: by default for an hour after a success, and for seven days
// after a failure. A short [ResultTTL] makes it short: with 50 ms the same ID is taken again 50 ms after the task has
// succeeded, and the task runs again. [KeepID] makes it longer.
func ID(id uuid.UUID) SignalOption {
	return signalOption(func(c *taskConfig) error {
		if id == uuid.Nil {
			return invalid("ID is all zeros, want one that is unique")
		}
		c.id = id
		return nil
	})
}

// Queue sets the queue that the task waits in, [DefaultQueue] by default: 1 to MaxQueueLen letters, digits or "_-.:/".
func Queue(name string) TaskOption {
	return taskOption(func(c *taskConfig) error {
		c.queue = name
		return checkQueue(name)
	})
}

// Priority makes the task be leased before those of its queue with a lower one. The default is 0; negative is later.
func Priority(n int) TaskOption {
	return taskOption(func(c *taskConfig) error {
		c.priority = n
		return nil
	})
}

// RunAt makes the task due at t, by the backend's clock, instead of at once.
func RunAt(t time.Time) TaskOption {
	return taskOption(func(c *taskConfig) error {
		if y := t.UTC().Year(); y < 1 || y > 9999 {
			return invalid("RunAt is in the year %d, want 1 to 9999", y)
		}
		c.runAt, c.delay = t.UTC().Truncate(time.Microsecond), 0
		return nil
	})
}

// KeepID refuses another task with the same [ID] and a KeepID for this long after the enqueue, even if the result is gone
// by then. It is for what is delivered more than once, like a webhook: keep its ID for as long as it may come again, and
// its result for as long as you read it. The backend's clock counts. The least is a microsecond; what is shorter than one
// is cut off.
func KeepID(d time.Duration) SignalOption {
	return signalOption(func(c *taskConfig) error {
		if d < time.Microsecond {
			return invalid("KeepID is %v, want at least 1µs", d)
		}
		c.idFor = d.Truncate(time.Microsecond)
		return nil
	})
}

// Delay makes the task due this long after it is enqueued, instead of at once. The backend's clock counts. The delay must not
// be negative.
func Delay(d time.Duration) TaskOption {
	return taskOption(func(c *taskConfig) error {
		if d < 0 {
			return invalid("Delay is %v, want at least 0", d)
		}
		c.runAt, c.delay = time.Time{}, d.Truncate(time.Microsecond)
		return nil
	})
}

// ResultTTL sets how long the task's result can be read once it is settled, [DefaultResultTTL] by default. With 0 only
// those get it who are waiting at that moment. What failed is kept for its [FailureTTL].
func ResultTTL(d time.Duration) SignalOption {
	return signalOption(func(c *taskConfig) error {
		if d < 0 {
			return invalid("ResultTTL is %v, want at least 0", d)
		}
		c.resultTTL = new(d.Truncate(time.Microsecond))
		return nil
	})
}

// FailureTTL sets how long it can be read why the task failed or expired, and for how long it can be requeued: by default
// [DefaultFailureTTL], or its [ResultTTL] if that is longer. It must not be negative. With 0 only those get it who are
// waiting at that moment.
func FailureTTL(d time.Duration) SignalOption {
	return signalOption(func(c *taskConfig) error {
		if d < 0 {
			return invalid("FailureTTL is %v, want at least 0", d)
		}
		c.failureTTL = new(d.Truncate(time.Microsecond))
		return nil
	})
}

// KeepTask keeps the task as long as its result when it has succeeded, too: its arguments, metadata and options, to be looked at,
// searched and enqueued again as a copy. Without it only tasks that ended without success are kept: most succeed, and what is kept
// of each takes room. A worker of a release that does not know KeepTask does not keep it.
func KeepTask() TaskOption {
	return taskOption(func(c *taskConfig) error {
		c.keepTask = true
		return nil
	})
}

// Unique makes the enqueue fail with [ErrDuplicate] while another task of the same name holds the key. A task holds its key
// until it is final. The caller says by the key what is the same work. The key is 1 to [MaxKeyLen] bytes without control
// characters. For the case that it is held there are other rules, too: [Replace], [Debounce] and [Latest].
func Unique(key string) SignalOption { return unique(key, 0) }

// UniqueFor is [Unique] for a time from the enqueue on, whatever becomes of the task meanwhile: there is at most one such task
// in that time. The least is a microsecond.
func UniqueFor(key string, d time.Duration) SignalOption {
	if d < time.Microsecond {
		return signalOption(func(*taskConfig) error { return invalid("UniqueFor is %v, want at least 1µs", d) })
	}
	return unique(key, d.Truncate(time.Microsecond))
}

func unique(key string, d time.Duration) SignalOption {
	return signalOption(func(c *taskConfig) error { return c.hold(key, d, HeldRefuse, 0) })
}

// hold sets all that is about the unique key.
func (c *taskConfig) hold(key string, d time.Duration, o OnHeld, within time.Duration) error {
	c.uniqueKey, c.uniqueFor, c.onHeld, c.within = key, d, o, within
	return checkText("unique_key", key, MaxKeyLen)
}

// Replace is [Unique], but the latest task counts: while another one of the same name holds the key and is pending, because it
// waits for its time, for a worker or for a retry, the new one takes its place. The handle of the enqueue is that of the other,
// whose ID stays; all else is the new task's, its arguments, its options and the time at which it is due. A task that is due at
// once keeps the place in line of one that was due. What the old arguments have led to is gone: attempts, errors, [State].
//
// A task that a worker has, or that has passed its result on by [Become], is not touched: the new one is stored beside it, and
// takes the key. [Latest] lets it wait. One that is part of a flow and is not under way stays what it is there: the enqueue
// fails with [ErrDuplicate].
//
// Whichever comes first, the worker or the new task, nothing is lost: a handler that has not been handed the task gets the
// latest arguments, and otherwise there is another run with them.
//
// The task is no member of a flow, also as a part of a [Promise], where it can have no dependencies. [UniqueFor] and [KeepID]
// do not go with it. Where the engine has no Replaces in its [Capabilities], the enqueue fails with [ErrInvalid].
func Replace(key string) TaskOption {
	return taskOption(func(c *taskConfig) error { return c.hold(key, 0, HeldReplace, 0) })
}

// Debounce is [Replace] with a [Delay]: the task runs once no other one with its key was enqueued for the quiet time, and at the
// latest after the longest time since the first one of them, however many come. quiet is at least a microsecond, longest at
// least as long, or 0 for no bound. Both are counted by the backend's clock. The next one after the task was handed to a worker
// is a first one again.
func Debounce(key string, quiet, longest time.Duration) TaskOption {
	return taskOption(func(c *taskConfig) error {
		if quiet < time.Microsecond || longest != 0 && longest < quiet {
			return invalid("Debounce waits for %v of quiet and for %v at the longest, want at least 1µs, and at least as long or 0 for no bound", quiet, longest)
		}
		c.runAt, c.delay = time.Time{}, quiet.Truncate(time.Microsecond)
		return c.hold(key, 0, HeldReplace, longest.Truncate(time.Microsecond))
	})
}

// Latest is [Replace], but while another task with the key is under way the new one waits until that has ended, in whatever way
// and after its retries. So no two run at once, and at most one waits, the latest: "run again, something came meanwhile". Its
// [Delay] is counted from that end. The engine needs Flows in its [Capabilities], too. A task must not wait for one that waits
// for it.
func Latest(key string) TaskOption {
	return taskOption(func(c *taskConfig) error { return c.hold(key, 0, HeldBehind, 0) })
}

// Metadata adds a text that travels with the task beside its arguments, like a trace ID or a tenant, for middleware. The key
// must not be empty. An earlier value of the same key is replaced.
func Metadata(key, value string) SignalOption {
	return signalOption(func(c *taskConfig) error {
		m := maps.Clone(c.metadata)
		if m == nil {
			m = make(map[string]string, 1)
		}
		m[key] = value
		c.metadata = m
		return checkMetadata(m)
	})
}
