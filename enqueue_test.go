package omniq_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
)

// marks is middleware that writes its name into the metadata, after those that were there.
func marks(name string) omniq.EnqueueMiddleware {
	return func(next omniq.EnqueueFunc) omniq.EnqueueFunc {
		return func(ctx context.Context, tasks []*omniq.RawTask) error {
			for _, t := range tasks {
				t.Metadata = map[string]string{"by": t.Metadata["by"] + name}
			}
			return next(ctx, tasks)
		}
	}
}

// Every way to enqueue goes through the middleware, the first outermost.
func TestUseEnqueue(t *testing.T) {
	var queue *memory.Backend
	full := omniq.Refer[omniq.NoArgs, omniq.NoKwargs, int]("any")
	for name, enqueue := range map[string]func(*testing.T, *omniq.Client) []uuid.UUID{
		"raw": func(t *testing.T, c *omniq.Client) []uuid.UUID {
			tasks := []omniq.RawTask{rawTask(), rawTask()}
			require.NoError(t, c.Enqueue(t.Context(), tasks...))
			assert.Nil(t, tasks[0].Metadata, "the caller's task stays as it was")
			return []uuid.UUID{tasks[0].ID, tasks[1].ID}
		},
		"typed": func(t *testing.T, c *omniq.Client) []uuid.UUID {
			h, err := full.Enqueue(t.Context(), c, omniq.NoArgs{}, omniq.NoKwargs{})
			require.NoError(t, err)
			return []uuid.UUID{h.ID()}
		},
		"many": func(t *testing.T, c *omniq.Client) []uuid.UUID {
			task, err := full.Task(omniq.NoArgs{}, omniq.NoKwargs{})
			require.NoError(t, err)
			_, err = full.EnqueueMany(t.Context(), c, []omniq.Task[omniq.NoArgs, omniq.NoKwargs]{task})
			require.NoError(t, err)
			return []uuid.UUID{task.ID}
		},
		"Through": func(t *testing.T, c *omniq.Client) []uuid.UUID {
			task := rawTask()
			require.NoError(t, c.Through(queue).Enqueue(t.Context(), task))
			return []uuid.UUID{task.ID}
		},
		"Tx": func(t *testing.T, c *omniq.Client) []uuid.UUID {
			tx, task := queue.Begin(), rawTask()
			require.NoError(t, c.Tx(tx).Enqueue(t.Context(), task))
			require.NoError(t, tx.Commit())
			return []uuid.UUID{task.ID}
		},
		"Tx of Through": func(t *testing.T, c *omniq.Client) []uuid.UUID {
			tx, task := queue.Begin(), rawTask()
			require.NoError(t, c.Through(memory.New()).Tx(tx).Enqueue(t.Context(), task))
			require.NoError(t, tx.Commit())
			return []uuid.UUID{task.ID}
		},
	} {
		t.Run(name, func(t *testing.T) {
			var client *omniq.Client
			queue, client = newMemory(t, omniq.UseEnqueue(marks("1"), marks("2")), omniq.UseEnqueue(), omniq.UseEnqueue(marks("3")))
			for _, id := range enqueue(t, client) {
				info, err := client.Inspect(t.Context(), id)
				require.NoError(t, err)
				assert.Equal(t, map[string]string{"by": "123"}, info.Task.Metadata)
			}
		})
	}
}

// Middleware sees a task before the defaults of the client, and may set what they would.
func TestUseEnqueueComesBeforeDefaults(t *testing.T) {
	var seen []*time.Duration
	_, client := newMemory(t, omniq.Defaults(omniq.ResultTTL(time.Minute)), omniq.UseEnqueue(func(next omniq.EnqueueFunc) omniq.EnqueueFunc {
		return func(ctx context.Context, tasks []*omniq.RawTask) error {
			for i, t := range tasks {
				seen = append(seen, t.ResultTTL)
				if i > 0 {
					t.ResultTTL = new(time.Hour)
				}
			}
			return next(ctx, tasks)
		}
	}))
	tasks := []omniq.RawTask{rawTask(), rawTask()}
	require.NoError(t, client.Enqueue(t.Context(), tasks...))
	assert.Equal(t, []*time.Duration{nil, nil}, seen)
	for i, want := range []time.Duration{time.Minute, time.Hour} {
		info, err := client.Inspect(t.Context(), tasks[i].ID)
		require.NoError(t, err)
		assert.Equal(t, want, *info.Task.ResultTTL)
	}
}

// What middleware does that it must not do is an error, and nothing is stored.
func TestUseEnqueueRefuses(t *testing.T) {
	changes := func(change func([]*omniq.RawTask) []*omniq.RawTask) omniq.EnqueueMiddleware {
		return func(next omniq.EnqueueFunc) omniq.EnqueueFunc {
			return func(ctx context.Context, tasks []*omniq.RawTask) error { return next(ctx, change(tasks)) }
		}
	}
	each := func(change func(*omniq.RawTask)) omniq.EnqueueMiddleware {
		return changes(func(tasks []*omniq.RawTask) []*omniq.RawTask {
			change(tasks[len(tasks)-1])
			return tasks
		})
	}
	for name, c := range map[string]struct {
		middleware omniq.EnqueueMiddleware
		is         error
		want       string
	}{
		"its own error": {
			func(omniq.EnqueueFunc) omniq.EnqueueFunc {
				return func(context.Context, []*omniq.RawTask) error { return errOops }
			}, errOops, "oops",
		},
		"a bad queue":   {each(func(t *omniq.RawTask) { t.Queue = "a b" }), omniq.ErrInvalid, `queue "a b"`},
		"a bad payload": {each(func(t *omniq.RawTask) { t.Args = omniq.Raw(`{`) }), omniq.ErrInvalid, "args"},
		"no attempts":   {each(func(t *omniq.RawTask) { t.MaxAttempts = -1 }), omniq.ErrInvalid, "MaxAttempts is -1"},
		"another ID": {
			each(func(t *omniq.RawTask) { t.ID = uuid.New() }), omniq.ErrInvalid, "neither their IDs nor their order",
		},
		"another order": {
			changes(func(tasks []*omniq.RawTask) []*omniq.RawTask { slices.Reverse(tasks); return tasks }),
			omniq.ErrInvalid, "neither their IDs nor their order",
		},
		"a task less": {
			changes(func(tasks []*omniq.RawTask) []*omniq.RawTask { return tasks[1:] }), omniq.ErrInvalid,
			"was given 2 tasks and has passed on 1",
		},
		"a task more": {
			changes(func(tasks []*omniq.RawTask) []*omniq.RawTask { extra := rawTask(); return append(tasks, &extra) }), omniq.ErrInvalid,
			"was given 2 tasks and has passed on 3",
		},
		"a nil task": {
			changes(func(tasks []*omniq.RawTask) []*omniq.RawTask { return []*omniq.RawTask{tasks[0], nil} }), omniq.ErrInvalid,
			"a nil task",
		},
	} {
		t.Run(name, func(t *testing.T) {
			b, client := newMemory(t, omniq.UseEnqueue(c.middleware))
			tx := b.Begin()
			for _, client := range []*omniq.Client{client, client.Through(b), client.Tx(tx)} {
				err := client.Enqueue(t.Context(), rawTask(), rawTask())
				require.ErrorIs(t, err, c.is)
				assert.ErrorContains(t, err, c.want)
			}
			require.NoError(t, tx.Commit())
			stats, err := client.Stats(t.Context())
			require.NoError(t, err)
			assert.Empty(t, stats)
		})
	}
}

// Nil where middleware is needed is an error when the client is made, or at the latest when it enqueues.
func TestNilEnqueueMiddleware(t *testing.T) {
	b := memory.New()
	nothing := func(omniq.EnqueueFunc) omniq.EnqueueFunc { return nil }
	for name, opt := range map[string]omniq.ClientOption{
		"nil":          omniq.UseEnqueue(nil),
		"one of them":  omniq.UseEnqueue(marks("1"), nil),
		"returns nil":  omniq.UseEnqueue(nothing),
		"outermost":    omniq.UseEnqueue(nothing, marks("1")),
		"one returned": omniq.UseEnqueue(marks("1"), nothing),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := omniq.NewClient(b, opt)
			require.ErrorIs(t, err, omniq.ErrInvalid)
			assert.ErrorContains(t, err, "middleware")
		})
	}
	calls := 0
	client := newClient(t, b, omniq.UseEnqueue(func(next omniq.EnqueueFunc) omniq.EnqueueFunc {
		if calls++; calls > 1 {
			return nil
		}
		return next
	}))
	require.NoError(t, client.Enqueue(t.Context(), rawTask()))
	err := client.Through(b).Enqueue(t.Context(), rawTask())
	require.ErrorIs(t, err, omniq.ErrInvalid)
	assert.ErrorContains(t, err, "a middleware around enqueues has returned nil")
	require.NoError(t, client.Enqueue(t.Context(), rawTask()), "the first one goes on")
}

// A duplicate is told through middleware, which may enqueue again what it has seen fail.
func TestUseEnqueueSeesErrors(t *testing.T) {
	b, _ := newMemory(t)
	var seen []error
	fails := 2
	m := &meddler{Backend: b, enqueue: func(ctx context.Context, tasks []*omniq.RawTask) ([]error, error) {
		if fails--; fails >= 0 {
			return nil, errors.New("no connection")
		}
		return b.Enqueue(ctx, tasks)
	}}
	client := newClient(t, m, omniq.UseEnqueue(func(next omniq.EnqueueFunc) omniq.EnqueueFunc {
		return func(ctx context.Context, tasks []*omniq.RawTask) error {
			err := next(ctx, tasks)
			for ; err != nil && !errors.Is(err, omniq.ErrDuplicate); err = next(ctx, tasks) {
				seen = append(seen, err)
			}
			return err
		}
	}))
	task := rawTask()
	require.NoError(t, client.Enqueue(t.Context(), task))
	require.Len(t, seen, 2)
	assert.ErrorContains(t, seen[0], "no connection")
	require.ErrorIs(t, client.Enqueue(t.Context(), task), omniq.ErrDuplicate)
}
