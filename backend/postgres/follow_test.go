package postgres_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/postgres"
)

// Tasks that are enqueued while what they wait for is settled never wait for what has ended, whoever enqueues them, and whoever
// settles.
func TestEnqueueBesideSettle(t *testing.T) {
	t.Parallel()
	ways := map[string]func(ctx context.Context, b *postgres.Backend, task *omniq.RawTask) error{
		"by itself": func(ctx context.Context, b *postgres.Backend, task *omniq.RawTask) error {
			_, err := b.Enqueue(ctx, []*omniq.RawTask{task})
			return err
		},
		"in a transaction": func(ctx context.Context, b *postgres.Backend, task *omniq.RawTask) error {
			return pgx.BeginFunc(ctx, b.Pool(), func(tx pgx.Tx) error {
				_, err := b.Tx(tx).Enqueue(ctx, []*omniq.RawTask{task})
				return err
			})
		},
		"by SQL": func(ctx context.Context, b *postgres.Backend, task *omniq.RawTask) error {
			_, err := b.Pool().Exec(ctx, "SELECT "+b.Schema()+".enqueue('f', id => $1, after => ARRAY[$2::uuid])", task.ID, task.After[0].ID)
			return err
		},
	}
	ends := map[string]func(ctx context.Context, b *postgres.Backend, s omniq.Settlement) error{
		"by itself": func(ctx context.Context, b *postgres.Backend, s omniq.Settlement) error {
			_, err := b.Settle(ctx, []omniq.Settlement{s})
			return err
		},
		"in a transaction": func(ctx context.Context, b *postgres.Backend, s omniq.Settlement) error {
			return pgx.BeginFunc(ctx, b.Pool(), func(tx pgx.Tx) error {
				_, err := b.Tx(tx).Settle(ctx, []omniq.Settlement{s})
				return err
			})
		},
		"by a cancel": func(ctx context.Context, b *postgres.Backend, s omniq.Settlement) error {
			_, err := b.Cancel(ctx, []uuid.UUID{s.TaskID})
			return err
		},
	}
	b := open(t, place(t))
	for how, enqueues := range ways {
		for end, settles := range ends {
			t.Run(how+" beside one that ends "+end, func(t *testing.T) {
				const n = 30
				deps := make([]*omniq.RawTask, n)
				for i := range deps {
					deps[i] = newTask(t)
				}
				enqueue(t, b, deps...)
				leases := leaseAll(t, b, n)
				require.Len(t, leases, n)
				var both sync.WaitGroup
				for i, l := range leases {
					both.Go(func() {
						for range rand.IntN(4) { // so that each comes first now and then
							assert.NoError(t, b.Pool().Ping(t.Context()))
						}
						assert.NoError(t, settles(t.Context(), b, ending(l, omniq.StatusSuccess, "1")))
					})
					both.Go(func() {
						task := after(t, &omniq.RawTask{ID: leases[i].TaskID})
						assert.NoError(t, enqueues(t.Context(), b, task))
					})
				}
				both.Wait()
				none(t, b)
				var waiting int
				require.NoError(t, b.Pool().QueryRow(t.Context(), "SELECT count(*) FROM "+b.Schema()+".tasks WHERE state = -1").Scan(&waiting))
				require.Zero(t, waiting)
				for range leases {
					if end == "by a cancel" {
						break // these have ended, too
					}
					settle(t, b, ending(lease(t, b), omniq.StatusSuccess, "1"))
				}
			})
		}
	}
}

// A caller's transaction that has enqueued a task, and stays open, does not hold up those who settle what that waits for. When it
// commits, the task is told what has ended meanwhile.
func TestOpenTransactionWaitsForTask(t *testing.T) {
	t.Parallel()
	b := open(t, place(t))
	dep, other := newTask(t), newTask(t)
	enqueue(t, b, dep, other)
	leases := leaseAll(t, b, 2)
	tx, err := b.Pool().Begin(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { _ = tx.Rollback(context.Background()) })
	waits := after(t, dep, other)
	enqueue(t, b.Tx(tx), waits)
	settle(t, b, ending(leases[0], omniq.StatusSuccess, "1"))
	errs, err := b.Extend(t.Context(), []omniq.LeaseID{leases[1].LeaseID}, time.Hour)
	require.NoError(t, err)
	require.Nil(t, errs)
	require.NoError(t, tx.Commit(t.Context()))
	require.Equal(t, omniq.StatusWaiting, statusOf(t, b, waits.ID))
	settle(t, b, ending(leases[1], omniq.StatusSuccess, "2"))
	l := lease(t, b)
	require.Equal(t, waits.ID, l.TaskID)
	require.Len(t, l.Inputs, 2)
	none(t, b)
}

// While a caller's transaction has ended a task, and stays open, others enqueue tasks that wait for it.
func TestEnqueueBehindOpenSettle(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(pgx.Tx) error{
		"commits":    func(tx pgx.Tx) error { return tx.Commit(t.Context()) },
		"rolls back": func(tx pgx.Tx) error { return tx.Rollback(t.Context()) },
	} {
		t.Run(name, func(t *testing.T) {
			b := open(t, place(t))
			dep := newTask(t)
			enqueue(t, b, dep)
			l := lease(t, b)
			tx, err := b.Pool().Begin(t.Context())
			require.NoError(t, err)
			t.Cleanup(func() { _ = tx.Rollback(context.Background()) })
			errs, err := b.Tx(tx).Settle(t.Context(), []omniq.Settlement{ending(l, omniq.StatusSuccess, "1")})
			require.NoError(t, err)
			require.Nil(t, errs)
			waits := after(t, dep)
			enqueue(t, b, waits)
			require.Equal(t, omniq.StatusWaiting, statusOf(t, b, waits.ID))
			unhindered := newTask(t)
			enqueue(t, b, unhindered)
			require.Equal(t, unhindered.ID, lease(t, b).TaskID)
			require.NoError(t, end(tx))
			if name == "rolls back" {
				settle(t, b, ending(l, omniq.StatusSuccess, "1"))
			}
			require.Equal(t, waits.ID, lease(t, b).TaskID)
			none(t, b)
		})
	}
}

// A task for which very many wait ends in a short transaction, and those are told in others; also those that need it, and
// cannot have it.
func TestFanOut(t *testing.T) {
	t.Parallel()
	const n = 5000
	for _, status := range []omniq.Status{omniq.StatusSuccess, omniq.StatusFailure} {
		t.Run(status.String(), func(t *testing.T) {
			b := open(t, place(t))
			tasks := []*omniq.RawTask{newTask(t)}
			for range n {
				tasks = append(tasks, after(t, tasks[0]))
			}
			enqueue(t, b, tasks...)
			settle(t, b, ending(lease(t, b), status, "1"))
			want := omniq.QueueStats{Queue: "default", Succeeded: 1, Ready: n}
			if status == omniq.StatusFailure {
				want = omniq.QueueStats{Queue: "default", Failed: 1, Cancelled: n}
			}
			require.EventuallyWithT(t, func(c *assert.CollectT) {
				stats, err := b.Stats(t.Context())
				assert.NoError(c, err)
				if assert.Len(c, stats, 1) {
					stats[0].Latency = 0
					assert.Equal(c, want, stats[0])
				}
			}, time.Minute, 10*time.Millisecond)
			none(t, b)
			var transactions int
			require.NoError(t, b.Pool().QueryRow(t.Context(), "SELECT count(DISTINCT xmin::text) FROM "+b.Schema()+".edges").Scan(&transactions))
			require.GreaterOrEqual(t, transactions, n/500, "edges are closed 500 at a time at the most")
		})
	}
}

// What is to be told is told by another process, when the one that ended the task has gone right after its commit.
func TestWorkOfOthers(t *testing.T) {
	t.Parallel()
	b := open(t, place(t))
	dep := newTask(t)
	waits := after(t, dep)
	enqueue(t, b, dep, waits)
	l := lease(t, b)
	tx, err := b.Pool().Begin(t.Context())
	require.NoError(t, err)
	other, err := postgres.Open(t.Context(), url(t), postgres.WithSchema(b.Schema()), postgres.WithoutNotify())
	require.NoError(t, err)
	errs, err := other.Tx(tx).Settle(t.Context(), []omniq.Settlement{ending(l, omniq.StatusSuccess, "1")})
	require.NoError(t, err)
	require.Nil(t, errs)
	require.NoError(t, other.Close()) // it does not see the commit, and tells nobody
	require.NoError(t, tx.Commit(t.Context()))
	require.Equal(t, waits.ID, lease(t, b).TaskID)
	none(t, b)
}
