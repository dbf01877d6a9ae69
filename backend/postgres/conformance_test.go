package postgres_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/backendtest"
	"github.com/omniq-go/omniq/backend/postgres"
)

// All rules are asked of backends that keep events, which do all that the others do. Those are behind a pooler.
func TestConformance(t *testing.T) {
	backendtest.Run(t, func(t *testing.T) omniq.Backend { return open(t, place(t), postgres.WithEvents(time.Hour)) },
		backendtest.Events(func(t *testing.T, retention time.Duration) omniq.Backend {
			return open(t, place(t), postgres.WithEvents(retention))
		}),
		backendtest.Skewed(func(t *testing.T, by time.Duration) omniq.Backend { return open(t, place(t), postgres.WithSkew(by)) }),
		backendtest.Shared(func(t *testing.T, retention time.Duration) (one, other omniq.Backend) {
			at := place(t)
			return open(t, at, postgres.WithEvents(retention)), open(t, at, postgres.WithEvents(retention))
		}),
		backendtest.Transactions(func(t *testing.T) (omniq.Backend, func() backendtest.Tx) {
			b := open(t, place(t), postgres.WithEvents(time.Hour))
			return b, func() backendtest.Tx {
				tx, err := b.Pool().Begin(context.Background())
				require.NoError(t, err)
				return backendtest.Tx{
					Tx: tx, Commit: func() error { return tx.Commit(context.Background()) },
					Rollback: func() error { return tx.Rollback(context.Background()) },
				}
			}
		}))
}
