package omniq_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// bulks are the methods of a client about several tasks, by what a BulkError calls them.
var bulks = map[string]func(*omniq.Client, context.Context, ...uuid.UUID) error{
	"cancel":  (*omniq.Client).Cancel,
	"requeue": (*omniq.Client).Requeue,
	"run now": (*omniq.Client).RunNow,
	"forget":  (*omniq.Client).Forget,
}

func TestBulkError(t *testing.T) {
	one, other, last := uuid.New(), uuid.New(), uuid.New()
	refused := []omniq.RefusedTask{
		{ID: one, Err: omniq.ErrNotFound}, {ID: other, Err: fmt.Errorf("%w: it runs", omniq.ErrState)},
		{ID: last, Err: omniq.Duplicate{ID: last, Holder: one}},
	}
	for name, c := range map[string]struct {
		refused []omniq.RefusedTask
		want    string
	}{
		"one":   {refused[:1], fmt.Sprintf("omniq: cancel task %v: omniq: no such task", one)},
		"two":   {refused[:2], fmt.Sprintf("omniq: cancel task %v: omniq: no such task, and 1 more", one)},
		"three": {refused, fmt.Sprintf("omniq: cancel task %v: omniq: no such task, and 2 more", one)},
	} {
		t.Run(name, func(t *testing.T) {
			err := error(&omniq.BulkError{Op: "cancel", Refused: c.refused})
			assert.EqualError(t, err, c.want)
			require.ErrorIs(t, err, omniq.ErrNotFound)
			assert.Equal(t, len(c.refused) > 1, errors.Is(err, omniq.ErrState))
			var d omniq.Duplicate
			assert.Equal(t, len(c.refused) > 2, errors.As(err, &d))
		})
	}
}

// Each method says which tasks were refused, and has done the others, however many there are.
func TestBulk(t *testing.T) {
	for op, do := range bulks {
		t.Run(op, func(t *testing.T) {
			b, client := newMemory(t)
			require.NoError(t, do(client, t.Context()), "nothing to do is no error")
			const n = 2100 // more than two calls of the backend
			ids := make([]uuid.UUID, n)
			tasks := make([]omniq.RawTask, n)
			for i := range n {
				tasks[i] = rawTask()
				ids[i] = tasks[i].ID
			}
			require.NoError(t, client.Enqueue(t.Context(), tasks...))
			done := omniq.StatusPending // what becomes of those that were not refused
			switch op {
			case "requeue":
				require.NoError(t, client.Cancel(t.Context(), ids...))
			case "forget":
				require.NoError(t, client.Cancel(t.Context(), ids...))
				done = 0
			case "cancel":
				done = omniq.StatusCancelled
			}
			calls := 0
			counted := newClient(t, &counter{meddler{Backend: b}, &calls})
			unknown := []uuid.UUID{uuid.New(), uuid.New()}
			asked := append([]uuid.UUID{unknown[0]}, append(ids, unknown[1])...)
			err := do(counted, t.Context(), asked...)
			var bulk *omniq.BulkError
			require.ErrorAs(t, err, &bulk)
			require.ErrorIs(t, err, omniq.ErrNotFound)
			assert.Equal(t, op, bulk.Op)
			require.Len(t, bulk.Refused, 2)
			assert.Equal(t, unknown, []uuid.UUID{bulk.Refused[0].ID, bulk.Refused[1].ID})
			assert.Equal(t, 3, calls, "a thousand at once")
			for _, id := range []uuid.UUID{ids[0], ids[999], ids[1000], ids[n-1]} {
				r, err := client.Result(t.Context(), id)
				if done == 0 {
					require.ErrorIs(t, err, omniq.ErrNotFound)
					continue
				}
				require.NoError(t, err)
				assert.Equal(t, done, r.Status)
			}

			require.NoError(t, b.Close())
			err = do(client, t.Context(), ids[0])
			require.ErrorIs(t, err, omniq.ErrClosed)
			assert.ErrorContains(t, err, fmt.Sprintf("omniq: %s task %v", op, ids[0]))
			err = do(client, t.Context(), ids...)
			assert.ErrorContains(t, err, fmt.Sprintf("omniq: %s 2100 tasks, after 0 of them", op))
		})
	}
}

// counter counts the calls about several tasks.
type counter struct {
	meddler
	calls *int
}

func (c *counter) Cancel(ctx context.Context, ids []uuid.UUID) ([]error, error) {
	*c.calls++
	return c.Backend.Cancel(ctx, ids)
}

func (c *counter) Requeue(ctx context.Context, ids []uuid.UUID, follow bool) ([]error, error) {
	*c.calls++
	return c.Backend.Requeue(ctx, ids, false)
}

func (c *counter) RunNow(ctx context.Context, ids []uuid.UUID) ([]error, error) {
	*c.calls++
	return c.Backend.RunNow(ctx, ids)
}

func (c *counter) Forget(ctx context.Context, ids []uuid.UUID) ([]error, error) {
	*c.calls++
	return c.Backend.Forget(ctx, ids)
}

// Trouble in the middle says how far it came, and keeps what was refused before.
func TestBulkInTrouble(t *testing.T) {
	b, client := newMemory(t)
	ids := make([]uuid.UUID, 1500)
	var tasks []omniq.RawTask
	for i := range ids {
		task := rawTask()
		tasks, ids[i] = append(tasks, task), task.ID
	}
	require.NoError(t, client.Enqueue(t.Context(), tasks[1:]...))
	ctx, cancel := context.WithCancel(t.Context())
	m := &endingBackend{meddler{Backend: b}, cancel}
	err := newClient(t, m).Cancel(ctx, ids...)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "omniq: cancel 1500 tasks, after 1000 of them")
	var bulk *omniq.BulkError
	require.ErrorAs(t, err, &bulk)
	assert.Equal(t, []omniq.RefusedTask{{ID: ids[0], Err: omniq.ErrNotFound}}, bulk.Refused)
}

// endingBackend ends a context after a Cancel.
type endingBackend struct {
	meddler
	cancel context.CancelFunc
}

func (b *endingBackend) Cancel(ctx context.Context, ids []uuid.UUID) ([]error, error) {
	defer b.cancel()
	return b.Backend.Cancel(ctx, ids)
}
