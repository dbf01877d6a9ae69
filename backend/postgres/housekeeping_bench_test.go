package postgres_test

import (
	"context"
	"flag"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/postgres"
)

var rows = flag.Int("rows", 20_000, "how many tasks, results or keys BenchmarkHousekeeping and BenchmarkList have")

const (
	someTasks = `INSERT INTO {s}.tasks (id, seq, rank, due, deadline, wake, since, state, attempt, name, queue, task, token, started)
		SELECT id, nextval('{s}.task_order') * 65536, -1, $DUE, $DEADLINE, $WAKE, now(), $STATE, 1, 'f', 'mass', '{"id":"' || id
			|| '","func_name":"f","args":[],"kwargs":{},"created_at":"2026-01-02T03:04:05Z","ttl":null,"queue":"mass"}', 1, $STATE = 2
		FROM (SELECT gen_random_uuid() AS id FROM generate_series(1, $N)) i;
		INSERT INTO {s}.counts VALUES ('mass', $STATE, $N)`

	someResults = `INSERT INTO {s}.results (id, since, expires, status, name, queue, result)
		SELECT id, now(), $EXPIRES, $STATUS, 'f', 'mass', '{"task_id":"' || id
			|| '","status":"SUCCESS","result_data":1,"timestamp":"2026-01-02T03:04:05Z","ttl":null}'
		FROM (SELECT gen_random_uuid() AS id FROM generate_series(1, $N)) i;
		INSERT INTO {s}.counts VALUES ('mass', $STATUS, $N)`

	someEvents = `INSERT INTO {s}.events (until, at, task_id, type, attempt, queue)
		SELECT now(), now(), gen_random_uuid(), 1, 0, 'mass' FROM generate_series(1, $N)`

	someKeys = "INSERT INTO {s}.unique_keys SELECT 'f', n::text, gen_random_uuid(), now() FROM generate_series(1, $N) n"
)

// fill fills in what a statement leaves open.
func fill(b *postgres.Backend, sql string, values ...string) string {
	return strings.NewReplacer(append(values, "{s}", b.Schema(), "$N", strconv.Itoa(*rows))...).Replace(sql)
}

// BenchmarkHousekeeping measures what happens when much is over at one moment: how long the longest transaction of
// housekeeping was, as it is seen from outside every few milliseconds, and how long calls of each kind took meanwhile.
func BenchmarkHousekeeping(b *testing.B) {
	kinds := map[string]struct{ sql, left string }{
		"results":        {someResults, "SELECT count(*) FROM {s}.results WHERE queue = 'mass'"},
		"due tasks":      {someTasks, "SELECT count(*) FROM {s}.tasks WHERE queue = 'mass' AND state = 0"},
		"TTLs":           {someTasks, "SELECT count(*) FROM {s}.tasks WHERE queue = 'mass'"},
		"leases":         {someTasks, "SELECT count(*) FROM {s}.tasks WHERE queue = 'mass' AND state = 2"},
		"keys":           {someKeys, "SELECT count(*) FROM {s}.unique_keys"},
		"events":         {someEvents, "SELECT count(*) FROM {s}.events WHERE queue = 'mass'"},
		"rows of counts": {"INSERT INTO {s}.counts SELECT 'mass', 1, n % 2 * 2 - 1 FROM generate_series(1, $N) n", "SELECT count(*) / 1000 FROM {s}.counts"},
	}
	values := map[string][]string{
		"results":   {"$EXPIRES", "now() - interval '1 minute'", "$STATUS", "3"},
		"due tasks": {"$DUE", "now()", "$WAKE", "now()", "$DEADLINE", "NULL::timestamptz", "$STATE", "0"},
		"TTLs":      {"$DUE", "now()", "$WAKE", "NULL::timestamptz", "$DEADLINE", "now()", "$STATE", "1"},
		"leases":    {"$DUE", "now()", "$WAKE", "now()", "$DEADLINE", "NULL::timestamptz", "$STATE", "2"},
	}
	for kind, k := range kinds {
		b.Run(kind, func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				housekeeping(b, k.sql, k.left, values[kind])
				b.StartTimer()
			}
		})
	}
}

func housekeeping(b *testing.B, sql, left string, values []string) {
	url, err := start()
	require.NoError(b, err)
	ctx := context.Background()
	schema := "bench_" + strconv.FormatInt(server.last.Add(1), 10)
	where := postgres.WithSchema(schema)
	calls, err := postgres.Open(ctx, url+"&application_name=calls", where, postgres.WithPollInterval(time.Hour))
	require.NoError(b, err)
	admin, err := pgxpool.New(ctx, url)
	require.NoError(b, err)
	defer admin.Close()
	defer func() {
		_, err := admin.Exec(ctx, "DROP SCHEMA "+schema+" CASCADE")
		require.NoError(b, err)
	}()
	defer func() { require.NoError(b, calls.Close()) }()
	conn, err := admin.Acquire(ctx)
	require.NoError(b, err)
	_, err = conn.Conn().PgConn().Exec(ctx, fill(calls, sql, values...)).ReadAll()
	require.NoError(b, err)
	conn.Release()

	keeper, err := postgres.Open(ctx, url+"&application_name=keeper", where, postgres.WithEvents(time.Hour))
	require.NoError(b, err)
	defer func() { require.NoError(b, keeper.Close()) }()
	var over atomic.Bool
	var wg sync.WaitGroup
	var longest time.Duration
	wg.Go(func() {
		for !over.Load() {
			var d float64
			const q = `SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0)::float8 FROM pg_stat_activity
				WHERE application_name = 'keeper' AND state <> 'idle'`
			if admin.QueryRow(ctx, q).Scan(&d) == nil {
				longest = max(longest, time.Duration(d*1e9))
			}
			time.Sleep(2 * time.Millisecond)
		}
	})
	times := make(map[string]*[]time.Duration)
	call := func(name string, do func() error) {
		took := new([]time.Duration)
		times[name] = took
		wg.Go(func() {
			for !over.Load() {
				began := time.Now()
				if err := do(); err != nil {
					b.Error(name, err)
					return
				}
				*took = append(*took, time.Since(began))
				time.Sleep(time.Millisecond)
			}
		})
	}
	call("cycle", func() error {
		task, err := omniq.NewTask("f", omniq.Raw("[]"), omniq.Raw("{}"))
		if err == nil {
			_, err = calls.Enqueue(ctx, []*omniq.RawTask{&task})
		}
		if err != nil {
			return err
		}
		leases, err := calls.Lease(ctx, omniq.LeaseRequest{Queues: []string{"default"}, Max: 1, Duration: time.Minute, Wait: time.Minute})
		if err != nil {
			return err
		}
		if _, err := calls.Extend(ctx, []omniq.LeaseID{leases[0].LeaseID}, time.Hour); err != nil {
			return err
		}
		_, err = calls.Settle(ctx, []omniq.Settlement{success(leases[0])})
		return err
	})
	call("Stats", func() error { _, err := calls.Stats(ctx); return err })
	call("List", func() error {
		_, _, err := calls.List(ctx, omniq.ListRequest{Status: omniq.StatusPending, Max: 50})
		return err
	})
	began := time.Now()
	for n := 1; n > 0; {
		require.NoError(b, admin.QueryRow(ctx, fill(calls, left)).Scan(&n))
		time.Sleep(100 * time.Millisecond)
	}
	took := time.Since(began)
	over.Store(true)
	wg.Wait()
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(*rows)/took.Seconds(), "rows/s")
	b.ReportMetric(longest.Seconds()*1000, "longest-tx-ms")
	for name, all := range times {
		slices.Sort(*all)
		b.ReportMetric((*all)[len(*all)-1].Seconds()*1000, "slowest-"+name+"-ms")
		b.ReportMetric((*all)[len(*all)*99/100].Seconds()*1000, "p99-"+name+"-ms")
	}
}
