package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/postgres"
	"github.com/omniq-go/omniq/internal/pgserver"
)

// connections is the size of each system's pool: one for each of the goroutines that enqueue, and some.
const connections = 70

var postgresEngine = engine{
	name: "postgres",
	systems: []system{
		omniqSystem("defaults of `postgres.New` and `NewWorker`, a result of each task", openPostgres),
		riverOnPostgres("river", "River", "defaults (fetch cooldown 100 ms, poll interval 1 s)", false, 0),
		riverOnPostgres("river-tuned", "River, tuned", "fetch cooldown 2 ms, poll interval 20 ms", true, 0),
		riverOnPostgres("river-bench", "River, as in its bench", "as above, and 2,000 workers whatever -workers is", true, 2000),
		rawPostgres,
		floorPostgres,
	},
	measurements: []measurement{enqueueOne, enqueueMany, burnDownAll, batchesByFour, latencies},
	begin:        beginPostgres,
	place: func(_ settings, name string) string {
		return fmt.Sprintf("bench_%d_%s", os.Getpid(), strings.ReplaceAll(name, "-", "_"))
	},
}

// beginPostgres finds the server that is to be used, or starts one.
func beginPostgres(ctx context.Context, s settings) (heading, url string, end func() error, err error) {
	url, end = cmp.Or(s.url, os.Getenv(pgserver.URLVariable)), func() error { return nil }
	if url == "" {
		if err := os.Chmod(s.dir, 0o755); err != nil { // the server may be another user's process
			return "", "", nil, err
		}
		started, err := pgserver.Start(ctx, s.dir, "max_connections=200") // and else what is usual
		if err != nil {
			return "", "", nil, err
		}
		url, end = started.URL(), started.Close
	}
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		return "", "", nil, errors.Join(err, end())
	}
	const q = `SELECT 'PostgreSQL ' || current_setting('server_version') || ', fsync=' || current_setting('fsync') ||
		', synchronous_commit=' || current_setting('synchronous_commit') ||
		', max_connections=' || current_setting('max_connections')`
	err = errors.Join(c.QueryRow(ctx, q).Scan(&heading), c.Close(ctx))
	if err != nil {
		return "", "", nil, errors.Join(err, end())
	}
	return fmt.Sprintf("%s, a pool of %d for each system", heading, connections), url, end, nil
}

// openPool connects to the server, and makes the schema that is the place. What it returns last removes both.
func openPool(ctx context.Context, o opening) (*pgxpool.Pool, func() error, error) {
	config, err := pgxpool.ParseConfig(o.url)
	if err != nil {
		return nil, nil, err
	}
	config.MaxConns = connections
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, nil, err
	}
	if _, err := pool.Exec(ctx, "CREATE SCHEMA "+o.place); err != nil {
		pool.Close()
		return nil, nil, err
	}
	return pool, func() error {
		_, err := pool.Exec(context.WithoutCancel(ctx), "DROP SCHEMA "+o.place+" CASCADE")
		pool.Close()
		return err
	}, nil
}

func openPostgres(ctx context.Context, o opening) (omniq.Backend, func() error, error) {
	pool, release, err := openPool(ctx, o)
	if err != nil {
		return nil, nil, err
	}
	backend, err := postgres.New(ctx, pool, postgres.WithSchema(o.place), postgres.WithLogger(quiet))
	if err != nil {
		return nil, nil, errors.Join(err, release())
	}
	return backend, func() error { return errors.Join(backend.Close(), release()) }, nil
}

// riverOnPostgres is River with so many workers, or as many as all.
func riverOnPostgres(name, title, set string, tuned bool, workers int) system {
	return system{
		name: name, title: title, module: "github.com/riverqueue/river", set: set,
		open: func(ctx context.Context, o opening) (queue, error) {
			pool, release, err := openPool(ctx, o)
			if err != nil {
				return nil, err
			}
			if workers > 0 {
				o.workers = workers
			}
			config := riverConfig(o, tuned)
			config.Schema = o.place
			client, err := newRiver(ctx, riverpgxv5.New(pool), o, config)
			if err != nil {
				return nil, errors.Join(err, release())
			}
			pending := func(ctx context.Context) (n int, err error) {
				err = pool.QueryRow(ctx, "SELECT count(*) FROM "+o.place+".river_job WHERE state <> 'completed'").Scan(&n)
				return n, err
			}
			return &riverQueue[pgx.Tx]{client, pending, release}, nil
		},
	}
}
