package omniq_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// Tasks that are taken ahead wait for a handler, keep their leases, can be cancelled, and are given back at the end.
func TestPrefetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		var ran []int
		d := omniq.DefineArgs("slow", func(_ context.Context, a omniq.Args1[int]) (int, error) {
			ran = append(ran, a.V1)
			time.Sleep(time.Minute)
			return a.V1, nil
		})
		w := run(t, b, omniq.Handlers(d), omniq.Concurrency(1), omniq.Prefetch(3), omniq.LeaseDuration(10*time.Second))
		var handles []*omniq.Handle[int]
		for i := range 6 {
			h, err := d.Enqueue(t.Context(), client, omniq.MakeArgs1(i))
			require.NoError(t, err)
			handles = append(handles, h)
		}
		time.Sleep(30 * time.Second)
		synctest.Wait()
		stats, err := client.Stats(t.Context())
		require.NoError(t, err)
		assert.Equal(t, []omniq.QueueStats{{Queue: "default", Ready: 2, Running: 4, Latency: 30 * time.Second}}, stats)
		assert.Equal(t, []int{0}, ran, "one at a time")

		require.NoError(t, handles[1].Cancel(t.Context()))
		time.Sleep(time.Minute) // the first is done, the second passed over, the third runs
		synctest.Wait()
		assert.Equal(t, []int{0, 2}, ran)
		require.NoError(t, w.stop())
		assert.Equal(t, []int{0, 2}, ran, "what was taken ahead is given back")
		for i, want := range []omniq.Status{
			omniq.StatusSuccess, omniq.StatusCancelled, omniq.StatusSuccess, omniq.StatusPending, omniq.StatusPending, omniq.StatusPending,
		} {
			info, err := client.Inspect(t.Context(), handles[i].ID())
			require.NoError(t, err)
			assert.Equal(t, want, info.Status, "task %d", i)
			if want == omniq.StatusPending {
				assert.Zero(t, info.Attempts, "task %d", i)
			}
		}
	})
}

// When the worker begins to stop, what was taken ahead is for others at once: it does not wait for the handlers that run.
func TestPrefetchedTasksAreGivenBackAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		d := omniq.DefineNoArgsVoid("slow", func(context.Context) error { time.Sleep(25 * time.Second); return nil })
		w := newWorker(t, b, omniq.Handlers(d), omniq.Concurrency(1), omniq.Prefetch(10))
		ctx, stop := context.WithCancel(t.Context())
		for range 11 {
			_, err := d.Enqueue(t.Context(), client)
			require.NoError(t, err)
		}
		done := make(chan error, 1)
		go func() { done <- w.Run(ctx) }()
		synctest.Wait()
		stop()
		start := time.Now()
		synctest.Wait()
		stats, err := client.Stats(t.Context())
		require.NoError(t, err)
		assert.Equal(t, []omniq.QueueStats{{Queue: "default", Ready: 10, Running: 1}}, stats)
		require.NoError(t, <-done)
		assert.Equal(t, 25*time.Second, time.Since(start))
	})
}

// Run names the tasks whose handlers do not return, and no others.
func TestPrefetchedTasksAreNotStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		release := make(chan struct{})
		var stuck []uuid.UUID
		d := omniq.DefineNoArgsVoid("stuck", func(ctx context.Context) error {
			info, _ := omniq.InfoFrom(ctx)
			stuck = append(stuck, info.ID)
			<-release
			return nil
		})
		w := run(t, b, omniq.Handlers(d), omniq.Concurrency(1), omniq.Prefetch(10))
		for range 11 {
			_, err := d.Enqueue(t.Context(), client)
			require.NoError(t, err)
		}
		synctest.Wait()
		err := w.stop()
		require.Len(t, stuck, 1)
		assert.ErrorContains(t, err, fmt.Sprintf("1 handlers have not returned 5s after their contexts ended: tasks %v", stuck))
		close(release)
	})
}
