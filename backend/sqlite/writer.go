package sqlite

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
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

	// What it knows of the file, and what is still to be done about what others have committed.
	seen    int64           // the data_version: it changes with each commit of others
	checked bool            // the schema is that of this program
	paused  map[string]bool // nil if it is to be read
	wake    int64           // when the next thing happens to a task by itself, 0 if it is to be read
	retry   bool            // what parked ops wait for may be there
	tell    bool            // events may be there
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
	if w.retry || w.c.failed {
		next = time.Now()
	} else if w.wake != 0 {
		if at := time.Now().Add(time.UnixMicro(w.wake).Sub(w.b.config.clock())); at.Before(next) {
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
	return len(w.parked) > 0 || w.b.awaited.Any() || w.b.events.waits()
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
	due := w.retry || w.c.failed || w.wake != 0 && w.wake <= w.b.config.clock().UnixMicro() || !now.Before(w.sweep)
	if due && !now.Before(w.rest) {
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
	if w.notice() != nil {
		return
	}
	if w.tell {
		w.tell = false
		w.b.events.send()
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
	w.checked, w.paused, w.wake = false, nil, 0
	w.retry, w.tell, w.b.awaited.stale = true, true, true
	return nil
}

// stirs reports whether there may be something for the parked ops, without a lock.
func (w *writer) stirs() bool {
	looked := make(map[string]bool)
	for _, o := range w.parked {
		if o.queues == nil {
			n, err := one(w.c, "SELECT 1 FROM omniq_revoked WHERE worker = ? LIMIT 1", o.worker)
			if n != 0 || err != nil {
				return true
			}
		}
		for _, q := range o.queues {
			if looked[q] {
				continue
			}
			looked[q] = true
			n, err := one(w.c, "SELECT 1 FROM omniq_tasks WHERE state = 1 AND queue = ? LIMIT 1", q)
			if n != 0 || err != nil {
				return true
			}
		}
	}
	return false
}

// light reports whether all that has gathered need not be on the disk when it is done.
func (w *writer) light() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.ops) > 0 && !w.b.config.normal && !slices.ContainsFunc(w.ops, func(o *op) bool { return !o.light })
}

// transact does what has gathered, in a transaction. It does not wait for the disk if nothing in it needs that: the next
// one that does brings all to the disk that was written before.
func (w *writer) transact() {
	light := w.light()
	if light {
		w.c.synchronous("NORMAL")
		defer func() { w.c.synchronous("FULL") }()
	}
	if err := w.begin(); err != nil {
		for _, o := range w.all() {
			o.done <- err
		}
		w.failed()
		return
	}
	ops, more := w.next(light)
	if more {
		w.poke()
	}
	mine := ops[:0]
	for _, o := range ops {
		if o.take() {
			mine = append(mine, o)
		}
	}
	err := w.group(mine)
	if err != nil {
		w.rollback()
	}
	w.b.turns.pass()
	if err != nil {
		w.alone(mine, err)
	}
}

// all takes all that has gathered.
func (w *writer) all() []*op {
	w.mu.Lock()
	defer w.mu.Unlock()
	ops := w.ops
	w.ops = nil
	return ops
}

// alone does each op in a transaction of its own, because together they failed: only those get an error that cannot be
// done.
func (w *writer) alone(ops []*op, err error) {
	if len(ops) == 1 {
		ops[0].done <- err
		return
	}
	for i, o := range ops {
		if err := w.begin(); err != nil {
			for _, o := range ops[i:] { // each would wait as long
				o.done <- err
			}
			w.failed()
			return
		}
		err := w.group([]*op{o})
		if err != nil {
			w.rollback()
		}
		w.b.turns.pass()
		if err != nil {
			o.done <- err
		}
	}
}

// rollback takes back a transaction that has failed. The connection is used again if it has none for sure.
func (w *writer) rollback() {
	_, err := w.c.exec("ROLLBACK")
	var e *sqlite.Error
	if err == nil || errors.As(err, &e) && e.Code()&0xff == sqlite3.SQLITE_ERROR { // SQLite has done so already
		w.c.failed = false
	}
	w.paused, w.wake, w.retry = nil, 0, true
	w.failed()
}

// failed lets the writer do nothing by itself for a moment: it is likely to fail again.
func (w *writer) failed() {
	now := time.Now()
	w.sweep, w.rest = now.Add(sweepEvery), now.Add(failPause)
}

// begin begins a transaction in its turn, in files that are what they were when they were opened.
func (w *writer) begin() error {
	err := w.b.lock(context.Background(), false, func() error {
		if err := w.b.intact(true); err != nil {
			return err
		}
		if w.c.failed {
			if err := w.reopen(); err != nil {
				return err
			}
		}
		_, err := w.c.exec("BEGIN IMMEDIATE")
		if isBusy(err) {
			w.c.failed = false // nothing has happened
		}
		return err
	})
	if err != nil {
		return err
	}
	err = w.check()
	if err != nil {
		w.rollback()
		w.b.turns.pass()
	}
	return err
}

// reopen takes another connection than one whose state is not known. The old one is closed after the new one is there:
// without any SQLite removes the log.
func (w *writer) reopen() error {
	c, err := w.b.connect(false)
	if err != nil {
		return err
	}
	_ = w.c.close() // what there is to say was said when it failed
	w.c, w.seen = c, -1
	return nil
}

// check notices what others have done, and ends the backend if they have changed the schema.
func (w *writer) check() error {
	if err := w.notice(); err != nil {
		return err
	}
	if w.checked {
		return nil
	}
	err := compatible(w.c, w.b.path)
	if errors.Is(err, ErrSchema) {
		w.b.die(err)
	}
	w.checked = err == nil
	return err
}

// group does the ops in the transaction that has begun, and commits it. Their callers hear of it then. With an error,
// nobody has heard anything but those who waited before.
func (w *writer) group(ops []*op) error {
	t := newTx(w.c, &w.b.config)
	if w.wake == 0 || w.wake <= t.us {
		if err := t.advance(); err != nil {
			return err
		}
	}
	swept, full := !time.Now().Before(w.sweep), false
	if swept {
		var err error
		if full, err = t.sweep(); err != nil {
			return err
		}
	}
	finished, parked, err := perform(t, ops)
	if err != nil {
		return err
	}
	served, err := w.serve(t, w.retry)
	if err == nil {
		// What came after one of these in the transaction may be what it waits for.
		var found []*op
		found, parked, err = again(t, parked)
		finished = append(finished, found...)
	}
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
		w.sweep = time.Now().Add(sweepEvery)
		if full {
			w.sweep = time.Now().Add(sweepPause)
		}
	}
	if t.behind { // others get their turn
		w.rest = time.Now().Add(sweepPause)
	}
	if t.recount {
		w.b.recount()
	}
	w.b.awaited.deliver(t.ended)
	if t.noted || w.tell {
		w.tell = false
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

// perform does the ops, and returns which have found something and which have not.
func perform(t *tx, ops []*op) (finished, parked []*op, err error) {
	for _, o := range ops {
		switch err := o.do(t); {
		case err == errPark:
			parked = append(parked, o)
		case err != nil:
			return nil, nil, err
		default:
			finished = append(finished, o)
		}
	}
	return finished, parked, nil
}

// again performs those ops that the transaction has got something for.
func again(t *tx, ops []*op) (finished, parked []*op, err error) {
	for _, o := range ops {
		if !o.stirs(t) {
			parked = append(parked, o)
			continue
		}
		found, not, err := perform(t, []*op{o})
		if err != nil {
			return nil, nil, err
		}
		if len(not) > 0 {
			o.empty(t)
		}
		finished, parked = append(finished, found...), append(parked, not...)
	}
	return finished, parked, nil
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

// serve does the parked ops for which there may be something now, or all of them, and returns those that have found it.
func (w *writer) serve(t *tx, all bool) (served []*op, err error) {
	empty := make(map[string]bool) // queues in which the next ones need not look
	for _, o := range w.parked {
		stirs := o.stirs(t)
		if all {
			stirs = o.queues == nil || slices.ContainsFunc(o.queues, func(q string) bool { return !empty[q] })
		}
		if !stirs || !o.take() {
			continue
		}
		switch err := o.do(t); {
		case err == errPark:
			o.empty(t)
			for _, q := range o.queues {
				empty[q] = true
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
