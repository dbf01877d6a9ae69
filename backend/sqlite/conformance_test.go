package sqlite_test

import (
	"testing"
	"time"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/backendtest"
	"github.com/omniq-go/omniq/backend/sqlite"
)

func TestConformance(t *testing.T) {
	t.Run("plain", func(t *testing.T) {
		backendtest.Run(t, func(t *testing.T) omniq.Backend { return open(t, place(t)) })
	})
	t.Run("events", func(t *testing.T) {
		backendtest.Run(t, func(t *testing.T) omniq.Backend { return open(t, place(t), sqlite.WithEvents(time.Hour)) })
	})
}
