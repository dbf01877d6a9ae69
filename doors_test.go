package omniq_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
	"github.com/omniq-go/omniq/codec"
	"github.com/omniq-go/omniq/internal/hostile"
)

// A client refuses what no worker could read, whatever it enqueues through, and takes what is just allowed.
func TestClientRefusesWhatNobodyCouldRead(t *testing.T) {
	b, client := newMemory(t)
	through := client.Through(b)
	for _, bad := range hostile.Tasks() {
		if bad.Value == nil {
			continue
		}
		require.ErrorIs(t, bad.Value.Validate(), omniq.ErrInvalid, bad.Name)
		for _, c := range []*omniq.Client{client, through} {
			err := c.Enqueue(t.Context(), *hostile.Task(), *bad.Value)
			require.ErrorIs(t, err, omniq.ErrInvalid, bad.Name)
		}
	}
	stats, err := client.Stats(t.Context())
	require.NoError(t, err)
	require.Empty(t, stats)
	for _, edge := range hostile.EdgeTasks() {
		require.NoError(t, edge.Value.Validate(), edge.Name)
		require.NoError(t, client.Enqueue(t.Context(), *edge.Value), edge.Name)
	}
	for _, bad := range hostile.Results(uuid.New()) {
		require.ErrorIs(t, bad.Value.Validate(), omniq.ErrInvalid, bad.Name)
	}
	for _, edge := range hostile.EdgeResults(uuid.New()) {
		require.NoError(t, edge.Value.Validate(), edge.Name)
	}
	for _, bad := range hostile.Events() {
		require.ErrorIs(t, bad.Value.Validate(), omniq.ErrInvalid, bad.Name)
	}
}

// Typed calls refuse arguments that no worker could read at the call.
func TestTypedCallsRefuseWhatNobodyCouldRead(t *testing.T) {
	_, client := newMemory(t)
	var deep any
	for range codec.MaxDepth - 1 { // which is one too many inside of the arguments
		deep = []any{deep}
	}
	task := omniq.ReferArgs[omniq.Args1[any], omniq.Void]("f")
	tests := []struct {
		name  string
		value any
		opts  []omniq.TaskOption
	}{
		{name: "too deep", value: deep},
		{name: "too large", value: strings.Repeat("x", codec.MaxSize)},
		{name: "too large for the envelope", value: strings.Repeat("x", codec.MaxSize-50)},
		{name: "too large with its metadata", value: strings.Repeat("x", codec.MaxSize/2), opts: []omniq.TaskOption{
			omniq.Metadata("a", strings.Repeat("x", codec.MaxSize/2)),
		}},
		{name: "not UTF-8", value: "\xff"},
		{name: "a channel", value: make(chan int)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := task.Enqueue(t.Context(), client, omniq.MakeArgs1(tt.value), tt.opts...)
			require.ErrorIs(t, err, omniq.ErrInvalid)
			one, err := task.Task(omniq.MakeArgs1(tt.value), tt.opts...)
			require.NoError(t, err)
			_, err = task.EnqueueMany(t.Context(), client, []omniq.Task[omniq.Args1[any], omniq.NoKwargs]{one})
			require.ErrorIs(t, err, omniq.ErrInvalid)
		})
	}
	stats, err := client.Stats(t.Context())
	require.NoError(t, err)
	assert.Empty(t, stats)
}

// Names that an engine could not keep are no options.
func TestOptionsRefuseNames(t *testing.T) {
	h := omniq.Handlers(omniq.DefineNoArgsVoid("f", func(context.Context) error { return nil }))
	for _, bad := range hostile.Queues() {
		_, err := omniq.NewWorker(memory.New(), h, omniq.Queues(bad.Value))
		require.ErrorIs(t, err, omniq.ErrInvalid, bad.Name)
		_, err = omniq.NewTask("f", omniq.NoArgs{}, omniq.NoKwargs{}, omniq.Queue(bad.Value))
		require.ErrorIs(t, err, omniq.ErrInvalid, bad.Name)
		_, err = omniq.NewEvent(uuid.New(), omniq.EventStarted, omniq.OnQueue(bad.Value))
		require.ErrorIs(t, err, omniq.ErrInvalid, bad.Name)
		if !strings.Contains(bad.Value, ",") && !strings.Contains(bad.Value, "\x00") && strings.TrimSpace(bad.Value) == bad.Value && bad.Value != "" {
			t.Setenv("OMNIQ_QUEUES", bad.Value)
			_, err = omniq.ConfigFromEnv()
			require.ErrorIs(t, err, omniq.ErrInvalid, bad.Name)
		}
	}
	for _, bad := range hostile.WorkerIDs() {
		_, err := omniq.NewWorker(memory.New(), h, omniq.WorkerID(bad.Value))
		require.ErrorIs(t, err, omniq.ErrInvalid, bad.Name)
		_, err = omniq.NewEvent(uuid.New(), omniq.EventStarted, omniq.OnWorker(bad.Value))
		require.ErrorIs(t, err, omniq.ErrInvalid, bad.Name)
	}
}

// A result that would not fit into an envelope ends the task at once, as what it is.
func TestResultNearTheBound(t *testing.T) {
	b, client := newMemory(t)
	runs := 0
	d := omniq.DefineArgs("edge", func(_ context.Context, a omniq.Args1[int]) (string, error) {
		runs++
		return strings.Repeat("x", a.V1), nil
	})
	run(t, b, omniq.Concurrency(1), omniq.Handlers(d))
	for _, size := range []int{codec.MaxSize - 10, codec.MaxSize - 200, codec.MaxSize} {
		runs = 0
		h, err := d.Enqueue(t.Context(), client, omniq.MakeArgs1(size))
		require.NoError(t, err)
		_, err = h.Wait(t.Context())
		var failure *omniq.TaskError
		require.True(t, errors.As(err, &failure), "%v", err)
		assert.Equal(t, "omniq.Encode", failure.Type)
		assert.Contains(t, failure.Message, "bytes")
		assert.False(t, failure.Retryable)
		assert.Equal(t, 1, runs)
	}
	h, err := d.Enqueue(t.Context(), client, omniq.MakeArgs1(codec.MaxSize-4<<10))
	require.NoError(t, err)
	got, err := h.Wait(t.Context())
	require.NoError(t, err)
	assert.Len(t, got, codec.MaxSize-4<<10)
}
