package omniq_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/bubble"
)

type resizeArgs struct {
	Path  string
	Width int
}

type resizeOpts struct {
	Quality int `json:"quality,omitempty"`
}

type thumb struct {
	Path string `json:"path"`
	Size int    `json:"size"`
}

func resize(_ context.Context, a resizeArgs, o resizeOpts) (thumb, error) {
	return thumb{a.Path + ".thumb", a.Width * o.Quality}, nil
}

// Every kind of definition, made of a name and of a reference, from its call to its result.
func TestDefinitionsEndToEnd(t *testing.T) {
	type words = omniq.Args1[string]
	var calls []string
	full := omniq.Define("full", resize)
	fullRef := omniq.Define(omniq.Refer[resizeArgs, resizeOpts, thumb]("full ref"), resize)
	void := func(_ context.Context, a resizeArgs, o resizeOpts) error {
		calls = append(calls, fmt.Sprint(a, o))
		return nil
	}
	fullVoid := omniq.DefineVoid("full void", void)
	fullVoidRef := omniq.DefineVoid(omniq.Refer[resizeArgs, resizeOpts, omniq.Void]("full void ref"), void)
	upper := func(_ context.Context, a words) (string, error) { return strings.ToUpper(a.V1), nil }
	args := omniq.DefineArgs("args", upper)
	argsRef := omniq.DefineArgs(omniq.ReferArgs[words, string]("args ref"), upper)
	say := func(_ context.Context, a words) error { calls = append(calls, a.V1); return nil }
	argsVoid := omniq.DefineArgsVoid("args void", say)
	argsVoidRef := omniq.DefineArgsVoid(omniq.ReferArgs[words, omniq.Void]("args void ref"), say)
	quality := func(_ context.Context, o resizeOpts) (int, error) { return o.Quality, nil }
	kwargs := omniq.DefineKwargs("kwargs", quality)
	kwargsRef := omniq.DefineKwargs(omniq.ReferKwargs[resizeOpts, int]("kwargs ref"), quality)
	note := func(_ context.Context, o resizeOpts) error { calls = append(calls, fmt.Sprint(o.Quality)); return nil }
	kwargsVoid := omniq.DefineKwargsVoid("kwargs void", note)
	kwargsVoidRef := omniq.DefineKwargsVoid(omniq.ReferKwargs[resizeOpts, omniq.Void]("kwargs void ref"), note)
	seven := func(context.Context) (int, error) { return 7, nil }
	none := omniq.DefineNoArgs("none", seven)
	noneRef := omniq.DefineNoArgs(omniq.ReferNoArgs[int]("none ref"), seven)
	tick := func(context.Context) error { calls = append(calls, "tick"); return nil }
	noneVoid := omniq.DefineNoArgsVoid("none void", tick)
	noneVoidRef := omniq.DefineNoArgsVoid(omniq.ReferNoArgs[omniq.Void]("none void ref"), tick)

	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		run(t, b, omniq.Concurrency(1), omniq.Handlers(full, fullRef, fullVoid, fullVoidRef, args, argsRef, argsVoid, argsVoidRef,
			kwargs, kwargsRef, kwargsVoid, kwargsVoidRef, none, noneRef, noneVoid, noneVoidRef))
		ctx := t.Context()
		a, k, w := resizeArgs{"a.png", 640}, resizeOpts{Quality: 2}, omniq.MakeArgs1("word")

		for _, d := range []omniq.Definition[resizeArgs, resizeOpts, thumb]{full, fullRef} {
			expect(t, thumb{"a.png.thumb", 1280}, one(d.Enqueue(ctx, client, a, k)))
			task, err := d.Task(a, k)
			expect(t, thumb{"a.png.thumb", 1280}, many(task, err, client, d.EnqueueMany))
		}
		for _, d := range []omniq.Definition[resizeArgs, resizeOpts, omniq.Void]{fullVoid, fullVoidRef} {
			expect(t, omniq.Void{}, one(d.Enqueue(ctx, client, a, k)))
		}
		for _, d := range []omniq.ArgsDefinition[words, string]{args, argsRef} {
			expect(t, "WORD", one(d.Enqueue(ctx, client, w)))
			task, err := d.Task(w)
			expect(t, "WORD", many(task, err, client, d.EnqueueMany))
		}
		for _, d := range []omniq.ArgsDefinition[words, omniq.Void]{argsVoid, argsVoidRef} {
			expect(t, omniq.Void{}, one(d.Enqueue(ctx, client, w)))
		}
		for _, d := range []omniq.KwargsDefinition[resizeOpts, int]{kwargs, kwargsRef} {
			expect(t, 2, one(d.Enqueue(ctx, client, k)))
			task, err := d.Task(k)
			expect(t, 2, many(task, err, client, d.EnqueueMany))
		}
		for _, d := range []omniq.KwargsDefinition[resizeOpts, omniq.Void]{kwargsVoid, kwargsVoidRef} {
			expect(t, omniq.Void{}, one(d.Enqueue(ctx, client, k)))
		}
		for _, d := range []omniq.NoArgsDefinition[int]{none, noneRef} {
			expect(t, 7, one(d.Enqueue(ctx, client)))
			task, err := d.Task()
			expect(t, 7, many(task, err, client, d.EnqueueMany))
		}
		for _, d := range []omniq.NoArgsDefinition[omniq.Void]{noneVoid, noneVoidRef} {
			expect(t, omniq.Void{}, one(d.Enqueue(ctx, client)))
		}
		assert.Equal(t, []string{"{a.png 640} {2}", "{a.png 640} {2}", "word", "word", "2", "2", "tick", "tick"}, calls)
	})
}

// enqueued is what Enqueue returns.
type enqueued[R any] struct {
	handle *omniq.Handle[R]
	err    error
}

func one[R any](h *omniq.Handle[R], err error) enqueued[R] { return enqueued[R]{h, err} }

func many[A, K, R any](task omniq.Task[A, K], err error, c *omniq.Client,
	enqueue func(context.Context, *omniq.Client, []omniq.Task[A, K]) ([]*omniq.Handle[R], error),
) enqueued[R] {
	if err != nil {
		return enqueued[R]{nil, err}
	}
	handles, err := enqueue(context.Background(), c, []omniq.Task[A, K]{task})
	if err != nil {
		return enqueued[R]{nil, err}
	}
	if handles[0].ID() != task.ID {
		err = fmt.Errorf("handle of %v for task %v", handles[0].ID(), task.ID)
	}
	return enqueued[R]{handles[0], err}
}

func expect[R any](t *testing.T, want R, e enqueued[R]) {
	t.Helper()
	require.NoError(t, e.err)
	got, err := e.handle.Wait(t.Context())
	require.NoError(t, err)
	assert.Equal(t, want, got)
}

func TestNames(t *testing.T) {
	assert.Equal(t, "n", omniq.Define("n", resize).Name())
	assert.Equal(t, "n", omniq.ReferArgs[resizeArgs, int]("n").Name())
	assert.Equal(t, "n", omniq.ReferKwargs[resizeOpts, int]("n").Name())
	assert.Equal(t, "n", omniq.DefineNoArgs(omniq.ReferNoArgs[int]("n"), func(context.Context) (int, error) { return 0, nil }).Name())
}

func TestDefinitionsThatCannotBe(t *testing.T) {
	fn := func(context.Context, resizeArgs) (int, error) { return 0, nil }
	for name, c := range map[string]struct {
		make func()
		want string
	}{
		"no name":           {func() { omniq.DefineArgs("", fn) }, "func_name is empty"},
		"bad name":          {func() { omniq.DefineArgs("a\nb", fn) }, "control characters"},
		"long name":         {func() { omniq.ReferArgs[resizeArgs, int](strings.Repeat("x", 256)) }, "has 256 bytes"},
		"nil function":      {func() { omniq.Define[resizeArgs, resizeOpts, thumb]("a", nil) }, `task "a": its function is nil`},
		"nil void":          {func() { omniq.DefineVoid[resizeArgs, resizeOpts]("a", nil) }, "its function is nil"},
		"nil args":          {func() { omniq.DefineArgs[resizeArgs, int]("a", nil) }, "its function is nil"},
		"nil args void":     {func() { omniq.DefineArgsVoid[resizeArgs]("a", nil) }, "its function is nil"},
		"nil kwargs":        {func() { omniq.DefineKwargs[resizeOpts, int]("a", nil) }, "its function is nil"},
		"nil kwargs void":   {func() { omniq.DefineKwargsVoid[resizeOpts]("a", nil) }, "its function is nil"},
		"nil none":          {func() { omniq.DefineNoArgs[int]("a", nil) }, "its function is nil"},
		"nil none void":     {func() { omniq.DefineNoArgsVoid("a", nil) }, "its function is nil"},
		"args are named":    {func() { omniq.ReferArgs[map[string]int, int]("a") }, "args type map[string]int is named"},
		"args are one":      {func() { omniq.ReferArgs[int, int]("a") }, "args type int"},
		"kwargs are one":    {func() { omniq.ReferKwargs[int, int]("a") }, "kwargs type int"},
		"an ID for all":     {func() { omniq.ReferArgs[resizeArgs, int]("a", omniq.ID(uuid.New())) }, "ID is of one task"},
		"bad default":       {func() { omniq.DefineArgs("a", fn, omniq.Queue("a b")) }, `queue "a b"`},
		"reference of none": {func() { omniq.DefineArgs(omniq.ArgsReference[resizeArgs, int]{}, fn) }, "func_name is empty"},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				v := recover()
				require.NotNil(t, v, "it must panic")
				assert.Contains(t, v, "omniq: task ")
				assert.Contains(t, v, c.want)
			}()
			c.make()
		})
	}
}

func TestDefaultsAndTheirOverriding(t *testing.T) {
	ref := omniq.Refer[resizeArgs, resizeOpts, thumb]("t", omniq.Queue("images"), omniq.Retries(5), omniq.Metadata("a", "ref"))
	d := omniq.Define(ref, resize, omniq.Retries(7), omniq.Metadata("b", "def"), omniq.TTL(time.Hour))

	task, err := ref.Task(resizeArgs{}, resizeOpts{})
	require.NoError(t, err)
	assert.Equal(t, "images", task.Queue)
	assert.Equal(t, 6, task.MaxAttempts)
	assert.Equal(t, map[string]string{"a": "ref"}, task.Metadata, "the definition does not change its reference")
	assert.Nil(t, task.TTL)

	first, err := d.Task(resizeArgs{}, resizeOpts{}, omniq.Queue("other"), omniq.Metadata("b", "call"), omniq.ID(uuid.Max))
	require.NoError(t, err)
	assert.Equal(t, uuid.Max, first.ID)
	assert.Equal(t, "other", first.Queue)
	assert.Equal(t, 8, first.MaxAttempts)
	assert.Equal(t, map[string]string{"a": "ref", "b": "call"}, first.Metadata)

	second, err := d.Task(resizeArgs{"x", 1}, resizeOpts{3})
	require.NoError(t, err)
	assert.Equal(t, "images", second.Queue, "a call does not change the definition")
	assert.Equal(t, map[string]string{"a": "ref", "b": "def"}, second.Metadata)
	assert.Equal(t, time.Hour, *second.TTL)
	assert.Equal(t, resizeArgs{"x", 1}, second.Args)
	assert.Equal(t, resizeOpts{3}, second.Kwargs)
	assert.EqualValues(t, 7, second.ID.Version())

	_, err = d.Task(resizeArgs{}, resizeOpts{}, omniq.Delay(2*time.Hour))
	require.ErrorIs(t, err, omniq.ErrInvalid)
	assert.ErrorContains(t, err, "could never start")
	_, err = d.Task(resizeArgs{}, resizeOpts{}, omniq.Delay(-1))
	require.ErrorIs(t, err, omniq.ErrInvalid)
}

func TestZeroReference(t *testing.T) {
	_, client := newMemory(t)
	var none omniq.Reference[resizeArgs, resizeOpts, thumb]
	_, err := none.Task(resizeArgs{}, resizeOpts{})
	require.ErrorIs(t, err, omniq.ErrInvalid)
	_, err = none.Enqueue(t.Context(), client, resizeArgs{}, resizeOpts{})
	require.ErrorIs(t, err, omniq.ErrInvalid)
	assert.ErrorContains(t, err, "that Refer has not made")
}

func TestEnqueueManyRefuses(t *testing.T) {
	_, client := newMemory(t)
	d := omniq.ReferArgs[omniq.Args1[float64], int]("mine")
	fine, err := d.Task(omniq.MakeArgs1(1.0))
	require.NoError(t, err)
	foreign, err := omniq.ReferArgs[omniq.Args1[float64], int]("theirs").Task(omniq.MakeArgs1(1.0))
	require.NoError(t, err)
	infinite, err := d.Task(omniq.MakeArgs1(inf()))
	require.NoError(t, err)
	queueless := fine
	queueless.Queue = "a b"
	for name, c := range map[string]struct {
		bad  omniq.Task[omniq.Args1[float64], omniq.NoKwargs]
		want string
	}{
		"of another task": {foreign, `is of "theirs", and this is "mine"`},
		"not encodable":   {infinite, "args"},
		"not valid":       {queueless, `queue "a b"`},
		"zero":            {omniq.Task[omniq.Args1[float64], omniq.NoKwargs]{}, "without an ID"},
	} {
		t.Run(name, func(t *testing.T) {
			handles, err := d.EnqueueMany(t.Context(), client, []omniq.Task[omniq.Args1[float64], omniq.NoKwargs]{fine, c.bad})
			assert.ErrorContains(t, err, "task 2 of 2")
			require.ErrorContains(t, err, c.want)
			assert.Nil(t, handles)
			_, err = client.Result(t.Context(), fine.ID)
			require.ErrorIs(t, err, omniq.ErrNotFound, "all or none")
		})
	}
	handles, err := d.EnqueueMany(t.Context(), client, nil)
	require.NoError(t, err)
	assert.Empty(t, handles)
}

func inf() float64 {
	var zero float64
	return 1 / zero
}
