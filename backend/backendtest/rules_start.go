package backendtest

import (
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// startRules say which attempts count.
var startRules = []rule{
	{name: "the last tasks of a Lease are taken ahead and have not started", check: func(c *checker) {
		c.enqueue(task(), task(), task(), task(), task())
		leases := c.lease(3, worst, func(r *omniq.LeaseRequest) { r.Ahead = 2 })
		require.NotEmpty(c, leases)
		leases = append(leases, c.leaseOne(aheadOfTurn))
		for i, l := range leases {
			started := i == 0
			assert.Equal(c, started, l.Started, "lease %d", i)
			assert.Equal(c, []int{1, 0}, []int{l.Attempt, l.Lost}, "lease %d is or will be the first attempt", i)
			info := c.inspect(l.TaskID)
			assert.Equal(c, omniq.StatusRunning, info.Status)
			assert.Equal(c, map[bool]int{true: 1}[started], info.Attempts, "lease %d", i)
			assert.Equal(c, info.Attempts, c.result(l.TaskID).Attempts, "lease %d", i)
		}
		assert.True(c, c.leaseOne().Started, "none is taken ahead")
	}},
	{name: "of what a Lease takes of several queues the last tasks are those taken ahead", check: func(c *checker) {
		c.enqueue(task(queue("b"), priority(9)), task(queue("a")), task(queue("b")), task(queue("a"), priority(5)), task(queue("a"), priority(5)))
		for _, ahead := range []int{2, 5} { // of 5, and of what is left then
			const most = 5
			leases := c.lease(most, worst, from("a", "b"), func(r *omniq.LeaseRequest) { r.Ahead = ahead })
			require.NotEmpty(c, leases)
			for i, l := range leases {
				assert.Equal(c, i < most-ahead, l.Started, "%d taken ahead, lease %d is of queue %s with priority %d", ahead, i, l.Task.Queue, l.Task.Priority)
			}
			c.enqueue(task(queue("b")), task(queue("a")))
		}
	}},
	{name: "what is taken ahead and runs soon starts with its lease, unless it was lost before", check: func(c *checker) {
		c.soon(omniq.DefaultQueue, "")
	}},
	{name: "what is taken ahead of lanes and runs soon starts with its lease, unless it was lost before", needs: bounds, check: func(c *checker) {
		c.soon("lanes", "a")
		c.bound("limited", omniq.Limit{Rate: omniq.PerSecond(omniq.MaxLimit)})
		c.soon("limited", "")
	}},
	{name: "Start counts an attempt once", check: func(c *checker) {
		c.enqueue(task(), task())
		ahead, begun := c.leaseOne(aheadOfTurn), c.leaseOne()
		for range 2 {
			errs, err := c.b.Start(c.Context(), []omniq.LeaseID{ahead.LeaseID, begun.LeaseID})
			c.places(errs, err, nil, nil)
			for _, l := range []omniq.Lease{ahead, begun} {
				assert.Equal(c, 1, c.inspect(l.TaskID).Attempts)
				assert.Equal(c, omniq.StatusRunning, c.result(l.TaskID).Status)
			}
		}
		require.NoError(c, c.settle(retry(ahead)))
		assert.Equal(c, 2, c.leaseOne().Attempt)
	}},
	{name: "a lease that was taken ahead and runs out uses no attempt, one that has started is lost", check: func(c *checker) {
		t := task()
		c.enqueue(t)
		want := func(attempt, lost int, change ...func(*omniq.LeaseRequest)) omniq.Lease {
			c.Helper()
			l := c.leaseOne(change...)
			assert.Equal(c, []int{attempt, lost}, []int{l.Attempt, l.Lost})
			return l
		}
		want(1, 0, aheadOfTurn, lasting(short))
		c.lost(t.ID)
		assert.Equal(c, []int{0, 0}, []int{c.inspect(t.ID).Attempts, c.inspect(t.ID).Lost})
		c.inTime(func(d time.Duration, _ string) bool {
			l := want(1, 0, aheadOfTurn, lasting(d))
			if err := c.start(l.LeaseID); err != nil {
				require.ErrorIs(c, err, omniq.ErrLeaseLost)
				return false
			}
			return true
		})
		c.lost(t.ID)
		assert.Equal(c, []int{1, 1}, []int{c.inspect(t.ID).Attempts, c.inspect(t.ID).Lost})
		require.NoError(c, c.settle(retry(want(2, 1))))
		l := want(3, 1)
		assert.Equal(c, 1, c.inspect(t.ID).Lost, "a retry is not lost")
		require.NoError(c, c.settle(failure(l, long)))
		require.NoError(c, c.requeue(t.ID))
		assert.Zero(c, c.inspect(t.ID).Lost)
		want(1, 0)
	}},
	{name: "each lease of a Start counts for itself", needs: fences, check: func(c *checker) {
		c.enqueue(task(queue("lost")), task(), task(), task(), task())
		lost := c.leaseOne(from("lost"), aheadOfTurn, lasting(short))
		held, settled, cancelled, gone := c.leaseOne(aheadOfTurn), c.leaseOne(aheadOfTurn), c.leaseOne(aheadOfTurn), c.leaseOne(aheadOfTurn)
		c.lost(lost.TaskID)
		require.NoError(c, c.settle(success(settled, "1", long)))
		require.NoError(c, c.cancel(cancelled.TaskID))
		require.NoError(c, c.cancel(gone.TaskID))
		require.NoError(c, c.forget(gone.TaskID))
		errs, err := c.b.Start(c.Context(), []omniq.LeaseID{
			lost.LeaseID, held.LeaseID, settled.LeaseID, cancelled.LeaseID, gone.LeaseID, {TaskID: uuid.New(), Token: held.Token},
		})
		c.places(errs, err, omniq.ErrLeaseLost, nil, omniq.ErrLeaseLost, omniq.ErrCancelled, omniq.ErrLeaseLost, omniq.ErrLeaseLost)
		assert.Equal(c, 1, c.inspect(held.TaskID).Attempts)
		assert.Zero(c, c.inspect(lost.TaskID).Attempts)
		c.cancelled(c.result(cancelled.TaskID), 0)
		assert.NoError(c, c.settle(success(held, "1", long)))
	}},
	{name: "a task whose TTL passes before its Start expires, one that has started goes on", check: func(c *checker) {
		c.inTime(func(d time.Duration, q string) bool {
			t, begun := task(queue(q), ttl(d)), task(queue(q), ttl(d))
			until := t.CreatedAt.Add(d)
			c.enqueue(t, begun)
			passed := time.Now().Add(d) // it was stored by now
			leases := append(c.lease(1, 0, from(q), aheadOfTurn), c.lease(1, 0, from(q))...)
			if !time.Now().Before(until) {
				return false
			}
			require.Len(c, leases, 2)
			c.eventually("its TTL passes", func() bool { return time.Since(passed) > time.Millisecond })
			errs, err := c.b.Start(c.Context(), []omniq.LeaseID{leases[0].LeaseID, leases[1].LeaseID})
			c.places(errs, err, omniq.ErrExpired, nil)
			r := c.result(t.ID)
			assert.Equal(c, omniq.StatusExpired, r.Status)
			assert.ErrorIs(c, r.Err(), omniq.ErrExpired)
			assert.Zero(c, r.Attempts)
			assert.Equal(c, omniq.StatusRunning, c.result(begun.ID).Status)
			c.none(from(q))
			return true
		})
	}},
	{name: "a task that was taken ahead is settled like one that has started", check: func(c *checker) {
		t := task()
		c.enqueue(t)
		back := func(a omniq.Action, start bool) int {
			c.Helper()
			l := c.leaseOne(aheadOfTurn)
			if start {
				require.NoError(c, c.start(l.LeaseID))
			}
			require.NoError(c, c.settle(omniq.Settlement{LeaseID: l.LeaseID, Action: a}))
			return c.inspect(t.ID).Attempts
		}
		for i, want := range []int{0, 0, 0, 0, 1, 2} {
			a := []omniq.Action{omniq.ActionRelease, omniq.ActionDefer, omniq.ActionRetry}[i/2]
			assert.Equal(c, want, back(a, i%2 == 0), "action %d, after a Start: %v", a, i%2 == 0)
		}
		l := c.leaseOne(aheadOfTurn)
		assert.Equal(c, 3, l.Attempt)
		require.NoError(c, c.extend(l.LeaseID))
		require.NoError(c, c.settle(success(l, "1", long)))
		assert.Equal(c, omniq.StatusSuccess, c.result(t.ID).Status)
	}},
	{name: "a worker hears of a cancelled task that it took ahead", check: func(c *checker) {
		c.enqueue(task())
		l := c.leaseOne(aheadOfTurn)
		require.NoError(c, c.cancel(l.TaskID))
		assert.Equal(c, []omniq.LeaseID{l.LeaseID}, c.revoked(c.revoking("w")))
		c.cancelled(c.result(l.TaskID), 0)
	}},
	{name: "tasks that are lost together come back one by one, within a second", check: func(c *checker) {
		const n = 30
		for range n {
			c.enqueue(task())
		}
		for left := n; left > 0; {
			leases := c.lease(left, worst, lasting(short))
			require.NotEmpty(c, leases)
			left -= len(leases)
			for _, l := range leases {
				if l.Lost > 0 {
					left++ // the machine is slow: it comes back while others are not yet leased
				}
			}
		}
		// Those that were lost more than once wait longer, and are not looked at.
		var first, last time.Time
		var times int
		c.eventually("all are lost", func() bool { s := c.stats(); return len(s) == 1 && s[0].Running == 0 })
		for _, info := range c.list(omniq.ListRequest{Status: omniq.StatusPending, Max: 2 * n}) {
			if info.Lost != 1 {
				continue
			}
			pause := info.Due.Sub(info.Since)
			assert.True(c, 0 <= pause && pause <= time.Second+time.Millisecond, "it is due %v after it was lost", pause)
			if times == 0 || info.Due.Before(first) {
				first = info.Due
			}
			if info.Due.After(last) {
				last = info.Due
			}
			times++
		}
		require.Greater(c, times, n/2)
		assert.Greater(c, last.Sub(first), 50*time.Millisecond, "all are due at one moment")
	}},
	{name: "a task waits longer after each time it is lost, and not after those that had not started", check: func(c *checker) {
		t := task()
		c.enqueue(t)
		pause := func(least, most time.Duration, change ...func(*omniq.LeaseRequest)) {
			c.Helper()
			c.leaseOne(append(change, lasting(short))...)
			c.lost(t.ID)
			info := c.inspect(t.ID)
			got := info.Due.Sub(info.Since)
			assert.True(c, least-time.Millisecond <= got && got <= most+time.Millisecond, "it is due after %v, want %v to %v", got, least, most)
			for _, l := range c.lease(1, 0, from(info.Queue)) {
				assert.False(c, time.Now().Before(info.Due), "it was leased too early")
				require.NoError(c, c.settle(omniq.Settlement{LeaseID: l.LeaseID, Action: omniq.ActionRelease})) // as if it never was
			}
		}
		pause(0, time.Second)
		pause(time.Second, 2*time.Second)
		pause(2*time.Second, 4*time.Second)
		assert.Equal(c, 3, c.inspect(t.ID).Lost)
		other := task(queue("other"))
		c.enqueue(other)
		t = other
		for range 3 {
			pause(0, time.Second, from("other"), aheadOfTurn)
		}
	}},
	{name: "the first event of an attempt that was taken ahead is that of its Start", events: long, check: func(c *checker) {
		t := task()
		c.enqueue(t)
		l := c.leaseOne(aheadOfTurn)
		assert.Equal(c, []string{"ENQUEUED"}, types(c.events(t.ID)))
		require.NoError(c, c.start(l.LeaseID))
		require.NoError(c, c.start(l.LeaseID))
		all := c.events(t.ID)
		require.Equal(c, []string{"ENQUEUED", "STARTED"}, types(all))
		assert.Equal(c, 1, all[1].Attempt)
		if assert.NotNil(c, all[1].WorkerID) {
			assert.Equal(c, "w", *all[1].WorkerID)
		}
		require.NoError(c, c.settle(success(l, "1", long)))
		assert.Equal(c, []string{"ENQUEUED", "STARTED", "COMPLETED"}, types(c.events(t.ID)))
	}},
}

// soon checks what of a queue starts with its lease.
func (c *checker) soon(q, l string) {
	c.Helper()
	soon := func(r *omniq.LeaseRequest) { r.Ahead, r.Soon = r.Max, true }
	of := func(t *omniq.RawTask) *omniq.RawTask { t.Queue, t.Lane = q, l; return t }
	lost, fresh := of(task()), of(task())
	c.enqueue(lost)
	c.leaseOne(from(q), lasting(short))
	c.lost(lost.ID)
	c.enqueue(fresh)
	for _, lease := range c.take(2, from(q), soon) {
		started := lease.TaskID == fresh.ID
		assert.Equal(c, started, lease.Started)
		assert.Equal(c, map[bool][]int{true: {1, 0}, false: {2, 1}}[started], []int{lease.Attempt, lease.Lost})
		assert.Equal(c, 1, c.inspect(lease.TaskID).Attempts)
		require.NoError(c, c.settle(omniq.Settlement{LeaseID: lease.LeaseID, Action: omniq.ActionRelease}))
		assert.Equal(c, map[bool]int{false: 1}[started], c.inspect(lease.TaskID).Attempts, "it is given back")
	}
	for _, lease := range c.take(2, from(q), func(r *omniq.LeaseRequest) { r.Soon = true }) {
		assert.True(c, lease.Started, "it is not taken ahead")
	}
}

// aheadOfTurn takes all tasks of a Lease ahead.
func aheadOfTurn(r *omniq.LeaseRequest) { r.Ahead = r.Max }

// start starts the attempt of one lease.
func (c *checker) start(id omniq.LeaseID) error {
	c.Helper()
	return c.only(c.b.Start(c.Context(), []omniq.LeaseID{id}))
}
