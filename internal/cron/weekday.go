package cron

import "time"

// Expression.weekdays has a bit for each weekday of each of the five weeks of a month, Sunday first: bit 7*n+w is the
// weekday w of the days 7*n+1 to 7*n+7, that is the (n+1)th w of the month. A plain weekday has its bit in all of them.
// Seven more bits are the last weekdays of a month.
const (
	weeks        = 5
	week         = 1<<7 - 1
	eachWeek     = 1 | 1<<7 | 1<<14 | 1<<21 | 1<<28
	lastWeek     = 7 * weeks
	everyWeekday = week * eachWeek
)

// plain returns the bits of the weekdays that count in every week.
func plain(weekdays uint64) uint64 {
	return weekdays & (weekdays >> 7) & (weekdays >> 14) & (weekdays >> 21) & (weekdays >> 28) & week
}

// weekdaysOf returns the days (bits 1 to 31, and maybe more) of a month that the weekdays ask for.
func weekdaysOf(weekdays uint64, first time.Weekday, length int) uint32 {
	// Turn every week so that it begins with the weekday of the month's first day.
	before := uint64(1)<<first - 1 // the weekdays that come last
	before *= eachWeek
	regular := weekdays & everyWeekday
	days := ((regular&^before)>>first | (regular&before)<<(7-first)) << 1

	if last := weekdays >> lastWeek; last != 0 {
		first = (first + time.Weekday(length)) % 7 // of the last seven days
		days |= ((last>>first | last<<(7-first)) & week) << (length - 6)
	}
	return uint32(days)
}
