package backendtest

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
	"github.com/omniq-go/omniq/internal/bubble"
)

// half is one of two backends on the same memory.
type half struct {
	*broken
	ctx  context.Context // ends when it is closed
	own  chan struct{}   // closed and replaced when something is done through it
	mu   sync.Mutex
	twin *half

	silent bool
}

// halves returns two backends on one memory. Each is closed for itself.
func halves() (one, other *half, m *memory.Backend) {
	m = memory.New(memory.WithEvents(long))
	one, other = newHalf(m), newHalf(m)
	one.twin, other.twin = other, one
	return one, other, m
}

func newHalf(m *memory.Backend) *half {
	ctx, cancel := context.WithCancelCause(context.Background())
	h := &half{broken: unbroken(m), ctx: ctx, own: make(chan struct{})}
	h.close = func() error { cancel(omniq.ErrClosed); return nil }
	enqueue, lease, await, events := h.enqueue, h.lease, h.await, h.events
	h.enqueue = func(ctx context.Context, tasks []*omniq.RawTask) (errs []error, err error) {
		err = h.open(ctx, func(ctx context.Context) error { errs, err = enqueue(ctx, tasks); return err })
		return errs, err
	}
	h.lease = func(ctx context.Context, r omniq.LeaseRequest) (leases []omniq.Lease, err error) {
		err = h.open(ctx, func(ctx context.Context) error { leases, err = lease(ctx, r); return err })
		return leases, err
	}
	h.await = func(ctx context.Context, id uuid.UUID) (r *omniq.RawResult, err error) {
		err = h.open(ctx, func(ctx context.Context) error { r, err = await(ctx, id); return err })
		return r, err
	}
	h.events = func(ctx context.Context, r omniq.EventsRequest) (page []omniq.StoredEvent, next omniq.Cursor, err error) {
		err = h.open(ctx, func(ctx context.Context) error { page, next, err = events(ctx, r); return err })
		return page, next, err
	}
	return h
}

// open makes a call that ends when the half is closed.
func (h *half) open(ctx context.Context, call func(context.Context) error) error {
	if h.ctx.Err() != nil {
		return omniq.ErrClosed
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(h.ctx, cancel)()
	err := call(ctx)
	if err != nil && h.ctx.Err() != nil {
		return omniq.ErrClosed
	}
	return err
}

// did tells those who wait at this half that something was done here.
func (h *half) did() {
	h.mu.Lock()
	defer h.mu.Unlock()
	close(h.own)
	h.own = make(chan struct{})
}

// until looks until there is something, again only after something was done through this half.
func (h *half) until(ctx context.Context, wait time.Duration, look func() bool) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		h.mu.Lock()
		own := h.own
		h.mu.Unlock()
		if look() {
			return nil
		}
		select {
		case <-own:
		case <-timer.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-h.ctx.Done():
			return omniq.ErrClosed
		}
	}
}

// silence makes the half one that keeps no events.
func (h *half) silence() {
	h.silent = true
	h.append = func(context.Context, []*omniq.TaskEvent) error { return omniq.ErrNoEvents }
	events := h.events
	h.events = func(ctx context.Context, r omniq.EventsRequest) ([]omniq.StoredEvent, omniq.Cursor, error) {
		_, latest, err := h.m.Events(ctx, omniq.EventsRequest{After: omniq.CursorLatest, Max: 1})
		if err == nil && latest == "0" {
			return nil, r.After, omniq.ErrNoEvents
		}
		return events(ctx, r)
	}
}

func (h *half) Capabilities() omniq.Capabilities {
	c := h.broken.Capabilities()
	c.Events = c.Events && !h.silent
	return c
}

// rift is a way in which two backends on one store are not of one mind, and the rules that it breaks.
type rift struct {
	name   string
	breaks func(one, other *half)
	rules  []string
}

// brokenShares are not of one mind about tasks as such.
var brokenShares = []rift{
	{"has a store for each", func(one, other *half) {
		apart := newHalf(memory.New(memory.WithEvents(long)))
		other.broken, other.ctx = apart.broken, apart.ctx
		next := other.close
		other.close = func() error { _ = apart.m.Close(); return next() }
	}, []string{"what one enqueues the other leases", others}},
	{"does not wake a Lease for what another process does", both(func(h *half) {
		enqueue, settle, lease := h.enqueue, h.settle, h.lease
		h.enqueue = func(ctx context.Context, tasks []*omniq.RawTask) ([]error, error) {
			defer h.did()
			return enqueue(ctx, tasks)
		}
		h.settle = func(ctx context.Context, s []omniq.Settlement) ([]error, error) {
			defer h.did()
			return settle(ctx, s)
		}
		h.lease = func(ctx context.Context, r omniq.LeaseRequest) (leases []omniq.Lease, err error) {
			wait := r.Wait
			r.Wait = 0
			if over := h.until(ctx, wait, func() bool { leases, err = lease(ctx, r); return err != nil || len(leases) > 0 }); over != nil {
				return nil, over
			}
			return leases, err
		}
	}), []string{
		"what one enqueues the other leases",
		"a chain of tasks that goes to and fro does not stop",
		"a lease of one is started, extended and settled by the other",
		"a lease of one that runs out is leased by the other",
		others,
	}},
	{"does not wake an Await for what another process does", both(func(h *half) {
		settle, await := h.settle, h.await
		h.settle = func(ctx context.Context, s []omniq.Settlement) ([]error, error) {
			defer h.did()
			return settle(ctx, s)
		}
		h.await = func(ctx context.Context, id uuid.UUID) (*omniq.RawResult, error) {
			final := false
			if err := h.until(ctx, long, func() bool { r, err := h.m.Result(ctx, id); final = err != nil || r.Status.Final(); return final }); err != nil {
				return nil, err
			}
			return await(ctx, id)
		}
	}), []string{
		"who waits at one gets the result that the other settles, cancels or expires",
		others,
	}},
	{"loses results without a TTL on the way to another process", both(func(h *half) {
		await := h.await
		h.await = func(ctx context.Context, id uuid.UUID) (*omniq.RawResult, error) {
			r, err := await(ctx, id)
			if err == nil && r.TTL != nil && *r.TTL == 0 {
				return nil, omniq.ErrNotFound
			}
			return r, err
		}
	}), []string{"who waits at one gets the result that the other settles, cancels or expires"}},
	{"knows the leases of its own process only", both(func(h *half) {
		var own sync.Map
		leases(func(l []omniq.Lease) []omniq.Lease {
			for _, l := range l {
				own.Store(l.LeaseID, true)
			}
			return l
		})(h.broken)
		settlements(func(s *omniq.Settlement) {
			if _, ok := own.Load(s.LeaseID); !ok {
				s.Token = "unknown"
			}
		})(h.broken)
	}), []string{"a lease of one is started, extended and settled by the other", others}},
	{"counts the losses of its own process only", func(one, other *half) {
		leases(func(l []omniq.Lease) []omniq.Lease {
			for i := range l {
				l[i].Lost = 0
			}
			return l
		})(other.broken)
	}, []string{"a lease of one that runs out is leased by the other"}},
	{"tells workers of its own cancels only", both(func(h *half) {
		var own sync.Map
		cancel := h.cancel
		h.cancel = func(ctx context.Context, ids []uuid.UUID) ([]error, error) {
			for _, id := range ids {
				own.Store(id, true)
			}
			return cancel(ctx, ids)
		}
		revocations(func(l []omniq.LeaseID) []omniq.LeaseID {
			return slices.DeleteFunc(l, func(id omniq.LeaseID) bool { _, ok := own.Load(id.TaskID); return !ok })
		})(h.broken)
	}), []string{"the worker of one hears of what the other cancels"}},
	{"pauses a queue for its own process", both(func(h *half) {
		var paused sync.Map
		h.pause = func(ctx context.Context, queue string) error { paused.Store(queue, true); return ctx.Err() }
		h.resume = func(ctx context.Context, queue string) error { paused.Delete(queue); return ctx.Err() }
		requests(func(r *omniq.LeaseRequest) {
			r.Queues = slices.Clone(r.Queues)
			for i, q := range r.Queues {
				if _, ok := paused.Load(q); ok {
					r.Queues[i] = "paused"
				}
			}
		})(h.broken)
	}), []string{"a queue that one pauses is paused for the other until either resumes it"}},
	{"keeps unique keys for each process", func(one, other *half) {
		tasks(func(t *omniq.RawTask) {
			if t.UniqueKey != "" {
				t.UniqueKey += " of the other"
			}
		})(other.broken)
	}, []string{"an ID or a unique key that is taken at one is taken at the other"}},
	{"shows what it knew before", func(one, other *half) {
		var once sync.Once
		var known []omniq.QueueStats
		other.stats = func(ctx context.Context) (s []omniq.QueueStats, err error) {
			once.Do(func() { known, err = other.m.Stats(ctx) })
			return known, err
		}
	}, []string{"what one does the other sees"}},
	{"leases what the other has", func(one, other *half) {
		var mu sync.Mutex
		last := make(map[*half][]omniq.Lease)
		for _, h := range []*half{one, other} {
			leases(func(l []omniq.Lease) []omniq.Lease {
				mu.Lock()
				defer mu.Unlock()
				if len(l) > 0 {
					last[h] = l
				}
				l, last[h.twin] = append(l, last[h.twin]...), nil
				return l
			})(h.broken)
		}
	}, []string{"workers of both never get the same task", others}},
	{"reads the events of its own process only", both(func(h *half) {
		var own sync.Map
		tasks(func(t *omniq.RawTask) { own.Store(t.ID, true) })(h.broken)
		pages(func(p []omniq.StoredEvent) []omniq.StoredEvent {
			return slices.DeleteFunc(p, func(e omniq.StoredEvent) bool { _, ok := own.Load(e.TaskID); return !ok })
		})(h.broken)
	}), []string{
		"one reads the events of both, in one order, and is woken by the other's",
		"one that keeps no events reads those that the other keeps",
	}},
	{"reads no events where it keeps none", func(_, other *half) {
		events := other.events
		other.events = func(ctx context.Context, r omniq.EventsRequest) ([]omniq.StoredEvent, omniq.Cursor, error) {
			if !other.Capabilities().Events {
				return nil, r.After, omniq.ErrNoEvents
			}
			return events(ctx, r)
		}
	}, []string{"one that keeps no events reads those that the other keeps"}},
	{"closes the store", func(one, other *half) {
		next := one.close
		one.close = func() error { _ = one.m.Close(); return next() }
	}, []string{"to close one does not hurt the other"}},
}

// both breaks both halves.
func both(breaks func(*half)) func(one, other *half) {
	return func(one, other *half) {
		breaks(one)
		breaks(other)
	}
}

// shares runs a rule on two backends, in time that takes none, and returns what it complained about.
func shares(t *testing.T, r sharedRule, breaks func(one, other *half)) (log []string) {
	bubble.Test(t, func(t *testing.T) {
		one, other, m := halves()
		if r.silent {
			other.silence()
		}
		breaks(one, other)
		log = recorded(t, func(rec T) {
			r.check(&checker{T: rec, rule: r.name, b: one}, &checker{T: rec, rule: r.name, b: other})
		}, func() {
			require.NoError(t, one.Close())
			require.NoError(t, other.Close())
			require.NoError(t, m.Close())
		})
	})
	return log
}

// Each pair that is broken in one way breaks the rule about it. Each rule is broken by one.
func TestBrokenSharesFail(t *testing.T) {
	testBrokenShares(t, brokenShares, sharedRules)
	testBrokenShares(t, brokenFlowShares, sharedFlowRules)
	testBrokenShares(t, brokenBoundShares, sharedBoundRules)
	testBrokenShares(t, brokenMonitorShares, sharedMonitorRules)
	testBrokenShares(t, brokenHistoryShares, sharedHistoryRules)
	testBrokenShares(t, brokenReplaceShares, sharedReplaceRules)
}

func testBrokenShares(t *testing.T, broken []rift, rules []sharedRule) {
	t.Helper()
	tested := make(map[string]bool)
	for _, tt := range broken {
		var got []string
		for _, r := range rules {
			if complains(t, r.name, shares(t, r, tt.breaks)) {
				got = append(got, r.name)
			}
		}
		assertBroken(t, tt.name, tt.rules, got)
		for _, name := range got {
			tested[name] = true
		}
	}
	for _, r := range rules {
		assert.True(t, tested[r.name], "nothing breaks the rule %q", r.name)
		assert.Empty(t, shares(t, r, func(*half, *half) {}), r.name)
	}
}
