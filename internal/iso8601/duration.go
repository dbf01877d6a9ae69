package iso8601

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

const (
	microsPerSecond = 1_000_000
	microsPerDay    = 86400 * microsPerSecond
	maxMicros       = math.MaxInt64 / int64(time.Microsecond)
)

// AppendDuration appends d as [-]P[nD][Tn[.f]S], without trailing zeros: P0D, PT3600S, P1DT1.5S. What is shorter than
// a microsecond is cut off.
func AppendDuration(dst []byte, d time.Duration) []byte {
	micros := d.Microseconds()
	if micros == 0 {
		return append(dst, "P0D"...)
	}
	if micros < 0 {
		dst = append(dst, '-')
		micros = -micros
	}
	dst = append(dst, 'P')
	if days := micros / microsPerDay; days > 0 {
		dst = strconv.AppendInt(dst, days, 10)
		dst = append(dst, 'D')
	}
	micros %= microsPerDay
	if micros == 0 {
		return dst
	}
	dst = append(dst, 'T')
	dst = strconv.AppendInt(dst, micros/microsPerSecond, 10)
	if frac := int(micros % microsPerSecond); frac != 0 {
		dst = append(dst, ".000000"...)
		text := dst[len(dst)-6:]
		put2(text, frac/10000)
		put2(text[2:], frac/100%100)
		put2(text[4:], frac%100)
		for dst[len(dst)-1] == '0' {
			dst = dst[:len(dst)-1]
		}
	}
	return append(dst, 'S')
}

// units are the parts of a duration in their order, with their length in microseconds.
var units = [...]struct {
	letter byte
	micros uint64
}{
	{'D', microsPerDay},
	{'T', 0}, // what follows is hours, minutes and seconds
	{'H', 3600 * microsPerSecond},
	{'M', 60 * microsPerSecond},
	{'S', microsPerSecond},
}

// ParseDuration reads [+-]P[nD][T[nH][nM][nS]] in any case, at least one part present, a fraction in the last part
// only, and rounds it half up to microseconds. Weeks, months and years are refused: only the other units have a fixed
// length. A duration that [time.Duration] cannot hold, of more than 106751 days, is an error.
func ParseDuration(text []byte) (time.Duration, error) {
	if seconds, ok := parseSeconds(text); ok {
		return seconds, nil
	}
	fail := func() (time.Duration, error) {
		return 0, fmt.Errorf("%.60q is no ISO 8601 duration of days, hours, minutes and seconds, want one like P1DT3600.5S", text)
	}
	s := text
	negative := false
	if len(s) > 0 && (s[0] == '-' || s[0] == '+') {
		negative = s[0] == '-'
		s = s[1:]
	}
	if len(s) < 3 || upper(s[0]) != 'P' {
		return fail()
	}
	s = s[1:]
	var total int64
	unit := 0 // the next part may be units[unit] or a later one
	const time1 = 2
	for len(s) > 0 {
		if upper(s[0]) == 'T' {
			if unit >= time1 || len(s) == 1 {
				return fail()
			}
			unit, s = time1, s[1:]
			continue
		}
		n := digits(s)
		if n == 0 || n == len(s) || unit == time1-1 {
			return fail()
		}
		number, frac := s[:n], []byte(nil)
		s = s[n:]
		if s[0] == '.' {
			n := digits(s[1:])
			if n == 0 || n+2 != len(s) {
				return fail()
			}
			frac, s = s[1:1+n], s[1+n:]
		}
		for letter := upper(s[0]); units[unit].letter != letter; {
			unit++
			if unit == len(units) || unit == time1-1 {
				return fail()
			}
		}
		per := units[unit].micros
		whole := uint64(0)
		for _, c := range number {
			if whole = whole*10 + uint64(c-'0'); whole > uint64(maxMicros)/per {
				return tooLong(text)
			}
		}
		part := int64(whole*per) + fraction(frac, per)
		if part > maxMicros-total {
			return tooLong(text)
		}
		total += part
		unit, s = unit+1, s[1:]
		if unit == len(units) && len(s) > 0 {
			return fail()
		}
	}
	if negative {
		total = -total
	}
	return time.Duration(total) * time.Microsecond, nil
}

// parseSeconds is ParseDuration for whole seconds, PT3600S, as they are usual. False says nothing of the text.
func parseSeconds(text []byte) (time.Duration, bool) {
	if len(text) < 4 || len(text) > 12 || text[0] != 'P' || text[1] != 'T' || text[len(text)-1] != 'S' {
		return 0, false
	}
	n := time.Duration(0)
	for _, c := range text[2 : len(text)-1] {
		if c -= '0'; c > 9 {
			return 0, false
		}
		n = n*10 + time.Duration(c)
	}
	return n * time.Second, true
}

func tooLong(text []byte) (time.Duration, error) {
	return 0, fmt.Errorf("duration %.60q is longer than 106751 days, which is as long as one can be", text)
}

func upper(c byte) byte {
	if 'a' <= c && c <= 'z' {
		return c - 'a' + 'A'
	}
	return c
}
