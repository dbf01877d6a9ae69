package backendtest

import (
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// pauseRules say what a paused queue does.
var pauseRules = []rule{
	{name: "a paused queue hands nothing out until it is resumed", check: func(c *checker) {
		before, after, other := task(queue("q")), task(queue("q")), task(queue("other"))
		c.enqueue(before, other)
		c.pauseQueue("q")
		c.enqueue(after)
		leases := c.lease(9, 0, from("q", "other"))
		require.Len(c, leases, 1)
		assert.Equal(c, other.ID, leases[0].TaskID)
		assert.Empty(c, c.lease(1, short, from("q")), "a Lease that waits")
		assert.Equal(c, omniq.StatusPending, c.result(before.ID).Status)
		c.resume("q")
		assert.Equal(c, before.ID, c.leaseOne(from("q")).TaskID)
		assert.Equal(c, after.ID, c.leaseOne(from("q")).TaskID)
	}},
	{name: "a queue can be paused while a Lease waits for it", check: func(c *checker) {
		w := c.leasing(from("q"))
		c.blocks(w.done, "Lease")
		c.pauseQueue("q")
		t := task(queue("q"))
		c.enqueue(t)
		c.blocks(w.done, "Lease of a paused queue")
		c.resume("q")
		assert.Equal(c, t.ID, c.leased(w).TaskID)
	}},
	{name: "Resume wakes each who waits", check: func(c *checker) {
		c.pauseQueue("q")
		var waiting []*waiter
		for range 4 {
			c.enqueue(task(queue("q")))
			waiting = append(waiting, c.leasing(from("q")))
		}
		c.blocks(waiting[0].done, "Lease of a paused queue")
		c.resume("q")
		for _, w := range waiting {
			c.leased(w)
		}
	}},
	{name: "what runs is not touched by Pause", needs: fences, check: func(c *checker) {
		c.enqueue(task(), task(), task())
		one, two, three := c.leaseOne(), c.leaseOne(), c.leaseOne()
		c.pauseQueue(omniq.DefaultQueue)
		assert.Equal(c, omniq.StatusRunning, c.result(one.TaskID).Status)
		assert.NoError(c, c.extend(one.LeaseID))
		assert.NoError(c, c.settle(success(one, "1", long)))
		assert.NoError(c, c.settle(retry(two)))
		assert.NoError(c, c.cancel(three.TaskID))
		assert.NoError(c, c.requeue(three.TaskID))
		c.none()
		c.resume(omniq.DefaultQueue)
		assert.Equal(c, 2, c.leaseOne().Attempt)
		assert.Equal(c, three.TaskID, c.leaseOne().TaskID)
	}},
	{name: "a task of a paused queue expires", check: func(c *checker) {
		c.pauseQueue("q")
		t := task(queue("q"), ttl(short))
		c.enqueue(t)
		assert.Equal(c, omniq.StatusExpired, c.await(t.ID).Status)
	}},
	{name: "to pause or resume twice, or an unknown queue, is no error", check: func(c *checker) {
		c.resume("unknown")
		c.pauseQueue("q")
		c.pauseQueue("q")
		c.enqueue(task(queue("q")))
		c.none(from("q"))
		c.resume("q")
		c.leaseOne(from("q"))
		c.resume("q")
		c.enqueue(task(queue("q")))
		c.leaseOne(from("q"))
		assert.Equal(c, []omniq.QueueStats{{Queue: "q", Running: 2}}, timeless(c.stats()))
	}},
}

func (c *checker) pauseQueue(name string) {
	c.Helper()
	require.NoError(c, c.b.Pause(c.Context(), name))
}

func (c *checker) resume(name string) {
	c.Helper()
	require.NoError(c, c.b.Resume(c.Context(), name))
}
