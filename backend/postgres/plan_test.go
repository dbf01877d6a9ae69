package postgres_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq/backend/postgres"
)

var planRows = flag.Int("plan-rows", 100_000, "how many rows the tables of TestPlans have")

// No statement reads a table from its beginning, whatever the statistics say: the plans are the same for ten rows and for
// very many, with statistics of now and of before.
func TestPlans(t *testing.T) {
	t.Parallel()
	name := schema(t)
	b := open(t, postgres.WithSchema(name), postgres.WithEvents(1<<40))
	c := connect(t, url(t))
	fill := func(n int) {
		for _, q := range []string{
			`INSERT INTO {s}.tasks (id, seq, rank, due, wake, since, token, state, attempt, name, queue, worker, unique_key, task)
				SELECT gen_random_uuid(), i, -1, now(), CASE i % 3 WHEN 2 THEN now() + interval '1 h' WHEN 0 THEN now() + interval '1 day' END,
				now(), CASE i % 3 WHEN 2 THEN i END, i % 3, 0, 'f', 'default', 'w', 'k' || i, '{}' FROM generate_series(1, $1::int) i`,
			`INSERT INTO {s}.unique_keys SELECT 'f', 'k' || i, gen_random_uuid(), CASE WHEN i % 2 = 0 THEN now() + interval '1 day' END
				FROM generate_series(1, $1::int) i ON CONFLICT DO NOTHING`,
			`INSERT INTO {s}.results (id, since, expires, status, name, queue, result)
				SELECT gen_random_uuid(), now(), now() + interval '1 day', 3 + i % 4, 'f', 'default', '{}' FROM generate_series(1, $1::int) i`,
			`INSERT INTO {s}.edges SELECT (i / 10) * 65536::bigint, i % 3 = 0, i % 10, gen_random_uuid(), gen_random_uuid(), 0, i % 2 = 0, nullif(i % 2 = 0, false)
				FROM generate_series(1, $1::int) i ON CONFLICT DO NOTHING`,
			`INSERT INTO {s}.work (kind, task, dep, tie) SELECT i % 3, gen_random_uuid(), gen_random_uuid(), i FROM generate_series(1, $1::int) i`,
			`INSERT INTO {s}.items (tie, name, data) SELECT i / 10, 's' || i % 3, '1' FROM generate_series(1, $1::int) i`,
			`UPDATE {s}.tasks SET flow = gen_random_uuid() WHERE seq % 7 = 0 AND $1::int > 0`,
			`INSERT INTO {s}.tasks (id, seq, rank, due, since, state, attempt, name, queue, lane, bound, task)
				SELECT gen_random_uuid(), i, -1, now(), now(), 1 + i % 2, 0, 'f', 'default', 'l' || i % ($1::int / 2), true, '{}'
				FROM generate_series(1, $1::int) i`, // which stirs
			`INSERT INTO {s}.lanes (queue, lane, served, n, turn, opens)
				SELECT 'default', 'l' || i, i, i % 3, i % 2 = 0, CASE WHEN i % 2 = 1 THEN i END FROM generate_series(1, $1::int) i ON CONFLICT DO NOTHING`,
			`INSERT INTO {s}.history SELECT date_trunc('minute', now()) - (i / 10) * interval '1 minute', 'q' || i % 10, 'f', 1, 1, 1, 0, 0, 0, 0, 5, 5
				FROM generate_series(1, $1::int) i ON CONFLICT DO NOTHING`,
			`INSERT INTO {s}.workers SELECT 'w' || i, now(), now() + interval '1 h', '{}' FROM generate_series(1, $1::int) i ON CONFLICT DO NOTHING`,
			`INSERT INTO {s}.events (until, at, task_id, type, attempt, queue, place)
				SELECT now() + interval '1 h', now(), t.id, 1, 0, 'default', coalesce((SELECT max(place) FROM {s}.events), 0) + i
				FROM generate_series(1, $1::int) i CROSS JOIN (SELECT gen_random_uuid() AS id OFFSET 0) t`, // of one task
			`INSERT INTO {s}.limits (queue, laned, seen) SELECT 'q' || i, i % 2 = 0, now() FROM generate_series(1, $1::int) i ON CONFLICT DO NOTHING`,
		} {
			_, err := c.Exec(t.Context(), strings.ReplaceAll(q, "{s}", name), n)
			require.NoError(t, err)
		}
	}
	ready := func() {
		_, err := c.Exec(t.Context(), strings.ReplaceAll(`INSERT INTO {s}.tasks (id, seq, rank, due, since, state, attempt, name, queue, task)
			SELECT gen_random_uuid(), i, -1, now(), now(), 1, 0, 'f', 'default', '{}' FROM generate_series(1, $1::int) i`, "{s}", name), *planRows)
		require.NoError(t, err)
	}
	analyze := func() {
		_, err := c.Exec(t.Context(), fmt.Sprintf("VACUUM ANALYZE %[1]s.tasks, %[1]s.results, %[1]s.unique_keys, %[1]s.edges, %[1]s.work, %[1]s.items, %[1]s.lanes, %[1]s.stirs, %[1]s.limits, %[1]s.history, %[1]s.workers, %[1]s.events", name))
		require.NoError(t, err)
	}
	_, err := c.Exec(t.Context(), fmt.Sprintf(`ALTER TABLE %[1]s.tasks SET (autovacuum_enabled = off);
		ALTER TABLE %[1]s.results SET (autovacuum_enabled = off); ALTER TABLE %[1]s.unique_keys SET (autovacuum_enabled = off);
		ALTER TABLE %[1]s.edges SET (autovacuum_enabled = off); ALTER TABLE %[1]s.work SET (autovacuum_enabled = off);
		ALTER TABLE %[1]s.items SET (autovacuum_enabled = off); ALTER TABLE %[1]s.lanes SET (autovacuum_enabled = off);
		ALTER TABLE %[1]s.stirs SET (autovacuum_enabled = off); ALTER TABLE %[1]s.limits SET (autovacuum_enabled = off);
		ALTER TABLE %[1]s.history SET (autovacuum_enabled = off); ALTER TABLE %[1]s.workers SET (autovacuum_enabled = off);
		ALTER TABLE %[1]s.events SET (autovacuum_enabled = off)`, name))
	require.NoError(t, err)
	check := func(when string) {
		for what, sql := range b.Statements() {
			for _, node := range planOf(t, c, sql, true) {
				table, index := node["Relation Name"], node["Index Name"]
				if what == "readEventsOf" {
					assert.Contains(t, []any{nil, "events_task"}, index, "%s looks at the events of all tasks %s", what, when)
				}
				switch table {
				case "tasks", "results", "unique_keys", "edges", "work", "items", "lanes", "stirs", "limits", "history", "workers":
				default:
					continue // small, or never asked for single rows
				}
				assert.NotEqual(t, "Seq Scan", node["Node Type"], "%s reads all of %v %s", what, table, when)
				if index != nil {
					assert.NotEmpty(t, node["Index Cond"], "%s reads all of %v %s", what, index, when)
				}
				cond, _ := node["Index Cond"].(string)
				if index == "tasks_wake" || index == "unique_keys_until" {
					assert.NotContains(t, fmt.Sprint(node["Filter"]), "id = ", "%s looks for an ID by %v: %s %s", what, index, cond, when)
				}
				switch {
				case what == "reopenLanes" && index != nil:
					assert.Contains(t, cond, "opens", "%s looks at all lanes of a queue by %v %s", what, index, when)
				case index == "tasks_lane" && what != "oldestReady" && what != "findWaited": // which look for one
					assert.Contains(t, cond, "lane = ", "%s looks at all lanes of a queue %s", what, when)
				}
			}
		}
	}
	alone := func(when string) {
		for what, sql := range b.Alone() {
			for _, node := range planOf(t, c, sql, false) {
				assert.NotEqual(t, "Seq Scan", node["Node Type"], "%s reads all of %v %s", what, node["Relation Name"], when)
			}
		}
	}
	check("when it is empty")
	analyze()
	check("when it is known to be empty")
	ready()
	analyze()
	check("when all is ready")
	fill(10)
	analyze()
	check("with 10 rows")
	fill(*planRows)
	check("with many rows and old statistics")
	alone("with many rows and old statistics")
	analyze()
	check("with many rows")
	alone("with many rows")
}

// planOf returns all nodes of the generic plan of a statement, planned as the backend's transactions do it or by itself.
func planOf(t *testing.T, c *pgx.Conn, sql string, within bool) (nodes []map[string]any) {
	t.Helper()
	err := pgx.BeginFunc(t.Context(), c, func(tx pgx.Tx) error {
		settings, args := postgres.Planning, []any{nil}
		if !within {
			settings, args = "SELECT set_config('plan_cache_mode', 'force_generic_plan', true)", nil
		}
		if _, err := tx.Exec(t.Context(), settings, args...); err != nil {
			return err
		}
		d, err := tx.Prepare(t.Context(), "", sql)
		require.NoError(t, err, sql)
		if _, err := tx.Exec(t.Context(), "PREPARE explained AS "+sql); err != nil {
			return err
		}
		parameters := ""
		if n := len(d.ParamOIDs); n > 0 {
			parameters = "(" + strings.Repeat("NULL, ", n-1) + "NULL)"
		}
		var plan []byte
		err = tx.QueryRow(t.Context(), "EXPLAIN (FORMAT JSON) EXECUTE explained"+parameters, pgx.QueryExecModeExec).Scan(&plan)
		if err != nil {
			return err
		}
		var all []struct{ Plan map[string]any }
		require.NoError(t, json.Unmarshal(plan, &all))
		for _, one := range all {
			nodes = append(nodes, nodesOf(one.Plan)...)
		}
		_, err = tx.Exec(t.Context(), "DEALLOCATE explained")
		return err
	})
	require.NoError(t, err, sql)
	return nodes
}

// What ends leases looks for one row after the other, also in a transaction of the caller's, where joins of other kinds are
// allowed, and would be cheaper: they would lock rows in the order in which they lie.
func TestPlansOfCallers(t *testing.T) {
	t.Parallel()
	name := schema(t)
	b := open(t, postgres.WithSchema(name))
	c := connect(t, url(t))
	_, err := c.Exec(t.Context(), "SET enable_nestloop = off") // which a plan without another way still has
	require.NoError(t, err)
	statements := b.Statements()
	for _, what := range []string{"giveBack", "finishTasks", "extendLeases", "startLeases"} {
		joins := 0
		for _, node := range planOf(t, c, statements[what], false) {
			kind := node["Node Type"]
			if kind == "Nested Loop" {
				joins++
			}
			assert.NotContains(t, []string{"Hash Join", "Merge Join"}, kind, what)
		}
		assert.Positive(t, joins, what)
	}
}

func nodesOf(node map[string]any) []map[string]any {
	all := []map[string]any{node}
	children, _ := node["Plans"].([]any)
	for _, c := range children {
		all = append(all, nodesOf(c.(map[string]any))...)
	}
	return all
}
