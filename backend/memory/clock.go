package memory

import "time"

// clock tells the time of a backend: that of the system when it was opened, and from then on as much more as has passed.
// The system's clock may be set meanwhile.
type clock struct{ began, base time.Time }

func newClock(skew time.Duration) clock {
	now := time.Now()
	return clock{began: now, base: now.Round(0).Add(skew)}
}

func (c *clock) now() time.Time { return c.base.Add(time.Since(c.began)) }
