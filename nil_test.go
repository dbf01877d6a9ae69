package omniq_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
)

// Whoever has no client, because nobody has looked at an error, is told so by each call.
func TestNoClient(t *testing.T) {
	type none = omniq.NoArgs
	noTask := omniq.RawTask{ID: uuid.New(), FuncName: "f"}
	ref := omniq.ReferNoArgs[int]("f")
	signal := omniq.DefineSignal[int]("s")
	full := omniq.Refer[none, omniq.NoKwargs, int]("f")
	args := omniq.ReferArgs[omniq.Args1[int], int]("f")
	kwargs := omniq.ReferKwargs[greeting, int]("f")
	task, err := full.Task(none{}, omniq.NoKwargs{})
	require.NoError(t, err)
	second := func(_ any, err error) error { return err }
	cursor := omniq.CursorOldest
	calls := map[string]func(context.Context, *omniq.Client) error{
		"Enqueue":       func(ctx context.Context, c *omniq.Client) error { return c.Enqueue(ctx, noTask) },
		"Enqueue none":  func(ctx context.Context, c *omniq.Client) error { return c.Enqueue(ctx) },
		"typed Enqueue": func(ctx context.Context, c *omniq.Client) error { return second(ref.Enqueue(ctx, c)) },
		"EnqueueMany": func(ctx context.Context, c *omniq.Client) error {
			return second(full.EnqueueMany(ctx, c, []omniq.Task[none, omniq.NoKwargs]{task}))
		},
		"Through": func(ctx context.Context, c *omniq.Client) error { return c.Through(memory.New()).Enqueue(ctx, noTask) },
		"Result":  func(ctx context.Context, c *omniq.Client) error { return second(c.Result(ctx, noTask.ID)) },
		"Wait":    func(ctx context.Context, c *omniq.Client) error { return second(c.Wait(ctx, noTask.ID)) },
		"Cancel":  func(ctx context.Context, c *omniq.Client) error { return c.Cancel(ctx, noTask.ID) },
		"Requeue": func(ctx context.Context, c *omniq.Client) error { return c.Requeue(ctx, noTask.ID) },
		"Forget":  func(ctx context.Context, c *omniq.Client) error { return c.Forget(ctx, noTask.ID) },
		"RunNow":  func(ctx context.Context, c *omniq.Client) error { return c.RunNow(ctx, noTask.ID) },
		"Tx": func(ctx context.Context, c *omniq.Client) error {
			return c.Tx(memory.New().Begin()).Enqueue(ctx, noTask)
		},
		"Tx nil": func(ctx context.Context, c *omniq.Client) error { return c.Tx(nil).Enqueue(ctx, noTask) },
		"no IDs": func(ctx context.Context, c *omniq.Client) error {
			return errors.Join(c.Cancel(ctx), c.Requeue(ctx), c.RunNow(ctx), c.Forget(ctx))
		},
		"Update": func(ctx context.Context, c *omniq.Client) error {
			return full.Update(ctx, c, noTask.ID, omniq.StatusPending, none{}, omniq.NoKwargs{})
		},
		"UpdateMany": func(ctx context.Context, c *omniq.Client) error {
			return full.UpdateMany(ctx, c, omniq.StatusPending, []omniq.Task[none, omniq.NoKwargs]{task})
		},
		"Update of none": func(ctx context.Context, c *omniq.Client) error {
			return full.UpdateMany(ctx, c, omniq.StatusPending, nil)
		},
		"args' Update": func(ctx context.Context, c *omniq.Client) error {
			return args.Update(ctx, c, noTask.ID, omniq.StatusPending, omniq.MakeArgs1(1))
		},
		"kwargs' Update": func(ctx context.Context, c *omniq.Client) error {
			return kwargs.Update(ctx, c, noTask.ID, omniq.StatusPending, greeting{})
		},
		"FreeKey":     func(ctx context.Context, c *omniq.Client) error { return c.FreeKey(ctx, "f", "k") },
		"CancelQueue": func(ctx context.Context, c *omniq.Client) error { return second(c.CancelQueue(ctx, "q")) },
		"Inspect":     func(ctx context.Context, c *omniq.Client) error { return second(c.Inspect(ctx, noTask.ID)) },
		"Stats":       func(ctx context.Context, c *omniq.Client) error { return second(c.Stats(ctx)) },
		"Pause":       func(ctx context.Context, c *omniq.Client) error { return c.Pause(ctx, "q") },
		"Resume":      func(ctx context.Context, c *omniq.Client) error { return c.Resume(ctx, "q") },
		"List": func(ctx context.Context, c *omniq.Client) (err error) {
			for _, err = range c.List(ctx, omniq.StatusPending, "") {
				assert.Error(t, err)
			}
			return err
		},
		"Events": func(ctx context.Context, c *omniq.Client) (err error) {
			for _, err = range c.Events(ctx, &cursor) {
				assert.Error(t, err)
			}
			return err
		},
		"Follow": func(ctx context.Context, c *omniq.Client) (err error) {
			for _, err = range c.Follow(ctx, &cursor) {
				assert.Error(t, err)
			}
			return err
		},
		"Flow's Stats":   func(ctx context.Context, c *omniq.Client) error { return second(c.Flow(noTask.ID).Stats(ctx)) },
		"Flow's Wait":    func(ctx context.Context, c *omniq.Client) error { return second(c.Flow(noTask.ID).Wait(ctx)) },
		"Flow's Cancel":  func(ctx context.Context, c *omniq.Client) error { return second(c.Flow(noTask.ID).Cancel(ctx)) },
		"Flow's Requeue": func(ctx context.Context, c *omniq.Client) error { return second(c.Flow(noTask.ID).Requeue(ctx)) },
		"Flow's RequeueFailed": func(ctx context.Context, c *omniq.Client) error {
			return second(c.Flow(noTask.ID).RequeueFailed(ctx))
		},
		"Flow's Tasks": func(ctx context.Context, c *omniq.Client) (err error) {
			for _, err = range c.Flow(noTask.ID).Tasks(ctx) {
				assert.Error(t, err)
			}
			return err
		},
		"a signal's Send":     func(ctx context.Context, c *omniq.Client) error { return signal.Send(ctx, c, noTask.ID, 1) },
		"a signal's Fail":     func(ctx context.Context, c *omniq.Client) error { return signal.Fail(ctx, c, noTask.ID, errOops) },
		"a promise's Enqueue": func(ctx context.Context, c *omniq.Client) error { return second(signal.Promise().Enqueue(ctx, c)) },
		"the handle's Flow":   func(ctx context.Context, c *omniq.Client) error { return second(ref.Attach(c, noTask.ID).Flow(ctx)) },
		"the handle's Wait":   func(ctx context.Context, c *omniq.Client) error { return second(ref.Attach(c, noTask.ID).Wait(ctx)) },
		"the handle's Result": func(ctx context.Context, c *omniq.Client) error { return second(ref.Attach(c, noTask.ID).Result(ctx)) },
		"the handle's Status": func(ctx context.Context, c *omniq.Client) error { return second(ref.Attach(c, noTask.ID).Status(ctx)) },
		"the handle's Cancel": func(ctx context.Context, c *omniq.Client) error { return ref.Attach(c, noTask.ID).Cancel(ctx) },
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			for _, c := range []*omniq.Client{nil, new(omniq.Client)} {
				err := call(t.Context(), c)
				require.ErrorIs(t, err, omniq.ErrInvalid)
				require.ErrorContains(t, err, "the client is nil or empty: make one with NewClient")
			}
		})
	}
}

// So is whoever has no handle, or gives a nil where something is needed.
func TestNothingWhereSomethingIsNeeded(t *testing.T) {
	ctx := t.Context()
	var h *omniq.Handle[int]
	_, wait := h.Wait(ctx)
	_, result := h.Result(ctx)
	_, status := h.Status(ctx)
	_, flow := h.Flow(ctx)
	for _, err := range []error{wait, result, status, flow, h.Cancel(ctx)} {
		require.ErrorIs(t, err, omniq.ErrInvalid)
		require.ErrorContains(t, err, "the handle is nil: the task was not enqueued")
	}
	_, client := newMemory(t)
	_, err := omniq.ReferNoArgs[int]("f").Enqueue(ctx, client.Through(nil))
	require.ErrorIs(t, err, omniq.ErrInvalid)
	require.ErrorContains(t, err, "Through nil")
	for _, err := range client.Follow(ctx, nil) {
		require.ErrorIs(t, err, omniq.ErrInvalid)
		require.ErrorContains(t, err, "the cursor is nil")
	}
}
