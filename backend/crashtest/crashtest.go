// Package crashtest kills the processes that enqueue and work tasks, and looks whether a backend keeps its word.
//
// A test of an engine calls [Child] in its TestMain and [Run] in a test. Run starts the test binary again and again, as
// producers and workers on one backend, kills them at random, starts others in their place, and in the end lets the
// work be finished and checks that
//
//   - each task whose enqueue was acknowledged has one result, and it is the right one;
//   - there is no result of a task that nobody tried to enqueue;
//   - a task was started no more often than its own failures and the kills allow;
//   - after stops that were asked for with SIGTERM nothing was started twice, and no attempt was lost.
//
// Where the engine has limits, the queue has one meanwhile, and its tasks have lanes: what runs is within it at each moment.
//
// [Flows] does the same with flows, [Schedules] with a schedule. [Pill] is about one task that ends its process, and those that run beside it.
package crashtest

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// Open opens the backend that is at a place: what that is, a file or a URL, is between the test and its engine. It is
// called in each of the processes.
type Open func(place string) (omniq.Backend, error)

// Plan is what [Run] does. The zero value of a field that is a number stands for what its comment says.
type Plan struct {
	Place     string         // of the backend, which is empty
	Places    []string       // of the processes in turn, where they come to the backend by ways of their own; nil for Place
	Signal    syscall.Signal // SIGKILL or SIGTERM
	Duration  time.Duration  // how long processes are stopped at random, or longer, until an enqueue was acknowledged: 10 s
	Pause     time.Duration  // between two stops, on average: 100 ms
	Producers int            // how many there are at a time: 2
	Workers   int            // how many there are at a time: 3
	Finish    time.Duration  // how long the work may take that is left then: as long, and three minutes, for machines whose disk is slow
}

// Report is what came of it.
type Report struct {
	Stopped  int // processes that were stopped, of which
	Workers  int // were workers
	Tried    int // tasks that somebody tried to enqueue
	Stored   int // tasks whose enqueue was acknowledged
	Starts   int // starts of a handler
	Repeated int // starts that were not a task's first and did not follow a failure
	Results  int // tasks that have a result
	Took     time.Duration
}

func (r Report) String() string {
	return fmt.Sprintf("%d processes stopped in %v, %d of them workers; %d enqueues tried, %d acknowledged; "+
		"%d handlers started, %d for a task that a process had died with; %d results",
		r.Stopped, r.Took.Round(time.Second), r.Workers, r.Tried, r.Stored, r.Starts, r.Repeated, r.Results)
}

// Run does what the plan says, and fails the test if the backend has not kept its word.
func Run(t *testing.T, open Open, plan Plan) Report {
	t.Helper()
	r := newRunner(t, plan, producer, worker)
	unwatch := sync.OnceFunc(r.watchLimit(open))
	defer unwatch()
	began := time.Now()
	r.stopAtRandom()
	r.stopAll(producer)
	r.check(open)
	unwatch()
	r.stopAll(worker)
	r.report.Took = time.Since(began)
	r.checkStarts()
	t.Log(r.report)
	return r.report
}

func or[T comparable](value, otherwise T) T {
	var zero T
	if value == zero {
		return otherwise
	}
	return value
}

type runner struct {
	t        *testing.T
	plan     Plan
	producer string // the role of those who enqueue
	worker   string // of those who work
	children []*child
	report   Report

	mu    sync.Mutex
	tasks map[uuid.UUID]*history
}

func newRunner(t *testing.T, plan Plan, producer, worker string) *runner {
	plan.Duration = or(plan.Duration, 10*time.Second)
	plan.Pause = or(plan.Pause, 100*time.Millisecond)
	plan.Producers, plan.Workers = or(plan.Producers, 2), or(plan.Workers, 3)
	plan.Finish = or(plan.Finish, 3*time.Minute+plan.Duration)
	return &runner{t: t, plan: plan, producer: producer, worker: worker, tasks: make(map[uuid.UUID]*history)}
}

// known are the tasks, or the flows, of which the children have said something.
func (r *runner) known() map[uuid.UUID]*history {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.tasks)
}

// stopAll asks the children of a role to stop.
func (r *runner) stopAll(role string) {
	for _, c := range r.children {
		if c.role == role {
			r.stop(c, syscall.SIGTERM)
		}
	}
}

// history is what the children have said about a task, or a flow.
type history struct {
	stored   bool
	starts   int
	failures int // that are part of the task
	attempts int // of its result
}

// child is a process, and whoever takes its place.
type child struct {
	role   string
	place  string // empty for the plan's
	cmd    *exec.Cmd
	stdin  io.Closer     // stays open as long as the child may live
	read   chan struct{} // closed when all that it said has been read
	ready  chan struct{} // closed when it can be asked to stop
	stderr bytes.Buffer
}

func (r *runner) start(c *child) {
	self, err := os.Executable()
	require.NoError(r.t, err)
	c.cmd = exec.Command(self)
	lease := 2 * time.Second
	if r.plan.Signal != syscall.SIGKILL {
		lease = omniq.DefaultLease // none may be lost, however busy the machine is
	}
	c.cmd.Env = append(os.Environ(), roleVariable+"="+c.role, placeVariable+"="+or(c.place, r.plan.Place), leaseVariable+"="+lease.String())
	c.stdin, err = c.cmd.StdinPipe()
	require.NoError(r.t, err)
	c.stderr.Reset()
	c.cmd.Stderr = &c.stderr
	out, err := c.cmd.StdoutPipe()
	require.NoError(r.t, err)
	require.NoError(r.t, c.cmd.Start())
	c.read, c.ready = make(chan struct{}), make(chan struct{})
	go func() {
		defer close(c.read)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if lines.Text() == wordReady {
				close(c.ready)
				continue
			}
			r.note(lines.Text())
		}
	}()
}

// stop stops a child, which must not have ended by itself.
func (r *runner) stop(c *child, signal syscall.Signal) {
	if signal != syscall.SIGKILL {
		select {
		case <-c.ready:
		case <-c.read: // it has ended
		}
	}
	_ = c.cmd.Process.Signal(signal)
	<-c.read
	err := c.cmd.Wait()
	_ = c.stdin.Close()
	if signal == syscall.SIGKILL {
		status, ok := c.cmd.ProcessState.Sys().(syscall.WaitStatus)
		if !ok || !status.Signaled() {
			r.t.Errorf("a %s ended by itself: %v\n%s", c.role, err, c.stderr.String())
		}
		return
	}
	if err != nil {
		r.t.Errorf("a %s that was asked to stop: %v\n%s", c.role, err, c.stderr.String())
	}
}

// note takes what a child has said: a word, an ID, and for some a number. A line that was cut off says nothing.
func (r *runner) note(line string) {
	word, rest, _ := strings.Cut(line, " ")
	text, number, _ := strings.Cut(rest, " ")
	id, err := uuid.Parse(text)
	n, numberErr := strconv.Atoi(strings.TrimSuffix(number, "."))
	if err != nil || numberErr != nil || !strings.HasSuffix(number, ".") {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	h, ok := r.tasks[id]
	if !ok {
		h = new(history)
		r.tasks[id] = h
	}
	switch word {
	case wordTry:
		h.failures = n
	case wordStored:
		h.stored = true
	case wordStart:
		h.starts++
	}
}

// stored reports whether an enqueue was acknowledged.
func (r *runner) stored() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, h := range r.tasks {
		if h.stored {
			return true
		}
	}
	return false
}

// stopAtRandom stops children for as long as the plan says, and until something was stored that can be lost.
func (r *runner) stopAtRandom() {
	for range r.plan.Producers {
		r.children = append(r.children, &child{role: r.producer})
	}
	for range r.plan.Workers {
		r.children = append(r.children, &child{role: r.worker})
	}
	for i, c := range r.children {
		if n := len(r.plan.Places); n > 0 {
			c.place = r.plan.Places[i%n]
		}
		r.start(c)
	}
	r.t.Cleanup(func() {
		for _, c := range r.children {
			if c.cmd.ProcessState == nil {
				_ = c.cmd.Process.Kill()
				_ = c.cmd.Wait()
			}
		}
	})
	pause := time.NewTimer(0)
	defer pause.Stop()
	longest := 2 * r.plan.Pause
	for end := time.Now().Add(r.plan.Duration); !r.t.Failed(); {
		if late := time.Since(end); late >= r.plan.Finish || late >= 0 && r.stored() {
			break
		} else if late >= 0 { // each was killed before it had begun its work: the machine is slow
			longest = min(2*longest, r.plan.Finish)
		}
		pause.Reset(rand.N(longest))
		<-pause.C
		c := r.children[rand.IntN(len(r.children))]
		r.stop(c, r.plan.Signal)
		r.start(c)
		r.report.Stopped++
		if c.role == r.worker {
			r.report.Workers++
		}
	}
}

// check waits until what was acknowledged is done, and looks at the results.
func (r *runner) check(open Open) {
	b, err := open(r.plan.Place)
	require.NoError(r.t, err)
	defer func() { assert.NoError(r.t, b.Close()) }()
	client, err := omniq.NewClient(b)
	require.NoError(r.t, err)
	ctx, cancel := context.WithTimeout(r.t.Context(), r.plan.Finish)
	defer cancel()

	tasks := r.known()
	results := make(map[uuid.UUID]int) // attempts
	for id, h := range tasks {
		r.report.Tried++
		if !h.stored {
			continue
		}
		r.report.Stored++
		got, err := step.Attach(client, id).Wait(ctx)
		require.NoError(r.t, err, "task %v was acknowledged", id)
		require.Equal(r.t, answer(id), got, "the result of task %v", id)
	}
	for unfinished := true; unfinished; { // tasks that were enqueued, but not acknowledged
		for _, status := range []omniq.Status{omniq.StatusPending, omniq.StatusRunning} {
			for info, err := range client.List(ctx, status, "") {
				require.NoError(r.t, err)
				_, err := step.Attach(client, info.ID).Wait(ctx)
				require.NoError(r.t, err)
			}
		}
		// A task may go from one state to the other between two lists, which find nothing then.
		stats, err := client.Stats(ctx)
		require.NoError(r.t, err)
		unfinished = slices.ContainsFunc(stats, func(q omniq.QueueStats) bool { return q.Waiting+q.Scheduled+q.Ready+q.Running > 0 })
	}
	for _, status := range omniq.Statuses() {
		for info, err := range client.List(ctx, status, "") {
			require.NoError(r.t, err)
			assert.Equal(r.t, omniq.StatusSuccess, status, "task %v", info.ID)
			_, tried := tasks[info.ID]
			assert.True(r.t, tried, "nobody tried to enqueue task %v", info.ID)
			_, twice := results[info.ID]
			assert.False(r.t, twice, "task %v is listed twice", info.ID)
			results[info.ID] = info.Attempts
		}
	}
	r.report.Results = len(results)
	for id, h := range tasks {
		attempts, ok := results[id]
		assert.True(r.t, ok || !h.stored, "task %v has no result", id)
		h.attempts = attempts
	}
}

// checkStarts looks how often handlers were started. All children have ended.
func (r *runner) checkStarts() {
	for _, id := range slices.SortedFunc(maps.Keys(r.tasks), func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) }) {
		h := r.tasks[id]
		r.report.Starts += h.starts
		if h.attempts == 0 {
			assert.Zero(r.t, h.starts, "task %v was started, and has no result", id)
			continue
		}
		r.report.Repeated += max(h.starts-h.failures-1, 0)
		assert.GreaterOrEqual(r.t, h.attempts, h.failures+1, "attempts of task %v", id)
		assert.LessOrEqual(r.t, h.starts, h.attempts, "task %v was started more often than its attempts", id)
		lost := r.report.Workers
		if r.plan.Signal != syscall.SIGKILL {
			lost = 0
			assert.Equal(r.t, h.attempts, h.starts, "starts of task %v", id)
		}
		assert.LessOrEqual(r.t, h.attempts, h.failures+1+lost, "attempts of task %v: %d workers were stopped", id, r.report.Workers)
	}
}
