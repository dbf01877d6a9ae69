package cron

import (
	"math/bits"
	"time"
)

const (
	day         = 86400
	cycle int64 = 146097 * day // 400 years, after which the calendar repeats itself
)

// A clock without zones is counted in seconds since 1970-01-01 00:00:00 of that clock.
var (
	firstClock = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	lastClock  = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
)

// onClock returns the first time of a clock without zones at which the expression ticks, from the given one on and
// before the limit. It adds the months that it looked at to steps.
func (e *Expression) onClock(from, limit int64, steps *int) (int64, bool) {
	if e.months == 0 || from >= limit {
		return 0, false
	}
	year, month, date := time.Unix(from, 0).UTC().Date()
	midnight := from - mod(from, day)
	first := midnight - int64(date-1)*day // midnight of the month's first day
	earliest, _ := e.timeOfDay(0)
	for {
		*steps++
		if e.months>>month&1 != 0 {
			days := e.daysOf(weekday(first), length(year, month)) >> date << date
			if date > 0 && days>>date&1 != 0 { // the day on which the search begins
				if second, ok := e.timeOfDay(int(from - midnight)); ok {
					tick := midnight + second
					return tick, tick < limit
				}
				days &^= 1 << date
			}
			if days != 0 {
				tick := first + int64(bits.TrailingZeros32(days)-1)*day + earliest
				return tick, tick < limit
			}
		}
		if later := e.months >> (month + 1); later != 0 {
			month += 1 + time.Month(bits.TrailingZeros16(later))
		} else {
			year, month = year+1, time.Month(bits.TrailingZeros16(e.months))
		}
		first, date = time.Date(year, month, 1, 0, 0, 0, 0, time.UTC).Unix(), 0
		if first >= limit {
			return 0, false
		}
	}
}

// timeOfDay returns the first second of a day at which the expression ticks, from the given one on.
func (e *Expression) timeOfDay(from int) (int64, bool) {
	hour, minute, second := from/3600, from/60%60, from%60
	if e.hours>>hour&1 != 0 {
		if e.minutes>>minute&1 != 0 {
			if later := e.seconds >> second; later != 0 {
				return int64(from + bits.TrailingZeros64(later)), true
			}
		}
		if later := e.minutes >> (minute + 1); later != 0 {
			minute += 1 + bits.TrailingZeros64(later)
			return int64(hour*3600 + minute*60 + bits.TrailingZeros64(e.seconds)), true
		}
	}
	later := e.hours >> (hour + 1)
	if later == 0 {
		return 0, false
	}
	hour += 1 + bits.TrailingZeros32(later)
	return int64(hour*3600 + bits.TrailingZeros64(e.minutes)*60 + bits.TrailingZeros64(e.seconds)), true
}

// daysOf returns the days, as bits 1 to 31, of a month that begins with the weekday first.
func (e *Expression) daysOf(first time.Weekday, length int) uint32 {
	days := e.days
	if days&lastDay != 0 {
		days |= 1 << length
	}
	switch {
	case e.weekdays == everyWeekday:
	case e.days == everyDay:
		days = weekdaysOf(e.weekdays, first, length)
	default:
		days |= weekdaysOf(e.weekdays, first, length)
	}
	return days & (1<<(length+1) - 2)
}

// weekday returns the weekday of a clock without zones.
func weekday(clock int64) time.Weekday {
	return time.Weekday(mod(mod(clock, 7*day)/day+int64(time.Thursday), 7)) // 1970 began with a Thursday
}

// length returns the number of the month's days.
func length(year int, month time.Month) int {
	switch month {
	case time.April, time.June, time.September, time.November:
		return 30
	case time.February:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}

// mod is the remainder that is never negative.
func mod(n, by int64) int64 {
	return (n%by + by) % by
}
