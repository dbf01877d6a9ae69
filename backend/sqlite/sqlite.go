// Package sqlite is a backend in one SQLite file, for the processes of one machine. It needs no server and no cgo.
//
// What a method has stored survives the end of the process and, unless [WithSynchronousNormal] says otherwise, a power
// failure. All the writes of a process go through one connection, which puts those that come at the same time into one
// transaction. The business tables of the program may be in the same file, see [Backend.DB] and [Backend.Tx].
//
// The file must be on a local disk. Beside it are two more with the suffixes -wal and -shm while it is open. A process
// that has it open must not open or copy any of them by itself: on Unix, closing a file drops the process's locks on it.
package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// Errors to branch on with [errors.Is], beside those of package omniq.
var (
	// ErrSchema says that the file's tables are not for this version of the package: a newer one wrote them, or their
	// version cannot be told. A backend whose file a newer one upgrades while it is open fails with it from then on.
	ErrSchema = errors.New("sqlite: schema")

	// ErrCorrupt says that the file is no SQLite database, or a damaged one.
	ErrCorrupt = errors.New("sqlite: not a sound database")

	// ErrLocked says that somebody else has kept the file locked for 10 seconds. The message says who, if it was a
	// transaction of [Backend.DB].
	ErrLocked = errors.New("sqlite: file locked")

	// ErrGone says that the file, or the one with its log, was deleted or replaced while it was open. All calls of the
	// backend fail with it then, within a second, and those that wait end: what is written to such a file nobody can
	// find. Close the backend, and open the file that is there now.
	ErrGone = errors.New("sqlite: file gone")

	// ErrFull says that there is no space left for the file. What failed with it can be done again when there is.
	ErrFull = errors.New("sqlite: disk full")
)

// Backend is an [omniq.Backend] in a SQLite file. Its clock is [time.Now], which the processes that share a file share,
// too. Each process has one goroutine that writes, and a few connections to read.
type Backend struct {
	path    string
	config  config
	db      *sql.DB
	files   *files
	life    context.Context // ends when Close begins or the file is not to be used any more; its cause is the error of all calls then
	die     context.CancelCauseFunc
	closed  func() error
	turns   turns
	readers readers
	w       *writer
	awaited awaited
	events  broadcast
	streams streams

	survives omniq.Survival

	recounting  atomic.Bool
	reviewing   atomic.Bool
	recountNext atomic.Int64 // not before, in nanoseconds since 1970
}

type config struct {
	retention time.Duration // of events; 0 keeps none
	events    bool          // WithEvents was given
	normal    bool          // synchronous=NORMAL
	poll      time.Duration
	lockWait  time.Duration
	recount   time.Duration // how often the counts are compared with what there is
	allowance time.Duration // see allowance
	logger    *slog.Logger
	places    *engine.Places      // of the history
	now       func() time.Time    // the clock, if it is not time.Now
	held      func(time.Duration) // hears for how long each of the writer's transactions had the file, if it is set
}

// Option sets something of a backend.
type Option func(*config)

// WithEvents keeps events of what this process does, each for the given time, which is positive. Without it this process
// writes none, and reads those of others. Processes that share a file should agree.
func WithEvents(retention time.Duration) Option {
	return func(c *config) { c.retention, c.events = retention, true }
}

// WithSynchronousNormal does not wait for the disk at each commit, which is several times as fast. The end of the process
// loses nothing then, but a power failure or the end of the operating system may lose the last transactions before it:
// tasks that were acknowledged are gone, and such that were done are there again. The file stays sound.
func WithSynchronousNormal() Option { return func(c *config) { c.normal = true } }

// WithPollInterval sets how often it is looked for what other processes and transactions of [Backend.DB] have changed,
// while somebody waits for it: 20 ms unless set. It is positive. What this process does is seen at once.
func WithPollInterval(d time.Duration) Option { return func(c *config) { c.poll = d } }

// WithLogger sets where it is told what goes wrong in the background, at level WARN: [slog.Default] unless set.
func WithLogger(l *slog.Logger) Option { return func(c *config) { c.logger = l } }

// Capabilities says that processes of one machine share the file, and poll for each other's changes.
func (b *Backend) Capabilities() omniq.Capabilities {
	return omniq.Capabilities{
		Name: "sqlite", Durable: true, Survives: b.survives, Shared: true, Fencing: true, AtomicFinish: true, Priorities: true,
		Transactions: true, Flows: true, Notes: true, Replaces: true, Limits: true, Events: b.config.retention > 0, AtomicEvents: true,
	}
}

// DB returns a pool of connections to the same file, for tables of the caller's own. Its transactions, but those that
// only read, begin immediate: one at a time, in all processes. They take turns with the backend's own writes, which wait
// while one is open, as those of other processes do: it should be short. Each waits up to 10 seconds, and fails with
// [ErrLocked] then. It is the caller's to use and not to close: Close does. Names that begin with omniq_ are the
// backend's.
//
// A write whose context ends while it runs may make SQLite roll back its whole transaction: the transaction fails then
// from the next statement on.
func (b *Backend) DB() *sql.DB { return b.db }

// Close waits for the write that is going on, ends the calls that block with [omniq.ErrClosed], and closes the file. What
// is stored stays.
func (b *Backend) Close() error { return b.closed() }

func (b *Backend) close() error {
	b.die(omniq.ErrClosed)
	<-b.w.done
	b.awaited.Close()
	errs := []error{b.db.Close()}
	errs = append(errs, b.readers.close())
	if errors.Is(b.ended(), omniq.ErrClosed) { // the files are as they were
		_, _ = b.w.c.exec("PRAGMA wal_checkpoint(TRUNCATE)") // who else has the file open may be in the way, and will do it
	}
	errs = append(errs, b.w.c.close())
	return b.wrap(errors.Join(errs...))
}

// alive returns the error of a call that need not begin.
func (b *Backend) alive(ctx context.Context) error {
	if ctx.Err() != nil {
		return contextError(ctx)
	}
	return b.intact(false)
}

// wrap makes an error of the driver one that names the file, and in which the package's own errors are found.
func (b *Backend) wrap(err error) error {
	var e *sqlite.Error
	if errors.As(err, &e) {
		if gone := b.intact(true); gone != nil && !errors.Is(gone, omniq.ErrClosed) {
			return gone // which is why
		}
	}
	return wrap(b.path, err)
}

func wrap(path string, err error) error {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return err
	}
	var kind error
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		kind = ErrLocked
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		kind = ErrCorrupt
	case sqlite3.SQLITE_FULL:
		kind = ErrFull
	default:
		return fmt.Errorf("sqlite: %s: %w", path, err)
	}
	return fmt.Errorf("%w: %s: %w", kind, path, err)
}

func contextError(ctx context.Context) error { return engine.ContextError(ctx, "sqlite") }

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: sqlite: "+format, append([]any{omniq.ErrInvalid}, args...)...)
}

// microseconds is d, rounded up.
func microseconds(d time.Duration) int64 {
	us := int64(d / time.Microsecond)
	if d%time.Microsecond > 0 {
		us++
	}
	return us
}

// moment is the time of a column, zero for NULL.
func moment(v driver.Value) time.Time {
	if us, ok := v.(int64); ok {
		return time.UnixMicro(us).UTC()
	}
	return time.Time{}
}

// text is the string of a column, empty for NULL.
func text(v driver.Value) string {
	s, _ := v.(string)
	return s
}
