package main

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"
)

// rawBatch is how many tasks a transaction has.
const rawBatch = 100

var rawSystem = system{
	name: "raw", title: "raw SQL", module: "modernc.org/sqlite", bulk: true,
	set:  "1 connection, `_txlock=immediate`, 100 tasks a transaction",
	open: openRaw,
}

// rawQueue is the least that a durable queue with leases and results does.
type rawQueue struct {
	db      *sql.DB
	handle  func(n int)
	working sync.WaitGroup
	cancel  context.CancelFunc
	failed  error // read after working
}

const rawSchema = `
CREATE TABLE task (seq INTEGER PRIMARY KEY, name TEXT NOT NULL, args TEXT NOT NULL, leased_until INTEGER NOT NULL DEFAULT 0);
CREATE TABLE result (seq INTEGER PRIMARY KEY, status TEXT NOT NULL, data TEXT NOT NULL, at INTEGER NOT NULL);`

func openRaw(ctx context.Context, o opening) (queue, error) {
	db, err := openDatabase(ctx, o, 1, "_txlock=immediate")
	if err != nil {
		return nil, err
	}
	if _, err := db.ExecContext(ctx, rawSchema); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &rawQueue{db: db, handle: o.handle}, nil
}

func (q *rawQueue) enqueue(context.Context, int) error { return errors.ErrUnsupported }

// fill inserts by one statement a transaction: one for each row takes twice the time.
func (q *rawQueue) fill(ctx context.Context, n int) error {
	const insert = "INSERT INTO task (name, args) VALUES "
	hundred, err := q.db.PrepareContext(ctx, insert+rows(rawBatch))
	if err != nil {
		return err
	}
	for from := 0; from < n && err == nil; from += rawBatch {
		to := min(from+rawBatch, n)
		values := make([]any, 0, 2*rawBatch)
		for i := from; i < to; i++ {
			values = append(values, "noop", "["+strconv.Itoa(i)+"]")
		}
		if to-from == rawBatch {
			_, err = hundred.ExecContext(ctx, values...)
		} else {
			_, err = q.db.ExecContext(ctx, insert+rows(to-from), values...)
		}
	}
	return errors.Join(err, hundred.Close())
}

// rows is the placeholders of n rows.
func rows(n int) string { return strings.TrimSuffix(strings.Repeat("(?, ?), ", n), ", ") }

func (q *rawQueue) start(ctx context.Context) error {
	ctx, q.cancel = context.WithCancel(ctx)
	q.working.Go(func() { q.failed = q.work(ctx) })
	return nil
}

// work leases, runs and acknowledges until no task is left. When stopping ends, it still finishes the batch.
func (q *rawQueue) work(stopping context.Context) (err error) {
	ctx := context.WithoutCancel(stopping)
	var done []byte
	lease, err := q.db.PrepareContext(ctx, `UPDATE task SET leased_until = ?
		WHERE seq IN (SELECT seq FROM task WHERE leased_until <= ? ORDER BY seq LIMIT ?) RETURNING seq, args`)
	if err != nil {
		return err
	}
	remove, err := q.db.PrepareContext(ctx, "DELETE FROM task WHERE seq IN (SELECT value FROM json_each(?))")
	if err != nil {
		return errors.Join(err, lease.Close())
	}
	record, err := q.db.PrepareContext(ctx, "INSERT INTO result SELECT value, 'SUCCESS', 'null', ? FROM json_each(?)")
	if err != nil {
		return errors.Join(err, remove.Close(), lease.Close())
	}
	for ; stopping.Err() == nil && err == nil; err = q.acknowledge(ctx, remove, record, done) {
		if done, err = q.run(ctx, lease); err != nil || done == nil {
			break
		}
	}
	return errors.Join(err, lease.Close(), remove.Close(), record.Close())
}

// run leases tasks and runs them. It returns their numbers as JSON, or nil if there were none.
func (q *rawQueue) run(ctx context.Context, lease *sql.Stmt) (done []byte, err error) {
	now := time.Now()
	leased, err := lease.QueryContext(ctx, now.Add(time.Minute).UnixMicro(), now.UnixMicro(), rawBatch)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, leased.Close()) }()
	for leased.Next() {
		var seq int64
		var args string
		if err := leased.Scan(&seq, &args); err != nil {
			return nil, err
		}
		n, err := strconv.Atoi(strings.Trim(args, "[]"))
		if err != nil {
			return nil, err
		}
		q.handle(n)
		done = strconv.AppendInt(append(done, ','), seq, 10)
	}
	if done != nil {
		done[0] = '['
		done = append(done, ']')
	}
	return done, leased.Err()
}

func (q *rawQueue) acknowledge(ctx context.Context, remove, record *sql.Stmt, done []byte) error {
	tx, err := q.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if _, err := tx.StmtContext(ctx, remove).ExecContext(ctx, string(done)); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	if _, err := tx.StmtContext(ctx, record).ExecContext(ctx, time.Now().UnixMicro(), string(done)); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

func (q *rawQueue) stop(context.Context) error {
	q.cancel()
	q.working.Wait()
	return q.failed
}

func (q *rawQueue) left(ctx context.Context) (int, error) {
	return count(ctx, q.db, "SELECT count(*) FROM task")
}

func (q *rawQueue) close() error { return q.db.Close() }
