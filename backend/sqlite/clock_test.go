package sqlite_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/sqlite"
)

// What is counted from a moment on goes by the backend's clock alone, however far that is from the program's.
func TestSkewedClock(t *testing.T) {
	for name, skew := range map[string]time.Duration{"ahead": 5 * time.Minute, "behind": -5 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			c := new(clock)
			c.advance(skew)
			b := open(t, place(t), sqlite.WithClock(c.now))
			life, wait := 2*time.Minute, time.Minute
			task := tasksIn("q", 1, func(t *omniq.RawTask) { t.TTL, t.Delay = &life, wait })[0]
			enqueue(t, b, task)
			assert.Empty(t, leaseOf(t, b, "q", 1), "it is due in a minute")
			c.advance(wait)
			leases := leaseOf(t, b, "q", 1)
			require.Len(t, leases, 1)
			require.NoError(t, settle(t, b, omniq.Settlement{LeaseID: leases[0].LeaseID, Action: omniq.ActionRetry, Delay: 30 * time.Second}))
			assert.Empty(t, leaseOf(t, b, "q", 1), "it is due in half a minute")
			c.advance(30 * time.Second)
			require.Len(t, leaseOf(t, b, "q", 1), 1)
			c.advance(2 * time.Minute)
			r, err := b.Result(t.Context(), task.ID)
			require.NoError(t, err)
			assert.Equal(t, omniq.StatusExpired, r.Status)
			errs, err := b.Requeue(t.Context(), ids(task), false)
			require.NoError(t, err)
			require.Nil(t, errs)
			c.advance(wait)
			require.Len(t, leaseOf(t, b, "q", 1), 1, "all of its TTL was left")
		})
	}
}

// A waiting Lease gets in time what is due, by a clock that is not the program's.
func TestSkewedClockWakes(t *testing.T) {
	for name, skew := range map[string]time.Duration{"ahead": 5 * time.Minute, "behind": -5 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			c := new(clock)
			c.advance(skew)
			b := open(t, place(t), sqlite.WithClock(c.now))
			task := newTasks(1)[0]
			task.Delay = 50 * time.Millisecond
			enqueue(t, b, task)
			began := time.Now()
			assert.Equal(t, task.ID, lease(t, b, time.Minute).TaskID)
			assert.Less(t, time.Since(began), 30*time.Second, "not as late as the clock is")
		})
	}
}
