package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/sqlite"
)

var interrupts = flag.Int("interrupts", 800, "how many enqueues TestInterruptedTx interrupts, and TestInterruptedReads twice as many reads")

// Reads whose contexts end at any moment leave no transaction open, which would see the past for ever.
func TestInterruptedReads(t *testing.T) {
	b := open(t, place(t), sqlite.WithEvents(time.Hour), sqlite.WithSynchronousNormal())
	tasks := newTasks(500)
	enqueue(t, b, tasks...)
	id := func() uuid.UUID { return tasks[rand.N(len(tasks))].ID }
	reads := []func(context.Context) error{
		func(ctx context.Context) error { _, err := b.Result(ctx, id()); return err },
		func(ctx context.Context) error { _, err := b.Inspect(ctx, id()); return err },
		func(ctx context.Context) error { _, err := b.Stats(ctx); return err },
		func(ctx context.Context) error {
			_, _, err := b.List(ctx, omniq.ListRequest{Status: omniq.StatusPending, Max: 1 + rand.N(200)})
			return err
		},
		func(ctx context.Context) error {
			_, _, err := b.Events(ctx, omniq.EventsRequest{Max: 1 + rand.N(200)})
			return err
		},
	}
	ended := 0
	var mu sync.Mutex
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range *interrupts / 4 {
				ctx, cancel := context.WithTimeout(t.Context(), rand.N(1500*time.Microsecond))
				err := reads[rand.N(len(reads))](ctx)
				cancel()
				if err != nil {
					assert.ErrorIs(t, err, context.DeadlineExceeded)
					mu.Lock()
					ended++
					mu.Unlock()
				}
			}
		})
	}
	all.Wait()
	t.Logf("%d reads were interrupted", ended)
	assert.Positive(t, ended)
	// All connections see what is new.
	task := newTasks(1)[0]
	enqueue(t, b, task)
	for range 16 {
		all.Go(func() {
			for range 5 {
				for _, read := range reads {
					assert.NoError(t, read(t.Context()))
				}
				_, err := b.Result(t.Context(), task.ID)
				assert.NoError(t, err)
			}
		})
	}
	all.Wait()
}

// An enqueue in a caller's transaction whose context ends at any moment leaves nothing of itself and all else in the
// transaction.
func TestInterruptedTx(t *testing.T) {
	b := open(t, place(t), sqlite.WithSynchronousNormal())
	_, err := b.DB().Exec("CREATE TABLE orders (id BLOB PRIMARY KEY)")
	require.NoError(t, err)
	interrupted := 0
	for i := range *interrupts {
		transaction, err := b.DB().Begin()
		require.NoError(t, err)
		tasks := newTasks(1 + i%5)
		_, err = transaction.Exec("INSERT INTO orders VALUES (?)", tasks[0].ID[:])
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), rand.N(400*time.Microsecond))
		_, failed := b.Tx(transaction).Enqueue(ctx, tasks)
		cancel()
		want := len(tasks)
		if failed != nil {
			require.ErrorIs(t, failed, context.DeadlineExceeded)
			interrupted++
			want = 0
		}
		_, err = transaction.Exec("INSERT INTO orders VALUES (?)", tasks[0].ID[:8])
		require.NoError(t, err, "the transaction goes on")
		commit := i%3 != 0
		if commit {
			require.NoError(t, transaction.Commit())
		} else {
			require.NoError(t, transaction.Rollback())
			want = 0
		}
		var orders, stored int
		require.NoError(t, b.DB().QueryRow("SELECT count(*) FROM orders").Scan(&orders))
		require.NoError(t, b.DB().QueryRow("SELECT count(*) FROM omniq_tasks").Scan(&stored))
		if commit {
			require.Equal(t, 2, orders)
		} else {
			require.Zero(t, orders)
		}
		require.Equal(t, want, stored)
		_, err = b.DB().Exec("DELETE FROM orders; DELETE FROM omniq_tasks")
		require.NoError(t, err)
	}
	t.Logf("%d of %d enqueues were interrupted", interrupted, *interrupts)
	assert.Positive(t, interrupted)
}

// When SQLite has rolled back a transaction of the caller's, nothing that follows in it is done, least of all by itself.
func TestTxRolledBack(t *testing.T) {
	rows := func(t *testing.T, b *sqlite.Backend, table string) (n int) {
		t.Helper()
		require.NoError(t, b.DB().QueryRow("SELECT count(*) FROM "+table).Scan(&n))
		return n
	}
	for _, c := range []struct {
		name string
		end  func(t *testing.T, b *sqlite.Backend, transaction *sql.Tx)
	}{
		{"by a statement of the caller's", func(t *testing.T, _ *sqlite.Backend, transaction *sql.Tx) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer cancel()
			_, err := transaction.ExecContext(ctx, `WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n)
				INSERT INTO orders SELECT x FROM n`)
			require.ErrorIs(t, err, context.DeadlineExceeded)
		}},
		{"by the enqueue", func(t *testing.T, b *sqlite.Backend, transaction *sql.Tx) {
			_, err := transaction.Exec(`CREATE TEMP TRIGGER broken BEFORE INSERT ON omniq_tasks BEGIN
				SELECT RAISE(ROLLBACK, 'rolled back'); END`)
			require.NoError(t, err)
			_, err = b.Tx(transaction).Enqueue(t.Context(), newTasks(1))
			require.ErrorContains(t, err, "rolled back")
			require.ErrorIs(t, err, sql.ErrTxDone)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := open(t, place(t))
			_, err := b.DB().Exec("CREATE TABLE orders (id INTEGER)")
			require.NoError(t, err)
			transaction, err := b.DB().Begin()
			require.NoError(t, err)
			_, err = transaction.Exec("INSERT INTO orders VALUES (1)")
			require.NoError(t, err)
			c.end(t, b, transaction)
			_, err = b.Tx(transaction).Enqueue(t.Context(), newTasks(1))
			require.ErrorIs(t, err, sql.ErrTxDone)
			_, err = transaction.Exec("INSERT INTO orders VALUES (2)")
			require.ErrorIs(t, err, sql.ErrTxDone)
			require.Error(t, transaction.Commit())
			assert.Zero(t, rows(t, b, "orders"))
			assert.Zero(t, rows(t, b, "omniq_tasks"))
			enqueue(t, b, newTasks(1)...)
		})
	}
}

// Transactions of DB whose own contexts end at any moment give back their turn, and leave the file unlocked.
func TestInterruptedTransactions(t *testing.T) {
	b := open(t, place(t), sqlite.WithSynchronousNormal())
	_, err := b.DB().Exec("CREATE TABLE orders (id BLOB PRIMARY KEY)")
	require.NoError(t, err)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 500 {
				ctx, cancel := context.WithTimeout(t.Context(), rand.N(3*time.Millisecond))
				err := func() error {
					transaction, err := b.DB().BeginTx(ctx, nil)
					if err != nil {
						return err
					}
					task := newTasks(1)[0]
					if _, err = transaction.ExecContext(ctx, "INSERT INTO orders VALUES (?)", task.ID[:]); err == nil {
						_, err = b.Tx(transaction).Enqueue(ctx, []*omniq.RawTask{task})
					}
					if err != nil {
						return errors.Join(err, transaction.Rollback())
					}
					return transaction.Commit()
				}()
				cancel()
				if err != nil && ctx.Err() == nil {
					assert.NoError(t, err)
				}
			}
		})
	}
	all.Wait()
	enqueue(t, b, newTasks(1)...)
	var differ int
	require.NoError(t, b.DB().QueryRow("SELECT count(*) FROM orders WHERE id NOT IN (SELECT id FROM omniq_tasks)").Scan(&differ))
	assert.Zero(t, differ)
}
