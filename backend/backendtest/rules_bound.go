package backendtest

import (
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// boundRules say what the limits of queues do.
var boundRules = []rule{
	{name: "no more tasks of a queue run than its limit permits", needs: bounds, check: func(c *checker) {
		c.bound(omniq.DefaultQueue, omniq.Limit{Running: 2})
		c.enqueue(task(), task(queue("other")), task(), task())
		got := c.take(2)
		c.none()
		assert.Len(c, c.lease(9, worst, from(omniq.DefaultQueue, "other")), 1, "another queue has no limit")
		w := c.leasing()
		c.blocks(w.done, "Lease")
		require.NoError(c, c.settle(success(got[0], "1", long)))
		require.NoError(c, c.settle(success(c.leased(w), "1", long)))
		assert.Empty(c, c.lease(9, 0, from("other")))
		c.take(0)
	}},
	{name: "the place of a task is free when its lease has ended, in whatever way", needs: bounds, check: func(c *checker) {
		for i, end := range []func(omniq.Lease){
			func(l omniq.Lease) { require.NoError(c, c.settle(success(l, "1", long))) },
			func(l omniq.Lease) { require.NoError(c, c.settle(failure(l, 0))) },
			func(l omniq.Lease) {
				require.NoError(c, c.settle(omniq.Settlement{LeaseID: l.LeaseID, Action: omniq.ActionRetry, Delay: long}))
			},
			func(l omniq.Lease) {
				require.NoError(c, c.settle(omniq.Settlement{LeaseID: l.LeaseID, Action: omniq.ActionRelease, Delay: long}))
			},
			func(l omniq.Lease) {
				require.NoError(c, c.settle(omniq.Settlement{LeaseID: l.LeaseID, Action: omniq.ActionDefer, Delay: long}))
			},
			func(l omniq.Lease) { require.NoError(c, c.cancel(l.TaskID)) },
		} {
			for j, limit := range []omniq.Limit{{Running: 1}, {EachLane: omniq.LaneLimit{Running: 1}}} {
				q := fmt.Sprintf("q%d-%d", i, j)
				c.bound(q, limit)
				c.enqueue(task(queue(q), lane("a")), task(queue(q), lane("a")))
				l := c.leaseOne(from(q))
				c.none(from(q))
				w := c.leasing(from(q))
				c.blocks(w.done, "Lease")
				end(l)
				require.NoError(c, c.settle(success(c.leased(w), "1", long)))
			}
		}
	}},
	{name: "the place of a task is free when its lease runs out, and not before", needs: bounds, check: func(c *checker) {
		for i, limit := range []omniq.Limit{{Running: 1}, {EachLane: omniq.LaneLimit{Running: 1}}} {
			c.inTime(func(d time.Duration, q string) bool {
				q = fmt.Sprint(q, i)
				c.bound(q, limit)
				c.enqueue(task(queue(q), lane("a")), task(queue(q), lane("a")))
				until := soon(d)
				c.leaseOne(from(q), lasting(d))
				if !c.noneUntil(until, q) {
					return false
				}
				w := c.leasing(from(q))
				l := c.leased(w)
				assert.False(c, time.Now().Before(until), "it was leased while another one ran")
				require.NoError(c, c.settle(success(l, "1", long)))
				require.NoError(c, c.settle(success(c.leaseOne(from(q)), "1", long)), "the lost one comes back")
				return true
			})
		}
	}},
	{name: "a limit holds from when it is set until it is taken away", needs: bounds, check: func(c *checker) {
		for range 7 {
			c.enqueue(task())
		}
		got := c.take(3, unlimited)
		c.bound(omniq.DefaultQueue, omniq.Limit{Running: 2})
		for _, l := range got[:2] {
			c.none()
			require.NoError(c, c.settle(success(l, "1", long)))
		}
		c.take(1)
		w := c.leasing()
		c.blocks(w.done, "Lease")
		c.bound(omniq.DefaultQueue, omniq.Limit{Running: 3})
		c.leased(w)
		w = c.leasing()
		c.blocks(w.done, "Lease")
		c.bound(omniq.DefaultQueue, omniq.Limit{})
		c.leased(w)
		assert.Len(c, c.lease(9, worst), 1)
	}},
	{name: "a limit is kept whether its queue has tasks or not, and is told by Stats", needs: bounds, check: func(c *checker) {
		limit := omniq.Limit{
			Running: 1, Rate: omniq.Rate{Tasks: 1000, Per: time.Second, Burst: 1000},
			EachLane: omniq.LaneLimit{Running: 7, Rate: omniq.PerHour(9000)},
		}
		c.bound("q", limit)
		assert.Equal(c, []omniq.QueueStats{{Queue: "q", Limit: limit}}, c.stats())
		c.enqueue(task(queue("q"), resultTTL(0)), task(queue("q"), resultTTL(0)))
		for range 2 {
			l := c.leaseOne(from("q"))
			c.none(from("q"))
			require.NoError(c, c.settle(success(l, "1", 0)))
		}
		assert.Equal(c, []omniq.QueueStats{{Queue: "q", Limit: limit}}, c.stats())
		c.bound("q", omniq.Limit{})
		assert.Empty(c, c.stats())
		c.bound("q", omniq.Limit{})
	}},
	{name: "an invalid limit is refused, and the last one stays", needs: bounds, check: func(c *checker) {
		limit := omniq.Limit{Running: 3}
		c.bound("q", limit)
		for _, wrong := range []omniq.Limit{
			{Running: -1}, {Running: omniq.MaxLimit + 1}, {EachLane: omniq.LaneLimit{Running: -1}},
			{Rate: omniq.Rate{Tasks: 1}}, {Rate: omniq.Rate{Per: time.Second}}, {Rate: omniq.Rate{Burst: 1}},
			{Rate: omniq.Rate{Tasks: 2, Per: time.Microsecond}}, {Rate: omniq.Rate{Tasks: 1, Per: omniq.MaxRatePer + 1}},
			{EachLane: omniq.LaneLimit{Rate: omniq.Rate{Tasks: 1, Per: time.Hour, Burst: -1}}},
		} {
			assert.ErrorIs(c, c.b.SetLimit(c.Context(), "q", wrong), omniq.ErrInvalid, "%+v", wrong)
		}
		assert.ErrorIs(c, c.b.SetLimit(c.Context(), "no queue", limit), omniq.ErrInvalid)
		assert.Equal(c, []omniq.QueueStats{{Queue: "q", Limit: limit}}, c.stats())
	}},
	{name: "a task over a limit stays ready, and nothing is told or counted of it", needs: bounds, events: long, check: func(c *checker) {
		c.bound(omniq.DefaultQueue, omniq.Limit{Running: 1})
		over := task()
		c.enqueue(task())
		l := c.leaseOne()
		c.enqueue(over)
		for range 3 {
			c.none()
		}
		info := c.inspect(over.ID)
		assert.Equal(c, []any{omniq.StatusPending, 0, 0}, []any{info.Status, info.Attempts, info.Lost})
		assert.Equal(c, 1, c.stats()[0].Ready)
		assert.Equal(c, []string{"ENQUEUED"}, types(c.events(over.ID)))
		require.NoError(c, c.settle(success(l, "1", long)))
		assert.Equal(c, 1, c.leaseOne().Attempt)
	}},
	{name: "a task that waits for a limit expires when its TTL is over", needs: bounds, check: func(c *checker) {
		c.bound(omniq.DefaultQueue, omniq.Limit{Running: 1})
		over := task(ttl(short))
		c.enqueue(task(priority(1)))
		c.leaseOne()
		c.enqueue(over)
		c.none()
		assert.Equal(c, omniq.StatusExpired, c.await(over.ID).Status)
	}},
	{name: "nothing is handed out ahead of a queue whose limit bounds how many run", needs: bounds, check: func(c *checker) {
		for i, limit := range []omniq.Limit{{Running: 5}, {EachLane: omniq.LaneLimit{Running: 5}}} {
			q := fmt.Sprint("q", i)
			c.bound(q, limit)
			for range 4 {
				c.enqueue(task(queue(q), lane("a")))
			}
			ahead := func(r *omniq.LeaseRequest) { r.Ahead = r.Max - 1 }
			for range 4 {
				leases := c.lease(4, worst, from(q), ahead)
				require.Len(c, leases, 1)
				assert.True(c, leases[0].Started)
			}
			c.enqueue(task(queue(q)))
			c.none(from(q), aheadOfTurn)
		}
	}},
	{name: "a place of a bounded queue goes to who can take it, whoever takes tasks ahead waits beside", needs: bounds, check: func(c *checker) {
		c.bound(omniq.DefaultQueue, omniq.Limit{Running: 1})
		c.enqueue(task(), task())
		l := c.leaseOne()
		ahead := []*waiter{c.leasing(aheadOfTurn), c.leasing(aheadOfTurn)}
		c.blocks(ahead[0].done, "Lease")
		w := c.leasing()
		c.blocks(w.done, "Lease")
		last := c.leasing(aheadOfTurn)
		c.blocks(last.done, "Lease")
		require.NoError(c, c.settle(success(l, "1", long)))
		c.leased(w)
		for _, w := range append(ahead, last) {
			c.blocks(w.done, "Lease")
		}
	}},
	{name: "a rate permits its burst at once, and then one task after the other", needs: bounds, check: func(c *checker) {
		const every = 50 * time.Millisecond
		c.bound(omniq.DefaultQueue, omniq.Limit{Rate: omniq.Rate{Tasks: 20, Per: time.Second, Burst: 3}})
		for range 20 { // to look costs nothing
			c.none()
		}
		for range 8 { // one may be leased in the look whether the burst is larger, where that takes long
			c.enqueue(task())
		}
		began := time.Now()
		c.onTime(c.take(3, unlimited), began, every, 3)
		for n := 4; n <= 7; n++ {
			c.onTime(c.leased1(c.leasing()), began, every, n)
		}
	}},
	{name: "a rate of each lane is its own", needs: bounds, check: func(c *checker) {
		c.bound(omniq.DefaultQueue, omniq.Limit{EachLane: omniq.LaneLimit{Rate: omniq.Rate{Tasks: 1, Per: time.Hour, Burst: 2}}})
		for range 3 {
			c.enqueue(task(lane("a")), task(lane("b")), task())
		}
		assert.Equal(c, map[string]int{"": 3, "a": 2, "b": 2}, lanesOf(c.take(7)))
		c.bound(omniq.DefaultQueue, omniq.Limit{})
		assert.Equal(c, map[string]int{"a": 1, "b": 1}, lanesOf(c.take(2)))
	}},
	{name: "what a rate was charged stays charged when the lane or the queue is empty meanwhile", needs: bounds, check: func(c *checker) {
		for i, limit := range []omniq.Limit{
			{Rate: omniq.Rate{Tasks: 1, Per: time.Hour, Burst: 1}}, {EachLane: omniq.LaneLimit{Rate: omniq.PerHour(1)}},
		} {
			q := fmt.Sprint("q", i)
			c.bound(q, limit)
			c.enqueue(task(queue(q), lane("a"), resultTTL(0)))
			require.NoError(c, c.settle(success(c.leaseOne(from(q)), "1", 0)))
			c.enqueue(task(queue(q), lane("a")))
			c.none(from(q))
			limit.Rate, limit.EachLane.Rate = fast(limit.Rate), fast(limit.EachLane.Rate)
			c.bound(q, limit) // what was charged is not more than all that the new rate has
			c.leaseOne(from(q))
		}
	}},
	{name: "a limit, a pause, priorities and times hold together", needs: allOf(bounds, prioritizes), check: func(c *checker) {
		c.bound(omniq.DefaultQueue, omniq.Limit{Running: 2, Rate: omniq.PerSecond(100_000)})
		low, high, later := task(), task(priority(5)), task(priority(9), runAt(soon(long)))
		c.enqueue(low, later, task(priority(1)), high)
		got := c.take(1, unlimited)
		assert.Equal(c, high.ID, got[0].TaskID)
		require.NoError(c, c.b.Pause(c.Context(), omniq.DefaultQueue))
		require.NoError(c, c.settle(success(got[0], "1", long)))
		c.none()
		require.NoError(c, c.only(c.b.RunNow(c.Context(), []uuid.UUID{later.ID})))
		require.NoError(c, c.b.Resume(c.Context(), omniq.DefaultQueue))
		got = c.take(2)
		assert.Equal(c, later.ID, got[0].TaskID)
		require.NoError(c, c.cancel(got[1].TaskID))
		assert.Equal(c, low.ID, c.leaseOne().TaskID)
	}},
}

// onTime checks that the n-th task since began did not come before its time. The last lease is that one.
func (c *checker) onTime(leases []omniq.Lease, began time.Time, every time.Duration, n int) {
	c.Helper()
	require.NotEmpty(c, leases)
	const burst = 3
	at := began.Add(time.Duration(max(n-burst, 0)) * every)
	assert.False(c, time.Now().Before(at.Add(-time.Millisecond)), "task %d came %v too early", n, time.Until(at))
	if n > burst {
		return
	}
	// Whether the burst is no larger can only be seen before the next one may come.
	if more := c.lease(1, 0); time.Now().Before(began.Add(every)) {
		assert.Empty(c, more, "the burst has %d tasks", burst)
	}
}

// leased1 is leased as a list.
func (c *checker) leased1(w *waiter) []omniq.Lease {
	c.Helper()
	return []omniq.Lease{c.leased(w)}
}

// fast is a rate that permits each task, where there is one.
func fast(r omniq.Rate) omniq.Rate {
	if r.Tasks == 0 {
		return r
	}
	return omniq.Rate{Tasks: 1000, Per: time.Millisecond, Burst: 1}
}

// bounds reports whether queues have limits and lanes.
func bounds(c omniq.Capabilities) bool { return c.Limits }

func allOf(a, b func(omniq.Capabilities) bool) func(omniq.Capabilities) bool {
	return func(c omniq.Capabilities) bool { return a(c) && b(c) }
}

func lane(name string) func(*omniq.RawTask) { return func(t *omniq.RawTask) { t.Lane = name } }

// bound gives a queue a limit.
func (c *checker) bound(queue string, limit omniq.Limit) {
	c.Helper()
	require.NoError(c, c.b.SetLimit(c.Context(), queue, limit))
}

// unlimited is for take: there may be more.
func unlimited(r *omniq.LeaseRequest) { r.WorkerID = "more" }

// take leases n tasks, in as many calls as it takes, and checks that there is no further one.
func (c *checker) take(n int, change ...func(*omniq.LeaseRequest)) []omniq.Lease {
	c.Helper()
	var got []omniq.Lease
	for len(got) < n {
		leases := c.lease(n-len(got), worst, change...)
		require.NotEmpty(c, leases, "%d of %d tasks", len(got), n)
		got = append(got, leases...)
	}
	if len(change) == 0 {
		require.Empty(c, c.lease(9, 0), "there is a task beside %d", n)
	}
	return got
}

// lanesOf counts the lanes of leases.
func lanesOf(leases []omniq.Lease) map[string]int {
	n := make(map[string]int)
	for _, l := range leases {
		n[l.Task.Lane]++
	}
	return n
}
