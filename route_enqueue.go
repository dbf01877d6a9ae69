package omniq

import (
	"context"
	"errors"

	"github.com/google/uuid"
)

// enqueueIn is how tasks are enqueued in a place.
type enqueueIn func(context.Context, *place, []*RawTask) ([]error, error)

func (r *route) Enqueue(ctx context.Context, tasks []*RawTask) ([]error, error) {
	return r.enqueue(ctx, tasks, func(ctx context.Context, p *place, tasks []*RawTask) ([]error, error) {
		return p.Backend.Enqueue(ctx, tasks)
	})
}

// sender enqueues by calls that are shared in each place by itself: one in trouble holds up its own tasks.
func (r *route) sender() func(context.Context, []*RawTask) ([]error, error) {
	senders := make(map[*place]*sender, len(r.places))
	for _, p := range r.places {
		senders[p] = newSender(p.Backend)
	}
	do := func(ctx context.Context, p *place, tasks []*RawTask) ([]error, error) {
		return senders[p].enqueue(ctx, tasks)
	}
	return func(ctx context.Context, tasks []*RawTask) ([]error, error) { return r.enqueue(ctx, tasks, do) }
}

// enqueue stores tasks in their places.
func (r *route) enqueue(ctx context.Context, tasks []*RawTask, do enqueueIn) ([]error, error) {
	if len(tasks) == 0 {
		return do(ctx, r.places[0], tasks)
	}
	var first *place
	var places []*place // of the tasks, nil while that is the first
	for i, t := range tasks {
		p, err := r.placeOfAny(t)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			first = p
		}
		if places == nil && p != first {
			places = make([]*place, i, len(tasks))
			for k := range places {
				places[k] = first
			}
		}
		if places != nil {
			places = append(places, p)
		}
	}
	if places == nil {
		errs, err := do(ctx, first, tasks)
		return errs, r.notThere(ctx, first, tasks, first.fault(err))
	}
	if err := together(tasks, places); err != nil {
		return nil, err
	}
	var parts []part[*RawTask]
	for i, t := range tasks {
		parts = addPart(parts, places[i], t, i)
	}
	return inParts(parts, len(tasks), func(p *place, tasks []*RawTask) ([]error, error) {
		errs, err := do(ctx, p, tasks)
		return errs, r.notThere(ctx, p, tasks, err)
	})
}

// placeOfAny is that of a task that may be invalid, which the engine says.
func (r *route) placeOfAny(t *RawTask) (*place, error) {
	if t == nil {
		return r.places[0], nil
	}
	return r.placeOf(t)
}

// together refuses tasks that are tied to each other and live in several places, and those that one place would refuse after another
// has stored its own.
func together(tasks []*RawTask, places []*place) error {
	flows := make(map[uuid.UUID]int) // the first task of each
	ids := make(map[uuid.UUID]int)
	for i, t := range tasks {
		if t == nil {
			return invalid("task %d of %d is nil", i+1, len(tasks))
		}
		if err := t.Validate(); err != nil {
			return err
		}
		with := i
		if t.Flow != uuid.Nil {
			if first, ok := flows[t.Flow]; ok {
				with = first
			} else {
				flows[t.Flow] = i
			}
		}
		for _, d := range t.After {
			if places[with] != places[i] {
				break
			}
			if k, ok := ids[d.ID]; ok {
				with = k
			}
		}
		if places[with] != places[i] {
			return invalid("task %v of queue %q lives in backend %q, and task %v of queue %q, to which it is tied, in %q: a flow stays in one backend",
				t.ID, t.Queue, places[i].name, tasks[with].ID, tasks[with].Queue, places[with].name)
		}
		ids[t.ID] = i
	}
	return nil
}

// notThere says of the error of an enqueue, if that is that a task is to wait for one that is not there, whether it is in another place.
func (r *route) notThere(ctx context.Context, p *place, tasks []*RawTask, err error) error {
	if !errors.Is(err, ErrNotFound) {
		return err
	}
	for _, t := range tasks {
		for _, d := range t.After {
			if other := r.elsewhere(ctx, p, d.ID); other != nil {
				return invalid("task %v lives in backend %q, and task %v, for which it is to wait, in %q: a flow stays in one backend",
					t.ID, p.name, d.ID, other.name)
			}
		}
	}
	return err
}

// Append keeps events with those of DefaultQueue.
func (r *route) Append(ctx context.Context, events []*TaskEvent) error {
	p, err := r.home(DefaultQueue)
	if err != nil {
		return err
	}
	return p.fault(p.Backend.Append(ctx, events))
}

// Record keeps results with those of DefaultQueue.
func (r *route) Record(ctx context.Context, results []*RawResult) ([]error, error) {
	p, err := r.home(DefaultQueue)
	if err != nil {
		return nil, err
	}
	errs, err := p.Backend.Record(ctx, results)
	return errs, p.fault(err)
}
