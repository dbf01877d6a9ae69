// Package postgres is a backend in a PostgreSQL database, version 13 or later, for any number of machines.
//
// Tasks, results and events are tables in a schema of their own, which the files in migrations describe. What a method
// has stored is committed, and survives what the database's synchronous_commit promises, but for leases: these are not
// flushed by themselves, and a crash of the server may make their tasks ready again. All times that are compared are the
// database's.
//
// # In the caller's transaction
//
// [Backend.Tx] and [Backend.SQLTx] enqueue in a transaction of the program's own tables: the task exists if and only if
// it commits. So does plain SQL, in a trigger, say, or in another language:
//
//	SELECT omniq.enqueue('images.resize', '["a.png", 640]', '{"quality": 80}', queue => 'images', ttl => '1 hour');
//
// The function's parameters are name, args, kwargs, queue, priority, run_at, ttl, max_attempts, timeout, result_ttl,
// metadata, unique_key, unique_for, id, delay, failure_ttl and id_for, as the fields of [omniq.Task]; all but the name may
// be left out. It returns the task's ID or, if there is a task with that id or unique_key, that one's, and enqueues
// nothing. Where events are kept, keep_event says for how long this one is; with notify => false nobody is woken. It checks
// what a client checks: what a worker could not read is an error of class 22. Who may call it needs no right on the tables:
//
//	GRANT USAGE ON SCHEMA omniq TO shop; GRANT EXECUTE ON FUNCTION omniq.enqueue TO shop;
//
// # Push
//
// One connection of each process listens for what others do: tasks that are ready, results, cancelled tasks, events.
// Processes tell each other by NOTIFY in a transaction of its own, at most once in 5 ms, because NOTIFY takes a lock of
// the whole database until its transaction ends. It is polled besides, see [WithPollInterval], for what may be lost:
// while the connection is down, or a process dies between a commit and its message. A task that is enqueued in a caller's
// transaction is announced by it when it commits. The connection says something every 10 s: an idle_session_timeout of
// the database is to be longer.
//
// # Locks
//
// A transaction of this package locks rows in one order, so that none waits for another in a circle:
//
//  1. tasks that are there, by ID
//  2. results, by ID
//  3. unique keys, by name and key; in each statement those first whose time is over
//  4. tasks that are new, by ID, and then the IDs that are kept
//
// Who leases of a queue that has a limit or lanes locks its row of limits, before all else, and waits for others who do, one lease
// each. What happens to its tasks is added to stirs, which locks nothing.
//
// Settle, Start, Extend, Cancel, and Requeue before it begins new lives, lock the tasks; Forget, Record and Requeue lock
// results; who ends a task deletes its key, and Enqueue and Requeue take keys. Rows of other tables are added, or changed
// one at a time. What leases, advances, expires or sweeps skips rows that are locked, and waits for none.
// So does what tells tasks that those which they wait for have ended: it is the last that a settlement does, and leaves those
// that are locked to a transaction of its own.
//
// What is there is locked by nobody who enqueues, but for results and keys whose time is over: a caller's transaction that
// stays open has locked the IDs and the keys that are new by it, and delays those alone who bring the same ones. They look
// whether it has ended, a few milliseconds at a time, until their context ends, and others go on meanwhile.
// Who enqueues with [omniq.Replace], [omniq.Debounce] or [omniq.Latest] locks a pending task that has the key, and the key itself,
// whoever has it: until the transaction ends, that task is not handed out, and who has the key is not settled as final.
// Where somebody has locked tasks or keys by SQL of his own, Settle, Start and Extend wait for a second and leave these out,
// with an error for each; all other calls look again as long as their context does not end.
//
// # Under an old snapshot
//
// Tasks that are settled leave dead rows, which vacuum removes early: the tables have settings of their own for that. It
// cannot as long as some transaction in the database still has an older snapshot, say a dump or a long report, and what
// looks for tasks has to pass them. Leases that take the database more than 5 ms for that are followed by some that begin
// behind the last task that was handed out, for four times as long: a task that another process makes ready before it,
// by a higher priority or by giving it back, may start later by that. With it, 100,000 tasks that were worked off under
// a snapshot took 10.6 s, and 11.0 s without; before, 65 s and 14 s. 400,000 took 103 s, and 71 s without (two cores;
// go test -run TestHeldSnapshot -v -snapshot 400000).
//
// # Behind PgBouncer
//
// LISTEN needs a connection that stays. Where a pooler gives out connections for a transaction each, open with
// [WithoutNotify]; nothing else depends on the connection.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/batch"
	"github.com/omniq-go/omniq/internal/engine"
)

// DefaultSchema is the schema of the tables unless [WithSchema] names another.
const DefaultSchema = "omniq"

// ErrSchema says that the tables are not for this version of the package: they are not there, older and not to be
// migrated, a newer version's, or another program's.
var ErrSchema = errors.New("postgres: schema")

// Backend is an [omniq.Backend] in a PostgreSQL database. Beside the calls that are going on it has one goroutine that
// does what happens to tasks by itself, and unless [WithoutNotify] was given two for push.
type Backend struct {
	config config

	survival omniq.Survival

	pool    *pgxpool.Pool
	own     *pgxpool.Pool // connections that nobody else can take, see vital
	looking chan struct{} // has one element while a call looks whether it is still locked out
	sql     *templates
	closing chan struct{} // closed when Close begins
	closed  func() error
	ctx     context.Context // of the goroutines
	stop    context.CancelFunc
	running sync.WaitGroup

	hub        *hub
	notifier   *notifier // nil without push
	maintainer *maintainer
	worker     worker
	advances   pace // of tasks that are due, and of leases that ran out
	expiries   pace // of tasks whose TTL is over
	floors     floors
	limited    sync.Map       // names of queues that are known to have a limit or lanes; it may be old
	awaited    engine.Awaited // what ends elsewhere the hub and the polls tell of
	lookUps    *batch.Group[*lookUp]
}

type config struct {
	schema    string
	retention time.Duration // of events; 0 keeps none
	events    bool          // WithEvents was given
	poll      time.Duration // 0 for what is usual
	silent    bool          // neither LISTEN nor NOTIFY
	frozen    bool          // the schema is not migrated
	skew      time.Duration // by which the database's clock is to seem ahead
	logger    *slog.Logger
}

// Option sets something of a backend.
type Option func(*config)

// WithSchema names the schema of the tables, [DefaultSchema] unless set: 1 to 48 lower-case letters, digits and
// underscores that do not begin with a digit. Several in one database are backends of their own.
func WithSchema(name string) Option { return func(c *config) { c.schema = name } }

// WithEvents keeps events of what this process does, each for the given time, which is positive. Without it this process
// writes none, and reads those of others. Processes that share a schema should agree.
func WithEvents(retention time.Duration) Option {
	return func(c *config) { c.retention, c.events = retention, true }
}

// WithPollInterval sets how often it is looked for what others have changed, while somebody waits for it. It is
// positive; unless set it is 1 s beside push, and 100 ms with [WithoutNotify].
func WithPollInterval(d time.Duration) Option {
	return func(c *config) {
		c.poll = d
		if d <= 0 {
			c.poll = -1
		}
	}
}

// WithoutNotify uses neither LISTEN nor NOTIFY, and no prepared statements: what other processes do is found by polling
// alone. It is for poolers like PgBouncer that give out connections for a transaction each.
func WithoutNotify() Option { return func(c *config) { c.silent = true } }

// WithoutMigration leaves the schema as it is. If it is not the one of this version, opening fails with [ErrSchema]. It
// is for programs whose user may not create tables; [Migrate] is for the one who may.
func WithoutMigration() Option { return func(c *config) { c.frozen = true } }

// WithLogger sets where it is told what goes wrong in the background, at level WARN: [slog.Default] unless set.
func WithLogger(l *slog.Logger) Option { return func(c *config) { c.logger = l } }

var schemaName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,47}$`)

func newConfig(opts []Option) (config, error) {
	c := config{schema: DefaultSchema}
	for _, o := range opts {
		o(&c)
	}
	switch {
	case !schemaName.MatchString(c.schema):
		return c, invalid("schema %q, want 1 to 48 lower-case letters, digits and underscores, no digit first", c.schema)
	case c.events && c.retention <= 0:
		return c, invalid("events are to be kept for %v, want a positive time", c.retention)
	case c.poll < 0:
		return c, invalid("a poll interval that is not positive")
	}
	if c.poll == 0 {
		c.poll = time.Second
		if c.silent {
			c.poll = 100 * time.Millisecond
		}
	}
	if c.logger == nil {
		c.logger = slog.Default()
	}
	return c, nil
}

// Open connects to the database of the URL, or of the keywords and values that pgx understands, and migrates the schema.
// The pool is the backend's own; its size is in the URL: pool_max_conns. A call takes a connection only while the database
// works for it, not while it waits. What leases, extends and settles has up to [OwnConnections] more that no other call can
// take. All are made when they are needed, and go when they have not been used for a minute, unless the URL says otherwise
// by pool_max_conn_idle_time: a process that has nothing to do keeps one beside the one that listens.
//
// Opening blocks until the database has answered or ctx has ended. It fails with [omniq.ErrInvalid] if the URL or an
// option is not valid, and with [ErrSchema].
func Open(ctx context.Context, url string, opts ...Option) (*Backend, error) {
	c, err := newConfig(opts)
	if err != nil {
		return nil, err
	}
	pc, err := parse(url)
	if err != nil {
		return nil, err
	}
	if c.silent {
		pc.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	}
	pool, err := pgxpool.NewWithConfig(ctx, pc)
	if err != nil {
		return nil, wrap(ctx, err)
	}
	b, err := open(ctx, pool, c, pool.Close)
	if err != nil {
		pool.Close()
		return nil, err
	}
	return b, nil
}

// New is Open with a pool of the caller's, which Close leaves open. The backend takes connections out of it for a moment
// at each call; those that it keeps for itself, see [Open], it makes as the pool makes its own. Behind PgBouncer its
// DefaultQueryExecMode is to be [pgx.QueryExecModeCacheDescribe] or one that needs as little.
func New(ctx context.Context, pool *pgxpool.Pool, opts ...Option) (*Backend, error) {
	c, err := newConfig(opts)
	if err != nil {
		return nil, err
	}
	return open(ctx, pool, c, func() {})
}

func open(ctx context.Context, pool *pgxpool.Pool, c config, release func()) (*Backend, error) {
	own, err := newOwn(ctx, pool)
	if err != nil {
		return nil, wrap(ctx, err)
	}
	if err := prepare(ctx, own, &c); err != nil {
		own.Close()
		return nil, wrap(ctx, err)
	}
	survival, err := survives(ctx, own)
	if err != nil {
		own.Close()
		return nil, wrap(ctx, err)
	}
	b := &Backend{
		survival: survival, config: c, pool: pool, own: own, looking: make(chan struct{}, 1), sql: newTemplates(&c),
		closing: make(chan struct{}), hub: newHub(), worker: worker{turn: make(chan struct{}, 1)},
	}
	b.closed = sync.OnceValue(func() error { b.close(); own.Close(); release(); return nil })
	b.ctx, b.stop = context.WithCancel(vital(context.Background()))
	b.lookUps = batch.New(b.lookUpAll, nil)
	b.maintainer = newMaintainer(b)
	b.running.Go(b.maintainer.run)
	if !c.silent {
		b.notifier = newNotifier(b)
		b.running.Go(b.notifier.run)
		b.running.Go(b.listen)
	}
	return b, nil
}

// Capabilities says what acknowledged work survives by the settings that a session had when the backend was opened (leases
// aside, see the package): the process where synchronous_commit is off, a crash of the server where fsync or
// full_page_writes is, the loss of the machine where synchronous_standby_names has others. It says that processes of many
// machines share the database, and push to each other unless [WithoutNotify] was given.
func (b *Backend) Capabilities() omniq.Capabilities {
	push := !b.config.silent
	return omniq.Capabilities{
		Name: "postgres", Durable: true, Survives: b.survival, Shared: true, Fencing: true, AtomicFinish: true, Priorities: true,
		PushLease: push, PushResult: push, PushCancel: push, Transactions: true, Flows: true, Notes: true, Replaces: true, Limits: true, Events: b.config.retention > 0,
		AtomicEvents: true,
	}
}

// Pool returns the connections that the backend uses, for tables of the caller's own. It is not the caller's to close if
// it is the backend's own.
func (b *Backend) Pool() *pgxpool.Pool { return b.pool }

// Close ends the calls that block with [omniq.ErrClosed], tells other processes what they have not been told, and closes
// the connections, unless the pool is the caller's: with its own pool it waits for the calls that are using it.
func (b *Backend) Close() error { return b.closed() }

func (b *Backend) close() {
	close(b.closing)
	b.awaited.Close()
	b.stop()
	b.running.Wait()
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

// wrap makes an error of the driver one of this package. Whatever a call fails by while the backend is closed, it is that.
func (b *Backend) wrap(ctx context.Context, err error) error {
	var ours *known
	if err == nil || ctx.Err() != nil || errors.As(err, &ours) {
		return wrap(ctx, err)
	}
	select {
	case <-b.closing:
		return omniq.ErrClosed
	default:
		return wrap(ctx, err)
	}
}

func wrap(ctx context.Context, err error) error {
	var ours *known
	switch {
	case err == nil:
		return nil
	case errors.As(err, &ours):
		return ours.error
	case ctx.Err() != nil && errors.Is(err, omniq.ErrUncertain):
		return fmt.Errorf("%w: %w", omniq.ErrUncertain, contextError(ctx))
	case ctx.Err() != nil:
		return contextError(ctx)
	}
	switch {
	case refusal(err): // of a text in the parameters, say of a worker's ID
		return fmt.Errorf("%w: postgres: %w", omniq.ErrInvalid, err)
	case code(err) == readOnly:
		return fmt.Errorf("postgres: the database can only be read, want a primary without default_transaction_read_only: %w", err)
	}
	return fmt.Errorf("postgres: %w", err)
}

// known is an error that is to be returned as it is.
type known struct{ error }

func (e *known) Unwrap() error { return e.error }

// patience is how long a call of the backend's own waits for the database. Connections may fall silent without an end.
const patience = 10 * time.Second

var errSilent = fmt.Errorf("postgres: the database has not answered for %v", patience)

// bounded is for a call of the backend's own, which nobody else would end.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(vital(ctx), patience, errSilent)
}

func contextError(ctx context.Context) error {
	if cause := context.Cause(ctx); errors.Is(cause, errSilent) {
		return cause
	}
	return engine.ContextError(ctx, "postgres")
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: postgres: "+format, append([]any{omniq.ErrInvalid}, args...)...)
}

// micros is the first microsecond that is not before t.
func micros(t time.Time) time.Time {
	if whole := t.Truncate(time.Microsecond); whole.Before(t) {
		return whole.Add(time.Microsecond)
	}
	return t
}

// microseconds is d, rounded up.
func microseconds(d time.Duration) int64 {
	us := int64(d / time.Microsecond)
	if d%time.Microsecond > 0 {
		us++
	}
	return us
}
