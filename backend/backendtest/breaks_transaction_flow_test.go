package backendtest

import (
	"context"
	"errors"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
)

// brokenFlowLedgers do something wrong with flows in transactions.
var brokenFlowLedgers = []fraud{
	{"enqueues outside", func(l *ledger) {
		l.enqueue = func(ctx context.Context, _ *memory.Tx, tasks []*omniq.RawTask) ([]error, error) {
			return l.m.Enqueue(ctx, tasks)
		}
	}, []string{
		"a graph that is enqueued in a transaction is there once it commits, and never if it is rolled back",
		"what a transaction enqueues may wait for what it ends, and for what that brings",
		others,
	}},
	{"settles outside", func(l *ledger) {
		l.settle = func(ctx context.Context, _ *memory.Tx, s []omniq.Settlement) ([]error, error) {
			return l.m.Settle(ctx, s)
		}
	}, []string{
		"a task that ends in a transaction releases those that wait for it once that commits",
		"the effects of a settlement in a transaction are there once it commits",
		"a task hands over in a transaction once that commits",
		others,
	}},
	{"enqueues what settlements bring outside", func(l *ledger) {
		l.settle = func(ctx context.Context, tx *memory.Tx, s []omniq.Settlement) ([]error, error) {
			errs, err := tx.Settle(ctx, s)
			if err == nil && first(errs) == nil && s[0].Effects != nil && s[0].Action == omniq.ActionWait {
				_, err = l.m.Enqueue(ctx, s[0].Effects.Enqueue)
			}
			return errs, err
		}
	}, []string{"a task hands over in a transaction once that commits"}},
	{"knows what is stored alone", func(l *ledger) {
		l.enqueue = func(ctx context.Context, tx *memory.Tx, tasks []*omniq.RawTask) ([]error, error) {
			own := make(map[[16]byte]bool)
			for _, t := range tasks {
				own[t.ID] = true
				for _, d := range t.After {
					if own[d.ID] {
						continue
					}
					if _, err := l.m.Result(ctx, d.ID); err != nil {
						return nil, err
					}
				}
			}
			return tx.Enqueue(ctx, tasks)
		}
	}, []string{
		"a graph that is enqueued in a transaction is there once it commits, and never if it is rolled back",
		"what a transaction enqueues may wait for what it ends, and for what that brings",
		others,
	}},
	{"cannot go on after a graph that is refused", func(l *ledger) {
		l.enqueue = func(ctx context.Context, tx *memory.Tx, tasks []*omniq.RawTask) ([]error, error) {
			errs, err := tx.Enqueue(ctx, tasks)
			if err != nil {
				_ = tx.Rollback()
			}
			return errs, err
		}
	}, []string{"a graph that cannot be is refused in a transaction, which goes on"}},
	{"fails for all because of effects", func(l *ledger) {
		l.settle = func(ctx context.Context, tx *memory.Tx, s []omniq.Settlement) ([]error, error) {
			errs, err := tx.Settle(ctx, s)
			if errors.Is(first(errs), omniq.ErrInvalid) {
				return nil, errs[0]
			}
			return errs, err
		}
	}, []string{"a settlement with effects that cannot be is refused in a transaction, which goes on"}},
	{"settles what it has cancelled", func(l *ledger) {
		l.settle = func(ctx context.Context, tx *memory.Tx, s []omniq.Settlement) ([]error, error) {
			errs, err := tx.Settle(ctx, s)
			if errors.Is(first(errs), omniq.ErrLeaseLost) {
				return nil, nil
			}
			return errs, err
		}
	}, []string{"a lease whose task a settlement of the same transaction has cancelled is lost"}},
}
