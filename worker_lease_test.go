package omniq_test

import (
	"context"
	"errors"
	"log/slog"
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

func TestLongHandlerKeepsItsLease(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		var ran, extended atomic.Int32
		m := &meddler{Backend: b}
		m.extend = func(ctx context.Context, leases []omniq.LeaseID, by time.Duration) ([]error, error) {
			extended.Add(1)
			assert.Len(t, leases, 1)
			assert.Equal(t, 3*time.Second, by)
			return b.Extend(ctx, leases, by)
		}
		d := omniq.DefineNoArgs("long", func(ctx context.Context) (int32, error) {
			time.Sleep(time.Hour)
			return ran.Add(1), ctx.Err()
		})
		for range 3 { // whoever could, would take it
			run(t, m, omniq.Handlers(d), omniq.LeaseDuration(3*time.Second))
		}
		h, err := d.Enqueue(t.Context(), client)
		require.NoError(t, err)
		got, err := h.Wait(t.Context())
		require.NoError(t, err)
		assert.EqualValues(t, 1, got)
		assert.InDelta(t, 60*60, extended.Load(), 1, "once a second")
	})
}

func TestLostLeaseEndsTheContextAndDropsTheOutcome(t *testing.T) {
	for name, outcome := range map[string]func() (int, error){
		"result":    func() (int, error) { return -1, nil },
		"error":     func() (int, error) { return 0, errOops },
		"permanent": func() (int, error) { return 0, omniq.Permanent(errOops) },
		"snooze":    func() (int, error) { return 0, omniq.Snooze(time.Hour) },
		"panic":     func() (int, error) { panic("at the news") },
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				b, client := newMemory(t)
				start := time.Now()
				d := omniq.DefineNoArgs("long", func(ctx context.Context) (int, error) {
					info, _ := omniq.InfoFrom(ctx)
					if info.Attempt > 1 {
						return info.Attempt, nil
					}
					<-ctx.Done()
					assert.Equal(t, omniq.ErrLeaseLost, context.Cause(ctx))
					assert.Equal(t, context.Canceled, ctx.Err())
					assert.Equal(t, time.Second, time.Since(start))
					return outcome()
				})
				m := &meddler{Backend: b}
				m.extend = func(ctx context.Context, leases []omniq.LeaseID, by time.Duration) ([]error, error) {
					if time.Since(start) > 2*time.Second {
						return b.Extend(ctx, leases, by)
					}
					errs := make([]error, len(leases))
					for i := range errs {
						errs[i] = omniq.ErrLeaseLost
					}
					return errs, nil
				}
				run(t, m, omniq.Handlers(d), omniq.LeaseDuration(3*time.Second))
				h, err := d.Enqueue(t.Context(), client)
				require.NoError(t, err)
				// The engine still has the lease, as one without fencing would let it be settled. It runs out.
				attempt, err := h.Wait(t.Context())
				require.NoError(t, err)
				assert.Equal(t, 2, attempt)
				assert.GreaterOrEqual(t, time.Since(start), 3*time.Second)
				assert.Less(t, time.Since(start), 4*time.Second, "and a pause below a second")
			})
		})
	}
}

func TestTroubleWithExtend(t *testing.T) {
	for name, c := range map[string]struct {
		until time.Duration // how long the trouble lasts
		lost  time.Duration // when the handler learns that the lease is lost, 0 for not
	}{
		"short":   {1500 * time.Millisecond, 0},
		"forever": {time.Hour, 3 * time.Second},
	} {
		for kind, trouble := range map[string]func(n int) ([]error, error){
			"of the call":  func(int) ([]error, error) { return nil, errOops },
			"of the lease": func(n int) ([]error, error) { return slices.Repeat([]error{errOops}, n), nil },
		} {
			t.Run(name+" "+kind, func(t *testing.T) {
				bubble.Test(t, func(t *testing.T) {
					b, client := newMemory(t)
					start := time.Now()
					m := &meddler{Backend: b}
					m.extend = func(ctx context.Context, leases []omniq.LeaseID, by time.Duration) ([]error, error) {
						if time.Since(start) < c.until {
							return trouble(len(leases))
						}
						return b.Extend(ctx, leases, by)
					}
					d := omniq.DefineNoArgs("long", func(ctx context.Context) (int, error) {
						info, _ := omniq.InfoFrom(ctx)
						if info.Attempt > 1 {
							return info.Attempt, nil
						}
						select {
						case <-time.After(10 * time.Second):
							assert.Zero(t, c.lost)
						case <-ctx.Done():
							assert.Equal(t, c.lost, time.Since(start))
							assert.Equal(t, omniq.ErrLeaseLost, context.Cause(ctx))
						}
						return info.Attempt, nil
					})
					run(t, m, omniq.Handlers(d), omniq.LeaseDuration(3*time.Second))
					h, err := d.Enqueue(t.Context(), client)
					require.NoError(t, err)
					attempt, err := h.Wait(t.Context())
					require.NoError(t, err)
					if c.lost == 0 {
						assert.Equal(t, 1, attempt)
					} else {
						assert.Equal(t, 2, attempt)
					}
				})
			})
		}
	}
}

// A heartbeat that hangs must not keep the next one from being tried.
func TestHangingExtendIsGivenUp(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		calls := 0
		m := &meddler{Backend: b}
		m.extend = func(ctx context.Context, leases []omniq.LeaseID, by time.Duration) ([]error, error) {
			if calls++; calls == 1 {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return b.Extend(ctx, leases, by)
		}
		d := omniq.DefineNoArgs("long", func(ctx context.Context) (int, error) {
			select {
			case <-time.After(10 * time.Second):
			case <-ctx.Done():
			}
			info, _ := omniq.InfoFrom(ctx)
			return info.Attempt, context.Cause(ctx)
		})
		run(t, m, omniq.Handlers(d), omniq.LeaseDuration(3*time.Second))
		h, err := d.Enqueue(t.Context(), client)
		require.NoError(t, err)
		attempt, err := h.Wait(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 1, attempt)
	})
}

// A heartbeat that failed is tried again soon, and the log says why it failed.
func TestFailedHeartbeatIsTriedAgainSoon(t *testing.T) {
	for name, trouble := range map[string]struct {
		err  func(ctx context.Context) error
		text string
	}{
		"fails": {func(context.Context) error { return errors.New("no connection is free") }, "no connection is free"},
		"hangs": {func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, "deadline exceeded"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				b, client := newMemory(t)
				start := time.Now()
				var asked []time.Duration
				m := &meddler{Backend: b}
				m.extend = func(ctx context.Context, leases []omniq.LeaseID, by time.Duration) ([]error, error) {
					asked = append(asked, time.Since(start))
					if len(asked) < 3 {
						return nil, trouble.err(ctx)
					}
					return b.Extend(ctx, leases, by)
				}
				d := omniq.DefineNoArgs("long", func(ctx context.Context) (int, error) {
					time.Sleep(time.Minute)
					info, _ := omniq.InfoFrom(ctx)
					return info.Attempt, context.Cause(ctx)
				})
				var log logbook
				w := run(t, m, omniq.Handlers(d), omniq.LeaseDuration(30*time.Second), log.option())
				h, err := d.Enqueue(t.Context(), client)
				require.NoError(t, err)
				attempt, err := h.Wait(t.Context())
				require.NoError(t, err)
				require.NoError(t, w.stop()) // it extends no more
				assert.Equal(t, 1, attempt)
				assert.Equal(t, 10*time.Second, asked[0])
				assert.Less(t, asked[2], 29*time.Second, "twice more before the lease ends")
				assert.Equal(t, 2, log.count(slog.LevelError, "cannot extend leases", trouble.text), "\n%s", &log)
			})
		})
	}
}

// A worker that dies with each attempt must not have the task for ever.
func TestAttemptsEndedByLostLeasesCount(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		f := newFailer(oops)
		h, err := f.Enqueue(t.Context(), client, omniq.Retries(2))
		require.NoError(t, err)
		for attempt := range 3 {
			leases, err := b.Lease(t.Context(), omniq.LeaseRequest{
				Queues: []string{"default"}, Max: 1, Duration: time.Second, Wait: time.Minute,
			})
			require.NoError(t, err)
			require.Len(t, leases, 1)
			assert.Equal(t, attempt+1, leases[0].Attempt)
		}
		run(t, b, omniq.Handlers(f))
		_, err = h.Wait(t.Context())
		require.ErrorIs(t, err, omniq.ErrLeaseLost)
		assert.Contains(t, taskError(t, err).Message, "3 attempts did not end")
		assert.Empty(t, f.starts)
		assert.Equal(t, 3, attempts(t, client, h.ID()))
	})
}

// What was done twice, because a lease was lost, has one result: that of the lease that was valid.
func TestWhoLostTheLeaseCannotSettle(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		d := omniq.DefineNoArgs("who", func(ctx context.Context) (string, error) {
			info, _ := omniq.InfoFrom(ctx)
			time.Sleep(time.Duration(3-info.Attempt) * 20 * time.Second)
			return info.WorkerID, nil
		})
		cut := &meddler{Backend: b}
		cut.extend = func(context.Context, []omniq.LeaseID, time.Duration) ([]error, error) {
			return nil, errors.New("no connection")
		}
		first := run(t, cut, omniq.Handlers(d), omniq.WorkerID("first"), omniq.LeaseDuration(3*time.Second))
		h, err := d.Enqueue(t.Context(), client)
		require.NoError(t, err)
		synctest.Wait()
		run(t, b, omniq.Handlers(d), omniq.WorkerID("second"))
		got, err := h.Wait(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "second", got)
		require.NoError(t, first.stop())
		got, err = h.Wait(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "second", got)
	})
}
