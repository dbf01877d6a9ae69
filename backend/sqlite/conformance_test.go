package sqlite_test

import (
	"testing"
	"time"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/backendtest"
	"github.com/omniq-go/omniq/backend/sqlite"
)

func TestConformance(t *testing.T) {
	backendtest.Run(t, func(t *testing.T) omniq.Backend { return open(t, place(t)) },
		backendtest.Events(func(t *testing.T, retention time.Duration) omniq.Backend {
			return open(t, place(t), sqlite.WithEvents(retention))
		}), shared)
}

// shared opens two backends as two processes do.
var shared = backendtest.Shared(func(t *testing.T, retention time.Duration) (one, other omniq.Backend) {
	at := place(t)
	return open(t, at, sqlite.WithEvents(retention)), open(t, at, sqlite.WithEvents(retention))
})

// What is true without events, and with each commit on the disk, is true with them and without that.
func TestConformanceWithEvents(t *testing.T) {
	backendtest.Run(t, func(t *testing.T) omniq.Backend {
		return open(t, place(t), sqlite.WithEvents(time.Hour), sqlite.WithSynchronousNormal())
	}, backendtest.Quick())
}
