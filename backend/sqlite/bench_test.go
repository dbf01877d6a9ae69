package sqlite_test

import (
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
)

func newTasks(n int) []*omniq.RawTask {
	tasks := make([]*omniq.RawTask, n)
	for i := range tasks {
		id, err := uuid.NewV7()
		if err != nil {
			panic(err)
		}
		tasks[i] = &omniq.RawTask{
			ID: id, FuncName: "f", Args: omniq.Raw(`["some text",42]`), Kwargs: omniq.Raw("{}"), CreatedAt: time.Now().UTC(),
		}
	}
	return tasks
}

func enqueue(tb testing.TB, b omniq.Backend, tasks ...*omniq.RawTask) {
	tb.Helper()
	if errs, err := b.Enqueue(tb.Context(), tasks); err != nil || errs != nil {
		tb.Error(errs, err)
	}
}

// leaseAndSettle leases and settles n tasks at the most, and returns how many there were.
func leaseAndSettle(tb testing.TB, b omniq.Backend, n int) int {
	tb.Helper()
	leases, err := b.Lease(tb.Context(), omniq.LeaseRequest{
		Queues: []string{omniq.DefaultQueue}, Max: n, Duration: time.Minute, WorkerID: "w",
	})
	if err != nil {
		tb.Error(err)
	}
	settlements := make([]omniq.Settlement, len(leases))
	keep := time.Hour
	for i, l := range leases {
		settlements[i] = omniq.Settlement{LeaseID: l.LeaseID, Action: omniq.ActionFinish, Result: &omniq.RawResult{
			TaskID: l.TaskID, Status: omniq.StatusSuccess, ResultData: omniq.Raw("42"), Timestamp: time.Now().UTC(), TTL: &keep,
			Attempts: l.Attempt,
		}}
	}
	if errs, err := b.Settle(tb.Context(), settlements); err != nil || errs != nil {
		tb.Error(errs, err)
	}
	return len(leases)
}

// BenchmarkEnqueue is the time of a task, of one goroutine. The tasks are made outside of it.
func BenchmarkEnqueue(b *testing.B) {
	for _, size := range []int{1, 100} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			backend := open(b, place(b))
			tasks := newTasks(b.N)
			b.ResetTimer()
			for n := 0; n < b.N; n += size {
				enqueue(b, backend, tasks[n:min(n+size, b.N)]...)
			}
		})
	}
}

// BenchmarkEnqueueTogether is the time of a task, of 64 goroutines that each enqueue one at a time.
func BenchmarkEnqueueTogether(b *testing.B) {
	backend := open(b, place(b))
	tasks := newTasks(b.N)
	b.ResetTimer()
	var next atomic.Int64
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			for i := next.Add(1) - 1; i < int64(b.N); i = next.Add(1) - 1 {
				enqueue(b, backend, tasks[i])
			}
		})
	}
	all.Wait()
}

// BenchmarkLeaseSettle is the time of a task of b.N that are queued.
func BenchmarkLeaseSettle(b *testing.B) {
	for _, size := range []int{1, 100} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			backend := open(b, place(b))
			enqueue(b, backend, newTasks(b.N)...)
			b.ResetTimer()
			for n := 0; n < b.N; {
				got := leaseAndSettle(b, backend, size)
				if got == 0 {
					b.Fatal("tasks are missing")
				}
				n += got
			}
		})
	}
}

// BenchmarkResult is the time of reading a result.
func BenchmarkResult(b *testing.B) {
	backend := open(b, place(b))
	tasks := newTasks(1000)
	enqueue(b, backend, tasks...)
	for more := true; more; {
		more = leaseAndSettle(b, backend, 100) > 0
	}
	b.ResetTimer()
	for i := range b.N {
		if _, err := backend.Result(b.Context(), tasks[i%len(tasks)].ID); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkStart is the time of a call that starts an attempt that was taken ahead.
func BenchmarkStart(b *testing.B) {
	backend := open(b, place(b))
	enqueue(b, backend, newTasks(b.N)...)
	leases, err := backend.Lease(b.Context(), omniq.LeaseRequest{
		Queues: []string{omniq.DefaultQueue}, Max: b.N, Ahead: b.N, Duration: time.Hour, WorkerID: "w",
	})
	if err != nil || len(leases) != b.N {
		b.Fatal(len(leases), err)
	}
	b.ResetTimer()
	for _, l := range leases {
		if errs, err := backend.Start(b.Context(), []omniq.LeaseID{l.LeaseID}); err != nil || errs != nil {
			b.Fatal(errs, err)
		}
	}
}

// BenchmarkCancel is the time of a task of b.N that are cancelled, a thousand in a call.
func BenchmarkCancel(b *testing.B) {
	backend := open(b, place(b))
	tasks := newTasks(b.N)
	enqueue(b, backend, tasks...)
	b.ResetTimer()
	for n := 0; n < b.N; n += 1000 {
		if errs, err := backend.Cancel(b.Context(), ids(tasks[n:min(n+1000, b.N)]...)); err != nil || errs != nil {
			b.Fatal(errs, err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tasks/s")
}
