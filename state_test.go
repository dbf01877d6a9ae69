package omniq_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
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

// What an attempt has saved the next one finds, however the first has ended.
func TestStateOutlivesTheAttempt(t *testing.T) {
	stay := func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }
	for name, c := range map[string]struct {
		end     func(context.Context) error
		opts    []omniq.WorkerOption
		restart bool // the worker is stopped, and another one comes
		requeue bool
	}{
		"error":    {end: func(context.Context) error { return errOops }},
		"panic":    {end: func(context.Context) error { panic("oops") }},
		"snooze":   {end: func(context.Context) error { return omniq.Snooze(time.Hour) }},
		"timeout":  {end: stay, opts: []omniq.WorkerOption{omniq.Timeout(time.Second)}},
		"shutdown": {end: stay, opts: []omniq.WorkerOption{omniq.ShutdownTimeout(0)}, restart: true},
		"failure":  {end: func(context.Context) error { return omniq.Permanent(errOops) }, requeue: true},
		"cancel": {end: func(ctx context.Context) error {
			return errors.Join(omniq.Cancel(ctx), stay(ctx))
		}, requeue: true},
	} {
		for _, after := range []bool{false, true} { // whether it is saved after the handler's context has ended
			if after && name != "timeout" && name != "shutdown" {
				continue
			}
			t.Run(fmt.Sprintf("%s %v", name, after), func(t *testing.T) {
				bubble.Test(t, func(t *testing.T) {
					b, client := newMemory(t)
					var first atomic.Bool
					d := omniq.DefineNoArgs("notes.state", func(ctx context.Context) (string, error) {
						n, ok, err := noteCursor.Load(ctx)
						if err != nil {
							return "", err
						}
						if first.CompareAndSwap(false, true) {
							assert.False(t, ok)
							if after {
								<-ctx.Done()
							}
							require.NoError(t, noteCursor.Save(ctx, 42))
							return "", c.end(ctx)
						}
						seen, _, err := noteSeen.Load(ctx)
						return fmt.Sprint(n, ok, seen), errors.Join(err, noteSeen.Save(ctx, []string{"b"}))
					})
					h, err := d.Enqueue(t.Context(), client)
					require.NoError(t, err)
					opts := append([]omniq.WorkerOption{omniq.Handlers(d)}, c.opts...)
					w := run(t, b, opts...)
					synctest.Wait()
					if c.restart {
						require.NoError(t, w.stop())
						run(t, b, opts...)
					}
					if name == "cancel" {
						require.NoError(t, h.Cancel(t.Context()))
					}
					if c.requeue {
						_, err = h.Wait(t.Context())
						require.Error(t, err)
						require.NoError(t, client.Requeue(t.Context(), h.ID()))
					}
					got, err := h.Wait(t.Context())
					require.NoError(t, err)
					assert.Equal(t, "42 true []", got)
					info, err := client.Inspect(t.Context(), h.ID())
					require.NoError(t, err)
					assert.Nil(t, info.State, "it has served")
				})
			})
		}
	}
}

// dying is a backend of a worker that dies at a moment: nothing that it asks for is done any more.
type dying struct {
	omniq.Backend
	dead atomic.Bool
}

var errDead = errors.New("nobody is there")

func (d *dying) Extend(ctx context.Context, l []omniq.LeaseID, by time.Duration) ([]error, error) {
	if d.dead.Load() {
		return nil, errDead
	}
	return d.Backend.Extend(ctx, l, by)
}

func (d *dying) Settle(ctx context.Context, s []omniq.Settlement) ([]error, error) {
	if d.dead.Load() {
		return nil, errDead
	}
	return d.Backend.Settle(ctx, s)
}

func (d *dying) Lease(ctx context.Context, r omniq.LeaseRequest) ([]omniq.Lease, error) {
	if d.dead.Load() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return d.Backend.Lease(ctx, r)
}

// A worker that dies right after Save has returned loses nothing of it, and can save nothing once another has the task.
func TestStateOfADeadWorker(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m, client := newMemory(t)
		b := &dying{Backend: m}
		late := make(chan error, 1)
		define := func(f func(context.Context) (int, error)) omniq.WorkerOption {
			return omniq.Handlers(omniq.DefineNoArgs("notes.dying", f))
		}
		first := define(func(ctx context.Context) (int, error) {
			err := noteCursor.Save(ctx, 7)
			b.dead.Store(true)
			time.Sleep(time.Hour)
			late <- noteCursor.Save(ctx, 8)
			return 0, err
		})
		h, err := omniq.ReferNoArgs[int]("notes.dying").Enqueue(t.Context(), client)
		require.NoError(t, err)
		run(t, b, first, omniq.LeaseDuration(10*time.Second))
		synctest.Wait()
		run(t, m, define(func(ctx context.Context) (int, error) {
			n, _, err := noteCursor.Load(ctx)
			time.Sleep(2 * time.Hour)
			return n, err
		}))
		require.ErrorIs(t, <-late, omniq.ErrLeaseLost)
		info, err := client.Inspect(t.Context(), h.ID())
		require.NoError(t, err)
		assert.Equal(t, `{"cursor":7}`, string(info.State))
		got, err := h.Wait(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 7, got)
	})
}

// Keys live beside each other, those of attempts before among them, also when several goroutines save at once.
func TestStateOfSeveralKeys(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		tries := 0
		h := handle(t, b, client, func(ctx context.Context) error {
			switch tries++; tries {
			case 1:
				seen := []string{"a"}
				require.NoError(t, noteSeen.Save(ctx, seen))
				seen[0] = "changed"
				return errOops
			case 2:
				var wg sync.WaitGroup
				for i := range 20 {
					wg.Go(func() { assert.NoError(t, omniq.State[int](fmt.Sprint("key", i)).Save(ctx, i)) })
				}
				wg.Wait()
				return errOops
			}
			seen, ok, err := noteSeen.Load(ctx)
			require.NoError(t, err)
			assert.True(t, ok)
			assert.Equal(t, []string{"a"}, seen)
			for i := range 20 {
				n, ok, err := omniq.State[int](fmt.Sprint("key", i)).Load(ctx)
				require.NoError(t, err)
				assert.True(t, ok)
				assert.Equal(t, i, n)
			}
			_, _, err = omniq.State[int]("seen").Load(ctx)
			require.ErrorIs(t, err, omniq.ErrInvalid)
			return nil
		})
		_, err := h.Wait(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 3, tries)
	})
}

// A Save that fails changes nothing that Load gives; one whose answer is lost is made again.
func TestSaveThatFails(t *testing.T) {
	failing := errors.New("the disk is full")
	for name, c := range map[string]struct {
		fails []error // of the first calls after a first one that went well
		slow  bool    // they take for ever
		ctx   func(context.Context) (context.Context, context.CancelFunc)
		want  error
		calls int
	}{
		"an error":           {fails: []error{failing}, want: failing, calls: 1},
		"lost answers":       {fails: []error{omniq.ErrUncertain, omniq.ErrUncertain}, calls: 3},
		"only lost answers":  {fails: make([]error, 100), want: omniq.ErrUncertain, calls: 6},
		"no answer":          {slow: true, want: omniq.ErrUncertain, calls: 6},
		"a context that has": {ctx: func(ctx context.Context) (context.Context, context.CancelFunc) { return ended(ctx) }, want: context.Canceled},
		"a context that ends": {
			slow: true, want: context.DeadlineExceeded, calls: 1,
			ctx: func(ctx context.Context) (context.Context, context.CancelFunc) {
				return context.WithTimeout(ctx, time.Second)
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				m, client := newMemory(t)
				b := &scribe{Backend: m}
				calls := -1
				b.note = func(ctx context.Context, notes []omniq.LeaseNotes) ([]error, error) {
					calls++
					if calls > 0 && c.slow {
						<-ctx.Done()
						return nil, ctx.Err()
					}
					if i := calls - 1; i >= 0 && i < len(c.fails) {
						if c.fails[i] == nil {
							return nil, omniq.ErrUncertain
						}
						return nil, c.fails[i]
					}
					return m.Note(ctx, notes)
				}
				h := handle(t, b, client, func(ctx context.Context) error {
					require.NoError(t, noteCursor.Save(ctx, 1))
					own, cancel := ctx, context.CancelFunc(func() {})
					if c.ctx != nil {
						own, cancel = c.ctx(ctx)
					}
					defer cancel()
					err := noteCursor.Save(own, 2)
					n, _, loadErr := noteCursor.Load(ctx)
					require.NoError(t, loadErr)
					assert.Equal(t, c.calls, calls)
					if c.want == nil {
						require.NoError(t, err)
						assert.Equal(t, 2, n)
						return nil
					}
					require.ErrorIs(t, err, c.want)
					assert.Equal(t, 1, n)
					return nil
				})
				_, err := h.Wait(t.Context())
				require.NoError(t, err)
			})
		})
	}
}

func ended(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	return ctx, cancel
}

// Handlers that save at once share calls of the engine.
func TestSavesShareCalls(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m, client := newMemory(t)
		b := &scribe{Backend: m}
		b.note = func(ctx context.Context, notes []omniq.LeaseNotes) ([]error, error) {
			time.Sleep(time.Second)
			return m.Note(ctx, notes)
		}
		d := omniq.DefineNoArgsVoid("notes.shared", func(ctx context.Context) error { return noteCursor.Save(ctx, 1) })
		var ids []uuid.UUID
		for range 20 {
			h, err := d.Enqueue(t.Context(), client)
			require.NoError(t, err)
			ids = append(ids, h.ID())
		}
		run(t, b, omniq.Handlers(d), omniq.Concurrency(20))
		for _, id := range ids {
			r, err := client.Wait(t.Context(), id)
			require.NoError(t, err)
			assert.Equal(t, omniq.StatusSuccess, r.Status)
		}
		calls, notes := b.noted()
		assert.Equal(t, 2, calls)
		assert.Equal(t, 20, notes)
	})
}
