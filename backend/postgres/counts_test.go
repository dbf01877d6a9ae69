package postgres_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// Statistics are right again after rows were written or removed by hand.
func TestStatisticsHeal(t *testing.T) {
	b := open(t, place(t))
	enqueue(t, b, newTask(t), newTask(t), newTask(t), newTask(t, omniq.Queue("other")))
	finish(t, b, lease(t, b), "1", omniq.DefaultResultTTL)
	exec(t, "DELETE FROM "+b.Schema()+".tasks WHERE queue = 'default'; DELETE FROM "+b.Schema()+".results")
	stats, err := b.Stats(t.Context())
	require.NoError(t, err)
	require.Len(t, stats, 2, "they are wrong, or this shows nothing")
	for range 2 { // the second time there is nothing to do
		require.EventuallyWithT(t, func(c *assert.CollectT) { // nothing is done while the backend is at it by itself
			require.NoError(c, b.Correct(t.Context()))
			stats, err := b.Stats(t.Context())
			require.NoError(c, err)
			require.Len(c, stats, 1)
			require.Equal(c, "other", stats[0].Queue)
			require.Equal(c, 1, stats[0].Ready)
		}, 30*time.Second, 20*time.Millisecond)
	}
}

// Where it is seen that the statistics are wrong, they are corrected soon.
func TestStatisticsHealByThemselves(t *testing.T) {
	b := open(t, place(t))
	enqueue(t, b, newTask(t))
	exec(t, "DELETE FROM "+b.Schema()+".tasks")
	require.Eventually(t, func() bool {
		stats, err := b.Stats(t.Context())
		require.NoError(t, err)
		return len(stats) == 0
	}, 30*time.Second, 20*time.Millisecond)
}
