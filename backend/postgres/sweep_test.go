package postgres_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/postgres"
)

// What is over goes, however much it is, and whatever this process was told to keep.
func TestSweep(t *testing.T) {
	b := open(t, place(t))
	fill := func(sql string) {
		t.Helper()
		_, err := b.Pool().Exec(t.Context(), strings.ReplaceAll(sql, "{s}", b.Schema()))
		require.NoError(t, err)
	}
	fill("INSERT INTO {s}.unique_keys SELECT 'f', n::text, gen_random_uuid(), now() FROM generate_series(1, 3000) n")
	fill("INSERT INTO {s}.revoked SELECT 'w', gen_random_uuid(), n, now() FROM generate_series(1, 3000) n")
	fill(`INSERT INTO {s}.results (id, since, expires, status, name, queue, result)
		SELECT gen_random_uuid(), now(), now() - interval '1 h', 3, 'f', 'q', '' FROM generate_series(1, 3000) n`)
	fill("INSERT INTO {s}.counts SELECT 'q', 3, 1 FROM generate_series(1, 3000) n")
	fill(`INSERT INTO {s}.events (until, at, task_id, type, attempt, queue)
		SELECT now(), now(), gen_random_uuid(), 1, 0, 'q' FROM generate_series(1, 3000) n`)
	for _, table := range []string{"unique_keys", "revoked", "results", "events"} {
		assert.Eventually(t, func() bool {
			var n int
			require.NoError(t, b.Pool().QueryRow(t.Context(), "SELECT count(*) FROM "+b.Schema()+"."+table).Scan(&n))
			return n == 0
		}, time.Minute, 10*time.Millisecond, table)
	}
	assert.Eventually(t, func() bool {
		var n, sum int
		require.NoError(t, b.Pool().QueryRow(t.Context(), "SELECT count(*), coalesce(sum(n), 0) FROM "+b.Schema()+".counts").Scan(&n, &sum))
		return n < 300 && sum == 0
	}, time.Minute, 10*time.Millisecond)
}

// Events that others keep do not go before their time because this process keeps none.
func TestEventsOfOthers(t *testing.T) {
	where := place(t)
	keeps := open(t, where, postgres.WithEvents(time.Hour))
	none := open(t, where)
	enqueue(t, keeps, newTask(t))
	_, err := none.Pool().Exec(t.Context(), "INSERT INTO "+keeps.Schema()+`.events (until, at, task_id, type, attempt, queue)
		VALUES (now(), now(), gen_random_uuid(), 1, 0, 'q')`)
	require.NoError(t, err)
	require.Eventually(t, func() bool { // it has its place, by whoever keeps none
		var n int
		require.NoError(t, none.Pool().QueryRow(t.Context(), "SELECT count(place) FROM "+keeps.Schema()+".events").Scan(&n))
		return n == 2
	}, time.Minute, 10*time.Millisecond)
	events, _, err := keeps.Events(t.Context(), omniq.EventsRequest{Max: 10})
	require.NoError(t, err)
	require.Len(t, events, 2)
}

// Tables that are replicated have what a row is looked for by.
func TestReplicaIdentity(t *testing.T) {
	b := open(t, place(t))
	rows, err := b.Pool().Query(t.Context(), `SELECT c.relname FROM pg_class c WHERE c.relnamespace = $1::regnamespace AND c.relkind = 'r'
		AND c.relreplident <> 'f' AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)`, b.Schema())
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		var table string
		require.NoError(t, rows.Scan(&table))
		assert.Empty(t, table, "it has none")
	}
	require.NoError(t, rows.Err())
}

// A call of List looks at a bounded number of tasks, and goes on where it stopped.
func TestListIsBounded(t *testing.T) {
	b := open(t, place(t))
	const n = 5000
	tables := map[omniq.Status]string{
		omniq.StatusPending: `INSERT INTO {s}.tasks (id, seq, rank, due, since, state, attempt, name, queue, task)
			SELECT gen_random_uuid(), n, -1, now(), now(), 1, 0, 'f', CASE n WHEN $1 THEN 'few' ELSE 'many' END, '{}' FROM generate_series(1, $1::int) n`,
		omniq.StatusSuccess: `INSERT INTO {s}.results (id, since, status, name, queue, result)
			SELECT gen_random_uuid(), now(), 3, 'f', CASE n WHEN $1 THEN 'few' ELSE 'many' END, '{}' FROM generate_series(1, $1::int) n`,
		omniq.StatusFailure: `INSERT INTO {s}.results (id, since, status, name, queue, result)
			SELECT gen_random_uuid(), now(), 4, 'f', CASE n WHEN $1 THEN 'few' ELSE 'many' END, '{}' FROM generate_series(1, $1::int) n`,
	}
	for status, sql := range tables {
		t.Run(status.String(), func(t *testing.T) {
			_, err := b.Pool().Exec(t.Context(), strings.ReplaceAll(sql, "{s}", b.Schema()), n)
			require.NoError(t, err)
			found, calls := 0, 0
			for r := (omniq.ListRequest{Status: status, Queue: "few", Max: 10}); calls == 0 || r.After != ""; calls++ {
				page, next, err := b.List(t.Context(), r)
				require.NoError(t, err)
				found, r.After = found+len(page), next
			}
			assert.Equal(t, 1, found)
			assert.Greater(t, calls, 1, "one call looked at %d", n)
			assert.LessOrEqual(t, calls, n/500)
		})
	}
}

// Whatever has been written into the tables by hand, calls neither panic nor fail for the others.
func TestRowsByHand(t *testing.T) {
	b := open(t, place(t))
	change := func(set string) *omniq.RawTask {
		task := newTask(t)
		enqueue(t, b, task)
		_, err := b.Pool().Exec(t.Context(), "UPDATE "+b.Schema()+".tasks SET "+set+" WHERE id = $1", task.ID.String())
		require.NoError(t, err, set)
		return task
	}
	tasks := []*omniq.RawTask{
		change("attempt = 2147483647"), change("due = '-infinity'"), change("error = 'no JSON'"), change("lost = 2147483647"),
		change("rank = 9223372036854775807"), change("shunned = '-infinity'"),
		change("deadline = 'infinity'"),
	}
	other := change("state = 7")
	late := change("deadline = now(), state = 1")
	leases, err := b.Lease(t.Context(), omniq.LeaseRequest{Queues: []string{omniq.DefaultQueue}, Max: 10, Duration: time.Minute})
	require.NoError(t, err)
	require.Len(t, leases, len(tasks))
	for status := range map[omniq.Status]bool{omniq.StatusPending: true, omniq.StatusRunning: true} {
		_, _, err := b.List(t.Context(), omniq.ListRequest{Status: status, Max: 10})
		require.NoError(t, err)
	}
	r, err := b.Await(t.Context(), late.ID)
	require.NoError(t, err)
	require.Equal(t, omniq.StatusExpired, r.Status)
	_, err = b.Result(t.Context(), other.ID)
	require.NoError(t, err)
	_, err = b.Stats(t.Context())
	require.NoError(t, err)
	require.NoError(t, b.Beat(t.Context(), omniq.WorkerInfo{ID: "whole", Queues: []string{"q"}, Lease: time.Hour}))
	_, err = b.Pool().Exec(t.Context(), "INSERT INTO "+b.Schema()+`.workers (id, seen, until, info)
		VALUES ('broken', 'infinity', 'infinity', '{"ID":"whole","PID":"seven"'), ('other', now(), 'infinity', '{"ID":"whole","Host":"h"}')`)
	require.NoError(t, err)
	workers, err := b.Workers(t.Context())
	require.NoError(t, err)
	require.Len(t, workers, 3)
	require.Equal(t, omniq.WorkerInfo{ID: "broken"}, workers[0])
	require.Equal(t, []string{"other", "h"}, []string{workers[1].ID, workers[1].Host})
	require.Equal(t, []string{"q"}, workers[2].Queues)
	errs, err := b.Cancel(t.Context(), ids(append(tasks, other)...))
	require.NoError(t, err)
	require.Nil(t, errs)
}
