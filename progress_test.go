package omniq_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
	"github.com/omniq-go/omniq/internal/bubble"
)

// Ever so many changes are few calls of the engine, in which all tasks of the worker are, and none if the handler ends
// soon. The last value stays with the result.
func TestProgressIsCoalesced(t *testing.T) {
	for name, c := range map[string]struct {
		tasks, rounds, sets int
		pause               time.Duration // after each round
		calls, notes        int           // at the most
	}{
		"in no time":             {1, 1, 100_000, 0, 0, 0},
		"a second":               {1, 10, 10_000, 100 * time.Millisecond, 4, 4},
		"a second of many tasks": {8, 10, 100, 100 * time.Millisecond, 4, 4 * 8},
		"seldom":                 {1, 5, 1, 10 * time.Second, 5, 5},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				m, client := newMemory(t)
				b := &scribe{Backend: m}
				d := omniq.DefineNoArgsVoid("notes.many", func(ctx context.Context) error {
					for round := range c.rounds {
						for i := range c.sets {
							if err := noteCopied.Set(ctx, copied{round*c.sets + i + 1, "x"}); err != nil {
								return err
							}
						}
						time.Sleep(c.pause)
					}
					return nil
				})
				var handles []*omniq.Handle[omniq.Void]
				for range c.tasks {
					h, err := d.Enqueue(t.Context(), client)
					require.NoError(t, err)
					handles = append(handles, h)
				}
				run(t, b, omniq.Handlers(d), omniq.Concurrency(c.tasks))
				for _, h := range handles {
					_, err := h.Wait(t.Context())
					require.NoError(t, err)
					got, ok, err := noteCopied.Of(t.Context(), h)
					require.NoError(t, err)
					assert.True(t, ok)
					assert.Equal(t, copied{c.rounds * c.sets, "x"}, got)
				}
				calls, notes := b.noted()
				assert.LessOrEqual(t, calls, c.calls)
				assert.LessOrEqual(t, notes, c.notes)
				if c.pause > 0 {
					assert.Positive(t, calls, "nobody has seen anything before the end")
				}
			})
		})
	}
}

// What is left to be sent goes with the end of the attempt, whichever that is.
func TestProgressGoesWithTheEnd(t *testing.T) {
	stay := func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }
	part := omniq.DefineNoArgsVoid("notes.part", noop)
	for name, c := range map[string]struct {
		end  func(context.Context) error
		opts []omniq.WorkerOption
		stop bool // the worker is stopped
		want string
	}{
		"success":  {end: func(context.Context) error { return nil }, want: "success"},
		"failure":  {end: func(context.Context) error { return omniq.Permanent(errOops) }, want: "failure"},
		"retry":    {end: func(context.Context) error { return errOops }, want: "retry"},
		"snooze":   {end: func(context.Context) error { return omniq.Snooze(time.Hour) }, want: "snooze"},
		"panic":    {end: func(context.Context) error { panic("oops") }, want: "retry"},
		"Goexit":   {end: func(context.Context) error { runtime.Goexit(); return nil }, want: "retry"},
		"timeout":  {end: stay, opts: []omniq.WorkerOption{omniq.Timeout(100 * time.Millisecond)}, want: "retry"},
		"shutdown": {end: stay, opts: []omniq.WorkerOption{omniq.ShutdownTimeout(0)}, stop: true, want: "returned"},
		"given up": {
			end:  func(context.Context) error { time.Sleep(time.Minute); return nil },
			opts: []omniq.WorkerOption{omniq.ShutdownTimeout(0)}, stop: true, want: "returned",
		},
		"become": {end: func(ctx context.Context) error { _, err := omniq.Become(ctx, part.With()); return err }, want: "waiting"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				m, client := newMemory(t)
				b := &scribe{Backend: m, note: func(context.Context, []omniq.LeaseNotes) ([]error, error) {
					return nil, errors.New("not now") // so that only the end brings it
				}}
				var l ledger
				d := omniq.DefineNoArgsVoid("notes.end", func(ctx context.Context) error {
					require.NoError(t, noteCopied.Set(ctx, copied{3, name}))
					return c.end(ctx)
				})
				h, err := d.Enqueue(t.Context(), client)
				require.NoError(t, err)
				w := run(t, b, append([]omniq.WorkerOption{omniq.Handlers(d), l.option()}, c.opts...)...)
				synctest.Wait()
				if c.stop {
					_ = w.stop() // which says that a handler was given up, if it was
					defer time.Sleep(time.Hour)
				} else {
					time.Sleep(200 * time.Millisecond)
				}
				require.NotEmpty(t, l.settled())
				require.Equal(t, c.want, l.settled()[0].Outcome.String())
				got, ok, err := noteCopied.Of(t.Context(), h)
				require.NoError(t, err)
				assert.True(t, ok)
				assert.Equal(t, copied{3, name}, got)
			})
		})
	}
}

// Progress is part of the handler's own transaction once the result is, and comes with whatever follows otherwise.
func TestProgressInATransaction(t *testing.T) {
	for name, c := range map[string]struct {
		end   func(*memory.Tx) error
		bare  bool // nothing is left before
		after omniq.AttemptOutcome
		want  copied
	}{
		"commit":              {end: (*memory.Tx).Commit, after: omniq.OutcomeSuccess, want: copied{2, "in"}},
		"rollback":            {end: (*memory.Tx).Rollback, after: omniq.OutcomeFailure, want: copied{2, "in"}},
		"commit of nothing":   {end: (*memory.Tx).Commit, bare: true, after: omniq.OutcomeSuccess},
		"rollback of nothing": {end: (*memory.Tx).Rollback, bare: true, after: omniq.OutcomeFailure},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				b, client := newMemory(t)
				var l ledger
				d := omniq.DefineNoArgs("notes.tx", func(ctx context.Context) (int, error) {
					bad := b.Begin()
					require.NoError(t, bad.Rollback())
					if !c.bare {
						require.NoError(t, noteCopied.Set(ctx, copied{1, "in"}))
					}
					require.Error(t, omniq.CompleteTx(ctx, bad, 1))
					if !c.bare {
						time.Sleep(time.Second)
						got, _, err := noteCopied.Of(ctx, omniq.ReferNoArgs[int]("notes.tx").Attach(client, infoOf(ctx).ID))
						require.NoError(t, err)
						require.Equal(t, copied{1, "in"}, got, "nothing has ended")
						require.NoError(t, noteCopied.Set(ctx, copied{2, "in"}))
					}
					tx := b.Begin()
					require.NoError(t, omniq.CompleteTx(ctx, tx, 1))
					require.ErrorIs(t, noteCopied.Set(ctx, copied{3, "out"}), omniq.ErrInvalid)
					require.ErrorIs(t, noteCursor.Save(ctx, 3), omniq.ErrInvalid)
					time.Sleep(time.Second)
					return 1, c.end(tx)
				}, omniq.Retries(0))
				h, err := d.Enqueue(t.Context(), client)
				require.NoError(t, err)
				run(t, b, omniq.Handlers(d), l.option())
				_, _ = h.Wait(t.Context())
				synctest.Wait()
				require.Len(t, l.settled(), 1)
				assert.Equal(t, c.after, l.settled()[0].Outcome)
				got, ok, err := noteCopied.Of(t.Context(), h)
				require.NoError(t, err)
				assert.Equal(t, !c.bare, ok)
				assert.Equal(t, c.want, got)
			})
		})
	}
}

func infoOf(ctx context.Context) omniq.Info {
	info, _ := omniq.InfoFrom(ctx)
	return info
}

// While the engine keeps nothing the handler does not notice, the log tells it seldom, and the last value arrives.
func TestProgressOutlivesTrouble(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m, client := newMemory(t)
		var ok atomic.Bool
		b := &scribe{Backend: m}
		b.note = func(ctx context.Context, notes []omniq.LeaseNotes) ([]error, error) {
			if !ok.Load() {
				return nil, errors.New("the disk is full")
			}
			return m.Note(ctx, notes)
		}
		var log logbook
		h := handle(t, b, client, func(ctx context.Context) error {
			for i := range 6000 {
				if err := noteCopied.Set(ctx, copied{i + 1, "x"}); err != nil {
					return err
				}
				time.Sleep(10 * time.Millisecond)
			}
			ok.Store(true)
			time.Sleep(time.Minute)
			return nil
		}, log.option())
		time.Sleep(90 * time.Second)
		got, _, err := noteCopied.Of(t.Context(), h)
		require.NoError(t, err)
		assert.Equal(t, 6000, got.Files)
		n := log.count(slog.LevelError, "cannot keep the progress", "disk is full")
		assert.Positive(t, n)
		assert.Less(t, n, 20, "a minute of it")
		_, err = h.Wait(t.Context())
		require.NoError(t, err)
	})
}

// What the engine has failed to keep is sent again, without another Set.
func TestProgressIsSentAgain(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m, client := newMemory(t)
		b := &scribe{Backend: m}
		b.note = func(ctx context.Context, notes []omniq.LeaseNotes) ([]error, error) {
			if calls, _ := b.noted(); calls < 4 {
				return nil, errors.New("the disk is full")
			}
			return m.Note(ctx, notes)
		}
		h := handle(t, b, client, func(ctx context.Context) error {
			err := noteCopied.Set(ctx, copied{1, "x"})
			time.Sleep(time.Hour)
			return err
		})
		start := time.Now()
		for p, err := range noteCopied.Follow(t.Context(), h) {
			require.NoError(t, err)
			assert.Equal(t, copied{1, "x"}, p)
			assert.Less(t, time.Since(start), time.Minute)
		}
		calls, _ := b.noted()
		assert.Equal(t, 4, calls)
	})
}

// A value that the engine cannot keep does not take the outcome with it.
func TestProgressThatTheEngineRefuses(t *testing.T) {
	refused := fmt.Errorf("%w: not in this character set", omniq.ErrInvalid)
	for name, pause := range map[string]time.Duration{"at the end": 0, "before": time.Second} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				m, client := newMemory(t)
				b := &scribe{Backend: &meddler{Backend: m, settle: func(ctx context.Context, s []omniq.Settlement) ([]error, error) {
					for i := range s {
						if s[i].Effects != nil && !s[i].Effects.Empty() {
							return []error{refused}, nil
						}
					}
					return m.Settle(ctx, s)
				}}, note: func(context.Context, []omniq.LeaseNotes) ([]error, error) { return []error{refused}, nil }}
				var log logbook
				h := handle(t, b, client, func(ctx context.Context) error {
					err := noteCopied.Set(ctx, copied{1, "x"})
					time.Sleep(pause)
					return err
				}, log.option())
				_, err := h.Wait(t.Context())
				require.NoError(t, err)
				assert.Equal(t, 1, log.count(slog.LevelError, "refused", "character set"), "\n%s", &log)
				_, ok, err := noteCopied.Of(t.Context(), h)
				require.NoError(t, err)
				assert.False(t, ok)
			})
		})
	}
}

// Keys live beside each other, and what is set belongs to the engine: nobody changes it afterwards.
func TestProgressOfSeveralKeys(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m, client := newMemory(t)
		odd := omniq.Progress[*int](`a "quoted" <name> ü`)
		tries := 0
		h := handle(t, m, client, func(ctx context.Context) error {
			if tries++; tries == 2 {
				assert.NoError(t, noteCopied.Set(ctx, copied{2, "b"}))
				return nil
			}
			lines := []string{"a", "<b>"}
			for range 3 {
				require.NoError(t, noteLines.Set(ctx, lines))
			}
			lines[0] = "changed"
			require.NoError(t, noteCopied.Set(ctx, copied{1, "a"}))
			require.NoError(t, odd.Set(ctx, nil))
			return errOops
		})
		synctest.Wait()
		info, err := client.Inspect(t.Context(), h.ID())
		require.NoError(t, err)
		assert.Equal(t, `{"lines":["a","<b>"],"copied":{"files":1,"last":"a"},"a \"quoted\" <name> ü":null}`, string(info.Progress))
		p, ok, err := odd.Of(t.Context(), h)
		require.NoError(t, err)
		assert.True(t, ok)
		assert.Nil(t, p)
		_, ok, err = omniq.Progress[int]("other").Of(t.Context(), h)
		require.NoError(t, err)
		assert.False(t, ok)
		_, _, err = omniq.Progress[int]("lines").Of(t.Context(), h)
		require.ErrorIs(t, err, omniq.ErrInvalid)
		require.ErrorContains(t, err, `omniq: progress "lines"`)
		_, err = h.Wait(t.Context())
		require.NoError(t, err)
		info, err = client.Inspect(t.Context(), h.ID())
		require.NoError(t, err)
		assert.Equal(t, `{"copied":{"files":2,"last":"b"}}`, string(info.Progress), "the second attempt begins anew")
	})
}

// A follower sees each change soon that stands for a while, the last one in any case, and ends with the task.
func TestProgressIsFollowed(t *testing.T) {
	for name, c := range map[string]struct {
		values []int
		pause  time.Duration
		failed bool
		opts   []omniq.TaskOption
		want   []int
	}{
		"slow":                  {values: []int{1, 2, 3}, pause: 5 * time.Second, want: []int{1, 2, 3}},
		"the same again":        {values: []int{1, 1, 2, 2, 2}, pause: 2 * time.Second, want: []int{1, 2}},
		"fast":                  {values: []int{1, 2, 3}, want: []int{3}},
		"failure":               {values: []int{1, 2}, pause: 2 * time.Second, failed: true, want: []int{1, 2}},
		"nothing":               {},
		"a result that is gone": {values: []int{1, 2}, pause: 2 * time.Second, opts: []omniq.TaskOption{omniq.ResultTTL(0)}, want: []int{1, 2}},
		"that begins later":     {values: []int{1}, pause: time.Second, opts: []omniq.TaskOption{omniq.Delay(time.Hour)}, want: []int{1}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				b, client := newMemory(t)
				var set sync.Map // of a value: since when
				var ended time.Time
				d := omniq.DefineNoArgsVoid("notes.followed", func(ctx context.Context) error {
					for _, n := range c.values {
						set.LoadOrStore(n, time.Now())
						if err := noteCopied.Set(ctx, copied{Files: n}); err != nil {
							return err
						}
						time.Sleep(c.pause)
					}
					ended = time.Now()
					if c.failed {
						return omniq.Permanent(errOops)
					}
					return nil
				})
				h, err := d.Enqueue(t.Context(), client, c.opts...)
				require.NoError(t, err)
				run(t, b, omniq.Handlers(d))
				var got []int
				for p, err := range noteCopied.Follow(t.Context(), h) {
					require.NoError(t, err)
					got = append(got, p.Files)
					since, ok := set.Load(p.Files)
					require.True(t, ok)
					assert.LessOrEqual(t, time.Since(since.(time.Time)), time.Second)
				}
				assert.Equal(t, c.want, got)
				assert.Zero(t, time.Since(ended), "the end is told by the engine")
				if c.opts == nil {
					got = nil
					for p, err := range noteCopied.Follow(t.Context(), h) {
						require.NoError(t, err)
						got = append(got, p.Files)
					}
					assert.Equal(t, c.want[max(len(c.want)-1, 0):], got, "a late one gets the last value")
				}
			})
		})
	}
}

// A follower may leave, end by its context, or be told that what is there is no value of its type.
func TestFollowersThatEndEarly(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		h := handle(t, b, client, func(ctx context.Context) error {
			err := noteCopied.Set(ctx, copied{Files: 1})
			<-ctx.Done()
			return err
		})
		for p, err := range noteCopied.Follow(t.Context(), h) {
			require.NoError(t, err)
			assert.Equal(t, 1, p.Files)
			break
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var errs []error
		for _, err := range noteCopied.Follow(ctx, h) {
			errs = append(errs, err)
		}
		require.Len(t, errs, 2)
		require.NoError(t, errs[0])
		require.ErrorIs(t, errs[1], context.DeadlineExceeded)
		for _, err := range omniq.Progress[[]int]("copied").Follow(t.Context(), h) {
			require.ErrorIs(t, err, omniq.ErrInvalid)
		}
	})
}

// The engine is asked seldom while nothing happens.
func TestFollowersAskSeldom(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m, _ := newMemory(t)
		b := &watcher{Backend: m}
		client := newClient(t, b)
		h := handle(t, b, client, func(context.Context) error { time.Sleep(time.Hour); return nil })
		for p, err := range noteCopied.Follow(t.Context(), h) {
			t.Error("there is nothing", p, err)
		}
		assert.Less(t, b.looks.Load(), int32(2*3600+10))
	})
}

type watcher struct {
	omniq.Backend
	looks atomic.Int32
}

func (w *watcher) Inspect(ctx context.Context, id uuid.UUID) (*omniq.TaskInfo, error) {
	w.looks.Add(1)
	return w.Backend.Inspect(ctx, id)
}
