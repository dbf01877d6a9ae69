package sqlite

import (
	"context"
	"database/sql/driver"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// Resolve ends manual tasks: see [omniq.TaskQueue].
func (b *Backend) Resolve(ctx context.Context, results []*omniq.RawResult) ([]error, error) {
	if err := engine.CheckResolutions(results); err != nil {
		return nil, err
	}
	envelopes := make([]string, len(results))
	for i, r := range results {
		var err error
		if envelopes[i], err = encodeResult(r); err != nil {
			return nil, err
		}
	}
	results = slices.Clone(results)
	return b.each(ctx, len(results), func(t *tx, i int) (refused, err error) {
		r, err := t.find(results[i].TaskID)
		if err != nil {
			return nil, err
		}
		if r == nil || r.ties&tieManual == 0 {
			return t.not("a manual one that waits", r, results[i].TaskID)
		}
		if _, err := t.q.exec("DELETE FROM omniq_tasks WHERE seq = ?", r.seq); err != nil {
			return nil, err
		}
		return nil, t.finish(r, results[i], envelopes[i])
	})
}

// CancelFlow ends the members of a flow that are not final: see [omniq.TaskQueue].
func (b *Backend) CancelFlow(ctx context.Context, flow uuid.UUID) (int, error) {
	n := 0
	for {
		ended, left, known := 0, false, false
		err := b.write(ctx, func(t *tx) (err error) {
			ended, left, known, err = t.cancelSome(flow)
			return err
		})
		n += ended
		switch {
		case err != nil:
			return n, err
		case !known && n == 0:
			return 0, omniq.ErrNotFound
		case !left:
			return n, nil
		}
	}
}

// cancelSome ends some members of a flow, the last ones first, so that none ends because of another. It returns how many, and
// reports whether there may be more, and whether anything is kept of the flow.
func (t *tx) cancelSome(flow uuid.UUID) (n int, left, known bool, err error) {
	allowed := t.allowed
	all, err := within(&allowed, func() (more bool, err error) {
		var ids []uuid.UUID
		err = t.q.query("SELECT id FROM omniq_tasks WHERE flow = ? ORDER BY member DESC LIMIT ?",
			func(v []driver.Value) error { ids = append(ids, idOf(v[0])); return nil }, flow[:], int64(stride))
		if err != nil {
			return false, err
		}
		for _, id := range ids {
			r, err := t.find(id)
			if err != nil {
				return false, err
			}
			if r == nil { // it has expired
				continue
			}
			if err := t.cancel(r); err != nil {
				return false, err
			}
			n++
		}
		known = known || len(ids) > 0
		return len(ids) == stride, nil
	})
	if err != nil || known {
		return n, !all, known, err
	}
	kept, err := one(t.q, "SELECT 1 FROM omniq_results WHERE flow = ? AND (expires IS NULL OR expires > ?) LIMIT 1", flow[:], t.us)
	return 0, false, kept != 0, err
}

// FlowStats returns figures of a flow: see [omniq.TaskQueue]. Its time is that of the number of members.
func (b *Backend) FlowStats(ctx context.Context, flow uuid.UUID) (omniq.FlowStats, error) {
	var stats omniq.FlowStats
	err := b.caughtUp(ctx, func(c *conn) (err error) {
		stats, err = readFlow(c, flow, b.config.clock())
		return err
	})
	if err == nil && stats.Members() == 0 {
		err = omniq.ErrNotFound
	}
	return stats, err
}

func readFlow(c *conn, flow uuid.UUID, now time.Time) (s omniq.FlowStats, err error) {
	const (
		tasks = `SELECT count(*) FILTER (WHERE state = 7), count(*) FILTER (WHERE state IN (0, 1)), count(*) FILTER (WHERE state = 2)
			FROM omniq_tasks INDEXED BY omniq_tasks_flow WHERE flow = ?`
		results = `SELECT count(*) FILTER (WHERE status = 3), count(*) FILTER (WHERE status = 4), count(*) FILTER (WHERE status = 5),
			count(*) FILTER (WHERE status = 6)
			FROM omniq_results INDEXED BY omniq_results_flow WHERE flow = ? AND (expires IS NULL OR expires > ?)`
	)
	counts := func(to ...*int) func(v []driver.Value) error {
		return func(v []driver.Value) error {
			for i, n := range to {
				*n = int(v[i].(int64))
			}
			return nil
		}
	}
	if err := c.query(tasks, counts(&s.Waiting, &s.Pending, &s.Running), flow[:]); err != nil {
		return s, err
	}
	err = c.query(results, counts(&s.Succeeded, &s.Failed, &s.Cancelled, &s.Expired), flow[:], now.UnixMicro())
	return s, err
}

// listFlow returns a page of members of a flow, and after which number the next one begins, 0 for none. It looks at few members
// at a time.
func listFlow(c *conn, r *omniq.ListRequest, after, now int64) (page []tiedInfo, next int64, err error) {
	const (
		last = `SELECT max(ifnull((SELECT member FROM omniq_tasks WHERE flow = ?1 ORDER BY member DESC LIMIT 1), 0),
			ifnull((SELECT member FROM omniq_results WHERE flow = ?1 ORDER BY member DESC LIMIT 1), 0))`
		members = "SELECT member, " + taskInfo + ` FROM omniq_tasks
			WHERE flow = ?1 AND member > ?2 AND member <= ?3 AND state BETWEEN ?5 AND ?6 AND (?8 = '' OR queue = ?8)
			UNION ALL SELECT member, ` + resultInfo + ` FROM omniq_results
			WHERE flow = ?1 AND member > ?2 AND member <= ?3 AND status BETWEEN ?5 AND ?6 AND (expires IS NULL OR expires > ?7)
			AND (?8 = '' OR queue = ?8) ORDER BY member LIMIT ?4`
	)
	from, to := int64(r.Status), int64(r.Status)
	switch r.Status {
	case 0:
		from, to = 0, stateWaiting
	case omniq.StatusPending:
		from, to = stateScheduled, stateReady
	}
	end, err := one(c, last, r.Flow[:])
	if err != nil {
		return nil, 0, err
	}
	upto := min(after+omniq.MaxListed, end)
	err = c.query(members, func(v []driver.Value) error {
		if len(page) == r.Max {
			return errEnough
		}
		info, err := inspect(v, 0) // the query has looked at the time
		page, next = append(page, info), v[0].(int64)
		return err
	}, r.Flow[:], after, upto, int64(r.Max)+1, from, to, now, r.Queue)
	switch {
	case err == errEnough:
		return page, next, nil
	case err != nil || upto >= end:
		return page, 0, err
	}
	return page, upto, nil
}
