package sqlite_test

import (
	"database/sql"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// What runs in a file of version 1, and what is in it, goes on in the newest one.
func TestUpgradeOfVersion1(t *testing.T) {
	path := place(t)
	script, err := os.ReadFile("migrations/0001.sql")
	require.NoError(t, err)
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	tasks := newTasks(3)
	later := time.Now().Add(time.Hour).UnixMicro()
	_, err = db.ExecContext(t.Context(), string(script)+"; PRAGMA application_id = 1332571729; PRAGMA user_version = 1")
	require.NoError(t, err)
	for i, task := range tasks {
		envelope, err := task.AppendJSON(nil)
		require.NoError(t, err)
		row := [][]any{{2, later, int64(12), 1, "w"}, {1, nil, nil, 0, nil}, {0, later, nil, 1, "w"}}[i]
		_, err = db.ExecContext(t.Context(), `INSERT INTO omniq_tasks
			(id, name, queue, priority, due, state, wake, token, attempt, worker, since, task)
			VALUES (?, 'f', 'default', 0, ?, ?, ?, ?, ?, ?, 0, ?)`,
			append(append([]any{task.ID[:], []int64{0, 0, later}[i]}, row...), string(envelope))...)
		require.NoError(t, err)
	}
	for state := range 3 {
		_, err = db.ExecContext(t.Context(), "INSERT INTO omniq_counts (queue, state, n) VALUES ('default', ?, 1)", state)
		require.NoError(t, err)
	}
	require.NoError(t, db.Close())

	b := open(t, path)
	stats, err := b.Stats(t.Context())
	require.NoError(t, err)
	require.Len(t, stats, 1)
	stats[0].Latency = 0
	assert.Equal(t, omniq.QueueStats{Queue: "default", Scheduled: 1, Ready: 1, Running: 1}, stats[0])
	running := omniq.Lease{LeaseID: omniq.LeaseID{TaskID: tasks[0].ID, Token: "c"}}
	require.NoError(t, settle(t, b, omniq.Settlement{LeaseID: running.LeaseID, Action: omniq.ActionRelease, Delay: time.Hour}))
	info, err := b.Inspect(t.Context(), tasks[0].ID)
	require.NoError(t, err)
	assert.Zero(t, info.Attempts, "its attempt had started, and was taken back")
	l := lease(t, b, time.Minute)
	assert.Equal(t, tasks[1].ID, l.TaskID)
	require.NoError(t, settle(t, b, finish(l, "1", time.Hour)))
	errs, err := b.Cancel(t.Context(), []uuid.UUID{tasks[2].ID})
	require.NoError(t, err)
	assert.Nil(t, errs)
}

// fileOf makes a file as the program of a version did.
func fileOf(t *testing.T, version int) (path string, db *sql.DB) {
	t.Helper()
	path = place(t)
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	for n := range version {
		script, err := os.ReadFile(fmt.Sprintf("migrations/%04d.sql", n+1))
		require.NoError(t, err)
		_, err = db.ExecContext(t.Context(), string(script))
		require.NoError(t, err)
	}
	_, err = db.ExecContext(t.Context(), "CREATE TABLE omniq_schema (version INTEGER NOT NULL) STRICT; INSERT INTO omniq_schema VALUES (?)", version)
	require.NoError(t, err)
	return path, db
}

// What is in a file of version 2 goes on in the newest one, with tasks that are tied to it.
func TestUpgradeOfVersion2(t *testing.T) {
	path, db := fileOf(t, 2)
	tasks := newTasks(2)
	for i, task := range tasks {
		envelope, err := task.AppendJSON(nil)
		require.NoError(t, err)
		_, err = db.ExecContext(t.Context(), `INSERT INTO omniq_tasks (id, name, queue, priority, due, state, attempt, since, task)
			VALUES (?, 'f', 'default', 0, ?, 1, 0, 0, ?)`, task.ID[:], i, string(envelope))
		require.NoError(t, err)
	}
	result := omniq.RawResult{
		TaskID: uuid.New(), Status: omniq.StatusSuccess, ResultData: omniq.Raw("7"), Timestamp: time.Now(), TTL: new(time.Hour),
	}
	envelope, err := result.AppendJSON(nil)
	require.NoError(t, err)
	expires := time.Now().Add(time.Hour).UnixMicro()
	_, err = db.ExecContext(t.Context(), `INSERT INTO omniq_results (id, status, name, queue, since, expires, result)
		VALUES (?, 3, 'f', 'default', 0, ?, ?)`, result.TaskID[:], expires, string(envelope))
	require.NoError(t, err)
	_, err = db.ExecContext(t.Context(), "INSERT INTO omniq_counts (queue, state, n) VALUES ('default', 1, 2), ('default', 3, 1)")
	require.NoError(t, err)
	require.NoError(t, db.Close())

	b := open(t, path)
	follower := following(1, tasks...)[0]
	follower.After = append(follower.After, omniq.Dependency{ID: result.TaskID, Input: true})
	enqueue(t, b, follower)
	assert.Equal(t, omniq.StatusWaiting, statusOf(t, b, follower.ID))
	for range tasks {
		require.NoError(t, settle(t, b, finish(lease(t, b, time.Minute), "1", 0)))
	}
	leases := leaseOf(t, b, "followers", 1)
	require.Len(t, leases, 1)
	require.Len(t, leases[0].Inputs, 3)
	assert.Equal(t, "7", string(leases[0].Inputs[2].ResultData))
	assert.Equal(t, 6, number(t, b, "SELECT version FROM omniq_schema"))
}

// What is in a file of version 3 goes on in the newest one, in whatever state it is, and with lanes beside it.
func TestUpgradeOfVersion3(t *testing.T) {
	path, db := fileOf(t, 3)
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
	_, err := db.ExecContext(t.Context(), `INSERT INTO omniq_counts (queue, state, n)
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

// The tasks of a file of version 3 are a lane among those that come later, and have the first turn.
func TestUpgradeOfVersion3TakesTurns(t *testing.T) {
	path, db := fileOf(t, 3)
	for i, task := range newTasks(3) {
		envelope, err := task.AppendJSON(nil)
		require.NoError(t, err)
		_, err = db.ExecContext(t.Context(), `INSERT INTO omniq_tasks (id, name, queue, priority, due, state, attempt, since, task)
			VALUES (?, 'f', 'default', 0, ?, 1, 0, 0, ?)`, task.ID[:], i, string(envelope))
		require.NoError(t, err)
	}
	_, err := db.ExecContext(t.Context(), "INSERT INTO omniq_counts (queue, state, n) VALUES ('default', 1, 3)")
	require.NoError(t, err)
	require.NoError(t, db.Close())

	b := open(t, path)
	for _, name := range []string{"a", "b"} {
		enqueue(t, b, tasksIn(omniq.DefaultQueue, 1, inLane(name))...)
	}
	var got []string
	for range 5 {
		got = append(got, lease(t, b, time.Minute).Task.Lane)
	}
	assert.Equal(t, []string{"", "a", "b", "", ""}, got)
	assert.Equal(t, 6, number(t, b, "SELECT version FROM omniq_schema"))
}

// What waits in a file of version 5 goes on in the newest one: bodies of which some parts have ended, followers that are still to be told,
// and results that are kept as inputs.
func TestUpgradeOfVersion5(t *testing.T) {
	path, db := fileOf(t, 5)
	exec := func(q string, args ...any) {
		t.Helper()
		_, err := db.ExecContext(t.Context(), q, args...)
		require.NoError(t, err)
	}
	now := time.Now()
	parts, told, unneeded := newTasks(3), newTasks(1)[0], newTasks(1)[0]
	bodies := append(following(1, parts...), following(1, told)...)
	waiting := func(task *omniq.RawTask, state, ties int64) {
		envelope, err := task.AppendJSON(nil)
		require.NoError(t, err)
		exec(`INSERT INTO omniq_tasks (id, name, queue, priority, due, state, attempt, since, ties, task) VALUES (?, 'f', ?, 0, 0, ?, 0, 0, ?, ?)`,
			task.ID[:], task.Queue, state, ties, string(envelope))
		exec("INSERT INTO omniq_counts VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET n = n + 1", task.Queue, state)
	}
	ended := func(task *omniq.RawTask) {
		result := omniq.RawResult{TaskID: task.ID, Status: omniq.StatusSuccess, ResultData: omniq.Raw("7"), Timestamp: now, TTL: new(time.Second)}
		envelope, err := result.AppendJSON(nil)
		require.NoError(t, err)
		exec(`INSERT INTO omniq_results (id, status, name, queue, since, ties, result) VALUES (?, 3, 'f', 'default', 0, 129, ?)`, task.ID[:], string(envelope))
		exec("INSERT INTO omniq_counts VALUES ('default', 3, 1) ON CONFLICT DO UPDATE SET n = n + 1")
		exec("INSERT INTO omniq_held VALUES (?, ?, ?)", task.ID[:], now.UnixMicro(), now.UnixMicro())
	}
	ended(parts[0])
	ended(told)
	ended(unneeded)
	for _, p := range parts[1:] {
		p.Queue = omniq.DefaultQueue
		waiting(p, 1, 129)
	}
	for i, body := range bodies {
		waiting(body, 7, 2)
		for n, d := range body.After {
			exec("INSERT INTO omniq_edges (task, n, dep, need, input, ended) VALUES (?, ?, ?, 0, 1, ?)", body.ID[:], n, d.ID[:], []int{3, 0, 0}[n]*(1-i))
		}
	}
	exec("INSERT INTO omniq_fallout (id, status, name) VALUES (?, 3, 'f')", told.ID[:])
	require.NoError(t, db.Close())

	b := open(t, path)
	require.Eventually(t, func() bool {
		return number(t, b, "SELECT count(*) FROM omniq_fallout") == 0 &&
			number(t, b, "SELECT count(*) FROM omniq_results WHERE id = ? AND look IS NOT NULL", unneeded.ID[:]) == 0
	}, 20*time.Second, 10*time.Millisecond)
	whole(t, b)
	assert.Equal(t, 2, number(t, b, "SELECT open FROM omniq_waits WHERE task = ?", bodies[0].ID[:]))
	assert.Equal(t, omniq.StatusSuccess, statusOf(t, b, parts[0].ID), "it is kept for a body that waits")
	_, err := b.Result(t.Context(), unneeded.ID)
	require.ErrorIs(t, err, omniq.ErrNotFound)
	leases := leaseOf(t, b, "followers", 2)
	require.Len(t, leases, 1)
	require.Equal(t, bodies[1].ID, leases[0].TaskID)
	for range parts[1:] {
		require.NoError(t, settle(t, b, finish(lease(t, b, time.Minute), "1", 0)))
	}
	whole(t, b)
	leases = leaseOf(t, b, "followers", 2)
	require.Len(t, leases, 1)
	assert.Equal(t, bodies[0].ID, leases[0].TaskID)
	require.Len(t, leases[0].Inputs, 3)
	assert.Equal(t, "7", string(leases[0].Inputs[0].ResultData))
	assert.Equal(t, "1", string(leases[0].Inputs[2].ResultData))
}
