package sqlite_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/sqlite"
)

// BenchmarkList is the time of a page of 50 among -many tasks and as many results, of queues that have many, some and
// none, and of what else a monitor asks for.
func BenchmarkList(b *testing.B) {
	backend := open(b, place(b))
	mix(b, backend, *many)
	for _, status := range omniq.Statuses() {
		for _, queue := range []string{"", "bulk", "rare", "none"} {
			b.Run(status.String()+"/"+queue, func(b *testing.B) {
				request := omniq.ListRequest{Status: status, Queue: queue, Max: 50}
				for _, place := range []string{"first", "middle"} {
					b.Run(place, func(b *testing.B) {
						request.After = ""
						if place == "middle" {
							request.After = strconv.Itoa(*many / 2)
						}
						slowest(b, func() error { _, _, err := backend.List(b.Context(), request); return err })
					})
				}
			})
		}
	}
	for name, request := range map[string]omniq.ListRequest{
		"newest":            {Newest: true},
		"of no function":    {Name: "none"},
		"of no worker":      {Worker: "none"},
		"with no text":      {Contains: "none of them"},
		"newest, no text":   {Contains: "none of them", Newest: true},
		"rare, with text":   {Contains: "some text", Queue: "rare"},
		"running of nobody": {Worker: "none", Queue: "none"},
	} {
		for _, request.Status = range omniq.Statuses() {
			request.Max, request.After = 50, ""
			b.Run(request.Status.String()+"/"+name, func(b *testing.B) {
				slowest(b, func() (err error) {
					_, request.After, err = backend.List(b.Context(), request)
					return err
				})
			})
		}
	}
	b.Run("Stats", func(b *testing.B) {
		slowest(b, func() error { _, err := backend.Stats(b.Context()); return err })
	})
	beat := func(id int) error {
		return backend.Beat(b.Context(), omniq.WorkerInfo{ID: strconv.Itoa(id), Names: make([]string, 50), Lease: time.Hour})
	}
	for id := range 100 {
		require.NoError(b, beat(id))
	}
	b.Run("Beat", func(b *testing.B) { slowest(b, func() error { return beat(50) }) })
	b.Run("Workers", func(b *testing.B) {
		slowest(b, func() error { _, err := backend.Workers(b.Context()); return err })
	})
	b.Run("History", func(b *testing.B) { // a day of ten functions
		_, err := backend.DB().ExecContext(b.Context(), `WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 14399)
			INSERT OR REPLACE INTO omniq_history SELECT (unixepoch() / 60 - i / 10) * 60000000, 'q', 'f' || (i % 10), 1, 1, 1, 0, 0, 0, 0, 5, 5 FROM n`)
		require.NoError(b, err)
		for _, last := range []time.Duration{time.Minute, time.Hour, omniq.HistoryKept} {
			b.Run(last.String(), func(b *testing.B) {
				slowest(b, func() error { _, err := backend.History(b.Context(), last); return err })
			})
		}
	})
}

// slowest calls something b.N times, and reports how long the slowest call took.
func slowest(b *testing.B, call func() error) {
	b.Helper()
	var most time.Duration
	for range b.N {
		began := time.Now()
		require.NoError(b, call())
		most = max(most, time.Since(began))
	}
	b.ReportMetric(float64(most.Microseconds())/1000, "slowest-ms")
}

// mix fills a file with about n tasks and n results in all states, and at the end ten of queue "rare" in each.
func mix(tb testing.TB, b *sqlite.Backend, n int) {
	tb.Helper()
	later := time.Now().Add(24 * time.Hour)
	fill(tb, b, "ready", 1, n/4, later)
	fill(tb, b, "running", 1+n/4, min(n/100, 1000), later)
	fill(tb, b, "scheduled", 1+n/2, n/2, later)
	fill(tb, b, "expiring", 1+n, n/4, later)
	fill(tb, b, "results", 1+2*n, n*8/10, later)
	fill(tb, b, "failures", 1+3*n, n*2/10, later)
	for _, kind := range []string{"waiting", "edges", "members", "held", "items", "notes"} {
		fill(tb, b, kind, 1+4*n, n/4, later)
	}
	rare := func(with func(*omniq.RawTask)) []uuid.UUID {
		tasks := tasksIn("rare", 10, with)
		enqueue(tb, b, tasks...)
		return ids(tasks...)
	}
	_ = rare(func(t *omniq.RawTask) { t.TTL = new(time.Duration) })
	_, err := b.Cancel(tb.Context(), rare(func(*omniq.RawTask) {}))
	require.NoError(tb, err)
	rare(func(*omniq.RawTask) {})
	for i, l := range leaseOf(tb, b, "rare", 10) {
		s := finish(l, "1", time.Hour)
		if i < 5 {
			s.Result.Status, s.Result.Error = omniq.StatusFailure, &omniq.TaskError{Message: "no"}
		}
		require.NoError(tb, settle(tb, b, s))
	}
	rare(func(*omniq.RawTask) {})
	require.Len(tb, leaseOf(tb, b, "rare", 10), 10)
	rare(func(*omniq.RawTask) {})
	rare(func(t *omniq.RawTask) { t.Delay = time.Hour })
}
