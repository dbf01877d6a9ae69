package sqlite

import (
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// LockWait sets how long a backend waits for locks.
var LockWait = lockWait

// Awaits reports whether somebody waits for a result.
func (b *Backend) Awaits() bool { return b.awaited.Any() }

// Awaiting is how many tasks are waited for that were seen not to be final.
func (b *Backend) Awaiting() int {
	ids, _ := b.awaited.Looked()
	return len(ids)
}

// Parked is how many calls wait in the writer.
func (b *Backend) Parked(tb testing.TB) (n int) {
	tb.Helper()
	require.NoError(tb, b.write(tb.Context(), func(*tx) error { n = len(b.w.parked); return nil }))
	return n
}

// Recount compares the counts with what there is.
func (b *Backend) Recount(tb testing.TB) {
	tb.Helper()
	require.NoError(tb, b.correct(tb.Context()))
}

// Path is that of the file.
func (b *Backend) Path() string { return b.path }

// Statements are those that the backend has prepared so far.
func (b *Backend) Statements(tb testing.TB) []string {
	tb.Helper()
	all := make(map[string]bool)
	add := func(c *conn) {
		for q := range c.stmts {
			all[q] = true
		}
	}
	require.NoError(tb, b.write(tb.Context(), func(*tx) error { add(b.w.c); return nil }))
	for range cap(b.readers.slots) { // none is in use then: what goes on by itself reads, too
		b.readers.slots <- struct{}{}
		defer func() { <-b.readers.slots }()
	}
	b.readers.mu.Lock()
	defer b.readers.mu.Unlock()
	for _, c := range b.readers.free {
		add(c)
	}
	return slices.Sorted(maps.Keys(all))
}

// WithClock sets the clock.
func WithClock(now func() time.Time) Option { return func(c *config) { c.now = now } }

// WithAllowance sets how long a transaction may take for each kind of what happens by itself: but a step at least.
func WithAllowance(d time.Duration) Option { return func(c *config) { c.allowance = d } }

// WithRecount sets how often the counts are compared with what there is.
func WithRecount(d time.Duration) Option { return func(c *config) { c.recount = d } }

// WithHeld lets f hear for how long each of the writer's transactions had the file.
func WithHeld(f func(time.Duration)) Option { return func(c *config) { c.held = f } }

// Untold settles leases and requeues tasks in one transaction, in which nobody is told before the end of what has ended.
func (b *Backend) Untold(tb testing.TB, settlements []omniq.Settlement, ids []uuid.UUID) error {
	tb.Helper()
	list, err := newSettlements(settlements)
	require.NoError(tb, err)
	var refused []error
	require.NoError(tb, b.write(tb.Context(), func(t *tx) error {
		for i := range list {
			r, err := t.endLease(&list[i])
			if err != nil {
				return err
			}
			refused = append(refused, r)
		}
		r := requeuing{tx: t, ids: ids}
		for _, id := range ids {
			again, err := r.id(id)
			if err != nil {
				return err
			}
			refused = append(refused, again)
		}
		return nil
	}))
	return errors.Join(refused...)
}
