package omniq_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/bubble"
)

func TestShutdownWaitsForHandlers(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		d := omniq.DefineNoArgs("slow", func(ctx context.Context) (int, error) {
			time.Sleep(20 * time.Second)
			return 42, ctx.Err()
		})
		w := run(t, b, omniq.Handlers(d), omniq.Concurrency(2))
		var handles []*omniq.Handle[int]
		for range 3 {
			h, err := d.Enqueue(t.Context(), client)
			require.NoError(t, err)
			handles = append(handles, h)
		}
		synctest.Wait()
		start := time.Now()
		require.NoError(t, w.stop())
		assert.Equal(t, 20*time.Second, time.Since(start))
		for _, h := range handles[:2] {
			got, err := h.Wait(t.Context())
			require.NoError(t, err)
			assert.Equal(t, 42, got)
		}
		status, err := handles[2].Status(t.Context())
		require.NoError(t, err)
		assert.Equal(t, omniq.StatusPending, status, "no task is taken any more")
	})
}

func TestShutdownTimeout(t *testing.T) {
	for name, c := range map[string]struct {
		timeout time.Duration
		opts    []omniq.WorkerOption
	}{
		"default": {30 * time.Second, nil},
		"chosen":  {time.Minute, []omniq.WorkerOption{omniq.ShutdownTimeout(time.Minute)}},
		"none":    {0, []omniq.WorkerOption{omniq.ShutdownTimeout(0)}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				b, client := newMemory(t)
				var start time.Time
				runs := 0
				d := omniq.DefineNoArgs("endless", func(ctx context.Context) (int, error) {
					info, _ := omniq.InfoFrom(ctx)
					if runs++; runs == 2 {
						return info.Attempt, nil
					}
					<-ctx.Done()
					assert.Equal(t, c.timeout, time.Since(start))
					assert.Equal(t, context.Canceled, ctx.Err())
					assert.Equal(t, omniq.ErrShutdown, context.Cause(ctx))
					return 0, ctx.Err()
				}, omniq.Retries(0))
				w := run(t, b, append(c.opts, omniq.Handlers(d))...)
				h, err := d.Enqueue(t.Context(), client)
				require.NoError(t, err)
				synctest.Wait()
				start = time.Now()
				require.NoError(t, w.stop())
				assert.Equal(t, c.timeout, time.Since(start))

				run(t, b, omniq.Handlers(d))
				attempt, err := h.Wait(t.Context())
				require.NoError(t, err)
				assert.Equal(t, 1, attempt, "no attempt was used")
				assert.Equal(t, c.timeout, time.Since(start), "it was due at once")
			})
		})
	}
}

func TestResultAfterShutdownCounts(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		d := omniq.DefineNoArgs("late", func(ctx context.Context) (int, error) {
			<-ctx.Done()
			time.Sleep(time.Second)
			return 42, nil
		})
		w := run(t, b, omniq.Handlers(d))
		h, err := d.Enqueue(t.Context(), client)
		require.NoError(t, err)
		synctest.Wait()
		require.NoError(t, w.stop())
		got, err := h.Wait(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 42, got)
	})
}

func TestHandlerThatNeverReturns(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		end := make(chan struct{})
		var runs atomic.Int32
		d := omniq.DefineNoArgs("stuck", func(ctx context.Context) (int, error) {
			if runs.Add(1) == 1 {
				<-end
				return -1, nil
			}
			info, _ := omniq.InfoFrom(ctx)
			return info.Attempt, nil
		}, omniq.Retries(0))
		w := run(t, b, omniq.Handlers(d), omniq.ShutdownTimeout(10*time.Second), omniq.Concurrency(2))
		h, err := d.Enqueue(t.Context(), client)
		require.NoError(t, err)
		synctest.Wait()
		start := time.Now()
		err = w.stop()
		require.Error(t, err)
		assert.Equal(t, 15*time.Second, time.Since(start))
		assert.ErrorContains(t, err, h.ID().String())
		assert.ErrorContains(t, err, "1 handlers have not returned")

		t.Log("the same worker can go on beside it, but not with the same task")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- w.Run(ctx) }()
		time.Sleep(time.Minute)
		assert.EqualValues(t, 1, runs.Load())

		run(t, b, omniq.Handlers(d))
		attempt, err := h.Wait(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 1, attempt, "the task was given back")

		close(end)
		synctest.Wait()
		cancel()
		require.NoError(t, <-done)
		attempt, err = h.Wait(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 1, attempt, "the late result is dropped")
	})
}

// A lease that was lost does not hide a handler that does not return.
func TestHandlerThatNeverReturnsAfterItsLeaseWasLost(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		m := &meddler{Backend: b}
		m.extend = func(_ context.Context, leases []omniq.LeaseID, _ time.Duration) ([]error, error) {
			return []error{omniq.ErrLeaseLost}, nil
		}
		end := make(chan struct{})
		d := omniq.DefineNoArgsVoid("stuck", func(context.Context) error { <-end; return nil })
		w := run(t, m, omniq.Handlers(d), omniq.ShutdownTimeout(0), omniq.Concurrency(1))
		h, err := d.Enqueue(t.Context(), client)
		require.NoError(t, err)
		time.Sleep(time.Minute)
		require.ErrorContains(t, w.stop(), h.ID().String())
		close(end)
	})
}

// Tasks that arrive while the worker ends are given back, with no attempt used.
func TestLeasesThatComeTooLateAreReleased(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		f := newFailer(oops)
		m := &meddler{Backend: b}
		m.lease = func(ctx context.Context, r omniq.LeaseRequest) ([]omniq.Lease, error) {
			leases, err := b.Lease(context.WithoutCancel(ctx), r)
			<-ctx.Done()
			return leases, err
		}
		w := run(t, m, omniq.Handlers(f))
		h, err := f.Enqueue(t.Context(), client)
		require.NoError(t, err)
		synctest.Wait()
		require.NoError(t, w.stop())
		assert.Empty(t, f.starts)
		r, err := h.Result(t.Context())
		require.NoError(t, err)
		assert.Equal(t, omniq.StatusPending, r.Status)
		assert.Zero(t, r.Attempts)
	})
}

func TestIdleWorkerStopsAtOnce(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, _ := newMemory(t)
		w := run(t, b, omniq.Handlers(omniq.DefineNoArgsVoid("noop", noop)))
		start := time.Now()
		time.Sleep(time.Hour)
		require.NoError(t, w.stop())
		assert.Equal(t, time.Hour, time.Since(start))

		ended, cancel := context.WithCancel(t.Context())
		cancel()
		require.NoError(t, w.Run(ended))
	})
}

func TestRunTwice(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		d := omniq.DefineNoArgsVoid("noop", noop)
		w := run(t, b, omniq.Handlers(d))
		synctest.Wait()
		require.ErrorIs(t, w.Run(t.Context()), omniq.ErrInvalid)
		for range 3 {
			h, err := d.Enqueue(t.Context(), client)
			require.NoError(t, err)
			_, err = h.Wait(t.Context())
			require.NoError(t, err)
			require.NoError(t, w.stop())

			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- w.Run(ctx) }()
			w.stop = func() error { cancel(); return <-done }
		}
		require.NoError(t, w.stop())
	})
}

func TestClosedBackendEndsRun(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		started := make(chan struct{})
		d := omniq.DefineNoArgsVoid("slow", func(context.Context) error {
			close(started)
			time.Sleep(time.Second)
			return nil
		})
		w := newWorker(t, b, omniq.Handlers(d))
		done := make(chan error)
		go func() { done <- w.Run(t.Context()) }()
		h, err := d.Enqueue(t.Context(), client)
		require.NoError(t, err)
		<-started
		require.NoError(t, b.Close())
		require.ErrorIs(t, <-done, omniq.ErrClosed)
		_, err = h.Wait(t.Context())
		require.ErrorIs(t, err, omniq.ErrClosed)
		_, err = d.Enqueue(t.Context(), client)
		require.ErrorIs(t, err, omniq.ErrClosed)
	})
}

// Shutdown while the backend cannot settle: Run waits for the outcomes, and nothing is lost.
func TestShutdownInTheMiddleOfTrouble(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		var trouble atomic.Bool
		trouble.Store(true)
		m := &meddler{Backend: b}
		m.settle = func(ctx context.Context, s []omniq.Settlement) ([]error, error) {
			if trouble.Load() {
				return nil, errors.New("no connection")
			}
			return b.Settle(ctx, s)
		}
		var runs atomic.Int32
		d := omniq.DefineNoArgsVoid("quick", func(context.Context) error {
			runs.Add(1)
			time.Sleep(10 * time.Millisecond) // the clock stands still until a call of Settle that is on its way has failed
			return nil
		})
		w := run(t, m, omniq.Handlers(d), omniq.Concurrency(4), omniq.ShutdownTimeout(0))
		var handles []*omniq.Handle[omniq.Void]
		for range 100 {
			h, err := d.Enqueue(t.Context(), client)
			require.NoError(t, err)
			handles = append(handles, h)
		}
		time.Sleep(time.Second) // the calls that were on their way have failed
		synctest.Wait()
		ran := runs.Load()
		assert.Less(t, ran, int32(100))
		time.Sleep(5 * time.Second)
		synctest.Wait()
		assert.Equal(t, ran, runs.Load(), "a backend that cannot settle is not asked for ever more tasks")
		time.AfterFunc(10*time.Second, func() { trouble.Store(false) })
		start := time.Now()
		require.NoError(t, w.stop())
		assert.InDelta(t, 10, time.Since(start).Seconds(), 2)

		run(t, b, omniq.Handlers(d))
		for _, h := range handles {
			_, err := h.Wait(t.Context())
			require.NoError(t, err)
		}
		assert.EqualValues(t, 100, runs.Load(), "each once, %d of them before the end of the first worker", ran)
	})
}

// Many starts and stops under load, for the race detector.
func TestStartAndStopUnderLoad(t *testing.T) {
	b, client := newMemory(t)
	d := omniq.DefineArgs("double", func(_ context.Context, a omniq.Args1[int]) (int, error) { return 2 * a.V1, nil })
	stop := make(chan struct{})
	var workers, clients sync.WaitGroup
	for range 2 {
		workers.Go(func() {
			w := newWorker(t, b, omniq.Handlers(d), omniq.Concurrency(3))
			for {
				select {
				case <-stop:
					return
				default:
				}
				ctx, cancel := context.WithTimeout(t.Context(), 200*time.Microsecond)
				assert.NoError(t, w.Run(ctx))
				cancel()
			}
		})
	}
	for c := range 4 {
		clients.Go(func() {
			for i := range 300 {
				h, err := d.Enqueue(t.Context(), client, omniq.MakeArgs1(c*1000+i))
				if !assert.NoError(t, err) {
					return
				}
				got, err := h.Wait(t.Context())
				assert.NoError(t, err)
				assert.Equal(t, 2*(c*1000+i), got)
			}
		})
	}
	clients.Wait()
	close(stop)
	workers.Wait()
}
