package cron

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
)

// String returns the expression in its canonical form, which [Parse] reads as an equal one: six fields if it asks for
// other seconds than 0, otherwise five; numbers in place of names, in order, and no nickname. Expressions with the same
// text are equal, and equal ones have the same text. It is empty for the zero Expression.
func (e Expression) String() string {
	if e == (Expression{}) {
		return ""
	}
	clock := [...]uint64{secondField: e.seconds, minuteField: e.minutes, hourField: uint64(e.hours)}
	var texts [fieldCount]string
	told := !e.rhythm // the text tells by a * or a step that this is a rhythm
	for number, values := range clock {
		f := &fields[number]
		texts[number] = f.list(values)
		if e.rhythm {
			if text := f.stepped(values, 2); text != "" {
				texts[number], told = text, true
			}
		}
	}
	for number := hourField; !told; number-- { // one of them has two values, or there would be no rhythm
		texts[number], told = fields[number].forced(clock[number])
	}
	texts[dayField] = e.daysText()
	texts[monthField] = fields[monthField].text(uint64(e.months))
	texts[weekdayField] = e.weekdaysText()
	if e.seconds == 1 {
		return strings.Join(texts[1:], " ")
	}
	return strings.Join(texts[:], " ")
}

func (e *Expression) daysText() string {
	text := fields[dayField].text(uint64(e.days & everyDay))
	if e.days&lastDay != 0 {
		return strings.TrimPrefix(text+",L", ",")
	}
	return text
}

func (e *Expression) weekdaysText() string {
	regular := plain(e.weekdays)
	var parts []string
	if regular != 0 {
		parts = append(parts, fields[weekdayField].text(regular))
	}
	for rest := e.weekdays &^ (regular * eachWeek); rest != 0; rest &= rest - 1 {
		n := bits.TrailingZeros64(rest)
		if n >= lastWeek {
			parts = append(parts, fmt.Sprintf("%dL", n-lastWeek))
		} else {
			parts = append(parts, fmt.Sprintf("%d#%d", n%7, n/7+1))
		}
	}
	return strings.Join(parts, ",")
}

// text returns a field's values where it makes no difference whether they are written with a step.
func (f *field) text(values uint64) string {
	if text := f.stepped(values, 3); text != "" {
		return text
	}
	return f.list(values)
}

// list returns the values one by one, and as ranges where at least three follow each other.
func (f *field) list(values uint64) string {
	var parts []string
	for values != 0 {
		first := bits.TrailingZeros64(values)
		count := bits.TrailingZeros64(^(values >> first))
		if count > 2 {
			parts = append(parts, fmt.Sprintf("%d-%d", first, first+count-1))
		} else {
			count = 1
			parts = append(parts, strconv.Itoa(first))
		}
		values &^= (1<<count - 1) << first
	}
	return strings.Join(parts, ",")
}

// stepped returns the values as * or as a range with a step, or "" if they are neither or fewer than atLeast.
func (f *field) stepped(values uint64, atLeast int) string {
	first, count := bits.TrailingZeros64(values), bits.OnesCount64(values)
	switch {
	case count == f.wrap:
		return "*"
	case count < atLeast:
		return ""
	}
	last := 63 - bits.LeadingZeros64(values)
	s := span{first: first, last: last, step: (last - first) / (count - 1)}
	switch {
	case s.step < 2 || f.bits(s) != values:
		return ""
	case first == f.min && last+s.step >= f.min+f.wrap:
		return fmt.Sprintf("*/%d", s.step)
	}
	return fmt.Sprintf("%d-%d/%d", first, last, s.step)
}

// forced returns the values with a step somewhere, though they are no regular sequence. It fails if there is but one.
func (f *field) forced(values uint64) (string, bool) {
	first := bits.TrailingZeros64(values)
	rest := values &^ (1 << first)
	if rest == 0 {
		return f.list(values), false
	}
	far := rest &^ (2 << first)
	if far == 0 { // first and the one after it, the other way round
		return fmt.Sprintf("%d-%d/%d", first+1, first, f.wrap-1), true
	}
	second := bits.TrailingZeros64(far)
	return strings.TrimSuffix(fmt.Sprintf("%d-%d/%d,%s", first, second, second-first, f.list(rest&^(1<<second))), ","), true
}
