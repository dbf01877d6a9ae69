package omniq_test

import (
	"context"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
	"github.com/omniq-go/omniq/internal/bubble"
)

// A graph that is too large is refused, whether it is wide or deep, and nothing of it is stored.
func TestGraphThatIsTooLarge(t *testing.T) {
	defer debug.SetMaxStack(debug.SetMaxStack(32 << 20)) // each call of a chain is not to use a part of the stack
	b, client := newMemory(t)
	wide := make([]omniq.Promise[int], omniq.MaxDependencies/4)
	for i := range wide {
		wide[i] = flowLen.With(str(""))
	}
	deep := flowNote.With()
	for range omniq.MaxDependencies - len(wide) - 1 {
		deep = flowNote.On(deep)
	}
	_, err := flowSum.On(omniq.All(wide...)).After(deep).Enqueue(t.Context(), client)
	require.ErrorIs(t, err, omniq.ErrInvalid)
	require.ErrorContains(t, err, "the graph has more than 100000 calls")
	stats, err := b.Stats(t.Context())
	require.NoError(t, err)
	assert.Empty(t, stats)
}

// A call of an earlier graph of which nothing is kept any more is named, and nothing is stored.
func TestDependencyThatIsGone(t *testing.T) {
	b, client := newMemory(t)
	earlier := flowLen.With(str("a"))
	h, err := earlier.Enqueue(t.Context(), client)
	require.NoError(t, err)
	require.NoError(t, h.Cancel(t.Context()))
	require.NoError(t, client.Forget(t.Context(), h.ID()))
	sum := flowSum.On(omniq.All(flowLen.With(str("b")), earlier))
	later, err := sum.Enqueue(t.Context(), client)
	require.ErrorIs(t, err, omniq.ErrNotFound)
	require.ErrorContains(t, err, sum.ID().String())
	require.ErrorContains(t, err, h.ID().String())
	assert.Nil(t, later)
	stats, err := b.Stats(t.Context())
	require.NoError(t, err)
	assert.Empty(t, stats)
}

// A graph where there are no flows is refused.
func TestEngineWithoutFlows(t *testing.T) {
	mixed := omniq.Mix(memory.New(), memory.New())
	defer func() { assert.NoError(t, mixed.Close()) }()
	client := newClient(t, mixed)
	_, err := flowSum.On(omniq.All(flowLen.With(str("b")))).Enqueue(t.Context(), client)
	require.ErrorIs(t, err, omniq.ErrInvalid)
	require.ErrorContains(t, err, "part of a flow")
	stats, err := client.Stats(t.Context())
	require.NoError(t, err)
	assert.Empty(t, stats)
}

// The results of a worker of another release may not be what the next call takes: it fails at once, and says whose result it is.
func TestResultThatDoesNotFit(t *testing.T) {
	lies := omniq.DefineArgs("lies", func(_ context.Context, a omniq.Args1[string]) (omniq.Raw, error) { return omniq.Raw(a.V1), nil })
	number := omniq.ReferArgs[omniq.Args1[string], int]("lies")
	numbers := omniq.ReferArgs[omniq.Args1[string], []omniq.Args1[string]]("lies")
	page := omniq.ReferArgs[omniq.Args1[string], flowPage]("lies")
	for name, c := range map[string]struct {
		promise func(wrong string) (omniq.Promised, uuid.UUID) // and the call whose result does not fit
		wrong   string
		says    string
	}{
		"a group": {func(wrong string) (omniq.Promised, uuid.UUID) {
			p := number.With(str(wrong))
			return flowSum.On(omniq.All(flowLen.With(str("a")), p)), p.ID()
		}, `"three"`, "args"},
		"args": {func(wrong string) (omniq.Promised, uuid.UUID) {
			p := page.With(str(wrong))
			return flowParse.On(p), p.ID()
		}, `[1,2]`, "args"},
		"kwargs": {func(wrong string) (omniq.Promised, uuid.UUID) {
			p := page.With(str(wrong))
			return flowNamed.On(p), p.ID()
		}, `{"URL":7}`, "kwargs"},
		"another kind": {func(wrong string) (omniq.Promised, uuid.UUID) {
			p := page.With(str(wrong))
			return flowParse.On(p), p.ID()
		}, `7`, "args"},
		"each": {func(wrong string) (omniq.Promised, uuid.UUID) {
			p := numbers.With(str(wrong))
			return flowLen.Each(p), p.ID()
		}, `{"a":1}`, "args"},
		"settled": {func(wrong string) (omniq.Promised, uuid.UUID) {
			p := page.With(str(wrong))
			return flowSome.On(omniq.SettledAll(p)), p.ID()
		}, `true`, "args"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				b, client := newMemory(t)
				run(t, b, flowHandlers, omniq.Handlers(lies))
				p, wrong := c.promise(c.wrong)
				id, err := enqueuePromised(t, client, p)
				require.NoError(t, err)
				r, err := client.Wait(t.Context(), id)
				require.NoError(t, err)
				t.Log(r.Error)
				assert.Equal(t, omniq.StatusFailure, r.Status)
				assert.Equal(t, 1, r.Attempts, "another attempt would not help")
				require.NotNil(t, r.Error)
				assert.Equal(t, "omniq.Decode", r.Error.Type)
				for _, want := range []string{c.says, wrong.String(), id.String()} {
					assert.Contains(t, r.Error.Message, want)
				}
			})
		})
	}
}

func enqueuePromised(t *testing.T, client *omniq.Client, p omniq.Promised) (uuid.UUID, error) {
	switch p := p.(type) {
	case omniq.Promise[int]:
		return p.ID(), second(p.Enqueue(t.Context(), client))
	case omniq.Promise[string]:
		return p.ID(), second(p.Enqueue(t.Context(), client))
	case omniq.Promise[[]string]:
		return p.ID(), second(p.Enqueue(t.Context(), client))
	case omniq.Promise[[]int]:
		return p.ID(), second(p.Enqueue(t.Context(), client))
	}
	require.Fail(t, "another type", "%T", p)
	return uuid.Nil, nil
}

func second(_ any, err error) error { return err }

// A call whose inputs are too large together ends, and says how large they are; so does what needs it.
func TestInputsThatAreTooLarge(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		data := omniq.Raw(`"` + strings.Repeat("x", omniq.MaxInputs/5) + `"`)
		large := omniq.DefineNoArgs("large", func(context.Context) (omniq.Raw, error) { return data, nil })
		count := omniq.DefineArgs("count", func(_ context.Context, all []omniq.Raw) (int, error) { return len(all), nil })
		run(t, b, flowHandlers, omniq.Handlers(large, count))
		var all []omniq.Promise[omniq.Raw]
		for range 5 {
			all = append(all, large.With())
		}
		h, err := count.On(omniq.All(all[1:]...)).Enqueue(t.Context(), client)
		require.NoError(t, err)
		got, err := h.Wait(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 4, got)

		h, err = flowSum.On(omniq.All(count.On(omniq.All(all...)))).Enqueue(t.Context(), client)
		require.NoError(t, err)
		_, err = h.Wait(t.Context())
		require.ErrorIs(t, err, omniq.ErrDependency)
		assert.ErrorContains(t, err, `"count", which failed: its inputs have 67108870 bytes together, want at most 67108864`)
	})
}

// So does one that stands for more calls than a task can wait for.
func TestEachOfTooMany(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		many := omniq.DefineNoArgs("many", func(context.Context) ([]omniq.NoArgs, error) {
			return make([]omniq.NoArgs, omniq.MaxDependencies+1), nil
		})
		one := omniq.DefineArgs("one", func(context.Context, omniq.NoArgs) (int, error) { return 1, nil })
		run(t, b, omniq.Handlers(many, one))
		h, err := one.Each(many.With()).Enqueue(t.Context(), client)
		require.NoError(t, err)
		_, err = h.Wait(t.Context())
		require.ErrorContains(t, err, "a call for each of 100001 elements, want at most 100000")
		stats, err := flowOf(t, h, nil).Stats(t.Context())
		require.NoError(t, err)
		assert.Equal(t, omniq.FlowStats{Succeeded: 1, Failed: 1}, stats)
	})
}
