package memory

import (
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
)

// held is what a task is told whose unique key is held: nil if it can have the key. The plan, of what is done before, may be nil.
func (b *Backend) held(t *omniq.RawTask, p *plan, now time.Time) error {
	key := keyOf(t)
	id, taken := b.holder(key, now)
	if !taken {
		return nil
	}
	timed := !b.holds.keys[key].until.IsZero()
	switch {
	case timed:
	case p != nil && p.ending[id] == omniq.ActionFinish:
		return nil
	case t.OnHeld != omniq.HeldRefuse:
		e := b.tasks[id]
		if p != nil && p.lost[id] || p.underWay(e) {
			return nil
		}
		return omniq.Duplicate{ID: t.ID, Holder: id, Replaced: !e.task.Tied()}
	}
	return omniq.Duplicate{ID: t.ID, Holder: id}
}

// underWay reports whether an attempt of a task goes on, if only by waiting for those to which it has handed over.
func (p *plan) underWay(e *entry) bool {
	resumed := e.links != nil && e.links.resumed
	if p != nil {
		switch action, settled := p.ending[e.id]; {
		case !settled:
		case action == omniq.ActionFinish:
			return false
		default:
			return resumed || action == omniq.ActionWait
		}
	}
	return resumed || e.status == omniq.StatusRunning
}

// before returns the task that has the unique key of one that takes its place or the key: nil for none.
func (b *Backend) before(t *omniq.RawTask, now time.Time) *entry {
	if t.OnHeld == omniq.HeldRefuse {
		return nil
	}
	id, taken := b.holder(keyOf(t), now)
	if !taken {
		return nil
	}
	return b.tasks[id]
}

// replace makes a task that is not under way another one, under its ID.
func (b *Backend) replace(e *entry, by *omniq.RawTask, now time.Time) {
	t := *by
	t.ID = e.id
	b.coming.drop(e)
	was, l := e.queue, e.queue.lane(e.task.Lane, now)
	l.aside++ // it is not to be forgotten, nor to lose its turn, before the task is back
	ready := e.place >= 0
	was.drop(e, now)
	e.queue = b.queue(t.Queue)
	was.counts[e.status]--
	e.queue.counts[e.status]++
	b.release(was)
	if e.attempt > 0 {
		e.since = now
	}
	e.attempt, e.trouble, e.worker = 0, nil, ""
	e.notes.clear()
	e.ends = time.Time{}
	if left, ok := t.Remaining(); ok {
		e.ends = b.clock.now().Add(left)
	}
	again := ready && e.queue == was && e.task.Lane == t.Lane
	e.due, e.task = e.dueAs(&t, now), &t
	l.aside--
	if again && !e.due.After(now) {
		was.put(l, e, now)
	} else {
		was.arrange(l, now)
	}
	b.note(e, omniq.EventEnqueued, 0, "", nil, now)
	if e.status == omniq.StatusWaiting {
		b.stay(e, now)
		return
	}
	b.pend(e, now)
}

// dueAs is when a task is due as another one.
func (e *entry) dueAs(t *omniq.RawTask, now time.Time) time.Time {
	due := t.RunAt
	if due.IsZero() {
		due = now.Add(t.Delay)
	}
	if e.status == omniq.StatusWaiting {
		return due
	}
	if latest := e.since.Add(t.ReplaceWithin); t.ReplaceWithin > 0 && due.After(latest) {
		due = latest
	}
	if !due.After(now) && e.due.Before(due) {
		due = e.due // its place in line
	}
	return due
}

// behind are the dependencies of a task that waits for the one whose key it takes, nil for none.
func behind(t *omniq.RawTask, holder *entry) []omniq.Dependency {
	if holder == nil || t.OnHeld != omniq.HeldBehind {
		return nil
	}
	return []omniq.Dependency{{ID: holder.id, Need: omniq.NeedFinal}}
}

// circle returns one of the tasks that another is to wait for, and that waits for it: none if there is no such.
func (p *plan) circle(e *entry, after []omniq.Dependency) (uuid.UUID, bool) {
	if len(after) == 0 {
		return uuid.Nil, false
	}
	waits := make(map[uuid.UUID]bool)
	if e.links != nil {
		for _, f := range e.links.followers {
			if f.edge.open && f.result == nil && p.b.tasks[f.id] == f.entry {
				waits[f.id] = true
			}
		}
	}
	for id, t := range p.tasks {
		if t.behind == e.id {
			waits[id] = true
		}
	}
	for _, d := range after {
		if id := p.at(d.ID); waits[id] {
			return id, true
		}
	}
	return uuid.Nil, false
}
