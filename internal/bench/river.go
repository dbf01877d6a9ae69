package main

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivermigrate"
)

func riverSystem(tuned bool) system {
	s := system{
		name: "river", title: "River", module: "github.com/riverqueue/river",
		set: "1 connection, defaults (fetch cooldown 100 ms, poll interval 1 s)",
		open: func(ctx context.Context, o opening) (queue, error) {
			return openRiver(ctx, o, tuned)
		},
	}
	if tuned {
		s.name, s.title = "river-tuned", "River, tuned"
		s.set = "1 connection, fetch cooldown 2 ms, poll interval 20 ms"
	}
	return s
}

// riverArgs is the task.
type riverArgs struct {
	N int `json:"n"`
}

// Kind is asked for by River.
func (riverArgs) Kind() string { return "noop" }

// riverQueue is River on a driver whose transactions are of type T.
type riverQueue[T any] struct {
	client  *river.Client[T]
	pending func(ctx context.Context) (int, error) // jobs that are not completed
	release func() error
}

func openRiver(ctx context.Context, o opening, tuned bool) (queue, error) {
	db, err := openDatabase(ctx, o, 1)
	if err != nil {
		return nil, err
	}
	client, err := newRiver(ctx, riversqlite.New(db), o, riverConfig(o, tuned))
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	pending := func(ctx context.Context) (int, error) {
		return count(ctx, db, "SELECT count(*) FROM river_job WHERE state <> 'completed'")
	}
	return &riverQueue[*sql.Tx]{client, pending, db.Close}, nil
}

func riverConfig(o opening, tuned bool) *river.Config {
	config := &river.Config{
		Logger:  quiet,
		Queues:  map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: o.workers}},
		Workers: river.NewWorkers(),
	}
	if tuned {
		config.FetchCooldown, config.FetchPollInterval = 2*time.Millisecond, 20*time.Millisecond
	}
	return config
}

// newRiver makes River's tables and a client.
func newRiver[T any](ctx context.Context, driver riverdriver.Driver[T], o opening, config *river.Config) (*river.Client[T], error) {
	migrator, err := rivermigrate.New(driver, &rivermigrate.Config{Logger: quiet, Schema: config.Schema})
	if err != nil {
		return nil, err
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return nil, err
	}
	river.AddWorker(config.Workers, river.WorkFunc(func(_ context.Context, job *river.Job[riverArgs]) error {
		o.handle(job.Args.N)
		return nil
	}))
	return river.NewClient(driver, config)
}

func (q *riverQueue[T]) enqueue(ctx context.Context, n int) error {
	_, err := q.client.Insert(ctx, riverArgs{n}, nil)
	return err
}

func (q *riverQueue[T]) fill(ctx context.Context, n int) error {
	const batch = 1000
	for from := 0; from < n; from += batch {
		jobs := make([]river.InsertManyParams, 0, batch)
		for i := from; i < min(from+batch, n); i++ {
			jobs = append(jobs, river.InsertManyParams{Args: riverArgs{i}})
		}
		if _, err := q.client.InsertManyFast(ctx, jobs); err != nil {
			return err
		}
	}
	return nil
}

func (q *riverQueue[T]) start(ctx context.Context) error { return q.client.Start(ctx) }

func (q *riverQueue[T]) stop(ctx context.Context) error { return q.client.Stop(ctx) }

func (q *riverQueue[T]) left(ctx context.Context) (int, error) { return q.pending(ctx) }

func (q *riverQueue[T]) close() error { return q.release() }
