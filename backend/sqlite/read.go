package sqlite

import (
	"context"
	"errors"
	"sync"
)

// read calls f with a connection to read by.
func (b *Backend) read(ctx context.Context, f func(*conn) error) error {
	if err := b.alive(ctx); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return contextError(ctx)
	case <-b.life.Done():
		return b.ended()
	case b.readers.slots <- struct{}{}:
	}
	defer func() { <-b.readers.slots }()
	c, err := b.readers.take(b)
	if err != nil {
		return b.wrap(err)
	}
	defer b.readers.put(c)
	c.ctx = ctx
	err = f(c)
	c.ctx = context.Background()
	if err != nil && ctx.Err() != nil {
		return contextError(ctx)
	}
	return b.wrap(err)
}

// readers are connections to read by.
type readers struct {
	slots chan struct{} // one for each call that reads
	mu    sync.Mutex
	free  []*conn // the last one was used last
}

// take returns a free connection, or opens one.
func (r *readers) take(b *Backend) (*conn, error) {
	r.mu.Lock()
	if last := len(r.free) - 1; last >= 0 {
		c := r.free[last]
		r.free = r.free[:last]
		r.mu.Unlock()
		return c, nil
	}
	r.mu.Unlock()
	c, err := b.config.connect(b.path, "rw", "query_only(1)")
	if err != nil {
		return nil, err
	}
	if err := b.intact(true); err != nil { // it may be another file
		_ = c.close()
		return nil, err
	}
	return c, nil
}

// put takes a connection back. One on which a statement has failed, by the end of its context as a rule, is closed:
// nobody knows what it may still have open.
func (r *readers) put(c *conn) {
	if c.failed {
		_ = c.close() // what there is to say was said when it failed
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.free = append(r.free, c)
}

// close waits for those who read. No other begins to.
func (r *readers) close() error {
	for range cap(r.slots) {
		r.slots <- struct{}{}
	}
	var errs []error
	for _, c := range r.free {
		errs = append(errs, c.close())
	}
	return errors.Join(errs...)
}
