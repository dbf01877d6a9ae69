package main

import (
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/omniq-go/omniq/examples/quickstart/tasks"
)

// report shows how the work goes on, and at the end what came of it.
type report struct {
	stdout, stderr io.Writer
	terminal       bool // a person is looking on
	bar            *progressbar.ProgressBar
	started        time.Time
	rows           []row
	failed         int
	bytes, lines   int64
}

type row struct {
	file string
	tasks.Summary
}

func newReport(stdout, stderr io.Writer, terminal bool) *report {
	return &report{stdout: stdout, stderr: stderr, terminal: terminal, started: time.Now()}
}

// begin says how many files there are.
func (r *report) begin(files int) {
	if r.terminal {
		r.bar = progressbar.NewOptions(files, progressbar.OptionSetWriter(r.stderr), progressbar.OptionShowCount(),
			progressbar.OptionClearOnFinish(), progressbar.OptionSetDescription("digests"))
		return
	}
	fmt.Fprintf(r.stderr, "%d files\n", files)
}

func (r *report) done(file string, s tasks.Summary) {
	r.rows = append(r.rows, row{file, s})
	r.bytes += s.Bytes
	r.lines += s.Lines
	r.step()
}

func (r *report) fail(file string, err error) {
	r.failed++
	if r.bar != nil {
		_ = r.bar.Clear() // it is drawn again below the message
	}
	fmt.Fprintf(r.stderr, "quickstart: %s: %v\n", printable(file), err)
	r.step()
}

func (r *report) step() {
	if r.bar != nil {
		_ = r.bar.Add(1) // a bar that cannot be drawn is no reason to stop
		return
	}
	if n := len(r.rows) + r.failed; n%1000 == 0 {
		fmt.Fprintf(r.stderr, "%d done\n", n)
	}
}

// print writes the table and the totals.
func (r *report) print(all bool) {
	took := time.Since(r.started)
	shown := len(r.rows)
	if !all {
		shown = min(shown, 20)
	}
	table := tabwriter.NewWriter(r.stdout, 0, 8, 2, ' ', 0)
	if shown > 0 {
		fmt.Fprintln(table, "DIGEST\tBYTES\tLINES\tFILE")
	}
	for _, row := range r.rows[:shown] {
		fmt.Fprintf(table, "%s\t%d\t%d\t%s\n", row.Digest, row.Bytes, row.Lines, printable(row.file))
	}
	_ = table.Flush() // what cannot be printed cannot be told either
	if rest := len(r.rows) - shown; rest > 0 {
		fmt.Fprintf(r.stdout, "and %d more (-all shows them)\n", rest)
	}
	fmt.Fprintf(r.stdout, "%d files, %d bytes, %d lines, %d failed; %.0f tasks/s\n",
		len(r.rows), r.bytes, r.lines, r.failed, float64(len(r.rows)+r.failed)/took.Seconds())
}

// printable is a name as it is, or quoted if it would spoil a line.
func printable(file string) string {
	if q := strconv.Quote(file); q != `"`+file+`"` {
		return q
	}
	return file
}
