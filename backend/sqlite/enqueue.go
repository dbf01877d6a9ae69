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
	deadline  driver.Value
	uniqueKey driver.Value
	uniqueFor time.Duration
	envelope  string
}

// encode is done by the caller of a method, so that the writer has less to do.
func encode(t *omniq.RawTask) (n newTask, err error) {
	buf, err := t.AppendJSON(make([]byte, 0, 256+len(t.Args)+len(t.Kwargs)))
	if err != nil {
		return n, fmt.Errorf("%w: sqlite: task %v: %w", omniq.ErrInvalid, t.ID, err)
	}
	n = newTask{
		id: t.ID, name: t.FuncName, queue: cmp.Or(t.Queue, omniq.DefaultQueue), priority: int64(t.Priority),
		runAt: t.RunAt, uniqueFor: t.UniqueFor, envelope: string(buf),
	}
	if deadline, ok := t.Deadline(); ok {
		n.deadline = micros(deadline)
	}
	if t.UniqueKey != "" {
		n.uniqueKey = t.UniqueKey
	}
	return n, nil
}

func encodeAll(tasks []*omniq.RawTask) ([]newTask, error) {
	list := make([]newTask, len(tasks))
	for i, t := range tasks {
		n, err := encode(t)
		if err != nil {
			return nil, err
		}
		list[i] = n
	}
	return list, nil
}

// Enqueue implements [omniq.TaskQueue].
func (b *Backend) Enqueue(ctx context.Context, tasks []*omniq.RawTask) ([]error, error) {
	list, err := encodeAll(tasks)
	if err != nil {
		return nil, err
	}
	return b.each(ctx, len(list), func(t *tx, i int) (error, error) { return t.enqueue(&list[i]) })
}

// each does one write of n items. The second error of do is one of the database.
func (b *Backend) each(ctx context.Context, n int, do func(t *tx, i int) (error, error)) ([]error, error) {
	var errs []error
	err := b.write(ctx, func(t *tx) error {
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
	})
	if err != nil {
		return nil, err
	}
	return errs, nil
}

// enqueue stores a task, or says why not.
func (t *tx) enqueue(n *newTask) (refused, err error) {
	if n.uniqueKey != nil {
		taken, err := one(t.q, `SELECT EXISTS (SELECT 1 FROM omniq_tasks WHERE id = ?1) OR
			EXISTS (SELECT 1 FROM omniq_results WHERE id = ?1 AND (expires IS NULL OR expires > ?2))`, n.id[:], t.us)
		if err != nil {
			return nil, err
		}
		if taken != 0 {
			return omniq.Duplicate{ID: n.id, Holder: n.id}, nil
		}
		holder, held, err := t.hold(n)
		if err != nil {
			return nil, err
		}
		if held {
			return omniq.Duplicate{ID: n.id, Holder: holder}, nil
		}
	}
	return t.insert(n)
}

// insert stores a task that holds its unique key.
func (t *tx) insert(n *newTask) (refused, err error) {
	due := t.us
	if !n.runAt.IsZero() {
		due = micros(n.runAt)
	}
	state, wake := t.place(due, n.deadline)
	const q = `INSERT INTO omniq_tasks
		(id, name, queue, priority, due, deadline, state, wake, attempt, since, unique_key, task)
		SELECT ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?
		WHERE NOT EXISTS (SELECT 1 FROM omniq_results WHERE id = ? AND (expires IS NULL OR expires > ?))
		ON CONFLICT (id) DO NOTHING`
	stored, err := t.q.exec(q, n.id[:], n.name, n.queue, n.priority, due, n.deadline, state, wake, t.us, n.uniqueKey,
		n.envelope, n.id[:], t.us)
	if err != nil {
		return nil, err
	}
	if stored == 0 {
		return omniq.Duplicate{ID: n.id, Holder: n.id}, nil
	}
	t.add(n.queue, state, 1)
	if state == stateReady {
		t.ready[n.queue] = true
	}
	return nil, t.note(omniq.EventEnqueued, n.id, n.queue, nil, 0, nil)
}

// hold gives the task its unique key, or tells who has it.
func (t *tx) hold(n *newTask) (holder uuid.UUID, held bool, err error) {
	err = t.q.query("SELECT id FROM omniq_unique WHERE name = ? AND key = ? AND (until IS NULL OR until > ?)",
		func(v []driver.Value) error { holder, held = idOf(v[0]), true; return nil }, n.name, n.uniqueKey, t.us)
	if err != nil || held {
		return holder, held, err
	}
	var until driver.Value
	if n.uniqueFor > 0 {
		until = t.us + microseconds(n.uniqueFor)
	}
	_, err = t.q.exec("INSERT OR REPLACE INTO omniq_unique (name, key, id, until) VALUES (?, ?, ?, ?)",
		n.name, n.uniqueKey, n.id[:], until)
	return holder, false, err
}
