package sqlite_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/backendtest"
	"github.com/omniq-go/omniq/backend/sqlite"
)

// All rules are asked of backends that keep events, which do all that the others do.
func TestConformance(t *testing.T) {
	backendtest.Run(t, func(t *testing.T) omniq.Backend { return open(t, place(t), sqlite.WithEvents(time.Hour)) },
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

func TestConformanceWithoutEvents(t *testing.T) {
	backendtest.Run(t, func(t *testing.T) omniq.Backend { return open(t, place(t)) }, backendtest.Quick())
}
