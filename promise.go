package omniq

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq/codec"
)

// Promise is the result of a call that has not been stored yet, of type R. It can be the argument of another call: a result is
// the next one's arguments. So calls become a graph, whose types the compiler has checked, and which has no cycles. Enqueue
// stores the whole graph.
//
//	page := Fetch.With(FetchArgs{URL: u})                   // Promise[Page]
//	doc := Parse.On(page)                                   // Parse takes a Page
//	thumb := Resize.On(page, ResizeOpts{Width: 80})         // the same page again: it is fetched once
//	h, err := Index.On(omniq.Join2(doc, thumb)).Enqueue(ctx, client)
//
// With and On of a definition or a reference make promises, and [Value], [Join2], [All], [Settled] and the like make one of
// others. A promise is an immutable value that any number of goroutines may use, any number of times. What is wrong with it,
// an option or an argument that cannot be encoded, is told by Enqueue.
//
// A call waits, without a worker's place, until all that it is made of has ended. If one of these does not succeed, the call
// never starts: it is cancelled, and its error, in which errors.Is finds [ErrDependency], names the call that began it.
// [Settled] is for a call that wants to know of failures instead.
type Promise[R any] struct{ node *node }

// Promised is a [Promise] of any type.
type Promised interface{ promised() *node }

func (p Promise[R]) promised() *node { return p.node }

// node is a promise without its type: a call, or what is made of calls. It is immutable, but for its owner.
type node struct {
	err error // what was wrong when it was made

	// Of a call.
	head   *RawTask                                // without its payload and what it waits for
	encode func(raw *RawTask, c codec.Codec) error // sets the payload
	args   *node                                   // what its args are made of, nil for none
	kwargs *node                                   // what its kwargs are made of, nil for none
	each   bool                                    // it is a call for each element of args or kwargs
	after  []*node                                 // what it waits for besides
	owner  atomic.Pointer[origin]                  // who has stored it, nil for nobody

	// Of what is made of calls.
	kind  nodeKind
	parts []*node
	value func(c codec.Codec) (Raw, string, error) // encodes it, and names the codec
}

type nodeKind uint8

const (
	callNode    nodeKind = iota
	valueNode            // a value that is known
	listNode             // an array of parts
	settledNode          // the outcome of its only part
	tickNode             // what a schedule's run is for
)

func (k nodeKind) String() string {
	return [...]string{"call", "Value", "Join or All", "Settled", "AtTick"}[k]
}

var errNoPromise = invalid("a promise that no call, Value, Join or All has made")

// ID is the ID that the call's task will have, zero for a promise that is not a call: made by [Value], [All] and the like.
func (p Promise[R]) ID() uuid.UUID {
	if p.node == nil || p.node.head == nil {
		return uuid.Nil
	}
	return p.node.head.ID
}

// After returns a promise of the same call, which waits for the others, too, before it starts: an order without data. They must
// succeed. It has the same ID and takes the place of p, which stays as it is: a graph with both is [ErrInvalid].
func (p Promise[R]) After(others ...Promised) Promise[R] {
	n := p.node
	switch {
	case n == nil || n.err != nil:
		return p // which says what is wrong
	case n.kind != callNode:
		return Promise[R]{&node{err: invalid("%v cannot wait for other calls, only a call can", n.kind)}}
	}
	all := slices.Clone(n.after)
	for _, o := range others {
		if o == nil {
			return Promise[R]{&node{err: errNoPromise}}
		}
		all = append(all, o.promised())
	}
	return Promise[R]{&node{head: n.head, encode: n.encode, args: n.args, kwargs: n.kwargs, each: n.each, after: all}}
}

// With returns the promise of a call with these arguments. Nothing is stored before Enqueue. The options are as for
// [Reference.Enqueue].
func (r Reference[A, K, R]) With(args A, kwargs K, opts ...TaskOption) Promise[R] {
	n := r.call(opts)
	n.encode = func(raw *RawTask, c codec.Codec) error { return encodePayload(raw, c, &args, &kwargs) }
	return Promise[R]{n}
}

// On returns the promise of a call whose args are the result of another one.
func (r Reference[A, K, R]) On(args Promise[A], kwargs K, opts ...TaskOption) Promise[R] {
	n := r.call(opts)
	n.args = partOf(args)
	n.encode = func(raw *RawTask, c codec.Codec) error { return encodePayload(raw, c, &NoArgs{}, &kwargs) }
	return Promise[R]{n}
}

// Each returns the promise of a call for each element of another one's result, which are known when that has run, in the order
// of the elements. The calls run side by side. An empty result gives an empty one. The options are those of the calls;
// an [ID] or a unique key is [ErrInvalid].
func (r Reference[A, K, R]) Each(args Promise[[]A], kwargs K, opts ...TaskOption) Promise[[]R] {
	n := r.call(opts)
	n.args, n.each = partOf(args), true
	n.encode = func(raw *RawTask, c codec.Codec) error { return encodePayload(raw, c, &NoArgs{}, &kwargs) }
	return Promise[[]R]{n.checkEach(opts)}
}

// With returns the promise of a call with these args. See [Reference.With].
func (r ArgsReference[A, R]) With(args A, opts ...TaskOption) Promise[R] {
	return r.full.With(args, NoKwargs{}, opts...)
}

// On returns the promise of a call whose args are the result of another one. See [Reference.On].
func (r ArgsReference[A, R]) On(args Promise[A], opts ...TaskOption) Promise[R] {
	return r.full.On(args, NoKwargs{}, opts...)
}

// Each returns the promise of a call for each element of another one's result. See [Reference.Each].
func (r ArgsReference[A, R]) Each(args Promise[[]A], opts ...TaskOption) Promise[[]R] {
	return r.full.Each(args, NoKwargs{}, opts...)
}

// With returns the promise of a call with these kwargs. See [Reference.With].
func (r KwargsReference[K, R]) With(kwargs K, opts ...TaskOption) Promise[R] {
	return r.full.With(NoArgs{}, kwargs, opts...)
}

// On returns the promise of a call whose kwargs are the result of another one.
func (r KwargsReference[K, R]) On(kwargs Promise[K], opts ...TaskOption) Promise[R] {
	n := r.full.call(opts)
	n.kwargs, n.encode = partOf(kwargs), nothing
	return Promise[R]{n}
}

// Each returns the promise of a call for each element of another one's result, which are its kwargs. See [Reference.Each].
func (r KwargsReference[K, R]) Each(kwargs Promise[[]K], opts ...TaskOption) Promise[[]R] {
	n := r.full.call(opts)
	n.kwargs, n.each, n.encode = partOf(kwargs), true, nothing
	return Promise[[]R]{n.checkEach(opts)}
}

// With returns the promise of a call. See [Reference.With].
func (r NoArgsReference[R]) With(opts ...TaskOption) Promise[R] {
	return r.full.With(NoArgs{}, NoKwargs{}, opts...)
}

// On returns the promise of a call that follows one without a result. After one with a result it is With and
// [Promise.After].
func (r NoArgsReference[R]) On(before Promise[Void], opts ...TaskOption) Promise[R] {
	n := r.full.call(opts)
	n.encode, n.after = nothing, []*node{before.node}
	return Promise[R]{n}
}

// call is a call without its payload.
func (r *Reference[A, K, R]) call(opts []TaskOption) *node {
	head, err := r.newRaw(opts)
	if err != nil {
		return &node{err: fmt.Errorf("omniq: call of %q: %w", r.name, err)}
	}
	return &node{head: head}
}

// checkEach refuses what only one call can have.
func (n *node) checkEach(opts []TaskOption) *node {
	if n.err != nil {
		return n
	}
	var own taskConfig
	if own.apply(opts) == nil && own.id != uuid.Nil || n.head.UniqueKey != "" {
		n.err = invalid("each call of %q has an ID or a unique key, which only one can have", n.head.FuncName)
	}
	return n
}

// partOf is the node of a promise, which may be the zero value.
func partOf[T any](p Promise[T]) *node {
	if p.node == nil {
		return &node{err: errNoPromise}
	}
	return p.node
}

// nothing encodes no arguments.
func nothing(raw *RawTask, c codec.Codec) error {
	return encodePayload(raw, c, &NoArgs{}, &NoKwargs{})
}

// Enqueue stores the call, and all that it is made of, in one step: all or nothing. They are a flow. The handle is that of the
// call's task.
//
// Calls whose IDs or unique keys are taken are left out; those that have them take their places, also for the calls that
// follow. The error is a [DuplicateError] with these then, and the handle is there. A call with [Replace], [Debounce] or
// [Latest] is no member of the flow. Where it takes the place of a task, that one's ID is its own, without an error. A call that the same client has stored
// before is not stored again: with the same promise in two graphs, the second one waits for the call of the first. With any
// other error there is no handle, and nothing is stored:
//
//   - [ErrInvalid] says which call has an invalid option or an argument that cannot be encoded, that a promise is not a call,
//     that the graph has more than [MaxDependencies] calls, that another client has stored a part of it, or that the engine
//     has no flows.
//   - [ErrNotFound] says that a call of an earlier graph is not kept any more.
//   - Any other error is the backend's, or that of an [EnqueueMiddleware].
//
// In a transaction, see [Client.Tx], the whole graph is part of that.
func (p Promise[R]) Enqueue(ctx context.Context, c *Client) (*Handle[R], error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	g := newGraph(c.codecs.writer(), c.origin)
	if err := g.add(p.node); err != nil {
		return nil, err
	}
	h := &Handle[R]{client: c, id: p.node.head.ID}
	if len(g.tasks) == 0 {
		return h, nil
	}
	root := g.tasks[len(g.tasks)-1]
	if root.OnHeld == HeldRefuse { // the others are no members
		h.flow = g.flow
	}
	err := c.store(ctx, g.tasks)
	h.id = root.ID
	if taken, ok := errors.AsType[*DuplicateError](err); ok {
		for _, d := range taken.Duplicates {
			if d.ID == p.node.head.ID {
				h.id, h.flow = d.Holder, uuid.Nil
			}
		}
		return h, err
	}
	if err != nil {
		return nil, err
	}
	if !c.through { // of a transaction nobody knows yet whether it commits
		g.stored()
	}
	return h, nil
}
