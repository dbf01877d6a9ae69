package omniqtest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/omniq-go/omniq"
)

// Quiet is how long [Run] and [Queue.Drain] wait while nothing happens before they log what they wait for, and again each
// time that it has been twice as long.
const Quiet = 10 * time.Second

// Drain works all queues, those that tasks are put into meanwhile among them, until nothing is left that can run: delayed tasks,
// retries and what follows in flows are waited for. Signals that nobody has sent, and what waits for them, are left: see [Sends].
// Schedules start runs for the ticks that have come; it does not wait for the next ones. The options are the worker's, one of which
// works each queue; at least [omniq.Handlers] is needed.
//
// What can never end fails the test: a task of a paused queue, or one whose function or codec the worker does not know.
// While nothing happens, Drain logs what it waits for after [Quiet]; and it fails the test, saying the same, a second
// before the deadline of the test binary, where the test has one.
func (q *Queue) Drain(opts ...omniq.WorkerOption) {
	q.t.Helper()
	q.work(opts, func(stats []omniq.QueueStats) bool {
		stuck, _ := q.stuck(stats, opts)
		return stuck
	})
}

// left is how many tasks of a queue can run or do so. A schedule whose next tick has not come is not among them: it would never end.
func left(s omniq.QueueStats) int {
	if s.Queue == omniq.ScheduleQueue {
		return s.Ready + s.Running
	}
	return s.Ready + s.Scheduled + s.Running
}

// queueOf is the queue of a worker for tasks that are left: schedules are served by any.
func queueOf(s omniq.QueueStats) string {
	if s.Queue == omniq.ScheduleQueue {
		return omniq.DefaultQueue
	}
	return s.Queue
}

// work runs a worker for each queue until done says so.
func (q *Queue) work(opts []omniq.WorkerOption, done func([]omniq.QueueStats) bool) {
	q.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	workers := make(map[string]<-chan error)
	defer func() {
		stop()
		for _, ended := range workers {
			if err := <-ended; err != nil {
				q.t.Errorf("omniqtest: %v", err)
			}
		}
	}()
	watched := &watched{Backend: q.Backend, unknown: make(chan error, 1)}
	opts = complete(watched, opts)
	patience := newPatience(q.t)
	began := time.Now()
	for pause := time.Millisecond; ; pause = min(2*pause, q.longest(began)) {
		q.send(opts)
		stats, err := q.Client.Stats(context.Background())
		if err != nil {
			q.t.Fatalf("omniqtest: %v", err)
		}
		if done(stats) {
			return
		}
		for _, s := range stats {
			if left(s) > 0 && s.Paused {
				q.t.Fatalf("omniqtest: queue %q is paused and has %d tasks: nothing works them until Client.Resume", s.Queue, left(s))
			}
			name := queueOf(s)
			if left(s) == 0 || workers[name] != nil {
				continue
			}
			all := slices.Concat([]omniq.WorkerOption{omniq.Logger(slog.New(slog.DiscardHandler))}, opts, []omniq.WorkerOption{omniq.Queues(name)})
			w, err := omniq.NewWorker(watched, all...)
			if err != nil {
				q.t.Fatalf("omniqtest: %v", err)
			}
			ended := make(chan error, 1)
			workers[name] = ended
			go func() { ended <- w.Run(ctx) }()
		}
		select {
		case err := <-watched.unknown:
			q.t.Fatalf("omniqtest: %v", err)
		case <-time.After(pause):
		}
		if patience.over(stats) {
			q.t.Fatalf("omniqtest: the test's time is over, and there is still %s", q.waitsFor(stats))
		} else if quiet := patience.quiet; !q.virtual && patience.speaks() {
			q.t.Logf("omniqtest: for %v nothing has happened: there is %s", quiet, q.waitsFor(stats))
		}
	}
}

// longest is the longest pause between looks. Virtual time passes in as few steps as there are pauses.
func (q *Queue) longest(began time.Time) time.Duration {
	const longest = 100 * time.Millisecond
	if q.virtual {
		return max(longest, time.Since(began)/32)
	}
	return longest
}

// waitsFor tells of some of the tasks that are left.
func (q *Queue) waitsFor(stats []omniq.QueueStats) string {
	const most = 5
	var all []string
	n := 0
	for _, s := range stats {
		n += left(s)
	}
	for _, status := range []omniq.Status{omniq.StatusRunning, omniq.StatusPending} {
		for info, err := range q.Client.List(context.Background(), status, "") {
			if err != nil || len(all) == most {
				break
			}
			what := fmt.Sprintf("task %v of function %q in queue %q, which runs since %v", info.ID, info.FuncName, info.Queue, info.Since)
			if status == omniq.StatusPending {
				what = fmt.Sprintf("task %v of function %q in queue %q, which is due at %v", info.ID, info.FuncName, info.Queue, info.Due)
			}
			if info.Error != nil {
				what += fmt.Sprintf(" and has failed with %q", info.Error.Error())
			}
			all = append(all, what)
		}
	}
	if n > len(all) {
		all = append(all, fmt.Sprintf("%d more", n-len(all)))
	}
	return strings.Join(all, "; ")
}

// watched is the backend of the worker. It hears of tasks that the worker cannot run.
type watched struct {
	omniq.Backend
	unknown chan error
}

// Transaction is that of the queue's backend, where it has transactions.
func (w *watched) Transaction(tx any) (omniq.Transaction, error) {
	if t, ok := w.Backend.(omniq.Transactor); ok {
		return t.Transaction(tx)
	}
	return nil, fmt.Errorf("%w: the backend %q has no transactions", omniq.ErrInvalid, w.Capabilities().Name)
}

// Settle tells of each task that the worker leaves to others: there are none.
func (w *watched) Settle(ctx context.Context, settlements []omniq.Settlement) ([]error, error) {
	for _, s := range settlements {
		if s.Action != omniq.ActionDefer {
			continue
		}
		err := fmt.Errorf("task %v cannot be run", s.TaskID)
		if info, gone := w.Inspect(ctx, s.TaskID); gone == nil && info.Task != nil {
			err = fmt.Errorf("task %v of function %q with codec %q cannot be run: give the worker a handler of this name, and the codec",
				s.TaskID, info.FuncName, info.Task.Codec)
			if info.Task.Codec == "" {
				err = fmt.Errorf("task %v of function %q cannot be run: give the worker a handler of this name", s.TaskID, info.FuncName)
			}
		}
		select {
		case w.unknown <- errors.Join(err, taskError(s.Error)):
		default:
		}
	}
	return w.Backend.Settle(ctx, settlements)
}

// taskError is e as an error, nil for none.
func taskError(e *omniq.TaskError) error {
	if e == nil {
		return nil
	}
	return e
}

// patience tells when something is to be said because nothing happens.
type patience struct {
	last     []omniq.QueueStats
	since    time.Time     // when something happened last
	quiet    time.Duration // after which it is said
	deadline time.Time     // of the test, zero for none
}

func newPatience(t testing.TB) *patience {
	return &patience{since: time.Now(), quiet: Quiet, deadline: deadline(t)}
}

// deadline is a second before that of the test, zero if it has none: inside of testing/synctest asking for it panics,
// because its time is another one.
func deadline(t testing.TB) (at time.Time) {
	defer func() {
		if recover() != nil {
			at = time.Time{}
		}
	}()
	if d, ok := t.(interface{ Deadline() (time.Time, bool) }); ok {
		if end, ok := d.Deadline(); ok {
			return end.Add(-time.Second)
		}
	}
	return time.Time{}
}

// over takes note of how it is now, and reports whether the test must end.
func (p *patience) over(now []omniq.QueueStats) bool {
	now = slices.Clone(now)
	for i := range now {
		now[i].Latency = 0
	}
	if !slices.Equal(now, p.last) {
		p.last, p.since, p.quiet = now, time.Now(), Quiet
	}
	return !p.deadline.IsZero() && time.Now().After(p.deadline)
}

// speaks reports whether nothing has happened for so long that it is to be said.
func (p *patience) speaks() bool {
	if time.Since(p.since) < p.quiet {
		return false
	}
	p.quiet *= 2
	return true
}
