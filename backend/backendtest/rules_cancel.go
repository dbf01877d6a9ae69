package backendtest

import (
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// cancelRules say what becomes of a task that is cancelled.
var cancelRules = []rule{
	{name: "a pending task that is cancelled never starts", check: func(c *checker) {
		due, delayed, retried := task(queue("due")), task(queue("delayed"), runAt(soon(2*short))), task(queue("retried"))
		c.enqueue(due, delayed, retried)
		s := retry(c.leaseOne(from("retried")))
		s.Delay = 2 * short
		require.NoError(c, c.settle(s))
		w := c.awaiting(due.ID)
		c.blocks(w.done, "Await")
		for i, t := range []*omniq.RawTask{due, delayed, retried} {
			require.NoError(c, c.cancel(t.ID))
			c.cancelled(c.result(t.ID), i/2)
		}
		c.cancelled(c.got(w), 0)
		assert.Empty(c, c.lease(3, 3*short, from("due", "delayed", "retried")))
	}},
	{name: "a running task that is cancelled is final, and stays so when its lease would run out", check: func(c *checker) {
		c.inTime(func(d time.Duration, q string) bool {
			c.enqueue(task(queue(q)))
			until := soon(2 * d)
			l := c.leaseOne(from(q), lasting(2*d))
			w := c.awaiting(l.TaskID)
			c.blocks(w.done, "Await")
			require.NoError(c, c.cancel(l.TaskID))
			if !time.Now().Before(until) {
				return false
			}
			c.cancelled(c.got(w), 1)
			assert.Empty(c, c.lease(1, 3*d, from(q)), "it was cancelled")
			c.cancelled(c.result(l.TaskID), 1)
			return true
		})
	}},
	{name: "the lease of a cancelled task settles nothing", needs: fences, check: func(c *checker) {
		c.enqueue(task())
		l := c.leaseOne()
		require.NoError(c, c.cancel(l.TaskID))
		for _, s := range []omniq.Settlement{
			success(l, `"late"`, long), failure(l, long), retry(l), {LeaseID: l.LeaseID, Action: omniq.ActionRelease},
		} {
			assert.ErrorIs(c, c.settle(s), omniq.ErrLeaseLost)
		}
		c.cancelled(c.result(l.TaskID), 1)
		c.none()
	}},
	{name: "Extend says that a task was cancelled while its result is kept", needs: fences, check: func(c *checker) {
		c.enqueue(task(), task(queue("none"), resultTTL(0)), task(queue("held")))
		l, none, held := c.leaseOne(), c.leaseOne(from("none")), c.leaseOne(from("held"))
		require.NoError(c, c.cancel(l.TaskID))
		require.NoError(c, c.cancel(none.TaskID))
		errs, err := c.b.Extend(c.Context(), []omniq.LeaseID{none.LeaseID, l.LeaseID, held.LeaseID}, long)
		c.places(errs, err, omniq.ErrLeaseLost, omniq.ErrCancelled, nil)
		require.NoError(c, c.forget(l.TaskID))
		assert.ErrorIs(c, c.extend(l.LeaseID), omniq.ErrLeaseLost)
	}},
	{name: "each task of a Cancel counts for itself", check: func(c *checker) {
		pending := task(queue("pending"))
		c.enqueue(pending, task(queue("running")))
		running := c.leaseOne(from("running")).TaskID
		done, failed := c.final(omniq.StatusSuccess).ID, c.final(omniq.StatusFailure).ID
		expired, cancelled := c.final(omniq.StatusExpired).ID, c.final(omniq.StatusCancelled).ID
		was := []*omniq.RawResult{c.result(done), c.result(failed), c.result(expired), c.result(cancelled)}
		errs, err := c.b.Cancel(c.Context(), []uuid.UUID{
			uuid.New(), pending.ID, done, failed, expired, cancelled, running, pending.ID,
		})
		c.places(errs, err, omniq.ErrNotFound, nil, omniq.ErrState, omniq.ErrState, omniq.ErrState, nil, nil, nil)
		assert.Equal(c, was, []*omniq.RawResult{c.result(done), c.result(failed), c.result(expired), c.result(cancelled)})
		c.cancelled(c.result(pending.ID), 0)
		c.cancelled(c.result(running), 1)
	}},
	{name: "what a cancelled task leaves is kept as long as the task says", check: func(c *checker) {
		c.inTime(func(d time.Duration, q string) bool {
			brief, none := task(queue(q), resultTTL(d)), task(queue(q), resultTTL(0))
			c.enqueue(brief, none)
			w := c.awaiting(none.ID)
			c.blocksFor(d, w.done, "Await")
			until := soon(d)
			require.NoError(c, c.cancel(brief.ID))
			require.NoError(c, c.cancel(none.ID))
			_, err := c.b.Result(c.Context(), brief.ID)
			if !c.gone(w) || !time.Now().Before(until) {
				return false
			}
			assert.NoError(c, err, "its TTL is not over")
			assert.Equal(c, omniq.StatusCancelled, w.result.Status)
			c.unknown(none.ID)
			c.notFound(brief.ID)
			assert.False(c, time.Now().Before(until), "it went too early")
			c.enqueue(brief, none)
			assert.Equal(c, brief.ID, c.leaseOne(from(q)).TaskID)
			return true
		})
	}},
	{name: "of a cancel and a settlement at once one wins", needs: fences, check: func(c *checker) {
		for i := range 30 {
			c.enqueue(task())
			l := c.leaseOne()
			var late, lost error
			calls := []func() error{func() error {
				errs, err := c.b.Cancel(c.Context(), []uuid.UUID{l.TaskID})
				late = first(errs)
				return err
			}, func() error {
				errs, err := c.b.Settle(c.Context(), []omniq.Settlement{success(l, "1", long)})
				lost = first(errs)
				return err
			}}
			c.atOnce(calls[i%2], calls[1-i%2])
			if late == nil {
				require.ErrorIs(c, lost, omniq.ErrLeaseLost)
				c.cancelled(c.result(l.TaskID), 1)
				continue
			}
			require.ErrorIs(c, late, omniq.ErrState)
			require.NoError(c, lost)
			require.Equal(c, omniq.StatusSuccess, c.result(l.TaskID).Status)
		}
	}},
	{name: "of a cancel and a requeue at once one comes after the other", check: func(c *checker) {
		for i := range 30 {
			t := c.final(omniq.StatusFailure)
			var late, not error
			calls := []func() error{func() error {
				errs, err := c.b.Cancel(c.Context(), []uuid.UUID{t.ID})
				late = first(errs)
				return err
			}, func() error {
				errs, err := c.b.Requeue(c.Context(), []uuid.UUID{t.ID}, false)
				not = first(errs)
				return err
			}}
			c.atOnce(calls[i%2], calls[1-i%2])
			require.NoError(c, not)
			if late == nil {
				c.cancelled(c.result(t.ID), 0)
				c.none()
				continue
			}
			require.ErrorIs(c, late, omniq.ErrState)
			require.Equal(c, omniq.StatusPending, c.result(t.ID).Status)
			c.end(t, omniq.StatusSuccess)
		}
	}},
}

// atOnce makes calls beside each other.
func (c *checker) atOnce(calls ...func() error) {
	c.Helper()
	ends := make([]<-chan error, len(calls))
	for i, call := range calls {
		ends[i] = async(call)
	}
	for _, done := range ends {
		require.NoError(c, c.ended(done, "one of several calls"))
	}
}

// cancelled checks the result of a task that was cancelled after some attempts.
func (c *checker) cancelled(r *omniq.RawResult, attempts int) {
	c.Helper()
	assert.Equal(c, omniq.StatusCancelled, r.Status)
	assert.ErrorIs(c, r.Err(), omniq.ErrCancelled)
	assert.Contains(c, []string{"", "null"}, string(r.ResultData), "it has no data")
	assert.Equal(c, attempts, r.Attempts)
	if assert.NotNil(c, r.TTL) {
		assert.Equal(c, omniq.DefaultResultTTL, *r.TTL)
	}
}

// first returns the first of the errors of a call, nil for none.
func first(errs []error) error {
	if len(errs) == 0 {
		return nil
	}
	return errs[0]
}
