package backendtest

import (
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// skews are how far the clocks of callers differ from the backend's.
var skews = []time.Duration{-time.Hour, time.Hour}

// madeAt is a task of a caller whose clock differs from the backend's.
func madeAt(skew time.Duration) func(*omniq.RawTask) {
	return func(t *omniq.RawTask) { t.CreatedAt = t.CreatedAt.Add(skew) }
}

// clockRules say that the times that callers write down decide nothing but what they are for.
var clockRules = []rule{
	{name: "the TTL of a result counts from when it was settled, not from its Timestamp", check: func(c *checker) {
		c.inTime(func(d time.Duration, q string) bool {
			var settlements []omniq.Settlement
			for _, skew := range skews {
				c.enqueue(task(queue(q)), task(queue(q)))
				for _, s := range []omniq.Settlement{success(c.leaseOne(from(q)), "1", d), failure(c.leaseOne(from(q)), d)} {
					s.Result.Timestamp = s.Result.Timestamp.Add(skew)
					settlements = append(settlements, s)
				}
			}
			until := soon(d)
			errs, err := c.b.Settle(c.Context(), settlements)
			c.places(errs, err, nil, nil, nil, nil)
			return c.keptUntil(until, settled(settlements)...)
		})
	}},
	{name: "the TTL of a recorded result counts from when it was recorded, not from its Timestamp", check: func(c *checker) {
		c.inTime(func(d time.Duration, _ string) bool {
			past, future := record(d), record(d)
			past.Timestamp, future.Timestamp = past.Timestamp.Add(skews[0]), future.Timestamp.Add(skews[1])
			until := soon(d)
			errs, err := c.b.Record(c.Context(), []*omniq.RawResult{past, future})
			c.places(errs, err, nil, nil)
			return c.keptUntil(until, past, future)
		})
	}},
	{name: "Inspect shows since when a task is final by the backend's clock, not by its result's", check: func(c *checker) {
		for _, skew := range skews {
			c.enqueue(task())
			s := success(c.leaseOne(), "1", long)
			s.Result.Timestamp = s.Result.Timestamp.Add(skew)
			began := time.Now().Truncate(time.Millisecond)
			require.NoError(c, c.settle(s))
			c.between(began, c.inspect(s.TaskID).Since, "final")
			assert.Equal(c, s.Result, c.result(s.TaskID), "the result is as it was settled")
		}
	}},
	{name: "a task without a RunAt is due when it is stored, not when it was created", check: func(c *checker) {
		began := time.Now().Truncate(time.Millisecond)
		tasks := []*omniq.RawTask{task(madeAt(time.Hour)), task(), task(madeAt(-time.Hour)), task(madeAt(time.Hour))}
		c.enqueue(tasks[:2]...)
		c.enqueue(tasks[2:]...)
		for _, t := range tasks {
			info := c.inspect(t.ID)
			c.between(began, info.Since, "pending")
			c.between(began, info.Due, "due")
			c.between(began, c.result(t.ID).Timestamp, "pending")
		}
		stats := c.stats()
		require.Len(c, stats, 1)
		assert.Equal(c, len(tasks), stats[0].Ready)
		assert.LessOrEqual(c, stats[0].Latency, time.Since(began), "none has waited for longer")
		for i, t := range tasks {
			assert.Equal(c, t.ID, c.leaseOne().TaskID, "task %d", i)
		}
	}},
	{name: "a lease tells for how long its task was due, whatever the caller's clock", check: func(c *checker) {
		waited := func(l omniq.Lease, least time.Duration, since time.Time) {
			c.Helper()
			assert.GreaterOrEqual(c, l.Waited+time.Millisecond, least)
			assert.LessOrEqual(c, l.Waited, time.Since(since)+time.Millisecond)
		}
		for _, skew := range append(skews, 0) {
			q := "q" + skew.String()
			began := time.Now()
			c.enqueue(task(queue(q), madeAt(skew)))
			assert.Empty(c, c.lease(1, while, from("empty")))
			l := c.leaseOne(from(q))
			waited(l, while, began)
			require.NoError(c, c.settle(omniq.Settlement{LeaseID: l.LeaseID, Action: omniq.ActionRelease}))
			l = c.leaseOne(from(q))
			waited(l, while, began) // it is due when it was before
			settled := time.Now()
			require.NoError(c, c.settle(omniq.Settlement{LeaseID: l.LeaseID, Action: omniq.ActionRetry, Delay: short}))
			waited(c.leaseOne(from(q)), 0, settled.Add(short-time.Millisecond)) // it is not due while it waits for its time
		}
	}},
	{name: "what is left of the TTL of a task counts from when it was stored", check: func(c *checker) {
		c.inTime(func(d time.Duration, q string) bool {
			gone := task(madeAt(-time.Hour), queue(q), ttl(long))
			brief, ahead := task(madeAt(-time.Hour), queue(q), ttl(time.Hour+d)), task(madeAt(time.Hour), queue(q), ttl(d))
			until := brief.CreatedAt.Add(time.Hour + d)
			c.enqueue(gone, brief, ahead)
			assert.Equal(c, omniq.StatusExpired, c.result(gone.ID).Status)
			for _, t := range []*omniq.RawTask{brief, ahead} {
				r := c.result(t.ID)
				if !time.Now().Before(until) {
					return false
				}
				assert.Equal(c, omniq.StatusPending, r.Status, "its TTL is not over")
			}
			for _, t := range []*omniq.RawTask{brief, ahead} {
				assert.Equal(c, omniq.StatusExpired, c.await(t.ID).Status)
				assert.False(c, time.Now().Before(until), "it expired too early")
			}
			c.none(from(q))
			return true
		})
	}},
	{name: "a unique key for a time is held from when its task was stored, not created", check: func(c *checker) {
		c.inTime(func(d time.Duration, q string) bool {
			holders := []*omniq.RawTask{
				task(queue(q), unique(q+"past"), lasts(d), madeAt(skews[0])),
				task(queue(q), unique(q+"future"), lasts(d), madeAt(skews[1])),
			}
			others := []*omniq.RawTask{task(queue(q), unique(q+"past")), task(queue(q), unique(q+"future"))}
			until := soon(d)
			c.enqueue(holders...)
			errs, err := c.b.Enqueue(c.Context(), others)
			if !time.Now().Before(until) {
				return false
			}
			require.NoError(c, err)
			require.Len(c, errs, 2)
			for i := range holders {
				c.duplicate(errs[i], others[i].ID, holders[i].ID)
			}
			for _, t := range others {
				c.eventually("the key is free", func() bool {
					return c.only(c.b.Enqueue(c.Context(), []*omniq.RawTask{t})) == nil
				})
			}
			assert.False(c, time.Now().Before(until), "it was free too early")
			return true
		})
	}},
	{name: "a lease lasts from when it was handed out or extended, whatever the times of its task are", check: func(c *checker) {
		c.inTime(func(d time.Duration, q string) bool {
			c.enqueue(
				task(queue(q), madeAt(-2*time.Hour), runAt(soon(-time.Hour)), ttl(4*time.Hour)),
				task(queue(q), madeAt(time.Hour), ttl(time.Hour)),
			)
			var leases []omniq.Lease
			for range 2 {
				began := time.Now().Truncate(time.Millisecond)
				l := c.leaseOne(from(q), lasting(d))
				assert.False(c, l.Expires.Before(began.Add(d)) || l.Expires.After(time.Now().Add(d)),
					"it expires %v after it was asked for, want %v and what it took", l.Expires.Sub(began), d)
				leases = append(leases, l)
			}
			until := time.Now().Add(2 * d)
			errs, err := c.b.Extend(c.Context(), []omniq.LeaseID{leases[0].LeaseID, leases[1].LeaseID}, 2*d)
			if !time.Now().Before(leases[0].Expires) {
				return false
			}
			c.places(errs, err, nil, nil)
			for _, l := range leases {
				c.lost(l.TaskID)
				assert.False(c, time.Now().Before(until), "its lease had not run out")
			}
			again := []uuid.UUID{c.leaseOne(from(q)).TaskID, c.leaseOne(from(q)).TaskID}
			assert.ElementsMatch(c, []uuid.UUID{leases[0].TaskID, leases[1].TaskID}, again)
			return true
		})
	}},
	{name: "what ends without a worker is kept from when it ended, whenever it was created", check: func(c *checker) {
		c.inTime(func(d time.Duration, q string) bool {
			var ended []*omniq.RawResult
			until := soon(d)
			for _, t := range []*omniq.RawTask{
				task(queue(q), resultTTL(d), madeAt(-time.Hour), ttl(long)), // it has expired
				task(queue(q), resultTTL(d), madeAt(-time.Hour)), task(queue(q), resultTTL(d), madeAt(time.Hour)),
			} {
				began := time.Now().Truncate(time.Millisecond)
				c.enqueue(t)
				if t.TTL == nil {
					require.NoError(c, c.cancel(t.ID))
				}
				r, err := c.b.Result(c.Context(), t.ID)
				if !time.Now().Before(until) {
					return false
				}
				require.NoError(c, err)
				if t.TTL == nil {
					c.between(began, r.Timestamp, "cancelled")
				}
				ended = append(ended, r)
			}
			return c.keptUntil(until, ended...)
		})
	}},
	{name: "a task is requeued as created by the backend's clock, whenever it was created before", check: func(c *checker) {
		for _, skew := range skews {
			t := task(madeAt(skew), ttl(2*time.Hour))
			c.enqueue(t)
			s := failure(c.leaseOne(), long)
			s.Result.Timestamp = s.Result.Timestamp.Add(skew)
			require.NoError(c, c.settle(s))
			began := time.Now().Truncate(time.Millisecond)
			require.NoError(c, c.requeue(t.ID))
			info := c.inspect(t.ID)
			c.between(began, info.Since, "pending")
			c.between(began, info.Due, "due")
			c.between(began, c.leaseOne().Task.CreatedAt, "created")
		}
	}},
	{name: "appended events are kept from when they were appended, in that order, whatever their Timestamps are",
		events: short, check: func(c *checker) {
			var given []*omniq.TaskEvent
			for i, skew := range []time.Duration{time.Hour, -time.Hour, 0, -2 * time.Hour, 2 * time.Hour} {
				e := numbered(uuid.New(), i)
				e.Timestamp = e.Timestamp.Add(skew)
				given = append(given, e)
			}
			until := soon(short)
			require.NoError(c, c.b.Append(c.Context(), given[:3]))
			require.NoError(c, c.b.Append(c.Context(), given[3:]))
			if page, _, err := c.b.Events(c.Context(), omniq.EventsRequest{Max: 9}); time.Now().Before(until) {
				require.NoError(c, err)
				c.numbers(0, len(given), page)
			}
			c.eventually("they are gone", func() bool { return len(c.stored(omniq.CursorOldest, 10)) == 0 })
			assert.False(c, time.Now().Before(until), "they went too early")
		}},
	{name: "events are read in the order in which they were appended, whatever their Timestamps are", events: long, check: func(c *checker) {
		var ids []uuid.UUID
		for i, skew := range []time.Duration{time.Hour, -time.Hour, 0, -2 * time.Hour, 2 * time.Hour} {
			e := numbered(uuid.New(), i)
			e.Timestamp = e.Timestamp.Add(skew)
			require.NoError(c, c.b.Append(c.Context(), []*omniq.TaskEvent{e}))
			t := task(madeAt(-skew))
			c.enqueue(t)
			ids = append(ids, e.TaskID, t.ID)
		}
		for _, size := range []int{1, 3, 100} {
			var got []uuid.UUID
			for _, e := range c.stored(omniq.CursorOldest, size) {
				got = append(got, e.TaskID)
			}
			assert.Equal(c, ids, got, "pages of %d", size)
		}
	}},
}

// settled are the results of settlements.
func settled(settlements []omniq.Settlement) []*omniq.RawResult {
	var all []*omniq.RawResult
	for _, s := range settlements {
		all = append(all, s.Result)
	}
	return all
}

// keptUntil checks that results are kept now as they are, and go by themselves, but not before the time. It is false if
// it could not look before that.
func (c *checker) keptUntil(until time.Time, results ...*omniq.RawResult) bool {
	c.Helper()
	for _, want := range results {
		got, err := c.b.Result(c.Context(), want.TaskID)
		if !time.Now().Before(until) {
			return false
		}
		require.NoError(c, err, "its TTL is not over")
		assert.Equal(c, want, got)
	}
	for _, r := range results {
		c.notFound(r.TaskID)
	}
	assert.False(c, time.Now().Before(until), "it went too early")
	return true
}
