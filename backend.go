package omniq

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// DefaultQueue is the queue of a task that names none.
const DefaultQueue = "default"

// How long the result of a task is kept that does not say so itself.
const (
	DefaultResultTTL  = time.Hour          // of one that succeeded or was cancelled
	DefaultFailureTTL = 7 * 24 * time.Hour // of one that failed or expired, unless its ResultTTL is longer
)

// Backend stores tasks and results. Clients and workers meet in it. Each engine is one.
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
//   - An engine compares times of its own clock alone. What is counted from a moment on reaches it as a duration: a delay,
//     the length of a lease, what is left of a TTL. Only a RunAt is a time, and means that time by the engine's clock.
//   - An error in which errors.Is finds [ErrUncertain] says that the work may have been done: the answer was lost.
//     Any other error of a whole call says that nothing was done.
//
// A backend whose engine has transactions is a [Transactor], too.
type Backend interface {
	TaskQueue
	ResultStore
	EventStore
	Monitor

	// Capabilities says what the engine does. It is constant and never blocks.
	Capabilities() Capabilities

	// Close releases what the backend holds and ends the calls that block in it. It may be called again.
	Close() error
}

// EngineIsForContract2 stands in each engine that fulfils this contract:
//
//	const _ = omniq.EngineIsForContract2 // undefined: this engine and omniq are of different releases, upgrade both
//
// A release that changes what a [Backend] has to do replaces the constant by one with the next number. An engine of another
// release does not compile with it, and the compiler's message names the constant.
const EngineIsForContract2 = true

// Enqueuer is what takes tasks: a [TaskQueue], or one inside of a caller's database transaction.
type Enqueuer interface {
	// Enqueue stores all the tasks or, with an error, none. Two kinds of tasks are left out and reported as a [Duplicate]
	// in their place, and keep no other task from being stored:
	//
	//   - one whose ID belongs to a stored task, to one whose result is still kept, or to a task before it in the call;
	//     and, if it has an IDFor, one whose ID an earlier task with an IDFor still keeps;
	//   - one whose UniqueKey is held by a task of its name, which may be an earlier life of its own; unless its OnHeld says
	//     otherwise.
	//
	// It keeps nothing of a task that it reports.
	//
	// When Enqueue has returned, the tasks can be leased, and survive what the engine's Capabilities promise.
	//
	// A task holds its UniqueKey until UniqueFor after it was stored, whatever became of it; or, where UniqueFor is
	// zero, until it is final. It keeps its ID until IDFor after it was stored. A key is freed for the task that holds it alone:
	// the end of one that has lost it to another changes nothing.
	//
	// Where the OnHeld of a task is HeldReplace or HeldBehind, and another one holds its UniqueKey until that is final, it
	// depends on this holder, in one step with what is stored:
	//
	//   - A holder that is pending, or waits by its own HeldBehind, is replaced: the task takes its place under its ID, and is
	//     reported as a [Duplicate] that is Replaced. All that is stored is the task's, its Queue, TTL, OnHeld and CreatedAt too,
	//     but for the ID. Attempts used and lost begin at 0, with no error, State, Progress or stream of the holder's; the event
	//     is [EventEnqueued]. It is due as it would be if it were new, but not later than ReplaceWithin, if it has one, after the
	//     holder became pending and stayed so; where an attempt of the holder was used or lost, that time begins now, and where
	//     the holder waits, when it is pending. A task that is due at once keeps the place in line of a holder that is due. Who
	//     waits for the holder, for its result or its end, goes on to wait, and so does the holder for what it waits for.
	//   - A holder that is under way, because it is leased, or was and has waited by an ActionWait since, goes on without the key.
	//     The task is stored with it; with HeldBehind it waits for the holder in addition, as by a dependency with NeedFinal,
	//     which is among the After of its [TaskInfo] alone.
	//   - One that is a member of a flow, has dependencies of its own or is Manual, and is not under way, is left alone: the task is
	//     a [Duplicate].
	//
	// So a Lease hands out either what was replaced before it, or what is replaced after it as a new task: never both, and never
	// neither. Of two tasks of a call with the same key the later one finds the earlier one as its holder. HeldBehind needs Flows
	// in the Capabilities, and both need Replaces: an engine without them makes the call [ErrInvalid].
	//
	// A task with dependencies (After) waits until all of them have ended. Each is a task that is stored, or whose result is
	// kept, or that stands before it in the call; where that one was left out as a Duplicate, its holder takes its place. With
	// a dependency that is none of these the call fails: the error is [ErrNotFound] and names both tasks. When the last one
	// has ended, and each as the task needs it, the task is pending: in one step with that end, or soon after it, also if the
	// process dies in between. When one has ended otherwise, the task ends as soon, with the result that [DependencyResult]
	// makes, and with it those that need it. So nothing waits for what has ended. A Manual task waits
	// until [TaskQueue].Resolve ends it.
	//
	// A flow is stored whole: tasks of a Flow that has a member already make the call fail with [ErrState], but for those that
	// are left out as Duplicates.
	//
	// The tasks have been validated. A task is due at its RunAt or, where that is zero, its Delay from now. It expires
	// when what is left of its TTL has passed: [Task.Remaining] tells that by the clock of the program that calls. An
	// empty Queue means [DefaultQueue].
	//
	// A caller's open transaction that holds an ID or a UniqueKey delays only those that bring the same one.
	Enqueue(ctx context.Context, tasks []*RawTask) ([]error, error)
}

// TaskQueue is the part of a [Backend] that hands tasks to workers, and where people look after them.
type TaskQueue interface {
	Enqueuer

	// Lease hands out tasks that are due: by the order of the queues in the request, then the higher priority, then
	// the earlier time that they became due, then the order in which they were enqueued. Where none is due, or the
	// queues are paused, it waits until one is, and returns no lease and no error once request.Wait is over. A call
	// whose context ends either hands nothing out, or returns what it handed out without an error.
	//
	// A task that is handed out is running until its lease expires, is settled or is released. When a lease expires,
	// its task is due again after a pause that is random, so that tasks which were lost together do not come back
	// together: below a second after the first loss, and about twice as long after each further one, up to a minute.
	// An attempt that had started is lost then: it counts as used, and in [Lease].Lost. One that had not started is not
	// used. A task whose TTL has passed is never handed out: it becomes expired, with the result that [ExpiredResult]
	// makes, at the latest when it would be handed out, or when its result is asked for. A row that cannot be read is
	// not handed out: its task fails for good, with an error that says so.
	//
	// Where tasks of a queue have lanes, these take turns: the next task is one of the lane that was served longest ago. A lane is
	// served when one of its tasks is handed out; and when a task of it becomes due while none of it is ready or running, so that
	// it comes after those that wait. The tasks without a lane are one lane more. Within a lane the order is the queue's. A lane
	// that has no task of Names among its first ones may be passed over, and keeps its turn.
	//
	// A queue's [Limit] holds for all workers together. No more tasks are handed out than its Running and its Rate permit, and no
	// more of a lane than its EachLane does; those of other lanes take their places. What runs is what has a lease that has not
	// ended: by a settlement, a cancel, or its time. Of a queue whose limit bounds how many run, nothing is handed out ahead. A
	// call that waits gets a task as soon as a lease has ended, a rate or a Hold permits one, or the limit has changed. A task
	// that is over a limit stays ready; no attempt is used, and no event written.
	Lease(ctx context.Context, request LeaseRequest) ([]Lease, error)

	// Start starts the attempts of leases that were taken ahead, before their handlers run: from now on they count. A
	// lease that has expired or was settled is reported as [ErrLeaseLost], one whose task was cancelled while its result
	// is kept as [ErrCancelled]. A task whose TTL has passed expires instead, which is reported as [ErrExpired]. To start
	// an attempt that has started changes nothing.
	Start(ctx context.Context, leases []LeaseID) ([]error, error)

	// Extend makes each lease end at the given time from now, if that is later. A lease that has expired or was
	// settled is reported as [ErrLeaseLost], one whose task was cancelled while its result is kept as [ErrCancelled].
	Extend(ctx context.Context, leases []LeaseID, by time.Duration) ([]error, error)

	// Note keeps what the holder of each lease has to say of its task. It reports lost leases as Extend does, and as
	// [ErrInvalid] what [Notes.Validate] refuses; of these nothing is kept. When it has returned, the notes survive what the
	// engine's Capabilities promise.
	Note(ctx context.Context, notes []LeaseNotes) ([]error, error)

	// Settle ends each lease as its settlement says. One whose lease has expired, was settled before or whose task was
	// cancelled changes nothing and is reported as [ErrLeaseLost]. One whose result or error the engine cannot store
	// changes nothing and is reported as [ErrInvalid], and so is one with Effects that cannot be: a dependency that is
	// unknown, or that waits for the settled task itself, or a new task of a flow that the settled one is no member of and that
	// has members. The others are done.
	Settle(ctx context.Context, settlements []Settlement) ([]error, error)

	// Resolve ends each Manual task with the result, whose Status is success or failure. It reports [ErrNotFound], and
	// [ErrState] for a task that is final, or that is not Manual. With a result of another status, or one that is invalid,
	// nothing is done, and the error is [ErrInvalid].
	Resolve(ctx context.Context, results []*RawResult) ([]error, error)

	// Cancel ends each task that is not final with the result that [CancelledResult] makes; if it is running, its
	// lease is lost. It reports [ErrNotFound], and [ErrState] for a task that ended in another way. A task that was
	// cancelled before stays so without an error.
	Cancel(ctx context.Context, ids []uuid.UUID) ([]error, error)

	// Revoked blocks until a lease that was handed to the worker is lost because its task was cancelled, and returns
	// the leases for which that is so since the last call returned. A worker calls it from one goroutine.
	Revoked(ctx context.Context, workerID string) ([]LeaseID, error)

	// Requeue begins a new life of each task that is final without success, in one step: it is enqueued again, due now,
	// with the same ID, no attempts used or lost and CreatedAt now, and its result is gone. It holds its UniqueKey as if
	// it were enqueued for the first time: for its UniqueFor from now on. Its State stays; its Progress and its stream are
	// gone. Requeue reports [ErrNotFound], [ErrState] for a task in another state, and a [Duplicate] for one whose UniqueKey
	// is held by another by now, whatever its OnHeld is.
	//
	// A task that has dependencies waits for them again, as far as they have not ended. One of which a dependency has ended,
	// and not as it needs it, is [ErrState]: that one is to be requeued. One whose result is an input of a task that goes on
	// with it is [ErrState], too. With follow, the tasks that a task has ended by not
	// being what they needed are requeued with it, and those that they have ended; one among them whose UniqueKey is held by
	// another stays as it is. They may stand in the call, too.
	Requeue(ctx context.Context, ids []uuid.UUID, follow bool) ([]error, error)

	// CancelFlow ends each member of a flow that is not final, as Cancel does, also those that members enqueue meanwhile, and
	// returns how many. It reports [ErrNotFound] for a flow of which nothing is kept. With an error some may have ended.
	CancelFlow(ctx context.Context, flow uuid.UUID) (int, error)

	// FlowStats returns figures of a flow. [ErrNotFound] as for CancelFlow.
	FlowStats(ctx context.Context, flow uuid.UUID) (FlowStats, error)

	// RunNow makes each pending task due now, whether it waits for its time or for a retry. One that is due already keeps
	// its place. It reports [ErrNotFound], and [ErrState] for a task that is not pending. The queue's order and a pause hold
	// as for every task that is due.
	RunNow(ctx context.Context, ids []uuid.UUID) ([]error, error)

	// Update gives each task another payload, if it is in the state that the update expects, has its name and, where that is
	// given, the Args that it must have. It changes nothing else, but makes the task due now where that is asked for, in one
	// step. It reports [ErrNotFound], [ErrState] for a task in another state, of another name or with other Args, and
	// [ErrInvalid] for a task that its new payload, with what else it has, makes too large. An update that [Update.Validate] refuses makes the
	// whole call [ErrInvalid]. A worker that leases the task after Update has returned gets the new payload.
	Update(ctx context.Context, updates []Update) ([]error, error)

	// Free takes each unique key from the task that holds it, which goes on without it. It reports [ErrNotFound] for a
	// key that nobody holds.
	Free(ctx context.Context, keys []UniqueKey) ([]error, error)

	// Inspect returns what is known of a task now. [ErrNotFound] as for Result.
	Inspect(ctx context.Context, id uuid.UUID) (*TaskInfo, error)

	// List returns tasks page by page, and where the next page begins: empty after the last. A task that is in the
	// state all the time from the first page to the last is in exactly one of them, forwards and with Newest. Pages of one list
	// have the same request but for After and Max. A call looks at [MaxListed] tasks at
	// the most: a page may be short or empty although there is a next one. An unknown After is [ErrInvalid].
	List(ctx context.Context, request ListRequest) (page []*TaskInfo, next string, err error)

	// Stats returns figures of each queue that has tasks, results or a limit, or is paused, in the order of their names. It
	// does not read every task where the engine can avoid it.
	Stats(ctx context.Context) ([]QueueStats, error)

	// Pause keeps the tasks of a queue from being leased, by any process, until Resume. Those that run are not
	// touched, and tasks can be enqueued. To pause or resume twice is no error, nor is an unknown queue.
	Pause(ctx context.Context, queue string) error
	// Resume ends what Pause began, and wakes those who wait.
	Resume(ctx context.Context, queue string) error

	// SetLimit gives a queue another limit. It holds for each Lease that begins after it, and is kept as long as what the
	// engine's Capabilities promise, whether the queue has tasks or not. The zero Limit takes it away. Leases that there are
	// stay. What a rate has been charged stays charged, as far as the new rate can be. An invalid limit is [ErrInvalid], and so
	// is each in an engine without Limits.
	SetLimit(ctx context.Context, queue string, limit Limit) error
}

// ResultStore is the part of a [Backend] that keeps results.
type ResultStore interface {
	// Result returns a task's result as it is now. Before the task is settled its Status is pending or running, its
	// ResultData nil and its Timestamp the time since when it is so. [ErrNotFound] is for an ID that is unknown or
	// whose result's TTL is over.
	Result(ctx context.Context, id uuid.UUID) (*RawResult, error)

	// Await returns a task's result once its status is final, and blocks until then. [ErrNotFound] as for Result, at
	// once. A caller that waits when the task is settled gets the result even if its TTL is zero.
	Await(ctx context.Context, id uuid.UUID) (*RawResult, error)

	// Stream returns what handlers have put into a stream of a task, in the order in which that was kept, after a number.
	// Where there is nothing it waits for something, or for the end of the task, and returns nothing once request.Wait is
	// over. [ErrNotFound] as for Result. The items are kept as long as the task, and gone when it is requeued.
	Stream(ctx context.Context, request StreamRequest) (StreamPage, error)

	// Record keeps final results of tasks that this engine does not queue, each for its TTL from now; see [Mix]. One
	// whose task has a result here stays out and is reported as [ErrDuplicate], one whose task is queued here as
	// [ErrState]. With one that is not final nothing is kept, and the error is [ErrInvalid]. In Stats and List they are
	// of [DefaultQueue].
	Record(ctx context.Context, results []*RawResult) ([]error, error)

	// Forget removes results, and what else is known of their tasks, before their TTL is over. It reports
	// [ErrNotFound], and [ErrState] for a task that is not final, or whose result is an input of one that is kept and has not
	// succeeded. A UniqueKey that is held for a time stays held.
	Forget(ctx context.Context, ids []uuid.UUID) ([]error, error)
}

// EventStore is the part of a [Backend] that keeps events. An engine writes the events of its own tasks, in the same
// transaction as the change of state where it can: [EventEnqueued] for an enqueue, under whatever ID, and a requeue, [EventStarted] for a
// lease, [EventRetried] for a retry, and for a final result the event of its status. A release and an expired lease
// have none. Whether it writes events, and for how long they are kept, is said when it is opened. One that writes none reads
// those that others keep in its store: Append returns [ErrNoEvents], and Events does as long as nobody has ever kept one.
type EventStore interface {
	// Append keeps events of tasks that this engine does not queue; see [Mix]. All or none are kept.
	Append(ctx context.Context, events []*TaskEvent) error

	// Events returns the events after request.After, in the order in which they were kept, and the cursor to go on from.
	// That is the place after the last of them. Where there is none it is request.After, with [CursorLatest] made a place.
	// Of one task they are found without looking at those of others, and where there is none the cursor is the place after the
	// newest event of all, so that it is not lost while others come and go.
	//
	// Where there is none it waits for one, and returns none and no error once request.Wait is over. Nothing is left out
	// between two calls, whoever writes meanwhile: where events after the cursor are gone because their time was over,
	// it fails with [ErrEventsGone]. A cursor of another engine is [ErrInvalid].
	Events(ctx context.Context, request EventsRequest) (events []StoredEvent, next Cursor, err error)
}

// StoredEvent is an event and the cursor after it.
type StoredEvent struct {
	Cursor Cursor
	*TaskEvent
}

// Cursor is a place in the events of one backend: after one of them. It can be stored, and used in another process.
type Cursor string

// Cursors to begin with.
const (
	CursorOldest Cursor = ""  // before the oldest event that is kept
	CursorLatest Cursor = "$" // after the newest event that there is when the call begins
)

// EventsRequest is what [EventStore].Events is asked for.
type EventsRequest struct {
	After Cursor
	Task  uuid.UUID     // of this task only; zero for all
	Max   int           // how many at the most; at least 1
	Wait  time.Duration // how long to wait for a first one; zero returns at once
}

// LeaseRequest is what a worker asks [TaskQueue].Lease for.
type LeaseRequest struct {
	Queues   []string      // where to look, the first first; at least one
	Max      int           // how many tasks at the most; at least 1
	Duration time.Duration // how long the leases last unless extended; positive
	Wait     time.Duration // how long to wait for a first task; zero returns at once
	WorkerID string        // who asks; the name under which Revoked is called

	// Ahead is how many of Max the worker takes ahead of their turn: the last ones. The others start with their lease,
	// all of them where it is zero. It is 0 to Max.
	Ahead int

	// Soon says that what is taken ahead will run so soon that it starts with its lease, too. What was lost before does not.
	Soon bool

	// Limits are how many tasks of each of Queues at the most, in the order of Queues and at least 1 each. Nil is for no
	// limits but Max. With limits no queue stands twice.
	Limits []int

	// Names are the functions that the worker has, nil for all. An engine may prefer tasks of these, as far as it finds
	// them by looking at a small number of others; where it finds none, it hands out what there is.
	Names []string
}

// UniqueKey is a key that one task of a name may hold.
type UniqueKey struct {
	FuncName string
	Key      string
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
	Attempt int       // which attempt this is or will be, 1 for the first
	Started bool      // the attempt has started; false for one that was taken ahead
	Resumed bool      // the task has waited by an [ActionWait]
	Lost    int       // how many of the attempts before it were lost: they had started, and their leases expired
	Expires time.Time // by the backend's clock

	// Deferred is for how long the task has been given back by [ActionDefer], since the first of them in a row: zero for
	// none.
	Deferred time.Duration

	// Waited is for how long the task was due before it was handed out, by the backend's clock. It is not negative.
	Waited time.Duration

	// Inputs are the results of what the task has waited for, in the order of its dependencies: nil for one whose Input is
	// false. After an [ActionWait] these are those of [Effects].After, and Resumed is true.
	Inputs []*RawResult

	State Raw `json:",omitempty"` // what the attempts before have left, nil for nothing
}

// Settlement is how a lease ends.
type Settlement struct {
	LeaseID
	Action Action
	Result *RawResult // with ActionFinish: what to keep, for as long as its TTL; a nil TTL is for ever
	Error  *TaskError // with ActionRetry: why, for people to read

	// Delay is how long from now the task is due again, unless it is finished. It is not negative. Zero means now, but
	// with ActionRelease that the task is due when it was before.
	Delay time.Duration

	// Hold is how long from now no task of the settled one's lane is handed out; of one without a lane, no task of its queue
	// without one. It is not negative. A hold that ends sooner than one before it changes nothing. Engines without Limits
	// ignore it.
	Hold time.Duration

	// Took is for how long the handler ran, for [Monitor].History: of an attempt that is finished or retried. It is not negative.
	Took time.Duration

	// KeepTask keeps the whole task as long as the result by which it has succeeded, to be shown and listed as that of one that has
	// ended otherwise. It changes nothing else: such a task cannot be requeued or updated. A worker sets it for a task with KeepTask.
	KeepTask bool

	// Effects are what else is done if, and only if, the settlement takes effect, in one step with it. Nil is for nothing.
	Effects *Effects
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
	// ActionDefer is ActionRelease for a task that this worker cannot run: [Lease].Deferred tells the next one for how
	// long that has been so. ActionRetry and ActionRelease end it.
	ActionDefer
	// ActionWait makes the task wait for the dependencies in its [Effects], which take the place of those that it had: when
	// they have ended it is leased again, with their results. No attempt is used. Its TTL does not count any more, because
	// it has started. Requeue gives it back the dependencies that it was enqueued with.
	ActionWait
)

// Capabilities tells what an engine does by itself. The conformance suite goes by it, and so may an application.
type Capabilities struct {
	Name         string   // the engine's name in lower case
	Durable      bool     // tasks and results survive the end of the process
	Survives     Survival // what acknowledged work survives, by the settings that were found when it was opened
	Shared       bool     // several processes can use it at once
	Fencing      bool     // a settlement with a lost lease is refused
	AtomicFinish bool     // a result is recorded and its task removed in one step
	Priorities   bool     // tasks with a higher Priority are leased first
	PushLease    bool     // Lease wakes when a task is enqueued, in whatever process; else the engine polls
	PushResult   bool     // Await wakes when a task is settled, in whatever process; else the engine polls
	PushCancel   bool     // Revoked wakes when a task is cancelled, in whatever process; else the engine polls
	Transactions bool     // tasks can be enqueued and settled in a transaction of the caller's: it is a Transactor
	Flows        bool     // tasks wait for tasks: After, Flow and Manual of tasks, Effects but for Notes, Resolve, flows
	Notes        bool     // progress, state and streams of tasks are kept
	Replaces     bool     // tasks take the places and the unique keys of others: OnHeld of tasks, HeldBehind only beside Flows
	Limits       bool     // queues have limits and lanes: SetLimit, Lane of tasks, Hold of settlements
	Events       bool     // events are kept, as the engine was told when it was opened
	AtomicEvents bool     // events are written in one step with what they tell of
	Spread       bool     // its queues live in several engines, each of which has IDs, unique keys and flows of its own: see Route
	MaxTaskSize  int      // the largest args and kwargs together in bytes, 0 for no bound but memory or disk
}

// Survival is what the work survives that a backend has acknowledged. Each includes those before it.
type Survival uint8

// What work can survive, in the order of how much that is.
const (
	SurvivesNothing Survival = iota // it ends with the process
	SurvivesProcess                 // the end of the process, by a crash too
	SurvivesServer                  // a crash of the engine's server process, where it has one
	SurvivesPower                   // a power failure, and a crash of the operating system
	SurvivesMachine                 // the loss of the machine: another one has it
)

var survivalNames = []string{"nothing", "process", "server", "power", "machine"}

// String returns what is survived, in one word.
func (s Survival) String() string {
	if int(s) < len(survivalNames) {
		return survivalNames[s]
	}
	return fmt.Sprintf("Survival(%d)", uint8(s))
}
