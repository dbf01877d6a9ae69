package backendtest

import (
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// requeueRules say how a task begins a new life.
var requeueRules = []rule{
	{name: "a task that is requeued is leased as it was enqueued, as new", check: func(c *checker) {
		for _, death := range deaths {
			t := c.final(death, func(t *omniq.RawTask) {
				t.FuncName, t.Queue, t.Priority, t.MaxAttempts = "g", "q", 3, 5
				t.Args, t.Kwargs, t.Metadata = omniq.Raw(`[1]`), omniq.Raw(`{"k":2}`), map[string]string{"trace": "x"}
				t.Timeout, t.ResultTTL, t.RunAt = time.Minute, new(2*long), t.CreatedAt.Add(-2*time.Hour)
			})
			began := time.Now().Truncate(time.Millisecond)
			require.NoError(c, c.requeue(t.ID), death)
			l := c.leaseOne(from("q"))
			assert.Equal(c, 1, l.Attempt, "after %v", death)
			assert.False(c, l.Task.CreatedAt.Before(began), "it was created now, not %v ago", began.Sub(l.Task.CreatedAt))
			assert.False(c, l.Task.RunAt.After(time.Now()), "it is due now")
			want := *t
			want.CreatedAt, want.RunAt = l.Task.CreatedAt, l.Task.RunAt
			assert.Equal(c, &want, l.Task, "after %v", death)
			require.NoError(c, c.settle(success(l, "1", long)))
			assert.Equal(c, omniq.StatusSuccess, c.result(t.ID).Status)
		}
	}},
	{name: "a task that is requeued has no result and no attempts", check: func(c *checker) {
		t := task()
		c.enqueue(t)
		require.NoError(c, c.settle(retry(c.leaseOne())))
		c.end(t, omniq.StatusFailure)
		was := c.result(t.ID)
		began := time.Now().Truncate(time.Millisecond)
		require.NoError(c, c.requeue(t.ID))
		r := c.result(t.ID)
		assert.Equal(c, omniq.StatusPending, r.Status)
		assert.Empty(c, r.Err())
		assert.Zero(c, r.Attempts)
		assert.False(c, r.Timestamp.Before(began), "it is pending since now, not since %v, after %v", r.Timestamp, was.Timestamp)
		info := c.inspect(t.ID)
		assert.Equal(c, omniq.StatusPending, info.Status)
		assert.Zero(c, info.Attempts)
		assert.Nil(c, info.Error)
		assert.False(c, info.Due.Before(began), "it is due since now")
		assert.Equal(c, 1, c.leaseOne().Attempt)
	}},
	{name: "a task that is requeued has its whole TTL before it", check: func(c *checker) {
		t := c.final(omniq.StatusExpired)
		require.NoError(c, c.requeue(t.ID))
		assert.Equal(c, omniq.StatusPending, c.result(t.ID).Status)
		assert.Equal(c, t.ID, c.leaseOne().TaskID)
	}},
	{name: "the TTL of the old result does not end the new life", check: func(c *checker) {
		c.inTime(func(d time.Duration, q string) bool {
			until := time.Now().Add(d)
			t := c.final(omniq.StatusFailure, queue(q), resultTTL(d))
			if !time.Now().Before(until) {
				return false
			}
			errs, err := c.b.Requeue(c.Context(), []uuid.UUID{t.ID}, false)
			if !time.Now().Before(until) {
				return false
			}
			c.places(errs, err, nil)
			assert.Empty(c, c.lease(1, 2*d, from("none")))
			assert.Equal(c, omniq.StatusPending, c.result(t.ID).Status)
			assert.Equal(c, t.ID, c.leaseOne(from(q)).TaskID)
			return true
		})
	}},
	{name: "those who wait for a requeued task get its new result", check: func(c *checker) {
		c.inTime(func(d time.Duration, q string) bool {
			t := task(queue(q))
			c.enqueue(t)
			old := c.awaiting(t.ID)
			c.blocksFor(d, old.done, "Await")
			require.NoError(c, c.settle(failure(c.leaseOne(from(q)), long)))
			require.NoError(c, c.requeue(t.ID))
			l := c.leaseOne(from(q))
			select {
			case err := <-old.done:
				require.NoError(c, err)
				assert.Equal(c, omniq.StatusFailure, old.result.Status, "who waited before")
			case <-time.After(2 * d):
				return false // it may have begun when the task was requeued
			}
			w := c.awaiting(t.ID)
			c.blocks(w.done, "Await of a requeued task")
			require.NoError(c, c.settle(success(l, `"new"`, long)))
			assert.JSONEq(c, `"new"`, string(c.got(w).ResultData))
			return true
		})
	}},
	{name: "a lease of the old life is lost in the new one", needs: fences, check: func(c *checker) {
		c.enqueue(task())
		old := c.leaseOne()
		require.NoError(c, c.cancel(old.TaskID))
		require.NoError(c, c.requeue(old.TaskID))
		c.refuses(old.LeaseID)
		l := c.leaseOne()
		assert.NotEqual(c, old.Token, l.Token)
		c.refuses(old.LeaseID)
		assert.NoError(c, c.settle(success(l, "1", long)))
	}},
	{name: "a waiting Lease gets a task that is requeued", check: func(c *checker) {
		t := c.final(omniq.StatusFailure)
		w := c.leasing()
		c.blocks(w.done, "Lease")
		require.NoError(c, c.requeue(t.ID))
		assert.Equal(c, t.ID, c.leased(w).TaskID)
	}},
	{name: "a task that is requeued waits behind those that were due before", check: func(c *checker) {
		t := c.final(omniq.StatusFailure)
		other := task()
		c.enqueue(other)
		c.pause()
		require.NoError(c, c.requeue(t.ID))
		assert.Equal(c, []uuid.UUID{other.ID, t.ID}, []uuid.UUID{c.leaseOne().TaskID, c.leaseOne().TaskID})
	}},
	{name: "each task of a Requeue counts for itself", check: func(c *checker) {
		pending := task(queue("pending"))
		c.enqueue(pending, task(queue("running")))
		running := c.leaseOne(from("running"))
		done, failed := c.final(omniq.StatusSuccess).ID, c.final(omniq.StatusFailure).ID
		expired, cancelled := c.final(omniq.StatusExpired).ID, c.final(omniq.StatusCancelled).ID
		errs, err := c.b.Requeue(c.Context(), []uuid.UUID{
			uuid.New(), pending.ID, failed, done, running.TaskID, expired, failed, cancelled,
		}, false)
		c.places(errs, err, omniq.ErrNotFound, omniq.ErrState, nil, omniq.ErrState, omniq.ErrState, nil, omniq.ErrState, nil)
		for _, want := range []uuid.UUID{failed, expired, cancelled} {
			assert.Equal(c, want, c.leaseOne().TaskID)
		}
		c.none(from(omniq.DefaultQueue, "running"))
		assert.Equal(c, omniq.StatusSuccess, c.result(done).Status)
		assert.NoError(c, c.settle(success(running, "1", long)))
		assert.Equal(c, pending.ID, c.leaseOne(from("pending")).TaskID)
	}},
	{name: "of those who requeue a task at once one does", check: func(c *checker) {
		const n = 30
		var ids []uuid.UUID
		for range n {
			ids = append(ids, c.final(omniq.StatusFailure).ID)
		}
		var calls []<-chan error
		var refused [4][]error
		for i := range refused {
			calls = append(calls, async(func() (err error) { refused[i], err = c.b.Requeue(c.Context(), ids, false); return err }))
		}
		for _, done := range calls {
			require.NoError(c, c.ended(done, "Requeue"))
		}
		for i := range ids {
			did := 0
			for _, errs := range refused {
				if errs == nil || errs[i] == nil {
					did++
					continue
				}
				assert.ErrorIs(c, errs[i], omniq.ErrState)
			}
			assert.Equal(c, 1, did, "task %d", i)
			c.leaseOne()
		}
		c.none()
	}},
}
