package omniq_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
	"github.com/omniq-go/omniq/internal/bubble"
)

// clockwork is a program with schedules, in a bubble of virtual time that begins in the year 2000.
type clockwork struct {
	*testing.T
	*omniq.Client
	backend omniq.Backend
	report  omniq.ArgsDefinition[omniq.Tick, int]

	mu    sync.Mutex
	ticks []omniq.Tick
	takes func(omniq.Tick) (time.Duration, error) // how long a run takes, and how it ends
}

// inClockwork runs a test in virtual time, without a worker.
func inClockwork(t *testing.T, test func(*clockwork)) {
	bubble.Test(t, func(t *testing.T) {
		b := memory.New(memory.WithEvents(1000 * 24 * time.Hour))
		c := &clockwork{T: t, backend: b, takes: func(omniq.Tick) (time.Duration, error) { return 0, nil }}
		var err error
		c.Client, err = omniq.NewClient(b)
		require.NoError(t, err)
		c.report = omniq.DefineArgs("report", func(ctx context.Context, tick omniq.Tick) (int, error) {
			c.mu.Lock()
			c.ticks = append(c.ticks, tick)
			n, ends := len(c.ticks), c.takes
			c.mu.Unlock()
			takes, err := ends(tick)
			select {
			case <-time.After(takes):
				return n, err
			case <-ctx.Done():
				return 0, ctx.Err()
			}
		})
		test(c)
		require.NoError(t, b.Close())
	})
}

// work runs a worker until the returned function is called.
func (c *clockwork) work(opts ...omniq.WorkerOption) (stop func()) {
	c.Helper()
	opts = append([]omniq.WorkerOption{omniq.Handlers(c.report), omniq.Logger(slog.New(slog.DiscardHandler)), omniq.ShutdownTimeout(0)}, opts...)
	w, err := omniq.NewWorker(patient{c.backend}, opts...)
	require.NoError(c, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	return func() {
		cancel()
		require.NoError(c, <-done)
	}
}

// patient is a backend on which workers wait for longer: a year has not so many calls then.
type patient struct{ omniq.Backend }

func (p patient) Lease(ctx context.Context, r omniq.LeaseRequest) ([]omniq.Lease, error) {
	r.Wait = 24 * time.Hour
	return p.Backend.Lease(ctx, r)
}

// seen are the ticks that had runs since times was called last.
func (c *clockwork) seen() []omniq.Tick {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.ticks)
}

func (c *clockwork) schedule(name string, when omniq.When, opts ...omniq.ScheduleOption) *omniq.ScheduleHandle[int] {
	c.Helper()
	s, err := omniq.Schedule(c.Context(), c.Client, name, when, c.report.On(omniq.AtTick()), opts...)
	require.NoError(c, err)
	return s
}

func (c *clockwork) describe(s *omniq.ScheduleHandle[int]) *omniq.ScheduleInfo {
	c.Helper()
	info, err := s.Describe(c.Context())
	require.NoError(c, err)
	return info
}

// times are the ticks that had runs since the last call, in their order.
func (c *clockwork) times() []string {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]string, len(c.ticks))
	for i, tick := range c.ticks {
		all[i] = tick.Time.Format("01-02T15:04:05")
	}
	c.ticks = nil
	return all
}

// kinds counts the events of schedules.
func (c *clockwork) kinds() map[omniq.EventType]int {
	c.Helper()
	kinds := make(map[omniq.EventType]int)
	cursor := omniq.CursorOldest
	for {
		events, next, err := c.backend.Events(c.Context(), omniq.EventsRequest{After: cursor, Max: 1000})
		require.NoError(c, err)
		if len(events) == 0 {
			return kinds
		}
		cursor = next
		for _, e := range events {
			if e.Queue == omniq.ScheduleQueue && e.EventType > omniq.EventExpired {
				kinds[e.EventType]++
				assert.NotEmpty(c, e.Error.Message)
			}
		}
	}
}

func TestSchedule(t *testing.T) {
	tests := []struct {
		name string
		test func(*clockwork)
	}{
		{"a run for each tick, with what it is for", func(c *clockwork) {
			began := time.Now().UTC()
			s := c.schedule("nightly", omniq.Cron("30 2 * * *", "Europe/Berlin"))
			stop := c.work()
			time.Sleep(48 * time.Hour)
			one, two := began.Add(90*time.Minute), began.Add(25*time.Hour+30*time.Minute)
			assert.Equal(c, []omniq.Tick{
				{Schedule: "nightly", Time: one, Since: began, Cause: omniq.CauseClock},
				{Schedule: "nightly", Time: two, Since: one, Cause: omniq.CauseClock},
			}, c.seen())
			info := c.describe(s)
			assert.Equal(c, omniq.ScheduleCounts{Runs: 2}, info.Counts)
			assert.Equal(c, []time.Time{two.Add(24 * time.Hour), two.Add(48 * time.Hour)}, info.Next(2))
			require.Len(c, info.Runs, 2)
			assert.Equal(c, two, info.Runs[0].Time)
			r, err := s.Run(info.Runs[0]).Result(c.Context())
			assert.ErrorIs(c, err, omniq.ErrNotFound, "its result was kept for an hour: %v", r)
			stop()
		}},
		{"a year with both changes of the clock", func(c *clockwork) {
			time.Sleep(time.Until(time.Date(2026, 12, 31, 12, 0, 0, 0, time.UTC)))
			c.schedule("nightly", omniq.Cron("30 2 * * *", "Europe/Berlin"))
			hourly := omniq.Cron("30 * * * *", "Europe/Berlin")
			weeks := func(month time.Month, day int) omniq.When {
				from := time.Date(2027, month, day, 0, 0, 0, 0, time.UTC)
				return hourly.Between(from, from.Add(14*24*time.Hour))
			}
			rhythm := c.schedule("hourly", omniq.AnyOf(weeks(3, 20), weeks(10, 24)))
			stop := c.work(omniq.LeaseDuration(24 * time.Hour)) // or most of the test would be heartbeats
			time.Sleep(366 * 24 * time.Hour)
			var nightly []string
			for _, tick := range c.seen() {
				if tick.Schedule == "nightly" {
					nightly = append(nightly, tick.Time.Format(time.DateTime))
				}
			}
			assert.Len(c, nightly, 366)
			assert.Contains(c, nightly, "2027-03-28 01:00:00", "at the end of the gap")
			assert.Contains(c, nightly, "2027-10-31 00:30:00", "the first time of two")
			assert.NotContains(c, nightly, "2027-10-31 01:30:00")
			assert.EqualValues(c, 28*24, c.describe(rhythm).Counts.Runs, "a run each hour of real time")
			stop()
		}},
		{"seven days by the clock or by the distance", func(c *clockwork) { // over the change of 26 March 2000
			time.Sleep(time.Until(time.Date(2000, 3, 20, 0, 0, 0, 0, time.UTC)))
			c.schedule("clock", omniq.Cron("0 9 * * MON", "Europe/Berlin"))
			c.schedule("distance", omniq.Every(7*24*time.Hour).Phase(4*24*time.Hour+8*time.Hour))
			stop := c.work()
			time.Sleep(8 * 24 * time.Hour)
			assert.ElementsMatch(c, []string{"03-20T08:00:00", "03-20T08:00:00", "03-27T07:00:00", "03-27T08:00:00"}, c.times())
			stop()
		}},
		{"away for a minute, ten minutes or days", func(c *clockwork) {
			s := c.schedule("daily", omniq.Cron("0 12 * * *", ""))
			for _, away := range []time.Duration{61 * time.Second, 10 * time.Minute, 3*24*time.Hour + 59*time.Minute} {
				stop := c.work()
				time.Sleep(time.Until(c.describe(s).Next(1)[0]) - time.Second)
				stop()
				time.Sleep(away)
				stop = c.work()
				time.Sleep(time.Second)
				assert.Len(c, c.times(), 1, away)
				stop()
			}
			assert.EqualValues(c, 3, c.describe(s).Counts.Missed)
		}},
		{"asleep: one run that says for how many it stands", func(c *clockwork) {
			s := c.schedule("poll", omniq.Every(10*time.Second), omniq.CatchUp(2*time.Hour, 1))
			time.Sleep(78 * time.Minute)
			stop := c.work()
			time.Sleep(time.Second)
			require.Len(c, c.seen(), 1)
			assert.Equal(c, 467, c.seen()[0].Missed)
			assert.Equal(c, 78*time.Minute, c.seen()[0].Time.Sub(c.seen()[0].Since))
			assert.Equal(c, omniq.ScheduleCounts{Runs: 1, Missed: 467}, c.describe(s).Counts)
			assert.Equal(c, map[omniq.EventType]int{omniq.EventMissed: 1}, c.kinds())
			stop()
			c.times()
			time.Sleep(14 * 24 * time.Hour)
			stop = c.work()
			time.Sleep(time.Second)
			assert.Len(c, c.times(), 1, "two weeks are not replayed")
			stop()
		}},
		{"as many late runs as CatchUp says, the latest", func(c *clockwork) {
			c.schedule("poll", omniq.Every(time.Minute), omniq.CatchUp(time.Hour, 3), omniq.Overlap(omniq.Allow))
			time.Sleep(10*time.Minute + time.Second)
			stop := c.work(omniq.Concurrency(1))
			time.Sleep(time.Second)
			require.Len(c, c.seen(), 3)
			assert.Equal(c, []int{7, 0, 0}, []int{c.seen()[0].Missed, c.seen()[1].Missed, c.seen()[2].Missed})
			assert.Equal(c, []string{"01-01T00:08:00", "01-01T00:09:00", "01-01T00:10:00"}, c.times())
			stop()
		}},
		{"a process that starts again more often than it ticks", func(c *clockwork) {
			for range 30 {
				c.schedule("slow", omniq.Every(time.Minute))
				stop := c.work()
				time.Sleep(7 * time.Second)
				stop()
			}
			assert.Equal(c, []string{"01-01T00:01:00", "01-01T00:02:00", "01-01T00:03:00"}, c.times())
		}},
		{"a process that stops just before a tick", func(c *clockwork) {
			c.schedule("s", omniq.Every(time.Minute))
			stop := c.work()
			time.Sleep(58 * time.Second)
			stop()
			time.Sleep(2700 * time.Millisecond)
			stop = c.work()
			time.Sleep(time.Second)
			assert.Equal(c, []string{"01-01T00:01:00"}, c.times())
			stop()
		}},
		{"a run that has failed does not hold the next one up", func(c *clockwork) {
			c.takes = func(omniq.Tick) (time.Duration, error) { return 0, omniq.Permanent(errors.New("no")) }
			c.schedule("s", omniq.Every(time.Minute))
			stop := c.work()
			time.Sleep(3*time.Minute + time.Second)
			assert.Len(c, c.times(), 3)
			stop()
		}},
		{"many declare it while it works", func(c *clockwork) {
			stop := c.work()
			var all sync.WaitGroup
			for range 8 {
				all.Go(func() {
					for range 100 {
						c.schedule("s", omniq.Every(time.Second))
						time.Sleep(99 * time.Millisecond)
					}
				})
			}
			all.Wait()
			time.Sleep(100*time.Millisecond - time.Duration(time.Now().Nanosecond()%int(time.Second/10)))
			assert.Len(c, c.times(), int(time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC))/time.Second))
			n := 0
			for info, err := range c.Schedules(c.Context()) {
				require.NoError(c, err)
				assert.EqualValues(c, 1, info.Revision)
				n++
			}
			assert.Equal(c, 1, n)
			stop()
		}},
		{"deleted, and declared again at once", func(c *clockwork) {
			stop := c.work()
			for range 5 {
				s := c.schedule("s", omniq.Every(time.Minute))
				time.Sleep(91 * time.Second)
				require.NoError(c, s.Delete(c.Context()))
				_, err := s.Describe(c.Context())
				require.ErrorIs(c, err, omniq.ErrNotFound)
				require.ErrorIs(c, s.Delete(c.Context()), omniq.ErrNotFound)
			}
			assert.Equal(c, []string{
				"01-01T00:01:00", "01-01T00:02:00", "01-01T00:03:00", "01-01T00:04:00", "01-01T00:05:00", "01-01T00:06:00", "01-01T00:07:00",
			}, c.times())
			stop()
		}},
		{"late ticks before a long time of excepted ones", func(c *clockwork) { // the first second of each hour
			seldom := omniq.Every(10 * time.Millisecond).Except(omniq.Cron("* 1-59 * * * *", "")).Except(omniq.Cron("1-59 0 * * * *", ""))
			s := c.schedule("s", seldom)
			time.Sleep(2*time.Hour + 30*time.Minute)
			stop := c.work()
			time.Sleep(time.Second)
			assert.Equal(c, []string{"01-01T02:00:00"}, c.times())
			info := c.describe(s)
			assert.Equal(c, omniq.ScheduleCounts{Runs: 1, Missed: 298}, info.Counts) // 99, 100 and 100, but for the last
			assert.Equal(c, time.Date(2000, 1, 1, 3, 0, 0, 0, time.UTC), info.Next(1)[0])
			stop()
		}},
		{"what was before it began has no run", func(c *clockwork) {
			stop := c.work()
			time.Sleep(59*time.Minute + 59*time.Second)
			c.schedule("s", omniq.Every(time.Hour))
			time.Sleep(2 * time.Second)
			assert.Equal(c, []string{"01-01T01:00:00"}, c.times())
			stop()
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { inClockwork(t, tt.test) })
	}
}
