package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// TestMain is the command itself, for tests that start it.
func TestMain(m *testing.M) {
	if os.Getenv("OMNIQ_TEST_COMMAND") != "" {
		main()
	}
	os.Exit(m.Run())
}

// What somebody else has put into names, arguments, errors and results does not reach the terminal as commands.
func TestHostile(t *testing.T) {
	s := newShell(t)
	const (
		bell   = "\x1b]0;owned\x07\x1b[2J"
		turned = "\u202egnp.exe\u2066"
		c1     = "\u009b31m"
		del    = "\x7f"
	)
	text := bell + turned + c1 + del + "\r\n\t" + "\U000e0001"
	quoted, err := json.Marshal(text)
	require.NoError(t, err)
	s.enqueue(1, "f"+turned, omniq.Raw(`[`+string(quoted)+`]`), omniq.Lane("a"+turned), omniq.Metadata("m", text))
	s.settle("default", nil, &omniq.TaskError{Type: "T" + text, Message: text, Stack: "at\n" + text})
	s.enqueue(2, "g", omniq.Raw(`[]`))
	s.settle("default", omniq.Raw(string(quoted)), nil)
	require.NoError(t, s.backend.Beat(t.Context(), omniq.WorkerInfo{ID: "w", Host: text, Version: text, Queues: []string{"q"}, Names: []string{"f" + turned}, Concurrency: 1, Lease: time.Hour}))
	for _, args := range []string{
		"task list", "task get " + id(1).String(), "task result " + id(1).String(), "task result " + id(2).String(), "errors", "events", "top", "stats",
		"worker list", "queue list",
	} {
		for _, format := range formats {
			status, out, says := s.run(append(strings.Fields(args), "-o", format)...)
			require.Equal(t, exitDone, status, says)
			require.NotEmpty(t, out)
			for _, r := range out + says {
				if r != '\n' && !safe(r) {
					t.Errorf("%s -o %s writes %q", args, format, r)
				}
			}
			isFormat(t, format, out)
			if format == "jsonl" && args == "task result "+id(2).String() {
				var r struct {
					Data string `json:"result_data"`
				}
				require.NoError(t, json.Unmarshal([]byte(out), &r))
				assert.Equal(t, text, r.Data, "it is the same text")
			}
		}
	}
	_, _, says := s.run("task", "get", text)
	assert.NotContains(t, says, "\x1b")
	_, _, says = s.run("queue", "pause", text)
	assert.NotContains(t, says, "\x1b")
	_, _, says = s.run("task", "enqueue", "f", "--args", "@/nowhere"+bell)
	assert.Contains(t, says, `/nowhere\x1b]0;owned`)
	_, _, says = s.run(text)
	assert.NotContains(t, says, "\x1b")
	_, out, _ := s.run("__complete", "task", "list", "--name", "")
	assert.NotContains(t, out, turned)
}

func safe(r rune) bool { return r >= ' ' && r < 0x7f || r == '…' }

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"":                   "",
		"plain, ünï — 日本":    "plain, ünï — 日本",
		"a\x1b[31mb":         `a\x1b[31mb`,
		"a\nb\tc\r":          `a\nb\tc\r`,
		"\u202e\u200b\u00a0": `\u202e\u200b\u00a0`,
		"\xff\xfe!":          `\xff\xfe!`,
		"\ufffd":             "\ufffd",
		"\x00\x7f\u0085":     `\x00\x7f\u0085`,
	} {
		assert.Equal(t, want, printable(in))
	}
}

// A long table is written page by page, in which columns never get narrower, and JSON as it comes.
func TestStreams(t *testing.T) {
	columns := []column[int]{
		{head: "N", cell: func(n int) string { return fmt.Sprint(n) }, right: true},
		{head: "TEXT", cell: func(n int) string { return strings.Repeat("x", n/100) }},
		{head: "END", cell: func(int) string { return "." }},
	}
	const many = 100_000
	for _, format := range []format{asTable, asJSON, asJSONL} {
		var out counter
		p := &program{out: &out, err: io.Discard, output: format}
		held := 0
		things := func(yield func(int, error) bool) {
			for n := range many {
				held = n - out.lines // what has come, and is not written
				if held > 5000 || !yield(n, nil) {
					return
				}
			}
		}
		require.NoError(t, list(p, "", columns, things))
		assert.LessOrEqual(t, held, 5000, "%v: it is written while it comes", format)
	}

	numbers := make([]int, 450)
	for i := range numbers {
		numbers[i] = i
	}
	var out strings.Builder
	p := &program{out: &out, err: io.Discard}
	require.NoError(t, list(p, "", columns, all(numbers)))
	width := 0
	for n, line := range strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n") {
		if n == 0 {
			assert.True(t, strings.HasPrefix(line, "  N  TEXT  END"), line)
			continue
		}
		assert.True(t, strings.HasSuffix(line, "."))
		assert.GreaterOrEqual(t, utf8.RuneCountInString(line), width)
		width = utf8.RuneCountInString(line)
	}

	// What fails in the middle is no whole document.
	fault := errors.New("gone")
	broken := func(yield func(int, error) bool) { _ = yield(1, nil) && yield(0, fault) }
	for format, want := range map[format]string{asTable: "N  TEXT  END\n1        .\n", asJSON: "[\n1", asJSONL: "1\n"} {
		out.Reset()
		p.output = format
		require.ErrorIs(t, list(p, "", columns, broken), fault)
		assert.Equal(t, want, out.String())
	}
}

// counter counts the lines that are written.
type counter struct{ lines int }

func (c *counter) Write(p []byte) (int, error) {
	c.lines += bytes.Count(p, []byte("\n"))
	return len(p), nil
}

// A reader that has enough ends the command without a word.
func TestBrokenPipe(t *testing.T) {
	s := newShell(t)
	tasks := make([]omniq.RawTask, 3000)
	for i := range tasks {
		task, err := omniq.NewTask("f", omniq.Raw(`[]`), omniq.Raw(`{}`))
		require.NoError(t, err)
		tasks[i] = task
	}
	require.NoError(t, s.client.Enqueue(t.Context(), tasks...))
	for _, format := range formats {
		cmd := exec.Command(os.Args[0], "--backend", s.url, "task", "list", "-o", format)
		cmd.Env = append(os.Environ(), "OMNIQ_TEST_COMMAND=1")
		var says strings.Builder
		cmd.Stderr = &says
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		_, err = io.ReadFull(out, make([]byte, 100))
		require.NoError(t, err)
		require.NoError(t, out.Close())
		require.NoError(t, cmd.Wait(), "exit status 0")
		assert.Empty(t, says.String())
	}
}
