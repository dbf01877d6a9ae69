package sqlite

import (
	"cmp"
	"context"
	"database/sql/driver"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// newTask is what is stored of a task.
type newTask struct {
	id        uuid.UUID
	name      string
	queue     string
	priority  int64
	runAt     time.Time
	delay     time.Duration
	ttl       *time.Duration
	createdAt time.Time // for what is left of the TTL
	uniqueKey driver.Value
	lane      driver.Value
	uniqueFor time.Duration
	idFor     time.Duration
	onHeld    omniq.OnHeld
	within    time.Duration // see ReplaceWithin
	envelope  string

	after []omniq.Dependency
	ties  int64
	flow  uuid.UUID
	waits bool // for others, or to be resolved
}

// encode is done by the caller of a method, so that the writer has less to do.
func encode(t *omniq.RawTask) (n newTask, err error) {
	buf, err := t.AppendJSON(make([]byte, 0, 256+len(t.Args)+len(t.Kwargs)))
	if err != nil {
		return n, fmt.Errorf("%w: sqlite: task %v: %w", omniq.ErrInvalid, t.ID, err)
	}
	n = newTask{
		id: t.ID, name: t.FuncName, queue: cmp.Or(t.Queue, omniq.DefaultQueue), priority: int64(t.Priority),
		runAt: t.RunAt, delay: t.Delay, createdAt: t.CreatedAt, uniqueFor: t.UniqueFor, idFor: t.IDFor, envelope: string(buf),
		onHeld: t.OnHeld, within: t.ReplaceWithin,
	}
	if t.TTL != nil {
		n.ttl = new(*t.TTL)
	}
	if t.UniqueKey != "" {
		n.uniqueKey = t.UniqueKey
	}
	if t.Lane != "" {
		n.lane = t.Lane
	}
	if t.Flow != uuid.Nil {
		n.flow, n.ties = t.Flow, tieFlow
	}
	if len(t.After) > 0 {
		n.after = t.After
		n.ties |= tieEdges
	}
	if t.Manual {
		n.ties |= tieManual
	}
	return n, nil
}

func encodeAll(tasks []*omniq.RawTask) ([]newTask, error) {
	if err := engine.CheckTasks(tasks); err != nil {
		return nil, err
	}
	list := make([]newTask, len(tasks))
	for i, t := range tasks {
		n, err := encode(t)
		if err != nil {
			return nil, err
		}
		list[i] = n
	}
	if tied(list) {
		follow(list, nil)
	}
	return list, nil
}

// Enqueue stores tasks, all or none: see [omniq.TaskQueue].
func (b *Backend) Enqueue(ctx context.Context, tasks []*omniq.RawTask) ([]error, error) {
	list, err := encodeAll(tasks)
	if err != nil {
		return nil, err
	}
	var errs []error
	var refused error
	err = b.write(ctx, func(t *tx) (err error) {
		if !tied(list) {
			errs, err = t.enqueueEach(context.Background(), list)
			return err
		}
		refused, err = t.try(func() (_, err error) { errs, err = t.enqueueAll(list, newJoint()); return nil, err })
		return err
	})
	if err != nil { // before a look at refused: see write
		return nil, err
	}
	if refused != nil {
		return nil, refused
	}
	return errs, nil
}

// enqueueEach stores tasks, none of which is tied to others, and returns why some are refused: nil for none. It looks at the context between
// them, and the transaction is to be taken back if it has ended.
func (t *tx) enqueueEach(ctx context.Context, list []newTask) (errs []error, err error) {
	for i := 0; i < len(list); {
		if ctx.Err() != nil {
			return nil, contextError(ctx)
		}
		plain := plainTasks(list[i:])
		if len(plain) > 1 {
			n, all, err := t.insertSome(plain)
			if err != nil {
				return nil, err
			}
			if all {
				i += n
				continue
			}
			plain = plain[:n]
		}
		for range max(len(plain), 1) { // one at a time, to see which is refused
			refused, err := t.enqueue(&list[i])
			if err != nil {
				return nil, err
			}
			if refused != nil {
				errs = engine.Report(errs, len(list), i, refused)
			}
			i++
		}
	}
	return errs, nil
}

// plainTasks are the first tasks that nothing but their ID can keep from being stored, as many as one statement stores.
func plainTasks(list []newTask) []newTask {
	size := 0
	for i := range list {
		n := &list[i]
		size += len(n.envelope)
		if n.onHeld != omniq.HeldRefuse || n.uniqueKey != nil || n.idFor > 0 || i == atOnce || i > 0 && size > bytesAtOnce {
			return list[:i]
		}
	}
	return list
}

// each does one write of n items. The second error of do is one of the database.
func (b *Backend) each(ctx context.Context, n int, do func(t *tx, i int) (error, error)) ([]error, error) {
	return b.eachOf(ctx, &op{}, n, do)
}

// eachOf is each with an op that has no work yet.
func (b *Backend) eachOf(ctx context.Context, o *op, n int, do func(t *tx, i int) (error, error)) ([]error, error) {
	var errs []error
	o.do = func(t *tx) error {
		errs = nil
		for i := range n {
			refused, err := do(t, i)
			if err != nil {
				return err
			}
			if refused != nil {
				errs = engine.Report(errs, n, i, refused)
			}
		}
		return nil
	}
	if err := b.end(ctx, o); err != nil {
		return nil, err
	}
	return errs, nil
}

// enqueue stores a task, or says why not.
func (t *tx) enqueue(n *newTask) (refused, err error) {
	if n.onHeld != omniq.HeldRefuse {
		return t.overtake(n, nil)
	}
	if n.uniqueKey != nil || n.idFor > 0 {
		refused, err := t.taken(n)
		if refused != nil || err != nil {
			return refused, err
		}
	}
	return t.insert(n, t.remaining(n))
}

// remaining is what is left of the TTL of a task.
func (t *tx) remaining(n *newTask) time.Duration {
	remaining, ok := (&omniq.RawTask{TTL: n.ttl, CreatedAt: n.createdAt}).Remaining()
	if ok {
		remaining += t.config.clock().Sub(t.now) // it counts from now, not from when the transaction began
	}
	return remaining
}

// taken says who has the task's ID or its unique key.
func (t *tx) taken(n *newTask) (refused, err error) {
	held, err := t.known(n.id)
	if err != nil {
		return nil, err
	}
	return t.takenBy(n, held)
}

// takenIn is taken for a task of a call.
func (t *tx) takenIn(n *newTask, j *joint) (refused, err error) {
	if j.known[n.id] {
		return t.taken(n)
	}
	return t.takenBy(n, false)
}

// takenBy is taken, for a task whose ID is held by a task or not.
func (t *tx) takenBy(n *newTask, held bool) (refused, err error) {
	holder := n.id
	if !held && n.idFor > 0 {
		if _, held, err = t.holder("", n.id.String()); err != nil {
			return nil, err
		}
	}
	if !held && n.uniqueKey != nil {
		if holder, held, err = t.holder(n.name, n.uniqueKey); err != nil {
			return nil, err
		}
	}
	if held {
		return omniq.Duplicate{ID: n.id, Holder: holder}, nil
	}
	return nil, nil
}

// known reports whether there is a task, or its result.
func (t *tx) known(id uuid.UUID) (bool, error) {
	n, err := one(t.q, `SELECT EXISTS (SELECT 1 FROM omniq_tasks WHERE id = ?1) OR
		EXISTS (SELECT 1 FROM omniq_results WHERE id = ?1 AND (expires IS NULL OR expires > ?2))`, id[:], t.us)
	return n != 0, err
}

var findKnown = newMany("WITH asked (id) AS (VALUES ", 1, `) SELECT id FROM asked a WHERE EXISTS (SELECT 1 FROM omniq_tasks t WHERE t.id = a.id)
	OR EXISTS (SELECT 1 FROM omniq_results r WHERE r.id = a.id AND (r.expires IS NULL OR r.expires > ?))`)

// knownOf finds those that are known of the tasks of a call.
func (t *tx) knownOf(list []newTask, known map[uuid.UUID]bool) error {
	ids := make([]driver.Value, len(list))
	for i := range list {
		ids[i] = list[i].id[:]
	}
	return findKnown.query(t.q, func(v []driver.Value) error { known[idOf(v[0])] = true; return nil }, ids, t.us)
}

// addTasks stores rows of tasks, unless their ID is known, or something is kept beside the result of their last life.
var addTasks = newMany("WITH new (id, name, queue, priority, due, deadline, state, wake, unique_key, task, ties, delay, lane) AS (VALUES ", 13, `)
	INSERT INTO omniq_tasks (id, name, queue, priority, due, deadline, state, wake, unique_key, task, ties, delay, lane, attempt, since)
	SELECT *, 0, ? FROM new
	WHERE NOT EXISTS (SELECT 1 FROM omniq_results r WHERE r.id = new.id AND (r.expires IS NULL OR r.expires > ? OR r.ties <> 0))
	ON CONFLICT (id) DO NOTHING`)

// appendTask appends the row of a task. remaining is what is left of its TTL.
func (t *tx) appendTask(values []driver.Value, n *newTask, remaining time.Duration) (row []driver.Value, state int64) {
	due := t.us + microseconds(n.delay)
	if !n.runAt.IsZero() {
		due = micros(n.runAt)
	}
	var deadline, delay driver.Value
	if n.ttl != nil {
		deadline = t.us + microseconds(remaining)
	}
	state, wake := t.place(due, deadline)
	if n.waits {
		state, wake = stateWaiting, deadline
		if n.runAt.IsZero() && n.delay > 0 {
			delay = microseconds(n.delay)
		}
	}
	return append(values, n.id[:], n.name, n.queue, n.priority, due, deadline, state, wake, n.uniqueKey, n.envelope, n.ties,
		delay, n.lane), state
}

// insertSome stores the first ones of some tasks that have no unique key, unless one of them cannot be stored: then none, and all is false.
// n is how many they are.
func (t *tx) insertSome(list []newTask) (n int, all bool, err error) {
	_, n = addTasks.first(len(list))
	list = list[:n]
	values, states := make([]driver.Value, 0, addTasks.width*n), make([]int64, n)
	for i := range list {
		values, states[i] = t.appendTask(values, &list[i], t.remaining(&list[i]))
	}
	n, all, err = addTasks.addNew(t.q, "omniq_tasks", values, t.us, t.us)
	if err != nil || !all {
		return n, false, err
	}
	for i := range list {
		if err := t.inserted(&list[i], states[i]); err != nil {
			return n, false, err
		}
	}
	return n, true, nil
}

// insert stores a task, which gets its unique key, and keeps its ID. remaining is what is left of its TTL.
func (t *tx) insert(n *newTask, remaining time.Duration) (refused, err error) {
	row, state := t.appendTask(nil, n, remaining)
	for {
		_, stored, err := addTasks.addNew(t.q, "omniq_tasks", row, t.us, t.us)
		if err != nil {
			return nil, err
		}
		if stored {
			break
		}
		known, err := t.known(n.id)
		if err != nil {
			return nil, err
		}
		if known {
			return omniq.Duplicate{ID: n.id, Holder: n.id}, nil
		}
		if err := t.drop(n.id); err != nil { // with what was kept of an earlier life beside its result, whose time is over
			return nil, err
		}
	}
	if err := t.inserted(n, state); err != nil {
		return nil, err
	}
	if n.uniqueKey != nil {
		if err := t.hold(n.name, n.uniqueKey, n.id, n.uniqueFor); err != nil {
			return nil, err
		}
	}
	if n.idFor > 0 {
		if err := t.hold("", n.id.String(), n.id, n.idFor); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// inserted counts a task whose row is stored.
func (t *tx) inserted(n *newTask, state int64) error {
	if err := t.shift(n.queue, n.lane, stateNone, state); err != nil {
		return err
	}
	t.add(n.queue, state, 1)
	if state == stateReady {
		t.ready[n.queue] = true
	}
	return t.note(omniq.EventEnqueued, n.id, n.name, n.queue, nil, 0, nil)
}

// holder tells who has a unique key.
func (t *tx) holder(name string, key driver.Value) (holder uuid.UUID, held bool, err error) {
	err = t.q.query("SELECT id FROM omniq_unique WHERE name = ? AND key = ? AND (until IS NULL OR until > ?)",
		func(v []driver.Value) error { holder, held = idOf(v[0]), true; return nil }, name, key, t.us)
	return holder, held, err
}

// hold gives a task a unique key that nobody else has: for a time or, where that is zero, until it is final.
func (t *tx) hold(name string, key driver.Value, id uuid.UUID, d time.Duration) error {
	var until driver.Value
	if d > 0 {
		until = t.us + microseconds(d)
	}
	_, err := t.q.exec("INSERT OR REPLACE INTO omniq_unique (name, key, id, until) VALUES (?, ?, ?, ?)", name, key, id[:], until)
	return err
}
