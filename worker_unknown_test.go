package omniq_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/codec"
	"github.com/omniq-go/omniq/internal/bubble"
)

// While a new version is rolled out, old workers meet tasks that they do not know. None fails, and none waits long.
func TestRollingDeployment(t *testing.T) {
	for _, old := range []int{1, 5, 9} {
		t.Run(fmt.Sprint(old), func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				b, client := newMemory(t)
				before := omniq.DefineNoArgsVoid("old", noop)
				added := omniq.DefineNoArgs("new", func(ctx context.Context) (int, error) {
					info, _ := omniq.InfoFrom(ctx)
					time.Sleep(100 * time.Millisecond)
					return info.Attempt, nil
				}, omniq.Retries(0))
				for i := range 10 {
					if i < old {
						run(t, b, omniq.Handlers(before))
					} else {
						run(t, b, omniq.Handlers(before, added))
					}
				}
				synctest.Wait()
				var handles []*omniq.Handle[int]
				for range 200 {
					h, err := added.Enqueue(t.Context(), client)
					require.NoError(t, err)
					handles = append(handles, h)
					time.Sleep(10 * time.Millisecond)
				}
				start := time.Now()
				for _, h := range handles {
					attempt, err := h.Wait(t.Context())
					require.NoError(t, err)
					assert.Equal(t, 1, attempt)
				}
				assert.Less(t, time.Since(start), time.Minute)
			})
		})
	}
}

func TestUnknownTask(t *testing.T) {
	zip := omniq.Codecs(codec.Gzip(codec.JSON))
	known := omniq.DefineArgs("known", func(_ context.Context, a omniq.Args1[int]) (int, error) { return a.V1, nil })
	for name, c := range map[string]struct {
		client []omniq.ClientOption
		task   string
		opts   []omniq.TaskOption
		after  time.Duration // when it ends if no other worker comes
		err    error
		text   string
	}{
		"name":          {nil, "unknown", nil, omniq.MaxUnknown, omniq.ErrUnknownTask, `no worker of this queue with a handler named "unknown"`},
		"name, TTL":     {nil, "unknown", []omniq.TaskOption{omniq.TTL(time.Hour)}, time.Hour, omniq.ErrExpired, "1h0m0s"},
		"long TTL":      {nil, "unknown", []omniq.TaskOption{omniq.TTL(48 * time.Hour)}, 48 * time.Hour, omniq.ErrExpired, "48h0m0s"},
		"codec":         {[]omniq.ClientOption{zip}, "known", nil, omniq.MaxUnknown, omniq.ErrUnknownTask, `no worker of this queue with a codec named "json+gzip"`},
		"codec, TTL":    {[]omniq.ClientOption{zip}, "known", []omniq.TaskOption{omniq.TTL(time.Hour)}, time.Hour, omniq.ErrExpired, "1h0m0s"},
		"never retried": {nil, "unknown", []omniq.TaskOption{omniq.Retries(0)}, omniq.MaxUnknown, omniq.ErrUnknownTask, "no worker"},
	} {
		t.Run(name, func(t *testing.T) {
			enqueue := func(t *testing.T, client *omniq.Client) *omniq.Handle[int] {
				h, err := omniq.ReferArgs[omniq.Args1[int], int](c.task).Enqueue(t.Context(), client, omniq.MakeArgs1(1), c.opts...)
				require.NoError(t, err)
				return h
			}
			t.Run("ends", func(t *testing.T) {
				bubble.Test(t, func(t *testing.T) {
					b, client := newMemory(t, c.client...)
					run(t, b, omniq.Handlers(known))
					h := enqueue(t, client)
					start := time.Now()
					_, err := h.Wait(t.Context())
					require.ErrorIs(t, err, c.err)
					assert.ErrorContains(t, err, c.text)
					assert.InDelta(t, c.after, time.Since(start), float64(2*time.Minute))
					assert.Zero(t, attempts(t, client, h.ID()))
				})
			})
			t.Run("waits for a worker", func(t *testing.T) {
				bubble.Test(t, func(t *testing.T) {
					b, client := newMemory(t, c.client...)
					var log logbook
					old := run(t, b, omniq.Handlers(known), log.option())
					h := enqueue(t, client)
					time.Sleep(10 * time.Minute)
					require.NoError(t, old.stop())
					info, err := client.Inspect(t.Context(), h.ID())
					require.NoError(t, err)
					assert.Equal(t, omniq.StatusPending, info.Status)
					assert.Zero(t, info.Attempts)
					assert.Equal(t, 1, log.count(slog.LevelWarn), "one warning\n%s", &log)
					assert.Zero(t, log.count(slog.LevelError))
					tries := log.count(slog.LevelDebug, "given back for another")
					assert.Greater(t, tries, 10)
					assert.Less(t, tries, 100, "more and more seldom")
					seen := omniq.Define(c.task, func(context.Context, omniq.Raw, omniq.Raw) (int, error) { return 42, nil })
					run(t, b, omniq.Handlers(seen), zip)
					start := time.Now()
					r, err := client.Wait(t.Context(), h.ID())
					require.NoError(t, err)
					assert.Equal(t, omniq.StatusSuccess, r.Status)
					assert.Equal(t, 1, r.Attempts)
					assert.LessOrEqual(t, time.Since(start), 90*time.Second, "a minute and its chance")
				})
			})
		})
	}
}

// What a handler has read elsewhere is not the task's codec: that is a failure like any other.
func TestUnknownCodecOfSomethingElse(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		zipped := newClient(t, b, omniq.Codecs(codec.Gzip(codec.JSON)))
		inner := omniq.DefineNoArgs("inner", func(context.Context) (int, error) { return 1, nil })
		outer := omniq.DefineNoArgs("outer", func(ctx context.Context) (int, error) {
			h, err := inner.Enqueue(ctx, zipped)
			require.NoError(t, err)
			return inner.Attach(client, h.ID()).Wait(ctx)
		}, omniq.Retries(0))
		run(t, b, omniq.Handlers(inner, outer), omniq.Codecs(codec.Gzip(codec.JSON)))
		h, err := outer.Enqueue(t.Context(), client)
		require.NoError(t, err)
		_, err = h.Wait(t.Context())
		assert.ErrorContains(t, err, "not known here")
		assert.Equal(t, 1, attempts(t, client, h.ID()))
	})
}
