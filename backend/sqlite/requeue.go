package sqlite

import (
	"context"
	"database/sql/driver"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
)

// Requeue enqueues tasks again that have ended without success: see [omniq.TaskQueue].
func (b *Backend) Requeue(ctx context.Context, ids []uuid.UUID, follow bool) ([]error, error) {
	ids = slices.Clone(ids)
	var r requeuing
	return b.eachOf(ctx, &op{}, len(ids), func(t *tx, i int) (error, error) {
		if i == 0 {
			r = requeuing{tx: t, ids: ids, follow: follow}
		}
		return r.id(ids[i])
	})
}

// requeuing is a call of Requeue in a transaction.
type requeuing struct {
	*tx
	ids    []uuid.UUID
	follow bool

	asked map[uuid.UUID]bool // ids: false once one was requeued because of others, or could not be; nil before it is needed
	again map[uuid.UUID]bool // those that were requeued because of others
	under map[uuid.UUID]bool // those for whose sake others are requeued before them: an ID that has come again can close a circle
	unmet map[uuid.UUID]int  // of tasks that others had ended: how many of what they need have ended otherwise
}

// id requeues a task that was asked for.
func (r *requeuing) id(id uuid.UUID) (refused, err error) {
	refused, err = r.one(id)
	delete(r.again, id) // else it could stand twice in the call
	return refused, err
}

// one requeues a task, after those that it depends on and, if they are to follow, before those that it had ended.
func (r *requeuing) one(id uuid.UUID) (refused, err error) {
	if r.again[id] {
		return nil, nil
	}
	e, refused, err := r.failedTask(id)
	if refused != nil || err != nil {
		return refused, err
	}
	if err := r.before(e); r.again[id] || err != nil {
		return nil, err
	}
	refused, err = r.requeue(e)
	if refused == nil && err == nil && r.follow {
		err = r.followers(id)
	}
	return refused, err
}

// before requeues those that a task depends on and that are asked for, too.
func (r *requeuing) before(e *endedTask) error {
	if e.ties&tieEdges == 0 || len(r.ids) == 1 {
		return nil
	}
	if r.asked == nil {
		r.asked, r.again = make(map[uuid.UUID]bool), make(map[uuid.UUID]bool)
		for _, id := range r.ids {
			r.asked[id] = true
		}
	}
	var deps []uuid.UUID
	err := r.q.query("SELECT dep FROM omniq_edges WHERE task = ? AND n < ? ORDER BY n", func(v []driver.Value) error {
		if id := idOf(v[0]); r.asked[id] {
			deps = append(deps, id)
		}
		return nil
	}, e.id[:], firstWait)
	if err != nil {
		return err
	}
	if r.under == nil {
		r.under = make(map[uuid.UUID]bool)
	}
	r.under[e.id] = true
	defer delete(r.under, e.id)
	for _, id := range deps {
		if !r.asked[id] || r.under[id] {
			continue
		}
		refused, err := r.one(id)
		if err != nil {
			return err
		}
		r.asked[id] = false // only now: what follows from one that it depends on may need it
		if refused == nil {
			r.again[id] = true
		}
	}
	return nil
}

// followers requeues the tasks that a task had ended by its own end, and those that they had ended.
func (r *requeuing) followers(id uuid.UUID) error {
	for next := []uuid.UUID{id}; len(next) > 0; {
		last := len(next) - 1
		blocked, err := r.blocked(next[last])
		if err != nil {
			return err
		}
		next = next[:last]
		for _, b := range blocked {
			if begun, err := r.revive(b); err != nil {
				return err
			} else if begun {
				next = append(next, b.id)
			}
		}
	}
	return nil
}

// revive requeues a task that others had ended, once all of them are requeued, and reports whether it has done so.
func (r *requeuing) revive(b blockedTask) (begun bool, err error) {
	if left, err := r.left(b); left > 0 || err != nil {
		return false, err
	}
	e, refused, err := r.failedTask(b.id)
	if refused != nil || err != nil {
		return false, err
	}
	under := r.under
	r.under = nil // what waits for one that is requeued now can be done for another's sake
	err = r.before(e)
	r.under = under
	if r.again[b.id] || err != nil {
		return false, err
	}
	if refused, err := r.requeue(e); refused != nil || err != nil {
		return false, err
	}
	if r.again == nil {
		r.again = make(map[uuid.UUID]bool)
	}
	r.again[b.id] = true
	return true, nil
}

// blockedTask is one that has ended because of a dependency.
type blockedTask struct {
	id  uuid.UUID
	own bool // by one that it was enqueued with
}

// blocked returns those that need a task, and have ended because of a dependency.
func (t *tx) blocked(id uuid.UUID) (list []blockedTask, err error) {
	const q = `SELECT e.task, e.n FROM omniq_edges e CROSS JOIN omniq_results r ON r.id = e.task
		WHERE e.dep = ? AND e.need = 0 AND r.ties & 32 <> 0 AND (r.expires IS NULL OR r.expires > ?)`
	err = t.q.query(q, func(v []driver.Value) error {
		list = append(list, blockedTask{idOf(v[0]), v[1].(int64) < firstWait})
		return nil
	}, id[:], t.us)
	return list, err
}

// left is how many of those that a task needs are still to be requeued: one less each time that one of them is. It is counted
// once, or a task would be looked at as often as it has dependencies, and all of them each time.
func (r *requeuing) left(b blockedTask) (int, error) {
	left, counted := r.unmet[b.id]
	if counted || !b.own {
		if b.own {
			left--
			r.unmet[b.id] = left
		}
		return left, nil
	}
	const q = `SELECT count(*) FROM omniq_edges e LEFT JOIN omniq_tasks t ON t.id = e.dep LEFT JOIN omniq_results r ON r.id = e.dep
		WHERE e.task = ? AND e.n < ? AND e.need = 0 AND t.seq IS NULL AND coalesce(r.status, e.ended) <> 3`
	n, err := one(r.q, q, b.id[:], firstWait)
	if err != nil {
		return 0, err
	}
	if r.unmet == nil {
		r.unmet = make(map[uuid.UUID]int)
	}
	r.unmet[b.id] = int(n)
	return int(n), nil
}

// endedTask is one that is final without success.
type endedTask struct {
	id       uuid.UUID
	envelope string
	ties     int64
}

// failedTask returns a task that is final without success, or says why it is not.
func (t *tx) failedTask(id uuid.UUID) (e *endedTask, refused, err error) {
	r, err := t.find(id)
	if err != nil {
		return nil, nil, err
	}
	const want = "one that is final without success"
	if r != nil {
		return nil, stateError(statusOf[r.state], want), nil
	}
	var status omniq.Status
	e = &endedTask{id: id}
	err = t.q.query("SELECT status, task, ties FROM omniq_results WHERE id = ? AND (expires IS NULL OR expires > ?)",
		func(v []driver.Value) error {
			status, e.envelope = omniq.Status(v[0].(int64)), text(v[1])
			e.ties = v[2].(int64)
			return nil
		}, id[:], t.us)
	switch {
	case err != nil:
		return nil, nil, err
	case status == 0:
		return nil, omniq.ErrNotFound, nil
	case status == omniq.StatusSuccess || e.envelope == "":
		return nil, stateError(status, want), nil
	}
	return e, nil, nil
}

// user returns a task that has not ended and goes on with the result of another one: zero for none.
func (t *tx) user(id uuid.UUID) (by uuid.UUID, status omniq.Status, err error) {
	const q = `SELECT t.id, t.state FROM omniq_edges e CROSS JOIN omniq_tasks t ON t.id = e.task
		WHERE e.dep = ?1 AND e.ended <> 0 AND e.input = 1 AND (t.ties & 8 <> 0) = (e.n >= ?2) LIMIT 1`
	err = t.q.query(q, func(v []driver.Value) error {
		by, status = idOf(v[0]), statusOf[v[1].(int64)]
		return nil
	}, id[:], firstWait)
	return by, status, err
}

// requeue begins a new life of a task.
func (t *tx) requeue(e *endedTask) (refused, err error) {
	raw := new(omniq.RawTask)
	if err := raw.UnmarshalJSON([]byte(e.envelope)); err != nil {
		return fmt.Errorf("sqlite: task %v: %w", e.id, err), nil
	}
	raw.CreatedAt, raw.RunAt, raw.Delay = time.UnixMicro(t.us).UTC(), time.Time{}, 0
	n, err := encode(raw)
	if err != nil {
		return err, nil //nolint:nilerr // it concerns this task alone
	}
	n.ties = e.ties &^ (tieResumed | tieBlocked)
	again, refused, err := t.edgesAgain(&n)
	if refused != nil || err != nil {
		return refused, err
	}
	if e.ties&tieInput != 0 {
		if by, status, err := t.user(e.id); by != uuid.Nil || err != nil {
			return fmt.Errorf("%w: its result is an input of task %v, which is %v: it can be requeued when that one has ended",
				omniq.ErrState, by, status), err
		}
	}
	if n.uniqueKey != nil {
		holder, held, err := t.holder(n.name, n.uniqueKey)
		if err != nil {
			return nil, err
		}
		if held && holder != e.id {
			return omniq.Duplicate{ID: e.id, Holder: holder}, nil
		}
	}
	if _, err := t.dropRow(e.id); err != nil {
		return nil, err
	}
	if e.ties != 0 {
		if err := t.renew(&n, again); err != nil {
			return nil, err
		}
	}
	remaining := time.Duration(0)
	if n.ttl != nil { // all of it is left
		remaining = *n.ttl
	}
	return t.insert(&n, remaining)
}

// edgesAgain is what a task has to do with the dependencies that it was enqueued with, in its next life.
type edgesAgain struct {
	changed map[int64]int64 // how those have ended now, by number, that had ended otherwise when the task was told
	inputs  bool            // there are inputs that have succeeded, of which nothing is noted
	open    int64           // how many have not ended
}

// edgesAgain finds how the dependencies have ended that a task was enqueued with, and whether it has to wait.
func (t *tx) edgesAgain(n *newTask) (a edgesAgain, refused, err error) {
	n.waits = n.ties&tieManual != 0
	if n.ties&tieEdges == 0 {
		return a, nil, nil
	}
	const q = `SELECT e.n, e.dep, e.need, e.ended, t.seq, r.status, e.input FROM omniq_edges e
		LEFT JOIN omniq_tasks t ON t.id = e.dep LEFT JOIN omniq_results r ON r.id = e.dep
		WHERE e.task = ? AND e.n < ? ORDER BY e.n`
	a.changed = make(map[int64]int64)
	err = t.q.query(q, func(v []driver.Value) error {
		before := v[3].(int64)
		ended, known := before, true
		switch result, ok := v[5].(int64); {
		case v[4] != nil:
			ended = 0
		case ok:
			ended = result
		default: // it is gone, and has ended as the task was told, if it was
			known = ended != 0
		}
		switch {
		case refused != nil:
		case !known:
			refused = unmet(idOf(v[1]), "gone")
		case ended != 0 && !omniq.Need(v[2].(int64)).Met(omniq.Status(ended)):
			refused = unmet(idOf(v[1]), omniq.Status(ended).String())
		}
		switch {
		case ended == 0:
			a.open++
		case before == 0 && omniq.Status(ended) == omniq.StatusSuccess && v[6] == int64(1):
			a.inputs = true
			return nil
		}
		if ended != before {
			a.changed[v[0].(int64)] = ended
		}
		return nil
	}, n.id[:], firstWait)
	n.waits = n.waits || a.open > 0
	return a, refused, err
}

// unmet is that a task cannot begin a new life before one that it needs.
func unmet(dep uuid.UUID, status string) error {
	return fmt.Errorf("%w: it needs task %v, which is %s: requeue that one", omniq.ErrState, dep, status)
}

// renew makes what is kept beside a task ready for its next life.
func (t *tx) renew(n *newTask, a edgesAgain) error {
	for i, ended := range a.changed {
		if _, err := t.q.exec("UPDATE omniq_edges SET ended = ? WHERE task = ? AND n = ?", ended, n.id[:], i); err != nil {
			return err
		}
	}
	if a.inputs { // who is still to tell of one of them does not count it again
		const q = `UPDATE omniq_edges SET ended = 3 WHERE task = ? AND n < ? AND ended = 0 AND input = 1
			AND EXISTS (SELECT 1 FROM omniq_results r WHERE r.id = dep AND r.status = 3)
			AND NOT EXISTS (SELECT 1 FROM omniq_tasks t WHERE t.id = dep)`
		if _, err := t.q.exec(q, n.id[:], firstWait); err != nil {
			return err
		}
	}
	if _, err := t.q.exec("DELETE FROM omniq_edges WHERE task = ? AND n >= ?", n.id[:], firstWait); err != nil {
		return err
	}
	if n.ties&tieEdges != 0 {
		if err := addWaits.exec(t.q, []driver.Value{n.id[:], a.open}); err != nil {
			return err
		}
	}
	if n.ties&tieNotes == 0 {
		return nil
	}
	if _, err := t.q.exec("DELETE FROM omniq_notes WHERE id = ? AND kind = ?", n.id[:], noteProgress); err != nil {
		return err
	}
	_, err := t.q.exec("DELETE FROM omniq_items WHERE id = ?", n.id[:])
	return err
}
