package sqlite_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/sqlite"
)

// The statistics become right again after SQL has changed rows, whoever looks for it: two processes do not correct the
// same twice.
func TestRecount(t *testing.T) {
	for name, c := range map[string]struct {
		change string
		every  time.Duration
		want   []omniq.QueueStats
	}{
		"some tasks and results are deleted": {
			"DELETE FROM omniq_tasks WHERE seq % 2 = 0; DELETE FROM omniq_results WHERE seq % 2 = 0", time.Millisecond,
			[]omniq.QueueStats{{Queue: "q", Ready: 5, Scheduled: 5, Running: 5, Cancelled: 5}},
		},
		"a queue is renamed": {
			"UPDATE omniq_tasks SET queue = 'other'", time.Millisecond,
			[]omniq.QueueStats{{Queue: "other", Ready: 10, Scheduled: 10, Running: 10}, {Queue: "q", Cancelled: 10}},
		},
		"the ready ones are deleted, and that shows": {
			"DELETE FROM omniq_tasks WHERE state = 1", time.Hour,
			[]omniq.QueueStats{{Queue: "q", Scheduled: 10, Running: 10, Cancelled: 10}},
		},
		"the counts are deleted": {
			"DELETE FROM omniq_counts", time.Millisecond,
			[]omniq.QueueStats{{Queue: "q", Ready: 10, Scheduled: 10, Running: 10, Cancelled: 10}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := place(t)
			a := open(t, path, sqlite.WithRecount(c.every))
			b := open(t, path, sqlite.WithRecount(c.every))
			enqueue(t, a, tasksIn("q", 10, func(*omniq.RawTask) {})...)
			require.Len(t, leaseOf(t, a, "q", 10), 10)
			enqueue(t, a, tasksIn("q", 10, func(t *omniq.RawTask) { t.Delay = time.Hour })...)
			cancelled := tasksIn("q", 10, func(*omniq.RawTask) {})
			enqueue(t, a, cancelled...)
			errs, err := a.Cancel(t.Context(), ids(cancelled...))
			require.NoError(t, err)
			require.Nil(t, errs)
			enqueue(t, a, tasksIn("q", 10, func(*omniq.RawTask) {})...)
			_, err = a.DB().ExecContext(t.Context(), c.change)
			require.NoError(t, err)
			ctx := t.Context()
			require.EventuallyWithT(t, func(t *assert.CollectT) {
				for _, backend := range []*sqlite.Backend{a, b} {
					stats, err := backend.Stats(ctx)
					require.NoError(t, err)
					for i := range stats {
						stats[i].Latency = 0
					}
					require.Equal(t, c.want, stats)
				}
			}, 20*time.Second, 10*time.Millisecond)
		})
	}
}

// Events are removed when their time is over, whether or not those who have the file open keep any.
func TestSweepEventsThatAreOff(t *testing.T) {
	path := place(t)
	kept, err := sqlite.Open(path, sqlite.WithEvents(time.Millisecond))
	require.NoError(t, err)
	enqueue(t, kept, newTasks(100)...)
	require.NoError(t, kept.Close())
	b := open(t, path)
	require.Eventually(t, func() bool { return number(t, b, "SELECT count(*) FROM omniq_events") == 0 }, 20*time.Second, 10*time.Millisecond)
}

// A result that cannot be read is in nobody's way: who waits for it in another process is told, and others get theirs.
func TestAwaitUnreadable(t *testing.T) {
	a, b := two(t)
	tasks := newTasks(2)
	enqueue(t, a, tasks...)
	good := later(t, func(ctx context.Context) (*omniq.RawResult, error) { return b.Await(ctx, tasks[1].ID) })
	bad := later(t, func(ctx context.Context) (error, error) {
		_, err := b.Await(ctx, tasks[0].ID)
		return err, nil
	})
	require.Eventually(t, func() bool { return b.Awaiting() == 2 }, 10*time.Second, time.Millisecond)
	leases := []omniq.Lease{lease(t, a, time.Minute), lease(t, a, time.Minute)}
	tx, err := a.DB().BeginTx(t.Context(), nil)
	require.NoError(t, err)
	for _, id := range ids(tasks[0]) { // as a program of the future may write it
		_, err = tx.ExecContext(t.Context(), "DELETE FROM omniq_tasks WHERE id = ?", id[:])
		require.NoError(t, err)
		_, err = tx.ExecContext(t.Context(), `INSERT INTO omniq_results (id, status, name, queue, since, result)
			VALUES (?, 3, 'f', 'default', 0, '{"future":1}')`, id[:])
		require.NoError(t, err)
	}
	require.NoError(t, tx.Commit())
	require.NoError(t, settle(t, a, finish(leases[1], "1", time.Hour)))
	require.Equal(t, "1", string((<-good).ResultData))
	require.ErrorContains(t, <-bad, "the result of task")
}
