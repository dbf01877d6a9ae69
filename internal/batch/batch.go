// Package batch lets concurrent calls share the calls of an engine: while one is in flight, those that come gather for
// the next. There is no timer, and a call that comes alone is made at once, by its own goroutine.
package batch

import (
	"context"
	"slices"
	"sync"
)

// MaxItems is how many items calls are gathered up to for one call of the engine. A single call may have more.
const MaxItems = 1000

// Group gathers calls of one function. It is safe for concurrent use.
type Group[T any] struct {
	do func(ctx context.Context, items []T) ([]error, error)

	mu      sync.Mutex
	busy    bool // a call is in flight, and will look at waiting when it ends
	waiting []*call[T]
}

// call is a call of Do that waits for one of the engine. Mu guards what is not its channel's to publish.
type call[T any] struct {
	items  []T
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
// it has done nothing.
func New[T any](do func(ctx context.Context, items []T) ([]error, error)) *Group[T] {
	return &Group[T]{do: do}
}

// Do calls the function with the items, alone or with those of others. When ctx ends first it returns the context's
// error; whether the items were worked on is unknown then. A failure of a shared call is not shared: each caller's
// items are tried again alone.
func (g *Group[T]) Do(ctx context.Context, items []T) ([]error, error) {
	g.mu.Lock()
	if !g.busy {
		g.busy = true
		g.mu.Unlock()
		defer g.next()
		return g.do(ctx, items)
	}
	c := &call[T]{items: items, done: make(chan struct{})}
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
	n, items := 0, 0
	for n < len(g.waiting) && (n == 0 || items+len(g.waiting[n].items) <= MaxItems) {
		items += len(g.waiting[n].items)
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

// run makes calls as one.
func (g *Group[T]) run(calls []*call[T]) {
	if len(calls) == 1 {
		calls[0].finish(g.fly(calls, calls[0].items))
		return
	}
	var items []T
	for _, c := range calls {
		items = append(items, c.items...)
	}
	errs, err := g.fly(calls, items)
	if err != nil { // at once: one after the other they would wait for each other's failures
		var trying sync.WaitGroup
		for i, c := range calls {
			trying.Go(func() { c.finish(g.fly(calls[i:i+1], c.items)) })
		}
		trying.Wait()
		return
	}
	for _, c := range calls {
		if errs == nil {
			c.finish(nil, nil)
			continue
		}
		c.finish(errs[:len(c.items):len(c.items)], nil)
		errs = errs[len(c.items):]
	}
}

// fly calls the function. The calls belong to several contexts, so none of them ends it: only all do.
func (g *Group[T]) fly(calls []*call[T], items []T) ([]error, error) {
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
	return g.do(ctx, items)
}

func (c *call[T]) finish(errs []error, err error) {
	c.errs, c.err = errs, err
	close(c.done)
}
