package omniq

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strings"
	"sync/atomic"
)

// Route returns a backend that spreads queues over several ones: it is for who outgrows one server. The backends have names, and the
// rule tells in which of them a queue lives. They may be of different engines.
//
//	backend, err := omniq.Route(map[string]omniq.Backend{"one": one, "two": two}, omniq.ByHash("one", "two"))
//
// Clients and workers use it as any other backend. Each queue is whole in its backend, with its order, its priorities, its lanes and its
// limit. A worker takes tasks of its queues in their order, wherever they live. Whatever is asked by the ID of a task is asked of
// all backends at once.
//
// # What is weaker
//
//   - IDs, what a KeepID keeps, and unique keys are unique in each backend, not in all. Tasks in one queue share a backend.
//   - An enqueue of tasks that live in different backends is not all or none. Where one backend fails, the others have stored theirs: the
//     error is a [BulkError], which names those that are not stored.
//   - A flow stays in one backend. With tasks of a flow, or that wait for each other, whose queues live in several, the call is
//     [ErrInvalid], and nothing is stored. So is the settlement of a handler that has enqueued, by [Enqueue] or [Become], a task that
//     lives in another backend than its own, or cancelled one by [Cancel]: let it use a [Client] for these.
//   - A schedule lives where the queues of its calls do, and all of them live in one backend. It does not move with them.
//   - There are no transactions: use a client and a worker of the backend itself. What [TaskQueue] says of unique keys, of ties and of
//     CancelFlow holds in each backend.
//   - Lists go by the time since when the tasks are in their state, or were made, and events by their timestamps. These are the clocks of
//     several machines.
//   - What was recorded for tasks that no engine queues, by [ResultStore].Record and [EventStore].Append, lives with [DefaultQueue].
//
// The Capabilities are those that all the backends have, and Spread.
//
// # Trouble with one backend
//
// What concerns the others goes on. A call that needs the one fails with its error, which names it. What is found by its ID in
// another one is answered; that there is no such task, and lists, statistics and events of all queues, need all of them.
//
// A Lease leaves out a backend that fails, and asks it again after a pause of 50 ms, which grows to 5 s. One that does not answer holds a
// Lease up for 5 s, and is asked again after 30 s. This is logged: see [Logger]. Lease fails when all backends of its queues do. What a
// worker has at that time from a backend that does not answer holds its places, for a lease at the most, and a call in which it
// settles or starts tasks of several backends waits for a third of the worker's lease at the most. Leases of the others are extended.
//
// # Other rules
//
// The rule is a pure function: all programs have the same one, and it returns the same name for the same queue, from any goroutine. With
// a name that there is no backend of, a call that needs the queue is [ErrInvalid]. To add a backend, or to take one out, while tasks
// run, see [Moving].
//
// Close closes all the backends. Route fails with [ErrInvalid] without a backend, without a rule, with a backend that is nil or there
// twice, or with a name that is not 1 to 40 letters, digits, dots, hyphens and underscores of ASCII.
func Route(backends map[string]Backend, rule RouteRule, opts ...RouteOption) (Backend, error) {
	r := &route{rules: []RouteRule{rule}, log: slog.Default(), byName: make(map[string]*place, len(backends))}
	for _, name := range slices.Sorted(maps.Keys(backends)) {
		b := backends[name]
		switch {
		case !isPlaceName(name):
			return nil, invalid("a backend is named %.60q, want 1 to %d letters, digits, dots, hyphens and underscores", name, maxPlaceName)
		case b == nil:
			return nil, invalid("the backend %q is nil", name)
		}
		for _, other := range r.places {
			if (&origin{b}).same(&origin{other.Backend}) {
				return nil, invalid("the backends %q and %q are the same one", other.name, name)
			}
		}
		p := &place{Backend: b, name: name, prefix: name + tokenMark}
		p.alone = []*place{p}
		r.places = append(r.places, p)
		r.byName[name] = p
	}
	if len(r.places) == 0 {
		return nil, invalid("a route without a backend")
	}
	for _, o := range opts {
		if err := o.applyRoute(r); err != nil {
			return nil, err
		}
	}
	if slices.ContainsFunc(r.rules, func(rule RouteRule) bool { return rule == nil }) {
		return nil, invalid("a route without a rule")
	}
	r.caps = r.capabilities()
	return r, nil
}

// RouteRule tells the name of the backend in which a queue lives. See [Route].
type RouteRule func(queue string) string

// RouteOption sets something of a [Route].
type RouteOption interface{ applyRoute(*route) error }

type routeOption func(*route) error

func (o routeOption) applyRoute(r *route) error { return o(r) }

// ByHash returns a rule that spreads queues evenly over the backends with these names, by the hash of the queue's name. What it says does
// not depend on their order. One more name takes its share of queues from all the others, and leaves all other queues where
// they are; so it is when one is taken out. (Rendezvous hashing, Thaler and Ravishankar, 1998.)
func ByHash(names ...string) RouteRule {
	seeds := make([]uint64, len(names))
	for i, name := range names {
		seeds[i] = hashText(name)
	}
	return func(queue string) (best string) {
		hash := hashText(queue)
		most := uint64(0)
		for i, name := range names {
			if w := mix64(seeds[i] ^ hash); best == "" || w > most || w == most && name < best {
				best, most = name, w
			}
		}
		return best
	}
}

func hashText(text string) uint64 {
	h := fnv.New64a()
	_, _ = io.WriteString(h, text)
	return mix64(h.Sum64())
}

// mix64 lets each bit of x change each bit of the result. It is the last part of SplitMix64.
func mix64(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Moving is for the time in which queues move: tasks are taken from where this rule says, too, and before those from where the route's
// rule says. Nothing new is enqueued there, but what handlers and schedules of that backend enqueue. To pause, to resume and to limit a
// queue is done in both; each counts for itself.
//
// To change the rule from one to another while tasks run, roll out these to all programs, one after the other:
//
//  1. Route(backends, before, Moving(after)): a backend that is new is among backends from now on. Workers look in both. Set pauses and
//     limits of queues that move again, if they have some.
//  2. Route(backends, after, Moving(before)): new tasks go to where they are to be. Workers take what is left from where it was.
//  3. Route(backends, after), when nothing is left: [Client.Stats] of the backend that the queues have left, by itself, counts none that
//     are waiting, ready, scheduled or running. Before that delete the schedules that are there, and declare them again.
//
// A backend that no queue lives in any more is to stay among the backends for as long as results and events in it are read. Meanwhile a
// unique key can be held in both places, and a task cannot be made to wait for one that is in the place before.
func Moving(rule RouteRule) RouteOption {
	return routeOption(func(r *route) error {
		r.rules = append(r.rules, rule)
		return nil
	})
}

const (
	maxPlaceName = 40
	tokenMark    = ":" // between a backend's name and the token of a lease of its own
)

func isPlaceName(name string) bool {
	for _, c := range []byte(name) {
		if !('a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || c == '.' || c == '-' || c == '_') {
			return false
		}
	}
	return 0 < len(name) && len(name) <= maxPlaceName
}

// route is what Route returns. Its parts are in the other files that are named after it.
type route struct {
	places []*place // in the order of their names
	byName map[string]*place
	rules  []RouteRule // the first says where what is new goes, and all where to look
	caps   Capabilities
	log    *slog.Logger
	closed atomic.Bool
}

// place is one backend of a route.
type place struct {
	Backend

	name   string
	prefix string   // of its leases' tokens
	alone  []*place // it
	rest   rest
}

// fault says where an error comes from.
func (p *place) fault(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("backend %q: %w", p.name, err)
}

func (r *route) place(rule RouteRule, queue string) (*place, error) {
	name := rule(queue)
	if p, ok := r.byName[name]; ok {
		return p, nil
	}
	return nil, invalid("by the rule of the route queue %q lives in backend %q, want one of %q", queue, name, slices.Sorted(maps.Keys(r.byName)))
}

// home is where new tasks of a queue go.
func (r *route) home(queue string) (*place, error) {
	return r.place(r.rules[0], cmp.Or(queue, DefaultQueue))
}

// placesOf are where tasks of a queue can be, its home the last.
func (r *route) placesOf(queue string) ([]*place, error) {
	if queue == ScheduleQueue {
		return r.places, nil
	}
	home, err := r.home(queue)
	if err != nil || len(r.rules) == 1 {
		return home.orNone(), err
	}
	all := make([]*place, 0, len(r.rules))
	for _, rule := range r.rules[1:] {
		p, err := r.place(rule, cmp.Or(queue, DefaultQueue))
		if err != nil {
			return nil, err
		}
		if p != home && !slices.Contains(all, p) {
			all = append(all, p)
		}
	}
	return append(all, home), nil
}

func (p *place) orNone() []*place {
	if p == nil {
		return nil
	}
	return p.alone
}

// placeOf is where a new task goes. A schedule goes where its calls do.
func (r *route) placeOf(t *RawTask) (*place, error) {
	if t.Queue != ScheduleQueue {
		return r.home(t.Queue)
	}
	all, err := r.placesOfSchedule(t.FuncName, t.Args)
	if err != nil {
		return nil, err
	}
	return all[len(all)-1], nil
}

// placesOfSchedule are where a task of ScheduleQueue can be, where it is to be the last.
func (r *route) placesOfSchedule(name string, args Raw) ([]*place, error) {
	if name != scheduleName {
		return r.places, nil
	}
	table, err := readTimetable(args)
	if err != nil {
		return nil, invalid("%w", err)
	}
	var all []*place
	for i, call := range table.Spec.Calls {
		of, err := r.placesOf(call.Task.Queue)
		if err != nil {
			return nil, err
		}
		if i > 0 && of[len(of)-1] != all[len(all)-1] {
			return nil, invalid("the calls of schedule %q live in the backends %q and %q, want one: a schedule stays in one backend",
				table.Name, all[len(all)-1].name, of[len(of)-1].name)
		}
		if i == 0 {
			all = of
			continue
		}
		all = slices.DeleteFunc(slices.Clone(all), func(p *place) bool { return !slices.Contains(of, p) })
	}
	return all, nil
}

func (r *route) Capabilities() Capabilities { return r.caps }

// capabilities are those that all places have.
func (r *route) capabilities() Capabilities {
	var names []string
	all := Capabilities{
		Durable: true, Survives: math.MaxUint8, Shared: true, Fencing: true, AtomicFinish: true, Priorities: true, PushLease: true,
		PushResult: true, PushCancel: true, Flows: true, Notes: true, Replaces: true, Limits: true, Events: true, AtomicEvents: true,
	}
	for _, p := range r.places {
		c := p.Backend.Capabilities()
		names = append(names, c.Name)
		all.Durable = all.Durable && c.Durable
		all.Survives = min(all.Survives, c.Survives)
		all.Shared = all.Shared && c.Shared
		all.Fencing = all.Fencing && c.Fencing
		all.AtomicFinish = all.AtomicFinish && c.AtomicFinish
		all.Priorities = all.Priorities && c.Priorities
		all.PushLease = all.PushLease && c.PushLease
		all.PushResult = all.PushResult && c.PushResult
		all.PushCancel = all.PushCancel && c.PushCancel
		all.Flows = all.Flows && c.Flows
		all.Notes = all.Notes && c.Notes
		all.Replaces = all.Replaces && c.Replaces
		all.Limits = all.Limits && c.Limits
		all.Events = all.Events && c.Events
		all.AtomicEvents = all.AtomicEvents && c.AtomicEvents
		if c.MaxTaskSize > 0 && (all.MaxTaskSize == 0 || c.MaxTaskSize < all.MaxTaskSize) {
			all.MaxTaskSize = c.MaxTaskSize
		}
	}
	slices.Sort(names)
	all.Name = "route:" + strings.Join(slices.Compact(names), "+")
	all.Spread = len(r.places) > 1
	return all
}

// Close closes all places at once.
func (r *route) Close() error {
	r.closed.Store(true)
	return everywhere(context.Background(), r.places, func(_ context.Context, p *place) error { return p.Close() })
}

// everywhere does something in each of the places at once, and returns when all have answered.
func everywhere(ctx context.Context, places []*place, do func(context.Context, *place) error) error {
	if len(places) == 1 {
		return places[0].fault(do(ctx, places[0]))
	}
	failed := make([]error, len(places))
	inEach(places, func(i int, p *place) { failed[i] = p.fault(do(ctx, p)) })
	return errors.Join(failed...)
}
