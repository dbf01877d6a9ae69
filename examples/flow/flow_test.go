package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq/examples/internal/server"
)

func TestMain(m *testing.M) {
	if os.Getenv("FLOW_RUN") != "" { // a test has started this process
		main()
	}
	os.Exit(m.Run())
}

// texts makes a directory of files, and returns their paths in order.
func texts(t *testing.T) (dir string, files []string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range map[string]string{
		"a":               strings.Repeat("the quick  brown\tfox\n jumps over\n\n", 8_000), // some chunks
		"b/empty":         "",
		"b/no end":        "no newline at the end",
		"b/one long word": strings.Repeat("x", 200_000),
		"c":               "\n\n \v\f\r\n",
		".git/not this":   "no\n",
	} {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
		if !strings.HasPrefix(name, ".git") {
			files = append(files, path)
		}
	}
	return dir, files
}

// agrees checks a report against wc.
func agrees(t *testing.T, files []string, report string) {
	t.Helper()
	c := exec.Command("wc", append([]string{"-lwc", "--"}, files...)...)
	c.Env = append(os.Environ(), "LC_ALL=C")
	out, err := c.Output()
	require.NoError(t, err)
	want := make(map[string][]string)
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		want[strings.Join(fields[3:], " ")] = fields[:3]
	}
	got := make(map[string][]string)
	for line := range strings.Lines(report) {
		fields := strings.Fields(line)
		require.Greater(t, len(fields), 3, report)
		got[strings.Join(fields[3:], " ")] = fields[:3]
	}
	assert.Equal(t, want, got)
}

// engines are the URLs of a queue in each of them.
func onEach(t *testing.T, test func(t *testing.T, url string)) {
	t.Run("sqlite", func(t *testing.T) { test(t, "sqlite:"+filepath.Join(t.TempDir(), "queue.db")) })
	t.Run("postgres", func(t *testing.T) { test(t, server.URL(t)) })
	t.Run("redis", func(t *testing.T) { test(t, server.Redis(t)) })
}

func TestCountsAgreeWithWc(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		dir, files := texts(t)
		for _, chunk := range []int{64 << 10, 100_003, 1 << 20} {
			var out, errs bytes.Buffer
			require.Zero(t, run(t.Context(), []string{"-backend", url, "-chunk", strconv.Itoa(chunk), dir}, &out, &errs), errs.String())
			agrees(t, files, out.String())
		}
	})
}

var flowID = regexp.MustCompile(`(?m)^flow (\S+)$`)

// What failed is run once more, with what follows from it, and nothing else.
func TestFails(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		dir, files := texts(t)
		var out, errs bytes.Buffer
		require.Equal(t, 1, run(t.Context(), []string{"-backend", url, "-fail", "-chunk", "65536", dir}, &out, &errs))
		assert.Empty(t, out.String())
		assert.Contains(t, errs.String(), "this chunk fails on purpose, because of -fail")
		id := flowID.FindStringSubmatch(errs.String())
		require.NotNil(t, id, errs.String())
		errs.Reset()
		require.Zero(t, run(t.Context(), []string{"-backend", url, "-flow", id[1]}, &out, &errs), errs.String())
		agrees(t, files, out.String())
		assert.Regexp(t, `(?m)^[1-9]\d* tasks are run once more; 10 chunks were counted already$`, errs.String())
	})
}

// program is the program in a process of its own, whose output is read line by line.
type program struct {
	*exec.Cmd
	lines *bufio.Scanner // of standard error
	out   bytes.Buffer
	said  strings.Builder
}

func start(t *testing.T, args ...string) *program {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	p := &program{Cmd: exec.Command(self, args...)}
	p.Env = append(os.Environ(), "FLOW_RUN=1")
	p.Stdout = &p.out
	stderr, err := p.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, p.Start())
	t.Cleanup(func() { _ = p.Process.Kill() })
	p.lines = bufio.NewScanner(stderr)
	return p
}

// says reads until the program says something, and returns the submatches.
func (p *program) says(t *testing.T, pattern string) []string {
	t.Helper()
	for p.lines.Scan() {
		p.said.WriteString(p.lines.Text() + "\n")
		if m := regexp.MustCompile(pattern).FindStringSubmatch(p.lines.Text()); m != nil {
			return m
		}
	}
	require.Fail(t, "it has not said "+pattern, p.said.String())
	return nil
}

// ends reads the rest, and returns the exit status.
func (p *program) ends() int {
	for p.lines.Scan() {
		p.said.WriteString(p.lines.Text() + "\n")
	}
	_ = p.Wait()
	return p.ProcessState.ExitCode()
}

// slow are settings with which a run takes long enough to be watched, and begin to show progress.
func slow(url, dir string) []string {
	return []string{"-backend", url, "-chunk", "65536", "-workers", "1", "-pause", "300ms", dir}
}

// A worker that is killed in the middle does not change the report, and the bar shows what both have counted.
func TestWorkerIsKilled(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		dir, files := texts(t)
		p := start(t, append([]string{"-processes", "2"}, slow(url, dir)...)...)
		pids := strings.Fields(p.says(t, `^worker processes: (.*)$`)[1])
		require.Len(t, pids, 2)
		p.says(t, `^\d+ of \d+ bytes counted$`)
		pid, err := strconv.Atoi(pids[0])
		require.NoError(t, err)
		require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
		require.Zero(t, p.ends(), p.said.String())
		agrees(t, files, p.out.String())
		assert.Contains(t, p.said.String(), fmt.Sprintf("flow: worker process %d has ended: signal: killed\n", pid))
	})
}

// The whole program is killed, and another one goes on with the flow.
func TestProgramIsKilled(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		dir, files := texts(t)
		p := start(t, slow(url, dir)...)
		id := p.says(t, `^flow (\S+)$`)[1]
		p.says(t, `^\d+ of \d+ bytes counted$`)
		require.NoError(t, p.Process.Kill())
		p.ends()
		var out, errs bytes.Buffer
		require.Zero(t, run(t.Context(), []string{"-backend", url, "-flow", id}, &out, &errs), errs.String())
		agrees(t, files, out.String())
	})
}

// Ctrl-C cancels the flow, which goes on when it is asked to.
func TestInterrupted(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		dir, files := texts(t)
		p := start(t, slow(url, dir)...)
		id := p.says(t, `^flow (\S+)$`)[1]
		p.says(t, `^\d+ of \d+ bytes counted$`)
		require.NoError(t, p.Process.Signal(os.Interrupt))
		assert.Equal(t, 1, p.ends())
		assert.Regexp(t, `(?m)^flow: interrupted: [1-9]\d* tasks are cancelled; -flow `+id+` goes on$`, p.said.String())
		var out, errs bytes.Buffer
		require.Zero(t, run(t.Context(), []string{"-backend", url, "-flow", id}, &out, &errs), errs.String())
		agrees(t, files, out.String())
	})
}

func TestBadSettings(t *testing.T) {
	for name, c := range map[string]struct {
		args   []string
		status int
		want   string
	}{
		"no directory": {[]string{"/no/such/directory"}, 1, "no such file or directory"},
		"two":          {[]string{"a", "b"}, 2, "2 arguments, want one directory after the flags"},
		"chunk":        {[]string{"-chunk", "0"}, 2, "-chunk 0"},
		"flow":         {[]string{"-flow", "x"}, 2, `-flow "x": want the ID of a flow`},
		"no such flow": {[]string{"-flow", "4bd9a2d8-8fa5-4ab1-8d2a-4b5c8b0ec1f4"}, 1, "there is no flow 4bd9a2d8-8fa5-4ab1-8d2a-4b5c8b0ec1f4 that counts words"},
		"engine":       {[]string{"-backend", "memory:", "-processes", "1"}, 1, "inside of one process"},
		"flag":         {[]string{"-no"}, 2, "flag provided but not defined: -no; -h shows the flags"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("OMNIQ_BACKEND_URL", "sqlite:"+filepath.Join(t.TempDir(), "queue.db"))
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			var errs bytes.Buffer
			assert.Equal(t, c.status, run(ctx, c.args, io.Discard, &errs))
			assert.Contains(t, errs.String(), c.want)
		})
	}
}
