package postgres_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/postgres"
)

// fillTables stores -rows scheduled tasks, as many results and 300 running tasks, and does not analyze them.
func fillTables(b *testing.B, backend *postgres.Backend) {
	b.Helper()
	c, err := pgx.Connect(context.Background(), server.url)
	require.NoError(b, err)
	defer func() { require.NoError(b, c.Close(context.Background())) }()
	later, never := "now() + interval '1 day'", "NULL::timestamptz"
	for _, sql := range []string{
		fill(backend, someTasks, "$DUE", later, "$WAKE", later, "$DEADLINE", never, "$STATE", "0"),
		strings.ReplaceAll(fill(backend, someTasks, "$DUE", "now()", "$WAKE", later, "$DEADLINE", never, "$STATE", "2", "'mass'", "'few'", `"mass"`, `"few"`),
			fmt.Sprintf("generate_series(1, %d)", *rows), "generate_series(1, 300)"),
		fill(backend, someResults, "$EXPIRES", later, "$STATUS", "3"),
		fill(backend, someResults, "$EXPIRES", later, "$STATUS", "4"),
		fill(backend, "UPDATE {s}.tasks SET flow = '00000000-0000-0000-0000-000000000001' WHERE state = 0 AND id < '40000000-0000-0000-0000-000000000000'; UPDATE {s}.results SET flow = '00000000-0000-0000-0000-000000000001' WHERE status = 4 AND id < '40000000-0000-0000-0000-000000000000'"),
	} {
		_, err := c.PgConn().Exec(context.Background(), sql).ReadAll()
		require.NoError(b, err)
	}
}

// BenchmarkList measures pages of 50 from a database that nobody has analyzed yet: the first one and one in the middle, of
// all queues, of one that has all and of one that has next to none.
func BenchmarkList(b *testing.B) {
	_, err := start()
	require.NoError(b, err)
	schema := fmt.Sprintf("bench_list_%d", server.last.Add(1))
	backend, err := postgres.Open(context.Background(), server.url, postgres.WithSchema(schema))
	require.NoError(b, err)
	defer func() { require.NoError(b, backend.Close()) }()
	fillTables(b, backend)
	middle := func(status omniq.Status) string {
		place := uuid.UUID{0x80}.String()
		if status.Final() && status != omniq.StatusSuccess { // they are in the order of the time, which is one here
			place = strconv.FormatInt(time.Now().UnixMicro(), 10) + "." + place
		}
		return place
	}
	for _, status := range omniq.Statuses() {
		for _, queue := range []string{"", "mass", "few"} {
			for _, place := range []string{"first", "middle"} {
				b.Run(fmt.Sprintf("%v/queue=%s/%s", status, queue, place), func(b *testing.B) {
					r := omniq.ListRequest{Status: status, Queue: queue, Max: 50}
					if place == "middle" {
						r.After = middle(status)
					}
					slowest(b, func() error { _, _, err := backend.List(context.Background(), r); return err })
				})
			}
		}
	}
	for name, request := range map[string]omniq.ListRequest{
		"newest":          {Newest: true},
		"of no function":  {Name: "none"},
		"of no worker":    {Worker: "none"},
		"with no text":    {Contains: "none of them"},
		"newest, no text": {Contains: "none of them", Newest: true},
	} {
		for _, request.Status = range omniq.Statuses() {
			request.Max, request.After = 50, ""
			b.Run(request.Status.String()+"/"+name, func(b *testing.B) {
				slowest(b, func() (err error) {
					_, request.After, err = backend.List(context.Background(), request)
					return err
				})
			})
		}
	}
	for _, newest := range []bool{false, true} {
		request := omniq.ListRequest{Flow: uuid.UUID{15: 1}, Name: "none", Newest: newest, Max: 50}
		b.Run(fmt.Sprintf("flow/newest=%t", newest), func(b *testing.B) {
			slowest(b, func() (err error) {
				_, request.After, err = backend.List(context.Background(), request)
				return err
			})
		})
	}
	b.Run("Stats", func(b *testing.B) {
		slowest(b, func() error { _, err := backend.Stats(context.Background()); return err })
	})
	beat := func(id int) error {
		return backend.Beat(context.Background(), omniq.WorkerInfo{ID: strconv.Itoa(id), Names: make([]string, 50), Lease: time.Hour})
	}
	for id := range 100 {
		require.NoError(b, beat(id))
	}
	b.Run("Beat", func(b *testing.B) { slowest(b, func() error { return beat(50) }) })
	b.Run("Workers", func(b *testing.B) {
		slowest(b, func() error { _, err := backend.Workers(context.Background()); return err })
	})
	b.Run("History", func(b *testing.B) { // a day of ten functions
		_, err := backend.Pool().Exec(context.Background(), fill(backend, `INSERT INTO {s}.history
			SELECT date_trunc('minute', now(), 'UTC') - (i / 10) * interval '1 minute', 'q', 'f' || i % 10, 1, 1, 1, 0, 0, 0, 0, 5, 5
			FROM generate_series(0, 14399) i ON CONFLICT DO NOTHING`))
		require.NoError(b, err)
		for _, last := range []time.Duration{time.Minute, time.Hour, omniq.HistoryKept} {
			b.Run(last.String(), func(b *testing.B) {
				slowest(b, func() error { _, err := backend.History(context.Background(), last); return err })
			})
		}
	})
}

// slowest calls something as often as the benchmark asks for, and reports how long the slowest call took.
func slowest(b *testing.B, call func() error) {
	b.Helper()
	var most time.Duration
	for b.Loop() {
		began := time.Now()
		require.NoError(b, call())
		most = max(most, time.Since(began))
	}
	b.ReportMetric(float64(most.Microseconds())/1000, "slowest-ms")
}

// BenchmarkCancel measures how fast a queue is emptied, in batches of 1,000 IDs.
func BenchmarkCancel(b *testing.B) {
	_, err := start()
	require.NoError(b, err)
	schema := fmt.Sprintf("bench_cancel_%d", server.last.Add(1))
	backend, err := postgres.Open(context.Background(), server.url, postgres.WithSchema(schema))
	require.NoError(b, err)
	defer func() { require.NoError(b, backend.Close()) }()
	const batch = 1000
	for b.Loop() {
		b.StopTimer()
		tasks, ids := make([]*omniq.RawTask, batch), make([]uuid.UUID, batch)
		for i := range tasks {
			task, err := omniq.NewTask("f", omniq.Raw("[]"), omniq.Raw("{}"))
			require.NoError(b, err)
			tasks[i], ids[i] = &task, task.ID
		}
		_, err := backend.Enqueue(context.Background(), tasks)
		require.NoError(b, err)
		b.StartTimer()
		errs, err := backend.Cancel(context.Background(), ids)
		require.NoError(b, err)
		require.Nil(b, errs)
	}
	b.ReportMetric(float64(batch*b.N)/b.Elapsed().Seconds(), "tasks/s")
}
