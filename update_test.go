package omniq_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/codec"
	"github.com/omniq-go/omniq/internal/bubble"
)

type greeting struct{ Loud bool }

// greet is a task whose result shows its arguments.
func greet(_ context.Context, a omniq.Args1[string], k greeting) (string, error) {
	if a.V1 == "" {
		return "", omniq.Permanent(errors.New("whom?"))
	}
	return fmt.Sprintf("%s %v", a.V1, k.Loud), nil
}

// A task that waits runs with its new arguments, also one that has failed and is enqueued again.
func TestUpdate(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		d := omniq.Define("greet", greet)
		waiting, err := d.Enqueue(t.Context(), client, omniq.MakeArgs1("ada"), greeting{}, omniq.Delay(time.Hour), omniq.Metadata("tenant", "x"))
		require.NoError(t, err)
		before, err := client.Inspect(t.Context(), waiting.ID())
		require.NoError(t, err)
		require.NoError(t, d.Update(t.Context(), client, waiting.ID(), omniq.StatusPending, omniq.MakeArgs1("grace"), greeting{true}))
		after, err := client.Inspect(t.Context(), waiting.ID())
		require.NoError(t, err)
		assert.Equal(t, `["grace"]`, string(after.Task.Args))
		assert.Equal(t, `{"Loud":true}`, string(after.Task.Kwargs))
		before.Task.Args, before.Task.Kwargs = after.Task.Args, after.Task.Kwargs
		assert.Equal(t, before, after, "nothing else changes")

		w := run(t, b, omniq.Handlers(d))
		failed, err := d.Enqueue(t.Context(), client, omniq.MakeArgs1(""), greeting{})
		require.NoError(t, err)
		_, err = failed.Wait(t.Context())
		require.ErrorContains(t, err, "whom?")
		require.NoError(t, d.Update(t.Context(), client, failed.ID(), omniq.StatusFailure, omniq.MakeArgs1("alan"), greeting{}))
		require.NoError(t, client.Requeue(t.Context(), failed.ID()))
		got, err := failed.Wait(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "alan false", got)
		start := time.Now()
		got, err = waiting.Wait(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "grace true", got)
		assert.Equal(t, time.Hour, time.Since(start), "its time is the same")
		require.NoError(t, w.stop())
	})
}

func TestUpdateRefuses(t *testing.T) {
	b, client := newMemory(t)
	d := omniq.Define("greet", greet)
	other := omniq.Refer[omniq.Args1[string], greeting, string]("other")
	any1 := omniq.ReferArgs[omniq.Args1[any], string]("greet")
	started := make(chan struct{})
	slow := omniq.DefineNoArgsVoid("slow", func(ctx context.Context) error { close(started); <-ctx.Done(); return nil })
	w := run(t, b, omniq.Handlers(d, slow), omniq.ShutdownTimeout(0))
	enqueue := func(name string, opts ...omniq.TaskOption) uuid.UUID {
		h, err := d.Enqueue(t.Context(), client, omniq.MakeArgs1(name), greeting{}, opts...)
		require.NoError(t, err)
		return h.ID()
	}
	done, failed, pending := enqueue("ada"), enqueue(""), enqueue("ada", omniq.Delay(time.Hour))
	running, err := slow.Enqueue(t.Context(), client)
	require.NoError(t, err)
	<-started
	for _, id := range []uuid.UUID{done, failed} {
		_, err := client.Wait(t.Context(), id)
		require.NoError(t, err)
	}
	args := omniq.MakeArgs1("x")
	full := func(id uuid.UUID, expected omniq.Status) func() error {
		return func() error { return d.Update(t.Context(), client, id, expected, args, greeting{}) }
	}
	for name, c := range map[string]struct {
		update func() error
		is     error
		want   string
	}{
		"succeeded":     {full(done, omniq.StatusPending), omniq.ErrState, "one that is PENDING"},
		"failed":        {full(failed, omniq.StatusPending), omniq.ErrState, "one that is PENDING"},
		"pending":       {full(pending, omniq.StatusFailure), omniq.ErrState, "one that is FAILURE"},
		"running":       {full(running.ID(), omniq.StatusPending), omniq.ErrState, "RUNNING"},
		"unknown":       {full(uuid.New(), omniq.StatusPending), omniq.ErrNotFound, "update task"},
		"no ID":         {full(uuid.Nil, omniq.StatusPending), omniq.ErrInvalid, "without an ID"},
		"while it runs": {full(pending, omniq.StatusRunning), omniq.ErrInvalid, "want pending, failed, cancelled or expired"},
		"after success": {full(done, omniq.StatusSuccess), omniq.ErrInvalid, "want pending, failed, cancelled or expired"},
		"in no state":   {full(pending, 0), omniq.ErrInvalid, "want pending, failed, cancelled or expired"},
		"of another":    {func() error { return other.Update(t.Context(), client, pending, omniq.StatusPending, args, greeting{}) }, omniq.ErrState, `it is named "greet", want "other"`},
		"not to encode": {func() error {
			return any1.Update(t.Context(), client, pending, omniq.StatusPending, omniq.MakeArgs1[any](make(chan int)))
		}, omniq.ErrInvalid, "chan int"},
		"zero reference": {func() error {
			return omniq.Reference[omniq.NoArgs, omniq.NoKwargs, int]{}.Update(t.Context(), client, pending, omniq.StatusPending, omniq.NoArgs{}, omniq.NoKwargs{})
		}, omniq.ErrInvalid, "func_name"},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.update()
			require.ErrorIs(t, err, c.is)
			assert.ErrorContains(t, err, c.want)
		})
	}
	info, err := client.Inspect(t.Context(), pending)
	require.NoError(t, err)
	assert.Equal(t, `["ada"]`, string(info.Task.Args))
	require.NoError(t, w.stop())
}

func TestUpdateMany(t *testing.T) {
	b, client := newMemory(t)
	d := omniq.Define("greet", greet)
	var ids []uuid.UUID
	const n = 2500 // more than two calls of the backend
	var tasks, updates []omniq.Task[omniq.Args1[string], greeting]
	for i := range n {
		task, err := d.Task(omniq.MakeArgs1("old"), greeting{})
		require.NoError(t, err)
		tasks, ids = append(tasks, task), append(ids, task.ID)
		update, err := d.Task(omniq.MakeArgs1(fmt.Sprint(i)), greeting{true}, omniq.ID(task.ID), omniq.Queue("other"))
		require.NoError(t, err)
		updates = append(updates, update)
	}
	_, err := d.EnqueueMany(t.Context(), client, tasks)
	require.NoError(t, err)
	require.NoError(t, client.Cancel(t.Context(), ids[1], ids[n-1]))
	require.NoError(t, client.Forget(t.Context(), ids[1]))

	err = d.UpdateMany(t.Context(), client, omniq.StatusPending, updates)
	var bulk *omniq.BulkError
	require.ErrorAs(t, err, &bulk)
	require.Len(t, bulk.Refused, 2)
	assert.Equal(t, "update", bulk.Op)
	assert.Equal(t, ids[1], bulk.Refused[0].ID)
	require.ErrorIs(t, bulk.Refused[0].Err, omniq.ErrNotFound)
	assert.Equal(t, ids[n-1], bulk.Refused[1].ID)
	require.ErrorIs(t, bulk.Refused[1].Err, omniq.ErrState)
	for _, i := range []int{0, 2, 1000, n - 2} {
		info, err := client.Inspect(t.Context(), ids[i])
		require.NoError(t, err)
		assert.Equal(t, fmt.Sprintf("[%q]", fmt.Sprint(i)), string(info.Task.Args))
		assert.Equal(t, omniq.DefaultQueue, info.Queue)
	}

	other, err := omniq.Refer[omniq.Args1[string], greeting, string]("other").Task(omniq.MakeArgs1("x"), greeting{})
	require.NoError(t, err)
	err = d.UpdateMany(t.Context(), client, omniq.StatusPending, []omniq.Task[omniq.Args1[string], greeting]{updates[0], other})
	require.ErrorIs(t, err, omniq.ErrInvalid)
	assert.ErrorContains(t, err, `is of "other", and this is "greet"`)
	require.NoError(t, d.UpdateMany(t.Context(), client, omniq.StatusPending, nil))
	require.NoError(t, b.Close())
}

// The shorter references update, too, in the codec of the client.
func TestUpdateOfEachKind(t *testing.T) {
	_, client := newMemory(t, omniq.Codecs(namedCodec{codec.JSON, "zip"}))
	args := omniq.ReferArgs[omniq.Args1[int], int]("args")
	kwargs := omniq.ReferKwargs[greeting, int]("kwargs")
	a, err := args.Enqueue(t.Context(), client, omniq.MakeArgs1(1))
	require.NoError(t, err)
	k, err := kwargs.Enqueue(t.Context(), client, greeting{})
	require.NoError(t, err)
	task := func(id uuid.UUID) *omniq.RawTask {
		info, err := client.Inspect(t.Context(), id)
		require.NoError(t, err)
		assert.Equal(t, "zip", info.Task.Codec)
		return info.Task
	}
	require.NoError(t, args.Update(t.Context(), client, a.ID(), omniq.StatusPending, omniq.MakeArgs1(2)))
	require.NoError(t, kwargs.Update(t.Context(), client, k.ID(), omniq.StatusPending, greeting{true}))
	gotArgs, err := omniq.DecodeTask[omniq.Args1[int], omniq.NoKwargs](*task(a.ID()), namedCodec{codec.JSON, "zip"})
	require.NoError(t, err)
	assert.Equal(t, 2, gotArgs.Args.V1)
	gotKwargs, err := omniq.DecodeTask[omniq.NoArgs, greeting](*task(k.ID()), namedCodec{codec.JSON, "zip"})
	require.NoError(t, err)
	assert.True(t, gotKwargs.Kwargs.Loud)

	third, err := args.Task(omniq.MakeArgs1(3), omniq.ID(a.ID()))
	require.NoError(t, err)
	require.NoError(t, args.UpdateMany(t.Context(), client, omniq.StatusPending, []omniq.Task[omniq.Args1[int], omniq.NoKwargs]{third}))
	quiet, err := kwargs.Task(greeting{}, omniq.ID(k.ID()))
	require.NoError(t, err)
	require.NoError(t, kwargs.UpdateMany(t.Context(), client, omniq.StatusPending, []omniq.Task[omniq.NoArgs, greeting]{quiet}))
	gotArgs, err = omniq.DecodeTask[omniq.Args1[int], omniq.NoKwargs](*task(a.ID()), namedCodec{codec.JSON, "zip"})
	require.NoError(t, err)
	assert.Equal(t, 3, gotArgs.Args.V1)
}

// snoozeOnce snoozes at first.
func snoozeOnce(d time.Duration) func(int) error {
	snoozed := false
	return func(int) error {
		if snoozed {
			return nil
		}
		snoozed = true
		return omniq.Snooze(d)
	}
}

// A task that waits for its time or for a retry runs at once.
func TestRunNow(t *testing.T) {
	for name, c := range map[string]struct {
		opts  []omniq.TaskOption
		errs  func(int) error
		after time.Duration // RunNow comes
		want  []time.Duration
	}{
		"delayed":                  {opts: []omniq.TaskOption{omniq.Delay(time.Hour)}, after: time.Minute, want: seconds(60)},
		"at its time":              {opts: []omniq.TaskOption{omniq.RunAt(time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC))}, after: time.Minute, want: seconds(60)},
		"a retry":                  {errs: failUntil(2, omniq.RetryAfter(time.Hour, errOops)), after: time.Minute, want: seconds(0, 60)},
		"a snooze":                 {errs: snoozeOnce(time.Hour), after: time.Minute, want: seconds(0, 60)},
		"before its TTL is over":   {opts: []omniq.TaskOption{omniq.Delay(time.Hour), omniq.TTL(61 * time.Minute)}, after: time.Minute, want: seconds(60)},
		"the retry after it waits": {errs: failUntil(3, omniq.RetryAfter(time.Hour, errOops)), after: time.Minute, want: seconds(0, 60, 3660)},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				b, client := newMemory(t)
				errs := c.errs
				if errs == nil {
					errs = func(int) error { return nil }
				}
				f := newFailer(errs)
				run(t, b, omniq.Handlers(f))
				h, err := f.Enqueue(t.Context(), client, c.opts...)
				require.NoError(t, err)
				time.Sleep(c.after)
				require.NoError(t, client.RunNow(t.Context(), h.ID()))
				_, err = h.Wait(t.Context())
				require.NoError(t, err)
				assert.Equal(t, c.want, f.starts)
				require.ErrorIs(t, client.RunNow(t.Context(), h.ID()), omniq.ErrState)
				require.ErrorIs(t, client.RunNow(t.Context(), uuid.New()), omniq.ErrNotFound)
			})
		})
	}
}
