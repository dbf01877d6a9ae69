package memory

import (
	"container/heap"
	"time"

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

// advance does what was to happen until now.
func (b *Backend) advance(now time.Time) {
	for e, ok := b.coming.next(now); ok; e, ok = b.coming.next(now) {
		if e.token != 0 {
			b.lose(e, now)
		}
		b.pend(e, now) // it is due or has expired, or its lease ran out
	}
	for e, ok := b.going.next(now); ok; e, ok = b.going.next(now) {
		b.remove(e)
	}
	b.holds.advance(now)
	b.revoked.advance(now)
	b.events.advance(now)
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
	if next.IsZero() || !b.wake.IsZero() && !next.Before(b.wake) {
		return
	}
	b.wake = next
	if b.timer == nil {
		b.timer = time.AfterFunc(time.Until(next), b.tick)
		return
	}
	b.timer.Reset(time.Until(next))
}

func (b *Backend) tick() {
	b.mu.Lock()
	if b.isClosed() {
		b.mu.Unlock()
		return
	}
	b.wake = time.Time{}
	b.advance(time.Now())
	b.end()
}

// expired reports whether the task's TTL has passed.
func (e *entry) expired(now time.Time) bool {
	return !e.ends.IsZero() && !now.Before(e.ends)
}

// lose takes a task from the worker whose lease of it has run out.
func (b *Backend) lose(e *entry, now time.Time) {
	if e.started {
		e.lost++
	}
	e.due = now.Add(engine.Pause(e.lost))
}

// pend makes a task pending: ready when it is due, and in the agenda for what comes next.
func (b *Backend) pend(e *entry, now time.Time) {
	if e.status != omniq.StatusPending {
		e.become(omniq.StatusPending, now)
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
		e.queue.push(e)
	}
}

func (a agenda) Len() int { return len(a) }

func (a agenda) Less(i, j int) bool { return a[i].at.Before(a[j].at) }

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
	last := len(*a) - 1
	e := (*a)[last]
	(*a)[last] = nil
	*a = (*a)[:last]
	e.index = -1
	return e
}
