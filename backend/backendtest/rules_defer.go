package backendtest

import (
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// deferRules say what becomes of tasks that a worker does not know, and of those with a delay.
var deferRules = []rule{
	{name: "a task that is deferred waits for its delay", check: func(c *checker) { c.returns(omniq.ActionDefer) }},
	{name: "a task that is deferred uses no attempt and tells for how long", check: func(c *checker) {
		t := task()
		c.enqueue(t)
		began := time.Now()
		var first time.Time
		least := time.Duration(0)
		for i := range 3 {
			l := c.leaseOne()
			assert.Equal(c, 1, l.Attempt)
			if i == 0 {
				assert.Zero(c, l.Deferred)
				first = time.Now()
			} else {
				assert.GreaterOrEqual(c, l.Deferred+time.Millisecond, least, "since the first of them in a row")
				assert.LessOrEqual(c, l.Deferred, time.Since(began), "since the first of them in a row")
			}
			require.NoError(c, c.settle(omniq.Settlement{LeaseID: l.LeaseID, Action: omniq.ActionDefer, Delay: short}))
			least = time.Duration(i+1) * short
			assert.Equal(c, omniq.StatusPending, c.result(t.ID).Status)
			assert.Zero(c, c.inspect(t.ID).Attempts)
		}
		assert.GreaterOrEqual(c, time.Since(first), 2*short)
	}},
	{name: "a retry, a release and a new life end it that a task is deferred", check: func(c *checker) {
		for i, end := range []func(omniq.Lease) omniq.Settlement{
			retry,
			func(l omniq.Lease) omniq.Settlement {
				return omniq.Settlement{LeaseID: l.LeaseID, Action: omniq.ActionRelease}
			},
			func(l omniq.Lease) omniq.Settlement { return failure(l, long) },
		} {
			q := fmt.Sprint("q", i)
			t := task(queue(q))
			c.enqueue(t)
			l := c.leaseOne(from(q))
			require.NoError(c, c.settle(omniq.Settlement{LeaseID: l.LeaseID, Action: omniq.ActionDefer, Delay: short}))
			l = c.leaseOne(from(q))
			assert.Greater(c, l.Deferred, time.Duration(0))
			s := end(l)
			require.NoError(c, c.settle(s))
			if s.Action == omniq.ActionFinish {
				require.NoError(c, c.requeue(t.ID))
			}
			assert.Zero(c, c.leaseOne(from(q)).Deferred)
		}
	}},
	{name: "a task with a Delay is due that long after it was stored", check: func(c *checker) {
		c.inTime(func(d time.Duration, q string) bool {
			for i, skew := range append(skews, 0) {
				q := fmt.Sprint(q, i)
				at := soon(d)
				t := task(queue(q), madeAt(skew), delay(d))
				c.enqueue(t)
				if !c.noneUntil(at, q) {
					return false
				}
				info := c.inspect(t.ID)
				assert.False(c, info.Due.Before(at) || info.Due.After(time.Now().Add(d)), "it is due at %v, want %v", info.Due, at)
				assert.Equal(c, t, c.leaseOne(from(q)).Task)
				assert.False(c, time.Now().Before(at), "it was leased before its time")
			}
			return true
		})
	}},
	{name: "a task that is requeued is due now, whenever it was to be due", check: func(c *checker) {
		for _, change := range []func(*omniq.RawTask){delay(long), runAt(soon(long))} {
			t := c.final(omniq.StatusCancelled, change)
			require.NoError(c, c.requeue(t.ID))
			l := c.leaseOne()
			assert.Equal(c, t.ID, l.TaskID)
			assert.Zero(c, l.Task.Delay)
			require.NoError(c, c.settle(success(l, "1", long)))
		}
	}},
	{name: "a task whose name is asked for is leased in the end, although others stand before it that are not", check: func(c *checker) {
		const others = 50
		for range others {
			c.enqueue(task(named("unknown")))
		}
		known := task(named("known"))
		c.enqueue(known)
		for range others + 1 {
			leases := c.lease(7, worst, asking("known"))
			require.NotEmpty(c, leases)
			for _, l := range leases {
				if l.TaskID == known.ID {
					return
				}
				require.NoError(c, c.settle(omniq.Settlement{LeaseID: l.LeaseID, Action: omniq.ActionDefer, Delay: long}))
			}
		}
		require.Fail(c, "the others stand before it for ever")
	}},
	{name: "where there is no task of a name that is asked for, another one is leased", check: func(c *checker) {
		want := []*omniq.RawTask{task(named("one")), task(named("two"))}
		c.enqueue(want...)
		got := []uuid.UUID{c.leaseOne(asking("known", "other")).TaskID, c.leaseOne(asking("known")).TaskID}
		assert.ElementsMatch(c, []uuid.UUID{want[0].ID, want[1].ID}, got)
		w := c.leasing(asking("known"))
		c.blocks(w.done, "Lease")
		t := task(named("three"))
		c.enqueue(t)
		assert.Equal(c, t.ID, c.leased(w).TaskID)
	}},
}

func delay(d time.Duration) func(*omniq.RawTask) { return func(t *omniq.RawTask) { t.Delay = d } }

func asking(names ...string) func(*omniq.LeaseRequest) {
	return func(r *omniq.LeaseRequest) { r.Names = names }
}
