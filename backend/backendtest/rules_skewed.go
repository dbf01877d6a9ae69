package backendtest

import (
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// skewedRules say what holds where the backend's clock is minutes away from that of the program.
var skewedRules = []rule{
	{name: "times are shown by the backend's clock", check: func(c *checker) {
		began := time.Now().Truncate(time.Millisecond)
		t := task()
		c.enqueue(t)
		theirs := func(what string, at time.Time) {
			c.Helper()
			c.between(began, at.Add(-c.skew), what)
		}
		info := c.inspect(t.ID)
		theirs("pending", info.Since)
		theirs("due", info.Due)
		theirs("pending", c.result(t.ID).Timestamp)
		l := c.leaseOne()
		theirs("leased", l.Expires.Add(-long))
		require.NoError(c, c.cancel(t.ID))
		theirs("cancelled", c.result(t.ID).Timestamp)
	}},
	{name: "a worker is seen, and has started, by the backend's clock, and is gone after its lease", check: func(c *checker) {
		c.beats()
		c.inTime(func(d time.Duration, _ string) bool {
			until := time.Now().Add(d)
			require.NoError(c, c.b.Beat(c.Context(), beat("brief", func(w *omniq.WorkerInfo) { w.Lease = d })))
			there := workerIDs(c.workers())
			if !time.Now().Before(until) {
				return false
			}
			assert.Contains(c, there, "brief")
			c.eventually("it is gone", func() bool { return len(c.workers()) < len(there) })
			assert.False(c, time.Now().Before(until), "it was gone too early")
			return true
		})
	}},
	{name: "what was done stands in the minute of the backend's clock", check: func(c *checker) {
		c.enqueue(task())
		assert.Len(c, c.minutes(), 1)
	}},
	{name: "a task with a RunAt is due at that time of the backend's clock", check: func(c *checker) {
		c.inTime(func(d time.Duration, q string) bool {
			at := soon(d)
			c.enqueue(task(queue(q), runAt(at.Add(c.skew))))
			return c.dueAt(at, q)
		})
	}},
	{name: "a task with a Delay is due after it", check: func(c *checker) {
		c.inTime(func(d time.Duration, q string) bool {
			at := soon(d)
			c.enqueue(task(queue(q), delay(d)))
			return c.dueAt(at, q)
		})
	}},
	{name: "a task without a time is due at once", check: func(c *checker) {
		c.enqueue(task())
		assert.Len(c, c.lease(1, 0), 1)
	}},
	{name: "a retry comes after its delay", check: func(c *checker) { c.comesBack(omniq.ActionRetry) }},
	{name: "a release comes after its delay", check: func(c *checker) { c.comesBack(omniq.ActionRelease) }},
	{name: "a deferred task comes after its delay, and tells for how long", check: func(c *checker) {
		c.comesBack(omniq.ActionDefer)
		q := "deferred"
		c.enqueue(task(queue(q)))
		began := time.Now()
		for range 2 {
			l := c.leaseOne(from(q))
			assert.LessOrEqual(c, l.Deferred, time.Since(began))
			require.NoError(c, c.settle(omniq.Settlement{LeaseID: l.LeaseID, Action: omniq.ActionDefer, Delay: short}))
		}
		assert.GreaterOrEqual(c, c.leaseOne(from(q)).Deferred, short)
	}},
	{name: "a task expires when its TTL has passed, and not before", check: func(c *checker) {
		c.inTime(func(d time.Duration, q string) bool {
			brief, lasts, gone := task(queue(q), ttl(d)), task(queue("lasts"+q), ttl(2*time.Minute)), task(queue(q), ttl(long), madeAt(-2*long))
			until := brief.CreatedAt.Add(d)
			c.enqueue(brief, lasts, gone)
			was := c.result(brief.ID).Status
			if !time.Now().Before(until) {
				return false
			}
			assert.Equal(c, omniq.StatusPending, was, "its TTL is not over")
			assert.Equal(c, omniq.StatusExpired, c.await(brief.ID).Status)
			assert.False(c, time.Now().Before(until), "it expired too early")
			assert.Equal(c, omniq.StatusExpired, c.result(gone.ID).Status)
			assert.Equal(c, lasts.ID, c.leaseOne(from("lasts"+q)).TaskID)
			return true
		})
	}},
	{name: "a task is leased as it was enqueued", check: func(c *checker) {
		for _, change := range []func(*omniq.RawTask){
			delay(short), runAt(soon(-time.Hour).Add(c.skew)), ttl(2 * time.Minute), madeAt(-c.skew),
		} {
			t := task(change)
			c.enqueue(t)
			assert.Equal(c, t, c.leaseOne().Task)
		}
	}},
	{name: "a task is requeued as created now by the backend's clock, and has its whole TTL before it", check: func(c *checker) {
		for _, change := range []func(*omniq.RawTask){delay(long), runAt(soon(long).Add(c.skew)), ttl(2 * time.Minute)} {
			t := c.final(omniq.StatusCancelled, change)
			began := time.Now().Truncate(time.Millisecond)
			require.NoError(c, c.requeue(t.ID))
			l := c.leaseOne()
			c.between(began, l.Task.CreatedAt.Add(-c.skew), "created")
			want := *t
			want.CreatedAt, want.Delay, want.RunAt = l.Task.CreatedAt, 0, time.Time{}
			assert.Equal(c, &want, l.Task)
			require.NoError(c, c.settle(success(l, "1", long)))
		}
		c.inTime(func(d time.Duration, q string) bool {
			t := task(queue(q), ttl(d), madeAt(-d)) // it has expired
			c.enqueue(t)
			require.Equal(c, omniq.StatusExpired, c.await(t.ID).Status)
			until := soon(d)
			require.NoError(c, c.requeue(t.ID))
			was := c.result(t.ID).Status
			if !time.Now().Before(until) {
				return false
			}
			assert.Equal(c, omniq.StatusPending, was, "its TTL is not over")
			assert.Equal(c, omniq.StatusExpired, c.await(t.ID).Status)
			assert.False(c, time.Now().Before(until), "it expired too early")
			return true
		})
	}},
	{name: "a task that was taken ahead starts within its TTL", check: func(c *checker) {
		c.enqueue(task(ttl(2 * time.Minute)))
		assert.NoError(c, c.start(c.leaseOne(aheadOfTurn).LeaseID))
	}},
	{name: "a lease lasts as long as was asked for", check: func(c *checker) {
		c.inTime(func(d time.Duration, q string) bool {
			c.enqueue(task(queue(q)))
			until := soon(d)
			return c.runsUntil(until, c.leaseOne(from(q), lasting(d)))
		})
	}},
	{name: "a lease lasts as long as it was extended", check: func(c *checker) {
		c.inTime(func(d time.Duration, q string) bool {
			c.enqueue(task(queue(q)))
			l := c.leaseOne(from(q), lasting(d))
			until := soon(2 * d)
			errs, err := c.b.Extend(c.Context(), []omniq.LeaseID{l.LeaseID}, 2*d)
			require.NoError(c, err)
			if first(errs) != nil {
				return false // it had run out
			}
			return c.runsUntil(until, l)
		})
	}},
	{name: "a result is kept for its TTL", check: func(c *checker) {
		c.inTime(func(d time.Duration, q string) bool {
			c.enqueue(task(queue(q)))
			s := success(c.leaseOne(from(q)), "1", d)
			until := soon(d)
			require.NoError(c, c.settle(s))
			return c.keptUntil(until, s.Result)
		})
	}},
	{name: "what is cancelled is kept for its TTL", check: func(c *checker) {
		c.inTime(func(d time.Duration, q string) bool {
			t := task(queue(q), resultTTL(d))
			c.enqueue(t)
			until := soon(d)
			require.NoError(c, c.cancel(t.ID))
			r, err := c.b.Result(c.Context(), t.ID)
			if !time.Now().Before(until) {
				return false
			}
			require.NoError(c, err, "its TTL is not over")
			return c.keptUntil(until, r)
		})
	}},
	{name: "a unique key is held for its time, and from a requeue on again", check: func(c *checker) {
		c.inTime(func(d time.Duration, q string) bool {
			until := soon(d)
			t := task(queue(q), unique(q), lasts(d))
			c.enqueue(t)
			if !c.keyUntil(until, t) {
				return false
			}
			again := c.final(omniq.StatusCancelled, unique(q+" again"), lasts(d))
			until = soon(d)
			require.NoError(c, c.requeue(again.ID))
			return c.keyUntil(until, again)
		})
	}},
	{name: "an ID is kept for its time", check: func(c *checker) {
		c.inTime(func(d time.Duration, q string) bool {
			until := soon(d)
			t := c.final(omniq.StatusSuccess, queue(q), resultTTL(0), idFor(d))
			errs, err := c.b.Enqueue(c.Context(), []*omniq.RawTask{t})
			if !time.Now().Before(until) {
				return false
			}
			c.duplicate(c.only(errs, err), t.ID, t.ID)
			c.eventually("the ID is free", func() bool { return c.only(c.b.Enqueue(c.Context(), []*omniq.RawTask{t})) == nil })
			assert.False(c, time.Now().Before(until), "it was free too early")
			return true
		})
	}},
	{name: "the latency is how long a task has waited", check: func(c *checker) {
		began := time.Now()
		c.enqueue(task())
		stats := c.stats()
		require.Len(c, stats, 1)
		assert.LessOrEqual(c, stats[0].Latency, time.Since(began)+time.Millisecond)
		assert.Equal(c, 1, stats[0].Ready)
	}},
}

// dueAt checks that the task of a queue is due at a time of the test's clock. It is false if it could not look before.
func (c *checker) dueAt(at time.Time, q string) bool {
	c.Helper()
	if !c.noneUntil(at, q) {
		return false
	}
	c.leaseOne(from(q))
	assert.False(c, time.Now().Before(at), "it was leased before its time")
	return true
}

// comesBack checks that a task whose lease ends in this way is due after the delay.
func (c *checker) comesBack(action omniq.Action) {
	c.Helper()
	c.inTime(func(d time.Duration, q string) bool {
		c.enqueue(task(queue(q)))
		l := c.leaseOne(from(q))
		at := soon(d)
		require.NoError(c, c.settle(omniq.Settlement{LeaseID: l.LeaseID, Action: action, Delay: d}))
		return c.dueAt(at, q)
	})
}

// runsUntil checks that a lease lasts until a time of the test's clock, and not for ever. It is false if it could not
// look before that.
func (c *checker) runsUntil(until time.Time, l omniq.Lease) bool {
	c.Helper()
	status := c.result(l.TaskID).Status
	if !time.Now().Before(until) {
		return false
	}
	assert.Equal(c, omniq.StatusRunning, status)
	c.lost(l.TaskID)
	assert.False(c, time.Now().Before(until), "it ran out too early")
	return true
}
