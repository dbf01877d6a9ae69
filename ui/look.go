package ui

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"
)

// How long a look at the engine is good.
const (
	freshPage = 500 * time.Millisecond // for who opens a page
	freshLive = 2 * time.Second        // at least, for pages that are open
	sparing   = 100                    // and so many times as long as it has taken: what is open costs the engine 1 % at the most,
	longest   = time.Minute            // but no longer than this
	maxLooks  = 500
)

// looks are what was seen in the engine of late. All who want to see the same at about the same time share one.
type looks struct {
	mu  sync.Mutex
	all map[string]*look
}

type look struct {
	began time.Time
	done  chan struct{} // closed when the rest is set
	took  time.Duration
	value any
	err   error
}

// good reports whether a look that has ended can be used once more.
func (l *look) good(now time.Time, fresh time.Duration, live bool) bool {
	age := now.Sub(l.began) - l.took
	return age < fresh || live && l.err == nil && age < min(sparing*l.took, longest)
}

// get returns a look that is good, that of another caller or its own.
func (l *looks) get(ctx context.Context, key string, fresh time.Duration, live bool, load func(context.Context) (any, error)) (any, error) {
	one := l.begin(key, fresh, live, load)
	select {
	case <-one.done:
		return one.value, one.err
	case <-ctx.Done():
		return nil, fmt.Errorf("ui: look at %.40s: %w", key, ctx.Err())
	}
}

// begin returns the look that there is, or begins one that ends by itself: those who share it may go.
func (l *looks) begin(key string, fresh time.Duration, live bool, load func(context.Context) (any, error)) *look {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if one := l.all[key]; one != nil {
		select {
		case <-one.done:
			if one.good(now, fresh, live) {
				return one
			}
		default:
			return one
		}
	}
	l.prune(now)
	if l.all == nil || len(l.all) >= maxLooks {
		l.all = make(map[string]*look) // those that are under way end, and are not shared any more
	}
	one := &look{began: now, done: make(chan struct{})}
	l.all[key] = one
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		defer close(one.done)
		defer func() { // nobody else could: it is a goroutine of its own
			if v := recover(); v != nil {
				one.err = fmt.Errorf("ui: look at %.40s: panic: %v", key, v)
			}
		}()
		one.value, one.err = load(ctx)
		one.took = time.Since(one.began)
	}()
	return one
}

// prune drops the looks that are good for nobody any more.
func (l *looks) prune(now time.Time) {
	maps.DeleteFunc(l.all, func(_ string, one *look) bool { return now.Sub(one.began) > longest+patience })
}

// forget makes each next look a new one: something was changed.
func (l *looks) forget() {
	l.mu.Lock()
	l.all = nil
	l.mu.Unlock()
}

// see looks at the engine for a call, or shares the look of another.
func see[T any](c *call, key string, load func(context.Context) (T, error)) (T, error) {
	fresh := freshPage
	if c.live {
		fresh = freshLive
	}
	v, err := c.h.looks.get(c.ctx, key, fresh, c.live, func(ctx context.Context) (any, error) { return load(ctx) })
	if err != nil {
		var none T
		return none, err
	}
	return v.(T), nil
}
