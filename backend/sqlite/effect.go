package sqlite

import (
	"database/sql/driver"
	"fmt"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
)

// effect does what a settlement with effects says, or nothing.
func (t *tx) effect(s *settlement) (refused, err error) {
	if len(s.Effects.After) == 0 && !tied(s.enqueue) { // nothing can turn out to be impossible
		return t.settleWith(s)
	}
	refused, err = t.try(func() (error, error) { return t.settleWith(s) })
	return refused, err
}

// settleWith does what a settlement with effects says. It is [impossible] if an effect cannot be, and some of it is done then.
func (t *tx) settleWith(s *settlement) (refused, err error) {
	r, err := t.held(s)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return omniq.ErrLeaseLost, nil
	}
	if err := t.keepNotes(r, &s.Effects.Notes); err != nil {
		return nil, err
	}
	if t.config.retention > 0 {
		for i, e := range s.events {
			if err := t.noteEnvelope(s.Effects.Events[i].TaskID, e); err != nil {
				return nil, err
			}
		}
	}
	j := newJoint()
	if r.ties&tieFlow != 0 {
		if j.grows, err = flowOf(t.q, r.id); err != nil {
			return nil, err
		}
	}
	if s.Action != omniq.ActionWait {
		j.settled = s.TaskID
		if refused, err = t.endPlain(s); refused != nil || err != nil {
			return refused, err
		}
	}
	if err := t.bring(s, j); err != nil {
		return nil, err
	}
	if s.Action == omniq.ActionWait {
		if err := t.holdBack(r.queue, r.lane, s.Hold); err != nil {
			return nil, err
		}
		if err := t.passOn(r, s.Effects.After, j); err != nil {
			return nil, err
		}
	}
	return nil, t.cancelAll(s.Effects.Cancel)
}

// bring stores the tasks that a settlement enqueues. What is taken is left out.
func (t *tx) bring(s *settlement, j *joint) error {
	list := make([]newTask, 0, len(s.enqueue))
	for _, n := range s.enqueue {
		if n.id != s.TaskID {
			list = append(list, n)
		}
	}
	_, err := t.enqueueAll(list, j)
	return asInvalid(err)
}

// asInvalid makes what is [impossible] because of effects [omniq.ErrInvalid].
func asInvalid(err error) error {
	if cannot, ok := err.(impossible); ok {
		return impossible{fmt.Errorf("%w: %w", omniq.ErrInvalid, cannot.error)}
	}
	return err
}

// cancelAll cancels tasks that are not final. The others, and unknown ones, stay.
func (t *tx) cancelAll(ids []uuid.UUID) error {
	for _, id := range ids {
		r, err := t.find(id)
		if err == nil && r != nil {
			err = t.cancel(r)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// held returns the row of the task whose lease a settlement ends, nil if that is lost.
func (t *tx) held(s *settlement) (r *task, err error) {
	err = t.q.query("SELECT "+taskColumns+", task FROM omniq_tasks WHERE id = ? AND token = ? AND wake > ?",
		func(v []driver.Value) error {
			r = new(task)
			r.scan(v)
			return nil
		}, s.TaskID[:], s.token, t.us)
	return r, err
}

// passOn makes a task wait whose lease ends, for the tasks to which it has passed its result on.
func (t *tx) passOn(r *task, after []omniq.Dependency, j *joint) error {
	if err := t.circle(r, after, j); err != nil {
		return asInvalid(err)
	}
	edges, unmet, err := t.edges(r.id, after, j)
	if err != nil {
		return asInvalid(err)
	}
	if _, err := t.q.exec("DELETE FROM omniq_edges WHERE task = ? AND n >= ?", r.id[:], firstWait); err != nil {
		return err
	}
	j.lead(r.id, edges, firstWait)
	if err := t.ties(j); err != nil {
		return err
	}
	if r.started {
		r.attempt--
	}
	r.ties |= tieResumed | tieEdges
	if self, ok := j.deps[r.id]; ok { // it has got followers by the same settlement
		r.ties |= self.ties
	}
	r.token, r.started, r.deadline, r.shunned, r.due = 0, false, nil, nil, t.us
	if unmet != nil {
		return t.block(r, unmet)
	}
	state := stateReady
	if unended(edges) > 0 || r.ties&tieManual != 0 {
		state = stateWaiting
	}
	_, err = t.q.exec(`UPDATE omniq_tasks SET state = ?, due = ?, deadline = NULL, wake = NULL, token = NULL, started = 0, attempt = ?,
		shunned = NULL, since = ?, ties = ? WHERE seq = ?`, state, r.due, r.attempt, t.us, r.ties, r.seq)
	if err != nil {
		return err
	}
	return t.move(r, stateRunning, state)
}
