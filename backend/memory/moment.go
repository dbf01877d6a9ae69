package memory

import (
	"container/heap"
	"time"
)

// moments are things that end by themselves, the next first.
type moments[T any] []moment[T]

type moment[T any] struct {
	at   time.Time
	what T
}

func (m *moments[T]) add(at time.Time, what T) { heap.Push(m, moment[T]{at, what}) }

// next is when the next one ends, zero for never.
func (m moments[T]) next() time.Time {
	if len(m) == 0 {
		return time.Time{}
	}
	return m[0].at
}

// pop takes out the next one, if it ends at now or before.
func (m *moments[T]) pop(now time.Time) (what T, ok bool) {
	if len(*m) == 0 || (*m)[0].at.After(now) {
		return what, false
	}
	return heap.Pop(m).(moment[T]).what, true
}

func (m moments[T]) Len() int { return len(m) }

func (m moments[T]) Less(i, j int) bool { return m[i].at.Before(m[j].at) }

func (m moments[T]) Swap(i, j int) { m[i], m[j] = m[j], m[i] }

// Push is for container/heap.
func (m *moments[T]) Push(x any) { *m = append(*m, x.(moment[T])) }

// Pop is for container/heap.
func (m *moments[T]) Pop() any {
	last := len(*m) - 1
	popped := (*m)[last]
	*m = shorter(*m)
	return popped
}
