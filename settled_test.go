package omniq_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
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

// ledger keeps what OnSettle tells. The zero value is ready.
type ledger struct {
	mu  sync.Mutex
	all []omniq.SettledAttempt
}

func (l *ledger) option() omniq.WorkerOption {
	return omniq.OnSettle(func(s omniq.SettledAttempt) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.all = append(l.all, s)
	})
}

func (l *ledger) settled() []omniq.SettledAttempt {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all
}

// outcome is what a test says of a settled attempt.
type outcome struct {
	Outcome     omniq.AttemptOutcome
	attempt     int
	took, delay time.Duration
	err         string // empty for none
}

func outcomes(all []omniq.SettledAttempt) []outcome {
	var short []outcome
	for _, s := range all {
		o := outcome{s.Outcome, s.Info.Attempt, s.Took, s.Delay, ""}
		if s.Error != nil {
			o.err = s.Error.Message
		}
		short = append(short, o)
	}
	return short
}

func TestOutcomes(t *testing.T) {
	const took = time.Second
	for name, c := range map[string]struct {
		errs   func(attempt int) error
		worker []omniq.WorkerOption
		task   []omniq.TaskOption
		want   []outcome
	}{
		"success": {
			errs: func(int) error { return nil },
			want: []outcome{{omniq.OutcomeSuccess, 1, took, 0, ""}},
		},
		"retry": {
			errs: failUntil(3, errOops),
			want: []outcome{
				{omniq.OutcomeRetry, 1, took, time.Second, "oops"}, {omniq.OutcomeRetry, 2, took, 2 * time.Second, "oops"},
				{omniq.OutcomeSuccess, 3, took, 0, ""},
			},
		},
		"the last attempt": {
			errs: oops, task: []omniq.TaskOption{omniq.Retries(1)},
			want: []outcome{{omniq.OutcomeRetry, 1, took, time.Second, "oops"}, {omniq.OutcomeFailure, 2, took, 0, "oops"}},
		},
		"permanent": {
			errs: func(int) error { return omniq.Permanent(errOops) },
			want: []outcome{{omniq.OutcomeFailure, 1, took, 0, "oops"}},
		},
		"the policy ends it": {
			errs: oops, worker: []omniq.WorkerOption{omniq.RetryDelays(omniq.Constant(-1), 0)},
			want: []outcome{{omniq.OutcomeFailure, 1, took, 0, "oops"}},
		},
		"RetryAfter": {
			errs: failUntil(2, omniq.RetryAfter(time.Hour, errOops)),
			want: []outcome{{omniq.OutcomeRetry, 1, took, time.Hour, "oops"}, {omniq.OutcomeSuccess, 2, took, 0, ""}},
		},
		"retry at once": {
			errs: failUntil(2, omniq.RetryAfter(0, errOops)),
			want: []outcome{{omniq.OutcomeRetry, 1, took, 0, "oops"}, {omniq.OutcomeSuccess, 2, took, 0, ""}},
		},
		"panic": {
			errs: func(int) error { panic("help") }, task: []omniq.TaskOption{omniq.Retries(0)},
			want: []outcome{{omniq.OutcomeFailure, 1, took, 0, "panic: help"}},
		},
		"end of the goroutine": {
			errs: func(int) error { runtime.Goexit(); return nil }, task: []omniq.TaskOption{omniq.Retries(0)},
			want: []outcome{{omniq.OutcomeFailure, 1, took, 0, "the handler ended its goroutine"}},
		},
		"timeout": {
			errs: oops, task: []omniq.TaskOption{omniq.Retries(0), omniq.Timeout(took / 2)},
			want: []outcome{{omniq.OutcomeFailure, 1, took, 0, "no result within 500ms: oops"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				b, client := newMemory(t)
				var l ledger
				f := newFailer(func(attempt int) error { time.Sleep(took); return c.errs(attempt) })
				w := run(t, b, append([]omniq.WorkerOption{omniq.Handlers(f), l.option()}, c.worker...)...)
				h, err := f.Enqueue(t.Context(), client, c.task...)
				require.NoError(t, err)
				_, _ = h.Wait(t.Context())
				require.NoError(t, w.stop())
				assert.Equal(t, c.want, outcomes(l.settled()))
				for _, s := range l.settled() {
					assert.Equal(t, h.ID(), s.Info.ID)
					assert.Equal(t, "fail", s.Info.FuncName)
					assert.Equal(t, omniq.DefaultQueue, s.Info.Queue)
					assert.Equal(t, w.ID(), s.Info.WorkerID)
				}
			})
		})
	}
}

func TestOutcomeSnooze(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		var l ledger
		d := omniq.DefineNoArgsVoid("snooze", func(ctx context.Context) error {
			if info, _ := omniq.InfoFrom(ctx); time.Since(info.CreatedAt) < time.Hour {
				return omniq.Snooze(time.Hour)
			}
			return nil
		})
		w := run(t, b, omniq.Handlers(d), l.option())
		h, err := d.Enqueue(t.Context(), client)
		require.NoError(t, err)
		_, err = h.Wait(t.Context())
		require.NoError(t, err)
		require.NoError(t, w.stop())
		assert.Equal(t, []outcome{
			{omniq.OutcomeSnooze, 1, 0, time.Hour, ""}, {omniq.OutcomeSuccess, 1, 0, 0, ""},
		}, outcomes(l.settled()))
	})
}

// An attempt that has no handler's outcome is told as what it is, too.
func TestOutcomesWithoutTheHandlers(t *testing.T) {
	waits := func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }
	for name, c := range map[string]struct {
		handler func(context.Context) error
		backend func(*memory.Backend) omniq.Backend
		worker  []omniq.WorkerOption
		with    func(*testing.T, *omniq.Client, *omniq.Handle[omniq.Void], running) // while the handler runs
		want    outcome
	}{
		"cancelled": {
			handler: waits,
			with: func(t *testing.T, _ *omniq.Client, h *omniq.Handle[omniq.Void], _ running) {
				time.Sleep(time.Second)
				require.NoError(t, h.Cancel(t.Context()))
			},
			want: outcome{omniq.OutcomeCancelled, 1, time.Second, 0, "omniq: task cancelled"},
		},
		"cancelled, and the handler does not care": {
			handler: func(context.Context) error { time.Sleep(time.Minute); return nil },
			with: func(t *testing.T, _ *omniq.Client, h *omniq.Handle[omniq.Void], _ running) {
				require.NoError(t, h.Cancel(t.Context()))
			},
			want: outcome{omniq.OutcomeCancelled, 1, time.Minute, 0, ""},
		},
		"lost": {
			handler: waits,
			backend: func(b *memory.Backend) omniq.Backend {
				return &meddler{Backend: b, extend: func(_ context.Context, l []omniq.LeaseID, _ time.Duration) ([]error, error) {
					return []error{omniq.ErrLeaseLost}, nil
				}}
			},
			worker: []omniq.WorkerOption{omniq.LeaseDuration(3 * time.Second)},
			want:   outcome{omniq.OutcomeLost, 1, time.Second, 0, "omniq: lease lost"},
		},
		"the engine takes nothing": {
			handler: noop,
			backend: func(b *memory.Backend) omniq.Backend {
				return &meddler{Backend: b, settle: func(context.Context, []omniq.Settlement) ([]error, error) {
					return nil, errors.New("the disk is full")
				}}
			},
			worker: []omniq.WorkerOption{omniq.LeaseDuration(time.Second)},
			want:   outcome{omniq.OutcomeLost, 1, 0, 0, ""},
		},
		"the worker stops": {
			handler: waits,
			worker:  []omniq.WorkerOption{omniq.ShutdownTimeout(time.Second)},
			with: func(t *testing.T, _ *omniq.Client, _ *omniq.Handle[omniq.Void], w running) {
				require.NoError(t, w.stop())
			},
			want: outcome{omniq.OutcomeReturned, 1, time.Second, 0, ""},
		},
		"the worker stops without the handler": {
			handler: func(context.Context) error { time.Sleep(time.Minute); return nil },
			worker:  []omniq.WorkerOption{omniq.ShutdownTimeout(time.Second)},
			with: func(t *testing.T, _ *omniq.Client, _ *omniq.Handle[omniq.Void], w running) {
				require.ErrorContains(t, w.stop(), "1 handlers have not returned")
				time.Sleep(time.Hour)
			},
			want: outcome{omniq.OutcomeReturned, 1, 6 * time.Second, 0, ""},
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				m, client := newMemory(t)
				b := omniq.Backend(m)
				if c.backend != nil {
					b = c.backend(m)
				}
				var l ledger
				d := omniq.DefineNoArgsVoid("any", c.handler)
				w := run(t, b, append([]omniq.WorkerOption{omniq.Handlers(d), l.option()}, c.worker...)...)
				h, err := d.Enqueue(t.Context(), client)
				require.NoError(t, err)
				synctest.Wait()
				if c.with != nil {
					c.with(t, client, h, w)
				}
				for len(l.settled()) == 0 {
					time.Sleep(time.Second)
				}
				assert.Equal(t, c.want, outcomes(l.settled())[0])
				if c.want.Outcome != omniq.OutcomeLost { // which comes again
					assert.Len(t, l.settled(), 1)
				}
			})
		})
	}
}

// A task may expire before its handler begins, and one that the worker does not know goes back.
func TestOutcomesBeforeTheHandler(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		var l ledger
		d := omniq.DefineNoArgsVoid("slow", func(context.Context) error { time.Sleep(time.Minute); return nil })
		m := unstarted(b)
		m.start = func(ctx context.Context, leases []omniq.LeaseID) ([]error, error) {
			time.Sleep(2 * time.Second)
			return b.Start(ctx, leases)
		}
		run(t, m, omniq.Handlers(d), l.option(), omniq.Concurrency(2))
		for _, ttl := range []time.Duration{time.Hour, time.Second} {
			_, err := d.Enqueue(t.Context(), client, omniq.TTL(ttl))
			require.NoError(t, err)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		assert.ElementsMatch(t, []outcome{
			{omniq.OutcomeSuccess, 1, time.Minute, 0, ""}, {omniq.OutcomeExpired, 1, 0, 0, ""},
		}, outcomes(l.settled()))

		_, err := omniq.ReferNoArgs[int]("unknown").Enqueue(t.Context(), client)
		require.NoError(t, err)
		synctest.Wait()
		require.Len(t, l.settled(), 3)
		s := l.settled()[2]
		assert.Equal(t, omniq.OutcomeReturned, s.Outcome)
		assert.Zero(t, s.Took)
		assert.InDelta(t, 0.1, s.Delay.Seconds(), 0.05)
	})
}

// Functions are called in their order, after the engine has stored the outcome.
func TestOnSettleIsToldTheTruth(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		var order []string
		note := func(name string) omniq.WorkerOption {
			return omniq.OnSettle(func(s omniq.SettledAttempt) {
				r, err := client.Result(context.Background(), s.Info.ID)
				assert.NoError(t, err)
				assert.Equal(t, omniq.StatusSuccess, r.Status)
				order = append(order, name)
			})
		}
		d := omniq.DefineNoArgsVoid("any", noop)
		w := run(t, b, omniq.Handlers(d), note("first"), note("second"), note("third"))
		h, err := d.Enqueue(t.Context(), client)
		require.NoError(t, err)
		_, err = h.Wait(t.Context())
		require.NoError(t, err)
		require.NoError(t, w.stop())
		assert.Equal(t, []string{"first", "second", "third"}, order)
	})
}

// A function that panics, or ends its goroutine, hurts neither the others nor the worker.
func TestOnSettleThatFails(t *testing.T) {
	for name, fail := range map[string]struct {
		f   func()
		log string
	}{
		"panics":              {func() { panic("no metrics") }, "panicked: no metrics"},
		"ends its goroutine":  {runtime.Goexit, "ended its goroutine"},
		"panics with nothing": {func() { panic(nil) }, "panicked: panic called with nil argument"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				b, client := newMemory(t)
				var log logbook
				var l ledger
				d := omniq.DefineNoArgsVoid("any", noop)
				w := run(t, b, omniq.Handlers(d), omniq.OnSettle(func(omniq.SettledAttempt) { fail.f() }), l.option(), log.option())
				const n = 20 // more than there are goroutines that settle
				for range n {
					h, err := d.Enqueue(t.Context(), client)
					require.NoError(t, err)
					_, err = h.Wait(t.Context())
					require.NoError(t, err)
				}
				require.NoError(t, w.stop())
				assert.Len(t, l.settled(), n)
				assert.Equal(t, n, log.count(slog.LevelError, "the function of OnSettle "+fail.log))
			})
		})
	}
}

func TestOnSettleRefusesNil(t *testing.T) {
	_, err := omniq.NewWorker(memory.New(), omniq.Handlers(omniq.DefineNoArgsVoid("any", noop)), omniq.OnSettle(nil))
	require.ErrorIs(t, err, omniq.ErrInvalid)
	assert.ErrorContains(t, err, "OnSettle has a nil function")
}

func TestOutcomeString(t *testing.T) {
	for o, want := range map[omniq.AttemptOutcome]string{
		omniq.OutcomeSuccess: "success", omniq.OutcomeRetry: "retry", omniq.OutcomeSnooze: "snooze",
		omniq.OutcomeFailure: "failure", omniq.OutcomeExpired: "expired", omniq.OutcomeCancelled: "cancelled",
		omniq.OutcomeLost: "lost", omniq.OutcomeReturned: "returned", omniq.OutcomeWaiting: "waiting", 0: "AttemptOutcome(0)", 99: "AttemptOutcome(99)",
	} {
		assert.Equal(t, want, fmt.Sprint(o))
	}
}

func TestSnoozed(t *testing.T) {
	for name, c := range map[string]struct {
		err   error
		delay time.Duration
		ok    bool
	}{
		"nothing":   {nil, 0, false},
		"an error":  {errOops, 0, false},
		"retry":     {omniq.RetryAfter(time.Hour, errOops), 0, false},
		"a snooze":  {omniq.Snooze(time.Hour), time.Hour, true},
		"wrapped":   {fmt.Errorf("x: %w", omniq.Snooze(time.Minute)), time.Minute, true},
		"joined":    {errors.Join(errOops, omniq.Snooze(time.Minute)), time.Minute, true},
		"short":     {omniq.Snooze(time.Nanosecond), 100 * time.Millisecond, true},
		"negative":  {omniq.Snooze(-time.Hour), 100 * time.Millisecond, true},
		"permanent": {omniq.Permanent(omniq.Snooze(time.Hour)), time.Hour, true},
	} {
		t.Run(name, func(t *testing.T) {
			delay, ok := omniq.Snoozed(c.err)
			assert.Equal(t, c.delay, delay)
			assert.Equal(t, c.ok, ok)
		})
	}
}
