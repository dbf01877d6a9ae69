package engine

import (
	"math"

	"github.com/omniq-go/omniq"
)

// Pace is a rate as engines count it: by the generic cell rate algorithm (ITU-T I.371), whose only state is a time, when what was
// charged is used up. All times are microseconds of the engine's clock. The zero value is no bound.
type Pace struct {
	every, burst int64
}

// PaceOf is a rate that has been validated.
func PaceOf(r omniq.Rate) Pace {
	every, burst := r.Every()
	return Pace{every.Microseconds(), int64(burst)}
}

// Bounds reports whether there is a bound.
func (p Pace) Bounds() bool { return p.every > 0 }

// Carry is the state when this rate takes the place of another one: what that has charged is not more than all of this one. Each
// state, that of the queue or those of its lanes, is to be carried over when the limit is set.
func (p Pace) Carry(used, now int64) int64 {
	if p.every == 0 {
		return 0
	}
	return min(used, now+p.every*p.burst)
}

// Ahead is how long before its charge is used up the next task may be handed out.
func (p Pace) Ahead() int64 { return p.every * (max(p.burst, 1) - 1) }

// Room is how many tasks may be handed out now.
func (p Pace) Room(used, now int64) int64 {
	if p.every == 0 {
		return math.MaxInt64
	}
	return max(now+p.every*p.burst-max(used, now), 0) / p.every
}

// Charge is the state after n tasks were handed out.
func (p Pace) Charge(used, now, n int64) int64 {
	if p.every == 0 {
		return used
	}
	return max(used, now) + n*p.every
}

// Opens is when the next task may be handed out, now or earlier if one may now.
func (p Pace) Opens(used, now int64) int64 {
	if p.every == 0 {
		return now
	}
	return max(used, now) - p.Ahead()
}
