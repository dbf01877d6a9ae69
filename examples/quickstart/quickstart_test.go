package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
	"github.com/omniq-go/omniq/examples/quickstart/digest"
	"github.com/omniq-go/omniq/examples/quickstart/tasks"
)

// quickstart runs the program and returns its exit status and what it printed.
func quickstart(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	args = append([]string{"-db", filepath.Join(t.TempDir(), "queue.db")}, args...)
	status = run(t.Context(), args, &out, &errs)
	return status, out.String(), errs.String()
}

func write(t *testing.T, dir, name, content string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
	return path
}

func TestDigestsAgreeWithSha256sum(t *testing.T) {
	dir := t.TempDir()
	files := []string{
		write(t, dir, "empty", ""),
		write(t, dir, "a.txt", "one\ntwo\n"),
		write(t, dir, "sub/no newline at the end", "one\ntwo"),
		write(t, dir, "sub/deep/big", strings.Repeat("0123456789abcdef\n", 1<<16)),
		write(t, dir, "ключ", "значение\n"),
	}
	status, out, errs := quickstart(t, "-workers", "3", dir)
	require.Zero(t, status, errs)
	sums, err := exec.Command("sha256sum", files...).Output()
	require.NoError(t, err)
	for line := range strings.Lines(string(sums)) {
		sum, file, _ := strings.Cut(strings.TrimSpace(line), "  ")
		assert.Regexp(t, "(?m)^"+sum+` +\d+ +\d+ +`+file+"$", out)
	}
	assert.Contains(t, out, "5 files, ")
	assert.Contains(t, out, "; 0 failed, ")
	assert.Regexp(t, `\d tasks/s\n$`, out)
}

// Who has not named the queue is told where it is.
func TestTheFileIsTold(t *testing.T) {
	t.Setenv("OMNIQ_BACKEND_URL", "")
	t.Setenv("HOME", t.TempDir()) // the user's cache directory is in one of these
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("LocalAppData", t.TempDir())
	url, err := defaultBackend()
	require.NoError(t, err)
	file := write(t, t.TempDir(), "abc", "abc")
	var out, errs bytes.Buffer
	require.Zero(t, run(t.Context(), []string{file}, &out, &errs), errs.String())
	assert.Contains(t, errs.String(), fmt.Sprintf("omniq ui --backend %q\n", url))

	status, _, says := quickstart(t, file)
	require.Zero(t, status, says)
	assert.NotContains(t, says, "omniq ui")
}

func TestKnownDigests(t *testing.T) {
	file := write(t, t.TempDir(), "abc", "abc")
	for algorithm, want := range map[string]string{
		"md5":    "900150983cd24fb0d6963f7d28e17f72",
		"sha1":   "a9993e364706816aba3e25717850c26c9cd0d89d",
		"sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
		"sha512": "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
	} {
		status, out, errs := quickstart(t, "-algorithm", algorithm, file)
		require.Zero(t, status, errs)
		assert.Contains(t, out, want)
	}
}

func TestBadInput(t *testing.T) {
	dir := t.TempDir()
	good := write(t, dir, "good", "good\n")
	nowhere := filepath.Join(dir, "nowhere")
	require.NoError(t, os.Symlink("missing", nowhere))
	bytesName := write(t, dir, "not \xff utf-8", "x")
	tests := []struct {
		name   string
		args   []string
		status int
		stderr string
		done   bool // the good file was done all the same
	}{
		{"a path that does not exist", []string{filepath.Join(dir, "missing"), good}, 1, "quickstart: " + filepath.Join(dir, "missing") + ": no such file or directory\n", true},
		{"a path below a file", []string{filepath.Join(good, "below"), good}, 1, "below: not a directory", true},
		{"an algorithm that nobody knows", []string{"-algorithm", "rot13", good}, 1, `unknown algorithm "rot13", want one of md5, sha1, sha256, sha512`, false},
		{"a device", []string{os.DevNull, good}, 1, os.DevNull + ": neither a file nor a directory", true},
		{"a link to nowhere", []string{nowhere, good}, 1, nowhere + ": no such file or directory", true},
		{"a name that is not UTF-8", []string{bytesName, good}, 1, `not \xff utf-8": the name is not UTF-8`, true},
		{"no worker", []string{"-workers", "0", good}, 1, "-workers is 0, want 1 to 1000", false},
		{"too many workers", []string{"-workers", "1001", good}, 1, "-workers is 1001, want 1 to 1000", false},
		{"fewer processes than none", []string{"-processes", "-1", good}, 1, "-processes is -1, want 0 to 100", false},
		{"two queues", []string{"-backend", "memory:", good}, 2, "-backend and -db both say where the queue is", false},
		{"a queue that other processes cannot see", []string{"-db", "", "-backend", "memory:", "-processes", "2", good}, 1, "memory: is inside of one process", false},
		{"a queue of no engine", []string{"-db", "", "-backend", "mysql://host", good}, 1, `can open the schemes ["memory" "sqlite" "postgres" "postgresql" "redis" "rediss" "valkey" "valkeys"] only`, false},
		{"a worker process with files", []string{"-worker", "q", good}, 2, "its files are those of the queue", false},
		{"a flag that nobody knows", []string{"-x", good}, 2, "flag provided but not defined: -x", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, out, errs := quickstart(t, tt.args...)
			assert.Equal(t, tt.status, status)
			assert.Contains(t, errs, tt.stderr)
			assert.Equal(t, tt.done, strings.Contains(out, good), out)
		})
	}
}

func TestNames(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "with space", "1")
	write(t, dir, "with\nnewline", "2")
	write(t, dir, "not \xff utf-8", "3")
	status, out, errs := quickstart(t, dir)
	assert.Equal(t, 1, status)
	assert.Contains(t, out, "with space")
	assert.Contains(t, out, `with\nnewline`)
	assert.Contains(t, out, "2 files, ")
	assert.Contains(t, errs, `not \xff utf-8": the name is not UTF-8`)
	assert.True(t, utf8.ValidString(out+errs))
}

func TestWhatIsPassedOver(t *testing.T) {
	dir, links := t.TempDir(), t.TempDir()
	target := write(t, dir, "target", "x")
	write(t, dir, ".git/config", "x")
	toFile, toDir := filepath.Join(links, "file"), filepath.Join(links, "dir")
	require.NoError(t, os.Symlink(target, toFile))
	require.NoError(t, os.Symlink(dir, toDir))
	tests := []struct {
		name, path string
		want       string
	}{
		{"a directory named .git", dir, "1 file, "},
		{"unless it is what was asked for", filepath.Join(dir, ".git"), "1 file, "},
		{"links", links, "0 files, "},
		{"unless asked for, to a file", toFile, "1 file, "},
		{"or to a directory", toDir, "1 file, "},
		{"nothing, where nothing is", t.TempDir(), "0 files, 0 bytes, 0 lines; 0 failed, 0 passed over; "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, out, errs := quickstart(t, tt.path)
			assert.Zero(t, status, errs)
			assert.Contains(t, out, tt.want)
		})
	}
}

func TestHelp(t *testing.T) {
	status, out, errs := quickstart(t, "-h")
	assert.Zero(t, status)
	assert.Empty(t, out)
	assert.Contains(t, errs, ".git")
	assert.Contains(t, errs, "one of md5, sha1, sha256, sha512")
}

// The flags come before the environment, and that before the file in the cache directory.
func TestWhereTheQueueIs(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	tests := []struct {
		name string
		env  string
		args []string
		want string
	}{
		{"nothing is said", "", nil, "sqlite:" + filepath.Join(os.Getenv("XDG_CACHE_HOME"), "omniq", "quickstart.db")},
		{"by the environment", "memory:", nil, "memory:"},
		{"by a flag", "memory:", []string{"-backend", "sqlite:x.db"}, "sqlite:x.db"},
		{"by the short one", "memory:", []string{"-db", "x.db"}, "sqlite:x.db"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("OMNIQ_BACKEND_URL", tt.env)
			j, _ := parse(tt.args, os.Stderr)
			require.NotNil(t, j)
			require.NoError(t, j.check())
			assert.Equal(t, tt.want, j.backend)
		})
	}
}

// Where nobody looks on, there are plain lines: a log can keep them.
func TestPlainOutput(t *testing.T) {
	dir := t.TempDir()
	for i := range 1001 {
		write(t, dir, strconv.Itoa(i), "x\n")
	}
	status, out, errs := quickstart(t, dir)
	assert.Zero(t, status)
	assert.Equal(t, "1001 files found\n1000 of 1001 done\n", errs)
	assert.NotContains(t, out, "\r")
}

// Where a person looks on, there is a bar, with the messages above it, and nothing of it is left in the end.
func TestBar(t *testing.T) {
	var out, errs bytes.Buffer
	r := newReport(&out, &errs, true)
	file := write(t, t.TempDir(), "x", "x")
	require.NoError(t, process(t.Context(), memory.New(), &assignment{
		paths: []string{file, "missing"}, algorithm: "md5", workers: 1,
	}, r))
	require.NoError(t, r.print(false))
	assert.Contains(t, errs.String(), "digests   0% |")
	assert.Contains(t, errs.String(), "\rquickstart: missing: no such file or directory\n")
	assert.NotContains(t, errs.String(), "found\n")
	assert.True(t, strings.HasSuffix(errs.String(), "\r"))
	assert.Contains(t, out.String(), "1 file, 1 byte, 0 lines; 1 failed, 0 passed over; ")
}

func TestOutputThatCannotBeWritten(t *testing.T) {
	var errs bytes.Buffer
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	require.NoError(t, err)
	defer full.Close()
	assert.Equal(t, 1, run(t.Context(), []string{"-db", filepath.Join(t.TempDir(), "queue.db"), t.TempDir()}, full, &errs))
	assert.Contains(t, errs.String(), "no space left on device")
}

func TestLongTable(t *testing.T) {
	dir := t.TempDir()
	for i := range 130 { // more than one batch
		write(t, dir, strings.Repeat("x", i+1), "x")
	}
	_, out, _ := quickstart(t, dir)
	assert.Contains(t, out, "and 110 more (-all shows them)")
	_, out, _ = quickstart(t, "-all", dir)
	assert.Equal(t, 132, strings.Count(out, "\n"), "a head, the files and the totals")
}

func TestInterrupt(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("interrupt signal received"))
	var out, errs bytes.Buffer
	assert.Equal(t, 1, run(ctx, []string{"-db", filepath.Join(t.TempDir(), "queue.db"), write(t, t.TempDir(), "x", "x")}, &out, &errs))
	assert.Contains(t, errs.String(), "quickstart: stopped before the end: interrupt signal received; the same command with -resume goes on\n")
	assert.Contains(t, out.String(), "0 files, ", "what was done is shown all the same")
}

func TestMain(m *testing.M) {
	if os.Getenv("QUICKSTART_RUN") != "" { // a test has started this process
		main()
	}
	os.Exit(m.Run())
}

// Killed in the middle, it goes on where it was.
func TestKilled(t *testing.T) {
	dir, db := t.TempDir(), filepath.Join(t.TempDir(), "queue.db")
	for i := range 800 {
		write(t, dir, strconv.Itoa(i), "x\n")
	}
	self, err := os.Executable()
	require.NoError(t, err)
	c := exec.Command(self, "-db", db, "-events", "-workers", "1", dir)
	c.Env = append(os.Environ(), "QUICKSTART_RUN=1")
	stdout, err := c.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	done := 0
	for lines := bufio.NewScanner(stdout); done < 20 && lines.Scan(); {
		if strings.Contains(lines.Text(), "  COMPLETED  ") {
			done++
		}
	}
	require.NoError(t, c.Process.Kill())
	require.Error(t, c.Wait())
	require.Equal(t, 20, done)

	var out, errs bytes.Buffer
	require.Zero(t, run(t.Context(), []string{"-db", db, "-resume", dir}, &out, &errs), errs.String())
	var already int
	_, err = fmt.Sscanf(errs.String(), "%d files were already done", &already)
	require.NoError(t, err, errs.String())
	assert.GreaterOrEqual(t, already, done)
	assert.Contains(t, out.String(), "800 files, 1600 bytes, 800 lines; 0 failed, ")

	errs.Reset()
	require.Zero(t, run(t.Context(), []string{"-db", db, "-resume", dir}, &out, &errs), errs.String())
	assert.Contains(t, errs.String(), "800 files were already done, 0 left\n")
	errs.Reset()
	require.Equal(t, 1, run(t.Context(), []string{"-db", db, "-resume", "-algorithm", "md5", dir}, &out, &errs))
	assert.Contains(t, errs.String(), "there is no run of these paths and this algorithm to resume")
}

func TestQueueThatCannotBeOpened(t *testing.T) {
	status, _, errs := quickstart(t, "-db", filepath.Join(t.TempDir(), "none", "queue.db"), t.TempDir())
	assert.Equal(t, 1, status)
	assert.Contains(t, errs, "none")
	file := write(t, t.TempDir(), "queue.db", strings.Repeat("no database ", 100))
	status, _, errs = quickstart(t, "-db", file, t.TempDir())
	assert.Equal(t, 1, status)
	assert.Contains(t, errs, file)
}

// When it is the backend that fails, the run ends: no file has failed by that.
func TestBackendFails(t *testing.T) {
	backend := memory.New()
	client, err := omniq.NewClient(backend)
	require.NoError(t, err)
	var out, errs bytes.Buffer
	r := newReport(&out, &errs, false)
	a := &assignment{paths: []string{write(t, t.TempDir(), "x", "x")}, algorithm: "md5"}
	jobs, err := enqueue(t.Context(), client, "q", a, r)
	require.NoError(t, err)
	require.NoError(t, backend.Close())
	require.ErrorIs(t, collect(t.Context(), jobs, r), omniq.ErrClosed)
	assert.Zero(t, r.failed)
}

// A digest in work ends with its context.
func TestInterruptedFile(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(omniq.ErrShutdown)
	_, err := digest.File(ctx, tasks.Path{Path: "main.go"}, tasks.Options{Algorithm: "md5"})
	assert.ErrorIs(t, err, omniq.ErrShutdown)
}

// A file that goes away between its task and its digest fails, for good, and the others are done.
func TestFileThatGoesAway(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "stays", "x")
	gone := write(t, dir, "goes", "x")
	backend := memory.New()
	client, err := omniq.NewClient(backend)
	require.NoError(t, err)
	var out, errs bytes.Buffer
	r := newReport(&out, &errs, false)
	jobs, err := enqueue(t.Context(), client, "q", &assignment{paths: []string{dir}, algorithm: "md5"}, r)
	require.NoError(t, err)
	require.Len(t, jobs, 2)
	require.NoError(t, os.Remove(gone))

	worker, err := newWorker(backend, "q", 1)
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	stopped := make(chan error)
	go func() { stopped <- worker.Run(ctx) }()
	require.NoError(t, collect(ctx, jobs, r))
	_, err = jobs[0].handle.Wait(ctx)
	failed, ok := errors.AsType[*omniq.TaskError](err)
	require.True(t, ok, "%v", err)
	assert.Equal(t, "*fs.PathError", failed.Type)
	assert.False(t, failed.Retryable)
	stop()
	require.NoError(t, <-stopped)

	assert.Equal(t, 1, r.failed)
	assert.Equal(t, "2 files found\nquickstart: "+gone+": no such file or directory\n", errs.String())
	require.NoError(t, r.print(false))
	assert.Contains(t, out.String(), "1 file, 1 byte, 0 lines; 1 failed, 0 passed over; ")
}

func TestUnreadable(t *testing.T) {
	_, err := digest.File(t.Context(), tasks.Path{Path: t.TempDir()}, tasks.Options{Algorithm: "md5"})
	assert.ErrorContains(t, err, "is a directory")
	_, err = digest.File(t.Context(), tasks.Path{Path: "gone"}, tasks.Options{Algorithm: "md5"})
	assert.False(t, omniq.NewTaskError(err).Retryable)
	_, err = digest.File(t.Context(), tasks.Path{Path: "x"}, tasks.Options{Algorithm: "rot13"})
	assert.False(t, omniq.NewTaskError(err).Retryable)
}

// A program that only enqueues does not link what does the work.
func TestProducersDoNotLinkTheWork(t *testing.T) {
	deps, err := exec.Command("go", "list", "-deps", "./tasks").Output()
	require.NoError(t, err)
	assert.Contains(t, string(deps), "examples/quickstart/tasks")
	assert.NotContains(t, string(deps), "examples/quickstart/digest")
}
