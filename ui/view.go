package ui

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"path"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
)

//go:embed assets
var embedded embed.FS

// page is what is shown. The template of its name shows Data.
type page struct {
	name  string
	Title string
	Data  any

	Problem string // what was refused, or has failed
	Note    string // what was done
	Static  bool   // it is not to change while somebody looks at it

	Root   string
	Path   string
	Live   string // where its updates come from, empty for none
	Rights Rights
}

// notes are what a page says after an action. An address names one of them: it cannot bring text of its own.
var notes = map[string]string{
	"cancelled": "It is cancelled.", "requeued": "It is enqueued again.", "due": "It is due now.",
	"back": "It was taken from its worker and enqueued again.", "forgotten": "Its result is forgotten.", "freed": "Its unique key is free.",
	"paused": "It is paused.", "resumed": "It goes on.", "limited": "The limit is set.", "enqueued": "This is the copy.",
	"triggered": "A run was started.", "ordered": "A run is ordered. It begins when a worker comes to it.",
	"backfilled": "The backfill is ordered.", "deleted": "The schedule is deleted.",
}

// complete fills in what all pages have.
func (p *page) complete(c *call) {
	p.Root, p.Path, p.Rights = c.root, strings.TrimPrefix(path.Clean("/"+c.r.URL.Path), "/"), c.rights
	p.Path = path.Base(p.Path)
	p.Note = notes[c.form.Get("done")]
	if !p.Static && p.name != "problem" && c.r.Method != http.MethodPost && c.root == "" {
		values := url.Values{}
		for key, list := range c.form {
			if key != "done" {
				values[key] = list
			}
		}
		p.Live = "events?" + url.Values{"page": {p.Path}, "query": {values.Encode()}}.Encode()
	}
}

// May reports whether who looks has these rights.
func (p *page) May(names string) bool {
	var all Rights
	for name := range strings.SplitSeq(names, "+") {
		for i, known := range rightNames {
			if name == known {
				all |= 1 << i
			}
		}
	}
	return p.Rights.Has(all)
}

// pages are the templates, each with the layout.
var pages = parsePages()

func parsePages() map[string]*template.Template {
	all := make(map[string]*template.Template)
	names, err := embedded.ReadDir("assets/pages")
	if err != nil {
		panic(err)
	}
	layout := template.Must(template.New("layout").Funcs(functions).ParseFS(embedded, "assets/layout.html"))
	for _, f := range names {
		one := template.Must(template.Must(layout.Clone()).ParseFS(embedded, "assets/pages/"+f.Name()))
		all[strings.TrimSuffix(f.Name(), ".html")] = one
	}
	return all
}

// render writes a part of a page.
func render(w io.Writer, name, part string, p *page) error {
	t := pages[name]
	if t == nil {
		return fmt.Errorf("ui: no page %q", name)
	}
	return t.ExecuteTemplate(w, part, p)
}

// asset is a file that pages need.
type asset struct {
	data []byte
	kind string
	tag  string
}

// assets are found by their names. The pages name them with a version: what is cached is of this release.
var assets, version = readAssets("style.css", "live.js", "icon.svg")

func readAssets(names ...string) (map[string]asset, string) {
	all, sum := make(map[string]asset), sha256.New()
	for _, name := range names {
		data, err := embedded.ReadFile("assets/" + name)
		if err != nil {
			panic(err)
		}
		_, _ = sum.Write(data)
		all[name] = asset{data: data, kind: mime.TypeByExtension(path.Ext(name))}
	}
	version := hex.EncodeToString(sum.Sum(nil)[:6])
	for name, a := range all {
		a.tag = `"` + version + `"`
		all[name] = a
	}
	return all, version
}

func (a asset) serve(w http.ResponseWriter, r *http.Request) {
	head := w.Header()
	head.Set("Cache-Control", "private, max-age=86400")
	head.Set("ETag", a.tag)
	head.Set("Content-Type", a.kind)
	if r.Header.Get("If-None-Match") == a.tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	_, _ = w.Write(a.data)
}

var functions = template.FuncMap{
	"ago": ago, "at": at, "count": count, "duration": duration, "minus": func(a, b int) int { return a - b },
	"state": stateClass, "terms": terms, "version": func() string { return version }, "percent": percent, "tail": tail, "numbered": numbered,
	"nav":   func() [][2]string { return sections },
	"isSet": func(id uuid.UUID) bool { return id != uuid.Nil }, "first": first, "plain": plain, "short": short,
	"fits":   func(g omniq.ErrorGroup) bool { return len(g.Type)+len(g.Message) <= maxTyped },
	"button": func(path string, of any, label, sure string) button { return button{path, fmt.Sprint(of), label, sure} },
	"sum": func(numbers ...int) (n int) {
		for _, one := range numbers {
			n += one
		}
		return n
	},
}

// button is an action that a page offers.
type button struct {
	Path  string
	Of    string
	Label string
	Sure  string // what is asked first, empty for nothing
}

// sections are the pages that each page leads to.
var sections = [][2]string{
	{"queues", "Queues"}, {"tasks", "Tasks"}, {"schedules", "Schedules"}, {"errors", "Errors"}, {"workers", "Workers"},
}

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

// terms are a search, of keys and values.
func terms(pairs ...any) string {
	var words []string
	for i := 0; i+1 < len(pairs); i += 2 {
		words = append(words, term(fmt.Sprint(pairs[i]), fmt.Sprint(pairs[i+1])))
	}
	return strings.Join(words, " ")
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
