package cron

import "time"

// walk looks for one tick, stretch by stretch.
type walk struct {
	expression Expression
	zone       *time.Location
	steps      int // months and stretches that were looked at
}

// next returns the first tick after the Unix second.
func (w *walk) next(after int64) (int64, bool) {
	after = max(after, firstClock)
	if after >= lastClock {
		return 0, false
	}
	s := w.stretch(after)
	// No time of the clock from "from" to "tick" is one of the expression's.
	from := w.enter(s, after+1+s.offset)
	limit := min(from+cycle, lastClock)
	tick, ok := w.expression.onClock(from, limit, &w.steps)
	for ok && tick >= s.edge() {
		at, left := s.end, s.offset
		if s.edge()-from >= margin && tick-s.edge() >= margin {
			// Far away: the clock can neither go back to "from", nor reach the tick, on the way there.
			at = tick - left - margin
		}
		s = w.stretch(at)
		begin := at + s.offset
		if gap := s.offset - left; !w.expression.rhythm && 0 < gap && gap < day && tick < begin {
			return at, true
		}
		if begin = w.enter(s, begin); begin < from || begin > tick {
			from = begin
			tick, ok = w.expression.onClock(from, limit, &w.steps)
		}
	}
	return tick - s.offset, ok
}

// stretch returns the stretch in which the Unix second lies.
func (w *walk) stretch(at int64) stretch {
	w.steps++
	return stretchAt(at, w.zone)
}

// enter returns the first time of the stretch's clock that counts, from the given one on.
func (w *walk) enter(s stretch, from int64) int64 {
	if w.expression.rhythm {
		return from
	}
	return s.unseen(from, w.zone, &w.steps)
}
