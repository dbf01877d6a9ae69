package sqlite_test

import (
	"database/sql"
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

// What is in a file of version 2 goes on in the newest one, with tasks that are tied to it.
func TestUpgradeOfVersion2(t *testing.T) {
	path := place(t)
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	for _, name := range []string{"migrations/0001.sql", "migrations/0002.sql"} {
		script, err := os.ReadFile(name)
		require.NoError(t, err)
		_, err = db.ExecContext(t.Context(), string(script))
		require.NoError(t, err)
	}
	_, err = db.ExecContext(t.Context(), "CREATE TABLE omniq_schema (version INTEGER NOT NULL) STRICT; INSERT INTO omniq_schema VALUES (2)")
	require.NoError(t, err)
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
	assert.Equal(t, 4, number(t, b, "SELECT version FROM omniq_schema"))
}
