package omniq_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/codec"
)

func TestScheduleControl(t *testing.T) {
	start := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	tests := []struct {
		name string
		test func(*clockwork)
	}{
		{"a backfill runs exactly the ticks of its time, whatever the spread", func(c *clockwork) {
			s := c.schedule("s", omniq.Every(20*time.Minute), omniq.Spread(5*time.Minute))
			stop := c.work()
			time.Sleep(10 * time.Minute)
			require.NoError(c, s.Backfill(c.Context(), start.Add(-21*time.Hour), start.Add(-20*time.Hour)))
			assert.Equal(c, 1, c.describe(s).Filling)
			time.Sleep(time.Minute)
			require.Len(c, c.seen(), 3)
			for i, tick := range c.seen() {
				assert.Equal(c, omniq.CauseBackfill, tick.Cause)
				assert.Equal(c, start.Add(-21*time.Hour+time.Duration(max(i-1, 0))*20*time.Minute), tick.Since)
			}
			assert.Equal(c, []string{"12-31T03:00:00", "12-31T03:20:00", "12-31T03:40:00"}, c.times())
			assert.Equal(c, 0, c.describe(s).Filling)
			stop()
		}},
		{"a backfill goes one after the other, and the clock goes on", func(c *clockwork) {
			c.takes = func(omniq.Tick) (time.Duration, error) { return 25 * time.Second, nil }
			s := c.schedule("s", omniq.Every(time.Minute))
			stop := c.work()
			time.Sleep(30 * time.Second)
			require.NoError(c, s.Backfill(c.Context(), start.Add(-time.Hour), start.Add(-55*time.Minute)))
			time.Sleep(3*time.Minute + 40*time.Second)
			assert.Equal(c, []string{
				"12-31T23:00:00", "12-31T23:01:00", "01-01T00:01:00", "12-31T23:02:00", "01-01T00:02:00", "12-31T23:03:00",
				"01-01T00:03:00", "12-31T23:04:00", "01-01T00:04:00",
			}, c.times())
			assert.Zero(c, c.describe(s).Counts.Skipped)
			stop()
		}},
		{"a long backfill is done in parts, and other schedules keep their time", func(c *clockwork) {
			s := c.schedule("s", omniq.Every(time.Minute).Between(start.Add(-60*24*time.Hour), start.Add(time.Hour)), omniq.Overlap(omniq.Allow))
			other := c.schedule("other", omniq.Every(10*time.Millisecond), omniq.CatchUp(time.Hour, 1000), omniq.Overlap(omniq.Allow))
			stop := c.work()
			require.NoError(c, s.Backfill(c.Context(), start.Add(-20*24*time.Hour), start))
			time.Sleep(time.Second)
			synctest.Wait()
			assert.EqualValues(c, 20*24*60, c.describe(s).Counts.Runs)
			info := c.describe(other)
			assert.EqualValues(c, 100, info.Counts.Runs)
			for _, r := range info.Runs {
				assert.WithinDuration(c, r.Time, r.Started, 5*time.Millisecond)
			}
			stop()
		}},
		{"a declaration that changes nothing between a tick and its run", func(c *clockwork) {
			stop := c.work()
			for range 400 {
				c.schedule("s", omniq.Every(time.Minute), omniq.Spread(50*time.Second))
				time.Sleep(time.Second + 10*time.Millisecond)
			}
			assert.Len(c, c.times(), 6)
			stop()
		}},
		{"the code declares something else", func(c *clockwork) {
			s := c.schedule("s", omniq.Every(time.Minute))
			stop := c.work()
			time.Sleep(90 * time.Second)
			c.schedule("s", omniq.Every(20*time.Second))
			time.Sleep(20 * time.Second)
			assert.Equal(c, []string{"01-01T00:01:00", "01-01T00:01:40"}, c.times(), "not what had passed when it was declared") // 1:20
			assert.EqualValues(c, 2, c.describe(s).Revision)
			stop()
		}},
		{"a codec that never writes the same twice", func(c *clockwork) {
			key := func(id string) codec.Key { return codec.Key{ID: id, Secret: bytes.Repeat([]byte(id), 16)} }
			first, err := codec.AESGCM(codec.JSON, key("k1"))
			require.NoError(c, err)
			rotated, err := codec.AESGCM(codec.JSON, key("k2"), key("k1"))
			require.NoError(c, err)
			foreign, err := codec.AESGCM(codec.JSON, key("k3"))
			require.NoError(c, err)
			type secret struct{ Name string }
			told := omniq.ReferArgs[secret, int]("told")
			chain := omniq.DefineArgs("chain", func(_ context.Context, n omniq.Args1[int]) (int, error) { return n.V1, nil })
			revision := func(name string, by ...codec.Codec) int64 {
				client, err := omniq.NewClient(c.backend, omniq.Codecs(by[0], by[1:]...))
				require.NoError(c, err)
				call := chain.On(omniq.Join1(told.With(secret{name})))
				var s *omniq.ScheduleHandle[int]
				for range 2 { // the same promise, too
					s, err = omniq.Schedule(c.Context(), client, "s", omniq.Every(time.Hour), call)
					require.NoError(c, err)
				}
				return c.describe(s).Revision
			}
			assert.EqualValues(c, 1, revision("Ada", first))
			assert.EqualValues(c, 1, revision("Ada", first))
			assert.EqualValues(c, 1, revision("Ada", rotated), "it reads what the old key has written")
			assert.EqualValues(c, 2, revision("Grace", rotated), "the arguments are others")
			assert.EqualValues(c, 2, revision("Grace", rotated))
			assert.EqualValues(c, 3, revision("Grace", foreign), "what it cannot read is something else")
			assert.EqualValues(c, 4, revision("Grace", codec.JSON), "another codec is to write the calls")
			assert.EqualValues(c, 4, revision("Grace", codec.JSON))
		}},
		{"the code declares something else while no worker runs", func(c *clockwork) {
			s := c.schedule("s", omniq.Cron("30 * * * *", ""), omniq.Overlap(omniq.Allow))
			stop := c.work()
			time.Sleep(20 * time.Minute)
			stop()
			time.Sleep(15 * time.Minute) // 0:35
			_, err := omniq.Schedule(c.Context(), c.Client, "s", omniq.Cron("30 * * * *", ""), c.report.On(omniq.AtTick(), omniq.Priority(1)),
				omniq.Overlap(omniq.Allow))
			require.NoError(c, err)
			c.schedule("s", omniq.Cron("10,34,50 * * * *", ""), omniq.Overlap(omniq.Allow))
			c.schedule("s", omniq.Cron("10,32,40 * * * *", ""), omniq.Overlap(omniq.Allow))
			time.Sleep(6 * time.Minute)
			stop = c.work(omniq.Concurrency(1))
			time.Sleep(time.Second)
			assert.Equal(c, []string{"01-01T00:30:00", "01-01T00:40:00"}, c.times(), "up to the change by what was, from then on by what is")
			assert.EqualValues(c, 4, c.describe(s).Revision)
			stop()
		}},
		{"what was set at run time stays, until the code says something else", func(c *clockwork) {
			s := c.schedule("s", omniq.Every(time.Minute))
			stop := c.work()
			info := c.describe(s)
			require.NoError(c, s.Reschedule(c.Context(), info.Revision, omniq.Every(time.Hour), omniq.MaxRuns(3)))
			require.ErrorIs(c, s.Reschedule(c.Context(), info.Revision, omniq.Every(time.Second)), omniq.ErrState)
			require.NoError(c, s.Pause(c.Context(), "why"))
			c.schedule("s", omniq.Every(time.Minute))
			info = c.describe(s)
			assert.Equal(c, []any{int64(2), "every 1h0m0s", 3, true}, []any{info.Revision, info.When.String(), info.MaxRuns, info.Paused})
			c.schedule("s", omniq.Every(2*time.Minute))
			info = c.describe(s)
			assert.Equal(c, []any{int64(3), "every 2m0s", 0, true}, []any{info.Revision, info.When.String(), info.MaxRuns, info.Paused})
			stop()
		}},
		{"a limit of runs, a start and an end survive changes", func(c *clockwork) {
			when := omniq.Every(time.Minute).Between(start.Add(2*time.Minute), start.Add(20*time.Minute))
			s := c.schedule("s", when, omniq.MaxRuns(3))
			stop := c.work()
			time.Sleep(3*time.Minute + time.Second)
			require.NoError(c, s.Reschedule(c.Context(), 0, when, omniq.Overlap(omniq.Allow)))
			time.Sleep(10 * time.Minute)
			assert.Equal(c, []string{"01-01T00:02:00", "01-01T00:03:00", "01-01T00:04:00"}, c.times())
			assert.True(c, c.describe(s).Ended)
			require.NoError(c, s.Reschedule(c.Context(), 0, when, omniq.MaxRuns(5)))
			time.Sleep(10 * time.Minute)
			assert.Equal(c, []string{"01-01T00:14:00", "01-01T00:15:00"}, c.times())
			stop()
		}},
		{"Once, and nothing after it", func(c *clockwork) {
			s := c.schedule("s", omniq.Once(start.Add(time.Hour), start.Add(time.Minute)))
			stop := c.work()
			time.Sleep(48 * time.Hour)
			assert.Equal(c, []string{"01-01T00:01:00", "01-01T01:00:00"}, c.times())
			assert.True(c, c.describe(s).Ended)
			c.schedule("s", omniq.Once(start.Add(time.Hour), start.Add(time.Minute))) // the program starts again
			_, err := omniq.Schedule(c.Context(), c.Client, "s", omniq.Once(start), c.report.On(omniq.AtTick()))
			assert.ErrorIs(c, err, omniq.ErrInvalid, "it is new, and does not tick any more")
			stop()
		}},
		{"the store fails while schedules are served", func(c *clockwork) {
			s := c.schedule("s", omniq.Every(time.Second))
			f := &failing{Backend: c.backend}
			before := c.backend
			c.backend = f
			stop := c.work()
			for i := range 40 {
				f.fails.Store(i%4 != 3)
				time.Sleep(250 * time.Millisecond)
			}
			f.fails.Store(false)
			time.Sleep(20500 * time.Millisecond)
			c.backend = before
			counts := c.describe(s).Counts
			assert.EqualValues(c, 30, counts.Runs+counts.Missed+counts.Skipped)
			assert.GreaterOrEqual(c, counts.Runs, int64(15))
			stop()
		}},
		{"a zone that is unknown here holds only its own schedule up", func(c *clockwork) {
			s := c.schedule("s", omniq.Cron("* * * * *", "Europe/Berlin"))
			other := c.schedule("other", omniq.Every(time.Minute))
			id := scheduleIDOf(c, "s")
			info, err := c.Inspect(c.Context(), id)
			require.NoError(c, err)
			set := func(from, to string) {
				info, err = c.Inspect(c.Context(), id)
				require.NoError(c, err)
				args := strings.Replace(string(info.Task.Args), from, to, 1)
				errs, err := c.backend.Update(c.Context(), []omniq.Update{{
					ID: id, FuncName: info.FuncName, Status: omniq.StatusPending, Args: omniq.Raw(args), Kwargs: omniq.Raw("{}"), Due: true,
				}})
				require.NoError(c, errors.Join(append(errs, err)...))
			}
			set("Europe/Berlin", "Europe/Nowhere")
			stop := c.work()
			time.Sleep(5*time.Minute + 10*time.Second)
			assert.EqualValues(c, 5, c.describe(other).Counts.Runs)
			assert.Len(c, c.times(), 5)
			_, err = s.Describe(c.Context())
			require.ErrorContains(c, err, "Europe/Nowhere")
			n := 0
			for info, err := range c.Schedules(c.Context()) {
				if n++; err != nil {
					assert.Nil(c, info)
					assert.ErrorContains(c, err, "Europe/Nowhere")
				}
			}
			assert.Equal(c, 2, n)
			set("Europe/Nowhere", "Europe/Berlin")
			time.Sleep(10 * time.Second)
			assert.Contains(c, c.times(), "01-01T00:05:00", "it was due all the time")
			stop()
		}},
		{"a run that the engine refuses is dropped, and says so", func(c *clockwork) {
			s := c.schedule("s", omniq.Every(time.Minute))
			f := &failing{Backend: c.backend}
			f.refuses.Store(true)
			c.backend = f
			stop := c.work()
			time.Sleep(2*time.Minute + time.Second)
			info := c.describe(s)
			assert.Equal(c, omniq.ScheduleCounts{Dropped: 2}, info.Counts)
			assert.Contains(c, info.Problem, "the engine refused 1 runs")
			_, err := s.Trigger(c.Context())
			assert.ErrorIs(c, err, omniq.ErrInvalid)
			assert.ErrorContains(c, err, "too much")
			f.refuses.Store(false)
			time.Sleep(time.Minute)
			info = c.describe(s)
			assert.Equal(c, omniq.ScheduleCounts{Runs: 1, Dropped: 3}, info.Counts)
			assert.Empty(c, info.Problem)
			c.backend = f.Backend
			stop()
		}},
		{"a worker without schedules", func(c *clockwork) {
			c.schedule("s", omniq.Every(time.Minute))
			stop := c.work(omniq.WithoutSchedules())
			time.Sleep(5 * time.Minute)
			assert.Empty(c, c.times())
			stop()
		}},
		{"a queue that is paused pauses all schedules", func(c *clockwork) {
			c.schedule("s", omniq.Every(time.Minute))
			stop := c.work()
			require.NoError(c, c.Pause(c.Context(), omniq.ScheduleQueue))
			time.Sleep(5*time.Minute + 30*time.Second)
			assert.Empty(c, c.times())
			require.NoError(c, c.Resume(c.Context(), omniq.ScheduleQueue))
			time.Sleep(time.Second)
			assert.Equal(c, []string{"01-01T00:05:00"}, c.times())
			stop()
		}},
		{"a graph with the tick in several places", func(c *clockwork) {
			type part struct {
				Tick omniq.Tick
				Name string
			}
			fetch := omniq.DefineArgs("fetch", func(ctx context.Context, a omniq.Args2[omniq.Tick, string]) (part, error) {
				info, _ := omniq.InfoFrom(ctx)
				assert.Equal(c, "graph", info.Metadata[omniq.MetadataSchedule])
				assert.Equal(c, a.V1.Time.Format(time.RFC3339Nano), info.Metadata[omniq.MetadataTick])
				return part{a.V1, a.V2}, nil
			})
			var merged []string
			merge := omniq.DefineArgsVoid("merge", func(_ context.Context, a omniq.Args2[[]part, omniq.Tick]) error {
				for _, p := range a.V1 {
					assert.Equal(c, a.V2, p.Tick)
					merged = append(merged, p.Name+p.Tick.Time.Format("15:04"))
				}
				return nil
			})
			one := fetch.On(omniq.Join2(omniq.AtTick(), omniq.Value("one")), omniq.Metadata("own", "x"))
			two := fetch.On(omniq.Join2(omniq.AtTick(), omniq.Value(`{"tick":true}`)))
			_, err := omniq.Schedule(c.Context(), c.Client, "graph", omniq.Every(time.Minute), merge.On(omniq.Join2(omniq.All(one, two), omniq.AtTick())))
			require.NoError(c, err)
			stop := c.work(omniq.Handlers(fetch, merge))
			time.Sleep(2*time.Minute + time.Second)
			stop()
			assert.Equal(c, []string{"one00:01", `{"tick":true}00:01`, "one00:02", `{"tick":true}00:02`}, merged)
		}},
		{"all schedules are listed", func(c *clockwork) {
			stop := c.work()
			var want, got []string
			for i := range 300 {
				name := fmt.Sprintf("s%03d", i)
				want = append(want, name)
				c.schedule(name, omniq.Every(time.Hour))
			}
			for info, err := range c.Schedules(c.Context()) {
				require.NoError(c, err)
				got = append(got, info.Name)
			}
			slices.Sort(got)
			assert.Equal(c, want, got)
			time.Sleep(time.Hour)
			assert.Len(c, c.times(), 300)
			stop()
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { inClockwork(t, tt.test) })
	}
}

// scheduleIDOf finds the task of a schedule.
func scheduleIDOf(c *clockwork, name string) uuid.UUID {
	c.Helper()
	for info, err := range c.List(c.Context(), omniq.StatusPending, omniq.ScheduleQueue) {
		require.NoError(c, err)
		if strings.Contains(string(info.Task.Args), fmt.Sprintf("%q", name)) {
			return info.ID
		}
	}
	require.Fail(c, "no schedule "+name)
	return uuid.Nil
}

// failing is a backend that fails, or refuses what schedules enqueue, as long as it is told to.
type failing struct {
	omniq.Backend
	fails, refuses atomic.Bool
}

var errStore = errors.New("the store is away")

func (f *failing) Lease(ctx context.Context, r omniq.LeaseRequest) ([]omniq.Lease, error) {
	if r.Queues[0] == omniq.ScheduleQueue && f.fails.Load() {
		return nil, errStore
	}
	r.Wait = min(r.Wait, 100*time.Millisecond)
	return f.Backend.Lease(ctx, r)
}

func (f *failing) FlowStats(ctx context.Context, flow uuid.UUID) (omniq.FlowStats, error) {
	if f.fails.Load() {
		return omniq.FlowStats{}, errStore
	}
	return f.Backend.FlowStats(ctx, flow)
}

func (f *failing) Settle(ctx context.Context, settlements []omniq.Settlement) ([]error, error) {
	var errs []error
	for _, s := range settlements {
		if s.Effects != nil && len(s.Effects.Enqueue) > 0 && f.refuses.Load() {
			errs = append(errs, fmt.Errorf("%w: too much", omniq.ErrInvalid))
			continue
		}
		one, err := f.Backend.Settle(ctx, []omniq.Settlement{s})
		if err != nil {
			return nil, err
		}
		errs = append(errs, errors.Join(one...))
	}
	return errs, nil
}

func TestScheduleErrors(t *testing.T) {
	inClockwork(t, func(c *clockwork) {
		minute, call := omniq.Every(time.Minute), c.report.On(omniq.AtTick())
		stored := c.report.With(omniq.Tick{})
		_, err := stored.Enqueue(c.Context(), c.Client)
		require.NoError(c, err)
		var many []omniq.Promise[int]
		for range omniq.MaxScheduledCalls {
			many = append(many, c.report.With(omniq.Tick{}))
		}
		sum := omniq.Refer[[]int, omniq.NoKwargs, int]("sum")
		tests := []struct {
			name string
			when omniq.When
			call omniq.Promise[int]
			opt  omniq.ScheduleOption
			want string
		}{
			{"", minute, call, nil, "the name of a schedule is empty"},
			{"s\n", minute, call, nil, "control characters"},
			{"s", omniq.When{}, call, nil, "has not made"},
			{"s", omniq.Cron("61 * * * *", ""), call, nil, "field 1 (minute)"},
			{"s", omniq.Cron("* * * * *", "Europe/Nowhere"), call, nil, `"Europe/Nowhere" is unknown on this machine`},
			{"s", omniq.Cron("* * * * *", "Local"), call, nil, "another zone on another machine"},
			{"s", omniq.Once(time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC)), call, nil, "does not tick after now, which is 2000"},
			{"s", minute, omniq.Promise[int]{}, nil, "no call, Value, Join or All has made"},
			{"s", minute, omniq.Value(1), nil, "Value is no call"},
			{"s", minute, stored, nil, "stored already"},
			{"s", minute, sum.On(omniq.All(stored), omniq.NoKwargs{}), nil, "stored already"},
			{"s", minute, sum.On(omniq.All(many...), omniq.NoKwargs{}), nil, "has 1001 calls, want at most 1000"},
			{"s", minute, c.report.On(omniq.AtTick(), omniq.RunAt(time.Now())), nil, "want a Delay"},
			{"s", minute, c.report.On(omniq.AtTick(), omniq.Queue("a b")), nil, "queue"},
			{"s", minute, call, omniq.CatchUp(time.Second, 1), "at least 10s"},
			{"s", minute, call, omniq.CatchUp(time.Minute, 0), "want 1 to 1000"},
			{"s", minute, call, omniq.CatchUp(time.Minute, 1001), "want 1 to 1000"},
			{"s", minute, call, omniq.Overlap(omniq.BufferAll(0)), "BufferAll of 1 to 1000"},
			{"s", minute, call, omniq.Overlap(-7), "want Skip, Allow"},
			{"s", minute, call, omniq.Spread(-1), "want at least 0"},
			{"s", minute, call, omniq.MaxRuns(0), "want at least 1"},
		}
		for _, tt := range tests {
			var opts []omniq.ScheduleOption
			if tt.opt != nil {
				opts = append(opts, tt.opt)
			}
			s, err := omniq.Schedule(c.Context(), c.Client, tt.name, tt.when, tt.call, opts...)
			require.ErrorIs(c, err, omniq.ErrInvalid, tt.want)
			require.ErrorContains(c, err, tt.want)
			assert.Nil(c, s)
		}
		for info, err := range c.Schedules(c.Context()) {
			assert.Fail(c, "a schedule", "%v %v", info, err)
		}
		_, err = call.Enqueue(c.Context(), c.Client)
		require.ErrorContains(c, err, "AtTick is for the calls of a Schedule")
		none := c.Schedule("none")
		ctx := c.Context()
		for _, err := range []error{
			none.Pause(ctx, ""), none.Resume(ctx), none.Delete(ctx), none.Backfill(ctx, time.Now(), time.Now().Add(1)),
			none.Reschedule(ctx, 0, minute), second(none.Trigger(ctx)), second(none.Describe(ctx)),
		} {
			assert.ErrorIs(c, err, omniq.ErrNotFound)
			assert.ErrorContains(c, err, `schedule "none"`)
		}
		s := c.schedule("s", minute)
		for _, err := range []error{
			s.Pause(ctx, strings.Repeat("x", 1001)), s.Backfill(ctx, time.Now(), time.Now()), s.Reschedule(ctx, 0, omniq.When{}),
			s.Reschedule(ctx, 0, minute, omniq.MaxRuns(0)), s.Reschedule(ctx, 0, omniq.Once(time.Now())),
			second(omniq.Schedule(ctx, c.Through(c.backend), "t", minute, call)), second(omniq.Schedule(ctx, nil, "t", minute, call)),
		} {
			assert.ErrorIs(c, err, omniq.ErrInvalid)
		}
		assert.EqualValues(c, 1, c.describe(s).Revision)
	})
}

// Spread is within the distance to the next tick and before the end, and the same whoever computes it.
func TestSpread(t *testing.T) {
	var runs [2]map[time.Time]time.Duration
	for i := range runs {
		inClockwork(t, func(c *clockwork) {
			var mu sync.Mutex
			began := make(map[time.Time]time.Duration)
			c.takes = func(tick omniq.Tick) (time.Duration, error) {
				mu.Lock()
				defer mu.Unlock()
				began[tick.Time] = time.Since(tick.Time)
				return 0, nil
			}
			start := time.Now().UTC()
			end := start.Add(10*time.Minute + 5*time.Second)
			s := c.schedule("s", omniq.Every(time.Minute).Between(start.Add(time.Second), end), omniq.Spread(time.Hour))
			stop := c.work()
			time.Sleep(11 * time.Minute)
			assert.True(c, c.describe(s).Ended)
			stop()
			require.Len(c, began, 10)
			distinct := make(map[time.Duration]bool)
			for tick, after := range began {
				assert.Less(c, after, min(time.Minute, end.Sub(tick)))
				distinct[after] = true
			}
			assert.Len(c, distinct, 10)
			runs[i] = began
		})
	}
	assert.Equal(t, runs[0], runs[1])
}
