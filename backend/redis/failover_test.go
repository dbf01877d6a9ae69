package redis_test

import (
	"log/slog"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/redis"
)

// A replica takes over that does not know of what was handed out last: who has that can settle nothing any more, once it is handed out
// again, though it is the same attempt of the same task.
func TestFailOver(t *testing.T) {
	t.Parallel()
	master := ownServer(t, "--repl-diskless-sync-delay", "0")
	replica := ownServer(t, "--replicaof", "127.0.0.1 "+strconv.Itoa(master.Port()))
	r := connect(t, replica.URL())
	require.Eventually(t, func() bool {
		role, err := r.Do(t.Context(), r.B().Role().Build()).ToArray()
		if err != nil || len(role) < 4 {
			return false
		}
		state, err := role[3].ToString()
		return err == nil && state == "connected"
	}, time.Minute, 5*time.Millisecond)

	before := openAt(t, master, redis.WaitReplicas(1, 10*time.Second))
	tasks := batch(2)
	errs, err := before.Enqueue(t.Context(), tasks)
	require.NoError(t, err)
	require.Nil(t, errs)
	do(t, r, "REPLICAOF", "NO", "ONE") // what the master is told from now on is lost
	lost, err := redis.Open(t.Context(), master.URL(), redis.WithLogger(slog.New(slog.DiscardHandler)))
	require.NoError(t, err)
	old := lease(t, lost, 2, time.Minute)
	require.Len(t, old, 2)
	settle(t, lost, old[:1])
	require.NoError(t, lost.Close())

	after := openAt(t, replica)
	again := lease(t, after, 2, time.Minute)
	require.Len(t, again, 2)
	for i := range again {
		require.Equal(t, old[i].TaskID, again[i].TaskID)
		require.Equal(t, old[i].Attempt, again[i].Attempt)
		errs, err := after.Settle(t.Context(), []omniq.Settlement{{LeaseID: old[i].LeaseID, Action: omniq.ActionRelease}})
		require.NoError(t, err)
		require.ErrorIs(t, errs[0], omniq.ErrLeaseLost)
	}
	settle(t, after, again)
}
