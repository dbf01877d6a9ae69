package omniq_test

import (
	"context"
	"errors"
	"fmt"
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

func TestOnHeldText(t *testing.T) {
	for i, want := range []string{"REFUSE", "REPLACE", "BEHIND"} {
		o := omniq.OnHeld(i)
		assert.Equal(t, want, o.String())
		text, err := o.MarshalText()
		require.NoError(t, err)
		again := omniq.OnHeld(9)
		require.NoError(t, again.UnmarshalText(text))
		assert.Equal(t, o, again)
	}
	_, err := omniq.OnHeld(3).MarshalText()
	require.ErrorContains(t, err, "3 is no rule for a key that is held, want one of [REFUSE REPLACE BEHIND]")
	assert.Equal(t, "OnHeld(3)", omniq.OnHeld(3).String())
	var o omniq.OnHeld
	assert.ErrorContains(t, o.UnmarshalText([]byte("replace")), `"replace" is no rule`)
}

var indexed = omniq.ReferArgs[omniq.Args1[string], string]("index")

func TestOptionsOfHeldKeys(t *testing.T) {
	tests := []struct {
		name string
		opts []omniq.TaskOption
		want omniq.RawTask
	}{
		{"replace", []omniq.TaskOption{omniq.Replace("k")}, omniq.RawTask{UniqueKey: "k", OnHeld: omniq.HeldReplace}},
		{"latest", []omniq.TaskOption{omniq.Latest("k"), omniq.Delay(time.Second)}, omniq.RawTask{UniqueKey: "k", OnHeld: omniq.HeldBehind, Delay: time.Second}},
		{"debounce", []omniq.TaskOption{omniq.RunAt(time.Now()), omniq.Debounce("k", time.Second+1, 5*time.Second+1)}, omniq.RawTask{
			UniqueKey: "k", OnHeld: omniq.HeldReplace, Delay: time.Second, ReplaceWithin: 5 * time.Second,
		}},
		{"without a bound", []omniq.TaskOption{omniq.Debounce("k", time.Second, 0)}, omniq.RawTask{
			UniqueKey: "k", OnHeld: omniq.HeldReplace, Delay: time.Second,
		}},
		{"the last one counts", []omniq.TaskOption{omniq.Debounce("a", time.Second, time.Hour), omniq.Delay(0), omniq.UniqueFor("k", time.Hour)}, omniq.RawTask{
			UniqueKey: "k", UniqueFor: time.Hour,
		}},
		{"and the other way round", []omniq.TaskOption{omniq.UniqueFor("a", time.Hour), omniq.Latest("k")}, omniq.RawTask{
			UniqueKey: "k", OnHeld: omniq.HeldBehind,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			task, err := indexed.Task(omniq.MakeArgs1("a"), tt.opts...)
			require.NoError(t, err)
			require.NoError(t, task.Validate())
			raw, err := task.Encode(nil)
			require.NoError(t, err)
			got := omniq.RawTask{UniqueKey: raw.UniqueKey, UniqueFor: raw.UniqueFor, OnHeld: raw.OnHeld, Delay: raw.Delay, ReplaceWithin: raw.ReplaceWithin}
			assert.Equal(t, tt.want, got)
			assert.True(t, raw.RunAt.IsZero())
			again, err := omniq.DecodeTask[omniq.Args1[string], omniq.NoKwargs](raw)
			require.NoError(t, err)
			assert.Equal(t, task, again)
		})
	}
	for _, bad := range []omniq.TaskOption{
		omniq.Replace(""), omniq.Latest("a\n"), omniq.Debounce("", time.Second, 0), omniq.Debounce("k", 0, time.Second),
		omniq.Debounce("k", time.Second, time.Second-1), omniq.Debounce("k", time.Second, -1), omniq.Debounce("k", 999, 0),
	} {
		_, err := indexed.Task(omniq.MakeArgs1("a"), bad)
		assert.ErrorIs(t, err, omniq.ErrInvalid)
	}
}

// The handle, and in a raw slice the ID, is that of the task that is stored.
func TestEnqueueOfWhatTakesAPlace(t *testing.T) {
	_, client := newMemory(t)
	first, err := indexed.Enqueue(t.Context(), client, omniq.MakeArgs1("a"), omniq.Unique("k"))
	require.NoError(t, err)
	h, err := indexed.Enqueue(t.Context(), client, omniq.MakeArgs1("b"), omniq.Replace("k"))
	require.NoError(t, err)
	assert.Equal(t, first.ID(), h.ID())

	other, err := indexed.Task(omniq.MakeArgs1("c"), omniq.Unique("k"))
	require.NoError(t, err)
	tasks := []omniq.Task[omniq.Args1[string], omniq.NoKwargs]{other}
	for _, opts := range [][]omniq.TaskOption{{omniq.Replace("k")}, {omniq.Replace("new")}, {omniq.Latest("new")}, {omniq.Delay(time.Hour)}} {
		task, err := indexed.Task(omniq.MakeArgs1("d"), opts...)
		require.NoError(t, err)
		tasks = append(tasks, task)
	}
	handles, err := indexed.EnqueueMany(t.Context(), client, tasks)
	var taken *omniq.DuplicateError
	require.ErrorAs(t, err, &taken, "the plain one is refused")
	assert.Equal(t, []omniq.Duplicate{{ID: other.ID, Holder: first.ID()}}, taken.Duplicates)
	require.Len(t, handles, 5)
	for i, want := range []uuid.UUID{first.ID(), first.ID(), tasks[2].ID, tasks[2].ID, tasks[4].ID} {
		assert.Equal(t, want, handles[i].ID(), i)
	}
	handles, err = indexed.EnqueueMany(t.Context(), client, tasks[1:2])
	require.NoError(t, err)
	assert.Equal(t, first.ID(), handles[0].ID())
	assert.NotEqual(t, first.ID(), tasks[1].ID, "the caller's tasks stay as they are")

	raw := rawTask()
	raw.FuncName, raw.UniqueKey, raw.OnHeld = "index", "k", omniq.HeldReplace
	plain := rawTask()
	slice := []omniq.RawTask{plain, raw}
	require.NoError(t, client.Enqueue(t.Context(), slice...))
	assert.Equal(t, []uuid.UUID{plain.ID, first.ID()}, []uuid.UUID{slice[0].ID, slice[1].ID})
	require.NoError(t, client.Enqueue(t.Context(), raw))
	info, err := client.Inspect(t.Context(), first.ID())
	require.NoError(t, err)
	assert.Equal(t, string(raw.Args), string(info.Task.Args))
}

// Middleware sees no error, and afterwards under which ID a task is stored.
func TestMiddlewareOfWhatTakesAPlace(t *testing.T) {
	b, _ := newMemory(t)
	var ids []uuid.UUID
	client, err := omniq.NewClient(b, omniq.UseEnqueue(func(next omniq.EnqueueFunc) omniq.EnqueueFunc {
		return func(ctx context.Context, tasks []*omniq.RawTask) error {
			err := next(ctx, tasks)
			ids = append(ids, tasks[0].ID)
			return err
		}
	}))
	require.NoError(t, err)
	for range 2 {
		_, err := indexed.Enqueue(t.Context(), client, omniq.MakeArgs1("a"), omniq.Replace("k"))
		require.NoError(t, err)
	}
	assert.Equal(t, ids[0], ids[1])
}

// A call that takes the place of another task is that one, for those that depend on it, and is no member of the flow.
func TestPromiseOfWhatTakesAPlace(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		shout := omniq.DefineArgs("shout", func(_ context.Context, a omniq.Args1[string]) (omniq.Args1[string], error) {
			return omniq.MakeArgs1(a.V1 + "!"), nil
		})
		there, err := shout.Enqueue(t.Context(), client, omniq.MakeArgs1("old"), omniq.Replace("k"))
		require.NoError(t, err)
		length := omniq.DefineArgs("length", func(_ context.Context, s omniq.Args1[string]) (int, error) { return len(s.V1), nil })
		p := shout.With(omniq.MakeArgs1("newer"), omniq.Replace("k"))
		h, err := length.On(p).Enqueue(t.Context(), client)
		require.NoError(t, err)
		again, err := length.On(p).Enqueue(t.Context(), client)
		require.NoError(t, err, "a promise that took a place can be part of another graph")
		alone, err := shout.With(omniq.MakeArgs1("newest"), omniq.Debounce("k", time.Second, 0)).Enqueue(t.Context(), client)
		require.NoError(t, err)
		assert.Equal(t, there.ID(), alone.ID())
		_, err = alone.Flow(t.Context())
		require.ErrorIs(t, err, omniq.ErrInvalid, "it is a member of none")
		_, err = shout.On(p, omniq.Replace("l")).Enqueue(t.Context(), client)
		require.ErrorIs(t, err, omniq.ErrInvalid)
		require.ErrorContains(t, err, "it has dependencies, which it would lose")
		run(t, b, omniq.Handlers(shout, length))
		for _, h := range []*omniq.Handle[int]{h, again} {
			n, err := h.Wait(t.Context())
			require.NoError(t, err)
			assert.Equal(t, len("newest!"), n)
		}
	})
}

// A steady stream of enqueues runs at the latest when the longest time is over, and then begins anew.
func TestDebounce(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		start := time.Now()
		var ran []string
		index := omniq.DefineArgs("index", func(_ context.Context, a omniq.Args1[int]) (omniq.Void, error) {
			ran = append(ran, fmt.Sprint(time.Since(start), " ", a.V1))
			return omniq.Void{}, nil
		}, omniq.Debounce("k", time.Second, 5*time.Second))
		run(t, b, omniq.Handlers(index))
		for i := range 16 {
			_, err := index.Enqueue(t.Context(), client, omniq.MakeArgs1(i))
			require.NoError(t, err)
			time.Sleep(490 * time.Millisecond)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Equal(t, []string{"5s 10", "8.35s 15"}, ran)
		stats, err := client.Stats(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 2, stats[0].Succeeded)
	})
}

// While one runs, the latest of the others waits, and none runs beside it.
func TestLatest(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		start := time.Now()
		var ran []string
		sync := omniq.DefineArgs("sync", func(ctx context.Context, a omniq.Args1[int]) (int, error) {
			ran = append(ran, fmt.Sprint(time.Since(start), " ", a.V1))
			time.Sleep(10 * time.Second)
			if info, _ := omniq.InfoFrom(ctx); a.V1 == 0 && info.Attempt == 1 {
				return 0, omniq.RetryAfter(5*time.Second, errors.New("again"))
			}
			return a.V1, nil
		}, omniq.Latest("k"))
		run(t, b, omniq.Handlers(sync), omniq.Concurrency(4))
		var handles []*omniq.Handle[int]
		for i := range 5 {
			h, err := sync.Enqueue(t.Context(), client, omniq.MakeArgs1(i))
			require.NoError(t, err)
			handles = append(handles, h)
			time.Sleep(time.Second)
		}
		for i, want := range []int{0, 4, 4, 4, 4} {
			got, err := handles[i].Wait(t.Context())
			require.NoError(t, err)
			assert.Equal(t, want, got)
		}
		synctest.Wait()
		assert.Equal(t, []string{"0s 0", "15s 0", "25s 4"}, ran)
	})
}

// What a handler enqueues takes places, too, if it succeeds.
func TestHandlerEnqueuesWhatTakesAPlace(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		runs := 0
		index := omniq.DefineArgs("index", func(_ context.Context, _ omniq.Args1[int]) (omniq.Void, error) {
			runs++
			return omniq.Void{}, nil
		}, omniq.Debounce("k", time.Minute, 0))
		change := omniq.DefineArgs("change", func(ctx context.Context, a omniq.Args1[int]) (omniq.Void, error) {
			_, err := omniq.Enqueue(ctx, index.With(a))
			return omniq.Void{}, err
		})
		run(t, b, omniq.Handlers(index, change))
		for i := range 5 {
			h, err := change.Enqueue(t.Context(), client, omniq.MakeArgs1(i))
			require.NoError(t, err)
			_, err = h.Wait(t.Context())
			require.NoError(t, err)
			time.Sleep(time.Second)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		assert.Equal(t, 1, runs)
	})
}

// The runs of a schedule go by the same key as other enqueues. They are members of no flow.
func TestScheduleOfWhatTakesAPlace(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		var ran []string
		start := time.Now()
		index := omniq.DefineArgs("index", func(_ context.Context, a omniq.Args1[string]) (omniq.Void, error) {
			ran = append(ran, fmt.Sprint(time.Since(start), " ", a.V1))
			time.Sleep(150 * time.Second)
			return omniq.Void{}, nil
		}, omniq.Latest("k"))
		s, err := omniq.Schedule(t.Context(), client, "index", omniq.Every(time.Minute), index.With(omniq.MakeArgs1("tick")), omniq.MaxRuns(4))
		require.NoError(t, err)
		run(t, b, omniq.Handlers(index), omniq.Concurrency(4))
		time.Sleep(4*time.Minute + 30*time.Second)
		_, err = index.Enqueue(t.Context(), client, omniq.MakeArgs1("mine"))
		require.NoError(t, err)
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Len(t, ran, 3)
		assert.Contains(t, ran[0], "tick")
		assert.Contains(t, ran[1], "tick")
		assert.Contains(t, ran[2], "mine")
		d, err := s.Describe(t.Context())
		require.NoError(t, err)
		assert.EqualValues(t, 4, d.Counts.Runs)
	})
}

// A repeat after a lost answer replaces again, and is no error.
func TestLostAnswerOfWhatTakesAPlace(t *testing.T) {
	for kind, shared := range map[string]bool{"alone": false, "gathering": true} {
		t.Run(kind, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				b, _ := newMemory(t)
				m := &meddler{Backend: b, shared: shared}
				client := newClient(t, m)
				calls := answers{{true, nil}, {true, errLost}, {true, nil}, {true, errLost}}.through(m, b)
				first, err := indexed.Enqueue(t.Context(), client, omniq.MakeArgs1("a"), omniq.Replace("k"))
				require.NoError(t, err)
				h, err := indexed.Enqueue(t.Context(), client, omniq.MakeArgs1("b"), omniq.Replace("k"))
				require.NoError(t, err)
				assert.Equal(t, first.ID(), h.ID())
				h, err = indexed.Enqueue(t.Context(), client, omniq.MakeArgs1("c"), omniq.Replace("l"))
				require.NoError(t, err)
				assert.NotEqual(t, first.ID(), h.ID())
				info, err := client.Inspect(t.Context(), h.ID())
				require.NoError(t, err)
				assert.JSONEq(t, `["c"]`, string(info.Task.Args))
				assert.Equal(t, 5, *calls)
			})
		})
	}
}

// modest is an engine that can less.
type modest struct {
	omniq.Backend
	change func(*omniq.Capabilities)
}

func (b modest) Capabilities() omniq.Capabilities {
	c := b.Backend.Capabilities()
	b.change(&c)
	return c
}

func TestEnginesThatReplaceNothing(t *testing.T) {
	b := memory.New()
	for name, tt := range map[string]struct {
		backend omniq.Backend
		opts    []omniq.TaskOption
		want    string
	}{
		"none":           {modest{b, func(c *omniq.Capabilities) { c.Replaces = false }}, []omniq.TaskOption{omniq.Replace("k")}, `in the engine "memory" no task takes the place`},
		"without flows":  {modest{b, func(c *omniq.Capabilities) { c.Flows = false }}, []omniq.TaskOption{omniq.Latest("k")}, "which has no flows, no task waits"},
		"a mix":          {omniq.Mix(b, memory.New()), []omniq.TaskOption{omniq.Latest("k")}, "which has no flows, no task waits"},
		"replace of one": {omniq.Mix(b, memory.New()), []omniq.TaskOption{omniq.Replace("k")}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := indexed.Enqueue(t.Context(), newClient(t, tt.backend), omniq.MakeArgs1("a"), tt.opts...)
			if tt.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, omniq.ErrInvalid)
			require.ErrorContains(t, err, tt.want)
		})
	}
	raw := rawTask()
	raw.UniqueKey, raw.OnHeld, raw.Kwargs = "k", omniq.HeldBehind, omniq.Raw("{}")
	_, err := omniq.Mix(b, memory.New()).Enqueue(t.Context(), []*omniq.RawTask{&raw})
	require.ErrorIs(t, err, omniq.ErrInvalid, "also past the client")
}
