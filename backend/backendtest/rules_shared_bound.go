package backendtest

import (
	"strings"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// sharedBoundRules say what holds of limits and lanes between two backends on one store.
var sharedBoundRules = []sharedRule{
	{name: "a limit that one sets holds for both together, and the place that one frees is the other's", needs: bounds,
		check: func(one, other *checker) {
			one.bound(omniq.DefaultQueue, omniq.Limit{Running: 1})
			one.enqueue(task(), task(), task(), task())
			l := one.leaseOne()
			other.none()
			w := other.leasing()
			other.blocks(w.done, "Lease")
			require.NoError(one, one.settle(success(l, "1", long)))
			l = other.leased(w)
			one.none()
			w = one.leasing()
			one.blocks(w.done, "Lease")
			require.NoError(one, one.cancel(l.TaskID))
			one.leased(w)
			w = one.leasing()
			one.blocks(w.done, "Lease")
			other.bound(omniq.DefaultQueue, omniq.Limit{Running: 2})
			one.leased(w)
			other.none()
			assert.Equal(one, omniq.Limit{Running: 2}, one.stats()[0].Limit)
		}},
	{name: "a rate that one has used up and a lane that one holds back are so for the other", needs: bounds,
		check: func(one, other *checker) {
			one.bound("rate", omniq.Limit{Rate: omniq.PerHour(1)})
			one.enqueue(task(queue("rate")), task(queue("rate")))
			one.leaseOne(from("rate"))
			other.none(from("rate"))
			one.inTime(func(d time.Duration, q string) bool {
				one.enqueue(task(queue(q), lane("a")), task(queue(q), lane("b")))
				l := one.leaseOne(from(q))
				began := time.Now()
				require.NoError(one, one.settle(omniq.Settlement{LeaseID: l.LeaseID, Action: omniq.ActionRelease, Hold: d}))
				assert.NotEqual(other, l.Task.Lane, other.leaseOne(from(q)).Task.Lane)
				if !other.noneUntil(began.Add(d), q) {
					return false
				}
				assert.Equal(other, l.TaskID, other.leased(other.leasing(from(q))).TaskID)
				return true
			})
		}},
	{name: "lanes take turns, whoever of both hands out", needs: bounds, check: func(one, other *checker) {
		for range 3 {
			one.enqueue(task(lane("a")), task(lane("a")), task(lane("b")))
		}
		var got strings.Builder
		for _, c := range []*checker{one, other, other, one, one, one, other, one, one} {
			got.WriteString(c.leaseOne().Task.Lane)
		}
		assert.Equal(one, "abababaaa", got.String())
	}},
}
