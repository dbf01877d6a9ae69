package memory

import (
	"container/heap"
	"math"
	"time"

	"github.com/omniq-go/omniq"
)

// lane is what a lane of a queue has ready, and what runs of it. It exists as long as there is something, or a hold or what its rate
// was charged is not over. The tasks without a lane are one, too: the queue's own, which always exists.
type lane struct {
	name    string
	ready   ready
	running int
	aside   int    // tasks that a Lease has taken out, and may put back
	served  uint64 // when its last turn was, in the queue's order
	used    int64  // of its rate: see [engine.Pace]
	held    time.Time
	opens   time.Time // for what it waits among those that rest
	rest    int       // its place among those that rest, -1 outside

	// Among those that have a turn.
	stands        bool   // it is one
	place         uint64 // served, when it took its place
	before, after *lane  // its neighbours in the line
	late          int    // its index among those that came back, -1 in the line
}

// lanes are those of a queue that has any beside its own. Each is in one heap at the most.
type lanes struct {
	named map[string]*lane
	turns turns // those that have a task that may be handed out, but for the limit of the queue
	rests rests // those that wait for a time: to have a turn, or to be forgotten
}

// lane returns the lane of this name.
func (q *queue) lane(name string, now time.Time) *lane {
	if name == "" {
		return &q.own
	}
	if q.lanes == nil {
		q.lanes = &lanes{named: make(map[string]*lane)}
		q.own.rest, q.own.stands = -1, false
		q.arrange(&q.own, now)
	}
	l, ok := q.lanes.named[name]
	if !ok {
		l = &lane{name: name, rest: -1}
		q.lanes.named[name] = l
	}
	return l
}

// all calls f for each lane.
func (q *queue) all(f func(*lane)) {
	f(&q.own)
	if q.lanes != nil {
		for _, l := range q.lanes.named {
			f(l)
		}
	}
}

// serve gives a lane its place after the others.
func (q *queue) serve(l *lane) {
	q.served++
	l.served = q.served
}

// opening is when the next task of a lane may be handed out, as far as that is a matter of time.
func (q *queue) opening(l *lane, now time.Time) time.Time {
	at := l.held
	if l != &q.own && q.eachLane.Bounds() {
		if opens := time.UnixMicro(q.eachLane.Opens(l.used, now.UnixMicro())); opens.After(at) {
			at = opens
		}
	}
	return at
}

// free reports whether the limit of running tasks permits one more of a lane.
func (q *queue) free(l *lane) bool {
	most := q.limit.EachLane.Running
	return l == &q.own || most == 0 || l.running < most
}

// arrange puts a lane where it belongs now, and forgets it if there is nothing left of it.
func (q *queue) arrange(l *lane, now time.Time) {
	if q.lanes == nil {
		return
	}
	empty := l.ready.n == 0
	at := q.opening(l, now)
	if empty && time.UnixMicro(l.used).After(at) {
		at = time.UnixMicro(l.used) // what was charged is over then
	}
	var turn, rest bool
	switch later := at.After(now); {
	case !empty && q.free(l):
		turn, rest = !later, later
	case empty && l.running == 0 && l.aside == 0 && l != &q.own:
		if rest = later; !later {
			q.forget(l)
			return
		}
	}
	q.lanes.turns.set(l, turn)
	q.lanes.rests.set(l, rest, at)
}

// forget removes a lane.
func (q *queue) forget(l *lane) {
	q.lanes.turns.set(l, false)
	q.lanes.rests.set(l, false, time.Time{})
	if q.lanes.named[l.name] == l {
		delete(q.lanes.named, l.name)
	}
	if len(q.lanes.named) == 0 {
		q.lanes = nil
	}
}

// next returns the lane whose turn it is, nil if no task may be handed out but for the limit of the queue.
func (q *queue) next(now time.Time) *lane {
	q.reopen(now)
	switch {
	case q.lanes != nil:
		return q.lanes.turns.first()
	case q.own.ready.n > 0 && !q.own.held.After(now):
		return &q.own
	}
	return nil
}

// reopen arranges the lanes whose time has come.
func (q *queue) reopen(now time.Time) {
	for q.lanes != nil && len(q.lanes.rests) > 0 && !q.lanes.rests[0].opens.After(now) {
		q.arrange(q.lanes.rests[0], now)
	}
}

// room is how many tasks the limit of the queue permits to hand out.
func (q *queue) room(now time.Time) int {
	n := int64(math.MaxInt32)
	if q.limit.Running > 0 {
		n = int64(max(q.limit.Running-q.counts[omniq.StatusRunning], 0))
	}
	if q.pace.Bounds() {
		n = min(n, q.pace.Room(q.used, now.UnixMicro()))
	}
	return int(n)
}

// available reports whether a task may be handed out now.
func (q *queue) available(now time.Time) bool {
	return !q.paused && q.ready > 0 && q.next(now) != nil && q.room(now) > 0
}

// opens is when a task may be handed out, as far as that is a matter of time: zero if it is not.
func (q *queue) opens(now time.Time) time.Time {
	if q.paused || q.ready == 0 || q.limit.Running > 0 && q.counts[omniq.StatusRunning] >= q.limit.Running {
		return time.Time{}
	}
	var at time.Time
	switch {
	case q.next(now) != nil:
		at = now
	case q.lanes == nil:
		at = q.own.held
	case len(q.lanes.rests) == 0:
		return time.Time{}
	default:
		at = q.lanes.rests[0].opens // or a little later: this one may be there to be forgotten
	}
	if q.pace.Bounds() {
		if opens := time.UnixMicro(q.pace.Opens(q.used, now.UnixMicro())); opens.After(at) {
			at = opens
		}
	}
	return at
}

// charge is told that a task of a lane is handed out.
func (q *queue) charge(l *lane, now time.Time) {
	q.serve(l)
	if q.pace.Bounds() {
		q.used = q.pace.Charge(q.used, now.UnixMicro(), 1)
	}
	if q.eachLane.Bounds() && l != &q.own {
		l.used = q.eachLane.Charge(l.used, now.UnixMicro(), 1)
	}
}

// ran is told that one more or one less of a lane's tasks runs.
func (q *queue) ran(name string, by int, now time.Time) {
	l := q.lane(name, now)
	l.running += by
	q.arrange(l, now)
	if by < 0 && len(q.waiting) > 0 && q.stirs(now) {
		q.wakeOne()
	}
}

// stirs reports whether who waits for the queue has something to do: now, or at a time.
func (q *queue) stirs(now time.Time) bool { return q.available(now) || !q.opens(now).IsZero() }

// holdBack lets no task of the settled one's lane be handed out for a while.
func (b *Backend) holdBack(e *entry, s *omniq.Settlement, now time.Time) {
	if s.Hold <= 0 {
		return
	}
	q := e.queue
	l := q.lane(e.task.Lane, now)
	if until := now.Add(s.Hold); until.After(l.held) {
		l.held = until
	}
	q.arrange(l, now)
}

// turns are lanes in the order in which they were served. One that was served just now comes last: so nearly all stand in a line, and
// only those that come back between others are in a heap.
type turns struct {
	head, tail *lane
	late       late
}

// first returns the lane that was served longest ago, nil for none.
func (t *turns) first() *lane {
	if len(t.late) > 0 && (t.head == nil || t.late[0].place < t.head.place) {
		return t.late[0]
	}
	return t.head
}

// set puts a lane where it belongs now, or takes it out.
func (t *turns) set(l *lane, in bool) {
	if l.stands && (!in || l.place != l.served) {
		t.remove(l)
	}
	if in && !l.stands {
		t.add(l)
	}
}

func (t *turns) add(l *lane) {
	l.stands, l.place, l.late = true, l.served, -1
	switch {
	case t.tail == nil:
		t.head, t.tail = l, l
	case t.tail.place > l.place:
		heap.Push(&t.late, l)
	default:
		l.before, t.tail.after, t.tail = t.tail, l, l
	}
}

func (t *turns) remove(l *lane) {
	l.stands = false
	if l.late >= 0 {
		heap.Remove(&t.late, l.late)
		return
	}
	if l.before != nil {
		l.before.after = l.after
	} else {
		t.head = l.after
	}
	if l.after != nil {
		l.after.before = l.before
	} else {
		t.tail = l.before
	}
	l.before, l.after = nil, nil
}

// late is a heap of lanes, that which was served longest ago at the top.
type late []*lane

func (t late) Len() int           { return len(t) }
func (t late) Less(i, j int) bool { return t[i].place < t[j].place }

func (t late) Swap(i, j int) {
	t[i], t[j] = t[j], t[i]
	t[i].late, t[j].late = i, j
}

// Push is for container/heap.
func (t *late) Push(x any) {
	l := x.(*lane)
	l.late = len(*t)
	*t = append(*t, l)
}

// Pop is for container/heap.
func (t *late) Pop() any { return pop((*[]*lane)(t)) }

// rests is a heap of lanes, that which opens first at the top.
type rests []*lane

func (r *rests) set(l *lane, in bool, opens time.Time) {
	if in {
		l.opens = opens
	}
	switch {
	case in && l.rest >= 0:
		heap.Fix(r, l.rest)
	case in:
		heap.Push(r, l)
	case l.rest >= 0:
		heap.Remove(r, l.rest)
	}
}

func (r rests) Len() int           { return len(r) }
func (r rests) Less(i, j int) bool { return r[i].opens.Before(r[j].opens) }

func (r rests) Swap(i, j int) {
	r[i], r[j] = r[j], r[i]
	r[i].rest, r[j].rest = i, j
}

// Push is for container/heap.
func (r *rests) Push(x any) {
	l := x.(*lane)
	l.rest = len(*r)
	*r = append(*r, l)
}

// Pop is for container/heap.
func (r *rests) Pop() any {
	l := pop((*[]*lane)(r))
	l.rest = -1
	return l
}
