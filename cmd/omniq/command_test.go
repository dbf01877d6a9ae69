package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
	"github.com/omniq-go/omniq/codec"
	"github.com/omniq-go/omniq/internal/bubble"
)

// many enqueues tasks in the queue "many", and returns how many are cancelled.
func (s *shell) many(n int) (cancelled func() int) {
	s.Helper()
	tasks := make([]omniq.RawTask, n)
	for i := range tasks {
		task, err := omniq.NewTask("f", omniq.Raw(`[]`), omniq.Raw(`{}`), omniq.Queue("many"), omniq.ID(id(1000+i)))
		require.NoError(s, err)
		tasks[i] = task
	}
	require.NoError(s, s.client.Enqueue(s.Context(), tasks...))
	return func() int {
		stats, err := s.client.Stats(s.Context())
		if !assert.NoError(s, err) {
			return n // who waits for some goes on
		}
		return stats[0].Cancelled
	}
}

// Ctrl-C in the middle says how many were done, and that is true.
func TestInterrupt(t *testing.T) {
	t.Run("by IDs", func(t *testing.T) {
		s := newShell(t)
		cancelled := s.many(3000)
		ctx, stop := context.WithCancel(t.Context())
		read, write := io.Pipe()
		s.in = read
		go func() {
			for i := range 3000 {
				if i == 1500 {
					for cancelled() < 1000 { // the first ones
						time.Sleep(time.Millisecond)
					}
					stop()
				}
				_, _ = io.WriteString(write, id(1000+i).String()+"\n")
			}
			_ = write.Close()
		}()
		status, out, err := s.runIn(ctx, "task", "cancel", "-")
		assert.Equal(t, exitFailed, status)
		assert.Empty(t, out)
		assert.Equal(t, "omniq: interrupted: at least 1000 tasks cancelled\n", err)
		assert.Equal(t, 1000, cancelled())
	})
	t.Run("by query", func(t *testing.T) {
		s := newShell(t)
		cancelled := s.many(3000)
		ctx, stop := context.WithCancel(t.Context())
		var says buffer
		p := s.program(io.Discard, &says)
		p.terminal.err = true
		n := 0
		query := omniq.Query{Queue: "many", Where: func(*omniq.TaskInfo) bool {
			if n++; n == 1500 {
				stop()
			}
			return true
		}}
		b := &bulk{verb: "cancel", done: "cancelled", all: (*omniq.Client).CancelAll}
		err := b.toQuery(ctx, p, s.client, query, &sure{yes: true}, "")
		some := cancelled() // of whole batches; a slow machine makes smaller ones
		assert.Positive(t, some)
		assert.Less(t, some, 1500)
		require.EqualError(t, err, fmt.Sprintf("interrupted: at least %d tasks cancelled", some))
		assert.Equal(t, exitFailed, exitOf(err))
	})
	t.Run("a question", func(t *testing.T) {
		s := newShell(t)
		cancelled := s.many(1)
		ctx, stop := context.WithCancel(t.Context())
		s.terminal = true
		read, write := io.Pipe()
		t.Cleanup(func() { _ = write.Close() })
		s.in = read
		var says buffer
		ended := make(chan int)
		go func() {
			ended <- s.program(io.Discard, &says).run(ctx, []string{"task", "cancel", "--all", "--backend", s.url})
		}()
		require.Eventually(t, func() bool { return strings.HasSuffix(says.String(), "[y/N] ") }, 10*time.Second, time.Millisecond)
		stop() // nobody has answered
		assert.Equal(t, exitFailed, <-ended)
		assert.Contains(t, says.String(), "interrupted: nothing was done")
		assert.Zero(t, cancelled())
	})
	for _, args := range []string{"events --follow", "stats --watch --interval 100ms", "top --watch"} {
		t.Run(args, func(t *testing.T) { // it is how these end
			s := newShell(t)
			s.many(1)
			ctx, stop := context.WithCancel(t.Context())
			var out, says buffer
			ended := make(chan int)
			go func() {
				ended <- s.program(&out, &says).run(ctx, append(strings.Fields(args), "--backend", s.url))
			}()
			require.Eventually(t, func() bool { return out.String() != "" }, 10*time.Second, time.Millisecond)
			stop()
			assert.Equal(t, exitDone, <-ended)
			assert.Empty(t, says.String())
		})
	}
}

// On a terminal a person is asked, with the filter and the count; without one --yes is needed. To look is not to act.
func TestConfirm(t *testing.T) {
	for _, c := range []struct {
		name     string
		terminal bool
		in       string
		args     string
		status   int
		done     int
		says     string
		out      string
	}{
		{"yes", true, "y\n", "--queue many", exitDone, 2, `cancel 2 tasks with --queue "many"? [y/N] `, "2 tasks cancelled\n"},
		{"no", true, "n\n", "--queue many", exitFailed, 0, "nothing was done", ""},
		{"nothing", true, "", "--queue many", exitFailed, 0, "nothing was done", ""},
		{"--yes", true, "", "--queue many --yes", exitDone, 2, "", "2 tasks cancelled\n"},
		{"the filter", true, "yes\n", "--status pending --contains 000001001", exitDone, 1, `cancel 1 task with --status "pending" --contains "000001001"?`, "1 task cancelled\n"},
		{"all", true, "y\n", "--all", exitDone, 2, `cancel 2 tasks of all queues?`, "2 tasks cancelled\n"},
		{"nobody", false, "y\n", "--queue many", exitUsage, 0, "there is nobody to ask", ""},
		{"nobody, --yes", false, "", "--queue many --yes", exitDone, 2, "", "2 tasks cancelled\n"},
		{"a dry run", false, "", "--queue many --dry-run", exitDone, 0, "", "2 tasks would be cancelled\n"},
		{"a dry run of IDs", false, "", id(1000).String() + " " + id(7).String() + " --dry-run", exitNot, 0, "no such task", "1 task would be cancelled, 1 refused\n"},
		{"IDs", false, "", id(1000).String(), exitDone, 1, "", "1 task cancelled\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newShell(t)
			cancelled := s.many(2)
			s.terminal, s.in = c.terminal, strings.NewReader(c.in)
			status, out, err := s.run(append([]string{"task", "cancel"}, strings.Fields(c.args)...)...)
			assert.Equal(t, c.status, status, err)
			assert.Contains(t, err, c.says)
			assert.Equal(t, c.out, out)
			assert.Equal(t, c.done, cancelled())
		})
	}
}

// A person sees how far it has come, and nothing of that is left at the end.
func TestProgress(t *testing.T) {
	s := newShell(t)
	s.many(1500)
	read, write := io.Pipe()
	s.in, s.terminal = read, true
	var out, says buffer
	ended := make(chan int)
	go func() {
		ended <- s.program(&out, &says).run(t.Context(), []string{"task", "cancel", "-", "--backend", s.url})
	}()
	for i := range 1500 {
		if i == 1100 {
			require.Eventually(t, func() bool { return strings.HasSuffix(says.String(), wipe+"cancel: 1000 tasks") }, 10*time.Second, time.Millisecond)
		}
		_, err := io.WriteString(write, id(1000+i).String()+"\n")
		require.NoError(t, err)
	}
	require.NoError(t, write.Close())
	assert.Equal(t, exitDone, <-ended)
	assert.Equal(t, "1500 tasks cancelled\n", out.String())
	assert.True(t, strings.HasSuffix(says.String(), wipe))

	for n, want := range map[int64]string{0: strings.Repeat(" ", 30), 10: "##########" + strings.Repeat(" ", 20), 30: strings.Repeat("#", 30), 31: strings.Repeat("#", 30)} {
		assert.Equal(t, fmt.Sprintf("cancel [%s] %d of 30 tasks", want, n), doneOf("cancel", n, 30))
	}
}

func TestColours(t *testing.T) {
	s := newShell(t)
	s.fill()
	assert.NotContains(t, s.does("task", "list"), "\x1b", "no terminal")
	s.terminal = true
	coloured := s.does("task", "list", "--status", "failure")
	assert.Contains(t, coloured, red+"FAILURE"+plain)
	assert.NotContains(t, s.does("task", "list", "-o", "jsonl"), "\x1b")
	t.Setenv("NO_COLOR", "1")
	assert.NotContains(t, s.does("task", "list"), "\x1b")
}

func TestCompletion(t *testing.T) {
	s := newShell(t)
	s.fill()
	_, err := omniq.Schedule(t.Context(), s.client, "nightly", omniq.Every(time.Hour), omniq.ReferNoArgs[int]("report").With())
	require.NoError(t, err)
	info, err := s.client.Inspect(t.Context(), id(11))
	require.NoError(t, err)
	for args, want := range map[string]string{
		"queue pause ":              "default flows mail omniq:schedules",
		"queue pause mail ":         "default flows omniq:schedules",
		"queue limit ":              "default flows mail omniq:schedules",
		"task list --name ":         "report send_mail one",
		"task enqueue ":             "report send_mail one",
		"task list --worker ":       worker,
		"task cancel --queue m":     "default flows mail",
		"task list --status ":       "PENDING RUNNING SUCCESS FAILURE CANCELLED EXPIRED WAITING",
		"events --type ":            "ENQUEUED STARTED COMPLETED FAILED",
		"schedule pause ":           "nightly",
		"task requeue ":             id(4).String() + "\treport FAILURE",
		"stats -o ":                 "table json jsonl",
		"check --queue ":            "mail",
		"flow cancel ":              info.Flow.String() + "\tRUNNING",
		"flow list --status runnin": "RUNNING",
		"task list --flow ":         info.Flow.String() + "\tRUNNING",
		"task list --like ":         id(4).String() + "\treport FAILURE",
		"events --task ":            id(4).String() + "\treport FAILURE",
	} {
		words := strings.Split(args, " ")
		status, out, says := s.run(append([]string{"__complete"}, words...)...)
		assert.Equal(t, exitDone, status, says)
		for word := range strings.SplitSeq(want, " ") {
			assert.Contains(t, out, word, args)
		}
		if strings.HasSuffix(args, "mail ") {
			assert.NotContains(t, out, "mail\n", "what stands there already")
		}
	}
	s.url = "postgres://127.0.0.1:1/x"
	status, out, _ := s.run("__complete", "queue", "pause", "")
	assert.Equal(t, exitDone, status)
	assert.Equal(t, ":4\n", out, "no words, and no error")
	for _, name := range []string{"bash", "zsh", "fish", "powershell"} {
		assert.Contains(t, s.does("completion", name), "omniq")
	}
}

func TestEnqueueAndRerun(t *testing.T) {
	s := newShell(t)
	out := s.does("task", "enqueue", "f", "--args", `["ä",12345678901234567890]`, "--kwargs", `{"a": 1}`, "--queue", "q", "--lane", "l", "--priority", "3",
		"--delay", "0s", "--ttl", "1h", "--result-ttl", "2h", "--task-timeout", "1m", "--retries", "4", "--unique", "k", "--metadata", "x=y")
	first := uuid.MustParse(strings.TrimSpace(out))
	info, err := s.client.Inspect(t.Context(), first)
	require.NoError(t, err)
	task := info.Task
	assert.JSONEq(t, `["ä",12345678901234567890]`, string(task.Args))
	assert.Equal(t, []any{"q", "l", 3, 5, time.Minute, time.Hour, 2 * time.Hour, "k", map[string]string{"x": "y"}},
		[]any{task.Queue, task.Lane, task.Priority, task.MaxAttempts, task.Timeout, *task.TTL, *task.ResultTTL, task.UniqueKey, task.Metadata})
	s.settle("q", nil, assert.AnError)

	var rerun copyView
	require.NoError(t, json.Unmarshal([]byte(s.does("task", "rerun", first.String(), "-o", "jsonl")), &rerun))
	assert.Equal(t, first, rerun.CopyOf)
	again, err := s.client.Inspect(t.Context(), rerun.ID)
	require.NoError(t, err)
	made := *again.Task
	assert.NotEqual(t, task.ID, made.ID)
	made.ID, made.CreatedAt = task.ID, task.CreatedAt
	assert.Equal(t, *task, made, "a copy but for these")
	status, _, says := s.run("task", "rerun", first.String())
	assert.Equal(t, exitRefused, status, "its key is held by the copy")
	assert.Contains(t, says, "duplicate")

	// What only its codec can read is copied as it is, and not shown.
	zipped, err := omniq.NewClient(s.backend, omniq.Codecs(codec.Gzip(codec.JSON)))
	require.NoError(t, err)
	secret := omniq.ReferArgs[omniq.Args1[string], int]("zipped", omniq.Queue("z"))
	handle, err := secret.Enqueue(t.Context(), zipped, omniq.MakeArgs1("secret"))
	require.NoError(t, err)
	s.settle("z", nil, assert.AnError)
	require.NoError(t, json.Unmarshal([]byte(s.does("task", "rerun", handle.ID().String(), "-o", "jsonl")), &rerun))
	l := s.lease("z")
	assert.Equal(t, rerun.ID, l.TaskID)
	read, err := omniq.DecodeTask[omniq.Args1[string], omniq.NoKwargs](*l.Task, codec.Gzip(codec.JSON))
	require.NoError(t, err)
	assert.Equal(t, "secret", read.Args.V1)
	assert.Regexp(t, `args +json\+gzip, \d+ bytes\n`, s.does("task", "get", rerun.ID.String()))

	file := filepath.Join(t.TempDir(), "args.json")
	require.NoError(t, os.WriteFile(file, []byte("[\n1 ]\n"), 0o600))
	s.in = strings.NewReader(`{"b":2}`)
	var printed omniq.RawTask
	require.NoError(t, json.Unmarshal([]byte(s.does("task", "enqueue", "g", "--args", "@"+file, "--kwargs", "@-", "-o", "json")), &printed))
	info, err = s.client.Inspect(t.Context(), printed.ID)
	require.NoError(t, err)
	assert.Equal(t, `[1]`, string(info.Task.Args))
	assert.Equal(t, `{"b":2}`, string(info.Task.Kwargs))

	go func() { // what waits gets the result of who works
		l, err := s.backend.Lease(context.WithoutCancel(t.Context()), omniq.LeaseRequest{Queues: []string{"w"}, Max: 1, Duration: time.Hour, Wait: 10 * time.Second, WorkerID: worker})
		if err != nil || len(l) == 0 {
			return
		}
		r, _ := omniq.NewSuccess(l[0].TaskID, omniq.Raw(`"done"`), omniq.TTL(time.Hour))
		_, _ = s.backend.Settle(context.WithoutCancel(t.Context()), []omniq.Settlement{{LeaseID: l[0].LeaseID, Action: omniq.ActionFinish, Result: &r}})
	}()
	assert.Contains(t, s.does("task", "enqueue", "h", "--queue", "w", "--wait"), `"done"`)
}

func TestRequeueLike(t *testing.T) {
	s := newShell(t)
	s.fill()
	assert.Equal(t, "2 tasks requeued\n", s.does("task", "requeue", "--like", id(2).String(), "--yes"))
	assert.Empty(t, s.does("task", "list", "--status", "failure", "--queue", "mail"))
	assert.NotEmpty(t, s.does("task", "list", "--status", "failure", "--since", "1h"))
	assert.Empty(t, s.does("task", "list", "--status", "failure", "--until", "1h"))
	assert.Equal(t, "1 task requeued\n", s.does("task", "requeue", "--status", "failure", "--since", "1h", "--yes"))
	s.in = strings.NewReader("\n" + id(5).String() + "\n\n")
	assert.Equal(t, "1 task requeued\n", s.does("task", "requeue", "-"))
	s.in = strings.NewReader(id(5).String() + "\nx\n")
	status, _, says := s.run("task", "cancel", "-")
	assert.Equal(t, exitUsage, status)
	assert.Contains(t, says, `0 tasks cancelled, and then: "x" is no ID`)
	assert.Equal(t, "2 tasks forgotten\n", s.does("task", "forget", "--all", "--yes"))
}

func TestFlows(t *testing.T) {
	s := newShell(t)
	flow := s.flow().String()
	assert.Equal(t, "2 tasks would be cancelled\n", s.does("flow", "cancel", flow, "--dry-run"))
	assert.Contains(t, s.does("flow", "cancel", flow, "--yes"), "cancelled")
	assert.Contains(t, s.does("flow", "list"), "CANCELLED")
	assert.Equal(t, "0 tasks requeued\n", s.does("flow", "retry", flow, "--failed"))
	assert.Equal(t, "2 tasks requeued\n", s.does("flow", "retry", flow))
	assert.Contains(t, s.does("flow", "list", "--status", "pending"), "RUNNING")
}

func TestQueues(t *testing.T) {
	s := newShell(t)
	s.many(1)
	_, out, says := s.run("queue", "pause", "many", "other")
	assert.Empty(t, out)
	assert.Equal(t, "omniq: paused queue many\nomniq: paused queue other\n", says)
	assert.Contains(t, s.does("stats"), "yes")
	s.does("queue", "resume", "many")
	s.does("queue", "limit", "many", "50", "20/s", "each", "2")
	assert.Contains(t, s.does("queue", "limit", "many"), "50 20/s each 2")
	s.does("queue", "limit", "many", "none")
	assert.Contains(t, s.does("queue", "limit", "many"), "none")
	stats, err := s.client.Stats(t.Context())
	require.NoError(t, err)
	assert.False(t, stats[0].Paused)
	assert.True(t, stats[1].Paused)
}

func TestSchedules(t *testing.T) {
	s := newShell(t)
	ref := omniq.ReferNoArgs[int]("report")
	h, err := omniq.Schedule(t.Context(), s.client, "r", omniq.Every(time.Hour), ref.With(), omniq.Overlap(omniq.Allow))
	require.NoError(t, err)
	s.does("schedule", "pause", "r", "--note", "why not")
	info, err := h.Describe(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "why not", info.Note)
	s.does("schedule", "resume", "r")
	hours := []string{"schedule", "backfill", "r", "--from", "2026-03-01T00:00:00Z", "--until", "2026-03-01T04:00:00Z"}
	assert.Equal(t, "4 tasks would be ordered\n", s.does(append(hours, "--dry-run")...))
	status, _, says := s.run(hours...)
	assert.Equal(t, exitUsage, status)
	assert.Contains(t, says, "start 4 runs of schedule r?")
	s.does(append(hours, "--yes")...)
	info, err = h.Describe(t.Context())
	require.NoError(t, err)
	assert.Equal(t, 1, info.Filling)

	status, out, says := s.run("schedule", "trigger", "r", "--timeout", "2s")
	assert.Equal(t, exitDone, status)
	assert.Contains(t, says, "the run has not begun within 2s (--timeout)")
	triggered := uuid.MustParse(strings.TrimSpace(out))
	w, err := omniq.NewWorker(s.backend, omniq.Queues("other"),
		omniq.Handlers(omniq.DefineNoArgs("other", func(context.Context) (int, error) { return 0, nil })))
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- w.Run(ctx) }()
	again := uuid.MustParse(strings.TrimSpace(s.does("schedule", "trigger", "r")))
	for _, id := range []uuid.UUID{triggered, again} {
		_, err := s.client.Result(t.Context(), id)
		require.NoError(t, err, "a worker has stored the run")
	}
	assert.Contains(t, s.does("schedule", "get", "r"), "trigger  task "+again.String())
	assert.NotEmpty(t, s.does("worker", "list"))
	stop()
	require.NoError(t, <-ended)
	assert.Empty(t, s.does("worker", "list"), "it has stopped")
	s.does("schedule", "delete", "r", "--yes")
	_, err = h.Describe(t.Context())
	require.ErrorIs(t, err, omniq.ErrNotFound)
}

// A flow is found behind however many tasks that have none, and who sees not all is told.
func TestFlowListLooksAtAll(t *testing.T) {
	s := newShell(t)
	flow := s.flow().String()
	s.many(10_001)
	status, out, says := s.run("flow", "list", "--status", "pending")
	assert.Equal(t, exitDone, status)
	assert.Contains(t, out, flow)
	assert.Empty(t, says)
	status, out, says = s.run("flow", "list", "--max", "1", "-o", "jsonl")
	assert.Equal(t, exitDone, status)
	assert.Contains(t, out, flow)
	assert.Equal(t, "omniq: there may be more: 1 flow shown; --max 0 shows all\n", says)
}

// A task that was enqueued to be kept is found by its arguments, shown and run again when it has succeeded.
func TestKeptTask(t *testing.T) {
	s := newShell(t)
	s.does("task", "enqueue", "f", "--args", "[2026]", "--keep-task", "--id", id(1).String())
	s.settle(omniq.DefaultQueue, omniq.Raw("1"), nil)
	assert.Contains(t, s.does("task", "list", "--contains", "2026"), id(1).String())
	assert.Regexp(t, `args +\[2026\]\n`, s.does("task", "get", id(1).String()))
	var made copyView
	require.NoError(t, json.Unmarshal([]byte(s.does("task", "rerun", id(1).String(), "-o", "jsonl")), &made))
	l := s.lease(omniq.DefaultQueue)
	assert.Equal(t, made.ID, l.TaskID)
	assert.True(t, l.Task.KeepTask)
	assert.Equal(t, "[2026]", string(l.Task.Args))
}

// Ctrl-C while a run has not begun takes nothing back: it is told which task will be there.
func TestInterruptTrigger(t *testing.T) {
	t.Setenv("OMNIQ_EVENTS", "")
	bubble.Test(t, func(t *testing.T) {
		backend := memory.New()
		onlyEngine(t, omniq.Engine{
			Schemes: []string{"memory"},
			Open:    func(context.Context, string, omniq.Config) (omniq.Backend, error) { return backend, nil },
		})
		client, err := omniq.NewClient(backend)
		require.NoError(t, err)
		_, err = omniq.Schedule(t.Context(), client, "r", omniq.Every(time.Hour), omniq.ReferNoArgs[int]("report").With())
		require.NoError(t, err)
		ctx, stop := context.WithCancel(t.Context())
		var says buffer
		ended := make(chan int, 1)
		go func() {
			p := &program{out: io.Discard, err: &says}
			ended <- p.run(ctx, []string{"schedule", "trigger", "r", "--timeout", "1m", "--backend", "memory:"})
		}()
		time.Sleep(10 * time.Second) // it is stored, and there is no worker
		stop()
		assert.Equal(t, exitFailed, <-ended)
		assert.Regexp(t, `^omniq: interrupted: the run is stored, and begins when a worker comes: task [0-9a-f-]{36}\n$`, says.String())
	})
}

func TestMigrate(t *testing.T) {
	s := newShell(t)
	path := filepath.Join(t.TempDir(), "new.db")
	s.url = "sqlite:" + path
	status, out, _ := s.run("migrate", "status", "-o", "jsonl")
	assert.Equal(t, exitNot, status)
	assert.Contains(t, out, `{"version":0,"newest":`)
	assert.Contains(t, s.does("migrate", "sql"), "CREATE TABLE omniq_tasks")
	assert.NoFileExists(t, path)
	_, out, says := s.run("migrate", "up")
	assert.Empty(t, out)
	assert.Contains(t, says, "and had 0")
	assert.Contains(t, s.does("migrate", "status"), "up to date")
	assert.Empty(t, s.does("stats"))
}

// Who looks on at a terminal sees that the engine has gone, and that it is back; a program gets the error.
func TestWatchGoesOn(t *testing.T) {
	for _, terminal := range []bool{true, false} {
		bubble.Test(t, func(t *testing.T) {
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			var out, says buffer
			p := &program{out: &out, err: &says}
			p.terminal.out = terminal
			looks, gone := 0, errors.New("gone")
			err := p.watch(ctx, &watched{on: true, interval: time.Second}, func() error {
				switch looks++; looks {
				case 2:
					return gone
				case 3:
					stop()
				}
				return nil
			})
			if terminal {
				require.NoError(t, err)
				assert.Equal(t, 3, looks)
				assert.Equal(t, "omniq: gone\n", says.String())
			} else {
				assert.Equal(t, gone, err)
			}
		})
	}
}

// Thousands of groups would scroll the largest away.
func TestErrorsAreCut(t *testing.T) {
	s := newShell(t)
	s.fill() // two groups
	for most, says := range map[string]string{"1": "omniq: 1 further group; --max 0 shows all\n", "2": "", "0": ""} {
		status, out, err := s.run("errors", "--max", most)
		assert.Equal(t, exitDone, status)
		assert.Equal(t, says, err)
		assert.Contains(t, out, "dial tcp", "the largest")
		assert.Equal(t, most != "1", strings.Contains(out, "no such table"))
	}
}

// The web interface shows the tasks at once, to this machine alone, until Ctrl-C.
func TestUI(t *testing.T) {
	s := newShell(t)
	h, err := omniq.ReferNoArgs[int]("report").Enqueue(t.Context(), s.client)
	require.NoError(t, err)
	for _, readOnly := range []bool{false, true} {
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan int, 1)
		var out buffer
		args := []string{"--backend", s.url, "ui", "--listen", "127.0.0.1:0", "--read-only=" + strconv.FormatBool(readOnly)}
		go func() { ended <- s.program(&out, io.Discard).run(ctx, args) }()
		require.Eventually(t, func() bool { return strings.HasSuffix(out.String(), "/\n") }, 10*time.Second, time.Millisecond)
		at := strings.TrimSpace(out.String())
		assert.Regexp(t, `^http://localhost:\d+/$`, at)
		at = strings.Replace(at, "localhost", "127.0.0.1", 1)
		get := func(path string) string {
			page, err := http.Get(at + path)
			require.NoError(t, err)
			text, err := io.ReadAll(page.Body)
			require.NoError(t, err)
			require.NoError(t, page.Body.Close())
			return string(text)
		}
		text := get("task?of=" + h.ID().String())
		assert.Contains(t, text, h.ID().String())
		assert.Contains(t, text, ">enqueued", "an event that a program has kept")
		assert.Equal(t, !readOnly, strings.Contains(text, `method="post"`), "what can be done")
		assert.Regexp(t, `tables have version \d+, as this program wants`, get("queues"))
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, at, nil)
		require.NoError(t, err)
		r.Host = "evil.example"
		refused, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		require.NoError(t, refused.Body.Close())
		assert.GreaterOrEqual(t, refused.StatusCode, 400)
		stop()
		assert.Equal(t, exitDone, <-ended)
	}
	status, _, says := s.run("ui", "--listen", "127.0.0.1:no")
	assert.Equal(t, exitFailed, status)
	assert.Contains(t, says, "--listen")
	status, _, _ = s.run("ui", "--host", "a/b")
	assert.Equal(t, exitUsage, status)
}

// Each command is in the docs.
func TestDocs(t *testing.T) {
	text, err := os.ReadFile("../../docs/command.md")
	require.NoError(t, err)
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			walk(sub)
		}
		if !c.HasSubCommands() && !c.Hidden && c.Name() != "help" && c.Parent().Name() != "completion" {
			assert.Contains(t, string(text), c.CommandPath())
		}
	}
	walk(newShell(t).program(io.Discard, io.Discard).root())
}

var shellBlock = regexp.MustCompile("(?s)```sh\n(.*?)```")

// What the docs tell people to type is what there is.
func TestCommandsOfDocs(t *testing.T) {
	shown := 0
	for _, page := range []string{"command", "operations"} {
		text, err := os.ReadFile("../../docs/" + page + ".md")
		require.NoError(t, err)
		for _, block := range shellBlock.FindAllStringSubmatch(string(text), -1) {
			for line := range strings.Lines(block[1]) {
				line, _, _ = strings.Cut(line, "#")
				for part := range strings.FieldsFuncSeq(line, func(r rune) bool { return r == '|' || r == '>' || r == ';' || r == '&' }) {
					words := strings.Fields(strings.ReplaceAll(part, `"`, ""))
					if len(words) < 2 || words[0] != "omniq" {
						continue
					}
					c, rest, err := newShell(t).program(io.Discard, io.Discard).root().Find(words[1:])
					require.NoError(t, err, line)
					assert.NoError(t, c.ParseFlags(rest), line)
					assert.True(t, c.Runnable(), line)
					shown++
				}
			}
		}
	}
	assert.Greater(t, shown, 20)
}
