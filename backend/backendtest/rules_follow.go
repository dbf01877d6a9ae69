package backendtest

import (
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// followRules say how tasks that are tied to others begin a new life.
var followRules = []rule{
	{name: "a task that is requeued with what follows from it revives those that it had ended", needs: flows, check: func(c *checker) {
		done := task(queue("done"))
		first := task(after(done), queue("first"))
		second, side := task(after(first), queue("second")), task(waitsFor(ending(first)), queue("side"))
		third := task(after(second, done), queue("third"))
		c.enqueue(done, first, second, side, third)
		c.succeed(done, `"done"`)
		require.NoError(c, c.settle(failure(c.leaseOf(first), long)))
		c.succeed(side, `"side"`)
		c.blocked(third, first)
		began := time.Now().Truncate(time.Millisecond)
		require.Equal(c, []error{nil}, c.requeueAll(true, first))
		c.waiting(second, third)
		for _, t := range []*omniq.RawTask{second, third} {
			info := c.inspect(t.ID)
			assert.Nil(c, info.Error)
			assert.False(c, info.Task.CreatedAt.Before(began), "it was created now")
		}
		assert.JSONEq(c, `"side"`, string(c.result(side.ID).ResultData), "what has succeeded is not run again")
		assert.JSONEq(c, `"done"`, string(c.result(done.ID).ResultData))
		l := c.leaseOf(first)
		assert.Equal(c, 1, l.Attempt)
		c.inputs(l, `"done"`)
		require.NoError(c, c.settle(success(l, `"first"`, long)))
		c.succeed(second, `"second"`)
		c.inputs(c.leaseOf(third), `"second"`, `"done"`)
		c.none(from("side", "done"))
	}},
	{name: "a task that is requeued alone revives no other, which can be requeued once it needs nothing else", needs: flows, check: func(c *checker) {
		first := task(queue("first"))
		second := task(after(first))
		third := task(after(second))
		c.enqueue(first, second, third)
		require.NoError(c, c.settle(failure(c.leaseOf(first), long)))
		c.blocked(third, first)
		why := c.requeueAll(false, second)[0]
		require.ErrorIs(c, why, omniq.ErrState)
		assert.Contains(c, why.Error(), first.ID.String(), "it says which one is to be requeued")
		require.NoError(c, c.requeue(first.ID))
		assert.Equal(c, omniq.StatusCancelled, c.result(second.ID).Status)
		require.NoError(c, c.requeue(second.ID))
		c.waiting(second)
		why = c.requeueAll(true, second)[0]
		require.ErrorIs(c, why, omniq.ErrState, "it waits")
		c.succeed(first, "1")
		c.inputs(c.leaseOf(second), "1")
		assert.Equal(c, omniq.StatusCancelled, c.result(third.ID).Status)
	}},
	{name: "tasks that are requeued in one call wait for each other, in whatever order they stand there", needs: flows, check: func(c *checker) {
		for _, follow := range []bool{false, true} {
			for _, backward := range []bool{false, true} {
				first, other := task(queue("first")), task(queue("other"))
				second := task(waitsFor(needing(first), ending(other)), queue("second"))
				third := task(after(second), queue("third"))
				c.enqueue(first, other, second, third)
				require.NoError(c, c.settle(failure(c.leaseOf(other), long)))
				require.NoError(c, c.settle(failure(c.leaseOf(first), long)))
				c.blocked(third, first)
				call := []*omniq.RawTask{first, other, second, third}
				if backward {
					slices.Reverse(call)
				}
				require.Equal(c, make([]error, 4), c.requeueAll(follow, call...), "with what follows: %v, backward: %v", follow, backward)
				c.waiting(second, third)
				c.succeed(first, "1")
				c.waiting(second)
				c.succeed(other, "2")
				c.inputs(c.leaseOf(second), "1", "2")
				require.NoError(c, c.cancel(second.ID))
				c.blocked(third, second)
			}
		}
	}},
	{name: "what is revived waits for all of the call that it depends on, in whatever order they stand there", needs: flows, check: func(c *checker) {
		for _, order := range [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
			first := task(queue("first"))
			second := task(waitsFor(ending(first)), queue("second"))
			third := task(after(second), queue("third"))
			revived := task(waitsFor(needing(first), ending(second)), queue("revived"))
			c.enqueue(first, second, third, revived)
			require.NoError(c, c.settle(failure(c.leaseOf(first), long)))
			require.NoError(c, c.settle(failure(c.leaseOf(second), long)))
			c.blocked(revived, first)
			c.blocked(third, second)
			call := make([]*omniq.RawTask, len(order))
			for i, n := range order {
				call[i] = []*omniq.RawTask{first, second, third}[n]
			}
			require.Equal(c, make([]error, len(call)), c.requeueAll(true, call...), order)
			c.waiting(second, third, revived)
			c.succeed(first, "1")
			c.waiting(third, revived)
			c.succeed(second, "2")
			c.inputs(c.leaseOf(revived), "1", "2")
			c.inputs(c.leaseOf(third), "2")
		}
	}},
	{name: "a task that others had ended, too, is revived with the last of them", needs: flows, check: func(c *checker) {
		one, other := task(queue("one")), task(queue("other"))
		t := task(after(one, other))
		c.enqueue(one, other, t)
		require.NoError(c, c.settle(failure(c.leaseOf(one), long)))
		require.NoError(c, c.settle(failure(c.leaseOf(other), long)))
		c.blocked(t, one)
		require.Equal(c, []error{nil}, c.requeueAll(true, other))
		assert.Equal(c, omniq.StatusCancelled, c.result(t.ID).Status, "the first is still not what it needs")
		require.NoError(c, c.settle(failure(c.leaseOf(other), long)))
		require.Equal(c, []error{nil, nil}, c.requeueAll(true, other, one))
		c.waiting(t)
		c.succeed(one, "1")
		c.succeed(other, "2")
		c.inputs(c.leaseOf(t), "1", "2")
	}},
	{name: "what follows comes together again, where it parts", needs: flows, check: func(c *checker) {
		root := task(queue("root"))
		parts := tasksOf(20, after(root))
		last := task(after(parts...), queue("last"))
		c.enqueue(append([]*omniq.RawTask{root}, append(parts, last)...)...)
		for range 2 {
			require.NoError(c, c.settle(failure(c.leaseOf(root), long)))
			c.blocked(last, root)
			require.Equal(c, []error{nil}, c.requeueAll(true, root))
			c.waiting(append(parts, last)...)
		}
		c.succeed(root, "1")
		for range parts {
			require.NoError(c, c.settle(success(c.leaseOne(), "2", long)))
		}
		assert.Len(c, c.leaseOf(last).Inputs, len(parts))
	}},
	{name: "what follows stays as it is where its unique key is held by another", needs: flows, check: func(c *checker) {
		first := task(queue("first"))
		second := task(after(first), unique("k"))
		third := task(after(second))
		c.enqueue(first, second, third)
		require.NoError(c, c.settle(failure(c.leaseOf(first), long)))
		c.blocked(third, first)
		holder := task(unique("k"), queue("holder"))
		c.enqueue(holder)
		require.Equal(c, []error{nil}, c.requeueAll(true, first))
		assert.Equal(c, omniq.StatusCancelled, c.result(second.ID).Status)
		assert.Equal(c, omniq.StatusCancelled, c.result(third.ID).Status)
		c.duplicate(c.requeueAll(true, second)[0], second.ID, holder.ID)
		c.succeed(holder, "1")
		require.Equal(c, []error{nil}, c.requeueAll(true, second))
		c.waiting(second, third)
		c.succeed(first, "2")
		c.inputs(c.leaseOf(second), "2")
	}},
	{name: "a task that is cancelled or expires while it waits is not revived with what it waits for", needs: flows, check: func(c *checker) {
		first := task(queue("first"))
		second := task(after(first))
		c.enqueue(first, second)
		require.NoError(c, c.cancel(second.ID))
		require.NoError(c, c.settle(failure(c.leaseOf(first), long)))
		require.Equal(c, []error{nil}, c.requeueAll(true, first))
		c.cancelled(c.result(second.ID), 0)
		require.NoError(c, c.requeue(second.ID))
		c.waiting(second)
		c.succeed(first, "1")
		c.inputs(c.leaseOf(second), "1")
	}},
	{name: "each task of a Requeue counts for itself, also of those that are tied to others", needs: flows, check: func(c *checker) {
		first := task(queue("first"))
		second := task(after(first))
		waits := task(after(first), queue("waits"))
		c.enqueue(first, second)
		require.NoError(c, c.settle(failure(c.leaseOf(first), long)))
		c.blocked(second, first)
		require.NoError(c, c.requeue(first.ID))
		c.enqueue(waits)
		errs := c.requeueAll(true, waits, second, task(), first)
		c.places(errs, nil, omniq.ErrState, nil, omniq.ErrNotFound, omniq.ErrState)
		c.waiting(second, waits)
		errs = c.requeueAll(true, second, second)
		c.places(errs, nil, omniq.ErrState, omniq.ErrState)
		require.NoError(c, c.settle(failure(c.leaseOf(first), long)))
		c.blocked(second, first)
		errs = c.requeueAll(true, first, first)
		c.places(errs, nil, nil, omniq.ErrState)
	}},
	{name: "a task that has ended because of those that it has handed over to is revived with them", needs: flows, check: func(c *checker) {
		t, child := task(), task(queue("child"))
		next := task(after(t), queue("next"))
		c.enqueue(t, next)
		require.NoError(c, c.settle(handover(c.leaseOf(t), []*omniq.RawTask{child}, needing(child))))
		require.NoError(c, c.settle(failure(c.leaseOf(child), long)))
		c.blocked(next, child)
		require.Equal(c, []error{nil}, c.requeueAll(true, child))
		assert.Equal(c, omniq.StatusPending, c.result(t.ID).Status, "it begins anew")
		c.waiting(next)
		l := c.leaseOf(t)
		assert.False(c, l.Resumed)
		assert.Empty(c, l.Inputs)
		require.NoError(c, c.settle(handover(l, []*omniq.RawTask{child}, needing(child))))
		c.waiting(t)
		c.succeed(child, "1")
		l = c.leaseOf(t)
		c.inputs(l, "1")
		require.NoError(c, c.settle(success(l, "2", long)))
		c.inputs(c.leaseOf(next), "2")
	}},
	{name: "a member of a flow that is requeued is a member again", needs: flows, check: func(c *checker) {
		flow := uuid.New()
		first := task(member(flow), queue("first"))
		second := task(member(flow), after(first))
		c.enqueue(first, second)
		_, err := c.b.CancelFlow(c.Context(), flow)
		require.NoError(c, err)
		require.Equal(c, []error{nil, nil}, c.requeueAll(false, second, first))
		assert.Equal(c, omniq.FlowStats{Waiting: 1, Pending: 1}, c.flowStats(flow))
		c.succeed(first, "1")
		c.succeed(second, "1")
		stats := c.flowStats(flow)
		assert.Equal(c, omniq.StatusSuccess, stats.Status())
	}},
}
