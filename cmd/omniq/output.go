package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/omniq-go/omniq/internal/iso8601"
)

// format is how data is written. The zero value is a table.
type format int

// The formats.
const (
	asTable format = iota
	asJSON         // one document
	asJSONL        // one line for each thing
)

var formats = []string{asTable: "table", asJSON: "json", asJSONL: "jsonl"}

func (f *format) String() string { return formats[*f] }

// Type is for cobra.
func (f *format) Type() string { return "format" }

// Set reads the flag.
func (f *format) Set(s string) error {
	i := slices.Index(formats, s)
	if i < 0 {
		return fmt.Errorf("want one of %s", strings.Join(formats, ", "))
	}
	*f = format(i)
	return nil
}

// column is one of a table.
type column[T any] struct {
	head  string
	cell  func(T) string
	right bool // it has numbers
	paint func(T) string
}

// pageRows is how many rows of a table are looked at to find its widths, and held in memory.
const pageRows = 200

// list writes things as they come: in the table format page by page, otherwise one by one. It says so if there are none.
func list[T any](p *program, none string, columns []column[T], things iter.Seq2[T, error]) error {
	if p.output == asTable {
		return table(p, none, columns, things, pageRows)
	}
	return stream(p, things)
}

// stream writes things as JSON. With an error the document has no end, so that nobody takes it for whole.
func stream[T any](p *program, things iter.Seq2[T, error]) error {
	w := bufio.NewWriter(p.out)
	n := 0
	for thing, err := range things {
		if err != nil {
			return firstError(err, w.Flush())
		}
		line, err := encode(thing)
		if err != nil {
			return err
		}
		if p.output == asJSON {
			line = append([]byte(",\n"), line...)
			if n == 0 {
				line[0] = '['
			}
		} else {
			line = append(line, '\n')
		}
		n++
		if _, err := w.Write(line); err != nil {
			return err
		}
	}
	if p.output == asJSON {
		end := "\n]\n"
		if n == 0 {
			end = "[]\n"
		}
		if _, err := w.WriteString(end); err != nil {
			return err
		}
	}
	return w.Flush()
}

// firstError is the first that is one. What could not be written after something else had failed says nothing new.
func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// table writes things in columns. The widths are those of a page, and never less than before.
func table[T any](p *program, none string, columns []column[T], things iter.Seq2[T, error], size int) error {
	w := bufio.NewWriter(p.out)
	widths := make([]int, len(columns))
	var page []T
	empty := true
	flush := func() error {
		rows := make([][]string, 0, len(page)+1)
		if empty && len(page) > 0 {
			heads := make([]string, len(columns))
			for i, c := range columns {
				heads[i] = c.head
			}
			rows = append(rows, heads)
		}
		head := len(rows)
		for _, thing := range page {
			cells := make([]string, len(columns))
			for i, c := range columns {
				cells[i] = cut(printable(c.cell(thing)))
			}
			rows = append(rows, cells)
		}
		for _, row := range rows {
			for i, cell := range row {
				widths[i] = max(widths[i], utf8.RuneCountInString(cell))
			}
		}
		for n, row := range rows {
			var line strings.Builder
			for i, cell := range row {
				if i > 0 {
					line.WriteString("  ")
				}
				space := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
				if n >= head && columns[i].paint != nil && p.colours() && cell != "" {
					cell = columns[i].paint(page[n-head]) + cell + plain
				}
				if columns[i].right {
					line.WriteString(space + cell)
				} else {
					line.WriteString(cell + space)
				}
			}
			if _, err := w.WriteString(strings.TrimRight(line.String(), " ") + "\n"); err != nil {
				return err
			}
		}
		empty = empty && len(page) == 0
		clear(page)
		page = page[:0]
		return w.Flush()
	}
	for thing, err := range things {
		if err != nil {
			return firstError(err, flush())
		}
		if page = append(page, thing); len(page) == size {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if err := flush(); err != nil {
		return err
	}
	if empty && none != "" {
		p.tell("%s", none)
	}
	return nil
}

// field is a line about one thing.
type field struct{ name, value string }

// show writes one thing: in the table format as the fields that are not empty.
func show(p *program, thing any, fields ...field) error {
	if p.output != asTable {
		return document(p, thing)
	}
	width := 0
	for _, f := range fields {
		width = max(width, len(f.name))
	}
	var text strings.Builder
	for _, f := range fields {
		if f.value != "" {
			fmt.Fprintf(&text, "%-*s  %s\n", width, f.name, shorten(printable(f.value), 2000))
		}
	}
	_, err := io.WriteString(p.out, text.String())
	return err
}

// document writes one thing as JSON.
func document(p *program, thing any) error {
	text, err := encode(thing)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	if p.output == asJSON {
		err = json.Indent(&out, text, "", "  ")
	} else {
		out.Write(text)
	}
	if err != nil {
		return err
	}
	out.WriteByte('\n')
	_, err = p.out.Write(out.Bytes())
	return err
}

// encode is the JSON of a thing in one line, in which what is not to be printed is escaped: a terminal takes some of what JSON allows
// in strings for commands.
func encode(thing any) ([]byte, error) {
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	if err := e.Encode(thing); err != nil {
		return nil, err
	}
	text := bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
	if !bytes.ContainsFunc(text, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return text, nil
	}
	var escaped []byte
	for _, r := range string(text) {
		switch {
		case strconv.IsPrint(r):
			escaped = utf8.AppendRune(escaped, r)
		case r < 0x10000:
			escaped = fmt.Appendf(escaped, `\u%04x`, r)
		default:
			high, low := utf16.EncodeRune(r)
			escaped = fmt.Appendf(escaped, `\u%04x\u%04x`, high, low)
		}
	}
	return escaped, nil
}

// printable is s with what is not to be printed as Go writes it: control characters, those that turn the direction of text, and bytes
// that are no text.
func printable(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return !strconv.IsPrint(r) || r == utf8.RuneError }) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case strconv.IsPrint(r):
			b.WriteRune(r)
		default:
			quoted := strconv.QuoteRune(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
		s = s[n:]
	}
	return b.String()
}

// cut is a cell of a table.
func cut(s string) string {
	const widest = 80
	return shorten(s, widest)
}

func shorten(s string, most int) string {
	if len(s) <= most || utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most-1]) + "…"
}

// Colours of a terminal, and the end of one.
const (
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	plain  = "\x1b[0m"
)

// colours reports whether tables have colours. See https://no-color.org.
func (p *program) colours() bool {
	return p.terminal.out && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// instant is a time as the wire has it.
type instant struct{ time.Time }

// MarshalJSON writes it as a task's times are written, and the zero time as null.
func (i instant) MarshalJSON() ([]byte, error) {
	if i.IsZero() {
		return []byte("null"), nil
	}
	text, err := iso8601.AppendTime([]byte{'"'}, i.Time)
	return append(text, '"'), err
}

// String is for tables: in UTC, to the second.
func (i instant) String() string {
	if i.IsZero() {
		return ""
	}
	return i.UTC().Format(time.RFC3339)
}

// seconds is a duration that the wire does not have, as JSON.
func seconds(d time.Duration) float64 { return d.Seconds() }

// duration is one for tables: empty for none, and no more exact than anybody needs.
func duration(d time.Duration) string {
	switch {
	case d == 0:
		return ""
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// count is a number for tables: empty for none.
func count(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// all makes what is there already a list.
func all[T any](things []T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, thing := range things {
			if !yield(thing, nil) {
				return
			}
		}
	}
}
