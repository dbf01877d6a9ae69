package omniq_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/bubble"
)

func TestTroubleWithLease(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		start := time.Now()
		var asked []time.Duration
		m := &meddler{Backend: b}
		m.lease = func(ctx context.Context, r omniq.LeaseRequest) ([]omniq.Lease, error) {
			asked = append(asked, time.Since(start))
			if time.Since(start) < time.Minute {
				return nil, errOops
			}
			return b.Lease(ctx, r)
		}
		f := newFailer(failUntil(1, nil))
		w := run(t, m, omniq.Handlers(f), omniq.WithoutSchedules())
		h, err := f.Enqueue(t.Context(), client)
		require.NoError(t, err)
		_, err = h.Wait(t.Context())
		require.NoError(t, err)
		require.NoError(t, w.stop()) // it asks no more
		ms := time.Millisecond
		assert.Equal(t, []time.Duration{0, 50 * ms, 150 * ms, 350 * ms, 750 * ms}, asked[:5], "less and less often")
		for i := 1; i < len(asked); i++ {
			assert.LessOrEqual(t, asked[i]-asked[i-1], 5*time.Second)
		}
	})
}

func TestTroubleWithLeaseDoesNotDelayTheStop(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, _ := newMemory(t)
		m := &meddler{Backend: b}
		m.lease = func(context.Context, omniq.LeaseRequest) ([]omniq.Lease, error) { return nil, errOops }
		w := run(t, m, omniq.Handlers(omniq.DefineNoArgsVoid("noop", noop)))
		time.Sleep(time.Minute)
		start := time.Now()
		require.NoError(t, w.stop())
		assert.Zero(t, time.Since(start))
	})
}

func TestTroubleWithSettle(t *testing.T) {
	for name, trouble := range map[string]func(ctx context.Context, n int) ([]error, error){
		"of the call": func(context.Context, int) ([]error, error) { return nil, errOops },
		"of each": func(_ context.Context, n int) ([]error, error) {
			errs := make([]error, n)
			for i := range errs {
				errs[i] = errOops
			}
			return errs, nil
		},
		"hanging": func(ctx context.Context, _ int) ([]error, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				b, client := newMemory(t)
				start := time.Now()
				m := &meddler{Backend: b}
				m.settle = func(ctx context.Context, s []omniq.Settlement) ([]error, error) {
					assert.NoError(t, ctx.Err())
					if time.Since(start) < 5*time.Second {
						return trouble(ctx, len(s))
					}
					return b.Settle(ctx, s)
				}
				f := newFailer(failUntil(2, errOops))
				run(t, m, omniq.Handlers(f), omniq.LeaseDuration(10*time.Second))
				h, err := f.Enqueue(t.Context(), client)
				require.NoError(t, err)
				attempt, err := h.Wait(t.Context())
				require.NoError(t, err)
				assert.Equal(t, 2, attempt)
				assert.Len(t, f.starts, 2, "nothing is done again")
			})
		})
	}
}

// One settlement that the engine never takes, and with it refuses whole batches, holds up no other, and neither the
// worker's end. Its task fails when its attempts are over.
func TestSettlementThatNeverWorks(t *testing.T) {
	for name, poison := range map[string]struct{ err, want error }{
		"any error": {errOops, omniq.ErrLeaseLost},
		"invalid":   {fmt.Errorf("%w: too large", omniq.ErrInvalid), nil},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				b, client := newMemory(t)
				m := &meddler{Backend: b}
				m.settle = func(ctx context.Context, s []omniq.Settlement) ([]error, error) {
					time.Sleep(time.Millisecond) // so that there are batches
					if slices.ContainsFunc(s, func(s omniq.Settlement) bool {
						return s.Result != nil && string(s.Result.ResultData) == `"poison"`
					}) {
						return nil, poison.err
					}
					return b.Settle(ctx, s)
				}
				echo := omniq.DefineArgs("echo", func(_ context.Context, a omniq.Args1[string]) (string, error) { return a.V1, nil })
				w := run(t, m, omniq.Handlers(echo), omniq.Concurrency(8), omniq.LeaseDuration(3*time.Second), omniq.Retries(1))
				start := time.Now()
				var handles []*omniq.Handle[string]
				for i := range 50 {
					text := "fine"
					if i == 3 {
						text = "poison"
					}
					h, err := echo.Enqueue(t.Context(), client, omniq.MakeArgs1(text))
					require.NoError(t, err)
					handles = append(handles, h)
				}
				for i, h := range handles {
					if i != 3 {
						_, err := h.Wait(t.Context())
						require.NoError(t, err)
					}
				}
				assert.Less(t, time.Since(start), time.Second)
				_, err := handles[3].Wait(t.Context())
				if poison.want != nil {
					require.ErrorIs(t, err, poison.want)
				} else {
					assert.Equal(t, "omniq.Refused", taskError(t, err).Type)
					assert.Equal(t, 1, attempts(t, client, handles[3].ID()))
				}
				assert.Less(t, time.Since(start), time.Minute)

				_, err = echo.Enqueue(t.Context(), client, omniq.MakeArgs1("poison"))
				require.NoError(t, err)
				time.Sleep(time.Second)
				start = time.Now()
				require.NoError(t, w.stop())
				assert.LessOrEqual(t, time.Since(start), 6*time.Second)
			})
		})
	}
}

// While one settlement is in flight, those that come gather for the next.
func TestSettlementsGather(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		var calls atomic.Int32
		m := &meddler{Backend: b}
		m.settle = func(ctx context.Context, s []omniq.Settlement) ([]error, error) {
			calls.Add(1)
			time.Sleep(time.Second)
			return b.Settle(ctx, s)
		}
		d := omniq.DefineNoArgsVoid("noop", noop)
		var handles []*omniq.Handle[omniq.Void]
		for range 100 {
			h, err := d.Enqueue(t.Context(), client)
			require.NoError(t, err)
			handles = append(handles, h)
		}
		run(t, m, omniq.Handlers(d), omniq.Concurrency(100))
		for _, h := range handles {
			_, err := h.Wait(t.Context())
			require.NoError(t, err)
		}
		assert.LessOrEqual(t, calls.Load(), int32(3))
	})
}
