package omniq_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
)

// What happened to one task is told without what happened to others.
func TestTimeline(t *testing.T) {
	b := memory.New(memory.WithEvents(time.Hour))
	client, err := omniq.NewClient(b)
	require.NoError(t, err)
	var ids []uuid.UUID
	for range 3 {
		task, err := omniq.NewTask("f", omniq.Raw("[]"), omniq.Raw("{}"))
		require.NoError(t, err)
		_, err = b.Enqueue(t.Context(), []*omniq.RawTask{&task})
		require.NoError(t, err)
		ids = append(ids, task.ID)
	}
	require.NoError(t, client.Cancel(t.Context(), ids...))
	for _, id := range append(ids, uuid.New()) {
		var what []omniq.EventType
		for e, err := range client.Timeline(t.Context(), id) {
			require.NoError(t, err)
			assert.Equal(t, []any{id, "f"}, []any{e.TaskID, e.FuncName})
			what = append(what, e.EventType)
		}
		var want []omniq.EventType
		if id != ids[0] && id != ids[1] && id != ids[2] {
			assert.Equal(t, want, what, "a task that is unknown")
			continue
		}
		assert.Equal(t, []omniq.EventType{omniq.EventEnqueued, omniq.EventCancelled}, what)
	}
}
