package postgres_test

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/postgres"
)

func TestZZExplain(t *testing.T) {
	lanes, _ := strconv.Atoi(os.Getenv("LANES"))
	most, _ := strconv.Atoi(os.Getenv("MOST"))
	b := open(t, place(t))
	for i := 0; i < 20000; i += 1000 {
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
	for range 5*len(os.Getenv("LEASE")) {
		leases, err := b.Lease(t.Context(), omniq.LeaseRequest{Queues: []string{"default"}, Max: most, Duration: time.Minute})
		require.NoError(t, err)
		var ends []omniq.Settlement
		for _, l := range leases {
			ends = append(ends, success(l))
		}
		_, err = b.Settle(t.Context(), ends)
		require.NoError(t, err)
	}
	c, err := b.Pool().Acquire(t.Context())
	require.NoError(t, err)
	defer c.Release()
	explain := func(name string, args ...any) {
		_, err = c.Exec(t.Context(), "BEGIN")
		require.NoError(t, err)
		_, err = c.Exec(t.Context(), postgres.Planning, nil)
		require.NoError(t, err)
		rows, err := c.Query(t.Context(), "EXPLAIN (ANALYZE, BUFFERS) "+b.Statements()[name], append([]any{pgx.QueryExecModeExec}, args...)...)
		require.NoError(t, err)
		for rows.Next() {
			v, err := rows.Values()
			require.NoError(t, err)
			fmt.Println(v[0])
		}
		require.NoError(t, rows.Err())
		_, err = c.Exec(t.Context(), "COMMIT")
		require.NoError(t, err)
	}
	if os.Getenv("LOOP") != "" {
		for i := range 40 {
			explain("leaseLanes", "default", most, int64(77+2*i), "w", int64(60000000), most, []string(nil), most+32, 8)
		}
		return
	}
	if name := os.Getenv("STMT"); name == "takeStirs" {
		explain(name, "default", 20000)
	} else {
		explain("leaseLanes", "default", most, int64(77), "w", int64(60000000), most, []string(nil), most+32, 8)
	}
}
