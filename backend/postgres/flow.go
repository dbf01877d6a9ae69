package postgres

import (
	"context"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

const (
	openMembers = "SELECT id FROM {s}.tasks WHERE flow = $1 ORDER BY flow, id LIMIT $2"

	countMembers = `SELECT state, count(*) FROM {s}.tasks WHERE flow = $1 GROUP BY state
		UNION ALL SELECT status, count(*) FROM {s}.results WHERE flow = $1 AND (expires IS NULL OR expires > {now}) GROUP BY status`
)

// CancelFlow ends the members of a flow that are not final: see [omniq.TaskQueue]. It waits for locked rows as Cancel does.
func (b *Backend) CancelFlow(ctx context.Context, flow uuid.UUID) (int, error) {
	stats, err := b.FlowStats(ctx, flow)
	if err != nil {
		return 0, err
	}
	if stats.Open() == 0 {
		return 0, nil
	}
	for n := 0; ; {
		var ids []uuid.UUID
		err := b.search(ctx, stmt{sql: b.sql.of(openMembers), args: []any{uuidOf(flow), mostTold}, row: func(row scanner) error {
			var id uuid.UUID
			err := row.Scan((*[16]byte)(&id))
			ids = append(ids, id)
			return err
		}})
		if err != nil || len(ids) == 0 {
			return n, err
		}
		var c *cancelling
		err = b.transact(ctx, func(q querier) error {
			c = &cancelling{b: b}
			return c.cancel(ctx, q, ids)
		})
		if err != nil {
			return n, err
		}
		n += c.n
		c.announce()
		if c.follows {
			b.follow(ctx)
		}
	}
}

// FlowStats returns figures of a flow: see [omniq.TaskQueue]. It looks at each of its members.
func (b *Backend) FlowStats(ctx context.Context, flow uuid.UUID) (omniq.FlowStats, error) {
	if err := b.settled(ctx); err != nil {
		return omniq.FlowStats{}, err
	}
	var stats omniq.FlowStats
	err := b.search(ctx, stmt{sql: b.sql.of(countMembers), args: []any{uuidOf(flow)}, row: func(row scanner) error {
		var state int16
		var n int
		err := row.Scan(&state, &n)
		status := omniq.Status(state)
		if state <= stateRunning {
			status = statusOf(state)
		}
		engine.CountMember(&stats, status, n)
		return err
	}})
	if err == nil && stats.Members() == 0 {
		err = omniq.ErrNotFound
	}
	return stats, err
}

// Resolve ends manual tasks: see [omniq.TaskQueue].
func (b *Backend) Resolve(ctx context.Context, results []*omniq.RawResult) ([]error, error) {
	if err := engine.CheckResolutions(results); err != nil {
		return nil, err
	}
	ids := make([]uuid.UUID, len(results))
	texts := make([]string, len(results))
	for i, r := range results {
		ids[i] = r.TaskID
		var err error
		if texts[i], err = encodeResult(r); err != nil {
			return nil, err
		}
	}
	const want = "a manual one that waits"
	var errs []error
	var endings []ending
	var follows bool
	err := b.awake(ctx, func(q querier) (overdue []uuid.UUID, err error) {
		errs, endings, follows = nil, nil, false
		found, final, err := b.lock(ctx, q, ids)
		if err != nil {
			return nil, err
		}
		for i, r := range results {
			switch l := found[r.TaskID]; {
			case l != nil && l.awake:
				overdue = append(overdue, r.TaskID)
			case l != nil && l.manual && final[r.TaskID] == 0:
				endings = append(endings, ending{hold: l.hold, result: r, envelope: texts[i]})
				final[r.TaskID] = r.Status
			case l != nil && final[r.TaskID] != 0: // by this call
				errs = engine.Report(errs, len(results), i, stateError(final[r.TaskID], want))
			default:
				errs = engine.Report(errs, len(results), i, not(want, l, final[r.TaskID]))
			}
		}
		if len(overdue) > 0 || len(endings) == 0 {
			return overdue, nil
		}
		finish, err := b.finish(endings, true, false, func(string) {}, func(_ hold, more bool) { follows = follows || more })
		if err != nil {
			return nil, err
		}
		return nil, q.run(ctx, stmt{sql: b.sql.of(replaceResults), args: finish.args[:1]}, finish)
	})
	if err != nil {
		return nil, err
	}
	b.ended(endings)
	if follows {
		b.follow(ctx)
	}
	return errs, nil
}
