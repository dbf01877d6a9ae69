package omniq_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

func TestScheduleOverlap(t *testing.T) {
	long := func(d time.Duration) func(omniq.Tick) (time.Duration, error) {
		return func(omniq.Tick) (time.Duration, error) { return d, nil }
	}
	tests := []struct {
		name string
		test func(*clockwork)
	}{
		{"Skip", func(c *clockwork) {
			c.takes = long(150 * time.Second)
			s := c.schedule("s", omniq.Every(time.Minute))
			stop := c.work()
			time.Sleep(10*time.Minute + time.Second)
			assert.Equal(c, []string{"01-01T00:01:00", "01-01T00:04:00", "01-01T00:07:00", "01-01T00:10:00"}, c.times())
			assert.Equal(c, omniq.ScheduleCounts{Runs: 4, Skipped: 6}, c.describe(s).Counts)
			assert.Equal(c, map[omniq.EventType]int{omniq.EventSkipped: 6}, c.kinds())
			stop()
		}},
		{"Skip tells the next run since when it stands", func(c *clockwork) {
			c.takes = long(150 * time.Second)
			c.schedule("s", omniq.Every(time.Minute))
			stop := c.work()
			time.Sleep(5 * time.Minute)
			require.Len(c, c.seen(), 2)
			assert.Equal(c, 3*time.Minute, c.seen()[1].Time.Sub(c.seen()[1].Since))
			stop()
		}},
		{"Allow", func(c *clockwork) {
			c.takes = long(150 * time.Second)
			c.schedule("s", omniq.Every(time.Minute), omniq.Overlap(omniq.Allow))
			stop := c.work()
			time.Sleep(4*time.Minute + time.Second)
			assert.Len(c, c.times(), 4)
			stop()
		}},
		{"BufferOne keeps the latest", func(c *clockwork) {
			c.takes = long(150 * time.Second)
			s := c.schedule("s", omniq.Every(time.Minute), omniq.Overlap(omniq.BufferOne))
			stop := c.work()
			time.Sleep(3*time.Minute + 20*time.Second) // 1:00 runs, 2:00 waits, 3:00 takes its place
			info := c.describe(s)
			assert.Equal(c, 1, info.Waiting)
			assert.Equal(c, omniq.ScheduleCounts{Runs: 1, Dropped: 1}, info.Counts)
			time.Sleep(11 * time.Second) // 3:31
			require.Len(c, c.seen(), 2)
			assert.Equal(c, 2*time.Minute, c.seen()[1].Time.Sub(c.seen()[1].Since), "it stands for the one that was dropped")
			assert.Equal(c, []string{"01-01T00:01:00", "01-01T00:03:00"}, c.times())
			assert.WithinDuration(c, time.Date(2000, 1, 1, 0, 3, 30, 0, time.UTC), c.describe(s).Runs[0].Started, 100*time.Millisecond,
				"as soon as the other one has ended")
			assert.Equal(c, map[omniq.EventType]int{omniq.EventDropped: 1}, c.kinds())
			stop()
		}},
		{"BufferAll keeps them all, up to a number", func(c *clockwork) {
			c.takes = func(tick omniq.Tick) (time.Duration, error) {
				if tick.Time.Minute() == 1 {
					return 4*time.Minute + 30*time.Second, nil
				}
				return time.Second, nil
			}
			s := c.schedule("s", omniq.Every(time.Minute), omniq.Overlap(omniq.BufferAll(3)))
			stop := c.work()
			time.Sleep(5*time.Minute + 40*time.Second) // 2:00 to 4:00 wait, 5:00 is dropped
			assert.Equal(c, []string{"01-01T00:01:00", "01-01T00:02:00", "01-01T00:03:00", "01-01T00:04:00"}, c.times())
			assert.Equal(c, omniq.ScheduleCounts{Runs: 4, Dropped: 1}, c.describe(s).Counts)
			stop()
		}},
		{"CancelOther ends the run before, which never runs again", func(c *clockwork) {
			c.takes = func(omniq.Tick) (time.Duration, error) { return time.Second, errors.New("again") } // and waits for its retry
			s := c.schedule("s", omniq.Every(time.Minute), omniq.Overlap(omniq.CancelOther))
			stop := c.work(omniq.RetryDelays(omniq.Exponential(90*time.Second, time.Hour), 0))
			time.Sleep(5*time.Minute + time.Second)
			assert.Equal(c, []string{"01-01T00:01:00", "01-01T00:02:00", "01-01T00:03:00", "01-01T00:04:00", "01-01T00:05:00"}, c.times())
			for _, r := range c.describe(s).Runs[1:] {
				status, err := s.Run(r).Status(c.Context())
				require.NoError(c, err)
				assert.Equal(c, omniq.StatusCancelled, status)
			}
			stop()
		}},
		{"CancelOther leaves one run of several late ticks and triggers", func(c *clockwork) {
			c.takes = long(time.Hour)
			s := c.schedule("s", omniq.Every(time.Minute), omniq.Overlap(omniq.CancelOther), omniq.CatchUp(time.Hour, 3))
			for range 2 {
				ctx, cancel := context.WithTimeout(c.Context(), time.Second)
				_, err := s.Trigger(ctx)
				require.ErrorIs(c, err, context.DeadlineExceeded)
				cancel()
			}
			time.Sleep(10 * time.Minute)
			stop := c.work()
			time.Sleep(time.Second)
			runs := c.describe(s).Runs
			require.Len(c, runs, 5)
			for i, r := range runs {
				status, err := s.Run(r).Status(c.Context())
				require.NoError(c, err)
				assert.Equal(c, i > 0, status == omniq.StatusCancelled, "run %d of the last is %v", i, status)
			}
			stop()
		}},
		{"a run goes on while it waits for a retry", func(c *clockwork) {
			n := 0
			c.takes = func(omniq.Tick) (time.Duration, error) {
				c.mu.Lock()
				defer c.mu.Unlock()
				if n++; n == 1 {
					return 0, errors.New("again")
				}
				return 0, nil
			}
			s := c.schedule("s", omniq.Every(time.Minute))
			stop := c.work(omniq.RetryDelays(omniq.Exponential(90*time.Second, time.Hour), 0))
			time.Sleep(3*time.Minute + time.Second)
			assert.Equal(c, []string{"01-01T00:01:00", "01-01T00:01:00", "01-01T00:03:00"}, c.times())
			assert.EqualValues(c, 1, c.describe(s).Counts.Skipped)
			stop()
		}},
		{"a run is its whole flow", func(c *clockwork) {
			extra := omniq.DefineNoArgsVoid("extra", func(ctx context.Context) error {
				select {
				case <-time.After(90 * time.Second):
				case <-ctx.Done():
				}
				return nil
			})
			first := omniq.DefineArgs("first", func(ctx context.Context, tick omniq.Tick) (omniq.Tick, error) {
				_, err := omniq.Enqueue(ctx, extra.With())
				return tick, err
			})
			s, err := omniq.Schedule(c.Context(), c.Client, "s", omniq.Every(time.Minute), c.report.On(first.On(omniq.AtTick())),
				omniq.Overlap(omniq.BufferOne))
			require.NoError(c, err)
			stop := c.work(omniq.Handlers(first, extra))
			time.Sleep(2*time.Minute + 20*time.Second)
			assert.Equal(c, []string{"01-01T00:01:00"}, c.times())
			time.Sleep(11 * time.Second)
			assert.Equal(c, []string{"01-01T00:02:00"}, c.times(), "what a member has added has ended")
			stats, err := c.Flow(c.describe(s).Runs[1].Flow).Stats(c.Context())
			require.NoError(c, err)
			assert.Equal(c, 3, stats.Succeeded)
			stop()
		}},
		{"the run before was removed, or requeued", func(c *clockwork) {
			s := c.schedule("s", omniq.Every(time.Minute))
			fails := true
			c.takes = func(omniq.Tick) (time.Duration, error) {
				c.mu.Lock()
				defer c.mu.Unlock()
				if fails {
					return 0, omniq.Permanent(errors.New("no"))
				}
				return 90 * time.Second, nil
			}
			stop := c.work()
			time.Sleep(61 * time.Second)
			require.NoError(c, c.Forget(c.Context(), c.describe(s).Runs[0].ID))
			time.Sleep(time.Minute)
			c.mu.Lock()
			fails = false
			c.mu.Unlock()
			require.NoError(c, c.Requeue(c.Context(), c.describe(s).Runs[0].ID))
			time.Sleep(2 * time.Minute)
			assert.Equal(c, []string{"01-01T00:01:00", "01-01T00:02:00", "01-01T00:02:00", "01-01T00:04:00"}, c.times(),
				"a run that was requeued goes on")
			stop()
		}},
		{"what a tick that was skipped would have locked is free", func(c *clockwork) {
			s, err := omniq.Schedule(c.Context(), c.Client, "s", omniq.Every(time.Minute), c.report.On(omniq.AtTick(), omniq.Unique("k")))
			require.NoError(c, err)
			c.takes = long(150 * time.Second)
			stop := c.work()
			time.Sleep(220 * time.Second)
			assert.EqualValues(c, 2, c.describe(s).Counts.Skipped)
			_, err = c.report.Enqueue(c.Context(), c.Client, omniq.Tick{}, omniq.Unique("k"))
			require.NoError(c, err)
			time.Sleep(30 * time.Second) // the tick of 4:00: somebody else has the key, and it has no run
			time.Sleep(4 * time.Minute)
			assert.Contains(c, c.times(), "01-01T00:07:00")
			stop()
		}},
		{"workers that are busy do not thin out ticks", func(c *clockwork) {
			c.takes = long(10 * time.Minute)
			s := c.schedule("s", omniq.Every(10*time.Second), omniq.Overlap(omniq.Allow))
			stop := c.work(omniq.Concurrency(1))
			time.Sleep(5*time.Minute + time.Second)
			assert.Equal(c, omniq.ScheduleCounts{Runs: 30}, c.describe(s).Counts)
			stop()
		}},
		{"paused: what waits does not begin", func(c *clockwork) {
			c.takes = long(90 * time.Second)
			s := c.schedule("s", omniq.Every(time.Minute), omniq.Overlap(omniq.BufferOne))
			stop := c.work()
			time.Sleep(2*time.Minute + 10*time.Second)
			require.NoError(c, s.Pause(c.Context(), "for a test"))
			time.Sleep(5 * time.Minute)
			assert.Equal(c, []string{"01-01T00:01:00"}, c.times())
			info := c.describe(s)
			assert.True(c, info.Paused)
			assert.Equal(c, "for a test", info.Note)
			assert.Equal(c, 1, info.Waiting)
			assert.Empty(c, info.Next(3))
			assert.Equal(c, omniq.ScheduleCounts{Runs: 1, Skipped: 5}, info.Counts)
			c.mu.Lock()
			c.takes = long(0)
			c.mu.Unlock()
			h, err := s.Trigger(c.Context())
			require.NoError(c, err)
			_, err = h.Wait(c.Context())
			require.NoError(c, err)
			assert.Equal(c, []string{"01-01T00:07:10"}, c.times())
			require.NoError(c, s.Resume(c.Context()))
			time.Sleep(time.Second)
			assert.Equal(c, []string{"01-01T00:02:00"}, c.times(), "what had waited")
			time.Sleep(time.Minute)
			assert.Equal(c, []string{"01-01T00:08:00"}, c.times())
			stop()
		}},
		{"a trigger begins when the run before has ended", func(c *clockwork) {
			c.takes = long(30 * time.Second)
			s := c.schedule("s", omniq.Every(time.Minute))
			stop := c.work()
			time.Sleep(time.Minute + 10*time.Second)
			h, err := s.Trigger(c.Context())
			require.NoError(c, err)
			assert.WithinDuration(c, time.Date(2000, 1, 1, 0, 1, 30, 0, time.UTC), time.Now(), 500*time.Millisecond)
			n, err := h.Wait(c.Context())
			require.NoError(c, err)
			assert.Equal(c, 2, n)
			assert.Equal(c, omniq.CauseTrigger, c.seen()[1].Cause)
			stop()
		}},
		{"a trigger cancels the other run, where the rule is to do so", func(c *clockwork) {
			c.takes = long(30 * time.Second)
			s := c.schedule("s", omniq.Every(time.Minute), omniq.Overlap(omniq.CancelOther))
			stop := c.work()
			time.Sleep(time.Minute + 10*time.Second)
			_, err := s.Trigger(c.Context())
			require.NoError(c, err)
			status, err := s.Run(c.describe(s).Runs[1]).Status(c.Context())
			require.NoError(c, err)
			assert.Equal(c, omniq.StatusCancelled, status)
			stop()
		}},
		{"a trigger without a worker is done later", func(c *clockwork) {
			s := c.schedule("s", omniq.Every(time.Hour))
			ctx, cancel := context.WithTimeout(c.Context(), time.Second)
			defer cancel()
			h, err := s.Trigger(ctx)
			require.ErrorIs(c, err, context.DeadlineExceeded)
			assert.Equal(c, 1, c.describe(s).Waiting)
			stop := c.work()
			time.Sleep(time.Second)
			_, err = h.Wait(c.Context())
			require.NoError(c, err)
			stop()
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { inClockwork(t, tt.test) })
	}
}
