package celery

import (
	"context"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/omniqtest"
)

func TestCelery(t *testing.T) {
	q := omniqtest.New(t)
	worker, err := omniq.NewWorker(q.Backend, omniq.Handlers(Add, Sum, Double, Copy))
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	done := make(chan error, 1)
	go func() { done <- worker.Run(ctx) }()

	n, err := Call(t.Context(), q.Client)
	assert.NoError(t, err)
	assert.Equal(t, 8, n)
	n, err = Run(t.Context(), q.Client, Chain())
	assert.NoError(t, err)
	assert.Equal(t, 16, n)
	n, err = Run(t.Context(), q.Client, Chord())
	assert.NoError(t, err)
	assert.Equal(t, 90, n)

	later, err := CallLater(t.Context(), q.Client)
	require.NoError(t, err)
	require.NoError(t, Revoke(t.Context(), q.Client, later))
	_, err = Add.Attach(q.Client, later).Wait(t.Context())
	assert.ErrorIs(t, err, omniq.ErrCancelled)

	h, err := Copy.Enqueue(t.Context(), q.Client)
	require.NoError(t, err)
	_, err = h.Wait(t.Context())
	assert.NoError(t, err)
	part, _, err := copied.Of(t.Context(), h)
	assert.NoError(t, err)
	assert.InDelta(t, 1, part, 0)
	assert.NoError(t, Declare(t.Context(), q.Client))
	assert.NoError(t, Limit(t.Context(), q.Client))
	stop()
	assert.NoError(t, <-done)
}

func TestSend(t *testing.T) {
	l, err := net.Listen("tcp", "localhost:0")
	require.NoError(t, err)
	got := make(chan string, 1)
	go func() {
		conn, err := l.Accept()
		if !assert.NoError(t, err) {
			close(got)
			return
		}
		text, err := io.ReadAll(conn)
		assert.NoError(t, err)
		assert.NoError(t, conn.Close())
		got <- string(text)
	}()
	task, err := Send.Task(Message{To: l.Addr().String(), Text: "hello"})
	require.NoError(t, err)
	_, err = omniqtest.Run(t, Send, task)
	assert.NoError(t, err)
	assert.Equal(t, "hello", <-got)
	require.NoError(t, l.Close())
	task, err = Send.Task(Message{To: "localhost:1", Text: "hello"}) // where nobody listens
	require.NoError(t, err)
	_, err = omniqtest.Run(t, Send, task)
	assert.ErrorContains(t, err, "refused")
}
