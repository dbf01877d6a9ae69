package memory

import (
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// After a peak of tasks with unique keys, flows and events, as much memory is held as before it, or less than twice as much.
func TestMemoryComesBack(t *testing.T) {
	const few, many = 1000, 60_000
	held := func() float64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC() // what the first one has left in pools
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc)
	}
	for _, order := range []string{"the oldest first", "the newest last"} {
		t.Run(order, func(t *testing.T) {
			none := held()
			b := New(WithEvents(time.Millisecond))
			defer func() { require.NoError(t, b.Close()) }()
			enqueue := func(n int, prefix string, priority int) {
				tasks := make([]*omniq.RawTask, n)
				for i := range tasks {
					life := time.Hour
					tasks[i] = &omniq.RawTask{
						ID: uuid.New(), FuncName: "f", CreatedAt: time.Now(), UniqueKey: prefix + strconv.Itoa(i), TTL: &life, Priority: priority,
						Flow: uuid.New(),
					}
				}
				errs, err := b.Enqueue(t.Context(), tasks)
				require.NoError(t, err)
				require.Nil(t, errs)
			}
			enqueue(few, "few ", 0)
			before := held() - none
			if order == "the oldest first" {
				enqueue(many, "many ", 0)
			} else {
				enqueue(many, "many ", 1)
			}
			peak := held() - none
			require.Greater(t, peak, 20*before)
			for range many / 1000 {
				leases, err := b.Lease(t.Context(), omniq.LeaseRequest{Queues: []string{"default"}, Max: 1000, Duration: time.Minute})
				require.NoError(t, err)
				ends, ids := make([]omniq.Settlement, len(leases)), make([]uuid.UUID, len(leases))
				for i, l := range leases {
					ids[i] = l.TaskID
					ends[i] = omniq.Settlement{LeaseID: l.LeaseID, Action: omniq.ActionFinish, Result: &omniq.RawResult{TaskID: l.TaskID, Status: omniq.StatusSuccess}}
				}
				_, err = b.Settle(t.Context(), ends)
				require.NoError(t, err)
				_, err = b.Forget(t.Context(), ids)
				require.NoError(t, err)
			}
			require.Eventually(t, func() bool { return held()-none <= 2*before }, 20*time.Second, 50*time.Millisecond,
				"%.0f kB before, %.0f kB at the peak", before/1000, peak/1000)
			stats, err := b.Stats(t.Context())
			require.NoError(t, err)
			assert.Equal(t, few, stats[0].Ready)
		})
	}
}
