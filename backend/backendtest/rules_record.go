package backendtest

import (
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// recordRules say how results come and go without a task here.
var recordRules = []rule{
	{name: "a recorded result is kept as it was given", check: func(c *checker) {
		full := record(long)
		full.ResultData, full.Codec, full.Attempts = omniq.Raw(`"AAAA"`), "json+gzip", 3
		failed := record(long)
		failed.Status, failed.ResultData, failed.Error, failed.TTL = omniq.StatusFailure, nil, &boom, nil
		errs, err := c.b.Record(c.Context(), []*omniq.RawResult{full, failed})
		c.places(errs, err, nil, nil)
		for _, want := range []*omniq.RawResult{full, failed} {
			assert.Equal(c, want, c.result(want.TaskID))
			assert.Equal(c, want, c.await(want.TaskID))
		}
		c.none()
	}},
	{name: "a recorded result goes when its TTL is over", check: func(c *checker) {
		c.inTime(func(d time.Duration, _ string) bool {
			until := soon(d)
			brief, none := record(d), record(0)
			errs, err := c.b.Record(c.Context(), []*omniq.RawResult{brief, none})
			c.places(errs, err, nil, nil)
			_, err = c.b.Result(c.Context(), brief.TaskID)
			if !time.Now().Before(until) {
				return false
			}
			require.NoError(c, err, "its TTL is not over")
			c.unknown(none.TaskID)
			c.notFound(brief.TaskID)
			assert.False(c, time.Now().Before(until), "it went too early")
			errs, err = c.b.Record(c.Context(), []*omniq.RawResult{brief})
			c.places(errs, err, nil)
			return true
		})
	}},
	{name: "each result of a Record counts for itself", check: func(c *checker) {
		pending := task(queue("pending"))
		c.enqueue(pending, task(queue("running")))
		running := c.leaseOne(from("running"))
		done, failed := c.final(omniq.StatusSuccess).ID, c.final(omniq.StatusFailure).ID
		fresh := record(long)
		again := *fresh
		again.ResultData = omniq.Raw(`"again"`)
		of := func(id uuid.UUID) *omniq.RawResult {
			r := record(long)
			r.TaskID = id
			return r
		}
		was := []*omniq.RawResult{c.result(done), c.result(failed)}
		errs, err := c.b.Record(c.Context(), []*omniq.RawResult{
			of(pending.ID), fresh, of(done), of(running.TaskID), &again, of(failed),
		})
		c.places(errs, err, omniq.ErrState, nil, omniq.ErrDuplicate, omniq.ErrState, omniq.ErrDuplicate, omniq.ErrDuplicate)
		assert.Equal(c, was, []*omniq.RawResult{c.result(done), c.result(failed)})
		assert.Equal(c, fresh, c.result(fresh.TaskID))
		assert.Equal(c, pending.ID, c.leaseOne(from("pending")).TaskID)
		assert.NoError(c, c.settle(success(running, "1", long)))
	}},
	{name: "a recorded result that is not final is refused", check: func(c *checker) {
		good, bad := record(long), record(long)
		bad.Status = omniq.StatusRunning
		_, err := c.b.Record(c.Context(), []*omniq.RawResult{good, bad})
		assert.ErrorIs(c, err, omniq.ErrInvalid)
		c.unknown(good.TaskID)
	}},
	{name: "the ID of a recorded result is taken", check: func(c *checker) {
		r := record(long)
		errs, err := c.b.Record(c.Context(), []*omniq.RawResult{r})
		c.places(errs, err, nil)
		t := task(func(t *omniq.RawTask) { t.ID = r.TaskID })
		c.duplicate(c.only(c.b.Enqueue(c.Context(), []*omniq.RawTask{t})), t.ID, t.ID)
		require.NoError(c, c.forget(t.ID))
		c.enqueue(t)
	}},
	{name: "Forget removes what is known of a task", check: func(c *checker) {
		for _, end := range append([]omniq.Status{omniq.StatusSuccess}, deaths...) {
			t := c.final(end)
			other := c.final(end)
			require.NoError(c, c.forget(t.ID))
			c.unknown(t.ID)
			assert.Equal(c, []uuid.UUID{other.ID}, ids(c.list(omniq.ListRequest{Status: end, Max: 10})))
			assert.ErrorIs(c, c.requeue(t.ID), omniq.ErrNotFound)
			c.enqueue(t)
			c.end(t, end)
			assert.Equal(c, end, c.result(t.ID).Status, "its ID can be used again")
		}
	}},
	{name: "each task of a Forget counts for itself", check: func(c *checker) {
		pending := task(queue("pending"))
		c.enqueue(pending, task(queue("running")))
		running := c.leaseOne(from("running"))
		done, failed := c.final(omniq.StatusSuccess).ID, c.final(omniq.StatusFailure).ID
		errs, err := c.b.Forget(c.Context(), []uuid.UUID{uuid.New(), done, pending.ID, running.TaskID, failed, done})
		c.places(errs, err, omniq.ErrNotFound, nil, omniq.ErrState, omniq.ErrState, nil, omniq.ErrNotFound)
		c.unknown(done)
		c.unknown(failed)
		assert.Equal(c, pending.ID, c.leaseOne(from("pending")).TaskID)
		assert.NoError(c, c.settle(success(running, "1", long)))
	}},
}

// record returns a result of a task that no engine has.
func record(ttl time.Duration) *omniq.RawResult {
	return &omniq.RawResult{
		TaskID: uuid.New(), Status: omniq.StatusSuccess, ResultData: omniq.Raw(`"recorded"`),
		Timestamp: time.Now().UTC().Truncate(time.Microsecond), TTL: &ttl, Attempts: 1,
	}
}
