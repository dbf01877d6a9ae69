package postgres_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/backendtest"
	"github.com/omniq-go/omniq/backend/postgres"
)

// All rules are asked of backends that keep events, which do all that the others do. Those are behind a pooler.
func TestConformance(t *testing.T) {
	all := newStores(t)
	backendtest.Run(t, func(t *testing.T) omniq.Backend { return all.one(t, postgres.WithEvents(time.Hour)) },
		backendtest.Events(func(t *testing.T, retention time.Duration) omniq.Backend {
			return all.one(t, postgres.WithEvents(retention))
		}),
		backendtest.Skewed(func(t *testing.T, by time.Duration) omniq.Backend { return all.one(t, postgres.WithSkew(by)) }),
		all.shared(),
		backendtest.Transactions(func(t *testing.T) (omniq.Backend, func() backendtest.Tx) {
			b := all.one(t, postgres.WithEvents(time.Hour))
			return b, func() backendtest.Tx {
				tx, err := b.Pool().Begin(context.Background())
				require.NoError(t, err)
				return backendtest.Tx{
					Tx: tx, Commit: func() error { return tx.Commit(context.Background()) },
					Rollback: func() error { return tx.Rollback(context.Background()) },
				}
			}
		}))
}

// stores are schemas and the backends that are open on them. What a rule has left is emptied for the next one: to connect
// and to plan all statements anew would take most of the time.
type stores struct {
	t   *testing.T // which ends them
	url string

	mu   sync.Mutex
	free map[string][]*store // by how they were opened
}

// store is a schema and one backend on it, or two as two processes have them.
type store struct {
	backends []*postgres.Backend
	used     int // of the backends
}

func newStores(t *testing.T) *stores {
	t.Helper()
	return &stores{t: t, url: url(t), free: make(map[string][]*store)}
}

func (s *stores) one(t *testing.T, opts ...postgres.Option) *lent {
	t.Helper()
	return s.take(t, opts)[0]
}

// shared opens two backends as two processes do.
func (s *stores) shared() backendtest.Option {
	return backendtest.Shared(func(t *testing.T, retention, ofOther time.Duration) (one, other omniq.Backend) {
		opts := [2][]postgres.Option{{postgres.WithEvents(retention)}}
		if ofOther > 0 {
			opts[1] = append(opts[1], postgres.WithEvents(ofOther))
		}
		both := s.take(t, opts[:]...)
		return both[0], both[1]
	})
}

// take returns backends on an empty store, one for each list of options.
func (s *stores) take(t *testing.T, each ...[]postgres.Option) []*lent {
	t.Helper()
	var kinds []string
	for _, opts := range each {
		kinds = append(kinds, postgres.Describe(opts...))
	}
	kind := strings.Join(kinds, "\n")
	s.mu.Lock()
	var from *store
	if list := s.free[kind]; len(list) > 0 {
		from, s.free[kind] = list[len(list)-1], list[:len(list)-1]
	}
	s.mu.Unlock()
	if from == nil {
		from = new(store)
		at := place(s.t)
		for _, opts := range each {
			b, err := postgres.Open(t.Context(), s.url, append(opts, at)...)
			require.NoError(t, err)
			s.t.Cleanup(func() { assert.NoError(s.t, b.Close()) })
			from.backends = append(from.backends, b)
		}
	}
	from.used = len(each)
	all := make([]*lent, len(each))
	for i, b := range from.backends {
		all[i] = &lent{Backend: b, t: t, end: sync.OnceValue(func() error { return s.giveBack(t, from, kind) })}
	}
	return all
}

// lent is a backend that goes back when the test has ended.
type lent struct {
	*postgres.Backend
	t   *testing.T
	end func() error
}

// Close ends the backend if the rule does it, and otherwise its use.
func (l *lent) Close() error {
	if l.t.Context().Err() != nil {
		return l.end()
	}
	return l.Backend.Close()
}

// giveBack is called for each backend of a store at the end of a test.
func (s *stores) giveBack(t *testing.T, used *store, kind string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if used.used--; used.used > 0 {
		return nil
	}
	for _, b := range used.backends {
		if t.Failed() || b.Closed() {
			return nil // its schema goes with the others
		}
	}
	for _, b := range used.backends { // calls whose contexts have ended may not have
		if !assert.EventuallyWithT(t, func(c *assert.CollectT) { assert.Empty(c, b.Busy()) }, time.Minute, time.Millisecond) {
			return nil
		}
	}
	const empty = `DELETE FROM {s}.tasks; DELETE FROM {s}.results; DELETE FROM {s}.unique_keys; DELETE FROM {s}.paused;
		DELETE FROM {s}.counts; DELETE FROM {s}.revoked; DELETE FROM {s}.events; DELETE FROM {s}.edges; DELETE FROM {s}.work;
		DELETE FROM {s}.workers; DELETE FROM {s}.tallies; DELETE FROM {s}.history; DELETE FROM {s}.items; DELETE FROM {s}.limits; DELETE FROM {s}.lanes; DELETE FROM {s}.stirs; UPDATE {s}.event_places SET last = 0, gone = 0`
	b := used.backends[0]
	c, err := b.Pool().Acquire(s.t.Context())
	if err != nil {
		return err
	}
	defer c.Release()
	if _, err := c.Conn().PgConn().Exec(s.t.Context(), strings.ReplaceAll(empty, "{s}", b.Schema())).ReadAll(); err != nil {
		return err
	}
	s.free[kind] = append(s.free[kind], used)
	return nil
}
