package postgres_test

import (
	"testing"
	"time"

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
		}))
}
