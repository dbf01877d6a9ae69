package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/omniq-go/omniq"
)

// Tx returns what enqueues tasks inside of a transaction of the caller's, in the same database. A task exists if, and
// only if, the transaction commits; its commit wakes those who wait for tasks. With an error, nothing was enqueued and
// the transaction can go on, unless the error is the end of the transaction itself. A transaction that has enqueued
// should end soon: others with the same task IDs or unique keys wait for it, and while it commits, others that notify do.
//
// Where transactions are repeatable read or serializable, the error of two that enqueue the same ID is the database's
// own, and it is the caller's to begin again.
func (b *Backend) Tx(tx pgx.Tx) omniq.Enqueuer { return enqueuer{b, transaction{tx}} }

// SQLTx is Tx for a transaction of package database/sql, with any driver.
func (b *Backend) SQLTx(tx *sql.Tx) omniq.Enqueuer { return enqueuer{b, sqlTransaction{tx}} }

type enqueuer struct {
	b *Backend
	q querier
}

const notifyQueue = "SELECT pg_notify($1::text, $2::text)"

func (e enqueuer) Enqueue(ctx context.Context, tasks []*omniq.RawTask) ([]error, error) {
	if err := e.b.alive(ctx); err != nil {
		return nil, err
	}
	call, err := e.b.newEnqueuing(tasks)
	if err != nil {
		return nil, err
	}
	call.plain = true
	if err := e.q.run(ctx, stmt{sql: "SAVEPOINT omniq_enqueue"}); err != nil {
		return nil, e.wrap(ctx, err)
	}
	err = e.enqueue(ctx, call)
	for n := 1; n < tries && code(err) == divisionByZero; n++ {
		if err = e.q.run(ctx, stmt{sql: "ROLLBACK TO SAVEPOINT omniq_enqueue"}); err == nil {
			err = e.enqueue(ctx, call)
		}
	}
	if err == nil {
		err = e.q.run(ctx, stmt{sql: "RELEASE SAVEPOINT omniq_enqueue"})
	}
	if err != nil {
		e.undo(context.WithoutCancel(ctx))
		return nil, e.wrap(ctx, err)
	}
	return call.result(), nil
}

// undo lets the transaction go on. If it fails, the transaction itself is over, which is what the caller is told. In one
// round trip with the first, the second would be parsed in a transaction that cannot go on yet.
func (e enqueuer) undo(ctx context.Context) {
	if e.q.run(ctx, stmt{sql: "ROLLBACK TO SAVEPOINT omniq_enqueue"}) == nil {
		_ = e.q.run(ctx, stmt{sql: "RELEASE SAVEPOINT omniq_enqueue"})
	}
}

func (e enqueuer) enqueue(ctx context.Context, call *enqueuing) error {
	err := call.run(func(stmts func() []stmt) error {
		for _, s := range stmts() { // one after the other: package database/sql has one connection for both
			if err := e.q.run(ctx, s); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if e.b.config.silent {
		return nil
	}
	for queue := range call.queues {
		s := stmt{sql: notifyQueue, args: []any{e.b.config.channel(), queueNote + queue}}
		if err := e.q.run(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

func (e enqueuer) wrap(ctx context.Context, err error) error {
	if errors.Is(err, sql.ErrTxDone) || errors.Is(err, pgx.ErrTxClosed) {
		return fmt.Errorf("postgres: in the caller's transaction: %w", err)
	}
	if err = wrap(ctx, err); err != nil {
		err = fmt.Errorf("in the caller's transaction: %w", err)
	}
	return err
}

// sqlTransaction is one of package database/sql. It takes one round trip for each statement.
type sqlTransaction struct{ tx *sql.Tx }

func (t sqlTransaction) run(ctx context.Context, stmts ...stmt) error {
	for i := range stmts {
		if err := t.one(ctx, &stmts[i]); err != nil {
			return err
		}
	}
	return nil
}

func (t sqlTransaction) one(ctx context.Context, s *stmt) (err error) {
	if s.row == nil {
		_, err := t.tx.ExecContext(ctx, s.sql, s.args...)
		return err
	}
	rows, err := t.tx.QueryContext(ctx, s.sql, s.args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := s.row(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}
