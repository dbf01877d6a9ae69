package memory

import (
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
)

// links are what ties a task to others. A task that is in no flow, waits for none and for which none waits has no links.
type links struct {
	flow      *flow      // nil for none
	member    uint64     // its number in the flow
	own       []edge     // what it was enqueued to wait for
	after     []edge     // what it waits for now, or has waited for: own, unless it is resumed
	open      int        // of after: those that have not ended
	resumed   bool       // it waits, or has waited, because it has handed over
	blocked   bool       // it has ended because of one of after
	followers []follower // those that wait for it, have waited, or did so in an earlier life
	stale     int        // of followers: those that are forgotten, or do not follow it any more
	wanted    int        // edges for which its result is kept
	over      bool       // the time of its result is over: it is kept for those alone
}

// edge is a dependency of a task. What it leads to stays there when it is forgotten.
type edge struct {
	dep   *entry
	need  omniq.Need
	in    bool // its result is an input
	first bool // it is one that the task was enqueued with
	open  bool // it is counted as one that has not ended
	held  bool // the result of dep is kept for it
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
func (e *entry) edges(after []omniq.Dependency, first bool, at func(uuid.UUID) *entry) []edge {
	edges := make([]edge, len(after))
	for i, d := range after {
		edges[i] = edge{dep: at(d.ID), need: d.Need, in: d.Input, first: first, held: d.Input}
		l := edges[i].dep.link()
		l.followers = append(l.followers, follower{e, &edges[i]})
		if d.Input {
			l.wanted++
		}
	}
	return edges
}

// shed notes that a task has a follower less, and forgets such followers when they are many. Those that a fallout has are in
// another array then.
func (b *Backend) shed(dep *entry) {
	l := dep.links
	if l.stale++; l.stale < 16 || l.stale <= len(l.followers)/2 {
		return
	}
	live := make([]follower, 0, max(len(l.followers)-l.stale, 0))
	for _, f := range l.followers {
		if !f.edge.past && b.tasks[f.id] == f.entry {
			live = append(live, f)
		}
	}
	l.followers, l.stale = live, 0
}

// drop ends that the result of what an edge leads to is kept for it.
func (b *Backend) drop(d *edge, now time.Time) {
	if d.held {
		d.held = false
		b.unwant(d.dep, now)
	}
}

// unwant is that one less needs a task's result.
func (b *Backend) unwant(e *entry, now time.Time) {
	if e.links.wanted--; e.links.wanted == 0 && e.links.over {
		e.links.over = false
		b.going.put(e, now)
	}
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

// leave ends that a task follows those to which it has handed over.
func (b *Backend) leave(e *entry, now time.Time) {
	if e.links == nil || !e.links.resumed {
		return
	}
	for i := range e.links.after {
		d := &e.links.after[i]
		d.open, d.past = false, true
		b.drop(d, now)
		b.shed(d.dep)
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

// fallout is a task that has ended, and those of its followers that are to be told.
type fallout struct {
	dep  *entry
	left []follower
}

// tell tells the followers of tasks that have ended, some of them.
func (b *Backend) tell(now time.Time) {
	told := 0
	for left := atOnce; left > 0 && told < len(b.fallout); left-- {
		f := &b.fallout[told]
		if f.dep.result == nil || len(f.left) == 0 { // it was requeued, or all are told
			told++
			continue
		}
		follower := f.left[0]
		f.left = f.left[1:]
		b.lead(follower, now)
	}
	clear(b.fallout[:told])
	switch {
	case told < len(b.fallout):
		b.fallout = b.fallout[told:]
	case cap(b.fallout) > atOnce:
		b.fallout = nil // else its array stayed
	default:
		b.fallout = b.fallout[:0]
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
	if e.links == nil || !e.links.resumed {
		if e.due = e.task.RunAt; e.due.Before(now) {
			e.due = now.Add(e.task.Delay)
		}
	}
	b.pend(e, now)
}

// needed reports whether a task's result is an input of one that is kept and has not succeeded.
func (e *entry) needed() bool { return e.links != nil && e.links.wanted > 0 }

// user is a task that has not ended and goes on with this one's result, nil for none.
func (b *Backend) user(e *entry) *entry {
	if !e.needed() {
		return nil
	}
	for _, f := range e.links.followers {
		current := !f.edge.past && f.edge.first != f.links.resumed
		if current && f.edge.held && !f.edge.open && f.result == nil && b.tasks[f.id] == f.entry {
			return f.entry
		}
	}
	return nil
}

// free ends that results are kept for a task.
func (b *Backend) free(e *entry, now time.Time) {
	if e.links == nil {
		return
	}
	for _, edges := range [][]edge{e.links.own, e.links.after} {
		for i := range edges {
			b.drop(&edges[i], now)
		}
	}
}

// untie is for a task that is forgotten: it follows nobody any more, and those that follow it know how it has ended.
func (b *Backend) untie(e *entry, now time.Time) {
	if e.links == nil {
		return
	}
	b.free(e, now)
	b.leave(e, now)
	for i := range e.links.own {
		b.shed(e.links.own[i].dep)
	}
	e.links.own, e.links.after, e.links.followers = nil, nil, nil
	e.result = &omniq.RawResult{TaskID: e.id, Status: e.result.Status, Error: e.result.Error}
	e.task, e.notes = nil, nil
}

// inputs are the results that a task gets.
func (e *entry) inputs() []*omniq.RawResult {
	if len(e.links.after) == 0 {
		return nil
	}
	inputs := make([]*omniq.RawResult, len(e.links.after))
	for i, d := range e.links.after {
		if d.in {
			inputs[i] = d.dep.result
		}
	}
	return inputs
}

// load is how many bytes the inputs of a task have.
func (e *entry) load() (size int64) {
	if e.links == nil {
		return 0
	}
	for _, d := range e.links.after {
		if d.in {
			size += int64(len(d.dep.result.ResultData))
		}
	}
	return size
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
func (e *entry) overloaded() bool { return e.load() > omniq.MaxInputs }

// discard ends a task that is ready and cannot be handed out any more.
func (b *Backend) discard(e *entry, now time.Time) {
	if e.expired(now) {
		b.pend(e, now)
		return
	}
	b.finish(e, omniq.InputsResult(e.task, now, e.attempt, e.load()), now)
}
