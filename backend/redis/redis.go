package redis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// DefaultNamespace is what the names of all keys begin with, in braces, unless [WithNamespace] says otherwise.
const DefaultNamespace = "omniq"

// Backend is an [omniq.Backend] in a Redis server. Beside the calls that are going on it has two goroutines: one listens for what
// others do, the other does what happens to tasks by itself.
type Backend struct {
	config   config
	survival omniq.Survival
	client   rueidis.Client

	closing chan struct{} // closed when Close begins
	closed  func() error
	ctx     context.Context // of the goroutines
	stop    context.CancelFunc
	running sync.WaitGroup
	hub     *hub
}

type config struct {
	namespace string
	retention time.Duration // of events; 0 keeps none
	events    bool          // WithEvents was given
	poll      time.Duration
	replicas  int // that are to have each write, see WaitReplicas
	timeout   time.Duration
	unsafe    bool          // opens servers that may lose tasks
	skew      time.Duration // by which the server's clock is to seem ahead
	logger    *slog.Logger
}

// Option sets something of a backend.
type Option func(*config)

// WithNamespace sets what the names of all keys begin with, in braces: 1 to 48 letters, digits, or one of "_-.:". Several on one server are
// backends of their own. All keys of one are in one slot of a cluster.
func WithNamespace(name string) Option { return func(c *config) { c.namespace = name } }

// WithEvents keeps events of what this process does, each for the given time, which is positive. Without it there are none. Processes
// that share a namespace should agree.
func WithEvents(retention time.Duration) Option {
	return func(c *config) { c.retention, c.events = retention, true }
}

// WithPollInterval sets how often it is looked for what others have changed, while somebody waits for it, beside push: 5 s unless set, and
// ten times a second at least while the connection is down on which the server tells of it. It is positive.
func WithPollInterval(d time.Duration) Option {
	return func(c *config) {
		c.poll = d
		if d <= 0 {
			c.poll = -1
		}
	}
}

// WaitReplicas lets each call that writes wait until n replicas have what it wrote, for at most the timeout. With fewer the call fails,
// and errors.Is finds [omniq.ErrUncertain] in the error: the work is done here, and a fail-over may undo it. It narrows what a fail-over
// loses, and does not close it: a replica that has the write need not be the one that is promoted. Lease, Start, Extend and Beat do not
// wait: a task whose lease is lost is handed out once more.
func WaitReplicas(n int, timeout time.Duration) Option {
	return func(c *config) {
		c.replicas, c.timeout = n, timeout
		if n < 1 || timeout < time.Millisecond {
			c.replicas = -1
		}
	}
}

// WithUnsafe opens a server, too, whose settings let it lose tasks while it is well: one that evicts keys.
func WithUnsafe() Option { return func(c *config) { c.unsafe = true } }

// WithLogger sets where it is told what may be lost, and what goes wrong in the background, at level WARN: [slog.Default] unless set.
func WithLogger(l *slog.Logger) Option { return func(c *config) { c.logger = l } }

func newConfig(opts []Option) (config, error) {
	c := config{namespace: DefaultNamespace, poll: 5 * time.Second}
	for _, o := range opts {
		o(&c)
	}
	switch {
	case !validNamespace(c.namespace):
		return c, invalid("namespace %q, want 1 to 48 letters, digits, or one of \"_-.:\"", c.namespace)
	case c.events && c.retention <= 0:
		return c, invalid("events are to be kept for %v, want a positive time", c.retention)
	case c.poll < 0:
		return c, invalid("a poll interval that is not positive")
	case c.replicas < 0:
		return c, invalid("WaitReplicas wants at least one replica, and a timeout of at least a millisecond")
	}
	if c.logger == nil {
		c.logger = slog.Default()
	}
	return c, nil
}

func validNamespace(name string) bool {
	for _, c := range name {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.ContainsRune("_-.:", c):
		default:
			return false
		}
	}
	return name != "" && len(name) <= 48
}

// prefix is what the names of all keys begin with.
func (c *config) prefix() string { return "{" + c.namespace + "}:" }

// Capabilities says what acknowledged work survives by the settings that the server had when the backend was opened.
func (b *Backend) Capabilities() omniq.Capabilities {
	return omniq.Capabilities{
		Name: "redis", Durable: b.survival > omniq.SurvivesNothing, Survives: b.survival, Shared: true, Fencing: true, AtomicFinish: true,
		Priorities: true, PushLease: true, PushResult: true, PushCancel: true, Flows: true, Notes: true, Replaces: true, Limits: true,
		Events: b.config.retention > 0, AtomicEvents: true,
	}
}

// Close ends the calls that block with [omniq.ErrClosed], and closes the connections.
func (b *Backend) Close() error { return b.closed() }

func (b *Backend) close() {
	close(b.closing)
	b.stop()
	b.running.Wait()
	b.client.Close()
}

// alive returns the error of a call that need not begin.
func (b *Backend) alive(ctx context.Context) error {
	select {
	case <-b.closing:
		return omniq.ErrClosed
	default:
	}
	if ctx.Err() != nil {
		return contextError(ctx)
	}
	return nil
}

// A call waits while the slot of its namespace moves to another server of a cluster, for moving at the most, and looks after each pause.
const (
	moving      = time.Minute
	movingPause = 20 * time.Millisecond
)

// run runs a script, and returns its answer.
func (b *Backend) run(ctx context.Context, name string, args fields) (rueidis.RedisMessage, error) {
	if err := b.alive(ctx); err != nil {
		return rueidis.RedisMessage{}, err
	}
	s := scripts()[name]
	args["seed"], args["skew"] = rand.Int64N(1<<31), b.config.skew.Microseconds()
	if b.config.retention > 0 {
		args["events"] = microseconds(b.config.retention)
	}
	for doc, end := encode(args), time.Now().Add(moving); ; {
		answer, err := b.call(ctx, s, doc)
		if err == nil {
			return answer, nil
		}
		if !misplaced(err) || time.Now().After(end) {
			return answer, b.fault(ctx, s, err)
		}
		select {
		case <-time.After(movingPause):
		case <-ctx.Done():
		case <-b.closing:
		}
		if err := b.alive(ctx); err != nil { // nothing was done
			return answer, err
		}
	}
}

// misplaced reports whether a script has not run because its slot is on its way to another server, or there.
func misplaced(err error) bool {
	e, ok := rueidis.IsRedisErr(err)
	if !ok {
		return false
	}
	_, moved := e.IsMoved()
	_, asked := e.IsAsk()
	return moved || asked || e.IsTryAgain()
}

const (
	largest       = 500 << 20   // bytes of the arguments of one script: the server takes 512 MiB
	longestScript = time.Minute // after which nobody waits for the answer of a write that replicas are to have
)

// call runs a script by its hash and, where the server does not have it, by its text.
//
// It names two keys that never exist. While their slot moves to another server of a cluster, that is what lets both servers refuse a
// script before it begins (TRYAGAIN): with one key it would run where a part of the namespace has not come yet, and write it anew.
func (b *Backend) call(ctx context.Context, s *script, doc string) (answer rueidis.RedisMessage, err error) {
	if len(doc) > largest {
		return answer, invalid("a call of %d bytes, want at most %d: make smaller ones", len(doc), largest)
	}
	prefix := b.config.prefix()
	send := func(command rueidis.Completed) (rueidis.RedisMessage, error) {
		if b.config.replicas == 0 || !s.waits {
			return b.client.Do(ctx, command).ToMessage()
		}
		return b.sendAndWait(ctx, command)
	}
	answer, err = send(b.client.B().Evalsha().Sha1(s.sha).Numkeys(2).Key(prefix, prefix+"-").Arg(doc).Build())
	if e, ok := rueidis.IsRedisErr(err); ok && e.IsNoScript() {
		answer, err = send(b.client.B().Eval().Script(s.source).Numkeys(2).Key(prefix, prefix+"-").Arg(doc).Build())
	}
	if rueidis.IsRedisNil(err) {
		return answer, nil
	}
	return answer, err
}

// errReplicas says that replicas are missing. What was to be written is.
type errReplicas struct{ got, want int }

func (e errReplicas) Error() string {
	return fmt.Sprintf("%d of %d replicas have it", e.got, e.want)
}

// sendAndWait waits for replicas on the connection of the write: the server counts for that alone.
//
// The connection is used with a deadline and not with ctx: with a context that can end, the library would read it in the background, and
// unsubscribe from everything when it gets it back. It panics where a server that a script keeps busy refuses that.
func (b *Backend) sendAndWait(ctx context.Context, command rueidis.Completed) (answer rueidis.RedisMessage, err error) {
	type outcome struct {
		answer rueidis.RedisMessage
		err    error
	}
	done := make(chan outcome, 1)
	go func() {
		bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), b.config.timeout+longestScript)
		defer cancel()
		var o outcome
		o.err = b.client.Dedicated(func(c rueidis.DedicatedClient) error {
			var err error
			if o.answer, err = c.Do(bound, command).ToMessage(); err != nil && !rueidis.IsRedisNil(err) {
				return err
			}
			got, waited := c.Do(bound, c.B().Wait().Numreplicas(int64(b.config.replicas)).Timeout(b.config.timeout.Milliseconds()).Build()).AsInt64()
			if waited != nil {
				return fmt.Errorf("wait for replicas: %w", waited) // whatever the server says to that, the script has run
			}
			if int(got) < b.config.replicas {
				return errReplicas{int(got), b.config.replicas}
			}
			return err
		})
		done <- o
	}()
	select {
	case o := <-done:
		return o.answer, o.err
	case <-ctx.Done():
		return answer, ctx.Err()
	}
}

// fault is the error of a call whose script has failed, or whose answer did not come.
func (b *Backend) fault(ctx context.Context, s *script, err error) error {
	select {
	case <-b.closing:
		return omniq.ErrClosed
	default:
	}
	_, answered := rueidis.IsRedisErr(err)
	switch {
	case answered: // a script that fails has written nothing
		return fmt.Errorf("redis: %w", err)
	case errors.Is(err, omniq.ErrInvalid):
		return err
	case !s.writes && ctx.Err() != nil:
		return contextError(ctx)
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %w", omniq.ErrUncertain, contextError(ctx))
	case !s.writes || neverSent(err):
		return fmt.Errorf("redis: %w", err)
	}
	return fmt.Errorf("%w: redis: %w", omniq.ErrUncertain, err)
}

func contextError(ctx context.Context) error { return engine.ContextError(ctx, "redis") }

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: redis: "+format, append([]any{omniq.ErrInvalid}, args...)...)
}

// microseconds is d, rounded up.
func microseconds(d time.Duration) int64 {
	us := int64(d / time.Microsecond)
	if d%time.Microsecond > 0 {
		us++
	}
	return us
}

// micros is the first microsecond that is not before t.
func micros(t time.Time) int64 {
	us := t.UnixMicro()
	if t.Nanosecond()%1000 > 0 {
		us++
	}
	return us
}

// moment is a time of the server's clock.
func moment(us int64) time.Time { return time.UnixMicro(us).UTC() }

func queueName(name string) string { return cmp.Or(name, omniq.DefaultQueue) }
