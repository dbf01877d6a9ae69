package omniq_test

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/bubble"
)

// lose lets a worker take the ready tasks and die: once for each of times, waiting until they are due again.
func lose(t *testing.T, b omniq.Backend, tasks, times int) {
	for range times {
		for got := 0; got < tasks; {
			leases, err := b.Lease(t.Context(), omniq.LeaseRequest{
				Queues: []string{omniq.DefaultQueue}, Max: tasks - got, Duration: time.Second, Wait: time.Hour,
			})
			require.NoError(t, err)
			got += len(leases)
		}
		time.Sleep(time.Second)
	}
}

// Attempts that were lost are no failures: the delays and the limit go by those.
func TestLostAttemptsAreNoFailures(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		var lost []int
		var starts []time.Duration
		var start time.Time
		d := omniq.DefineNoArgsVoid("fail", func(ctx context.Context) error {
			if start.IsZero() {
				start = time.Now()
			}
			info, _ := omniq.InfoFrom(ctx)
			lost = append(lost, info.Lost)
			starts = append(starts, time.Since(start))
			return errOops
		})
		h, err := d.Enqueue(t.Context(), client)
		require.NoError(t, err)
		lose(t, b, 1, 2)
		run(t, b, omniq.Handlers(d))
		_, err = h.Wait(t.Context())
		assert.ErrorContains(t, err, "oops")
		assert.Equal(t, seconds(0, 1, 3, 7), starts)
		assert.Equal(t, []int{2, 2, 2, 2}, lost)
		assert.Equal(t, 6, attempts(t, client, h.ID()))
	})
}

func TestLostTooOften(t *testing.T) {
	for name, c := range map[string]struct{ retries, lost int }{
		"never retried": {0, 3},
		"one retry":     {1, 3},
		"default":       {3, 4},
		"many":          {9, 10},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				b, client := newMemory(t)
				f := newFailer(func(int) error { return nil })
				last, err := f.Enqueue(t.Context(), client, omniq.Retries(c.retries))
				require.NoError(t, err)
				lose(t, b, 1, c.lost-1)
				w := run(t, b, omniq.Handlers(f))
				_, err = last.Wait(t.Context())
				require.NoError(t, err, "%d losses are not too many", c.lost-1)
				require.NoError(t, w.stop())
				h, err := f.Enqueue(t.Context(), client, omniq.Retries(c.retries))
				require.NoError(t, err)
				lose(t, b, 1, c.lost)
				f.starts = nil
				run(t, b, omniq.Handlers(f))
				_, err = h.Wait(t.Context())
				require.ErrorIs(t, err, omniq.ErrLeaseLost)
				assert.ErrorContains(t, err, "attempts did not end: each time the worker died")
				assert.Empty(t, f.starts)
				assert.Equal(t, c.lost, attempts(t, client, h.ID()))
			})
		})
	}
}

// What was lost twice runs with no other such task in one worker; others run beside it.
func TestTasksThatWereLostRunApart(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		var now, most, together atomic.Int32
		d := omniq.DefineNoArgs("slow", func(ctx context.Context) (int, error) {
			info, _ := omniq.InfoFrom(ctx)
			if info.Lost < 2 {
				together.Add(1)
				time.Sleep(time.Minute)
				return info.Attempt, nil
			}
			if n := now.Add(1); n > most.Load() {
				most.Store(n)
			}
			defer now.Add(-1)
			time.Sleep(3 * time.Second)
			return info.Attempt, nil
		}, omniq.Retries(0))
		var handles []*omniq.Handle[int]
		for range 10 {
			h, err := d.Enqueue(t.Context(), client)
			require.NoError(t, err)
			handles = append(handles, h)
		}
		lose(t, b, 10, 2)
		for range 5 {
			h, err := d.Enqueue(t.Context(), client)
			require.NoError(t, err)
			handles = append(handles, h)
		}
		start := time.Now()
		run(t, b, omniq.Handlers(d), omniq.Concurrency(10))
		for i, h := range handles {
			attempt, err := h.Wait(t.Context())
			require.NoError(t, err)
			if i < 10 {
				assert.Equal(t, 3, attempt, "to be given back uses no attempt")
			} else {
				assert.Equal(t, 1, attempt)
			}
		}
		assert.EqualValues(t, 1, most.Load())
		assert.EqualValues(t, 5, together.Load())
		assert.Less(t, time.Since(start), 2*time.Minute)
	})
}

// A handler that does not look at its context goes on when its lease is lost. The task is not begun beside it.
func TestAttemptsDoNotOverlap(t *testing.T) {
	for name, trouble := range map[string]func(t *testing.T, c *omniq.Client, h *omniq.Handle[int], broken *atomic.Bool){
		"extend fails": func(_ *testing.T, _ *omniq.Client, _ *omniq.Handle[int], broken *atomic.Bool) { broken.Store(true) },
		"cancelled and enqueued again": func(t *testing.T, c *omniq.Client, h *omniq.Handle[int], _ *atomic.Bool) {
			require.NoError(t, h.Cancel(t.Context()))
			require.NoError(t, c.Requeue(t.Context(), h.ID()))
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				b, client := newMemory(t)
				var broken atomic.Bool
				m := &meddler{Backend: b}
				m.extend = func(ctx context.Context, l []omniq.LeaseID, by time.Duration) ([]error, error) {
					if broken.Load() {
						return nil, errors.New("the database is down")
					}
					return b.Extend(ctx, l, by)
				}
				var now, most, runs atomic.Int32
				d := omniq.DefineNoArgs("deaf", func(context.Context) (int, error) {
					if n := now.Add(1); n > most.Load() {
						most.Store(n)
					}
					defer now.Add(-1)
					time.Sleep(5 * time.Minute)
					return int(runs.Add(1)), nil
				})
				run(t, m, omniq.Handlers(d), omniq.Concurrency(4))
				h, err := d.Enqueue(t.Context(), client)
				require.NoError(t, err)
				synctest.Wait()
				trouble(t, client, h, &broken)
				time.Sleep(100 * time.Second)
				broken.Store(false)
				got, err := h.Wait(t.Context())
				require.NoError(t, err)
				assert.Equal(t, 2, got, "the second attempt's")
				assert.EqualValues(t, 1, most.Load(), "at once")
			})
		})
	}
}

// What does not start with its lease starts when its handler does, and what is lost before that is not run.
func TestAttemptsStartWithTheirHandlers(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		var log logbook
		m := unstarted(b)
		var started, calls atomic.Int32
		m.start = func(ctx context.Context, leases []omniq.LeaseID) ([]error, error) {
			started.Add(int32(len(leases)))
			calls.Add(1)
			time.Sleep(time.Second)
			return b.Start(ctx, leases)
		}
		d := omniq.DefineNoArgs("slow", func(ctx context.Context) (int, error) {
			time.Sleep(time.Minute)
			info, _ := omniq.InfoFrom(ctx)
			return info.Attempt, nil
		}, omniq.Retries(0))
		var handles []*omniq.Handle[int]
		for range 30 {
			h, err := d.Enqueue(t.Context(), client)
			require.NoError(t, err)
			handles = append(handles, h)
		}
		run(t, m, omniq.Handlers(d), omniq.Concurrency(10), log.option())
		time.Sleep(30 * time.Second)
		counts := func() (n int) {
			for _, h := range handles {
				r, err := h.Result(t.Context())
				require.NoError(t, err)
				n += r.Attempts
			}
			return n
		}
		assert.Equal(t, 10, counts())
		assert.EqualValues(t, 10, started.Load())
		time.Sleep(time.Minute)
		assert.Equal(t, 20, counts())
		assert.EqualValues(t, 20, started.Load())
		assert.LessOrEqual(t, calls.Load(), int32(6), "while one call is in flight the others gather")
		require.NoError(t, handles[29].Cancel(t.Context()))
		for _, h := range handles[:29] {
			attempt, err := h.Wait(t.Context())
			require.NoError(t, err)
			assert.Equal(t, 1, attempt)
		}
		assert.EqualValues(t, 29, started.Load(), "one was cancelled before its turn")
		synctest.Wait()
		assert.Zero(t, log.count(slog.LevelWarn)+log.count(slog.LevelError), "\n%s", &log)
	})
}

// unstarted is a backend whose leases do not start their attempts.
func unstarted(b omniq.Backend) *meddler {
	return &meddler{Backend: b, lease: func(ctx context.Context, r omniq.LeaseRequest) ([]omniq.Lease, error) {
		r.Ahead, r.Soon = r.Max, false
		return b.Lease(ctx, r)
	}}
}

// A start that fails is tried again while the lease lasts.
func TestTroubleWithStart(t *testing.T) {
	for name, trouble := range map[string]func(ctx context.Context) error{
		"fails": func(context.Context) error { return errOops },
		"hangs": func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				b, client := newMemory(t)
				m := unstarted(b)
				start := time.Now()
				m.start = func(ctx context.Context, leases []omniq.LeaseID) ([]error, error) {
					if time.Since(start) < 20*time.Second {
						return nil, trouble(ctx)
					}
					return b.Start(ctx, leases)
				}
				d := omniq.DefineNoArgs("any", func(ctx context.Context) (int, error) {
					time.Sleep(time.Second)
					info, _ := omniq.InfoFrom(ctx)
					return info.Attempt, nil
				}, omniq.Retries(0))
				var handles []*omniq.Handle[int]
				for range 5 {
					h, err := d.Enqueue(t.Context(), client)
					require.NoError(t, err)
					handles = append(handles, h)
				}
				w := run(t, m, omniq.Handlers(d), omniq.Concurrency(1), omniq.LeaseDuration(10*time.Second))
				for _, h := range handles {
					attempt, err := h.Wait(t.Context())
					require.NoError(t, err)
					assert.Equal(t, 1, attempt)
				}
				start = time.Now() // it fails again
				for range 2 {
					_, err := d.Enqueue(t.Context(), client)
					require.NoError(t, err)
				}
				time.Sleep(2 * time.Second)
				stopped := time.Now()
				require.NoError(t, w.stop(), "what never started is not stuck")
				assert.LessOrEqual(t, time.Since(stopped), 31*time.Second)
			})
		})
	}
}
