package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/examples/quickstart/tasks"
)

// report shows how the work goes on, and at the end what came of it.
type report struct {
	stdout, stderr io.Writer
	terminal       bool       // a person is looking on stderr
	width          int        // columns of the terminal that stdout is; 0 if it is none, and lines are as long as they are
	mu             sync.Mutex // of stderr and the bar
	bar            *progressbar.ProgressBar
	started        time.Time
	tasks, done    int   // how many there are, and how many of them have ended
	rows           []row // of those that succeeded
	bytes, lines   int64 // of the rows
	failed         int   // tasks, and what could not become one
	passedOver     int
	already        int // tasks that had ended before this run
}

type row struct {
	file string
	tasks.Summary
}

func newReport(stdout, stderr io.Writer, terminal bool) *report {
	r := &report{stdout: stdout, stderr: stderr, terminal: terminal, width: columns(stdout), started: time.Now()}
	r.draw("finding files", -1)
	return r
}

// draw begins a progress bar, if somebody can see it. A number of -1 is not known yet.
func (r *report) draw(what string, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.terminal {
		r.bar = progressbar.NewOptions(n,
			progressbar.OptionSetWriter(r.stderr),
			progressbar.OptionSetDescription(what),
			progressbar.OptionShowCount(),
			progressbar.OptionShowTotalBytes(n >= 0), // "of how many"
			progressbar.OptionSetRenderBlankState(true),
			progressbar.OptionSetSpinnerChangeInterval(0), // drawn by steps only, not in between
			progressbar.OptionThrottle(50*time.Millisecond),
			progressbar.OptionClearOnFinish())
	}
}

// step moves the bar. One that cannot be drawn is no reason to stop.
func (r *report) step(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.bar != nil {
		_ = r.bar.Add(n)
	}
}

// Write takes the bar away, to be drawn again with the next step, and writes a message where it was. The messages come
// from here and, if there are any, from the worker processes.
func (r *report) Write(message []byte) (int, error) { return r.write(r.stderr, message) }

func (r *report) write(to io.Writer, message []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.bar != nil {
		_ = r.bar.Clear()
	}
	return to.Write(message)
}

// clear takes the bar away.
func (r *report) clear() { _, _ = r.Write(nil) }

// resumed says how many tasks of the last run had ended, and how many are left of those that were enqueued.
func (r *report) resumed(already, left int) {
	r.already = already
	fmt.Fprintf(r, "%s already done, %d left\n", verb(already, "file"), left)
}

// follow prints the events of a queue as they come.
func (r *report) follow(events iter.Seq2[omniq.TaskEvent, error], queue string) {
	for e, err := range events {
		if err != nil {
			return // the end of the run, or of the queue, which others report
		}
		if e.Queue != queue {
			continue
		}
		_, _ = r.write(r.stdout, []byte(eventLine(&e, r.width)))
	}
}

// verb is count with the right form of "to be".
func verb(n int, thing string) string {
	if n == 1 {
		return count(n, thing) + " was"
	}
	return count(n, thing) + " were"
}

// found says that there are more files to do.
func (r *report) found(files int) { r.step(files) }

// begin says that these are all the files, a task each.
func (r *report) begin(files int) {
	r.tasks = files
	r.clear()
	r.draw("digests", files)
	if !r.terminal {
		fmt.Fprintf(r, "%s found\n", count(files, "file"))
	}
}

// ended says what became of a file's task.
func (r *report) ended(file string, s tasks.Summary, err error) {
	if err != nil {
		r.fail(file, err)
	} else {
		r.rows = append(r.rows, row{file, s})
		r.bytes += s.Bytes
		r.lines += s.Lines
	}
	r.done++
	r.step(1)
	if !r.terminal && r.done%1000 == 0 {
		fmt.Fprintf(r, "%d of %d done\n", r.done, r.tasks)
	}
}

// fail says why there is no digest of a file.
func (r *report) fail(file string, err error) {
	r.failed++
	message := err.Error()
	if failed, ok := errors.AsType[*omniq.TaskError](err); ok {
		message = failed.Message
	}
	if _, cause, ok := strings.Cut(message, " "+file+": "); ok {
		message = cause // "open FILE: cause" names the file, too
	}
	fmt.Fprintf(r, "quickstart: %s: %s\n", printable(file), message)
}

// print writes the table and the totals.
func (r *report) print(all bool) error {
	took := time.Since(r.started)
	r.clear()
	shown := len(r.rows)
	if !all {
		shown = min(shown, 20)
	}
	var out bytes.Buffer
	table := tabwriter.NewWriter(&out, 0, 8, 2, ' ', 0)
	if shown > 0 {
		fmt.Fprintln(table, "DIGEST\tBYTES\tLINES\tFILE")
	}
	for _, row := range fit(r.rows[:shown], r.width) {
		fmt.Fprintf(table, "%s\t%d\t%d\t%s\n", row.Digest, row.Bytes, row.Lines, row.file)
	}
	_ = table.Flush() // into memory
	if rest := len(r.rows) - shown; rest > 0 {
		fmt.Fprintf(&out, "and %d more (-all shows them)\n", rest)
	}
	between := "; "
	if r.width > 0 && r.width < wide {
		between = "\n"
	}
	fmt.Fprintf(&out, "%s, %s, %s%s%d failed, %d passed over%s%.0f tasks/s\n",
		count(len(r.rows), "file"), count(r.bytes, "byte"), count(r.lines, "line"), between,
		r.failed, r.passedOver, between, float64(max(r.done-r.already, 0))/took.Seconds())
	_, err := out.WriteTo(r.stdout)
	return err
}

// count is a number of things, in words.
func count[N int | int64](n N, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// printable is a name as it is, or quoted if it would spoil a line.
func printable(file string) string {
	if q := strconv.Quote(file); file == "" || q != `"`+file+`"` {
		return q
	}
	return file
}
