package postgres_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/postgres"
)

// after makes a task that waits for the success of others, whose results it gets.
func after(t testing.TB, deps ...*omniq.RawTask) *omniq.RawTask {
	t.Helper()
	task, err := omniq.NewTask("f", omniq.Raw("[]"), omniq.Raw("{}"))
	require.NoError(t, err)
	for _, d := range deps {
		task.After = append(task.After, omniq.Dependency{ID: d.ID, Input: true})
	}
	return &task
}

func statusOf(t testing.TB, b omniq.Backend, id uuid.UUID) omniq.Status {
	t.Helper()
	r, err := b.Result(t.Context(), id)
	require.NoError(t, err)
	return r.Status
}

// leaseAll leases what is ready.
func leaseAll(t testing.TB, b omniq.Backend, most int) []omniq.Lease {
	t.Helper()
	r := anyTask
	r.Max = most
	leases, err := b.Lease(t.Context(), r)
	require.NoError(t, err)
	return leases
}

func ending(l omniq.Lease, status omniq.Status, data string) omniq.Settlement {
	keep := time.Hour
	r := &omniq.RawResult{TaskID: l.TaskID, Status: status, Timestamp: time.Now().UTC(), TTL: &keep, Attempts: l.Attempt}
	if status == omniq.StatusSuccess {
		r.ResultData = omniq.Raw(data)
	} else {
		r.Error = &omniq.TaskError{Message: data}
	}
	return omniq.Settlement{LeaseID: l.LeaseID, Action: omniq.ActionFinish, Result: r}
}

func settle(t testing.TB, b omniq.TaskQueue, list ...omniq.Settlement) {
	t.Helper()
	errs, err := b.Settle(t.Context(), list)
	require.NoError(t, err)
	require.Nil(t, errs)
}

// A graph runs in its order, and each task gets the results of what it has waited for.
func TestFlow(t *testing.T) {
	t.Parallel()
	b := open(t, place(t), postgres.WithEvents(time.Hour))
	first, flow := newTask(t), uuid.New()
	left, right := after(t, first), after(t, first)
	last := after(t, left, right)
	last.After = append(last.After, omniq.Dependency{ID: first.ID, Need: omniq.NeedFinal})
	tasks := []*omniq.RawTask{first, left, right, last}
	for _, task := range tasks {
		task.Flow = flow
	}
	enqueue(t, b, tasks...)
	_, err := b.Enqueue(t.Context(), []*omniq.RawTask{{ID: uuid.New(), FuncName: "f", Args: omniq.Raw("[]"), Kwargs: omniq.Raw("{}"), CreatedAt: time.Now().UTC(), Flow: flow}})
	require.ErrorIs(t, err, omniq.ErrState)
	errs, err := b.Enqueue(t.Context(), tasks)
	require.NoError(t, err)
	for _, err := range errs {
		require.ErrorIs(t, err, omniq.ErrDuplicate)
	}
	_, err = b.Enqueue(t.Context(), []*omniq.RawTask{after(t, newTask(t))})
	require.ErrorIs(t, err, omniq.ErrNotFound)

	stats, err := b.FlowStats(t.Context(), flow)
	require.NoError(t, err)
	require.Equal(t, omniq.FlowStats{Waiting: 3, Pending: 1}, stats)
	l := leaseAll(t, b, 10)
	require.Len(t, l, 1)
	settle(t, b, ending(l[0], omniq.StatusSuccess, `"first"`))
	l = leaseAll(t, b, 10)
	require.Len(t, l, 2)
	for i := range l {
		require.Len(t, l[i].Inputs, 1)
		assert.JSONEq(t, `"first"`, string(l[i].Inputs[0].ResultData))
		settle(t, b, ending(l[i], omniq.StatusSuccess, strconv.Itoa(i)))
	}
	l = leaseAll(t, b, 10)
	require.Len(t, l, 1)
	require.Equal(t, last.ID, l[0].TaskID)
	require.Len(t, l[0].Inputs, 3)
	require.Equal(t, left.ID, l[0].Inputs[0].TaskID)
	require.Nil(t, l[0].Inputs[2])
	info, err := b.Inspect(t.Context(), last.ID)
	require.NoError(t, err)
	require.Equal(t, last.After, info.After)
	require.Equal(t, flow, info.Flow)
	settle(t, b, ending(l[0], omniq.StatusSuccess, "1"))
	page, next, err := b.List(t.Context(), omniq.ListRequest{Flow: flow, Max: 10})
	require.NoError(t, err)
	require.Empty(t, next)
	require.Len(t, page, 4)
	queues, err := b.Stats(t.Context())
	require.NoError(t, err)
	require.Equal(t, []omniq.QueueStats{{Queue: "default", Succeeded: 4}}, queues)
	none(t, b)
}

// Inputs that are too large stay in the database, but for their size; those that are not come in their order.
func TestInputs(t *testing.T) {
	t.Parallel()
	b := open(t, place(t))
	deps := []*omniq.RawTask{newTask(t), newTask(t), newTask(t)}
	waits := after(t, deps[2], deps[0], deps[1])
	waits.After[1].Input = false
	enqueue(t, b, append(deps, waits)...)
	for _, l := range leaseAll(t, b, 3) {
		settle(t, b, ending(l, omniq.StatusSuccess, strconv.Quote(l.TaskID.String())))
	}
	all, bytes, left, err := b.Inputs(t.Context(), waits.ID, 1<<20)
	require.NoError(t, err)
	require.False(t, left)
	require.Len(t, all, 3)
	require.Equal(t, deps[2].ID, all[0].TaskID)
	require.Nil(t, all[1])
	require.Equal(t, deps[1].ID, all[2].TaskID)
	_, _, left, err = b.Inputs(t.Context(), waits.ID, bytes)
	require.NoError(t, err)
	require.False(t, left)
	all, whole, left, err := b.Inputs(t.Context(), waits.ID, bytes-1)
	require.NoError(t, err)
	require.True(t, left)
	require.Empty(t, all)
	require.Equal(t, bytes, whole)
}

// The end of a task releases those that wait for it in its own transaction; one that others have locked it does not wait for,
// and that one is released later.
func TestReleaseAtOnce(t *testing.T) {
	t.Parallel()
	b := open(t, place(t))
	dep := newTask(t)
	free, locked := after(t, dep), after(t, dep)
	enqueue(t, b, dep, free, locked)
	l := lease(t, b)
	tx, err := b.Pool().Begin(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { _ = tx.Rollback(context.Background()) })
	_, err = tx.Exec(t.Context(), "SELECT FROM "+b.Schema()+".tasks WHERE id = $1 FOR UPDATE", locked.ID)
	require.NoError(t, err)
	settle(t, b, ending(l, omniq.StatusSuccess, "1"))
	require.Equal(t, omniq.StatusPending, statusOf(t, b, free.ID))
	require.Equal(t, omniq.StatusWaiting, statusOf(t, b, locked.ID))
	var same bool
	require.NoError(t, b.Pool().QueryRow(t.Context(), fmt.Sprintf(`SELECT (SELECT xmin::text FROM %[1]s.results WHERE id = $1) =
		(SELECT xmin::text FROM %[1]s.tasks WHERE id = $2)`, b.Schema()), dep.ID, free.ID).Scan(&same))
	require.True(t, same, "one transaction has ended the one and released the other")
	require.NoError(t, tx.Commit(t.Context()))
	require.Eventually(t, func() bool { return statusOf(t, b, locked.ID) == omniq.StatusPending }, 30*time.Second, time.Millisecond)
	require.Len(t, leaseAll(t, b, 3), 2)
}

// none checks that nothing is left of the work, and that no task waits for what has ended.
func none(t testing.TB, b *postgres.Backend) {
	t.Helper()
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		for what, q := range map[string]string{
			"work": "SELECT count(*) FROM %[1]s.work",
			"tasks that wait for nothing": `SELECT count(*) FROM %[1]s.tasks t WHERE t.state = -1 AND t.manual IS NULL AND NOT EXISTS (
				SELECT FROM %[1]s.edges e WHERE e.tie = t.tie AND e.met IS NULL)`,
			"tasks with a wrong number": `SELECT count(*) FROM %[1]s.tasks t WHERE t.state = -1 AND t.open <> (
				SELECT count(*) FROM %[1]s.edges e WHERE e.tie = t.tie AND e.passed = (t.resumed IS TRUE) AND e.met IS NULL)`,
			"open edges to what has ended": `SELECT count(*) FROM %[1]s.edges e JOIN %[1]s.tasks t ON t.id = e.task AND t.tie = e.tie
				WHERE e.met IS NULL AND t.state = -1 AND NOT EXISTS (SELECT FROM %[1]s.tasks d WHERE d.id = e.dep)`,
		} {
			n := -1
			err := b.Pool().QueryRow(context.WithoutCancel(t.Context()), fmt.Sprintf(q, b.Schema())).Scan(&n)
			assert.NoError(c, err)
			assert.Zero(c, n, what)
		}
	}, 20*time.Second, 5*time.Millisecond)
}

// A failure ends what needs it, through the graph, with the task that began it; who requeues it may requeue these, too.
func TestFlowFails(t *testing.T) {
	t.Parallel()
	b := open(t, place(t), postgres.WithEvents(time.Hour))
	first := newTask(t)
	second, either := after(t, first), newTask(t)
	either.After = []omniq.Dependency{{ID: first.ID, Need: omniq.NeedFinal}}
	third := after(t, second)
	enqueue(t, b, first, second, third, either)
	settle(t, b, ending(lease(t, b), omniq.StatusFailure, "no"))
	for _, task := range []*omniq.RawTask{second, third} {
		r, err := b.Await(t.Context(), task.ID)
		require.NoError(t, err)
		require.Equal(t, omniq.StatusCancelled, r.Status)
		require.ErrorIs(t, r.Error, omniq.ErrDependency)
		require.ErrorContains(t, r.Error, first.ID.String())
		require.ErrorContains(t, r.Error, "failed: no")
	}
	require.Equal(t, omniq.StatusPending, statusOf(t, b, either.ID))
	errs, err := b.Requeue(t.Context(), []uuid.UUID{third.ID}, false)
	require.NoError(t, err)
	require.ErrorIs(t, errs[0], omniq.ErrState)
	require.ErrorContains(t, errs[0], second.ID.String())
	errs, err = b.Requeue(t.Context(), []uuid.UUID{first.ID}, true)
	require.NoError(t, err)
	require.Nil(t, errs)
	require.Equal(t, omniq.StatusWaiting, statusOf(t, b, second.ID))
	require.Equal(t, omniq.StatusWaiting, statusOf(t, b, third.ID))
	for range 4 {
		settle(t, b, ending(lease(t, b), omniq.StatusSuccess, "1"))
	}
	for _, task := range []*omniq.RawTask{first, second, third, either} {
		require.Equal(t, omniq.StatusSuccess, statusOf(t, b, task.ID))
	}
	none(t, b)
}

// A handler passes its result on to tasks that it enqueues, and leaves notes.
func TestFlowWaits(t *testing.T) {
	t.Parallel()
	b := open(t, place(t), postgres.WithEvents(time.Hour))
	task, flow := newTask(t), uuid.New()
	task.Flow = flow
	enqueue(t, b, task)
	l := lease(t, b)
	child, other := newTask(t), newTask(t)
	child.Flow = flow
	other.Manual = true
	s := omniq.Settlement{LeaseID: l.LeaseID, Action: omniq.ActionWait, Effects: &omniq.Effects{
		Enqueue: []*omniq.RawTask{child, other}, After: []omniq.Dependency{{ID: child.ID, Input: true}, {ID: other.ID, Input: true}},
		Notes: omniq.Notes{State: omniq.Raw(`{"a":1}`), Progress: omniq.Raw(`{"p":1}`), Stream: []omniq.StreamItem{{Name: "s", Data: omniq.Raw("1")}}},
	}}
	settle(t, b, s)
	errs, err := b.Settle(t.Context(), []omniq.Settlement{s})
	require.NoError(t, err)
	require.ErrorIs(t, errs[0], omniq.ErrLeaseLost)
	settle(t, b, ending(lease(t, b), omniq.StatusSuccess, `"child"`))
	require.Equal(t, omniq.StatusWaiting, statusOf(t, b, task.ID))
	errs, err = b.Resolve(t.Context(), []*omniq.RawResult{{TaskID: other.ID, Status: omniq.StatusSuccess, ResultData: omniq.Raw("7"), Timestamp: time.Now().UTC()}})
	require.NoError(t, err)
	require.Nil(t, errs)
	l = lease(t, b)
	require.Equal(t, task.ID, l.TaskID)
	require.True(t, l.Resumed)
	require.Equal(t, 1, l.Attempt)
	require.JSONEq(t, `{"a":1}`, string(l.State))
	require.Len(t, l.Inputs, 2)
	require.JSONEq(t, "7", string(l.Inputs[1].ResultData))
	errs, err = b.Note(t.Context(), []omniq.LeaseNotes{{LeaseID: l.LeaseID, Notes: omniq.Notes{Stream: []omniq.StreamItem{{Name: "s", Data: omniq.Raw("2")}}}}})
	require.NoError(t, err)
	require.Nil(t, errs)
	page, err := b.Stream(t.Context(), omniq.StreamRequest{TaskID: task.ID, Name: "s", Max: 10})
	require.NoError(t, err)
	require.Equal(t, []omniq.Raw{omniq.Raw("1"), omniq.Raw("2")}, page.Items)
	require.False(t, page.Ended)
	settle(t, b, ending(l, omniq.StatusSuccess, "1"))
	page, err = b.Stream(t.Context(), omniq.StreamRequest{TaskID: task.ID, Name: "s", After: page.Next, Max: 10})
	require.NoError(t, err)
	require.True(t, page.Ended)
	none(t, b)
}
