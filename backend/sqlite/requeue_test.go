package sqlite_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/sqlite"
)

// fail works a task to a failure that is kept.
func fail(t *testing.T, b *sqlite.Backend, queue string) {
	t.Helper()
	s := finish(leaseOf(t, b, queue, 1)[0], "null", time.Hour)
	s.Result.Status, s.Result.Error = omniq.StatusFailure, &omniq.TaskError{Message: "no"}
	require.NoError(t, settle(t, b, s))
}

// A task that follows from another is requeued after all that it depends on, also after one that has just been put off until
// that other one is: else that one could not be requeued any more, because its result would be in use.
func TestRequeueInOrder(t *testing.T) {
	b := open(t, place(t), sqlite.WithSynchronousNormal())
	keep := time.Hour
	tasks := tasksIn("q", 4, func(t *omniq.RawTask) { t.FailureTTL = &keep })
	first, second, last, both := tasks[0], tasks[1], tasks[2], tasks[3]
	second.After = []omniq.Dependency{{ID: first.ID, Need: omniq.NeedFinal}}
	last.After = after(second)
	both.After = []omniq.Dependency{{ID: first.ID}, {ID: second.ID, Need: omniq.NeedFinal, Input: true}}
	enqueue(t, b, tasks...)
	fail(t, b, "q")
	fail(t, b, "q")
	for _, task := range tasks[2:] {
		require.Equal(t, omniq.StatusCancelled, statusOf(t, b, task.ID))
	}
	errs, err := b.Requeue(t.Context(), ids(last, second, first, both), true)
	require.NoError(t, err)
	require.Nil(t, errs)
	assert.Equal(t, omniq.StatusPending, statusOf(t, b, first.ID))
	for _, task := range tasks[1:] {
		assert.Equal(t, omniq.StatusWaiting, statusOf(t, b, task.ID))
	}
	whole(t, b)
}

// Tasks can stand in a circle once an ID has come again. Requeue ends all the same.
func TestRequeueACircle(t *testing.T) {
	b := open(t, place(t), sqlite.WithSynchronousNormal())
	keep := time.Hour
	tasks := tasksIn("q", 2, func(t *omniq.RawTask) { t.FailureTTL = &keep })
	tasks[1].After = []omniq.Dependency{{ID: tasks[0].ID, Need: omniq.NeedFinal}}
	enqueue(t, b, tasks...)
	fail(t, b, "q")
	fail(t, b, "q")
	errs, err := b.Forget(t.Context(), ids(tasks[0]))
	require.NoError(t, err)
	require.Nil(t, errs)
	tasks[0].After = []omniq.Dependency{{ID: tasks[1].ID}}
	enqueue(t, b, tasks[0])
	require.Equal(t, omniq.StatusCancelled, statusOf(t, b, tasks[0].ID))
	for _, follow := range []bool{true, false} {
		_, err := b.Requeue(t.Context(), ids(tasks...), follow)
		require.NoError(t, err)
		assert.Equal(t, 1, number(t, b, "SELECT count(*) FROM omniq_tasks WHERE id = ?", tasks[1].ID[:]))
	}
}
