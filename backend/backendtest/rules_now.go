package backendtest

import (
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// nowRules say what RunNow does.
var nowRules = []rule{
	{name: "a task that waits for its time is leased after RunNow, as it was enqueued", check: func(c *checker) {
		for _, later := range []func(*omniq.RawTask){delay(long), runAt(soon(long))} {
			t := task(later, priority(3), func(t *omniq.RawTask) { t.Metadata = map[string]string{"trace": "x"} })
			c.enqueue(t)
			c.none()
			require.NoError(c, c.runNow(t.ID))
			assert.False(c, c.inspect(t.ID).Due.After(time.Now().Add(c.skew)), "it is due now")
			l := c.leaseOne()
			assert.Equal(c, 1, l.Attempt)
			assert.Equal(c, t, l.Task)
		}
	}},
	{name: "a task that waits for a retry is leased after RunNow", check: func(c *checker) {
		t := task()
		c.enqueue(t)
		s := retry(c.leaseOne())
		s.Delay = long
		require.NoError(c, c.settle(s))
		c.none()
		require.NoError(c, c.runNow(t.ID))
		info := c.inspect(t.ID)
		assert.Equal(c, 1, info.Attempts)
		if assert.NotNil(c, info.Error) {
			assert.Equal(c, boom, *info.Error)
		}
		assert.Equal(c, 2, c.leaseOne().Attempt)
	}},
	{name: "RunNow wakes a waiting Lease", check: func(c *checker) {
		t := task(delay(long))
		c.enqueue(t)
		w := c.leasing()
		c.blocks(w.done, "Lease")
		require.NoError(c, c.runNow(t.ID))
		assert.Equal(c, t.ID, c.leased(w).TaskID)
	}},
	{name: "a task of RunNow waits after those that were due before", check: func(c *checker) {
		t := task(delay(long))
		c.enqueue(t)
		first, second := task(), task()
		c.enqueue(first)
		c.pause()
		c.enqueue(second)
		c.pause()
		require.NoError(c, c.runNow(t.ID))
		c.pause()
		require.NoError(c, c.runNow(first.ID), "which is due already, and stays where it is")
		for _, want := range []*omniq.RawTask{first, second, t} {
			assert.Equal(c, want.ID, c.leaseOne().TaskID)
		}
	}},
	{name: "RunNow does not pass a pause", check: func(c *checker) {
		t := task(delay(long))
		c.enqueue(t)
		c.pauseQueue(omniq.DefaultQueue)
		require.NoError(c, c.runNow(t.ID))
		c.none()
		c.resume(omniq.DefaultQueue)
		assert.Equal(c, t.ID, c.leaseOne().TaskID)
	}},
	{name: "each task of a RunNow counts for itself", check: func(c *checker) {
		one, other := task(queue("q"), delay(long)), task(queue("q"), delay(long))
		c.enqueue(one, task(queue("running")), other)
		running := c.leaseOne(from("running"))
		ids := []uuid.UUID{uuid.New(), one.ID, running.TaskID}
		want := []error{omniq.ErrNotFound, nil, omniq.ErrState}
		for _, s := range []omniq.Status{omniq.StatusSuccess, omniq.StatusFailure, omniq.StatusCancelled, omniq.StatusExpired} {
			ids, want = append(ids, c.final(s).ID), append(want, omniq.ErrState)
		}
		ids, want = append(ids, other.ID), append(want, nil)
		errs, err := c.b.RunNow(c.Context(), ids)
		c.places(errs, err, want...)
		assert.Len(c, c.lease(5, worst, from("q")), 2)
		c.none(from(omniq.DefaultQueue, "running"))
		assert.NoError(c, c.settle(success(running, "1", long)), "its lease goes on")
	}},
}

func (c *checker) runNow(id uuid.UUID) error {
	c.Helper()
	return c.only(c.b.RunNow(c.Context(), []uuid.UUID{id}))
}
