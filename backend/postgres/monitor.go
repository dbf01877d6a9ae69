package postgres

import (
	"context"
	"encoding/json"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

const (
	beatWorker = `INSERT INTO {s}.workers (id, seen, until, info) VALUES ($1, {now}, {now} + $2 * interval '1 microsecond', $3)
		ON CONFLICT (id) DO UPDATE SET seen = excluded.seen, until = excluded.until, info = excluded.info`
	stopWorker  = "DELETE FROM {s}.workers WHERE id = $1"
	findWorkers = "SELECT id, seen, info FROM {s}.workers WHERE until > {now} ORDER BY id"

	sweepWorkers = `WITH gone AS (
			DELETE FROM {s}.workers WHERE ctid = ANY (ARRAY (
				SELECT ctid FROM {s}.workers WHERE until <= {now} ORDER BY until LIMIT $1 FOR UPDATE SKIP LOCKED)) RETURNING id)
		SELECT count(*) FROM gone`
)

// Beat notes that a worker is there: see [omniq.Monitor].
func (b *Backend) Beat(ctx context.Context, w omniq.WorkerInfo) error {
	if err := engine.CheckBeat(&w); err != nil {
		return err
	}
	info, err := json.Marshal(w)
	if err != nil {
		return err
	}
	beat := stmt{sql: b.sql.of(beatWorker), args: []any{w.ID, microseconds(w.Lease), string(info)}}
	if w.Lease == 0 {
		beat = stmt{sql: b.sql.of(stopWorker), args: []any{w.ID}}
	}
	return b.write(vital(ctx), func() []stmt { return []stmt{{sql: unflushed}, beat} })
}

// Workers returns the workers that are there: see [omniq.Monitor].
func (b *Backend) Workers(ctx context.Context) (workers []omniq.WorkerInfo, err error) {
	err = b.search(ctx, stmt{sql: b.sql.of(findWorkers), row: func(row scanner) error {
		var id, info string
		var seen pgtype.Timestamptz // in a row that was written by hand it may be infinite
		err := row.Scan(&id, &seen, &info)
		workers = append(workers, engine.Worker(id, seen.Time.UTC(), info))
		return err
	}})
	return workers, err
}
