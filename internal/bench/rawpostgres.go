package main

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
)

var rawPostgres = system{
	name: "raw", title: "raw SQL", module: "github.com/jackc/pgx/v5", bulk: true, byHand: true,
	set:  "unnest and SKIP LOCKED, 100 tasks a transaction, 4 goroutines",
	open: openRawPostgres,
}

// rawPostgresQueue is the least that a durable queue with leases and results does on Postgres.
type rawPostgresQueue struct {
	pool    *pgxpool.Pool
	schema  string
	release func() error
	handle  func(n int)
	working sync.WaitGroup
	cancel  context.CancelFunc
	mu      sync.Mutex
	failed  error
}

func openRawPostgres(ctx context.Context, o opening) (queue, error) {
	pool, release, err := openPool(ctx, o)
	if err != nil {
		return nil, err
	}
	q := &rawPostgresQueue{pool: pool, schema: o.place, release: release, handle: o.handle}
	for _, statement := range []string{
		"CREATE TABLE {s}.task (id uuid PRIMARY KEY, seq bigserial, leased_until timestamptz, name text NOT NULL, args text NOT NULL)",
		"CREATE INDEX ON {s}.task (seq) WHERE leased_until IS NULL",
		"CREATE TABLE {s}.result (id uuid PRIMARY KEY, status text NOT NULL, data text NOT NULL, at timestamptz NOT NULL)",
	} {
		if _, err := pool.Exec(ctx, q.sql(statement)); err != nil {
			return nil, errors.Join(err, release())
		}
	}
	return q, nil
}

func (q *rawPostgresQueue) sql(template string) string {
	return strings.ReplaceAll(template, "{s}", q.schema)
}

func (q *rawPostgresQueue) enqueue(context.Context, int) error { return errors.ErrUnsupported }

func (q *rawPostgresQueue) fill(ctx context.Context, n int) error {
	insert := q.sql("INSERT INTO {s}.task (id, name, args) SELECT id, 'noop', args FROM unnest($1::uuid[], $2::text[]) AS i (id, args)")
	for from := 0; from < n; from += rawBatch {
		size := min(rawBatch, n-from)
		ids, args := make(pgtype.FlatArray[pgtype.UUID], size), make(pgtype.FlatArray[string], size)
		for i := range ids {
			ids[i] = pgtype.UUID{Bytes: uuid.Must(uuid.NewV7()), Valid: true}
			args[i] = "[" + strconv.Itoa(from+i) + "]"
		}
		if _, err := q.pool.Exec(ctx, insert, ids, args); err != nil {
			return err
		}
	}
	return nil
}

func (q *rawPostgresQueue) start(ctx context.Context) error {
	ctx, q.cancel = context.WithCancel(ctx)
	for range 4 {
		q.working.Go(func() {
			_, err := q.work(ctx, rawBatch, q.handle)
			q.mu.Lock()
			defer q.mu.Unlock()
			q.failed = errors.Join(q.failed, err)
		})
	}
	return nil
}

func (q *rawPostgresQueue) drain(ctx context.Context, batch int) (int, error) {
	return q.work(ctx, batch, func(int) {})
}

// work leases, runs and settles until no task is left. When stopping ends, it still finishes the batch.
func (q *rawPostgresQueue) work(stopping context.Context, batch int, handle func(int)) (n int, err error) {
	ctx := context.WithoutCancel(stopping)
	lease := q.sql(`UPDATE {s}.task SET leased_until = now() + interval '1 minute'
		WHERE ctid = ANY (ARRAY (SELECT ctid FROM {s}.task WHERE leased_until IS NULL ORDER BY seq LIMIT $1 FOR UPDATE SKIP LOCKED))
		RETURNING id, args`)
	remove := q.sql("DELETE FROM {s}.task WHERE id = ANY ($1)")
	record := q.sql("INSERT INTO {s}.result SELECT id, 'SUCCESS', 'null', now() FROM unnest($1::uuid[]) AS id")
	for stopping.Err() == nil {
		rows, err := q.pool.Query(ctx, lease, batch)
		if err != nil {
			return n, err
		}
		var ids pgtype.FlatArray[pgtype.UUID]
		var id pgtype.UUID
		var args string
		_, err = pgx.ForEachRow(rows, []any{&id, &args}, func() error {
			number, err := strconv.Atoi(strings.Trim(args, "[]"))
			ids = append(ids, id)
			handle(number)
			return err
		})
		if err != nil || len(ids) == 0 {
			return n, err
		}
		err = pgx.BeginFunc(ctx, q.pool, func(tx pgx.Tx) error {
			var both pgx.Batch
			both.Queue(remove, ids)
			both.Queue(record, ids)
			return tx.SendBatch(ctx, &both).Close()
		})
		if err != nil {
			return n, err
		}
		n += len(ids)
	}
	return n, nil
}

func (q *rawPostgresQueue) stop(context.Context) error {
	q.cancel()
	q.working.Wait()
	return q.failed
}

func (q *rawPostgresQueue) left(ctx context.Context) (n int, err error) {
	err = q.pool.QueryRow(ctx, q.sql("SELECT count(*) FROM {s}.task")).Scan(&n)
	return n, err
}

func (q *rawPostgresQueue) close() error { return q.release() }
