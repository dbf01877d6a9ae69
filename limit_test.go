package omniq_test

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
	"github.com/omniq-go/omniq/internal/bubble"
)

func TestLimitText(t *testing.T) {
	for text, want := range map[string]omniq.Limit{
		"none":                 {},
		"50":                   {Running: 50},
		"20/s":                 {Rate: omniq.PerSecond(20)},
		"50 20/s each 2 100/m": {Running: 50, Rate: omniq.PerSecond(20), EachLane: omniq.LaneLimit{Running: 2, Rate: omniq.PerMinute(100)}},
		"each 3":               {EachLane: omniq.LaneLimit{Running: 3}},
		"each 9/h+4":           {EachLane: omniq.LaneLimit{Rate: omniq.Rate{Tasks: 9, Per: time.Hour, Burst: 4}}},
		"7/1m30s":              {Rate: omniq.Rate{Tasks: 7, Per: 90 * time.Second}},
	} {
		var got omniq.Limit
		require.NoError(t, got.UnmarshalText([]byte(" "+text+"  ")), text)
		assert.Equal(t, want, got, text)
		assert.Equal(t, text, got.String())
		again, err := got.MarshalText()
		require.NoError(t, err)
		assert.Equal(t, text, string(again))
	}
	for text, wrong := range map[string]string{
		"":            "a limit is empty",
		"0":           `"0" in a limit, want a number from 1 on`,
		"-3":          `"-3" in a limit`,
		"many":        `"many" in a limit`,
		"5 6":         `"6" in the limit "5 6", want at most a number and a rate`,
		"20/s 5":      `"5" in the limit`,
		"20/s 30/s":   `"30/s" in the limit`,
		"each":        `"each" in a limit`,
		"each 1 each": `"each" in the limit`,
		"1/s+0":       `"1/s+0" is no rate`,
		"1/s+":        `"1/s+" is no rate`,
		"/s":          `"/s" is no rate`,
		"1/x":         `"1/x" is no rate, want one like 20/s`,
		"1/":          `"1/" is no rate`,
		"0/s":         "the rate 0/s is 0 tasks in 1s, want 1 to 1000000",
		"2/1µs":       "want 1 to 1",
		"1/9999h":     "want a time of 1µs to 744h0m0s",
		"2000000":     "a limit of 2000000 tasks at once, want 1 to 1000000",
		"none 5":      `"none" in a limit`,
	} {
		var got omniq.Limit
		err := got.UnmarshalText([]byte(text))
		require.ErrorIs(t, err, omniq.ErrInvalid, text)
		assert.ErrorContains(t, err, wrong, text)
		assert.Zero(t, got, text)
	}
}

func FuzzLimitText(f *testing.F) {
	for _, text := range []string{"none", "50 20/s each 2 100/m+10", "7/1m30s", "each 1 2/h", "1/s+0", " "} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var l, again omniq.Limit
		if err := l.UnmarshalText([]byte(text)); err != nil {
			require.ErrorIs(t, err, omniq.ErrInvalid)
			return
		}
		require.NoError(t, l.Validate())
		require.NoError(t, again.UnmarshalText([]byte(l.String())), l.String())
		require.Equal(t, l, again)
	})
}

func TestRateEvery(t *testing.T) {
	for rate, want := range map[omniq.Rate][2]int64{
		omniq.PerSecond(20):                            {50_000, 2},
		omniq.PerSecond(3):                             {333_334, 1},
		omniq.PerSecond(1_000_000):                     {1, 100_000},
		omniq.PerMinute(100):                           {600_000, 1},
		{Tasks: 1, Per: 1500 * time.Nanosecond}:        {2, 50_000},
		{Tasks: 10, Per: time.Second, Burst: 7}:        {100_000, 7},
		{Tasks: 1, Per: 31 * 24 * time.Hour, Burst: 1}: {31 * 24 * 3600 * 1_000_000, 1},
	} {
		every, burst := rate.Every()
		assert.Equal(t, want, [2]int64{every.Microseconds(), int64(burst)}, "%v", rate)
	}
}

func TestConfigLimits(t *testing.T) {
	t.Setenv("OMNIQ_LIMITS", "mail 50 20/s each 2, reports 4,other none")
	c, err := omniq.ConfigFromEnv()
	require.NoError(t, err)
	b, err := c.Open(t.Context(), memory.Engine)
	require.NoError(t, err)
	stats, err := b.Stats(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []omniq.QueueStats{
		{Queue: "mail", Limit: omniq.Limit{Running: 50, Rate: omniq.PerSecond(20), EachLane: omniq.LaneLimit{Running: 2}}},
		{Queue: "reports", Limit: omniq.Limit{Running: 4}},
	}, stats)
	require.NoError(t, b.Close())

	_, err = c.Open(t.Context(), omniq.Engine{Schemes: []string{"memory"}, Open: func(context.Context, string, omniq.Config) (omniq.Backend, error) {
		return withoutLimits{memory.New()}, nil
	}})
	require.ErrorIs(t, err, omniq.ErrInvalid)
	assert.ErrorContains(t, err, `set the limit of queue "mail"`)
	for value, wrong := range map[string]string{
		"mail":             `of queue "mail": omniq: invalid: a limit is empty`,
		"mail 1, mail 2":   `one limit of queue "mail"`,
		"no!queue 5":       `queue "no!queue" has '!'`,
		"mail 5,,":         "a limit is empty",
		"mail 10000000":    "want 1 to 1000000",
		"mail 5 each each": `"each" in a limit`,
	} {
		t.Setenv("OMNIQ_LIMITS", value)
		_, err = omniq.ConfigFromEnv()
		require.ErrorIs(t, err, omniq.ErrInvalid, value)
		assert.ErrorContains(t, err, "OMNIQ_LIMITS", value)
		assert.ErrorContains(t, err, wrong, value)
	}
}

// withoutLimits is an engine that has no limits and no lanes.
type withoutLimits struct{ omniq.Backend }

func (b withoutLimits) Capabilities() omniq.Capabilities {
	c := b.Backend.Capabilities()
	c.Limits = false
	return c
}

func (b withoutLimits) SetLimit(context.Context, string, omniq.Limit) error {
	return fmt.Errorf("%w: no limits here", omniq.ErrInvalid)
}

func (b withoutLimits) Settle(ctx context.Context, settlements []omniq.Settlement) ([]error, error) {
	for i := range settlements {
		settlements[i].Hold = 0
	}
	return b.Backend.Settle(ctx, settlements)
}

func TestEngineWithoutLanes(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m, _ := newMemory(t)
		b := withoutLimits{m}
		client, err := omniq.NewClient(b)
		require.NoError(t, err)
		require.ErrorIs(t, client.SetLimit(t.Context(), "q", omniq.Limit{Running: 1}), omniq.ErrInvalid)
		began := time.Now()
		var starts []time.Duration
		f := omniq.DefineNoArgs("f", func(context.Context) (int, error) {
			if starts = append(starts, time.Since(began)); len(starts) < 3 {
				return 0, omniq.Throttled(time.Second)
			}
			return len(starts), nil
		})
		_, err = f.Enqueue(t.Context(), client, omniq.Lane("a"))
		require.ErrorIs(t, err, omniq.ErrInvalid)
		assert.ErrorContains(t, err, `is in lane "a", and the engine "memory" has no lanes`)
		brings := omniq.DefineNoArgs("brings", func(ctx context.Context) (int, error) {
			_, err := omniq.Enqueue(ctx, f.With(omniq.Lane("a")))
			return 0, omniq.Permanent(err)
		})
		run(t, b, omniq.Handlers(f, brings))
		h, err := f.Enqueue(t.Context(), client)
		require.NoError(t, err)
		n, err := h.Wait(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 3, n)
		assert.Equal(t, seconds(0, 1, 2), starts, "Throttled is a Snooze there")
		brought, err := brings.Enqueue(t.Context(), client)
		require.NoError(t, err)
		_, err = brought.Wait(t.Context())
		assert.ErrorContains(t, err, "has no lanes")
	})
}

func TestSetLimitRefuses(t *testing.T) {
	_, client := newMemory(t)
	for name, err := range map[string]error{
		"queue":  client.SetLimit(t.Context(), "", omniq.Limit{}),
		"limit":  client.SetLimit(t.Context(), "q", omniq.Limit{Running: -1}),
		"client": (*omniq.Client)(nil).SetLimit(t.Context(), "q", omniq.Limit{}),
	} {
		assert.ErrorIs(t, err, omniq.ErrInvalid, name)
	}
	f := omniq.ReferNoArgs[int]("f")
	for _, lane := range []string{"", " a", "a\n", "\xff", string(make([]byte, omniq.MaxLaneLen+1))} {
		_, err := f.Enqueue(t.Context(), client, omniq.Lane(lane))
		assert.ErrorIs(t, err, omniq.ErrInvalid, "%q", lane)
	}
}

// gauge knows how many handlers run, and of which lanes.
type gauge struct {
	mu      sync.Mutex
	running map[string]int
	most    map[string]int // "" is for all together
	order   []string
}

func newGauge() *gauge { return &gauge{running: make(map[string]int), most: make(map[string]int)} }

func (g *gauge) run(ctx context.Context, d time.Duration) {
	info, _ := omniq.InfoFrom(ctx)
	lane := cmp.Or(info.Lane, "-")
	count := func(by int) {
		g.mu.Lock()
		defer g.mu.Unlock()
		for _, name := range []string{"", lane} {
			g.running[name] += by
			g.most[name] = max(g.most[name], g.running[name])
		}
		if by > 0 {
			g.order = append(g.order, lane)
		}
	}
	count(1)
	defer count(-1)
	time.Sleep(d)
}

// What runs of a queue on two workers is what its limit permits, and the rate is kept to.
func TestLimitOfWorkers(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		g := newGauge()
		f := omniq.DefineNoArgs("f", func(ctx context.Context) (int, error) { g.run(ctx, time.Second); return 1, nil })
		require.NoError(t, client.SetLimit(t.Context(), omniq.DefaultQueue, omniq.Limit{Running: 5, EachLane: omniq.LaneLimit{Running: 2}}))
		for i := range 24 {
			_, err := f.Enqueue(t.Context(), client, omniq.Lane(string(rune('a'+i%4))))
			require.NoError(t, err)
		}
		began := time.Now()
		run(t, b, omniq.Handlers(f))
		run(t, b, omniq.Handlers(f), omniq.Prefetch(100))
		done := func() bool { return succeeded(t, client) == 24 }
		until(t, done)
		g.mu.Lock()
		assert.Equal(t, map[string]int{"": 5, "a": 2, "b": 2, "c": 2, "d": 2}, g.most)
		g.mu.Unlock()
		assert.Equal(t, 5*time.Second, time.Since(began).Truncate(time.Second), "24 tasks of a second, 5 at once")

		require.NoError(t, client.SetLimit(t.Context(), omniq.DefaultQueue, omniq.Limit{Rate: omniq.Rate{Tasks: 10, Per: time.Second, Burst: 4}}))
		began = time.Now()
		for range 24 {
			_, err := f.Enqueue(t.Context(), client)
			require.NoError(t, err)
		}
		until(t, func() bool { return succeeded(t, client) == 48 })
		assert.Equal(t, 3*time.Second, time.Since(began).Truncate(100*time.Millisecond), "4 at once, 20 in 2 s, and the last one's second")
	})
}

func succeeded(t *testing.T, client *omniq.Client) (n int) {
	t.Helper()
	stats, err := client.Stats(t.Context())
	require.NoError(t, err)
	for _, s := range stats {
		n += s.Succeeded
	}
	return n
}

// until lets fake time pass until the condition holds.
func until(t *testing.T, condition func() bool) {
	t.Helper()
	for range 100_000 {
		if condition() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	require.Fail(t, "it has not come to this")
}

// A tenant with many tasks does not delay the others.
func TestLanesTakeTurns(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		g := newGauge()
		f := omniq.DefineNoArgs("f", func(ctx context.Context) (int, error) { g.run(ctx, time.Second); return 1, nil })
		for range 500 {
			_, err := f.Enqueue(t.Context(), client, omniq.Lane("greedy"))
			require.NoError(t, err)
		}
		for i := range 5 {
			_, err := f.Enqueue(t.Context(), client, omniq.Lane(fmt.Sprint("small", i)))
			require.NoError(t, err)
		}
		run(t, b, omniq.Handlers(f), omniq.Concurrency(2))
		until(t, func() bool { return succeeded(t, client) >= 8 })
		g.mu.Lock()
		defer g.mu.Unlock()
		// Handlers of two leases that came together may begin in either order.
		assert.Subset(t, g.order[:7], []string{"small0", "small1", "small2", "small3", "small4"})
	})
}

func TestThrottled(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		began := time.Now()
		var mu sync.Mutex
		starts := make(map[string][]time.Duration)
		f := omniq.DefineNoArgs("f", func(ctx context.Context) (int, error) {
			info, _ := omniq.InfoFrom(ctx)
			assert.Equal(t, 1, info.Attempt, "no attempt is used")
			mu.Lock()
			defer mu.Unlock()
			starts[info.Lane] = append(starts[info.Lane], time.Since(began))
			if info.Lane == "a" && len(starts["a"]) == 1 {
				err := fmt.Errorf("429: %w", omniq.Throttled(10*time.Second))
				delay, ok := omniq.Snoozed(err)
				assert.Equal(t, []any{10 * time.Second, true}, []any{delay, ok})
				assert.EqualError(t, err, "429: throttled for 10s")
				return 0, err
			}
			return 1, nil
		}, omniq.Retries(0))
		l := new(ledger)
		run(t, b, omniq.Handlers(f), l.option(), omniq.Concurrency(1))
		for _, lane := range []string{"a", "a", "b", "a"} {
			_, err := f.Enqueue(t.Context(), client, omniq.Lane(lane))
			require.NoError(t, err)
		}
		until(t, func() bool { return succeeded(t, client) == 4 })
		mu.Lock()
		defer mu.Unlock()
		assert.Equal(t, seconds(0), starts["b"])
		require.Len(t, starts["a"], 4)
		for i, at := range starts["a"] { // others may be leased while the first one is settled
			assert.True(t, at == 0 || at == 10*time.Second, "start %d is after %v", i, at)
		}
		assert.Equal(t, 10*time.Second, starts["a"][3])
		assert.Equal(t, outcome{omniq.OutcomeSnooze, 1, 0, 10 * time.Second, ""}, outcomes(l.settled())[0])
		least, _ := omniq.Snoozed(omniq.Throttled(0))
		assert.Equal(t, 100*time.Millisecond, least)
	})
}
