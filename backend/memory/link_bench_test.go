package memory

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
)

// BenchmarkChord is the time of one of the tasks for which another one waits, with a result of 1 KB: it is enqueued, worked and
// handed on as an input. It is the same for few and for many.
func BenchmarkChord(b *testing.B) {
	data := omniq.Raw(`"` + strings.Repeat("x", 1<<10) + `"`)
	for _, n := range []int{100, 20_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			for range b.N {
				m := New()
				parts := make([]*omniq.RawTask, n)
				for i := range parts {
					parts[i] = tied(uuid.Nil)
				}
				store(b, m, append(parts, tied(uuid.Nil, parts...))...)
				for left := n; left > 0; {
					leases, err := m.Lease(b.Context(), omniq.LeaseRequest{Queues: []string{"default"}, Max: 100, Duration: time.Hour})
					if err != nil {
						b.Fatal(err)
					}
					ends := make([]omniq.Settlement, len(leases))
					for i, l := range leases {
						ends[i] = omniq.Settlement{LeaseID: l.LeaseID, Action: omniq.ActionFinish, Result: &omniq.RawResult{
							TaskID: l.TaskID, Status: omniq.StatusSuccess, ResultData: data, TTL: new(time.Duration),
						}}
					}
					if errs, err := m.Settle(b.Context(), ends); err != nil || errs != nil {
						b.Fatal(len(errs), err)
					}
					left -= len(leases)
				}
				finish(b, m, lease(b, m), 0, nil)
				if err := m.Close(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/task")
		})
	}
}
