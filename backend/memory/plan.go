package memory

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// plan is what a call, or a transaction, is about to do to tasks that may be tied to others.
type plan struct {
	b       *Backend
	ending  map[uuid.UUID]omniq.Action // how leases end before what it stores: with a finish tasks give up their unique keys
	lost    map[uuid.UUID]bool         // tasks that it cancels
	tasks   map[uuid.UUID]planned      // tasks that it stores, and what these depend on
	holders map[uuid.UUID]uuid.UUID    // the tasks that take the places of those that it leaves out
	keys    map[uniqueKey]uuid.UUID    // unique keys, and which of its tasks have them
	flows   map[uuid.UUID]bool         // of its tasks
	grows   *flow                      // a flow to which members may be added, nil for none
}

// planned is a task of a plan.
type planned struct {
	entry *entry // nil before it is stored
	added bool   // the plan stores it
	input bool   // its result is an input of a task of the plan

	fixed  bool      // no other one can take its place
	behind uuid.UUID // the task whose key it has taken, and for which it waits; zero for none
}

// plan returns an empty plan for about so many tasks.
func (b *Backend) plan(size int) *plan {
	return &plan{
		b: b, ending: make(map[uuid.UUID]omniq.Action), lost: make(map[uuid.UUID]bool), tasks: make(map[uuid.UUID]planned, size),
		holders: make(map[uuid.UUID]uuid.UUID), keys: make(map[uniqueKey]uuid.UUID), flows: make(map[uuid.UUID]bool),
	}
}

// clone is for a call of a transaction, which may fail.
func (p *plan) clone() *plan {
	return &plan{
		b: p.b, ending: maps.Clone(p.ending), lost: maps.Clone(p.lost), tasks: maps.Clone(p.tasks), holders: maps.Clone(p.holders),
		keys: maps.Clone(p.keys), flows: maps.Clone(p.flows),
	}
}

// plain reports whether no task is tied to others.
func plain(tasks []*omniq.RawTask) bool {
	return !slices.ContainsFunc(tasks, (*omniq.RawTask).Tied)
}

// addAll adds the tasks of a call, and reports those that are left out. With an error nothing can be done, and the plan is not
// to be used any more.
func (p *plan) addAll(tasks []*omniq.RawTask, now time.Time) (errs []error, err error) {
	flows := make(map[uuid.UUID]bool)
	for i, t := range tasks {
		err := p.add(t, flows, now)
		if err != nil && !errors.Is(err, omniq.ErrDuplicate) {
			return nil, err
		}
		if err != nil {
			errs = engine.Report(errs, len(tasks), i, err)
		}
	}
	for id := range flows {
		p.flows[id] = true
	}
	return errs, nil
}

// add adds a task of a call that has the flows. It reports a [omniq.Duplicate], which is left out.
func (p *plan) add(t *omniq.RawTask, flows map[uuid.UUID]bool, now time.Time) error {
	err := p.conflict(t, now)
	if d, ok := errors.AsType[omniq.Duplicate](err); ok {
		p.holders[t.ID] = d.Holder
		return err
	}
	if t.Flow != uuid.Nil && !flows[t.Flow] {
		if f, known := p.b.flows[t.Flow]; known && f != p.grows || !known && p.flows[t.Flow] {
			return fmt.Errorf("%w: task %v is of flow %v, which is stored already: only its members can add to it", omniq.ErrState, t.ID, t.Flow)
		}
		flows[t.Flow] = true
	}
	if err := p.check(t.ID, t.After, now); err != nil {
		return err
	}
	own := p.tasks[t.ID]
	own.added, own.fixed = true, t.Tied()
	if holder := p.b.before(t, now); holder != nil && t.OnHeld == omniq.HeldBehind && p.keys[keyOf(t)] == uuid.Nil && p.underWay(holder) {
		own.behind = holder.id
	}
	p.tasks[t.ID] = own
	if t.UniqueKey != "" {
		p.keys[keyOf(t)] = t.ID
	}
	return nil
}

// conflict is that an earlier task, of the plan or not, has the task's ID or unique key.
func (p *plan) conflict(t *omniq.RawTask, now time.Time) error {
	if p.tasks[t.ID].added || p.b.known(t, now) {
		return omniq.Duplicate{ID: t.ID, Holder: t.ID}
	}
	if t.UniqueKey == "" {
		return nil
	}
	if holder, taken := p.keys[keyOf(t)]; taken {
		return omniq.Duplicate{ID: t.ID, Holder: holder, Replaced: t.OnHeld != omniq.HeldRefuse && !p.tasks[holder].fixed}
	}
	return p.b.held(t, p, now)
}

// effects adds what a settlement of a task does beside ending its lease, and reports what is left out. An error says that the
// effects cannot be; the plan is not to be used any more then.
func (p *plan) effects(e *entry, s *omniq.Settlement, now time.Time) (errs []error, err error) {
	p.ending[e.id] = s.Action
	if e.links != nil {
		p.grows = e.links.flow
		defer func() { p.grows = nil }()
	}
	if errs, err = p.addAll(s.Effects.Enqueue, now); err == nil {
		err = p.check(e.id, s.Effects.After, now)
	}
	if id, waits := p.circle(e, s.Effects.After); err == nil && waits {
		err = fmt.Errorf("task %v is to wait for task %v, which waits for it", e.id, id)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", omniq.ErrInvalid, err)
	}
	for _, id := range s.Effects.Cancel {
		p.lost[id] = true
	}
	return errs, nil
}

// check reports the first dependency of a task that is unknown, and notes the others.
func (p *plan) check(id uuid.UUID, after []omniq.Dependency, now time.Time) error {
	for _, d := range after {
		at := p.at(d.ID)
		dep := p.tasks[at]
		if !dep.added && dep.entry == nil {
			if dep.entry = p.b.task(at, now); dep.entry == nil {
				return fmt.Errorf("%w: task %v depends on task %v, which is unknown or gone", omniq.ErrNotFound, id, d.ID)
			}
		}
		dep.input = dep.input || d.Input
		p.tasks[at] = dep
	}
	return nil
}

// pin keeps the inputs that are there until the tasks are stored: what is done before may end their time.
func (p *plan) pin() {
	for _, t := range p.tasks {
		if t.input && t.entry != nil {
			t.entry.link().wanted++
		}
	}
}

// stored notes a task that is stored now.
func (p *plan) stored(e *entry) {
	t := p.tasks[e.id]
	t.entry = e
	p.tasks[e.id] = t
	if t.input {
		e.link().wanted++
	}
}

// unpin ends what pin has begun.
func (p *plan) unpin(now time.Time) {
	for _, t := range p.tasks {
		if t.input {
			p.b.unwant(t.entry, now)
		}
	}
}

// at is the task that stands for one with this ID.
func (p *plan) at(id uuid.UUID) uuid.UUID {
	if holder, ok := p.holders[id]; ok && !p.tasks[id].added {
		return holder
	}
	return id
}

// entry is what a dependency leads to that check has found, once the tasks before are stored.
func (p *plan) entry(id uuid.UUID) *entry { return p.tasks[p.at(id)].entry }
