package sqlite

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// Transactions get shorter until they are short enough, and longer again when they may.
func TestPace(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		name            string
		allowance       time.Duration
		commit          time.Duration // what a transaction takes for each millisecond that it is allowed
		fixed           time.Duration // and in any case
		atLeast, atMost time.Duration // what it is allowed in the end
	}{
		{"a fast disk", 10 * ms, ms, 0, 10 * ms, 10 * ms},
		{"a slow disk", 10 * ms, 20 * ms, 0, ms, 1500 * time.Microsecond},
		{"a disk that is far too slow", 10 * ms, 1000 * ms, 0, ms, ms},
		{"whatever is done takes long", 10 * ms, 0, 100 * ms, ms, ms},
		{"next to nothing is allowed", 1, ms, 100 * ms, 1, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, begin := range []time.Duration{c.allowance, min(ms, c.allowance)} {
				p := pace{begin}
				for range 100 {
					p.took(c.fixed+c.commit*p.allowed/ms, c.allowance)
				}
				assert.GreaterOrEqual(t, p.allowed, c.atLeast)
				assert.LessOrEqual(t, p.allowed, c.atMost)
			}
		})
	}
}
