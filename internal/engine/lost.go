package engine

import (
	"math/rand/v2"
	"time"
)

// Pauses before a task is due again whose lease has expired.
const (
	firstPause = time.Second // the longest one after the first loss
	maxPause   = time.Minute // the longest one after any
)

// MaxPause is the longest pause after a task's n-th loss: a second, doubled for each further one, and at most a minute.
// One that was lost before it had started, n being zero, waits like one that was lost once.
func MaxPause(n int) time.Duration {
	if n > 6 {
		return maxPause
	}
	return min(firstPause<<max(n-1, 0), maxPause)
}

// Pause is a random time before a task is due again that was lost for the n-th time: below a second for the first, and
// at least half of MaxPause after it.
func Pause(n int) time.Duration {
	limit := MaxPause(n)
	if n < 2 {
		return rand.N(limit)
	}
	return limit/2 + rand.N(limit/2)
}
