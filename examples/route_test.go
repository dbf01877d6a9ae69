package examples_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/backendtest"
	"github.com/omniq-go/omniq/backend/memory"
	"github.com/omniq-go/omniq/backend/postgres"
	"github.com/omniq-go/omniq/backend/sqlite"
	"github.com/omniq-go/omniq/examples/internal/server"
)

// merged are the rules in which what two engines say is put together: pages and cursors, the order of leases, figures.
var merged = regexp.MustCompile(`(?i)list|event|history|stats|worker|order|lease_(hands|waits|returns)|wakes`)

// A route over two engines, with its queues by hash, keeps the contract as far as its Capabilities go. To ask all rules would take
// minutes: those that are not about what is put together are asked of a route over two memories.
func TestRouteOverSQLiteAndPostgres(t *testing.T) {
	url := server.With(t, "fsync=off")
	empty := filepath.Join(t.TempDir(), "empty.db")
	b, err := sqlite.Open(empty)
	require.NoError(t, err)
	require.NoError(t, b.Close())
	tables, err := os.ReadFile(empty) // to copy the file takes a small part of the time to make its tables
	require.NoError(t, err)
	var schemas atomic.Int32
	schema := func() string { return fmt.Sprintf("route_%d_%d", os.Getpid(), schemas.Add(1)) }

	open := func(t *testing.T, retention time.Duration) omniq.Backend {
		t.Helper()
		if !merged.MatchString(t.Name()) {
			return route(t, memory.New(memory.WithEvents(retention)), memory.New(memory.WithEvents(retention)))
		}
		path := filepath.Join(t.TempDir(), "queue.db")
		require.NoError(t, os.WriteFile(path, tables, 0o600))
		lite, err := sqlite.Open(path, sqlite.WithEvents(retention), sqlite.WithSynchronousNormal())
		require.NoError(t, err)
		pg, err := postgres.Open(t.Context(), url, postgres.WithSchema(schema()), postgres.WithEvents(retention))
		require.NoError(t, err)
		return route(t, lite, pg)
	}
	backendtest.Run(t, func(t *testing.T) omniq.Backend { return open(t, time.Hour) },
		backendtest.Events(open), backendtest.Quick())
}

func route(t *testing.T, one, two omniq.Backend) omniq.Backend {
	t.Helper()
	b, err := omniq.Route(map[string]omniq.Backend{"one": one, "two": two}, omniq.ByHash("one", "two"))
	require.NoError(t, err)
	return b
}
