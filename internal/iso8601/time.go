// Package iso8601 reads and writes the times and durations of the wire, as msgspec does: RFC 3339 times and the part
// of ISO 8601 durations that has a fixed length, both in microseconds.
package iso8601

import (
	"fmt"
	"math/bits"
	"time"
)

const (
	secondsPerDay  = 86400
	daysBeforeUnix = 719468 // from 0000-03-01 to 1970-01-01
)

// AppendTime appends t in UTC with six fraction digits or none. A year outside 1 to 9999 is an error. What is
// shorter than a microsecond is cut off.
func AppendTime(dst []byte, t time.Time) ([]byte, error) {
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
	const form = "0000-00-00T00:00:00.000000Z"
	n := len(dst)
	dst = append(dst, form...)
	text := (*[len(form)]byte)(dst[n:])
	put2(text[0:], year/100)
	put2(text[2:], year%100)
	put2(text[5:], month)
	put2(text[8:], day)
	put2(text[11:], rest/3600)
	put2(text[14:], rest/60%60)
	put2(text[17:], rest%60)
	micros := t.Nanosecond() / 1000
	if micros == 0 {
		text[19] = 'Z'
		return dst[:n+20], nil
	}
	put2(text[20:], micros/10000)
	put2(text[22:], micros/100%100)
	put2(text[24:], micros%100)
	return dst, nil
}

// put2 writes two digits to the beginning of text.
func put2(text []byte, n int) {
	_ = text[1]
	text[0], text[1] = byte('0'+uint(n)/10), byte('0'+uint(n)%10)
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

// ParseTime reads an RFC 3339 time and returns it in UTC. The separator may be T, t or a space, the zone Z, z,
// ±hh:mm, ±hhmm or absent, which means UTC; fractions of any length are rounded half up to microseconds.
func ParseTime(s []byte) (time.Time, error) {
	if len(s) == len(usual) {
		if t, ok := parseUsual((*[len(usual)]byte)(s)); ok {
			return t, nil
		}
	}
	fail := func() (time.Time, error) {
		return time.Time{}, fmt.Errorf("%.60q is no RFC 3339 time, want one like 2026-01-02T03:04:05.000006Z", s)
	}
	if len(s) < 19 || s[4] != '-' || s[7] != '-' || s[10] != 'T' && s[10] != 't' && s[10] != ' ' || s[13] != ':' || s[16] != ':' {
		return fail()
	}
	year, month, day := 100*parse2(s, 0)+parse2(s, 2), parse2(s, 5), parse2(s, 8)
	hour, minute, second := parse2(s, 11), parse2(s, 14), parse2(s, 17)
	if year < 1 || year > 9999 || month < 1 || month > 12 || day < 1 || day > 28 && day > daysIn(year, month) ||
		hour > 23 || minute > 59 || second > 59 {
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
	var offset int64
	if len(rest) != 1 || rest[0] != 'Z' {
		var ok bool
		if offset, ok = parseZone(rest); !ok {
			return fail()
		}
	}
	seconds := secondsPerDay*(days(year, month, day)-daysBeforeUnix) + int64(3600*hour+60*minute+second) - offset
	if micros == 1_000_000 {
		seconds, micros = seconds+1, 0
	}
	const first, last = (306 - daysBeforeUnix) * secondsPerDay, (3652365-daysBeforeUnix)*secondsPerDay - 1
	if seconds < first || seconds > last {
		return time.Time{}, fmt.Errorf("%.60q is outside the years 1 to 9999 in UTC", s)
	}
	return time.Unix(seconds, micros*1000).UTC(), nil
}

// usual is the form that [AppendTime] writes.
const usual = "2006-01-02T15:04:05.000000Z"

// parseUsual is ParseTime for the usual form, without a look at what is possible besides. False says nothing of the text.
func parseUsual(s *[len(usual)]byte) (t time.Time, ok bool) {
	if s[4] != '-' || s[7] != '-' || s[10] != 'T' || s[13] != ':' || s[16] != ':' || s[19] != '.' || s[26] != 'Z' {
		return t, false
	}
	bad := byte(0) // has a bit above the lowest four if something is no digit
	two := func(a, b byte) int {
		a, b = a-'0', b-'0'
		bad |= a | (a + 6) | b | (b + 6)
		return int(a)*10 + int(b)
	}
	year, month, day := 100*two(s[0], s[1])+two(s[2], s[3]), two(s[5], s[6]), two(s[8], s[9])
	hour, minute, second := two(s[11], s[12]), two(s[14], s[15]), two(s[17], s[18])
	micros := 10_000*two(s[20], s[21]) + 100*two(s[22], s[23]) + two(s[24], s[25])
	if bad > 15 || year < 1 || month < 1 || month > 12 || day < 1 || day > 28 && day > daysIn(year, month) || hour > 23 || minute > 59 || second > 59 {
		return t, false
	}
	seconds := secondsPerDay*(days(year, month, day)-daysBeforeUnix) + int64(3600*hour+60*minute+second)
	return time.Unix(seconds, int64(micros)*1000).UTC(), true
}

// days is the reverse of civil.
func days(year, month, day int) int64 {
	if month <= 2 {
		year, month = year-1, month+12
	}
	return int64(365*year + year/4 - year/100 + year/400 + (153*(month-3)+2)/5 + day - 1)
}

// parseZone returns the seconds that a zone is ahead of UTC.
func parseZone(s []byte) (offset int64, ok bool) {
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
	hours, minutes := parse2(s, 0), parse2(s, 2)
	if hours > 23 || minutes > 59 {
		return 0, false
	}
	offset = int64(3600*hours + 60*minutes)
	if negative {
		offset = -offset
	}
	return offset, true
}

// parse2 is the value of the two digits at i, or more than any two digits have.
func parse2(s []byte, i int) int {
	a, b := s[i]-'0', s[i+1]-'0'
	if a > 9 || b > 9 {
		return 1 << 16
	}
	return int(a)*10 + int(b)
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
	if scale == unit {
		return int64(f)
	}
	hi, lo := bits.Mul64(f, unit)
	lo, carry := bits.Add64(lo, scale/2, 0)
	value, _ := bits.Div64(hi+carry, lo, scale)
	return int64(value)
}
