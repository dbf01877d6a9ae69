package backendtest

import (
	"context"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/hostile"
)

// hostileRules say what no engine takes, because a worker or a reader could not read it back, and what each must.
var hostileRules = []rule{
	{name: "a task that no worker could read is refused, and nothing of its call is stored", check: func(c *checker) {
		for _, bad := range hostile.Tasks() {
			_, err := c.b.Enqueue(c.Context(), []*omniq.RawTask{task(), bad.Value})
			assert.ErrorIs(c, err, omniq.ErrInvalid, bad.Name)
		}
		c.none()
	}},
	{name: "a task that is just allowed is leased as it was", check: func(c *checker) {
		for _, edge := range hostile.EdgeTasks() {
			want := edge.Value
			_, err := c.b.Enqueue(c.Context(), []*omniq.RawTask{want})
			require.NoError(c, err, edge.Name)
			queue := want.Queue
			if queue == "" {
				queue = omniq.DefaultQueue
			}
			l := c.leaseOne(from(queue))
			assert.True(c, assert.ObjectsAreEqual(want, l.Task), edge.Name) // which are too large to be shown
			require.NoError(c, c.settle(success(l, "1", long)), edge.Name)
		}
	}},
	{name: "a result that nobody could read is refused, and the others of its call are settled", check: func(c *checker) {
		for _, bad := range hostile.Results(task().ID) {
			c.enqueue(task(), task())
			leases := c.lease(2, worst)
			require.Len(c, leases, 2)
			settlement := success(leases[0], "1", long)
			settlement.Result = bad.Value
			settlement.Result.TaskID = leases[0].TaskID
			errs, err := c.b.Settle(c.Context(), []omniq.Settlement{settlement, success(leases[1], "1", long)})
			require.NoError(c, err, bad.Name)
			require.Len(c, errs, 2, bad.Name)
			assert.ErrorIs(c, errs[0], omniq.ErrInvalid, bad.Name)
			assert.NoError(c, errs[1], bad.Name)
			assert.NoError(c, c.settle(success(leases[0], "1", long)), "its lease goes on: %s", bad.Name)
		}
	}},
	{name: "an error that nobody could read is refused, and the others of its call are settled", check: func(c *checker) {
		for _, bad := range hostile.Errors() {
			c.enqueue(task(), task())
			leases := c.lease(2, worst)
			require.Len(c, leases, 2)
			errs, err := c.b.Settle(c.Context(), []omniq.Settlement{
				{LeaseID: leases[0].LeaseID, Action: omniq.ActionRetry, Delay: long, Error: bad.Value}, success(leases[1], "1", long),
			})
			require.NoError(c, err, bad.Name)
			require.Len(c, errs, 2, bad.Name)
			assert.ErrorIs(c, errs[0], omniq.ErrInvalid, bad.Name)
			assert.NoError(c, errs[1], bad.Name)
			assert.NoError(c, c.settle(success(leases[0], "1", long)), "its lease goes on: %s", bad.Name)
		}
	}},
	{name: "a result that is just allowed is kept as it was", check: func(c *checker) {
		for _, edge := range hostile.EdgeResults(task().ID) {
			c.enqueue(task())
			l := c.leaseOne()
			s := success(l, "1", long)
			s.Result = edge.Value
			s.Result.TaskID = l.TaskID
			require.NoError(c, c.settle(s), edge.Name)
			assert.True(c, assert.ObjectsAreEqual(edge.Value, c.result(l.TaskID)), edge.Name)
		}
	}},
	{name: "a result that nobody could read is not recorded", check: func(c *checker) {
		good := record(long)
		for _, bad := range hostile.Results(task().ID) {
			_, err := c.b.Record(c.Context(), []*omniq.RawResult{good, bad.Value})
			assert.ErrorIs(c, err, omniq.ErrInvalid, bad.Name)
		}
		_, err := c.b.Record(c.Context(), []*omniq.RawResult{good, nil})
		assert.ErrorIs(c, err, omniq.ErrInvalid)
		c.unknown(good.TaskID)
	}},
	{name: "an event that nobody could read is refused, and nothing of its call is kept", events: long, check: func(c *checker) {
		for _, bad := range hostile.Events() {
			err := c.b.Append(c.Context(), []*omniq.TaskEvent{hostile.Event(), bad.Value})
			assert.ErrorIs(c, err, omniq.ErrInvalid, bad.Name)
		}
		events, _, err := c.b.Events(c.Context(), omniq.EventsRequest{Max: 1})
		require.NoError(c, err)
		assert.Empty(c, events)
	}},
	{name: "what is no name of a queue is refused", check: func(c *checker) {
		for _, bad := range hostile.Queues() {
			if bad.Value == "" { // which stands for the default one
				continue
			}
			assert.ErrorIs(c, c.b.Pause(c.Context(), bad.Value), omniq.ErrInvalid, bad.Name)
			assert.ErrorIs(c, c.b.Resume(c.Context(), bad.Value), omniq.ErrInvalid, bad.Name)
			_, err := c.b.Lease(c.Context(), omniq.LeaseRequest{
				Queues: []string{omniq.DefaultQueue, bad.Value}, Max: 1, Duration: long, WorkerID: "w",
			})
			assert.ErrorIs(c, err, omniq.ErrInvalid, bad.Name)
			_, _, err = c.b.List(c.Context(), omniq.ListRequest{Status: omniq.StatusPending, Max: 1, Queue: bad.Value})
			assert.ErrorIs(c, err, omniq.ErrInvalid, bad.Name)
		}
		stats, err := c.b.Stats(c.Context())
		require.NoError(c, err)
		assert.Empty(c, stats)
	}},
	{name: "what is no key is not freed", check: func(c *checker) {
		for _, bad := range []omniq.UniqueKey{{FuncName: "f", Key: "a\x00"}, {FuncName: "f", Key: "\xff"}, {FuncName: "\x00", Key: "a"}} {
			_, err := c.b.Free(c.Context(), []omniq.UniqueKey{bad})
			assert.ErrorIs(c, err, omniq.ErrInvalid, "%q", bad)
		}
	}},
	{name: "what is no name of a worker is refused", check: func(c *checker) {
		for _, bad := range hostile.WorkerIDs() {
			if bad.Value == "" {
				continue
			}
			_, err := c.b.Lease(c.Context(), omniq.LeaseRequest{
				Queues: []string{omniq.DefaultQueue}, Max: 1, Duration: long, WorkerID: bad.Value,
			})
			assert.ErrorIs(c, err, omniq.ErrInvalid, bad.Name)
			ctx, cancel := context.WithTimeout(c.Context(), worst)
			_, err = c.b.Revoked(ctx, bad.Value)
			cancel()
			assert.ErrorIs(c, err, omniq.ErrInvalid, bad.Name)
		}
	}},
}

// Enqueuer checks what takes tasks beside a backend's own Enqueue, as in a transaction of the caller's: that it refuses
// what no worker could read, and can go on after that. It stores tasks of the function "f" that are just allowed.
func Enqueuer(t T, e omniq.Enqueuer) {
	t.Helper()
	for _, bad := range hostile.Tasks() {
		_, err := e.Enqueue(t.Context(), []*omniq.RawTask{task(), bad.Value})
		assert.ErrorIs(t, err, omniq.ErrInvalid, bad.Name)
	}
	for _, edge := range hostile.EdgeTasks() {
		errs, err := e.Enqueue(t.Context(), []*omniq.RawTask{edge.Value})
		require.NoError(t, err, edge.Name)
		for _, err := range errs {
			require.NoError(t, err, edge.Name)
		}
	}
}
