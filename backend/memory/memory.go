// Package memory is a backend inside the process. It needs nothing and loses what it holds when the process ends.
package memory

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
)

// Backend is an [omniq.Backend] in memory. It holds what is queued, what is running, and results until their TTL is
// over; nothing else grows with use. It has no goroutine of its own. Its clock is [time.Now].
type Backend struct {
	closed chan struct{} // closed by Close

	mu     sync.Mutex
	tasks  map[uuid.UUID]*entry
	queues map[string]*queue
	seq    uint64 // of enqueued tasks
	tokens uint64 // of leases
	coming agenda // what happens to tasks that are not final
	going  agenda // when results go
	timer  *time.Timer
	wake   time.Time // when the timer fires, zero for not at all
}

// entry is a task, or what has become of it.
type entry struct {
	id      uuid.UUID
	task    *omniq.RawTask   // nil when it is final
	result  *omniq.RawResult // nil until it is final
	done    chan struct{}    // closed when it is final; nil if nobody has waited
	queue   *queue
	due     time.Time
	seq     uint64
	attempt int       // handings out that count
	token   uint64    // of its lease, 0 for none
	since   time.Time // when it got its status
	place   int       // in the queue's ready heap, -1 outside
	at      time.Time // when the next thing happens to it by itself, if it is in an agenda
	index   int       // in the agenda, -1 outside
}

// New returns an empty backend.
func New() *Backend {
	return &Backend{
		closed: make(chan struct{}),
		tasks:  make(map[uuid.UUID]*entry),
		queues: make(map[string]*queue),
	}
}

// Capabilities says that nothing outlives the process, and everything else is there.
func (b *Backend) Capabilities() omniq.Capabilities {
	return omniq.Capabilities{
		Name: "memory", Fencing: true, AtomicFinish: true, Priorities: true, PushLease: true, PushResult: true,
	}
}

// Close drops everything and ends the calls that block.
func (b *Backend) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.isClosed() {
		return nil
	}
	close(b.closed)
	if b.timer != nil {
		b.timer.Stop()
	}
	b.tasks, b.queues, b.coming, b.going = nil, nil, nil, nil
	return nil
}

func (b *Backend) isClosed() bool {
	select {
	case <-b.closed:
		return true
	default:
		return false
	}
}

// begin locks the backend for a method, unless it is closed or ctx has ended, and brings it up to now.
func (b *Backend) begin(ctx context.Context) (now time.Time, err error) {
	if ctx.Err() != nil {
		return now, contextError(ctx)
	}
	b.mu.Lock()
	if b.isClosed() {
		b.mu.Unlock()
		return now, omniq.ErrClosed
	}
	now = time.Now()
	b.advance(now)
	return now, nil
}

// end sets the timer for what comes next, and unlocks.
func (b *Backend) end() {
	b.setTimer()
	b.mu.Unlock()
}

func contextError(ctx context.Context) error {
	if cause := context.Cause(ctx); cause != ctx.Err() {
		return fmt.Errorf("memory: %w: %w", ctx.Err(), cause)
	}
	return fmt.Errorf("memory: %w", ctx.Err())
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: memory: "+format, append([]any{omniq.ErrInvalid}, args...)...)
}

// Enqueue implements [omniq.TaskQueue]. It never blocks.
func (b *Backend) Enqueue(ctx context.Context, tasks []*omniq.RawTask) ([]error, error) {
	now, err := b.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer b.end()
	var errs []error
	for i, t := range tasks {
		if _, taken := b.tasks[t.ID]; taken {
			if errs == nil {
				errs = make([]error, len(tasks))
			}
			errs[i] = omniq.ErrDuplicate
			continue
		}
		b.seq++
		e := &entry{id: t.ID, task: t, queue: b.queue(t.Queue), due: t.RunAt, seq: b.seq, place: -1, index: -1}
		if e.due.IsZero() {
			e.due = now
		}
		b.tasks[t.ID] = e
		b.pend(e, now)
	}
	return errs, nil
}

// Result implements [omniq.ResultStore]. It never blocks.
func (b *Backend) Result(ctx context.Context, id uuid.UUID) (*omniq.RawResult, error) {
	if _, err := b.begin(ctx); err != nil {
		return nil, err
	}
	defer b.end()
	e, ok := b.tasks[id]
	switch {
	case !ok:
		return nil, omniq.ErrNotFound
	case e.result != nil:
		return e.result, nil
	}
	status := omniq.StatusPending
	if e.token != 0 {
		status = omniq.StatusRunning
	}
	return &omniq.RawResult{
		TaskID: id, Status: status, Timestamp: e.since.UTC().Truncate(time.Microsecond), Attempts: e.attempt,
	}, nil
}

// Await implements [omniq.ResultStore].
func (b *Backend) Await(ctx context.Context, id uuid.UUID) (*omniq.RawResult, error) {
	if _, err := b.begin(ctx); err != nil {
		return nil, err
	}
	e, ok := b.tasks[id]
	if !ok || e.result != nil {
		defer b.end()
		if !ok {
			return nil, omniq.ErrNotFound
		}
		return e.result, nil
	}
	if e.done == nil {
		e.done = make(chan struct{})
	}
	b.end()
	select {
	case <-e.done:
		return e.result, nil
	case <-b.closed:
		return nil, omniq.ErrClosed
	case <-ctx.Done():
		return nil, contextError(ctx)
	}
}

// finish records the result of a task, tells those who wait for it, and forgets the task.
func (b *Backend) finish(e *entry, r *omniq.RawResult, now time.Time) {
	b.coming.drop(e)
	e.queue.drop(e)
	b.release(e.queue)
	e.task, e.queue, e.token, e.result = nil, nil, 0, r
	if e.done != nil {
		close(e.done)
	}
	switch {
	case r.TTL == nil:
	case *r.TTL <= 0:
		delete(b.tasks, e.id)
	default:
		b.going.put(e, now.Add(*r.TTL))
	}
}
