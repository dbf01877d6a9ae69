package omniq

import (
	"github.com/omniq-go/omniq/codec"
)

// Value returns the promise of a value that is known, to stand beside others in a [Join2] or an [All].
func Value[T any](value T) Promise[T] {
	return Promise[T]{&node{kind: valueNode, value: func(c codec.Codec) (Raw, string, error) { return encodeResult(c, &value) }}}
}

// All returns the promise of the results of several calls, in their order: they run side by side. It has none, as an empty
// slice, for no calls. It ends without success when one of them does.
func All[T any](promises ...Promise[T]) Promise[[]T] {
	parts := make([]*node, len(promises))
	for i, p := range promises {
		parts[i] = partOf(p)
	}
	return Promise[[]T]{&node{kind: listNode, parts: parts}}
}

// Outcome is what became of a call: its result, or the error with which it ended.
type Outcome[R any] struct {
	Value R          `json:"value"` // the zero value beside an error
	Err   *TaskError `json:"error"` // nil for a success
}

// Settled returns the promise of the outcome of a call, whether it succeeds or not: who takes it runs in any case. Of an [All] or
// a [Join2] the error is that of the first part that has one.
func Settled[T any](p Promise[T]) Promise[Outcome[T]] {
	return Promise[Outcome[T]]{&node{kind: settledNode, parts: []*node{partOf(p)}}}
}

// SettledAll returns the promise of the outcomes of several calls, in their order. Who takes it runs in any case.
func SettledAll[T any](promises ...Promise[T]) Promise[[]Outcome[T]] {
	parts := make([]Promise[Outcome[T]], len(promises))
	for i, p := range promises {
		parts[i] = Settled(p)
	}
	return All(parts...)
}

func join(parts ...*node) *node { return &node{kind: listNode, parts: parts} }

// Join1 returns the promise of an args type of one element: the result of a call.
func Join1[T1 any](p1 Promise[T1]) Promise[Args1[T1]] { return Promise[Args1[T1]]{join(partOf(p1))} }

// Join2 returns the promise of an args type of two elements, which are the results of two calls: they run side by side. It ends
// without success when one of them does.
func Join2[T1, T2 any](p1 Promise[T1], p2 Promise[T2]) Promise[Args2[T1, T2]] {
	return Promise[Args2[T1, T2]]{join(partOf(p1), partOf(p2))}
}

// Join3 is [Join2] for three calls.
func Join3[T1, T2, T3 any](p1 Promise[T1], p2 Promise[T2], p3 Promise[T3]) Promise[Args3[T1, T2, T3]] {
	return Promise[Args3[T1, T2, T3]]{join(partOf(p1), partOf(p2), partOf(p3))}
}

// Join4 is [Join2] for four calls.
func Join4[T1, T2, T3, T4 any](p1 Promise[T1], p2 Promise[T2], p3 Promise[T3], p4 Promise[T4]) Promise[Args4[T1, T2, T3, T4]] {
	return Promise[Args4[T1, T2, T3, T4]]{join(partOf(p1), partOf(p2), partOf(p3), partOf(p4))}
}

// Join5 is [Join2] for five calls.
func Join5[T1, T2, T3, T4, T5 any](
	p1 Promise[T1], p2 Promise[T2], p3 Promise[T3], p4 Promise[T4], p5 Promise[T5],
) Promise[Args5[T1, T2, T3, T4, T5]] {
	return Promise[Args5[T1, T2, T3, T4, T5]]{join(partOf(p1), partOf(p2), partOf(p3), partOf(p4), partOf(p5))}
}

// Join6 is [Join2] for six calls.
func Join6[T1, T2, T3, T4, T5, T6 any](
	p1 Promise[T1], p2 Promise[T2], p3 Promise[T3], p4 Promise[T4], p5 Promise[T5], p6 Promise[T6],
) Promise[Args6[T1, T2, T3, T4, T5, T6]] {
	return Promise[Args6[T1, T2, T3, T4, T5, T6]]{join(partOf(p1), partOf(p2), partOf(p3), partOf(p4), partOf(p5), partOf(p6))}
}
