package cron

import (
	"math"
	"time"
)

// forever is further away than any time, and far enough from the ends of an int64 to add an offset to it.
const forever = math.MaxInt64 / 4

// stretch is a time during which the zone's clock has one offset: from start up to end, in Unix seconds. Neighbours may
// have the same offset.
type stretch struct {
	start, end int64
	offset     int64 // what the clock is ahead of UTC, in seconds
}

// stretchAt returns the stretch in which the Unix second lies.
func stretchAt(at int64, zone *time.Location) stretch {
	t := time.Unix(at, 0).In(zone)
	_, offset := t.Zone()
	start, end := t.ZoneBounds()
	s := stretch{-forever, forever, int64(offset)}
	if !start.IsZero() {
		s.start = min(start.Unix(), at) // it can lie in the future where a zone has rules for the time before 1970
	}
	if !end.IsZero() {
		s.end = end.Unix()
	}
	if s.end <= at {
		// Where a zone goes on by rules, after the last change that its file lists, ZoneBounds takes every year for
		// one of 365 days (as of Go 1.26): on 31 December of a leap year, the end that it returns has passed.
		s.end = at - mod(at, day) + day
	}
	return s
}

// begin returns what the clock shows at the start.
func (s stretch) begin() int64 { return s.start + s.offset }

// edge returns what the clock would show at the end.
func (s stretch) edge() int64 { return s.end + s.offset }

// margin is more than two offsets of a zone can differ, and hence more than a clock can go back in all.
const margin = 3 * day

// unseen returns the first time of the stretch's clock, from the given one on, that the clock had not reached before the
// stretch began, and adds the stretches that it looked at to steps. Changes of the calendar do not count.
func (s stretch) unseen(from int64, zone *time.Location, steps *int) int64 {
	if from >= s.begin()+margin {
		return from
	}
	seen := from
	for later := s; s.start-later.start < day && later.start > -forever; {
		*steps++
		earlier := stretchAt(later.start-1, zone)
		if back := earlier.offset - later.offset; 0 < back && back < day {
			seen = max(seen, later.start+earlier.offset)
		}
		later = earlier
	}
	return seen
}
