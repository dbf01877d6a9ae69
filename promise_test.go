package omniq_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
	"github.com/omniq-go/omniq/internal/bubble"
)

type (
	flowPage struct {
		URL  string
		Text string
	}
	flowSize struct{ Width int }
)

var (
	flowFetch = omniq.DefineArgs("flow.fetch", func(_ context.Context, a omniq.Args1[string]) (flowPage, error) {
		if strings.HasPrefix(a.V1, "bad") {
			return flowPage{}, omniq.Permanent(errors.New("no such page"))
		}
		return flowPage{a.V1, "text of " + a.V1}, nil
	})
	flowParse = omniq.DefineArgs("flow.parse", func(_ context.Context, p flowPage) ([]string, error) {
		return strings.Fields(p.Text), nil
	})
	flowResize = omniq.Define("flow.resize", func(_ context.Context, p flowPage, s flowSize) (string, error) {
		return fmt.Sprintf("%s@%d", p.URL, s.Width), nil
	})
	flowIndex = omniq.DefineArgs("flow.index", func(_ context.Context, a omniq.Args2[[]string, string]) (string, error) {
		return strings.Join(a.V1, "+") + "/" + a.V2, nil
	})
	flowLen = omniq.DefineArgs("flow.len", func(_ context.Context, a omniq.Args1[string]) (int, error) { return len(a.V1), nil })
	flowSum = omniq.DefineArgs("flow.sum", func(_ context.Context, n []int) (int, error) {
		sum := 0
		for _, i := range n {
			sum += i
		}
		return sum, nil
	})
	flowWords = omniq.DefineArgs("flow.words", func(_ context.Context, a omniq.Args1[string]) ([]omniq.Args1[string], error) {
		var words []omniq.Args1[string]
		for w := range strings.FieldsSeq(a.V1) {
			words = append(words, omniq.MakeArgs1(w))
		}
		return words, nil
	})
	flowSome = omniq.DefineArgs("flow.some", func(_ context.Context, all []omniq.Outcome[flowPage]) (string, error) {
		var s []string
		for _, o := range all {
			if o.Err != nil {
				s = append(s, "error: "+o.Err.Message)
			} else {
				s = append(s, o.Value.URL)
			}
		}
		return strings.Join(s, ", "), nil
	})
	flowNamed = omniq.DefineKwargs("flow.named", func(_ context.Context, p flowPage) (string, error) { return p.Text, nil })
	flowNote  = omniq.DefineNoArgsVoid("flow.note", func(context.Context) error { return nil })
	flowTotal = omniq.DefineArgs("flow.total", func(ctx context.Context, a omniq.Args1[string]) (int, error) {
		var parts []omniq.Promise[int]
		for w := range strings.FieldsSeq(a.V1) {
			parts = append(parts, flowLen.With(omniq.MakeArgs1(w)))
		}
		return omniq.Become(ctx, flowSum.On(omniq.All(parts...)))
	})
	flowHandlers = omniq.Handlers(flowFetch, flowParse, flowResize, flowIndex, flowLen, flowSum, flowWords, flowSome, flowNamed, flowNote, flowTotal)
)

func str(s string) omniq.Args1[string] { return omniq.MakeArgs1(s) }

// What a graph of promises ends with, with one place for handlers: nothing that waits takes it.
func TestPromises(t *testing.T) {
	wait := func(ctx context.Context, c *omniq.Client, p omniq.Promise[string]) (any, error) {
		h, err := p.Enqueue(ctx, c)
		if err != nil {
			return nil, err
		}
		return h.Wait(ctx)
	}
	number := func(ctx context.Context, c *omniq.Client, p omniq.Promise[int]) (any, error) {
		h, err := p.Enqueue(ctx, c)
		if err != nil {
			return nil, err
		}
		return h.Wait(ctx)
	}
	page := flowFetch.With(str("a.html"))
	for name, c := range map[string]struct {
		run func(context.Context, *omniq.Client) (any, error)
		is  any
	}{
		"one call": {func(ctx context.Context, c *omniq.Client) (any, error) {
			return number(ctx, c, flowLen.With(str("abc")))
		}, 3},
		"a diamond": {func(ctx context.Context, c *omniq.Client) (any, error) {
			return wait(ctx, c, flowIndex.On(omniq.Join2(flowParse.On(page), flowResize.On(page, flowSize{80}))))
		}, "text+of+a.html/a.html@80"},
		"a value beside a call": {func(ctx context.Context, c *omniq.Client) (any, error) {
			return wait(ctx, c, flowIndex.On(omniq.Join2(omniq.Value([]string{"x"}), flowResize.On(flowFetch.With(str("b")), flowSize{1}))))
		}, "x/b@1"},
		"a group": {func(ctx context.Context, c *omniq.Client) (any, error) {
			return number(ctx, c, flowSum.On(omniq.All(flowLen.With(str("a")), flowLen.With(str("bc")), omniq.Value(4))))
		}, 7},
		"an empty group": {func(ctx context.Context, c *omniq.Client) (any, error) {
			return number(ctx, c, flowSum.On(omniq.All[int]()))
		}, 0},
		"a group of one": {func(ctx context.Context, c *omniq.Client) (any, error) {
			return number(ctx, c, flowSum.On(omniq.All(flowLen.With(str("abc")))))
		}, 3},
		"each": {func(ctx context.Context, c *omniq.Client) (any, error) {
			return number(ctx, c, flowSum.On(flowLen.Each(flowWords.With(str("a bc def")))))
		}, 6},
		"each of none": {func(ctx context.Context, c *omniq.Client) (any, error) {
			return number(ctx, c, flowSum.On(flowLen.Each(flowWords.With(str("")))))
		}, 0},
		"kwargs": {func(ctx context.Context, c *omniq.Client) (any, error) {
			return wait(ctx, c, flowNamed.On(flowFetch.With(str("k"))))
		}, "text of k"},
		"become": {func(ctx context.Context, c *omniq.Client) (any, error) {
			return number(ctx, c, flowTotal.With(str("a bc def")))
		}, 6},
		"a sum of those": {func(ctx context.Context, c *omniq.Client) (any, error) {
			return number(ctx, c, flowSum.On(omniq.All(flowTotal.With(str("a b")), flowTotal.With(str("cd")))))
		}, 4},
		"a chain": {func(ctx context.Context, c *omniq.Client) (any, error) {
			return number(ctx, c, flowSum.On(omniq.All(flowLen.On(omniq.Join1(omniq.Chain2(flowFetch, flowNamed).With(str("q")))))))
		}, 9},
		"partial failure": {func(ctx context.Context, c *omniq.Client) (any, error) {
			return wait(ctx, c, flowSome.On(omniq.SettledAll(flowFetch.With(str("a")), flowFetch.With(str("bad")), flowFetch.With(str("c")))))
		}, "a, error: no such page, c"},
		"an order without data": {func(ctx context.Context, c *omniq.Client) (any, error) {
			return number(ctx, c, flowLen.With(str("x")).After(flowNote.With(), flowNote.On(flowNote.With())))
		}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				b := memory.New()
				client, err := omniq.NewClient(b)
				require.NoError(t, err)
				run(t, b, flowHandlers, omniq.Concurrency(1))
				got, err := c.run(t.Context(), client)
				require.NoError(t, err)
				assert.Equal(t, c.is, got)
			})
		})
	}
}

// The failure of a call reaches whoever waits for the end of the graph, and names the call that began it.
func TestFailureGoesThroughAGraph(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b := memory.New()
		client, err := omniq.NewClient(b)
		require.NoError(t, err)
		run(t, b, flowHandlers)
		page := flowFetch.With(str("bad"))
		h, err := flowIndex.On(omniq.Join2(flowParse.On(page), flowResize.On(page, flowSize{80}))).Enqueue(t.Context(), client)
		require.NoError(t, err)
		_, err = h.Wait(t.Context())
		require.ErrorIs(t, err, omniq.ErrDependency)
		assert.ErrorContains(t, err, page.ID().String())
		assert.ErrorContains(t, err, `"flow.fetch", which failed: no such page`)
		status, err := h.Status(t.Context())
		require.NoError(t, err)
		assert.Equal(t, omniq.StatusCancelled, status)
	})
}

// What a handler enqueues is there if, and only if, its attempt succeeds.
func TestEnqueueInAHandler(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b := memory.New()
		client, err := omniq.NewClient(b)
		require.NoError(t, err)
		var tries atomic.Int32
		var ids [2]uuid.UUID
		d := omniq.DefineNoArgsVoid("flow.parent", func(ctx context.Context) error {
			n := tries.Add(1)
			h, err := omniq.Enqueue(ctx, flowSum.On(omniq.All(flowLen.With(str("ab")), flowLen.With(str("c")))))
			if err != nil {
				return err
			}
			ids[n-1] = h.ID()
			if n == 1 {
				return errors.New("not yet")
			}
			return nil
		})
		run(t, b, flowHandlers, omniq.Handlers(d))
		h, err := d.Enqueue(t.Context(), client)
		require.NoError(t, err)
		_, err = h.Wait(t.Context())
		require.NoError(t, err)
		_, err = client.Result(t.Context(), ids[0])
		require.ErrorIs(t, err, omniq.ErrNotFound, "of the attempt that failed")
		sum, err := flowSum.Attach(client, ids[1]).Wait(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 3, sum)
	})
}

// Bad input is told with the name of the call, and nothing is stored.
func TestPromisesThatCannotBe(t *testing.T) {
	b := memory.New()
	client, err := omniq.NewClient(b)
	require.NoError(t, err)
	other, err := omniq.NewClient(memory.New())
	require.NoError(t, err)
	stored := flowLen.With(str("x"))
	_, err = stored.Enqueue(t.Context(), other)
	require.NoError(t, err)
	twice := flowLen.With(str("x"))
	id := omniq.ID(uuid.New())
	var none omniq.Promise[int]
	for name, c := range map[string]struct {
		promise omniq.Promise[int]
		want    string
	}{
		"no promise":                 {none, "no call, Value, Join or All"},
		"a value":                    {omniq.Value(1), "Value is no call"},
		"none in a group":            {flowSum.On(omniq.All(flowLen.With(str("a")), none)), "no call, Value, Join or All"},
		"a bad option":               {flowSum.On(omniq.All(flowLen.With(str("a"), omniq.TTL(-1)))), `call of "flow.len": omniq: invalid: TTL`},
		"another client's":           {flowSum.On(omniq.All(stored)), "by a client of another backend"},
		"a promise and its After":    {flowSum.On(omniq.All(twice, twice.After(flowLen.With(str("y"))))), "another call of the graph has its ID"},
		"an ID twice":                {flowSum.On(omniq.All(flowLen.With(str("a"), id), flowLen.With(str("b"), id))), "another call of the graph has its ID"},
		"an ID for each":             {flowSum.On(flowLen.Each(flowWords.With(str("a")), id)), "which only one can have"},
		"what waits but is no call":  {flowSum.On(omniq.All(flowLen.With(str("a"))).After(twice)), "cannot wait for other calls"},
		"a chain that was not made":  {omniq.Chain[omniq.Args1[string], int]{}.With(str("x")), "has not made"},
		"a chain that was not begun": {omniq.Chain[omniq.Args1[string], int]{}.On(omniq.Value(str("x"))), "has not made"},
	} {
		t.Run(name, func(t *testing.T) {
			h, err := c.promise.Enqueue(t.Context(), client)
			require.ErrorIs(t, err, omniq.ErrInvalid)
			assert.ErrorContains(t, err, c.want)
			assert.Nil(t, h)
			stats, err := client.Stats(t.Context())
			require.NoError(t, err)
			assert.Empty(t, stats)
		})
	}
	_, err = omniq.Become(t.Context(), twice)
	require.ErrorIs(t, err, omniq.ErrInvalid)
	_, err = omniq.Enqueue(t.Context(), twice)
	require.ErrorIs(t, err, omniq.ErrInvalid)
	require.ErrorIs(t, omniq.Cancel(t.Context(), twice.ID()), omniq.ErrInvalid)
}

// Joins keep the order of their parts, chains that of their links.
func TestJoinsAndChains(t *testing.T) {
	up := omniq.DefineArgs("flow.up", func(_ context.Context, a omniq.Args1[string]) (omniq.Args1[string], error) {
		return str(a.V1 + string('a'+rune(len(a.V1)))), nil
	})
	three := omniq.DefineArgs("flow.3", func(_ context.Context, a omniq.Args3[int, string, bool]) (string, error) { return fmt.Sprint(a), nil })
	four := omniq.DefineArgs("flow.4", func(_ context.Context, a omniq.Args4[int, int, int, int]) (string, error) { return fmt.Sprint(a), nil })
	five := omniq.DefineArgs("flow.5", func(_ context.Context, a omniq.Args5[int, int, int, int, int]) (string, error) {
		return fmt.Sprint(a), nil
	})
	six := omniq.DefineArgs("flow.6", func(_ context.Context, a omniq.Args6[int, int, int, int, int, int]) (string, error) {
		return fmt.Sprint(a), nil
	})
	n := omniq.Value[int]
	bubble.Test(t, func(t *testing.T) {
		b := memory.New()
		client, err := omniq.NewClient(b)
		require.NoError(t, err)
		run(t, b, flowHandlers, omniq.Handlers(up, three, four, five, six))
		for want, p := range map[string]omniq.Promise[string]{
			"{1 x true}":    three.On(omniq.Join3(n(1), omniq.Value("x"), omniq.Value(true))),
			"{1 2 3 4}":     four.On(omniq.Join4(n(1), n(2), n(3), n(4))),
			"{1 2 3 4 5}":   five.On(omniq.Join5(n(1), n(2), n(3), n(4), n(5))),
			"{1 2 3 4 5 6}": six.On(omniq.Join6(n(1), n(2), n(3), n(4), n(5), n(6))),
		} {
			h, err := p.Enqueue(t.Context(), client)
			require.NoError(t, err)
			got, err := h.Wait(t.Context())
			require.NoError(t, err)
			assert.Equal(t, want, got)
		}
		for want, p := range map[string]omniq.Promise[omniq.Args1[string]]{
			"abc":  omniq.Chain3(up, up, up).With(str("")),
			"abcd": omniq.Chain4(up, up, up, up).On(omniq.Value(str(""))),
		} {
			h, err := p.Enqueue(t.Context(), client)
			require.NoError(t, err)
			got, err := h.Wait(t.Context())
			require.NoError(t, err)
			assert.Equal(t, want, got.V1)
		}
	})
}

// What a handler's goroutine adds after the attempt has ended is refused, and what Become has returned counts in its own
// attempt alone.
func TestEnqueueAfterTheAttempt(t *testing.T) {
	for name, result := range map[string]error{"success": nil, "failure": omniq.Permanent(errors.New("oops"))} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				b := memory.New()
				client, err := omniq.NewClient(b)
				require.NoError(t, err)
				var attempt context.Context
				d := omniq.DefineNoArgsVoid("flow.late", func(ctx context.Context) error {
					attempt = ctx
					return result
				})
				run(t, b, omniq.Handlers(d))
				h, err := d.Enqueue(t.Context(), client)
				require.NoError(t, err)
				_, _ = h.Wait(t.Context())
				_, err = omniq.Enqueue(attempt, flowLen.With(str("x")))
				require.ErrorIs(t, err, omniq.ErrInvalid)
				assert.ErrorContains(t, err, "has ended already")
				require.ErrorIs(t, omniq.Cancel(attempt, uuid.New()), omniq.ErrInvalid)
			})
		})
	}
	bubble.Test(t, func(t *testing.T) {
		b := memory.New()
		client, err := omniq.NewClient(b)
		require.NoError(t, err)
		var others error
		d := omniq.DefineNoArgs("flow.kept", func(ctx context.Context) (int, error) {
			if others != nil {
				return 0, others
			}
			n, err := omniq.Become(ctx, flowLen.With(str("x")))
			others = err
			return n, err
		})
		run(t, b, flowHandlers, omniq.Handlers(d))
		h, err := d.Enqueue(t.Context(), client)
		require.NoError(t, err)
		n, err := h.Wait(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 1, n)
		h, err = d.Enqueue(t.Context(), client)
		require.NoError(t, err)
		_, err = h.Wait(t.Context())
		require.ErrorContains(t, err, "in another attempt")
	})
}
