package sqlite_test

import (
	"context"
	"database/sql"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/sqlite"
)

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

// A call that asks for tasks ahead alone gets none of a queue that bounds how many run, and is not in the way of another that
// waits for a place.
func TestPlaceIsNotLostToWhoTakesAhead(t *testing.T) {
	b := open(t, fresh(t))
	require.NoError(t, b.SetLimit(t.Context(), omniq.DefaultQueue, omniq.Limit{Running: 1}))
	enqueue(t, b, newTasks(2)...)
	l := lease(t, b, time.Minute)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	asks := func(ahead int) <-chan []omniq.Lease {
		return later(t, func(context.Context) ([]omniq.Lease, error) {
			got, err := b.Lease(ctx, omniq.LeaseRequest{
				Queues: []string{omniq.DefaultQueue}, Max: 1, Ahead: ahead, Duration: time.Minute, Wait: time.Minute, WorkerID: "w",
			})
			if ctx.Err() != nil {
				return got, nil
			}
			return got, err
		})
	}
	greedy := asks(1)
	require.Eventually(t, func() bool { return b.Parked(t) == 1 }, 10*time.Second, time.Millisecond)
	patient := asks(0)
	require.Eventually(t, func() bool { return b.Parked(t) == 2 }, 10*time.Second, time.Millisecond)
	require.NoError(t, settle(t, b, finish(l, "1", time.Hour)))
	select {
	case got := <-patient:
		assert.Len(t, got, 1)
	case <-time.After(5 * time.Second):
		t.Error("a place is free, and nobody gets it")
	}
	cancel()
	<-greedy
}

// What is in a file of version 3 goes on in the newest one, in whatever state it is, and with lanes beside it.
func TestUpgradeOfVersion3InAllStates(t *testing.T) {
	path := place(t)
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	for _, name := range []string{"0001", "0002", "0003"} {
		script, err := os.ReadFile("migrations/" + name + ".sql")
		require.NoError(t, err)
		_, err = db.ExecContext(t.Context(), string(script))
		require.NoError(t, err)
	}
	_, err = db.ExecContext(t.Context(), "CREATE TABLE omniq_schema (version INTEGER NOT NULL) STRICT; INSERT INTO omniq_schema VALUES (3)")
	require.NoError(t, err)
	later := time.Now().Add(time.Hour).UnixMicro()
	tasks := newTasks(5)
	for i, row := range [][]any{ // state, due, wake, token, ties
		{0, later, later, nil, 0}, {1, 0, nil, nil, 0}, {1, 1, nil, nil, 0}, {2, 0, later, 12, 0}, {7, 0, nil, nil, 4},
	} {
		envelope, err := tasks[i].AppendJSON(nil)
		require.NoError(t, err)
		_, err = db.ExecContext(t.Context(), `INSERT INTO omniq_tasks
			(id, name, queue, priority, state, due, wake, token, ties, attempt, started, worker, since, task)
			VALUES (?, 'f', 'default', 0, ?, ?, ?, ?, ?, 1, 1, 'w', 0, ?)`, append(append([]any{tasks[i].ID[:]}, row...), string(envelope))...)
		require.NoError(t, err)
	}
	_, err = db.ExecContext(t.Context(), `INSERT INTO omniq_counts (queue, state, n)
		VALUES ('default', 0, 1), ('default', 1, 2), ('default', 2, 1), ('default', 7, 1)`)
	require.NoError(t, err)
	require.NoError(t, db.Close())

	b := open(t, path)
	laned := tasksIn(omniq.DefaultQueue, 2, inLane("a"))
	enqueue(t, b, laned...)
	require.NoError(t, b.SetLimit(t.Context(), omniq.DefaultQueue, omniq.Limit{Running: 3, EachLane: omniq.LaneLimit{Running: 1}}))
	var got []uuid.UUID
	for _, l := range leaseOf(t, b, omniq.DefaultQueue, 9) {
		got = append(got, l.TaskID)
	}
	assert.ElementsMatch(t, ids(tasks[1], laned[0]), got, "one runs already, and a lane comes after what has waited")
	running := omniq.Lease{LeaseID: omniq.LeaseID{TaskID: tasks[3].ID, Token: "c"}}
	require.NoError(t, settle(t, b, finish(running, "1", time.Hour)))
	assert.Equal(t, tasks[2].ID, lease(t, b, time.Minute).TaskID)
	errs, err := b.RunNow(t.Context(), ids(tasks[0]))
	require.NoError(t, err)
	require.Nil(t, errs)
	stats, err := b.Stats(t.Context())
	require.NoError(t, err)
	require.Len(t, stats, 1)
	assert.Equal(t, []int{0, 2, 3, 1, 1}, []int{stats[0].Scheduled, stats[0].Ready, stats[0].Running, stats[0].Waiting, stats[0].Lanes})
	b.Recount(t)
	assert.Equal(t, 2, number(t, b, "SELECT sum(ready) FROM omniq_lanes"))
	assert.Equal(t, 3, number(t, b, "SELECT sum(running) FROM omniq_lanes"))
}

// What is counted of lanes becomes right again after SQL has changed rows, and so does who may have a turn.
func TestRecountAfterSQLOfLanes(t *testing.T) {
	for name, change := range map[string]string{
		"a running task is deleted":  "DELETE FROM omniq_tasks WHERE state = 2",
		"the counts are wrong":       "UPDATE omniq_lanes SET ready = 7, running = 7, turn = NULL",
		"the lanes are deleted":      "DELETE FROM omniq_lanes; DELETE FROM omniq_laned",
		"the ready ones are deleted": "DELETE FROM omniq_tasks WHERE state = 1",
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
			free := number(t, b, `SELECT count(DISTINCT lane) FROM omniq_tasks t WHERE state = 1 AND lane IS NOT NULL AND NOT EXISTS
				(SELECT 1 FROM omniq_tasks r WHERE r.state = 2 AND r.lane = t.lane)`)
			none := number(t, b, "SELECT count(*) FROM omniq_tasks WHERE state = 1 AND lane IS NULL")
			assert.Len(t, leaseOf(t, b, omniq.DefaultQueue, 99), free+none, "as many as there are places for")
		})
	}
}

// A limit that another process sets, and a place that it frees, are seen by who waits here.
func TestLimitOfAnotherProcess(t *testing.T) {
	path := fresh(t)
	b, other := open(t, path), elsewhere(t, path, time.Hour)
	require.NoError(t, other.SetLimit(t.Context(), omniq.DefaultQueue, omniq.Limit{EachLane: omniq.LaneLimit{Running: 1}}))
	enqueue(t, b, tasksIn(omniq.DefaultQueue, 4, inLane("a"))...)
	theirs := leaseOf(t, other, omniq.DefaultQueue, 9)
	require.Len(t, theirs, 1)
	require.Empty(t, leaseOf(t, b, omniq.DefaultQueue, 9))
	waits := func() <-chan []omniq.Lease {
		w := later(t, func(ctx context.Context) ([]omniq.Lease, error) {
			return b.Lease(ctx, omniq.LeaseRequest{
				Queues: []string{omniq.DefaultQueue}, Max: 9, Duration: time.Minute, Wait: time.Minute, WorkerID: "w",
			})
		})
		require.Eventually(t, func() bool { return b.Parked(t) == 1 }, 10*time.Second, time.Millisecond)
		return w
	}
	w := waits()
	require.NoError(t, settle(t, other, finish(theirs[0], "1", time.Hour)))
	require.Len(t, <-w, 1)
	w = waits()
	require.NoError(t, other.SetLimit(t.Context(), omniq.DefaultQueue, omniq.Limit{}))
	require.Len(t, <-w, 2)
}

// The places of a process that is killed are free when its leases have run out, and not before; and what is counted of lanes is
// what there is, wherever in a transaction it was killed.
func TestPlacesOfAKilledProcess(t *testing.T) {
	path := fresh(t)
	b := open(t, path)
	require.NoError(t, b.SetLimit(t.Context(), omniq.DefaultQueue, omniq.Limit{Running: 3, EachLane: omniq.LaneLimit{Running: 1}}))
	for _, name := range []string{"a", "b", ""} {
		enqueue(t, b, tasksIn(omniq.DefaultQueue, 20, inLane(name))...)
	}
	other := elsewhere(t, path, time.Hour).(*remote)
	const lasts = time.Second
	theirs, err := other.Lease(t.Context(), omniq.LeaseRequest{
		Queues: []string{omniq.DefaultQueue}, Max: 9, Duration: lasts, WorkerID: "other",
	})
	require.NoError(t, err)
	require.Len(t, theirs, 3)
	busy := make(chan struct{})
	go func() { // it settles and leases until it is gone
		defer close(busy)
		for l := theirs[0]; ; {
			if _, err := other.Settle(t.Context(), []omniq.Settlement{finish(l, "1", time.Hour)}); err != nil {
				return
			}
			got, err := other.Lease(t.Context(), omniq.LeaseRequest{
				Queues: []string{omniq.DefaultQueue}, Max: 1, Duration: lasts, WorkerID: "other",
			})
			if err != nil || len(got) == 0 {
				return
			}
			l = got[0]
		}
	}()
	require.Eventually(t, func() bool { return number(t, b, "SELECT count(*) FROM omniq_results") > 5 }, 10*time.Second, time.Millisecond)
	require.NoError(t, other.kill())
	<-busy
	var mine []omniq.Lease
	for len(mine) < 3 {
		got, err := b.Lease(t.Context(), omniq.LeaseRequest{
			Queues: []string{omniq.DefaultQueue}, Max: 9, Duration: time.Minute, Wait: 10 * time.Second, WorkerID: "w",
		})
		require.NoError(t, err)
		require.NotEmpty(t, got, "a place is not free")
		mine = append(mine, got...)
	}
	assert.Len(t, mine, 3)
	assert.False(t, time.Now().Before(theirs[2].Expires), "one of theirs had not ended")
	assert.Equal(t, 3, number(t, b, "SELECT count(*) FROM omniq_tasks WHERE state = 2"))
	assert.Zero(t, number(t, b, `SELECT count(*) FROM omniq_lanes l WHERE
		ready <> (SELECT count(*) FROM omniq_tasks WHERE state = 1 AND coalesce(lane, '') = l.lane) OR
		running <> (SELECT count(*) FROM omniq_tasks WHERE state = 2 AND coalesce(lane, '') = l.lane)`))
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
