package postgres_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/postgres"
	"github.com/omniq-go/omniq/internal/pgserver"
)

func TestZZProf(t *testing.T) {
	dir, err := os.MkdirTemp("", "pgprof")
	require.NoError(t, err)
	os.Chmod(dir, 0o755)
	s, err := pgserver.Start(t.Context(), dir, "shared_preload_libraries=pg_stat_statements", "pg_stat_statements.track=all")
	require.NoError(t, err)
	defer s.Close()
	c, err := pgx.Connect(t.Context(), s.URL())
	require.NoError(t, err)
	_, err = c.Exec(t.Context(), "CREATE EXTENSION pg_stat_statements")
	require.NoError(t, err)
	for _, lanes := range []int{0, -1, 10, 10000} {
		b, err := postgres.Open(t.Context(), s.URL(), postgres.WithSchema(fmt.Sprintf("s%d", max(lanes, -lanes+50000*0)+map[bool]int{true: 77777}[lanes < 0])))
		require.NoError(t, err)
		if lanes < 0 {
			require.NoError(t, b.SetLimit(t.Context(), "", omniq.Limit{Running: omniq.MaxLimit}))
		}
		_, err = c.Exec(t.Context(), "SELECT pg_stat_statements_reset()")
		require.NoError(t, err)
		began := time.Now()
		const n = 20000
		for i := 0; i < n; i += 1000 {
			var list []*omniq.RawTask
			for k := range 1000 {
				task, _ := omniq.NewTask("f", omniq.Raw("[]"), omniq.Raw("{}"))
				if lanes > 0 {
					task.Lane = fmt.Sprint((i + k) % lanes)
				}
				list = append(list, &task)
			}
			_, err := b.Enqueue(t.Context(), list)
			require.NoError(t, err)
		}
		enq := time.Since(began)
		began = time.Now()
		var leaseT, settleT time.Duration
		for done := 0; done < n; {
			at := time.Now()
			leases, err := b.Lease(t.Context(), omniq.LeaseRequest{Queues: []string{"default"}, Max: 100, Duration: time.Minute})
			require.NoError(t, err)
			leaseT += time.Since(at)
			at = time.Now()
			var ends []omniq.Settlement
			for _, l := range leases {
				ends = append(ends, success(l))
			}
			_, err = b.Settle(t.Context(), ends)
			require.NoError(t, err)
			settleT += time.Since(at)
			done += len(leases)
		}
		fmt.Printf("=== %d lanes: enqueue %v lease %v settle %v (per 100: %v %v)\n", lanes, enq, leaseT, settleT, leaseT/(n/100), settleT/(n/100))
		rows, err := c.Query(t.Context(), "SELECT calls, mean_exec_time::float4, min_exec_time::float4, rows, left(regexp_replace(query, '\\s+', ' ', 'g'), 110) FROM pg_stat_statements ORDER BY total_exec_time DESC LIMIT 12")
		require.NoError(t, err)
		for rows.Next() {
			v, err := rows.Values()
			require.NoError(t, err)
			fmt.Println(v[0], v[1], v[2], v[3], v[4])
		}
		require.NoError(t, b.Close())
	}
}
