package postgres_test

import (
	"context"
	"fmt"
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
	middle := uuid.UUID{0x80}.String()
	for _, status := range omniq.Statuses() {
		for _, queue := range []string{"", "mass", "few"} {
			for place, after := range map[string]string{"first": "", "middle": middle} {
				b.Run(fmt.Sprintf("%v/queue=%s/%s", status, queue, place), func(b *testing.B) {
					var slowest time.Duration
					for b.Loop() {
						began := time.Now()
						r := omniq.ListRequest{Status: status, Queue: queue, After: after, Max: 50}
						_, _, err := backend.List(context.Background(), r)
						require.NoError(b, err)
						slowest = max(slowest, time.Since(began))
					}
					b.ReportMetric(slowest.Seconds()*1000, "slowest-ms")
				})
			}
		}
	}
	b.Run("Stats", func(b *testing.B) {
		for b.Loop() {
			_, err := backend.Stats(context.Background())
			require.NoError(b, err)
		}
	})
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
