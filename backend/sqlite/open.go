package sqlite

import (
	"database/sql"
	"database/sql/driver"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"modernc.org/sqlite"
)

// applicationID marks a file that has our tables: "OmnQ".
const applicationID = 0x4f6d6e51

// migrations are the steps from each version of the schema to the next: the first makes version 1 of nothing.
//
//go:embed migrations/*.sql
var migrations embed.FS

// maxReaders is how many calls of a process read at once; others wait.
const maxReaders = 4

// Open opens the file, and makes it if it is not there; its directory must be. Tables of an older version are changed
// into this version's, in one transaction. The file may have other tables, if no other program has claimed it by an
// application_id.
//
// It fails with [ErrSchema], [ErrCorrupt] or [ErrLocked], with [omniq.ErrInvalid] for an option that cannot be, and
// otherwise with an error of the system. It waits up to 10 seconds for a lock.
func Open(path string, opts ...Option) (*Backend, error) {
	c := config{poll: 20 * time.Millisecond, lockWait: 10 * time.Second, recount: recountEvery}
	for _, o := range opts {
		o(&c)
	}
	if c.events && c.retention <= 0 || c.poll <= 0 {
		return nil, invalid("events for %v and a poll interval of %v, want positive times", c.retention, c.poll)
	}
	if c.logger == nil {
		c.logger = slog.Default()
	}
	if path == "" || path == ":memory:" {
		return nil, invalid("the path is %q, want that of a file; for memory there is backend/memory", path)
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("sqlite: %s: %w", path, err)
	}
	if err := check(absolute); err != nil {
		return nil, err
	}
	for giveUp := time.Now().Add(c.lockWait); ; time.Sleep(10 * time.Millisecond) {
		b, err := openFile(absolute, c)
		if err == nil {
			return b, nil
		}
		// To switch a new file to WAL SQLite does not wait for a lock of who does just that.
		if err = wrap(absolute, err); !errors.Is(err, ErrLocked) || time.Now().After(giveUp) {
			return nil, err
		}
	}
}

// check finds what SQLite has no good words for.
func check(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Stat(filepath.Dir(path)); err != nil {
			return fmt.Errorf("sqlite: %s: its directory: %w", path, err)
		}
		return nil
	case err != nil:
		return fmt.Errorf("sqlite: %w", err)
	case !info.Mode().IsRegular():
		return fmt.Errorf("sqlite: %s is no regular file, want the path of one or of none: %w", path, fs.ErrInvalid)
	}
	return nil
}

func openFile(path string, config config) (_ *Backend, err error) {
	c, err := config.connect(path, "cache_size(-16000)")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = c.close() // the error before it says more
		}
	}()
	if err := migrate(c, path); err != nil {
		return nil, err
	}
	if _, err := c.exec("PRAGMA busy_timeout = 0"); err != nil { // the writer waits in its own way
		return nil, err
	}
	connector, err := sqlite.NewConnector(config.dsn(path, "immediate", config.busyTimeout()))
	if err != nil {
		return nil, err
	}
	b := &Backend{
		path: path, config: config, db: sql.OpenDB(connector), closing: make(chan struct{}),
		readers: readers{slots: make(chan struct{}, maxReaders)},
	}
	b.closed = sync.OnceValue(b.close)
	b.w = newWriter(b, c)
	go b.w.run()
	return b, nil
}

func (c *config) busyTimeout() string {
	return fmt.Sprintf("busy_timeout(%d)", c.lockWait.Milliseconds())
}

// migrate brings the schema up to date. It changes nothing in a file that is not for us.
func migrate(c *conn, path string) error {
	steps, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return err
	}
	if _, err := version(c, path, len(steps)); err != nil {
		return err
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
	if _, err := c.exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	err = step(c, path, steps)
	if err != nil {
		_, _ = c.exec("ROLLBACK") // it may have been rolled back already
		return err
	}
	if _, err = c.exec("COMMIT"); err != nil {
		_, _ = c.exec("ROLLBACK")
		return err
	}
	return nil
}

// step does the steps that are missing, in a transaction: another process may have done them meanwhile.
func step(c *conn, path string, steps []string) error {
	version, err := version(c, path, len(steps))
	if err != nil || version == len(steps) {
		return err
	}
	for _, name := range steps[version:] {
		script, err := migrations.ReadFile(name)
		if err != nil {
			return err
		}
		if _, err := c.exec(string(script)); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if _, err := c.exec(fmt.Sprintf("PRAGMA application_id = %d", applicationID)); err != nil {
		return err
	}
	_, err = c.exec(fmt.Sprintf("PRAGMA user_version = %d", len(steps)))
	return err
}

// version is that of the file's schema, 0 without our tables. known is the newest that there is.
func version(c *conn, path string, known int) (int, error) {
	id, err := one(c, "PRAGMA application_id")
	if err != nil {
		return 0, err
	}
	found, err := one(c, "PRAGMA user_version")
	if err != nil {
		return 0, err
	}
	switch {
	case id == 0 && found == 0:
		return 0, nil
	case id == 0:
		return 0, fmt.Errorf("%w: %s: its user_version %d is another program's: give OmniQ a file of its own", ErrSchema, path, found)
	case id != applicationID:
		return 0, fmt.Errorf("%w: %s: it belongs to another program, by the application_id %#x", ErrSchema, path, id)
	case found < 1 || found > int64(known):
		return 0, fmt.Errorf("%w: %s: it has version %d, and this program knows up to %d: a newer one has upgraded it",
			ErrSchema, path, found, known)
	}
	return int(found), nil
}
