package memory_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
)

// A result that a task goes on with stays, until that task has ended: it is not taken away by a requeue.
func TestRequeueOfAnInputInUse(t *testing.T) {
	b, ctx := memory.New(), t.Context()
	first, err := omniq.NewTask("f", omniq.NoArgs{}, omniq.NoKwargs{})
	require.NoError(t, err)
	second, err := omniq.NewTask("f", omniq.NoArgs{}, omniq.NoKwargs{})
	require.NoError(t, err)
	second.After = []omniq.Dependency{{ID: first.ID, Need: omniq.NeedFinal, Input: true}}
	tasks := make([]*omniq.RawTask, 2)
	for i, typed := range []omniq.Task[omniq.NoArgs, omniq.NoKwargs]{first, second} {
		raw, err := typed.Encode(nil)
		require.NoError(t, err)
		tasks[i] = &raw
	}
	_, err = b.Enqueue(ctx, tasks)
	require.NoError(t, err)
	_, err = b.Cancel(ctx, []uuid.UUID{first.ID})
	require.NoError(t, err)
	errs, err := b.Requeue(ctx, []uuid.UUID{first.ID}, true)
	require.NoError(t, err)
	require.ErrorIs(t, errs[0], omniq.ErrState)
	assert.ErrorContains(t, errs[0], second.ID.String())
	leases, err := b.Lease(ctx, omniq.LeaseRequest{Queues: []string{""}, Max: 1, Duration: time.Minute})
	require.NoError(t, err)
	require.Len(t, leases, 1)
	assert.Equal(t, omniq.StatusCancelled, leases[0].Inputs[0].Status)
	_, err = b.Cancel(ctx, []uuid.UUID{second.ID})
	require.NoError(t, err)
	errs, err = b.Requeue(ctx, []uuid.UUID{first.ID}, true)
	require.NoError(t, err)
	assert.Nil(t, errs)
}
