package postgres

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/omniq-go/omniq"
)

// stmt is one statement of a transaction.
type stmt struct {
	sql  string // as it is sent
	args []any
	row  func(scanner) error // is called for each row; nil for none
}

// scanner is a row of pgx or of database/sql.
type scanner interface{ Scan(dest ...any) error }

// querier does statements in a transaction, in their order, up to the first that fails.
type querier interface {
	run(ctx context.Context, stmts ...stmt) error
}

// templates are the SQL of this package, with what differs from backend to backend:
//
//	{s}        the schema
//	{now}      the time of the statement: one for all its rows, and not before its transaction saw what it sees
//	{events: … :events}  only where events are kept
//	{until}    when an event goes that is kept now
type templates struct {
	replacer *strings.Replacer
	events   bool
	done     sync.Map // from the template to its SQL
}

func newTemplates(c *config) *templates {
	until := "statement_timestamp() + interval '" + strconv.FormatInt(microseconds(c.retention), 10) + " microseconds'"
	return &templates{
		replacer: strings.NewReplacer("{s}", c.schema, "{now}", "statement_timestamp()", "{until}", until),
		events:   c.retention > 0,
	}
}

// of returns the SQL of a template, which is a constant.
func (t *templates) of(template string) string {
	if done, ok := t.done.Load(template); ok {
		return done.(string)
	}
	text := template
	for {
		before, rest, found := strings.Cut(text, "{events:")
		if !found {
			break
		}
		inside, after, _ := strings.Cut(rest, ":events}")
		if !t.events {
			inside = ""
		}
		text = before + inside + after
	}
	text = t.replacer.Replace(text)
	t.done.Store(template, text)
	return text
}

const (
	begin = "BEGIN ISOLATION LEVEL READ COMMITTED"
	// The tables are small one moment and large the next, which no statistics can follow: a plan that was good for the one
	// would be bad for the other. By an index it is good enough for both. Where there is none, the plan counts as so
	// expensive that it would be compiled, which takes longer than anything here.
	planning = `SELECT set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true),
		set_config('enable_mergejoin', 'off', true), set_config('enable_bitmapscan', 'off', true), set_config('jit', 'off', true)`
	commit = "COMMIT"
)

// write does statements in one transaction and one round trip. They are made again if the database chose this
// transaction to end a deadlock.
func (b *Backend) write(ctx context.Context, stmts func() []stmt) error {
	if err := b.alive(ctx); err != nil {
		return err
	}
	return b.wrap(ctx, again(ctx, func() error {
		c, err := b.pool.Acquire(ctx)
		if err != nil {
			return err
		}
		defer c.Release() // with the transaction open, where it failed: then the pool closes the connection
		all := append([]stmt{{sql: begin}, {sql: planning}}, stmts()...)
		return pipeline(ctx, c.Conn(), append(all, stmt{sql: commit}))
	}))
}

// transact calls do in a transaction, for what cannot be done in one round trip.
func (b *Backend) transact(ctx context.Context, do func(querier) error) error {
	if err := b.alive(ctx); err != nil {
		return err
	}
	return b.wrap(ctx, again(ctx, func() error {
		return pgx.BeginTxFunc(ctx, b.pool, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
			q := transaction{tx}
			if err := q.run(ctx, stmt{sql: planning}); err != nil {
				return err
			}
			return do(q)
		})
	}))
}

// read does statements on one snapshot that change nothing.
func (b *Backend) read(ctx context.Context, stmts ...stmt) error {
	if err := b.alive(ctx); err != nil {
		return err
	}
	if len(stmts) > 1 {
		head := []stmt{{sql: "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"}, {sql: planning}}
		stmts = append(append(head, stmts...), stmt{sql: commit})
	}
	c, err := b.pool.Acquire(ctx)
	if err != nil {
		return b.wrap(ctx, err)
	}
	defer c.Release()
	return b.wrap(ctx, pipeline(ctx, c.Conn(), stmts))
}

// again calls do, and does so again at once if the database says that it would do then.
func again(ctx context.Context, do func() error) error {
	const tries = 5
	for n := 1; ; n++ {
		err := do()
		var e *pgconn.PgError
		if n == tries || ctx.Err() != nil || !errors.As(err, &e) || e.Code != "40P01" && e.Code != "40001" {
			return err
		}
	}
}

// transaction is one that goes on for several round trips.
type transaction struct{ tx pgx.Tx }

func (t transaction) run(ctx context.Context, stmts ...stmt) error { return pipeline(ctx, t.tx, stmts) }

// pipeline does statements in one round trip.
func pipeline(ctx context.Context, to interface {
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}, stmts []stmt,
) error {
	var list pgx.Batch
	for i := range stmts {
		s := &stmts[i]
		q := list.Queue(s.sql, s.args...)
		if s.row == nil {
			continue
		}
		q.Query(func(rows pgx.Rows) error {
			for rows.Next() {
				if err := s.row(rows); err != nil {
					rows.Close()
					return err
				}
			}
			return rows.Err()
		})
	}
	return to.SendBatch(ctx, &list).Close()
}

// list is an array of the database.
type list[T any] = pgtype.FlatArray[T]

func uuidOf(id [16]byte) pgtype.UUID { return pgtype.UUID{Bytes: id, Valid: true} }

// textOf is a text, or NULL for an empty one.
func textOf(s string) pgtype.Text { return pgtype.Text{String: s, Valid: s != ""} }

// text is the string of a column, empty for NULL.
func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// statusOf are the statuses of the states of tasks that are not final.
var statusOf = [...]omniq.Status{omniq.StatusPending, omniq.StatusPending, omniq.StatusRunning}

const (
	stateScheduled = 0 // pending, and due later
	stateReady     = 1
	stateRunning   = 2
)
