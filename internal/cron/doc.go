// Package cron reads cron expressions and tells when they tick, in any time zone and over every change of its clock.
//
// # Expressions
//
// Five fields, or six with the seconds first, are separated by white space:
//
//	second         0 to 59, left out: 0
//	minute         0 to 59
//	hour           0 to 23
//	day of month   1 to 31; L is the last day of the month
//	month          1 to 12 or JAN to DEC
//	day of week    0 to 7 or SUN to SAT, 0 and 7 are Sunday; 5L is the last Friday, MON#2 the second Monday of the month
//
// A field is a list of parts between commas. A part is a value, a range (8-17), or * for every value. A range whose end
// lies before its start wraps: FRI-MON, 22-4. Ranges and * take a step: */15, 8-17/2; 5/15 is 5-59/15. Names are
// written in any case. @yearly (@annually), @monthly, @weekly, @daily (@midnight) and @hourly stand for whole
// expressions.
//
// As in every cron: where both day of month and day of week are restricted, a day that fulfils one of them counts.
// A field is restricted if none of its parts is a * without a step, so 1-31 and */2 are restrictions.
//
// # Changes of the clock
//
// The clock of a zone jumps forward over a gap (02:00 to 03:00 in spring), and back over an overlap, whose times it
// shows twice (in autumn). What happens there depends on what the expression asks for:
//
//   - A fixed time has neither a * nor a step in second, minute and hour: 30 2 * * *. In a gap it ticks once, at the
//     end of the gap, however many of its times fall into it; that may be the next day (America/Nuuk leaves out 23:00
//     to 24:00). Of an overlap it ticks in the first pass alone.
//   - A rhythm is everything else: 30 * * * *, */20 2 * * *. It has no tick in a gap, and goes on through both passes
//     of an overlap, so that a tick an hour stays a tick an hour.
//
// This is the rule of Vixie's cron (cron(8): what would have run in a skipped interval runs right after it, what ran
// in a repeated one does not run again, and jobs with a wildcard go by the clock), and of croner 11 with its
// fixedTimeRule "no-wildcard". Both look at what is written: 0-59 is no *, and therefore no rhythm. A step of 1 counts
// as none, so */1 is * and 0-59/1 is 0-59.
//
// A change of a day or more is no change of the clock but one of the calendar, as when Samoa left out 30 December
// 2011: days that are left out have no ticks, and days that are repeated have theirs twice. Vixie's cron draws that
// line at three hours; real zones have had changes of three hours and more that lost no day (Antarctica/Casey), and
// there a daily time must neither be lost nor doubled.
//
// # Work
//
// No arithmetic is done in zone time. A stretch of constant offset is a clock without zones, whose next tick is found by
// a few operations on bits for each month that is looked at; only seams between stretches need the rule. See
// [Expression.Next] for the bound.
package cron
