package sqlite_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/backendtest"
	"github.com/omniq-go/omniq/backend/sqlite"
)

// All rules are asked of backends that keep events, and whose commits do not wait for the disk.
func TestConformance(t *testing.T) {
	backendtest.Run(t, func(t *testing.T) omniq.Backend {
		return open(t, place(t), sqlite.WithEvents(time.Hour), sqlite.WithSynchronousNormal())
	},
		backendtest.Events(func(t *testing.T, retention time.Duration) omniq.Backend {
			return open(t, place(t), sqlite.WithEvents(retention))
		}),
		backendtest.Shared(func(t *testing.T, retention time.Duration) (one, other omniq.Backend) {
			at := place(t)
			return open(t, at, sqlite.WithEvents(retention)), open(t, at, sqlite.WithEvents(retention))
		}),
		backendtest.Transactions(func(t *testing.T) (omniq.Backend, func() backendtest.Tx) {
			b := open(t, place(t), sqlite.WithEvents(time.Hour))
			return b, func() backendtest.Tx {
				tx, err := b.DB().Begin()
				require.NoError(t, err)
				return backendtest.Tx{Tx: tx, Commit: tx.Commit, Rollback: tx.Rollback}
			}
		}))
}

// What is true with events, and without syncs, is true without events, and with each commit on the disk.
func TestConformanceWithoutEvents(t *testing.T) {
	backendtest.Run(t, func(t *testing.T) omniq.Backend { return open(t, place(t)) }, backendtest.Quick())
}
