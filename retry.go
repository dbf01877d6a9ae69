package omniq

import (
	"math"
	"math/rand/v2"
	"time"
)

// What a worker does with a failed attempt unless it is told otherwise.
const (
	DefaultRetries    = 3                // after the first attempt
	DefaultRetryDelay = time.Second      // before the first retry; doubled for each further one
	MaxRetryDelay     = time.Hour        // before any retry
	DefaultJitter     = 0.1              // the part of a delay that chance adds or takes
	DefaultLease      = 30 * time.Second // how long a worker that died keeps its tasks
)

// Backoff is how long to wait after the n-th failure of a task, counted from 1, before its next attempt. Attempts that were
// lost are no failures. It is a pure function, called from many goroutines; the worker spreads what it returns by its jitter. A result that is not
// positive means at once.
type Backoff func(n int) time.Duration

// Exponential returns a [Backoff] of initial, doubled for each further attempt, and at most limit.
func Exponential(initial, limit time.Duration) Backoff {
	return func(attempt int) time.Duration {
		d := initial
		for range attempt - 1 {
			if d >= limit/2 {
				return limit
			}
			d *= 2
		}
		return min(d, limit)
	}
}

// Constant returns a [Backoff] that is always d.
func Constant(d time.Duration) Backoff {
	return func(int) time.Duration { return d }
}

// spread changes d by at most its part jitter, up or down, by chance.
func spread(d time.Duration, jitter float64) time.Duration {
	by := time.Duration(float64(d) * jitter * (2*rand.Float64() - 1))
	if d > math.MaxInt64-max(by, 0) {
		return math.MaxInt64
	}
	return d + by
}
