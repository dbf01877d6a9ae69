package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// Transaction returns what enqueues and settles in a transaction: see [omniq.Transactor]. It takes a pgx.Tx as [Backend.Tx]
// takes it and a *sql.Tx as [Backend.SQLTx] does.
func (b *Backend) Transaction(tx any) (omniq.Transaction, error) {
	if err := engine.CheckTransaction(tx); err != nil {
		return nil, err
	}
	switch t := tx.(type) {
	case pgx.Tx:
		return b.Tx(t), nil
	case *sql.Tx:
		return b.SQLTx(t), nil
	}
	return nil, invalid("a transaction of type %T, want pgx.Tx or *sql.Tx", tx)
}

// Tx returns what enqueues and settles tasks inside of a transaction of the caller's, in the same database. All of it counts
// if, and only if, the transaction commits; its commit wakes those who wait for tasks and for results. With an error, nothing
// was done and the transaction can go on, unless the error is the end of the transaction itself. A transaction that has
// enqueued or settled should end soon: others with the same task IDs or unique keys wait for it, extending the leases that it
// has settled fails after a second, and while it commits, others that notify wait.
//
// Where transactions are repeatable read or serializable, the error of two that enqueue the same ID is the database's
// own, and it is the caller's to begin again.
func (b *Backend) Tx(tx pgx.Tx) omniq.Transaction { return callers{b, transaction{tx}} }

// SQLTx returns what enqueues and settles tasks inside of a transaction of package database/sql, of any driver, as [Backend.Tx]
// does for one of pgx. Each statement is a round trip of its own.
func (b *Backend) SQLTx(tx *sql.Tx) omniq.Transaction { return callers{b, sqlTransaction{tx}} }

// callers is a transaction of the caller's.
type callers struct {
	b *Backend
	q querier
}

const notifyQueue = "SELECT pg_notify($1::text, $2::text)"

func (c callers) Enqueue(ctx context.Context, tasks []*omniq.RawTask) ([]error, error) {
	if err := c.b.alive(ctx); err != nil {
		return nil, err
	}
	call, err := c.b.newEnqueuing(tasks)
	if err != nil {
		return nil, err
	}
	call.plain = true
	err = c.inside(ctx, func(again func() error) error {
		err := c.enqueue(ctx, call)
		for n := 1; n < tries && code(err) == divisionByZero || errors.Is(err, errMoved); n++ {
			if err = again(); err == nil {
				err = c.enqueue(ctx, call)
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return call.result(), nil
}

// Settle ends leases with what became of their attempts, once the transaction commits: see [omniq.Transaction]. What others
// have locked it waits for.
func (c callers) Settle(ctx context.Context, settlements []omniq.Settlement) ([]error, error) {
	if err := c.b.alive(ctx); err != nil {
		return nil, err
	}
	s, err := c.b.newSettling(settlements)
	if err != nil {
		return nil, err
	}
	s.callers = true
	err = c.inside(ctx, func(again func() error) error {
		err := c.settle(ctx, s)
		for refusal(err) || crossed(err) && !s.replaces {
			refused := refusal(err)
			if err = again(); err != nil {
				return err
			}
			if s.replaces = s.replaces || !refused; refused {
				if err := s.refuse(ctx); err != nil {
					return err
				}
			}
			err = c.settle(ctx, s)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return s.report(settlements), nil
}

// settle does what the settlements say, and has the commit tell those who wait.
func (c callers) settle(ctx context.Context, s *settling) error {
	if err := (anyDriver{c.q}).run(ctx, s.statements(s.held())...); err != nil {
		return err
	}
	var topics []topic
	for _, e := range s.endings {
		if s.done[e.hold] {
			topics = append(topics, resultTopic(e.id))
		}
	}
	for queue := range s.ready {
		topics = append(topics, queueTopic(queue))
	}
	if s.follows {
		topics = append(topics, workTopic)
	}
	more, err := c.effects(ctx, s)
	if err != nil {
		return err
	}
	topics = append(topics, more...)
	if c.b.config.retention > 0 {
		topics = append(topics, eventTopic)
	}
	return c.notify(ctx, notesOf(nobody, topics)...)
}

// notify notifies when the transaction commits, this process as well.
func (c callers) notify(ctx context.Context, notes ...string) error {
	if c.b.config.silent {
		return nil
	}
	for _, note := range notes {
		if err := c.q.run(ctx, stmt{sql: notifyQueue, args: []any{c.b.config.channel(), note}}); err != nil {
			return err
		}
	}
	return nil
}

// inside calls do in a savepoint. What do has done is undone by again, and when it fails.
func (c callers) inside(ctx context.Context, do func(again func() error) error) error {
	if err := c.q.run(ctx, stmt{sql: "SAVEPOINT omniq"}); err != nil {
		return c.wrap(ctx, err)
	}
	err := do(func() error { return c.q.run(ctx, stmt{sql: "ROLLBACK TO SAVEPOINT omniq"}) })
	if err == nil {
		err = c.q.run(ctx, stmt{sql: "RELEASE SAVEPOINT omniq"})
	}
	if err != nil {
		c.undo(context.WithoutCancel(ctx))
		return c.wrap(ctx, err)
	}
	return nil
}

// undo lets the transaction go on. If it fails, the transaction itself is over, which is what the caller is told. In one
// round trip with the first, the second would be parsed in a transaction that cannot go on yet.
func (c callers) undo(ctx context.Context) {
	if c.q.run(ctx, stmt{sql: "ROLLBACK TO SAVEPOINT omniq"}) == nil {
		_ = c.q.run(ctx, stmt{sql: "RELEASE SAVEPOINT omniq"})
	}
}

func (c callers) enqueue(ctx context.Context, call *enqueuing) error {
	t := newTying(c.b, anyDriver{c.q})
	t.store = c.q
	var err error
	if call.tied {
		err = call.tie(ctx, t, uuid.Nil)
	} else {
		err = call.run(func(stmts func() []stmt) error { return c.q.run(ctx, stmts()...) })
	}
	if err != nil {
		return err
	}
	notes := make([]string, 0, len(call.queues))
	for queue := range call.queues {
		notes = append(notes, queueNote+queue)
	}
	if t.checks {
		notes = append(notes, notesOf(nobody, []topic{workTopic})...)
	}
	return c.notify(ctx, notes...)
}

func (c callers) wrap(ctx context.Context, err error) error {
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

// arrays are the parameters of a statement that only pgx can send.
var arrays = regexp.MustCompile(`\$(\d+)::(\w+)\[\]`)

// arrayTypes are the types of arrays by the names of their elements.
var arrayTypes = map[string]uint32{
	"uuid": pgtype.UUIDArrayOID, "bigint": pgtype.Int8ArrayOID, "smallint": pgtype.Int2ArrayOID, "integer": pgtype.Int4ArrayOID,
	"boolean": pgtype.BoolArrayOID, "text": pgtype.TextArrayOID, "timestamptz": pgtype.TimestamptzArrayOID,
}

// types encode values. Each is for one goroutine at a time: it remembers how it has done so.
var types = sync.Pool{New: func() any { return pgtype.NewMap() }}

// anyDriver does statements as any driver can: see plain.
type anyDriver struct{ q querier }

func (p anyDriver) run(ctx context.Context, stmts ...stmt) error {
	for _, s := range stmts {
		s, err := plain(s)
		if err == nil {
			err = p.q.run(ctx, s)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// plain is a statement whose arrays are sent as texts, and whose first column, if it is an ID, comes as a text: any driver can
// do so.
func plain(s stmt) (stmt, error) {
	s.args = slices.Clone(s.args)
	known := types.Get().(*pgtype.Map)
	defer types.Put(known)
	for _, parameter := range arrays.FindAllStringSubmatch(s.sql, -1) {
		n, err := strconv.Atoi(parameter[1])
		if err != nil {
			return s, err
		}
		if _, done := s.args[n-1].(string); done {
			continue // it stands twice
		}
		encoded, err := known.Encode(arrayTypes[parameter[2]], pgtype.TextFormatCode, s.args[n-1], nil)
		if err != nil {
			return s, err
		}
		s.args[n-1] = string(encoded)
	}
	s.sql = arrays.ReplaceAllString(s.sql, "($$$1::text)::$2[]")
	if row := s.row; row != nil {
		at := strings.LastIndex(s.sql, "SELECT id,")
		if at < 0 {
			return s, nil // it has no ID
		}
		s.sql = s.sql[:at] + "SELECT id::text," + s.sql[at+len("SELECT id,"):]
		s.row = func(r scanner) error { return row(idScanner{r}) }
	}
	return s, nil
}

// idScanner is a row whose first column is the text of an ID.
type idScanner struct{ row scanner }

// Scan scans the first column into a [16]byte.
func (s idScanner) Scan(dest ...any) error {
	var text string
	if err := s.row.Scan(append([]any{&text}, dest[1:]...)...); err != nil {
		return err
	}
	id, err := uuid.Parse(text)
	*dest[0].(*[16]byte) = id
	return err
}
