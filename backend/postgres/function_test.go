package postgres_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/postgres"
)

// sqlEnqueue calls the function of the schema.
func sqlEnqueue(t *testing.T, b *postgres.Backend, schema, arguments string) (id uuid.UUID, err error) {
	t.Helper()
	err = b.Pool().QueryRow(t.Context(), "SELECT "+schema+".enqueue("+arguments+")").Scan((*[16]byte)(&id))
	return id, err
}

// What SQL enqueues is what the same call of NewTask makes.
func TestFunction(t *testing.T) {
	name := schema(t)
	b := open(t, postgres.WithSchema(name))
	later := time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond)
	given := uuid.New()
	tests := []struct {
		name, arguments string
		args, kwargs    string
		opts            []omniq.TaskOption
	}{
		{"a name", "'f'", "[]", "{}", nil},
		{"arguments", `'f', '["a.png", 640, 1.50, null, "\u00e9\n\"\\"]', '{"q": {"b": [true]}}'`, `["a.png",640,1.50,null,"é\n\"\\"]`, `{"q":{"b":[true]}}`, nil},
		{"made of values", "'f', jsonb_build_array(1, 'x'), jsonb_build_object('k', 2)", `[1,"x"]`, `{"k":2}`, nil},
		{"a number that no float holds", "'f', '[12345678901234567890123]'", `[12345678901234567890123]`, "{}", nil},
		{"a name with quotes", `'a "quoted\" ключ'`, "[]", "{}", nil},
		{"a queue", "'f', queue => 'images/big'", "[]", "{}", []omniq.TaskOption{omniq.Queue("images/big")}},
		{"priority", "'f', priority => -3", "[]", "{}", []omniq.TaskOption{omniq.Priority(-3)}},
		{"run at", "'f', run_at => '" + later.Format(time.RFC3339Nano) + "'", "[]", "{}", []omniq.TaskOption{omniq.RunAt(later)}},
		{"times", "'f', ttl => '1 day 2.5 s', timeout => '90 s', result_ttl => '0'", "[]", "{}", []omniq.TaskOption{
			omniq.TTL(24*time.Hour + 2500*time.Millisecond), omniq.Timeout(90 * time.Second), omniq.ResultTTL(0),
		}},
		{"a delay", "'f', delay => '1 hour'", "[]", "{}", []omniq.TaskOption{omniq.Delay(time.Hour)}},
		{"no delay", "'f', delay => '0', run_at => '" + later.Format(time.RFC3339Nano) + "'", "[]", "{}", []omniq.TaskOption{omniq.RunAt(later)}},
		{"a month", "'f', ttl => '1 month', delay => '1 month'", "[]", "{}", []omniq.TaskOption{
			omniq.TTL(30 * 24 * time.Hour), omniq.Delay(30 * 24 * time.Hour),
		}},
		{"how long it is kept", "'f', failure_ttl => '2 days', id_for => '3 days'", "[]", "{}", []omniq.TaskOption{
			omniq.FailureTTL(48 * time.Hour), omniq.KeepID(72 * time.Hour),
		}},
		{"depth", "'f', (repeat('[', 511) || repeat(']', 511))::jsonb", strings.Repeat("[", 511) + strings.Repeat("]", 511), "{}", nil},
		{"large and small numbers", "'f', '[1.7976931348623157e308, 1e-400]'", "[1" + "7976931348623157" + strings.Repeat("0", 292) + "," +
			"0." + strings.Repeat("0", 399) + "1]", "{}", nil},
		{"a long argument", "'f', jsonb_build_array(repeat('[', 600))", `["` + strings.Repeat("[", 600) + `"]`, "{}", nil},
		{"the longest time", "'f', ttl => '106751 days'", "[]", "{}", []omniq.TaskOption{omniq.TTL(106751 * 24 * time.Hour)}},
		{"the shortest time", "'f', ttl => '1 microsecond'", "[]", "{}", []omniq.TaskOption{omniq.TTL(time.Microsecond)}},
		{"attempts", "'f', max_attempts => 4", "[]", "{}", []omniq.TaskOption{omniq.Retries(3)}},
		{"metadata", `'f', metadata => '{"trace": "a\"b", "x": ""}'`, "[]", "{}", []omniq.TaskOption{omniq.Metadata("trace", `a"b`), omniq.Metadata("x", "")}},
		{"no metadata", "'f', metadata => '{}'", "[]", "{}", nil},
		{"unique", "'f', unique_key => 'k\"1', unique_for => '1 hour'", "[]", "{}", []omniq.TaskOption{omniq.UniqueFor(`k"1`, time.Hour)}},
		{"an ID", "'f', id => '" + given.String() + "'", "[]", "{}", []omniq.TaskOption{omniq.ID(given)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := time.Now()
			id, err := sqlEnqueue(t, b, name, tt.arguments)
			require.NoError(t, err)
			info, err := b.Inspect(t.Context(), id)
			require.NoError(t, err)
			if info.Status == omniq.StatusExpired { // the one of a microsecond
				require.Equal(t, time.Microsecond, *info.Task.TTL)
				return
			}
			require.Equal(t, omniq.StatusPending, info.Status)
			got := info.Task
			assert.WithinRange(t, got.CreatedAt, before.Add(-time.Millisecond), time.Now())
			require.NoError(t, got.Validate())
			funcName := "f"
			if strings.Contains(tt.name, "quotes") {
				funcName = `a "quoted\" ключ`
			}
			want, err := omniq.NewTask(funcName, omniq.Raw(tt.args), omniq.Raw(tt.kwargs), tt.opts...)
			require.NoError(t, err)
			if !strings.HasPrefix(tt.args, "[[") && !strings.HasPrefix(tt.args, "[17") { // what this test's decoder reads
				assert.JSONEq(t, tt.args, string(got.Args))
			} else {
				assert.Equal(t, tt.args, strings.ReplaceAll(string(got.Args), " ", ""))
			}
			assert.JSONEq(t, tt.kwargs, string(got.Kwargs))
			if given != id {
				assert.Equal(t, uuid.Version(7), id.Version())
				assert.Equal(t, uuid.RFC4122, id.Variant())
				sec, nsec := id.Time().UnixTime()
				assert.WithinDuration(t, got.CreatedAt, time.Unix(sec, nsec), time.Millisecond)
			}
			want.ID, want.CreatedAt, want.Args, want.Kwargs = id, got.CreatedAt, got.Args, got.Kwargs
			assert.Equal(t, &want, got)
			assert.Equal(t, max(want.RunAt.UnixMicro(), got.CreatedAt.Add(want.Delay).UnixMicro()), info.Due.UnixMicro())
			require.NoError(t, b.Pool().QueryRow(t.Context(), "DELETE FROM "+name+".tasks RETURNING ''").Scan(new(string)))
		})
	}
}

// What could not be a task is refused, with what is wrong with it.
func TestFunctionErrors(t *testing.T) {
	name := schema(t)
	b := open(t, postgres.WithSchema(name))
	tests := []struct{ arguments, message string }{
		{"NULL", "name, args, kwargs, queue, priority, notify and manual may not be NULL"},
		{"'f', priority => NULL", "may not be NULL"},
		{"'f', manual => NULL", "may not be NULL"},
		{"'f', flow => '00000000-0000-0000-0000-000000000000'", "flow is nil"},
		{"'f', after => ARRAY[NULL::uuid]", "after and after_final may not have a NULL"},
		{"'f', id => '" + uuid.Max.String() + "', after_final => ARRAY['" + uuid.Max.String() + "'::uuid]", "it depends on itself"},
		{"'f', after => ARRAY['" + uuid.Max.String() + "'::uuid], after_final => ARRAY['" + uuid.Max.String() + "'::uuid]", "it depends on one task twice"},
		{"'f', after => ARRAY['" + uuid.Max.String() + "'::uuid]", "depends on task " + uuid.Max.String() + ", which is unknown or gone"},
		{"''", "name is '', want 1 to 255 bytes"},
		{"repeat('x', 256)", "want 1 to 255 bytes"},
		{"E'a\\nb'", "without control characters"},
		{"' a'", "no white space at an end"},
		{"'f', '{}'", "args are {}, want an array"},
		{"'f', 'null'", "args are null, want an array"},
		{"'f', '[]', '[1]'", "kwargs are [1], want an object"},
		{"'f', '[1'", "invalid input syntax for type json"},
		{"'f', '[\"\\u0000\"]'", "unsupported Unicode escape sequence"},
		{"'f', '[\"\\ud800\"]'", "invalid input syntax for type json"},
		{"'f', queue => ''", "queue is '', want 1 to 100 letters"},
		{"'f', queue => 'a b'", "queue is 'a b'"},
		{"'f', queue => repeat('x', 101)", "want 1 to 100 letters"},
		{"'f', run_at => 'infinity'", "run_at is infinity, want a time in the years 1 to 9999"},
		{"'f', run_at => '-infinity'", "run_at is -infinity"},
		{"'f', run_at => '10000-01-01'", "want a time in the years 1 to 9999"},
		{"'f', ttl => '0'", "ttl is 00:00:00, want 00:00:00.000001 to 106751 days"},
		{"'f', ttl => '106752 days'", "ttl is 106752 days"},
		{"'f', ttl => '1 s', run_at => now() + interval '1 h'", "and the ttl ends before"},
		{"'f', timeout => '-1 s'", "timeout is -00:00:01"},
		{"'f', result_ttl => '-1 s'", "result_ttl is -00:00:01, want 00:00:00 to"},
		{"'f', max_attempts => 0", "max_attempts is 0, want at least 1"},
		{"'f', metadata => '[]'", "metadata are [], want an object of strings"},
		{"'f', metadata => '{\"a\": 1}'", "metadata has \"a\": 1, want a key and a string"},
		{"'f', metadata => '{\"\": \"\"}'", "metadata has \"\": \"\""},
		{"'f', unique_key => ''", "unique_key is ''"},
		{"'f', unique_for => '1 s'", "unique_for is for a task with a unique_key"},
		{"'f', unique_key => 'k', unique_for => '0'", "unique_for is 00:00:00"},
		{"'f', id => '00000000-0000-0000-0000-000000000000'", "id is nil"},
		{"'f', jsonb_build_array(repeat('x', 16*1024*1024))", "bytes, want at most 16 MiB"},
		{"'f', '[1e400]'", "args have a number beyond the range of float64"},
		{"'f', '[]', '{\"a\": [-1e309]}'", "kwargs have a number beyond the range of float64"},
		{"'f', (repeat('[', 512) || repeat(']', 512))::jsonb", "args have more than 511 levels of arrays and objects"},
		{"'f', '[]', (repeat('{\"a\":', 512) || '1' || repeat('}', 512))::jsonb", "kwargs have more than 511 levels"},
		{"E'\\u00a0f'", "no white space at an end"},
		{"E'\\u0085f'", "without control characters"},
		{"E'f\\u2003'", "no white space at an end"},
		{"'f', unique_key => E'k\\u3000'", "no white space at an end"},
		{"'f', unique_key => repeat('é', 128)", "want 1 to 255 bytes"},
		{"'f', keep_event => '-1 s'", "keep_event is -00:00:01"},
		{"'f', keep_event => '200000 years'", "keep_event is 200000 years"},
		{"'f', delay => '-1 s'", "delay is -00:00:01, want 00:00:00 to 106751 days"},
		{"'f', delay => '1 s', run_at => now()", "delay is for a task without a run_at"},
		{"'f', delay => '2 s', ttl => '1 s'", "and the ttl ends before"},
		{"'f', failure_ttl => '-1 s'", "failure_ttl is -00:00:01"},
		{"'f', id_for => '0'", "id_for is 00:00:00"},
		{"'f', to_jsonb(repeat('x', 1000))", "args are \"xxx"},
		{"'f', '[]', to_jsonb(repeat('x', 1000))", "kwargs are \"xxx"},
		{"'f', metadata => jsonb_build_object(repeat('k', 1000), 1)", "metadata has \"kkk"},
		{"'f', queue => repeat('ä', 1000)", "queue is 'äää"},
	}
	for _, tt := range tests {
		t.Run(tt.arguments, func(t *testing.T) {
			_, err := sqlEnqueue(t, b, name, tt.arguments)
			require.ErrorContains(t, err, tt.message)
			var e *pgconn.PgError
			require.ErrorAs(t, err, &e)
			assert.Equal(t, "22", e.Code[:2], "a data exception")
			assert.Less(t, len(e.Message), 600, "it does not quote all")
		})
	}
	stats, err := b.Stats(t.Context())
	require.NoError(t, err)
	assert.Empty(t, stats)
}

// A task that is there already, by its ID or its key, is not enqueued again: its ID is returned.
func TestFunctionTwice(t *testing.T) {
	name := schema(t)
	b := open(t, postgres.WithSchema(name))
	id := uuid.New()
	call := func(arguments string) uuid.UUID {
		got, err := sqlEnqueue(t, b, name, arguments)
		require.NoError(t, err)
		return got
	}
	byID := "'f', id => '" + id.String() + "', result_ttl => '1 h'"
	require.Equal(t, id, call(byID))
	require.Equal(t, id, call(byID))
	l := lease(t, b)
	require.Equal(t, id, call(byID), "it is running")
	finish(t, b, l, "1", time.Hour)
	require.Equal(t, id, call(byID), "it is final")
	_, err := b.Pool().Exec(t.Context(), "UPDATE "+name+".results SET expires = now()")
	require.NoError(t, err)
	require.Equal(t, id, call(byID), "its result is gone: a new life")
	finish(t, b, lease(t, b), "1", 0)

	first := call("'g', unique_key => 'k'")
	require.Equal(t, first, call("'g', unique_key => 'k'"))
	require.NotEqual(t, first, call("'h', unique_key => 'k'"), "keys are the function's")
	duplicate := newTask(t, omniq.Unique("k"))
	duplicate.FuncName = "g"
	errs, err := b.Enqueue(t.Context(), []*omniq.RawTask{duplicate})
	require.NoError(t, err)
	var held omniq.Duplicate
	require.ErrorAs(t, errs[0], &held)
	require.Equal(t, first, held.Holder)
	finish(t, b, lease(t, b), "1", 0)
	finish(t, b, lease(t, b), "1", 0)
	require.NotEqual(t, first, call("'g', unique_key => 'k'"), "it is final")
	finish(t, b, lease(t, b), "1", 0)

	forTime := call("'g', unique_key => 't', unique_for => '1 h'")
	finish(t, b, lease(t, b), "1", 0)
	require.Equal(t, forTime, call("'g', unique_key => 't', unique_for => '1 h'"), "the hour is not over")
	stats, err := b.Stats(t.Context())
	require.NoError(t, err)
	for _, s := range stats {
		assert.Zero(t, s.Ready+s.Running+s.Scheduled, s.Queue)
	}
}

// An ID is kept as long as it was said, whoever enqueued it and whoever asks for it.
func TestFunctionKeepsID(t *testing.T) {
	name := schema(t)
	b := open(t, postgres.WithSchema(name))
	mine, theirs := newTask(t, omniq.KeepID(time.Hour)), newTask(t, omniq.KeepID(time.Hour))
	function := func(id uuid.UUID, arguments string) {
		got, err := sqlEnqueue(t, b, name, "'f', id => '"+id.String()+"'"+arguments)
		require.NoError(t, err)
		require.Equal(t, id, got)
	}
	gone := func(id uuid.UUID) {
		l := lease(t, b)
		require.Equal(t, id, l.TaskID)
		finish(t, b, l, "1", 0)
	}
	none := func() {
		stats, err := b.Stats(t.Context())
		require.NoError(t, err)
		for _, s := range stats {
			require.Zero(t, s.Ready)
		}
	}
	enqueue(t, b, mine)
	gone(mine.ID)
	function(mine.ID, ", id_for => '1 h'")
	none()
	function(theirs.ID, ", id_for => '1 h', unique_key => 'k'")
	gone(theirs.ID)
	errs, err := b.Enqueue(t.Context(), []*omniq.RawTask{theirs})
	require.NoError(t, err)
	require.Equal(t, omniq.Duplicate{ID: theirs.ID, Holder: theirs.ID}, errs[0])
	none()
	function(theirs.ID, ", unique_key => 'k'") // who keeps none does not ask for it
	gone(theirs.ID)
	enqueue(t, b, newTask(t, omniq.Unique("k"))) // the key is free
}

// A trigger enqueues in the transaction of its statement, which wakes who waits when it commits.
func TestFunctionInTrigger(t *testing.T) {
	name := schema(t)
	b := open(t, postgres.WithSchema(name), postgres.WithEvents(time.Hour), postgres.WithPollInterval(time.Hour))
	listening(t, b, name, 1)
	orders := name + ".orders"
	for _, q := range []string{
		"CREATE TABLE " + orders + " (id integer)",
		"CREATE FUNCTION " + name + ".ordered() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM " + name +
			".enqueue('f', jsonb_build_array(NEW.id), keep_event => '1 h'); RETURN NEW; END $$",
		"CREATE TRIGGER ordered AFTER INSERT ON " + orders + " FOR EACH ROW EXECUTE FUNCTION " + name + ".ordered()",
	} {
		_, err := b.Pool().Exec(t.Context(), q)
		require.NoError(t, err)
	}
	waiting := later(t, func(ctx context.Context) ([]omniq.Lease, error) { return b.Lease(ctx, anyTask) })
	require.Eventually(t, b.Listens, 10*time.Second, time.Millisecond)
	require.ErrorIs(t, pgx.BeginFunc(t.Context(), b.Pool(), func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), "INSERT INTO "+orders+" VALUES (1)")
		require.NoError(t, err)
		return pgx.ErrTxClosed // for any reason
	}), pgx.ErrTxClosed)
	_, err := b.Pool().Exec(t.Context(), "INSERT INTO "+orders+" VALUES (2), (3)")
	require.NoError(t, err)
	require.Equal(t, "[2]", string((<-waiting)[0].Task.Args))
	require.Equal(t, "[3]", string(lease(t, b).Task.Args))
	events, _, err := b.Events(t.Context(), omniq.EventsRequest{After: omniq.CursorOldest, Max: 10})
	require.NoError(t, err)
	require.Len(t, events, 4)
	require.Equal(t, omniq.EventEnqueued, events[0].EventType)
}

// Who may enqueue needs no right on the tables, and has none.
func TestFunctionRights(t *testing.T) {
	name := schema(t)
	b := open(t, postgres.WithSchema(name))
	as := func(sql string) error {
		return pgx.BeginFunc(t.Context(), b.Pool(), func(tx pgx.Tx) error {
			if _, err := tx.Exec(t.Context(), "SET LOCAL ROLE "+name); err != nil {
				return err
			}
			_, err := tx.Exec(t.Context(), sql)
			return err
		})
	}
	call := "SELECT " + name + ".enqueue('f')"
	exec(t, "CREATE ROLE "+name)
	t.Cleanup(func() { exec(t, "DROP OWNED BY "+name+"; DROP ROLE "+name) })
	require.ErrorContains(t, as(call), "permission denied for schema")
	exec(t, "GRANT USAGE ON SCHEMA "+name+" TO "+name)
	require.ErrorContains(t, as(call), "permission denied for function")
	exec(t, "GRANT EXECUTE ON FUNCTION "+name+".enqueue TO "+name)
	require.NoError(t, as(call))
	require.ErrorContains(t, as("SELECT FROM "+name+".tasks"), "permission denied for table")
}

// A row that was written by hand and is no task fails as such, and is in nobody's way.
func TestUnreadable(t *testing.T) {
	name := schema(t)
	b := open(t, postgres.WithSchema(name))
	tasks := []*omniq.RawTask{newTask(t), newTask(t), newTask(t), newTask(t, omniq.Delay(time.Hour)), newTask(t)}
	enqueue(t, b, tasks...)
	for i, envelope := range []string{"{", `{"id":1}`, "", "x"} {
		_, err := b.Pool().Exec(t.Context(), "UPDATE "+name+".tasks SET task = $1 WHERE id = $2", envelope, tasks[i].ID.String())
		require.NoError(t, err)
	}
	require.Equal(t, tasks[4].ID, lease(t, b).TaskID)
	for _, task := range tasks[:3] {
		r, err := b.Result(t.Context(), task.ID)
		require.NoError(t, err)
		require.Equal(t, omniq.StatusFailure, r.Status)
		assert.Equal(t, "omniq.Decode", r.Error.Type)
		assert.Contains(t, r.Error.Message, "the task cannot be read: ")
	}
	for status, n := range map[omniq.Status]int{omniq.StatusFailure: 3, omniq.StatusPending: 1} {
		list, _, err := b.List(t.Context(), omniq.ListRequest{Status: status, Max: 10})
		require.NoError(t, err)
		require.Len(t, list, n)
	}
	errs, err := b.Requeue(t.Context(), ids(tasks[0]), false)
	require.NoError(t, err)
	require.ErrorContains(t, errs[0], tasks[0].ID.String())
	errs, err = b.Cancel(t.Context(), ids(tasks[3]))
	require.NoError(t, err)
	require.Nil(t, errs)
}

// Tasks that SQL enqueues wait for others, are manual and members of a flow, as those that a client enqueues.
func TestFunctionFlow(t *testing.T) {
	name := schema(t)
	b := open(t, postgres.WithSchema(name), postgres.WithEvents(time.Hour))
	call := func(q interface {
		QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	}, arguments string,
	) (id uuid.UUID, err error) {
		err = q.QueryRow(t.Context(), "SELECT "+name+".enqueue("+arguments+")").Scan((*[16]byte)(&id))
		return id, err
	}
	flow := uuid.New()
	member := ", flow => '" + flow.String() + "'"
	var first, second, third, manual uuid.UUID
	require.NoError(t, pgx.BeginFunc(t.Context(), b.Pool(), func(tx pgx.Tx) (err error) {
		first, err = call(tx, "'f'"+member)
		require.NoError(t, err)
		manual, err = call(tx, "'f', manual => true"+member)
		require.NoError(t, err)
		second, err = call(tx, "'f', after => ARRAY['"+first.String()+"'::uuid], delay => '1 microsecond'"+member)
		require.NoError(t, err)
		third, err = call(tx, "'f', after => ARRAY['"+second.String()+"'::uuid], after_final => ARRAY['"+manual.String()+"'::uuid]"+member)
		return err
	}))
	_, err := call(b.Pool(), "'f'"+member)
	require.ErrorContains(t, err, "flow "+flow.String()+" is stored already")
	require.ErrorContains(t, err, "SQLSTATE 22023")
	stats, err := b.FlowStats(t.Context(), flow)
	require.NoError(t, err)
	require.Equal(t, omniq.FlowStats{Waiting: 3, Pending: 1}, stats)
	l := lease(t, b)
	require.Equal(t, first, l.TaskID)
	settle(t, b, ending(l, omniq.StatusSuccess, "1"))
	l = lease(t, b)
	require.Equal(t, second, l.TaskID)
	require.Equal(t, []omniq.Dependency{{ID: first}}, l.Task.After)
	require.Equal(t, []*omniq.RawResult{nil}, l.Inputs)
	require.Equal(t, flow, l.Task.Flow)
	settle(t, b, ending(l, omniq.StatusSuccess, "1"))
	info, err := b.Inspect(t.Context(), third)
	require.NoError(t, err)
	require.Equal(t, omniq.StatusWaiting, info.Status)
	require.Equal(t, []omniq.Dependency{{ID: second}, {ID: manual, Need: omniq.NeedFinal}}, info.After)
	errs, err := b.Resolve(t.Context(), []*omniq.RawResult{{
		TaskID: manual, Status: omniq.StatusFailure, Timestamp: time.Now().UTC(), Error: &omniq.TaskError{Message: "no"},
	}})
	require.NoError(t, err)
	require.Nil(t, errs)
	require.Equal(t, third, lease(t, b).TaskID)

	done, err := call(b.Pool(), "'f', after => ARRAY['"+first.String()+"'::uuid], after_final => ARRAY['"+manual.String()+"'::uuid]")
	require.NoError(t, err)
	require.Equal(t, done, lease(t, b).TaskID, "all has ended as it is needed")
	blocked, err := call(b.Pool(), "'f', after => ARRAY['"+manual.String()+"'::uuid]")
	require.NoError(t, err)
	r, err := b.Await(t.Context(), blocked)
	require.NoError(t, err)
	require.ErrorIs(t, r.Error, omniq.ErrDependency)
	require.ErrorContains(t, r.Error, manual.String())
	none(t, b)
}
