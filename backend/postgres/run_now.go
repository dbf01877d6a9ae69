package postgres

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/omniq-go/omniq/internal/engine"
)

// runNow is for tasks that are locked, and wait for their time.
const runNow = `WITH
	moved AS (
		UPDATE {s}.tasks t SET due = {now}, state = 1, wake = NULL FROM unnest($1::uuid[]) AS i (id)
		WHERE t.id = ANY (ARRAY[i.id]) RETURNING t.queue, t.rank, t.due),
	counted AS (
		INSERT INTO {s}.counts SELECT queue, c.state, c.n FROM (SELECT queue, count(*) AS n FROM moved GROUP BY queue) m
		CROSS JOIN LATERAL (VALUES (0, -m.n), (1, m.n)) c (state, n))
	SELECT queue, rank, due FROM moved`

// RunNow makes tasks due now that wait for their time: see [omniq.TaskQueue].
func (b *Backend) RunNow(ctx context.Context, ids []uuid.UUID) ([]error, error) {
	var errs []error
	var queues map[string]bool
	err := b.awake(ctx, func(q querier) (overdue []uuid.UUID, err error) {
		errs, queues = nil, make(map[string]bool)
		found, final, err := b.lock(ctx, q, ids)
		if err != nil {
			return nil, err
		}
		var wait list[pgtype.UUID]
		for id, l := range found {
			switch {
			case l.awake:
				overdue = append(overdue, id)
			case l.state == stateScheduled:
				wait = append(wait, uuidOf(id))
			}
		}
		for i, id := range ids {
			if l := found[id]; l == nil || l.state != stateScheduled && l.state != stateReady {
				errs = engine.Report(errs, len(ids), i, not("a pending one", l, final[id]))
			}
		}
		if len(overdue) > 0 || len(wait) == 0 {
			return overdue, nil
		}
		return nil, q.run(ctx, b.hasten(wait, queues))
	})
	if err != nil {
		return nil, err
	}
	b.tellQueues(queues)
	return errs, nil
}

// hasten makes tasks due that are locked and wait for their time. It notes their queues.
func (b *Backend) hasten(wait list[pgtype.UUID], queues map[string]bool) stmt {
	return stmt{sql: b.sql.of(runNow), args: []any{wait}, row: func(row scanner) error {
		var queue string
		var rank int64
		var due time.Time
		err := row.Scan(&queue, &rank, &due)
		b.floors.ready(queue, rank, due)
		queues[queue] = true
		return err
	}}
}

func (b *Backend) tellQueues(queues map[string]bool) {
	topics := make([]topic, 0, len(queues))
	for name := range queues {
		topics = append(topics, queueTopic(name))
	}
	b.tell(topics...)
}
