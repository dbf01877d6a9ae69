package omniq_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/bubble"
)

// One call that hangs does not hold up what ends meanwhile.
func TestSettlingGoesOnBesideACallThatHangs(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		var calls, inFlight, most atomic.Int32
		m := &meddler{Backend: b}
		m.settle = func(ctx context.Context, s []omniq.Settlement) ([]error, error) {
			if n := inFlight.Add(1); n > most.Load() {
				most.Store(n)
			}
			defer inFlight.Add(-1)
			if n := calls.Add(1); n == 3 || n == 5 {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return b.Settle(ctx, s)
		}
		echo := omniq.DefineArgs("echo", func(_ context.Context, a omniq.Args1[int]) (int, error) { return a.V1, nil })
		run(t, m, omniq.Handlers(echo))
		handles := make([]*omniq.Handle[int], 100)
		for i := range handles {
			var err error
			handles[i], err = echo.Enqueue(t.Context(), client, omniq.MakeArgs1(i))
			require.NoError(t, err)
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(time.Second)
		left := 0
		for _, h := range handles {
			status, err := h.Status(t.Context())
			require.NoError(t, err)
			if status != omniq.StatusSuccess {
				left++
			}
		}
		assert.LessOrEqual(t, left, 2, "only what the calls are about that hang")
		start := time.Now()
		for _, h := range handles {
			_, err := h.Wait(t.Context())
			require.NoError(t, err)
		}
		assert.Less(t, time.Since(start), 15*time.Second, "a hanging call is given up long before the lease ends")
		assert.LessOrEqual(t, most.Load(), int32(4))
	})
}

// Run returns after the shutdown timeout, five seconds and a lease, whatever the backend does.
func TestRunReturnsAsPromised(t *testing.T) {
	const lease = 30 * time.Second
	for name, trouble := range map[string]func(ctx context.Context, since time.Duration) error{
		"hangs": func(ctx context.Context, _ time.Duration) error { <-ctx.Done(); return ctx.Err() },
		"fails": func(context.Context, time.Duration) error { return errOops },
		"fails, then hangs": func(ctx context.Context, since time.Duration) error {
			if since > 28*time.Second {
				<-ctx.Done()
			}
			return errOops
		},
	} {
		for _, places := range []int{1, 50} {
			t.Run(fmt.Sprint(name, " ", places), func(t *testing.T) {
				bubble.Test(t, func(t *testing.T) {
					b, client := newMemory(t)
					m := &meddler{Backend: b}
					start := time.Now()
					m.settle = func(ctx context.Context, s []omniq.Settlement) ([]error, error) {
						return nil, trouble(ctx, time.Since(start))
					}
					d := omniq.DefineArgsVoid("slow", func(_ context.Context, a omniq.Args1[int]) error {
						time.Sleep(time.Duration(a.V1) * 100 * time.Millisecond)
						return nil
					})
					w := run(t, m, omniq.Handlers(d), omniq.Concurrency(places), omniq.ShutdownTimeout(time.Second),
						omniq.LeaseDuration(lease))
					for i := range 2 * places {
						_, err := d.Enqueue(t.Context(), client, omniq.MakeArgs1(i))
						require.NoError(t, err)
					}
					time.Sleep(50 * time.Millisecond)
					stopped := time.Now()
					require.NoError(t, w.stop())
					assert.LessOrEqual(t, time.Since(stopped), time.Second+5*time.Second+lease)
				})
			})
		}
	}
}

// What the engine refuses ends the task at once, and says what it was.
func TestRefusedOutcome(t *testing.T) {
	for name, c := range map[string]struct {
		outcome func() (string, error)
		text    string
	}{
		"result":    {func() (string, error) { return strings.Repeat("x", 2000), nil }, "a result of 2002 bytes"},
		"error":     {func() (string, error) { return "", errors.New(strings.Repeat("x", 2000)) }, `"error" with a text of 2000 bytes`},
		"permanent": {func() (string, error) { return "", omniq.Permanent(errors.New(strings.Repeat("é", 2000))) }, "with a text of 4000 bytes"},
		"panic":     {func() (string, error) { panic(strings.Repeat("x", 2000)) }, `"omniq.Panic" with a text of 2007 bytes`},
	} {
		for kind, refuse := range map[string]func(n, at int) ([]error, error){
			"in its place": func(n, at int) ([]error, error) {
				errs := make([]error, n)
				errs[at] = fmt.Errorf("%w: 2000 \xffé are too many", omniq.ErrInvalid)
				return errs, nil
			},
			"the call": func(int, int) ([]error, error) {
				return nil, fmt.Errorf("%w: 2000 é are too many", omniq.ErrInvalid)
			},
		} {
			t.Run(name+", "+kind, func(t *testing.T) {
				bubble.Test(t, func(t *testing.T) {
					b, client := newMemory(t)
					m := &meddler{Backend: b}
					m.settle = func(ctx context.Context, s []omniq.Settlement) ([]error, error) {
						time.Sleep(time.Millisecond)
						if at := slices.IndexFunc(s, large); at >= 0 {
							errs, err := refuse(len(s), at)
							if err == nil {
								rest := slices.Delete(slices.Clone(s), at, at+1)
								_, err = b.Settle(ctx, rest)
							}
							return errs, err
						}
						return b.Settle(ctx, s)
					}
					bad := omniq.DefineNoArgs("bad", func(context.Context) (string, error) { return c.outcome() })
					good := omniq.DefineNoArgsVoid("good", noop)
					var log logbook
					run(t, m, omniq.Handlers(bad, good), log.option())
					start := time.Now()
					h, err := bad.Enqueue(t.Context(), client)
					require.NoError(t, err)
					for range 10 {
						g, err := good.Enqueue(t.Context(), client)
						require.NoError(t, err)
						_, err = g.Wait(t.Context())
						require.NoError(t, err)
					}
					_, err = h.Wait(t.Context())
					e := taskError(t, err)
					assert.Equal(t, "omniq.Refused", e.Type)
					assert.Contains(t, e.Message, "the engine refused")
					assert.Contains(t, e.Message, c.text)
					assert.Contains(t, e.Message, "are too many")
					assert.Equal(t, -1, strings.IndexFunc(e.Message, func(r rune) bool { return r < ' ' || r > '~' }), "in ASCII")
					assert.False(t, e.Retryable)
					assert.Equal(t, 1, attempts(t, client, h.ID()))
					assert.Less(t, time.Since(start), time.Second)
					assert.NotZero(t, log.count(slog.LevelError, "task failed", "omniq.Refused"))
				})
			})
		}
	}
}

func large(s omniq.Settlement) bool {
	if s.Result != nil {
		return len(s.Result.ResultData) > 1000 || s.Result.Error != nil && len(s.Result.Error.Message) > 1500
	}
	return s.Error != nil && len(s.Error.Message) > 1500
}

// What cannot even be recorded as refused is dropped, with a line in the log.
func TestRefusalThatIsRefused(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		m := &meddler{Backend: b}
		m.settle = func(_ context.Context, s []omniq.Settlement) ([]error, error) {
			return slices.Repeat([]error{omniq.ErrInvalid}, len(s)), nil
		}
		d := omniq.DefineNoArgsVoid("any", noop)
		var log logbook
		w := run(t, m, omniq.Handlers(d), log.option())
		_, err := d.Enqueue(t.Context(), client)
		require.NoError(t, err)
		synctest.Wait()
		assert.Equal(t, 1, log.count(slog.LevelError, "cannot settle the attempt; the task will run again"), "\n%s", &log)
		start := time.Now()
		require.NoError(t, w.stop())
		assert.Zero(t, time.Since(start))
	})
}

// A settlement whose answer was lost is tried again. That its lease is lost by then is no news.
func TestUncertainSettlement(t *testing.T) {
	for name, lost := range map[string]func(ctx context.Context, err error) error{
		"said so": func(context.Context, error) error { return fmt.Errorf("%w: connection reset", omniq.ErrUncertain) },
		"hanging": func(ctx context.Context, _ error) error { <-ctx.Done(); return ctx.Err() },
	} {
		for kind, done := range map[string]bool{"done": true, "not done": false} {
			t.Run(name+", "+kind, func(t *testing.T) {
				bubble.Test(t, func(t *testing.T) {
					b, client := newMemory(t)
					m := &meddler{Backend: b}
					calls := 0
					m.settle = func(ctx context.Context, s []omniq.Settlement) ([]error, error) {
						if calls++; calls > 1 {
							return b.Settle(ctx, s)
						}
						var err error
						if done {
							_, err = b.Settle(ctx, s)
						}
						return nil, lost(ctx, err)
					}
					f := newFailer(func(int) error { return nil })
					var log logbook
					run(t, m, omniq.Handlers(f), log.option())
					h, err := f.Enqueue(t.Context(), client)
					require.NoError(t, err)
					_, err = h.Wait(t.Context())
					require.NoError(t, err)
					time.Sleep(time.Minute)
					assert.Len(t, f.starts, 1)
					said := log.count(slog.LevelWarn, "the attempt is settled, or its lease lost")
					if done {
						assert.Equal(t, 1, said, "\n%s", &log)
					} else {
						assert.Zero(t, said)
					}
					assert.Zero(t, log.count(slog.LevelWarn, "the lease is lost"), "\n%s", &log)
				})
			})
		}
	}
}

// The log says nothing of a retry that will not come.
func TestLogOfACancelledTask(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		started := make(chan struct{})
		d := omniq.DefineNoArgsVoid("long", func(ctx context.Context) error {
			close(started)
			<-ctx.Done()
			return fmt.Errorf("interrupted: %w", ctx.Err())
		})
		var log logbook
		run(t, b, omniq.Handlers(d), log.option())
		h, err := d.Enqueue(t.Context(), client)
		require.NoError(t, err)
		<-started
		require.NoError(t, h.Cancel(t.Context()))
		synctest.Wait()
		assert.Equal(t, 1, log.count(slog.LevelInfo, "the task was cancelled", "interrupted", h.ID().String()), "\n%s", &log)
		assert.Zero(t, log.count(slog.LevelWarn)+log.count(slog.LevelError), "\n%s", &log)
	})
}

// A cancel that comes between the engine's lease and its arrival at the worker is heard of at once.
func TestCancelOfALeaseOnItsWay(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		m := &meddler{Backend: b}
		m.lease = func(ctx context.Context, r omniq.LeaseRequest) ([]omniq.Lease, error) {
			leases, err := b.Lease(ctx, r)
			time.Sleep(5 * time.Millisecond)
			return leases, err
		}
		ran := false
		d := omniq.DefineNoArgsVoid("long", func(ctx context.Context) error { ran = true; <-ctx.Done(); return ctx.Err() })
		var log logbook
		run(t, m, omniq.Handlers(d), log.option())
		synctest.Wait()
		h, err := d.Enqueue(t.Context(), client)
		require.NoError(t, err)
		time.Sleep(2 * time.Millisecond)
		require.NoError(t, h.Cancel(t.Context()))
		time.Sleep(10 * time.Millisecond)
		assert.False(t, ran)
		assert.Equal(t, 1, log.count(slog.LevelInfo, "cancelled", h.ID().String()))
	})
}

// To cancel many running tasks takes time in proportion to how many they are.
func BenchmarkRevoke(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				backend, client := newMemory(b)
				d := omniq.DefineNoArgsVoid("long", func(ctx context.Context) error { <-ctx.Done(); return nil })
				ids := make([]uuid.UUID, n)
				tasks := make([]omniq.Task[omniq.NoArgs, omniq.NoKwargs], n)
				for i := range tasks {
					var err error
					tasks[i], err = d.Task()
					require.NoError(b, err)
					ids[i] = tasks[i].ID
				}
				_, err := d.EnqueueMany(b.Context(), client, tasks)
				require.NoError(b, err)
				w := run(b, backend, omniq.Handlers(d), omniq.Concurrency(n))
				require.Eventually(b, func() bool {
					stats, err := client.Stats(b.Context())
					return err == nil && stats[0].Running == n
				}, time.Minute, time.Millisecond)
				b.StartTimer()
				_, err = backend.Cancel(b.Context(), ids)
				require.NoError(b, err)
				require.NoError(b, w.stop())
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/task")
		})
	}
}
