package memory

import "time"

// Skewed makes the clock of a backend ahead of the system's.
func Skewed(by time.Duration) Option { return func(b *Backend) { b.clock = newClock(by) } }

// Forward lets time pass.
func (b *Backend) Forward(d time.Duration) {
	b.mu.Lock()
	b.clock.base = b.clock.base.Add(d)
	b.wake = time.Time{}
	b.end()
}
