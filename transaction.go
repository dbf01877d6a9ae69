package omniq

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"
)

// Transactor is a [Backend] that can work inside of the caller's transactions.
type Transactor interface {
	// Transaction returns what works inside of the caller's transaction tx. The engine says which types tx may have. Any
	// other, nil and a nil pointer are [ErrInvalid].
	Transaction(tx any) (Transaction, error)
}

// Transaction does part of a [Backend]'s work inside of the caller's transaction: the work counts if, and only if, that
// commits. It may be used where the transaction may be used. After the transaction has ended each call is an error.
type Transaction interface {
	Enqueuer

	// Settle ends leases as [TaskQueue].Settle does. A lease that it has ended is lost for everybody once the transaction
	// commits, and goes on as it was if that is rolled back. Until then, calls of others about this lease may wait for a
	// short time that the engine states, and fail. With an error of the whole call no settlement is done.
	Settle(ctx context.Context, settlements []Settlement) ([]error, error)
}

// Tx returns a client that enqueues in the transaction tx, and is otherwise the same: the tasks exist if, and only if, tx
// commits. Each engine says which types tx may have: *sql.Tx, pgx.Tx, or a transaction of the engine's own.
//
// Each enqueue is [ErrInvalid] if tx is nil, is of a type that the engine cannot use, or if the backend has no transactions.
// The client may be used where tx may be used, and not after tx has ended. Before tx has committed, nobody knows its tasks:
// a Wait for one of them is [ErrNotFound].
func (c *Client) Tx(tx any) *Client {
	if c.check() != nil {
		return c // whose methods say so
	}
	t, err := transaction(c.backend, tx)
	if err != nil {
		t = noTransaction{err}
	}
	return c.Through(t)
}

// transaction is what the backend makes of tx.
func transaction(b Backend, tx any) (Transaction, error) {
	t, ok := b.(Transactor)
	if !ok {
		return nil, invalid("the backend %q has no transactions", b.Capabilities().Name)
	}
	return t.Transaction(tx)
}

// noTransaction is that of a client whose transaction cannot be used.
type noTransaction struct{ err error }

func (t noTransaction) Enqueue(context.Context, []*RawTask) ([]error, error)  { return nil, t.err }
func (t noTransaction) Settle(context.Context, []Settlement) ([]error, error) { return nil, t.err }

// CompleteTx records the result of the task whose handler calls it, inside of the transaction tx. So what the handler has
// written in tx and the end of the task are one: both count, or neither. ctx is the handler's or derived from it. R is the
// type of the handler's result, [Void] for none. For tx see [Client.Tx].
//
// What the handler has enqueued by [Enqueue] before, and cancelled by [Cancel], counts with it, too, and so does the progress
// that it has set. It can add nothing more. After that the handler
// commits tx, soon, and returns the same result. If tx was committed, the task has succeeded,
// whatever the handler returns. If the handler returns and has not committed tx, the attempt has failed, and another one may
// follow. [Middleware] does not see the result that is recorded.
//
// An error says that nothing was recorded. Roll tx back then.
//
//   - [ErrLeaseLost] says that the lease is lost or the task was cancelled: another attempt may be running.
//   - [ErrInvalid] says that ctx is not a handler's, R is not the type of its result, the backend cannot use tx, or the result
//     cannot be stored.
//   - Any other error is the backend's, or that of ctx.
func CompleteTx[R any](ctx context.Context, tx any, result R) error {
	h, ok := ctx.Value(executionKey{}).(*execution)
	if !ok {
		return invalid("CompleteTx: the context is not that of a handler in a worker")
	}
	if err := h.completeTx(ctx, tx, reflect.TypeFor[R](), &result); err != nil {
		return fmt.Errorf("omniq: complete task %v in a transaction: %w", h.attempt.lease.Task.ID, err)
	}
	return nil
}

func (h *execution) completeTx(ctx context.Context, tx any, typ reflect.Type, result any) error {
	w, a := h.worker, h.attempt
	if want := w.specs[a.lease.Task.FuncName].result; typ != want {
		return invalid("the result is of type %v, and that of the handler of %q is %v", typ, a.lease.Task.FuncName, want)
	}
	t, err := transaction(w.backend, tx)
	if err != nil {
		return err
	}
	r := finalResult(a.lease.Task, StatusSuccess, time.Now(), a.lease.Attempt)
	if r.ResultData, r.Codec, err = encodeResult(w.codecs.writer(), result); err != nil {
		return err
	}
	err = only(t.Settle(ctx, []Settlement{{
		LeaseID: a.lease.LeaseID, Action: ActionFinish, Result: r, Took: time.Since(a.began), KeepTask: a.lease.Task.KeepTask,
		Effects: a.withNotes(w.shut(a).effects()),
	}}))
	if err != nil {
		w.reopen(a)
	}
	if err == nil {
		w.mu.Lock()
		a.inTx = true
		w.mu.Unlock()
	}
	return err
}

func (w *Worker) inTx(a *attempt) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return a.inTx
}

// errCommitted says that the handler has ended its task itself.
var errCommitted = errors.New("omniq: the task has succeeded in the handler's transaction")

// committed asks the engine whether a transaction was committed in which CompleteTx has recorded the attempt's result, and
// notes it then. Of a result whose TTL is zero there is nothing to be found.
func (w *Worker) committed(ctx context.Context, a *attempt) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), w.lease/4)
	defer cancel()
	r, err := w.backend.Result(ctx, a.lease.TaskID)
	if !errors.Is(err, ErrNotFound) && (err != nil || r.Status != StatusSuccess || r.Attempts != a.lease.Attempt) {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !a.settling && !a.over {
		a.lost = errCommitted
	}
	return true
}
