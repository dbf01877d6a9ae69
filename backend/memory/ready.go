package memory

import (
	"container/heap"
	"time"
)

// ready are the tasks of a queue that are due, in the order in which they are leased: a heap of priorities, the highest
// first, each of which has its tasks.
type ready struct {
	heap ranks
	of   map[int]*rank
	n    int
}

// rank are the tasks of one priority: a heap, that which is leased first at the top. It exists while there are any.
type rank struct {
	priority int
	place    int // in the heap of ranks
	tasks    byDue
}

func (r *ready) push(e *entry) {
	k, ok := r.of[e.task.Priority]
	if !ok {
		if r.of == nil {
			r.of = make(map[int]*rank)
		}
		k = &rank{priority: e.task.Priority}
		r.of[k.priority] = k
		heap.Push(&r.heap, k)
	}
	heap.Push(&k.tasks, e)
	r.n++
}

// pop takes out the task that is leased first. There must be one.
func (r *ready) pop() *entry {
	return r.take(r.heap[0], 0)
}

// drop takes out a task that is in.
func (r *ready) drop(e *entry) { r.take(r.of[e.task.Priority], e.place) }

// take takes out the task in this place of a rank.
func (r *ready) take(k *rank, place int) *entry {
	e := heap.Remove(&k.tasks, place).(*entry)
	r.n--
	if len(k.tasks) == 0 {
		heap.Remove(&r.heap, k.place)
		delete(r.of, k.priority)
	}
	return e
}

// since is when the task became due that has waited longest, zero if there is none. It looks at one of each priority.
func (r *ready) since() time.Time {
	var first time.Time
	for _, k := range r.heap {
		if due := k.tasks[0].due; first.IsZero() || due.Before(first) {
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

// byDue is a heap of tasks, that which became due first at the top, and of those the one that was enqueued first.
type byDue []*entry

func (d byDue) Len() int { return len(d) }

func (d byDue) Less(i, j int) bool {
	if c := d[i].due.Compare(d[j].due); c != 0 {
		return c < 0
	}
	return d[i].seq < d[j].seq
}

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
	(*all)[last] = nil
	*all = (*all)[:last]
	return x
}
