package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/batch"
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
//	{clock}    the time at this moment
//	{overdue}  whether something was to happen to a task by itself: it is due, its TTL is over, or its lease ran out
//	{soon}     in how many microseconds something happens to a task that is not running by itself, NULL for never
//	{events: … :events}  only where events are kept
//	{until}    when an event goes that is kept now
type templates struct {
	replacer *strings.Replacer
	events   bool
	done     sync.Map // from the template to its SQL
}

func newTemplates(c *config) *templates {
	now, clock := "statement_timestamp()", "clock_timestamp()"
	if c.skew != 0 {
		skew := span(c.skew)
		now, clock = "("+now+" + "+skew+")", "("+clock+" + "+skew+")"
	}
	overdue := "(coalesce(wake <= " + now + ", false) OR state < 2 AND coalesce(deadline <= " + now + ", false))"
	return &templates{
		replacer: strings.NewReplacer("{s}", c.schema, "{now}", now, "{clock}", clock, "{overdue}", overdue,
			"{soon}", "CASE WHEN isfinite(least(wake, deadline)) THEN (extract(epoch FROM least(wake, deadline) - "+now+") * 1000000)::bigint END",
			"{until}", now+" + "+span(c.retention)),
		events: c.retention > 0,
	}
}

// span is a duration in SQL.
func span(d time.Duration) string {
	return "interval '" + strconv.FormatInt(microseconds(d), 10) + " microseconds'"
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
	begin    = "BEGIN ISOLATION LEVEL READ COMMITTED" // not READ WRITE: who forbids it by default is to be obeyed
	commit   = "COMMIT"
	rollback = "ROLLBACK"

	beginReading = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

	// The tables are small one moment and large the next, which no statistics can follow: a plan that was good for the one
	// would be bad for the other. By an index it is good enough for both. Where there is none, the plan counts as so
	// expensive that it would be compiled, which takes longer than anything here.
	planning = `SELECT set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true),
		set_config('enable_mergejoin', 'off', true), set_config('enable_bitmapscan', 'off', true), set_config('jit', 'off', true),
		set_config('plan_cache_mode', 'force_generic_plan', true),
		set_config('lock_timeout', coalesce($1::text, current_setting('lock_timeout')), true)`
)

// head begins a transaction whose statements wait for locks up to a time; zero is for one that locks nothing.
func head(begin string, wait time.Duration) []stmt {
	var limit *string
	if wait > 0 {
		limit = new(strconv.FormatInt(wait.Milliseconds(), 10))
	}
	return []stmt{{sql: begin}, {sql: planning, args: []any{limit}}}
}

// write does statements in one transaction and one round trip. They are made again if the database says so, see again.
func (b *Backend) write(ctx context.Context, stmts func() []stmt) error {
	return b.wrap(ctx, b.again(ctx, func(wait time.Duration) error {
		return b.with(ctx, func(c *pgx.Conn) error {
			all := append(head(begin, wait), stmts()...)
			return uncertain(c, pipeline(ctx, c, append(all, stmt{sql: commit})))
		})
	}))
}

// transact calls do in a transaction, for what cannot be done in one round trip.
func (b *Backend) transact(ctx context.Context, do func(querier) error) error {
	return b.wrap(ctx, b.again(ctx, func(wait time.Duration) error {
		return b.with(ctx, func(c *pgx.Conn) error {
			q := &begun{transaction{c}, head(begin, wait)}
			if err := do(q); err != nil {
				return err
			}
			return uncertain(c, q.run(ctx, stmt{sql: commit}))
		})
	}))
}

// read does statements on one snapshot that change nothing. A single one is for rows whose IDs are known.
func (b *Backend) read(ctx context.Context, stmts ...stmt) error {
	if len(stmts) > 1 {
		return b.search(ctx, stmts...)
	}
	if err := b.alive(ctx); err != nil {
		return err
	}
	return b.wrap(ctx, b.with(ctx, func(c *pgx.Conn) error { return pipeline(ctx, c, stmts) }))
}

// search is read for statements that look for rows by something else than their IDs. They are planned as those that write:
// with the statistics of a table that has just grown, to read all of it would seem to be the shortest way to a first row.
func (b *Backend) search(ctx context.Context, stmts ...stmt) error {
	if err := b.alive(ctx); err != nil {
		return err
	}
	all := append(head(beginReading, 0), stmts...)
	all = append(all, stmt{sql: commit})
	return b.wrap(ctx, b.with(ctx, func(c *pgx.Conn) error { return pipeline(ctx, c, all) }))
}

// with lends a connection: of those that nobody else can take to a call that is vital, see there, else one of the pool.
// One that can only read does not stay: a new one may be allowed more, or reach another server.
func (b *Backend) with(ctx context.Context, do func(*pgx.Conn) error) (err error) {
	pool := b.pool
	if isVital(ctx) {
		pool = b.own
	}
	c, err := pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if c.Conn().PgConn().TxStatus() != 'I' && !c.Conn().IsClosed() && code(err) != readOnly { // or the pool would close it
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			_, _ = c.Exec(ctx, rollback)
			cancel()
		}
		c.Release()
	}()
	return do(c.Conn())
}

// uncertain is for the error of a commit: when its answer is lost with the connection, nobody knows what became of it.
func uncertain(c *pgx.Conn, err error) error {
	if err == nil || !c.IsClosed() || pgconn.SafeToRetry(err) {
		return err
	}
	return fmt.Errorf("%w: %w", omniq.ErrUncertain, err)
}

// Why a statement failed, as SQL says it.
const (
	deadlockDetected     = "40P01"
	serializationFailure = "40001"
	divisionByZero       = "22012" // how statements of this package undo a transaction that has to begin again
	lockNotAvailable     = "55P03"
	readOnly             = "25006"
)

// tries is how often a transaction is begun that the database undoes.
const tries = 5

func code(err error) string {
	var e interface{ SQLState() string } // of whatever driver
	if errors.As(err, &e) {
		return e.SQLState()
	}
	return ""
}

// again calls do, and does so again at once if the database says that it would succeed then. Where it is locked out by
// another transaction for the time that it is given, it looks again now and then until ctx ends; so it keeps neither
// locks nor a connection from others meanwhile. A call that is shared fails with [batch.ErrBlocked] instead.
func (b *Backend) again(ctx context.Context, do func(wait time.Duration) error) error {
	for n := 1; ; n++ {
		if err := b.alive(ctx); err != nil {
			return &known{err}
		}
		err := do(lockWait)
		switch c := code(err); {
		case err == nil || ctx.Err() != nil:
			return err
		case c == lockNotAvailable && batch.Shared(ctx):
			return &known{fmt.Errorf("postgres: %w: %w", batch.ErrBlocked, err)}
		case c == lockNotAvailable:
			if err = b.persist(ctx, err, do); err == nil {
				return nil
			}
		}
		if errors.Is(err, errMoved) { // however often: somebody else has got on meanwhile
			n = 0
			continue
		}
		if c := code(err); n == tries || c != deadlockDetected && c != serializationFailure && c != divisionByZero {
			return err
		}
	}
}

const (
	lockWait   = 50 * time.Millisecond // for which a statement waits for what another transaction has locked
	lookWait   = 5 * time.Millisecond  // the same where it is known that this one stays for a while, at first
	longestGap = 100 * time.Millisecond
)

// persist calls do until it is no longer locked out. Of the calls of this backend that wait, one at a time looks.
func (b *Backend) persist(ctx context.Context, err error, do func(wait time.Duration) error) error {
	wait := lookWait
	for gap := 2 * lookWait; code(err) == lockNotAvailable; gap = min(2*gap, longestGap) {
		select {
		case <-time.After(gap):
		case <-ctx.Done():
		case <-b.closing:
		}
		select {
		case b.looking <- struct{}{}:
			last := err
			err = do(wait)
			<-b.looking
			if err != nil && ctx.Err() != nil && !errors.Is(err, omniq.ErrUncertain) {
				return lockedOut(ctx, last)
			}
		case <-ctx.Done():
			return lockedOut(ctx, err)
		case <-b.closing:
			return &known{omniq.ErrClosed}
		}
		wait = min(2*wait, lockWait)
	}
	return err
}

func lockedOut(ctx context.Context, err error) error {
	return &known{fmt.Errorf("%w, locked out by another transaction: %w", contextError(ctx), err)}
}

type vitalKey struct{}

// vital marks a call that must not wait for connections that others hold: it keeps tasks from being lost or started twice.
func vital(ctx context.Context) context.Context { return context.WithValue(ctx, vitalKey{}, true) }

func isVital(ctx context.Context) bool { return ctx.Value(vitalKey{}) != nil }

// transaction is one that goes on for several round trips.
type transaction struct{ on batcher }

func (t transaction) run(ctx context.Context, stmts ...stmt) error { return pipeline(ctx, t.on, stmts) }

// begun is a transaction that begins in one round trip with its first statements.
type begun struct {
	transaction
	head []stmt // nil after these
}

func (b *begun) run(ctx context.Context, stmts ...stmt) error {
	all := append(b.head, stmts...)
	b.head = nil
	return b.transaction.run(ctx, all...)
}

// batcher is a connection or a transaction of pgx.
type batcher interface {
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}

// pipeline does statements in one round trip.
func pipeline(ctx context.Context, to batcher, stmts []stmt) error {
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

// statusOf is the status of a state of tasks that are not final.
func statusOf(state int16) omniq.Status {
	switch state {
	case stateRunning:
		return omniq.StatusRunning
	case stateWaiting:
		return omniq.StatusWaiting
	}
	return omniq.StatusPending
}

const (
	stateWaiting   = -1
	stateScheduled = 0 // pending, and due later
	stateReady     = 1
	stateRunning   = 2
)
