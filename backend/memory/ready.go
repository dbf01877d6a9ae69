package memory

import (
	"container/heap"
	"time"
)

// ready are the tasks of a queue that are due, in the order in which they are leased: a heap of priorities, the highest
// first, each of which has its tasks.
type ready struct {
	heap  ranks
	of    map[int]*rank
	n     int
	spare *rank // the last one that was left empty, for the next
}

// rank are the tasks of one priority. It exists while there are any. Nearly all come in the order in which they are leased, and
// stand in the line.
type rank struct {
	priority int
	place    int // in the heap of ranks
	line     line
	late     byDue // those that came after others that are leased after them
}

func (r *ready) push(e *entry) {
	k, ok := r.of[e.task.Priority]
	if !ok {
		if r.of == nil {
			r.of = make(map[int]*rank)
		}
		if k = r.spare; k == nil {
			k = new(rank)
		}
		r.spare = nil
		k.priority = e.task.Priority
		r.of[k.priority] = k
		heap.Push(&r.heap, k)
	}
	if last := k.line.last(); last == nil || last.before(e) {
		k.line.push(e)
	} else {
		heap.Push(&k.late, e)
	}
	r.n++
}

// pop takes out the task that is leased first. There must be one.
func (r *ready) pop() *entry {
	k := r.heap[0]
	e := k.first()
	r.take(k, e)
	return e
}

// drop takes out a task that is in.
func (r *ready) drop(e *entry) { r.take(r.of[e.task.Priority], e) }

// take takes a task out of its rank.
func (r *ready) take(k *rank, e *entry) {
	if e.inLine {
		k.line.drop(e)
	} else {
		heap.Remove(&k.late, e.place)
	}
	r.n--
	if k.first() == nil {
		heap.Remove(&r.heap, k.place)
		delete(r.of, k.priority)
		r.spare = k
	}
}

// first is the task that is leased first, nil if there is none.
func (k *rank) first() *entry {
	e := k.line.first()
	if len(k.late) > 0 && (e == nil || k.late[0].before(e)) {
		return k.late[0]
	}
	return e
}

// before reports whether a task is leased before another one of its priority: it became due first, or at the same time and was
// enqueued first.
func (e *entry) before(other *entry) bool {
	if c := e.due.Compare(other.due); c != 0 {
		return c < 0
	}
	return e.seq < other.seq
}

// since is when the task became due that has waited longest, zero if there is none. It looks at one of each priority.
func (r *ready) since() time.Time {
	var first time.Time
	for _, k := range r.heap {
		if due := k.first().due; first.IsZero() || due.Before(first) {
			first = due
		}
	}
	return first
}

type ranks []*rank

func (r ranks) Len() int           { return len(r) }
func (r ranks) Less(i, j int) bool { return r[i].priority > r[j].priority }

func (r ranks) Swap(i, j int) {
	r[i], r[j] = r[j], r[i]
	r[i].place, r[j].place = i, j
}

// Push is for container/heap.
func (r *ranks) Push(x any) {
	k := x.(*rank)
	k.place = len(*r)
	*r = append(*r, k)
}

// Pop is for container/heap.
func (r *ranks) Pop() any { return pop((*[]*rank)(r)) }

// byDue is a heap of tasks, that which is leased first at the top.
type byDue []*entry

func (d byDue) Len() int { return len(d) }

func (d byDue) Less(i, j int) bool { return d[i].before(d[j]) }

func (d byDue) Swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].place, d[j].place = i, j
}

// Push is for container/heap.
func (d *byDue) Push(x any) {
	e := x.(*entry)
	e.place = len(*d)
	*d = append(*d, e)
}

// Pop is for container/heap.
func (d *byDue) Pop() any {
	e := pop((*[]*entry)(d))
	e.place = -1
	return e
}

// pop takes the last one out.
func pop[T any](all *[]*T) *T {
	last := len(*all) - 1
	x := (*all)[last]
	*all = shorter(*all)
	return x
}
