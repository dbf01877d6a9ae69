package postgres_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/postgres"
)

// A caller's transaction that has enqueued, and stays open, is in the way of nobody but those who want the same ID or key:
// not of those who share a call with them, nor of what is done to the tasks that it has named in vain.
func TestOpenTransactionHinders(t *testing.T) {
	t.Parallel()
	name := schema(t)
	b := openAt(t, with(t, url(t), "pool_max_conns=4"), name)
	client, err := omniq.NewClient(b)
	require.NoError(t, err)
	run := omniq.ReferArgs[omniq.Args1[int], int]("f")
	for kind, same := range map[string]func() omniq.TaskOption{
		"unique key": func() omniq.TaskOption { return omniq.Unique("k") },
		"ID":         func() omniq.TaskOption { return omniq.ID(uuid.Max) },
	} {
		t.Run(kind, func(t *testing.T) {
			running := newTask(t, omniq.Unique("running"), omniq.Priority(1))
			enqueue(t, b, running)
			l := lease(t, b)
			require.Equal(t, running.ID, l.TaskID)
			tx, err := b.Pool().Begin(t.Context())
			require.NoError(t, err)
			t.Cleanup(func() { _ = tx.Rollback(context.Background()) })
			_, err = run.Enqueue(t.Context(), client.Through(b.Tx(tx)), omniq.MakeArgs1(1), same())
			require.NoError(t, err)
			for _, again := range []*omniq.RawTask{running, newTask(t, omniq.Unique("running"))} {
				errs, err := b.Tx(tx).Enqueue(t.Context(), []*omniq.RawTask{again})
				require.NoError(t, err)
				require.ErrorIs(t, errs[0], omniq.ErrDuplicate)
				_, err = tx.Exec(t.Context(), "SELECT "+name+".enqueue('f', unique_key => 'running', id => $1)", again.ID.String())
				require.NoError(t, err)
			}

			waiting := make(chan error, 8) // more than the pool has connections
			waits, stop := context.WithCancel(t.Context())
			defer stop()
			for range cap(waiting) {
				go func() {
					_, err := run.Enqueue(waits, client, omniq.MakeArgs1(2), same())
					waiting <- err
				}()
			}
			for range 100 {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				_, err := run.Enqueue(ctx, client, omniq.MakeArgs1(3))
				cancel()
				require.NoError(t, err)
			}
			errs, err := b.Extend(t.Context(), []omniq.LeaseID{l.LeaseID}, time.Hour)
			require.NoError(t, err)
			require.Nil(t, errs)
			finish(t, b, l, "1", time.Hour)
			require.Empty(t, waiting)

			short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			_, err = run.Enqueue(short, client, omniq.MakeArgs1(4), same())
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.NoError(t, tx.Commit(t.Context()))
			for range cap(waiting) {
				assert.ErrorIs(t, <-waiting, omniq.ErrDuplicate)
			}
		})
	}
}

// A caller's transaction that lets tasks take the places and the keys of others, and stays open, is in the way of those who want
// these very tasks and keys. A holder that is under way goes on; what its end has to wait for is the key, and for a second.
func TestOpenTransactionReplaces(t *testing.T) {
	t.Parallel()
	b := openAt(t, with(t, url(t), "pool_max_conns=4"), schema(t))
	client, err := omniq.NewClient(b)
	require.NoError(t, err)
	running, pending := newTask(t, omniq.Unique("running"), omniq.Priority(1)), newTask(t, omniq.Unique("pending"))
	enqueue(t, b, running, pending)
	l := lease(t, b)
	require.Equal(t, running.ID, l.TaskID)
	tx, err := b.Pool().Begin(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { _ = tx.Rollback(context.Background()) })
	by := newTask(t, omniq.Latest("running"))
	errs, err := b.Tx(tx).Enqueue(t.Context(), []*omniq.RawTask{newTask(t, omniq.Replace("pending"), omniq.Priority(7)), by})
	require.NoError(t, err)
	require.ErrorIs(t, errs[0], omniq.ErrDuplicate)
	require.NoError(t, errs[1])

	run := omniq.ReferArgs[omniq.Args1[int], int]("f")
	waiting := make(chan error, 8) // more than the pool has connections
	for i := range cap(waiting) {
		go func() {
			_, err := run.Enqueue(t.Context(), client, omniq.MakeArgs1(i), omniq.Replace([]string{"pending", "running"}[i%2]))
			waiting <- err
		}()
	}
	for i := range 50 {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		_, err := run.Enqueue(ctx, client, omniq.MakeArgs1(3), omniq.Debounce("other", time.Hour, 0))
		require.NoError(t, err)
		_, err = run.Enqueue(ctx, client, omniq.MakeArgs1(i))
		require.NoError(t, err)
		_, err = run.Enqueue(ctx, client, omniq.MakeArgs1(i), omniq.Unique([]string{"pending", "running"}[i%2]))
		require.ErrorIs(t, err, omniq.ErrDuplicate)
		cancel()
	}
	for range 50 { // all but the one that is to be another
		require.NotEqual(t, pending.ID, lease(t, b).TaskID)
	}
	nothing(t, b)
	errs, err = b.Extend(t.Context(), []omniq.LeaseID{l.LeaseID}, time.Hour)
	require.NoError(t, err)
	require.Nil(t, errs)
	errs, err = b.Settle(t.Context(), []omniq.Settlement{success(l)})
	require.NoError(t, err)
	require.ErrorContains(t, errs[0], "another transaction has locked task "+running.ID.String()+", or its unique key")
	require.Empty(t, waiting)
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = b.Enqueue(short, []*omniq.RawTask{newTask(t, omniq.Replace("pending"))})
	require.ErrorIs(t, err, context.DeadlineExceeded)

	require.NoError(t, tx.Commit(t.Context()))
	for range cap(waiting) {
		require.NoError(t, <-waiting)
	}
	finish(t, b, l, "1", time.Hour)
	ids := make([]uuid.UUID, 0, 2)
	for range 2 {
		ids = append(ids, lease(t, b).TaskID)
	}
	require.ElementsMatch(t, []uuid.UUID{pending.ID, by.ID}, ids)
	nothing(t, b)
}

// What each call does while another transaction has locked what it touches: those who enqueue wait as long as their
// context does, those who hold leases are told about the task that is locked and go on with the others.
func TestLockedRows(t *testing.T) {
	t.Parallel()
	name := schema(t)
	b := openAt(t, url(t), name)
	mine, other := newTask(t, omniq.Unique("k")), newTask(t)
	enqueue(t, b, mine, other)
	first, second := lease(t, b), lease(t, b)
	tx, err := b.Pool().Begin(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { _ = tx.Rollback(context.Background()) })
	_, err = tx.Exec(t.Context(), "SELECT FROM "+name+".tasks WHERE id = $1 FOR UPDATE", first.TaskID.String())
	require.NoError(t, err)

	// It has looked in vain once when it knows that it is locked out, which takes a moment on a busy machine.
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	_, err = b.Cancel(ctx, []uuid.UUID{first.TaskID})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "locked out by another transaction")
	both := []omniq.LeaseID{first.LeaseID, second.LeaseID}
	errs, err := b.Extend(t.Context(), both, time.Hour)
	require.NoError(t, err)
	require.ErrorContains(t, errs[0], "another transaction has locked task "+first.TaskID.String())
	require.NoError(t, errs[1])
	errs, err = b.Settle(t.Context(), []omniq.Settlement{
		{LeaseID: first.LeaseID, Action: omniq.ActionRetry}, {LeaseID: second.LeaseID, Action: omniq.ActionRetry},
	})
	require.NoError(t, err)
	require.ErrorContains(t, errs[0], "another transaction has locked task "+first.TaskID.String())
	require.NoError(t, errs[1])
	errs, err = b.Enqueue(t.Context(), []*omniq.RawTask{mine, newTask(t, omniq.Unique("k"))}) // which touches neither
	require.NoError(t, err)
	require.ErrorIs(t, errs[0], omniq.ErrDuplicate)
	require.ErrorIs(t, errs[1], omniq.ErrDuplicate)
	require.NoError(t, tx.Commit(t.Context()))
	finish(t, b, first, "1", time.Hour)
}

// The connection breaks after the database has got a commit, and before its answer: the outcome is not known, and to
// enqueue again finds the task itself.
func TestUncertain(t *testing.T) {
	t.Parallel()
	name := schema(t)
	p := startProxy(t, url(t))
	b := openAt(t, with(t, p.url, "pool_max_conns=1"), name)
	enqueue(t, b, newTask(t)) // what is prepared for it stays on the connection
	var task *omniq.RawTask
	var err error
	require.Eventually(t, func() bool { // it may be another one's answer that is cut
		task = newTask(t)
		p.cutAnswers()
		_, err = b.Enqueue(t.Context(), []*omniq.RawTask{task})
		return err != nil
	}, 30*time.Second, time.Millisecond)
	require.ErrorIs(t, err, omniq.ErrUncertain)
	require.Eventually(t, func() bool {
		errs, err := b.Enqueue(t.Context(), []*omniq.RawTask{task})
		var d omniq.Duplicate
		return err == nil && errs != nil && errors.As(errs[0], &d) && d.Holder == task.ID
	}, 10*time.Second, 10*time.Millisecond)

	exec(t, "ALTER TABLE "+name+".counts RENAME TO elsewhere")
	_, err = b.Enqueue(t.Context(), []*omniq.RawTask{newTask(t)})
	require.ErrorContains(t, err, "does not exist")
	require.NotErrorIs(t, err, omniq.ErrUncertain, "the database has said no")
}

// A process that has nothing to do keeps two connections, and makes a transaction a second.
func TestIdle(t *testing.T) {
	t.Parallel()
	at, name := ownDatabase(t)
	b := openAt(t, with(t, at, "application_name="+name, "pool_max_conn_idle_time=1s", "pool_health_check_period=100ms"), "omniq")
	work(t, b, omniq.Handlers(double), omniq.Concurrency(8))
	client, err := omniq.NewClient(b)
	require.NoError(t, err)
	h, err := double.Enqueue(t.Context(), client, omniq.MakeArgs1(2))
	require.NoError(t, err)
	_, err = h.Wait(t.Context())
	require.NoError(t, err)

	own := connect(t, url(t))
	count := func(q string) (n int) {
		require.NoError(t, own.QueryRow(t.Context(), q, name).Scan(&n))
		return n
	}
	const connections = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND application_name = $1"
	require.Eventually(t, func() bool { return count(connections) == 2 }, 30*time.Second, 100*time.Millisecond)
	const transactions = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = $1 AND pg_stat_clear_snapshot() IS NOT NULL"
	const seconds = 5
	require.Eventually(t, func() bool { // sessions tell what they did with a delay
		before := count(transactions)
		began := time.Now()
		require.Eventually(t, func() bool { return time.Since(began) > seconds*time.Second }, time.Minute, 100*time.Millisecond)
		n := count(transactions) - before
		t.Logf("%d transactions in %v", n, time.Since(began))
		return float64(n) <= 1.5*time.Since(began).Seconds()+1
	}, time.Minute, time.Millisecond)
	require.LessOrEqual(t, count(connections), 2)
}

// A database as others run it: with each setting that has been seen to be in the way of a program.
func TestOddSettings(t *testing.T) {
	t.Parallel()
	at, name := ownDatabase(t)
	for _, setting := range []string{
		"standard_conforming_strings = off", "default_transaction_isolation = 'serializable'",
		"lock_timeout = '1ms'", "search_path = ''", "DateStyle = 'German'",
		"IntervalStyle = 'sql_standard'", "TimeZone = 'Asia/Kathmandu'", "quote_all_identifiers = on",
		"default_table_access_method = 'heap'", "plan_cache_mode = 'force_custom_plan'", "bytea_output = 'escape'",
	} {
		exec(t, "ALTER DATABASE "+name+" SET "+setting)
	}
	_, err := connect(t, at).Exec(t.Context(), "CREATE PUBLICATION everything FOR ALL TABLES")
	require.NoError(t, err)
	aliveIn(t, at)
}

// aliveIn lets a task go all its ways in a database.
func aliveIn(t *testing.T, at string) {
	t.Helper()
	b := openAt(t, at, "omniq", postgres.WithEvents(time.Hour))
	task := newTask(t, omniq.Unique("k"))
	enqueue(t, b, task)
	tx, err := b.Pool().BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadWrite})
	require.NoError(t, err)
	enqueue(t, b.Tx(tx), newTask(t))
	_, err = tx.Exec(t.Context(), `SELECT omniq.enqueue('f', '["\\u00e9 \\\\"]', unique_key => 'l', ttl => '1 h')`)
	require.NoError(t, err)
	require.NoError(t, tx.Commit(t.Context()))
	finish(t, b, lease(t, b), "1", 0)
	finish(t, b, lease(t, b), "1", time.Hour)
	l := lease(t, b)
	require.NotEqual(t, task.ID, l.TaskID)
	errs, err := b.Cancel(t.Context(), []uuid.UUID{l.TaskID})
	require.NoError(t, err)
	require.Nil(t, errs)
	errs, err = b.Requeue(t.Context(), []uuid.UUID{l.TaskID}, false)
	require.NoError(t, err)
	require.Nil(t, errs)
	finish(t, b, lease(t, b), "1", 0)
	events, _, err := b.Events(t.Context(), omniq.EventsRequest{After: omniq.CursorOldest, Max: 100})
	require.NoError(t, err)
	require.NotEmpty(t, events)
	require.Eventually(t, func() bool { // results that are not kept go by themselves
		var n int
		err := b.Pool().QueryRow(t.Context(), "SELECT count(*) FROM omniq.results").Scan(&n)
		return err == nil && n == 1
	}, 30*time.Second, 50*time.Millisecond)
}

// What acknowledged work survives is said by the settings that there are.
func TestSurvives(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	exec := func(sql string) {
		_, err := connect(t, s.URL()).Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	for _, tt := range []struct {
		setting string
		want    omniq.Survival
	}{
		{"synchronous_commit = 'on'", omniq.SurvivesPower},
		{"synchronous_commit = 'off'", omniq.SurvivesProcess},
		{"synchronous_commit = 'local'", omniq.SurvivesPower},
		{"fsync = off", omniq.SurvivesServer},
		{"full_page_writes = off", omniq.SurvivesServer},
	} {
		key, _, _ := strings.Cut(tt.setting, " ")
		exec("ALTER SYSTEM SET " + tt.setting)
		exec("SELECT pg_reload_conf()")
		require.Eventually(t, func() bool {
			b := openAt(t, s.URL(), "omniq")
			defer func() { require.NoError(t, b.Close()) }()
			return b.Capabilities().Survives == tt.want
		}, 10*time.Second, 10*time.Millisecond, tt.setting)
		exec("ALTER SYSTEM RESET " + key)
	}
}
