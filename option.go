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

// Unique makes the enqueue fail with [ErrDuplicate] while another task of the same name holds the key. A task holds its key
// until it is final. The caller says by the key what is the same work. The key is 1 to [MaxKeyLen] bytes without control
// characters.
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
	return signalOption(func(c *taskConfig) error {
		c.uniqueKey, c.uniqueFor = key, d
		return checkText("unique_key", key, MaxKeyLen)
	})
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
