package backendtest

import (
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// timeRules say when tasks are due and when they expire.
var timeRules = []rule{
	{name: "a delayed task is leased when it is due and not before", check: func(c *checker) {
		c.inTime(func(d time.Duration, q string) bool {
			at := soon(d)
			c.enqueue(task(queue(q), runAt(at)))
			if !c.noneUntil(at, q) {
				return false
			}
			c.leaseOne(from(q))
			assert.False(c, time.Now().Before(at), "it was leased before its time")
			return true
		})
	}},
	{name: "a retry waits for its delay", check: func(c *checker) { c.returns(omniq.ActionRetry) }},
	{name: "a release waits for its delay", check: func(c *checker) { c.returns(omniq.ActionRelease) }},
	{name: "a task whose TTL has passed becomes expired without a worker", check: func(c *checker) {
		asked, awaited := task(ttl(short)), task(ttl(short))
		c.enqueue(asked, awaited)
		c.eventually("the result says so", func() bool { return c.result(asked.ID).Status.Final() })
		for _, r := range []*omniq.RawResult{c.result(asked.ID), c.await(awaited.ID)} {
			assert.Equal(c, omniq.StatusExpired, r.Status)
			assert.ErrorIs(c, r.Err(), omniq.ErrExpired)
			assert.Zero(c, r.Attempts)
			if assert.NotNil(c, r.TTL) {
				assert.Equal(c, omniq.DefaultFailureTTL, *r.TTL)
			}
		}
		c.none()
	}},
	{name: "a task whose TTL has passed is not leased", check: func(c *checker) {
		c.inTime(func(d time.Duration, q string) bool {
			all := []*omniq.RawTask{
				task(queue(q), ttl(-time.Second)), // and those that are retried, released and lost
				task(queue(q), ttl(d)), task(queue(q), ttl(d)), task(queue(q), ttl(d)),
			}
			c.enqueue(all...)
			attempts := []int{0, 1, 0, 1}
			for i, want := range all[1:] {
				began := time.Now()
				leases := c.lease(1, 0, from(q), lasting(2*d))
				if time.Since(all[0].CreatedAt) >= d {
					return false
				}
				require.Len(c, leases, 1)
				require.Equal(c, want.ID, leases[0].TaskID)
				s := omniq.Settlement{LeaseID: leases[0].LeaseID, Action: omniq.ActionRetry, Delay: 2 * d}
				switch i {
				case 1:
					s.Action = omniq.ActionRelease
				case 2:
					continue
				}
				err := c.settle(s)
				if time.Since(began) >= 2*d {
					return false // its lease may have run out
				}
				require.NoError(c, err)
			}
			assert.Empty(c, c.lease(1, 3*d, from(q)), "its TTL passed while it was leased or waited")
			for i, t := range all {
				r := c.await(t.ID)
				assert.Equal(c, omniq.StatusExpired, r.Status, "task %d", i)
				assert.Equal(c, attempts[i], r.Attempts, "task %d", i)
			}
			return true
		})
	}},
	{name: "an expired task's result goes when its own TTL is over", check: func(c *checker) {
		t := task(ttl(short), resultTTL(short))
		c.enqueue(t)
		assert.Equal(c, omniq.StatusExpired, c.await(t.ID).Status)
		c.notFound(t.ID)
	}},
}

// returns checks that a task whose lease ends in this way with a delay is due after it.
func (c *checker) returns(action omniq.Action) {
	c.Helper()
	c.inTime(func(d time.Duration, q string) bool {
		c.enqueue(task(queue(q)))
		l := c.leaseOne(from(q))
		at := soon(d)
		require.NoError(c, c.settle(omniq.Settlement{LeaseID: l.LeaseID, Action: action, Delay: d}))
		if !c.noneUntil(at, q) {
			return false
		}
		assert.Equal(c, l.TaskID, c.leaseOne(from(q)).TaskID)
		assert.False(c, time.Now().Before(at), "it was leased before its time")
		return true
	})
}
