package memory

import (
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
)

// links are what ties a task to others. A task that is in no flow, waits for none and for which none waits has no links.
type links struct {
	flow      *flow      // nil for none
	member    int        // its number in the flow
	own       []edge     // what it was enqueued to wait for
	after     []edge     // what it waits for now, or has waited for: own, unless it has passed its result on
	open      int        // of after: those that have not ended
	resumed   bool       // it waits, or has waited, because it has passed its result on
	blocked   bool       // it has ended because of one of after
	over      bool       // its result is kept only as an input of others
	followers []follower // those that wait for it, have waited, or did so in an earlier life
}

// edge is a dependency of a task. What it leads to stays there when it is forgotten.
type edge struct {
	dep   *entry
	need  omniq.Need
	in    bool // its result is an input
	first bool // it is one that the task was enqueued with
	open  bool // it is counted as one that has not ended
	past  bool // others have taken its place
}

// follower is a task, and its edge to the one that it follows.
type follower struct {
	*entry
	edge *edge
}

// link returns the task's links, which are made for the first one.
func (e *entry) link() *links {
	if e.links == nil {
		e.links = new(links)
	}
	return e.links
}

// edges are those of a task to dependencies that are there.
func (b *Backend) edges(e *entry, after []omniq.Dependency, first bool, at func(uuid.UUID) *entry) []edge {
	edges := make([]edge, len(after))
	for i, d := range after {
		edges[i] = edge{dep: at(d.ID), need: d.Need, in: d.Input, first: first}
		l := edges[i].dep.link()
		if len(l.followers) == cap(l.followers) {
			l.followers = slices.DeleteFunc(l.followers, func(f follower) bool { return f.edge.past || b.tasks[f.id] != f.entry })
		}
		l.followers = append(l.followers, follower{e, &edges[i]})
	}
	return edges
}

// await makes the task wait for what its edges lead to, as far as that has not ended. It returns one that has ended otherwise
// than the task needs it, nil if there is none.
func (e *entry) await(edges []edge) (unmet *entry) {
	l := e.link()
	l.after, l.open, l.blocked = edges, 0, false
	for i := range edges {
		d := &edges[i]
		d.open = d.dep.result == nil
		switch {
		case d.open:
			l.open++
		case !d.need.Met(d.dep.status) && unmet == nil:
			unmet = d.dep
		}
	}
	return unmet
}

// leave ends that the task follows those to which it has passed its result on.
func (l *links) leave() {
	if l.resumed {
		for i := range l.after {
			l.after[i].open, l.after[i].past = false, true
		}
	}
}

// waits makes a task wait, or pending if there is nothing to wait for, or ends it because of what it can never have.
func (b *Backend) waits(e *entry, unmet *entry, now time.Time) {
	switch {
	case unmet != nil:
		b.become(e, omniq.StatusWaiting, now)
		b.block(e, unmet, now)
	case e.links.open > 0 || e.task.Manual:
		b.stay(e, now)
	default:
		b.pend(e, now)
	}
}

// stay makes a task wait, unless it has expired.
func (b *Backend) stay(e *entry, now time.Time) {
	if e.status != omniq.StatusWaiting {
		b.become(e, omniq.StatusWaiting, now)
	}
	e.token, e.started = 0, false
	switch {
	case e.expired(now):
		b.finish(e, omniq.ExpiredResult(e.task, now, e.attempt), now)
	case e.ends.IsZero():
		b.coming.drop(e)
	default:
		b.coming.put(e, e.ends)
	}
}

// block ends a task because of a dependency that has ended otherwise than it needs.
func (b *Backend) block(e, dep *entry, now time.Time) {
	b.finish(e, omniq.DependencyResult(e.task, now, e.attempt, dep.name, dep.result), now)
	e.links.blocked = true
}

// fallout is a task that has ended, whose followers are to be told.
type fallout struct {
	dep  *entry
	next int // of its followers
}

// tell tells the followers of tasks that have ended, some of them.
func (b *Backend) tell(now time.Time) {
	for left := atOnce; left > 0 && len(b.fallout) > 0; {
		f := &b.fallout[0]
		dep := f.dep
		if dep.result == nil || f.next >= len(dep.links.followers) { // it was requeued, or all are told
			b.fallout = b.fallout[1:]
			continue
		}
		follower := dep.links.followers[f.next]
		f.next++
		left--
		b.lead(follower, now)
	}
	if len(b.fallout) == 0 {
		b.fallout = nil // else its array stayed
	}
}

// lead tells a follower that what it may wait for has ended.
func (b *Backend) lead(f follower, now time.Time) {
	if !f.edge.open {
		return
	}
	f.edge.open = false
	f.links.open--
	switch dep := f.edge.dep; {
	case f.status != omniq.StatusWaiting:
	case !f.edge.need.Met(dep.status):
		b.block(f.entry, dep, now)
	case f.links.open == 0 && !f.task.Manual:
		b.released(f.entry, now)
	}
}

// released makes a task pending that has waited for others.
func (b *Backend) released(e *entry, now time.Time) {
	e.due = now
	if !e.links.resumed {
		if e.due = e.task.RunAt; e.due.Before(now) {
			e.due = now.Add(e.task.Delay)
		}
	}
	b.pend(e, now)
}

// needed reports whether a task's result is an input of one that is kept and has not succeeded.
func (b *Backend) needed(e *entry) bool {
	if e.links == nil {
		return false
	}
	for _, f := range e.links.followers {
		if f.edge.in && !f.edge.past && f.status != omniq.StatusSuccess && b.tasks[f.id] == f.entry {
			return true
		}
	}
	return false
}

// user is a task that has not ended and goes on with the result of this one as an input, nil for none.
func (b *Backend) user(e *entry) *entry {
	if e.links == nil {
		return nil
	}
	for _, f := range e.links.followers {
		current := !f.edge.past && f.edge.first != f.links.resumed
		if current && f.edge.in && !f.edge.open && f.result == nil && b.tasks[f.id] == f.entry {
			return f.entry
		}
	}
	return nil
}

// free removes the inputs of a task that are kept for it alone.
func (b *Backend) free(e *entry) {
	if e.links == nil {
		return
	}
	for _, edges := range [][]edge{e.links.own, e.links.after} {
		for i := range edges {
			if d := edges[i].dep; edges[i].in && d.links.over && b.tasks[d.id] == d && !b.needed(d) {
				b.remove(d)
			}
		}
	}
}

// inputs are the results that a task gets, and how many bytes they have.
func (e *entry) inputs() (inputs []*omniq.RawResult, size int64) {
	if e.links == nil || len(e.links.after) == 0 {
		return nil, 0
	}
	inputs = make([]*omniq.RawResult, len(e.links.after))
	for i, d := range e.links.after {
		if d.in {
			inputs[i] = d.dep.result
			size += int64(len(d.dep.result.ResultData))
		}
	}
	return inputs, size
}

// dependencies are what a task waits for, or has waited for, as people see it.
func (e *entry) dependencies() []omniq.Dependency {
	if e.links == nil || len(e.links.after) == 0 {
		return nil
	}
	after := make([]omniq.Dependency, len(e.links.after))
	for i, d := range e.links.after {
		after[i] = omniq.Dependency{ID: d.dep.id, Need: d.need, Input: d.in}
	}
	return after
}

// overloaded reports whether a task has more inputs than it may have.
func (e *entry) overloaded() bool {
	_, size := e.inputs()
	return size > omniq.MaxInputs
}

// drop ends a task that is ready and cannot be handed out any more.
func (b *Backend) drop(e *entry, now time.Time) {
	if e.expired(now) {
		b.pend(e, now)
		return
	}
	_, size := e.inputs()
	b.finish(e, omniq.InputsResult(e.task, now, e.attempt, size), now)
}
