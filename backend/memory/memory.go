// Package memory is a backend inside the process. It needs nothing and loses what it holds when the process ends.
package memory

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
)

// Backend is an [omniq.Backend] in memory. It holds what is queued, what is running, and results until their TTL is
// over; nothing else grows with use. It has no goroutine of its own.
type Backend struct {
	mu      sync.Mutex
	closed  chan struct{} // closed by Close
	tasks   map[uuid.UUID]*entry
	results map[uuid.UUID]*kept
	queues  map[string]*queue
	seq     uint64 // of enqueued tasks
	tokens  uint64 // of leases
	agenda  agenda
	timer   *time.Timer
	wake    time.Time // when the timer fires, zero for not at all
}

// entry is a task that is not final.
type entry struct {
	moment   // when the next thing happens to it by itself, if it is in the agenda
	task     omniq.RawTask
	queue    *queue
	due      time.Time
	deadline time.Time // zero without a TTL
	seq      uint64
	attempt  int       // handings out that count
	token    uint64    // of its lease, 0 for none
	since    time.Time // when it got its status
	place    int       // in the queue's ready heap, -1 outside
	waiters  []chan omniq.RawResult
}

// kept is a result.
type kept struct {
	moment
	result omniq.RawResult
}

// New returns an empty backend.
func New() *Backend {
	return &Backend{
		closed:  make(chan struct{}),
		tasks:   make(map[uuid.UUID]*entry),
		results: make(map[uuid.UUID]*kept),
		queues:  make(map[string]*queue),
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
	b.tasks, b.results, b.queues, b.agenda = nil, nil, nil, nil
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
func (b *Backend) Enqueue(ctx context.Context, tasks []omniq.RawTask) ([]error, error) {
	now, err := b.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer b.end()
	var errs []error
	for i := range tasks {
		t := &tasks[i]
		_, queued := b.tasks[t.ID]
		_, settled := b.results[t.ID]
		if queued || settled {
			if errs == nil {
				errs = make([]error, len(tasks))
			}
			errs[i] = omniq.ErrDuplicate
			continue
		}
		b.seq++
		e := &entry{task: *t, queue: b.queue(t.Queue), due: t.RunAt, seq: b.seq, place: -1}
		e.index = -1
		if e.due.IsZero() {
			e.due = now
		}
		if deadline, ok := t.Deadline(); ok {
			e.deadline = deadline
		}
		b.tasks[t.ID] = e
		b.pend(e, now)
	}
	return errs, nil
}

// Result implements [omniq.ResultStore]. It never blocks.
func (b *Backend) Result(ctx context.Context, id uuid.UUID) (omniq.RawResult, error) {
	if _, err := b.begin(ctx); err != nil {
		return omniq.RawResult{}, err
	}
	defer b.end()
	if k, ok := b.results[id]; ok {
		return k.result, nil
	}
	e, ok := b.tasks[id]
	if !ok {
		return omniq.RawResult{}, omniq.ErrNotFound
	}
	r := omniq.RawResult{TaskID: id, Status: omniq.StatusPending, Timestamp: e.since.UTC().Truncate(time.Microsecond), Attempts: e.attempt}
	if e.token != 0 {
		r.Status = omniq.StatusRunning
	}
	return r, nil
}

// Await implements [omniq.ResultStore].
func (b *Backend) Await(ctx context.Context, id uuid.UUID) (omniq.RawResult, error) {
	if _, err := b.begin(ctx); err != nil {
		return omniq.RawResult{}, err
	}
	if k, ok := b.results[id]; ok {
		defer b.end()
		return k.result, nil
	}
	e, ok := b.tasks[id]
	if !ok {
		defer b.end()
		return omniq.RawResult{}, omniq.ErrNotFound
	}
	c := make(chan omniq.RawResult, 1)
	e.waiters = append(e.waiters, c)
	b.end()
	select {
	case r := <-c:
		return r, nil
	case <-b.closed:
		return omniq.RawResult{}, omniq.ErrClosed
	case <-ctx.Done():
		b.mu.Lock()
		defer b.mu.Unlock()
		e.waiters = slices.DeleteFunc(e.waiters, func(w chan omniq.RawResult) bool { return w == c })
		return omniq.RawResult{}, contextError(ctx)
	}
}

// finish records the result of a task, tells those who wait for it, and forgets the task.
func (b *Backend) finish(e *entry, r omniq.RawResult, now time.Time) {
	b.agenda.drop(e)
	e.queue.drop(e)
	e.token = 0
	b.release(e.queue)
	delete(b.tasks, e.task.ID)
	for _, c := range e.waiters {
		c <- r
	}
	e.waiters = nil
	if r.TTL != nil && *r.TTL <= 0 {
		return
	}
	k := &kept{result: r}
	k.index = -1
	b.results[e.task.ID] = k
	if r.TTL != nil {
		b.agenda.put(k, now.Add(*r.TTL))
	}
}

// token is the text form of a lease's number.
func token(n uint64) string { return strconv.FormatUint(n, 36) }
