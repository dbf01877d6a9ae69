package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"slices"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/logkey"
)

// furnish adds what tasks get that were handed out, beside themselves. Their leases are given back if that cannot be read.
func (b *Backend) furnish(ctx context.Context, l *leasing) error {
	const some = tieEdges | tieNotes
	if !slices.ContainsFunc(l.got, func(g leased) bool { return g.ties&some != 0 }) {
		return nil
	}
	ctx = context.WithoutCancel(ctx) // they are handed out
	err := b.read(ctx, func(c *conn) error {
		for i := range l.got {
			if l.got[i].ties&some == 0 {
				continue
			}
			if err := c.snapshot(func() error { return l.got[i].furnish(c) }); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		return nil
	}
	back := make([]omniq.Settlement, len(l.got))
	for i, g := range l.got {
		back[i] = omniq.Settlement{LeaseID: omniq.LeaseID{TaskID: g.id, Token: formatToken(l.token)}, Action: omniq.ActionRelease}
	}
	_, backErr := b.Settle(ctx, back) // or they run out
	return errors.Join(err, backErr)
}

func (g *leased) furnish(c *conn) error {
	if g.ties&tieEdges != 0 {
		const q = `SELECT CASE WHEN e.input = 1 THEN r.result END, e.dep FROM omniq_edges e LEFT JOIN omniq_results r ON r.id = e.dep
			WHERE e.task = ? AND e.n >= ? AND e.n < ? ORDER BY e.n`
		from, to := current(g.ties)
		if err := c.query(q, g.addInput, g.id[:], from, to); err != nil {
			return err
		}
	}
	if g.ties&tieNotes == 0 {
		return nil
	}
	return c.query("SELECT data FROM omniq_notes WHERE id = ? AND kind = ?", func(v []driver.Value) error {
		g.state = omniq.Raw(text(v[0]))
		return nil
	}, g.id[:], noteState)
}

// addInput adds the next input. Once they are too many, none is kept.
func (g *leased) addInput(v []driver.Value) error {
	var r *omniq.RawResult
	if envelope := text(v[0]); envelope != "" {
		r = new(omniq.RawResult)
		if err := decodeResult(idOf(v[1]), envelope, r); err != nil {
			g.failed = err
			return nil
		}
		g.size += int64(len(r.ResultData))
	}
	if g.inputs = append(g.inputs, r); g.size > omniq.MaxInputs {
		g.inputs = nil
	}
	return nil
}

// needed returns a task that is kept, has not succeeded, and of which the result of another one is an input: zero for none.
func needed(q querier, id uuid.UUID, now int64) (by uuid.UUID, err error) {
	const find = `SELECT e.task FROM omniq_edges e WHERE e.dep = ?1 AND e.input = 1 AND (
			EXISTS (SELECT 1 FROM omniq_tasks t WHERE t.id = e.task) OR
			EXISTS (SELECT 1 FROM omniq_results r WHERE r.id = e.task AND r.status > 3 AND (r.expires IS NULL OR r.expires > ?2)))
		LIMIT 1`
	err = q.query(find, func(v []driver.Value) error { by = idOf(v[0]); return nil }, id[:], now)
	return by, err
}

// needInput notes that there is another task that needs a result which is there. Who has just found that it is not needed looks
// again.
func (t *tx) needInput(id uuid.UUID, ties int64) error {
	_, err := t.q.exec(`UPDATE omniq_results SET ties = ties | ?, until = coalesce(until, expires), look = coalesce(look + 1, expires),
		expires = NULL WHERE id = ?`, ties, id[:])
	return err
}

// reviewIsDue reports whether there are results that are kept for others, and may not be needed any more.
func (t *tx) reviewIsDue() (bool, error) {
	n, err := one(t.q, "SELECT 1 FROM omniq_results INDEXED BY omniq_results_look WHERE look <= ? LIMIT 1", t.us)
	return n != 0, err
}

// review looks which results that are kept for others are still needed, unless another call does. To look may take long, and
// so it is done aside.
func (b *Backend) review() {
	if !b.reviewing.CompareAndSwap(false, true) {
		return
	}
	go func() {
		defer b.reviewing.Store(false)
		for more := true; more; {
			var err error
			if more, err = b.reviewSome(b.life); err != nil && b.life.Err() == nil {
				b.config.logger.Warn("sqlite: the results that tasks wait for could not be looked at", logkey.Error, err)
			}
		}
	}()
}

// look is a result that is kept for others.
type look struct {
	id            uuid.UUID
	until, number int64 // number changes when there is another one that needs it
	needed        bool
}

// reviewSome looks at some results, and reports whether there may be more.
func (b *Backend) reviewSome(ctx context.Context) (more bool, err error) {
	var list []look
	err = b.read(ctx, func(c *conn) error {
		return c.snapshot(func() error {
			now := b.config.clock().UnixMicro()
			list = list[:0]
			const q = "SELECT id, until, look FROM omniq_results INDEXED BY omniq_results_look WHERE look <= ? ORDER BY look LIMIT ?"
			err := c.query(q, func(v []driver.Value) error {
				list = append(list, look{idOf(v[0]), v[1].(int64), v[2].(int64), false})
				return nil
			}, now, int64(stride))
			for i := range list {
				var by uuid.UUID
				if by, err = needed(c, list[i].id, now); err != nil {
					return err
				}
				list[i].needed = by != uuid.Nil
			}
			return err
		})
	})
	if err != nil || len(list) == 0 {
		return false, err
	}
	err = b.write(ctx, func(t *tx) error {
		for _, l := range list {
			if err := t.reviewed(&l); err != nil {
				return err
			}
		}
		return nil
	})
	return len(list) == stride, err
}

// reviewed lets a result go that is not needed any more.
func (t *tx) reviewed(l *look) (err error) {
	if l.needed { // the longer it has been so, the later it is looked at again
		_, err = t.q.exec("UPDATE omniq_results SET look = ? WHERE id = ? AND look = ?",
			t.us+max(sweepEvery.Microseconds(), (t.us-l.until)/2), l.id[:], l.number)
		return err
	}
	_, err = t.q.exec("UPDATE omniq_results SET expires = ?, look = NULL WHERE id = ? AND look = ?", t.us, l.id[:], l.number)
	return err
}
