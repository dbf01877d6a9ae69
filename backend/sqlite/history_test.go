package sqlite_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// Times that are more together than can be told do not keep tasks from being handed out and settled.
func TestHistoryIsFull(t *testing.T) {
	b := open(t, place(t))
	const n = 2000
	tasks := newTasks(n)
	enqueue(t, b, tasks...)
	_, err := b.DB().ExecContext(t.Context(), "UPDATE omniq_history SET wait = ?, run = ?", math.MaxInt64-1, math.MaxInt64-1)
	require.NoError(t, err)
	var list []omniq.Settlement
	for _, l := range leaseOf(t, b, omniq.DefaultQueue, n) {
		list = append(list, omniq.Settlement{LeaseID: l.LeaseID, Action: omniq.ActionRetry, Delay: time.Hour, Took: math.MaxInt64})
	}
	require.Len(t, list, n)
	errs, err := b.Settle(t.Context(), list)
	require.NoError(t, err)
	require.Nil(t, errs)
	minutes, err := b.History(t.Context(), time.Hour)
	require.NoError(t, err)
	for _, m := range minutes {
		assert.GreaterOrEqual(t, m.Wait, 100*365*24*time.Hour)
		assert.GreaterOrEqual(t, m.Run, 100*365*24*time.Hour)
	}
}
