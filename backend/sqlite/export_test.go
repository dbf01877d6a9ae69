package sqlite

import "time"

// Awaits reports whether somebody waits for a result.
func (b *Backend) Awaits() bool { return b.awaited.Any() }

// WithClock sets the clock.
func WithClock(now func() time.Time) Option { return func(c *config) { c.now = now } }

// WithAllowance sets how long a transaction may take for each kind of what happens by itself: but a step at least.
func WithAllowance(d time.Duration) Option { return func(c *config) { c.allowance = d } }

// WithRecount sets how often the counts are compared with what there is.
func WithRecount(d time.Duration) Option { return func(c *config) { c.recount = d } }
