package postgres_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/postgres"
)

// What one process does wakes who waits in another, long before it polls.
func TestPush(t *testing.T) {
	name := schema(t)
	options := []postgres.Option{
		postgres.WithSchema(name), postgres.WithEvents(time.Hour), postgres.WithPollInterval(time.Hour),
	}
	a, b := open(t, options...), open(t, options...)
	listening(t, a, name, 2)
	wait := func() <-chan []omniq.Lease { // until somebody waits, for what there is not yet
		waiting := later(t, func(ctx context.Context) ([]omniq.Lease, error) { return b.Lease(ctx, anyTask) })
		require.Eventually(t, b.Listens, 10*time.Second, time.Millisecond)
		return waiting
	}

	var waiting <-chan []omniq.Lease
	got := func(task *omniq.RawTask) []omniq.Lease {
		leases := <-waiting
		require.Len(t, leases, 1)
		require.Equal(t, task.ID, leases[0].TaskID)
		return leases
	}

	waiting = wait()
	task := newTask(t)
	enqueue(t, a, task)
	leases := got(task)

	for _, keep := range []time.Duration{time.Hour, 0} {
		result := later(t, func(ctx context.Context) (*omniq.RawResult, error) { return a.Await(ctx, task.ID) })
		require.Eventually(t, a.Awaits, 10*time.Second, time.Millisecond)
		finish(t, b, leases[0], "42", keep)
		r := <-result
		require.NotNil(t, r)
		require.Equal(t, "42", string(r.ResultData))
		if keep == 0 {
			_, err := a.Result(t.Context(), task.ID)
			require.ErrorIs(t, err, omniq.ErrNotFound)
			break
		}
		task = newTask(t)
		enqueue(t, a, task)
		leases = []omniq.Lease{lease(t, b)}
	}

	task = newTask(t)
	enqueue(t, a, task)
	leases = []omniq.Lease{lease(t, b)}
	revoked := later(t, func(ctx context.Context) ([]omniq.LeaseID, error) { return b.Revoked(ctx, "w") })
	require.Eventually(t, b.Listens, 10*time.Second, time.Millisecond)
	errs, err := a.Cancel(t.Context(), ids(task))
	require.NoError(t, err)
	require.Nil(t, errs)
	require.Equal(t, []omniq.LeaseID{leases[0].LeaseID}, <-revoked)

	require.NoError(t, a.Pause(t.Context(), omniq.DefaultQueue))
	task = newTask(t)
	enqueue(t, b, task)
	waiting = wait()
	require.NoError(t, a.Resume(t.Context(), omniq.DefaultQueue))
	got(task)

	_, last, err := b.Events(t.Context(), omniq.EventsRequest{After: omniq.CursorLatest, Max: 1})
	require.NoError(t, err)
	events := later(t, func(ctx context.Context) ([]omniq.StoredEvent, error) {
		events, _, err := b.Events(ctx, omniq.EventsRequest{After: last, Max: 10, Wait: time.Minute})
		return events, err
	})
	require.Eventually(t, b.Listens, 10*time.Second, time.Millisecond)
	task = newTask(t)
	enqueue(t, a, task)
	appended := <-events
	require.NotEmpty(t, appended)
	require.Equal(t, task.ID, appended[0].TaskID)

	// A task that is due later is started by whoever is there at its time.
	lease(t, b) // the one before
	waiting = wait()
	task = newTask(t, omniq.Delay(50*time.Millisecond))
	enqueue(t, a, task)
	got(task)
}

// A channel is one of its schema: what happens in another one wakes nobody.
func TestPushStaysInItsSchema(t *testing.T) {
	a, b := open(t, place(t)), open(t, place(t))
	enqueue(t, a, newTask(t))
	request := anyTask
	request.Wait = 100 * time.Millisecond
	leases, err := b.Lease(t.Context(), request)
	require.NoError(t, err)
	require.Empty(t, leases)
}

// listening waits until n backends hear what the others tell.
func listening(t *testing.T, b *postgres.Backend, schema string, n int) {
	t.Helper()
	require.Eventually(t, func() bool {
		const q = "SELECT count(*) FROM pg_stat_activity WHERE query = $1 AND state = 'idle'"
		var found int
		err := b.Pool().QueryRow(t.Context(), q, `LISTEN "omniq:`+schema+`"`).Scan(&found)
		return err == nil && found == n
	}, 10*time.Second, time.Millisecond)
}
