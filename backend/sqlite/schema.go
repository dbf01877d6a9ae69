package sqlite

import (
	"database/sql/driver"
	"embed"
	"fmt"
	"io/fs"
	"strconv"
)

// applicationID marked a file that has our tables, whose version was its user_version, before there was omniq_schema:
// "OmnQ".
const applicationID = 0x4f6d6e51

// migrations are the steps from each version of the schema to the next: the first makes version 1 of nothing.
//
//go:embed migrations/*.sql
var migrations embed.FS

var steps = func() []string {
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		panic(err) // the pattern is wrong
	}
	return names
}()

// migrate brings the schema up to date. It changes nothing in a file that is not for us, and locks none that is up to date. Begin
// begins a transaction that writes, when it has the lock.
func migrate(c *conn, path string, begin func() error) error {
	var from schema
	// Before the journal's mode: it stays in the file.
	if err := c.snapshot(func() (err error) { from, err = version(c, path); return err }); err != nil {
		return err
	}
	pages, err := one(c, "PRAGMA page_count")
	if err != nil {
		return err
	}
	if pages == 0 { // only a file of ours alone: what another program has made of its own keeps its form
		if _, err := c.exec("PRAGMA auto_vacuum = INCREMENTAL"); err != nil {
			return err
		}
	}
	mode := ""
	err = c.query("PRAGMA journal_mode = WAL", func(v []driver.Value) error { mode = text(v[0]); return nil })
	if err != nil {
		return err
	}
	if mode != "wal" {
		return fmt.Errorf("sqlite: %s: its journal mode stays %q, want wal: is it on a network file system?", path, mode)
	}
	if _, err := c.exec("PRAGMA journal_size_limit = 67108864"); err != nil {
		return err
	}
	if from.current() { // the file of the log is there when something was read
		return c.snapshot(func() error { _, err := version(c, path); return err })
	}
	if err := begin(); err != nil {
		return err
	}
	err = upgrade(c, path)
	if err == nil {
		_, err = c.exec("COMMIT")
	}
	if err != nil {
		_, _ = c.exec("ROLLBACK") // it may have been rolled back already
	}
	return err
}

// upgrade does the steps that are missing, in a transaction: another process may have done them meanwhile.
func upgrade(c *conn, path string) error {
	from, err := version(c, path)
	if err != nil {
		return err
	}
	return from.upgrade(func(name, sql string) error {
		if _, err := c.exec(sql); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	})
}

// upgrade has each script run that is missing, in a transaction.
func (s schema) upgrade(run func(name, sql string) error) error {
	for _, name := range steps[s.version:] {
		script, err := migrations.ReadFile(name)
		if err != nil {
			return err
		}
		if err := run(name, string(script)); err != nil {
			return err
		}
	}
	newest := strconv.Itoa(len(steps))
	switch {
	case s.old:
		// The numbers are free for another program then. Until one sets them, programs from before omniq_schema say that a
		// newer one has upgraded the file: it is still marked, and they know no version 0.
		if err := run("omniq_schema", "PRAGMA user_version = 0"); err != nil {
			return err
		}
		fallthrough
	case s.version == 0:
		return run("omniq_schema", "CREATE TABLE omniq_schema (version INTEGER NOT NULL) STRICT; INSERT INTO omniq_schema (version) VALUES ("+newest+")")
	case s.version < len(steps):
		return run("omniq_schema", "UPDATE omniq_schema SET version = "+newest)
	}
	return nil
}

// schema is which tables a file has.
type schema struct {
	version int  // 0 for none
	old     bool // by its application_id and user_version
}

// current reports whether there is nothing to upgrade.
func (s schema) current() bool { return s.version == len(steps) && !s.old }

// version finds which tables the file has, in a transaction. It fails with [ErrSchema] for such that are not for us.
func version(q querier, path string) (s schema, err error) {
	tables := make(map[string]bool)
	err = q.query("SELECT name FROM sqlite_schema WHERE type = 'table' AND name IN ('omniq_schema', 'omniq_tasks')",
		func(v []driver.Value) error { tables[text(v[0])] = true; return nil })
	if err != nil {
		return s, err
	}
	if tables["omniq_schema"] {
		n, err := one(q, "SELECT max(version) FROM omniq_schema")
		if err != nil {
			return s, err
		}
		return schema{version: int(n)}, known(n, path)
	}
	id, err := one(q, "PRAGMA application_id")
	if err != nil {
		return s, err
	}
	n, err := one(q, "PRAGMA user_version")
	switch {
	case err != nil:
		return s, err
	case id == applicationID:
		return schema{version: int(n), old: true}, known(n, path)
	case tables["omniq_tasks"]:
		return s, fmt.Errorf("%w: %s: it has a table omniq_tasks, and none that tells its version: omniq_schema", ErrSchema, path)
	}
	return s, nil
}

func known(version int64, path string) error {
	if version < 1 || version > int64(len(steps)) {
		return fmt.Errorf("%w: %s: it has version %d, and this program knows 1 to %d: a newer one has upgraded it",
			ErrSchema, path, version, len(steps))
	}
	return nil
}

// compatible fails with [ErrSchema] if another program has changed the tables since they were opened.
func compatible(q querier, path string) error {
	n, err := one(q, "SELECT max(version) FROM omniq_schema")
	if err != nil {
		return err
	}
	if n != int64(len(steps)) {
		return fmt.Errorf("%w: %s: it has version %d now, and this program knows up to %d: a newer one has upgraded it",
			ErrSchema, path, n, len(steps))
	}
	return nil
}
