package backendtest

import (
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// laneRules say how lanes take turns.
var laneRules = []rule{
	{name: "the lanes of a queue take turns, and the tasks without one are one more", needs: bounds, check: func(c *checker) {
		for name := range strings.SplitSeq("a,a,a,b,c,b,a,,c,,,", ",") {
			c.enqueue(task(lane(name)))
		}
		assert.Equal(c, "a b c - a b c - a - a -", c.turns(12))
		c.take(0)
	}},
	{name: "a lane with many tasks delays another one by one task", needs: bounds, check: func(c *checker) {
		many := make([]*omniq.RawTask, 300)
		for i := range many {
			many[i] = task(lane("many"))
		}
		c.enqueue(many...)
		require.Len(c, c.take(10, unlimited), 10)
		c.enqueue(task(lane("few")), task())
		assert.ElementsMatch(c, []string{"few", "-", "many"}, strings.Fields(c.turns(3)))
	}},
	{name: "a lane that has had nothing to do comes after those that wait", needs: bounds, check: func(c *checker) {
		c.enqueue(task(lane("b")), task(lane("b")), task(lane("b")), task(lane("b")), task(lane("a"), resultTTL(0)))
		assert.Equal(c, "b a", c.turns(2))
		c.enqueue(task(lane("a")))
		assert.Equal(c, "b a b b", c.turns(4))
	}},
	{name: "a lane whose last task runs keeps its turn", needs: bounds, check: func(c *checker) {
		c.enqueue(task(lane("a")), task(lane("b")), task(lane("b")), task(lane("c")), task(lane("c")))
		l := c.leaseOne()
		require.Equal(c, "a", l.Task.Lane)
		c.enqueue(task(lane("a")))
		assert.Equal(c, "b c a b c", c.turns(5))
		require.NoError(c, c.settle(success(l, "1", long)))
	}},
	{name: "within a lane the order is that of the queue", needs: allOf(bounds, prioritizes), check: func(c *checker) {
		for _, name := range []string{"a", ""} {
			c.enqueue(task(lane(name), named(name+"3")), task(lane(name), priority(2), named(name+"1")),
				task(lane(name), named(name+"4")), task(lane(name), priority(2), named(name+"2")), task(lane(name), priority(-1), named(name+"5")))
		}
		got := make(map[string]string)
		for range 10 {
			l := c.leaseOne()
			got[l.Task.Lane] += l.Task.FuncName[len(l.Task.Lane):]
		}
		assert.Equal(c, map[string]string{"a": "12345", "": "12345"}, got)
	}},
	{name: "a limit of each lane bounds each by itself, and nothing is lent", needs: bounds, check: func(c *checker) {
		c.bound(omniq.DefaultQueue, omniq.Limit{Running: 9, EachLane: omniq.LaneLimit{Running: 2}})
		for range 4 {
			c.enqueue(task(lane("a")), task())
		}
		c.enqueue(task(lane("b")))
		got := c.take(7)
		assert.Equal(c, map[string]int{"": 4, "a": 2, "b": 1}, lanesOf(got))
		for _, l := range got {
			if l.Task.Lane == "" {
				require.NoError(c, c.settle(success(l, "1", long)))
			}
		}
		c.take(0)
		for _, l := range got {
			if l.Task.Lane == "a" {
				require.NoError(c, c.settle(success(l, "1", long)))
				assert.Equal(c, "a", c.leaseOne().Task.Lane)
			}
		}
		c.take(0)
	}},
	{name: "the limits of the queue and of its lanes hold together", needs: bounds, check: func(c *checker) {
		c.bound(omniq.DefaultQueue, omniq.Limit{Running: 3, EachLane: omniq.LaneLimit{Running: 2}})
		for _, name := range []string{"a", "b", "a", "a", "b", "a"} {
			c.enqueue(task(lane(name)))
		}
		running := c.take(3)
		end := func(lane string) {
			c.Helper()
			i := slices.IndexFunc(running, func(l omniq.Lease) bool { return l.Task.Lane == lane })
			require.GreaterOrEqual(c, i, 0, "none of lane %q runs", lane)
			require.NoError(c, c.settle(success(running[i], "1", long)))
			running = slices.Delete(running, i, i+1)
		}
		assert.Equal(c, map[string]int{"a": 2, "b": 1}, lanesOf(running))
		end("b")
		running = append(running, c.take(1)...)
		assert.Equal(c, map[string]int{"a": 2, "b": 1}, lanesOf(running), "a has as many as it may")
		end("b")
		c.take(0)
		end("a")
		assert.Equal(c, "a", c.take(1)[0].Task.Lane)
	}},
	{name: "a task of a lane comes back to it, in whatever way", needs: bounds, check: func(c *checker) {
		c.bound(omniq.DefaultQueue, omniq.Limit{EachLane: omniq.LaneLimit{Running: 1}})
		t := task(lane("a"))
		c.enqueue(t)
		other := task(lane("a"), runAt(soon(long)))
		c.enqueue(other)
		back := func(what string) omniq.Lease {
			c.Helper()
			l := c.leased(c.leasing())
			assert.Equal(c, []any{t.ID, "a"}, []any{l.TaskID, l.Task.Lane}, what)
			require.Empty(c, c.lease(9, 0), what)
			return l
		}
		l := back("enqueued")
		for _, s := range []omniq.Settlement{
			{Action: omniq.ActionRetry}, {Action: omniq.ActionRelease}, {Action: omniq.ActionDefer},
			{Action: omniq.ActionRetry, Delay: short}, {Action: omniq.ActionRelease, Delay: short},
		} {
			s.LeaseID = l.LeaseID
			require.NoError(c, c.settle(s))
			l = back("given back")
		}
		require.NoError(c, c.settle(omniq.Settlement{LeaseID: l.LeaseID, Action: omniq.ActionRetry, Delay: long}))
		require.NoError(c, c.only(c.b.RunNow(c.Context(), []uuid.UUID{t.ID})))
		require.NoError(c, c.cancel(back("run now").TaskID))
		require.NoError(c, c.requeue(t.ID))
		require.NoError(c, c.settle(failure(back("requeued"), long)))
		require.NoError(c, c.requeue(t.ID))
		l = c.leaseOne(lasting(short))
		require.Equal(c, t.ID, l.TaskID)
		l = back("lost")
		require.NoError(c, c.only(c.b.RunNow(c.Context(), []uuid.UUID{other.ID})))
		c.none()
		require.NoError(c, c.cancel(other.ID))
		require.NoError(c, c.settle(success(l, "1", long)))
		c.take(0)
	}},
	{name: "a task of a lane that waits for others, and hands over to others, is in its lane", needs: allOf(bounds, flows), check: func(c *checker) {
		c.bound(omniq.DefaultQueue, omniq.Limit{EachLane: omniq.LaneLimit{Running: 1}})
		first, free := task(lane("a")), task(queue("free"))
		second := task(lane("a"), after(first))
		c.enqueue(first, second, free)
		l := c.leaseOne()
		require.Equal(c, first.ID, l.TaskID)
		require.NoError(c, c.settle(omniq.Settlement{
			LeaseID: l.LeaseID, Action: omniq.ActionWait,
			Effects: &omniq.Effects{After: []omniq.Dependency{{ID: free.ID}}, Enqueue: []*omniq.RawTask{task(lane("a"), named("brought"))}},
		}))
		l = c.leaseOne()
		require.Equal(c, "brought", l.Task.FuncName, "who waits runs no more")
		require.NoError(c, c.settle(success(c.leaseOne(from("free")), "1", long)))
		w := c.leasing()
		c.blocks(w.done, "Lease")
		require.NoError(c, c.settle(success(l, "1", long)))
		l = c.leased(w)
		require.Equal(c, first.ID, l.TaskID)
		require.NoError(c, c.settle(success(l, "1", long)))
		assert.Equal(c, second.ID, c.leaseOne().TaskID)
	}},
	{name: "a hold keeps a lane back for its time, and no other one", needs: allOf(bounds, fences), check: func(c *checker) {
		for _, name := range []string{"a", ""} {
			c.inTime(func(d time.Duration, q string) bool {
				q += name + "-"
				held, next, other := task(queue(q), lane(name)), task(queue(q), lane(name)), task(queue(q), lane("other"))
				c.enqueue(held, next, other)
				l := c.leaseOne(from(q))
				require.Equal(c, held.ID, l.TaskID)
				began := time.Now()
				require.NoError(c, c.settle(omniq.Settlement{LeaseID: l.LeaseID, Action: omniq.ActionRelease, Hold: d}))
				assert.Equal(c, other.ID, c.leaseOne(from(q)).TaskID)
				if !c.noneUntil(began.Add(d), q) {
					return false
				}
				l = c.leased(c.leasing(from(q)))
				assert.GreaterOrEqual(c, time.Since(began)+time.Millisecond, d)
				assert.Equal(c, []any{held.ID, 1}, []any{l.TaskID, l.Attempt}, "it has kept its place")
				assert.Equal(c, next.ID, c.leaseOne(from(q)).TaskID)
				return true
			})
		}
	}},
	{name: "a hold is part of a settlement that takes effect, and a shorter one changes nothing", needs: allOf(bounds, fences), check: func(c *checker) {
		c.enqueue(task(lane("a")), task(lane("a")), task(lane("a")), task(lane("a")))
		lost, one, two := c.leaseOne(), c.leaseOne(), c.leaseOne()
		require.NoError(c, c.cancel(lost.TaskID))
		assert.ErrorIs(c, c.settle(omniq.Settlement{LeaseID: lost.LeaseID, Action: omniq.ActionRelease, Hold: long}), omniq.ErrLeaseLost)
		l := c.leaseOne()
		finish := success(one, "1", long)
		finish.Hold = long
		require.NoError(c, c.settle(finish))
		require.NoError(c, c.settle(omniq.Settlement{LeaseID: l.LeaseID, Action: omniq.ActionRelease}))
		c.none()
		require.NoError(c, c.settle(omniq.Settlement{LeaseID: two.LeaseID, Action: omniq.ActionRetry, Hold: time.Microsecond}))
		c.pause()
		c.none()
		_, err := c.b.Settle(c.Context(), []omniq.Settlement{{LeaseID: l.LeaseID, Action: omniq.ActionRelease, Hold: -1}})
		assert.ErrorIs(c, err, omniq.ErrInvalid)
	}},
	{name: "lanes are told by Inspect, List and Stats, and nothing is left of one that is empty", needs: bounds, check: func(c *checker) {
		a, b, none := task(lane("a")), task(lane("b"), runAt(soon(long))), task()
		c.enqueue(a, b, none, task(queue("other"), lane("a"), runAt(soon(long))))
		assert.Equal(c, []string{"a", "b", ""}, []string{c.inspect(a.ID).Lane, c.inspect(b.ID).Lane, c.inspect(none.ID).Lane})
		assert.Equal(c, a, c.inspect(a.ID).Task)
		r := omniq.ListRequest{Status: omniq.StatusPending, Queue: omniq.DefaultQueue, Lane: "a", Max: 9}
		page := c.list(r)
		require.Len(c, page, 1)
		assert.Equal(c, []any{a.ID, "a"}, []any{page[0].ID, page[0].Lane})
		r.Queue = ""
		_, _, err := c.b.List(c.Context(), r)
		assert.ErrorIs(c, err, omniq.ErrInvalid, "a lane is one of a queue")
		lanes := func() (n []int) {
			for _, s := range c.stats() {
				n = append(n, s.Lanes)
			}
			return n
		}
		assert.Equal(c, []int{1, 0}, lanes(), "b has nothing due")
		l := c.leaseOne()
		require.Equal(c, a.ID, l.TaskID)
		assert.Equal(c, []int{1, 0}, lanes(), "a runs")
		require.NoError(c, c.settle(failure(l, long)))
		assert.Equal(c, "a", c.inspect(a.ID).Lane)
		assert.Equal(c, []int{0, 0}, lanes())
	}},
	{name: "where a name is asked for, a lane with a task of it is not kept back by one without", needs: bounds, check: func(c *checker) {
		c.enqueue(task(lane("a"), named("unknown")), task(lane("a"), named("unknown")))
		c.enqueue(task(lane("b"), named("unknown")), task(lane("b"), named("known")))
		var got []string
		for range 4 {
			got = append(got, c.leaseOne(asking("known")).Task.FuncName)
		}
		assert.ElementsMatch(c, []string{"known", "unknown", "unknown", "unknown"}, got)
		assert.NotEqual(c, "known", got[3], "it came last")
	}},
	{name: "whatever becomes of the tasks of lanes, limits hold, places come back, and lanes take turns", needs: allOf(bounds, fences), check: func(c *checker) {
		c.hourOfLanes(150*c.factor(), 1+c.much)
	}},
	{name: "workers at once hand out no more than limits permit, and all in the end", needs: allOf(bounds, fences), check: func(c *checker) {
		const lanes, each, workers = 5, 12, 8
		c.bound(omniq.DefaultQueue, omniq.Limit{Running: 4, EachLane: omniq.LaneLimit{Running: 2}})
		for range each {
			for i := range lanes {
				c.enqueue(task(lane(string(rune('a' + i)))))
			}
		}
		c.crowd(workers, lanes*each)
	}},
}

// turns leases n tasks one by one, settles each, and returns their lanes; - for none.
func (c *checker) turns(n int) string {
	c.Helper()
	var got []string
	for range n {
		l := c.leaseOne()
		if l.Task.Lane == "" {
			got = append(got, "-")
		} else {
			got = append(got, l.Task.Lane)
		}
		keep := long
		if l.Task.ResultTTL != nil {
			keep = *l.Task.ResultTTL
		}
		require.NoError(c, c.settle(success(l, "1", keep)))
	}
	return strings.Join(got, " ")
}
