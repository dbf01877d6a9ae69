package cron

import (
	"fmt"
	"strconv"
	"strings"
)

// field is what is known of one of the fields before an expression is read.
type field struct {
	name     string
	min, max int
	wrap     int      // how far apart a value and its next turn are
	names    []string // of the values from min on, if they have any
}

// The fields in their order.
const (
	secondField = iota
	minuteField
	hourField
	dayField
	monthField
	weekdayField
	fieldCount
)

var fields = [fieldCount]field{
	secondField: {name: "second", max: 59, wrap: 60},
	minuteField: {name: "minute", max: 59, wrap: 60},
	hourField:   {name: "hour", max: 23, wrap: 24},
	dayField:    {name: "day of month", min: 1, max: 31, wrap: 31},
	monthField: {name: "month", min: 1, max: 12, wrap: 12, names: []string{
		"JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"}},
	weekdayField: {name: "day of week", max: 7, wrap: 7, names: []string{"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"}},
}

// want says which values the field has.
func (f *field) want() string {
	if f.names == nil {
		return fmt.Sprintf("want %d to %d", f.min, f.max)
	}
	return fmt.Sprintf("want %d to %d or %s to %s", f.min, f.max, f.names[0], f.names[len(f.names)-1])
}

// value reads a number or a name. It returns the problem in words, or none.
func (f *field) value(text string) (value int, problem string) {
	if digits(text) {
		value, err := strconv.Atoi(text)
		switch {
		case err != nil || value > f.max:
			return 0, fmt.Sprintf("%s is too large, %s", cut(text), f.want())
		case value < f.min:
			return 0, fmt.Sprintf("%s is too small, %s", cut(text), f.want())
		}
		return value, ""
	}
	for i, name := range f.names {
		if strings.EqualFold(text, name) {
			return f.min + i, ""
		}
	}
	return 0, f.unknown(text)
}

// unknown says what is wrong with a text that is no value, and what was probably meant.
func (f *field) unknown(text string) string {
	for i, name := range f.names {
		if len(text) > len(name) && strings.EqualFold(text[:len(name)], name) {
			return fmt.Sprintf("%s is no %s, want %s or %d", quote(text), f.name, name, f.min+i)
		}
	}
	last := &fields[weekdayField]
	switch upper := strings.ToUpper(text); {
	case text == "":
		return "a value is missing, " + f.want()
	case text == "?":
		return "? is not known here, want * for every " + f.name
	case upper == "L" && f == last:
		return "L is no weekday, want one with it: 5L is the last Friday of the month"
	case f.min == 1 && f.names == nil && strings.HasPrefix(upper, "L"):
		return fmt.Sprintf("%s is not known, want L alone: the last day of the month", quote(text))
	case f.min == 1 && f.names == nil && strings.HasSuffix(upper, "W"):
		return fmt.Sprintf("%s, the working day next to a date, is not known; want a day of the month, 1 to 31, or L", quote(text))
	case strings.Contains(text, "*"):
		return fmt.Sprintf("%s is no %s, want * alone, or with a step: */2", quote(text), f.name)
	}
	return fmt.Sprintf("%s is no %s, %s", quote(text), f.name, f.want())
}

// span is what one part of a list stands for: the values from first to last in steps. A last value beyond the field's
// end stands for that of the next turn.
type span struct {
	first, last, step int
}

// span reads a value, a range or a *, each maybe with a step.
func (f *field) span(part string) (s span, problem string) {
	base, stepText, stepped := strings.Cut(part, "/")
	start, end, ranged := strings.Cut(base, "-")
	s.step = 1
	switch {
	case base == "*":
		s.first, s.last = f.min, f.min+f.wrap-1
	case base == "" && stepped:
		return s, fmt.Sprintf("%s has nothing before the step, want */%s or a range with a step", quote(part), cut(stepText))
	case ranged && (start == "" || end == "" || strings.Contains(end, "-")):
		return s, fmt.Sprintf("%s is no range, want a first and a last value like %d-%d", quote(base), f.min+1, f.min+5)
	default:
		if s.first, problem = f.value(start); problem != "" {
			return s, problem
		}
		s.last = s.first
		if ranged {
			if s.last, problem = f.value(end); problem != "" {
				return s, problem
			}
			f.turn(&s)
		} else if stepped {
			s.last = f.min + f.wrap - 1
			s.first = f.min + (s.first-f.min)%f.wrap
		}
	}
	if stepped {
		return f.step(s, part, stepText)
	}
	return s, ""
}

// turn lets a range that ends before it starts go on in the next turn. It reads the 7 as a Sunday that starts a range,
// but as the end of a week where it ends one: 5-7, 0-7.
func (f *field) turn(s *span) {
	if s.first == f.min+f.wrap {
		s.first = f.min
		if s.last == f.min+f.wrap {
			s.last = f.min
		}
	}
	if s.last < s.first {
		s.last += f.wrap
	}
}

// step reads the step of a part.
func (f *field) step(s span, part, text string) (span, string) {
	values := min(s.last-s.first+1, f.wrap)
	want := fmt.Sprintf("want a step of 1 to %d", values-1)
	if values == 1 {
		want = "want a range before the step"
	}
	if !digits(text) {
		return s, fmt.Sprintf("%s in %s is no step, %s", quote(text), quote(part), want)
	}
	step, err := strconv.Atoi(text)
	switch {
	case err == nil && step == 0:
		return s, fmt.Sprintf("step 0 in %s stays where it is, %s", quote(part), want)
	case err != nil || step > 1 && step >= values:
		return s, fmt.Sprintf("step %s in %s leaves nothing but %d: %s, or %[3]d without a step", cut(text), quote(part), s.first, want)
	}
	s.step = step
	return s, ""
}

// bits returns the span's values. The field's values have to be below 64.
func (f *field) bits(s span) uint64 {
	var bits uint64
	for value := s.first; value <= s.last; value += s.step {
		bits |= 1 << (f.min + (value-f.min)%f.wrap)
	}
	return bits
}

// digits reports whether the text is a number without a sign.
func digits(text string) bool {
	return text != "" && strings.Trim(text, "0123456789") == ""
}

// quote returns the text for a message, in quotes and cut if it is long.
func quote(text string) string {
	return fmt.Sprintf("%.20q", text)
}

// cut returns a text of digits for a message, cut if it is long.
func cut(text string) string {
	if len(text) > 20 {
		return text[:20] + "..."
	}
	return text
}
