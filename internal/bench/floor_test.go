package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// floors are the stores that say what the contract costs by hand.
var floors = map[string]func(ctx context.Context, o opening) (floorStore, error){
	sqliteEngine.name: openFloorSQLite, postgresEngine.name: openFloorPostgres, redisEngine.name: openFloorRedis,
}

// What stands in the table as the contract by hand keeps what that row says of it.
func TestFloor(t *testing.T) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			skipWithout(t, e)
			dir := open(t)
			s := settings{dir: dir, synchronous: "full", appendfsync: "everysec"}
			_, url, end, err := e.begin(t.Context(), s)
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, end()) })
			store, err := floors[e.name](t.Context(), opening{place: e.place(s, "floor"), url: url, synchronous: s.synchronous})
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, store.close()) })
			keepsTheContract(t, store)
		})
	}
}

func keepsTheContract(t *testing.T, s floorStore) {
	ctx := t.Context()
	now := time.Now()
	counts := func(pending, running, done int) {
		t.Helper()
		got, err := s.counts(ctx)
		require.NoError(t, err)
		want := map[int]int{handPending: pending, handRunning: running, handDone: done}
		for state, n := range want {
			require.Equal(t, n, got[state], "state %d", state)
		}
		left, err := s.left(ctx)
		require.NoError(t, err)
		require.Equal(t, pending+running, left)
	}
	lease := func(most int, lasts time.Duration, want ...uuid.UUID) handLease {
		t.Helper()
		l, err := s.lease(ctx, most, lasts)
		require.NoError(t, err)
		require.ElementsMatch(t, want, l.ids)
		require.Len(t, l.args, len(l.ids))
		return l
	}
	task := func(priority int, due time.Time) handTask {
		return handTask{uuid.Must(uuid.NewV7()), "[7]", priority, due}
	}
	tasks := []handTask{
		task(0, now.Add(-time.Second)), task(0, now.Add(-2*time.Second)), task(9, now.Add(-time.Second)), task(99, now.Add(time.Hour)),
		task(-9, now),
	}
	usual, earlier, urgent, later, last := tasks[0].id, tasks[1].id, tasks[2].id, tasks[3].id, tasks[4].id
	enqueue := func(want int, tasks ...handTask) {
		t.Helper()
		n, err := s.enqueue(ctx, tasks)
		require.NoError(t, err)
		require.Equal(t, want, n)
	}
	state := func(id uuid.UUID, want int) {
		t.Helper()
		got, err := s.result(ctx, id)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}

	enqueue(5, tasks...)
	counts(5, 0, 0)
	enqueue(1, append(tasks, task(-99, now.Add(time.Hour)))...) // all but one are there
	counts(6, 0, 0)
	state(urgent, handPending)

	l := lease(1, time.Minute, urgent)
	assert.Equal(t, []string{"[7]"}, l.args)
	counts(5, 1, 0)
	state(urgent, handRunning)
	settle := func(l handLease, want int) {
		t.Helper()
		n, err := s.settle(ctx, l)
		require.NoError(t, err)
		require.Equal(t, want, n)
	}
	settle(handLease{token: l.token + 1, ids: l.ids}, 0)
	counts(5, 1, 0)
	settle(l, 1)
	settle(l, 0)
	counts(5, 0, 1)
	state(urgent, handDone)
	enqueue(0, tasks[2]) // its result is kept
	counts(5, 0, 1)

	// A lease that has ended settles nothing, and its task is handed out again.
	lost := lease(1, -time.Second, earlier)
	counts(4, 1, 1)
	settle(lost, 0)
	l = lease(10, time.Minute, usual, earlier, last)
	counts(2, 3, 1)
	settle(lost, 0)
	settle(l, 3)
	counts(2, 0, 4)
	lease(10, time.Minute)
	state(later, handPending)
	_, err := s.result(ctx, uuid.New())
	require.Error(t, err)
}

// open returns a directory that is open to the user of a server, as the test's own is not.
func open(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o755))
	dir, err = filepath.Abs(dir)
	require.NoError(t, err)
	return dir
}
