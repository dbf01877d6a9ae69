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

// Tx returns what enqueues tasks inside of a transaction of the caller's: one of [Backend.DB], or of any pool of the
// driver modernc.org/sqlite on the same file. A task exists if, and only if, the transaction commits; workers see it
// within the poll interval then.
//
// The context is looked at between statements, none of which takes long: only the first write of a transaction that has
// begun without the lock waits for it, as long as its pool's busy_timeout says. With an error, nothing was enqueued and
// the transaction can go on, unless the error is the end of the transaction itself. As such SQLite sees a full disk, for
// example; the transaction is rolled back then, and all that follows in it fails with [sql.ErrTxDone]. So it is for a
// transaction that SQLite has rolled back before, because the context of another statement of it has ended.
func (b *Backend) Tx(transaction *sql.Tx) omniq.Enqueuer { return enqueuer{b, transaction} }

type enqueuer struct {
	b           *Backend
	transaction *sql.Tx
}

func (e enqueuer) Enqueue(ctx context.Context, tasks []*omniq.RawTask) (errs []error, err error) {
	if err := e.b.alive(ctx); err != nil {
		return nil, err
	}
	list, err := encodeAll(tasks)
	if err != nil {
		return nil, err
	}
	// An interrupted write would make SQLite roll back the whole transaction, and what follows would commit by itself.
	q := caller{context.WithoutCancel(ctx), e.transaction}
	if err := e.begun(q); err != nil {
		return nil, e.fail(err)
	}
	if _, err := q.exec("SAVEPOINT omniq_enqueue"); err != nil {
		return nil, e.fail(err)
	}
	errs, err = e.enqueue(ctx, newTx(q, &e.b.config), list)
	if err == nil {
		_, err = q.exec("RELEASE omniq_enqueue")
	}
	if err != nil {
		return nil, e.undo(q, err)
	}
	return errs, nil
}

// begun fails if SQLite has rolled the transaction back, so that statements in it would be transactions of their own.
func (e enqueuer) begun(q caller) error {
	if _, err := q.exec("BEGIN"); err != nil {
		var inside *sqlite.Error
		if errors.As(err, &inside) && inside.Code()&0xff == sqlite3.SQLITE_ERROR {
			return nil // there is one
		}
		return err
	}
	return e.over(errors.New("a statement in it was interrupted or has failed"))
}

// over ends a transaction that SQLite does not have any more.
func (e enqueuer) over(why error) error {
	_ = e.transaction.Rollback() // there may be nothing to roll back
	return fmt.Errorf("%w: SQLite has rolled it back: %w", sql.ErrTxDone, why)
}

func (e enqueuer) enqueue(ctx context.Context, t *tx, list []newTask) (errs []error, err error) {
	if err := compatible(t.q, e.b.path); err != nil {
		return nil, err
	}
	for i := range list {
		if ctx.Err() != nil {
			return nil, contextError(ctx)
		}
		refused, err := t.enqueue(&list[i])
		if err != nil {
			return nil, err
		}
		if refused != nil {
			errs = engine.Report(errs, len(list), i, refused)
		}
	}
	return errs, t.count()
}

// undo takes back what was done so far.
func (e enqueuer) undo(q caller, err error) error {
	for _, s := range []string{"ROLLBACK TO omniq_enqueue", "RELEASE omniq_enqueue"} {
		if _, undoErr := q.exec(s); undoErr != nil {
			return e.fail(e.over(err))
		}
	}
	return e.fail(err)
}

func (e enqueuer) fail(err error) error {
	return fmt.Errorf("in the caller's transaction: %w", e.b.wrap(err))
}

// caller is a transaction of the caller's.
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
