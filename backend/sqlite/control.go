package sqlite

import (
	"cmp"
	"context"
	"database/sql/driver"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// statusOf are the statuses of the states of tasks that are not final.
var statusOf = [...]omniq.Status{
	stateScheduled: omniq.StatusPending, stateReady: omniq.StatusPending, stateRunning: omniq.StatusRunning,
	stateWaiting: omniq.StatusWaiting,
}

// Cancel ends tasks that are not final: see [omniq.TaskQueue].
func (b *Backend) Cancel(ctx context.Context, ids []uuid.UUID) ([]error, error) {
	ids = slices.Clone(ids)
	return b.each(ctx, len(ids), func(t *tx, i int) (refused, err error) {
		r, err := t.find(ids[i])
		if err != nil {
			return nil, err
		}
		if r == nil {
			if status, err := t.status(ids[i]); status == omniq.StatusCancelled {
				return nil, err
			}
			return t.not("one that is not final", nil, ids[i])
		}
		return nil, t.cancel(r)
	})
}

// cancel ends a task that is not final.
func (t *tx) cancel(r *task) error {
	if r.state == stateRunning {
		_, err := t.q.exec("INSERT OR REPLACE INTO omniq_revoked (worker, id, token, until) VALUES (?, ?, ?, ?)",
			text(r.worker), r.id[:], r.token, r.wake)
		if err != nil {
			return err
		}
		t.revoked[text(r.worker)] = true
	}
	return t.end(r, omniq.StatusCancelled)
}

// status is that of a result that is kept, 0 for none.
func (t *tx) status(id uuid.UUID) (omniq.Status, error) {
	n, err := one(t.q, "SELECT status FROM omniq_results WHERE id = ? AND (expires IS NULL OR expires > ?)", id[:], t.us)
	return omniq.Status(n), err
}

func stateError(status omniq.Status, want string) error {
	return fmt.Errorf("%w: it is %v, want %s", omniq.ErrState, status, want)
}

// Revoked waits for leases of the worker that were lost because their tasks were cancelled, and returns them: see
// [omniq.TaskQueue].
func (b *Backend) Revoked(ctx context.Context, workerID string) ([]omniq.LeaseID, error) {
	if err := engine.CheckWorker(workerID); err != nil {
		return nil, err
	}
	var leases []omniq.LeaseID
	o := &op{worker: workerID, do: func(t *tx) error {
		leases = nil
		err := t.q.query("DELETE FROM omniq_revoked WHERE worker = ? RETURNING id, token", func(v []driver.Value) error {
			leases = append(leases, omniq.LeaseID{TaskID: idOf(v[0]), Token: formatToken(v[1].(int64))})
			return nil
		}, workerID)
		if err == nil && len(leases) == 0 {
			return errPark
		}
		return err
	}}
	gone, err := b.wait(ctx, o, -1)
	switch {
	case err != nil:
		return nil, err
	case gone || len(leases) == 0:
		return nil, contextError(ctx)
	}
	return leases, nil
}

// RunNow makes tasks due now that wait for their time: see [omniq.TaskQueue].
func (b *Backend) RunNow(ctx context.Context, ids []uuid.UUID) ([]error, error) {
	ids = slices.Clone(ids)
	return b.each(ctx, len(ids), func(t *tx, i int) (refused, err error) {
		r, err := t.find(ids[i])
		if err != nil {
			return nil, err
		}
		if r == nil || r.state == stateRunning || r.state == stateWaiting {
			return t.not("a pending one", r, ids[i])
		}
		return nil, t.hasten(r)
	})
}

// hasten makes a pending task due now, unless it is.
func (t *tx) hasten(r *task) error {
	if r.state == stateReady {
		return nil
	}
	state, wake := t.place(t.us, r.deadline)
	_, err := t.q.exec("UPDATE omniq_tasks SET state = ?, due = ?, wake = ? WHERE seq = ?", state, t.us, wake, r.seq)
	if err != nil {
		return err
	}
	return t.move(r, r.state, state)
}

// not says that a task is not in the state that was wanted: it has the row or, if that is nil, a result or nothing.
func (t *tx) not(want string, r *task, id uuid.UUID) (refused, err error) {
	if r != nil {
		return stateError(statusOf[r.state], want), nil
	}
	status, err := t.status(id)
	switch {
	case err != nil:
		return nil, err
	case status == 0:
		return omniq.ErrNotFound, nil
	}
	return stateError(status, want), nil
}

// Update gives tasks another payload: see [omniq.TaskQueue].
func (b *Backend) Update(ctx context.Context, updates []omniq.Update) ([]error, error) {
	updates = slices.Clone(updates)
	if err := engine.CheckUpdates(updates); err != nil {
		return nil, err
	}
	return b.each(ctx, len(updates), func(t *tx, i int) (refused, err error) { return t.update(&updates[i]) })
}

func (t *tx) update(u *omniq.Update) (refused, err error) {
	r, err := t.find(u.ID)
	if err != nil {
		return nil, err
	}
	statement, envelope := "UPDATE omniq_tasks SET task = ? WHERE id = ?", ""
	switch {
	case r == nil && u.Status.Final():
		statement = "UPDATE omniq_results SET task = ? WHERE id = ?"
		err = t.q.query("SELECT task FROM omniq_results WHERE id = ? AND status = ? AND task IS NOT NULL AND (expires IS NULL OR expires > ?)",
			func(v []driver.Value) error { envelope = text(v[0]); return nil }, u.ID[:], int64(u.Status), t.us)
		if err != nil {
			return nil, err
		}
	case r != nil && statusOf[r.state] == u.Status:
		envelope = r.envelope
	}
	if envelope == "" {
		return t.not("one that is "+u.Status.String(), r, u.ID)
	}
	updated, refused := engine.Updated([]byte(envelope), u)
	if refused != nil {
		return refused, nil
	}
	_, err = t.q.exec(statement, string(updated), u.ID[:])
	if err == nil && u.Due {
		err = t.hasten(r)
	}
	return nil, err
}

// Free takes unique keys from the tasks that hold them: see [omniq.TaskQueue].
func (b *Backend) Free(ctx context.Context, keys []omniq.UniqueKey) ([]error, error) {
	keys = slices.Clone(keys)
	if err := engine.CheckKeys(keys); err != nil {
		return nil, err
	}
	return b.each(ctx, len(keys), func(t *tx, i int) (refused, err error) {
		n, err := t.q.exec("DELETE FROM omniq_unique WHERE name = ? AND key = ? AND (until IS NULL OR until > ?)",
			keys[i].FuncName, keys[i].Key, t.us)
		if err == nil && n == 0 {
			return omniq.ErrNotFound, nil
		}
		return nil, err
	})
}

// Pause keeps the tasks of a queue from being leased: see [omniq.TaskQueue].
func (b *Backend) Pause(ctx context.Context, queue string) error {
	return b.setPaused(ctx, queue, "INSERT INTO omniq_paused (queue) VALUES (?) ON CONFLICT DO NOTHING")
}

// Resume lets the tasks of a queue be leased again: see [omniq.TaskQueue].
func (b *Backend) Resume(ctx context.Context, queue string) error {
	return b.setPaused(ctx, queue, "DELETE FROM omniq_paused WHERE queue = ?")
}

func (b *Backend) setPaused(ctx context.Context, queue, q string) error {
	queue = cmp.Or(queue, omniq.DefaultQueue)
	if err := engine.CheckQueue(queue); err != nil {
		return err
	}
	return b.write(ctx, func(t *tx) error {
		b.w.paused = nil
		t.ready[queue] = true // or it may be
		_, err := t.q.exec(q, queue)
		return err
	})
}
