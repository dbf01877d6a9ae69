package backendtest

import (
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// keyRules say how keys and IDs are kept for a time, and freed.
var keyRules = []rule{
	{name: "a task that is requeued holds its unique key for its time from then on", check: func(c *checker) {
		c.inTime(func(d time.Duration, q string) bool {
			t := c.final(omniq.StatusFailure, queue(q), unique(q), lasts(d))
			half := time.Now().Add(d / 2)
			c.eventually("half of its time passes", func() bool { return time.Now().After(half) })
			until := soon(d)
			require.NoError(c, c.requeue(t.ID))
			return c.keyUntil(until, t)
		})
	}},
	{name: "a task that is requeued takes its unique key again when its time was over", check: func(c *checker) {
		c.inTime(func(d time.Duration, q string) bool {
			until := soon(d)
			t := c.final(omniq.StatusFailure, queue(q), unique(q), lasts(d))
			if !c.keyUntil(until, t) {
				return false
			}
			holder := c.leaseOne(from(q)) // of the key
			c.duplicate(c.requeue(t.ID), t.ID, holder.TaskID)
			require.NoError(c, c.settle(success(holder, "1", long)))
			until = soon(d)
			require.NoError(c, c.requeue(t.ID))
			return c.keyUntil(until, t)
		})
	}},
	{name: "Free takes a unique key from its task, which goes on", check: func(c *checker) {
		brief, timed := task(unique("brief"), queue("brief")), task(unique("lasting"), lasts(long), queue("lasting"))
		other := task(unique("brief"), named("g"))
		c.enqueue(brief, timed, other)
		errs, err := c.b.Free(c.Context(), []omniq.UniqueKey{
			{FuncName: "f", Key: "nobody's"}, {FuncName: "f", Key: "brief"}, {FuncName: "f", Key: "lasting"},
		})
		c.places(errs, err, omniq.ErrNotFound, nil, nil)
		c.taken(other)
		for _, t := range []*omniq.RawTask{brief, timed} {
			next := task(unique(t.UniqueKey), queue(t.Queue), lasts(t.UniqueFor))
			c.enqueue(next)
			c.taken(next)
			l := c.leaseOne(from(t.Queue))
			assert.Equal(c, t, l.Task, "it goes on as it was")
			require.NoError(c, c.settle(failure(l, long)))
			c.taken(next)
			c.duplicate(c.requeue(t.ID), t.ID, next.ID)
		}
		errs, err = c.b.Free(c.Context(), []omniq.UniqueKey{{FuncName: "g", Key: "brief"}})
		c.places(errs, err, nil)
		errs, err = c.b.Free(c.Context(), []omniq.UniqueKey{{FuncName: "g", Key: "brief"}})
		c.places(errs, err, omniq.ErrNotFound)
	}},
	{name: "a unique key that is freed can be held for another time", check: func(c *checker) {
		c.inTime(func(d time.Duration, q string) bool {
			c.enqueue(task(queue(q), unique(q), lasts(d)))
			errs, err := c.b.Free(c.Context(), []omniq.UniqueKey{{FuncName: "f", Key: q}})
			if errs != nil && errs[0] != nil {
				return false // it was over
			}
			c.places(errs, err, nil)
			until := soon(2 * d)
			t := task(queue(q), unique(q), lasts(2*d))
			c.enqueue(t)
			return c.keyUntil(until, t)
		})
	}},
	{name: "a task with an IDFor keeps its ID that long, whatever became of it", check: func(c *checker) {
		c.inTime(func(d time.Duration, q string) bool {
			until := soon(d)
			t := c.final(omniq.StatusSuccess, queue(q), resultTTL(0), idFor(d))
			forgotten := c.final(omniq.StatusFailure, queue(q), idFor(d))
			require.NoError(c, c.forget(forgotten.ID))
			for _, t := range []*omniq.RawTask{t, forgotten} {
				errs, err := c.b.Enqueue(c.Context(), []*omniq.RawTask{t})
				if !time.Now().Before(until) {
					return false
				}
				c.duplicate(c.only(errs, err), t.ID, t.ID)
			}
			for _, t := range []*omniq.RawTask{t, forgotten} {
				c.eventually("the ID is free", func() bool { return c.only(c.b.Enqueue(c.Context(), []*omniq.RawTask{t})) == nil })
				assert.False(c, time.Now().Before(until), "it was free too early")
			}
			return true
		})
	}},
	{name: "an ID that is kept stands in the way of tasks with an IDFor only", check: func(c *checker) {
		t := c.final(omniq.StatusSuccess, resultTTL(0), idFor(long))
		plain := *t
		plain.IDFor = 0
		c.enqueue(&plain)
		c.end(&plain, omniq.StatusSuccess)
		again, fresh := *t, task(idFor(long))
		errs, err := c.b.Enqueue(c.Context(), []*omniq.RawTask{&again, fresh, fresh})
		require.NoError(c, err)
		require.Len(c, errs, 3)
		c.duplicate(errs[0], t.ID, t.ID)
		assert.NoError(c, errs[1])
		c.duplicate(errs[2], fresh.ID, fresh.ID)
		assert.Equal(c, fresh.ID, c.leaseOne().TaskID)
		free := c.final(omniq.StatusCancelled, queue("free"), resultTTL(0))
		free.IDFor = long
		c.enqueue(free)
		assert.Equal(c, free.ID, c.leaseOne(from("free")).TaskID, "a task without an IDFor keeps nothing")
	}},
}

func idFor(d time.Duration) func(*omniq.RawTask) { return func(t *omniq.RawTask) { t.IDFor = d } }

// keyUntil checks that a task holds its unique key now and not for ever, but until the time. It is false if it could not
// look before that.
func (c *checker) keyUntil(until time.Time, t *omniq.RawTask) bool {
	c.Helper()
	next := task(unique(t.UniqueKey), queue(t.Queue))
	errs, err := c.b.Enqueue(c.Context(), []*omniq.RawTask{next})
	if !time.Now().Before(until) {
		return false
	}
	c.duplicate(c.only(errs, err), next.ID, t.ID)
	c.eventually("the key is free", func() bool { return c.only(c.b.Enqueue(c.Context(), []*omniq.RawTask{next})) == nil })
	assert.False(c, time.Now().Before(until), "it was free too early")
	return true
}
