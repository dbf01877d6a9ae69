package sqlite_test

import (
	"database/sql"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/sqlite"
)

// run makes a database file with the statements.
func run(t *testing.T, path string, statements ...string) {
	t.Helper()
	db, err := sql.Open("sqlite", path+"?_pragma=busy_timeout(10000)")
	require.NoError(t, err)
	defer func() { assert.NoError(t, db.Close()) }()
	for _, s := range statements {
		_, err := db.Exec(s)
		require.NoError(t, err, s)
	}
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	garbage := make([]byte, 10_000)
	for i := range garbage {
		garbage[i] = byte(i * 7)
	}
	ours := func(t *testing.T, path string) {
		b, err := sqlite.Open(path)
		require.NoError(t, err)
		enqueue(t, b, newTasks(1000)...)
		require.NoError(t, b.Close())
	}
	for _, c := range []struct {
		name    string
		path    string
		opts    []sqlite.Option
		prepare func(t *testing.T, path string)
		is      error
		says    string
	}{
		{name: "no path", is: omniq.ErrInvalid, says: "path"},
		{name: "memory", path: ":memory:", is: omniq.ErrInvalid, says: "backend/memory"},
		{name: "a negative poll interval", path: at("a"), opts: []sqlite.Option{sqlite.WithPollInterval(-1)}, is: omniq.ErrInvalid, says: "poll"},
		{name: "a negative retention", path: at("a"), opts: []sqlite.Option{sqlite.WithEvents(-1)}, is: omniq.ErrInvalid, says: "events"},
		{name: "no retention", path: at("a"), opts: []sqlite.Option{sqlite.WithEvents(0)}, is: omniq.ErrInvalid, says: "events"},
		{name: "no directory", path: at("none/file"), is: fs.ErrNotExist, says: "directory"},
		{name: "a directory", path: dir, is: fs.ErrInvalid, says: "no regular file"},
		{name: "garbage", path: at("garbage"), is: sqlite.ErrCorrupt, says: "not a database", prepare: func(t *testing.T, path string) {
			require.NoError(t, os.WriteFile(path, garbage, 0o600))
		}},
		{name: "truncated", path: at("truncated"), is: sqlite.ErrCorrupt, says: "malformed", prepare: func(t *testing.T, path string) {
			ours(t, path)
			info, err := os.Stat(path)
			require.NoError(t, err)
			require.NoError(t, os.Truncate(path, info.Size()/2))
		}},
		{name: "a newer version", path: at("newer"), is: sqlite.ErrSchema, says: "version 1000, and this program knows 1 to", prepare: func(t *testing.T, path string) {
			ours(t, path)
			run(t, path, "UPDATE omniq_schema SET version = 1000")
		}},
		{name: "no version", path: at("none"), is: sqlite.ErrSchema, says: "version 0", prepare: func(t *testing.T, path string) {
			ours(t, path)
			run(t, path, "DELETE FROM omniq_schema")
		}},
		{name: "tables without a version", path: at("lost"), is: sqlite.ErrSchema, says: "omniq_schema", prepare: func(t *testing.T, path string) {
			ours(t, path)
			run(t, path, "DROP TABLE omniq_schema")
		}},
		{name: "a newer version of old", path: at("old"), is: sqlite.ErrSchema, says: "version 1000", prepare: func(t *testing.T, path string) {
			ours(t, path)
			run(t, path, "DROP TABLE omniq_schema", "PRAGMA application_id = 0x4f6d6e51", "PRAGMA user_version = 1000")
		}},
		{name: "a URI", path: "file:q.db", is: omniq.ErrInvalid, says: "no URI"},
		{name: "a URI of memory", path: "file::memory:?cache=shared", is: omniq.ErrInvalid, says: "no URI"},
		{name: "memory with parameters", path: ":memory:?cache=shared", is: omniq.ErrInvalid, says: "backend/memory"},
		{name: "a PRAGMA", path: "q.db?_pragma=journal_mode(WAL)", is: omniq.ErrInvalid, says: "without parameters"},
		{name: "a parameter", path: "q.db?mode=ro", is: omniq.ErrInvalid, says: "without parameters"},
		{name: "a home directory", path: "~/q.db", is: omniq.ErrInvalid, says: "~"},
		{name: "a line break", path: "q.db\n", is: omniq.ErrInvalid, says: `"q.db\n"`},
		{name: "a space", path: " q.db", is: omniq.ErrInvalid, says: "spaces"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.prepare != nil {
				c.prepare(t, c.path)
			}
			b, err := sqlite.Open(c.path, c.opts...)
			require.Error(t, err)
			assert.Nil(t, b)
			assert.ErrorContains(t, err, c.says)
			if c.is != nil {
				assert.ErrorIs(t, err, c.is)
			}
			if c.is != omniq.ErrInvalid {
				assert.ErrorContains(t, err, c.path)
			}
		})
	}
}

// A file that is not for us is not touched.
func TestOpenLeavesOthersAlone(t *testing.T) {
	path := place(t)
	run(t, path, "CREATE TABLE omniq_tasks (x)")
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	_, err = sqlite.Open(path)
	require.ErrorIs(t, err, sqlite.ErrSchema)
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, before, after)
}

// pragma is the number that a PRAGMA tells of a file.
func pragma(t *testing.T, db *sql.DB, name string) (n int) {
	t.Helper()
	require.NoError(t, db.QueryRow("PRAGMA "+name).Scan(&n))
	return n
}

// What acknowledged work survives is told by the settings of the file.
func TestSurvives(t *testing.T) {
	assert.Equal(t, omniq.SurvivesPower, open(t, place(t)).Capabilities().Survives)
	assert.Equal(t, omniq.SurvivesProcess, open(t, place(t), sqlite.WithSynchronousNormal()).Capabilities().Survives)
}

// The numbers by which other programs know their files are theirs.
func TestOpenLeavesNumbersAlone(t *testing.T) {
	path := place(t)
	run(t, path, "PRAGMA application_id = 42", "PRAGMA user_version = 7", "CREATE TABLE orders (id INTEGER PRIMARY KEY)")
	for range 2 {
		b, err := sqlite.Open(path)
		require.NoError(t, err)
		assert.Equal(t, 42, pragma(t, b.DB(), "application_id"))
		assert.Equal(t, 7, pragma(t, b.DB(), "user_version"))
		enqueue(t, b, newTasks(1)...)
		require.NoError(t, b.Close())
	}
}

// A file whose version is its user_version is taken over with what is in it. The number is free; programs that look for
// their version there find a file of theirs with one that they do not know.
func TestOpenOld(t *testing.T) {
	path := place(t)
	script, err := os.ReadFile("migrations/0001.sql")
	require.NoError(t, err)
	task := newTasks(1)[0]
	envelope, err := task.MarshalJSON()
	require.NoError(t, err)
	run(t, path, string(script), "PRAGMA application_id = 0x4f6d6e51", "PRAGMA user_version = 1",
		fmt.Sprintf(`INSERT INTO omniq_tasks (id, name, queue, priority, due, state, attempt, since, task)
			VALUES (x'%x', 'f', 'default', 0, 1, 1, 0, 1, '%s')`, task.ID[:], envelope),
		"INSERT INTO omniq_counts VALUES ('default', 1, 1)")
	for range 2 {
		b, err := sqlite.Open(path)
		require.NoError(t, err)
		assert.Equal(t, 0x4f6d6e51, pragma(t, b.DB(), "application_id"))
		assert.Zero(t, pragma(t, b.DB(), "user_version"))
		info, err := b.Inspect(t.Context(), task.ID)
		require.NoError(t, err)
		assert.Equal(t, omniq.StatusPending, info.Status)
		require.NoError(t, b.Close())
	}
	b := open(t, path)
	assert.Equal(t, task.ID, lease(t, b, time.Minute).TaskID)
}

// A file that a newer program upgrades while it is open is not written any more, by nobody here.
func TestUpgradedMeanwhile(t *testing.T) {
	path := place(t)
	b := open(t, path)
	foreign, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, foreign.Close()) })
	waiting := make(chan error, 1)
	go func() {
		_, err := b.Lease(t.Context(), omniq.LeaseRequest{
			Queues: []string{"q"}, Max: 1, Duration: time.Minute, Wait: time.Minute,
		})
		waiting <- err
	}()
	enqueue(t, b, newTasks(1)...)
	run(t, path, "UPDATE omniq_schema SET version = 1000")

	transaction, err := foreign.Begin()
	require.NoError(t, err)
	_, err = b.Tx(transaction).Enqueue(t.Context(), newTasks(1))
	assert.ErrorIs(t, err, sqlite.ErrSchema)
	require.NoError(t, transaction.Rollback())
	_, err = b.Enqueue(t.Context(), newTasks(1))
	assert.ErrorIs(t, err, sqlite.ErrSchema)
	assert.ErrorContains(t, err, "a newer one has upgraded it")
	assert.ErrorIs(t, <-waiting, sqlite.ErrSchema)
	_, err = b.Stats(t.Context())
	assert.ErrorIs(t, err, sqlite.ErrSchema)
	var n int
	require.NoError(t, foreign.QueryRow("SELECT count(*) FROM omniq_tasks").Scan(&n))
	assert.Equal(t, 1, n)
}

// A path with characters that mean something in URIs is only a path, and tables of others may be there.
func TestOpenBesideOtherTables(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a b?c=1&d#e%20ж.db")
	b := open(t, path)
	_, err := b.DB().Exec("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
	require.NoError(t, err)
	_, err = os.Stat(path)
	require.NoError(t, err)

	other := place(t)
	run(t, other, "CREATE TABLE orders (id INTEGER PRIMARY KEY)", "INSERT INTO orders VALUES (7)")
	b = open(t, other)
	var id int
	require.NoError(t, b.DB().QueryRow("SELECT id FROM orders").Scan(&id))
	assert.Equal(t, 7, id)
}

// Everything is as it was when the file is opened again.
func TestReopen(t *testing.T) {
	path := place(t)
	b, err := sqlite.Open(path, sqlite.WithEvents(time.Hour))
	require.NoError(t, err)
	tasks := newTasks(6)
	ttl, keep, timeout := time.Hour, 90*time.Second, 5*time.Second
	full := tasks[0]
	full.TTL, full.ResultTTL, full.Timeout = &ttl, &keep, timeout
	full.Queue, full.Priority, full.MaxAttempts = "full", -3, 4
	full.RunAt = full.CreatedAt.Truncate(time.Microsecond)
	full.CreatedAt = full.RunAt
	full.Metadata = map[string]string{"trace": "ж\"\\"}
	full.UniqueKey, full.UniqueFor = "key", time.Minute
	full.Args, full.Kwargs, full.Codec = omniq.Raw(`["AAEC"]`), omniq.Raw(`{}`), ""
	tasks[1].RunAt = time.Now().Add(time.Hour)
	enqueue(t, b, tasks...)
	require.Equal(t, 1, leaseAndSettle(t, b, 1)) // tasks[2]
	held := lease(t, b, time.Minute)             // tasks[3]
	_, err = b.Cancel(t.Context(), ids(tasks[4]))
	require.NoError(t, err)
	require.NoError(t, b.Pause(t.Context(), "paused"))
	require.NoError(t, b.Close())

	b = open(t, path, sqlite.WithEvents(time.Hour))
	for i, want := range []omniq.Status{
		omniq.StatusPending, omniq.StatusPending, omniq.StatusSuccess, omniq.StatusRunning, omniq.StatusCancelled, omniq.StatusPending,
	} {
		info, err := b.Inspect(t.Context(), tasks[i].ID)
		require.NoError(t, err)
		assert.Equal(t, want, info.Status, "task %d", i)
	}
	got, err := b.Lease(t.Context(), omniq.LeaseRequest{Queues: []string{"full"}, Max: 1, Duration: time.Minute})
	require.NoError(t, err)
	require.Len(t, got, 1)
	assert.Equal(t, full, got[0].Task)
	require.Equal(t, 1, leaseAndSettle(t, b, 10), "tasks[5]")
	assert.NoError(t, settle(t, b, finish(held, "1", time.Hour)))
	errs, err := b.Enqueue(t.Context(), []*omniq.RawTask{tasks[2]})
	require.NoError(t, err)
	assert.ErrorIs(t, errs[0], omniq.ErrDuplicate)
	stats, err := b.Stats(t.Context())
	require.NoError(t, err)
	require.Len(t, stats, 3)
	assert.Equal(t, omniq.QueueStats{Queue: "default", Scheduled: 1, Succeeded: 3, Cancelled: 1}, stats[0])
	assert.Equal(t, omniq.QueueStats{Queue: "full", Running: 1}, stats[1])
	assert.Equal(t, omniq.QueueStats{Queue: "paused", Paused: true}, stats[2])
	events, _, err := b.Events(t.Context(), omniq.EventsRequest{Max: 100})
	require.NoError(t, err)
	assert.Len(t, events, 6+2+2+1+1+1+1)
}

// Processes that open a new file at once make its tables once.
func TestOpenTogether(t *testing.T) {
	for range 5 {
		path := place(t)
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				b, err := sqlite.Open(path)
				if assert.NoError(t, err) {
					enqueue(t, b, newTasks(1)...)
					assert.NoError(t, b.Close())
				}
			})
		}
		all.Wait()
		assert.Equal(t, 8, leaseAndSettle(t, open(t, path), 100))
	}
}
