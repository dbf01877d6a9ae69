package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// awaited are the tasks whose results somebody waits for in this process.
type awaited struct {
	engine.Awaited

	// What follows is the writer's.
	stale  bool // others may have ended some of them
	latest time.Time
	took   time.Duration // the last look
}

// Await waits for a task's result: see [omniq.ResultStore].
func (b *Backend) Await(ctx context.Context, id uuid.UUID) (*omniq.RawResult, error) {
	if ctx.Err() != nil {
		return nil, contextError(ctx)
	}
	// Who waits is known before it is looked, so that no end of the task is missed in between.
	began := b.config.clock().Truncate(time.Microsecond)
	w := b.awaited.Begin(id)
	defer b.awaited.Leave(id, w)
	b.w.poke() // to poll from now on
	r, err := b.result(ctx, id, began)
	switch {
	case err != nil && !errors.Is(err, omniq.ErrNotFound):
		return nil, err
	case err == nil && r.Status.Final():
		return r, nil
	case err != nil:
		select {
		case <-w.Done: // it was settled in between, and its result is not kept
			return w.Result, w.Err
		default:
			return nil, err
		}
	}
	b.awaited.Look(w)
	select {
	case <-w.Done:
		return w.Result, w.Err
	case <-ctx.Done():
		return nil, contextError(ctx)
	case <-b.life.Done():
		return nil, b.ended()
	}
}

// deliver tells those who wait for the tasks.
func (a *awaited) deliver(list []ended) {
	for _, e := range list {
		a.End(e.id, e.result, e.err)
	}
}

// check looks for results that others have stored, in a tenth of the time at the most however many wait, but after a
// moment at the latest: a look that took long may have had to wait for a processor.
func (a *awaited) check(c *conn, now time.Time) {
	const moment = 100 * time.Millisecond
	if !a.stale || now.Sub(a.latest) < min(10*a.took, moment) {
		return
	}
	ids, all := a.Looked()
	var found []ended
	var lost []uuid.UUID
	err := c.snapshot(func() (err error) {
		found, lost, err = final(c, ids)
		return err
	})
	if err != nil {
		return // the next look may do
	}
	a.deliver(found)
	for _, id := range lost {
		a.End(id, nil, omniq.ErrNotFound)
	}
	a.stale, a.latest, a.took = !all, time.Now(), time.Since(now)
}

// final returns which of the tasks are final, and which there are not, or no longer. Results count whose time is over:
// it was not when the wait began.
func final(c *conn, ids []uuid.UUID) (found []ended, lost []uuid.UUID, err error) {
	left := make(map[uuid.UUID]bool, len(ids))
	for _, id := range ids {
		left[id] = true
	}
	err = chunks(c, "SELECT t.id FROM list CROSS JOIN omniq_tasks t ON t.id = list.id", ids, func(v []driver.Value) error {
		delete(left, idOf(v[0]))
		return nil
	})
	if err != nil || len(left) == 0 {
		return nil, nil, err
	}
	ids = ids[:0]
	for id := range left {
		ids = append(ids, id)
	}
	err = chunks(c, "SELECT t.id, t.result FROM list CROSS JOIN omniq_results t ON t.id = list.id", ids, func(v []driver.Value) error {
		id, r := idOf(v[0]), new(omniq.RawResult)
		delete(left, id)
		if err := decodeResult(id, text(v[1]), r); err != nil {
			found = append(found, ended{id: id, err: err})
			return nil
		}
		found = append(found, ended{id: id, result: r})
		return nil
	})
	for id := range left {
		lost = append(lost, id)
	}
	return found, lost, err
}

const chunk = 64

// places is a list of IDs. A query begins with it and names it first in a CROSS JOIN: SQLite follows that order, even if
// what it knows of the sizes of tables is old.
var places = "WITH list (id) AS (VALUES " + strings.Repeat("(?), ", chunk-1) + "(?)) "

// chunks does a query for many IDs, some at a time.
func chunks(c *conn, query string, ids []uuid.UUID, row func([]driver.Value) error) error {
	var args [chunk]driver.Value
	for len(ids) > 0 {
		n := min(len(ids), chunk)
		clear(args[n:])
		for i := range n {
			args[i] = ids[i][:]
		}
		if err := c.query(places+query, row, args[:]...); err != nil {
			return err
		}
		ids = ids[n:]
	}
	return nil
}
