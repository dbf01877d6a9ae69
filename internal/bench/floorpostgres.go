package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
)

var floorPostgres = floorSystem("unnest and SKIP LOCKED, 100 tasks a statement, 4 goroutines", 4, openFloorPostgres)

// floorPostgresStore is floorSQLiteStore on Postgres: see there. What counts is the sum of what each statement has added: one row of each
// state would let the statements wait for each other.
type floorPostgresStore struct {
	pool                          *pgxpool.Pool
	release                       func() error
	insert, pick, end, find, fold string
}

func openFloorPostgres(ctx context.Context, o opening) (floorStore, error) {
	pool, release, err := openPool(ctx, o)
	if err != nil {
		return nil, err
	}
	in := func(text string) string { return strings.ReplaceAll(text, "{s}", o.place) }
	for _, statement := range []string{
		`CREATE TABLE {s}.task (id uuid PRIMARY KEY, name text NOT NULL, args text NOT NULL, priority int NOT NULL,
			due timestamptz NOT NULL, attempt int NOT NULL DEFAULT 0, token bigint)`,
		"CREATE INDEX ON {s}.task (priority DESC, due)",
		"CREATE TABLE {s}.result (id uuid PRIMARY KEY, status int NOT NULL, data text NOT NULL, at timestamptz NOT NULL)",
		"CREATE TABLE {s}.counts (state int NOT NULL, n bigint NOT NULL)",
	} {
		if _, err := pool.Exec(ctx, in(statement)); err != nil {
			return nil, errors.Join(err, release())
		}
	}
	return &floorPostgresStore{
		pool: pool, release: release,
		insert: in(`WITH stored AS (
				INSERT INTO {s}.task (id, name, args, priority, due)
				SELECT id, 'noop', args, priority, due FROM unnest($1::uuid[], $2::text[], $3::int[], $4::timestamptz[]) AS new (id, args, priority, due)
				WHERE NOT EXISTS (SELECT FROM {s}.result WHERE result.id = new.id)
				ON CONFLICT DO NOTHING RETURNING id),
			counted AS (INSERT INTO {s}.counts SELECT 1, count(*) FROM stored)
			SELECT count(*) FROM stored`),
		pick: in(`WITH leased AS (
				UPDATE {s}.task SET attempt = attempt + 1, token = $1, due = now() + $2
				WHERE ctid = ANY (ARRAY (SELECT ctid FROM {s}.task WHERE due <= now() ORDER BY priority DESC, due LIMIT $3 FOR UPDATE SKIP LOCKED))
				RETURNING id, args, attempt),
			first AS (SELECT count(*) AS n FROM leased WHERE attempt = 1),
			counted AS (INSERT INTO {s}.counts SELECT state, sign * n FROM first, (VALUES (1, -1), (2, 1)) AS v (state, sign) WHERE n > 0)
			SELECT id, args FROM leased`),
		end: in(`WITH done AS (DELETE FROM {s}.task WHERE id = ANY ($1) AND token = $2 AND due > now() RETURNING id),
			recorded AS (INSERT INTO {s}.result SELECT id, 3, 'null', now() FROM done),
			total AS (SELECT count(*) AS n FROM done),
			counted AS (INSERT INTO {s}.counts SELECT state, sign * n FROM total, (VALUES (2, -1), (3, 1)) AS v (state, sign))
			SELECT n FROM total`),
		find: in(`SELECT status FROM {s}.result WHERE id = $1
			UNION ALL SELECT CASE attempt WHEN 0 THEN 1 ELSE 2 END FROM {s}.task WHERE id = $1`),
		fold: in(`WITH gone AS (DELETE FROM {s}.counts RETURNING state, n)
			INSERT INTO {s}.counts SELECT state, sum(n) FROM gone GROUP BY state RETURNING state, n`),
	}, nil
}

func (s *floorPostgresStore) enqueue(ctx context.Context, tasks []handTask) (n int, err error) {
	ids, args := make([]pgtype.UUID, len(tasks)), make([]string, len(tasks))
	priorities, dues := make([]int, len(tasks)), make([]time.Time, len(tasks))
	for i := range tasks {
		t := &tasks[i]
		ids[i], args[i], priorities[i], dues[i] = pgtype.UUID{Bytes: t.id, Valid: true}, t.args, t.priority, t.due
	}
	err = s.pool.QueryRow(ctx, s.insert, ids, args, priorities, dues).Scan(&n)
	return n, err
}

func (s *floorPostgresStore) lease(ctx context.Context, most int, lasts time.Duration) (handLease, error) {
	l := handLease{token: rand.Int64()}
	rows, err := s.pool.Query(ctx, s.pick, l.token, lasts, most)
	if err != nil {
		return l, err
	}
	var id pgtype.UUID
	var args string
	_, err = pgx.ForEachRow(rows, []any{&id, &args}, func() error {
		l.ids, l.args = append(l.ids, id.Bytes), append(l.args, args)
		return nil
	})
	return l, err
}

func (s *floorPostgresStore) settle(ctx context.Context, l handLease) (n int, err error) {
	ids := make([]pgtype.UUID, len(l.ids))
	for i, id := range l.ids {
		ids[i] = pgtype.UUID{Bytes: id, Valid: true}
	}
	err = s.pool.QueryRow(ctx, s.end, ids, l.token).Scan(&n)
	return n, err
}

func (s *floorPostgresStore) result(ctx context.Context, id uuid.UUID) (state int, err error) {
	err = s.pool.QueryRow(ctx, s.find, pgtype.UUID{Bytes: id, Valid: true}).Scan(&state)
	return state, err
}

func (s *floorPostgresStore) counts(ctx context.Context) (map[int]int, error) {
	rows, err := s.pool.Query(ctx, s.fold)
	if err != nil {
		return nil, err
	}
	counts := make(map[int]int)
	var state, n int
	_, err = pgx.ForEachRow(rows, []any{&state, &n}, func() error { counts[state] = n; return nil })
	return counts, err
}

func (s *floorPostgresStore) left(ctx context.Context) (int, error) {
	counts, err := s.counts(ctx)
	return counts[handPending] + counts[handRunning], err
}

func (s *floorPostgresStore) close() error { return s.release() }
