// Package omniqtest helps to test handlers, and code that enqueues tasks, without a server.
//
//   - [Run] runs one task by its definition, as a worker would, and returns what came of it.
//   - [New] makes a queue for one test. Code under test enqueues through its Client, [Enqueued] returns what that was,
//     with its types, and [Queue.Drain] works it.
//
// Inside of testing/synctest delays, timeouts, retries and TTLs take no time: the queue's clock is [time.Now].
package omniqtest

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
	"github.com/omniq-go/omniq/codec"
)

// Reference is what definitions and references of any kind have. Its types are inferred.
type Reference[A, K, R any] interface {
	// Name is the task's name on the wire.
	Name() string
	// EnqueueMany stores tasks in one call of the backend.
	EnqueueMany(context.Context, *omniq.Client, []omniq.Task[A, K]) ([]*omniq.Handle[R], error)
}

// Definition is a [Reference] with its function.
type Definition[A, K, R any] interface {
	Reference[A, K, R]
	omniq.Handler
}

// Run makes one attempt at the task, which the definition's Task method has made, and returns what its handler returned.
// Arguments and result go through their wire form as they would on their way. An error is a [omniq.TaskError], as whoever
// waits gets it; it is not tried again, and Permanent makes no difference but in its Retryable. A Snooze, which would
// have to be waited for, fails the test. Codecs and middleware are options of the worker.
func Run[A, K, R any](t testing.TB, d Definition[A, K, R], task omniq.Task[A, K], opts ...omniq.WorkerOption) (R, error) {
	t.Helper()
	task.MaxAttempts = 1
	task.RunAt = time.Time{}
	q := New(t)
	handles, err := d.EnqueueMany(context.Background(), q.Client, []omniq.Task[A, K]{task})
	if err != nil {
		t.Fatalf("omniqtest: %v", err)
	}
	q.work(append([]omniq.WorkerOption{omniq.Handlers(d)}, opts...), func() bool {
		info, err := q.Client.Inspect(context.Background(), task.ID)
		if err != nil {
			t.Fatalf("omniqtest: %v", err)
		}
		if info.Status == omniq.StatusPending && info.Due.After(task.CreatedAt) && info.WorkerID != "" {
			t.Fatalf("omniqtest: task %v was snoozed until %v", task.ID, info.Due)
		}
		return info.Status.Final()
	})
	return handles[0].Wait(context.Background())
}

// Queue is a queue in memory for one test.
type Queue struct {
	Client  *omniq.Client
	Backend omniq.Backend // for whatever needs it: events are on

	t testing.TB
}

// New returns an empty queue. It is closed when the test ends.
func New(t testing.TB, opts ...omniq.ClientOption) *Queue {
	t.Helper()
	b := memory.New(memory.WithEvents(omniq.DefaultEventRetention))
	t.Cleanup(func() { _ = b.Close() })
	client, err := omniq.NewClient(b, opts...)
	if err != nil {
		t.Fatalf("omniqtest: %v", err)
	}
	return &Queue{client, b, t}
}

// Enqueued returns the tasks of a definition or a reference that were enqueued and have not been started, those that wait
// for a time among them, in the order in which they were enqueued. It fails the test if one does not fit the types. The
// codecs are needed for payloads that are not JSON.
func Enqueued[A, K, R any](q *Queue, ref Reference[A, K, R], codecs ...codec.Codec) []omniq.Task[A, K] {
	q.t.Helper()
	var tasks []omniq.Task[A, K]
	for info, err := range q.Client.List(context.Background(), omniq.StatusPending, "") {
		if err != nil {
			q.t.Fatalf("omniqtest: %v", err)
		}
		if info.FuncName != ref.Name() {
			continue
		}
		task, err := omniq.DecodeTask[A, K](*info.Task, codecs...)
		if err != nil {
			q.t.Fatalf("omniqtest: %v", err)
		}
		tasks = append(tasks, task)
	}
	return tasks
}

// Drain works what is in the queue, and what is enqueued meanwhile, until nothing is left that waits or runs: delayed
// tasks and retries are waited for. The options are the worker's; at least [omniq.Handlers] is needed.
func (q *Queue) Drain(opts ...omniq.WorkerOption) {
	q.t.Helper()
	q.work(opts, func() bool {
		stats, err := q.Client.Stats(context.Background())
		if err != nil {
			q.t.Fatalf("omniqtest: %v", err)
		}
		for _, s := range stats {
			if s.Ready+s.Scheduled+s.Running > 0 {
				return false
			}
		}
		return true
	})
}

// work runs a worker until done says so.
func (q *Queue) work(opts []omniq.WorkerOption, done func() bool) {
	q.t.Helper()
	w, err := omniq.NewWorker(q.Backend, append([]omniq.WorkerOption{omniq.Logger(slog.New(slog.DiscardHandler))}, opts...)...)
	if err != nil {
		q.t.Fatalf("omniqtest: %v", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			q.t.Errorf("omniqtest: %v", err)
		}
	}()
	for pause := time.Millisecond; !done(); pause = min(2*pause, 100*time.Millisecond) {
		time.Sleep(pause)
	}
}
