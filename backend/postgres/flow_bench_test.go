package postgres_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/postgres"
)

var members = flag.Int("members", 20_000, "how many tasks BenchmarkChord has beside those that wait for them")

// BenchmarkChord measures what it costs that tasks wait for others: four goroutines lease and settle 100 tasks at a time, for which
// nobody waits, or one task, or 200.
func BenchmarkChord(b *testing.B) {
	_, err := start()
	require.NoError(b, err)
	for _, chords := range []int{0, 1, 200} {
		b.Run(fmt.Sprintf("chords=%d", chords), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				backend := openBench(b)
				b.StartTimer()
				began := time.Now()
				enqueueChords(b, backend, chords)
				enqueued := time.Since(began)
				began = time.Now()
				workAll(b, backend, *members+chords)
				worked := time.Since(began)
				b.StopTimer()
				b.ReportMetric(float64(*members)/enqueued.Seconds(), "enqueued/s")
				b.ReportMetric(float64(*members)/worked.Seconds(), "worked/s")
				require.NoError(b, backend.Close())
				b.StartTimer()
			}
		})
	}
}

func openBench(b *testing.B) *postgres.Backend {
	b.Helper()
	schema := fmt.Sprintf("bench_chord_%d_%d", os.Getpid(), server.last.Add(1))
	backend, err := postgres.Open(context.Background(), server.url, postgres.WithSchema(schema))
	require.NoError(b, err)
	return backend
}

func enqueueChords(b *testing.B, backend *postgres.Backend, chords int) {
	b.Helper()
	list := make([]*omniq.RawTask, *members)
	for i := range list {
		task, err := omniq.NewTask("f", omniq.Raw("[]"), omniq.Raw("{}"))
		require.NoError(b, err)
		list[i] = &task
	}
	if chords == 0 {
		for i := 0; i < len(list); i += 1000 {
			_, err := backend.Enqueue(context.Background(), list[i:min(i+1000, len(list))])
			require.NoError(b, err)
		}
		return
	}
	flow := uuid.New()
	for _, task := range list {
		task.Flow = flow
	}
	for i := range chords {
		task, err := omniq.NewTask("f", omniq.Raw("[]"), omniq.Raw("{}"))
		require.NoError(b, err)
		task.Flow = flow
		for n := i; n < *members; n += chords {
			task.After = append(task.After, omniq.Dependency{ID: list[n].ID})
		}
		list = append(list, &task)
	}
	_, err := backend.Enqueue(context.Background(), list)
	require.NoError(b, err)
}

// workAll leases and settles n tasks.
func workAll(b *testing.B, backend *postgres.Backend, n int) {
	b.Helper()
	var done atomic.Int64
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			for done.Load() < int64(n) {
				leases, err := backend.Lease(context.Background(), omniq.LeaseRequest{
					Queues: anyTask.Queues, Max: 100, Duration: time.Minute, Wait: 20 * time.Millisecond, WorkerID: "w",
				})
				if err != nil {
					b.Error(err)
					return
				}
				list := make([]omniq.Settlement, len(leases))
				for i, l := range leases {
					keep := time.Hour
					list[i] = omniq.Settlement{LeaseID: l.LeaseID, Action: omniq.ActionFinish, Result: &omniq.RawResult{
						TaskID: l.TaskID, Status: omniq.StatusSuccess, ResultData: omniq.Raw("1"), Timestamp: time.Now().UTC(), TTL: &keep,
						Attempts: l.Attempt,
					}}
				}
				errs, err := backend.Settle(context.Background(), list)
				if err != nil || errs != nil {
					b.Error(err, errs)
					return
				}
				done.Add(int64(len(list)))
			}
		})
	}
	workers.Wait()
}
