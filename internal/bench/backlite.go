package main

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/mikestefanello/backlite"
)

func backliteSystem(tuned bool) system {
	s := system{name: "backlite", title: "backlite", module: "github.com/mikestefanello/backlite"}
	connections := 0 // no bound
	s.set = "retention of finished tasks, connections without a bound"
	if tuned {
		connections = 1
		s.name, s.title = "backlite-tuned", "backlite, tuned"
		s.set = "retention of finished tasks, 1 connection"
	}
	s.open = func(ctx context.Context, o opening) (queue, error) {
		return openBacklite(ctx, o, connections)
	}
	return s
}

// backliteTask is the task; its configuration is that of backlite's README.
type backliteTask struct{ N int }

// Config is asked for by backlite.
func (backliteTask) Config() backlite.QueueConfig {
	return backlite.QueueConfig{
		Name: "noop", MaxAttempts: 5, Backoff: 5 * time.Second, Timeout: 10 * time.Second,
		Retention: &backlite.Retention{Duration: 6 * time.Hour, Data: &backlite.RetainData{OnlyFailed: true}},
	}
}

type backliteQueue struct {
	db     *sql.DB
	client *backlite.Client
	cancel context.CancelFunc
}

func openBacklite(ctx context.Context, o opening, connections int) (queue, error) {
	db, err := openDatabase(ctx, o, connections)
	if err != nil {
		return nil, err
	}
	client, err := backlite.NewClient(backlite.ClientConfig{
		DB: db, Logger: quiet, NumWorkers: o.workers, ReleaseAfter: 10 * time.Minute, CleanupInterval: time.Hour,
	})
	if err == nil {
		err = client.Install()
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	client.Register(backlite.NewQueue(func(_ context.Context, t backliteTask) error {
		o.handle(t.N)
		return nil
	}))
	return &backliteQueue{db: db, client: client}, nil
}

func (q *backliteQueue) enqueue(ctx context.Context, n int) error {
	_, err := q.client.Add(backliteTask{n}).Ctx(ctx).Save()
	return err
}

func (q *backliteQueue) fill(ctx context.Context, n int) error {
	tasks := make([]backlite.Task, n)
	for i := range tasks {
		tasks[i] = backliteTask{i}
	}
	_, err := q.client.Add(tasks...).Ctx(ctx).Save()
	return err
}

func (q *backliteQueue) start(ctx context.Context) error {
	ctx, q.cancel = context.WithCancel(ctx)
	q.client.Start(ctx)
	return nil
}

// stop waits for what is being run. When tasks are left, backlite's Stop may wait for places that are never given back,
// as workers end with a task before them; so it is bounded. When none are left it returns at once.
func (q *backliteQueue) stop(ctx context.Context) error {
	defer q.cancel()
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	q.client.Stop(ctx)
	return nil
}

func (q *backliteQueue) left(ctx context.Context) (int, error) {
	return count(ctx, q.db, "SELECT count(*) FROM backlite_tasks")
}

func (q *backliteQueue) close() error { return q.db.Close() }
