package sqlite_test

import (
	"flag"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq/backend/sqlite"
)

var many = flag.Int("many", 20_000, "how many rows benchmarks have that tell how much that costs")

// longest is the longest of some times.
type longest struct{ ns atomic.Int64 }

func (l *longest) hear(d time.Duration) {
	old := l.ns.Load()
	for int64(d) > old && !l.ns.CompareAndSwap(old, int64(d)) {
		old = l.ns.Load()
	}
}

// BenchmarkOneMoment is for how long a transaction has the file at the most, and what an enqueue of this process and of
// another one waits for, while -many tasks, leases, results, keys or events have their moment together. An operation is
// all of that.
func BenchmarkOneMoment(b *testing.B) {
	for _, c := range []struct{ kind, left string }{
		{"scheduled", "SELECT EXISTS (SELECT 1 FROM omniq_tasks WHERE wake <= ?1)"},
		{"expiring", "SELECT EXISTS (SELECT 1 FROM omniq_tasks WHERE wake <= ?1)"},
		{"running", "SELECT EXISTS (SELECT 1 FROM omniq_tasks WHERE wake <= ?1)"},
		{"results", "SELECT EXISTS (SELECT 1 FROM omniq_results WHERE expires <= ?1)"},
		{"keys", "SELECT EXISTS (SELECT 1 FROM omniq_unique WHERE until <= ?1)"},
		{"events", "SELECT EXISTS (SELECT 1 FROM omniq_events WHERE until <= ?1)"},
	} {
		b.Run(c.kind, func(b *testing.B) {
			for range b.N {
				b.StopTimer()
				clock := new(clock)
				held := new(longest)
				heard := sqlite.WithHeld(held.hear)
				here := open(b, place(b), sqlite.WithClock(clock.now), heard)
				moment := time.Now().Add(24 * time.Hour)
				fill(b, here, c.kind, 1, *many, moment)
				there := open(b, here.Path(), sqlite.WithClock(clock.now), heard)
				_, err := here.DB().ExecContext(b.Context(), "PRAGMA wal_checkpoint(TRUNCATE)") // or the first transactions do that
				require.NoError(b, err)
				held.ns.Store(0)
				b.StartTimer()
				clock.advance(25 * time.Hour)
				done := make(chan struct{})
				var all sync.WaitGroup
				for name, backend := range map[string]*sqlite.Backend{"here": here, "there": there} {
					var took []time.Duration
					all.Go(func() {
						for {
							select {
							case <-done:
								slices.Sort(took)
								b.ReportMetric(float64(took[len(took)-1].Microseconds())/1000, "slowest-"+name+"-ms")
								b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-"+name+"-ms")
								return
							case <-time.After(time.Millisecond):
							}
							began := time.Now()
							enqueue(b, backend, newTasks(1)...)
							took = append(took, time.Since(began))
						}
					})
				}
				require.Eventually(b, func() bool {
					return number(b, here, c.left, clock.now().Add(-10*time.Minute).UnixMicro()) == 0
				}, 10*time.Minute, 100*time.Millisecond)
				close(done)
				all.Wait()
				b.ReportMetric(float64(held.ns.Load())/1e6, "held-ms")
			}
		})
	}
}
