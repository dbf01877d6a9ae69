package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"
	"unicode"

	"modernc.org/sqlite"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// maxReaders is how many calls of a process read at once; others wait.
const maxReaders = 4

// Open opens the file, and makes it if it is not there; its directory must be. The path is that of a file and no URI. It
// is looked up once: a relative one is one of the directory in which the program is now. Tables of an older version are
// changed into this version's, in one transaction. The file may have other tables; its user_version and application_id
// are those of the program to which they belong.
//
// A file that Open makes becomes smaller again after many tasks: what is free in it beyond as much as is used, and half a MiB, goes back
// to the file system in small steps. A file that another program has made, or a version of before, keeps its size, and its free part
// is used again. To change that, close it in all processes, and run "PRAGMA auto_vacuum = INCREMENTAL; VACUUM" on it once.
//
// It fails with [ErrSchema], [ErrCorrupt] or [ErrLocked], with [omniq.ErrInvalid] for an invalid option, and
// otherwise with an error of the system. To make tables or change them it waits up to 10 seconds for a lock. A file whose tables
// are this version's is opened whatever others write.
func Open(path string, opts ...Option) (*Backend, error) {
	c := config{poll: 20 * time.Millisecond, lockWait: 10 * time.Second, allowance: allowance, recount: recountEvery, places: new(engine.Places)}
	for _, o := range opts {
		o(&c)
	}
	if c.events && c.retention <= 0 || c.poll <= 0 {
		return nil, invalid("events for %v and a poll interval of %v, want positive times", c.retention, c.poll)
	}
	if c.logger == nil {
		c.logger = slog.Default()
	}
	if err := checkPath(path); err != nil {
		return nil, err
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

// checkPath refuses what other programs take for a path of SQLite.
func checkPath(path string) error {
	file, query, _ := strings.Cut(path, "?") // of which nothing is shown: there may be a password in it
	switch {
	case path == "", strings.HasPrefix(path, ":memory:"):
		return invalid("the path is %q, want that of a file; for memory there is backend/memory", file)
	case strings.HasPrefix(strings.ToLower(path), "file:"):
		return invalid("the path is %q, want that of a file and no URI: without file: and what follows a question mark", file)
	case parameter.MatchString(query):
		return invalid("the path is %q, want that of a file without parameters: see the options of package sqlite, and PRAGMAs "+
			"on Backend.DB", file)
	case strings.HasPrefix(path, "~/"):
		return invalid("the path is %q, want one without ~, which only a shell knows", path)
	case strings.ContainsFunc(path, unicode.IsControl) || strings.TrimSpace(path) != path:
		return invalid("the path is %q, want one without control characters, and without spaces around it", path)
	}
	return nil
}

// parameter is one of a URI that the driver or another one knows.
var parameter = regexp.MustCompile(`^(_\w+|mode|cache|vfs|immutable|nolock|psow|modeof)=`)

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
	b := &Backend{
		path: path, config: config, readers: readers{slots: make(chan struct{}, maxReaders)},
	}
	c, err := b.connect(true)
	if err != nil {
		return nil, err
	}
	connector, err := sqlite.NewConnector(config.dsn(path, "rw", config.busyTimeout()))
	if err != nil {
		_ = c.close() // the error before it says more
		return nil, err
	}
	if b.survives, err = survival(c); err != nil {
		_ = c.close() // the error before it says more
		return nil, err
	}
	b.life, b.die = context.WithCancelCause(context.Background())
	b.db = sql.OpenDB(pool{connector, b})
	b.closed = sync.OnceValue(b.close)
	b.w = newWriter(b, c)
	go b.w.run()
	return b, nil
}

// connect opens the writer's connection, and finds the files that it has opened. The tables are brought up to date if the
// backend is being opened.
func (b *Backend) connect(open bool) (_ *conn, err error) {
	mode := "rw"
	if open {
		mode = "rwc"
	}
	c, err := b.config.connect(b.path, mode, "cache_size(-16000)")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = c.close() // the error before it says more
		}
	}()
	if open {
		if err := migrate(c, b.path, func() error { return b.beginUpgrade(c) }); err != nil {
			return nil, err
		}
		if b.files, err = identify(b.path); err != nil {
			return nil, err
		}
	}
	return c, c.neverWait() // the writer waits in its own way
}

// beginUpgrade begins to write on a connection that opens the file. SQLite's own wait would find no gap beside processes that
// write all the time: it looks every 100 ms.
func (b *Backend) beginUpgrade(c *conn) error {
	if err := c.neverWait(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), b.config.lockWait)
	defer cancel()
	err := b.begin(ctx, func() error { _, err := c.exec("BEGIN IMMEDIATE"); return err })
	c.failed = err != nil // a BEGIN that found the file locked has done nothing
	return err
}

func (c *config) busyTimeout() string {
	return fmt.Sprintf("busy_timeout(%d)", c.lockWait.Milliseconds())
}

// survival is what a commit on the connection survives: SQLite waits for the disk with synchronous FULL and above.
func survival(c *conn) (omniq.Survival, error) {
	const full = 2
	synchronous, err := one(c, "PRAGMA synchronous")
	if synchronous >= full {
		return omniq.SurvivesPower, err
	}
	return omniq.SurvivesProcess, err
}
