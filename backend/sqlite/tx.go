package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// Tx returns what enqueues tasks inside of a transaction of the caller's: one of [Backend.DB], or of any pool of the
// driver modernc.org/sqlite on the same file. A task exists if, and only if, the transaction commits; workers see it
// within the poll interval then. With an error, nothing was enqueued and the transaction can go on, unless the error is
// the end of the transaction itself.
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
	q := caller{ctx, e.transaction}
	if _, err := q.exec("SAVEPOINT omniq_enqueue"); err != nil {
		return nil, e.fail(ctx, err)
	}
	t := newTx(q, &e.b.config)
	for i := range list {
		refused, err := t.enqueue(&list[i])
		if err != nil {
			return nil, e.undo(ctx, err)
		}
		if refused != nil {
			errs = engine.Report(errs, len(list), i, refused)
		}
	}
	if err := t.count(); err != nil {
		return nil, e.undo(ctx, err)
	}
	if _, err := q.exec("RELEASE omniq_enqueue"); err != nil {
		return nil, e.undo(ctx, err)
	}
	return errs, nil
}

// undo takes back what was done so far.
func (e enqueuer) undo(ctx context.Context, err error) error {
	q := caller{context.WithoutCancel(ctx), e.transaction}
	for _, s := range []string{"ROLLBACK TO omniq_enqueue", "RELEASE omniq_enqueue"} {
		if _, undoErr := q.exec(s); undoErr != nil {
			break // the whole transaction is gone: SQLite has rolled it back
		}
	}
	return e.fail(ctx, err)
}

func (e enqueuer) fail(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return contextError(ctx)
	}
	if err = e.b.wrap(err); err != nil {
		err = fmt.Errorf("in the caller's transaction: %w", err)
	}
	return err
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
