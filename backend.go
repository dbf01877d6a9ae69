package omniq

import (
	"context"
	"time"

	"github.com/google/uuid"
)

// DefaultQueue is the queue of a task that names none.
const DefaultQueue = "default"

// DefaultResultTTL is how long the result of a task can be read that does not say so itself: one hour.
const DefaultResultTTL = time.Hour

// Backend stores tasks and results. It is what clients and workers meet in, and what an engine implements.
//
// This is the contract, which package backend/backendtest checks:
//
//   - All methods may be called from many goroutines at once.
//   - A method that is given a context returns soon after the context has ended, with an error in which errors.Is
//     finds the context's. Whether its work was done then is unknown, but it was done whole or not at all.
//   - After Close each method returns [ErrClosed]; calls that block return it, too.
//   - The backend may keep the tasks and results that it is given, and hand the same ones out again: nobody changes them
//     or what they point to afterwards. It does not keep the slices that hold tasks, leases and settlements.
//   - Where a method returns a slice of errors, it has one for each item of the call in the same order, nil for what
//     went well; a nil slice means that all did. With the second error not nil, nothing was done.
//   - An engine never sleeps and retries, and never decodes a payload: the runtime above it does.
//   - Times that an engine compares are its own clock's.
type Backend interface {
	TaskQueue
	ResultStore

	// Capabilities says what the engine does. It is constant and never blocks.
	Capabilities() Capabilities

	// Close releases what the backend holds and ends the calls that block in it. It may be called again.
	Close() error
}

// TaskQueue is the part of a [Backend] that hands tasks to workers.
type TaskQueue interface {
	// Enqueue stores all the tasks or, with an error, none. A task whose ID belongs to a stored task, to one whose
	// result is still kept, or to one before it in the call is left out and reported as [ErrDuplicate] in its place;
	// it keeps no other task from being stored. When Enqueue has returned, the tasks can be leased, and survive what
	// the engine's Capabilities promise.
	//
	// The tasks have been validated. A zero RunAt means now, an empty Queue [DefaultQueue], a nil ResultTTL
	// [DefaultResultTTL].
	Enqueue(ctx context.Context, tasks []*RawTask) ([]error, error)

	// Lease hands out tasks that are due: by the order of the queues in the request, then the higher priority, then
	// the earlier time that they became due, then the order in which they were enqueued. Where none is due it waits
	// until one is, and returns no lease and no error once request.Wait is over.
	//
	// A task that is handed out is running until its lease expires, is settled or is released. When a lease expires,
	// its task is due again. A task whose TTL has passed is never handed out: it becomes expired, with the result that
	// [ExpiredResult] makes, at the latest when it would be handed out, or when its result is asked for.
	Lease(ctx context.Context, request LeaseRequest) ([]Lease, error)

	// Extend makes each lease end at the given time from now, if that is later. A lease that has expired or was
	// settled is reported as [ErrLeaseLost].
	Extend(ctx context.Context, leases []LeaseID, by time.Duration) ([]error, error)

	// Settle ends each lease as its settlement says. One whose lease has expired or was settled before changes
	// nothing and is reported as [ErrLeaseLost].
	Settle(ctx context.Context, settlements []Settlement) ([]error, error)
}

// ResultStore is the part of a [Backend] that keeps results.
type ResultStore interface {
	// Result returns a task's result as it is now. Before the task is settled its Status is pending or running, its
	// ResultData nil and its Timestamp the time since when it is so. [ErrNotFound] is for an ID that is unknown or
	// whose result's TTL is over.
	Result(ctx context.Context, id uuid.UUID) (*RawResult, error)

	// Await returns a task's result once its status is final, and blocks until then. [ErrNotFound] as for Result, at
	// once. Who waits when a task is settled gets the result even if its TTL is zero.
	Await(ctx context.Context, id uuid.UUID) (*RawResult, error)
}

// LeaseRequest is what a worker asks [TaskQueue].Lease for.
type LeaseRequest struct {
	Queues   []string      // where to look, the first first; at least one
	Max      int           // how many tasks at the most; at least 1
	Duration time.Duration // how long the leases last unless extended; positive
	Wait     time.Duration // how long to wait for a first task; zero returns at once
	WorkerID string        // who asks, for people to read
}

// LeaseID names one lease: one handing out of one task.
type LeaseID struct {
	TaskID uuid.UUID
	Token  string // the fencing token, which only the backend understands; no two leases of a task have the same
}

// Lease is a task in the hands of a worker.
type Lease struct {
	LeaseID
	Task    *RawTask
	Attempt int       // 1 for the first; handing a task out counts, releasing it takes the count back
	Expires time.Time // by the backend's clock
}

// Settlement is how a lease ends.
type Settlement struct {
	LeaseID
	Action Action
	Result *RawResult // with ActionFinish: what to keep, for as long as its TTL; a nil TTL is for ever
	At     time.Time  // with ActionRetry and ActionRelease: when the task is due again; zero means now
	Error  *TaskError // with ActionRetry: why, for people to read
}

// Action says which way a lease ends.
type Action uint8

const (
	// ActionFinish records the result, whose Status is final, and removes the task from its queue, both or neither
	// where the engine can.
	ActionFinish Action = iota + 1
	// ActionRetry makes the task pending again, its attempt used.
	ActionRetry
	// ActionRelease makes the task pending again as if this lease had never been: no attempt is used.
	ActionRelease
)

// Capabilities tells what an engine does by itself. The conformance suite goes by it, and so may an application.
type Capabilities struct {
	Name         string // the engine's name in lower case
	Durable      bool   // tasks and results survive the end of the process
	Shared       bool   // several processes can use it at once
	Fencing      bool   // a settlement with a lost lease is refused
	AtomicFinish bool   // a result is recorded and its task removed in one step
	Priorities   bool   // tasks with a higher Priority are leased first
	PushLease    bool   // Lease wakes when a task is enqueued; else it polls
	PushResult   bool   // Await wakes when a task is settled; else it polls
	MaxTaskSize  int    // the largest args and kwargs together in bytes, 0 for no bound but memory or disk
}
