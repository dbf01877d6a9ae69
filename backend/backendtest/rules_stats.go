package backendtest

import (
	"slices"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// statsRules say what figures there are.
var statsRules = []rule{
	{name: "the figures of a queue follow what is done with its tasks", check: func(c *checker) {
		assert.Empty(c, c.stats())
		want := omniq.QueueStats{Queue: "q"}
		agree := func(what string) {
			c.Helper()
			all := c.stats()
			require.Len(c, all, 1, what)
			all[0].Latency = 0
			assert.Equal(c, want, all[0], what)
		}
		c.enqueue(task(queue("q")), task(queue("q")), task(queue("q")), task(queue("q")))
		want.Ready = 4
		agree("four tasks")
		later := task(queue("q"), runAt(soon(long)))
		c.enqueue(later)
		want.Scheduled = 1
		agree("and a later one")
		leases := []omniq.Lease{c.leaseOne(from("q")), c.leaseOne(from("q")), c.leaseOne(from("q"))}
		want.Ready, want.Running = 1, 3
		agree("three running")
		require.NoError(c, c.settle(success(leases[0], "1", long)))
		require.NoError(c, c.settle(failure(leases[1], long)))
		want.Running, want.Succeeded, want.Failed = 1, 1, 1
		agree("a success and a failure")
		s := retry(leases[2])
		s.Delay = long
		require.NoError(c, c.settle(s))
		want.Running, want.Scheduled = 0, 2
		agree("a retry")
		require.NoError(c, c.cancel(leases[2].TaskID))
		want.Scheduled, want.Cancelled = 1, 1
		agree("which is cancelled")
		gone := c.leaseOne(from("q"))
		require.NoError(c, c.settle(omniq.Settlement{LeaseID: gone.LeaseID, Action: omniq.ActionRelease}))
		agree("a release")
		gone = c.leaseOne(from("q"))
		require.NoError(c, c.settle(success(gone, "1", 0)))
		want.Ready = 0
		agree("a success that is not kept")
		expired := c.final(omniq.StatusExpired, queue("q"))
		want.Expired = 1
		agree("an expired task")
		require.NoError(c, c.requeue(expired.ID))
		want.Ready, want.Expired = 1, 0
		agree("which is requeued")
		require.NoError(c, c.forget(leases[1].TaskID))
		want.Failed = 0
		agree("a result that is forgotten")
		require.NoError(c, c.cancel(later.ID))
		require.NoError(c, c.cancel(expired.ID))
		want.Scheduled, want.Ready, want.Cancelled = 0, 0, 3
		agree("all is done")
		for _, t := range []*omniq.RawTask{later, expired} {
			require.NoError(c, c.forget(t.ID))
		}
		require.NoError(c, c.forget(leases[0].TaskID))
		require.NoError(c, c.forget(leases[2].TaskID))
		assert.Empty(c, c.stats(), "of a queue that has neither tasks nor results")
	}},
	{name: "what happens by itself is in the figures", check: func(c *checker) {
		at := soon(short)
		keep := task(queue("results"), resultTTL(short))
		c.enqueue(task(queue("due"), runAt(at)), task(queue("leases")), task(queue("tasks"), ttl(short)), keep)
		c.leaseOne(from("leases"), lasting(short))
		c.end(keep, omniq.StatusSuccess)
		c.eventually("all has happened", func() bool {
			return slices.Equal([]omniq.QueueStats{
				{Queue: "due", Ready: 1}, {Queue: "leases", Ready: 1}, {Queue: "tasks", Expired: 1},
			}, timeless(c.stats()))
		})
		assert.False(c, time.Now().Before(at))
	}},
	{name: "there are figures of each queue, in the order of their names", check: func(c *checker) {
		c.enqueue(task(queue("b")), task(queue("a")), task())
		c.final(omniq.StatusCancelled, queue("c"))
		require.NoError(c, c.b.Pause(c.Context(), "d"))
		require.NoError(c, c.b.Pause(c.Context(), "a"))
		assert.Equal(c, []omniq.QueueStats{
			{Queue: "a", Ready: 1, Paused: true}, {Queue: "b", Ready: 1}, {Queue: "c", Cancelled: 1}, {Queue: "d", Paused: true},
			{Queue: omniq.DefaultQueue, Ready: 1},
		}, timeless(c.stats()))
		require.NoError(c, c.b.Resume(c.Context(), "d"))
		require.NoError(c, c.b.Resume(c.Context(), "a"))
		all := timeless(c.stats())
		require.Len(c, all, 4)
		assert.Equal(c, omniq.QueueStats{Queue: "a", Ready: 1}, all[0])
	}},
	{name: "the latency is that of the ready task that became due first", check: func(c *checker) {
		latency := func() time.Duration {
			c.Helper()
			all := c.stats()
			require.Len(c, all, 1)
			return all[0].Latency
		}
		about := func(want time.Duration) {
			c.Helper()
			got := latency()
			assert.True(c, want-time.Millisecond <= got && got < want+worst, "it is %v, want about %v", got, want)
		}
		now := soon(0)
		c.enqueue(task(runAt(now.Add(long))))
		assert.Zero(c, latency(), "nothing is ready")
		c.enqueue(task(runAt(now.Add(-time.Minute)), priority(9)), task(runAt(now.Add(-time.Hour))), task(priority(1)))
		about(time.Hour)
		c.leaseOne()
		about(time.Hour)
		require.Equal(c, 1, c.leaseOne().Task.Priority)
		c.leaseOne()
		assert.Zero(c, latency(), "nothing is ready any more")
	}},
}

// stats returns the figures of all queues.
func (c *checker) stats() []omniq.QueueStats {
	c.Helper()
	all, err := c.b.Stats(c.Context())
	require.NoError(c, err)
	return all
}

// timeless is stats without what changes with the time.
func timeless(stats []omniq.QueueStats) []omniq.QueueStats {
	stats = slices.Clone(stats)
	for i := range stats {
		stats[i].Latency = 0
	}
	return stats
}
