package postgres

import (
	"sync/atomic"
	"time"
)

// pace is how many rows a transaction of housekeeping is for: as many as it does in about shortTime, so that nobody waits
// for it for long, however slow the database is at the moment.
type pace struct{ n atomic.Int64 }

const (
	shortTime = 30 * time.Millisecond
	firstPace = 200
	leastPace = 50
	mostPace  = 2000
)

// rows is how many the next transaction is for.
func (p *pace) rows() int {
	if n := p.n.Load(); n > 0 {
		return int(n)
	}
	return firstPace
}

// done is told how long the transaction took that was for n rows, and had them.
func (p *pace) done(n int, took time.Duration) {
	switch {
	case took > shortTime:
		n /= 2
	case took < shortTime/2:
		n *= 2
	}
	p.n.Store(int64(min(max(n, leastPace), mostPace)))
}
