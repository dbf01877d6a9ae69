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

// Failure is a failed attempt, as a [Backoff] sees it.
type Failure struct {
	Info
	Failures int   // how many attempts of the task have failed, this one included; those that were lost are no failures
	Err      error // what the handler returned; a [TaskError] for a panic
}

// Backoff says how long to wait after a failure before the task's next attempt. It may go by the task and by the error. Zero
// means at once. A negative result means that there is no further attempt: the task has failed for good.
//
// It is not called when no attempt is left, nor for an error that is [Permanent] or from [RetryAfter]. It is called from many
// goroutines at once. The worker's jitter changes what it returns.
type Backoff func(f Failure) time.Duration

// Exponential returns a [Backoff] of initial after the first failure, doubled for each further one, and at most limit.
func Exponential(initial, limit time.Duration) Backoff {
	return func(f Failure) time.Duration {
		d := initial
		for range f.Failures - 1 {
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
	return func(Failure) time.Duration { return d }
}

// spread changes d by at most its part jitter, up or down, by chance.
func spread(d time.Duration, jitter float64) time.Duration {
	by := time.Duration(float64(d) * jitter * (2*rand.Float64() - 1))
	if d > math.MaxInt64-max(by, 0) {
		return math.MaxInt64
	}
	return d + by
}
