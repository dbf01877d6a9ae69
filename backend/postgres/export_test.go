package postgres

import (
	"context"
	"time"
)

// Awaits reports whether somebody waits for a result.
func (b *Backend) Awaits() bool {
	return b.awaited.Any()
}

// Listens reports whether somebody in this process waits for a worker's lost leases, events or tasks of a queue.
func (b *Backend) Listens() bool {
	b.hub.mu.Lock()
	defer b.hub.mu.Unlock()
	return len(b.hub.waiting) > 0
}

// Schema is the name of the schema.
func (b *Backend) Schema() string { return b.config.schema }

// WithSkew makes the database's clock seem ahead by a duration.
func WithSkew(d time.Duration) Option { return func(c *config) { c.skew = d } }

// Correct corrects the statistics.
func (b *Backend) Correct(ctx context.Context) error { return b.correct(ctx) }

// Looked is how many tasks a call of List looks at.
const Looked = looked
