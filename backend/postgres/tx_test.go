package postgres_test

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/backendtest"
	"github.com/omniq-go/omniq/backend/postgres"
)

// transaction is one of the caller's, of pgx or of database/sql.
type transaction struct {
	omniq.Enqueuer
	exec             func(sql string, args ...any) error
	commit, rollback func() error
}

// transactions begin one of each kind.
func transactions(t *testing.T, b *postgres.Backend) map[string]func(*testing.T) transaction {
	db := stdlib.OpenDBFromPool(b.Pool())
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	ctx := context.Background()
	return map[string]func(*testing.T) transaction{
		"pgx": func(t *testing.T) transaction {
			tx, err := b.Pool().Begin(ctx)
			require.NoError(t, err)
			t.Cleanup(func() { _ = tx.Rollback(ctx) }) // of a test that failed
			return transaction{
				b.Tx(tx),
				func(sql string, args ...any) error { _, err := tx.Exec(ctx, sql, args...); return err },
				func() error { return tx.Commit(ctx) }, func() error { return tx.Rollback(ctx) },
			}
		},
		"database/sql": func(t *testing.T) transaction {
			tx, err := db.Begin()
			require.NoError(t, err)
			t.Cleanup(func() { _ = tx.Rollback() }) // of a test that failed
			return transaction{
				b.SQLTx(tx),
				func(sql string, args ...any) error { _, err := tx.Exec(sql, args...); return err },
				tx.Commit, tx.Rollback,
			}
		},
	}
}

// A task exists if the caller's transaction commits, and only then; its commit wakes who waits for tasks.
func TestTx(t *testing.T) {
	name := schema(t)
	b := open(t, postgres.WithSchema(name), postgres.WithEvents(time.Hour), postgres.WithPollInterval(time.Hour))
	listening(t, b, name, 1)
	_, err := b.Pool().Exec(t.Context(), "CREATE TABLE "+name+".orders (id text)")
	require.NoError(t, err)
	n := 0
	for kind, begin := range transactions(t, b) {
		t.Run(kind, func(t *testing.T) {
			n++
			for _, commit := range []bool{false, true} {
				task := newTask(t)
				tx := begin(t)
				require.NoError(t, tx.exec("INSERT INTO "+name+".orders VALUES ($1)", task.ID.String()))
				errs, err := tx.Enqueue(t.Context(), []*omniq.RawTask{task, task})
				require.NoError(t, err)
				require.Len(t, errs, 2)
				assert.NoError(t, errs[0])
				assert.ErrorIs(t, errs[1], omniq.ErrDuplicate)
				_, err = b.Result(t.Context(), task.ID)
				assert.ErrorIs(t, err, omniq.ErrNotFound, "it is not committed")
				if !commit {
					require.NoError(t, tx.rollback())
					_, err = b.Result(t.Context(), task.ID)
					assert.ErrorIs(t, err, omniq.ErrNotFound)
					continue
				}
				waiting := later(t, func(ctx context.Context) ([]omniq.Lease, error) { return b.Lease(ctx, anyTask) })
				require.Eventually(t, b.Listens, 10*time.Second, time.Millisecond)
				require.NoError(t, tx.commit())
				leases := <-waiting
				require.Len(t, leases, 1)
				assert.Equal(t, task, leases[0].Task)
				finish(t, b, leases[0], "1", time.Hour)
			}
			var orders int
			require.NoError(t, b.Pool().QueryRow(t.Context(), "SELECT count(*) FROM "+name+".orders").Scan(&orders))
			assert.Equal(t, n, orders)
			stats, err := b.Stats(t.Context())
			require.NoError(t, err)
			assert.Equal(t, []omniq.QueueStats{{Queue: omniq.DefaultQueue, Succeeded: n}}, stats)
		})
	}
}

// Everything that a task has goes through a transaction as it does without.
func TestTxStoresAll(t *testing.T) {
	b := open(t, place(t))
	task := newTask(t, omniq.Queue("q"), omniq.Priority(7), omniq.Delay(time.Hour), omniq.TTL(2*time.Hour), omniq.Retries(4),
		omniq.Timeout(time.Minute), omniq.ResultTTL(time.Hour), omniq.Metadata("a", "\x00<é>"), omniq.UniqueFor("k\"{},", time.Hour))
	task.Args, task.Kwargs = omniq.Raw(`["<&>\u0000",{"a":1.50}]`), omniq.Raw(`{"é":"\\"}`)
	for kind, begin := range transactions(t, b) {
		t.Run(kind, func(t *testing.T) {
			tx := begin(t)
			enqueue(t, tx, task)
			require.NoError(t, tx.commit())
			info, err := b.Inspect(t.Context(), task.ID)
			require.NoError(t, err)
			assert.Equal(t, task, info.Task)
			assert.Equal(t, "q", info.Queue)
			assert.WithinDuration(t, task.CreatedAt.Add(time.Hour), info.Due, time.Minute)

			tx = begin(t)
			other := newTask(t, omniq.Unique("k\"{},"))
			errs, err := tx.Enqueue(t.Context(), []*omniq.RawTask{other})
			require.NoError(t, err)
			var held omniq.Duplicate
			require.ErrorAs(t, errs[0], &held)
			assert.Equal(t, task.ID, held.Holder)
			require.NoError(t, tx.commit())
			_, err = b.Pool().Exec(t.Context(), "TRUNCATE "+b.Schema()+".tasks, "+b.Schema()+".unique_keys")
			require.NoError(t, err)
		})
	}
}

// What fails in the caller's transaction leaves it as it was, and it can go on.
func TestTxErrors(t *testing.T) {
	b := open(t, place(t))
	for kind, begin := range transactions(t, b) {
		t.Run(kind, func(t *testing.T) {
			tx := begin(t)
			good, bad := newTask(t), newTask(t)
			bad.Args = omniq.Raw("{}")
			_, err := tx.Enqueue(t.Context(), []*omniq.RawTask{good, bad})
			assert.ErrorIs(t, err, omniq.ErrInvalid)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			_, err = tx.Enqueue(ctx, []*omniq.RawTask{good})
			assert.ErrorIs(t, err, context.Canceled)
			require.NoError(t, tx.exec("ALTER TABLE "+b.Schema()+".counts RENAME TO elsewhere"))
			_, err = tx.Enqueue(t.Context(), []*omniq.RawTask{good})
			assert.ErrorContains(t, err, "in the caller's transaction: postgres: ")
			assert.ErrorContains(t, err, "does not exist")
			require.NoError(t, tx.exec("ALTER TABLE "+b.Schema()+".elsewhere RENAME TO counts"))
			enqueue(t, tx, good)
			require.NoError(t, tx.commit())
			l := lease(t, b)
			assert.Equal(t, good.ID, l.TaskID)
			finish(t, b, l, "1", 0)

			_, err = tx.Enqueue(t.Context(), []*omniq.RawTask{newTask(t)})
			if kind == "pgx" {
				assert.ErrorIs(t, err, pgx.ErrTxClosed)
			} else {
				assert.ErrorIs(t, err, sql.ErrTxDone)
			}

			tx = begin(t) // one that is over although it was not ended
			require.Error(t, tx.exec("SELECT 1/0"))
			_, err = tx.Enqueue(t.Context(), []*omniq.RawTask{newTask(t)})
			assert.ErrorContains(t, err, "current transaction is aborted")
			require.NoError(t, tx.rollback())
		})
	}
	require.NoError(t, b.Close())
	_, err := b.Tx(nil).Enqueue(t.Context(), []*omniq.RawTask{newTask(t)})
	assert.ErrorIs(t, err, omniq.ErrClosed)
}

// In a transaction that sees one snapshot from begin to end, what it cannot see makes it fail, and not the task twice.
func TestTxSerializable(t *testing.T) {
	b := open(t, place(t))
	for _, level := range []pgx.TxIsoLevel{pgx.RepeatableRead, pgx.Serializable} {
		t.Run(string(level), func(t *testing.T) {
			tx, err := b.Pool().BeginTx(t.Context(), pgx.TxOptions{IsoLevel: level})
			require.NoError(t, err)
			_, err = tx.Exec(t.Context(), "SELECT count(*) FROM "+b.Schema()+".tasks")
			require.NoError(t, err)
			good, task := newTask(t), newTask(t, omniq.Unique("k"))
			enqueue(t, b.Tx(tx), good)
			enqueue(t, b, task)
			for _, again := range []*omniq.RawTask{task, newTask(t, omniq.Unique("k"))} {
				errs, err := b.Tx(tx).Enqueue(t.Context(), []*omniq.RawTask{again})
				if err == nil {
					err = errs[0]
					require.ErrorIs(t, err, omniq.ErrDuplicate)
				}
				require.Error(t, err)
			}
			require.NoError(t, tx.Commit(t.Context()))
			for range 2 {
				finish(t, b, lease(t, b), "1", time.Hour)
			}
			stats, err := b.Stats(t.Context())
			require.NoError(t, err)
			require.Zero(t, stats[0].Ready)
		})
	}
}

// A transaction of the caller's takes what the backend takes, refuses what it refuses, and can go on.
func TestTxRefusesWhatNobodyCouldRead(t *testing.T) {
	b := open(t, place(t))
	db := stdlib.OpenDBFromPool(b.Pool())
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	ofSQL, err := db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	backendtest.Enqueuer(t, b.SQLTx(ofSQL))
	require.NoError(t, ofSQL.Rollback(), "its unique keys are those of the next")
	tx, err := b.Pool().Begin(t.Context())
	require.NoError(t, err)
	backendtest.Enqueuer(t, b.Tx(tx))
	require.NoError(t, tx.Commit(t.Context()))
}
