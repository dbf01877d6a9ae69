package memory

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/bubble"
)

// What people and workers ask for leaves nothing behind either, at its time and without another call.
func TestNothingIsLeftOfWhatWasAsked(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b := New(WithEvents(time.Minute))
		defer func() { require.NoError(t, b.Close()) }()
		ctx := t.Context()
		keep := time.Second
		var ids []uuid.UUID
		for i := range 100 {
			task := &omniq.RawTask{
				ID: uuid.New(), FuncName: "f", CreatedAt: time.Now(), ResultTTL: &keep, Queue: uuid.NewString(),
				UniqueKey: uuid.NewString(),
			}
			if i%2 == 0 {
				task.UniqueFor = time.Minute
			}
			ids = append(ids, task.ID)
			_, err := b.Enqueue(ctx, []*omniq.RawTask{task})
			require.NoError(t, err)
			require.NoError(t, b.Pause(ctx, task.Queue))
			require.NoError(t, b.Resume(ctx, task.Queue))
			if i%4 < 2 {
				leases, err := b.Lease(ctx, omniq.LeaseRequest{
					Queues: []string{task.Queue}, Max: 1, Duration: 30 * time.Second, WorkerID: uuid.NewString(),
				})
				require.NoError(t, err)
				require.Len(t, leases, 1)
			}
		}
		for range 2 {
			errs, err := b.Cancel(ctx, ids)
			require.NoError(t, err)
			require.Nil(t, errs)
			errs, err = b.Requeue(ctx, ids[:50], false)
			require.NoError(t, err)
			require.Nil(t, errs)
		}
		errs, err := b.Cancel(ctx, ids)
		require.NoError(t, err)
		require.Nil(t, errs)
		b.mu.Lock()
		assert.Len(t, b.revoked.workers, 50)
		b.mu.Unlock()

		time.Sleep(29 * time.Second)
		synctest.Wait()
		b.mu.Lock()
		assert.Empty(t, b.tasks)
		assert.Empty(t, b.queues)
		assert.Empty(t, b.going)
		assert.Len(t, b.revoked.workers, 50, "their leases last")
		assert.Len(t, b.holds.keys, 50, "they are held for a time")
		assert.NotEmpty(t, b.events.kept)
		b.mu.Unlock()

		time.Sleep(time.Second)
		synctest.Wait()
		b.mu.Lock()
		assert.Empty(t, b.revoked.workers, "their leases are over")
		assert.Empty(t, b.revoked.ends)
		b.mu.Unlock()

		time.Sleep(30 * time.Second)
		synctest.Wait()
		b.mu.Lock()
		defer b.mu.Unlock()
		assert.Empty(t, b.holds.keys)
		assert.Empty(t, b.holds.ends)
		assert.Empty(t, b.events.kept)
	})
}

// Who waits for a result gets it even if the task has begun a new life before the waiter could look.
func TestAwaitDuringRequeue(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b := New()
		defer func() { require.NoError(t, b.Close()) }()
		ctx := t.Context()
		task := &omniq.RawTask{ID: uuid.New(), FuncName: "f", CreatedAt: time.Now()}
		ids := []uuid.UUID{task.ID}
		_, err := b.Enqueue(ctx, []*omniq.RawTask{task})
		require.NoError(t, err)
		for range 100 {
			done := make(chan struct{})
			go func() {
				defer close(done)
				r, err := b.Await(ctx, task.ID)
				assert.NoError(t, err)
				if assert.NotNil(t, r) {
					assert.Equal(t, omniq.StatusCancelled, r.Status)
				}
			}()
			synctest.Wait()
			for _, call := range []func() ([]error, error){
				func() ([]error, error) { return b.Cancel(ctx, ids) },
				func() ([]error, error) { return b.Requeue(ctx, ids, false) },
			} {
				errs, err := call()
				require.NoError(t, err)
				require.Nil(t, errs)
			}
			<-done
		}
	})
}

// An event keeps what it told of when the task goes to another worker.
func TestEventsKeepTheirWorker(t *testing.T) {
	b := New(WithEvents(time.Hour))
	defer func() { require.NoError(t, b.Close()) }()
	ctx := t.Context()
	_, err := b.Enqueue(ctx, []*omniq.RawTask{{ID: uuid.New(), FuncName: "f", CreatedAt: time.Now()}})
	require.NoError(t, err)
	for _, worker := range []string{"one", "two"} {
		leases, err := b.Lease(ctx, omniq.LeaseRequest{
			Queues: []string{omniq.DefaultQueue}, Max: 1, Duration: time.Hour, WorkerID: worker,
		})
		require.NoError(t, err)
		require.Len(t, leases, 1)
		_, err = b.Settle(ctx, []omniq.Settlement{{LeaseID: leases[0].LeaseID, Action: omniq.ActionRelease}})
		require.NoError(t, err)
	}
	events, _, err := b.Events(ctx, omniq.EventsRequest{Max: 10})
	require.NoError(t, err)
	require.Len(t, events, 3)
	assert.Equal(t, []string{"one", "two"}, []string{*events[1].WorkerID, *events[2].WorkerID})
}

// A worker that calls Revoked twice at once loses nothing, although it should not.
func TestRevokedTwiceAtOnce(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b := New()
		defer func() { require.NoError(t, b.Close()) }()
		ctx := t.Context()
		heard := make(chan omniq.LeaseID, 2)
		for range 2 {
			go func() {
				leases, err := b.Revoked(ctx, "w")
				assert.NoError(t, err)
				for _, l := range leases {
					heard <- l
				}
			}()
		}
		synctest.Wait()
		for range 2 {
			id := uuid.New()
			_, err := b.Enqueue(ctx, []*omniq.RawTask{{ID: id, FuncName: "f", CreatedAt: time.Now()}})
			require.NoError(t, err)
			leases, err := b.Lease(ctx, omniq.LeaseRequest{
				Queues: []string{omniq.DefaultQueue}, Max: 1, Duration: time.Hour, WorkerID: "w",
			})
			require.NoError(t, err)
			_, err = b.Cancel(ctx, []uuid.UUID{id})
			require.NoError(t, err)
			assert.Equal(t, leases[0].LeaseID, <-heard)
		}
	})
}
