package sqlite_test

import (
	"database/sql"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/sqlite"
)

func inLane(name string) func(*omniq.RawTask) { return func(t *omniq.RawTask) { t.Lane = name } }

// statsOf returns the figures of a queue.
func statsOf(t *testing.T, b *sqlite.Backend, queue string) omniq.QueueStats {
	t.Helper()
	stats, err := b.Stats(t.Context())
	require.NoError(t, err)
	for _, s := range stats {
		if s.Queue == queue {
			s.Latency = 0
			return s
		}
	}
	return omniq.QueueStats{}
}

// A limit, what its rates were charged and what is held back outlive the process.
func TestLimitsAreKept(t *testing.T) {
	path := place(t)
	limit := omniq.Limit{Running: 5, Rate: omniq.Rate{Tasks: 1, Per: time.Hour, Burst: 4}, EachLane: omniq.LaneLimit{Running: 2, Rate: omniq.PerHour(1)}}
	b, err := sqlite.Open(path)
	require.NoError(t, err)
	require.NoError(t, b.SetLimit(t.Context(), "q", limit))
	enqueue(t, b, tasksIn("q", 2, inLane("a"))...)
	enqueue(t, b, tasksIn("q", 2, func(*omniq.RawTask) {})...)
	l := leaseOf(t, b, "q", 1)[0]
	require.Equal(t, "a", l.Task.Lane)
	l = leaseOf(t, b, "q", 1)[0]
	require.NoError(t, settle(t, b, omniq.Settlement{LeaseID: l.LeaseID, Action: omniq.ActionRelease, Hold: time.Hour}))
	enqueue(t, b, tasksIn("q", 3, inLane("b"))...)
	require.NoError(t, b.Close())

	b = open(t, path)
	assert.Equal(t, omniq.QueueStats{Queue: "q", Ready: 6, Running: 1, Lanes: 2, Limit: limit}, statsOf(t, b, "q"))
	l = leaseOf(t, b, "q", 1)[0]
	assert.Equal(t, "b", l.Task.Lane, "a has used up its rate, and the others are held back")
}

// What is counted of lanes becomes right again after SQL has changed rows, and tasks of lanes that nothing is known of are leased.
func TestRecountOfLanes(t *testing.T) {
	for name, change := range map[string]string{
		"tasks are deleted":   "DELETE FROM omniq_tasks WHERE seq % 2 = 0",
		"lanes are forgotten": "DELETE FROM omniq_lanes; DELETE FROM omniq_laned",
		"a lane is renamed":   "UPDATE omniq_tasks SET lane = 'c' WHERE lane = 'a'",
	} {
		t.Run(name, func(t *testing.T) {
			b := open(t, place(t), sqlite.WithRecount(time.Millisecond))
			require.NoError(t, b.SetLimit(t.Context(), "q", omniq.Limit{EachLane: omniq.LaneLimit{Running: 20}}))
			for _, lane := range []string{"a", "b", ""} {
				enqueue(t, b, tasksIn("q", 10, inLane(lane))...)
			}
			leaseOf(t, b, "q", 6)
			_, err := b.DB().ExecContext(t.Context(), change)
			require.NoError(t, err)
			left := number(t, b, "SELECT count(*) FROM omniq_tasks WHERE state = 1")
			require.Eventually(t, func() bool {
				return number(t, b, `SELECT count(*) FROM omniq_lanes l WHERE
					ready <> (SELECT count(*) FROM omniq_tasks t WHERE state = 1 AND coalesce(lane, '') = l.lane)
					OR running <> (SELECT count(*) FROM omniq_tasks t WHERE state = 2 AND coalesce(lane, '') = l.lane)`) == 0 &&
					number(t, b, "SELECT coalesce(sum(ready), 0) FROM omniq_lanes") == left
			}, 20*time.Second, 10*time.Millisecond)
			require.Len(t, leaseOf(t, b, "q", left), left)
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

// Workers of two processes' kind never hold more than a limit permits, however they come in each other's way.
func TestLimitOfTwo(t *testing.T) {
	one, other := two(t)
	const n = 200
	require.NoError(t, one.SetLimit(t.Context(), "q", omniq.Limit{Running: 3, EachLane: omniq.LaneLimit{Running: 2}}))
	for i := range n {
		enqueue(t, one, tasksIn("q", 1, inLane([]string{"a", "b", ""}[i%3]))...)
	}
	var mu sync.Mutex
	running, most, done := 0, 0, 0
	var all sync.WaitGroup
	for _, b := range []*sqlite.Backend{one, other, one, other} {
		all.Go(func() {
			for {
				mu.Lock()
				over := done == n
				mu.Unlock()
				if over {
					return
				}
				leases, err := b.Lease(t.Context(), omniq.LeaseRequest{
					Queues: []string{"q"}, Max: 2, Duration: time.Minute, Wait: 50 * time.Millisecond, WorkerID: "w",
				})
				if !assert.NoError(t, err) {
					return
				}
				mu.Lock()
				running += len(leases)
				most = max(most, running)
				mu.Unlock()
				for _, l := range leases {
					mu.Lock()
					running-- // before its lease ends
					done++
					mu.Unlock()
					assert.NoError(t, settle(t, b, finish(l, "1", 0)))
				}
			}
		})
	}
	all.Wait()
	assert.LessOrEqual(t, most, 3)
}

// What is in a file of version 3 goes on in the newest one, with lanes beside it.
func TestUpgradeOfVersion3(t *testing.T) {
	path := place(t)
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	for _, name := range []string{"migrations/0001.sql", "migrations/0002.sql", "migrations/0003.sql"} {
		script, err := os.ReadFile(name)
		require.NoError(t, err)
		_, err = db.ExecContext(t.Context(), string(script))
		require.NoError(t, err)
	}
	_, err = db.ExecContext(t.Context(), "CREATE TABLE omniq_schema (version INTEGER NOT NULL) STRICT; INSERT INTO omniq_schema VALUES (3)")
	require.NoError(t, err)
	tasks := newTasks(3)
	for i, task := range tasks {
		envelope, err := task.AppendJSON(nil)
		require.NoError(t, err)
		_, err = db.ExecContext(t.Context(), `INSERT INTO omniq_tasks (id, name, queue, priority, due, state, attempt, since, task)
			VALUES (?, 'f', 'default', 0, ?, 1, 0, 0, ?)`, task.ID[:], i, string(envelope))
		require.NoError(t, err)
	}
	_, err = db.ExecContext(t.Context(), "INSERT INTO omniq_counts (queue, state, n) VALUES ('default', 1, 3)")
	require.NoError(t, err)
	require.NoError(t, db.Close())

	b := open(t, path)
	laned := newTasks(2)
	laned[0].Lane, laned[1].Lane = "a", "b"
	enqueue(t, b, laned...)
	var got []string
	for range 5 {
		got = append(got, lease(t, b, time.Minute).Task.Lane)
	}
	assert.Equal(t, []string{"", "a", "b", "", ""}, got)
	assert.Equal(t, 4, number(t, b, "SELECT version FROM omniq_schema"))
}
