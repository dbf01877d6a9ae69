package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"net/url"
	"path/filepath"
	"strings"

	"modernc.org/sqlite"
)

// querier is a connection or a transaction of the caller's. The arguments are those of [driver.Value].
type querier interface {
	// exec returns how many rows were changed.
	exec(query string, args ...driver.Value) (int64, error)
	// query calls row, which does not keep the slice, for each row.
	query(query string, row func([]driver.Value) error, args ...driver.Value) error
}

// conn is a connection of the driver, without the pool of database/sql, whose cost is that of a small statement. It
// prepares each statement once. One goroutine uses it at a time.
type conn struct {
	raw   driver.Conn
	ctx   context.Context
	stmts map[string]statement
	args  []driver.NamedValue

	failed bool // a statement has, so that its state is not known
}

type statement struct {
	driver.Stmt
	row []driver.Value // of its results
}

// dsn is the driver's name for the file, with what each connection needs. The file must be there if the mode is rw, and
// is made with rwc.
func (c *config) dsn(path, mode string, pragmas ...string) string {
	slashed := filepath.ToSlash(path)
	if !strings.HasPrefix(slashed, "/") { // a drive letter
		slashed = "/" + slashed
	}
	synchronous := "synchronous(FULL)"
	if c.normal {
		synchronous = "synchronous(NORMAL)"
	}
	pragmas = append([]string{synchronous, "temp_store(MEMORY)"}, pragmas...)
	query := url.Values{"_pragma": pragmas, "mode": {mode}, "_txlock": {"immediate"}}
	return (&url.URL{Scheme: "file", Path: slashed, RawQuery: query.Encode()}).String()
}

// connect opens a connection that waits for locks, until its context ends.
func (c *config) connect(path, mode string, pragmas ...string) (*conn, error) {
	connector, err := sqlite.NewConnector(c.dsn(path, mode, append(pragmas, c.busyTimeout())...))
	if err != nil {
		return nil, err
	}
	raw, err := connector.Connect(context.Background())
	if err != nil {
		return nil, err
	}
	return &conn{raw: raw, ctx: context.Background(), stmts: make(map[string]statement)}, nil
}

// neverWait makes statements fail at once if the file is locked.
func (c *conn) neverWait() error {
	_, err := c.exec("PRAGMA busy_timeout = 0")
	return err
}

func (c *conn) close() error {
	var errs []error
	for _, s := range c.stmts {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, c.raw.Close())...)
}

// check notes that a statement has failed.
func (c *conn) check(err error) error {
	c.failed = c.failed || err != nil
	return err
}

func (c *conn) prepare(query string, args []driver.Value) (statement, error) {
	c.args = c.args[:0]
	for i, a := range args {
		c.args = append(c.args, driver.NamedValue{Ordinal: i + 1, Value: a})
	}
	s, ok := c.stmts[query]
	if !ok {
		prepared, err := c.raw.Prepare(query)
		if err != nil {
			return statement{}, c.check(err)
		}
		s = statement{Stmt: prepared}
		c.stmts[query] = s
	}
	return s, nil
}

func (c *conn) exec(query string, args ...driver.Value) (int64, error) {
	s, err := c.prepare(query, args)
	if err != nil {
		return 0, err
	}
	r, err := s.Stmt.(driver.StmtExecContext).ExecContext(c.ctx, c.args)
	clear(c.args) // they may be large
	if err != nil {
		return 0, c.check(err)
	}
	return r.RowsAffected()
}

func (c *conn) query(query string, row func([]driver.Value) error, args ...driver.Value) (err error) {
	s, err := c.prepare(query, args)
	if err != nil {
		return err
	}
	rows, err := s.Stmt.(driver.StmtQueryContext).QueryContext(c.ctx, c.args)
	clear(c.args)
	if err != nil {
		return c.check(err)
	}
	defer func() {
		if closeErr := c.check(rows.Close()); err == nil {
			err = closeErr
		}
	}()
	if s.row == nil {
		s.row = make([]driver.Value, len(rows.Columns()))
		c.stmts[query] = s
	}
	for {
		switch err := rows.Next(s.row); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return c.check(err)
		}
		if err := row(s.row); err != nil {
			return err
		}
	}
}

// snapshot calls f in a transaction that reads. No context interrupts its beginning and its end, which take no time:
// otherwise it would not be known whether they have happened.
func (c *conn) snapshot(f func() error) error {
	ctx := c.ctx
	c.ctx = context.Background()
	_, err := c.exec("BEGIN")
	c.ctx = ctx
	if err != nil {
		return err
	}
	err = f()
	c.ctx = context.Background()
	_, endErr := c.exec("ROLLBACK")
	c.ctx = ctx
	return errors.Join(err, endErr)
}

// one returns the integer that the query finds, or 0 for NULL or no row.
func one(q querier, query string, args ...driver.Value) (n int64, err error) {
	err = q.query(query, func(v []driver.Value) error {
		n, _ = v[0].(int64)
		return nil
	}, args...)
	return n, err
}

// synchronous sets whether a transaction that commits waits for the disk, FULL, or not, NORMAL. SQLite does it when it
// prepares the statement. A connection that refuses is not used again.
func (c *conn) synchronous(level string) {
	_, err := c.raw.(driver.ExecerContext).ExecContext(c.ctx, "PRAGMA synchronous = "+level, nil)
	_ = c.check(err)
}
