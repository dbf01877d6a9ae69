package sqlite

import (
	"context"
	"slices"
	"sync"
	"time"
)

const (
	groupSize  = 1000 // writes in a transaction at the most
	sweepEvery = time.Second
	sweepPause = 5 * time.Millisecond // when there is more than a transaction removes
	failPause  = 20 * time.Millisecond
)

// writer gathers the writes that come while a transaction is committed, and does them in the next one.
type writer struct {
	b    *Backend
	c    *conn
	done chan struct{} // closed when it has ended
	kick chan struct{} // something is in ops

	mu    sync.Mutex
	ops   []*op
	ended bool

	// What follows is its goroutine's.
	parked []*op
	polled time.Time
	sweep  time.Time // when to sweep next
	rest   time.Time // not to write by itself before, because it has failed
	began  time.Time // when its last transaction began
	pace   pace

	// What it knows of the file, and what is still to be done about what others have committed.
	seen    int64           // the data_version: it changes with each commit of others
	checked bool            // the schema is that of this program
	paused  map[string]bool // nil if it is to be read
	bounds  bounds
	opens   int64 // when calls are to look again that wait for a rate or a hold, 0 for never
	wake    int64 // when the next thing happens to a task by itself, 0 if it is to be read
	told    bool  // left is known
	left    bool  // there are tasks that have ended, whose followers are still to be told
	retry   bool  // what parked ops wait for may be there
	tell    bool  // events may be there
	shrunk  bool  // the file is smaller, once what is in its log is written into it
}

func newWriter(b *Backend, c *conn) *writer {
	return &writer{b: b, c: c, pace: pace{b.config.allowance}, done: make(chan struct{}), kick: make(chan struct{}, 1)}
}

func (w *writer) submit(ctx context.Context, o *op) error {
	if ctx.Err() != nil {
		return contextError(ctx)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return w.b.ended()
	}
	w.ops = append(w.ops, o)
	w.poke()
	return nil
}

func (w *writer) poke() {
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

// waits reports whether there is something to write.
func (w *writer) waits() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.ops) > 0
}

// next takes what has gathered, or only what was light before others came, and reports whether there is more.
func (w *writer) next(light bool) (ops []*op, more bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := min(len(w.ops), groupSize)
	if i := slices.IndexFunc(w.ops, func(o *op) bool { return !o.light }); light && i >= 0 {
		n = min(n, i)
	}
	ops = w.ops[:n:n]
	w.ops = w.ops[n:]
	if len(w.ops) == 0 {
		w.ops = nil
	}
	return ops, len(w.ops) > 0
}

func (w *writer) run() {
	defer close(w.done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for w.b.life.Err() == nil {
		select {
		case <-w.b.life.Done():
		case <-w.kick:
			if w.waits() {
				w.transact()
			} else { // somebody has begun to wait for what others do
				w.tick()
			}
		case <-timer.C:
			w.tick()
		}
		timer.Reset(time.Until(w.nextTick()))
	}
	w.end()
}

// end ends what is still to do.
func (w *writer) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	for _, o := range append(w.ops, without(w.parked)...) {
		o.done <- w.b.ended()
	}
	w.ops, w.parked = nil, nil
}

// nextTick is when tick is to be called, if no write comes before.
func (w *writer) nextTick() time.Time {
	next := w.sweep
	if w.retry || w.left || w.c.failed {
		next = time.Now()
	} else if w.wake != 0 {
		if at := time.Now().Add(time.UnixMicro(w.wake).Sub(w.b.config.clock())); at.Before(next) {
			next = at
		}
	}
	if w.opens != 0 {
		if at := time.Now().Add(time.UnixMicro(w.opens).Sub(w.b.config.clock())); at.Before(next) {
			next = at
		}
	}
	if next.Before(w.rest) {
		next = w.rest
	}
	if w.watched() {
		if at := w.polled.Add(w.b.config.poll); at.Before(next) {
			next = at
		}
	}
	return next
}

// watched reports whether somebody waits for what others may do.
func (w *writer) watched() bool {
	return len(w.parked) > 0 || w.b.awaited.Any() || w.b.events.waits() || w.b.streams.waits()
}

// tick does what is to be done when nobody writes.
func (w *writer) tick() {
	if w.b.intact(false) != nil {
		return
	}
	now := time.Now()
	if !w.c.failed { // or it may look into the past
		if w.watched() && now.Sub(w.polled) >= w.b.config.poll {
			w.poll(now)
		}
		w.b.awaited.check(w.c, now)
	}
	w.parked = without(w.parked)
	if w.opens != 0 && w.opens <= w.b.config.clock().UnixMicro() {
		w.opens, w.retry = 0, true
	}
	due := w.retry || w.left || w.c.failed || w.wake != 0 && w.wake <= w.b.config.clock().UnixMicro() || !now.Before(w.sweep)
	if due && !now.Before(w.rest) {
		w.transact()
	}
}

// poll looks for what others have done. An error shows again in the next write, whose callers get it.
func (w *writer) poll(now time.Time) {
	w.polled = now
	if w.notice() != nil {
		return
	}
	if w.tell {
		w.tell = false
		w.b.events.send()
		w.b.streams.stirAll()
	}
	if !w.told {
		n, err := one(w.c, "SELECT seq FROM omniq_fallout ORDER BY seq LIMIT 1")
		w.told, w.left = err == nil, n != 0
	}
	if w.wake == 0 {
		w.wake, _ = nextWake(w.c)
	}
	w.retry = w.retry && w.stirs()
}

// notice finds whether others have committed something, and notes what is to be done about it, until it is done. What was
// known of the file is to be read again.
func (w *writer) notice() error {
	version, err := one(w.c, "PRAGMA data_version")
	if err != nil || version == w.seen {
		return err
	}
	w.seen = version
	w.checked, w.paused, w.bounds, w.wake, w.told = false, nil, bounds{}, 0, false
	w.retry, w.tell, w.b.awaited.stale = true, true, true
	return nil
}

// all takes all that has gathered.
func (w *writer) all() []*op {
	w.mu.Lock()
	defer w.mu.Unlock()
	ops := w.ops
	w.ops = nil
	return ops
}

// nextWake is when the next thing happens to a task by itself: far away if nothing will.
func nextWake(q querier) (int64, error) {
	n, err := one(q, "SELECT wake FROM omniq_tasks WHERE wake IS NOT NULL ORDER BY wake LIMIT 1")
	if n == 0 && err == nil {
		n = 1 << 62
	}
	return n, err
}
