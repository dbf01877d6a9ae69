package omniq_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/bubble"
)

// heart is a backend whose beats somebody listens to.
type heart struct {
	omniq.Backend
	beat func(context.Context, omniq.WorkerInfo) error
}

func (h *heart) Beat(ctx context.Context, w omniq.WorkerInfo) error { return h.beat(ctx, w) }

// workersOf returns the workers that a client is told of.
func workersOf(t *testing.T, c *omniq.Client) []omniq.WorkerInfo {
	t.Helper()
	workers, err := c.Workers(t.Context())
	require.NoError(t, err)
	return workers
}

func TestWorkerTellsOfItself(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		release := make(chan struct{})
		sleep := omniq.DefineNoArgs("sleep", func(context.Context) (int, error) { <-release; return 0, nil })
		other := omniq.DefineNoArgs("another", func(context.Context) (int, error) { return 0, nil })
		began := time.Now()
		w := run(t, b, omniq.Handlers(sleep, other), omniq.WorkerID("w"), omniq.Queues("b", "a"), omniq.Concurrency(3),
			omniq.LeaseDuration(30*time.Second))
		synctest.Wait()
		host, err := os.Hostname()
		require.NoError(t, err)
		want := omniq.WorkerInfo{
			ID: "w", Host: host, PID: os.Getpid(), Version: workersOf(t, client)[0].Version, Queues: []string{"b", "a"},
			Names: []string{"another", "sleep"}, Concurrency: 3, Lease: 30 * time.Second,
			Started: began.UTC().Truncate(time.Microsecond), Seen: began.UTC().Truncate(time.Microsecond),
		}
		assert.Equal(t, []omniq.WorkerInfo{want}, workersOf(t, client), "at once")
		for range 2 {
			_, err := sleep.Enqueue(t.Context(), client, omniq.Queue("a"))
			require.NoError(t, err)
		}
		time.Sleep(time.Hour + time.Second)
		got := workersOf(t, client)
		require.Len(t, got, 1)
		assert.Equal(t, want.Started, got[0].Started, "it is the same worker")
		assert.LessOrEqual(t, time.Since(got[0].Seen), 10*time.Second, "it beats at a third of its lease")
		assert.Equal(t, 2, got[0].Running)
		assert.False(t, got[0].Stopping)

		stopped := make(chan error, 1)
		go func() { stopped <- w.stop() }()
		synctest.Wait()
		got = workersOf(t, client)
		require.Len(t, got, 1)
		assert.True(t, got[0].Stopping, "at once")
		close(release)
		require.NoError(t, <-stopped)
		assert.Empty(t, workersOf(t, client), "it has stopped")
	})
}

// A worker whose process dies says nothing.
func TestSilentWorkerIsGoneAfterALease(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		var dead atomic.Bool
		h := &heart{b, func(ctx context.Context, w omniq.WorkerInfo) error {
			if dead.Load() {
				return errors.New("nobody is there")
			}
			return b.Beat(ctx, w)
		}}
		run(t, h, omniq.Handlers(omniq.DefineNoArgs("f", func(context.Context) (int, error) { return 0, nil })), omniq.LeaseDuration(3*time.Second))
		time.Sleep(10*time.Second + 500*time.Millisecond)
		require.Len(t, workersOf(t, client), 1)
		dead.Store(true)
		time.Sleep(2 * time.Second)
		assert.Len(t, workersOf(t, client), 1)
		time.Sleep(time.Second)
		assert.Empty(t, workersOf(t, client))
		dead.Store(false)
		time.Sleep(time.Second)
		assert.Len(t, workersOf(t, client), 1, "it tries again")
	})
}

// Beats that hang keep no lease from being extended, and do not keep Run longer than it may take.
func TestBeatsThatHang(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		var leases []time.Duration
		h := &heart{b, func(ctx context.Context, w omniq.WorkerInfo) error {
			leases = append(leases, w.Lease)
			<-ctx.Done()
			return ctx.Err()
		}}
		var ran atomic.Int32
		long := omniq.DefineNoArgs("long", func(ctx context.Context) (int32, error) {
			time.Sleep(time.Minute)
			return ran.Add(1), ctx.Err()
		})
		w := run(t, h, omniq.Handlers(long), omniq.LeaseDuration(3*time.Second))
		run(t, b, omniq.Handlers(long), omniq.LeaseDuration(3*time.Second)) // it would take what is lost
		handle, err := long.Enqueue(t.Context(), client)
		require.NoError(t, err)
		got, err := handle.Wait(t.Context())
		require.NoError(t, err)
		assert.EqualValues(t, 1, got)
		began := time.Now()
		require.NoError(t, w.stop())
		assert.LessOrEqual(t, time.Since(began), 3*time.Second)
		last := len(leases) - 1
		assert.Zero(t, leases[last], "it has tried to say that it stops")
		assert.False(t, slices.Contains(leases[:last], 0))
	})
}

// A backend that is closed is no trouble with beats: Run says so.
func TestBeatsOfAClosedBackend(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, _ := newMemory(t)
		var log tracedLog
		w, err := omniq.NewWorker(b, omniq.Handlers(omniq.DefineNoArgsVoid("any", noop)), omniq.Logger(slog.New(&log)))
		require.NoError(t, err)
		done := make(chan error, 1)
		go func() { done <- w.Run(t.Context()) }()
		synctest.Wait()
		require.NoError(t, b.Close())
		require.ErrorIs(t, <-done, omniq.ErrClosed)
		for _, line := range log.lines {
			assert.Less(t, line.level, slog.LevelWarn, line.message)
		}
	})
}
