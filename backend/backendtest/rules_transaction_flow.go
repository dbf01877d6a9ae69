package backendtest

import (
	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// transactionFlowRules say what holds for flows in a caller's transactions.
var transactionFlowRules = []transactionRule{
	{name: "a graph that is enqueued in a transaction is there once it commits, and never if it is rolled back", needs: flows, check: func(c *transactor) {
		done := c.final(omniq.StatusSuccess)
		stored := task(queue("stored"))
		c.enqueue(stored)
		for _, commit := range []bool{false, true} {
			flow := uuid.New()
			first, second := task(member(flow), queue("first"), after(done)), task(member(flow), queue("second"))
			after(first, stored)(second)
			other := task(after(second), queue("other"))
			in := c.begin()
			c.enqueueIn(in, first, second)
			c.enqueueIn(in, other) // depends on what the transaction has stored before
			for _, t := range []*omniq.RawTask{first, second, other} {
				_, err := c.b.Result(c.Context(), t.ID)
				require.ErrorIs(c, err, omniq.ErrNotFound, "nobody sees it before that")
			}
			_, err := c.b.FlowStats(c.Context(), flow)
			require.ErrorIs(c, err, omniq.ErrNotFound)
			if !commit {
				require.NoError(c, in.Rollback())
				c.noFlow(flow)
				for _, t := range []*omniq.RawTask{first, second, other} {
					c.unknown(t.ID)
				}
				c.none(from("first", "second", "other"))
				continue
			}
			require.NoError(c, in.Commit())
			assert.Equal(c, omniq.FlowStats{Pending: 1, Waiting: 1}, c.flowStats(flow))
			c.waiting(second, other)
			c.succeed(first, "1")
			c.succeed(stored, "2")
			l := c.leaseOf(second)
			c.inputs(l, "1", "2")
			require.NoError(c, c.settle(success(l, "3", long)))
			c.inputs(c.leaseOf(other), "3")
		}
		require.NoError(c, c.forget(done.ID))
	}},
	{name: "a graph that cannot be is refused in a transaction, which goes on", needs: flows, check: func(c *transactor) {
		flow := uuid.New()
		in := c.begin()
		before, unknown := task(queue("q")), task()
		_, err := in.Enqueue(c.Context(), []*omniq.RawTask{before, task(after(unknown))})
		require.ErrorIs(c, err, omniq.ErrNotFound)
		assert.Contains(c, err.Error(), unknown.ID.String())
		t := task(member(flow))
		c.enqueueIn(in, t)
		_, err = in.Enqueue(c.Context(), []*omniq.RawTask{before, task(member(flow))})
		require.ErrorIs(c, err, omniq.ErrState)
		errs, err := in.Enqueue(c.Context(), []*omniq.RawTask{t})
		c.places(errs, err, omniq.ErrDuplicate)
		next := task(after(t))
		c.enqueueIn(in, next)
		require.NoError(c, in.Commit())
		c.unknown(before.ID)
		assert.Equal(c, omniq.FlowStats{Pending: 1}, c.flowStats(flow))
		c.succeed(t, "1")
		c.inputs(c.leaseOf(next), "1")
	}},
	{name: "a task that ends in a transaction releases those that wait for it once that commits", needs: flows, check: func(c *transactor) {
		for _, commit := range []bool{false, true} {
			dep, bad := task(queue("dep")), task(queue("bad"))
			t, ends := task(after(dep)), task(after(bad))
			c.enqueue(dep, bad, t, ends)
			good, failed := c.leaseOf(dep), c.leaseOf(bad)
			w := c.leasing()
			c.blocks(w.done, "Lease")
			in := c.begin()
			require.NoError(c, c.settleIn(in, success(good, "1", long)))
			require.NoError(c, c.settleIn(in, failure(failed, long)))
			assert.Equal(c, omniq.StatusWaiting, c.result(t.ID).Status, "nobody sees it before that")
			assert.Equal(c, omniq.StatusWaiting, c.result(ends.ID).Status, "nobody sees it before that")
			c.blocks(w.done, "Lease")
			if !commit {
				require.NoError(c, in.Rollback())
				c.waiting(t, ends)
				require.NoError(c, c.settle(success(good, "2", long)))
				c.inputs(c.leased(w), "2")
				continue
			}
			require.NoError(c, in.Commit())
			c.inputs(c.leased(w), "1")
			c.blocked(ends, bad)
		}
	}},
	{name: "the effects of a settlement in a transaction are there once it commits", needs: func(c omniq.Capabilities) bool {
		return c.Flows && c.Notes
	}, check: func(c *transactor) {
		for _, commit := range []bool{false, true} {
			flow := uuid.New()
			t, victim := task(member(flow)), task(queue("victim"))
			c.enqueue(t)
			c.enqueue(victim)
			l := c.leaseOf(t)
			child := task(member(flow), after(t), queue("child"))
			s := success(l, `"result"`, long)
			s.Effects = &omniq.Effects{
				Enqueue: []*omniq.RawTask{child}, Cancel: []uuid.UUID{victim.ID},
				Notes: omniq.Notes{Progress: omniq.Raw(`{"p":1}`), Stream: []omniq.StreamItem{{Name: "s", Data: omniq.Raw("1")}}},
			}
			in := c.begin()
			require.NoError(c, c.settleIn(in, s))
			_, err := c.b.Result(c.Context(), child.ID)
			require.ErrorIs(c, err, omniq.ErrNotFound, "nobody sees it before that")
			assert.Equal(c, omniq.StatusPending, c.result(victim.ID).Status, "nobody sees it before that")
			assert.Nil(c, c.inspect(t.ID).Progress, "nobody sees it before that")
			if commit {
				require.NoError(c, in.Commit())
			} else {
				require.NoError(c, in.Rollback())
				c.unknown(child.ID)
				assert.Equal(c, omniq.StatusPending, c.result(victim.ID).Status)
				c.streams(t.ID, "s")
				assert.Equal(c, omniq.FlowStats{Running: 1}, c.flowStats(flow))
				require.NoError(c, c.settle(s), "its lease goes on")
			}
			c.cancelled(c.result(victim.ID), 0)
			assert.Equal(c, `{"p":1}`, string(c.inspect(t.ID).Progress))
			c.streams(t.ID, "s", "1")
			assert.Equal(c, omniq.FlowStats{Pending: 1, Succeeded: 1}, c.flowStats(flow))
			c.inputs(c.leaseOf(child), `"result"`)
		}
	}},
	{name: "what a transaction enqueues may wait for what it ends, and for what that brings", needs: flows, check: func(c *transactor) {
		t := task()
		c.enqueue(t)
		l := c.leaseOf(t)
		child := task(queue("child"))
		s := success(l, "1", 0)
		s.Effects = &omniq.Effects{Enqueue: []*omniq.RawTask{child}}
		next := task(after(t, child), queue("next"))
		in := c.begin()
		require.NoError(c, c.settleIn(in, s))
		c.enqueueIn(in, next)
		require.NoError(c, in.Commit())
		c.waiting(next)
		c.succeed(child, "2")
		l = c.leaseOf(next)
		c.inputs(l, "1", "2")
		require.NoError(c, c.settle(success(l, "3", long)))
		c.notFound(t.ID)
	}},
	{name: "a task hands over in a transaction once that commits", needs: flows, check: func(c *transactor) {
		for _, commit := range []bool{false, true} {
			t, child := task(), task(queue("child"))
			c.enqueue(t)
			l := c.leaseOf(t)
			in := c.begin()
			require.NoError(c, c.settleIn(in, handover(l, []*omniq.RawTask{child}, needing(child))))
			assert.Equal(c, omniq.StatusRunning, c.result(t.ID).Status, "nobody sees it before that")
			if !commit {
				require.NoError(c, in.Rollback())
				c.unknown(child.ID)
				require.NoError(c, c.settle(success(l, "1", long)), "its lease goes on")
				continue
			}
			require.NoError(c, in.Commit())
			c.waiting(t)
			c.succeed(child, "1")
			l = c.leaseOf(t)
			assert.True(c, l.Resumed)
			c.inputs(l, "1")
		}
	}},
	{name: "a settlement with effects that cannot be is refused in a transaction, which goes on", needs: flows, check: func(c *transactor) {
		c.enqueue(task(), task())
		bad, good := c.leaseOne(), c.leaseOne()
		before := task(queue("q"))
		s := success(bad, "1", long)
		s.Effects = &omniq.Effects{Enqueue: []*omniq.RawTask{before, task(after(task()))}}
		in := c.begin()
		errs, err := in.Settle(c.Context(), []omniq.Settlement{s, success(good, "2", long)})
		c.places(errs, err, omniq.ErrInvalid, nil)
		t := task(queue("q"))
		c.enqueueIn(in, t)
		require.NoError(c, in.Commit())
		c.unknown(before.ID)
		assert.Equal(c, omniq.StatusRunning, c.result(bad.TaskID).Status)
		assert.JSONEq(c, "2", string(c.result(good.TaskID).ResultData))
		assert.Equal(c, t.ID, c.leaseOf(t).TaskID)
		assert.NoError(c, c.settle(success(bad, "1", long)))
	}},
	{name: "a lease whose task a settlement of the same transaction has cancelled is lost", needs: func(c omniq.Capabilities) bool {
		return c.Flows && c.Fencing
	}, check: func(c *transactor) {
		c.enqueue(task(), task())
		one, other := c.leaseOne(), c.leaseOne()
		s := success(one, "1", long)
		s.Effects = &omniq.Effects{Cancel: []uuid.UUID{other.TaskID}}
		in := c.begin()
		require.NoError(c, c.settleIn(in, s))
		require.ErrorIs(c, c.settleIn(in, success(other, "2", long)), omniq.ErrLeaseLost)
		require.NoError(c, in.Commit())
		c.cancelled(c.result(other.TaskID), 1)
		assert.JSONEq(c, "1", string(c.result(one.TaskID).ResultData))
	}},
}
