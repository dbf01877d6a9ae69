// Package iso8601 reads and writes the times and durations of the wire, as msgspec does: RFC 3339 times and the part
// of ISO 8601 durations that has a fixed length, both in microseconds.
package iso8601

import (
	"fmt"
	"math/bits"
	"time"
)

// AppendTime appends t in UTC with six fraction digits or none. A year outside 1 to 9999 is an error. What is
// shorter than a microsecond is cut off.
func AppendTime(dst []byte, t time.Time) ([]byte, error) {
	const secondsPerDay, daysBeforeUnix = 86400, 719468 // days from 0000-03-01 to 1970-01-01
	seconds := t.Unix()
	days := seconds / secondsPerDay
	rest := int(seconds % secondsPerDay)
	if rest < 0 {
		rest += secondsPerDay
		days--
	}
	if days += daysBeforeUnix; days < 306 || days > 3652364 { // 0001-01-01 and 9999-12-31
		return dst, fmt.Errorf("year %d is outside 1 to 9999", t.UTC().Year())
	}
	year, month, day := civil(uint32(days))
	hour, minute, second := rest/3600, rest/60%60, rest%60
	dst = append2(dst, year/100)
	dst = append2(dst, year%100)
	dst = append2(append(dst, '-'), month)
	dst = append2(append(dst, '-'), day)
	dst = append2(append(dst, 'T'), hour)
	dst = append2(append(dst, ':'), minute)
	dst = append2(append(dst, ':'), second)
	if micros := t.Nanosecond() / 1000; micros != 0 {
		dst = append2(append(dst, '.'), micros/10000)
		dst = append2(dst, micros/100%100)
		dst = append2(dst, micros%100)
	}
	return append(dst, 'Z'), nil
}

// civil is the date that is so many days after 0000-03-01 in the proleptic Gregorian calendar: a year that begins in
// March has its leap day at the end. See Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days.
func civil(days uint32) (year, month, day int) {
	era, dayOfEra := days/146097, days%146097
	yearOfEra := (dayOfEra - dayOfEra/1460 + dayOfEra/36524 - dayOfEra/146096) / 365
	dayOfYear := dayOfEra - (365*yearOfEra + yearOfEra/4 - yearOfEra/100)
	m := (5*dayOfYear + 2) / 153 // months since March
	day = int(dayOfYear - (153*m+2)/5 + 1)
	year, month = int(yearOfEra+era*400), int(m+3)
	if month > 12 {
		year, month = year+1, month-12
	}
	return year, month, day
}

func append2(dst []byte, n int) []byte {
	return append(dst, byte('0'+n/10), byte('0'+n%10))
}

// ParseTime reads an RFC 3339 time and returns it in UTC. The separator may be T, t or a space, the zone Z, z,
// ±hh:mm, ±hhmm or absent, which means UTC; fractions of any length are rounded half up to microseconds.
func ParseTime(s []byte) (time.Time, error) {
	fail := func() (time.Time, error) {
		return time.Time{}, fmt.Errorf("%.60q is no RFC 3339 time, want one like 2026-01-02T03:04:05.000006Z", s)
	}
	if len(s) < 19 || s[4] != '-' || s[7] != '-' || s[10] != 'T' && s[10] != 't' && s[10] != ' ' || s[13] != ':' || s[16] != ':' {
		return fail()
	}
	century, ok1 := parse2(s[0:])
	year, ok2 := parse2(s[2:])
	month, ok3 := parse2(s[5:])
	day, ok4 := parse2(s[8:])
	hour, ok5 := parse2(s[11:])
	minute, ok6 := parse2(s[14:])
	second, ok7 := parse2(s[17:])
	year += 100 * century
	if !ok1 || !ok2 || !ok3 || !ok4 || !ok5 || !ok6 || !ok7 || year < 1 ||
		month < 1 || month > 12 || day < 1 || day > daysIn(year, month) || hour > 23 || minute > 59 || second > 59 {
		return fail()
	}
	rest := s[19:]
	var micros int64
	if len(rest) > 0 && rest[0] == '.' {
		n := digits(rest[1:])
		if n == 0 {
			return fail()
		}
		micros = fraction(rest[1:1+n], 1_000_000)
		rest = rest[1+n:]
	}
	offset, ok := parseZone(rest)
	if !ok {
		return fail()
	}
	t := time.Date(year, time.Month(month), day, hour, minute, second, 0, time.UTC)
	t = t.Add(time.Duration(micros)*time.Microsecond - offset)
	if y := t.Year(); y < 1 || y > 9999 {
		return time.Time{}, fmt.Errorf("%.60q is outside the years 1 to 9999 in UTC", s)
	}
	return t, nil
}

func parseZone(s []byte) (offset time.Duration, ok bool) {
	switch {
	case len(s) == 0, len(s) == 1 && (s[0] == 'Z' || s[0] == 'z'):
		return 0, true
	case s[0] != '+' && s[0] != '-':
		return 0, false
	}
	negative := s[0] == '-'
	s = s[1:]
	if len(s) == 5 && s[2] == ':' {
		s = []byte{s[0], s[1], s[3], s[4]}
	}
	if len(s) != 4 {
		return 0, false
	}
	hours, ok1 := parse2(s)
	minutes, ok2 := parse2(s[2:])
	if !ok1 || !ok2 || hours > 23 || minutes > 59 {
		return 0, false
	}
	offset = time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute
	if negative {
		offset = -offset
	}
	return offset, true
}

func parse2(s []byte) (n int, ok bool) {
	a, b := s[0]-'0', s[1]-'0'
	return int(a)*10 + int(b), a <= 9 && b <= 9
}

func daysIn(year, month int) int {
	switch month {
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	case 4, 6, 9, 11:
		return 30
	}
	return 31
}

// digits counts the digits at the beginning of s.
func digits(s []byte) int {
	n := 0
	for n < len(s) && '0' <= s[n] && s[n] <= '9' {
		n++
	}
	return n
}

// fraction is the part of unit, in microseconds, that the digits behind a decimal point stand for, rounded half up.
// Digits behind the eighteenth are below a millionth of a microsecond and are passed over.
func fraction(frac []byte, unit uint64) int64 {
	f, scale := uint64(0), uint64(1)
	for _, c := range frac[:min(len(frac), 18)] {
		f = f*10 + uint64(c-'0')
		scale *= 10
	}
	hi, lo := bits.Mul64(f, unit)
	lo, carry := bits.Add64(lo, scale/2, 0)
	value, _ := bits.Div64(hi+carry, lo, scale)
	return int64(value)
}
