package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// unmet is that a task cannot begin a new life before one that it needs.
type unmet struct {
	dep   uuid.UUID
	state string
}

func (u unmet) Error() string {
	return fmt.Sprintf("%v: it needs task %v, which %s: requeue that one", omniq.ErrState, u.dep, u.state)
}

func (u unmet) Unwrap() error { return omniq.ErrState }

// Requeue enqueues tasks again that have ended without success: see [omniq.TaskQueue].
func (b *Backend) Requeue(ctx context.Context, ids []uuid.UUID, follow bool) ([]error, error) {
	ids = slices.Clone(ids)
	var errs []error
	err := b.write(ctx, func(t *tx) (err error) {
		r := requeuing{tx: t, ids: ids, follow: follow}
		errs, err = r.all()
		return err
	})
	if err != nil {
		return nil, err
	}
	return errs, nil
}

// requeuing is a call of Requeue in a transaction.
type requeuing struct {
	*tx
	ids    []uuid.UUID
	follow bool

	errs  []error
	done  []bool             // which of ids need not be tried
	begun bool               // a task has begun a new life
	place map[uuid.UUID]int  // where IDs are in ids, first; nil before it is needed
	unmet map[uuid.UUID]int  // of tasks that others had ended: how many of what they need have ended otherwise
	again map[uuid.UUID]bool // those that have begun a new life because of others
}

func (r *requeuing) all() ([]error, error) {
	r.done = make([]bool, len(r.ids))
	for r.begun = true; r.begun; { // what was refused may have waited for what has begun since
		r.begun = false
		for i := range r.ids {
			if err := r.inOrder(i); err != nil {
				return nil, err
			}
		}
		for i, err := range r.errs {
			if errors.Is(err, omniq.ErrState) || r.again[r.ids[i]] {
				r.done[i] = false
			}
		}
	}
	if !slices.ContainsFunc(r.errs, func(err error) bool { return err != nil }) {
		return nil, nil
	}
	return r.errs, nil
}

// inOrder requeues one of the tasks, after those in the call that it needs.
func (r *requeuing) inOrder(i int) error {
	for stack := []int{i}; len(stack) > 0; {
		i := stack[len(stack)-1]
		if r.done[i] {
			stack = stack[:len(stack)-1]
			continue
		}
		refused, err := r.one(r.ids[i])
		if err != nil {
			return err
		}
		if u, ok := errors.AsType[unmet](refused); ok {
			if before, ok := r.index(u.dep); ok && !r.done[before] && !slices.Contains(stack, before) {
				stack = append(stack, before)
				continue
			}
		}
		r.done[i] = true
		if refused != nil || r.errs != nil {
			r.errs = engine.Report(r.errs, len(r.ids), i, refused)
		}
	}
	return nil
}

// index is where a task stands in the call.
func (r *requeuing) index(id uuid.UUID) (i int, ok bool) {
	if r.place == nil {
		r.place = make(map[uuid.UUID]int, len(r.ids))
		for i, id := range slices.Backward(r.ids) {
			r.place[id] = i
		}
	}
	i, ok = r.place[id]
	return i, ok
}

// one requeues a task and, if they are to follow, those that it had ended.
func (r *requeuing) one(id uuid.UUID) (refused, err error) {
	if r.again[id] {
		delete(r.again, id) // else it could stand twice in the call
		return nil, nil
	}
	refused, err = r.requeue(id)
	if refused != nil || err != nil {
		return refused, err
	}
	r.begun = true
	if !r.follow {
		return nil, nil
	}
	for begun := []uuid.UUID{id}; len(begun) > 0; {
		blocked, err := r.blocked(begun[0])
		if err != nil {
			return nil, err
		}
		begun = begun[1:]
		for _, id := range blocked {
			if left, err := r.left(id); left > 0 || err != nil {
				if err != nil {
					return nil, err
				}
				continue
			}
			refused, err := r.requeue(id)
			if err != nil {
				return nil, err
			}
			if refused != nil {
				continue
			}
			if r.again == nil {
				r.again = make(map[uuid.UUID]bool)
			}
			r.again[id] = true
			begun = append(begun, id)
		}
	}
	return nil, nil
}

// blocked returns those that need a task, and have ended because of a dependency.
func (t *tx) blocked(id uuid.UUID) (ids []uuid.UUID, err error) {
	const q = `SELECT e.task FROM omniq_edges e INDEXED BY omniq_edges_dep CROSS JOIN omniq_results r ON r.id = e.task
		WHERE e.dep = ? AND e.need = 0 AND r.ties & 32 <> 0 AND (r.expires IS NULL OR r.expires > ?)`
	err = t.q.query(q, func(v []driver.Value) error { ids = append(ids, idOf(v[0])); return nil }, id[:], t.us)
	return ids, err
}

// left is how many of those that a task needs, which others had ended, are still to be requeued: one less each time that one
// of them is. It is not more than there are, so that a task is not looked at as often as it has dependencies.
func (r *requeuing) left(id uuid.UUID) (int, error) {
	if left, ok := r.unmet[id]; ok {
		r.unmet[id] = left - 1
		return left - 1, nil
	}
	n, err := one(r.q, `SELECT count(*) FROM omniq_edges e LEFT JOIN omniq_tasks t ON t.id = e.dep LEFT JOIN omniq_results r ON r.id = e.dep
		WHERE e.task = ? AND e.n < ? AND e.need = 0 AND t.seq IS NULL AND coalesce(r.status, e.ended) <> 3`, id[:], firstWait)
	if err != nil {
		return 0, err
	}
	if r.unmet == nil {
		r.unmet = make(map[uuid.UUID]int)
	}
	r.unmet[id] = int(n)
	return int(n), nil
}

// user returns a task that has not ended and goes on with the result of another one: zero for none.
func (t *tx) user(id uuid.UUID) (by uuid.UUID, status omniq.Status, err error) {
	const q = `SELECT t.id, t.state FROM omniq_edges e INDEXED BY omniq_edges_dep CROSS JOIN omniq_tasks t ON t.id = e.task
		WHERE e.dep = ?1 AND e.ended <> 0 AND e.input = 1 AND (t.ties & 8 <> 0) = (e.n >= ?2) LIMIT 1`
	err = t.q.query(q, func(v []driver.Value) error {
		by, status = idOf(v[0]), statusOf[v[1].(int64)]
		return nil
	}, id[:], firstWait)
	return by, status, err
}

// requeue begins a new life of a task.
func (t *tx) requeue(id uuid.UUID) (refused, err error) {
	r, err := t.find(id)
	if err != nil {
		return nil, err
	}
	const want = "one that is final without success"
	if r != nil {
		return stateError(statusOf[r.state], want), nil
	}
	var status omniq.Status
	var ties int64
	var flow, member driver.Value
	envelope := ""
	err = t.q.query("SELECT status, task, ties, flow, member FROM omniq_results WHERE id = ? AND (expires IS NULL OR expires > ?)",
		func(v []driver.Value) error {
			status, envelope = omniq.Status(v[0].(int64)), text(v[1])
			ties, flow, member = v[2].(int64), v[3], v[4]
			return nil
		}, id[:], t.us)
	switch {
	case err != nil:
		return nil, err
	case status == 0:
		return omniq.ErrNotFound, nil
	case envelope == "":
		return stateError(status, want), nil
	}
	raw := new(omniq.RawTask)
	if err := raw.UnmarshalJSON([]byte(envelope)); err != nil {
		return fmt.Errorf("sqlite: task %v: %w", id, err), nil
	}
	raw.CreatedAt, raw.RunAt, raw.Delay = time.UnixMicro(t.us).UTC(), time.Time{}, 0
	n, err := encode(raw)
	if err != nil {
		return err, nil //nolint:nilerr // it concerns this task alone
	}
	n.ties, n.flow = ties&^(tieResumed|tieBlocked), flow
	n.member, _ = member.(int64)
	edges, refused, err := t.edgesAgain(&n)
	if refused != nil || err != nil {
		return refused, err
	}
	if ties&tieInput != 0 {
		if by, status, err := t.user(id); by != uuid.Nil || err != nil {
			return fmt.Errorf("%w: its result is an input of task %v, which is %v: it can be requeued when that one has ended",
				omniq.ErrState, by, status), err
		}
	}
	if n.uniqueKey != nil {
		holder, held, err := t.holder(n.name, n.uniqueKey)
		if err != nil {
			return nil, err
		}
		if held && holder != id {
			return omniq.Duplicate{ID: id, Holder: holder}, nil
		}
	}
	if _, err := t.dropRow(id); err != nil {
		return nil, err
	}
	if ties != 0 {
		if err := t.renew(&n, edges); err != nil {
			return nil, err
		}
	}
	remaining := time.Duration(0)
	if n.ttl != nil { // all of it is left
		remaining = *n.ttl
	}
	return t.insert(&n, remaining)
}

// edgesAgain finds how the dependencies have ended that a task was enqueued with, those that have changed since it was told,
// and whether it has to wait.
func (t *tx) edgesAgain(n *newTask) (changed map[int64]int64, refused, err error) {
	n.waits = n.ties&tieManual != 0
	if n.ties&tieEdges == 0 {
		return nil, nil, nil
	}
	const q = `SELECT e.n, e.dep, e.need, e.ended, t.seq, r.status FROM omniq_edges e
		LEFT JOIN omniq_tasks t ON t.id = e.dep LEFT JOIN omniq_results r ON r.id = e.dep
		WHERE e.task = ? AND e.n < ? ORDER BY e.n`
	changed = make(map[int64]int64)
	err = t.q.query(q, func(v []driver.Value) error {
		ended, known := v[3].(int64), true
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
			refused = unmet{idOf(v[1]), "is gone"}
		case ended != 0 && !omniq.Need(v[2].(int64)).Met(omniq.Status(ended)):
			refused = unmet{idOf(v[1]), fmt.Sprintf("is %v", omniq.Status(ended))}
		}
		n.waits = n.waits || ended == 0
		if ended != v[3].(int64) {
			changed[v[0].(int64)] = ended
		}
		return nil
	}, n.id[:], firstWait)
	return changed, refused, err
}

// renew makes what is kept beside a task ready for its next life.
func (t *tx) renew(n *newTask, changed map[int64]int64) error {
	for i, ended := range changed {
		if _, err := t.q.exec("UPDATE omniq_edges SET ended = ? WHERE task = ? AND n = ?", ended, n.id[:], i); err != nil {
			return err
		}
	}
	if _, err := t.q.exec("DELETE FROM omniq_edges WHERE task = ? AND n >= ?", n.id[:], firstWait); err != nil {
		return err
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
