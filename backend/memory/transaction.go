package memory

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// ErrTxDone is returned by each use of a transaction that has ended.
var ErrTxDone = errors.New("memory: the transaction has ended")

// ErrConflict is returned by [Tx.Commit] where others have meanwhile enqueued one of its tasks, taken one of its unique keys or
// ended one of its leases. Nothing of the transaction is done then.
var ErrConflict = errors.New("memory: the transaction conflicts with another")

// Tx is a transaction of a backend in memory, for tests of programs that use those of a database. [omniq.Client.Tx] and
// [omniq.CompleteTx] take it. When it commits, it does all that was enqueued and settled in it, or nothing. It never blocks
// others: of two transactions that conflict, the second one to commit fails with [ErrConflict]. It is safe for concurrent use.
// One that is dropped without an end costs nothing.
type Tx struct {
	b *Backend

	mu     sync.Mutex
	done   bool
	steps  []step
	plan   *plan                  // of what is done in it
	leases map[omniq.LeaseID]bool // those that are settled in it
}

// step is what a call enqueues, or a lease to settle.
type step struct {
	tasks      []*omniq.RawTask
	told       []error // what became of each of tasks, as far as it was told
	settlement omniq.Settlement
	left       []error // what of its effects is left out, once it is planned to commit
}

// Begin begins a transaction.
func (b *Backend) Begin() *Tx {
	return &Tx{b: b, plan: b.plan(0), leases: make(map[omniq.LeaseID]bool)}
}

// Transaction returns what enqueues and settles in a transaction: see [omniq.Transactor]. It takes a *[Tx] of this backend.
func (b *Backend) Transaction(tx any) (omniq.Transaction, error) {
	if err := engine.CheckTransaction(tx); err != nil {
		return nil, err
	}
	t, ok := tx.(*Tx)
	if !ok {
		return nil, invalid("a transaction of type %T, want what Begin has returned", tx)
	}
	if t.b != b {
		return nil, invalid("a transaction of another backend")
	}
	return t, nil
}

// begin locks the transaction unless it has ended.
func (t *Tx) begin() error {
	if t == nil || t.b == nil {
		return invalid("a transaction that Begin has not returned")
	}
	t.mu.Lock()
	if t.done {
		t.mu.Unlock()
		return ErrTxDone
	}
	return nil
}

// locked calls do while the transaction and its backend are locked, unless one of them has ended.
func (t *Tx) locked(ctx context.Context, do func(now time.Time) error) error {
	if err := t.begin(); err != nil {
		return err
	}
	defer t.mu.Unlock()
	now, err := t.b.begin(ctx)
	if err != nil {
		return err
	}
	defer t.b.end()
	return do(now)
}

// Enqueue stores tasks once the transaction commits, all or none: see [omniq.Enqueuer]. What is a [omniq.Duplicate] now is
// told now.
func (t *Tx) Enqueue(ctx context.Context, tasks []*omniq.RawTask) ([]error, error) {
	if err := engine.CheckTasks(tasks); err != nil {
		return nil, err
	}
	var errs []error
	err := t.locked(ctx, func(now time.Time) error {
		p := t.plan
		if !plain(tasks) { // of plain ones none can fail the call
			p = p.clone()
		}
		var err error
		if errs, err = p.addAll(tasks, now); err != nil {
			return err
		}
		t.plan = p
		var fresh step
		for i, task := range tasks {
			var told error
			if errs != nil {
				told = errs[i]
			}
			if admitted(told) {
				fresh.tasks, fresh.told = append(fresh.tasks, task), append(fresh.told, told)
			}
		}
		if fresh.tasks != nil {
			t.steps = append(t.steps, fresh)
		}
		return nil
	})
	return errs, err
}

// Settle ends leases with what became of their attempts, once the transaction commits: see [omniq.Transaction].
func (t *Tx) Settle(ctx context.Context, settlements []omniq.Settlement) ([]error, error) {
	refused, err := check(settlements)
	if err != nil {
		return nil, err
	}
	var errs []error
	err = t.locked(ctx, func(now time.Time) error {
		for i, s := range settlements {
			e := t.b.leased(s.LeaseID, now)
			var why error
			p := t.plan
			switch {
			case e == nil || t.leases[s.LeaseID] || p.lost[s.TaskID]:
				why = omniq.ErrLeaseLost
			case refused != nil && refused[i] != nil:
				why = refused[i]
			case s.Effects != nil:
				p = p.clone()
				_, why = p.effects(e, &s, now)
			}
			if why != nil {
				errs = engine.Report(errs, len(settlements), i, why)
				continue
			}
			t.plan = p
			t.plan.ending[s.TaskID] = s.Action
			t.leases[s.LeaseID] = true
			t.steps = append(t.steps, step{settlement: s})
		}
		return nil
	})
	return errs, err
}

// Commit does all that was done in the transaction, in its order, or nothing: with [ErrConflict], in whose chain stands what
// is in the way, with [ErrTxDone], or with [omniq.ErrClosed]. The transaction has ended then.
func (t *Tx) Commit() error {
	if err := t.begin(); err != nil {
		return err
	}
	defer t.mu.Unlock()
	t.done = true
	now, err := t.b.begin(context.Background())
	if err != nil {
		return err
	}
	defer t.b.end()
	p, err := t.obstacle(now)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConflict, err)
	}
	p.pin()
	defer p.unpin(now)
	for i := range t.steps {
		s := &t.steps[i]
		for _, task := range s.tasks {
			t.b.add(task, p, now)
		}
		if s.tasks != nil {
			continue
		}
		e := t.b.tasks[s.settlement.TaskID]
		if s.settlement.Effects == nil {
			t.b.conclude(e, &s.settlement, now)
		} else {
			t.b.carryOut(e, &s.settlement, p, s.left, now)
		}
	}
	return nil
}

// obstacle is what is in the way of the steps. Without one it plans them.
func (t *Tx) obstacle(now time.Time) (*plan, error) {
	p := t.b.plan(len(t.plan.tasks))
	for i := range t.steps {
		if tasks := t.steps[i].tasks; tasks != nil {
			errs, err := p.addAll(tasks, now)
			if err != nil {
				return nil, err
			}
			for k, told := range t.steps[i].told {
				if err := changed(told, errs, k); err != nil {
					return nil, err
				}
			}
			continue
		}
		s := &t.steps[i].settlement
		e := t.b.leased(s.LeaseID, now)
		if e == nil || p.lost[s.TaskID] {
			return nil, fmt.Errorf("%w: of task %v", omniq.ErrLeaseLost, s.TaskID)
		}
		p.ending[s.TaskID] = s.Action
		if s.Effects == nil {
			continue
		}
		var err error
		if t.steps[i].left, err = p.effects(e, s, now); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// changed is that something else has become of a task of a call than was told: it is a duplicate, or does not take the place of another
// any more.
func changed(told error, errs []error, i int) error {
	var now error
	if errs != nil {
		now = errs[i]
	}
	switch {
	case now == told: //nolint:errorlint // both are nil, or comparable
		return nil
	case now != nil:
		return now
	}
	return fmt.Errorf("what was to be replaced is there no more: %w", told)
}

// Rollback ends the transaction without anything done. After an end it is [ErrTxDone], and changes nothing.
func (t *Tx) Rollback() error {
	if err := t.begin(); err != nil {
		return err
	}
	t.done = true
	t.mu.Unlock()
	return nil
}
