package redis

import "time"

// WithSkew makes the server's clock seem to be ahead.
func WithSkew(by time.Duration) Option { return func(c *config) { c.skew = by } }
