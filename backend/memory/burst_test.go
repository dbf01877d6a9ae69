package memory

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/bubble"
)

// many is more than happens while the backend is locked once.
const many = 20 * atOnce

// burst enqueues many tasks, changed by the function, without a timer, so that nothing happens before somebody asks.
func burst(t *testing.T, b *Backend, change func(int, *omniq.RawTask)) []*omniq.RawTask {
	t.Helper()
	b.timer = time.NewTimer(time.Hour) // which calls nothing
	tasks := make([]*omniq.RawTask, many)
	for i := range tasks {
		tasks[i] = &omniq.RawTask{ID: uuid.New(), FuncName: "f", CreatedAt: time.Now()}
		change(i, tasks[i])
	}
	errs, err := b.Enqueue(t.Context(), tasks)
	require.NoError(t, err)
	require.Empty(t, errs)
	return tasks
}

// What was to happen to the very task that is asked for has happened, although it is one of many.
func TestAskedInABurst(t *testing.T) {
	life, second := time.Second, time.Second
	expires := func(i int, t *omniq.RawTask) {
		t.TTL, t.ResultTTL, t.FailureTTL = &life, &second, &second
		t.UniqueKey = t.ID.String()
	}
	tests := []struct {
		name  string
		after time.Duration
		ask   func(*testing.T, *Backend, *omniq.RawTask)
	}{
		{"Result", time.Second, func(t *testing.T, b *Backend, task *omniq.RawTask) {
			r, err := b.Result(t.Context(), task.ID)
			require.NoError(t, err)
			assert.Equal(t, omniq.StatusExpired, r.Status)
		}},
		{"Await", time.Second, func(t *testing.T, b *Backend, task *omniq.RawTask) {
			r, err := b.Await(t.Context(), task.ID)
			require.NoError(t, err)
			assert.Equal(t, omniq.StatusExpired, r.Status)
		}},
		{"Cancel", time.Second, func(t *testing.T, b *Backend, task *omniq.RawTask) {
			errs, err := b.Cancel(t.Context(), []uuid.UUID{task.ID})
			require.NoError(t, err)
			require.Len(t, errs, 1)
			assert.ErrorIs(t, errs[0], omniq.ErrState)
		}},
		{"Lease", time.Second, func(t *testing.T, b *Backend, _ *omniq.RawTask) {
			leases, err := b.Lease(t.Context(), omniq.LeaseRequest{Queues: []string{"default"}, Max: many, Duration: time.Hour})
			require.NoError(t, err)
			assert.Empty(t, leases)
		}},
		{"the unique key", time.Second, func(t *testing.T, b *Backend, task *omniq.RawTask) {
			next := &omniq.RawTask{ID: uuid.New(), FuncName: "f", CreatedAt: time.Now(), UniqueKey: task.UniqueKey}
			errs, err := b.Enqueue(t.Context(), []*omniq.RawTask{next})
			require.NoError(t, err)
			assert.Empty(t, errs)
		}},
		{"the ID, after its result", 2 * time.Second, func(t *testing.T, b *Backend, task *omniq.RawTask) {
			_, err := b.Result(t.Context(), task.ID)
			require.ErrorIs(t, err, omniq.ErrNotFound)
			errs, err := b.Enqueue(t.Context(), []*omniq.RawTask{task})
			require.NoError(t, err)
			assert.Empty(t, errs)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				b := New()
				defer func() { require.NoError(t, b.Close()) }()
				tasks := burst(t, b, expires)
				for range int(tt.after / time.Second) {
					time.Sleep(time.Second)
					if tt.after > time.Second { // they must have expired, to begin with
						for range many / atOnce {
							_, err := b.Stats(t.Context())
							require.NoError(t, err)
						}
					}
				}
				tt.ask(t, b, tasks[many-1])
			})
		})
	}
}

// No call does more than a part of what happens at one moment, and all is done in the end.
func TestBurstIsDoneInParts(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b := New()
		defer func() { require.NoError(t, b.Close()) }()
		at := time.Now().Add(time.Second)
		burst(t, b, func(_ int, t *omniq.RawTask) { t.RunAt = at })
		time.Sleep(time.Second)
		for left := many; left > 0; left -= atOnce {
			require.Len(t, b.coming, left)
			stats, err := b.Stats(t.Context())
			require.NoError(t, err)
			require.Len(t, stats, 1)
			require.Equal(t, many-left+atOnce, stats[0].Ready)
		}
		require.Empty(t, b.coming)
	})
}

// Of many tasks that are due at one moment those of the highest priority are leased first, however few at a time.
func TestOrderInABurst(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b := New()
		defer func() { require.NoError(t, b.Close()) }()
		at := time.Now().Add(time.Second)
		tasks := burst(t, b, func(i int, t *omniq.RawTask) { t.RunAt, t.Priority = at, i/(many/2) })
		time.Sleep(time.Second)
		for _, want := range append(tasks[many/2:], tasks[:many/2]...) {
			leases, err := b.Lease(t.Context(), omniq.LeaseRequest{Queues: []string{"default"}, Max: 1, Duration: time.Hour})
			require.NoError(t, err)
			require.Len(t, leases, 1)
			require.Equal(t, want.ID, leases[0].TaskID)
		}
	})
}

// A Lease that works off a burst ends with its context, and with the backend.
func TestLeaseInABurstEnds(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b := New()
		life := time.Second
		burst(t, b, func(_ int, t *omniq.RawTask) { t.TTL = &life })
		time.Sleep(time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := b.Lease(ctx, omniq.LeaseRequest{Queues: []string{"default"}, Max: 1, Duration: time.Hour})
		require.ErrorIs(t, err, context.Canceled)
		require.NoError(t, b.Close())
		_, err = b.Lease(t.Context(), omniq.LeaseRequest{Queues: []string{"default"}, Max: 1, Duration: time.Hour})
		require.ErrorIs(t, err, omniq.ErrClosed)
	})
}

// Tasks of the names that are asked for are leased first, as far as they stand among the first hundred others; the
// others keep their place.
func TestNames(t *testing.T) {
	b := New()
	defer func() { require.NoError(t, b.Close()) }()
	enqueue := func(n int, name string) {
		for range n {
			_, err := b.Enqueue(t.Context(), []*omniq.RawTask{{ID: uuid.New(), FuncName: name, CreatedAt: time.Now()}})
			require.NoError(t, err)
		}
	}
	lease := func(n int, names ...string) (got []string) {
		leases, err := b.Lease(t.Context(), omniq.LeaseRequest{Queues: []string{"default"}, Max: n, Duration: time.Hour, Names: names})
		require.NoError(t, err)
		for _, l := range leases {
			got = append(got, l.Task.FuncName)
		}
		return got
	}
	enqueue(maxStrange-1, "strange")
	enqueue(2, "known")
	assert.Equal(t, []string{"known"}, lease(1, "other", "known"))
	assert.Equal(t, []string{"known"}, lease(5, "known"), "what is strange is left to others")
	assert.Equal(t, []string{"strange", "strange"}, lease(2, "known"), "there is nothing else")
	assert.Equal(t, []string{"strange"}, lease(1))
	enqueue(4, "strange")
	enqueue(1, "known")
	assert.Equal(t, []string{"strange"}, lease(1, "known"), "it looks at no more")
	assert.Equal(t, maxStrange-1, len(lease(1000, "strange")))
	assert.Equal(t, []string{"known"}, lease(1))
}

// A list looks at no more than MaxListed tasks, also of those that it does not want.
func TestListLooksAtLittle(t *testing.T) {
	b := New()
	defer func() { require.NoError(t, b.Close()) }()
	tasks := make([]*omniq.RawTask, omniq.MaxListed+10)
	for i := range tasks {
		tasks[i] = &omniq.RawTask{ID: uuid.New(), FuncName: "f", CreatedAt: time.Now()}
	}
	tasks[len(tasks)-1].Queue = "last"
	_, err := b.Enqueue(t.Context(), tasks)
	require.NoError(t, err)
	page, next, err := b.List(t.Context(), omniq.ListRequest{Status: omniq.StatusPending, Queue: "last", Max: 5})
	require.NoError(t, err)
	assert.Empty(t, page)
	require.NotEmpty(t, next)
	page, next, err = b.List(t.Context(), omniq.ListRequest{Status: omniq.StatusPending, Queue: "last", Max: 5, After: next})
	require.NoError(t, err)
	assert.Len(t, page, 1)
	assert.Empty(t, next)
	assert.Equal(t, len(tasks), b.shelves[omniq.StatusPending].rows)
}

// A task of a name that was not asked for stays in its place when a Lease meets too many after it that have expired.
func TestStrangerInABurst(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b := New()
		defer func() { require.NoError(t, b.Close()) }()
		life := time.Second
		tasks := burst(t, b, func(i int, t *omniq.RawTask) {
			if i == 0 {
				t.FuncName, t.Priority = "stranger", 1
			} else {
				t.TTL = &life
			}
		})
		time.Sleep(life)
		leases, err := b.Lease(t.Context(), omniq.LeaseRequest{
			Queues: []string{"default"}, Max: 1, Duration: time.Hour, Names: []string{"f"},
		})
		require.NoError(t, err)
		require.Len(t, leases, 1)
		assert.Equal(t, tasks[0].ID, leases[0].TaskID)
	})
}
