package backendtest

import (
	"context"
	"errors"
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

// ledger is a memory backend with transactions of other behaviour.
type ledger struct {
	*broken
	open     func(tx any) (omniq.Transaction, error)
	enqueue  func(context.Context, *memory.Tx, []*omniq.RawTask) ([]error, error)
	settle   func(context.Context, *memory.Tx, []omniq.Settlement) ([]error, error)
	commit   func(*memory.Tx) error
	rollback func(*memory.Tx) error
}

func newLedger(m *memory.Backend) *ledger {
	l := &ledger{broken: unbroken(m), open: m.Transaction, commit: (*memory.Tx).Commit, rollback: (*memory.Tx).Rollback}
	l.enqueue = func(ctx context.Context, tx *memory.Tx, tasks []*omniq.RawTask) ([]error, error) {
		return tx.Enqueue(ctx, tasks)
	}
	l.settle = func(ctx context.Context, tx *memory.Tx, s []omniq.Settlement) ([]error, error) {
		return tx.Settle(ctx, s)
	}
	return l
}

func (l *ledger) Transaction(tx any) (omniq.Transaction, error) {
	t, err := l.open(tx)
	if m, ok := t.(*memory.Tx); ok && err == nil {
		return page{l, m}, nil
	}
	return t, err
}

func (l *ledger) begin() Tx {
	tx := l.m.Begin()
	return Tx{tx, func() error { return l.commit(tx) }, func() error { return l.rollback(tx) }}
}

// page is a transaction of a ledger.
type page struct {
	l  *ledger
	tx *memory.Tx
}

func (p page) Enqueue(ctx context.Context, tasks []*omniq.RawTask) ([]error, error) {
	return p.l.enqueue(ctx, p.tx, tasks)
}

func (p page) Settle(ctx context.Context, s []omniq.Settlement) ([]error, error) {
	return p.l.settle(ctx, p.tx, s)
}

// fraud is a way to do something wrong with transactions, and the rules that it breaks.
type fraud struct {
	name   string
	breaks func(*ledger)
	rules  []string
}

// brokenLedgers do something wrong with tasks as such.
var brokenLedgers = []fraud{
	{"enqueues outside", func(l *ledger) {
		l.enqueue = func(ctx context.Context, _ *memory.Tx, tasks []*omniq.RawTask) ([]error, error) {
			return l.m.Enqueue(ctx, tasks)
		}
	}, []string{
		"a task takes the place of another in a transaction, once it commits",
		"a task that is enqueued in a transaction is there once it commits",
		"a task of a transaction that is rolled back was never there",
		"what a transaction enqueues and settles is one",
		"a task that ends in a transaction frees its unique key there",
		"a transaction that has ended takes nothing",
		"the events of a transaction are there once it commits",
	}},
	{"settles outside", func(l *ledger) {
		l.settle = func(ctx context.Context, _ *memory.Tx, s []omniq.Settlement) ([]error, error) {
			return l.m.Settle(ctx, s)
		}
	}, []string{
		"a handler's task has succeeded if the transaction commits that has its result, and else runs again",
		"a settlement in a transaction counts once it commits",
		"a lease goes on when a transaction that has settled it is rolled back",
		"what a transaction enqueues and settles is one",
		"a transaction that has ended takes nothing",
		"the events of a transaction are there once it commits",
	}},
	{"commits nothing", func(l *ledger) { l.commit = (*memory.Tx).Rollback }, []string{
		"a task that is enqueued in a transaction is there once it commits",
		"a waiting Lease gets a task that a transaction commits",
		"a settlement in a transaction counts once it commits",
		others,
	}},
	{"commits what is rolled back", func(l *ledger) { l.rollback = (*memory.Tx).Commit }, []string{
		"a task takes the place of another in a transaction, once it commits",
		"a handler's task has succeeded if the transaction commits that has its result, and else runs again",
		"a task of a transaction that is rolled back was never there",
		"a lease goes on when a transaction that has settled it is rolled back",
		"what a transaction enqueues and settles is one",
		"the events of a transaction are there once it commits",
	}},
	{"hides duplicates", func(l *ledger) {
		l.enqueue = func(ctx context.Context, tx *memory.Tx, tasks []*omniq.RawTask) ([]error, error) {
			_, err := tx.Enqueue(ctx, tasks)
			return nil, err
		}
	}, []string{
		"a transaction knows the tasks that were there, and its own",
		"a task takes the place of another in a transaction, once it commits",
	}},
	{"does not wake who waits for what is committed", func(l *ledger) {
		lease := l.lease
		l.lease = func(ctx context.Context, r omniq.LeaseRequest) ([]omniq.Lease, error) {
			wait := r.Wait
			r.Wait = 0
			leases, err := lease(ctx, r)
			if wait == 0 || err != nil || len(leases) > 0 {
				return leases, err
			}
			timer := time.NewTimer(wait)
			defer timer.Stop()
			select {
			case <-timer.C:
				return lease(ctx, r)
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
	}, []string{
		"a waiting Lease gets a task that a transaction commits",
		"a handler's task has succeeded if the transaction commits that has its result, and else runs again",
	}},
	{"does not tell who waits for a result", func(l *ledger) {
		l.await = func(ctx context.Context, id uuid.UUID) (*omniq.RawResult, error) {
			if r, err := l.m.Result(ctx, id); err != nil || r.Status.Final() {
				return r, err
			}
			<-ctx.Done()
			return nil, ctx.Err()
		}
	}, []string{
		"a settlement in a transaction counts once it commits",
		"a handler's task has succeeded if the transaction commits that has its result, and else runs again",
	}},
	{"drops tasks that no worker could read", func(l *ledger) {
		l.enqueue = func(ctx context.Context, tx *memory.Tx, tasks []*omniq.RawTask) ([]error, error) {
			errs, err := tx.Enqueue(ctx, tasks)
			return errs, unless(omniq.ErrInvalid, err)
		}
	}, []string{"a transaction refuses a task that no worker could read, and goes on"}},
	{"cannot go on after a refusal", func(l *ledger) {
		l.enqueue = func(ctx context.Context, tx *memory.Tx, tasks []*omniq.RawTask) ([]error, error) {
			errs, err := tx.Enqueue(ctx, tasks)
			if err != nil {
				_ = tx.Rollback()
			}
			return errs, err
		}
	}, []string{"a transaction refuses a task that no worker could read, and goes on"}},
	{"hides that a lease is lost", func(l *ledger) {
		l.settle = func(ctx context.Context, tx *memory.Tx, s []omniq.Settlement) ([]error, error) {
			errs, err := tx.Settle(ctx, s)
			for i := range errs {
				errs[i] = unless(omniq.ErrLeaseLost, errs[i])
			}
			return errs, err
		}
	}, []string{
		"a lease that a transaction has settled is lost",
		"each settlement of a transaction counts for itself",
		"a lease that is lost settles nothing in a transaction, which goes on",
	}},
	{"fails for all because of one settlement", func(l *ledger) {
		l.settle = func(ctx context.Context, tx *memory.Tx, s []omniq.Settlement) ([]error, error) {
			errs, err := tx.Settle(ctx, s)
			for _, one := range errs {
				if errors.Is(one, omniq.ErrInvalid) {
					return nil, one
				}
			}
			return errs, err
		}
	}, []string{"each settlement of a transaction counts for itself"}},
	{"drops settlements that cannot be", func(l *ledger) {
		l.settle = func(ctx context.Context, tx *memory.Tx, s []omniq.Settlement) ([]error, error) {
			_, err := tx.Settle(ctx, slices.DeleteFunc(slices.Clone(s), func(s omniq.Settlement) bool {
				return s.Action == 0 || s.Delay < 0 || s.Action == omniq.ActionFinish && (s.Result == nil || !s.Result.Status.Final())
			}))
			return nil, err
		}
	}, []string{"settlements that cannot be are refused, and nothing of their call is done", others}},
	{"does not see what it has ended", func(l *ledger) {
		l.enqueue = func(ctx context.Context, tx *memory.Tx, tasks []*omniq.RawTask) ([]error, error) {
			for _, t := range tasks {
				if t == nil || t.UniqueKey == "" {
					continue
				}
				if holder, held := holderOf(ctx, l.m, t); held {
					return []error{omniq.Duplicate{ID: t.ID, Holder: holder}}, nil
				}
			}
			return tx.Enqueue(ctx, tasks)
		}
	}, []string{"a task that ends in a transaction frees its unique key there", others}},
	{"takes anything for a transaction", func(l *ledger) {
		l.open = func(tx any) (omniq.Transaction, error) {
			if t, ok := tx.(*memory.Tx); ok {
				return l.m.Transaction(t)
			}
			return l.m.Begin(), nil
		}
	}, []string{"what is no transaction of the engine's is refused"}},
	{"begins anew after an end", func(l *ledger) {
		l.enqueue = func(ctx context.Context, tx *memory.Tx, tasks []*omniq.RawTask) ([]error, error) {
			errs, err := tx.Enqueue(ctx, tasks)
			return errs, unless(memory.ErrTxDone, err)
		}
	}, []string{"a transaction that has ended takes nothing"}},
	{"does not like calls of no items", func(l *ledger) {
		l.settle = func(ctx context.Context, tx *memory.Tx, s []omniq.Settlement) ([]error, error) {
			if len(s) == 0 {
				return nil, omniq.ErrInvalid
			}
			return tx.Settle(ctx, s)
		}
	}, []string{"a call of no items does nothing in a transaction"}},
	{"has no events of what is settled in a transaction", func(l *ledger) {
		var in sync.Map
		l.settle = func(ctx context.Context, tx *memory.Tx, s []omniq.Settlement) ([]error, error) {
			for _, s := range s {
				in.Store(s.TaskID, true)
			}
			return tx.Settle(ctx, s)
		}
		pages(func(p []omniq.StoredEvent) []omniq.StoredEvent {
			return slices.DeleteFunc(p, func(e omniq.StoredEvent) bool {
				_, ok := in.Load(e.TaskID)
				return ok && e.EventType == omniq.EventCompleted
			})
		})(l.broken)
	}, []string{"the events of a transaction are there once it commits"}},
}

// costlyInTx takes too long for ledgers that are not said to break it.
const costlyInTx = "a transaction refuses a task that no worker could read, and goes on"

// holderOf tells which task holds the unique key of another.
func holderOf(ctx context.Context, m *memory.Backend, t *omniq.RawTask) (uuid.UUID, bool) {
	for _, s := range []omniq.Status{omniq.StatusPending, omniq.StatusRunning} {
		all, _, _ := m.List(ctx, omniq.ListRequest{Status: s, Max: 100})
		for _, info := range all {
			if info.FuncName == t.FuncName && info.Task.UniqueKey == t.UniqueKey && info.ID != t.ID {
				return info.ID, true
			}
		}
	}
	return uuid.Nil, false
}

// commits runs a rule on a ledger, in time that takes none, and returns what it complained about.
func commits(t *testing.T, r transactionRule, breaks func(*ledger)) (log []string) {
	bubble.Test(t, func(t *testing.T) {
		m := memory.New(memory.WithEvents(long))
		l := newLedger(m)
		breaks(l)
		log = recorded(t, func(rec T) {
			r.check(&transactor{&checker{T: rec, rule: r.name, b: l}, l.begin})
		}, func() { require.NoError(t, m.Close()) })
	})
	return log
}

// Each ledger that is broken in one way breaks the rules about it, and no other one. Each rule is broken by one.
func TestBrokenLedgersFail(t *testing.T) {
	testBrokenLedgers(t, brokenLedgers, transactionRules)
	testBrokenLedgers(t, brokenFlowLedgers, transactionFlowRules)
	testBrokenLedgers(t, brokenHistoryLedgers, transactionHistoryRules)
}

func testBrokenLedgers(t *testing.T, broken []fraud, rules []transactionRule) {
	t.Helper()
	tested := make(map[string]bool)
	for _, tt := range broken {
		var got []string
		for _, r := range rules {
			if r.name == costlyInTx && !slices.Contains(tt.rules, r.name) {
				continue
			}
			if complains(t, r.name, commits(t, r, tt.breaks)) {
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
		assert.Empty(t, commits(t, r, func(*ledger) {}), r.name)
		if r.needs != nil {
			assert.False(t, r.needs(omniq.Capabilities{}), r.name)
		}
	}
}

// Who is no Transactor, and says that it has transactions, is told so.
func TestNoTransactor(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m := memory.New()
		log := recorded(t, func(rec T) {
			c := &transactor{&checker{T: rec, rule: "x", b: unbroken(m)}, func() Tx { return Tx{} }}
			c.begin()
		}, func() { require.NoError(t, m.Close()) })
		require.Len(t, log, 1)
		assert.Contains(t, log[0], "memory says that it has Transactions, and is no Transactor")
	})
}
