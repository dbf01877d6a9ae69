package redis

import (
	"context"
	"strings"
	"time"

	"github.com/google/uuid"
)

// WithSkew makes the server's clock seem to be ahead.
func WithSkew(by time.Duration) Option { return func(c *config) { c.skew = by } }

// Watched is for how many topics somebody waits whose names begin so.
func Watched(b *Backend, prefix string) (n int) {
	b.hub.mu.Lock()
	defer b.hub.mu.Unlock()
	for name, t := range b.hub.topics {
		if strings.HasPrefix(name, prefix) && len(t.subscriptions) > 0 {
			n++
		}
	}
	return n
}

// Head reads the head of a task, or what else is kept packed.
func Head(packed string) (map[string]any, error) {
	f, err := decodeFields(packed)
	return f, err
}

// Pack is what scripts get.
func Pack(m map[string]any) string { return encode(fields(m)) }

// Ask runs a script, and drops its answer, as a connection does that breaks.
func Ask(ctx context.Context, b *Backend, script string, args map[string]any) error {
	_, err := b.run(ctx, script, args)
	return err
}

// MostUnused is how many topics stay subscribed for which nobody waits.
const MostUnused = mostUnused

// WaitForMany waits for the results of so many tasks for a moment.
func (b *Backend) WaitForMany(ctx context.Context, n int) {
	topics := make([]string, n)
	for i := range topics {
		topics[i] = resultTopic(uuid.New())
	}
	b.hub.subscribe(ctx, topics...).cancel()
}
