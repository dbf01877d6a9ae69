package sqlite_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/sqlite"
)

// two are backends on one file, as two processes have them.
func two(t *testing.T) (a, b *sqlite.Backend) {
	path := place(t)
	return open(t, path, sqlite.WithEvents(time.Hour)), open(t, path, sqlite.WithEvents(time.Hour))
}

// later calls f in a goroutine, which ends with the test, and returns where it ends.
func later[T any](t *testing.T, f func(context.Context) (T, error)) <-chan T {
	done := make(chan T, 1)
	var call sync.WaitGroup
	call.Go(func() {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		v, err := f(ctx)
		if t.Context().Err() == nil { // else nobody waits for it
			assert.NoError(t, err)
		}
		done <- v
	})
	t.Cleanup(call.Wait)
	return done
}

// What one does wakes who waits in the other.
func TestTwoProcesses(t *testing.T) {
	a, b := two(t)
	request := omniq.LeaseRequest{Queues: []string{"q"}, Max: 1, Duration: time.Minute, Wait: time.Minute, WorkerID: "w"}
	wait := func() <-chan []omniq.Lease {
		return later(t, func(ctx context.Context) ([]omniq.Lease, error) { return b.Lease(ctx, request) })
	}
	next := func() *omniq.RawTask {
		task := newTasks(1)[0]
		task.Queue = "q"
		return task
	}

	waiting := wait()
	task := next()
	enqueue(t, a, task)
	leases := <-waiting
	require.Len(t, leases, 1)
	require.Equal(t, task.ID, leases[0].TaskID)

	for _, keep := range []time.Duration{time.Hour, 0} {
		result := later(t, func(ctx context.Context) (*omniq.RawResult, error) { return a.Await(ctx, task.ID) })
		require.Eventually(t, a.Awaits, 5*time.Second, time.Millisecond)
		require.NoError(t, settle(t, b, finish(leases[0], "42", keep)))
		require.Equal(t, "42", string((<-result).ResultData))
		_, err := a.Result(t.Context(), task.ID)
		if keep == 0 {
			require.ErrorIs(t, err, omniq.ErrNotFound)
			break
		}
		require.NoError(t, err)
		task = next()
		enqueue(t, a, task)
		leases = <-wait()
	}

	revoked := later(t, func(ctx context.Context) ([]omniq.LeaseID, error) { return b.Revoked(ctx, "w") })
	task = next()
	enqueue(t, a, task)
	leases = <-wait()
	errs, err := a.Cancel(t.Context(), ids(task))
	require.NoError(t, err)
	require.Nil(t, errs)
	require.Equal(t, []omniq.LeaseID{leases[0].LeaseID}, <-revoked)
	errs, err = b.Extend(t.Context(), []omniq.LeaseID{leases[0].LeaseID}, time.Minute)
	require.NoError(t, err)
	require.ErrorIs(t, errs[0], omniq.ErrCancelled)

	require.NoError(t, a.Pause(t.Context(), "q"))
	task = next()
	enqueue(t, b, task)
	request.Wait = 50 * time.Millisecond
	require.Empty(t, <-wait())
	request.Wait = time.Minute
	waiting = wait()
	require.NoError(t, a.Resume(t.Context(), "q"))
	leases = <-waiting
	require.Len(t, leases, 1)
	require.Equal(t, task.ID, leases[0].TaskID)

	_, last, err := b.Events(t.Context(), omniq.EventsRequest{After: omniq.CursorLatest, Max: 1})
	require.NoError(t, err)
	events := later(t, func(ctx context.Context) ([]omniq.StoredEvent, error) {
		events, _, err := b.Events(ctx, omniq.EventsRequest{After: last, Max: 10, Wait: time.Minute})
		return events, err
	})
	task = next()
	enqueue(t, a, task)
	require.Equal(t, task.ID, (<-events)[0].TaskID)
}

// A task that is forgotten while somebody waits in another process does not let it wait for ever.
func TestForgottenElsewhere(t *testing.T) {
	a, b := two(t)
	task := newTasks(1)[0]
	enqueue(t, a, task)
	l := lease(t, a, time.Minute)
	result := later(t, func(ctx context.Context) (*omniq.RawResult, error) { return b.Await(ctx, task.ID) })
	require.Eventually(t, b.Awaits, 5*time.Second, time.Millisecond)
	require.NoError(t, settle(t, a, finish(l, "1", time.Hour)))
	errs, err := a.Forget(t.Context(), ids(task))
	require.NoError(t, err)
	require.Nil(t, errs)
	require.Equal(t, "1", string((<-result).ResultData))
	enqueue(t, b, task)
	require.Equal(t, 1, leaseAndSettle(t, a, 1))
}

// A delayed task that another process enqueues starts in time, and what has expired there does so here.
func TestMomentsElsewhere(t *testing.T) {
	a, b := two(t)
	task := newTasks(1)[0]
	request := omniq.LeaseRequest{Queues: []string{omniq.DefaultQueue}, Max: 1, Duration: time.Minute, Wait: time.Minute, WorkerID: "w"}
	waiting := later(t, func(ctx context.Context) ([]omniq.Lease, error) { return b.Lease(ctx, request) })
	task.RunAt = time.Now().Add(100 * time.Millisecond).Truncate(time.Microsecond)
	enqueue(t, a, task)
	leases := <-waiting
	require.Len(t, leases, 1)
	require.Equal(t, task.ID, leases[0].TaskID)
	late := time.Since(task.RunAt)
	assert.GreaterOrEqual(t, late, time.Duration(0))
	t.Logf("a delayed task was %v late", late)

	task = newTasks(1)[0]
	ttl := 100 * time.Millisecond
	task.TTL = &ttl
	enqueue(t, a, task)
	r, err := b.Await(t.Context(), task.ID)
	require.NoError(t, err)
	assert.Equal(t, omniq.StatusExpired, r.Status)
}

// Many who wait at once, for tasks of both backends, all get what is theirs.
func TestManyAwait(t *testing.T) {
	a, b := two(t)
	tasks := newTasks(500)
	enqueue(t, a, tasks...)
	var all sync.WaitGroup
	for i, task := range tasks {
		for _, backend := range []*sqlite.Backend{a, b} {
			all.Go(func() {
				r, err := backend.Await(t.Context(), task.ID)
				if assert.NoError(t, err, fmt.Sprint(i)) {
					assert.Equal(t, task.ID, r.TaskID)
				}
			})
		}
	}
	for left := len(tasks); left > 0; {
		left -= leaseAndSettle(t, a, 7)
		left -= leaseAndSettle(t, b, 7)
	}
	all.Wait()
}
