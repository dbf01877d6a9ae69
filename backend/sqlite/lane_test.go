package sqlite_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/sqlite"
)

func inLane(name string) func(*omniq.RawTask) { return func(t *omniq.RawTask) { t.Lane = name } }

// A settlement that is refused leaves nothing behind, not even in what the writer knows of lanes: the tasks of its queue are
// handed out as before.
func TestRefusedHoldLeavesNoLanes(t *testing.T) {
	b := open(t, fresh(t))
	tasks := newTasks(3)
	enqueue(t, b, tasks...)
	l := lease(t, b, time.Minute)
	errs, err := b.Settle(t.Context(), []omniq.Settlement{{
		LeaseID: l.LeaseID, Action: omniq.ActionWait, Hold: time.Hour,
		Effects: &omniq.Effects{After: []omniq.Dependency{{ID: uuid.New()}}},
	}})
	require.NoError(t, err)
	require.Len(t, errs, 1)
	require.ErrorIs(t, errs[0], omniq.ErrInvalid, "the dependency is unknown")
	assert.Zero(t, number(t, b, "SELECT count(*) FROM omniq_laned"))
	assert.Len(t, leaseOf(t, b, omniq.DefaultQueue, 9), 2)
	enqueue(t, b, newTasks(1)...)
	assert.Len(t, leaseOf(t, b, omniq.DefaultQueue, 9), 1)
}

// A settlement that enqueues into a lane, and is refused, leaves none either.
func TestRefusedEffectsLeaveNoLanes(t *testing.T) {
	b := open(t, fresh(t))
	enqueue(t, b, newTasks(2)...)
	l := lease(t, b, time.Minute)
	laned := newTasks(2)
	laned[0].Lane = "a"
	laned[1].After = []omniq.Dependency{{ID: uuid.New()}}
	s := finish(l, "1", time.Hour)
	s.Effects = &omniq.Effects{Enqueue: laned}
	errs, err := b.Settle(t.Context(), []omniq.Settlement{s})
	require.NoError(t, err)
	require.Len(t, errs, 1)
	require.ErrorIs(t, errs[0], omniq.ErrInvalid)
	assert.Zero(t, number(t, b, "SELECT count(*) FROM omniq_laned"))
	assert.Len(t, leaseOf(t, b, omniq.DefaultQueue, 9), 1)
}

// What is counted of lanes becomes right again after SQL has changed rows, and so does who may have a turn.
func TestRecountOfLanes(t *testing.T) {
	for name, change := range map[string]string{
		"a running task is deleted":  "DELETE FROM omniq_tasks WHERE state = 2",
		"the counts are wrong":       "UPDATE omniq_lanes SET ready = 7, running = 7, turn = NULL",
		"the lanes are deleted":      "DELETE FROM omniq_lanes; DELETE FROM omniq_laned",
		"the ready ones are deleted": "DELETE FROM omniq_tasks WHERE state = 1",
		"some are deleted":           "DELETE FROM omniq_tasks WHERE seq % 2 = 0",
		"a lane is renamed":          "UPDATE omniq_tasks SET lane = 'c' WHERE lane = 'a'",
	} {
		t.Run(name, func(t *testing.T) {
			b := open(t, fresh(t))
			require.NoError(t, b.SetLimit(t.Context(), omniq.DefaultQueue, omniq.Limit{EachLane: omniq.LaneLimit{Running: 1}}))
			for _, name := range []string{"a", "b", ""} {
				enqueue(t, b, tasksIn(omniq.DefaultQueue, 3, inLane(name))...)
			}
			require.Len(t, leaseOf(t, b, omniq.DefaultQueue, 3), 3)
			_, err := b.DB().ExecContext(t.Context(), change)
			require.NoError(t, err)
			b.Recount(t)
			for state, column := range map[int]string{1: "ready", 2: "running"} {
				want := number(t, b, "SELECT count(*) FROM omniq_tasks WHERE state = ?", state)
				assert.Equal(t, want, number(t, b, "SELECT coalesce(sum("+column+"), 0) FROM omniq_lanes"), column)
			}
			assert.Zero(t, number(t, b, `SELECT count(*) FROM omniq_lanes l WHERE
				ready <> (SELECT count(*) FROM omniq_tasks WHERE state = 1 AND coalesce(lane, '') = l.lane) OR
				running <> (SELECT count(*) FROM omniq_tasks WHERE state = 2 AND coalesce(lane, '') = l.lane)`), "lanes that are counted wrong")
			free := number(t, b, `SELECT count(DISTINCT lane) FROM omniq_tasks t WHERE state = 1 AND lane IS NOT NULL AND NOT EXISTS
				(SELECT 1 FROM omniq_tasks r WHERE r.state = 2 AND r.lane = t.lane)`)
			none := number(t, b, "SELECT count(*) FROM omniq_tasks WHERE state = 1 AND lane IS NULL")
			assert.Len(t, leaseOf(t, b, omniq.DefaultQueue, 99), free+none, "as many as there are places for")
		})
	}
}

// A lease over many lanes of which none has a task of the names that are asked for does not walk over all of them.
func BenchmarkLanesOfUnknownNames(b *testing.B) {
	for _, lanes := range []int{10, 10_000} {
		b.Run(strconv.Itoa(lanes), func(b *testing.B) {
			backend := open(b, place(b), sqlite.WithSynchronousNormal())
			tasks := newTasks(b.N + lanes)
			for i, t := range tasks {
				t.Lane = strconv.Itoa(i % lanes)
			}
			enqueue(b, backend, tasks...)
			b.ResetTimer()
			for range b.N {
				got, err := backend.Lease(b.Context(), omniq.LeaseRequest{
					Queues: []string{omniq.DefaultQueue}, Max: 1, Duration: time.Hour, WorkerID: "w", Names: []string{"known"},
				})
				if err != nil || len(got) != 1 {
					b.Fatal(len(got), err)
				}
			}
		})
	}
}

// Nothing is left of lanes that have no tasks, and the queue is as one that never had any.
func TestLanesGo(t *testing.T) {
	b, clock := slow(t)
	require.NoError(t, b.SetLimit(t.Context(), "q", omniq.Limit{EachLane: omniq.LaneLimit{Rate: omniq.PerHour(1)}}))
	for i := range 100 {
		enqueue(t, b, tasksIn("q", 1, inLane(fmt.Sprint(i)))...)
	}
	for _, l := range leaseOf(t, b, "q", 100) {
		require.NoError(t, settle(t, b, finish(l, "1", 0)))
	}
	assert.Equal(t, 101, number(t, b, "SELECT count(*) FROM omniq_lanes"), "their rates are used up")
	clock.advance(2 * time.Hour)
	require.Eventually(t, func() bool {
		enqueue(t, b, newTasks(1)...)
		return number(t, b, "SELECT (SELECT count(*) FROM omniq_lanes) + (SELECT count(*) FROM omniq_laned)") == 0
	}, 20*time.Second, 10*time.Millisecond)
}
