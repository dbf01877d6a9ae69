package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"maragu.dev/goqite"
	"maragu.dev/goqite/jobs"
)

const (
	goqitePoll     = 10 * time.Millisecond // as in its README
	goqiteFastPoll = time.Millisecond
)

// goqiteSchema is what goqite's README says to set up; it is in no package of goqite's.
const goqiteSchema = `
create table goqite (
  id text primary key default ('m_' || lower(hex(randomblob(16)))),
  created text not null default (strftime('%Y-%m-%dT%H:%M:%fZ')),
  updated text not null default (strftime('%Y-%m-%dT%H:%M:%fZ')),
  queue text not null,
  body blob not null,
  timeout text not null default (strftime('%Y-%m-%dT%H:%M:%fZ')),
  received integer not null default 0,
  priority integer not null default 0
) strict;

create trigger goqite_updated_timestamp after update on goqite begin
  update goqite set updated = strftime('%Y-%m-%dT%H:%M:%fZ') where id = old.id;
end;

create index goqite_queue_priority_created_idx on goqite (queue, priority desc, created);`

func goqiteSystem(poll time.Duration) system {
	s := system{
		name: "goqite", title: "goqite", module: "maragu.dev/goqite",
		set: fmt.Sprintf("1 connection, poll interval of the runner %v", poll),
		open: func(ctx context.Context, o opening) (queue, error) {
			return openGoqite(ctx, o, poll)
		},
	}
	if poll != goqitePoll {
		s.name, s.title = "goqite-tuned", "goqite, tuned"
	}
	return s
}

type goqiteQueue struct {
	db      *sql.DB
	queue   *goqite.Queue
	runner  *jobs.Runner
	working sync.WaitGroup
	cancel  context.CancelFunc
}

func openGoqite(ctx context.Context, o opening, poll time.Duration) (queue, error) {
	db, err := openDatabase(ctx, o, 1, "_pragma=foreign_keys(1)")
	if err != nil {
		return nil, err
	}
	if _, err := db.ExecContext(ctx, goqiteSchema); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	q := goqite.New(goqite.NewOpts{DB: db, Name: "jobs"})
	runner := jobs.NewRunner(jobs.NewRunnerOpts{Limit: o.workers, PollInterval: poll, Queue: q})
	runner.Register("noop", func(_ context.Context, m []byte) error {
		n, err := strconv.Atoi(string(m))
		if err == nil {
			o.handle(n)
		}
		return err
	})
	return &goqiteQueue{db: db, queue: q, runner: runner}, nil
}

func (q *goqiteQueue) enqueue(ctx context.Context, n int) error {
	_, err := jobs.Create(ctx, q.queue, "noop", goqiteMessage(n))
	return err
}

func goqiteMessage(n int) goqite.Message {
	return goqite.Message{Body: strconv.AppendInt(nil, int64(n), 10)}
}

func (q *goqiteQueue) fill(ctx context.Context, n int) error {
	tx, err := q.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	for i := range n {
		if _, err := jobs.CreateTx(ctx, tx, q.queue, "noop", goqiteMessage(i)); err != nil {
			return errors.Join(err, tx.Rollback())
		}
	}
	return tx.Commit()
}

func (q *goqiteQueue) start(ctx context.Context) error {
	ctx, q.cancel = context.WithCancel(ctx)
	q.working.Go(func() { q.runner.Start(ctx) })
	return nil
}

func (q *goqiteQueue) stop(context.Context) error {
	q.cancel()
	q.working.Wait()
	return nil
}

func (q *goqiteQueue) left(ctx context.Context) (int, error) {
	return count(ctx, q.db, "SELECT count(*) FROM goqite")
}

func (q *goqiteQueue) close() error { return q.db.Close() }
