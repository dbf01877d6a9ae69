package memory

import (
	"container/heap"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// agenda is a heap of what happens by itself, the next first: tasks become due or expire, leases run out, results go.
// An entry is in one agenda at most.
type agenda []*entry

// put enters e, or moves it.
func (a *agenda) put(e *entry, at time.Time) {
	e.at = at
	if e.index >= 0 {
		heap.Fix(a, e.index)
		return
	}
	heap.Push(a, e)
}

// drop takes e out, if it is in.
func (a *agenda) drop(e *entry) {
	if e.index >= 0 {
		heap.Remove(a, e.index)
	}
}

// next returns the entry to which the next thing happens, if that is at now or before.
func (a agenda) next(now time.Time) (*entry, bool) {
	if len(a) == 0 || a[0].at.After(now) {
		return nil, false
	}
	return a[0], true
}

// atOnce is how many things happen by themselves at the most while the backend is locked once. What is left of many that
// are due at one moment happens soon after, so that calls do not wait for all of them; and to a task that is asked for,
// before the answer.
const atOnce = 500

// advance does what was to happen until now, or a part of it.
func (b *Backend) advance(now time.Time) {
	for range atOnce {
		e, ok := b.coming.next(now)
		if !ok {
			break
		}
		b.happen(e, now)
	}
	for range atOnce {
		e, ok := b.going.next(now)
		if !ok {
			break
		}
		b.over(e, now)
	}
	if len(b.fallout) > 0 {
		b.tell(now)
	}
	b.holds.advance(now)
	b.revoked.advance(now)
	b.events.advance(now)
}

// happen does what was to happen to a task that is not final: it is due, or has expired, or its lease has run out.
func (b *Backend) happen(e *entry, now time.Time) {
	if e.status == omniq.StatusWaiting {
		b.stay(e, now)
		return
	}
	if e.token != 0 {
		b.lose(e, now)
	}
	b.pend(e, now)
}

// behind reports whether a part is left of what was to happen to tasks.
func (b *Backend) behind(now time.Time) bool {
	_, ok := b.coming.next(now)
	return ok
}

// task returns the task of an ID as it is now, also if advance has not come to it, or nil.
func (b *Backend) task(id uuid.UUID, now time.Time) *entry {
	e, ok := b.tasks[id]
	if !ok || e.index < 0 || e.at.After(now) {
		return e
	}
	if e.result == nil {
		b.happen(e, now)
	}
	if e.result != nil && e.index >= 0 && !e.at.After(now) {
		b.over(e, now)
	}
	return b.tasks[id]
}

// setTimer sees to it that advance is called in time when nobody else calls.
func (b *Backend) setTimer() {
	var next time.Time
	for _, a := range []agenda{b.coming, b.going} {
		if len(a) > 0 && (next.IsZero() || a[0].at.Before(next)) {
			next = a[0].at
		}
	}
	for _, at := range []time.Time{b.holds.ends.next(), b.revoked.ends.next(), b.events.next()} {
		if !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	if len(b.fallout) > 0 {
		next = b.clock.now()
	}
	if next.IsZero() || !b.wake.IsZero() && !next.Before(b.wake) {
		return
	}
	b.wake = next
	in := next.Sub(b.clock.now())
	if b.timer == nil {
		b.timer = time.AfterFunc(in, b.tick)
		return
	}
	b.timer.Reset(in)
}

func (b *Backend) tick() {
	b.mu.Lock()
	if b.isClosed() {
		b.mu.Unlock()
		return
	}
	b.wake = time.Time{}
	b.advance(b.clock.now())
	b.end()
}

// expired reports whether the task's TTL has passed.
func (e *entry) expired(now time.Time) bool {
	return !e.ends.IsZero() && !now.Before(e.ends)
}

// lose takes a task from the worker whose lease of it has run out.
func (b *Backend) lose(e *entry, now time.Time) {
	if e.started {
		e.troubled().lost++
	}
	e.due = now.Add(engine.Pause(e.past().lost))
}

// pend makes a task pending: ready when it is due, and in the agenda for what comes next.
func (b *Backend) pend(e *entry, now time.Time) {
	if e.status != omniq.StatusPending {
		if e.status == omniq.StatusRunning { // after it is ready: its lane is not without a task meanwhile
			defer e.queue.ran(e.task.Lane, -1, now)
		}
		b.become(e, omniq.StatusPending, now)
	}
	e.token, e.started = 0, false
	if e.expired(now) {
		b.finish(e, omniq.ExpiredResult(e.task, now, e.attempt), now)
		return
	}
	expires := !e.ends.IsZero()
	switch ready := !e.due.After(now); {
	case !ready && (!expires || e.due.Before(e.ends)):
		b.coming.put(e, e.due)
	case expires:
		b.coming.put(e, e.ends)
	default:
		b.coming.drop(e)
	}
	if !e.due.After(now) {
		e.queue.push(e, now)
	}
}

func (a agenda) Len() int { return len(a) }

// Less has, of the tasks to which something happens at one moment, those before the others that are leased before them.
func (a agenda) Less(i, j int) bool {
	if c := a[i].at.Compare(a[j].at); c != 0 {
		return c < 0
	}
	if a[i].task != nil && a[j].task != nil && a[i].task.Priority != a[j].task.Priority {
		return a[i].task.Priority > a[j].task.Priority
	}
	return a[i].seq < a[j].seq
}

func (a agenda) Swap(i, j int) {
	a[i], a[j] = a[j], a[i]
	a[i].index, a[j].index = i, j
}

// Push is for container/heap.
func (a *agenda) Push(x any) {
	e := x.(*entry)
	e.index = len(*a)
	*a = append(*a, e)
}

// Pop is for container/heap.
func (a *agenda) Pop() any {
	e := pop((*[]*entry)(a))
	e.index = -1
	return e
}
