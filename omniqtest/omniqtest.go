// Package omniqtest helps to test handlers, and code that enqueues tasks, without a server.
//
//   - [Run] runs one task by its definition, as a worker would, and returns what came of it.
//   - [New] makes a queue for one test. Code under test enqueues through its Client, [Enqueued] returns what that was,
//     with its types, and [Queue.Drain] works it.
//   - [Ticks] tells when a schedule ticks.
//   - [RunFlow] runs a whole flow in no time. [Returns], [Fails] and [Sends] replace results of members.
//
// Inside of testing/synctest delays, timeouts, retries and TTLs take no time: the queue's clock is [time.Now].
package omniqtest

import (
	"context"
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
// It does not wait until the task is due, and works its queue, whichever that is. Arguments and result go through their
// wire form as they would on their way. An error is a [omniq.TaskError], as whoever waits gets it; it is not tried again,
// and Permanent makes no difference but in its Retryable. A Snooze, which would have to be waited for, fails the test, and
// so does a payload in a codec that the worker does not have. Codecs and middleware are options of the worker. Run waits
// like [Queue.Drain].
func Run[A, K, R any](t testing.TB, d Definition[A, K, R], task omniq.Task[A, K], opts ...omniq.WorkerOption) (R, error) {
	t.Helper()
	task.MaxAttempts = 1
	task.RunAt, task.Delay = time.Time{}, 0
	q := New(t)
	handles, err := d.EnqueueMany(context.Background(), q.Client, []omniq.Task[A, K]{task})
	if err != nil {
		t.Fatalf("omniqtest: %v", err)
	}
	q.work(append([]omniq.WorkerOption{omniq.Handlers(d)}, opts...), func([]omniq.QueueStats) bool {
		info, err := q.Client.Inspect(context.Background(), task.ID)
		if err != nil {
			t.Fatalf("omniqtest: %v", err)
		}
		if info.Status == omniq.StatusPending && info.Due.After(info.Since) && info.WorkerID != "" {
			t.Fatalf("omniqtest: task %v was snoozed until %v", task.ID, info.Due)
		}
		return info.Status.Final()
	})
	return handles[0].Wait(context.Background())
}

// Queue is a backend for one test, with all its queues.
type Queue struct {
	Client  *omniq.Client
	Backend omniq.Backend // for whatever needs it: events are on, if New made it

	t       testing.TB
	virtual bool // time is
}

// New returns an empty queue in memory. It is closed when the test ends.
func New(t testing.TB, opts ...omniq.ClientOption) *Queue {
	t.Helper()
	b := memory.New(memory.WithEvents(omniq.DefaultEventRetention))
	t.Cleanup(func() { _ = b.Close() })
	return On(t, b, opts...)
}

// On is New on a backend of any engine. It stays open.
func On(t testing.TB, b omniq.Backend, opts ...omniq.ClientOption) *Queue {
	t.Helper()
	client, err := omniq.NewClient(b, opts...)
	if err != nil {
		t.Fatalf("omniqtest: %v", err)
	}
	return &Queue{Client: client, Backend: b, t: t}
}

// Enqueued returns the tasks of a definition or a reference that were enqueued and have not been started, in the order in which
// they were enqueued: those that wait for a time among them, but not those that wait for other tasks. It fails the test if one does
// not fit the types. The codecs are needed for payloads that are not JSON.
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
