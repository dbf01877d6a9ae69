package postgres

import (
	"context"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

const revokeLeases = `INSERT INTO {s}.revoked (worker, id, token, until)
	SELECT * FROM unnest($1::text[], $2::uuid[], $3::bigint[], $4::timestamptz[])`

// cancelling is what a transaction cancels.
type cancelling struct {
	b       *Backend
	final   map[uuid.UUID]omniq.Status // of the tasks
	endings []ending
	workers list[string] // that lose leases
	queues  []topic      // whose limits may permit more
	follows bool
	n       int // how many were cancelled
}

// cancel cancels those of the tasks that are not final. It fails with errMoved.
func (c *cancelling) cancel(ctx context.Context, q querier, ids []uuid.UUID) error {
	found, final, err := c.b.lock(ctx, q, ids)
	if err != nil {
		return err
	}
	c.final = final
	return c.end(ctx, q, found)
}

// end cancels tasks that are locked.
func (c *cancelling) end(ctx context.Context, q querier, found map[uuid.UUID]*living) error {
	var tasks list[pgtype.UUID]
	var tokens list[int64]
	var untils list[pgtype.Timestamptz]
	for id, l := range found {
		status := omniq.StatusCancelled
		if l.awake && l.late {
			status = omniq.StatusExpired // before anybody could cancel it
		} else {
			c.n++
		}
		e, err := endingOf(l.hold, l.envelope, status, l.now, l.attempt)
		if err != nil {
			return err
		}
		c.endings, c.final[id] = append(c.endings, e), status
		if l.state == stateRunning && !l.awake && l.wake != nil {
			c.workers, tasks, tokens = append(c.workers, l.worker), append(tasks, uuidOf(id)), append(tokens, l.token)
			untils = append(untils, timeOf(*l.wake))
		}
	}
	if len(c.endings) == 0 {
		return nil
	}
	finish, err := c.b.finish(c.endings, true, false, func(q string) { c.queues = append(c.queues, queueTopic(q)) }, func(_ hold, follows bool) { c.follows = c.follows || follows })
	if err != nil {
		return err
	}
	stmts := []stmt{{sql: c.b.sql.of(replaceResults), args: finish.args[:1]}, finish}
	if len(tasks) > 0 {
		stmts = append(stmts, stmt{sql: c.b.sql.of(revokeLeases), args: []any{c.workers, tasks, tokens, untils}})
	}
	return q.run(ctx, stmts...)
}

// topics are of the workers that have lost leases.
func (c *cancelling) topics() []topic {
	topics := make([]topic, len(c.workers), len(c.workers)+len(c.queues))
	for i, w := range c.workers {
		topics[i] = workerTopic(w)
	}
	return append(topics, c.queues...)
}

// announce tells those who wait for the results, and the workers.
func (c *cancelling) announce() {
	c.b.ended(c.endings)
	c.b.tell(c.topics()...)
}

// Cancel ends tasks that are not final: see [omniq.TaskQueue].
func (b *Backend) Cancel(ctx context.Context, ids []uuid.UUID) ([]error, error) {
	var c *cancelling
	err := b.transact(ctx, func(q querier) error {
		c = &cancelling{b: b}
		return c.cancel(ctx, q, ids)
	})
	if err != nil {
		return nil, err
	}
	c.announce()
	if c.follows {
		b.follow(ctx)
	}
	var errs []error
	for i, id := range ids {
		switch status := c.final[id]; status {
		case 0:
			errs = engine.Report(errs, len(ids), i, omniq.ErrNotFound)
		case omniq.StatusCancelled:
		default:
			errs = engine.Report(errs, len(ids), i, stateError(status, "one that is not final"))
		}
	}
	return errs, nil
}

const takeRevoked = `DELETE FROM {s}.revoked WHERE ctid = ANY (ARRAY (
	SELECT ctid FROM {s}.revoked WHERE worker = $1 ORDER BY id, token FOR UPDATE)) RETURNING id, token`

// Revoked waits for leases of the worker that were lost because their tasks were cancelled, and returns them: see
// [omniq.TaskQueue].
func (b *Backend) Revoked(ctx context.Context, workerID string) ([]omniq.LeaseID, error) {
	if err := engine.CheckWorker(workerID); err != nil {
		return nil, err
	}
	if err := b.alive(ctx); err != nil {
		return nil, err
	}
	s := b.hub.watch('w', workerID)
	defer b.hub.cancel(s)
	for {
		var leases []omniq.LeaseID
		bound, cancel := bounded(ctx)
		err := b.write(bound, func() []stmt {
			leases = nil
			return []stmt{{sql: b.sql.of(takeRevoked), args: []any{workerID}, row: func(row scanner) error {
				var h hold
				err := row.Scan((*[16]byte)(&h.id), &h.token)
				leases = append(leases, h.lease())
				return err
			}}}
		})
		cancel()
		if err != nil || len(leases) > 0 {
			return leases, err
		}
		select {
		case <-s.woken:
		case <-ctx.Done():
			return nil, contextError(ctx)
		case <-b.closing:
			return nil, omniq.ErrClosed
		}
	}
}
