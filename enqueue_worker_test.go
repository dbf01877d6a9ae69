package omniq_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/bubble"
)

// A worker's middleware around enqueues sees what its handlers enqueue, with their contexts, and may change it or refuse it.
func TestWorkerUseEnqueue(t *testing.T) {
	type key struct{}
	stamp := omniq.UseEnqueue(func(next omniq.EnqueueFunc) omniq.EnqueueFunc {
		return func(ctx context.Context, tasks []*omniq.RawTask) error {
			for _, task := range tasks {
				task.Metadata = map[string]string{"stamp": fmt.Sprint(ctx.Value(key{}), " ", len(tasks))}
			}
			return next(ctx, tasks)
		}
	})
	refuse := omniq.UseEnqueue(func(next omniq.EnqueueFunc) omniq.EnqueueFunc {
		return func(ctx context.Context, tasks []*omniq.RawTask) error { return omniq.Permanent(errOops) }
	})
	lose := omniq.UseEnqueue(func(next omniq.EnqueueFunc) omniq.EnqueueFunc {
		return func(ctx context.Context, tasks []*omniq.RawTask) error { return next(context.Background(), tasks) }
	})
	for name, c := range map[string]struct {
		use  omniq.EnqueueOption
		want map[string]string // stamps
		err  string
	}{
		"nothing":       {omniq.UseEnqueue(), map[string]string{"child": "", "side": ""}, ""},
		"stamped":       {stamp, map[string]string{"child": "mine 1", "side": "mine 1"}, ""},
		"refused":       {refuse, map[string]string{}, "oops"},
		"another's ctx": {lose, map[string]string{}, "has passed on a context that is not made of the one that it got"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				b, client := newMemory(t)
				stamps := map[string]string{}
				note := func(ctx context.Context) (int, error) {
					info, _ := omniq.InfoFrom(ctx)
					stamps[info.FuncName] = info.Metadata["stamp"]
					return 1, nil
				}
				child, side := omniq.DefineNoArgs("child", note), omniq.DefineNoArgs("side", note)
				parent := omniq.DefineNoArgs("parent", func(ctx context.Context) (int, error) {
					own := context.WithValue(ctx, key{}, "mine")
					if name == "nothing" || name == "stamped" {
						if _, err := omniq.Enqueue(own, side.With()); err != nil {
							return 0, err
						}
					}
					n, err := omniq.Become(own, child.With())
					assert.True(t, omniq.Became(err))
					assert.True(t, omniq.Became(fmt.Errorf("wrapped: %w", err)))
					return n, err
				})
				run(t, b, omniq.Handlers(child, side, parent), omniq.Concurrency(1), c.use)
				h, err := parent.Enqueue(t.Context(), client)
				require.NoError(t, err)
				_, err = h.Wait(t.Context())
				if c.err == "" {
					require.NoError(t, err)
				} else {
					require.ErrorContains(t, err, c.err)
				}
				synctest.Wait()
				assert.Equal(t, c.want, stamps)
			})
		})
	}
	assert.False(t, omniq.Became(errOops))
	assert.False(t, omniq.Became(nil))
}

// Enqueue tells the handler what the middleware has to say.
func TestWorkerUseEnqueueRefuses(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		side := omniq.DefineNoArgs("side", func(context.Context) (int, error) { return 1, nil })
		d := omniq.DefineNoArgsVoid("any", func(ctx context.Context) error {
			_, err := omniq.Enqueue(ctx, side.With())
			assert.ErrorIs(t, err, errOops)
			return nil
		})
		run(t, b, omniq.Handlers(d, side), omniq.UseEnqueue(func(omniq.EnqueueFunc) omniq.EnqueueFunc {
			return func(context.Context, []*omniq.RawTask) error { return errOops }
		}))
		h, err := d.Enqueue(t.Context(), client)
		require.NoError(t, err)
		_, err = h.Wait(t.Context())
		require.NoError(t, err)
		stats, err := client.Stats(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 1, stats[0].Succeeded, "nothing else was enqueued")
		assert.Zero(t, stats[0].Ready)
	})
	for what, option := range map[string]omniq.WorkerOption{
		"a nil middleware around enqueues": omniq.UseEnqueue(nil),
		"has returned nil":                 omniq.UseEnqueue(func(omniq.EnqueueFunc) omniq.EnqueueFunc { return nil }),
	} {
		b, _ := newMemory(t)
		_, err := omniq.NewWorker(b, omniq.Handlers(omniq.DefineNoArgsVoid("any", noop)), option)
		require.ErrorIs(t, err, omniq.ErrInvalid)
		require.ErrorContains(t, err, what)
	}
}

// A middleware around enqueues that takes long keeps the worker from nothing, also after the handler has returned.
func TestWorkerUseEnqueueTakesLong(t *testing.T) {
	b, client := newMemory(t)
	entered, release, added := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	side := omniq.DefineNoArgs("side", func(context.Context) (int, error) { return 1, nil })
	hasty := omniq.DefineNoArgsVoid("hasty", func(ctx context.Context) error {
		go func() {
			_, err := omniq.Enqueue(ctx, side.With())
			added <- err
		}()
		<-entered
		return nil
	})
	run(t, b, omniq.Handlers(hasty, side), omniq.UseEnqueue(func(next omniq.EnqueueFunc) omniq.EnqueueFunc {
		return func(ctx context.Context, tasks []*omniq.RawTask) error {
			close(entered)
			<-release
			return next(ctx, tasks)
		}
	}))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	first, err := hasty.Enqueue(ctx, client)
	require.NoError(t, err)
	_, err = first.Wait(ctx)
	other, otherErr := side.Enqueue(ctx, client)
	if otherErr == nil {
		_, otherErr = other.Wait(ctx)
	}
	close(release)
	require.NoError(t, err, "the handler has returned")
	require.NoError(t, otherErr, "the worker goes on")
	require.ErrorContains(t, <-added, "the attempt has ended already")
	stats, err := client.Stats(ctx)
	require.NoError(t, err)
	assert.Equal(t, 2, stats[0].Succeeded)
	assert.Zero(t, stats[0].Ready, "what was too late is not enqueued")
}

// What a middleware around enqueues refuses of Become is as if the handler had returned it.
func TestWorkerUseEnqueueRefusesBecome(t *testing.T) {
	for name, c := range map[string]struct {
		refuse   error
		attempts int // of the first
	}{
		"an error": {errOops, 2},
		"a snooze": {omniq.Snooze(time.Minute), 1},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				b, client := newMemory(t)
				child := omniq.DefineNoArgs("child", func(context.Context) (int, error) { return 7, nil })
				began := 0
				parent := omniq.DefineNoArgs("parent", func(ctx context.Context) (int, error) {
					began++
					info, _ := omniq.InfoFrom(ctx)
					if began == 2 {
						assert.Equal(t, c.attempts, info.Attempt)
					}
					return omniq.Become(ctx, child.With())
				})
				run(t, b, omniq.Handlers(child, parent), omniq.UseEnqueue(func(next omniq.EnqueueFunc) omniq.EnqueueFunc {
					return func(ctx context.Context, tasks []*omniq.RawTask) error {
						if began == 1 {
							return c.refuse
						}
						return next(ctx, tasks)
					}
				}))
				h, err := parent.Enqueue(t.Context(), client)
				require.NoError(t, err)
				got, err := h.Wait(t.Context())
				require.NoError(t, err)
				assert.Equal(t, 7, got)
				assert.Equal(t, 2, began)
			})
		})
	}
}
