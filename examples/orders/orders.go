// Package orders is how the two programs below it find their queue.
package orders

import (
	"context"
	"os"
	"path/filepath"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/postgres"
	"github.com/omniq-go/omniq/backend/redis"
	"github.com/omniq-go/omniq/backend/sqlite"
)

// Config is what the environment says, and otherwise a queue in a file, and no other queue than "orders".
func Config() (omniq.Config, error) {
	config, err := omniq.ConfigFromEnv()
	if os.Getenv("OMNIQ_BACKEND_URL") == "" {
		config.BackendURL = "sqlite:" + filepath.Join(os.TempDir(), "omniq-orders.db")
	}
	if os.Getenv("OMNIQ_QUEUES") == "" {
		config.Queues = []string{"orders"}
	}
	return config, err
}

// Open opens the queue. These programs can use no engine in memory: they are two processes.
func Open(ctx context.Context, config omniq.Config) (omniq.Backend, error) {
	return config.Open(ctx, sqlite.Engine, postgres.Engine, redis.Engine)
}
