package sqlite

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/omniq-go/omniq"
)

const (
	groupSize  = 1000                   // writes in a transaction at the most
	lockPause  = 2 * time.Millisecond   // between two looks for the lock, at the most
	turn       = 25 * time.Millisecond  // how long a process that always has something to write keeps others away
	turnPause  = 300 * time.Microsecond // when they get their chance
	sweepEvery = time.Second
	sweepPause = 5 * time.Millisecond // when there is more than a transaction removes
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
	parked  []*op
	retry   bool            // what parked ops wait for may be there
	seen    int64           // the data_version: it changes with each commit of others
	paused  map[string]bool // nil if it is to be read
	wake    int64           // when the next thing happens to a task by itself, 0 if it is to be read
	polled  time.Time
	sweep   time.Time // when to sweep next
	resumed time.Time // when others had a chance to write
}

func newWriter(b *Backend, c *conn) *writer {
	return &writer{b: b, c: c, done: make(chan struct{}), kick: make(chan struct{}, 1)}
}

func (w *writer) submit(ctx context.Context, o *op) error {
	if ctx.Err() != nil {
		return contextError(ctx)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return omniq.ErrClosed
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

// next takes what has gathered, and reports whether there is more.
func (w *writer) next() (ops []*op, more bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := min(len(w.ops), groupSize)
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
	for {
		select {
		case <-w.b.closing:
			w.end()
			return
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
}

// end ends what is still to do.
func (w *writer) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	for _, o := range append(w.ops, without(w.parked)...) {
		o.done <- omniq.ErrClosed
	}
	w.ops, w.parked = nil, nil
}

// nextTick is when tick is to be called, if no write comes before.
func (w *writer) nextTick() time.Time {
	next := w.sweep
	if w.wake != 0 {
		if at := time.UnixMicro(w.wake); at.Before(next) {
			next = at
		}
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
	return len(w.parked) > 0 || w.b.awaited.Any() || w.b.events.waits()
}

// tick does what is to be done when nobody writes.
func (w *writer) tick() {
	now := time.Now()
	if w.watched() && now.Sub(w.polled) >= w.b.config.poll {
		w.poll(now)
	}
	w.parked = without(w.parked)
	if w.retry || w.wake != 0 && w.wake <= now.UnixMicro() || !now.Before(w.sweep) {
		w.transact()
	}
}

// without returns the ops whose callers are still there.
func without(ops []*op) []*op {
	kept := ops[:0]
	for _, o := range ops {
		if !o.gone() {
			kept = append(kept, o)
		}
	}
	clear(ops[len(kept):])
	return kept
}

// poll looks for what others have done. An error shows again in the next write, whose callers get it.
func (w *writer) poll(now time.Time) {
	w.polled = now
	changed, err := w.changed()
	if err != nil {
		return
	}
	w.b.awaited.stale = w.b.awaited.stale || changed
	w.b.awaited.check(w.c, now)
	if !changed {
		return
	}
	w.b.events.send()
	if w.wake, err = nextWake(w.c); err != nil {
		w.wake = 0
	}
	w.retry = w.retry || w.stirs()
}

// changed reports whether others have committed something, and forgets what was known of the file then.
func (w *writer) changed() (bool, error) {
	version, err := one(w.c, "PRAGMA data_version")
	if err != nil || version == w.seen {
		return false, err
	}
	w.seen, w.paused, w.wake = version, nil, 0
	return true, nil
}

// stirs reports whether there is something for the parked ops, without a lock.
func (w *writer) stirs() bool {
	looked := make(map[string]bool)
	for _, o := range w.parked {
		if o.queues == nil {
			n, err := one(w.c, "SELECT 1 FROM omniq_revoked WHERE worker = ? LIMIT 1", o.worker)
			if n != 0 && err == nil {
				return true
			}
		}
		for _, q := range o.queues {
			if looked[q] {
				continue
			}
			looked[q] = true
			n, err := one(w.c, "SELECT 1 FROM omniq_tasks WHERE state = 1 AND queue = ? LIMIT 1", q)
			if n != 0 && err == nil {
				return true
			}
		}
	}
	return false
}

// transact does what has gathered, in a transaction.
func (w *writer) transact() {
	err := w.begin()
	ops, more := w.next()
	if more {
		w.poke()
	}
	if err != nil {
		for _, o := range ops {
			o.done <- err
		}
		w.sweep = time.Now().Add(sweepEvery)
		w.wake = max(w.wake, time.Now().Add(w.b.config.poll).UnixMicro())
		return
	}
	mine := ops[:0]
	for _, o := range ops {
		if o.take() {
			mine = append(mine, o)
		}
	}
	if err := w.group(mine); err != nil {
		w.rollback()
		w.alone(mine, err)
	}
	w.yield(more)
}

// alone does each op in a transaction of its own, because together they failed: only those get an error that cannot be
// done.
func (w *writer) alone(ops []*op, err error) {
	if len(ops) == 1 {
		ops[0].done <- err
		return
	}
	for _, o := range ops {
		err := w.begin()
		if err == nil {
			if err = w.group([]*op{o}); err != nil {
				w.rollback()
			}
		}
		if err != nil {
			o.done <- err
		}
	}
}

func (w *writer) rollback() {
	_, _ = w.c.exec("ROLLBACK") // SQLite may have done so already
	w.paused, w.retry = nil, true
	w.sweep = time.Now().Add(sweepEvery)
	w.wake = time.Now().Add(w.b.config.poll).UnixMicro() // not at once: it is likely to fail again
}

// yield lets other processes have the lock, who else may look for it at the wrong moments only.
func (w *writer) yield(more bool) {
	now := time.Now()
	if !more && len(w.kick) == 0 {
		w.resumed = now
		return
	}
	if now.Sub(w.resumed) > turn {
		time.Sleep(turnPause)
		w.resumed = time.Now()
	}
}

// begin begins a transaction when no other process or connection has one. SQLite's own wait has pauses of up to 100 ms.
func (w *writer) begin() error {
	began := time.Now()
	for pause := 50 * time.Microsecond; ; pause = min(pause*3/2, lockPause) {
		_, err := w.c.exec("BEGIN IMMEDIATE")
		var e *sqlite.Error
		if !errors.As(err, &e) || e.Code()&0xff != sqlite3.SQLITE_BUSY || time.Since(began) > w.b.config.lockWait {
			return err
		}
		select {
		case <-w.b.closing:
			return omniq.ErrClosed
		case <-time.After(pause/2 + rand.N(pause)):
		}
	}
}

// group does the ops in the transaction that has begun, and commits it. Their callers hear of it then. With an error,
// nobody has heard anything.
func (w *writer) group(ops []*op) error {
	changed, err := w.changed()
	if err != nil {
		return err
	}
	t := newTx(w.c, &w.b.config)
	retry := w.retry || changed
	if w.wake == 0 || w.wake <= t.us {
		if err := t.advance(); err != nil {
			return err
		}
	}
	swept, full := !t.now.Before(w.sweep), false
	if swept {
		if full, err = t.sweep(); err != nil {
			return err
		}
	}
	var finished, parked []*op
	for _, o := range ops {
		switch err := o.do(t); {
		case err == errPark:
			parked = append(parked, o)
		case err != nil:
			return err
		default:
			finished = append(finished, o)
		}
	}
	served, err := w.serve(t, retry)
	if err == nil {
		err = w.commit(t)
	}
	if err != nil {
		for _, o := range served {
			o.done <- err
		}
		w.parked = except(w.parked, served)
		return err
	}
	w.retry = false
	if swept {
		w.sweep = t.now.Add(sweepEvery)
		if full {
			w.sweep = t.now.Add(sweepPause)
		}
	}
	w.b.awaited.deliver(t.ended)
	w.b.awaited.stale = w.b.awaited.stale || changed
	if t.noted || changed {
		w.b.events.send()
	}
	w.parked = except(w.parked, served)
	for _, o := range append(finished, served...) {
		o.done <- nil
	}
	for _, o := range parked {
		if o.park() {
			w.parked = append(w.parked, o)
		}
	}
	return nil
}

func (w *writer) commit(t *tx) (err error) {
	if err := t.count(); err != nil {
		return err
	}
	if w.wake, err = nextWake(w.c); err != nil {
		return err
	}
	_, err = w.c.exec("COMMIT")
	return err
}

// serve does the parked ops for which there may be something now, and returns those that have found it.
func (w *writer) serve(t *tx, all bool) (served []*op, err error) {
	empty := make(map[string]bool)
	for _, o := range w.parked {
		if !all && len(t.ready) == 0 && len(t.revoked) == 0 {
			break
		}
		stirs := o.queues == nil && (all || t.revoked[o.worker])
		for _, q := range o.queues {
			stirs = stirs || !empty[q] && (all || t.ready[q])
		}
		if !stirs || !o.take() {
			continue
		}
		switch err := o.do(t); {
		case err == errPark:
			for _, q := range o.queues { // the next ones need not look there
				empty[q] = true
				delete(t.ready, q)
			}
			o.park()
		case err != nil:
			return append(served, o), err
		default:
			served = append(served, o)
		}
	}
	return served, nil
}

// except returns the parked ops that are still to be served.
func except(parked, served []*op) []*op {
	if len(served) == 0 {
		return without(parked)
	}
	kept := parked[:0]
	for _, o := range parked {
		if len(served) > 0 && served[0] == o {
			served = served[1:] // they are in the same order
			continue
		}
		if !o.gone() {
			kept = append(kept, o)
		}
	}
	clear(parked[len(kept):])
	return kept
}

// nextWake is when the next thing happens to a task by itself: far away if nothing will.
func nextWake(q querier) (int64, error) {
	n, err := one(q, "SELECT wake FROM omniq_tasks WHERE wake IS NOT NULL ORDER BY wake LIMIT 1")
	if n == 0 && err == nil {
		n = 1 << 62
	}
	return n, err
}
