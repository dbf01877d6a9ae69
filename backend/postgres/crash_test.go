package postgres_test

import (
	"context"
	"flag"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/crashtest"
	"github.com/omniq-go/omniq/backend/postgres"
)

var crashTime = flag.Duration("crash", 6*time.Second, "how long TestCrash kills processes")

// openCrash opens a place of crashtest: a schema and a URL, and with a third word events, or by how much the database's clock is to
// seem ahead.
func openCrash(place string) (omniq.Backend, error) {
	words := strings.Fields(place)
	opts := []postgres.Option{postgres.WithSchema(words[0])}
	if len(words) > 2 && words[2] == "events" {
		opts = append(opts, postgres.WithEvents(time.Hour))
	} else if len(words) > 2 {
		skew, err := time.ParseDuration(words[2])
		if err != nil {
			return nil, err
		}
		opts = append(opts, postgres.WithSkew(skew))
	}
	b, err := postgres.Open(context.Background(), words[1], opts...)
	if err != nil {
		return nil, err
	}
	return b, nil
}

// Processes that enqueue and work are killed in the middle of whatever they do. Longer: go test -run TestCrash -crash 5m
func TestCrash(t *testing.T) {
	t.Parallel()
	url, schema := url(t), schema(t)
	place := schema + " " + url + " events"
	r := crashtest.Run(t, openCrash, crashtest.Plan{Place: place, Signal: syscall.SIGKILL, Duration: *crashTime})
	assert.Positive(t, r.Stored)
	b := openAt(t, url, schema, postgres.WithEvents(time.Hour))
	checkConsistent(t, b, schema)
	checkEvents(t, b, r.Results)
}

// So are those that work flows. Longer: go test -run TestCrashOfFlows -crash 5m
func TestCrashOfFlows(t *testing.T) {
	t.Parallel()
	url, schema := url(t), schema(t)
	r := crashtest.Flows(t, openCrash, crashtest.Plan{Place: schema + " " + url, Duration: *crashTime / 2})
	assert.Positive(t, r.Stored)
	checkConsistent(t, openAt(t, url, schema), schema)
}

// Five processes whose clocks are seconds apart declare a schedule, serve it and are killed: each tick has one run.
func TestCrashOfSchedules(t *testing.T) {
	t.Parallel()
	url, schema := url(t), schema(t)
	place := schema + " " + url
	var places []string
	for _, ahead := range []string{"0s", "3s", "0s", "3s", "0s"} {
		places = append(places, place+" "+ahead)
	}
	r := crashtest.Schedules(t, openCrash, crashtest.Plan{Place: place, Places: places, Workers: len(places), Duration: *crashTime / 2})
	assert.Positive(t, r.Stopped)
}

// Processes that are asked to stop use up no attempt, and leave nothing to be done twice.
func TestGracefulStopUnderLoad(t *testing.T) {
	t.Parallel()
	url, schema := url(t), schema(t)
	r := crashtest.Run(t, openCrash, crashtest.Plan{
		Place: schema + " " + url, Signal: syscall.SIGTERM, Duration: *crashTime / 2,
	})
	assert.Positive(t, r.Stored)
	assert.Zero(t, r.Repeated)
	checkConsistent(t, openAt(t, url, schema), schema)
}

// checkConsistent looks at the tables of a schema in which all work is done: no task is left, nor anything that belongs
// to one, and the counts are the numbers of what there is.
func checkConsistent(t *testing.T, b *postgres.Backend, schema string) {
	t.Helper()
	for _, q := range []struct{ rule, sql string }{
		{"no task is left", "SELECT count(*)::text FROM {s}.tasks"},
		{"no unique key is held by a task that is final", "SELECT count(*)::text FROM {s}.unique_keys"},
		{"no lost lease is kept after its time", "SELECT count(*)::text FROM {s}.revoked WHERE until < now() - interval '1 minute'"},
		{"the counts are the numbers of tasks and results", `SELECT count(*) || coalesce(': ' || string_agg(
				format('queue %s, state %s: counted %s, there are %s', queue, state, counted.n, real.n), '; '), '')
			FROM (SELECT queue, state, sum(n) AS n FROM {s}.counts GROUP BY queue, state HAVING sum(n) <> 0) counted
			FULL JOIN (
				SELECT queue, state, count(*) AS n FROM {s}.tasks GROUP BY queue, state
				UNION ALL SELECT queue, status, count(*) FROM {s}.results GROUP BY queue, status) real USING (queue, state)
			WHERE counted.n IS DISTINCT FROM real.n`},
		{"in the history each task that was enqueued has ended", "SELECT count(*)::text FROM (" + done + `) d
			WHERE d.n[1] <> d.n[3] + d.n[4] + d.n[6] + d.n[7] OR d.n[1] = 0`},
		{"the history is what events tell", "SELECT count(*)::text FROM (" + done + `) d
			FULL JOIN (SELECT queue, name, array_agg(n ORDER BY what) AS n FROM (
				SELECT p.queue, p.name, w AS what, (SELECT count(*)::numeric FROM {s}.events e WHERE e.queue = p.queue AND e.name = p.name AND e.type = w) AS n
				FROM (SELECT DISTINCT queue, name FROM {s}.events) p, generate_series(1, 7) w) c GROUP BY queue, name) e USING (queue, name)
			WHERE EXISTS (SELECT FROM {s}.events) AND d.n IS DISTINCT FROM e.n`},
		{"the places of events have no gap, and the last is known", `SELECT count(*)::text FROM {s}.event_places p,
			(SELECT coalesce(max(place), 0) AS last, count(place) AS n FROM {s}.events) e
			WHERE p.last <> p.gone + e.n OR e.last NOT IN (p.last, 0)`},
	} {
		var wrong string
		require.NoError(t, b.Pool().QueryRow(t.Context(), strings.ReplaceAll(q.sql, "{s}", schema)).Scan(&wrong), q.rule)
		assert.Equal(t, "0", wrong, q.rule)
	}
}

// done is what the history has of each queue and function: numbers by the types of events.
const done = `SELECT queue, name, array_agg(n ORDER BY what) AS n FROM (
		SELECT queue, name, what, sum(n) AS n FROM (
			SELECT queue, name, what, n::bigint FROM {s}.tallies
			UNION ALL SELECT queue, name, v.what, v.n FROM {s}.history CROSS JOIN LATERAL (VALUES (1, enqueued), (2, started), (3, succeeded),
				(4, failed), (5, retried), (6, cancelled), (7, expired)) v (what, n)
			UNION ALL SELECT p.queue, p.name, w, 0 FROM (SELECT queue, name FROM {s}.tallies UNION SELECT queue, name FROM {s}.history) p, generate_series(1, 7) w) a
		GROUP BY queue, name, what) s GROUP BY queue, name`

// checkEvents reads all events, and looks whether those of each task are its life: it was enqueued, each attempt was
// started, again if that was taken back, some were retried, and one was the end. There are so many tasks.
func checkEvents(t *testing.T, b omniq.Backend, tasks int) {
	t.Helper()
	lives := make(map[uuid.UUID][]*omniq.TaskEvent)
	for cursor := omniq.CursorOldest; ; {
		events, next, err := b.Events(t.Context(), omniq.EventsRequest{After: cursor, Max: 1000})
		require.NoError(t, err)
		for _, e := range events {
			lives[e.TaskID] = append(lives[e.TaskID], e.TaskEvent)
		}
		if cursor = next; len(events) == 0 {
			break
		}
	}
	assert.Len(t, lives, tasks, "tasks with events")
	for id, life := range lives {
		var types strings.Builder
		started := 0
		for _, e := range life {
			types.WriteString(e.EventType.String() + " ")
			if e.EventType == omniq.EventStarted {
				assert.Contains(t, []int{max(started, 1), started + 1}, e.Attempt, "each start of task %v is the next attempt, or the same", id)
				started = e.Attempt
			}
		}
		const want = `^ENQUEUED ((STARTED )+RETRIED )*(STARTED )+COMPLETED $`
		assert.Regexp(t, want, types.String(), "events of task %v", id)
		assert.Equal(t, started, life[len(life)-1].Attempt, "the last attempt of task %v is its end", id)
	}
}

// connect is a connection of the test's own.
func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}
