package backendtest

import (
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// deaths are the ways to end without success.
var deaths = []omniq.Status{omniq.StatusFailure, omniq.StatusCancelled, omniq.StatusExpired}

// boom is why tasks fail.
var boom = omniq.TaskError{Type: "T", Message: "boom", Retryable: true}

// failure is the settlement of a lease whose handler failed for good.
func failure(l omniq.Lease, keep time.Duration) omniq.Settlement {
	s := success(l, "", keep)
	s.Result.Status, s.Result.ResultData, s.Result.Error = omniq.StatusFailure, nil, &boom
	return s
}

// retry is the settlement of a lease whose handler failed and shall try again at once.
func retry(l omniq.Lease) omniq.Settlement {
	return omniq.Settlement{LeaseID: l.LeaseID, Action: omniq.ActionRetry, Error: &boom}
}

// over makes a task expire whenever it is enqueued, but not when it is enqueued again.
func over(t *omniq.RawTask) {
	t.CreatedAt = t.CreatedAt.Add(-time.Hour)
	t.TTL = new(long)
}

// resultTTL is how long the result of a task is kept, whatever it is.
func resultTTL(d time.Duration) func(*omniq.RawTask) {
	return func(t *omniq.RawTask) { t.ResultTTL, t.FailureTTL = &d, &d }
}

func named(name string) func(*omniq.RawTask) { return func(t *omniq.RawTask) { t.FuncName = name } }

// final enqueues a task, the only one of its queue, and lets it become final. Its result is kept for its ResultTTL, or
// long.
func (c *checker) final(s omniq.Status, change ...func(*omniq.RawTask)) *omniq.RawTask {
	c.Helper()
	t := task(change...)
	if s == omniq.StatusExpired {
		over(t)
	}
	c.enqueue(t)
	c.end(t, s)
	return t
}

// end lets an enqueued task, the only one of its queue, become final.
func (c *checker) end(t *omniq.RawTask, s omniq.Status) {
	c.Helper()
	keep := long
	if t.ResultTTL != nil {
		keep = *t.ResultTTL
	}
	q := t.Queue
	if q == "" {
		q = omniq.DefaultQueue
	}
	switch s {
	case omniq.StatusSuccess, omniq.StatusFailure:
		l := c.leaseOne(from(q))
		require.Equal(c, t.ID, l.TaskID)
		end := success(l, `"done"`, keep)
		if s == omniq.StatusFailure {
			end = failure(l, keep)
		}
		require.NoError(c, c.settle(end))
	case omniq.StatusCancelled:
		require.NoError(c, c.cancel(t.ID))
	case omniq.StatusExpired:
		if keep > 0 {
			require.Equal(c, s, c.await(t.ID).Status)
		}
	}
}

// The methods for one task.

func (c *checker) cancel(id uuid.UUID) error {
	c.Helper()
	return c.only(c.b.Cancel(c.Context(), []uuid.UUID{id}))
}

func (c *checker) requeue(id uuid.UUID) error {
	c.Helper()
	return c.only(c.b.Requeue(c.Context(), []uuid.UUID{id}, false))
}

func (c *checker) forget(id uuid.UUID) error {
	c.Helper()
	return c.only(c.b.Forget(c.Context(), []uuid.UUID{id}))
}

func (c *checker) extend(id omniq.LeaseID) error {
	c.Helper()
	return c.only(c.b.Extend(c.Context(), []omniq.LeaseID{id}, long))
}

// unknown checks that nothing is known of a task.
func (c *checker) unknown(id uuid.UUID) {
	c.Helper()
	_, err := c.b.Result(c.Context(), id)
	assert.ErrorIs(c, err, omniq.ErrNotFound)
	_, err = c.b.Inspect(c.Context(), id)
	assert.ErrorIs(c, err, omniq.ErrNotFound)
	assert.ErrorIs(c, c.ended(c.awaiting(id).done, "Await"), omniq.ErrNotFound)
}

// inspect returns what is known of a task.
func (c *checker) inspect(id uuid.UUID) *omniq.TaskInfo {
	c.Helper()
	info, err := c.b.Inspect(c.Context(), id)
	require.NoError(c, err)
	require.NotNil(c, info)
	return info
}
