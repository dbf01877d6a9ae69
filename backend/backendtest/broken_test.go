package backendtest

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
)

// recorder is the T of a rule that may fail.
type recorder struct {
	ctx context.Context
	mu  sync.Mutex
	log []string
}

func (r *recorder) Context() context.Context { return r.ctx }
func (r *recorder) Helper()                  {}
func (r *recorder) FailNow()                 { runtime.Goexit() }

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log = append(r.log, fmt.Sprintf(format, args...))
}

// failures runs a rule on a backend, in time that takes none, and returns what it complained about.
func failures(t *testing.T, r rule, breaks func(*broken)) (log []string) {
	synctest.Test(t, func(t *testing.T) {
		m := memory.New()
		b := &broken{
			m: m, enqueue: m.Enqueue, lease: m.Lease, extend: m.Extend, settle: m.Settle,
			result: m.Result, await: m.Await, close: m.Close,
		}
		breaks(b)
		ctx, cancel := context.WithCancel(t.Context())
		rec := &recorder{ctx: ctx}
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer func() {
				if p := recover(); p != nil {
					t.Errorf("rule %q panics: %v", r.name, p)
				}
			}()
			r.check(&checker{T: rec, rule: r.name, b: b})
		}()
		<-done
		cancel()
		require.NoError(t, m.Close()) // also ends what looks at no context
		synctest.Wait()
		rec.mu.Lock()
		defer rec.mu.Unlock()
		log = rec.log
	})
	return log
}

// broken is a memory backend with methods of other behaviour.
type broken struct {
	m       *memory.Backend
	enqueue func(context.Context, []*omniq.RawTask) ([]error, error)
	lease   func(context.Context, omniq.LeaseRequest) ([]omniq.Lease, error)
	extend  func(context.Context, []omniq.LeaseID, time.Duration) ([]error, error)
	settle  func(context.Context, []omniq.Settlement) ([]error, error)
	result  func(context.Context, uuid.UUID) (*omniq.RawResult, error)
	await   func(context.Context, uuid.UUID) (*omniq.RawResult, error)
	close   func() error
}

func (b *broken) Capabilities() omniq.Capabilities { return b.m.Capabilities() }
func (b *broken) Close() error                     { return b.close() }

// closed is closed when the backend is.
func (b *broken) closed() <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = b.m.Lease(context.Background(), omniq.LeaseRequest{Queues: []string{"never"}, Max: 1, Duration: 1, Wait: 24 * time.Hour})
	}()
	return done
}

func (b *broken) Enqueue(ctx context.Context, tasks []*omniq.RawTask) ([]error, error) {
	return b.enqueue(ctx, tasks)
}

func (b *broken) Lease(ctx context.Context, r omniq.LeaseRequest) ([]omniq.Lease, error) {
	return b.lease(ctx, r)
}

func (b *broken) Extend(ctx context.Context, leases []omniq.LeaseID, by time.Duration) ([]error, error) {
	return b.extend(ctx, leases, by)
}

func (b *broken) Settle(ctx context.Context, settlements []omniq.Settlement) ([]error, error) {
	return b.settle(ctx, settlements)
}

func (b *broken) Result(ctx context.Context, id uuid.UUID) (*omniq.RawResult, error) {
	return b.result(ctx, id)
}

func (b *broken) Await(ctx context.Context, id uuid.UUID) (*omniq.RawResult, error) {
	return b.await(ctx, id)
}

// tasks changes each task before it is stored.
func tasks(change func(*omniq.RawTask)) func(*broken) {
	return func(b *broken) {
		next := b.enqueue
		b.enqueue = func(ctx context.Context, tasks []*omniq.RawTask) ([]error, error) {
			tasks = slices.Clone(tasks)
			for i, t := range tasks {
				c := *t
				change(&c)
				tasks[i] = &c
			}
			return next(ctx, tasks)
		}
	}
}

// requests changes each request of leases that can be.
func requests(change func(*omniq.LeaseRequest)) func(*broken) {
	return func(b *broken) {
		next := b.lease
		b.lease = func(ctx context.Context, r omniq.LeaseRequest) ([]omniq.Lease, error) {
			if len(r.Queues) > 0 && r.Max > 0 && r.Duration > 0 {
				change(&r)
			}
			return next(ctx, r)
		}
	}
}

// leases changes what is handed out.
func leases(change func([]omniq.Lease) []omniq.Lease) func(*broken) {
	return func(b *broken) {
		next := b.lease
		b.lease = func(ctx context.Context, r omniq.LeaseRequest) ([]omniq.Lease, error) {
			leases, err := next(ctx, r)
			if err == nil {
				leases = change(leases)
			}
			return leases, err
		}
	}
}

// settlements changes each settlement.
func settlements(change func(*omniq.Settlement)) func(*broken) {
	return func(b *broken) {
		next := b.settle
		b.settle = func(ctx context.Context, settlements []omniq.Settlement) ([]error, error) {
			settlements = slices.Clone(settlements)
			for i := range settlements {
				if r := settlements[i].Result; r != nil {
					c := *r
					settlements[i].Result = &c
				}
				change(&settlements[i])
			}
			return next(ctx, settlements)
		}
	}
}

// kept changes each result that is settled.
func kept(change func(*omniq.RawResult)) func(*broken) {
	return settlements(func(s *omniq.Settlement) {
		if s.Result != nil {
			change(s.Result)
		}
	})
}

// contexts changes the context of each call.
func contexts(change func(context.Context) context.Context) func(*broken) {
	return func(b *broken) {
		m := b.m
		b.enqueue = func(ctx context.Context, tasks []*omniq.RawTask) ([]error, error) {
			return m.Enqueue(change(ctx), tasks)
		}
		b.lease = func(ctx context.Context, r omniq.LeaseRequest) ([]omniq.Lease, error) {
			return m.Lease(change(ctx), r)
		}
		b.extend = func(ctx context.Context, leases []omniq.LeaseID, by time.Duration) ([]error, error) {
			return m.Extend(change(ctx), leases, by)
		}
		b.settle = func(ctx context.Context, settlements []omniq.Settlement) ([]error, error) {
			return m.Settle(change(ctx), settlements)
		}
		b.result = func(ctx context.Context, id uuid.UUID) (*omniq.RawResult, error) {
			return m.Result(change(ctx), id)
		}
		b.await = func(ctx context.Context, id uuid.UUID) (*omniq.RawResult, error) {
			return m.Await(change(ctx), id)
		}
	}
}

// Each backend that is broken in one way breaks the rules about it, and no other one. Each rule is broken by one.
func TestBrokenBackendsFail(t *testing.T) {
	var mu sync.Mutex
	tested := make(map[string]bool)
	t.Run("backends", func(t *testing.T) {
		for _, tt := range slices.Concat(brokenTasks, brokenLeases, brokenResults, brokenCalls) {
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				var got []string
				for _, r := range rules {
					log := failures(t, r, tt.breaks)
					if len(log) == 0 {
						continue
					}
					got = append(got, r.name)
					for _, complaint := range log {
						assert.Contains(t, complaint, fmt.Sprintf("rule %q is broken", r.name))
					}
				}
				if n := len(tt.rules) - 1; tt.rules[n] == others {
					assert.Subset(t, got, tt.rules[:n], "it breaks the first and should break the second")
				} else {
					assert.ElementsMatch(t, tt.rules, got, "it should break the first and breaks the second")
				}
				mu.Lock()
				defer mu.Unlock()
				for _, name := range got {
					tested[name] = true
				}
			})
		}
	})
	for _, r := range rules {
		assert.True(t, tested[r.name], "nothing breaks the rule %q", r.name)
	}
}

func TestUnbrokenBackendPasses(t *testing.T) {
	for _, r := range rules {
		assert.Empty(t, failures(t, r, func(*broken) {}), r.name)
	}
}

func TestRulesHaveNamesOfTheirOwn(t *testing.T) {
	seen := make(map[string]bool)
	for _, r := range rules {
		assert.False(t, seen[r.name], r.name)
		seen[r.name] = true
	}
}

// What a backend says that it cannot do is not asked of it.
func TestNeeds(t *testing.T) {
	for _, r := range rules {
		if r.needs != nil {
			assert.False(t, r.needs(omniq.Capabilities{}), r.name)
			assert.True(t, r.needs(memory.New().Capabilities()), r.name)
		}
	}
}
