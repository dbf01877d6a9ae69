package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq/examples/internal/server"
)

func TestMain(m *testing.M) {
	if os.Getenv("SCHEDULE_RUN") != "" { // a test has started this process
		main()
	}
	os.Exit(m.Run())
}

// program is the example on one queue.
type program struct {
	*testing.T
	url string
	out string
}

// command starts a process of the program.
func (p *program) command(args ...string) (*exec.Cmd, *bytes.Buffer) {
	c := exec.Command(os.Args[0], append([]string{"-backend", p.url}, args...)...)
	c.Env = append(os.Environ(), "SCHEDULE_RUN=1")
	out := new(bytes.Buffer)
	c.Stdout, c.Stderr = out, out
	return c, out
}

// does is what a command of a process of its own says.
func (p *program) does(args ...string) string {
	p.Helper()
	c, out := p.command(args...)
	require.NoError(p, c.Run(), "%v: %s", args, out)
	return out.String()
}

// serve starts a process that serves, until the returned function is called.
func (p *program) serve(args ...string) (stop func(os.Signal)) {
	p.Helper()
	c, out := p.command(append([]string{"serve", "-out", p.out, "-every", "100ms"}, args...)...)
	require.NoError(p, c.Start())
	ended := false
	p.Cleanup(func() {
		if !ended {
			_ = c.Process.Kill()
			_ = c.Wait()
		}
	})
	return func(signal os.Signal) {
		ended = true
		require.NoError(p, c.Process.Signal(signal))
		err := c.Wait()
		if signal != syscall.SIGKILL {
			require.NoError(p, err, out.String())
		}
	}
}

// samples are the lines that were added so far.
func (p *program) samples() []string {
	text, err := os.ReadFile(filepath.Join(p.out, "samples.csv"))
	if os.IsNotExist(err) {
		return nil
	}
	require.NoError(p, err)
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}

func (p *program) reports() []string {
	all, err := filepath.Glob(filepath.Join(p.out, "sizes-*.txt"))
	require.NoError(p, err)
	return all
}

func (p *program) eventually(condition func() bool, what string) {
	p.Helper()
	require.Eventually(p, condition, time.Minute, 10*time.Millisecond, what)
}

// onEach runs a test on each engine.
func onEach(t *testing.T, test func(*program)) {
	for name, url := range map[string]func(*testing.T) string{
		"sqlite":   func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "queue.db") },
		"postgres": server.URL,
		"redis":    server.Redis,
	} {
		t.Run(name, func(t *testing.T) { test(&program{t, url(t), filepath.Join(t.TempDir(), "out")}) })
	}
}

// One process serves, and others look after it.
func TestSchedules(t *testing.T) {
	onEach(t, func(p *program) {
		dir := p.TempDir()
		require.NoError(p, os.MkdirAll(filepath.Join(dir, "sub", "deep"), 0o700))
		for path, n := range map[string]int{"a": 10, "sub/b": 200, "sub/deep/c": 3000} {
			require.NoError(p, os.WriteFile(filepath.Join(dir, filepath.FromSlash(path)), make([]byte, n), 0o600))
		}
		assert.Contains(p, p.does(), "There is no schedule")
		stop := p.serve("-dir", dir, "-zone", "Europe/Berlin")
		p.eventually(func() bool { return len(p.samples()) >= 3 }, "samples")
		assert.Contains(p, p.samples()[0], ",clock,3,3210")
		assert.Contains(p, p.does("list"), `sizes.nightly: cron "30 2 * * *" in Europe/Berlin`)

		p.does("pause", "sizes.samples", "for a test")
		assert.Contains(p, p.does(), "paused: for a test")
		stop(syscall.SIGTERM)
		before := len(p.samples())
		stop = p.serve("-dir", dir, "-zone", "Europe/Berlin") // which declares it, and does not end the pause
		path := strings.Trim(strings.TrimSpace(p.does("trigger", "sizes.nightly")), `"`)
		text, err := os.ReadFile(path)
		require.NoError(p, err)
		assert.Contains(p, string(text), "by the trigger")
		assert.Contains(p, string(text), fmt.Sprintf("%12d bytes in %6d files  %s\n", 3200, 2, filepath.Join(dir, "sub")))
		assert.Contains(p, string(text), fmt.Sprintf("%12d bytes in %6d files  %s\n", 10, 1, dir))
		assert.Len(p, p.samples(), before)

		p.does("backfill", "sizes.nightly", "2027-03-27", "2027-03-30")
		p.eventually(func() bool { return len(p.reports()) >= 4 }, "reports of a backfill over the change of the clock")
		for _, at := range []string{"20270327T013000", "20270328T010000", "20270329T003000"} {
			assert.FileExists(p, filepath.Join(p.out, "sizes-"+at+".000.txt"))
		}
		p.does("resume", "sizes.samples")
		p.eventually(func() bool { return len(p.samples()) > before+2 }, "samples after the pause")
		stop(syscall.SIGTERM)
		p.does("delete", "sizes.samples")
		assert.NotContains(p, p.does(), "sizes.samples")
		c, out := p.command("pause", "sizes.samples")
		require.Error(p, c.Run())
		assert.Contains(p, out.String(), `pause schedule "sizes.samples"`)
	})
}

// Two processes serve, and one of them is killed: each tick has one sample, or one more where a run has begun again.
func TestKilled(t *testing.T) {
	onEach(t, func(p *program) {
		stop := p.serve("-dir", p.TempDir())
		other := p.serve("-dir", p.TempDir()) // it declares another directory
		p.eventually(func() bool { return len(p.samples()) >= 3 }, "samples")
		stop(syscall.SIGKILL)
		n := len(p.samples())
		p.eventually(func() bool { return len(p.samples()) > n+3 }, "samples after the kill")
		other(syscall.SIGTERM)
		seen := make(map[string]int)
		for _, line := range p.samples() {
			at, _, _ := strings.Cut(line, ",")
			seen[at]++
		}
		twice := 0
		for _, n := range seen {
			twice += n - 1
		}
		assert.LessOrEqual(p, twice, 1)
	})
}

func TestUsage(t *testing.T) {
	url := "sqlite:" + filepath.Join(t.TempDir(), "queue.db")
	for want, args := range map[string][]string{
		"no such command":        {"nothing"},
		"usage: schedule":        {"backfill", "x"},
		"is no time, want":       {"backfill", "x", "yesterday", "today"},
		"at least 1ms":           {"serve", "-every", "0s", "-out", t.TempDir()},
		"unknown on this machin": {"serve", "-zone", "Europe/Nowhere", "-out", t.TempDir()},
	} {
		var out bytes.Buffer
		assert.NotZero(t, run(context.Background(), append([]string{"-backend", url}, args...), &out, &out))
		assert.Contains(t, out.String(), want)
	}
	var out bytes.Buffer
	assert.Zero(t, run(context.Background(), []string{"-h"}, &out, &out))
	assert.Contains(t, out.String(), "usage: schedule")
}
