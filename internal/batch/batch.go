// Package batch lets concurrent calls share the calls of an engine: while one is in flight, those that come gather for
// the next. There is no timer, and a call that comes alone is made at once, by its own goroutine.
//
// No call holds up another one by what it alone has to wait for. The engine is told by [Shared] that a call must not
// wait, and fails with [ErrBlocked] where it would have to; the call is then made again by itself, while others go on.
package batch

import (
	"context"
	"errors"
	"slices"
	"sync"
)

// MaxItems is how many items calls are gathered up to for one call of the engine. A single call may have more.
const MaxItems = 1000

// ErrBlocked is what an engine returns of a shared call in which an item would have to wait for somebody else, for longer
// than a moment. The engine has done nothing then.
var ErrBlocked = errors.New("batch: one of the items has to wait for another transaction")

type sharedKey struct{}

// Shared reports whether a call of the engine holds up others: then it must not wait, see [ErrBlocked].
func Shared(ctx context.Context) bool { return ctx.Value(sharedKey{}) != nil }

func share(ctx context.Context) context.Context { return context.WithValue(ctx, sharedKey{}, true) }

// Group gathers calls of one function. It is safe for concurrent use.
type Group[T any] struct {
	do     func(ctx context.Context, items []T) ([]error, error)
	final  func(error) bool
	weigh  func(T) int // nil for no bound
	weight int         // up to which calls are gathered

	mu      sync.Mutex
	busy    bool // a call is in flight, and will look at waiting when it ends
	waiting []*call[T]
}

// call is a call of Do that waits for one of the engine. Mu guards what is not its channel's to publish.
type call[T any] struct {
	items  []T
	weight int
	errs   []error
	err    error
	done   chan struct{}
	flight *flight // the engine's call that it is in, nil before
	left   bool    // the caller's context has ended, and nobody waits any more
}

// flight is a call of the engine for several callers. It ends when all of them have left.
type flight struct {
	cancel  context.CancelFunc
	callers int // that have not left
}

// New returns a group over do, which returns an error for each item, or a nil slice for none, or one for all items: then
// it has done nothing, or what it did is unknown. In that case final is true for the error, and no call is made again; nil
// is for a function whose failures are all without effect.
func New[T any](do func(ctx context.Context, items []T) ([]error, error), final func(error) bool) *Group[T] {
	if final == nil {
		final = func(error) bool { return false }
	}
	return &Group[T]{do: do, final: final}
}

// Bounded has calls gathered only up to a weight of their items. A single call may have more. It returns g, and is for
// before the first Do.
func (g *Group[T]) Bounded(weight int, weigh func(T) int) *Group[T] {
	g.weight, g.weigh = weight, weigh
	return g
}

// Do calls the function with the items, alone or with those of others. When ctx ends first it returns the context's
// error; whether the items were worked on is unknown then. A failure of a shared call is not shared unless it is final:
// it is made again in parts, until the items that failed are alone.
func (g *Group[T]) Do(ctx context.Context, items []T) ([]error, error) {
	g.mu.Lock()
	if !g.busy {
		g.busy = true
		g.mu.Unlock()
		return g.first(ctx, items)
	}
	c := &call[T]{items: items, done: make(chan struct{})}
	if g.weigh != nil {
		for _, item := range items {
			c.weight += g.weigh(item)
		}
	}
	g.waiting = append(g.waiting, c)
	g.mu.Unlock()
	select {
	case <-c.done:
		return c.errs, c.err
	case <-ctx.Done():
	}
	g.leave(c)
	return nil, ctx.Err()
}

// first makes a call that has come alone. If it has to wait for somebody, others no longer wait for it.
func (g *Group[T]) first(ctx context.Context, items []T) ([]error, error) {
	errs, err := func() ([]error, error) {
		defer g.next()
		return g.do(share(ctx), items)
	}()
	if errors.Is(err, ErrBlocked) {
		return g.do(ctx, items)
	}
	return errs, err
}

// leave takes c out of those that wait, or ends its flight if nobody else is in it.
func (g *Group[T]) leave(c *call[T]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	c.left = true
	if i := slices.Index(g.waiting, c); i >= 0 {
		g.waiting = slices.Delete(g.waiting, i, i+1)
		return
	}
	if c.flight != nil {
		if c.flight.callers--; c.flight.callers == 0 {
			c.flight.cancel()
		}
	}
}

// next ends a call, and makes the one that has gathered meanwhile.
func (g *Group[T]) next() {
	if calls := g.take(); calls != nil {
		go func() {
			for calls != nil {
				g.run(calls)
				calls = g.take()
			}
		}()
	}
}

// take returns the calls to make next. When there are none, the next caller makes its own.
func (g *Group[T]) take() []*call[T] {
	g.mu.Lock()
	defer g.mu.Unlock()
	n, items, weight := 0, 0, 0
	for n < len(g.waiting) {
		c := g.waiting[n]
		items, weight = items+len(c.items), weight+c.weight
		if n > 0 && (items > MaxItems || weight > g.weight) {
			break
		}
		n++
	}
	calls := g.waiting[:n:n]
	g.waiting = g.waiting[n:]
	if n == 0 {
		g.busy, g.waiting = false, nil
		return nil
	}
	return calls
}

// parts is into how many a call is divided that has failed: few, so that the calls are not many more than there are
// callers, and not two, so that one that fails is soon alone.
const parts = 8

// run makes calls as one. What follows a failure is done beside the next calls.
func (g *Group[T]) run(calls []*call[T]) {
	var items []T
	for _, c := range calls {
		items = append(items, c.items...)
	}
	errs, err := g.fly(calls, items, true)
	switch {
	case err != nil && !g.final(err) && len(calls) > 1:
		for part := range slices.Chunk(calls, (len(calls)+parts-1)/parts) {
			go g.run(part)
		}
		return
	case errors.Is(err, ErrBlocked):
		go func() { calls[0].finish(g.fly(calls, items, false)) }()
		return
	}
	for _, c := range calls {
		if errs == nil {
			c.finish(nil, err)
			continue
		}
		c.finish(errs[:len(c.items):len(c.items)], err)
		errs = errs[len(c.items):]
	}
}

// fly calls the function. The calls belong to several contexts, so none of them ends it: only all do.
func (g *Group[T]) fly(calls []*call[T], items []T, shared bool) ([]error, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	f := &flight{cancel: cancel}
	g.mu.Lock()
	for _, c := range calls {
		if !c.left {
			c.flight = f
			f.callers++
		}
	}
	deserted := f.callers == 0
	g.mu.Unlock()
	if deserted {
		return nil, context.Canceled
	}
	if shared {
		ctx = share(ctx)
	}
	return g.do(ctx, items)
}

func (c *call[T]) finish(errs []error, err error) {
	c.errs, c.err = errs, err
	close(c.done)
}
