// Package memory is a backend inside the process. It needs nothing and loses what it holds when the process ends.
package memory

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// Backend is an [omniq.Backend] in memory. It holds what is queued, what is running, results until their TTL is over, unique
// keys and events for their time, what was done for a day, and revocations until the worker asks or the lease would have ended; nothing else grows
// with use. It has no goroutine of its own. Its clock is the system's when it was made, and goes on evenly even if that is
// set meanwhile.
type Backend struct {
	closed chan struct{} // closed by Close
	clock  clock

	mu     sync.Mutex
	tasks  map[uuid.UUID]*entry
	most   most // that were in tasks
	queues map[string]*queue
	seq    uint64 // of enqueued tasks
	tokens uint64 // of leases
	coming agenda // what happens to tasks that are not final
	going  agenda // when results go
	timer  *time.Timer
	wake   time.Time // when the timer fires, zero for not at all

	holds   holds
	revoked revocations
	events  events
	ended   uint64 // tasks that have become final

	workers map[string]omniq.WorkerInfo // that have beaten, by ID
	history history

	flows     map[uuid.UUID]*flow
	mostFlows most      // that were in flows
	fallout   []fallout // tasks that have ended, whose followers are to be told

	shelves [omniq.StatusWaiting + 1]shelf // tasks by status; at 0 none
	row     uint64                         // the last number in them
}

// entry is a task, or what has become of it.
type entry struct {
	id      uuid.UUID
	task    *omniq.RawTask // nil when it has succeeded
	name    string         // of its function
	queue   *queue
	status  omniq.Status
	started bool             // the attempt of its lease has
	inLine  bool             // its place is in the line of its rank
	since   time.Time        // when it got its status
	result  *omniq.RawResult // nil until it is final
	trouble *trouble         // nil for none
	outcome *outcome         // nil if nobody waits
	due     time.Time
	ends    time.Time // when its TTL is over, zero for never
	seq     uint64    // of its enqueue or, when it is final, of its end
	attempt int       // those that have started and were not taken back
	token   uint64    // of its lease, 0 for none
	worker  string    // who has or had its lease
	place   int       // in its rank of the queue's ready tasks, -1 outside
	index   int       // in the agenda, -1 outside
	at      time.Time // when the next thing happens to it by itself, if it is in an agenda
	row     uint64    // its number in the shelf of its status
	links   *links    // what ties it to other tasks, nil for nothing
	notes   *notes    // what its handlers have left, nil for nothing
}

// outcome is what those get who wait for a task's result. It is not the entry's, which may begin a new life before they
// have looked.
type outcome struct {
	done   chan struct{} // closed when result is there
	result *omniq.RawResult
}

// Option sets something of a backend.
type Option func(*Backend)

// WithEvents keeps events, each for the given time, which is positive. Without it there are none.
func WithEvents(retention time.Duration) Option {
	return func(b *Backend) { b.events.retention = retention }
}

// New returns an empty backend.
func New(opts ...Option) *Backend {
	b := &Backend{
		closed: make(chan struct{}),
		clock:  newClock(0),
		tasks:  make(map[uuid.UUID]*entry),
		queues: make(map[string]*queue),
	}
	for _, o := range opts {
		o(b)
	}
	return b
}

// Capabilities says that nothing outlives the process, and everything else is there.
func (b *Backend) Capabilities() omniq.Capabilities {
	return omniq.Capabilities{
		Name: "memory", Fencing: true, AtomicFinish: true, Priorities: true, PushLease: true, PushResult: true,
		PushCancel: true, Transactions: true, Flows: true, Notes: true, Replaces: true, Limits: true, Events: b.events.on(), AtomicEvents: true,
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
	b.tasks, b.queues, b.coming, b.going, b.flows, b.fallout, b.workers = nil, nil, nil, nil, nil, nil, nil
	clear(b.shelves[:])
	b.holds, b.revoked, b.events, b.history = holds{}, revocations{}, events{retention: b.events.retention}, history{}
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
	now = b.clock.now()
	b.advance(now)
	return now, nil
}

// end does a part of what follows from the ends of tasks, sets the timer for what comes next, and unlocks.
func (b *Backend) end() {
	if len(b.fallout) > 0 {
		b.tell(b.clock.now())
	}
	b.setTimer()
	b.mu.Unlock()
}

func contextError(ctx context.Context) error { return engine.ContextError(ctx, "memory") }

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: memory: "+format, append([]any{omniq.ErrInvalid}, args...)...)
}

// Enqueue stores tasks, all or none: see [omniq.TaskQueue]. It never blocks.
func (b *Backend) Enqueue(ctx context.Context, tasks []*omniq.RawTask) ([]error, error) {
	if err := engine.CheckTasks(tasks); err != nil {
		return nil, err
	}
	now, err := b.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer b.end()
	if !plain(tasks) {
		return b.enqueue(tasks, now)
	}
	var errs []error
	for i, t := range tasks {
		err := b.conflict(t, nil, now)
		if err != nil {
			errs = engine.Report(errs, len(tasks), i, err)
		}
		if admitted(err) {
			b.add(t, nil, now)
		}
	}
	return errs, nil
}

// enqueue stores tasks that are tied to others, all or none.
func (b *Backend) enqueue(tasks []*omniq.RawTask, now time.Time) ([]error, error) {
	p := b.plan(len(tasks))
	errs, err := p.addAll(tasks, now)
	if err != nil {
		return nil, err
	}
	p.pin()
	defer p.unpin(now)
	for i, t := range tasks {
		if errs == nil || admitted(errs[i]) {
			b.add(t, p, now)
		}
	}
	return errs, nil
}

// admitted reports whether a task is to be added of which conflict has said this: it may take the place of another.
func admitted(err error) bool {
	if err == nil {
		return true
	}
	d, ok := err.(omniq.Duplicate) //nolint:errorlint // it is conflict's own
	return ok && d.Replaced
}

// conflict is that something has the task's ID or unique key. The plan, of what is done before, may be nil.
func (b *Backend) conflict(t *omniq.RawTask, p *plan, now time.Time) error {
	if b.known(t, now) {
		return omniq.Duplicate{ID: t.ID, Holder: t.ID}
	}
	if t.UniqueKey == "" {
		return nil
	}
	return b.held(t, p, now)
}

// known reports whether something has the ID of a task.
func (b *Backend) known(t *omniq.RawTask, now time.Time) bool {
	taken := b.task(t.ID, now) != nil
	if !taken && t.IDFor > 0 {
		_, taken = b.holder(idKey(t.ID), now)
	}
	return taken
}

// add stores a task, or makes the one another that holds its unique key. The plan, which knows what it depends on, may be nil for one
// that is tied to none.
func (b *Backend) add(t *omniq.RawTask, p *plan, now time.Time) {
	holder := b.before(t, now)
	if holder != nil && !(*plan)(nil).underWay(holder) {
		b.replace(holder, t, now)
		return
	}
	e := &entry{id: t.ID, name: t.FuncName, queue: b.queue(t.Queue), place: -1, index: -1}
	b.tasks[t.ID] = e
	if left, ok := t.Remaining(); ok {
		e.ends = b.clock.now().Add(left) // now may be a little ago
	}
	if t.Flow != uuid.Nil {
		b.join(e, t.Flow)
	}
	if len(t.After) > 0 {
		e.link().own = e.edges(t.After, true, p.entry)
	}
	if after := behind(t, holder); after != nil {
		e.link().own = e.edges(after, true, func(uuid.UUID) *entry { return holder })
	}
	if p != nil {
		p.stored(e)
	}
	b.begins(e, t, now)
}

// begins begins a life of a task, with its end set.
func (b *Backend) begins(e *entry, t *omniq.RawTask, now time.Time) {
	if t.UniqueKey != "" {
		b.holds.take(keyOf(t), t.ID, t.UniqueFor, now)
	}
	if t.IDFor > 0 {
		b.holds.take(idKey(t.ID), t.ID, t.IDFor, now)
	}
	b.seq++
	e.task, e.seq, e.due = t, b.seq, t.RunAt
	if e.due.IsZero() {
		e.due = now.Add(t.Delay)
	}
	b.note(e, omniq.EventEnqueued, 0, "", nil, now)
	switch {
	case e.links != nil && e.links.own != nil:
		b.waits(e, e.await(e.links.own), now)
	case t.Manual:
		b.stay(e, now)
	default:
		b.pend(e, now)
	}
}

// Result returns a task's result as it is now: see [omniq.ResultStore]. It never blocks.
func (b *Backend) Result(ctx context.Context, id uuid.UUID) (*omniq.RawResult, error) {
	now, err := b.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer b.end()
	e := b.task(id, now)
	switch {
	case e == nil:
		return nil, omniq.ErrNotFound
	case e.result != nil:
		return e.result, nil
	}
	return &omniq.RawResult{
		TaskID: id, Status: e.status, Timestamp: wire(e.since), Attempts: e.attempt,
	}, nil
}

// Await waits for a task's result: see [omniq.ResultStore].
func (b *Backend) Await(ctx context.Context, id uuid.UUID) (*omniq.RawResult, error) {
	now, err := b.begin(ctx)
	if err != nil {
		return nil, err
	}
	e := b.task(id, now)
	if e == nil || e.result != nil {
		defer b.end()
		if e == nil {
			return nil, omniq.ErrNotFound
		}
		return e.result, nil
	}
	if e.outcome == nil {
		e.outcome = &outcome{done: make(chan struct{})}
	}
	o := e.outcome
	b.end()
	select {
	case <-o.done:
		return o.result, nil
	case <-b.closed:
		return nil, omniq.ErrClosed
	case <-ctx.Done():
		return nil, contextError(ctx)
	}
}

// finish records the result of a task, tells those who wait for it, and forgets the task if it has succeeded.
func (b *Backend) finish(e *entry, r *omniq.RawResult, now time.Time) {
	b.coming.drop(e)
	e.queue.drop(e, now)
	if e.task.UniqueKey != "" {
		b.holds.release(e.task)
	}
	worker := "" // it ends on none unless one has its lease
	if e.token != 0 {
		worker = e.worker
	}
	b.ended++
	e.token, e.started, e.result, e.seq = 0, false, r, b.ended
	if e.trouble != nil {
		e.trouble.failure = nil
	}
	b.become(e, r.Status, now)
	if r.Status == omniq.StatusSuccess {
		e.task = nil
		if e.notes != nil {
			e.notes.state = nil
		}
	}
	e.notes.wake()
	if e.links != nil && len(e.links.followers) > 0 {
		b.fallout = append(b.fallout, fallout{e, e.links.followers})
	}
	b.note(e, engine.EventOf[r.Status], e.attempt, worker, r.Error, now)
	if e.outcome != nil {
		e.outcome.result = r
		close(e.outcome.done)
		e.outcome = nil
	}
	if r.Status == omniq.StatusSuccess {
		b.free(e, now)
	}
	b.keep(e, now)
}

// become gives a task another status.
func (b *Backend) become(e *entry, s omniq.Status, now time.Time) {
	was := e.status
	b.quit(e)
	e.count(s, 1)
	e.status, e.since = s, now
	b.row++
	e.row = b.row
	b.shelves[s].add(e, e.row)
	if was == omniq.StatusRunning && s != omniq.StatusPending {
		e.queue.ran(e.task.Lane, -1, now)
	}
	if s == omniq.StatusRunning {
		e.queue.ran(e.task.Lane, 1, now)
	}
}

// quit takes a task out of its status, if it has one.
func (b *Backend) quit(e *entry) {
	if e.status != 0 {
		e.count(e.status, -1)
		b.shelves[e.status].remove(e.row)
	}
}

// keep keeps a result for as long as its TTL.
func (b *Backend) keep(e *entry, now time.Time) {
	switch ttl := e.result.TTL; {
	case ttl == nil:
	case *ttl <= 0:
		b.over(e, now)
	default:
		b.going.put(e, now.Add(*ttl))
	}
}

// over ends the time of a result: the task is forgotten, unless others need the result.
func (b *Backend) over(e *entry, now time.Time) {
	if e.needed() {
		b.going.drop(e)
		e.links.over = true
		return
	}
	b.remove(e, now)
}

// remove forgets a task that is final.
func (b *Backend) remove(e *entry, now time.Time) {
	b.going.drop(e)
	b.quit(e)
	b.part(e)
	b.release(e.queue)
	b.tasks = without(b.tasks, e.id, &b.most)
	b.untie(e, now)
}

// Record keeps results of tasks that another engine queues: see [omniq.ResultStore]. It never blocks.
func (b *Backend) Record(ctx context.Context, results []*omniq.RawResult) ([]error, error) {
	if err := engine.CheckResults(results); err != nil {
		return nil, err
	}
	now, err := b.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer b.end()
	var errs []error
	for i, r := range results {
		if e := b.task(r.TaskID, now); e != nil {
			why := omniq.ErrState
			if e.result != nil {
				why = omniq.ErrDuplicate
			}
			errs = engine.Report(errs, len(results), i, why)
			continue
		}
		b.ended++
		e := &entry{
			id: r.TaskID, queue: b.queue(omniq.DefaultQueue), result: r, attempt: r.Attempts, seq: b.ended,
			place: -1, index: -1,
		}
		b.become(e, r.Status, now)
		b.tasks[e.id] = e
		b.keep(e, now)
	}
	return errs, nil
}

// Forget removes results before their time is over: see [omniq.ResultStore]. It never blocks.
func (b *Backend) Forget(ctx context.Context, ids []uuid.UUID) ([]error, error) {
	return b.each(ctx, ids, func(e *entry, now time.Time) error {
		if e.result == nil {
			return state(e, "one that is final")
		}
		if e.needed() {
			return fmt.Errorf("%w: its result is an input of a task that has not succeeded", omniq.ErrState)
		}
		b.remove(e, now)
		return nil
	})
}

// each does something with each of the tasks.
func (b *Backend) each(ctx context.Context, ids []uuid.UUID, do func(*entry, time.Time) error) ([]error, error) {
	now, err := b.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer b.end()
	var errs []error
	for i, id := range ids {
		err := omniq.ErrNotFound
		if e := b.task(id, now); e != nil {
			err = do(e, now)
		}
		if err != nil {
			errs = engine.Report(errs, len(ids), i, err)
		}
	}
	return errs, nil
}

func state(e *entry, want string) error {
	return fmt.Errorf("%w: it is %v, want %s", omniq.ErrState, e.status, want)
}

// wire is a time as results, events and what is shown have it.
func wire(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }
