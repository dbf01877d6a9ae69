package memory

import (
	"container/heap"
	"time"

	"github.com/omniq-go/omniq"
)

// agenda is a heap of what happens by itself, the next first: tasks become due or expire, leases run out, results go.
type agenda []item

// item is an entry or a kept result.
type item interface{ when() *moment }

// moment is an item's place in the agenda.
type moment struct {
	at    time.Time
	index int // -1 outside
}

func (m *moment) when() *moment { return m }

// put enters an item, or moves it.
func (a *agenda) put(it item, at time.Time) {
	m := it.when()
	m.at = at
	if m.index >= 0 {
		heap.Fix(a, m.index)
		return
	}
	heap.Push(a, it)
}

// drop takes an item out, if it is in.
func (a *agenda) drop(it item) {
	if m := it.when(); m.index >= 0 {
		heap.Remove(a, m.index)
	}
}

// advance does what was to happen until now.
func (b *Backend) advance(now time.Time) {
	for len(b.agenda) > 0 && !b.agenda[0].when().at.After(now) {
		switch it := heap.Pop(&b.agenda).(type) {
		case *kept:
			delete(b.results, it.result.TaskID)
		case *entry:
			switch {
			case it.token == 0 && it.expired(now):
				b.finish(it, omniq.ExpiredResult(&it.task, now, it.attempt), now)
			default: // due, or its lease ran out
				b.pend(it, now)
			}
		}
	}
}

// setTimer sees to it that advance is called in time when nobody else calls.
func (b *Backend) setTimer() {
	if len(b.agenda) == 0 {
		return
	}
	next := b.agenda[0].when().at
	if !b.wake.IsZero() && !next.Before(b.wake) {
		return
	}
	b.wake = next
	d := time.Until(next)
	if b.timer == nil {
		b.timer = time.AfterFunc(d, b.tick)
		return
	}
	b.timer.Reset(d)
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

func (a agenda) Len() int { return len(a) }

func (a agenda) Less(i, j int) bool { return a[i].when().at.Before(a[j].when().at) }

func (a agenda) Swap(i, j int) {
	a[i], a[j] = a[j], a[i]
	a[i].when().index, a[j].when().index = i, j
}

// Push is for container/heap.
func (a *agenda) Push(x any) {
	it := x.(item)
	it.when().index = len(*a)
	*a = append(*a, it)
}

// Pop is for container/heap.
func (a *agenda) Pop() any {
	last := len(*a) - 1
	it := (*a)[last]
	(*a)[last] = nil
	*a = (*a)[:last]
	it.when().index = -1
	return it
}
