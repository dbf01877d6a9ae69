package postgres_test

import (
	"context"
	"flag"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/postgres"
)

var snapshotTasks = flag.Int("snapshot", 5000, "how many tasks TestHeldSnapshot works off")

// Somebody holds an old snapshot, as a backup or a report does for hours: what was removed since then stays in tables and
// indexes, in the way of those who look for tasks. All is worked off nevertheless; the log says how fast. For a queue
// of another size: go test -run TestHeldSnapshot -v -snapshot 100000
func TestHeldSnapshot(t *testing.T) {
	for _, c := range []struct {
		name string
		held bool
	}{{"without", false}, {"with", true}} {
		t.Run(c.name, func(t *testing.T) {
			at, name := ownDatabase(t) // a snapshot keeps what is in its database
			b := openAt(t, at, name)
			own := connect(t, at)
			if c.held {
				tx, err := own.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
				require.NoError(t, err)
				_, err = tx.Exec(t.Context(), "SELECT FROM "+name+".tasks")
				require.NoError(t, err)
			}
			workOff(t, b, *snapshotTasks)
			checkConsistent(t, b, name)
			b.Pool().Reset() // a connection that ends tells its statistics
			logTables(t, connect(t, at), name)
		})
	}
}

// workOff enqueues tasks, works them off, and logs how many there were in a second, tenth by tenth.
func workOff(t *testing.T, b *postgres.Backend, n int) {
	t.Helper()
	client, err := omniq.NewClient(b)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	for left := n; left > 0; left -= 1000 {
		tasks := make([]omniq.Task[omniq.Args1[int], omniq.NoKwargs], min(left, 1000))
		for i := range tasks {
			tasks[i], err = double.Task(omniq.MakeArgs1(8 * i))
			require.NoError(t, err)
		}
		_, err = double.EnqueueMany(ctx, client, tasks)
		require.NoError(t, err)
	}
	done := make(chan struct{}, n)
	stop := work(t, b, omniq.Concurrency(32), omniq.Handlers(omniq.DefineArgs("double",
		func(_ context.Context, a omniq.Args1[int]) (int, error) { done <- struct{}{}; return 2 * a.V1, nil })))
	defer stop()
	began, last := time.Now(), time.Now()
	var rates []int
	for i := 1; i <= n; i++ {
		select {
		case <-done:
		case <-ctx.Done():
			t.Fatalf("%d of %d tasks are worked off", i-1, n)
		}
		if i%max(n/10, 1) == 0 {
			rates = append(rates, int(float64(n/10)/time.Since(last).Seconds()))
			last = time.Now()
		}
	}
	stop()
	stats, err := client.Stats(ctx)
	require.NoError(t, err)
	assert.Equal(t, []omniq.QueueStats{{Queue: omniq.DefaultQueue, Succeeded: n}}, stats)
	t.Logf("%d tasks in %v, a second in each tenth: %v", n, time.Since(began).Round(time.Millisecond), rates)
}

// logTables logs how large the table of tasks and its index are, and about how much is dead in it.
func logTables(t *testing.T, c *pgx.Conn, schema string) {
	t.Helper()
	var dead, table, index int
	const q = `SELECT n_dead_tup, pg_relation_size(relid), pg_relation_size(relid::regclass || '_ready')
		FROM pg_stat_user_tables WHERE schemaname = $1 AND relname = 'tasks'`
	require.NoError(t, c.QueryRow(t.Context(), q, schema).Scan(&dead, &table, &index))
	t.Logf("tasks: %d rows are dead, the table has %d kB, the index of those that are ready %d kB", dead, table>>10, index>>10)
}
