package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/sqlite"
)

// shell is where the command is typed: with a SQLite file.
type shell struct {
	*testing.T
	url     string
	backend *sqlite.Backend // opened beside the command, as another program has it
	client  *omniq.Client

	in       io.Reader
	terminal bool // a person sits there
}

func newShell(t *testing.T) *shell {
	t.Helper()
	for _, name := range []string{"OMNIQ_BACKEND_URL", "OMNIQ_EVENTS", "NO_COLOR"} {
		t.Setenv(name, "")
	}
	t.Setenv("TERM", "xterm")
	s := &shell{T: t, in: strings.NewReader("")}
	path := filepath.Join(t.TempDir(), "queue.db")
	s.url = "sqlite:" + path
	var err error
	s.backend, err = sqlite.Open(path, sqlite.WithEvents(time.Hour))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.backend.Close()) })
	s.client, err = omniq.NewClient(s.backend)
	require.NoError(t, err)
	return s
}

// run types a command, and returns what it has done.
func (s *shell) run(args ...string) (status int, out, err string) {
	return s.runIn(s.Context(), args...)
}

func (s *shell) runIn(ctx context.Context, args ...string) (status int, out, err string) {
	var stdout, stderr buffer
	status = s.program(&stdout, &stderr).run(ctx, append([]string{"--backend", s.url}, args...))
	return status, stdout.String(), stderr.String()
}

func (s *shell) program(out, err io.Writer) *program {
	p := &program{in: s.in, out: out, err: err}
	p.terminal.in, p.terminal.out, p.terminal.err = s.terminal, s.terminal, s.terminal
	return p
}

// does types a command that is to go well, and returns what it has written.
func (s *shell) does(args ...string) string {
	s.Helper()
	status, out, err := s.run(args...)
	require.Equal(s, exitDone, status, "%s\n%s", out, err)
	return out
}

// onlyEngine lets the command bring one engine, and no others, until the test ends.
func onlyEngine(t *testing.T, e omniq.Engine) {
	t.Helper()
	usual := engines
	t.Cleanup(func() { engines = usual })
	engines = []omniq.Engine{e}
}

// buffer is one that is read while somebody writes.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// id is the ID of the n-th task.
func id(n int) uuid.UUID { return uuid.MustParse(fmt.Sprintf("00000000-0000-7000-8000-%012d", n)) }

// enqueue stores a task with the n-th ID.
func (s *shell) enqueue(n int, name string, args omniq.Raw, opts ...omniq.TaskOption) omniq.RawTask {
	s.Helper()
	task, err := omniq.NewTask(name, args, omniq.Raw("{}"), append(opts, omniq.ID(id(n)))...)
	require.NoError(s, err)
	require.NoError(s, s.client.Enqueue(s.Context(), task))
	return task
}

// worker is the name of who works in tests.
const worker = "host:7:0f"

// lease takes the next task of a queue.
func (s *shell) lease(queue string) omniq.Lease {
	s.Helper()
	leases, err := s.backend.Lease(s.Context(), omniq.LeaseRequest{
		Queues: []string{queue}, Max: 1, Duration: time.Hour, Wait: 10 * time.Second, WorkerID: worker,
	})
	require.NoError(s, err)
	require.Len(s, leases, 1)
	return leases[0]
}

// settle ends the next task of a queue, with a result or an error.
func (s *shell) settle(queue string, data omniq.Raw, failure error) {
	s.Helper()
	l := s.lease(queue)
	var result omniq.RawResult
	var err error
	if failure != nil {
		result, err = omniq.NewFailure[omniq.Raw](l.TaskID, failure, omniq.Attempts(l.Attempt), omniq.TTL(time.Hour))
	} else {
		result, err = omniq.NewSuccess(l.TaskID, data, omniq.Attempts(l.Attempt), omniq.TTL(time.Hour))
	}
	require.NoError(s, err)
	errs, err := s.backend.Settle(s.Context(), []omniq.Settlement{
		{LeaseID: l.LeaseID, Action: omniq.ActionFinish, Result: &result, Took: 1500 * time.Millisecond, KeepTask: l.Task.KeepTask},
	})
	require.NoError(s, err)
	require.Empty(s, errs)
}

// fill makes tasks in each state, a flow and a worker.
func (s *shell) fill() {
	s.Helper()
	s.enqueue(1, "send_mail", omniq.Raw(`["ada@example.org"]`), omniq.Queue("mail"), omniq.Metadata("tenant", "a"))
	s.settle("mail", omniq.Raw(`{"sent":12345678901234567890}`), nil)
	s.enqueue(2, "send_mail", omniq.Raw(`["bob@example.org"]`), omniq.Queue("mail"))
	s.settle("mail", nil, errors.New(`dial tcp 10.0.0.7:25: "mx1" refused`))
	s.enqueue(3, "send_mail", omniq.Raw(`["eve@example.org"]`), omniq.Queue("mail"), omniq.Metadata("tenant", "b"))
	s.settle("mail", nil, errors.New(`dial tcp 10.0.0.9:25: "mx2" refused`))
	s.enqueue(4, "report", omniq.Raw(`[]`))
	s.settle("default", nil, errors.New("no such table"))
	s.enqueue(5, "report", omniq.Raw(`[5]`))
	require.NoError(s, s.client.Cancel(s.Context(), id(5)))
	s.enqueue(6, "report", omniq.Raw(`[6]`), omniq.TTL(time.Microsecond))
	require.Eventually(s, func() bool {
		r, err := s.client.Result(s.Context(), id(6))
		return err == nil && r.Status == omniq.StatusExpired
	}, 10*time.Second, time.Millisecond)
	s.enqueue(7, "report", omniq.Raw(`[7]`))
	s.lease("default")
	s.enqueue(8, "report", omniq.Raw(`[8]`), omniq.Delay(time.Hour))
	s.enqueue(9, "send_mail", omniq.Raw(`["ina@example.org"]`), omniq.Queue("mail"), omniq.Lane("b"), omniq.Unique("ina"))
	s.flow()
	require.NoError(s, s.backend.Beat(s.Context(), omniq.WorkerInfo{
		ID: worker, Host: "host", PID: 7, Version: "v1.2.3", Queues: []string{"default", "mail"}, Names: []string{"report", "send_mail"},
		Concurrency: 16, Running: 1, Up: time.Hour, Lease: time.Hour,
	}))
}

// flow makes one of two tasks: the second waits for the first, which has failed.
func (s *shell) flow() uuid.UUID {
	s.Helper()
	one := omniq.ReferArgs[omniq.Args1[int], omniq.Args1[int]]("one", omniq.Queue("flows"))
	h, err := one.On(one.With(omniq.MakeArgs1(1), omniq.ID(id(10))), omniq.ID(id(11))).Enqueue(s.Context(), s.client)
	if err != nil {
		s.Fatal(err)
	}
	f, err := h.Flow(s.Context())
	require.NoError(s, err)
	return f.ID()
}

var (
	anyID   = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	fixedID = regexp.MustCompile(`^0{8}-0000-7000-8000-`)
	micros  = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`)
	spans   = regexp.MustCompile(`(\s)\d+(\.\d+)?(ms|µs|s)([\s,;])`)
	floats  = regexp.MustCompile(`("(?:latency|wait)_seconds": ?)[0-9.e-]+`)
	blanks  = regexp.MustCompile(`(\S)  +`)
)

// stable is what is written without what differs from run to run.
func stable(s string) string {
	seen := make(map[string]int)
	s = anyID.ReplaceAllStringFunc(s, func(id string) string {
		if fixedID.MatchString(id) {
			return id
		}
		if seen[id] == 0 {
			seen[id] = len(seen) + 1
		}
		return fmt.Sprintf("ffffffff-0000-0000-0000-%012d", seen[id])
	})
	s = micros.ReplaceAllString(s, "2000-01-01T00:00:00Z")
	s = floats.ReplaceAllString(s, "${1}0.5")
	s = spans.ReplaceAllString(s, "${1}0.5s${4}")
	return blanks.ReplaceAllString(s, "$1  ")
}

// lines are the documents of JSON lines.
func lines[T any](t *testing.T, text string) []T {
	t.Helper()
	var all []T
	for line := range strings.Lines(text) {
		var one T
		require.NoError(t, json.Unmarshal([]byte(line), &one), line)
		all = append(all, one)
	}
	return all
}
