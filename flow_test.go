package omniq_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/bubble"
)

// steps are handlers that fail where they are told to, and count how often each call has run.
type steps struct {
	mu     sync.Mutex
	broken map[string]bool
	runs   map[string]int
	one    omniq.ArgsDefinition[[]string, string]
}

func newSteps(broken ...string) *steps {
	s := &steps{broken: map[string]bool{}, runs: map[string]int{}}
	for _, name := range broken {
		s.broken[name] = true
	}
	s.one = omniq.DefineArgs("step", func(ctx context.Context, parts []string) (string, error) {
		info, ok := omniq.InfoFrom(ctx)
		if !ok {
			return "", errOops
		}
		name := info.Metadata["name"]
		s.mu.Lock()
		defer s.mu.Unlock()
		s.runs[name]++
		if s.broken[name] {
			return "", omniq.Permanent(fmt.Errorf("%s is broken", name))
		}
		return fmt.Sprint(name, parts), nil
	})
	return s
}

// mend makes a step succeed from now on.
func (s *steps) mend(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.broken, name)
}

// ran is how often each has run.
func (s *steps) ran() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.runs)
}

// call is the promise of a step of this name after others.
func (s *steps) call(name string, after ...omniq.Promise[string]) omniq.Promise[string] {
	return s.one.On(omniq.All(after...), omniq.Metadata("name", name))
}

// flowOf is the flow of an enqueue that went well.
func flowOf[R any](t testing.TB, h *omniq.Handle[R], err error) omniq.Flow {
	require.NoError(t, err)
	f, err := h.Flow(t.Context())
	require.NoError(t, err)
	return f
}

// statuses are those of the members of a flow, by what call names them.
func statuses(t testing.TB, f omniq.Flow) map[string]omniq.Status {
	all := map[string]omniq.Status{}
	for info, err := range f.Tasks(t.Context()) {
		require.NoError(t, err)
		assert.Equal(t, f.ID(), info.Flow)
		name := "?"
		if info.Task != nil {
			name = info.Task.Metadata["name"]
		}
		all[name] = info.Status
	}
	return all
}

func TestFlow(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		s := newSteps()
		first := s.call("a")
		left, right := s.call("b", first), s.call("c", first)
		h, err := s.call("d", left, right).Enqueue(t.Context(), client)
		f := flowOf(t, h, err)
		stats, err := f.Stats(t.Context())
		require.NoError(t, err)
		assert.Equal(t, omniq.FlowStats{Pending: 1, Waiting: 3}, stats)
		assert.Equal(t, omniq.StatusRunning, stats.Status())

		need := func(p omniq.Promise[string]) omniq.Dependency { return omniq.Dependency{ID: p.ID(), Input: true} }
		graph := map[uuid.UUID][]omniq.Dependency{}
		for info, err := range f.Tasks(t.Context()) {
			require.NoError(t, err)
			graph[info.ID] = info.After
		}
		assert.Equal(t, map[uuid.UUID][]omniq.Dependency{
			first.ID(): nil, left.ID(): {need(first)}, right.ID(): {need(first)}, h.ID(): {need(left), need(right)},
		}, graph)
		for _, err := range f.Tasks(t.Context()) {
			require.NoError(t, err)
			break
		}

		run(t, b, omniq.Handlers(s.one))
		stats, err = f.Wait(t.Context())
		require.NoError(t, err)
		assert.Equal(t, omniq.FlowStats{Succeeded: 4}, stats)
		assert.Equal(t, omniq.StatusSuccess, stats.Status())
		got, err := h.Wait(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "d[b[a[]] c[a[]]]", got)
		assert.Equal(t, f, client.Flow(f.ID()))
	})
}

// The flow of a handle is that of its task, wherever the handle comes from.
func TestFlowOfAHandle(t *testing.T) {
	b, client := newMemory(t)
	inner := flowLen.With(str("a"), omniq.Unique("k"))
	h, err := flowSum.On(omniq.All(inner)).Enqueue(t.Context(), client)
	f := flowOf(t, h, err)
	attached := flowSum.Attach(client, h.ID())
	again, err := flowSum.On(omniq.All(inner)).Enqueue(t.Context(), client)
	second := flowOf(t, again, err)
	assert.NotEqual(t, f, second)
	tx := b.Begin()
	inTx, err := flowLen.With(str("b")).Enqueue(t.Context(), client.Tx(tx))
	third := flowOf(t, inTx, err)
	_, err = third.Stats(t.Context())
	require.ErrorIs(t, err, omniq.ErrNotFound, "the transaction has not committed")
	require.NoError(t, tx.Commit())
	third = flowOf(t, inTx, nil)
	stats, err := third.Stats(t.Context())
	require.NoError(t, err)
	assert.Equal(t, 1, stats.Members())

	taken, err := flowLen.With(str("a"), omniq.Unique("k")).Enqueue(t.Context(), client)
	require.ErrorIs(t, err, omniq.ErrDuplicate)
	stored, err := inner.Enqueue(t.Context(), client)
	require.NoError(t, err)
	for name, h := range map[string]*omniq.Handle[int]{
		"enqueued": h, "attached": attached, "attached to a part": flowLen.Attach(client, inner.ID()),
		"a duplicate, of its holder": taken, "stored before": stored,
	} {
		t.Run(name, func(t *testing.T) {
			got, err := h.Flow(t.Context())
			require.NoError(t, err)
			assert.Equal(t, f, got)
		})
	}

	alone, err := flowLen.Enqueue(t.Context(), client, str("a"))
	require.NoError(t, err)
	_, err = alone.Flow(t.Context())
	require.ErrorIs(t, err, omniq.ErrInvalid)
	require.ErrorContains(t, err, fmt.Sprintf("task %v is a member of no flow", alone.ID()))
	_, err = flowLen.Attach(client, uuid.New()).Flow(t.Context())
	require.ErrorIs(t, err, omniq.ErrNotFound)
}

// A handler knows the flow of its task.
func TestInfoHasTheFlow(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		flows := map[string]uuid.UUID{}
		note := func(ctx context.Context) {
			info, ok := omniq.InfoFrom(ctx)
			assert.True(t, ok)
			flows[info.FuncName] = info.Flow
		}
		child := omniq.DefineNoArgs("child", func(ctx context.Context) (int, error) { note(ctx); return 1, nil })
		side := omniq.DefineNoArgs("side", func(ctx context.Context) (int, error) { note(ctx); return 1, nil })
		parent := omniq.DefineNoArgs("parent", func(ctx context.Context) (int, error) {
			note(ctx)
			if _, err := omniq.Enqueue(ctx, side.With()); err != nil {
				return 0, err
			}
			return omniq.Become(ctx, child.With())
		})
		run(t, b, omniq.Handlers(child, side, parent), omniq.Concurrency(1))
		h, err := parent.With().Enqueue(t.Context(), client)
		f := flowOf(t, h, err)
		stats, err := f.Wait(t.Context())
		require.NoError(t, err)
		assert.Equal(t, omniq.FlowStats{Succeeded: 3}, stats)
		assert.Equal(t, map[string]uuid.UUID{"parent": f.ID(), "child": f.ID(), "side": f.ID()}, flows)

		h, err = child.Enqueue(t.Context(), client)
		require.NoError(t, err)
		_, err = h.Wait(t.Context())
		require.NoError(t, err)
		assert.Zero(t, flows["child"], "of a task that was enqueued by itself")
	})
	want := omniq.Info{Flow: uuid.New()}
	got, ok := omniq.InfoFrom(omniq.ContextWithInfo(t.Context(), want))
	assert.True(t, ok)
	assert.Equal(t, want, got)
}

// What is requeued of the graph a -> b, c -> d, in which b fails: each case says how often each has run in the end.
func TestFlowRequeue(t *testing.T) {
	const (
		failed    = omniq.StatusFailure
		cancelled = omniq.StatusCancelled
	)
	type runs = map[string]int
	ended := map[string]omniq.Status{"?": omniq.StatusSuccess, "b": failed, "d": cancelled}
	for name, c := range map[string]struct {
		do   func(context.Context, *steps, omniq.Flow) (int, error)
		n    int
		runs runs
		end  map[string]omniq.Status
	}{
		"all that has stopped": {func(ctx context.Context, s *steps, f omniq.Flow) (int, error) {
			s.mend("b")
			return f.Requeue(ctx)
		}, 2, runs{"a": 1, "b": 2, "c": 1, "d": 1}, map[string]omniq.Status{"?": omniq.StatusSuccess}},
		"what failed alone": {func(ctx context.Context, s *steps, f omniq.Flow) (int, error) {
			s.mend("b")
			return f.RequeueFailed(ctx)
		}, 1, runs{"a": 1, "b": 2, "c": 1}, map[string]omniq.Status{"?": omniq.StatusSuccess, "d": cancelled}},
		"what failed, and then what had stopped because of it": {func(ctx context.Context, s *steps, f omniq.Flow) (int, error) {
			s.mend("b")
			n, err := f.RequeueFailed(ctx)
			if err != nil {
				return 0, err
			}
			synctest.Wait()
			more, err := f.Requeue(ctx)
			return n + more, err
		}, 2, runs{"a": 1, "b": 2, "c": 1, "d": 1}, map[string]omniq.Status{"?": omniq.StatusSuccess}},
		"it fails again": {func(ctx context.Context, _ *steps, f omniq.Flow) (int, error) {
			return f.Requeue(ctx)
		}, 2, runs{"a": 1, "b": 2, "c": 1}, ended},
		"nothing": {func(context.Context, *steps, omniq.Flow) (int, error) { return 0, nil }, 0, runs{"a": 1, "b": 1, "c": 1}, ended},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				b, client := newMemory(t)
				s := newSteps("b")
				run(t, b, omniq.Handlers(s.one), omniq.Concurrency(1))
				first := s.call("a")
				h, err := s.call("d", s.call("b", first), s.call("c", first)).Enqueue(t.Context(), client)
				f := flowOf(t, h, err)
				stats, err := f.Wait(t.Context())
				require.NoError(t, err)
				require.Equal(t, omniq.FlowStats{Succeeded: 2, Failed: 1, Cancelled: 1}, stats)
				require.Equal(t, failed, stats.Status())

				n, err := c.do(t.Context(), s, f)
				require.NoError(t, err)
				assert.Equal(t, c.n, n)
				_, err = f.Wait(t.Context())
				require.NoError(t, err)
				assert.Equal(t, c.runs, s.ran())
				assert.Equal(t, c.end, statuses(t, f))
			})
		})
	}
}

// A flow that was cancelled, or has expired, goes on with Requeue, and with the results that it had.
func TestFlowGoesOnAfterItWasStopped(t *testing.T) {
	for name, c := range map[string]struct {
		ttl  omniq.TaskOption
		stop func(ctx context.Context, f omniq.Flow) error
		only int // how many RequeueFailed requeues
	}{
		"cancelled": {omniq.TTL(time.Hour), func(ctx context.Context, f omniq.Flow) error { _, err := f.Cancel(ctx); return err }, 0},
		"expired":   {omniq.TTL(time.Minute), func(context.Context, omniq.Flow) error { time.Sleep(time.Hour); return nil }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				b, client := newMemory(t)
				s := newSteps()
				w := run(t, b, omniq.Handlers(s.one))
				first := s.call("a")
				second := s.one.On(omniq.All(first), omniq.Metadata("name", "b"), omniq.Queue("later"), c.ttl)
				h, err := s.call("c", second).Enqueue(t.Context(), client)
				f := flowOf(t, h, err)
				synctest.Wait()
				require.NoError(t, w.stop())
				require.NoError(t, c.stop(t.Context(), f))
				stats, err := f.Wait(t.Context())
				require.NoError(t, err)
				assert.Equal(t, omniq.FlowStats{Succeeded: 1, Cancelled: 2 - c.only, Expired: c.only}, stats)

				n, err := f.RequeueFailed(t.Context())
				require.NoError(t, err)
				assert.Equal(t, c.only, n)
				n, err = f.Requeue(t.Context())
				require.NoError(t, err)
				assert.Equal(t, 2-c.only, n)
				run(t, b, omniq.Handlers(s.one), omniq.Queues("default", "later"))
				got, err := h.Wait(t.Context())
				require.NoError(t, err)
				assert.Equal(t, "c[b[a[]]]", got)
				assert.Equal(t, map[string]int{"a": 1, "b": 1, "c": 1}, s.ran())
			})
		})
	}
}

// The calls for the elements of a result that have succeeded are not run again, though the task that stands for them begins anew.
func TestFlowRequeueOfEach(t *testing.T) {
	for name, stop := range map[string]func(t *testing.T, f omniq.Flow){
		"one failed": func(t *testing.T, f omniq.Flow) {
			stats, err := f.Wait(t.Context())
			require.NoError(t, err)
			require.Equal(t, omniq.FlowStats{Succeeded: 3, Failed: 1, Cancelled: 2}, stats)
		},
		"the flow was cancelled": func(t *testing.T, f omniq.Flow) {
			time.Sleep(90 * time.Second)
			_, err := f.Cancel(t.Context())
			require.NoError(t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				b, client := newMemory(t)
				var mu sync.Mutex
				runs := map[string]int{}
				d := omniq.DefineArgs("one", func(ctx context.Context, a omniq.Args1[string]) (int, error) {
					mu.Lock()
					defer mu.Unlock()
					runs[a.V1]++
					if a.V1 == "bad" && runs["bad"] == 1 {
						if name != "one failed" {
							<-ctx.Done()
						}
						return 0, omniq.Permanent(errOops)
					}
					return len(a.V1), nil
				})
				run(t, b, flowHandlers, omniq.Handlers(d), omniq.Concurrency(1))
				h, err := flowSum.On(d.Each(flowWords.With(str("a bad ccccc")))).Enqueue(t.Context(), client)
				f := flowOf(t, h, err)
				stop(t, f)

				_, err = f.Requeue(t.Context())
				require.NoError(t, err)
				got, err := h.Wait(t.Context())
				require.NoError(t, err)
				assert.Equal(t, 9, got)
				stats, err := f.Wait(t.Context())
				require.NoError(t, err)
				assert.Equal(t, omniq.FlowStats{Succeeded: 6}, stats)
				mu.Lock()
				defer mu.Unlock()
				assert.Equal(t, map[string]int{"a": 1, "bad": 2, "ccccc": 1}, runs)
			})
		})
	}
}

// backwards is a backend that lists all at once, what was enqueued last first.
type backwards struct{ omniq.Backend }

func (b *backwards) List(ctx context.Context, r omniq.ListRequest) ([]*omniq.TaskInfo, string, error) {
	r.Max = omniq.MaxListed
	page, next, err := b.Backend.List(ctx, r)
	slices.Reverse(page)
	return page, next, err
}

// A long chain is requeued in several calls, each task after the one that it needs, in whatever order the engine lists them.
func TestRequeueOfALongFlow(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		s := newSteps("first")
		last := s.call("first")
		for range 2500 {
			last = s.call("next", last)
		}
		h, err := last.Enqueue(t.Context(), client)
		f := flowOf(t, h, err)
		w := run(t, b, omniq.Handlers(s.one))
		stats, err := f.Wait(t.Context())
		require.NoError(t, err)
		require.Equal(t, omniq.FlowStats{Failed: 1, Cancelled: 2500}, stats)
		require.NoError(t, w.stop())
		seen := map[uuid.UUID]bool{}
		for info, err := range f.Tasks(t.Context()) {
			require.NoError(t, err)
			assert.False(t, seen[info.ID])
			seen[info.ID] = true
		}
		assert.Len(t, seen, 2501, "page by page")

		n, err := newClient(t, &backwards{b}).Flow(f.ID()).Requeue(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 2501, n)
		stats, err = f.Stats(t.Context())
		require.NoError(t, err)
		assert.Equal(t, omniq.FlowStats{Pending: 1, Waiting: 2500}, stats)
	})
}

// requeuer does something before each Requeue.
type requeuer struct {
	omniq.Backend
	before func(call int, ids []uuid.UUID) error
	calls  int
}

func (r *requeuer) Requeue(ctx context.Context, ids []uuid.UUID, follow bool) ([]error, error) {
	r.calls++
	if err := r.before(r.calls, ids); err != nil {
		return nil, err
	}
	return r.Backend.Requeue(ctx, ids, follow)
}

// Trouble in the middle of a Requeue says how far it has come. What changes meanwhile is no trouble.
func TestRequeueOfAFlowInTrouble(t *testing.T) {
	const members = 1500
	for name, c := range map[string]struct {
		before func(t *testing.T, b omniq.Backend) func(int, []uuid.UUID) error
		n      int
		err    error
		says   string
	}{
		"one is requeued by somebody else": {func(t *testing.T, b omniq.Backend) func(int, []uuid.UUID) error {
			return func(call int, ids []uuid.UUID) error {
				_, err := b.Requeue(t.Context(), ids[:call%2], false)
				return err
			}
		}, members - 1, nil, ""},
		"one is forgotten": {func(t *testing.T, b omniq.Backend) func(int, []uuid.UUID) error {
			return func(call int, ids []uuid.UUID) error {
				_, err := b.Forget(t.Context(), ids[:call%2])
				return err
			}
		}, members - 2, nil, ""}, // without that which needs it
		"a unique key is held": {func(t *testing.T, b omniq.Backend) func(int, []uuid.UUID) error {
			return func(call int, ids []uuid.UUID) error {
				if call > 1 {
					return nil
				}
				info, err := b.Inspect(t.Context(), ids[7])
				require.NoError(t, err)
				_, err = flowLen.Enqueue(t.Context(), newClient(t, b), str("x"), omniq.Unique(info.Task.UniqueKey))
				return err
			}
		}, members - 2, omniq.ErrDuplicate, "omniq: requeue task"},
		"the engine is away": {func(*testing.T, omniq.Backend) func(int, []uuid.UUID) error {
			return func(call int, _ []uuid.UUID) error {
				if call == 2 {
					return errOops
				}
				return nil
			}
		}, 1000, errOops, "after 1000 tasks"},
	} {
		t.Run(name, func(t *testing.T) {
			b, client := newMemory(t)
			parts := make([]omniq.Promised, members-1)
			for i := range parts {
				parts[i] = flowLen.With(str("x"), omniq.Unique(fmt.Sprint(i)))
			}
			h, err := flowNote.With().After(parts...).Enqueue(t.Context(), client)
			f := flowOf(t, h, err)
			_, err = f.Cancel(t.Context())
			require.NoError(t, err)
			stats, err := f.Stats(t.Context())
			require.NoError(t, err)
			require.Equal(t, omniq.FlowStats{Cancelled: members}, stats)

			n, err := newClient(t, &requeuer{Backend: b, before: c.before(t, b)}).Flow(f.ID()).Requeue(t.Context())
			assert.Equal(t, c.n, n)
			if c.err == nil {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, c.err)
			assert.ErrorContains(t, err, c.says)
			var bulk *omniq.BulkError
			assert.Equal(t, errors.Is(c.err, omniq.ErrDuplicate), errors.As(err, &bulk))
		})
	}
}

// asked counts how often a backend is asked for the figures of a flow.
type asked struct {
	omniq.Backend
	n *int
}

func (a asked) FlowStats(ctx context.Context, flow uuid.UUID) (omniq.FlowStats, error) {
	*a.n++
	return a.Backend.FlowStats(ctx, flow)
}

// Wait ends with the last member, whatever members add meanwhile, and asks seldom.
func TestFlowWait(t *testing.T) {
	work := omniq.DefineArgs("work", func(_ context.Context, a omniq.Args1[int]) (int, error) {
		time.Sleep(time.Duration(a.V1) * time.Second)
		return a.V1, nil
	})
	adds := omniq.DefineNoArgs("adds", func(ctx context.Context) (int, error) {
		if _, err := omniq.Enqueue(ctx, work.With(omniq.MakeArgs1(100))); err != nil {
			return 0, err
		}
		return omniq.Become(ctx, work.With(omniq.MakeArgs1(10)))
	})
	broken := omniq.DefineNoArgs("broken", func(context.Context) (int, error) { return 0, omniq.Permanent(errOops) })
	many := make([]omniq.Promise[int], 1000)
	for i := range many {
		many[i] = work.With(omniq.MakeArgs1(i % 7))
	}
	for name, c := range map[string]struct {
		promise omniq.Promise[int]
		stats   omniq.FlowStats
		after   time.Duration
	}{
		"one":                   {work.With(omniq.MakeArgs1(3)), omniq.FlowStats{Succeeded: 1}, 3 * time.Second},
		"many":                  {flowSum.On(omniq.All(many...)), omniq.FlowStats{Succeeded: 1001}, 188 * time.Second},
		"a failure":             {flowSum.On(omniq.All(broken.With(), work.With(omniq.MakeArgs1(9)))), omniq.FlowStats{Succeeded: 1, Failed: 1, Cancelled: 1}, 9 * time.Second},
		"what members add":      {adds.With(), omniq.FlowStats{Succeeded: 3}, 100 * time.Second},
		"what is not kept":      {work.With(omniq.MakeArgs1(3), omniq.ResultTTL(0)), omniq.FlowStats{}, 3 * time.Second},
		"in part":               {flowSum.On(omniq.All(work.With(omniq.MakeArgs1(3), omniq.ResultTTL(0)))), omniq.FlowStats{Succeeded: 1}, 3 * time.Second},
		"what comes much later": {work.With(omniq.MakeArgs1(1), omniq.Delay(time.Hour)), omniq.FlowStats{Succeeded: 1}, time.Hour + time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				b, _ := newMemory(t)
				n := 0
				client := newClient(t, asked{b, &n})
				h, err := c.promise.Enqueue(t.Context(), client)
				f := flowOf(t, h, err)
				began := time.Now()
				run(t, b, flowHandlers, omniq.Handlers(work, adds, broken))
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				_, err = f.Wait(ctx)
				require.ErrorIs(t, err, context.DeadlineExceeded)
				n = 0
				stats, err := f.Wait(t.Context())
				require.NoError(t, err)
				assert.Equal(t, c.stats, stats)
				assert.InDelta(t, c.after.Seconds(), time.Since(began).Seconds(), 2)
				assert.LessOrEqual(t, n, 4)
			})
		})
	}
}

// A flow that is cancelled ends whatever its members do at that moment, and brings no more.
func TestFlowCancel(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		adding := make(chan omniq.Promise[int], 1)
		runs := omniq.DefineNoArgs("runs", func(ctx context.Context) (int, error) {
			<-ctx.Done()
			return 0, context.Cause(ctx)
		})
		fails := omniq.DefineNoArgs("fails", func(context.Context) (int, error) { return 0, omniq.RetryAfter(time.Hour, errOops) })
		adds := omniq.DefineNoArgs("adds", func(ctx context.Context) (int, error) {
			child := flowLen.With(str("x"))
			if _, err := omniq.Enqueue(ctx, child); err != nil {
				return 0, err
			}
			adding <- child
			<-ctx.Done() // and ends with what it has enqueued
			return 1, nil
		})
		w := run(t, b, flowHandlers, omniq.Handlers(runs, fails, adds))
		all := omniq.All(runs.With(), fails.With(), adds.With(), flowLen.With(str("a"), omniq.Queue("nobody")))
		h, err := flowSum.On(all).Enqueue(t.Context(), client)
		f := flowOf(t, h, err)
		other, err := flowLen.With(str("a"), omniq.Queue("nobody")).Enqueue(t.Context(), client)
		require.NoError(t, err)
		child := <-adding
		synctest.Wait()
		stats, err := f.Stats(t.Context())
		require.NoError(t, err)
		require.Equal(t, omniq.FlowStats{Waiting: 1, Pending: 2, Running: 2}, stats)

		n, err := f.Cancel(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 5, n)
		stats, err = f.Wait(t.Context())
		require.NoError(t, err)
		assert.Equal(t, omniq.FlowStats{Cancelled: 5}, stats)
		assert.Equal(t, omniq.StatusCancelled, stats.Status())
		_, err = h.Wait(t.Context())
		require.ErrorIs(t, err, omniq.ErrCancelled)
		require.NoError(t, w.stop())
		_, err = client.Result(t.Context(), child.ID())
		require.ErrorIs(t, err, omniq.ErrNotFound)
		status, err := other.Status(t.Context())
		require.NoError(t, err)
		assert.Equal(t, omniq.StatusPending, status, "of another flow")
		n, err = f.Cancel(t.Context())
		require.NoError(t, err)
		assert.Zero(t, n)
	})
}

// A flow of which nothing is known, or that cannot be.
func TestNoFlow(t *testing.T) {
	_, client := newMemory(t)
	for name, c := range map[string]struct {
		flow omniq.Flow
		is   error
		says string
		list error
	}{
		"unknown":   {client.Flow(uuid.New()), omniq.ErrNotFound, "flow", nil},
		"zero ID":   {client.Flow(uuid.Nil), omniq.ErrInvalid, "an ID of all zeros", omniq.ErrInvalid},
		"no client": {omniq.Flow{}, omniq.ErrInvalid, "make one with NewClient", omniq.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			second := func(_ any, err error) error { return err }
			f, ctx := c.flow, t.Context()
			for _, err := range []error{
				second(f.Stats(ctx)), second(f.Wait(ctx)), second(f.Cancel(ctx)), second(f.Requeue(ctx)), second(f.RequeueFailed(ctx)),
			} {
				require.ErrorIs(t, err, c.is)
				assert.ErrorContains(t, err, c.says)
			}
			var listed error
			for _, listed = range f.Tasks(ctx) {
				assert.Error(t, listed)
			}
			require.ErrorIs(t, listed, c.list)
		})
	}
}
