package omniq_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
	"github.com/omniq-go/omniq/internal/bubble"
)

// The lists of all queues are merged by time, page by page, and nothing is twice in them or left out.
func TestRouteLists(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		p := newPair(t)
		var want []uuid.UUID
		for i := range 40 {
			queue := "one-a"
			if i%7 == 0 || i > 30 {
				queue = "two-b"
			}
			task := p.task(queue, func(t *omniq.RawTask) { t.CreatedAt = time.Now().UTC() })
			p.put(t, task)
			want = append(want, task.ID)
			time.Sleep(time.Millisecond)
		}
		read := func(r omniq.ListRequest) (ids []uuid.UUID) {
			for range 100 {
				page, next, err := p.List(t.Context(), r)
				require.NoError(t, err)
				require.LessOrEqual(t, len(page), r.Max)
				if ids = append(ids, idsOf(page)...); next == "" {
					return ids
				}
				r.After = next
			}
			require.Fail(t, "the list does not end")
			return nil
		}
		for _, size := range []int{1, 3, 7, 40, 100} {
			got := read(omniq.ListRequest{Status: omniq.StatusPending, Max: size})
			assert.Equal(t, want, got, "pages of %d", size)
			newest := read(omniq.ListRequest{Status: omniq.StatusPending, Max: size, Newest: true})
			for i := range want {
				assert.Equal(t, want[len(want)-1-i], newest[i])
			}
			assert.Len(t, newest, len(want))
		}
		n := 0
		for info, err := range p.client.List(t.Context(), omniq.StatusPending, "two-b") {
			require.NoError(t, err)
			assert.Equal(t, "two-b", info.Queue)
			n++
		}
		assert.Equal(t, 14, n)
		for _, after := range []string{"three=x", "%", "one=1&one=2"} {
			_, _, err := p.List(t.Context(), omniq.ListRequest{Status: omniq.StatusPending, Max: 1, After: after})
			require.ErrorIs(t, err, omniq.ErrInvalid, after)
		}
		p.two.set(onFire, false)
		_, _, err := p.List(t.Context(), omniq.ListRequest{Status: omniq.StatusPending, Max: 1})
		require.ErrorIs(t, err, errTrouble)
		_, err = p.Stats(t.Context())
		require.ErrorIs(t, err, errTrouble)
		page, _, err := p.List(t.Context(), omniq.ListRequest{Status: omniq.StatusPending, Queue: "one-a", Max: 1})
		require.NoError(t, err)
		assert.Len(t, page, 1)
	})
}

// A cursor of events is good for a route with one backend more or less, and nothing is twice or left out.
func TestRouteEvents(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		ctx := t.Context()
		backends := map[string]omniq.Backend{}
		for _, name := range []string{"one", "two", "three"} {
			b := memory.New(memory.WithEvents(time.Hour))
			defer func() { assert.NoError(t, b.Close()) }()
			backends[name] = b
		}
		route := func(names ...string) omniq.Backend {
			some := map[string]omniq.Backend{}
			for _, name := range names {
				some[name] = backends[name]
			}
			b, err := omniq.Route(some, byPrefix)
			require.NoError(t, err)
			return b
		}
		n := 0
		put := func(queue string) {
			time.Sleep(time.Millisecond)
			task := rawTask()
			task.Queue, task.FuncName = queue, fmt.Sprint(n)
			_, err := route("one", "two", "three").Enqueue(ctx, []*omniq.RawTask{&task})
			require.NoError(t, err)
			n++
		}
		cursor, seen := omniq.CursorOldest, 0
		read := func(b omniq.Backend) {
			for {
				events, next, err := b.Events(ctx, omniq.EventsRequest{After: cursor, Max: 3})
				require.NoError(t, err)
				for _, e := range events {
					assert.Equal(t, fmt.Sprint(seen), e.FuncName)
					seen++
				}
				if cursor = next; len(events) == 0 {
					return
				}
			}
		}
		for i := range 20 {
			put([]string{"one-a", "two-b", "two-b"}[i%3])
		}
		read(route("one", "two"))
		assert.Equal(t, 20, seen)
		put("three-c")
		put("one-a")
		read(route("one", "two", "three"))
		put("two-b")
		read(route("one", "two"))
		assert.Equal(t, n, seen)

		for _, queue := range []string{"one-a", "two-b"} {
			b, began := route("one", "two"), time.Now()
			var later sync.WaitGroup
			later.Go(func() {
				time.Sleep(20 * time.Second)
				put(queue)
			})
			events, next, err := b.Events(ctx, omniq.EventsRequest{After: omniq.CursorLatest, Max: 9, Wait: time.Minute})
			require.NoError(t, err)
			later.Wait()
			require.Len(t, events, 1)
			assert.Equal(t, queue, events[0].Queue)
			assert.InDelta(t, 20, time.Since(began).Seconds(), 0.01)
			events, _, err = b.Events(ctx, omniq.EventsRequest{After: next, Max: 9, Wait: time.Second})
			require.NoError(t, err)
			assert.Empty(t, events)
		}
		for _, after := range []omniq.Cursor{"7", "one=$", "one=", "one=x"} {
			_, _, err := route("one", "two").Events(ctx, omniq.EventsRequest{After: after, Max: 1})
			require.ErrorIs(t, err, omniq.ErrInvalid, after)
		}
	})
}

// What is told of workers, queues and minutes is put together.
func TestRouteMonitors(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		p := newPair(t)
		ctx := t.Context()
		beat := func(b omniq.Backend, id string, running int, queues ...string) {
			require.NoError(t, b.Beat(ctx, omniq.WorkerInfo{ID: id, Queues: queues, Running: running, Concurrency: 9, Lease: time.Minute}))
		}
		beat(p.Backend, "both", 1, "one-a", "two-b")
		beat(p.Backend, "second", 1, "two-b")
		time.Sleep(time.Second)
		beat(p.one.Backend, "both", 2, "one-a", "two-b")
		workers, err := p.Workers(ctx)
		require.NoError(t, err)
		require.Len(t, workers, 2)
		assert.Equal(t, []any{"both", 2, "second", 1}, []any{workers[0].ID, workers[0].Running, workers[1].ID, workers[1].Running})
		alone, err := p.one.Workers(ctx)
		require.NoError(t, err)
		assert.Len(t, alone, 1, "it takes nothing from there")
		beat(p.Backend, "all", 0)
		alone, err = p.one.Workers(ctx)
		require.NoError(t, err)
		assert.Len(t, alone, 2)

		named := func(t *omniq.RawTask) { t.FuncName = "f" }
		p.put(t, p.task("one-a", named), p.task("two-b", named), p.task("one-a", named))
		_, err = p.two.Enqueue(ctx, []*omniq.RawTask{p.task("one-a", named)}) // by a rule of before
		require.NoError(t, err)
		stats, err := p.Stats(ctx)
		require.NoError(t, err)
		assert.Equal(t, []any{"one-a", 3, "two-b", 1}, []any{stats[0].Queue, stats[0].Ready, stats[1].Queue, stats[1].Ready})
		minutes, err := p.History(ctx, time.Hour)
		require.NoError(t, err)
		require.Len(t, minutes, 2)
		assert.Equal(t, []any{"one-a", 3, "two-b", 1}, []any{minutes[0].Queue, minutes[0].Enqueued, minutes[1].Queue, minutes[1].Enqueued})
		p.two.set(func(context.Context) error { return errTrouble }, false)
		_, err = p.Stats(ctx)
		require.ErrorContains(t, err, `backend "two": `)
	})
}
