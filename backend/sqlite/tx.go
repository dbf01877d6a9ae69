package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// Transaction returns what enqueues and settles in a transaction: see [omniq.Transactor]. It takes a *sql.Tx as [Backend.Tx]
// takes it.
func (b *Backend) Transaction(tx any) (omniq.Transaction, error) {
	if err := engine.CheckTransaction(tx); err != nil {
		return nil, err
	}
	t, ok := tx.(*sql.Tx)
	if !ok {
		return nil, invalid("a transaction of type %T, want *sql.Tx", tx)
	}
	return b.Tx(t), nil
}

// Tx returns what enqueues and settles tasks inside of a transaction of the caller's: one of [Backend.DB], or of any pool of
// the driver modernc.org/sqlite on the same file. All of it counts if, and only if, the transaction commits; workers, and
// those who wait for results, see it within the poll interval then. It is for one goroutine at a time.
//
// The context is looked at between statements, none of which takes long: only the first write of a transaction that has
// begun without the lock waits for it, as long as its pool's busy_timeout says. With an error, nothing was done and
// the transaction can go on, unless the error is the end of the transaction itself. As such SQLite sees a full disk, for
// example; the transaction is rolled back then, and all that follows in it fails with [sql.ErrTxDone]. So it is for a
// transaction that SQLite has rolled back before, because the context of another statement of it has ended.
func (b *Backend) Tx(tx *sql.Tx) omniq.Transaction { return callers{b, tx} }

// callers is a transaction of the caller's.
type callers struct {
	b  *Backend
	tx *sql.Tx
}

func (c callers) Enqueue(ctx context.Context, tasks []*omniq.RawTask) (errs []error, err error) {
	if err := c.b.alive(ctx); err != nil {
		return nil, err
	}
	list, err := encodeAll(tasks)
	if err != nil {
		return nil, err
	}
	if tied(list) {
		return c.call(ctx, func(t *tx) ([]error, error) { return t.enqueueAll(list, newJoint()) })
	}
	return c.call(ctx, func(t *tx) ([]error, error) { return t.enqueueEach(ctx, list) })
}

func (c callers) Settle(ctx context.Context, settlements []omniq.Settlement) (errs []error, err error) {
	if err := c.b.alive(ctx); err != nil {
		return nil, err
	}
	list, err := newSettlements(settlements)
	if err != nil {
		return nil, err
	}
	return c.call(ctx, func(t *tx) ([]error, error) { return t.endLeases(ctx, list) })
}

// call does something whole or not at all.
func (c callers) call(ctx context.Context, do func(t *tx) ([]error, error)) (errs []error, err error) {
	// An interrupted write would make SQLite roll back the whole transaction, and what follows would commit by itself.
	q := caller{context.WithoutCancel(ctx), c.tx}
	if err := c.begun(q); err != nil {
		return nil, c.fail(err)
	}
	if _, err := q.exec("SAVEPOINT omniq"); err != nil {
		return nil, c.fail(err)
	}
	errs, err = c.inside(newTx(q, &c.b.config), do)
	if err == nil {
		_, err = q.exec("RELEASE omniq")
	}
	if err != nil {
		return nil, c.undo(q, err)
	}
	return errs, nil
}

// begun fails if SQLite has rolled the transaction back, so that statements in it would be transactions of their own.
func (c callers) begun(q caller) error {
	if _, err := q.exec("BEGIN"); err != nil {
		var inside *sqlite.Error
		if errors.As(err, &inside) && inside.Code()&0xff == sqlite3.SQLITE_ERROR {
			return nil // there is one
		}
		return err
	}
	return c.over(errors.New("a statement in it was interrupted or has failed"))
}

// over ends a transaction that SQLite does not have any more.
func (c callers) over(why error) error {
	_ = c.tx.Rollback() // there may be nothing to roll back
	return fmt.Errorf("%w: SQLite has rolled it back: %w", sql.ErrTxDone, why)
}

func (c callers) inside(t *tx, do func(t *tx) ([]error, error)) (errs []error, err error) {
	if err := compatible(t.q, c.b.path); err != nil {
		return nil, err
	}
	if errs, err = do(t); err != nil {
		return nil, err
	}
	if err := t.tell(false); err != nil {
		return nil, err
	}
	return errs, t.count()
}

// undo takes back what was done so far.
func (c callers) undo(q caller, err error) error {
	for _, s := range []string{"ROLLBACK TO omniq", "RELEASE omniq"} {
		if _, undoErr := q.exec(s); undoErr != nil {
			return c.fail(c.over(err))
		}
	}
	return c.fail(err)
}

func (c callers) fail(err error) error {
	return fmt.Errorf("in the caller's transaction: %w", c.b.wrap(err))
}

// caller is the statements of a transaction of the caller's.
type caller struct {
	ctx context.Context
	tx  *sql.Tx
}

func (c caller) exec(query string, args ...driver.Value) (int64, error) {
	r, err := c.tx.ExecContext(c.ctx, query, anys(args)...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

func (c caller) query(query string, row func([]driver.Value) error, args ...driver.Value) (err error) {
	rows, err := c.tx.QueryContext(c.ctx, query, anys(args)...)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := rows.Close(); err == nil {
			err = closeErr
		}
	}()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	values, into := make([]driver.Value, len(columns)), make([]any, len(columns))
	for i := range values {
		into[i] = (*any)(&values[i])
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		if err := row(values); err != nil {
			return err
		}
	}
	return rows.Err()
}

func anys(args []driver.Value) []any {
	list := make([]any, len(args))
	for i, a := range args {
		list[i] = a
	}
	return list
}
