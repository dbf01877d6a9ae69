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

// All rules are asked of backends that keep events, and whose commits do not wait for the disk.
func TestConformance(t *testing.T) {
	backendtest.Run(t, func(t *testing.T) omniq.Backend {
		return open(t, fresh(t), sqlite.WithEvents(time.Hour), sqlite.WithSynchronousNormal())
	},
		backendtest.Events(func(t *testing.T, retention time.Duration) omniq.Backend {
			return open(t, fresh(t), sqlite.WithEvents(retention))
		}),
		backendtest.Shared(func(t *testing.T, retention, ofOther time.Duration) (one, other omniq.Backend) {
			at := fresh(t)
			return open(t, at, sqlite.WithEvents(retention)), elsewhere(t, at, ofOther)
		}),
		backendtest.Transactions(func(t *testing.T) (omniq.Backend, func() backendtest.Tx) {
			b := open(t, fresh(t), sqlite.WithEvents(time.Hour))
			return b, func() backendtest.Tx {
				tx, err := b.DB().Begin()
				require.NoError(t, err)
				return backendtest.Tx{Tx: tx, Commit: tx.Commit, Rollback: tx.Rollback}
			}
		}))
}

// What is true with events, and without syncs, is true without events, and with each commit on the disk.
func TestConformanceWithoutEvents(t *testing.T) {
	backendtest.Run(t, func(t *testing.T) omniq.Backend { return open(t, fresh(t)) }, backendtest.Quick())
}
