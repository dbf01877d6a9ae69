package memory

import "time"

// Skewed makes the clock of a backend ahead of the system's.
func Skewed(by time.Duration) Option { return func(b *Backend) { b.clock = newClock(by) } }
