package memory

import (
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// plan is what a call, or a transaction, is about to do to tasks that may be tied to others.
type plan struct {
	b       *Backend
	ending  map[uuid.UUID]bool      // tasks that end before what it stores, and give up their unique keys
	lost    map[uuid.UUID]bool      // tasks that it cancels
	added   map[uuid.UUID]bool      // tasks that it stores
	holders map[uuid.UUID]uuid.UUID // the tasks that take the places of those that it leaves out
	keys    map[uniqueKey]uuid.UUID // unique keys, and which of its tasks have them
	flows   map[uuid.UUID]bool      // of its tasks
	grows   *flow                   // a flow to which members may be added, nil for none
	deps    map[uuid.UUID]*entry    // what its tasks depend on, as far as that is stored
	inputs  map[uuid.UUID]bool      // those of them whose results are inputs
}

func (b *Backend) plan() *plan {
	return &plan{
		b: b, ending: make(map[uuid.UUID]bool), lost: make(map[uuid.UUID]bool), added: make(map[uuid.UUID]bool),
		holders: make(map[uuid.UUID]uuid.UUID), keys: make(map[uniqueKey]uuid.UUID), flows: make(map[uuid.UUID]bool),
		deps: make(map[uuid.UUID]*entry), inputs: make(map[uuid.UUID]bool),
	}
}

// clone is for a call of a transaction, which may fail.
func (p *plan) clone() *plan {
	return &plan{
		b: p.b, ending: maps.Clone(p.ending), lost: maps.Clone(p.lost), added: maps.Clone(p.added), holders: maps.Clone(p.holders),
		keys: maps.Clone(p.keys), flows: maps.Clone(p.flows), deps: maps.Clone(p.deps), inputs: maps.Clone(p.inputs),
	}
}

// plain reports whether no task is tied to others.
func plain(tasks []*omniq.RawTask) bool {
	for _, t := range tasks {
		if t.Flow != uuid.Nil || len(t.After) > 0 || t.Manual {
			return false
		}
	}
	return true
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
	err := p.b.conflict(t, now, p.ending)
	if err == nil {
		err = p.conflict(t)
	}
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
	p.added[t.ID] = true
	if t.UniqueKey != "" {
		p.keys[keyOf(t)] = t.ID
	}
	return nil
}

// conflict is that an earlier task of the plan has the task's ID or unique key.
func (p *plan) conflict(t *omniq.RawTask) error {
	if p.added[t.ID] {
		return omniq.Duplicate{ID: t.ID, Holder: t.ID}
	}
	if holder, taken := p.keys[keyOf(t)]; taken && t.UniqueKey != "" {
		return omniq.Duplicate{ID: t.ID, Holder: holder}
	}
	return nil
}

// effects adds what a settlement of a task does beside ending its lease, and reports what is left out. An error says that the
// effects cannot be; the plan is not to be used any more then.
func (p *plan) effects(e *entry, s *omniq.Settlement, now time.Time) (errs []error, err error) {
	p.ending[e.id] = s.Action == omniq.ActionFinish
	if e.links != nil {
		p.grows = e.links.flow
		defer func() { p.grows = nil }()
	}
	if errs, err = p.addAll(s.Effects.Enqueue, now); err == nil {
		err = p.check(e.id, s.Effects.After, now)
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
		if d.Input {
			p.inputs[at] = true
		}
		if p.added[at] || p.deps[at] != nil {
			continue
		}
		e := p.b.task(at, now)
		if e == nil {
			return fmt.Errorf("%w: task %v depends on task %v, which is unknown or gone", omniq.ErrNotFound, id, d.ID)
		}
		p.deps[at] = e
	}
	return nil
}

// pin keeps the inputs that are there until the tasks are stored: what is done before may end their time.
func (p *plan) pin() {
	for id := range p.inputs {
		if e := p.deps[id]; e != nil {
			e.link().wanted++
		}
	}
}

// stored notes a task that is stored now.
func (p *plan) stored(e *entry) {
	p.deps[e.id] = e
	if p.inputs[e.id] {
		e.link().wanted++
	}
}

// unpin ends what pin has begun.
func (p *plan) unpin(now time.Time) {
	for id := range p.inputs {
		p.b.unwant(p.deps[id], now)
	}
}

// at is the task that stands for one with this ID.
func (p *plan) at(id uuid.UUID) uuid.UUID {
	if holder, ok := p.holders[id]; ok && !p.added[id] {
		return holder
	}
	return id
}

// entry is what a dependency leads to that check has found, once the tasks before are stored.
func (p *plan) entry(id uuid.UUID) *entry { return p.deps[p.at(id)] }
