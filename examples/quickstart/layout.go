package main

import (
	"fmt"
	"io"
	"os"
	"strconv"

	"golang.org/x/term"

	"github.com/omniq-go/omniq"
)

// wide is the width from which on a line has all that there is to say.
const wide = 80

// columns is the width of the terminal that w is, 0 if it is none.
func columns(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil || width <= 0 {
		return wide
	}
	return width
}

// fit returns rows whose names can be printed, and that stand on a line of the width each: digests are cut at their end,
// and names in the middle. A width of 0 cuts nothing.
func fit(rows []row, width int) []row {
	const gaps, heads, shortDigest, shortName = 3 * 2, len("BYTES") + len("LINES"), 8, 8
	fitted := make([]row, len(rows))
	numbers, digests, names := heads, 0, 0
	for i, r := range rows {
		r.file = printable(r.file)
		fitted[i] = r
		bytes, lines := len(strconv.FormatInt(r.Bytes, 10)), len(strconv.FormatInt(r.Lines, 10))
		numbers = max(numbers, max(bytes, len("BYTES"))+max(lines, len("LINES")))
		digests, names = max(digests, len(r.Digest)), max(names, len([]rune(r.file)))
	}
	if width == 0 {
		return fitted
	}
	space := width - gaps - numbers
	digest := max(min(digests, space-names), shortDigest)
	name := max(space-digest, shortName)
	for i := range fitted {
		r := &fitted[i]
		if len(r.Digest) > digest {
			r.Digest = r.Digest[:digest-1] + "…"
		}
		r.file = shorten(r.file, name)
	}
	return fitted
}

// shorten cuts a text in the middle, so that it has n letters at the most.
func shorten(s string, n int) string {
	letters := []rune(s)
	if len(letters) <= n {
		return s
	}
	head := (n - 1) / 3
	tail := n - 1 - head
	return string(letters[:head]) + "…" + string(letters[len(letters)-tail:])
}

// eventLine is an event on a line of the width.
func eventLine(e *omniq.TaskEvent, width int) string {
	at := e.Timestamp.Local()
	if width > 0 && width < wide {
		return fmt.Sprintf("%s %-9s …%.8s #%d\n", at.Format("15:04:05"), e.EventType, e.TaskID.String()[28:], e.Attempt)
	}
	return fmt.Sprintf("%s  %-9s  %v  attempt %d\n", at.Format("15:04:05.000"), e.EventType, e.TaskID, e.Attempt)
}
