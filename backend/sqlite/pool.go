package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"time"

	"modernc.org/sqlite"
)

// pool opens the connections of [Backend.DB]. They wait for the lock in their turn, and not in SQLite's way.
type pool struct {
	driver.Connector
	b *Backend
}

func (p pool) Connect(ctx context.Context) (driver.Conn, error) {
	c, err := p.Connector.Connect(ctx)
	if err != nil {
		return nil, p.b.wrap(err)
	}
	own := &pooled{driverConn: c.(driverConn), b: p.b}
	if err = own.waitFor(0); err == nil {
		err = p.b.intact(true) // it may be another file
	}
	if err != nil {
		_ = c.Close() // the error before it says more
		return nil, p.b.wrap(err)
	}
	return own, nil
}

// driverConn is what a connection of the driver can do, which callers may reach by [sql.Conn.Raw].
type driverConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
	NewBackup(uri string) (*sqlite.Backup, error)
	NewRestore(uri string) (*sqlite.Backup, error)
	Serialize() ([]byte, error)
	Deserialize([]byte) error
}

// pooled is a connection of [Backend.DB].
type pooled struct {
	driverConn
	b       *Backend
	writing bool // in a transaction that has the lock
}

// BeginTx waits for its turn to write, unless the transaction is only to read.
func (c *pooled) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	if opts.ReadOnly {
		return c.driverConn.BeginTx(ctx, opts)
	}
	var t driver.Tx
	err := c.b.lock(ctx, true, func() (err error) {
		if err := c.b.intact(true); err != nil {
			return err
		}
		t, err = c.driverConn.BeginTx(ctx, opts)
		return err
	})
	if err != nil {
		return nil, c.b.wrap(err)
	}
	c.writing = true
	c.b.turns.begun()
	return &pooledTx{t, c}, nil
}

// pooledTx is a transaction of [Backend.DB] that writes.
type pooledTx struct {
	driver.Tx
	c *pooled
}

func (t *pooledTx) Commit() error {
	if err := t.c.b.files.look(); err != nil { // nobody would find what it has written
		_ = t.Rollback()
		t.c.b.die(err)
		return err
	}
	defer t.end()
	return t.Tx.Commit()
}

func (t *pooledTx) Rollback() error {
	defer t.end()
	return t.Tx.Rollback()
}

func (t *pooledTx) end() {
	if t.c.writing {
		t.c.writing = false
		t.c.b.turns.pass()
	}
}

// ExecContext takes a turn for what wants to write outside of a transaction.
func (c *pooled) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (r driver.Result, err error) {
	err = c.patient(ctx, query, func() error {
		r, err = c.driverConn.ExecContext(ctx, query, args)
		return err
	})
	return r, err
}

// QueryContext is as ExecContext.
func (c *pooled) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (r driver.Rows, err error) {
	err = c.patient(ctx, query, func() error {
		r, err = c.driverConn.QueryContext(ctx, query, args)
		return err
	})
	return r, err
}

// PrepareContext implements [driver.ConnPrepareContext].
func (c *pooled) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	s, err := c.driverConn.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	return &pooledStmt{s.(driverStmt), c, query}, nil
}

type driverStmt interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

// pooledStmt is a prepared statement of [Backend.DB].
type pooledStmt struct {
	driverStmt
	c     *pooled
	query string
}

func (s *pooledStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (r driver.Result, err error) {
	err = s.c.patient(ctx, s.query, func() error {
		r, err = s.driverStmt.ExecContext(ctx, args)
		return err
	})
	return r, err
}

func (s *pooledStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (r driver.Rows, err error) {
	err = s.c.patient(ctx, s.query, func() error {
		r, err = s.driverStmt.QueryContext(ctx, args)
		return err
	})
	return r, err
}

// patient does a statement. If the file is locked, which leaves nothing of the statement, it is done again in a turn. A
// script of several, of which some may be done by then, takes its turn before.
func (c *pooled) patient(ctx context.Context, query string, do func() error) error {
	if c.writing {
		return do()
	}
	script := strings.Contains(strings.TrimRight(query, "; \t\r\n"), ";")
	if script {
		err := c.b.lock(ctx, true, func() error { return c.waitFor(c.b.config.lockWait) })
		if err != nil {
			return err
		}
		defer c.b.turns.pass()
		if err = do(); isBusy(err) {
			err = c.b.lockError(ctx, unknown)
		}
		return errors.Join(err, c.waitFor(0))
	}
	err := do()
	if !isBusy(err) {
		return err
	}
	if err = c.b.lock(ctx, true, do); err != nil {
		return c.b.wrap(err)
	}
	c.b.turns.pass()
	return nil
}

// waitFor sets how long SQLite itself waits for the lock.
func (c *pooled) waitFor(d time.Duration) error {
	_, err := c.driverConn.ExecContext(context.Background(), fmt.Sprintf("PRAGMA busy_timeout = %d", d.Milliseconds()), nil)
	return err
}
