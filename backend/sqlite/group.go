package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"slices"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

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
	w.pass()
	if err != nil {
		w.alone(mine, err)
	}
}

// light reports whether all that has gathered need not be on the disk when it is done.
func (w *writer) light() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.ops) > 0 && !w.b.config.normal && !slices.ContainsFunc(w.ops, func(o *op) bool { return !o.light })
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
		w.pass()
		if err != nil {
			o.done <- err
		}
	}
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
	w.began = time.Now()
	err = w.check()
	if err != nil {
		w.rollback()
		w.pass()
	}
	return err
}

// pass ends a turn.
func (w *writer) pass() {
	if w.b.config.held != nil {
		w.b.config.held(time.Since(w.began))
	}
	w.b.turns.pass()
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

// rollback takes back a transaction that has failed. The connection is used again if it has none for sure.
func (w *writer) rollback() {
	_, err := w.c.exec("ROLLBACK")
	var e *sqlite.Error
	if err == nil || errors.As(err, &e) && e.Code()&0xff == sqlite3.SQLITE_ERROR { // SQLite has done so already
		w.c.failed = false
	}
	w.paused, w.bounds, w.wake, w.retry, w.told = nil, bounds{}, 0, true, false
	w.failed()
}

// failed lets the writer do nothing by itself for a moment: it is likely to fail again.
func (w *writer) failed() {
	now := time.Now()
	w.sweep, w.rest = now.Add(sweepEvery), now.Add(failPause)
}

// group does the ops in the transaction that has begun, and commits it. Their callers hear of it then. With an error,
// nobody has heard anything but those who waited before.
func (w *writer) group(ops []*op) error {
	t := newTx(w.c, &w.b.config)
	t.bounds = &w.bounds
	t.allowed, t.spare = w.pace.allowed, w.pace.allowed
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
	housed := time.Now()
	finished, parked, err := perform(t, ops)
	if err != nil {
		return err
	}
	if err := t.tell(w.left || !w.told); err != nil {
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
		err = t.defers() // what follows from it comes soon: here it would come after those who wait for it
	}
	done := time.Now()
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
	if w.retry { // all that waits has looked
		w.opens = 0
	}
	if t.opens != 0 && (w.opens == 0 || t.opens < w.opens) {
		w.opens = t.opens
	}
	w.retry, w.told, w.left = false, true, t.left
	if t.behind || t.left || full {
		// To commit takes as much longer as there is to it.
		share := float64(housed.Sub(w.began)) / float64(done.Sub(w.began))
		w.pace.took(time.Duration(share*float64(time.Since(w.began))), w.b.config.allowance)
	}
	if swept {
		w.sweep = time.Now().Add(sweepEvery)
		if full {
			w.sweep = time.Now().Add(sweepPause)
		}
	}
	if t.behind || t.left { // others get their turn
		w.rest = time.Now().Add(sweepPause)
	}
	if t.recount {
		w.b.recount()
	}
	if t.review {
		w.b.review()
	}
	w.b.awaited.deliver(t.ended)
	w.b.streams.stir(t)
	if t.noted || w.tell {
		w.b.events.send()
	}
	if w.tell {
		w.tell = false
		w.b.streams.stirAll()
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
	if w.shrunk = w.shrunk || t.shrunk; w.shrunk && swept && !full {
		w.shrunk = false
		// SQLite makes the file smaller when the log is in it. While somebody reads that fails, and it does so by itself later.
		_ = w.c.query("PRAGMA wal_checkpoint(TRUNCATE)", func([]driver.Value) error { return nil })
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

// commit commits what the transaction has done. It fails also if the files were deleted meanwhile: what is acknowledged is
// in files that were there after that.
func (w *writer) commit(t *tx) (err error) {
	if err := t.count(); err != nil {
		return err
	}
	if w.wake, err = nextWake(w.c); err != nil {
		return err
	}
	if _, err = w.c.exec("COMMIT"); err != nil {
		return err
	}
	return w.b.intact(true)
}
