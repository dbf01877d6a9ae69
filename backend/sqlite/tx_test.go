package sqlite_test

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/backendtest"
	"github.com/omniq-go/omniq/backend/sqlite"
)

// A task exists if the caller's transaction commits, and only then.
func TestTx(t *testing.T) {
	path := place(t)
	b := open(t, path, sqlite.WithEvents(time.Hour))
	foreign, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, foreign.Close()) })
	_, err = b.DB().Exec("CREATE TABLE orders (id TEXT PRIMARY KEY)")
	require.NoError(t, err)

	for name, db := range map[string]*sql.DB{"DB": b.DB(), "another pool": foreign} {
		t.Run(name, func(t *testing.T) {
			for _, commit := range []bool{true, false} {
				task := newTasks(1)[0]
				transaction, err := db.Begin()
				require.NoError(t, err)
				_, err = transaction.Exec("INSERT INTO orders VALUES (?)", task.ID.String())
				require.NoError(t, err)
				errs, err := b.Tx(transaction).Enqueue(t.Context(), []*omniq.RawTask{task, task})
				require.NoError(t, err)
				require.Len(t, errs, 2)
				assert.NoError(t, errs[0])
				assert.ErrorIs(t, errs[1], omniq.ErrDuplicate)
				_, err = b.Result(t.Context(), task.ID)
				assert.ErrorIs(t, err, omniq.ErrNotFound, "it is not committed")

				if !commit {
					require.NoError(t, transaction.Rollback())
					_, err = b.Result(t.Context(), task.ID)
					assert.ErrorIs(t, err, omniq.ErrNotFound)
					continue
				}
				waiting := make(chan omniq.Lease, 1)
				go func() {
					leases, err := b.Lease(t.Context(), omniq.LeaseRequest{
						Queues: []string{omniq.DefaultQueue}, Max: 1, Duration: time.Minute, Wait: time.Minute,
					})
					if assert.NoError(t, err) && assert.Len(t, leases, 1) {
						waiting <- leases[0]
					}
					close(waiting)
				}()
				require.NoError(t, transaction.Commit())
				l := <-waiting
				assert.Equal(t, task.ID, l.TaskID)
				assert.NoError(t, settle(t, b, finish(l, "1", time.Hour)))
			}
			var orders int
			require.NoError(t, b.DB().QueryRow("SELECT count(*) FROM orders").Scan(&orders))
			stats, err := b.Stats(t.Context())
			require.NoError(t, err)
			require.Len(t, stats, 1)
			assert.Equal(t, orders, stats[0].Succeeded)
			assert.Zero(t, stats[0].Ready)
		})
	}
}

// What fails in the caller's transaction leaves it as it was, and it can go on.
func TestTxErrors(t *testing.T) {
	b := open(t, place(t))
	transaction, err := b.DB().Begin()
	require.NoError(t, err)
	good, bad := newTasks(1)[0], newTasks(1)[0]
	bad.Args = omniq.Raw("{}")
	_, err = b.Tx(transaction).Enqueue(t.Context(), []*omniq.RawTask{good, bad})
	assert.ErrorIs(t, err, omniq.ErrInvalid)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = b.Tx(transaction).Enqueue(ctx, []*omniq.RawTask{good})
	assert.ErrorIs(t, err, context.Canceled)
	_, err = b.Tx(transaction).Enqueue(t.Context(), []*omniq.RawTask{good})
	assert.NoError(t, err)
	require.NoError(t, transaction.Commit())
	assert.Equal(t, good.ID, lease(t, b, time.Minute).TaskID)

	_, err = b.Tx(transaction).Enqueue(t.Context(), newTasks(1))
	assert.ErrorIs(t, err, sql.ErrTxDone)
	require.NoError(t, b.Close())
	_, err = b.Tx(transaction).Enqueue(t.Context(), newTasks(1))
	assert.ErrorIs(t, err, omniq.ErrClosed)
}

// A transaction that stays open makes the backend's writes wait, and none of its reads.
func TestTxKeepsTheLock(t *testing.T) {
	b := open(t, place(t))
	stored := newTasks(1)[0]
	enqueue(t, b, stored)
	transaction, err := b.DB().Begin()
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = b.Enqueue(ctx, newTasks(1))
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	_, err = b.Result(t.Context(), stored.ID)
	assert.NoError(t, err)
	done := make(chan error, 1)
	go func() {
		_, err := b.Enqueue(t.Context(), newTasks(1))
		done <- err
	}()
	require.NoError(t, transaction.Rollback())
	assert.NoError(t, <-done)
	assert.Equal(t, 2, leaseAndSettle(t, b, 10), "what was given up is not done later")
}

// A transaction of the caller's takes what the backend takes, refuses what it refuses, and can go on.
func TestTxRefusesWhatNobodyCouldRead(t *testing.T) {
	b := open(t, place(t))
	transaction, err := b.DB().Begin()
	require.NoError(t, err)
	backendtest.Enqueuer(t, b.Tx(transaction))
	require.NoError(t, transaction.Commit())
}
