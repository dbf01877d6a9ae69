package omniq_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/bubble"
)

// failer is a task that fails as it is told, and notes when it was started.
type failer struct {
	omniq.NoArgsDefinition[int]
	starts []time.Duration // since it was made
}

func newFailer(errs func(attempt int) error) *failer {
	f := &failer{}
	start := time.Now()
	f.NoArgsDefinition = omniq.DefineNoArgs("fail", func(ctx context.Context) (int, error) {
		f.starts = append(f.starts, time.Since(start))
		info, _ := omniq.InfoFrom(ctx)
		return info.Attempt, errs(info.Attempt)
	})
	return f
}

var errOops = errors.New("oops")

func oops(int) error { return errOops }

func seconds(n ...float64) (d []time.Duration) {
	for _, s := range n {
		d = append(d, time.Duration(s*float64(time.Second)))
	}
	return d
}

func TestRetryDelays(t *testing.T) {
	for name, c := range map[string]struct {
		worker []omniq.WorkerOption
		task   []omniq.TaskOption
		errs   func(int) error
		starts []time.Duration
		fails  bool
	}{
		"default": {errs: oops, starts: seconds(0, 1, 3, 7), fails: true},
		"capped": {
			worker: []omniq.WorkerOption{omniq.RetryDelays(omniq.Exponential(time.Second, 3*time.Second), 0), omniq.Retries(5)},
			errs:   oops, starts: seconds(0, 1, 3, 6, 9, 12), fails: true,
		},
		"constant": {
			worker: []omniq.WorkerOption{omniq.RetryDelays(omniq.Constant(time.Minute), 0)},
			errs:   oops, starts: seconds(0, 60, 120, 180), fails: true,
		},
		"zero is at once": {
			worker: []omniq.WorkerOption{omniq.RetryDelays(omniq.Constant(0), 0)},
			errs:   oops, starts: seconds(0, 0, 0, 0), fails: true,
		},
		"negative ends it": {
			worker: []omniq.WorkerOption{omniq.RetryDelays(omniq.Constant(-1), 1)},
			errs:   oops, starts: seconds(0), fails: true,
		},
		"negative ends it later": {
			worker: []omniq.WorkerOption{omniq.RetryDelays(func(f omniq.Failure) time.Duration { return time.Duration(2-f.Failures) * time.Second }, 0)},
			errs:   oops, starts: seconds(0, 1, 1), fails: true,
		},
		"by error": {
			worker: []omniq.WorkerOption{omniq.RetryDelays(byError, 0)},
			errs: func(n int) error {
				if n < 3 {
					return fmt.Errorf("%w: too many calls", errOops)
				}
				return errors.New("not oops any more")
			},
			starts: seconds(0, 60, 120), fails: true,
		},
		"by task": {
			worker: []omniq.WorkerOption{omniq.RetryDelays(func(f omniq.Failure) time.Duration {
				return time.Duration(len(f.FuncName)*f.Attempt*f.MaxAttempts) * time.Second
			}, 0)},
			errs: oops, starts: seconds(0, 16, 48, 96), fails: true,
		},
		"a permanent error is not asked about": {
			worker: []omniq.WorkerOption{omniq.RetryDelays(func(omniq.Failure) time.Duration { panic("asked") }, 0)},
			errs:   func(int) error { return omniq.Permanent(errOops) }, starts: seconds(0), fails: true,
		},
		"RetryAfter is not asked about": {
			worker: []omniq.WorkerOption{omniq.RetryDelays(func(omniq.Failure) time.Duration { panic("asked") }, 0)},
			errs:   func(int) error { return omniq.RetryAfter(time.Second, errOops) }, starts: seconds(0, 1, 2, 3), fails: true,
		},
		"by attempt": {
			worker: []omniq.WorkerOption{omniq.RetryDelays(func(f omniq.Failure) time.Duration { return time.Duration(f.Failures) * time.Second }, 0)},
			errs:   oops, starts: seconds(0, 1, 3, 6), fails: true,
		},
		"no retries":          {task: []omniq.TaskOption{omniq.Retries(0)}, errs: oops, starts: seconds(0), fails: true},
		"worker says none":    {worker: []omniq.WorkerOption{omniq.Retries(0)}, errs: oops, starts: seconds(0), fails: true},
		"task overrides":      {worker: []omniq.WorkerOption{omniq.Retries(0)}, task: []omniq.TaskOption{omniq.Retries(1)}, errs: oops, starts: seconds(0, 1), fails: true},
		"third time lucky":    {errs: failUntil(3, errOops), starts: seconds(0, 1, 3)},
		"permanent":           {errs: func(int) error { return omniq.Permanent(errOops) }, starts: seconds(0), fails: true},
		"permanent wrapped":   {errs: func(int) error { return fmt.Errorf("very: %w", omniq.Permanent(errOops)) }, starts: seconds(0), fails: true},
		"permanent joined":    {errs: func(int) error { return errors.Join(errOops, omniq.Permanent(errOops)) }, starts: seconds(0), fails: true},
		"permanent later":     {errs: permanentAt(2), starts: seconds(0, 1), fails: true},
		"retry after":         {errs: func(n int) error { return omniq.RetryAfter(time.Duration(10*n)*time.Second, errOops) }, starts: seconds(0, 10, 30, 60), fails: true},
		"retry after wrapped": {errs: func(int) error { return fmt.Errorf("x: %w", omniq.RetryAfter(time.Minute, errOops)) }, starts: seconds(0, 60, 120, 180), fails: true},
		"retry at once":       {errs: func(int) error { return omniq.RetryAfter(-time.Minute, errOops) }, starts: seconds(0, 0, 0, 0), fails: true},
		"permanent wins":      {errs: func(int) error { return omniq.RetryAfter(time.Minute, omniq.Permanent(errOops)) }, starts: seconds(0), fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				b, client := newMemory(t)
				f := newFailer(c.errs)
				run(t, b, append([]omniq.WorkerOption{omniq.Handlers(f)}, c.worker...)...)
				h, err := f.Enqueue(t.Context(), client, c.task...)
				require.NoError(t, err)
				got, err := h.Wait(t.Context())
				if c.fails {
					assert.Contains(t, taskError(t, err).Message, "oops")
				} else {
					require.NoError(t, err)
					assert.Equal(t, len(c.starts), got)
				}
				assert.Equal(t, c.starts, f.starts)
				assert.Equal(t, len(c.starts), attempts(t, client, h.ID()))
			})
		})
	}
}

// byError is a policy that goes on with what it knows.
func byError(f omniq.Failure) time.Duration {
	if errors.Is(f.Err, errOops) {
		return time.Minute
	}
	return -1
}

func failUntil(n int, err error) func(int) error {
	return func(attempt int) error {
		if attempt < n {
			return err
		}
		return nil
	}
}

func permanentAt(n int) func(int) error {
	return func(attempt int) error {
		if attempt < n {
			return errOops
		}
		return omniq.Permanent(errOops)
	}
}

func TestRetryDelaysAreSpread(t *testing.T) {
	for name, c := range map[string]struct {
		opts     []omniq.WorkerOption
		low, top float64
	}{
		"default": {nil, 0.9, 1.1},
		"half":    {[]omniq.WorkerOption{omniq.RetryDelays(omniq.Constant(time.Second), 0.5)}, 0.5, 1.5},
		"whole":   {[]omniq.WorkerOption{omniq.RetryDelays(omniq.Constant(time.Second), 1)}, 0, 2},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				b, client := newMemory(t)
				var delays []time.Duration
				w := newWorker(t, b, append(c.opts, omniq.Concurrency(1), omniq.Retries(1), omniq.Handlers(
					omniq.DefineNoArgsVoid("fail", func(ctx context.Context) error {
						info, _ := omniq.InfoFrom(ctx)
						if info.Attempt == 2 {
							delays = append(delays, time.Since(info.CreatedAt))
						}
						return errOops
					})))...)
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error)
				go func() { done <- w.Run(ctx) }()
				for range 200 {
					h, err := omniq.ReferNoArgs[omniq.Void]("fail").Enqueue(t.Context(), client)
					require.NoError(t, err)
					_, err = h.Wait(t.Context())
					require.Error(t, err)
				}
				cancel()
				require.NoError(t, <-done)
				var sum, least, most float64 = 0, math.MaxFloat64, 0
				for _, d := range delays {
					s := d.Seconds()
					sum, least, most = sum+s, min(least, s), max(most, s)
				}
				width := c.top - c.low
				assert.GreaterOrEqual(t, least, c.low-1e-5)
				assert.LessOrEqual(t, most, c.top+1e-5)
				assert.Greater(t, most-least, width/2, "chance uses the whole width")
				assert.InDelta(t, 1, sum/float64(len(delays)), width/4, "and both directions")
			})
		})
	}
}

// With jitter the longest of all delays must not turn into the shortest.
func TestLongestDelay(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		f := newFailer(oops)
		run(t, b, omniq.Handlers(f), omniq.RetryDelays(omniq.Constant(math.MaxInt64), 1))
		h, err := f.Enqueue(t.Context(), client)
		require.NoError(t, err)
		time.Sleep(time.Hour)
		status, err := h.Status(t.Context())
		require.NoError(t, err)
		assert.Equal(t, omniq.StatusPending, status)
		assert.Len(t, f.starts, 1)
	})
}

func TestExponential(t *testing.T) {
	for _, c := range []struct {
		name           string
		initial, limit time.Duration
		attempt        int
		want           time.Duration
	}{
		{"first", time.Second, time.Hour, 1, time.Second},
		{"second", time.Second, time.Hour, 2, 2 * time.Second},
		{"twelfth", time.Second, time.Hour, 12, 2048 * time.Second},
		{"thirteenth is capped", time.Second, time.Hour, 13, time.Hour},
		{"far out", time.Second, time.Hour, 1 << 30, time.Hour},
		{"no overflow", time.Second, math.MaxInt64, 1000, math.MaxInt64},
		{"begins above its limit", time.Hour, time.Second, 1, time.Second},
		{"zero", 0, time.Hour, 5, 0},
		{"attempt 0 is as the first", time.Second, time.Hour, 0, time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			assert.Equal(t, c.want, omniq.Exponential(c.initial, c.limit)(omniq.Failure{Failures: c.attempt}))
		})
	}
}

func TestSnoozeUsesNoAttempt(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		var f *failer
		f = newFailer(func(int) error {
			switch len(f.starts) {
			case 1:
				return omniq.Snooze(time.Hour)
			case 2:
				return fmt.Errorf("not yet: %w", omniq.Snooze(time.Minute))
			case 3:
				return omniq.Snooze(-time.Minute)
			}
			return nil
		})
		run(t, b, omniq.Handlers(f), omniq.Retries(0))
		h, err := f.Enqueue(t.Context(), client)
		require.NoError(t, err)
		attempt, err := h.Wait(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 1, attempt)
		assert.Equal(t, seconds(0, 3600, 3660, 3660.1), f.starts, "at least 100 ms later")
		assert.Equal(t, 1, attempts(t, client, h.ID()))
	})
}

func TestSnoozeDoesNotStopTheTTL(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		f := newFailer(func(int) error { return omniq.Snooze(time.Hour) })
		run(t, b, omniq.Handlers(f))
		h, err := f.Enqueue(t.Context(), client, omniq.TTL(150*time.Minute))
		require.NoError(t, err)
		_, err = h.Wait(t.Context())
		require.ErrorIs(t, err, omniq.ErrExpired)
		assert.Equal(t, seconds(0, 3600, 7200), f.starts)
	})
}

func TestMarksOfNoError(t *testing.T) {
	require.NoError(t, omniq.Permanent(nil))
	require.NoError(t, omniq.RetryAfter(time.Second, nil))
	assert.EqualError(t, omniq.RetryAfter(time.Second, errOops), "oops")
	assert.ErrorIs(t, omniq.RetryAfter(time.Second, omniq.Permanent(errOops)), errOops)
	assert.EqualError(t, omniq.Snooze(time.Second), "snoozed for 1s")
}
