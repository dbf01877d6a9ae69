package postgres_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// newTask makes one for the default queue.
func newTask(t *testing.T, opts ...omniq.TaskOption) *omniq.RawTask {
	t.Helper()
	task, err := omniq.NewTask("f", omniq.Raw("[]"), omniq.Raw("{}"), opts...)
	require.NoError(t, err)
	return &task
}

func enqueue(t *testing.T, to omniq.Enqueuer, tasks ...*omniq.RawTask) {
	t.Helper()
	errs, err := to.Enqueue(t.Context(), tasks)
	require.NoError(t, err)
	require.Nil(t, errs)
}

var anyTask = omniq.LeaseRequest{
	Queues: []string{omniq.DefaultQueue}, Max: 1, Duration: time.Minute, Wait: time.Minute, WorkerID: "w",
}

// lease waits for a task of the default queue.
func lease(t *testing.T, b omniq.Backend) omniq.Lease {
	t.Helper()
	leases, err := b.Lease(t.Context(), anyTask)
	require.NoError(t, err)
	require.Len(t, leases, 1)
	return leases[0]
}

// finish settles a lease with a result that is kept for a time.
func finish(t *testing.T, b omniq.Backend, l omniq.Lease, data string, keep time.Duration) {
	t.Helper()
	errs, err := b.Settle(t.Context(), []omniq.Settlement{{LeaseID: l.LeaseID, Action: omniq.ActionFinish, Result: &omniq.RawResult{
		TaskID: l.TaskID, Status: omniq.StatusSuccess, ResultData: omniq.Raw(data), Timestamp: time.Now().UTC(), TTL: &keep,
		Attempts: l.Attempt,
	}}})
	require.NoError(t, err)
	require.Nil(t, errs)
}

// later calls f in a goroutine, which ends with the test, and returns where it ends.
func later[T any](t *testing.T, f func(context.Context) (T, error)) <-chan T {
	done := make(chan T, 1)
	var call sync.WaitGroup
	call.Go(func() {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		v, err := f(ctx)
		if t.Context().Err() == nil { // else nobody waits for it
			assert.NoError(t, err)
		}
		done <- v
	})
	t.Cleanup(call.Wait)
	return done
}

func ids(tasks ...*omniq.RawTask) []uuid.UUID {
	list := make([]uuid.UUID, len(tasks))
	for i, t := range tasks {
		list[i] = t.ID
	}
	return list
}
