package cron

import (
	"iter"
	"time"
)

// Expression is a cron expression, as [Parse] returns it. It never changes and may be used by many goroutines at once.
// Expressions that are equal by == tick at the same times in every zone. The zero Expression never ticks.
type Expression struct {
	seconds, minutes uint64 // bits 0 to 59
	weekdays         uint64 // see weekday.go
	hours            uint32 // bits 0 to 23
	days             uint32 // bits 1 to 31, and lastDay
	months           uint16 // bits 1 to 12
	rhythm           bool   // a * or a step in second, minute or hour
}

const (
	everyDay uint32 = 1<<32 - 2
	lastDay  uint32 = 1 << 0 // the last day of the month, whichever that is
)

// Next returns the first tick strictly after the given time, in the zone; nil is UTC. The package's documentation has
// the rule for changes of the zone's clock. Ticks are whole seconds.
//
// It returns false if there is no tick within 400 years, or none before the year 9999 of the zone's clock. 400 years
// are a whole cycle of the calendar, so what has no tick in them has none at all under the zone's rules: */20 2 * 3 0L
// in Europe/Berlin, say, whose every time falls into the gap of the last Sunday in March. Times before the year 1 count
// as its beginning.
//
// It does not allocate, and its work is bounded: in a zone of the IANA database it looks at fewer than 10,000 months and
// stretches of constant offset, which is less than a millisecond. So many are only looked at for an expression whose
// times a gap swallows year after year. Nearly always it is one month and one or two stretches, and for the rarest day,
// a fifth Monday in February, 40 months.
func (e Expression) Next(after time.Time, zone *time.Location) (time.Time, bool) {
	if zone == nil {
		zone = time.UTC
	}
	w := walk{expression: e, zone: zone}
	tick, ok := w.next(after.Unix())
	if !ok {
		return time.Time{}, false
	}
	return time.Unix(tick, 0).In(zone), true
}

// Ticks returns the ticks after from and up to and including to, in their order, in the zone; nil is UTC. It ends where
// [Expression.Next] returns false.
func (e Expression) Ticks(from, to time.Time, zone *time.Location) iter.Seq[time.Time] {
	return func(yield func(time.Time) bool) {
		for tick, ok := e.Next(from, zone); ok && !tick.After(to); tick, ok = e.Next(tick, zone) {
			if !yield(tick) {
				return
			}
		}
	}
}
