package backendtest

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// flowRules say what holds for flows as a whole.
var flowRules = []rule{
	{name: "a flow is stored whole: none but a member adds to it, also when it has ended", needs: flows, check: func(c *checker) {
		flow := uuid.New()
		one, other := task(member(flow)), task(member(flow), queue("other"))
		c.enqueue(one, other)
		refused := func() {
			c.Helper()
			for _, call := range [][]*omniq.RawTask{
				{task(member(flow))}, {task(), task(member(flow))}, {one, task(member(flow))}, {task(member(uuid.New())), task(member(flow))},
			} {
				_, err := c.b.Enqueue(c.Context(), call)
				require.ErrorIs(c, err, omniq.ErrState)
				for _, t := range call {
					if t != one {
						c.unknown(t.ID)
					}
				}
			}
			errs, err := c.b.Enqueue(c.Context(), []*omniq.RawTask{one, other})
			c.places(errs, err, omniq.ErrDuplicate, omniq.ErrDuplicate)
		}
		refused()
		c.succeed(one, "1")
		refused()
		c.succeed(other, "1")
		refused()
		require.NoError(c, c.forget(one.ID))
		_, err := c.b.Enqueue(c.Context(), []*omniq.RawTask{task(member(flow))})
		require.ErrorIs(c, err, omniq.ErrState)
		require.NoError(c, c.forget(other.ID))
		c.enqueue(task(member(flow)))
	}},
	{name: "a flow without the members that are duplicates is a flow", needs: flows, check: func(c *checker) {
		flow := uuid.New()
		held := task(unique("k"), queue("held"))
		c.enqueue(held)
		again, t := task(unique("k"), member(flow)), task(member(flow))
		after(again)(t)
		errs, err := c.b.Enqueue(c.Context(), []*omniq.RawTask{again, t})
		c.places(errs, err, omniq.ErrDuplicate, nil)
		assert.Equal(c, omniq.FlowStats{Waiting: 1}, c.flowStats(flow))
		c.succeed(held, `"held"`)
		c.inputs(c.leaseOf(t), `"held"`)
		assert.Zero(c, c.inspect(held.ID).Flow)
	}},
	{name: "a member adds to its flow as it is settled, and what is no member does not", needs: flows, check: func(c *checker) {
		flow := uuid.New()
		t, stranger := task(member(flow)), task(queue("stranger"))
		c.enqueue(t, stranger)
		l, foreign := c.leaseOf(t), c.leaseOf(stranger)
		for _, other := range []uuid.UUID{flow, uuid.New()} {
			child := task(member(flow), queue("child"))
			s := success(foreign, "1", long)
			s.Effects = &omniq.Effects{Enqueue: []*omniq.RawTask{child}}
			if other == flow {
				require.ErrorIs(c, c.settle(s), omniq.ErrInvalid)
				c.unknown(child.ID)
				continue
			}
			child.Flow = other
			require.NoError(c, c.settle(s), "a flow of its own")
			assert.Equal(c, omniq.FlowStats{Pending: 1}, c.flowStats(other))
			c.succeed(child, "1")
		}
		child, later := task(member(flow), queue("child")), task(member(flow))
		s := retry(l)
		s.Effects = &omniq.Effects{Enqueue: []*omniq.RawTask{child}}
		require.NoError(c, c.settle(s))
		s = success(c.leaseOf(t), "1", long)
		s.Effects = &omniq.Effects{Enqueue: []*omniq.RawTask{later}}
		require.NoError(c, c.settle(s))
		assert.Equal(c, omniq.FlowStats{Pending: 2, Succeeded: 1}, c.flowStats(flow))
		last := task(member(flow))
		s = handover(c.leaseOf(child), []*omniq.RawTask{last}, needing(last))
		require.NoError(c, c.settle(s))
		assert.Equal(c, omniq.FlowStats{Waiting: 1, Pending: 2, Succeeded: 1}, c.flowStats(flow))
	}},
	{name: "the last member adds to its flow, though nothing is kept of its end", needs: flows, check: func(c *checker) {
		flow := uuid.New()
		t := task(member(flow))
		c.enqueue(t)
		for range 3 {
			next := task(member(flow))
			s := success(c.leaseOf(t), "1", 0)
			s.Effects = &omniq.Effects{Enqueue: []*omniq.RawTask{next}}
			require.NoError(c, c.settle(s))
			c.notFound(t.ID)
			assert.Equal(c, omniq.FlowStats{Pending: 1}, c.flowStats(flow))
			t = next
		}
		require.NoError(c, c.settle(success(c.leaseOf(t), "1", 0)))
		c.notFound(t.ID)
		c.noFlow(flow)
	}},
	{name: "the figures of a flow are those of its members, in each state", needs: flows, check: func(c *checker) {
		flow := uuid.New()
		c.noFlow(flow)
		of := func(q string, change ...func(*omniq.RawTask)) *omniq.RawTask {
			return task(append(change, member(flow), queue(q))...)
		}
		later, running, retried := of("later", delay(long)), of("running"), of("retried")
		done, failed, cancelled, expired := of("done"), of("failed"), of("cancelled"), of("expired", over)
		waits, byHand := of("waits", after(later)), of("manual", manual)
		blocked := of("blocked", after(failed))
		c.enqueue(later, running, retried, done, failed, cancelled, expired, waits, byHand, blocked, task(queue("none")), task(member(uuid.New())))
		c.leaseOf(running)
		s := retry(c.leaseOf(retried))
		s.Delay = long
		require.NoError(c, c.settle(s))
		c.succeed(done, "1")
		require.NoError(c, c.settle(failure(c.leaseOf(failed), long)))
		require.NoError(c, c.cancel(cancelled.ID))
		c.await(expired.ID)
		c.blocked(blocked, failed)
		want := omniq.FlowStats{Waiting: 2, Pending: 2, Running: 1, Succeeded: 1, Failed: 1, Cancelled: 2, Expired: 1}
		assert.Equal(c, want, c.flowStats(flow))
		require.NoError(c, c.forget(done.ID))
		require.NoError(c, c.requeue(expired.ID))
		require.NoError(c, c.cancel(waits.ID))
		want.Succeeded, want.Expired, want.Pending, want.Waiting, want.Cancelled = 0, 0, 3, 1, 3
		assert.Equal(c, want, c.flowStats(flow))
	}},
	{name: "List shows the members of a flow, in one state or in all, of one queue or of all", needs: flows, check: func(c *checker) {
		flow, foreign := uuid.New(), uuid.New()
		one, other := task(member(flow), queue("one")), task(member(flow), queue("other"))
		waits := task(member(flow), after(one), queue("one"))
		c.enqueue(one, other, waits)
		c.enqueue(task(member(foreign), queue("one")), task(queue("one")))
		require.NoError(c, c.settle(failure(c.leaseOf(other), long)))
		for _, tt := range []struct {
			request omniq.ListRequest
			want    []*omniq.RawTask
		}{
			{omniq.ListRequest{}, []*omniq.RawTask{one, other, waits}},
			{omniq.ListRequest{Queue: "one"}, []*omniq.RawTask{one, waits}},
			{omniq.ListRequest{Status: omniq.StatusPending}, []*omniq.RawTask{one}},
			{omniq.ListRequest{Status: omniq.StatusWaiting}, []*omniq.RawTask{waits}},
			{omniq.ListRequest{Status: omniq.StatusFailure}, []*omniq.RawTask{other}},
			{omniq.ListRequest{Status: omniq.StatusFailure, Queue: "one"}, nil},
			{omniq.ListRequest{Queue: "none"}, nil},
		} {
			for _, size := range []int{1, 2, 10} {
				r := tt.request
				r.Flow, r.Max = flow, size
				var want []uuid.UUID
				for _, t := range tt.want {
					want = append(want, t.ID)
				}
				got := c.list(r)
				assert.ElementsMatch(c, want, ids(got), "%+v", r)
				for _, info := range got {
					assert.Equal(c, flow, info.Flow)
					assert.Equal(c, c.inspect(info.ID), info)
				}
			}
		}
		assert.Empty(c, c.list(omniq.ListRequest{Flow: uuid.New(), Max: 5}))
		_, _, err := c.b.List(c.Context(), omniq.ListRequest{Flow: flow, Max: 1, After: "no such place"})
		assert.ErrorIs(c, err, omniq.ErrInvalid)
	}},
	{name: "a flow that is cancelled ends, whatever its members do, and no other one", needs: flows, check: func(c *checker) {
		flow := uuid.New()
		of := func(q string, change ...func(*omniq.RawTask)) *omniq.RawTask {
			return task(append(change, member(flow), queue(q))...)
		}
		later, ready, running, retried, handed := of("later", delay(long)), of("ready"), of("running"), of("retried"), of("handed")
		done := of("done")
		waits, next := of("waits", after(running, later)), of("next", waitsFor(ending(ready)))
		byHand := of("manual", manual)
		outside, outer := task(queue("outside"), after(running)), task(queue("outer"), member(uuid.New()))
		c.enqueue(later, ready, running, retried, handed, done, waits, next, byHand)
		c.enqueue(outside, outer)
		l := c.leaseOf(running)
		s := retry(c.leaseOf(retried))
		s.Delay = long
		require.NoError(c, c.settle(s))
		c.succeed(done, `"done"`)
		child := of("child")
		require.NoError(c, c.settle(handover(c.leaseOf(handed), []*omniq.RawTask{child}, needing(child))))
		w := c.awaiting(waits.ID)
		c.blocks(w.done, "Await")
		n, err := c.b.CancelFlow(c.Context(), flow)
		require.NoError(c, err)
		assert.Equal(c, 9, n)
		for _, t := range []*omniq.RawTask{later, ready, running, retried, handed, waits, next, byHand, child} {
			r := c.result(t.ID)
			assert.Equal(c, omniq.StatusCancelled, r.Status)
			assert.ErrorIs(c, r.Err(), omniq.ErrCancelled)
		}
		assert.Equal(c, omniq.StatusCancelled, c.got(w).Status)
		assert.JSONEq(c, `"done"`, string(c.result(done.ID).ResultData))
		stats := c.flowStats(flow)
		assert.Equal(c, omniq.StatusCancelled, stats.Status())
		assert.Equal(c, omniq.FlowStats{Succeeded: 1, Cancelled: 9}, stats)
		assert.Equal(c, []omniq.LeaseID{l.LeaseID}, c.revoked(c.revoking("w")))
		assert.ErrorIs(c, c.extend(l.LeaseID), omniq.ErrCancelled)
		c.blocked(outside, running)
		c.leaseOf(outer)
		c.none(from("later", "ready", "running", "retried", "handed", "waits", "next", "child"))
		n, err = c.b.CancelFlow(c.Context(), flow)
		require.NoError(c, err)
		assert.Zero(c, n, "none is left")
		_, err = c.b.Enqueue(c.Context(), []*omniq.RawTask{task(member(flow))})
		assert.ErrorIs(c, err, omniq.ErrState)
		_, err = c.b.CancelFlow(c.Context(), uuid.New())
		assert.ErrorIs(c, err, omniq.ErrNotFound)
	}},
	{name: "a flow that is cancelled while its members add to it ends", needs: func(c omniq.Capabilities) bool {
		return c.Flows && c.Fencing
	}, check: func(c *checker) {
		for range 3 {
			flow := uuid.New()
			c.enqueue(tasksOf(4, member(flow))...)
			var settled atomic.Int32
			var done []<-chan error
			for range 4 {
				done = append(done, async(func() error { // until there is nothing any more
					for {
						leases, err := c.b.Lease(c.Context(), omniq.LeaseRequest{
							Queues: []string{omniq.DefaultQueue}, Max: 2, Duration: long, WorkerID: "w",
						})
						if err != nil || len(leases) == 0 {
							return err
						}
						ends := make([]omniq.Settlement, len(leases))
						for i, l := range leases {
							children := tasksOf(2, member(flow))
							ends[i] = handover(l, children, needing(children[0]))
						}
						if _, err := c.b.Settle(c.Context(), ends); err != nil {
							return err
						}
						settled.Add(int32(len(ends)))
						c.pause()
					}
				}))
			}
			c.eventually("it grows", func() bool { return settled.Load() > 12 })
			n, err := c.b.CancelFlow(c.Context(), flow)
			require.NoError(c, err)
			require.Positive(c, n)
			for _, d := range done {
				require.NoError(c, c.ended(d, "a worker"))
			}
			stats := c.flowStats(flow)
			require.Zero(c, stats.Open(), "%+v", stats)
			require.Equal(c, stats.Members(), stats.Cancelled)
			require.Equal(c, omniq.StatusCancelled, stats.Status())
			c.none()
		}
	}},
	{name: "the members of a large flow are all cancelled", needs: flows, check: func(c *checker) {
		flow := uuid.New()
		first := task(member(flow), queue("first"))
		all := []*omniq.RawTask{first}
		for i := range 1500 {
			all = append(all, task(member(flow), after(all[i/2])))
		}
		c.enqueue(all...)
		n, err := c.b.CancelFlow(c.Context(), flow)
		require.NoError(c, err)
		assert.Positive(c, n)
		assert.Equal(c, omniq.FlowStats{Cancelled: len(all)}, c.flowStats(flow))
		c.none(from("first", omniq.DefaultQueue))
	}},
	{name: "the outer of nested flows outlives the results of the inner ones", needs: flows, check: func(c *checker) {
		outer := uuid.New()
		t := task(member(outer))
		last := task(member(outer), after(t), queue("last"))
		c.enqueue(t, last)
		parents := []*omniq.RawTask{t}
		for range 3 { // each hands over to a flow of its own
			l := c.leaseOne()
			inner := uuid.New()
			a := task(member(inner), resultTTL(0))
			b := task(member(inner), after(a), resultTTL(0))
			require.NoError(c, c.settle(handover(l, []*omniq.RawTask{a, b}, needing(b))))
			require.NoError(c, c.settle(success(c.leaseOf(a), "0", 0)))
			parents = append(parents, b)
		}
		for _, p := range slices.Backward(parents) {
			l := c.leaseOf(p)
			require.NotEmpty(c, l.Inputs)
			keep := time.Duration(0)
			if p == t {
				keep = long
			}
			require.NoError(c, c.settle(success(l, string(l.Inputs[0].ResultData), keep)))
		}
		l := c.leaseOf(last)
		c.inputs(l, "0")
		for _, p := range parents[1:] {
			c.notFound(p.ID)
		}
		assert.Equal(c, omniq.FlowStats{Running: 1, Succeeded: 1}, c.flowStats(outer))
	}},
}

// flowStats returns the figures of a flow that has members.
func (c *checker) flowStats(flow uuid.UUID) omniq.FlowStats {
	c.Helper()
	s, err := c.b.FlowStats(c.Context(), flow)
	require.NoError(c, err)
	return s
}

// noFlow checks that nothing is kept of a flow.
func (c *checker) noFlow(flow uuid.UUID) {
	c.Helper()
	_, err := c.b.FlowStats(c.Context(), flow)
	require.ErrorIs(c, err, omniq.ErrNotFound)
	_, err = c.b.CancelFlow(c.Context(), flow)
	require.ErrorIs(c, err, omniq.ErrNotFound)
}
