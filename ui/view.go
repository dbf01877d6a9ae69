package ui

import (
	"embed"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"net/url"
	"path"
	"strings"

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
	p.Root, p.Path, p.Rights = c.root, path.Base(c.r.URL.Path), c.rights
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
	{"queues", "Queues"}, {"tasks", "Tasks"}, {"flows", "Flows"}, {"schedules", "Schedules"}, {"errors", "Errors"}, {"workers", "Workers"},
}

// terms are a search, of keys and values.
func terms(pairs ...any) string {
	var words []string
	for i := 0; i+1 < len(pairs); i += 2 {
		words = append(words, term(fmt.Sprint(pairs[i]), fmt.Sprint(pairs[i+1])))
	}
	return strings.Join(words, " ")
}
