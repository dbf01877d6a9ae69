package sqlite_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/omniq-go/omniq"
)

// BenchmarkLimits is the time of a task of b.N that are leased and settled, a hundred in a call.
func BenchmarkLimits(b *testing.B) {
	for _, c := range []struct {
		name  string
		limit omniq.Limit
		lanes int
	}{
		{name: "none"},
		{name: "limit", limit: omniq.Limit{Running: omniq.MaxLimit, Rate: omniq.Rate{Tasks: 1_000_000, Per: time.Second, Burst: omniq.MaxLimit}}},
		{name: "lanes=10", lanes: 10},
		{name: "lanes=10000", lanes: 10_000},
	} {
		b.Run(c.name, func(b *testing.B) {
			backend := open(b, place(b))
			if err := backend.SetLimit(b.Context(), omniq.DefaultQueue, c.limit); err != nil {
				b.Fatal(err)
			}
			tasks := newTasks(b.N)
			for i, t := range tasks {
				if c.lanes > 0 {
					t.Lane = strconv.Itoa(i % c.lanes)
				}
			}
			enqueue(b, backend, tasks...)
			b.ResetTimer()
			for n := 0; n < b.N; {
				got := leaseAndSettle(b, backend, 100)
				if got == 0 {
					b.Fatal("tasks are missing")
				}
				n += got
			}
		})
	}
}

// BenchmarkLanesBesideALargeOne is how long it takes until all tasks of 2,000 lanes of five are leased and settled, which have
// come after 100,000 of one.
func BenchmarkLanesBesideALargeOne(b *testing.B) {
	const large, small, each = 100_000, 2000, 5
	for range b.N {
		b.StopTimer()
		backend := open(b, place(b))
		enqueue(b, backend, tasksIn(omniq.DefaultQueue, large, inLane("large"))...)
		tasks := newTasks(small * each)
		for i, t := range tasks {
			t.Lane = strconv.Itoa(i % small)
		}
		enqueue(b, backend, tasks...)
		b.StartTimer()
		for left := len(tasks); left > 0; {
			leases, err := backend.Lease(b.Context(), omniq.LeaseRequest{
				Queues: []string{omniq.DefaultQueue}, Max: 100, Duration: time.Minute, WorkerID: "w",
			})
			if err != nil || len(leases) == 0 {
				b.Fatal(len(leases), err)
			}
			settlements := make([]omniq.Settlement, len(leases))
			for i, l := range leases {
				if settlements[i] = finish(l, "1", time.Hour); l.Task.Lane != "large" {
					left--
				}
			}
			if errs, err := backend.Settle(b.Context(), settlements); err != nil || errs != nil {
				b.Fatal(errs, err)
			}
		}
	}
}
