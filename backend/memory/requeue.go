package memory

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// Requeue enqueues tasks again that have ended without success: see [omniq.TaskQueue]. It never blocks.
func (b *Backend) Requeue(ctx context.Context, ids []uuid.UUID, follow bool) ([]error, error) {
	now, err := b.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer b.end()
	r := requeue{b: b, now: now, follow: follow}
	for _, id := range ids {
		if e := b.task(id, now); e != nil && e.links != nil { // others need no order
			r.asked(e)
		}
	}
	var errs []error
	for i, id := range ids {
		if err := r.id(id); err != nil {
			errs = engine.Report(errs, len(ids), i, err)
		}
	}
	return errs, nil
}

// requeue is one call of Requeue.
type requeue struct {
	b      *Backend
	now    time.Time
	follow bool
	ask    map[*entry]bool // tasks that are tied to others: false once it was tried to requeue them because of others
	again  map[*entry]bool // those that were requeued because of others
	unmet  map[*entry]int  // of tasks that others had ended: how many of what they need have ended otherwise
}

func (r *requeue) asked(e *entry) {
	if r.ask == nil {
		r.ask, r.again, r.unmet = make(map[*entry]bool), make(map[*entry]bool), make(map[*entry]int)
	}
	r.ask[e] = true
}

// id requeues a task that was asked for.
func (r *requeue) id(id uuid.UUID) error {
	e := r.b.task(id, r.now)
	if e == nil {
		return omniq.ErrNotFound
	}
	err := r.entry(e)
	delete(r.again, e) // else it could stand twice in the call
	return err
}

// entry requeues a task, after those that it depends on.
func (r *requeue) entry(e *entry) error {
	if r.before(e); r.again[e] {
		return nil
	}
	if err := r.b.requeue(e, r.now); err != nil {
		return err
	}
	if r.follow {
		r.followers(e)
	}
	return nil
}

// before requeues those that a task depends on and that are asked for, too.
func (r *requeue) before(e *entry) {
	if e.links == nil || e.result == nil {
		return
	}
	for _, d := range e.links.own {
		if r.ask[d.dep] {
			r.ask[d.dep] = false
			if r.entry(d.dep) == nil {
				r.again[d.dep] = true
			}
		}
	}
}

// followers requeues the tasks that a task had ended by its own end, and those that they had ended.
func (r *requeue) followers(e *entry) {
	for next := []*entry{e}; len(next) > 0; {
		e, next = next[len(next)-1], next[:len(next)-1]
		if e.links == nil {
			continue
		}
		for _, f := range e.links.followers {
			switch {
			case f.result == nil || !f.links.blocked || r.b.tasks[f.id] != f.entry || f.edge.past || f.edge.need == omniq.NeedFinal:
				continue
			case f.edge.first && r.counted(f.entry):
				r.unmet[f.entry]--
			}
			if r.unmet[f.entry] > 0 {
				continue
			}
			if r.before(f.entry); r.b.requeue(f.entry, r.now) != nil { // before may have come to it
				continue
			}
			r.again[f.entry] = true
			next = append(next, f.entry)
		}
	}
}

// counted reports whether it is known how many of what a task needs have ended otherwise. From now on it is.
func (r *requeue) counted(e *entry) bool {
	if _, ok := r.unmet[e]; ok {
		return true
	}
	n := 0
	for i := range e.links.own {
		if e.links.own[i].unmet() {
			n++
		}
	}
	r.unmet[e] = n
	return false
}

// unmet reports whether what an edge leads to has ended otherwise than is needed.
func (d *edge) unmet() bool { return d.dep.result != nil && !d.need.Met(d.dep.status) }

// requeue begins a new life of a task.
func (b *Backend) requeue(e *entry, now time.Time) error {
	if e.result == nil || e.task == nil {
		return state(e, "one that is final without success")
	}
	if e.links != nil {
		for i := range e.links.own {
			if d := &e.links.own[i]; d.unmet() {
				return fmt.Errorf("%w: it needs task %v, which is %v: requeue that one", omniq.ErrState, d.dep.id, d.dep.status)
			}
		}
	}
	if f := b.user(e); f != nil {
		return fmt.Errorf("%w: its result is an input of task %v, which is %v: it can be requeued when that one has ended",
			omniq.ErrState, f.id, f.status)
	}
	t := *e.task
	t.CreatedAt, t.RunAt, t.Delay = wire(now), time.Time{}, 0
	if t.UniqueKey != "" {
		if holder, taken := b.holder(keyOf(&t), now); taken && holder != e.id {
			return omniq.Duplicate{ID: e.id, Holder: holder}
		}
	}
	b.going.drop(e)
	e.result, e.attempt, e.lost, e.shunned, e.worker = nil, 0, 0, time.Time{}, ""
	e.notes.renew()
	if l := e.links; l != nil {
		b.leave(e, now)
		l.after, l.open, l.resumed, l.blocked, l.over = nil, 0, false, false, false
	}
	if t.TTL != nil {
		e.ends = now.Add(*t.TTL)
	}
	b.begins(e, &t, now)
	return nil
}
