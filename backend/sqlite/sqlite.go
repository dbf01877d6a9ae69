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
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// Errors to branch on with [errors.Is], beside those of package omniq.
var (
	// ErrSchema says that the file's tables are not for this version of the package: a newer one wrote them, or they
	// belong to another program.
	ErrSchema = errors.New("sqlite: schema")

	// ErrCorrupt says that the file is no SQLite database, or a damaged one.
	ErrCorrupt = errors.New("sqlite: not a sound database")

	// ErrLocked says that somebody else has kept the file locked for 10 seconds.
	ErrLocked = errors.New("sqlite: file locked")

	// ErrFull says that there is no space left for the file. What failed with it can be done again when there is.
	ErrFull = errors.New("sqlite: disk full")
)

// Backend is an [omniq.Backend] in a SQLite file. Its clock is [time.Now], which the processes that share a file share,
// too. Each process has one goroutine that writes, and a few connections to read.
type Backend struct {
	path    string
	config  config
	db      *sql.DB
	closing chan struct{} // closed when Close begins
	closed  func() error
	readers readers
	w       *writer
	awaited awaited
	events  broadcast
}

type config struct {
	retention time.Duration // of events; 0 keeps none
	events    bool          // WithEvents was given
	normal    bool          // synchronous=NORMAL
	poll      time.Duration
	lockWait  time.Duration
	recount   time.Duration    // how often the counts are compared with what there is
	logger    *slog.Logger
	now       func() time.Time // the clock, if it is not time.Now
}

// Option sets something of a backend.
type Option func(*config)

// WithEvents keeps events of what this process does, each for the given time, which is positive. Without it there are
// none. Processes that share a file should agree.
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
		Name: "sqlite", Durable: true, Shared: true, Fencing: true, AtomicFinish: true, Priorities: true,
		Transactions: true, Events: b.config.retention > 0, AtomicEvents: true,
	}
}

// DB returns a pool of connections to the same file, for tables of the caller's own. Its transactions begin immediate:
// one at a time, in all processes, and each waits up to 10 seconds for the others. While one is open, the backend's own
// writes wait, so it should be short. It is the caller's to use and not to close: Close does. Names that begin with
// omniq_ are the backend's.
func (b *Backend) DB() *sql.DB { return b.db }

// Close waits for the write that is going on, ends the calls that block with [omniq.ErrClosed], and closes the file. What
// is stored stays.
func (b *Backend) Close() error { return b.closed() }

func (b *Backend) close() error {
	close(b.closing)
	<-b.w.done
	b.awaited.Close()
	errs := []error{b.db.Close()}
	errs = append(errs, b.readers.close())
	_, _ = b.w.c.exec("PRAGMA wal_checkpoint(TRUNCATE)") // who else has the file open may be in the way, and will do it
	errs = append(errs, b.w.c.close())
	return b.wrap(errors.Join(errs...))
}

// alive returns the error of a call that need not begin.
func (b *Backend) alive(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return contextError(ctx)
	case <-b.closing:
		return omniq.ErrClosed
	default:
		return nil
	}
}

// read calls f with a connection to read by.
func (b *Backend) read(ctx context.Context, f func(*conn) error) error {
	if err := b.alive(ctx); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return contextError(ctx)
	case <-b.closing:
		return omniq.ErrClosed
	case b.readers.slots <- struct{}{}:
	}
	defer func() { <-b.readers.slots }()
	c, err := b.readers.take(b)
	if err != nil {
		return b.wrap(err)
	}
	defer b.readers.put(c)
	c.ctx = ctx
	err = f(c)
	c.ctx = context.Background()
	if err != nil && ctx.Err() != nil {
		return contextError(ctx)
	}
	return b.wrap(err)
}

// readers are connections to read by.
type readers struct {
	slots chan struct{} // one for each call that reads
	mu    sync.Mutex
	free  []*conn // the last one was used last
}

// take returns a free connection, or opens one.
func (r *readers) take(b *Backend) (*conn, error) {
	r.mu.Lock()
	if last := len(r.free) - 1; last >= 0 {
		c := r.free[last]
		r.free = r.free[:last]
		r.mu.Unlock()
		return c, nil
	}
	r.mu.Unlock()
	return b.config.connect(b.path, "query_only(1)")
}

func (r *readers) put(c *conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.free = append(r.free, c)
}

// close waits for those who read. No other begins to.
func (r *readers) close() error {
	for range cap(r.slots) {
		r.slots <- struct{}{}
	}
	var errs []error
	for _, c := range r.free {
		errs = append(errs, c.close())
	}
	return errors.Join(errs...)
}

// wrap makes an error of the driver one that names the file, and in which the package's own errors are found.
func (b *Backend) wrap(err error) error { return wrap(b.path, err) }

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

// checkText refuses text that SQLite keeps, but that no JSON and no command line gives back.
func checkText(what, s string) error {
	if !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
		return invalid("the %s is %q, want UTF-8 without NUL", what, s)
	}
	return nil
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

// broadcast wakes all who wait for something.
type broadcast struct {
	mu    sync.Mutex
	calls int           // that wait
	more  chan struct{} // closed at the next one; nil if nobody waits
}

// begin begins to wait, and leave ends it.
func (b *broadcast) begin() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls++
}

func (b *broadcast) leave() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls--
}

// next returns a channel that is closed at the next broadcast.
func (b *broadcast) next() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.more == nil {
		b.more = make(chan struct{})
	}
	return b.more
}

func (b *broadcast) send() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.more != nil {
		close(b.more)
		b.more = nil
	}
}

// waits reports whether somebody does.
func (b *broadcast) waits() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.calls > 0
}
