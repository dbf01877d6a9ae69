package postgres_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	neturl "net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/postgres"
)

// What cannot be opened is said, with what is wrong, and without a password.
func TestOpenErrors(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // nobody answers
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, l.Close()) })
	silent := "postgres://u:secret@" + l.Addr().String() + "/x?sslmode=disable"
	tests := []struct {
		name, url string
		opts      []postgres.Option
		err       error
		message   string
	}{
		{"no URL", "postgres://u:secret@[::1", nil, omniq.ErrInvalid, "cannot parse"},
		{"a port that cannot be", "postgres://u:secret@localhost:x/", nil, omniq.ErrInvalid, "cannot parse"},
		{"a pool that cannot be", "postgres://u:secret@localhost/?pool_max_conns=0", nil, omniq.ErrInvalid, "pool_max_conns"},
		{"nobody there", "postgres://u:secret@127.0.0.1:1/x", nil, nil, "refused"},
		{"nobody who answers", silent, nil, context.DeadlineExceeded, ""},
		{"no database", urlOf(t, "nowhere"), nil, nil, `database "nowhere" does not exist`},
		{"an empty schema", url(t), []postgres.Option{postgres.WithSchema("")}, omniq.ErrInvalid, `schema "", want 1 to 48`},
		{"a schema with a quote", url(t), []postgres.Option{postgres.WithSchema(`a"b`)}, omniq.ErrInvalid, "want 1 to 48"},
		{"a long schema", url(t), []postgres.Option{postgres.WithSchema(strings.Repeat("x", 49))}, omniq.ErrInvalid, "want 1 to 48"},
		{"events for no time", url(t), []postgres.Option{postgres.WithEvents(0)}, omniq.ErrInvalid, "events are to be kept for 0s"},
		{"polls without a pause", url(t), []postgres.Option{postgres.WithPollInterval(0)}, omniq.ErrInvalid, "poll interval"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			_, err := postgres.Open(ctx, tt.url, tt.opts...)
			require.ErrorContains(t, err, tt.message)
			require.ErrorContains(t, err, "postgres: ")
			require.NotContains(t, err.Error(), "secret")
			if tt.err != nil {
				require.ErrorIs(t, err, tt.err)
			}
		})
	}
}

// Nothing that is told shows a password, in whatever form it was given.
func TestPasswords(t *testing.T) {
	const secret = "s3cr3t"
	t.Setenv("PGPASSWORD", "")
	for _, url := range []string{
		"postgres://u:s3cr3t@127.0.0.1:1/x",
		"postgres://u:s3cr3t@[::1/x",
		"postgres://u:s3cr3t@h:port/x",
		"postgres://u:%zzs3cr3t@h/x",
		"postgres://u:a@s3cr3t@127.0.0.1:1/x",
		"postgres://u:1/s3cr3t@127.0.0.1:1/x",
		"postgres://u:a#s3cr3t@127.0.0.1:1/x",
		"postgres://u:a?s3cr3t@127.0.0.1:1/x",
		"postgres://127.0.0.1:1/x?password=s3cr3t",
		"postgres://127.0.0.1:1/x?password=s3cr3t&pool_max_conns=no",
		"postgres://127.0.0.1:1/x?pass%77ord=s3cr3t&pool_max_conns=0",
		"postgres://127.0.0.1:1/x?sslpassword=s3cr3t&connect_timeout=no",
		"postgres://127.0.0.1:1/x?password=s3cr3t&sslmode=no",
		"host=127.0.0.1 port=1 user=u password=s3cr3t",
		"host=127.0.0.1 port=1 user=u password = 's3cr3t' pool_max_conns=no",
		"host=127.0.0.1 port=no user=u password='it\\'s s3cr3t'",
		"host=127.0.0.1 port=1 password='s3cr3t",
		"host=127.0.0.1 port=1 sslpassword=s3cr3t sslmode=no",
		"s3cr3t",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		_, err := postgres.Open(ctx, url)
		cancel()
		require.Error(t, err)
		assert.NotContains(t, err.Error(), secret, url)
		assert.NotContains(t, fmt.Sprintf("%+v", err), secret, url)
		assert.Contains(t, err.Error(), "postgres: ")
	}

	u, err := neturl.Parse(url(t))
	require.NoError(t, err)
	u.User = neturl.UserPassword("postgres", secret)
	var log strings.Builder
	p := startProxy(t, u.String())
	b, err := postgres.Open(t.Context(), p.url, place(t), postgres.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	require.NoError(t, err)
	assert.NotContains(t, fmt.Sprintf("%v %+v %#v", b, b, b), secret)
	p.cutAnswers()
	_, err = b.Enqueue(t.Context(), []*omniq.RawTask{newTask(t)})
	assert.NotContains(t, fmt.Sprint(err), secret)
	require.NoError(t, b.Close())
	assert.NotContains(t, log.String(), secret)
}

// A pool of the caller's serves the backend, and stays open when that is closed.
func TestNew(t *testing.T) {
	pool := newPool(t)
	where := place(t)
	for range 2 {
		b, err := postgres.New(t.Context(), pool, where)
		require.NoError(t, err)
		require.Same(t, pool, b.Pool())
		enqueue(t, b, newTask(t))
		finish(t, b, lease(t, b), "1", time.Hour)
		require.NoError(t, b.Close())
		require.NoError(t, b.Close())
		_, err = b.Enqueue(t.Context(), nil)
		require.ErrorIs(t, err, omniq.ErrClosed)
		require.NoError(t, pool.Ping(t.Context()))
	}
	require.Eventually(t, func() bool { return pool.Stat().AcquiredConns() == 0 }, 10*time.Second, time.Millisecond)
}

// urlOf is the URL of another database of the server.
func urlOf(t *testing.T, database string) string {
	t.Helper()
	u, err := neturl.Parse(url(t))
	require.NoError(t, err)
	u.Path = "/" + database
	return u.String()
}

// The engine opens what a configuration says.
func TestEngine(t *testing.T) {
	database := fmt.Sprintf("test_%d_engine", os.Getpid()) // its own, because it uses the usual schema
	exec(t, "CREATE DATABASE "+database)
	t.Cleanup(func() { exec(t, "DROP DATABASE "+database) })
	for _, events := range []time.Duration{0, time.Hour} {
		c := omniq.DefaultConfig()
		c.BackendURL, c.Events = urlOf(t, database), events
		b, err := c.Open(t.Context(), postgres.Engine)
		require.NoError(t, err)
		require.Equal(t, events > 0, b.Capabilities().Events)
		require.Equal(t, "postgres", b.Capabilities().Name)
		require.NoError(t, b.Close())
	}
	c := omniq.DefaultConfig()
	c.BackendURL = "postgres://127.0.0.1:1/x"
	b, err := c.Open(t.Context(), postgres.Engine)
	require.Error(t, err)
	require.Nil(t, b)
}

// Without push it is said that there is none, and it works by polling.
func TestWithoutNotify(t *testing.T) {
	where := place(t)
	a := open(t, where, postgres.WithoutNotify(), postgres.WithPollInterval(10*time.Millisecond))
	b := open(t, where, postgres.WithoutNotify(), postgres.WithPollInterval(10*time.Millisecond))
	c := a.Capabilities()
	require.False(t, c.PushLease || c.PushResult || c.PushCancel)
	waiting := later(t, func(ctx context.Context) ([]omniq.Lease, error) { return b.Lease(ctx, anyTask) })
	task := newTask(t)
	enqueue(t, a, task)
	require.Equal(t, task.ID, (<-waiting)[0].TaskID)
}

// lines are what a logger writes.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// What goes wrong in the background is told to the logger, once.
func TestLogger(t *testing.T) {
	name := schema(t)
	var log lines
	open(t, postgres.WithSchema(name), postgres.WithPollInterval(5*time.Millisecond),
		postgres.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	exec(t, "ALTER TABLE "+name+".tasks RENAME TO elsewhere")
	const told = "due and expired tasks wait until the database answers"
	require.Eventually(t, func() bool { return strings.Contains(log.String(), told) }, 10*time.Second, time.Millisecond)
	exec(t, "ALTER TABLE "+name+".elsewhere RENAME TO tasks")
	require.Equal(t, 1, strings.Count(log.String(), told))
}

// What cannot be a text of the database is refused as it is, and breaks nothing.
func TestTextThatCannotBe(t *testing.T) {
	b := open(t, place(t), postgres.WithEvents(time.Hour))
	for _, id := range []string{"a\x00b", "a\xffb"} {
		request := anyTask
		request.WorkerID = id
		_, err := b.Lease(t.Context(), request)
		assert.ErrorIs(t, err, omniq.ErrInvalid)
		_, err = b.Revoked(t.Context(), id)
		assert.ErrorIs(t, err, omniq.ErrInvalid)
	}
	enqueue(t, b, newTask(t))
	lease(t, b)
}

// A pool whose connections do not prepare statements, as behind a pooler of transactions, does as well.
func TestQueryExecModes(t *testing.T) {
	for _, mode := range []string{"cache_describe", "describe_exec", "exec", "simple_protocol"} {
		t.Run(mode, func(t *testing.T) {
			c, err := pgxpool.ParseConfig(url(t) + "&default_query_exec_mode=" + mode)
			require.NoError(t, err)
			pool, err := pgxpool.NewWithConfig(t.Context(), c)
			require.NoError(t, err)
			t.Cleanup(pool.Close)
			b, err := postgres.New(t.Context(), pool, place(t))
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, b.Close()) })
			enqueue(t, b, newTask(t, omniq.Unique("k")))
			finish(t, b, lease(t, b), "1", time.Hour)
		})
	}
}
