package examples_test

import (
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/backendtest"
	"github.com/omniq-go/omniq/backend/postgres"
	"github.com/omniq-go/omniq/backend/sqlite"
	"github.com/omniq-go/omniq/examples/internal/server"
)

// A route over two engines, with its queues by hash, keeps the contract as far as its Capabilities go. The rules that take nearly all
// the time are asked of a route over two memories.
func TestRouteOverSQLiteAndPostgres(t *testing.T) {
	url := server.URL(t)
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
		path := filepath.Join(t.TempDir(), "queue.db")
		require.NoError(t, os.WriteFile(path, tables, 0o600))
		lite, err := sqlite.Open(path, sqlite.WithEvents(retention), sqlite.WithSynchronousNormal())
		require.NoError(t, err)
		pg, err := postgres.Open(t.Context(), url, postgres.WithSchema(schema()), postgres.WithEvents(retention))
		require.NoError(t, err)
		b, err := omniq.Route(map[string]omniq.Backend{"lite": lite, "pg": pg}, omniq.ByHash("lite", "pg"))
		require.NoError(t, err)
		return b
	}
	backendtest.Run(t, func(t *testing.T) omniq.Backend { return open(t, time.Hour) },
		backendtest.Events(open), backendtest.Quick())
}
