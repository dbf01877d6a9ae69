// Package engines opens the queue of an example on whichever engine it is told.
package engines

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
	"github.com/omniq-go/omniq/backend/postgres"
	"github.com/omniq-go/omniq/backend/redis"
	"github.com/omniq-go/omniq/backend/sqlite"
)

// Open opens one of the engines that the examples bring, with events for an hour. The URL is memory:, sqlite:file,
// postgres://user@host/database or redis://host. It must be an engine for several processes if it is to be shared.
func Open(ctx context.Context, url string, shared bool) (omniq.Backend, error) {
	const patience = 15 * time.Second
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("the engine has not answered for %v", patience))
	defer cancel()
	config := omniq.DefaultConfig()
	config.BackendURL, config.Events = url, time.Hour
	backend, err := config.Open(ctx, memory.Engine, sqlite.Engine, postgres.Engine, redis.Engine)
	if err == nil && shared && !backend.Capabilities().Shared {
		return nil, errors.Join(fmt.Errorf("%s is inside of one process, and others cannot work what is there", url), backend.Close())
	}
	return backend, err
}
