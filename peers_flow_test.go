package omniq_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/bubble"
)

// What users of other libraries' workflows suffered, each under what went wrong and where it was seen.

// moody is a handler whose attempts end one after another as its arguments say, the last again and again.
func moody() (omniq.ArgsDefinition[[]string, int], func(uuid.UUID) int) {
	var mu sync.Mutex
	runs := map[uuid.UUID]int{}
	d := omniq.DefineArgs("moody", func(ctx context.Context, moods []string) (int, error) {
		info, _ := omniq.InfoFrom(ctx)
		mu.Lock()
		n := runs[info.ID]
		runs[info.ID]++
		mu.Unlock()
		switch moods[min(n, len(moods)-1)] {
		case "fails":
			return 0, errOops
		case "snoozes":
			return 0, omniq.Snooze(time.Hour)
		}
		return 1, nil
	})
	return d, func(id uuid.UUID) int {
		mu.Lock()
		defer mu.Unlock()
		return runs[id]
	}
}

// Seen in: celery 9674, 6029 and 2219, a body that never ran and was polled for ever after its header had failed; bullmq 3362 and
// 1333, parents of failed children that waited for ever; oban 519, a dependency that snoozes taken for one that has ended;
// bullmq 2229, a child that stalled for good.
func TestWhatWaitsHearsOfEachEnd(t *testing.T) {
	for name, c := range map[string]struct {
		moods []string
		do    func(*testing.T, omniq.Backend, *omniq.Client, uuid.UUID) // before there is a worker
		runs  int
		err   string // of what waits; empty for none
	}{
		"it succeeds":             {[]string{"succeeds"}, nil, 1, ""},
		"it fails and is retried": {[]string{"fails", "fails", "succeeds"}, nil, 3, ""},
		"it fails for good":       {[]string{"fails"}, nil, 3, `"moody", which failed: oops`},
		"it snoozes":              {[]string{"snoozes", "snoozes", "succeeds"}, nil, 3, ""},
		"it snoozes, and fails":   {[]string{"snoozes", "fails"}, nil, 4, `"moody", which failed: oops`},
		"it is cancelled": {[]string{"succeeds"}, func(t *testing.T, _ omniq.Backend, client *omniq.Client, id uuid.UUID) {
			require.NoError(t, client.Cancel(t.Context(), id))
		}, 0, `"moody", which was cancelled`},
		"its workers die": {[]string{"succeeds"}, func(t *testing.T, b omniq.Backend, _ *omniq.Client, _ uuid.UUID) {
			lose(t, b, 1, 3)
		}, 0, `"moody", which failed: 3 attempts did not end`},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				b, client := newMemory(t)
				d, runs := moody()
				header := d.With(c.moods, omniq.Retries(2))
				h, err := flowSum.On(omniq.All(header)).Enqueue(t.Context(), client)
				f := flowOf(t, h, err)
				if c.do != nil {
					c.do(t, b, client, header.ID())
				}
				run(t, b, flowHandlers, omniq.Handlers(d), omniq.Concurrency(1))
				got, err := h.Wait(t.Context())
				if c.err == "" {
					require.NoError(t, err)
					assert.Equal(t, 1, got)
				} else {
					require.ErrorIs(t, err, omniq.ErrDependency)
					assert.ErrorContains(t, err, c.err)
				}
				assert.Equal(t, c.runs, runs(header.ID()))
				stats, err := f.Stats(t.Context())
				require.NoError(t, err)
				assert.Zero(t, stats.Open())
			})
		})
	}
}

// Seen in: bullmq 3319, a parent that was not tried again after it had waited.
func TestWhatHasWaitedIsRetried(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		body := omniq.DefineArgs("body", func(ctx context.Context, all []int) (string, error) {
			info, _ := omniq.InfoFrom(ctx)
			if info.Attempt < 3 {
				return "", errOops
			}
			return fmt.Sprint(all, info.Attempt), nil
		})
		run(t, b, flowHandlers, omniq.Handlers(body))
		h, err := body.On(omniq.All(flowLen.With(str("a"), omniq.ResultTTL(0)), flowLen.With(str("bc")))).Enqueue(t.Context(), client)
		require.NoError(t, err)
		got, err := h.Wait(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "[1 2] 3", got, "each attempt has the inputs")
	})
}

// tree is the promise of a group of chains of groups and so on, and what its result is.
func tree(s *steps, name string, depth int) (omniq.Promise[string], string) {
	if depth == 0 {
		return s.call(name), name + "[]"
	}
	left, leftIs := tree(s, name+"l", depth-1)
	right, rightIs := tree(s, name+"r", depth-1)
	chained, chainedIs := s.call(name+"c", left), fmt.Sprintf("%sc[%s]", name, leftIs)
	return s.call(name, chained, right), fmt.Sprintf("%s[%s %s]", name, chainedIs, rightIs)
}

// Seen in: celery 8180, 8663, 9021 and 5958, chains and groups within each other that ran twice, in another order, or not at all;
// celery 6220, 6792 and 3317, an error in the middle of them that nobody heard of.
func TestGroupsOfChainsOfGroups(t *testing.T) {
	const depth, calls = 5, 94 // 32 leaves, 31 groups, and a chain before each of these
	for name, broken := range map[string]string{"all succeed": "", "a leaf fails": "xlrlrl", "a link of a chain fails": "xlrc"} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				b, client := newMemory(t)
				s := newSteps(broken)
				root, want := tree(s, "x", depth)
				h, err := root.Enqueue(t.Context(), client)
				f := flowOf(t, h, err)
				run(t, b, omniq.Handlers(s.one), omniq.Concurrency(3))
				got, err := h.Wait(t.Context())
				stats, waitErr := f.Wait(t.Context())
				require.NoError(t, waitErr)
				assert.Equal(t, calls, stats.Members())
				for name, n := range s.ran() {
					assert.Equal(t, 1, n, name)
				}
				if broken == "" {
					require.NoError(t, err)
					assert.Equal(t, want, got)
					assert.Len(t, s.ran(), calls)
					return
				}
				require.ErrorIs(t, err, omniq.ErrDependency)
				assert.ErrorContains(t, err, broken+" is broken")
				assert.Equal(t, 1, stats.Failed)
				assert.Equal(t, stats.Succeeded+1, len(s.ran()))
				for i := range broken { // whoever is above it
					assert.NotContains(t, s.ran(), broken[:i])
				}
			})
		})
	}
}

// Seen in: bullmq 4235, children that failed and were tried again, without the parents that they had ended.
func TestRequeueBringsWhatFollows(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		s := newSteps("a")
		run(t, b, omniq.Handlers(s.one))
		failed, other := s.call("a"), s.call("b")
		h, err := s.call("d", s.call("c", failed, other)).Enqueue(t.Context(), client)
		require.NoError(t, err)
		_, err = h.Wait(t.Context())
		require.ErrorIs(t, err, omniq.ErrDependency)
		s.mend("a")
		require.NoError(t, client.Requeue(t.Context(), failed.ID()))
		got, err := h.Wait(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "d[c[a[] b[]]]", got)
		assert.Equal(t, map[string]int{"a": 2, "b": 1, "c": 1, "d": 1}, s.ran())
	})
}

// Seen in: bullmq 3235, a wait for what has ended already that never ends; trigger.dev PR 1937, a child that finishes before its
// parent has begun to wait.
func TestWaitForWhatHasEndedAlready(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		child := flowLen.With(str("abc"))
		parent := omniq.DefineNoArgs("parent", func(ctx context.Context) (int, error) { return omniq.Become(ctx, child) })
		run(t, b, flowHandlers, omniq.Handlers(parent), omniq.Concurrency(1))
		h, err := child.Enqueue(t.Context(), client)
		require.NoError(t, err)
		_, err = h.Wait(t.Context())
		require.NoError(t, err)
		for _, p := range []omniq.Promise[int]{flowSum.On(omniq.All(child)), parent.With(), flowLen.With(str("xyz")).After(child)} {
			h, err := p.Enqueue(t.Context(), client)
			require.NoError(t, err)
			got, err := h.Wait(t.Context())
			require.NoError(t, err)
			assert.Equal(t, 3, got)
		}
	})
}

// Seen in: oban 611 and 757, members with unique keys and other options that released nothing.
func TestMembersWithOptions(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		run(t, b, flowHandlers, omniq.Queues("default", "other"), omniq.Concurrency(1))
		holder, err := flowLen.Enqueue(t.Context(), client, str("four"), omniq.Unique("held"), omniq.Delay(time.Hour))
		require.NoError(t, err)
		unique := flowLen.With(str("a"), omniq.Unique("k"))
		h, err := flowSum.On(omniq.All(
			unique, flowLen.With(str("not a"), omniq.Unique("k")), // the first takes its place
			flowLen.With(str("not four"), omniq.Unique("held")), // as does the holder, which is in no flow
			flowLen.With(str("b"), omniq.Priority(-1), omniq.Queue("other"), omniq.KeepID(time.Hour)),
			flowLen.With(str("c"), omniq.Delay(time.Minute), omniq.ResultTTL(0), omniq.TTL(time.Hour)),
		)).Enqueue(t.Context(), client)
		var taken *omniq.DuplicateError
		require.ErrorAs(t, err, &taken)
		require.Len(t, taken.Duplicates, 2)
		assert.Equal(t, []uuid.UUID{unique.ID(), holder.ID()}, []uuid.UUID{taken.Duplicates[0].Holder, taken.Duplicates[1].Holder})
		got, err := h.Wait(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 1+1+4+1+1, got)
	})
}

// Seen in: sidekiq 3535, 4896 and 2154, batches in batches in batches whose callbacks came too early, twice or never; celery 3535,
// the result of what a task was replaced by.
func TestFlowsWithinFlows(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		short := omniq.ResultTTL(time.Second)
		slow := omniq.DefineNoArgs("slow", func(context.Context) (int, error) { time.Sleep(3 * time.Hour); return 100, nil })
		inner := omniq.DefineArgs("inner", func(ctx context.Context, a omniq.Args1[string]) (int, error) {
			return omniq.Become(ctx, flowSum.On(flowLen.Each(flowWords.With(a, short), short), short))
		})
		middle := omniq.DefineArgs("middle", func(ctx context.Context, a omniq.Args1[string]) (int, error) {
			group := omniq.All(inner.With(a, short), inner.With(a, short))
			return omniq.Become(ctx, flowSum.On(omniq.All(flowSum.On(group, short), omniq.Value(1)), short))
		})
		outer := omniq.DefineNoArgs("outer", func(ctx context.Context) (int, error) {
			return omniq.Become(ctx, flowSum.On(omniq.All(middle.With(str("ab cde"), short), slow.With(short)), short))
		})
		run(t, b, flowHandlers, omniq.Handlers(slow, inner, middle, outer), omniq.Concurrency(2))
		h, err := flowSum.On(omniq.All(outer.With(), omniq.Value(1000))).Enqueue(t.Context(), client)
		f := flowOf(t, h, err)
		got, err := h.Wait(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 1000+100+1+5+5, got)
		stats, err := f.Wait(t.Context())
		require.NoError(t, err)
		assert.Equal(t, omniq.StatusSuccess, stats.Status())
	})
}

// Seen in: faktory 465 and 362, sidekiq 4845, jobs that were added to a batch that had ended.
func TestNobodyAddsToAFlowThatHasEnded(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		run(t, b, flowHandlers)
		h, err := flowLen.With(str("a")).Enqueue(t.Context(), client)
		f := flowOf(t, h, err)
		_, err = f.Wait(t.Context())
		require.NoError(t, err)
		task := rawTask()
		task.Flow = f.ID()
		err = client.Enqueue(t.Context(), task)
		require.ErrorIs(t, err, omniq.ErrState)
		assert.ErrorContains(t, err, f.ID().String())
		_, err = client.Result(t.Context(), task.ID)
		require.ErrorIs(t, err, omniq.ErrNotFound)
	})
}

// The body of a large group gets all that its members have handed on, in their order, whatever order they end in.
func TestLargeGroup(t *testing.T) {
	const n = 2000
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		part := omniq.DefineArgs("part", func(_ context.Context, a omniq.Args1[int]) (string, error) {
			time.Sleep(time.Duration(a.V1%7) * time.Millisecond)
			return fmt.Sprintf("%d %s", a.V1, strings.Repeat("x", 1000)), nil
		})
		body := omniq.DefineArgs("body", func(_ context.Context, all []string) (int, error) {
			for i, s := range all {
				if !strings.HasPrefix(s, fmt.Sprint(i, " ")) || len(s) < 1000 {
					return 0, omniq.Permanent(errors.New("part " + fmt.Sprint(i) + " is " + s))
				}
			}
			return len(all), nil
		})
		parts := make([]omniq.Promise[string], n)
		for i := range parts {
			parts[i] = part.With(omniq.MakeArgs1(i))
		}
		run(t, b, omniq.Handlers(part, body), omniq.Concurrency(8))
		h, err := body.On(omniq.All(parts...)).Enqueue(t.Context(), client)
		require.NoError(t, err)
		got, err := h.Wait(t.Context())
		require.NoError(t, err)
		assert.Equal(t, n, got)
	})
}
