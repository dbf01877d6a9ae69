package backendtest

import (
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// waitRules say when a Lease that waits returns.
var waitRules = []rule{
	{name: "Lease without Wait returns at once", check: func(c *checker) {
		w := c.leasing(func(r *omniq.LeaseRequest) { r.Wait = 0 })
		require.NoError(c, c.ended(w.done, "Lease"))
		assert.Empty(c, w.leases)
	}},
	{name: "Lease returns nothing and no error when Wait is over", check: func(c *checker) {
		began := time.Now()
		w := c.leasing(func(r *omniq.LeaseRequest) { r.Wait = short })
		require.NoError(c, c.ended(w.done, "Lease"))
		assert.Empty(c, w.leases)
		assert.GreaterOrEqual(c, time.Since(began), short)
	}},
	{name: "a waiting Lease gets a task that is enqueued", check: func(c *checker) {
		w := c.leasing(from("first", "second"))
		c.blocks(w.done, "Lease")
		want := task(queue("second"))
		c.enqueue(want)
		assert.Equal(c, want.ID, c.leased(w).TaskID)
	}},
	{name: "a waiting Lease gets a delayed task", check: func(c *checker) {
		at := soon(2 * short)
		c.enqueue(task(runAt(at)))
		c.leased(c.leasing())
		assert.False(c, time.Now().Before(at), "it was leased before its time")
	}},
	{name: "a waiting Lease gets a task that is released", check: func(c *checker) { c.wakes(omniq.ActionRelease) }},
	{name: "a waiting Lease gets a task that is retried", check: func(c *checker) { c.wakes(omniq.ActionRetry) }},
	{name: "a waiting Lease gets a task whose lease runs out", check: func(c *checker) {
		c.enqueue(task())
		l := c.leaseOne(lasting(2 * short))
		assert.Equal(c, l.TaskID, c.leased(c.leasing()).TaskID)
	}},
	{name: "each waiting Lease gets a task when there is one for each", check: func(c *checker) {
		const n = 8
		var waiting []*waiter
		for range n {
			waiting = append(waiting, c.leasing())
		}
		c.blocks(waiting[0].done, "Lease")
		var tasks []*omniq.RawTask
		for range n / 2 {
			c.enqueue(task())
			tasks = append(tasks, task())
		}
		c.enqueue(tasks...)
		for _, w := range waiting {
			c.leased(w)
		}
	}},
	// Who is woken by a task of one queue may take that of another.
	{name: "each waiting Lease gets a task when they wait for several queues", check: func(c *checker) {
		both := c.leasing(from("one", "two"))
		c.blocks(both.done, "Lease")
		second := c.leasing(from("two"))
		c.blocks(second.done, "Lease")
		c.enqueue(task(queue("two")), task(queue("one")))
		if c.leased(both).Task.Queue == "two" { // it saw that before the other was there
			c.enqueue(task(queue("two")))
		}
		c.leased(second)
	}},
}

// wakes checks that a waiting Lease gets a task whose lease ends in this way.
func (c *checker) wakes(action omniq.Action) {
	c.Helper()
	c.enqueue(task())
	l := c.leaseOne()
	w := c.leasing()
	c.blocks(w.done, "Lease")
	require.NoError(c, c.settle(omniq.Settlement{LeaseID: l.LeaseID, Action: action}))
	assert.Equal(c, l.TaskID, c.leased(w).TaskID)
}
