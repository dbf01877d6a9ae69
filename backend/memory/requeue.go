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
	r := requeue{
		b: b, now: now, follow: follow, asked: make(map[*entry]bool), unmet: make(map[*entry]int), why: make(map[*entry]error),
		again: make(map[*entry]bool), keys: make(map[uniqueKey]uuid.UUID),
	}
	for _, id := range ids {
		if e := b.task(id, now); e != nil && e.result != nil && e.task != nil && e.status != omniq.StatusSuccess {
			r.asked[e] = true
		}
	}
	for _, id := range ids {
		if e := b.tasks[id]; e != nil && r.asked[e] && r.count(e) == 0 {
			r.add(e)
		}
	}
	var errs []error
	for i, id := range ids {
		if err := r.answer(id); err != nil {
			errs = engine.Report(errs, len(ids), i, err)
		}
	}
	for _, e := range r.order {
		e.again(b, now)
	}
	for _, e := range r.order {
		t := *e.task
		t.CreatedAt, t.RunAt, t.Delay = wire(now), time.Time{}, 0
		b.begins(e, &t, now)
	}
	return errs, nil
}

// requeue is one call of Requeue.
type requeue struct {
	b      *Backend
	now    time.Time
	follow bool
	asked  map[*entry]bool         // tasks of the call that are final without success
	unmet  map[*entry]int          // how many of what they need have ended otherwise, and are not requeued
	why    map[*entry]error        // tasks that could be requeued but for these
	order  []*entry                // tasks that are requeued
	again  map[*entry]bool         // the same ones; false for one that was answered
	keys   map[uniqueKey]uuid.UUID // their unique keys
}

// count returns how many of what a task needs have ended otherwise, and are not requeued. It counts them once.
func (r *requeue) count(e *entry) int {
	n, ok := r.unmet[e]
	if !ok && e.links != nil {
		for i := range e.links.own {
			if d := &e.links.own[i]; d.unmet() && !r.requeued(d.dep) {
				n++
			}
		}
		r.unmet[e] = n
	}
	return n
}

func (r *requeue) requeued(e *entry) bool {
	_, ok := r.again[e]
	return ok
}

// unmet reports whether what an edge leads to has ended otherwise than is needed.
func (d *edge) unmet() bool { return d.dep.result != nil && !d.need.Met(d.dep.status) }

// add requeues a task, and those that are asked for, or follow, and need nothing else then.
func (r *requeue) add(e *entry) {
	for next := []*entry{e}; len(next) > 0; {
		e, next = next[len(next)-1], next[:len(next)-1]
		if r.requeued(e) || r.why[e] != nil {
			continue
		}
		if err := r.obstacle(e); err != nil {
			r.why[e] = err
			continue
		}
		r.order = append(r.order, e)
		r.again[e] = true
		if e.links == nil {
			continue
		}
		for _, f := range e.links.followers {
			if r.wants(f) {
				next = append(next, f.entry)
			}
		}
	}
}

// wants reports whether a follower of a task that is requeued is to be requeued, too.
func (r *requeue) wants(f follower) bool {
	if f.result == nil || f.edge.past || r.b.tasks[f.id] != f.entry || f.edge.need == omniq.NeedFinal {
		return false // it goes on, or has ended for another reason
	}
	if !r.asked[f.entry] && !(r.follow && f.links.blocked) {
		return false
	}
	_, counted := r.unmet[f.entry]
	n := r.count(f.entry)
	if counted && f.edge.first {
		n--
		r.unmet[f.entry] = n
	}
	return n == 0
}

// obstacle is why a task cannot be requeued that needs nothing which has ended otherwise.
func (r *requeue) obstacle(e *entry) error {
	if f := r.b.user(e); f != nil {
		return fmt.Errorf("%w: its result is an input of task %v, which is %v: it can be requeued when that one has ended",
			omniq.ErrState, f.id, f.status)
	}
	if e.task.UniqueKey == "" {
		return nil
	}
	key := keyOf(e.task)
	holder, taken := r.keys[key]
	if !taken {
		holder, taken = r.b.holder(key, r.now)
	}
	if taken && holder != e.id {
		return omniq.Duplicate{ID: e.id, Holder: holder}
	}
	r.keys[key] = e.id
	return nil
}

// answer is what becomes of a task of the call.
func (r *requeue) answer(id uuid.UUID) error {
	e := r.b.tasks[id]
	if e == nil {
		return omniq.ErrNotFound
	}
	again, ok := r.again[e]
	switch {
	case again:
		r.again[e] = false
		return nil
	case ok:
		return fmt.Errorf("%w: it stands in the call twice, and is requeued once", omniq.ErrState)
	case !r.asked[e]:
		return state(e, "one that is final without success")
	case r.why[e] != nil:
		return r.why[e]
	}
	for i := range e.links.own {
		if d := &e.links.own[i]; d.unmet() && !r.requeued(d.dep) {
			return fmt.Errorf("%w: it needs task %v, which is %v: requeue that one", omniq.ErrState, d.dep.id, d.dep.status)
		}
	}
	return state(e, "one that can be requeued")
}

// again ends what a task has come to.
func (e *entry) again(b *Backend, now time.Time) {
	b.going.drop(e)
	e.result, e.attempt, e.trouble, e.worker = nil, 0, nil, ""
	e.notes.renew()
	if l := e.links; l != nil {
		b.leave(e, now)
		l.after, l.open, l.resumed, l.blocked, l.over = nil, 0, false, false, false
	}
	if e.task.TTL != nil {
		e.ends = now.Add(*e.task.TTL)
	}
}
