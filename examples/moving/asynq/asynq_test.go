package asynq

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/omniqtest"
)

func TestAsynq(t *testing.T) {
	q := omniqtest.New(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	done := make(chan error, 1)
	go func() { done <- Work(ctx, q.Backend) }()
	id, err := Enqueue(t.Context(), q.Client)
	assert.NoError(t, err)
	assert.Equal(t, "42-welcome", id)
	resized, err := ResizeImage.Enqueue(t.Context(), q.Client, Image{SourceURL: "a.png"})
	require.NoError(t, err)
	_, err = resized.Wait(t.Context())
	assert.NoError(t, err)
	stop()
	assert.NoError(t, <-done)
}

func TestStoreAndMend(t *testing.T) {
	q := omniqtest.New(t)
	var stored []*omniq.Handle[omniq.Void]
	for _, name := range []string{"signup", ""} {
		h, err := Store.Enqueue(t.Context(), q.Client, Event{Name: name}, omniq.Queue("critical"))
		require.NoError(t, err)
		stored = append(stored, h)
	}
	q.Drain(omniq.Handlers(Store))
	_, err := stored[0].Wait(t.Context())
	assert.NoError(t, err)
	_, err = stored[1].Wait(t.Context())
	assert.ErrorContains(t, err, "an event without a name")

	require.NoError(t, Mend(t.Context(), q.Client, stored[1].ID()))
	status, err := stored[1].Status(t.Context())
	assert.NoError(t, err)
	assert.Equal(t, omniq.StatusCancelled, status)
	assert.NoError(t, Declare(t.Context(), q.Client))
}
