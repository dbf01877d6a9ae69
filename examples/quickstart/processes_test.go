package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
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

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq/examples/internal/engines"
	"github.com/omniq-go/omniq/examples/internal/server"
)

// program is a quickstart in a process of its own, which has begun its work.
type program struct {
	*exec.Cmd
	events  *bufio.Scanner
	stderr  *bufio.Scanner
	workers []int     // the IDs of its worker processes
	open    io.Reader // ends when the process and all of its workers have
}

const smallFiles = 120 // in a directory

// directory makes one with small files and, behind them, a file that takes hours, so that nothing ends too soon.
func directory(t *testing.T) (dir, endless string) {
	t.Helper()
	dir = t.TempDir()
	for i := range smallFiles {
		write(t, dir, strconv.Itoa(i), strconv.Itoa(i)+"\n")
	}
	endless = write(t, dir, "endless", "")
	require.NoError(t, os.Truncate(endless, 1<<42))
	return dir, endless
}

// start starts the program with three worker processes, and returns when some tasks have been done.
func start(t *testing.T, backend, dir string) *program {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	p := &program{Cmd: exec.Command(self, "-backend", backend, "-processes", "3", "-workers", "1", "-events", "-all", dir)}
	p.Env = append(os.Environ(), "QUICKSTART_RUN=1")
	stdout, err := p.StdoutPipe()
	require.NoError(t, err)
	stderr, err := p.StderrPipe()
	require.NoError(t, err)
	read, write, err := os.Pipe()
	require.NoError(t, err)
	p.ExtraFiles = []*os.File{write} // which its children inherit, too
	require.NoError(t, p.Start())
	t.Cleanup(func() { _ = p.Process.Kill() })
	require.NoError(t, write.Close())
	t.Cleanup(func() { _ = read.Close() })
	p.events, p.stderr, p.open = bufio.NewScanner(stdout), bufio.NewScanner(stderr), read

	pids, ok := "", false
	for !ok {
		require.True(t, p.stderr.Scan(), "it ended before")
		pids, ok = strings.CutPrefix(p.stderr.Text(), "worker processes: ")
	}
	for pid := range strings.FieldsSeq(pids) {
		n, err := strconv.Atoi(pid)
		require.NoError(t, err)
		p.workers = append(p.workers, n)
	}
	require.Len(t, p.workers, 3)
	for done := 0; done < 20; {
		require.True(t, p.events.Scan(), "it ended before")
		if strings.Contains(p.events.Text(), "  COMPLETED  ") {
			done++
		}
	}
	return p
}

// rest reads what is left of the output, and waits until none of the processes is left.
func (p *program) rest(t *testing.T) (stdout, stderr string) {
	t.Helper()
	errs := make(chan string)
	read := func(lines *bufio.Scanner) string {
		var all strings.Builder
		for lines.Scan() {
			all.WriteString(lines.Text() + "\n")
		}
		return all.String()
	}
	go func() { errs <- read(p.stderr) }()
	stdout, stderr = read(p.events), <-errs
	_ = p.Wait() // the tests look at its state
	_, err := io.ReadAll(p.open)
	require.NoError(t, err)
	return stdout, stderr
}

// assertDigests checks the output of a run with -all.
func assertDigests(t *testing.T, dir, stdout string) {
	t.Helper()
	for i := range smallFiles {
		content := strconv.Itoa(i) + "\n"
		// The columns are as wide as the endless file makes them.
		line := fmt.Sprintf(`(?m)^%x +%d +1 +%s$`, sha256.Sum256([]byte(content)), len(content), regexp.QuoteMeta(filepath.Join(dir, strconv.Itoa(i))))
		if !regexp.MustCompile(line).MatchString(stdout) {
			require.Fail(t, "there is no line "+line, stdout[max(0, len(stdout)-1000):])
		}
	}
	assert.Contains(t, stdout, fmt.Sprintf("\n%d files, ", smallFiles+1))
}

// Worker processes meet their program in the backend alone, so any of the processes may be killed at any time.
func TestProcesses(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) { testProcesses(t, "sqlite:"+filepath.Join(t.TempDir(), "queue.db")) })
	t.Run("postgres", func(t *testing.T) { testProcesses(t, server.URL(t)) })
	t.Run("redis", func(t *testing.T) { testProcesses(t, server.Redis(t)) })
}

func testProcesses(t *testing.T, backend string) {
	t.Run("one is killed, and others do its work", func(t *testing.T) {
		dir, endless := directory(t)
		p := start(t, backend, dir)
		require.NoError(t, syscall.Kill(p.workers[1], syscall.SIGKILL))
		require.NoError(t, os.Truncate(endless, 0))
		stdout, stderr := p.rest(t)
		assert.Zero(t, p.ProcessState.ExitCode(), stderr)
		assert.Contains(t, stderr, fmt.Sprintf("quickstart: worker process %d has ended: signal: killed\n", p.workers[1]))
		assert.Equal(t, 1, strings.Count(stderr, "has ended"), stderr)
		assertDigests(t, dir, stdout)
	})
	t.Run("all are killed, and it ends", func(t *testing.T) {
		dir, _ := directory(t)
		p := start(t, backend, dir)
		for _, pid := range p.workers {
			require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
		}
		_, stderr := p.rest(t)
		assert.Equal(t, 1, p.ProcessState.ExitCode(), stderr)
		assert.Contains(t, stderr, "stopped before the end: no worker process is left; the same command with -resume goes on\n")
	})
	t.Run("the program is killed, and they end; a second goes on", func(t *testing.T) {
		dir, endless := directory(t)
		p := start(t, backend, dir)
		require.NoError(t, p.Process.Kill())
		p.rest(t)
		require.NoError(t, os.Truncate(endless, 0))
		t.Setenv("OMNIQ_BACKEND_URL", backend)
		t.Setenv("QUICKSTART_RUN", "1") // for its processes
		var out, errs bytes.Buffer
		require.Zero(t, run(t.Context(), []string{"-resume", "-all", "-processes", "1", dir}, &out, &errs), errs.String())
		assert.Regexp(t, `^\d\d+ files were already done, \d+ left\n`, errs.String())
		assertDigests(t, dir, out.String())
	})
	t.Run("it is interrupted", func(t *testing.T) {
		dir, _ := directory(t)
		p := start(t, backend, dir)
		require.NoError(t, p.Process.Signal(syscall.SIGTERM))
		_, stderr := p.rest(t)
		assert.Equal(t, 1, p.ProcessState.ExitCode(), stderr)
		assert.Contains(t, stderr, "terminated")
		assert.NotContains(t, stderr, "has ended")
	})
}

// What keeps the worker processes from their work is said by them.
func TestProcessesThatFail(t *testing.T) {
	t.Setenv("QUICKSTART_RUN", "1")
	file := write(t, t.TempDir(), "x", "x")
	db := filepath.Join(t.TempDir(), "queue.db")
	j := &assignment{paths: []string{file}, algorithm: "md5", backend: "sqlite:", workers: 1, processes: 2}
	backend, err := engines.Open(t.Context(), "sqlite:"+db, true)
	require.NoError(t, err)
	defer func() { require.NoError(t, backend.Close()) }()
	var out, errs bytes.Buffer
	assert.ErrorContains(t, process(t.Context(), backend, j, newReport(&out, &errs, false)), "no worker process is left")
	assert.Contains(t, errs.String(), `quickstart: omniq: invalid: sqlite: the URL is "sqlite:", want sqlite: and the path of a file`)
	assert.Equal(t, 2, strings.Count(errs.String(), " has ended: exit status 1\n"))
}
