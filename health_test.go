package omniq_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/bubble"
)

// A worker is healthy from Run until it stops, whether it is idle for long or all its places are taken.
func TestHealth(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		d := omniq.DefineNoArgsVoid("long", func(context.Context) error { time.Sleep(time.Hour); return nil })
		w := newWorker(t, b, omniq.Handlers(d), omniq.Concurrency(2), omniq.ShutdownTimeout(2*time.Hour))
		health := func(handlers int) omniq.WorkerHealth {
			synctest.Wait()
			h := w.Health()
			assert.Equal(t, handlers, h.Handlers)
			assert.Equal(t, 2, h.Concurrency)
			return h
		}
		h := health(0)
		require.ErrorContains(t, h.Err, "does not run")
		assert.Zero(t, h.LeasedAt)

		ctx, stop := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- w.Run(ctx) }()
		began := time.Now()
		h = health(0)
		require.NoError(t, h.Err, "its first call waits for tasks")
		assert.Zero(t, h.LeasedAt)
		time.Sleep(10*time.Minute + time.Second)
		h = health(0)
		require.NoError(t, h.Err, "it is idle")
		assert.Equal(t, began.Add(10*time.Minute), h.LeasedAt, "a call waits for a minute")

		for range 2 {
			_, err := d.Enqueue(t.Context(), client)
			require.NoError(t, err)
		}
		synctest.Wait()
		at := time.Now()
		time.Sleep(30 * time.Minute)
		h = health(2)
		require.NoError(t, h.Err, "all its places are taken")
		assert.Equal(t, at, h.LeasedAt)

		stop()
		h = health(2)
		require.ErrorContains(t, h.Err, "stops and takes no more tasks")
		require.NoError(t, <-done)
		require.ErrorContains(t, health(0).Err, "does not run")

		ctx, stop = context.WithCancel(context.Background())
		go func() { done <- w.Run(ctx) }()
		h = health(0)
		require.NoError(t, h.Err, "it runs again")
		assert.Zero(t, h.LeasedAt, "of this Run")
		stop()
		require.NoError(t, <-done)
	})
}

// A batch is one handler that runs, and none while it gathers tasks.
func TestHealthOfBatches(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		d := omniq.DefineBatch("batch", func(context.Context, []*omniq.Item[omniq.Args1[int], omniq.Void]) error {
			time.Sleep(time.Minute)
			return nil
		}, omniq.UpTo(3, time.Second))
		alone := omniq.DefineNoArgsVoid("alone", func(context.Context) error { time.Sleep(time.Hour); return nil })
		w := run(t, b, omniq.Handlers(d, alone), omniq.Concurrency(2), omniq.ShutdownTimeout(2*time.Hour), omniq.LeaseDuration(300*time.Millisecond))
		for i := range 5 {
			_, err := d.Enqueue(t.Context(), client, omniq.MakeArgs1(i))
			require.NoError(t, err)
		}
		health := func(handlers int, what string) {
			synctest.Wait()
			assert.Equal(t, handlers, w.Health().Handlers, what)
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
			assert.Equal(t, handlers, workersOf(t, client)[0].Running, "%s, and a beat says so", what)
		}
		health(1, "three tasks run as one, two wait for a third")
		time.Sleep(time.Second)
		health(2, "both batches run")
		_, err := alone.Enqueue(t.Context(), client)
		require.NoError(t, err)
		health(2, "a task waits for its place")
		time.Sleep(time.Minute)
		health(1, "it has it")
		time.Sleep(time.Hour)
		health(0, "all is done")
		require.NoError(t, w.stop())
	})
}

// An engine that refuses, or does not answer, makes a worker unhealthy after a while, and it recovers with the first answer.
func TestHealthInTrouble(t *testing.T) {
	const lease = 10 * time.Second
	for name, c := range map[string]struct {
		lease   func(context.Context) error
		healthy time.Duration // for so long
		err     string
	}{
		"refuses": {func(context.Context) error { return errOops }, lease, "lease calls have failed for "},
		"hangs": {
			func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, time.Minute + lease, "a lease call has not come back for ",
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				b, _ := newMemory(t)
				broken, heal := context.WithCancel(t.Context())
				m := &meddler{Backend: b}
				m.lease = func(ctx context.Context, r omniq.LeaseRequest) ([]omniq.Lease, error) {
					if broken.Err() != nil {
						return b.Lease(ctx, r)
					}
					ctx, cancel := context.WithCancel(ctx)
					defer cancel()
					defer context.AfterFunc(broken, cancel)()
					return nil, c.lease(ctx)
				}
				w := run(t, m, omniq.Handlers(omniq.DefineNoArgsVoid("any", noop)), omniq.LeaseDuration(lease), omniq.WithoutSchedules())
				time.Sleep(c.healthy - time.Millisecond)
				synctest.Wait()
				require.NoError(t, w.Health().Err)
				time.Sleep(2 * time.Millisecond)
				synctest.Wait()
				require.ErrorContains(t, w.Health().Err, c.err)
				heal()
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				h := w.Health()
				require.NoError(t, h.Err)
				assert.NotZero(t, h.LeasedAt)
				require.NoError(t, w.stop())
			})
		})
	}
}

// A call that the worker ends itself, to ask for more queues, is no trouble.
func TestHealthWithQueueLimits(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		d := omniq.DefineNoArgsVoid("any", func(context.Context) error { time.Sleep(time.Second); return nil })
		w := run(t, b, omniq.Handlers(d), omniq.Queues("a", "b"), omniq.QueueLimit("a", 1))
		for range 100 {
			_, err := d.Enqueue(t.Context(), client, omniq.Queue("a"))
			require.NoError(t, err)
			time.Sleep(2 * time.Second)
			require.NoError(t, w.Health().Err)
		}
		require.NoError(t, w.stop())
	})
}
