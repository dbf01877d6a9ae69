package omniq

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
)

// inEach calls do for each of the places at once, and returns when all calls have.
func inEach(places []*place, do func(i int, p *place)) {
	var all sync.WaitGroup
	for i, p := range places[1:] {
		all.Go(func() { do(i+1, p) })
	}
	do(0, places[0])
	all.Wait()
}

// reply is what a place has answered.
type reply[T any] struct {
	at    int // the place's number
	value T
	err   error
}

// ask calls do for each of the places at once, and returns what comes of it. Who has heard enough ends ctx and does not wait.
func ask[T any](ctx context.Context, places []*place, do func(context.Context, *place) (T, error)) <-chan reply[T] {
	replies := make(chan reply[T], len(places))
	for i, p := range places {
		go func() {
			value, err := do(ctx, p)
			replies <- reply[T]{i, value, p.fault(err)}
		}()
	}
	return replies
}

// find asks all places for what is in one of them. That it is in none is [ErrNotFound] only if all say so.
func find[T any](ctx context.Context, r *route, do func(context.Context, *place) (T, error)) (found T, err error) {
	if len(r.places) == 1 {
		p := r.places[0]
		found, err = do(ctx, p)
		return found, p.fault(err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	replies := ask(ctx, r.places, do)
	for range r.places {
		switch reply := <-replies; {
		case reply.err == nil:
			return reply.value, nil
		case err == nil, errors.Is(err, ErrNotFound):
			err = reply.err
		}
	}
	return found, err
}

// all asks all places, and needs an answer from each. They are in the order of the places.
func all[T any](ctx context.Context, places []*place, do func(context.Context, *place) (T, error)) ([]T, error) {
	values := make([]T, len(places))
	if len(places) == 1 {
		var err error
		values[0], err = do(ctx, places[0])
		return values, places[0].fault(err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	replies := ask(ctx, places, do)
	for range places {
		reply := <-replies
		if reply.err != nil {
			return nil, reply.err
		}
		values[reply.at] = reply.value
	}
	return values, nil
}

// perItem asks all places for something about each of some items, which are each in one of them as a rule. An item that no place
// has is [ErrNotFound] if all say so; else the error of one that does not answer takes its place. With every it is asked until all
// have answered, because an item may be in several places.
func perItem[T any](ctx context.Context, r *route, items []T, every bool, do func(context.Context, *place, []T) ([]error, error)) ([]error, error) {
	if len(r.places) == 1 {
		p := r.places[0]
		errs, err := do(ctx, p, items)
		return errs, p.fault(err)
	}
	items = slices.Clone(items) // a call may outlast this one
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	replies := ask(ctx, r.places, func(ctx context.Context, p *place) ([]error, error) { return do(ctx, p, items) })
	result := make([]error, len(items))
	for i := range result {
		result[i] = ErrNotFound
	}
	var failed error // of the whole call of a place
	open, done := len(items), 0
	for n := 0; n < len(r.places) && (open > 0 || every || n == 0); n++ {
		reply := <-replies
		if reply.err != nil {
			failed = worse(failed, reply.err)
			continue
		}
		done++
		for i, before := range result {
			var err error
			if reply.value != nil {
				err = reply.value[i]
			}
			if before == nil || errors.Is(err, ErrNotFound) {
				continue
			}
			if errors.Is(before, ErrNotFound) {
				open--
			}
			result[i] = err
		}
	}
	if failed != nil {
		if open == len(items) {
			return nil, failed
		}
		for i, err := range result {
			if errors.Is(err, ErrNotFound) || every {
				result[i] = failed
			}
		}
	}
	return merge(result, nil, nil), nil
}

// worse is the error to report of two: one that leaves open what was done, or else the first.
func worse(first, second error) error {
	if first == nil || isUncertain(second) && !isUncertain(first) {
		return second
	}
	return first
}

// part are items of a call for one place.
type part[T any] struct {
	place *place
	items []T
	at    []int // where they stand in the call
}

// addPart adds an item, which stands at a place in the call.
func addPart[T any](parts []part[T], p *place, item T, at int) []part[T] {
	i := slices.IndexFunc(parts, func(part part[T]) bool { return part.place == p })
	if i < 0 {
		i, parts = len(parts), append(parts, part[T]{place: p})
	}
	parts[i].items, parts[i].at = append(parts[i].items, item), append(parts[i].at, at)
	return parts
}

// inParts makes the calls for the parts of a call at once, and puts together what has become of its n items. Where a part fails
// its items do, unless all parts do.
func inParts[T any](parts []part[T], n int, do func(*place, []T) ([]error, error)) ([]error, error) {
	errs := make([]error, n)
	failures := make([]error, len(parts))
	inEach(placesIn(parts), func(i int, p *place) {
		part := &parts[i]
		some, err := do(p, part.items)
		failures[i] = p.fault(err)
		for k, err := range some {
			errs[part.at[k]] = err
		}
	})
	failed := 0
	var worst error
	for i, err := range failures {
		if err == nil {
			continue
		}
		worst = worse(worst, err)
		failed++
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("%w: %w", ErrUncertain, err)
		}
		for _, at := range parts[i].at {
			errs[at] = err
		}
	}
	if failed == len(parts) {
		return nil, worst
	}
	return merge(errs, nil, nil), nil
}

func placesIn[T any](parts []part[T]) []*place {
	places := make([]*place, len(parts))
	for i := range parts {
		places[i] = parts[i].place
	}
	return places
}

// perLease passes items on to the places whose leases they are about.
func perLease[T any](r *route, items []T, id func(*T) *LeaseID, do func(*place, []T) ([]error, error)) ([]error, error) {
	first := r.places[0] // which says what there is to say of an empty call
	var parts []part[T]  // nil while all are of the first item's place
	own := make([]T, len(items))
	copy(own, items)
	for i := range own {
		p := r.ofLease(id(&own[i]))
		if i == 0 {
			first = p
		}
		if parts == nil && p != first {
			for k, item := range own[:i] {
				parts = addPart(parts, first, item, k)
			}
		}
		if parts != nil {
			parts = addPart(parts, p, own[i], i)
		}
	}
	if parts == nil {
		errs, err := do(first, own)
		return errs, first.fault(err)
	}
	return inParts(parts, len(items), do)
}

// pick returns the items at some places.
func pick[T any](items []T, at []int) []T {
	some := make([]T, len(at))
	for k, i := range at {
		some[k] = items[i]
	}
	return some
}

// ofLease is the place that has handed a lease out, and makes the lease as that one knows it. It is the first one for a lease of
// none of these, which it does not know either.
func (r *route) ofLease(lease *LeaseID) *place {
	name, token, _ := strings.Cut(lease.Token, tokenMark)
	if p, ok := r.byName[name]; ok {
		lease.Token = token
		return p
	}
	return r.places[0]
}

func leaseID(l *LeaseID) *LeaseID { return l }

func (r *route) Start(ctx context.Context, leases []LeaseID) ([]error, error) {
	return perLease(r, leases, leaseID, func(p *place, leases []LeaseID) ([]error, error) { return p.Backend.Start(ctx, leases) })
}

func (r *route) Extend(ctx context.Context, leases []LeaseID, by time.Duration) ([]error, error) {
	return perLease(r, leases, leaseID, func(p *place, leases []LeaseID) ([]error, error) { return p.Backend.Extend(ctx, leases, by) })
}

func (r *route) Note(ctx context.Context, notes []LeaseNotes) ([]error, error) {
	return perLease(r, notes, func(n *LeaseNotes) *LeaseID { return &n.LeaseID },
		func(p *place, notes []LeaseNotes) ([]error, error) { return p.Backend.Note(ctx, notes) })
}

func (r *route) Settle(ctx context.Context, settlements []Settlement) ([]error, error) {
	return perLease(r, settlements, func(s *Settlement) *LeaseID { return &s.LeaseID },
		func(p *place, settlements []Settlement) ([]error, error) {
			if !slices.ContainsFunc(settlements, func(s Settlement) bool { return s.Effects != nil }) {
				return p.Backend.Settle(ctx, settlements)
			}
			errs := make([]error, len(settlements))
			var at []int // those that fit
			for i := range settlements {
				if errs[i] = r.fits(ctx, p, settlements[i].Effects); errs[i] == nil {
					at = append(at, i)
				}
			}
			if len(at) == len(settlements) {
				return p.Backend.Settle(ctx, settlements)
			}
			some, err := p.Backend.Settle(ctx, pick(settlements, at))
			if err != nil {
				return nil, err
			}
			return merge(errs, at, some), nil
		})
}

// fits reports what of the effects of a settlement belongs to another place.
func (r *route) fits(ctx context.Context, p *place, e *Effects) error {
	if e == nil {
		return nil
	}
	for _, t := range e.Enqueue {
		if t == nil {
			continue // the engine says so
		}
		places, err := r.placesOf(t.Queue)
		if err != nil {
			return err
		}
		if !slices.Contains(places, p) {
			return invalid("task %v of queue %q lives in backend %q, and is enqueued in one step with the end of one that lives in %q: enqueue it by a client",
				t.ID, t.Queue, places[len(places)-1].name, p.name)
		}
	}
	for _, id := range e.Cancel {
		if other := r.elsewhere(ctx, p, id); other != nil {
			return invalid("task %v lives in backend %q, and is cancelled in one step with the end of one that lives in %q: cancel it by a client",
				id, other.name, p.name)
		}
	}
	return nil
}

// elsewhere is the place of a task that is not in p, as far as that can be found out; nil for none.
func (r *route) elsewhere(ctx context.Context, p *place, id uuid.UUID) *place {
	if len(r.places) == 1 {
		return nil
	}
	other, err := find(ctx, r, func(ctx context.Context, p *place) (*place, error) {
		_, err := p.Backend.Result(ctx, id)
		return p, err
	})
	if err != nil || other == p {
		return nil
	}
	return other
}

// How the backend's methods are asked of all places at once, by the ID of a task.

func (r *route) Resolve(ctx context.Context, results []*RawResult) ([]error, error) {
	return perItem(ctx, r, results, false, func(ctx context.Context, p *place, results []*RawResult) ([]error, error) {
		return p.Backend.Resolve(ctx, results)
	})
}

func (r *route) Cancel(ctx context.Context, ids []uuid.UUID) ([]error, error) {
	return perItem(ctx, r, ids, false, func(ctx context.Context, p *place, ids []uuid.UUID) ([]error, error) {
		return p.Backend.Cancel(ctx, ids)
	})
}

func (r *route) Requeue(ctx context.Context, ids []uuid.UUID, follow bool) ([]error, error) {
	return perItem(ctx, r, ids, false, func(ctx context.Context, p *place, ids []uuid.UUID) ([]error, error) {
		return p.Backend.Requeue(ctx, ids, follow)
	})
}

func (r *route) RunNow(ctx context.Context, ids []uuid.UUID) ([]error, error) {
	return perItem(ctx, r, ids, false, func(ctx context.Context, p *place, ids []uuid.UUID) ([]error, error) {
		return p.Backend.RunNow(ctx, ids)
	})
}

func (r *route) Forget(ctx context.Context, ids []uuid.UUID) ([]error, error) {
	return perItem(ctx, r, ids, false, func(ctx context.Context, p *place, ids []uuid.UUID) ([]error, error) {
		return p.Backend.Forget(ctx, ids)
	})
}

// Free asks all places to the end: a key may be held in several.
func (r *route) Free(ctx context.Context, keys []UniqueKey) ([]error, error) {
	return perItem(ctx, r, keys, true, func(ctx context.Context, p *place, keys []UniqueKey) ([]error, error) {
		return p.Backend.Free(ctx, keys)
	})
}

func (r *route) Update(ctx context.Context, updates []Update) ([]error, error) {
	return perItem(ctx, r, updates, false, func(ctx context.Context, p *place, updates []Update) ([]error, error) {
		errs := make([]error, len(updates))
		var at []int // those that stay where they are
		for i := range updates {
			if errs[i] = r.staysIn(ctx, p, &updates[i]); errs[i] == nil {
				at = append(at, i)
			}
		}
		if len(at) == len(updates) {
			return p.Backend.Update(ctx, updates)
		}
		some, err := p.Backend.Update(ctx, pick(updates, at))
		if err != nil {
			return nil, err
		}
		return merge(errs, at, some), nil
	})
}

// staysIn refuses to make a schedule in p one of calls that live elsewhere.
func (r *route) staysIn(ctx context.Context, p *place, u *Update) error {
	if u.FuncName != scheduleName {
		return nil
	}
	places, err := r.placesOfSchedule(u.FuncName, u.Args)
	if err != nil || slices.Contains(places, p) {
		return err
	}
	if _, err := p.Backend.Result(ctx, u.ID); err != nil {
		return err
	}
	return invalid("the schedule lives in backend %q, and its calls in %q: delete it and declare it again", p.name, places[len(places)-1].name)
}

func (r *route) Inspect(ctx context.Context, id uuid.UUID) (*TaskInfo, error) {
	return find(ctx, r, func(ctx context.Context, p *place) (*TaskInfo, error) { return p.Backend.Inspect(ctx, id) })
}

func (r *route) Result(ctx context.Context, id uuid.UUID) (*RawResult, error) {
	return find(ctx, r, func(ctx context.Context, p *place) (*RawResult, error) { return p.Backend.Result(ctx, id) })
}

func (r *route) Await(ctx context.Context, id uuid.UUID) (*RawResult, error) {
	return find(ctx, r, func(ctx context.Context, p *place) (*RawResult, error) { return p.Backend.Await(ctx, id) })
}

func (r *route) Stream(ctx context.Context, request StreamRequest) (StreamPage, error) {
	return find(ctx, r, func(ctx context.Context, p *place) (StreamPage, error) { return p.Backend.Stream(ctx, request) })
}

func (r *route) CancelFlow(ctx context.Context, flow uuid.UUID) (int, error) {
	return find(ctx, r, func(ctx context.Context, p *place) (int, error) { return p.Backend.CancelFlow(ctx, flow) })
}

func (r *route) FlowStats(ctx context.Context, flow uuid.UUID) (FlowStats, error) {
	return find(ctx, r, func(ctx context.Context, p *place) (FlowStats, error) { return p.Backend.FlowStats(ctx, flow) })
}
