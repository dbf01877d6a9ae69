package memory_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
	"github.com/omniq-go/omniq/internal/bubble"
)

func in(queue string) func(*omniq.RawTask) { return func(t *omniq.RawTask) { t.Queue = queue } }

// Who is woken for a task of one queue and takes that of another wakes who waits for the first.
func TestWokenForAnotherQueue(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b := memory.New()
		defer func() { require.NoError(t, b.Close()) }()
		began := time.Now()
		got := make(chan string, 2)
		lease := func(queues ...string) {
			r := request(time.Hour, time.Minute)
			r.Queues, r.Max = queues, 1
			leases, err := b.Lease(t.Context(), r)
			assert.NoError(t, err)
			for _, l := range leases {
				got <- l.Task.Queue
			}
		}
		go lease("one", "two")
		synctest.Wait()
		go lease("two")
		synctest.Wait()
		_, err := b.Enqueue(t.Context(), []*omniq.RawTask{task(in("two")), task(in("one"))})
		require.NoError(t, err)
		assert.ElementsMatch(t, []string{"one", "two"}, []string{<-got, <-got})
		assert.Zero(t, time.Since(began), "one has slept on")
	})
}

// A task is pending since it was enqueued, also when it becomes due in between.
func TestSinceWhen(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b := memory.New()
		defer func() { require.NoError(t, b.Close()) }()
		began := time.Now()
		since := func(id uuid.UUID, status omniq.Status, at time.Duration) {
			t.Helper()
			r, err := b.Result(t.Context(), id)
			require.NoError(t, err)
			assert.Equal(t, status, r.Status)
			assert.Equal(t, at, r.Timestamp.Sub(began))
		}
		delayed := task(func(t *omniq.RawTask) { t.RunAt = began.Add(time.Hour) })
		_, err := b.Enqueue(t.Context(), []*omniq.RawTask{delayed})
		require.NoError(t, err)
		since(delayed.ID, omniq.StatusPending, 0)
		time.Sleep(2 * time.Hour)
		since(delayed.ID, omniq.StatusPending, 0)
		leases, err := b.Lease(t.Context(), request(time.Hour, 0))
		require.NoError(t, err)
		require.Len(t, leases, 1)
		time.Sleep(time.Minute)
		since(delayed.ID, omniq.StatusRunning, 2*time.Hour)
		_, err = b.Extend(t.Context(), []omniq.LeaseID{leases[0].LeaseID}, time.Hour)
		require.NoError(t, err)
		since(delayed.ID, omniq.StatusRunning, 2*time.Hour)
		time.Sleep(2 * time.Hour)
		since(delayed.ID, omniq.StatusPending, 3*time.Hour+time.Minute)
	})
}

// An empty name is the default queue's in a request, too.
func TestEmptyQueueName(t *testing.T) {
	b := memory.New()
	defer func() { require.NoError(t, b.Close()) }()
	_, err := b.Enqueue(t.Context(), []*omniq.RawTask{task()})
	require.NoError(t, err)
	r := request(time.Hour, 0)
	r.Queues = []string{"", ""}
	leases, err := b.Lease(t.Context(), r)
	require.NoError(t, err)
	assert.Len(t, leases, 1)
}
