package memory_test

import (
	"testing"
	"time"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
)

// BenchmarkCycle enqueues, leases, settles and reads the result of b.N tasks.
func BenchmarkCycle(b *testing.B) {
	for _, bb := range []struct {
		name  string
		batch int
	}{{"1", 1}, {"100", 100}} {
		b.Run(bb.name, func(b *testing.B) {
			backend := memory.New()
			defer func() { _ = backend.Close() }()
			ctx := b.Context()
			r := request(time.Minute, 0)
			r.Max = bb.batch
			b.ReportAllocs()
			for n := 0; n < b.N; n += bb.batch {
				tasks := make([]*omniq.RawTask, bb.batch)
				for i := range tasks {
					tasks[i] = task()
				}
				if _, err := backend.Enqueue(ctx, tasks); err != nil {
					b.Fatal(err)
				}
				leases, err := backend.Lease(ctx, r)
				if err != nil || len(leases) != bb.batch {
					b.Fatal(len(leases), err)
				}
				var settlements []omniq.Settlement
				for _, l := range leases {
					settlements = append(settlements, finish(l, time.Millisecond)...)
				}
				if _, err := backend.Settle(ctx, settlements); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
