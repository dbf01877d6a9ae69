package omniq_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
	"github.com/omniq-go/omniq/internal/bubble"
)

// program is a program of a fleet: what it enqueues and works goes by its own route.
type program struct {
	client *omniq.Client
	worker running
}

// A backend comes and another one goes while programs enqueue and work, each of them a step behind or before the others: each task is
// run once.
func TestRouteMoves(t *testing.T) {
	backends := map[string]omniq.Backend{"a": memory.New(), "b": memory.New(), "c": memory.New()}
	with := func(names ...string) map[string]omniq.Backend {
		some := map[string]omniq.Backend{}
		for _, name := range names {
			some[name] = backends[name]
		}
		return some
	}
	var queues []string
	for i := range 12 {
		queues = append(queues, fmt.Sprint("q", i))
	}
	var mu sync.Mutex
	ran := map[int]int{}
	d := omniq.DefineArgsVoid("count", func(ctx context.Context, a omniq.Args1[int]) error {
		info, _ := omniq.InfoFrom(ctx)
		mu.Lock()
		defer mu.Unlock()
		ran[a.V1] += info.Attempt
		return nil
	})
	slow := omniq.Concurrency(1)
	start := func(backends map[string]omniq.Backend, rule omniq.RouteRule, opts ...omniq.RouteOption) program {
		b, err := omniq.Route(backends, rule, append(opts, omniq.Logger(slog.New(slog.DiscardHandler)))...)
		require.NoError(t, err)
		return program{newClient(t, b), run(t, b, omniq.Handlers(d), omniq.Queues(queues...), slow)}
	}
	ab, abc, bc := omniq.ByHash("a", "b"), omniq.ByHash("a", "b", "c"), omniq.ByHash("b", "c")
	steps := []func() program{
		func() program { return start(with("a", "b"), ab) },
		func() program { return start(with("a", "b", "c"), ab, omniq.Moving(abc)) },
		func() program { return start(with("a", "b", "c"), abc, omniq.Moving(ab)) },
		func() program { return start(with("a", "b", "c"), abc) },
		func() program { return start(with("a", "b", "c"), abc, omniq.Moving(bc)) },
		func() program { return start(with("a", "b", "c"), bc, omniq.Moving(abc)) },
		func() program { return start(with("b", "c"), bc) },
	}
	empty := map[int][]string{2: {"a", "b"}, 5: {"a", "b", "c"}} // after which what has moved must be gone before the next step

	n := 0
	enqueue := func(fleet []program) {
		for range 100 {
			_, err := d.Enqueue(t.Context(), fleet[n%2].client, omniq.MakeArgs1(n), omniq.Queue(queues[n%len(queues)]))
			require.NoError(t, err)
			n++
		}
	}
	fleet := []program{steps[0](), steps[0]()}
	for i, step := range steps[1:] {
		for k := range fleet { // one after the other is replaced
			enqueue(fleet)
			require.NoError(t, fleet[k].worker.stop())
			enqueue(fleet)
			fleet[k] = step()
			enqueue(fleet)
		}
		for _, name := range empty[i+1] {
			client := newClient(t, backends[name])
			require.Eventually(t, func() bool {
				stats, err := client.Stats(t.Context())
				assert.NoError(t, err)
				for _, s := range stats {
					if s.Waiting+s.Ready+s.Scheduled+s.Running > 0 && (i == 1 || name == "a") {
						return false
					}
				}
				return true
			}, 10*time.Second, time.Millisecond)
		}
	}
	require.Eventually(t, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(ran) == n
	}, 10*time.Second, time.Millisecond)
	for _, p := range fleet {
		require.NoError(t, p.worker.stop())
	}
	assert.Equal(t, 3600, n)
	for i, times := range ran {
		require.Equal(t, 1, times, i)
	}
	worked := func(name string) (n int) {
		stats, err := backends[name].Stats(t.Context())
		require.NoError(t, err)
		for _, s := range stats {
			n += s.Succeeded
		}
		return n
	}
	for name := range backends {
		assert.Positive(t, worked(name), name)
		require.NoError(t, backends[name].Close())
	}
}

// While a queue moves, what concerns it is done in both places, and what was in the former one comes first.
func TestRouteOfAMovingQueue(t *testing.T) {
	one, two := &hinge{Backend: memory.New()}, &hinge{Backend: memory.New()}
	before, after := func(string) string { return "one" }, func(string) string { return "two" }
	backends := map[string]omniq.Backend{"one": one, "two": two}
	b, err := omniq.Route(backends, after, omniq.Moving(before))
	require.NoError(t, err)
	p := &pair{Backend: b, one: one, two: two, client: newClient(t, b)}
	t.Cleanup(func() { assert.NoError(t, b.Close()) })
	ctx := t.Context()

	old, fresh := p.task("q"), p.task("q")
	_, err = one.Enqueue(ctx, []*omniq.RawTask{old})
	require.NoError(t, err)
	p.put(t, fresh)
	assert.True(t, two.has(t, fresh))
	page, _, err := p.List(ctx, omniq.ListRequest{Status: omniq.StatusPending, Queue: "q", Max: 9})
	require.NoError(t, err)
	assert.Equal(t, []any{old.ID, fresh.ID}, []any{page[0].ID, page[1].ID})

	request := omniq.LeaseRequest{Queues: []string{"q"}, Max: 1}
	require.NoError(t, p.client.Pause(ctx, "q"))
	assert.Empty(t, p.lease(t, request))
	require.NoError(t, p.client.Resume(ctx, "q"))
	require.NoError(t, p.client.SetLimit(ctx, "q", omniq.Limit{Running: 1}))
	request.Max = 9
	leases := p.lease(t, request)
	require.Len(t, leases, 2, "each counts for itself")
	assert.Equal(t, old.ID, leases[0].TaskID)
	stats, err := p.Stats(ctx)
	require.NoError(t, err)
	require.Len(t, stats, 1)
	assert.Equal(t, 2, stats[0].Running)
	assert.Equal(t, 1, stats[0].Limit.Running)

	// A handler there enqueues there.
	child := p.task("q")
	errs, err := p.Settle(ctx, []omniq.Settlement{
		{LeaseID: leases[0].LeaseID, Action: omniq.ActionRelease, Effects: &omniq.Effects{Enqueue: []*omniq.RawTask{child}}},
	})
	require.NoError(t, err)
	assert.Empty(t, errs)
	assert.True(t, one.has(t, child))
	request.Limits = []int{1}
	assert.Len(t, p.lease(t, request), 1, "of both together")
}

// A schedule lives with its calls, runs there, and does not follow them when these move.
func TestRouteSchedules(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		p := newPair(t)
		ctx := t.Context()
		report := omniq.DefineNoArgs("report", func(context.Context) (int, error) { return 1, nil })
		w := run(t, p.Backend, omniq.Handlers(report), omniq.Queues("one-a", "two-b"))
		for _, queue := range []string{"one-a", "two-b"} {
			_, err := omniq.Schedule(ctx, p.client, queue, omniq.Every(time.Hour), report.With(omniq.Queue(queue)), omniq.Overlap(omniq.BufferOne))
			require.NoError(t, err)
		}
		_, err := omniq.Schedule(ctx, p.client, "both", omniq.Every(time.Hour),
			report.With(omniq.Queue("two-b")).After(report.With(omniq.Queue("one-a"))))
		require.ErrorIs(t, err, omniq.ErrInvalid)
		require.ErrorContains(t, err, "a schedule stays in one backend")
		time.Sleep(5*time.Hour + time.Minute)
		for queue, b := range map[string]*hinge{"one-a": p.one, "two-b": p.two} {
			infos, err := newClient(t, b.Backend).Schedule(queue).Describe(ctx)
			require.NoError(t, err, "it is there")
			assert.Equal(t, int64(5), infos.Counts.Runs)
			again, err := p.client.Schedule(queue).Trigger(ctx)
			require.NoError(t, err)
			_, err = again.Wait(ctx)
			require.NoError(t, err)
		}
		_, err = omniq.Schedule(ctx, p.client, "one-a", omniq.Every(time.Hour), report.With(omniq.Queue("two-b")))
		require.ErrorIs(t, err, omniq.ErrInvalid)
		require.ErrorContains(t, err, "delete it and declare it again")
		require.NoError(t, p.client.Schedule("one-a").Delete(ctx))
		_, err = omniq.Schedule(ctx, p.client, "one-a", omniq.Every(time.Hour), report.With(omniq.Queue("two-b")))
		require.NoError(t, err)
		_, err = newClient(t, p.two.Backend).Schedule("one-a").Describe(ctx)
		require.NoError(t, err)
		require.NoError(t, w.stop())
	})
}
