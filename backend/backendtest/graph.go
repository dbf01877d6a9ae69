package backendtest

import (
	"fmt"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// flows says that tasks wait for tasks.
func flows(c omniq.Capabilities) bool { return c.Flows }

// notes says that what handlers leave of their tasks is kept.
func notes(c omniq.Capabilities) bool { return c.Notes }

// needing is a dependency that must succeed, whose result is an input.
func needing(t *omniq.RawTask) omniq.Dependency { return omniq.Dependency{ID: t.ID, Input: true} }

// ending is a dependency that must have ended in whatever way, whose result is an input.
func ending(t *omniq.RawTask) omniq.Dependency {
	return omniq.Dependency{ID: t.ID, Need: omniq.NeedFinal, Input: true}
}

// noInput is a dependency that must succeed, whose result is no input.
func noInput(t *omniq.RawTask) omniq.Dependency { return omniq.Dependency{ID: t.ID} }

// waitsFor gives a task dependencies.
func waitsFor(after ...omniq.Dependency) func(*omniq.RawTask) {
	return func(t *omniq.RawTask) { t.After = after }
}

// after gives a task dependencies that must succeed, whose results are inputs.
func after(tasks ...*omniq.RawTask) func(*omniq.RawTask) {
	return func(t *omniq.RawTask) {
		for _, d := range tasks {
			t.After = append(t.After, needing(d))
		}
	}
}

// manual is for tasks that nobody leases.
func manual(t *omniq.RawTask) { t.Manual = true }

// member makes a task a member of a flow.
func member(flow uuid.UUID) func(*omniq.RawTask) { return func(t *omniq.RawTask) { t.Flow = flow } }

// waiting checks that tasks wait for others.
func (c *checker) waiting(tasks ...*omniq.RawTask) {
	c.Helper()
	for _, t := range tasks {
		require.Equal(c, omniq.StatusWaiting, c.result(t.ID).Status, "task %v, after %v", t.ID, t.After)
		require.Equal(c, omniq.StatusWaiting, c.inspect(t.ID).Status)
	}
}

// becomes waits until a task has a status.
func (c *checker) becomes(t *omniq.RawTask, s omniq.Status) {
	c.Helper()
	c.eventually("a task is "+s.String(), func() bool { return c.result(t.ID).Status == s })
}

// leaseOf leases a task, which is the only one of its queue that is due by now or soon.
func (c *checker) leaseOf(t *omniq.RawTask, change ...func(*omniq.LeaseRequest)) omniq.Lease {
	c.Helper()
	q := omniq.DefaultQueue
	if t.Queue != "" {
		q = t.Queue
	}
	l := c.leaseOne(append(change, from(q))...)
	require.Equal(c, t.ID, l.TaskID)
	return l
}

// succeed works a task, the only one of its queue that is due by now or soon.
func (c *checker) succeed(t *omniq.RawTask, data string) {
	c.Helper()
	require.NoError(c, c.settle(success(c.leaseOf(t), data, long)))
}

// blocked waits until a task has ended because of another one, which began it.
func (c *checker) blocked(t, by *omniq.RawTask) *omniq.RawResult {
	c.Helper()
	r := c.await(t.ID)
	require.Equal(c, omniq.StatusCancelled, r.Status, "task %v: %v", t.ID, r.Error)
	assert.ErrorIs(c, r.Err(), omniq.ErrDependency)
	if assert.NotNil(c, r.Error) {
		assert.Contains(c, r.Error.Message, by.ID.String(), "it names the task that began it")
	}
	assert.Contains(c, []string{"", "null"}, string(r.ResultData), "it has no data")
	return r
}

// inputs checks the inputs of a lease: the data of each, "" for none.
func (c *checker) inputs(l omniq.Lease, want ...string) {
	c.Helper()
	require.Len(c, l.Inputs, len(want), "inputs of task %v", l.TaskID)
	for i, data := range want {
		if data == "" {
			require.Nil(c, l.Inputs[i], "input %d", i)
			continue
		}
		require.NotNil(c, l.Inputs[i], "input %d", i)
		require.JSONEq(c, data, string(l.Inputs[i].ResultData), "input %d", i)
	}
}

// input returns an input of a lease, which has n of them.
func (c *checker) input(l omniq.Lease, i, n int) *omniq.RawResult {
	c.Helper()
	require.Len(c, l.Inputs, n, "inputs of task %v", l.TaskID)
	require.NotNil(c, l.Inputs[i], "input %d", i)
	return l.Inputs[i]
}

// requeueAll requeues tasks in one call.
func (c *checker) requeueAll(follow bool, tasks ...*omniq.RawTask) []error {
	c.Helper()
	all := make([]uuid.UUID, len(tasks))
	for i, t := range tasks {
		all[i] = t.ID
	}
	errs, err := c.b.Requeue(c.Context(), all, follow)
	require.NoError(c, err)
	if errs == nil {
		errs = make([]error, len(tasks))
	}
	require.Len(c, errs, len(tasks))
	return errs
}

// tasksOf are n new tasks.
func tasksOf(n int, change ...func(*omniq.RawTask)) []*omniq.RawTask {
	all := make([]*omniq.RawTask, n)
	for i := range all {
		all[i] = task(change...)
	}
	return all
}

// queueOf is the name of a queue of a part of a rule.
func queueOf(i int) string { return fmt.Sprint("q", i) }
