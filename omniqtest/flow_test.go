package omniqtest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/bubble"
	"github.com/omniq-go/omniq/omniqtest"
)

type page struct {
	URL   string `json:"url"`
	Words int    `json:"words"`
}

var (
	fetch = omniq.ReferArgs[omniq.Args1[string], page]("fetch") // of which there is no function here
	words = omniq.DefineArgs("words", func(_ context.Context, p page) (int, error) { return p.Words, nil })
	total = omniq.DefineArgs("total", func(_ context.Context, n []int) (int, error) {
		sum := 0
		for _, i := range n {
			sum += i
		}
		return sum, nil
	})
	split = omniq.DefineArgs("split", func(_ context.Context, a omniq.Args1[int]) ([]omniq.Args1[int], error) {
		return make([]omniq.Args1[int], a.V1), nil
	})
	slow = omniq.DefineArgs("slow", func(ctx context.Context, _ omniq.Args1[int]) (int, error) {
		info, _ := omniq.InfoFrom(ctx)
		if info.Attempt < 3 {
			return 0, omniq.RetryAfter(time.Hour, errors.New("not yet"))
		}
		return 1, nil
	}, omniq.Retries(3), omniq.Delay(24*time.Hour))
	approve = omniq.DefineSignal[string]("approve")
	ship    = omniq.DefineArgs("ship", func(_ context.Context, a omniq.Args2[int, string]) (string, error) {
		return fmt.Sprintf("%d by %s", a.V1, a.V2), nil
	})
)

func TestRunFlow(t *testing.T) {
	handlers := omniq.Handlers(words, total, split, slow, ship)
	two := func() omniq.Promise[int] { // a promise is stored once
		return total.On(omniq.All(words.On(fetch.With(omniq.MakeArgs1("a"))), words.On(fetch.With(omniq.MakeArgs1("b")))))
	}
	boom := errors.New("no such page")
	for name, run := range map[string]func(t *testing.T) (any, error){
		"a result is replaced": func(t *testing.T) (any, error) {
			return omniqtest.RunFlow(t, two(), handlers, omniqtest.Returns(fetch, page{Words: 21}))
		},
		"one of a handler that there is": func(t *testing.T) (any, error) {
			return omniqtest.RunFlow(t, two(), handlers, omniqtest.Returns(words, 21), omniqtest.Returns(fetch, page{}))
		},
		"no other option": func(t *testing.T) (any, error) {
			return omniqtest.RunFlow(t, two(), omniqtest.Returns(fetch, page{}), omniqtest.Returns(words, 1), omniqtest.Returns(total, 42))
		},
		"each element's": func(t *testing.T) (any, error) {
			return omniqtest.RunFlow(t, total.On(slow.Each(split.With(omniq.MakeArgs1(6)))), handlers, omniqtest.Returns(slow, 7))
		},
		"days and retries take no time": func(t *testing.T) (any, error) {
			sum, err := omniqtest.RunFlow(t, total.On(slow.Each(split.With(omniq.MakeArgs1(42)))), handlers)
			return sum, err
		},
		"inside of a bubble": func(t *testing.T) (got any, err error) {
			bubble.Test(t, func(t *testing.T) {
				began := time.Now()
				got, err = omniqtest.RunFlow(t, total.On(omniq.All(slow.With(omniq.MakeArgs1(1)))), handlers)
				assert.Equal(t, 1, got)
				assert.GreaterOrEqual(t, time.Since(began), 26*time.Hour)
				got = 42
			})
			return got, err
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := run(t)
			require.NoError(t, err)
			assert.Equal(t, 42, got)
		})
	}
	t.Run("a signal", func(t *testing.T) {
		shipped := ship.On(omniq.Join2(slow.With(omniq.MakeArgs1(1)), approve.Promise()))
		got, err := omniqtest.RunFlow(t, shipped, handlers, omniqtest.Sends(approve, "Ada"))
		require.NoError(t, err)
		assert.Equal(t, "1 by Ada", got)
	})
	t.Run("a signal that is not sent in time", func(t *testing.T) {
		shipped := ship.On(omniq.Join2(slow.With(omniq.MakeArgs1(1)), approve.Promise(omniq.TTL(72*time.Hour))))
		_, err := omniqtest.RunFlow(t, shipped, handlers)
		assert.ErrorIs(t, err, omniq.ErrDependency)
		assert.ErrorContains(t, err, "approve")
	})
	t.Run("a failure is replaced", func(t *testing.T) {
		_, err := omniqtest.RunFlow(t, two(), handlers, omniqtest.Fails(fetch, omniq.Permanent(boom)))
		require.ErrorIs(t, err, omniq.ErrDependency)
		assert.ErrorContains(t, err, boom.Error())
	})
	t.Run("and tried again", func(t *testing.T) {
		_, err := omniqtest.RunFlow(t, words.On(fetch.With(omniq.MakeArgs1("a"), omniq.Retries(5))), handlers, omniqtest.Fails(fetch, boom))
		require.ErrorIs(t, err, omniq.ErrDependency)
		assert.ErrorContains(t, err, boom.Error())
	})
}

// A flow that cannot end fails its test, and says why.
func TestRunFlowFails(t *testing.T) {
	handlers := omniq.Handlers(words, total, ship)
	for name, c := range map[string]struct {
		run  func(t *testing.T)
		want string
	}{
		"a signal that nobody sends": {func(t *testing.T) {
			_, _ = omniqtest.RunFlow(t, ship.On(omniq.Join2(omniq.Value(1), approve.Promise())), handlers)
		}, `the flow never ends, because nobody sends "approve", task `},
		"a member without a handler": {func(t *testing.T) {
			_, _ = omniqtest.RunFlow(t, words.On(fetch.With(omniq.MakeArgs1("a"))), handlers)
		}, `of function "fetch" cannot be run: give the worker a handler of this name`},
		"an invalid promise": {func(t *testing.T) {
			_, _ = omniqtest.RunFlow(t, words.On(fetch.With(omniq.MakeArgs1("a"), omniq.Retries(-1))), handlers)
		}, `call of "fetch"`},
		"an invalid option": {func(t *testing.T) {
			_, _ = omniqtest.RunFlow(t, words.With(page{}), omniqtest.Returns(words, 1), omniq.Concurrency(-1))
		}, "Concurrency is -1"},
	} {
		t.Run(name, func(t *testing.T) { fails(t, c.run, c.want) })
	}
}

// fails runs the test in a process of its own, in which it must fail, and say this.
func fails(t *testing.T, run func(t *testing.T), want string) {
	t.Helper()
	const inside = "OMNIQTEST_FAILS"
	if os.Getenv(inside) != "" {
		run(t)
		return
	}
	test, row, _ := strings.Cut(t.Name(), "/")
	c := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^"+test+"$/^"+regexp.QuoteMeta(row)+"$")
	c.Env = append(os.Environ(), inside+"=1")
	out, err := c.CombinedOutput()
	assert.Error(t, err)
	assert.Contains(t, string(out), "--- FAIL: "+t.Name())
	assert.Contains(t, string(out), want)
}

// Drain goes on until nothing can run, and leaves what waits for a signal.
func TestDrainOfFlows(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		q := omniqtest.New(t)
		one := omniqtest.Returns(slow, 1)
		handlers := omniq.Handlers(split, total, ship)
		approved := approve.Promise(omniq.TTL(72 * time.Hour))
		h, err := ship.On(omniq.Join2(total.On(slow.Each(split.With(omniq.MakeArgs1(3)), omniq.Delay(time.Minute))), approved)).Enqueue(t.Context(), q.Client)
		require.NoError(t, err)
		q.Drain(handlers, one)
		f, err := h.Flow(t.Context())
		require.NoError(t, err)
		stats, err := f.Stats(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 2, stats.Open(), "the signal, and what waits for it")
		require.NoError(t, approve.Send(t.Context(), q.Client, approved.ID(), "Ada"))
		q.Drain(handlers)
		got, err := h.Wait(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "3 by Ada", got)
	})
}
