//go:build linux

package memory_test

import (
	"flag"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
)

var many = flag.Int("many", 20_000, "how many tasks and results benchmarks have that tell how much that costs")

// slowest reports the longest of the calls that are made until done says so: the time that passed, which says much only on
// an idle machine, and the processor's.
func slowest(b *testing.B, call func(), done func() bool) {
	b.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var worst, busiest time.Duration
	began := time.Now()
	for !done() {
		at, cpu := time.Now(), threadTime(b)
		call()
		worst, busiest = max(worst, time.Since(at)), max(busiest, threadTime(b)-cpu)
	}
	b.ReportMetric(float64(worst.Microseconds())/1000, "slowest-ms")
	b.ReportMetric(float64(busiest.Microseconds())/1000, "slowest-cpu-ms")
	b.ReportMetric(time.Since(began).Seconds(), "all-s")
}

// threadTime is how long this thread has had a processor.
func threadTime(b *testing.B) time.Duration {
	const thread = 1 // RUSAGE_THREAD
	var r syscall.Rusage
	require.NoError(b, syscall.Getrusage(thread, &r))
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// stats is a call that looks at nothing.
func stats(b *testing.B, backend *memory.Backend) omniq.QueueStats {
	b.Helper()
	all, err := backend.Stats(b.Context())
	require.NoError(b, err)
	if len(all) == 0 {
		return omniq.QueueStats{}
	}
	return all[0]
}

// BenchmarkBurst is how long a call takes at the most while -many tasks or results are due at one moment.
func BenchmarkBurst(b *testing.B) {
	fill := func(b *testing.B, change func(*omniq.RawTask)) *memory.Backend {
		backend := memory.New()
		b.Cleanup(func() { _ = backend.Close() })
		for range *many / 1000 {
			tasks := newTasks(1000)
			for _, t := range tasks {
				change(t)
			}
			enqueueBench(b, backend, tasks)
		}
		return backend
	}
	b.Run("tasks", func(b *testing.B) {
		for range b.N {
			at := time.Now().Add(time.Hour)
			backend := fill(b, func(t *omniq.RawTask) { t.RunAt = at })
			backend.Forward(time.Hour)
			slowest(b, func() { stats(b, backend) }, func() bool { return stats(b, backend).Ready == *many })
		}
	})
	b.Run("expiries", func(b *testing.B) {
		for range b.N {
			at := time.Now().Add(time.Hour)
			backend := fill(b, func(t *omniq.RawTask) { t.CreatedAt = time.Now(); t.TTL = new(time.Until(at)) })
			backend.Forward(time.Hour)
			slowest(b, func() { stats(b, backend) }, func() bool { return stats(b, backend).Expired == *many })
		}
	})
	b.Run("results", func(b *testing.B) {
		for range b.N {
			backend := fill(b, func(*omniq.RawTask) {})
			at := time.Now().Add(time.Hour)
			for range *many / 1000 {
				r := request(time.Minute, 0)
				r.Max = 1000
				leases, err := backend.Lease(b.Context(), r)
				require.NoError(b, err)
				var all []omniq.Settlement
				for _, l := range leases {
					all = append(all, finish(l, time.Until(at))...)
				}
				_, err = backend.Settle(b.Context(), all)
				require.NoError(b, err)
			}
			backend.Forward(time.Hour)
			slowest(b, func() { stats(b, backend) }, func() bool { return stats(b, backend).Succeeded == 0 })
		}
	})
}

// BenchmarkMany is how long calls take at the most while there are -many tasks and as many results.
func BenchmarkMany(b *testing.B) {
	backend := memory.New()
	defer func() { _ = backend.Close() }()
	var ids []uuid.UUID
	for range int(omniq.HistoryKept / time.Minute) { // a day of ten functions
		tasks := newTasks(10)
		for i, t := range tasks {
			t.FuncName = "f" + strconv.Itoa(i)
		}
		enqueueBench(b, backend, tasks)
		backend.Forward(time.Minute)
	}
	beat := func(id int) {
		worker := omniq.WorkerInfo{ID: strconv.Itoa(id), Names: make([]string, 50), Lease: time.Hour}
		if err := backend.Beat(b.Context(), worker); err != nil {
			b.Error(err)
		}
	}
	for id := range 100 {
		beat(id)
	}
	for range *many / 1000 {
		tasks := newTasks(1000)
		for i, t := range tasks {
			t.Priority = i % 10
			ids = append(ids, t.ID)
		}
		enqueueBench(b, backend, tasks)
	}
	enqueueBench(b, backend, []*omniq.RawTask{task(func(t *omniq.RawTask) { t.Queue = "few" })})
	list := func(r omniq.ListRequest) func() {
		return func() {
			_, next, err := backend.List(b.Context(), r)
			if err != nil {
				b.Error(err)
			}
			r.After = next
		}
	}
	for _, tt := range []struct {
		name string
		call func()
	}{
		{"List", list(omniq.ListRequest{Status: omniq.StatusPending, Max: 50})},
		{"ListOfAQueue", list(omniq.ListRequest{Status: omniq.StatusPending, Queue: "few", Max: 50})},
		{"ListOfNone", list(omniq.ListRequest{Status: omniq.StatusRunning, Max: 50})},
		{"Stats", func() { stats(b, backend) }},
		{"Beat", func() { beat(50) }},
		{"Workers", func() {
			if _, err := backend.Workers(b.Context()); err != nil {
				b.Error(err)
			}
		}},
		{"History", func() {
			if _, err := backend.History(b.Context(), omniq.HistoryKept); err != nil {
				b.Error(err)
			}
		}},
	} {
		b.Run(tt.name, func(b *testing.B) {
			n := 0
			slowest(b, tt.call, func() bool { n++; return n > b.N })
		})
	}
	b.Run("Cancel", func(b *testing.B) {
		const batch = 1000
		n := 0
		began := time.Now()
		slices.Reverse(ids)
		slowest(b, func() {
			part := ids[:min(batch, len(ids))]
			ids = ids[len(part):]
			n += len(part)
			_, err := backend.Cancel(b.Context(), part)
			require.NoError(b, err)
		}, func() bool { return n >= b.N || len(ids) == 0 })
		b.ReportMetric(float64(n)/time.Since(began).Seconds(), "tasks/s")
	})
}
