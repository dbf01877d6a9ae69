package cron

import (
	"fmt"
	"math/bits"
	"strings"
	"time"
)

// maxLength bounds the bytes of an expression. One that lists every value of every field has less than 600.
const maxLength = 1024

var nicknames = map[string]string{
	"@yearly":   "0 0 1 1 *",
	"@annually": "0 0 1 1 *",
	"@monthly":  "0 0 1 * *",
	"@weekly":   "0 0 * * 0",
	"@daily":    "0 0 * * *",
	"@midnight": "0 0 * * *",
	"@hourly":   "0 * * * *",
}

// Parse reads an expression; the package's documentation says what one looks like. It refuses, with an [*Error], what is
// none, and what can never tick: 30 February, or a step that is as long as its range. An expression that it accepts
// ticks at least once in 40 years on a clock that never changes. It is safe for text that comes from anybody: one of
// more than 1024 bytes is refused unread.
func Parse(text string) (Expression, error) {
	p := parser{text: text}
	if len(text) > maxLength {
		return Expression{}, p.fail(fmt.Sprintf("it has %d bytes, want at most %d", len(text), maxLength))
	}
	if problem := p.split(); problem != "" {
		return Expression{}, p.fail(problem)
	}
	for number := range fields {
		if err := p.field(number); err != nil {
			return Expression{}, err
		}
	}
	if err := p.possible(); err != nil {
		return Expression{}, err
	}
	p.normalize()
	return p.expression, nil
}

// parser reads one expression.
type parser struct {
	text       string
	seconds    bool               // the text has a field for seconds
	fields     [fieldCount]string // as given, or as a nickname has them
	offsets    [fieldCount]int    // where in the text they begin
	open       [fieldCount]bool   // the field has a * without a step, and restricts nothing
	expression Expression
}

// fail returns an error about the text as a whole.
func (p *parser) fail(problem string) error {
	return &Error{Expression: p.text, Problem: problem}
}

// failAt returns an error about a part of a field that begins at the field's byte offset.
func (p *parser) failAt(number, offset int, problem string) error {
	position := number
	if p.seconds {
		position++
	}
	return &Error{
		Expression: p.text,
		Field:      position,
		Name:       fields[number].name,
		Text:       p.fields[number],
		Offset:     p.offsets[number] + offset,
		Problem:    problem,
	}
}

const wantFields = "want 5 fields (minute, hour, day of month, month, day of week) or 6 (second before them)"

// split finds the fields. It returns the problem in words, or none.
func (p *parser) split() string {
	texts := strings.Fields(p.text)
	if len(texts) > 0 {
		switch first := strings.ToLower(texts[0]); {
		case first == "@every":
			return "@every is a distance, not times of a clock; want fields like */5 * * * *, or a schedule by distance instead of cron"
		case first == "@reboot":
			return "@reboot is no time of a clock; want fields or " + wantNickname
		case first[0] == '@':
			standard, known := nicknames[first]
			if !known {
				return quote(texts[0]) + " is not known, want " + wantNickname
			}
			if len(texts) > 1 {
				return fmt.Sprintf("%s is a whole expression, want nothing after it", first)
			}
			texts = strings.Fields(standard)
		case strings.HasPrefix(first, "tz=") || strings.HasPrefix(first, "cron_tz="):
			return quote(texts[0]) + " is no part of an expression, want the zone given beside it"
		}
	}
	switch len(texts) {
	case 0:
		return "it is empty, " + wantFields
	case 1:
		return "it has 1 field, " + wantFields
	case fieldCount - 1:
		texts = append([]string{"0"}, texts...)
	case fieldCount:
		p.seconds = true
	case fieldCount + 1:
		return "it has 7 fields, " + wantFields + "; there is none for the year"
	default:
		return fmt.Sprintf("it has %d fields, %s", len(texts), wantFields)
	}
	p.fields = [fieldCount]string(texts)
	offset := 0
	for number := range fields {
		if at := strings.Index(p.text[offset:], p.fields[number]); at >= 0 && (p.seconds || number > 0) {
			p.offsets[number] = offset + at
			offset += at + len(p.fields[number])
		}
	}
	return ""
}

const wantNickname = "one of @yearly, @monthly, @weekly, @daily and @hourly"

// field reads one field.
func (p *parser) field(number int) error {
	offset := 0
	for part := range strings.SplitSeq(p.fields[number], ",") {
		if part == "" {
			return p.failAt(number, offset, "a value is missing beside a comma, want one on both sides")
		}
		if problem := p.part(number, part); problem != "" {
			return p.failAt(number, offset, problem)
		}
		offset += len(part) + 1
	}
	return nil
}

// part reads one part of a field's list. It returns the problem in words, or none.
func (p *parser) part(number int, part string) string {
	e, f := &p.expression, &fields[number]
	if number == dayField && strings.EqualFold(part, "L") {
		e.days |= lastDay
		return ""
	}
	if number == weekdayField {
		if bits, problem, ok := someWeekday(part); ok {
			e.weekdays |= bits
			return problem
		}
	}
	s, problem := f.span(part)
	if problem != "" {
		return problem
	}
	star := part[0] == '*'
	p.open[number] = p.open[number] || star && s.step == 1
	values := f.bits(s)
	switch number {
	case secondField:
		e.seconds |= values
	case minuteField:
		e.minutes |= values
	case hourField:
		e.hours |= uint32(values)
	case dayField:
		e.days |= uint32(values)
	case monthField:
		e.months |= uint16(values)
	case weekdayField:
		e.weekdays |= values * eachWeek
	}
	if number <= hourField && (star || s.step > 1) {
		e.rhythm = true
	}
	return ""
}

// someWeekday reads MON#2, the second Monday of a month, and 5L, the last Friday. It reports whether the part looks like
// one of them.
func someWeekday(part string) (bits uint64, problem string, ok bool) {
	f := &fields[weekdayField]
	if day, nth, ok := strings.Cut(part, "#"); ok {
		weekday, problem := f.value(day)
		if problem != "" {
			return 0, problem, true
		}
		if len(nth) != 1 || nth[0] < '1' || nth[0] > '5' {
			return 0, fmt.Sprintf("%s in %s is no week of a month, want 1 to 5, or %dL for the last", quote(nth), quote(part), weekday%7), true
		}
		return 1 << (7*int(nth[0]-'1') + weekday%7), "", true
	}
	day := part[:len(part)-1]
	if last := part[len(part)-1]; day == "" || last != 'L' && last != 'l' {
		return 0, "", false
	}
	weekday, problem := f.value(day)
	if problem != "" {
		return 0, problem, true
	}
	return 1 << (lastWeek + weekday%7), "", true
}

// possible refuses days that no month of the expression has. Days of the week are in every month, a fifth one at least
// every 40 years, so only days of the month can be wrong.
func (p *parser) possible() error {
	e := &p.expression
	if e.days&lastDay != 0 || p.open[dayField] || !p.open[weekdayField] {
		return nil
	}
	longest, names := 0, []string(nil)
	for i, name := range fields[monthField].names {
		if e.months>>(i+1)&1 != 0 {
			longest = max(longest, length(2000, time.Month(i+1))) // 2000 had a 29 February
			names = append(names, name)
		}
	}
	if bits.TrailingZeros32(e.days) <= longest {
		return nil
	}
	return p.failAt(dayField, 0, fmt.Sprintf("it never happens, the longest month of %s has %d days; want an earlier day, L for the last one, or another month",
		strings.Join(names, ","), longest))
}

// normalize makes expressions equal that say the same in different words.
func (p *parser) normalize() {
	e := &p.expression
	if e.days&everyDay == everyDay {
		e.days = everyDay
	}
	e.weekdays &^= plain(e.weekdays) << lastWeek
	if e.days != everyDay && e.weekdays != everyWeekday {
		return // both restrict
	}
	if !p.open[dayField] && !p.open[weekdayField] { // one of them is fulfilled every day
		e.days, e.weekdays = everyDay, everyWeekday
	}
}
