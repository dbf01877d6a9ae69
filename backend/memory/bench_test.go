package memory_test

import (
	"testing"
	"time"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
)

var batches = []struct {
	name string
	size int
}{{"1", 1}, {"100", 100}}

func newTasks(n int) []*omniq.RawTask {
	tasks := make([]*omniq.RawTask, n)
	for i := range tasks {
		tasks[i] = task()
	}
	return tasks
}

func enqueueBench(b *testing.B, backend omniq.Backend, tasks []*omniq.RawTask) {
	b.Helper()
	if errs, err := backend.Enqueue(b.Context(), tasks); err != nil || errs != nil {
		b.Error(errs, err)
	}
}

// leaseAndSettle leases and settles n tasks at the most, and returns how many there were.
func leaseAndSettle(b *testing.B, backend omniq.Backend, n int) int {
	b.Helper()
	r := request(time.Minute, 0)
	r.Max = n
	leases, err := backend.Lease(b.Context(), r)
	if err != nil {
		b.Error(err)
	}
	settlements := make([]omniq.Settlement, 0, len(leases))
	for _, l := range leases {
		settlements = append(settlements, finish(l, 0)...)
	}
	if errs, err := backend.Settle(b.Context(), settlements); err != nil || errs != nil {
		b.Error(errs, err)
	}
	return len(leases)
}

// BenchmarkEnqueue is the time of a task. The tasks are made outside of it.
func BenchmarkEnqueue(b *testing.B) {
	for _, batch := range batches {
		b.Run(batch.name, func(b *testing.B) {
			backend := memory.New()
			defer func() { _ = backend.Close() }()
			tasks := newTasks(b.N)
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; n += batch.size {
				enqueueBench(b, backend, tasks[n:min(n+batch.size, b.N)])
			}
		})
	}
}

// BenchmarkLeaseSettle is the time of a task of b.N that are queued.
func BenchmarkLeaseSettle(b *testing.B) {
	for _, batch := range batches {
		b.Run(batch.name, func(b *testing.B) {
			backend := memory.New()
			defer func() { _ = backend.Close() }()
			enqueueBench(b, backend, newTasks(b.N))
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; {
				got := leaseAndSettle(b, backend, batch.size)
				if got == 0 {
					b.Fatal("tasks are missing")
				}
				n += got
			}
		})
	}
}

// BenchmarkCycle enqueues, leases and settles b.N tasks.
func BenchmarkCycle(b *testing.B) {
	for _, batch := range batches {
		b.Run(batch.name, func(b *testing.B) {
			backend := memory.New()
			defer func() { _ = backend.Close() }()
			b.ReportAllocs()
			for n := 0; n < b.N; n += batch.size {
				enqueueBench(b, backend, newTasks(batch.size))
				if got := leaseAndSettle(b, backend, batch.size); got != batch.size {
					b.Fatal("tasks are missing:", got)
				}
			}
		})
	}
}

// BenchmarkContended is BenchmarkCycle of one task by goroutines that meet in one queue.
func BenchmarkContended(b *testing.B) {
	backend := memory.New()
	defer func() { _ = backend.Close() }()
	b.ReportAllocs()
	b.SetParallelism(4)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			enqueueBench(b, backend, newTasks(1))
			leaseAndSettle(b, backend, 1)
		}
	})
}
