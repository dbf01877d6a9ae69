package sqlite

import (
	"database/sql/driver"
	"fmt"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
)

// overtake stores a task, or makes the pending one another that holds its unique key, or says why not. The joint is that of its call, nil
// if none of its tasks is tied to others.
func (t *tx) overtake(n *newTask, j *joint) (refused, err error) {
	if j == nil || j.known[n.id] {
		if known, err := t.known(n.id); known || err != nil {
			return omniq.Duplicate{ID: n.id, Holder: n.id}, err
		}
	}
	holder, timed, err := t.holderOf(n)
	if err != nil {
		return nil, err
	}
	if timed {
		return omniq.Duplicate{ID: n.id, Holder: holder}, nil
	}
	var r *task
	if holder != uuid.Nil {
		if r, err = t.find(holder); err != nil {
			return nil, err
		}
	}
	own := *n // the transaction may be tried again
	switch {
	case r == nil: // nobody, or it has ended just now
		return t.insert(&own, t.remaining(n))
	case r.state == stateRunning || r.ties&tieResumed != 0:
		if n.onHeld != omniq.HeldBehind {
			return t.insert(&own, t.remaining(n))
		}
		own.waits = true
		own.ties |= tieEdges | tieBehind
		if refused, err = t.insert(&own, t.remaining(n)); refused != nil || err != nil {
			return refused, err
		}
		return nil, t.follow(r, n.id, j)
	case r.ties&(tieFlow|tieManual) != 0, r.ties&tieEdges != 0 && r.ties&tieBehind == 0:
		return omniq.Duplicate{ID: n.id, Holder: r.id}, nil
	}
	return omniq.Duplicate{ID: n.id, Holder: r.id, Replaced: true}, t.replace(r, n)
}

// holderOf tells which task holds the unique key of another one, zero for none, and whether it is held for a time.
func (t *tx) holderOf(n *newTask) (holder uuid.UUID, timed bool, err error) {
	err = t.q.query("SELECT id, until FROM omniq_unique WHERE name = ? AND key = ? AND (until IS NULL OR until > ?)",
		func(v []driver.Value) error { holder, timed = idOf(v[0]), v[1] != nil; return nil }, n.name, n.uniqueKey, t.us)
	return holder, timed, err
}

// follow lets a task wait for the end of another.
func (t *tx) follow(r *task, id uuid.UUID, j *joint) error {
	e := omniq.Dependency{ID: r.id, Need: omniq.NeedFinal}
	if j == nil {
		j = newJoint()
	}
	if _, err := t.dependency(e, j); err != nil { // it notes that it is followed, also for a settlement of r itself
		return err
	}
	j.lead(id, []edge{{Dependency: e}}, 0)
	return t.ties(j)
}

// replace makes a task that is not under way another one, under its ID.
func (t *tx) replace(r *task, n *newTask) error {
	due, err := t.dueAs(r, n)
	if err != nil {
		return err
	}
	var deadline, delay driver.Value
	if n.ttl != nil {
		deadline = t.us + microseconds(t.remaining(n))
	}
	state, wake := t.place(due, deadline)
	if r.state == stateWaiting {
		state, wake = stateWaiting, deadline
		if n.runAt.IsZero() && n.delay > 0 {
			delay = microseconds(n.delay)
		}
	}
	if r.ties&tieNotes != 0 {
		for _, q := range []string{"DELETE FROM omniq_notes WHERE id = ?", "DELETE FROM omniq_items WHERE id = ?"} {
			if _, err := t.q.exec(q, r.id[:]); err != nil {
				return err
			}
		}
	}
	const q = `UPDATE omniq_tasks SET queue = ?, priority = ?, due = ?, deadline = ?, state = ?, wake = ?,
		since = CASE WHEN attempt > 0 THEN ? ELSE since END, attempt = 0, lost = 0, shunned = NULL, worker = NULL, error = NULL,
		ties = ?, delay = ?, lane = ?, task = ? WHERE seq = ?`
	_, err = t.q.exec(q, n.queue, n.priority, due, deadline, state, wake, t.us, r.ties&^tieNotes|n.ties, delay, n.lane, n.as(r.id), r.seq)
	if err != nil {
		return err
	}
	if r.queue == n.queue && r.lane == n.lane {
		err = t.shift(r.queue, r.lane, r.state, state)
	} else if err = t.shift(r.queue, r.lane, r.state, stateNone); err == nil {
		err = t.shift(n.queue, n.lane, stateNone, state)
	}
	if err != nil {
		return err
	}
	t.add(r.queue, r.state, -1)
	t.add(n.queue, state, 1)
	if state == stateReady {
		t.ready[n.queue] = true
	}
	return t.note(omniq.EventEnqueued, r.id, n.name, n.queue, nil, 0, nil)
}

// dueAs is when a task is due as another one.
func (t *tx) dueAs(r *task, n *newTask) (due int64, err error) {
	due = t.us + microseconds(n.delay)
	if !n.runAt.IsZero() {
		due = micros(n.runAt)
	}
	if r.state == stateWaiting {
		return due, nil
	}
	if n.within > 0 {
		since := t.us // counted anew after an attempt
		if r.attempt == 0 {
			if since, err = one(t.q, "SELECT since FROM omniq_tasks WHERE seq = ?", r.seq); err != nil {
				return 0, err
			}
		}
		due = min(due, since+microseconds(n.within))
	}
	if due <= t.us {
		due = min(due, r.due) // its place in line
	}
	return due, nil
}

// as is the envelope of a task under the ID of another.
func (n *newTask) as(id uuid.UUID) string {
	const before = `{"id":"`
	return before + id.String() + n.envelope[len(before)+len(uuid.Nil.String()):]
}

// circle is [impossible] if one of the tasks that another is to wait for waits for it.
func (t *tx) circle(r *task, after []omniq.Dependency, j *joint) error {
	ties := r.ties
	if self, ok := j.deps[r.id]; ok {
		ties |= self.ties
	}
	if ties&tieFollowed == 0 || len(after) == 0 {
		return nil
	}
	waits := make(map[uuid.UUID]bool)
	err := t.q.query(`SELECT e.task FROM omniq_edges e CROSS JOIN omniq_tasks t ON t.id = e.task AND t.state = 7
		WHERE e.dep = ? AND e.ended = 0`, func(v []driver.Value) error { waits[idOf(v[0])] = true; return nil }, r.id[:])
	if err != nil {
		return err
	}
	for _, d := range after {
		if holder, ok := j.holders[d.ID]; ok {
			d.ID = holder
		}
		if waits[d.ID] {
			return impossible{fmt.Errorf("task %v is to wait for task %v, which waits for it", r.id, d.ID)}
		}
	}
	return nil
}
