package omniq_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/backendtest"
	"github.com/omniq-go/omniq/backend/memory"
)

func TestMixIsABackend(t *testing.T) {
	backendtest.Run(t, func(*testing.T) omniq.Backend { return omniq.Mix(memory.New(), memory.New()) })
}

func TestMixKeepsResultsElsewhere(t *testing.T) {
	queue, results := memory.New(), memory.New()
	b := omniq.Mix(queue, results)
	client := newClient(t, b)
	d := omniq.DefineArgs("odd", func(_ context.Context, a omniq.Args1[int]) (int, error) {
		if a.V1%2 == 0 {
			return 0, omniq.Permanent(errors.New("even"))
		}
		return a.V1, nil
	})
	w := run(t, b, omniq.Handlers(d))
	good, err := d.Enqueue(t.Context(), client, omniq.MakeArgs1(1))
	require.NoError(t, err)
	bad, err := d.Enqueue(t.Context(), client, omniq.MakeArgs1(2))
	require.NoError(t, err)
	got, err := good.Wait(t.Context())
	require.NoError(t, err)
	assert.Equal(t, 1, got)
	_, err = bad.Wait(t.Context())
	require.ErrorContains(t, err, "even")
	require.NoError(t, w.stop())

	r, err := results.Result(t.Context(), good.ID())
	require.NoError(t, err)
	assert.Equal(t, "1", string(r.ResultData))
	r, err = queue.Result(t.Context(), good.ID())
	require.NoError(t, err)
	assert.Empty(t, r.ResultData)
	_, err = results.Result(t.Context(), bad.ID())
	require.ErrorIs(t, err, omniq.ErrNotFound, "dead letters stay with the queue")

	require.NoError(t, client.Forget(t.Context(), good.ID()))
	_, err = results.Result(t.Context(), good.ID())
	require.ErrorIs(t, err, omniq.ErrNotFound)
	require.ErrorIs(t, client.Forget(t.Context(), good.ID()), omniq.ErrNotFound)

	require.NoError(t, b.Close())
	_, err = results.Result(t.Context(), bad.ID())
	require.ErrorIs(t, err, omniq.ErrClosed)
}

// A process that died between the two leaves a result behind; the first one stays.
func TestMixAfterACrash(t *testing.T) {
	queue, results := memory.New(), memory.New()
	b := omniq.Mix(queue, results)
	t.Cleanup(func() { assert.NoError(t, b.Close()) })
	task := rawTask()
	_, err := b.Enqueue(t.Context(), []*omniq.RawTask{&task})
	require.NoError(t, err)
	result := func(data string) *omniq.RawResult {
		return &omniq.RawResult{TaskID: task.ID, Status: omniq.StatusSuccess, ResultData: omniq.Raw(data), Timestamp: time.Now(), TTL: new(time.Hour)}
	}
	_, err = results.Record(t.Context(), []*omniq.RawResult{result("1")})
	require.NoError(t, err)
	leases, err := b.Lease(t.Context(), omniq.LeaseRequest{Queues: []string{omniq.DefaultQueue}, Max: 1, Duration: time.Minute, WorkerID: "w"})
	require.NoError(t, err)
	errs, err := b.Settle(t.Context(), []omniq.Settlement{
		{LeaseID: omniq.LeaseID{TaskID: uuid.New(), Token: "x"}, Action: omniq.ActionRelease},
		{LeaseID: leases[0].LeaseID, Action: omniq.ActionFinish, Result: result("2")},
	})
	require.NoError(t, err)
	require.ErrorIs(t, errs[0], omniq.ErrLeaseLost)
	require.NoError(t, errs[1])
	r, err := b.Await(t.Context(), task.ID)
	require.NoError(t, err)
	assert.Equal(t, "1", string(r.ResultData))
}

// Where results are kept in another engine there are no flows, by whatever way they come.
func TestMixRefusesFlows(t *testing.T) {
	queue, ctx := memory.New(), t.Context()
	b := omniq.Mix(queue, memory.New())
	assert.False(t, b.Capabilities().Flows)
	client, err := omniq.NewClient(b)
	require.NoError(t, err)
	promise := flowLen.On(omniq.Join1(omniq.Value("x")))
	_, err = promise.Enqueue(ctx, client)
	require.ErrorIs(t, err, omniq.ErrInvalid)
	_, err = promise.Enqueue(ctx, client.Tx(queue.Begin()))
	require.ErrorIs(t, err, omniq.ErrInvalid)

	h, err := flowLen.Enqueue(ctx, client, str("x"))
	require.NoError(t, err)
	leases, err := b.Lease(ctx, omniq.LeaseRequest{Queues: []string{""}, Max: 1, Duration: time.Minute})
	require.NoError(t, err)
	after := []omniq.Dependency{{ID: h.ID()}}
	for _, e := range []*omniq.Effects{{After: after}, {Enqueue: []*omniq.RawTask{{After: after}}}} {
		_, err = b.Settle(ctx, []omniq.Settlement{{LeaseID: leases[0].LeaseID, Action: omniq.ActionWait, Effects: e}})
		require.ErrorIs(t, err, omniq.ErrInvalid)
	}
}
