package ui

import (
	"fmt"
	"html/template"
	"log/slog"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/omniq-go/omniq"
)

// plain is a text with what is not seen, or turns what is around it, in a form that is seen: as JSON writes it.
func plain(v any) string {
	s := fmt.Sprint(v)
	if strings.IndexFunc(s, unseen) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if unseen(r) {
			_, _ = fmt.Fprintf(&b, `\u%04x`, r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// unseen reports whether a character is one that plain shows. Joiners belong to scripts and to emoji.
func unseen(r rune) bool {
	const nonJoiner, joiner = '\u200c', '\u200d'
	switch {
	case r == '\n', r == '\t', r == '\r', r == nonJoiner, r == joiner:
		return false
	}
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
}

// first is the beginning of a list.
func first(n int, list any) any {
	v := reflect.ValueOf(list)
	return v.Slice(0, min(n, v.Len())).Interface()
}

// short is the beginning of a text.
func short(s string) string {
	runes := []rune(s)
	if len(runes) <= maxShort {
		return s
	}
	return string(runes[:maxShort]) + "…"
}

// maxShort is how many characters of a text a list has.
const maxShort = 300

// ago is how long ago a time was, by the clock of this process: nothing is in the future because clocks differ.
func ago(t time.Time) template.HTML {
	if t.IsZero() {
		return "–"
	}
	d := time.Since(t)
	switch {
	case d < -time.Second:
		return stamp(t, "in "+duration(-d))
	case d < time.Second:
		return stamp(t, "now")
	}
	return stamp(t, duration(d)+" ago")
}

// at is a time in UTC.
func at(t time.Time) template.HTML {
	if t.IsZero() {
		return "–"
	}
	return stamp(t, t.UTC().Format("2006-01-02 15:04:05"))
}

// stamp is a time for programs, with a text for people that has nothing to escape.
func stamp(t time.Time, text string) template.HTML {
	return template.HTML(`<time datetime="` + t.UTC().Format(time.RFC3339Nano) + `">` + text + `</time>`)
}

// duration is about how long something takes, in at most two units.
func duration(d time.Duration) string {
	switch {
	case d < 0:
		return "0 s"
	case d < time.Millisecond:
		return strconv.FormatInt(d.Microseconds(), 10) + " µs"
	case d < time.Second:
		return strconv.FormatInt(d.Milliseconds(), 10) + " ms"
	case d < 10*time.Second:
		return strconv.FormatFloat(d.Truncate(100*time.Millisecond).Seconds(), 'f', -1, 64) + " s"
	}
	s := int64(d / time.Second)
	switch {
	case s < 60:
		return fmt.Sprintf("%d s", s)
	case s < 3600:
		return two(s/60, "min", s%60, "s")
	case s < 86400:
		return two(s/3600, "h", s%3600/60, "min")
	}
	return two(s/86400, "d", s%86400/3600, "h")
}

func two(a int64, unit string, b int64, smaller string) string {
	if b == 0 {
		return fmt.Sprintf("%d %s", a, unit)
	}
	return fmt.Sprintf("%d %s %d %s", a, unit, b, smaller)
}

// count is a number with commas.
func count(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// percent is how much of the whole a part is.
func percent(part, whole int) int {
	if whole <= 0 {
		return 0
	}
	return min(100, max(0, part*100/whole))
}

// stateClass is the class in the style sheet of a state.
func stateClass(s omniq.Status) string { return strings.ToLower(s.String()) }

// tail is the end of an ID, by which people tell IDs of the same time apart.
func tail(id fmt.Stringer) string {
	s := id.String()
	return s[max(len(s)-12, 0):]
}

// secrets are forms in which an engine's error may have a password.
var secrets = []*regexp.Regexp{
	regexp.MustCompile(`(://)\S*@`),
	regexp.MustCompile(`(?i)((?:password|passwd|pwd|secret|token)\s*[=:]\s*)(?:"[^"]*"|'[^']*'|[^\s&;,]+)`),
}

// withoutSecrets is a text without what may be a password.
func withoutSecrets(s string) string {
	s = secrets[0].ReplaceAllString(s, "${1}...@")
	return secrets[1].ReplaceAllString(s, "${1}...")
}

// logged is an error for the log.
func logged(err error) slog.Attr {
	if err == nil {
		return slog.Attr{}
	}
	return slog.String("error", withoutSecrets(err.Error()))
}
