package sqlite_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/sqlite"
)

// after are the dependencies on tasks, whose results are inputs.
func after(tasks ...*omniq.RawTask) []omniq.Dependency {
	list := make([]omniq.Dependency, len(tasks))
	for i, t := range tasks {
		list[i] = omniq.Dependency{ID: t.ID, Input: true}
	}
	return list
}

// following are n tasks that wait for others.
func following(n int, tasks ...*omniq.RawTask) []*omniq.RawTask {
	return tasksIn("followers", n, func(t *omniq.RawTask) { t.After = after(tasks...) })
}

func statusOf(t testing.TB, b omniq.Backend, id uuid.UUID) omniq.Status {
	t.Helper()
	r, err := b.Result(t.Context(), id)
	require.NoError(t, err)
	return r.Status
}

// whole fails if a task waits of which all dependencies have ended, once nothing is left to do.
func whole(t *testing.T, b *sqlite.Backend) {
	t.Helper()
	require.Eventually(t, func() bool { return number(t, b, "SELECT count(*) FROM omniq_fallout") == 0 }, 20*time.Second, 5*time.Millisecond)
	const open = `(SELECT count(*) FROM omniq_edges e WHERE e.task = t.id AND e.ended = 0
		AND EXISTS (SELECT 1 FROM omniq_tasks WHERE id = e.dep))`
	assert.Zero(t, number(t, b, "SELECT count(*) FROM omniq_tasks t WHERE state = 7 AND ties & 4 = 0 AND "+open+" = 0"), "tasks that wait for nothing")
	assert.Zero(t, number(t, b, `SELECT count(*) FROM omniq_tasks t WHERE state = 7
		AND coalesce((SELECT w.open FROM omniq_waits w WHERE w.task = t.id), 0) <> `+open), "tasks that do not know for how many they wait")
	assert.Zero(t, number(t, b, `SELECT count(*) FROM omniq_edges e WHERE ended = 0
		AND EXISTS (SELECT 1 FROM omniq_tasks WHERE id = e.task AND state = 7) AND NOT EXISTS (SELECT 1 FROM omniq_tasks WHERE id = e.dep)
		AND NOT (input = 1 AND EXISTS (SELECT 1 FROM omniq_results WHERE id = e.dep AND status = 3))`),
		"tasks that wait for what has ended")
	b.Recount(t)
}

// All the followers of a task are released or ended, however many they are, and each transaction tells some of them.
func TestManyFollowers(t *testing.T) {
	const n = 1200
	for _, c := range []struct {
		name string
		end  func(t *testing.T, b *sqlite.Backend, l omniq.Lease)
		want omniq.QueueStats
	}{
		{"success", func(t *testing.T, b *sqlite.Backend, l omniq.Lease) {
			require.NoError(t, settle(t, b, finish(l, "1", time.Hour)))
		}, omniq.QueueStats{Queue: "followers", Ready: n}},
		{"success, and nothing is kept", func(t *testing.T, b *sqlite.Backend, l omniq.Lease) {
			require.NoError(t, settle(t, b, finish(l, "1", 0)))
		}, omniq.QueueStats{Queue: "followers", Ready: n}},
		{"failure", func(t *testing.T, b *sqlite.Backend, l omniq.Lease) {
			s := finish(l, "null", 0)
			s.Result.Status, s.Result.Error = omniq.StatusFailure, &omniq.TaskError{Message: "no"}
			require.NoError(t, settle(t, b, s))
		}, omniq.QueueStats{Queue: "followers", Cancelled: n}},
		{"cancelled", func(t *testing.T, b *sqlite.Backend, l omniq.Lease) {
			errs, err := b.Cancel(t.Context(), []uuid.UUID{l.TaskID})
			require.NoError(t, err)
			require.Nil(t, errs)
		}, omniq.QueueStats{Queue: "followers", Cancelled: n}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, _ := slow(t)
			first := newTasks(1)[0]
			enqueue(t, b, append([]*omniq.RawTask{first}, following(n, first)...)...)
			l := lease(t, b, time.Minute)
			c.end(t, b, l)
			require.Eventually(t, func() bool {
				return number(t, b, "SELECT count(*) FROM omniq_tasks WHERE state = 7") == 0
			}, 60*time.Second, time.Millisecond)
			whole(t, b)
			assert.LessOrEqual(t, number(t, b, `SELECT max(n) FROM (
				SELECT count(*) AS n FROM omniq_tasks WHERE queue = 'followers' GROUP BY since UNION ALL
				SELECT count(*) FROM omniq_results WHERE queue = 'followers' GROUP BY since)`), 500, "so many are told in one transaction")
			stats, err := b.Stats(t.Context())
			require.NoError(t, err)
			for _, s := range stats {
				if s.Queue == "followers" {
					s.Latency = 0
					assert.Equal(t, c.want, s)
				}
			}
		})
	}
}

// All the followers of tasks that succeed in one call are told: those that wait for them, and those that do not any more, because
// an earlier life had ended.
func TestToldTogether(t *testing.T) {
	for _, c := range []struct {
		n     int // followers
		again bool
	}{{50, false}, {50, true}, {10, false}, {10, true}} {
		t.Run(fmt.Sprintf("%d, in a second life: %v", c.n, c.again), func(t *testing.T) {
			n := c.n
			b := open(t, place(t), sqlite.WithSynchronousNormal())
			first := newTasks(4)
			followers := tasksIn("followers", n, func(t *omniq.RawTask) {
				for i, f := range first {
					t.After = append(t.After, omniq.Dependency{ID: f.ID, Need: omniq.NeedFinal, Input: !c.again && i%2 == 0})
				}
			})
			enqueue(t, b, append(slices.Clone(first), followers...)...)
			noted := 2 * n // not in the edges of inputs
			if c.again {
				noted = 4 * n
				_, err := b.Cancel(t.Context(), ids(first...))
				require.NoError(t, err)
				whole(t, b)
				require.Equal(t, 4*n, number(t, b, "SELECT count(*) FROM omniq_edges WHERE ended = 5"))
				errs, err := b.Requeue(t.Context(), ids(first...), false)
				require.NoError(t, err)
				require.Nil(t, errs)
			}
			var ends []omniq.Settlement
			for _, l := range leaseOf(t, b, omniq.DefaultQueue, len(first)) {
				ends = append(ends, finish(l, "1", time.Hour))
			}
			errs, err := b.Settle(t.Context(), ends)
			require.NoError(t, err)
			require.Nil(t, errs)
			whole(t, b)
			assert.Equal(t, noted, number(t, b, "SELECT count(*) FROM omniq_edges WHERE ended = 3"))
			assert.Len(t, leaseOf(t, b, "followers", n+1), n)
		})
	}
}

// Inputs that have succeeded are counted once each, however many tasks take them: nothing is noted in their edges.
func TestInputsToldTogether(t *testing.T) {
	for _, n := range []int{3, 50, 200} { // followers of each
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			const parts = 40
			b, _ := slow(t)
			first, last := newTasks(parts), tasksIn("last", 1, func(*omniq.RawTask) {})[0]
			followers := following(n, append(slices.Clone(first), last)...)
			enqueue(t, b, append(append(slices.Clone(first), last), followers...)...)
			var ends []omniq.Settlement
			for _, l := range leaseOf(t, b, omniq.DefaultQueue, parts) {
				ends = append(ends, finish(l, "1", 0))
			}
			errs, err := b.Settle(t.Context(), ends)
			require.NoError(t, err)
			require.Nil(t, errs)
			whole(t, b)
			assert.Equal(t, n, number(t, b, "SELECT count(*) FROM omniq_waits WHERE open = 1"))
			assert.Empty(t, leaseOf(t, b, "followers", 1))
			require.NoError(t, settle(t, b, finish(leaseOf(t, b, "last", 1)[0], "1", 0)))
			whole(t, b)
			leases := leaseOf(t, b, "followers", n+1)
			require.Len(t, leases, n)
			for _, l := range leases {
				require.Len(t, l.Inputs, parts+1)
				require.NotContains(t, l.Inputs, (*omniq.RawResult)(nil))
			}
		})
	}
}

// A task that is requeued before it was told that an input has succeeded does not count it, and is told of it all the same.
func TestRequeuedBeforeItIsTold(t *testing.T) {
	b, _ := slow(t)
	parts := newTasks(3)
	body := following(1, parts...)[0]
	enqueue(t, b, append(slices.Clone(parts), body)...)
	errs, err := b.Cancel(t.Context(), ids(body))
	require.NoError(t, err)
	require.Nil(t, errs)
	leases := leaseOf(t, b, omniq.DefaultQueue, len(parts))
	settlements := []omniq.Settlement{finish(leases[0], "1", time.Hour), finish(leases[1], "1", time.Hour)}
	refused := b.Untold(t, settlements, ids(body))
	require.Nil(t, refused)
	whole(t, b)
	assert.Equal(t, omniq.StatusWaiting, statusOf(t, b, body.ID))
	require.NoError(t, settle(t, b, finish(leases[2], "1", time.Hour)))
	whole(t, b)
	require.Len(t, leaseOf(t, b, "followers", 1), 1)
}

// What was to follow from the end of a task follows when the file is opened again, also by a process that has nothing to do.
func TestFalloutAfterACrash(t *testing.T) {
	const n = 2000
	for _, succeeds := range []bool{false, true} {
		t.Run(fmt.Sprintf("success: %v", succeeds), func(t *testing.T) {
			path := place(t)
			b := open(t, path, sqlite.WithAllowance(1), sqlite.WithSynchronousNormal())
			first := newTasks(2)
			enqueue(t, b, append(slices.Clone(first), following(n, first...)...)...)
			want, left := omniq.QueueStats{Queue: "followers", Cancelled: n}, "SELECT count(*) FROM omniq_tasks WHERE state = 7"
			if succeeds { // both are to be told of, and counted once
				require.NoError(t, settle(t, b, finish(leaseOf(t, b, omniq.DefaultQueue, 1)[0], "1", time.Hour)))
				want, left = omniq.QueueStats{Queue: "followers", Waiting: n}, "SELECT count(*) FROM omniq_waits WHERE open = 2"
			} else {
				errs, err := b.Cancel(t.Context(), ids(first...))
				require.NoError(t, err)
				require.Nil(t, errs)
			}
			for rounds := 0; ; rounds++ {
				require.NoError(t, b.Close())
				b = open(t, path, sqlite.WithAllowance(1), sqlite.WithSynchronousNormal())
				if number(t, b, left) == 0 {
					require.Positive(t, rounds, "all was told before the first end")
					break
				}
			}
			whole(t, b)
			stats, err := b.Stats(t.Context())
			require.NoError(t, err)
			require.Len(t, stats, 2)
			assert.Equal(t, want, stats[1])
		})
	}
}

// A task that waits for many gets all their results, in order.
func TestChord(t *testing.T) {
	const n = 1200
	b := open(t, place(t), sqlite.WithSynchronousNormal())
	parts := newTasks(n)
	body := following(1, parts...)[0]
	enqueue(t, b, append(parts, body)...)
	waiting := later(t, func(ctx context.Context) ([]omniq.Lease, error) {
		return b.Lease(ctx, omniq.LeaseRequest{Queues: []string{"followers"}, Max: 1, Duration: time.Minute, Wait: time.Minute, WorkerID: "w"})
	})
	for done := 0; done < n; {
		leases := leaseOf(t, b, omniq.DefaultQueue, 100)
		settlements := make([]omniq.Settlement, len(leases))
		for i, l := range leases {
			settlements[i] = finish(l, fmt.Sprintf("%q", l.TaskID), 0)
		}
		errs, err := b.Settle(t.Context(), settlements)
		require.NoError(t, err)
		require.Nil(t, errs)
		done += len(leases)
	}
	leases := <-waiting
	require.Len(t, leases, 1)
	require.Len(t, leases[0].Inputs, n)
	for i, p := range parts {
		require.Equal(t, p.ID, leases[0].Inputs[i].TaskID)
		require.Equal(t, fmt.Sprintf("%q", p.ID), string(leases[0].Inputs[i].ResultData))
	}
	info, err := b.Inspect(t.Context(), body.ID)
	require.NoError(t, err)
	assert.Equal(t, body.After, info.After)
	require.NoError(t, settle(t, b, finish(leases[0], "1", time.Hour)))
	whole(t, b)
	require.Eventually(t, func() bool {
		return number(t, b, "SELECT count(*) FROM omniq_results WHERE look IS NOT NULL") == 0
	}, 20*time.Second, 10*time.Millisecond, "inputs that nobody needs stay")
}

// What is kept beside tasks goes with them, in small steps.
func TestTiesGo(t *testing.T) {
	const n = 640
	keep := time.Hour
	b, clock := slow(t)
	parts := tasksIn("parts", n, func(t *omniq.RawTask) { t.ResultTTL, t.Flow = &keep, uuid.UUID{1} })
	body := following(1, parts...)[0]
	body.ResultTTL = &keep
	enqueue(t, b, append(parts, body)...)
	one := leaseOf(t, b, "parts", 1)[0]
	items := make([]omniq.StreamItem, n)
	for i := range items {
		items[i] = omniq.StreamItem{Name: "s", Data: omniq.Raw("1")}
	}
	errs, err := b.Note(t.Context(), []omniq.LeaseNotes{{LeaseID: one.LeaseID, Notes: omniq.Notes{
		Progress: omniq.Raw("{}"), State: omniq.Raw("{}"), Stream: items,
	}}})
	require.NoError(t, err)
	require.Nil(t, errs)
	_, err = b.CancelFlow(t.Context(), uuid.UUID{1})
	require.NoError(t, err)
	whole(t, b)
	clock.advance(20 * 24 * time.Hour)
	require.Eventually(t, func() bool {
		enqueue(t, b, newTasks(1)...)
		return number(t, b, `SELECT (SELECT count(*) FROM omniq_results) + (SELECT count(*) FROM omniq_edges) + (SELECT count(*) FROM omniq_items) +
			(SELECT count(*) FROM omniq_notes) + (SELECT count(*) FROM omniq_members) + (SELECT count(*) FROM omniq_waits)`) == 0
	}, 60*time.Second, 10*time.Millisecond)
}

// A life that has begun with an ID whose time was over has nothing of the one before.
func TestNewLifeWithoutTies(t *testing.T) {
	b, clock := slow(t)
	keep := time.Hour
	tasks := newTasks(2)
	tasks[1].After, tasks[1].FailureTTL = after(tasks[0]), &keep
	enqueue(t, b, tasks...)
	l := lease(t, b, time.Minute)
	errs, err := b.Note(t.Context(), []omniq.LeaseNotes{{LeaseID: l.LeaseID, Notes: omniq.Notes{Progress: omniq.Raw("{}")}}})
	require.NoError(t, err)
	require.Nil(t, errs)
	_, err = b.Cancel(t.Context(), ids(tasks[0]))
	require.NoError(t, err)
	require.Equal(t, omniq.StatusCancelled, statusOf(t, b, tasks[1].ID))
	errs, err = b.Forget(t.Context(), ids(tasks[1], tasks[0]))
	require.NoError(t, err)
	require.Nil(t, errs)
	for _, task := range tasks {
		again := *task
		again.After = nil
		enqueue(t, b, &again)
		info, err := b.Inspect(t.Context(), task.ID)
		require.NoError(t, err)
		assert.Equal(t, omniq.StatusPending, info.Status)
		assert.Empty(t, info.After)
		assert.Empty(t, info.Progress)
	}
	clock.advance(2 * keep)
	enqueue(t, b, newTasks(1)...)
	assert.Equal(t, 3, number(t, b, "SELECT count(*) FROM omniq_tasks"))
}

// A call that waits here gets what the end of a task in another process has released, at once or later.
func TestReleasedElsewhere(t *testing.T) {
	const n = 1000
	b, other := open(t, place(t)), (*sqlite.Backend)(nil)
	first := newTasks(1)[0]
	enqueue(t, b, append([]*omniq.RawTask{first}, following(n, first)...)...)
	other = open(t, b.Path(), sqlite.WithAllowance(1))
	l := lease(t, other, time.Minute)
	got := later(t, func(ctx context.Context) (n int, err error) {
		for {
			leases, err := b.Lease(ctx, omniq.LeaseRequest{Queues: []string{"followers"}, Max: 10, Duration: time.Hour, Wait: time.Minute, WorkerID: "w"})
			if n += len(leases); err != nil || n == 1000 {
				return n, err
			}
		}
	})
	require.Eventually(t, func() bool { return b.Parked(t) == 1 }, 10*time.Second, time.Millisecond)
	require.NoError(t, settle(t, other, finish(l, "1", 0)))
	require.NoError(t, other.Close())
	assert.Equal(t, n, <-got)
	whole(t, b)
}

// In a transaction of the caller's a settlement does what it does outside, effects and all, or nothing.
func TestEffectsInTx(t *testing.T) {
	for _, commit := range []bool{true, false} {
		t.Run(fmt.Sprint(commit), func(t *testing.T) {
			const n = 600
			b := open(t, place(t), sqlite.WithSynchronousNormal())
			first := newTasks(1)[0]
			enqueue(t, b, append([]*omniq.RawTask{first}, following(n, first)...)...)
			s := finish(lease(t, b, time.Minute), "1", time.Hour)
			child := newTasks(1)[0]
			child.After = after(first)
			s.Effects = &omniq.Effects{
				Enqueue: []*omniq.RawTask{child}, Notes: omniq.Notes{Progress: omniq.Raw(`{"n":1}`), State: omniq.Raw("{}")},
			}
			wrong := s
			wrong.Effects = &omniq.Effects{Enqueue: []*omniq.RawTask{{
				ID: uuid.New(), FuncName: "f", Args: omniq.Raw("[]"), Kwargs: omniq.Raw("{}"), CreatedAt: time.Now(), After: after(newTasks(1)...),
			}}}
			tx, err := b.DB().BeginTx(t.Context(), nil)
			require.NoError(t, err)
			errs, err := b.Tx(tx).Settle(t.Context(), []omniq.Settlement{wrong, s})
			require.NoError(t, err)
			require.Len(t, errs, 2)
			require.ErrorIs(t, errs[0], omniq.ErrInvalid)
			require.NoError(t, errs[1])
			if !commit {
				require.NoError(t, tx.Rollback())
				assert.Equal(t, omniq.StatusRunning, statusOf(t, b, first.ID))
				assert.Equal(t, n, number(t, b, "SELECT count(*) FROM omniq_tasks WHERE state = 7"))
				assert.Zero(t, number(t, b, "SELECT count(*) FROM omniq_notes"))
				return
			}
			require.NoError(t, tx.Commit())
			whole(t, b)
			assert.Equal(t, omniq.StatusPending, statusOf(t, b, child.ID))
			assert.Zero(t, number(t, b, "SELECT count(*) FROM omniq_tasks WHERE state = 7"))
			info, err := b.Inspect(t.Context(), first.ID)
			require.NoError(t, err)
			assert.JSONEq(t, `{"n":1}`, string(info.Progress))
			assert.Nil(t, info.State)
		})
	}
}

// A member of a flow that is cancelled while others are added has all of them ended, whatever a transaction does of it.
func TestCancelALargeFlow(t *testing.T) {
	const n = 1000
	b, _ := slow(t)
	flow := uuid.New()
	tasks := tasksIn("q", n, func(t *omniq.RawTask) { t.Flow = flow })
	for i, task := range tasks[1:] {
		task.After = after(tasks[i])
	}
	enqueue(t, b, tasks...)
	got, err := b.CancelFlow(t.Context(), flow)
	require.NoError(t, err)
	assert.Equal(t, n, got)
	stats, err := b.FlowStats(t.Context(), flow)
	require.NoError(t, err)
	assert.Equal(t, omniq.FlowStats{Cancelled: n}, stats)
	whole(t, b)
	var listed []uuid.UUID
	for next := ""; ; {
		page, after, err := b.List(t.Context(), omniq.ListRequest{Flow: flow, After: next, Max: 300})
		require.NoError(t, err)
		for _, info := range page {
			listed = append(listed, info.ID)
		}
		if next = after; next == "" {
			break
		}
	}
	assert.Equal(t, ids(tasks...), listed)
}
