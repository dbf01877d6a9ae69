package ui_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
	"github.com/omniq-go/omniq/internal/bubble"
	"github.com/omniq-go/omniq/internal/scene"
	"github.com/omniq-go/omniq/ui"
)

// Where events are kept, they tell what happened to a task: to all who may look, and what is in them is text.
func TestTimeline(t *testing.T) {
	backend := memory.New(memory.WithEvents(time.Hour))
	t.Cleanup(func() { _ = backend.Close() })
	s, stop, err := scene.Play(context.Background(), backend)
	require.NoError(t, err)
	t.Cleanup(stop)
	h := serve(t, s.Client, ui.View)
	for id, want := range map[uuid.UUID][]string{
		s.Succeeded: {">enqueued<", ">attempt 1 began on worker worker-1<", ">attempt 1 succeeded<"},
		s.Retried:   {">enqueued<", ">attempt 1 began on worker worker-1<", ">attempt 1 failed, and another one follows<", "upstream answered 503", ">is due<"},
		s.Panicked:  {">attempt 1 began on worker worker-1<", ">failed for good after 1 attempt<", "the import has a hole", "<summary>Stack<"},
		s.Cancelled: {">enqueued<", ">cancelled<"},
		s.Hostile:   {">failed for good after 1 attempt<", "&lt;script&gt;alert(1)", `\u202etxt`},
	} {
		status, body := get(t, h, "task?of="+id.String())
		require.Equal(t, http.StatusOK, status)
		_, body, _ = strings.Cut(body, "What happened")
		for _, text := range want {
			_, rest, ok := strings.Cut(body, text)
			require.True(t, ok, "%q is not there, or not in its turn: %s", text, body)
			body = rest
		}
		assert.NotContains(t, body, "<script>")
	}
}

// A task that somebody resolves has succeeded without an attempt.
func TestTimelineOfASignal(t *testing.T) {
	for name, backend := range map[string]omniq.Backend{"with events": memory.New(memory.WithEvents(time.Hour)), "without": memory.New()} {
		t.Cleanup(func() { _ = backend.Close() })
		client, err := omniq.NewClient(backend)
		require.NoError(t, err)
		approve := omniq.DefineSignal[int]("approve")
		h, err := approve.Promise().Enqueue(t.Context(), client)
		require.NoError(t, err)
		require.NoError(t, approve.Send(t.Context(), client, h.ID(), 1))
		_, body := get(t, serve(t, client, ui.View), "task?of="+h.ID().String())
		assert.Contains(t, body, ">succeeded<", name)
		assert.NotContains(t, body, "attempt 0", name)
	}
}

// Of many events the newest are shown.
func TestTimelineIsCut(t *testing.T) {
	client, id := repeated(t, 250)
	_, body := get(t, serve(t, client, ui.View), "task?of="+id.String())
	assert.Contains(t, body, ">402 events before these<")
	assert.Equal(t, 101, strings.Count(body, "<li "))
	assert.Less(t, strings.LastIndex(body, ">enqueued<"), strings.LastIndex(body, ">cancelled<"))
}

// repeated is a task that was cancelled so often.
func repeated(t *testing.T, times int) (*omniq.Client, uuid.UUID) {
	t.Helper()
	backend := memory.New(memory.WithEvents(time.Hour))
	t.Cleanup(func() { _ = backend.Close() })
	client, err := omniq.NewClient(backend)
	require.NoError(t, err)
	h, err := omniq.ReferNoArgs[int]("often").Enqueue(t.Context(), client)
	require.NoError(t, err)
	require.NoError(t, client.Cancel(t.Context(), h.ID()))
	for range times {
		require.NoError(t, client.Requeue(t.Context(), h.ID()))
		require.NoError(t, client.Cancel(t.Context(), h.ID()))
	}
	return client, h.ID()
}

// Of so many that the newest would have to be searched for, none is: the task itself tells enough.
func TestTimelineIsBounded(t *testing.T) {
	client, id := repeated(t, 5000)
	status, body := get(t, serve(t, client, ui.View), "task?of="+id.String())
	assert.Equal(t, http.StatusOK, status)
	assert.Contains(t, body, ">created, to be enqueued on queue default<")
	assert.Contains(t, body, ">cancelled<")
	assert.NotContains(t, body, "before these")
}

// forgetful is an engine whose events cannot be read in time, or at all.
type forgetful struct {
	omniq.Backend
	err error // nil if it does not answer
}

func (f forgetful) Events(ctx context.Context, r omniq.EventsRequest) ([]omniq.StoredEvent, omniq.Cursor, error) {
	if f.err == nil {
		<-ctx.Done()
		return nil, r.After, ctx.Err()
	}
	return nil, r.After, f.err
}

// A task is shown whether its events can be found or not.
func TestTaskWithoutItsEvents(t *testing.T) {
	for _, fault := range []error{nil, omniq.ErrNoEvents, omniq.ErrEventsGone} {
		bubble.Test(t, func(t *testing.T) {
			backend := memory.New()
			defer func() { _ = backend.Close() }()
			client, err := omniq.NewClient(forgetful{backend, fault})
			require.NoError(t, err)
			h, err := omniq.ReferNoArgs[int]("often").Enqueue(t.Context(), client)
			require.NoError(t, err)
			status, body := get(t, serve(t, client, ui.View), "task?of="+h.ID().String())
			assert.Equal(t, http.StatusOK, status, fault)
			assert.Contains(t, body, ">pending<", fault)
		})
	}
}
