package postgres_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq/backend/crashtest"
	"github.com/omniq-go/omniq/backend/postgres"
	"github.com/omniq-go/omniq/internal/pgserver"
)

func TestMain(m *testing.M) {
	crashtest.Child(openCrash)
	pausedChild()
	flag.Parse()
	if os.Getenv(pgserver.URLVariable) == "" && pgserver.Check() != nil { // tests skip themselves, which examples cannot
		skip := flag.Lookup("test.skip")
		_ = skip.Value.Set(strings.TrimPrefix(skip.Value.String()+"|^Example", "|"))
	}
	// Much of what tests do is to wait. But the more of them run at once, the more each statement costs the server: with eight up to
	// twice the CPU that it takes with four.
	if parallel := flag.Lookup("test.parallel"); parallel.Value.String() == strconv.Itoa(runtime.GOMAXPROCS(0)) {
		_ = parallel.Value.Set("4")
	}
	status := m.Run()
	if server.s != nil {
		if err := server.s.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			status = 1
		}
	}
	os.Exit(status)
}

// server is the one that most tests share, each with a schema of its own.
var server struct {
	once sync.Once
	s    *pgserver.Server
	url  string
	err  error
	last atomic.Int64 // number of a schema
}

// url returns the URL of the server, which is started by the first test that asks for it.
func url(t *testing.T) string {
	t.Helper()
	url, err := start()
	if errors.Is(err, pgserver.ErrMissing) {
		t.Skip(err)
	}
	require.NoError(t, err)
	return url
}

func start() (url string, err error) {
	server.once.Do(func() {
		if server.url = os.Getenv(pgserver.URLVariable); server.url != "" {
			return
		}
		server.s, server.err = pgserver.Start(context.Background(), "", "fsync=off", "max_connections=500")
		if server.err == nil {
			server.url = server.s.URL()
		}
	})
	return server.url, server.err
}

// place returns an option with the name of a schema that is not there yet, and goes after the test.
func place(t *testing.T) postgres.Option {
	t.Helper()
	return postgres.WithSchema(schema(t))
}

// schema returns the name of a schema that is not there yet, and goes after the test, or with the server that the tests have
// started.
func schema(t *testing.T) string {
	t.Helper()
	url(t) // or there is nothing to remove
	name := fmt.Sprintf("test_%d_%d", os.Getpid(), server.last.Add(1))
	if server.s == nil {
		t.Cleanup(func() { exec(t, "DROP SCHEMA IF EXISTS "+name+" CASCADE") })
	}
	return name
}

// exec does a statement on a connection of its own.
func exec(t *testing.T, sql string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := pgx.Connect(ctx, url(t))
	require.NoError(t, err)
	_, err = c.Exec(ctx, sql)
	assert.NoError(t, err)
	assert.NoError(t, c.Close(ctx))
}

func open(t *testing.T, opts ...postgres.Option) *postgres.Backend {
	t.Helper()
	b, err := postgres.Open(t.Context(), url(t), opts...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}
