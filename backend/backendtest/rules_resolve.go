package backendtest

import (
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// resolveRules say how tasks end that nobody leases.
var resolveRules = []rule{
	{name: "a manual task waits until it is resolved", needs: flows, check: func(c *checker) {
		t := task(manual)
		next := task(after(t), queue("next"))
		c.enqueue(t, next)
		w := c.awaiting(t.ID)
		c.blocks(w.done, "Await")
		c.waiting(t, next)
		c.none()
		r := resolution(t, `"yes"`)
		require.NoError(c, c.only(c.b.Resolve(c.Context(), []*omniq.RawResult{r})))
		assert.Equal(c, r, c.got(w))
		assert.Equal(c, r, c.result(t.ID))
		l := c.leaseOf(next)
		require.Len(c, l.Inputs, 1)
		assert.Equal(c, r, l.Inputs[0])
		c.none()
	}},
	{name: "a manual task can be resolved as failed", needs: flows, check: func(c *checker) {
		t := task(manual)
		next, whatever := task(after(t)), task(waitsFor(ending(t)), queue("q"))
		c.enqueue(t, next, whatever)
		r := resolution(t, "")
		r.Status, r.ResultData, r.Error = omniq.StatusFailure, nil, &boom
		require.NoError(c, c.only(c.b.Resolve(c.Context(), []*omniq.RawResult{r})))
		assert.Equal(c, r, c.result(t.ID))
		assert.Equal(c, &boom, c.inspect(t.ID).Error)
		c.blocked(next, t)
		l := c.leaseOf(whatever)
		assert.Equal(c, r, l.Inputs[0])
		require.NoError(c, c.settle(success(l, "1", long)))
		require.NoError(c, c.requeue(t.ID))
		c.waiting(t)
		c.resolve(t, "1")
		assert.Equal(c, omniq.StatusSuccess, c.result(t.ID).Status)
	}},
	{name: "what is resolved before anybody waits for it is there", needs: flows, check: func(c *checker) {
		t := task(manual)
		c.enqueue(t)
		c.resolve(t, `"early"`)
		next := task(after(t))
		c.enqueue(next)
		c.inputs(c.leaseOf(next), `"early"`)
	}},
	{name: "each task of a Resolve counts for itself", needs: flows, check: func(c *checker) {
		pending, ended, one, other := task(queue("q")), task(manual), task(manual), task(manual)
		waits := task(after(one))
		c.enqueue(pending, ended, one, other, waits)
		c.resolve(ended, "1")
		errs, err := c.b.Resolve(c.Context(), []*omniq.RawResult{
			resolution(task(), "2"), resolution(one, "2"), resolution(pending, "2"), resolution(ended, "2"), resolution(other, "2"),
			resolution(one, "3"), resolution(waits, "2"),
		})
		c.places(errs, err, omniq.ErrNotFound, nil, omniq.ErrState, omniq.ErrState, nil, omniq.ErrState, omniq.ErrState)
		for t, want := range map[*omniq.RawTask]string{ended: "1", one: "2", other: "2"} {
			assert.JSONEq(c, want, string(c.result(t.ID).ResultData))
		}
		assert.ErrorIs(c, c.only(c.b.Resolve(c.Context(), []*omniq.RawResult{resolution(waits, "2")})), omniq.ErrState)
		c.inputs(c.leaseOf(waits), "2")
		assert.Equal(c, pending.ID, c.leaseOf(pending).TaskID)
	}},
	{name: "a Resolve with a result that cannot be is refused, and nothing of it is done", needs: flows, check: func(c *checker) {
		t := task(manual)
		c.enqueue(t)
		for name, change := range map[string]func(*omniq.RawResult){
			"pending":   func(r *omniq.RawResult) { r.Status, r.ResultData = omniq.StatusPending, nil },
			"cancelled": func(r *omniq.RawResult) { r.Status, r.ResultData, r.Error = omniq.StatusCancelled, nil, &boom },
			"expired":   func(r *omniq.RawResult) { r.Status, r.ResultData, r.Error = omniq.StatusExpired, nil, &boom },
			"no JSON":   func(r *omniq.RawResult) { r.ResultData = omniq.Raw("{") },
		} {
			bad := resolution(task(manual), "1")
			change(bad)
			_, err := c.b.Resolve(c.Context(), []*omniq.RawResult{resolution(t, "1"), bad})
			assert.ErrorIs(c, err, omniq.ErrInvalid, name)
			c.waiting(t)
		}
		errs, err := c.b.Resolve(c.Context(), nil)
		assert.NoError(c, err)
		assert.Empty(c, errs)
	}},
	{name: "a manual task that waits for others still waits to be resolved when they have ended", needs: flows, check: func(c *checker) {
		dep := task(queue("q"))
		t, early, ends := task(manual, after(dep)), task(manual, after(dep)), task(manual, waitsFor(noInput(dep)))
		bad := task(queue("bad"))
		fails := task(manual, after(bad))
		c.enqueue(dep, t, early, ends, bad, fails)
		c.resolve(early, "1")
		c.succeed(dep, "1")
		c.waiting(t)
		require.NoError(c, c.cancel(ends.ID))
		c.resolve(t, "2")
		assert.JSONEq(c, "2", string(c.await(t.ID).ResultData))
		require.NoError(c, c.settle(failure(c.leaseOf(bad), long)))
		c.blocked(fails, bad)
		c.none()
	}},
	{name: "a manual task expires", needs: flows, check: func(c *checker) {
		t := task(manual, ttl(short))
		c.enqueue(t)
		assert.Equal(c, omniq.StatusExpired, c.await(t.ID).Status)
		assert.ErrorIs(c, c.only(c.b.Resolve(c.Context(), []*omniq.RawResult{resolution(t, "1")})), omniq.ErrState)
	}},
	{name: "the result of a manual task is kept for its TTL, and who waits gets it whatever that is", needs: flows, check: func(c *checker) {
		c.inTime(func(d time.Duration, _ string) bool {
			t := task(manual)
			c.enqueue(t)
			w := c.awaiting(t.ID)
			c.blocksFor(d, w.done, "Await")
			r := resolution(t, "1")
			r.TTL = new(time.Duration(0))
			require.NoError(c, c.only(c.b.Resolve(c.Context(), []*omniq.RawResult{r})))
			c.notFound(t.ID)
			if !c.gone(w) {
				return false
			}
			assert.JSONEq(c, "1", string(w.result.ResultData))
			return true
		})
	}},
}

// resolution is a result for a manual task.
func resolution(t *omniq.RawTask, data string) *omniq.RawResult {
	r := record(long)
	r.TaskID, r.ResultData, r.Attempts = t.ID, omniq.Raw(data), 0
	return r
}

// resolve lets a manual task succeed.
func (c *checker) resolve(t *omniq.RawTask, data string) {
	c.Helper()
	require.NoError(c, c.only(c.b.Resolve(c.Context(), []*omniq.RawResult{resolution(t, data)})))
}
