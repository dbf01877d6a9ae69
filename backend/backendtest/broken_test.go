package backendtest

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
)

// recorder is the T of a rule that is expected to fail.
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

// failures runs a rule on a backend and returns what it complained about.
func failures(ctx context.Context, r rule, b omniq.Backend) []string {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	rec := &recorder{ctx: ctx}
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.check(&checker{T: rec, rule: r.name, b: b})
	}()
	<-done
	rec.mu.Lock()
	defer rec.mu.Unlock()
	return slices.Clone(rec.log)
}

// broken is a memory backend that breaks a rule where a function is set.
type broken struct {
	*memory.Backend
	enqueue func(*omniq.RawTask)
	errs    func([]error) []error
	request func(*omniq.LeaseRequest)
	leases  func([]omniq.Lease) []omniq.Lease
	settle  func(*omniq.Settlement)
	ctx     func(context.Context) context.Context
	await   func(context.Context, *memory.Backend, uuid.UUID) (*omniq.RawResult, error)
	close   func() error
}

func (b *broken) Enqueue(ctx context.Context, tasks []*omniq.RawTask) ([]error, error) {
	changed := make([]*omniq.RawTask, len(tasks))
	for i, t := range tasks {
		c := *t
		if b.enqueue != nil {
			b.enqueue(&c)
		}
		changed[i] = &c
	}
	errs, err := b.Backend.Enqueue(b.context(ctx), changed)
	return b.change(errs), err
}

func (b *broken) Lease(ctx context.Context, r omniq.LeaseRequest) ([]omniq.Lease, error) {
	if b.request != nil {
		b.request(&r)
	}
	leases, err := b.Backend.Lease(b.context(ctx), r)
	if b.leases != nil {
		leases = b.leases(leases)
	}
	return leases, err
}

func (b *broken) Extend(ctx context.Context, leases []omniq.LeaseID, by time.Duration) ([]error, error) {
	errs, err := b.Backend.Extend(b.context(ctx), leases, by)
	return b.change(errs), err
}

func (b *broken) Settle(ctx context.Context, settlements []omniq.Settlement) ([]error, error) {
	changed := slices.Clone(settlements)
	if b.settle != nil {
		for i := range changed {
			if r := changed[i].Result; r != nil {
				c := *r
				changed[i].Result = &c
			}
			b.settle(&changed[i])
		}
	}
	errs, err := b.Backend.Settle(b.context(ctx), changed)
	return b.change(errs), err
}

func (b *broken) Result(ctx context.Context, id uuid.UUID) (*omniq.RawResult, error) {
	return b.Backend.Result(b.context(ctx), id)
}

func (b *broken) Await(ctx context.Context, id uuid.UUID) (*omniq.RawResult, error) {
	if b.await != nil {
		return b.await(ctx, b.Backend, id)
	}
	return b.Backend.Await(b.context(ctx), id)
}

func (b *broken) Close() error {
	if b.close != nil {
		return b.close()
	}
	return b.Backend.Close()
}

func (b *broken) context(ctx context.Context) context.Context {
	if b.ctx != nil {
		return b.ctx(ctx)
	}
	return ctx
}

func (b *broken) change(errs []error) []error {
	if b.errs != nil {
		return b.errs(errs)
	}
	return errs
}

func TestBrokenBackendsFail(t *testing.T) {
	defer func(d time.Duration) { worst = d }(worst)
	worst = time.Second
	var handedOut []omniq.Lease
	tests := []struct {
		name string
		b    broken
		rule string // that must fail
	}{
		{"loses the priority", broken{enqueue: func(t *omniq.RawTask) { t.Priority = 0 }}, "tasks of higher priority are leased first"},
		{"loses the metadata", broken{enqueue: func(t *omniq.RawTask) { t.Metadata = nil }}, "a task is leased as it was enqueued"},
		{"loses the queue", broken{enqueue: func(t *omniq.RawTask) { t.Queue = "" }}, "queues are served in the order of the request"},
		{"runs delayed tasks at once", broken{enqueue: func(t *omniq.RawTask) { t.RunAt = time.Time{} }}, "a delayed task is leased when it is due and not before"},
		{"runs retries at once", broken{settle: func(s *omniq.Settlement) { s.At = time.Time{} }}, "retries and releases wait for their time"},
		{"forgets the TTL of tasks", broken{enqueue: func(t *omniq.RawTask) { t.TTL = nil }}, "a task whose TTL has passed becomes expired without a worker"},
		{"hides duplicates", broken{errs: func([]error) []error { return nil }}, "a duplicate is reported in its place and the others are stored"},
		{"hides lost leases", broken{errs: func([]error) []error { return nil }}, "a lost lease settles and extends nothing"},
		{"settles twice", broken{errs: func([]error) []error { return nil }}, "a lease that was settled cannot be settled again"},
		{"reports one for all", broken{errs: func(errs []error) []error { return errs[:min(1, len(errs))] }}, "each settlement of a call counts for itself"},
		{"leases twice", broken{leases: func(l []omniq.Lease) []omniq.Lease {
			if len(l) == 0 {
				return handedOut
			}
			handedOut = slices.Clone(l)
			return l
		}}, "a task is leased once"},
		{"leases backwards", broken{leases: func(l []omniq.Lease) []omniq.Lease { slices.Reverse(l); return l }}, "ten thousand tasks wait in their order"},
		{"leases the same to workers at once", broken{leases: func(l []omniq.Lease) []omniq.Lease {
			return append(l, l[:min(1, len(l))]...)
		}}, "workers at once never get the same task"},
		{"does not wait", broken{request: func(r *omniq.LeaseRequest) { r.Wait = 0 }}, "a waiting Lease gets a task that is enqueued"},
		{"gives up too early", broken{request: func(r *omniq.LeaseRequest) { r.Wait = min(r.Wait, time.Millisecond) }}, "Lease returns nothing and no error when Wait is over"},
		{"never takes a lease back", broken{request: func(r *omniq.LeaseRequest) {
			if r.Duration > 0 {
				r.Duration = time.Hour
			}
		}}, "a task whose lease ran out is leased again as the next attempt"},
		{"counts releases", broken{settle: func(s *omniq.Settlement) {
			if s.Action == omniq.ActionRelease {
				s.Action = omniq.ActionRetry
			}
		}}, "a release uses no attempt"},
		{"does not count retries", broken{settle: func(s *omniq.Settlement) {
			if s.Action == omniq.ActionRetry {
				s.Action = omniq.ActionRelease
			}
		}}, "a retry uses an attempt"},
		{"drops errors", broken{settle: func(s *omniq.Settlement) {
			if s.Result != nil {
				s.Result.Error = nil
			}
		}}, "a result is kept as it was settled"},
		{"keeps results for ever", broken{settle: func(s *omniq.Settlement) {
			if s.Result != nil {
				s.Result.TTL = nil
			}
		}}, "a result goes when its TTL is over, and its ID can be used again"},
		{"accepts what cannot be", broken{settle: func(s *omniq.Settlement) {
			if s.Action == 0 || s.Action > omniq.ActionRelease {
				s.Action = omniq.ActionRetry
			}
		}}, "a request that cannot be is refused and changes nothing"},
		{"does not wake those who wait", broken{await: func(ctx context.Context, b *memory.Backend, id uuid.UUID) (*omniq.RawResult, error) {
			if r, err := b.Result(ctx, id); err != nil || r.Status.Final() {
				return r, err
			}
			<-ctx.Done()
			return nil, ctx.Err()
		}}, "Await returns when the task is settled"},
		{"waits for what it does not know", broken{await: func(ctx context.Context, b *memory.Backend, id uuid.UUID) (*omniq.RawResult, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}}, "an unknown ID is not found, at once"},
		{"does not look at contexts", broken{ctx: context.WithoutCancel}, "a call that blocks ends with its context"},
		{"does not look at contexts that have ended", broken{ctx: context.WithoutCancel}, "a method whose context has ended does nothing"},
		{"does not close", broken{close: func() error { return nil }}, "after Close each method returns ErrClosed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			i := slices.IndexFunc(rules, func(r rule) bool { return r.name == tt.rule })
			require.GreaterOrEqual(t, i, 0, "no rule %q", tt.rule)
			b := tt.b
			b.Backend = memory.New()
			t.Cleanup(func() { _ = b.Backend.Close() }) // it has nothing to lose
			log := failures(t.Context(), rules[i], &b)
			require.NotEmpty(t, log, "the rule holds")
			assert.Contains(t, log[0], fmt.Sprintf("rule %q is broken", tt.rule))
		})
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
