package sqlite_test

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/backendtest"
	"github.com/omniq-go/omniq/backend/sqlite"
)

// blank is a file of a backend that has done nothing: to copy it takes a small part of the time to make its tables.
var blank = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "omniq")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "queue.db")
	b, err := sqlite.Open(path)
	if err != nil {
		return nil, err
	}
	if err := b.Close(); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
})

// fresh is where such a file is.
func fresh(t *testing.T) string {
	t.Helper()
	data, err := blank()
	require.NoError(t, err)
	path := place(t)
	require.NoError(t, os.WriteFile(path, data, 0o600))
	return path
}

func TestConformance(t *testing.T) {
	backendtest.Run(t, func(t *testing.T) omniq.Backend { return open(t, fresh(t)) },
		backendtest.Events(func(t *testing.T, retention time.Duration) omniq.Backend {
			return open(t, fresh(t), sqlite.WithEvents(retention))
		}), shared)
}

// shared opens two backends as two processes do.
var shared = backendtest.Shared(func(t *testing.T, retention time.Duration) (one, other omniq.Backend) {
	at := fresh(t)
	return open(t, at, sqlite.WithEvents(retention)), open(t, at, sqlite.WithEvents(retention))
})

// What is true without events, and with each commit on the disk, is true with them and without that.
func TestConformanceWithEvents(t *testing.T) {
	backendtest.Run(t, func(t *testing.T) omniq.Backend {
		return open(t, fresh(t), sqlite.WithEvents(time.Hour), sqlite.WithSynchronousNormal())
	}, backendtest.Quick())
}
