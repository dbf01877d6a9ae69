package omniq_test

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
)

// A hundred tasks are enqueued, leased and settled by the calls of a backend: bare, by a route over it, and by one over two, with the
// tasks in both.
func BenchmarkRoute(b *testing.B) {
	over := func(names ...string) func(b *testing.B) omniq.Backend {
		return func(b *testing.B) omniq.Backend {
			backends := make(map[string]omniq.Backend)
			for _, name := range names {
				backends[name] = memory.New()
			}
			r, err := omniq.Route(backends, byPrefix)
			if err != nil {
				b.Fatal(err)
			}
			return r
		}
	}
	for _, c := range []struct {
		name   string
		open   func(b *testing.B) omniq.Backend
		queues []string
	}{
		{"bare", func(*testing.B) omniq.Backend { return memory.New() }, []string{"one-a", "one-b"}},
		{"over one", over("one"), []string{"one-a", "one-b"}},
		{"over two, in one", over("one", "two"), []string{"one-a", "one-b"}},
		{"over two", over("one", "two"), []string{"one-a", "two-b"}},
	} {
		b.Run(c.name, func(b *testing.B) {
			queues := c.queues
			backend := c.open(b)
			defer func() { _ = backend.Close() }()
			ctx, ttl := b.Context(), time.Duration(0)
			tasks := make([]*omniq.RawTask, 100)
			request := omniq.LeaseRequest{Queues: queues, Max: len(tasks), Duration: time.Minute, WorkerID: "w"}
			b.ReportAllocs()
			for b.Loop() {
				for i := range tasks {
					tasks[i] = &omniq.RawTask{
						ID: uuid.Must(uuid.NewV7()), FuncName: "f", Args: omniq.Raw("[]"), Kwargs: omniq.Raw("{}"), CreatedAt: time.Now(),
						Queue: queues[i%2], ResultTTL: &ttl,
					}
				}
				if _, err := backend.Enqueue(ctx, tasks); err != nil {
					b.Fatal(err)
				}
				leases, err := backend.Lease(ctx, request)
				if err != nil || len(leases) != len(tasks) {
					b.Fatal(len(leases), err)
				}
				settlements := make([]omniq.Settlement, len(leases))
				for i := range leases {
					settlements[i] = omniq.Settlement{LeaseID: leases[i].LeaseID, Action: omniq.ActionFinish, Result: &omniq.RawResult{
						TaskID: leases[i].TaskID, Status: omniq.StatusSuccess, ResultData: omniq.Raw("1"), Timestamp: time.Now(), TTL: &ttl,
					}}
				}
				if _, err := backend.Settle(ctx, settlements); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
