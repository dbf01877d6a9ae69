// Package batch lets concurrent calls share the calls of an engine: while one is in flight, those that come gather for
// the next. A call that comes alone is made at once, by its own goroutine.
//
// Callers that work in a loop come back as soon as they have their answers. If the next call of the engine did not wait for
// them, each would be made for half of the callers, and the other half would wait meanwhile. So those that wait wait a little
// longer, see [Group.Do], unless it has turned out that the callers do not come back.
//
// No call holds up another one by what it alone has to wait for. The engine is told by [Shared] that a call must not
// wait, and fails with [ErrBlocked] where it would have to; the call is then made again by itself, while others go on.
package batch

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// Bounds of the time for which calls that wait let others gather that were answered just now.
const (
	gatherPart  = 4                    // of the time that the engine's call took, the part
	gatherMost  = 2 * time.Millisecond // no longer than this
	gatherCalls = 128                  // more callers are not waited for: half of them are a batch already
	gatherRest  = 7                    // calls of the engine without it, after it was in vain
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
	wanted  int           // how many waiting are to be before full is closed
	full    chan struct{} // nil if nobody lets calls gather
	rest    int           // calls of the engine before which nobody does

	expected int       // callers that may come back, if no call is in flight: the first of them waits for the others
	until    time.Time // when they are expected no more
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
// error; whether the items were worked on is unknown then. A call that waits for one in flight waits for a quarter of that one's
// time longer at the most, and no longer than 2 ms, so that the callers of that one can join. So does the first of these to come
// back. A failure of a shared call is not shared unless it is final: it is made again in parts, until the items that failed
// are alone.
func (g *Group[T]) Do(ctx context.Context, items []T) ([]error, error) {
	g.mu.Lock()
	if !g.busy {
		g.busy = true
		expected := g.expected
		g.expected = 0
		wait := time.Duration(0)
		if expected > 0 {
			wait = time.Until(g.until)
		}
		if wait <= 0 {
			g.mu.Unlock()
			return g.first(ctx, items)
		}
		go g.serve(0, expected, wait)
	}
	c := &call[T]{items: items, done: make(chan struct{})}
	if g.weigh != nil {
		for _, item := range items {
			c.weight += g.weigh(item)
		}
	}
	g.waiting = append(g.waiting, c)
	if g.full != nil && len(g.waiting) == g.wanted {
		close(g.full)
		g.full = nil
	}
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
		began := time.Now()
		defer func() { g.next(time.Since(began)) }()
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

// next ends a call that took so long, and makes those that have gathered meanwhile.
func (g *Group[T]) next(took time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.waiting) == 0 {
		g.busy = false
		return
	}
	go g.serve(len(g.waiting), 1, patience(took))
}

// patience is how long callers that were answered are waited for, after a call that took so long.
func patience(took time.Duration) time.Duration { return min(took/gatherPart, gatherMost) }

// serve makes calls of the engine until none waits. Before, so many waited, and n callers were answered just now.
func (g *Group[T]) serve(before, n int, wait time.Duration) {
	for {
		g.gather(before, n, wait)
		calls := g.take()
		if n = len(calls); n == 0 {
			return
		}
		began := time.Now()
		before = g.run(calls)
		wait = patience(time.Since(began))
		g.mu.Lock()
		if len(g.waiting) == 0 && n > 1 && n <= gatherCalls && g.rest == 0 {
			g.expected, g.until = n, time.Now().Add(wait)
		}
		g.mu.Unlock()
	}
}

// gather lets callers come back, if others wait.
func (g *Group[T]) gather(before, n int, wait time.Duration) {
	g.mu.Lock()
	if len(g.waiting) == 0 || len(g.waiting) >= before+n || before+n > gatherCalls || g.rest > 0 {
		g.rest = max(g.rest-1, 0)
		g.mu.Unlock()
		return
	}
	full := make(chan struct{})
	g.full, g.wanted = full, before+n
	g.mu.Unlock()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-full:
	case <-timer.C:
		g.mu.Lock()
		defer g.mu.Unlock()
		g.full = nil
		if len(g.waiting) < before+(n+1)/2 {
			g.rest = gatherRest
		}
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

// run makes calls as one, and returns how many others wait. What follows a failure is done beside the next calls.
func (g *Group[T]) run(calls []*call[T]) (others int) {
	var items []T
	for _, c := range calls {
		items = append(items, c.items...)
	}
	errs, err := g.fly(calls, items, true)
	g.mu.Lock()
	others = len(g.waiting)
	g.mu.Unlock()
	switch {
	case err != nil && !g.final(err) && len(calls) > 1:
		for part := range slices.Chunk(calls, (len(calls)+parts-1)/parts) {
			go g.run(part)
		}
		return others
	case errors.Is(err, ErrBlocked):
		go func() { calls[0].finish(g.fly(calls, items, false)) }()
		return others
	}
	for _, c := range calls {
		if errs == nil {
			c.finish(nil, err)
			continue
		}
		c.finish(errs[:len(c.items):len(c.items)], err)
		errs = errs[len(c.items):]
	}
	return others
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
