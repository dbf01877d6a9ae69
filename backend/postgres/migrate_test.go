package postgres_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/postgres"
)

func newPool(t *testing.T) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), url(t))
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}

// schemaOf is SQL that makes a schema as a program of an older version has made it, and does more in it, where {schema} is its name.
func schemaOf(t *testing.T, name string, version int, more string) string {
	t.Helper()
	steps, err := fs.Glob(os.DirFS("."), "migrations/*.sql")
	require.NoError(t, err)
	var sql strings.Builder
	sql.WriteString("CREATE SCHEMA {schema};")
	for _, step := range steps[:version] {
		script, err := os.ReadFile(step)
		require.NoError(t, err)
		sql.Write(script)
		sql.WriteString(";")
	}
	fmt.Fprintf(&sql, `
		CREATE TABLE {schema}.migrations (version integer PRIMARY KEY, at timestamptz NOT NULL DEFAULT now());
		INSERT INTO {schema}.migrations (version) SELECT generate_series(1, %d);`, version)
	return strings.ReplaceAll(sql.String()+more, "{schema}", name)
}

// Several processes that are started at once find one schema.
func TestMigrateAtOnce(t *testing.T) {
	name := schema(t)
	pool := newPool(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { assert.NoError(t, postgres.Migrate(t.Context(), pool, postgres.WithSchema(name))) })
	}
	wg.Wait()
	steps, err := fs.Glob(os.DirFS("migrations"), "*.sql")
	require.NoError(t, err)
	var versions, highest int
	const q = ".migrations"
	require.NoError(t, pool.QueryRow(t.Context(), "SELECT count(*), max(version) FROM "+name+q).Scan(&versions, &highest))
	assert.Equal(t, len(steps), versions)
	assert.Equal(t, len(steps), highest)
}

// A schema of the first version becomes the last one's with all that is in it.
func TestMigrateOlder(t *testing.T) {
	name := schema(t)
	task := newTask(t)
	envelope, err := task.MarshalJSON()
	require.NoError(t, err)
	exec(t, schemaOf(t, name, 1, `
		INSERT INTO {schema}.counts VALUES ('default', 1, 1);
		INSERT INTO {schema}.tasks (id, seq, rank, due, since, state, attempt, name, queue, task)
		VALUES ('`+task.ID.String()+`', 0, 0, now(), now(), 1, 0, 'f', 'default', '`+string(envelope)+`')`))

	_, err = postgres.Open(t.Context(), url(t), postgres.WithSchema(name), postgres.WithoutMigration())
	require.ErrorIs(t, err, postgres.ErrSchema)
	require.ErrorContains(t, err, "has version 1, want 8: call Migrate with a user who may create tables")
	b := open(t, postgres.WithSchema(name))
	require.Equal(t, task, lease(t, b).Task)
	open(t, postgres.WithSchema(name), postgres.WithoutMigration())
}

// What is being worked on, and who may enqueue by SQL, stay what they are when the schema is migrated.
func TestMigrateInUse(t *testing.T) {
	name := schema(t)
	exec(t, "CREATE ROLE "+name)
	t.Cleanup(func() { exec(t, "DROP OWNED BY "+name+"; DROP ROLE "+name) })
	task := newTask(t)
	envelope, err := task.MarshalJSON()
	require.NoError(t, err)
	exec(t, schemaOf(t, name, 2, `
		GRANT USAGE ON SCHEMA {schema} TO {schema}; GRANT EXECUTE ON FUNCTION {schema}.enqueue TO {schema} WITH GRANT OPTION;
		INSERT INTO {schema}.counts VALUES ('default', 2, 1);
		INSERT INTO {schema}.tasks (id, seq, rank, due, since, state, attempt, wake, token, worker, name, queue, task)
		VALUES ('`+task.ID.String()+`', 0, -1, now(), now(), 2, 1, now() + interval '100 ms', 7, 'w', 'f', 'default', '`+string(envelope)+`')`))
	b := open(t, postgres.WithSchema(name))
	l := lease(t, b)
	assert.Equal(t, 2, l.Attempt)
	assert.Equal(t, 1, l.Lost, "it had started, and its lease ran out")
	exec(t, "SET ROLE "+name+"; SELECT "+name+".enqueue('f'); SELECT "+name+".enqueue('f', delay => '1 s')")
	exec(t, "SET ROLE "+name+"; GRANT EXECUTE ON FUNCTION "+name+".enqueue TO PUBLIC")
}

// What was stored by the version before flows is worked off by this one, and others can wait for it.
func TestMigrateToFlows(t *testing.T) {
	name := schema(t)
	exec(t, "CREATE ROLE "+name)
	t.Cleanup(func() { exec(t, "DROP OWNED BY "+name+"; DROP ROLE "+name) })
	exec(t, schemaOf(t, name, 4, `
		GRANT USAGE ON SCHEMA {schema} TO {schema}; GRANT EXECUTE ON FUNCTION {schema}.enqueue TO {schema};
		SELECT {schema}.enqueue('f')`))
	b := open(t, postgres.WithSchema(name))
	l := lease(t, b)
	waits := after(t, l.Task)
	enqueue(t, b, waits)
	settle(t, b, ending(l, omniq.StatusSuccess, `"old"`))
	l = lease(t, b)
	require.Equal(t, waits.ID, l.TaskID)
	require.JSONEq(t, `"old"`, string(l.Inputs[0].ResultData))
	exec(t, "SET ROLE "+name+"; SELECT "+name+".enqueue('f', after => ARRAY['"+waits.ID.String()+"'::uuid])")
	none(t, b)
}

// What cannot be migrated is left as it is.
func TestMigrateErrors(t *testing.T) {
	pool := newPool(t)
	tests := []struct {
		name, prepare string
		opts          []postgres.Option
		err           error
		message       string
	}{
		{"nothing", "", []postgres.Option{postgres.WithoutMigration()}, postgres.ErrSchema, "has version 0, want 8: call Migrate"},
		{"newer", "CREATE SCHEMA {s}; CREATE TABLE {s}.migrations (version) AS VALUES (99)", nil, postgres.ErrSchema, "has version 99, and this program knows up to 8"},
		{"newer, not to be migrated", "CREATE SCHEMA {s}; CREATE TABLE {s}.migrations (version) AS VALUES (99)", []postgres.Option{postgres.WithoutMigration()}, postgres.ErrSchema, "has version 99"},
		{"another program's tasks", "CREATE SCHEMA {s}; CREATE TABLE {s}.tasks ()", nil, postgres.ErrSchema, "has a table tasks of another program: use WithSchema"},
		{"another program's migrations", "CREATE SCHEMA {s}; CREATE TABLE {s}.migrations (name) AS VALUES ('x')", nil, nil, `column "version" does not exist`},
		{"another program's results", "CREATE SCHEMA {s}; CREATE TABLE {s}.results ()", nil, nil, `0001_tables.sql: ERROR: relation "results" already exists`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			name := schema(t)
			exec(t, strings.ReplaceAll(tt.prepare, "{s}", name))
			_, err := postgres.New(t.Context(), pool, append(tt.opts, postgres.WithSchema(name))...)
			require.ErrorContains(t, err, tt.message)
			if tt.err != nil {
				require.ErrorIs(t, err, tt.err)
			}
			var tables int
			const q = "SELECT count(*) FROM pg_tables WHERE schemaname = $1"
			require.NoError(t, pool.QueryRow(t.Context(), q, name).Scan(&tables))
			assert.LessOrEqual(t, tables, 1, "nothing was created")
		})
	}
	assert.ErrorIs(t, postgres.Migrate(t.Context(), pool, postgres.WithSchema("No")), omniq.ErrInvalid)
}

// Where transactions are not to write by default, nothing writes, and the error says why.
func TestMigrateReadOnly(t *testing.T) {
	at, name := ownDatabase(t)
	exec(t, "ALTER DATABASE "+name+" SET default_transaction_read_only = on")
	_, err := postgres.Open(t.Context(), at)
	require.ErrorContains(t, err, "the database can only be read, want a primary without default_transaction_read_only")
	exec(t, "ALTER DATABASE "+name+" RESET default_transaction_read_only")
	b, err := postgres.Open(t.Context(), at)
	require.NoError(t, err)
	require.NoError(t, b.Close())
}

// Whoever may not create a schema can be given one, and whoever may create nothing can use one that was migrated.
func TestMigrateWithFewRights(t *testing.T) {
	name := schema(t)
	exec(t, "CREATE ROLE "+name+" LOGIN; CREATE SCHEMA "+name)
	t.Cleanup(func() { exec(t, "DROP OWNED BY "+name+"; DROP ROLE "+name) })
	c, err := pgxpool.ParseConfig(url(t))
	require.NoError(t, err)
	c.ConnConfig.User = name
	pool, err := pgxpool.NewWithConfig(t.Context(), c)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	owner := newPool(t)
	where := postgres.WithSchema(name)

	_, err = postgres.New(t.Context(), pool, where)
	require.ErrorContains(t, err, "permission denied for schema")
	require.NoError(t, postgres.Migrate(t.Context(), owner, where))
	exec(t, "GRANT USAGE ON SCHEMA "+name+" TO "+name+"; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA "+name+
		" TO "+name+"; GRANT USAGE ON ALL SEQUENCES IN SCHEMA "+name+" TO "+name)
	b, err := postgres.New(t.Context(), pool, where, postgres.WithoutMigration(), postgres.WithEvents(time.Hour))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	enqueue(t, b, newTask(t, omniq.Unique("k")))
	finish(t, b, lease(t, b), "1", time.Hour)
	events, _, err := b.Events(t.Context(), omniq.EventsRequest{After: omniq.CursorOldest, Max: 10})
	require.NoError(t, err)
	require.Len(t, events, 3)
}

// Who gives up waiting for another's migration is told so, and nothing is left behind.
func TestMigrateGivenUp(t *testing.T) {
	name := schema(t)
	pool := newPool(t)
	tx, err := pool.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = tx.Rollback(context.Background()) }()
	_, err = tx.Exec(t.Context(), "CREATE SCHEMA "+name) // as another one's that is not committed
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	err = postgres.Migrate(ctx, pool, postgres.WithSchema(name))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NoError(t, tx.Rollback(t.Context()))
	require.NoError(t, postgres.Migrate(t.Context(), pool, postgres.WithSchema(name)))
}

// What was stored by the version before lanes goes on in whatever state it is, and with lanes and a limit beside it. So does a program
// of that version that is still connected, as far as it goes: it knows no limit.
func TestMigrateToLanes(t *testing.T) {
	name := schema(t)
	sql := func(text string) string { return strings.ReplaceAll(text, "{schema}", name) }
	exec(t, schemaOf(t, name, 5, ""))
	old := connect(t, url(t))
	one := func(text string, args ...any) (id uuid.UUID) {
		t.Helper()
		require.NoError(t, old.QueryRow(t.Context(), sql(text), args...).Scan((*[16]byte)(&id)))
		return id
	}
	// What the old program does it prepares when it does so first.
	stored := func() uuid.UUID { return one("SELECT {schema}.enqueue('f')") }
	leased := func() uuid.UUID {
		return one(`WITH chosen AS MATERIALIZED (
				SELECT ctid AS at FROM {schema}.tasks t WHERE t.queue = $1 AND t.state = 1 AND (t.rank, t.due, t.seq) > (-1000, '-infinity', 0)
				ORDER BY t.rank, t.due, t.seq LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED),
			counted AS (INSERT INTO {schema}.counts VALUES ($1, 1, -1), ($1, 2, 1))
			UPDATE {schema}.tasks t SET state = 2, attempt = t.attempt + 1, started = true, token = 76, since = now(), worker = 'old',
				wake = now() + interval '1 h' FROM chosen c WHERE t.ctid = c.at RETURNING t.id`, omniq.DefaultQueue)
	}
	ended := func(id uuid.UUID) {
		t.Helper()
		require.Equal(t, id, one(`WITH gone AS (DELETE FROM {schema}.tasks t WHERE t.id = $1 AND t.token = 76 RETURNING t.*),
			kept AS (INSERT INTO {schema}.results (id, since, status, name, queue, worker, lost, result, flow, tie, resumed, followed, progress, saved)
				SELECT id, now(), 3, name, queue, worker, lost, $2, flow, tie, resumed, followed, progress, saved FROM gone),
			counted AS (INSERT INTO {schema}.counts SELECT queue, c.state, c.n FROM gone, LATERAL (VALUES (2, -1), (3, 1)) c (state, n))
			SELECT id FROM gone`, id, `{"task_id":"`+id.String()+`","status":"SUCCESS","timestamp":"2026-11-27T00:00:00Z"}`))
	}
	stored()
	ended(leased())
	running, first, second := stored(), stored(), stored()
	require.Equal(t, running, leased())
	waits := one("SELECT {schema}.enqueue('f', after => ARRAY[$1::uuid])", first)
	scheduled := one("SELECT {schema}.enqueue('f', delay => '1 h')")

	b := open(t, postgres.WithSchema(name))
	laned := []*omniq.RawTask{newTask(t, omniq.Lane("a")), newTask(t, omniq.Lane("a"))}
	enqueue(t, b, laned...)
	require.NoError(t, b.SetLimit(t.Context(), "", omniq.Limit{Running: 3, EachLane: omniq.LaneLimit{Running: 1}}))
	all := anyTask
	all.Max = 9
	leases, err := b.Lease(t.Context(), all)
	require.NoError(t, err)
	require.Len(t, leases, 2, "one runs already")
	assert.Equal(t, []uuid.UUID{first, laned[0].ID}, []uuid.UUID{leases[0].TaskID, leases[1].TaskID}, "a lane comes after what has waited")
	settle(t, b, ending(leases[0], omniq.StatusSuccess, "1"))
	assert.Equal(t, second, lease(t, b).TaskID)
	nothing(t, b)
	ended(running)
	assert.Equal(t, waits, lease(t, b).TaskID)
	nothing(t, b)

	late := stored()
	require.Equal(t, laned[1].ID, leased(), "it knows no limit")
	ended(laned[1].ID)
	settle(t, b, ending(leases[1], omniq.StatusSuccess, "1"))
	assert.Equal(t, late, lease(t, b).TaskID)
	errs, err := b.RunNow(t.Context(), []uuid.UUID{scheduled})
	require.NoError(t, err)
	require.Nil(t, errs)
	nothing(t, b)
	stats, err := b.Stats(t.Context())
	require.NoError(t, err)
	require.Len(t, stats, 1)
	assert.Equal(t, []int{1, 3, 0, 0, 0}, []int{stats[0].Ready, stats[0].Running, stats[0].Scheduled, stats[0].Waiting, stats[0].Lanes})
}

// From the version before history on, all is counted, what was there before it as well; the function for plain SQL, too, which the same
// roles may call. What has failed is listed in the order in which it did. A program of that version that is still connected counts
// nothing.
func TestMigrateToMonitor(t *testing.T) {
	name := schema(t)
	exec(t, "CREATE ROLE "+name)
	t.Cleanup(func() { exec(t, "DROP OWNED BY "+name+"; DROP ROLE "+name) })
	exec(t, schemaOf(t, name, 6, `
		GRANT USAGE ON SCHEMA {schema} TO {schema}; GRANT EXECUTE ON FUNCTION {schema}.enqueue TO {schema};
		SELECT {schema}.enqueue('f'); SELECT {schema}.enqueue('f');
		INSERT INTO {schema}.results (id, since, status, name, queue, result) SELECT i, now() - n * interval '1 s', 4, 'g', 'default',
			'{"task_id":"' || i || '","status":"FAILURE","result_data":null,"timestamp":"2026-11-27T00:00:00Z","ttl":null}'
			FROM (SELECT n, gen_random_uuid() AS i FROM generate_series(1, 5) n) r`))
	b := open(t, postgres.WithSchema(name))
	finish(t, b, lease(t, b), "1", time.Hour)
	settle(t, b, ending(lease(t, b), omniq.StatusFailure, "null"))
	exec(t, "SET ROLE "+name+"; SELECT "+name+".enqueue('f')")
	minutes, err := b.History(t.Context(), time.Hour)
	require.NoError(t, err)
	sum := minutes[0]
	for _, m := range minutes[1:] {
		require.Equal(t, "f", m.FuncName)
		sum.Enqueued, sum.Started, sum.Succeeded, sum.Failed = sum.Enqueued+m.Enqueued, sum.Started+m.Started, sum.Succeeded+m.Succeeded, sum.Failed+m.Failed
	}
	assert.Equal(t, []int{1, 2, 1, 1}, []int{sum.Enqueued, sum.Started, sum.Succeeded, sum.Failed})
	failed, next, err := b.List(t.Context(), omniq.ListRequest{Status: omniq.StatusFailure, Newest: true, Max: 9})
	require.NoError(t, err)
	require.Empty(t, next)
	require.Len(t, failed, 6)
	for i, info := range failed[1:] {
		assert.False(t, info.Since.After(failed[i].Since))
	}
	workers, err := b.Workers(t.Context())
	require.NoError(t, err)
	assert.Empty(t, workers)
}

// A URL tells the schema and what it lacks, and nothing is made. What it lacks is a script that plain SQL can run.
func TestEngineSchema(t *testing.T) {
	steps, err := fs.Glob(os.DirFS("migrations"), "*.sql")
	require.NoError(t, err)
	for before, sql := range map[string]string{
		"nothing":              "SELECT 1",
		"a schema of somebody": "CREATE SCHEMA omniq",
		"version 1":            schemaOf(t, postgres.DefaultSchema, 1, ""),
	} {
		t.Run(before, func(t *testing.T) {
			at, _ := ownDatabase(t)
			db, err := pgx.Connect(t.Context(), at)
			require.NoError(t, err)
			t.Cleanup(func() { assert.NoError(t, db.Close(context.Background())) })
			run := func(sql string) {
				t.Helper()
				_, err := db.PgConn().Exec(t.Context(), sql).ReadAll()
				require.NoError(t, err)
			}
			run(sql)
			c := omniq.DefaultConfig()
			c.BackendURL = at
			s, err := c.Schema(t.Context(), postgres.Engine)
			require.NoError(t, err)
			again, err := c.Schema(t.Context(), postgres.Engine)
			require.NoError(t, err)
			assert.Equal(t, s, again, "it changes nothing")
			assert.Equal(t, strings.HasPrefix(before, "version"), s.Version == 1)
			run(s.SQL)
			s, err = c.Schema(t.Context(), postgres.Engine)
			require.NoError(t, err)
			assert.Equal(t, omniq.Schema{Version: len(steps), Newest: len(steps)}, s)
			b := openAt(t, at, postgres.DefaultSchema, postgres.WithoutMigration())
			enqueue(t, b, newTask(t))
			lease(t, b)
			run("INSERT INTO omniq.migrations (version) VALUES (1000)")
			_, err = c.Schema(t.Context(), postgres.Engine)
			require.ErrorIs(t, err, postgres.ErrSchema)
		})
	}
	c := omniq.DefaultConfig()
	c.BackendURL = "postgres://u:secret@127.0.0.1:1/x"
	_, err = c.Schema(t.Context(), postgres.Engine)
	require.Error(t, err)
	assert.NotContains(t, err.Error(), "secret")
}
