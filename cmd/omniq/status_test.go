package main

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

func TestExitStatus(t *testing.T) {
	s := newShell(t)
	s.fill()
	info, err := s.client.Inspect(t.Context(), id(11))
	require.NoError(t, err)
	none := id(99).String()
	for _, c := range []struct {
		args   string
		status int
		says   string // on stderr
	}{
		{"stats", exitDone, ""},
		{"", exitUsage, "Usage:"},
		{"task", exitUsage, "Usage:"},
		{"statz", exitUsage, `unknown command "omniq statz", did you mean stats? See: omniq --help`},
		{"task requeu", exitUsage, `unknown command "omniq task requeu", did you mean requeue? See: omniq task --help`},
		{"nothing", exitUsage, `unknown command "omniq nothing". See: omniq --help`},
		{"help task nothing", exitUsage, `there is no command "task nothing". See: omniq --help`},
		{"help nothing", exitUsage, `there is no command "nothing"`},
		{"help task list", exitDone, ""},
		{"completion", exitUsage, "Usage:"},
		{"stats --colour", exitUsage, "unknown flag: --colour"},
		{"stats more", exitUsage, "unknown command"},
		{"stats -o xml", exitUsage, "want one of table, json, jsonl"},
		{"stats --timeout 0s", exitUsage, "--timeout is 0s"},
		{"stats --watch --interval 1ms", exitUsage, "--interval is 1ms"},
		{"task get", exitUsage, "accepts 1 arg(s), received 0"},
		{"task get 17", exitUsage, `"17" is no ID`},
		{"task get 00000000-0000-0000-0000-000000000000", exitUsage, "is no ID"},
		{"task get " + none, exitNot, "no such task"},
		{"task result " + none, exitNot, "no such task"},
		{"task result " + id(8).String(), exitRefused, "it is PENDING"},
		{"task list --status lost", exitUsage, "want some of PENDING"},
		{"task list --max -1", exitUsage, "--max is -1"},
		{"errors --max -1", exitUsage, "--max is -1"},
		{"flow list --max -1", exitUsage, "--max is -1"},
		{"top --max -1", exitUsage, "--max is -1"},
		{"task list --lane b", exitUsage, "invalid"},
		{"task list --since yesterday", exitUsage, "want a time like"},
		{"task list --like " + none, exitNot, "no such task"},
		{"task list --like " + id(8).String(), exitRefused, "has no error"},
		{"task cancel", exitUsage, "which tasks?"},
		{"task cancel --yes", exitUsage, "which tasks?"},
		{"task cancel --queue mail " + none, exitUsage, "which tasks?"},
		{"task cancel --queue= --yes", exitUsage, "--queue is empty"},
		{"task cancel --queue mail --name= --yes", exitUsage, "--name is empty"},
		{"task forget --status= --yes", exitUsage, "--status is empty"},
		{"task requeue --until= --dry-run", exitUsage, "--until is empty"},
		{"task list --flow=", exitUsage, "--flow is empty"},
		{"task cancel --all --queue mail --yes", exitUsage, "--all stands beside a flag that chooses some"},
		{"task cancel --status failure --yes", exitUsage, "want some of"},
		{"task cancel --queue mail", exitUsage, "there is nobody to ask: cancel all tasks with --queue \"mail\"? Give --yes"},
		{"task cancel " + none, exitNot, "cancel task " + none + ": no such task"},
		{"task cancel " + id(8).String() + " x", exitUsage, `"x" is no ID`},
		{"task cancel " + id(1).String(), exitRefused, "cancel task " + id(1).String() + ": not possible in the task's state"},
		{"task cancel " + none + " " + id(1).String(), exitRefused, none},
		{"task requeue " + id(5).String() + " " + id(1).String() + " " + id(6).String(), exitRefused, "requeue task " + id(1).String()},
		{"task rerun " + id(1).String(), exitRefused, "its arguments are not kept"},
		{"task rerun " + id(8).String(), exitRefused, "it is PENDING"},
		{"task rerun " + none, exitNot, "no such task"},
		{"task enqueue", exitUsage, "accepts 1 arg(s)"},
		{"task enqueue f --args {", exitUsage, "--args is no JSON"},
		{"task enqueue f --args {}", exitUsage, "invalid"},
		{"task enqueue f --args @/nowhere", exitFailed, "/nowhere"},
		{"task enqueue f --queue a,b", exitUsage, "invalid"},
		{"task enqueue f --at noon", exitUsage, "--at is"},
		{"task enqueue f --at=", exitUsage, "--at is"},
		{"task enqueue f --id=", exitUsage, "is no ID"},
		{"events --task=", exitUsage, "is no ID"},
		{"task enqueue f --id " + id(8).String(), exitRefused, "duplicate"},
		{"task enqueue send_mail --unique ina", exitRefused, "duplicate"},
		{"flow get " + none, exitNot, "no such task"},
		{"flow cancel " + none + " --yes", exitNot, "no such task"},
		{"flow cancel " + info.Flow.String(), exitUsage, "there is nobody to ask: cancel 2 tasks of flow"},
		{"flow retry " + none, exitNot, "no such task"},
		{"schedule get none", exitNot, "no such task"},
		{"schedule pause none", exitNot, "no such task"},
		{"schedule delete none --yes", exitNot, "no such task"},
		{"schedule backfill none", exitUsage, "--from and --until"},
		{"queue pause a,b", exitUsage, "invalid"},
		{"queue limit mail fast", exitUsage, "in a limit"},
		{"events --new", exitUsage, "--new shows nothing without --follow"},
		{"events --type gone", exitUsage, "want some of ENQUEUED"},
		{"events --follow -o json", exitUsage, "has no end"},
		{"check", exitDone, ""},
		{"check --max-ready 0", exitNot, ""},
		{"check --queue nowhere --max-ready 0 --max-latency 1s", exitDone, ""},
		{"check --queue nowhere --min-workers 1", exitNot, ""},
		{"check --queue= --max-ready 0", exitUsage, "--queue is empty"},
		{"check --queue mail, --max-ready 0", exitUsage, "invalid"},
		{"migrate status", exitDone, ""},
		{"migrate sql", exitDone, "there is nothing to do"},
		{"migrate up", exitDone, "already"},
		{"version", exitDone, ""},
	} {
		t.Run(c.args, func(t *testing.T) {
			status, out, err := s.run(strings.Fields(c.args)...)
			assert.Equal(t, c.status, status, err)
			assert.Contains(t, err, c.says)
			if c.status == exitUsage {
				assert.Empty(t, out, "data alone")
			}
			if c.says == "" {
				assert.Empty(t, err)
			}
		})
	}
	info, err = s.client.Inspect(t.Context(), id(5))
	require.NoError(t, err)
	assert.Equal(t, omniq.StatusPending, info.Status, "what stood beside one that was refused was done")
	info, err = s.client.Inspect(t.Context(), id(8))
	require.NoError(t, err)
	assert.Equal(t, omniq.StatusPending, info.Status, "a mistake in the last ID does nothing")
}

// A worker that stops takes no more tasks, of whatever queue.
func TestCheckStopping(t *testing.T) {
	s := newShell(t)
	for _, stopping := range []bool{false, true} {
		require.NoError(t, s.backend.Beat(t.Context(), omniq.WorkerInfo{
			ID: worker, Queues: []string{"mail"}, Concurrency: 1, Stopping: stopping, Lease: time.Hour,
		}))
		for _, args := range []string{"check --min-workers 1", "check --min-workers 1 --queue mail"} {
			status, out, says := s.run(strings.Fields(args)...)
			assert.Equal(t, map[bool]int{false: exitDone, true: exitNot}[stopping], status, "%s%s", out, says)
		}
	}
}

// An engine that is not there, or says nothing, is told in time, without the password.
func TestEngineDown(t *testing.T) {
	s := newShell(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, silent.Close()) })
	text := filepath.Join(t.TempDir(), "text")
	require.NoError(t, os.WriteFile(text, []byte(strings.Repeat("no database ", 100)), 0o600))
	missing := filepath.Join(t.TempDir(), "typo.db")
	for name, c := range map[string]struct {
		url    string
		status int
		says   string
	}{
		"nobody listens":    {"postgres://u:secret@127.0.0.1:1/x", exitFailed, "refused"},
		"nobody answers":    {"postgres://u:secret@" + silent.Addr().String() + "/x", exitFailed, "the engine has not answered within 300ms (--timeout)"},
		"no database":       {"sqlite:" + text, exitFailed, "not a sound database"},
		"no file":           {"sqlite:" + missing, exitFailed, "there is no queue there"},
		"no directory":      {"sqlite:" + filepath.Join(missing, "q.db"), exitFailed, "no such file"},
		"in memory":         {"memory:", exitUsage, `the scheme "memory"`},
		"no engine":         {"mysql://u:secret@host/", exitUsage, `can open the schemes`},
		"no server":         {"redis://u:secret@127.0.0.1:1/", exitFailed, "refused"},
		"a word":            {"secret", exitUsage, "without a scheme"},
		"a URL with a hole": {"postgres://u:sec@ret@host/x", exitUsage, "%40"},
	} {
		t.Run(name, func(t *testing.T) {
			s.url = c.url
			began := time.Now()
			timeout := "1m" // so that a slow machine gives the same error
			if name == "nobody answers" {
				timeout = "300ms"
			}
			status, out, err := s.run("stats", "--timeout", timeout)
			assert.Less(t, time.Since(began), 10*time.Second)
			assert.Equal(t, c.status, status)
			assert.Empty(t, out)
			assert.Contains(t, err, c.says)
			assert.NotContains(t, err, "secret")
		})
	}
	assert.NoFileExists(t, missing, "a mistyped path is no new queue")

	t.Setenv("OMNIQ_BACKEND_URL", "")
	p := s.program(io.Discard, io.Discard)
	assert.Equal(t, exitUsage, p.run(t.Context(), []string{"stats"}))
	t.Setenv("OMNIQ_CONCURRENCY", "0")
	status, _, says := s.run("stats")
	assert.Equal(t, exitUsage, status)
	assert.Contains(t, says, "OMNIQ_CONCURRENCY")
}

// What the engine says of its own connection is no word of who reads the output.
func TestEngineBreaksOff(t *testing.T) {
	s := newShell(t)
	for _, fault := range []error{syscall.EPIPE, io.ErrClosedPipe} {
		onlyEngine(t, omniq.Engine{
			Schemes: []string{"broken"},
			Schema:  func(context.Context, string, omniq.Config) (omniq.Schema, error) { return omniq.Schema{}, fault },
		})
		s.url = "broken:"
		status, _, says := s.run("stats")
		assert.Equal(t, exitFailed, status)
		assert.Contains(t, says, "pipe")
	}
}

// An answer in the middle of the work that does not come is an error, too.
func TestSilence(t *testing.T) {
	s := newShell(t)
	b := &bounded{&mute{Backend: s.backend}, time.Millisecond}
	_, _, err := b.List(t.Context(), omniq.ListRequest{Status: omniq.StatusPending, Max: 1})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.ErrorContains(t, err, "the engine has not answered within 1ms (--timeout)")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b.timeout = time.Minute
	_, _, err = b.List(ctx, omniq.ListRequest{Status: omniq.StatusPending, Max: 1})
	require.ErrorIs(t, err, context.Canceled)
	assert.NotContains(t, err.Error(), "--timeout")
}

// mute is an engine that does not answer.
type mute struct{ omniq.Backend }

func (*mute) List(ctx context.Context, _ omniq.ListRequest) ([]*omniq.TaskInfo, string, error) {
	<-ctx.Done()
	return nil, "", ctx.Err()
}
