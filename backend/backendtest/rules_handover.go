package backendtest

import (
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// handoverRules say how a task waits for others after its handler has run.
var handoverRules = []rule{
	{name: "a task that hands over to others is leased again with their results, its attempt not used", needs: flows, check: func(c *checker) {
		t, next := task(), task(queue("next"))
		after(t)(next)
		c.enqueue(t, next)
		w := c.awaiting(t.ID)
		l := c.leaseOf(t)
		assert.False(c, l.Resumed)
		one, other := task(queue("one")), task(queue("other"))
		require.NoError(c, c.settle(handover(l, []*omniq.RawTask{one, other}, needing(other), noInput(one))))
		c.refuses(l.LeaseID)
		c.waiting(t, next)
		info := c.inspect(t.ID)
		assert.Zero(c, info.Attempts)
		assert.Equal(c, []omniq.Dependency{needing(other), noInput(one)}, info.After)
		c.none()
		c.blocks(w.done, "Await")
		c.succeed(one, `"one"`)
		c.waiting(t)
		c.succeed(other, `"other"`)
		l = c.leaseOf(t)
		assert.True(c, l.Resumed)
		assert.Equal(c, []int{1, 0}, []int{l.Attempt, l.Lost})
		c.inputs(l, `"other"`, "")
		require.NoError(c, c.settle(success(l, `"all"`, long)))
		assert.JSONEq(c, `"all"`, string(c.got(w).ResultData))
		c.inputs(c.leaseOf(next), `"all"`)
	}},
	{name: "a task that hands over holds no place: one worker works it and what it waits for", needs: flows, check: func(c *checker) {
		t := task()
		c.enqueue(t)
		depth := 0
		for depth < 5 {
			child := task()
			require.NoError(c, c.settle(handover(c.leaseOne(), []*omniq.RawTask{child}, needing(child))))
			depth++
		}
		require.NoError(c, c.settle(success(c.leaseOne(), "0", long)))
		for range depth {
			l := c.leaseOne()
			require.True(c, l.Resumed)
			require.Len(c, l.Inputs, 1)
			require.NoError(c, c.settle(success(l, string(l.Inputs[0].ResultData), long)))
		}
		assert.JSONEq(c, "0", string(c.await(t.ID).ResultData))
		c.none()
	}},
	{name: "a task that hands over to what has ended is due at once", needs: flows, check: func(c *checker) {
		done, failed := c.final(omniq.StatusSuccess), c.final(omniq.StatusFailure)
		for _, deps := range [][]omniq.Dependency{nil, {needing(done)}, {ending(failed), needing(done)}} {
			t := task(delay(time.Millisecond))
			c.enqueue(t)
			require.NoError(c, c.settle(handover(c.leaseOf(t), nil, deps...)))
			assert.Equal(c, omniq.StatusPending, c.result(t.ID).Status)
			l := c.leaseOf(t)
			assert.True(c, l.Resumed)
			assert.Len(c, l.Inputs, len(deps))
			require.NoError(c, c.settle(success(l, "1", long)))
		}
	}},
	{name: "a task that has handed over ends when what it needs then ends without success", needs: flows, check: func(c *checker) {
		failed := c.final(omniq.StatusFailure)
		t := task()
		next := task(after(t), queue("next"))
		c.enqueue(t, next)
		require.NoError(c, c.settle(handover(c.leaseOf(t), nil, needing(failed))))
		c.blocked(t, failed)
		c.blocked(next, failed)
		for _, death := range deaths {
			t, child := task(), task(queue("q"), func(t *omniq.RawTask) { t.TTL = new(short) })
			if death != omniq.StatusExpired {
				child.TTL = nil
			}
			next := task(after(t), queue("next"))
			c.enqueue(t, next)
			require.NoError(c, c.settle(handover(c.leaseOf(t), []*omniq.RawTask{child}, needing(child))))
			c.end(child, death)
			r := c.blocked(t, child)
			assert.Zero(c, r.Attempts)
			c.blocked(next, child)
		}
		c.none(from(omniq.DefaultQueue, "next"))
	}},
	{name: "a task can hand over again, and be retried in between", needs: flows, check: func(c *checker) {
		t := task()
		c.enqueue(t)
		first, second := task(queue("first"), resultTTL(0)), task(queue("second"))
		require.NoError(c, c.settle(handover(c.leaseOf(t), []*omniq.RawTask{first}, needing(first))))
		require.NoError(c, c.settle(success(c.leaseOf(first), `"first"`, 0)))
		l := c.leaseOf(t)
		c.inputs(l, `"first"`)
		require.NoError(c, c.settle(retry(l)))
		l = c.leaseOf(t)
		assert.Equal(c, 2, l.Attempt)
		assert.True(c, l.Resumed)
		c.inputs(l, `"first"`)
		require.NoError(c, c.settle(handover(l, []*omniq.RawTask{second}, needing(second))))
		c.notFound(first.ID) // it is no input any more
		c.waiting(t)
		assert.Equal(c, []omniq.Dependency{needing(second)}, c.inspect(t.ID).After)
		c.succeed(second, `"second"`)
		l = c.leaseOf(t)
		assert.Equal(c, 2, l.Attempt)
		c.inputs(l, `"second"`)
		require.NoError(c, c.settle(success(l, "1", long)))
	}},
	{name: "the TTL of a task that has handed over does not count any more, until it is requeued", needs: flows, check: func(c *checker) {
		c.inTime(func(d time.Duration, q string) bool {
			t, child := task(ttl(d), queue(q)), task(queue("child"))
			c.enqueue(t)
			leases := c.lease(1, 0, from(q))
			if len(leases) == 0 { // it has expired
				return false
			}
			require.NoError(c, c.settle(handover(leases[0], []*omniq.RawTask{child}, needing(child))))
			c.eventually("its TTL would be over", func() bool { return time.Since(t.CreatedAt) > d+10*time.Millisecond })
			c.waiting(t)
			c.succeed(child, "1")
			l := c.leaseOf(t)
			require.NoError(c, c.settle(retry(l)))
			l = c.leaseOf(t)
			require.NoError(c, c.settle(failure(l, long)))
			c.pauseQueue(q)
			require.NoError(c, c.requeue(t.ID))
			assert.Equal(c, omniq.StatusExpired, c.await(t.ID).Status)
			return true
		})
	}},
	{name: "a task that has handed over and is requeued waits for what it was enqueued with", needs: flows, check: func(c *checker) {
		dep := task(queue("dep"), resultTTL(0))
		t := task(after(dep))
		c.enqueue(dep, t)
		require.NoError(c, c.settle(success(c.leaseOf(dep), `"dep"`, 0)))
		l := c.leaseOf(t)
		c.inputs(l, `"dep"`)
		child := task(queue("child"), resultTTL(0))
		require.NoError(c, c.settle(handover(l, []*omniq.RawTask{child}, needing(child))))
		require.NoError(c, c.settle(success(c.leaseOf(child), `"child"`, 0)))
		l = c.leaseOf(t)
		c.inputs(l, `"child"`)
		require.NoError(c, c.settle(failure(l, long)))
		require.NoError(c, c.requeue(t.ID))
		assert.Equal(c, t.After, c.inspect(t.ID).After)
		c.notFound(child.ID)
		l = c.leaseOf(t)
		assert.False(c, l.Resumed)
		assert.Equal(c, 1, l.Attempt)
		c.inputs(l, `"dep"`)
		require.NoError(c, c.settle(success(l, "1", long)))
		c.notFound(dep.ID)
	}},
	{name: "a task that is cancelled while it waits for those that it has handed over to stays so", needs: flows, check: func(c *checker) {
		t, child := task(), task(queue("child"))
		c.enqueue(t)
		require.NoError(c, c.settle(handover(c.leaseOf(t), []*omniq.RawTask{child}, needing(child))))
		require.NoError(c, c.cancel(t.ID))
		c.succeed(child, "1")
		c.none()
		c.cancelled(c.result(t.ID), 0)
	}},
	{name: "a handover to one that is unknown changes nothing", needs: flows, check: func(c *checker) {
		t, child := task(), task(queue("child"))
		c.enqueue(t)
		l := c.leaseOf(t)
		require.ErrorIs(c, c.settle(handover(l, []*omniq.RawTask{child}, needing(child), needing(task()))), omniq.ErrInvalid)
		c.unknown(child.ID)
		assert.Equal(c, omniq.StatusRunning, c.result(t.ID).Status)
		require.NoError(c, c.settle(handover(l, []*omniq.RawTask{child}, needing(child))))
		c.waiting(t)
	}},
	{name: "what cannot be brought twice is what is waited for", needs: flows, check: func(c *checker) {
		held := task(queue("held"), unique("k"))
		c.enqueue(held)
		t, second := task(), task(unique("k"))
		c.enqueue(t)
		require.NoError(c, c.settle(handover(c.leaseOf(t), []*omniq.RawTask{second}, needing(second))))
		assert.Equal(c, []omniq.Dependency{needing(held)}, c.inspect(t.ID).After)
		c.succeed(held, `"held"`)
		c.inputs(c.leaseOf(t), `"held"`)
	}},
	{name: "a task that is taken ahead and hands over keeps its attempts", needs: flows, check: func(c *checker) {
		t := task()
		c.enqueue(t)
		require.NoError(c, c.settle(retry(c.leaseOf(t))))
		require.NoError(c, c.settle(handover(c.leaseOf(t, aheadOfTurn), nil)))
		assert.Equal(c, 1, c.inspect(t.ID).Attempts)
		l := c.leaseOf(t)
		assert.Equal(c, 2, l.Attempt)
		assert.True(c, l.Resumed)
	}},
	{name: "a handover can cancel others, after which its task is told", needs: flows, check: func(c *checker) {
		t, child, other := task(), task(queue("child")), task(queue("other"))
		c.enqueue(t, other)
		s := handover(c.leaseOf(t), []*omniq.RawTask{child}, ending(child), ending(other))
		s.Effects.Cancel = []uuid.UUID{child.ID, other.ID}
		require.NoError(c, c.settle(s))
		l := c.leaseOf(t)
		require.Len(c, l.Inputs, 2)
		for _, r := range l.Inputs {
			assert.Equal(c, omniq.StatusCancelled, r.Status)
		}
	}},
}

// handover is the settlement of a lease whose task is to wait for others, some of which it brings.
func handover(l omniq.Lease, bring []*omniq.RawTask, after ...omniq.Dependency) omniq.Settlement {
	return omniq.Settlement{LeaseID: l.LeaseID, Action: omniq.ActionWait, Effects: &omniq.Effects{Enqueue: bring, After: after}}
}
