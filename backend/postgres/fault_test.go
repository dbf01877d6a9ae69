package postgres_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	neturl "net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/postgres"
	"github.com/omniq-go/omniq/internal/pgserver"
)

// A server is stopped in the middle of work and started again, in an orderly way and by a crash: callers are told, and
// what was acknowledged is done.
func TestServerRestarts(t *testing.T) {
	t.Parallel()
	s := startServer(t, "max_connections=100")
	l := startLoad(t, s.URL(), "fault", 8)
	for _, stop := range []func() error{s.Stop, s.Crash, s.Stop, s.Crash} {
		l.progress()
		require.NoError(t, stop())
		l.refusal("")
		require.NoError(t, s.Start(t.Context()))
	}
	l.progress()
	l.finish()
}

// Connections are cut in the middle of whatever they do, again and again, also the one that listens.
func TestConnectionsAreKilled(t *testing.T) {
	t.Parallel()
	name := schema(t)
	l := startLoad(t, url(t), name, 8, "application_name="+name)
	own := connect(t, url(t))
	killed := 0
	for range 20 {
		l.progress()
		killed += kill(t, own, name)
	}
	l.progress()
	l.finish()
	t.Logf("%d connections were killed", killed)
}

// Many who call at once share few connections, and nobody waits for a second one while it holds the first.
func TestSmallPool(t *testing.T) {
	t.Parallel()
	for _, size := range []string{"1", "2"} {
		t.Run(size, func(t *testing.T) {
			t.Parallel()
			name := schema(t)
			b := openAt(t, with(t, url(t), "pool_max_conns="+size), name)
			work(t, b, omniq.Handlers(double), omniq.Concurrency(32))
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			var callers sync.WaitGroup
			for i := range 64 {
				callers.Go(func() {
					client, err := omniq.NewClient(b) // each with calls of its own
					if !assert.NoError(t, err) {
						return
					}
					for n := range 4 {
						h, err := double.Enqueue(ctx, client, omniq.MakeArgs1(n), omniq.Unique(fmt.Sprint(i, n)))
						if !assert.NoError(t, err) {
							return
						}
						got, err := h.Wait(ctx)
						assert.NoError(t, err)
						assert.Equal(t, 2*n, got)
						_, err = client.Inspect(ctx, h.ID())
						assert.NoError(t, err)
					}
				})
			}
			callers.Wait()
			checkConsistent(t, b, name)
		})
	}
}

// While somebody else holds all connections of the pool, each call ends with its context; and goes on when one is free.
// Whoever has a task keeps and ends it.
func TestPoolIsHeld(t *testing.T) {
	t.Parallel()
	name := schema(t)
	b := openAt(t, with(t, url(t), "pool_max_conns=2"), name, postgres.WithEvents(time.Hour))
	running := newTask(t)
	enqueue(t, b, running)
	l := lease(t, b)
	var held []*pgxpool.Conn
	for range 2 {
		c, err := b.Pool().Acquire(t.Context())
		require.NoError(t, err)
		held = append(held, c)
	}
	release := sync.OnceFunc(func() {
		for _, c := range held {
			c.Release()
		}
	})
	t.Cleanup(release)
	task := newTask(t)
	id := []uuid.UUID{task.ID}
	for call, do := range map[string]func(context.Context) error{
		"Enqueue": func(ctx context.Context) error { _, err := b.Enqueue(ctx, []*omniq.RawTask{task}); return err },
		"Cancel":  func(ctx context.Context) error { _, err := b.Cancel(ctx, id); return err },
		"Requeue": func(ctx context.Context) error { _, err := b.Requeue(ctx, id, false); return err },
		"Forget":  func(ctx context.Context) error { _, err := b.Forget(ctx, id); return err },
		"Inspect": func(ctx context.Context) error { _, err := b.Inspect(ctx, task.ID); return err },
		"Result":  func(ctx context.Context) error { _, err := b.Result(ctx, task.ID); return err },
		"Await":   func(ctx context.Context) error { _, err := b.Await(ctx, task.ID); return err },
		"Stats":   func(ctx context.Context) error { _, err := b.Stats(ctx); return err },
		"Pause":   func(ctx context.Context) error { return b.Pause(ctx, "q") },
		"Resume":  func(ctx context.Context) error { return b.Resume(ctx, "q") },
		"Events":  func(ctx context.Context) error { _, _, err := b.Events(ctx, omniq.EventsRequest{Max: 1}); return err },
		"List": func(ctx context.Context) error {
			_, _, err := b.List(ctx, omniq.ListRequest{Status: omniq.StatusPending, Max: 1})
			return err
		},
	} {
		t.Run(call, func(t *testing.T) {
			why := errors.New("why")
			ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, why)
			defer cancel()
			began := time.Now()
			err := do(ctx)
			assert.ErrorIs(t, err, context.DeadlineExceeded)
			assert.ErrorIs(t, err, why)
			assert.Less(t, time.Since(began), 10*time.Second)
		})
	}
	errs, err := b.Extend(t.Context(), []omniq.LeaseID{l.LeaseID}, time.Hour)
	require.NoError(t, err)
	require.Nil(t, errs)
	finish(t, b, l, "1", time.Hour)
	leases := later(t, func(ctx context.Context) ([]omniq.Lease, error) { return b.Lease(ctx, anyTask) })
	stored := later(t, func(ctx context.Context) ([]error, error) { return b.Enqueue(ctx, []*omniq.RawTask{task}) })
	require.Eventually(t, b.Listens, time.Minute, time.Millisecond)
	release()
	assert.Nil(t, <-stored)
	if got := <-leases; assert.Len(t, got, 1) {
		finish(t, b, got[0], "1", time.Hour)
	}
	checkConsistent(t, b, name)
}

// The server has no connection left: callers are told so, and it goes on as soon as there are some again, though the
// pool would have more than the server gives.
func TestTooManyClients(t *testing.T) {
	t.Parallel()
	const code = "53300" // too_many_connections
	s := startServer(t, "max_connections=16", "superuser_reserved_connections=0", "max_wal_senders=0")
	const name = "fault"
	taken := []*pgx.Conn{connect(t, s.URL())}
	l := startLoad(t, s.URL(), name, 24, "pool_max_conns=30", "application_name="+name)
	l.progress()
	for len(l.refusals(code)) < 10 {
		kill(t, taken[0], name)
		for len(taken) < 16 {
			c, err := pgx.Connect(t.Context(), s.URL())
			if err != nil {
				requireCode(t, code, err)
				break
			}
			taken = append(taken, c)
		}
	}
	_, err := postgres.Open(t.Context(), s.URL())
	requireCode(t, code, err)
	for _, c := range taken[1:] {
		require.NoError(t, c.Close(t.Context()))
	}
	l.progress()
	l.stop()
	l.producers.Wait()
	l.b.Pool().Reset() // leaves connections to the check
	require.Eventually(t, func() bool {
		var n int
		const q = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1"
		return taken[0].QueryRow(t.Context(), q, name).Scan(&n) == nil && n < 8
	}, time.Minute, 10*time.Millisecond)
	l.finish()
}

// Somebody locks the tables, and the database gives up statements that wait: callers are told in time, a worker keeps
// what it has, and all goes on when the lock is gone.
func TestStatementsAreGivenUp(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ setting, table, code string }{
		{"statement_timeout", "tasks", "57014"},  // query_canceled
		{"statement_timeout", "counts", "57014"}, // in the middle of a statement
		{"lock_timeout", "results", "55P03"},     // lock_not_available
	} {
		t.Run(c.setting+" "+c.table, func(t *testing.T) {
			t.Parallel()
			name := schema(t)
			l := startLoad(t, url(t), name, 8, c.setting+"=300")
			locker := connect(t, url(t))
			for range 2 {
				l.progress()
				tx, err := locker.Begin(t.Context())
				require.NoError(t, err)
				_, err = tx.Exec(t.Context(), "LOCK TABLE "+name+"."+c.table+" IN ACCESS EXCLUSIVE MODE")
				require.NoError(t, err)
				l.refusal(c.code)
				require.NoError(t, tx.Commit(t.Context()))
			}
			l.progress()
			l.finish()
		})
	}
}

// The database can be read only for a while, as some that are hosted are made when their disk is full: that is a
// setting of new connections, and those that have it must not stay.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	const code = "25006" // read_only_sql_transaction
	at, database := ownDatabase(t)
	name := schema(t)
	own := connect(t, url(t))
	l := startLoad(t, at, name, 8, "application_name="+name)
	set := func(how string) {
		_, err := own.Exec(t.Context(), "ALTER DATABASE "+database+" "+how)
		require.NoError(t, err)
	}
	l.progress()
	set("SET default_transaction_read_only = on")
	kill(t, own, name)
	l.refusal(code)
	set("RESET default_transaction_read_only")
	l.progress()
	l.finish()
}

// Connections fall silent, as they do when a machine or the way to it is lost and nobody says so; new ones work. No call
// of the backend's own waits for them for ever.
func TestConnectionsFallSilent(t *testing.T) {
	t.Parallel()
	name := schema(t)
	p := startProxy(t, url(t))
	l := startLoad(t, p.url, name, 8)
	l.progress()
	p.silence()
	l.progress()
	l.finish()
}

// patience is how long a caller of a load waits.
const patience = 10 * time.Second

var double = omniq.DefineArgs("double", func(ctx context.Context, a omniq.Args1[int]) (int, error) {
	if info, _ := omniq.InfoFrom(ctx); info.Attempt == 1 && a.V1%8 == 1 {
		return 0, errors.New("this one fails at first")
	}
	return 2 * a.V1, nil
}, omniq.Retries(1_000_000)) // leases that are lost must not use them up

// loadLimit is that of the queue of a load, half of whose tasks have lanes.
var loadLimit = omniq.Limit{Running: 20, EachLane: omniq.LaneLimit{Running: 8}}

// load is work that goes on while something is done to the server: producers and a worker on one backend.
type load struct {
	t          *testing.T
	url, name  string // the URL without what hurts
	b          *postgres.Backend
	stopWorker func()
	producing  context.Context
	stop       context.CancelFunc
	producers  sync.WaitGroup

	mu      sync.Mutex
	tried   map[uuid.UUID]int // tasks that were to be enqueued, and their argument
	stored  map[uuid.UUID]int // those whose enqueue was acknowledged
	errs    []error           // of the others
	slowest time.Duration     // of the calls
}

// startLoad begins to enqueue and work tasks in a schema, by a URL with further parameters, and goes on until finish. It
// does not poll: push must work.
func startLoad(t *testing.T, url, name string, producers int, parameters ...string) *load {
	t.Helper()
	l := &load{t: t, url: url, name: name, tried: make(map[uuid.UUID]int), stored: make(map[uuid.UUID]int)}
	calm := openAt(t, url, name) // without what hurts
	require.NoError(t, calm.SetLimit(t.Context(), "", loadLimit))
	require.NoError(t, calm.Close())
	l.b = openAt(t, with(t, url, parameters...), name, postgres.WithEvents(time.Hour), postgres.WithPollInterval(time.Hour))
	l.stopWorker = work(t, l.b, omniq.Handlers(double), omniq.LeaseDuration(2*time.Second),
		omniq.RetryDelays(omniq.Constant(10*time.Millisecond), 0.5))
	l.producing, l.stop = context.WithCancel(context.Background())
	for i := range producers {
		l.producers.Go(func() { l.produce(i) })
	}
	t.Cleanup(func() { l.stop(); l.producers.Wait() })
	return l
}

// produce enqueues tasks one after another: simple ones, and such as take several round trips.
func (l *load) produce(i int) {
	client, err := omniq.NewClient(l.b) // each with calls of its own
	if !assert.NoError(l.t, err) {
		return
	}
	pause := time.NewTicker(10 * time.Millisecond)
	defer pause.Stop()
	for n := i; l.producing.Err() == nil; n++ {
		var opts []omniq.TaskOption
		if rand.IntN(2) == 0 {
			opts = append(opts, omniq.Unique(fmt.Sprint(i, n)))
		}
		if rand.IntN(4) == 0 {
			opts = append(opts, omniq.Delay(rand.N(50*time.Millisecond)))
		}
		if rand.IntN(2) == 0 {
			opts = append(opts, omniq.Lane(fmt.Sprint(rand.IntN(3))))
		}
		task, err := double.Task(omniq.MakeArgs1(n), opts...)
		if !assert.NoError(l.t, err) {
			return
		}
		l.mu.Lock()
		l.tried[task.ID] = n
		l.mu.Unlock()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		began := time.Now()
		_, err = double.EnqueueMany(ctx, client, []omniq.Task[omniq.Args1[int], omniq.NoKwargs]{task})
		took := time.Since(began)
		cancel()
		l.mu.Lock()
		if err == nil {
			l.stored[task.ID] = n
		} else {
			l.errs = append(l.errs, err)
		}
		l.slowest = max(l.slowest, took)
		l.mu.Unlock()
		<-pause.C
	}
}

// progress waits until tasks have been enqueued from now on.
func (l *load) progress() {
	l.t.Helper()
	const enough = 60
	stored := func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.stored)
	}
	before := stored()
	if !assert.Eventually(l.t, func() bool { return stored() >= before+enough }, time.Minute, time.Millisecond) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.t.Fatalf("no task can be enqueued; the last of %d errors: %v", len(l.errs), l.errs[max(len(l.errs)-1, 0):])
	}
}

// refusal waits until callers have got errors from now on: with the database's code, or any.
func (l *load) refusal(code string) {
	l.t.Helper()
	const enough = 10
	before := len(l.refusals(code))
	require.Eventually(l.t, func() bool { return len(l.refusals(code)) >= before+enough }, time.Minute, time.Millisecond,
		"nobody is told of an error %s", code)
}

// refusals are the errors that callers have got.
func (l *load) refusals(code string) []error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(func(yield func(error) bool) {
		for _, err := range l.errs {
			if code == "" || codeOf(err) == code {
				if !yield(err) {
					return
				}
			}
		}
	})
}

// finish ends the producers, lets the work be finished, and checks that no caller was left alone, that each task whose
// enqueue was acknowledged has one result, the right one, and that push works.
func (l *load) finish() {
	l.t.Helper()
	l.stop()
	l.producers.Wait()
	assert.Less(l.t, l.slowest, patience+10*time.Second, "a call ends soon after its context")
	for _, err := range l.errs {
		assert.NotErrorIs(l.t, err, omniq.ErrInvalid)
		assert.NotErrorIs(l.t, err, omniq.ErrClosed)
		assert.NotErrorIs(l.t, err, omniq.ErrDuplicate)
	}

	other := openAt(l.t, l.url, l.name, postgres.WithEvents(time.Hour))
	client, err := omniq.NewClient(other)
	require.NoError(l.t, err)
	ctx, cancel := context.WithTimeout(l.t.Context(), 2*time.Minute)
	defer cancel()
	began := time.Now()
	for unfinished := true; unfinished; {
		for _, status := range []omniq.Status{omniq.StatusPending, omniq.StatusRunning} {
			for info, err := range client.List(ctx, status, "") {
				require.NoError(l.t, err)
				_, err := client.Wait(ctx, info.ID)
				require.NoError(l.t, err, "the worker goes on by itself")
			}
		}
		// A task may go from one state to the other between two lists, which find nothing then.
		stats, err := client.Stats(ctx)
		require.NoError(l.t, err)
		unfinished = slices.ContainsFunc(stats, func(q omniq.QueueStats) bool { return q.Waiting+q.Scheduled+q.Ready+q.Running > 0 })
	}
	l.pushes(other)
	l.stopWorker()
	done := make(map[uuid.UUID]bool)
	for info, err := range client.List(ctx, omniq.StatusSuccess, "") {
		require.NoError(l.t, err)
		done[info.ID] = true
	}
	stats, err := client.Stats(ctx)
	require.NoError(l.t, err)
	require.Len(l.t, stats, 1)
	assert.Equal(l.t, omniq.QueueStats{Queue: omniq.DefaultQueue, Succeeded: len(done), Limit: loadLimit}, stats[0], "all have succeeded")
	for id := range l.stored {
		assert.True(l.t, done[id], "task %v was acknowledged", id)
	}
	var readers sync.WaitGroup
	ids := make(chan uuid.UUID)
	for range 16 {
		readers.Go(func() {
			for id := range ids {
				got, err := double.Attach(client, id).Wait(ctx)
				assert.NoError(l.t, err)
				assert.Equal(l.t, 2*l.tried[id], got)
			}
		})
	}
	for id := range done {
		_, ok := l.tried[id]
		assert.True(l.t, ok, "nobody enqueued task %v", id)
		ids <- id
	}
	close(ids)
	readers.Wait()
	checkConsistent(l.t, other, l.name)
	checkEvents(l.t, other, len(done))
	kinds := make(map[string]int)
	for _, err := range l.errs {
		kinds[cmp.Or(codeOf(err), "without a code")]++
	}
	l.t.Logf("%d enqueues acknowledged, %d refused %v, of which %d happened; the slowest call took %v; what was left took %v",
		len(l.stored), len(l.errs), kinds, len(done)-len(l.stored), l.slowest.Round(time.Millisecond),
		time.Since(began).Round(time.Millisecond))
}

// pushes looks whether tasks that another process enqueues are started though nobody polls.
func (l *load) pushes(other *postgres.Backend) {
	l.t.Helper()
	client, err := omniq.NewClient(other)
	require.NoError(l.t, err)
	ctx, cancel := context.WithTimeout(l.t.Context(), 30*time.Second) // the connection that listens is back in 5 s
	defer cancel()
	for range 3 {
		require.Eventually(l.t, func() bool { return l.b.Listens() && l.b.Pool().Stat().AcquiredConns() == 0 },
			time.Minute, time.Millisecond)
		h, err := double.Enqueue(ctx, client, omniq.MakeArgs1(0))
		require.NoError(l.t, err)
		l.tried[h.ID()], l.stored[h.ID()] = 0, 0
		_, err = h.Wait(ctx)
		require.NoError(l.t, err, "a task that another process enqueues is started though nobody polls")
	}
}

// proxy is between a backend and its server.
type proxy struct {
	url    string
	mu     sync.Mutex
	silent chan struct{} // closed when the connections that there are fall silent
	cut    atomic.Bool   // the next answer is not passed on, and ends the connection
}

// cutter is where answers go.
type cutter struct {
	net.Conn
	p *proxy
}

func (c cutter) Write(b []byte) (int, error) {
	if c.p.cut.CompareAndSwap(true, false) {
		return 0, c.Close()
	}
	return c.Conn.Write(b)
}

func startProxy(t *testing.T, to string) *proxy {
	t.Helper()
	u, err := neturl.Parse(to)
	require.NoError(t, err)
	server := u.Host
	in, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	u.Host = in.Addr().String()
	p := &proxy{url: u.String(), silent: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	t.Cleanup(func() { cancel(); assert.NoError(t, in.Close()); all.Wait() })
	all.Go(func() {
		for {
			client, err := in.Accept()
			if err != nil {
				return
			}
			p.mu.Lock()
			silent := p.silent
			p.mu.Unlock()
			all.Go(func() {
				conn, err := net.Dial("tcp", server)
				if err != nil {
					_ = client.Close()
					return
				}
				both, ended := context.WithCancel(ctx)
				context.AfterFunc(both, func() { _, _ = client.Close(), conn.Close() })
				all.Go(func() { defer ended(); pass(cutter{client, p}, conn, silent) })
				defer ended()
				pass(conn, client, silent)
			})
		}
	})
	return p
}

// cutAnswers cuts the connections as soon as the server answers anything.
func (p *proxy) cutAnswers() { p.cut.Store(true) }

// silence lets the connections that there are fall silent.
func (p *proxy) silence() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.silent)
	p.silent = make(chan struct{})
}

// pass passes on what is read, up to the silence.
func pass(to io.Writer, from io.Reader, silent <-chan struct{}) {
	buf := make([]byte, 1<<16)
	for {
		n, err := from.Read(buf)
		select {
		case <-silent:
			n = 0
		default:
		}
		if n > 0 {
			_, _ = to.Write(buf[:n])
		}
		if err != nil {
			return
		}
	}
}

// startServer starts a server that can be hurt.
func startServer(t *testing.T, settings ...string) *pgserver.Server {
	t.Helper()
	s, err := pgserver.Start(t.Context(), "", settings...)
	if errors.Is(err, pgserver.ErrMissing) {
		t.Skip(err)
	}
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, s.Close()) })
	return s
}

// ownDatabase returns the URL of a new database of the server, and its name.
func ownDatabase(t *testing.T) (at, name string) {
	t.Helper()
	name = schema(t)
	u, err := neturl.Parse(url(t))
	require.NoError(t, err)
	u.Path = "/" + name
	exec(t, "CREATE DATABASE "+name)
	t.Cleanup(func() { exec(t, "DROP DATABASE "+name+" WITH (FORCE)") })
	return u.String(), name
}

func openAt(t *testing.T, url, name string, opts ...postgres.Option) *postgres.Backend {
	t.Helper()
	opts = append(opts, postgres.WithSchema(name), postgres.WithLogger(slog.New(slog.DiscardHandler)))
	b, err := postgres.Open(t.Context(), url, opts...)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, b.Close()) })
	return b
}

// work starts a worker. The function that it returns stops it: until then it must not have ended by itself.
func work(t *testing.T, b omniq.Backend, opts ...omniq.WorkerOption) (stop func()) {
	t.Helper()
	w, err := omniq.NewWorker(b, append([]omniq.WorkerOption{omniq.Logger(slog.New(slog.DiscardHandler))}, opts...)...)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		select {
		case err := <-ended:
			t.Errorf("the worker has ended by itself: %v", err)
		default:
			cancel()
			assert.NoError(t, <-ended)
		}
	})
	t.Cleanup(stop)
	return stop
}

// kill cuts all connections of an application but this one, and says how many.
func kill(t *testing.T, by *pgx.Conn, application string) (n int) {
	t.Helper()
	const q = `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
		WHERE application_name = $1 AND pid <> pg_backend_pid()`
	require.NoError(t, by.QueryRow(t.Context(), q, application).Scan(&n))
	return n
}

// codeOf is the database's code of an error, empty for none.
func codeOf(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

func requireCode(t *testing.T, code string, err error) {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, code, codeOf(err), "%v", err)
}

// with returns a URL with further parameters, each like "key=value".
func with(t *testing.T, url string, parameters ...string) string {
	t.Helper()
	u, err := neturl.Parse(url)
	require.NoError(t, err)
	q := u.Query()
	for _, p := range parameters {
		key, value, _ := strings.Cut(p, "=")
		q.Set(key, value)
	}
	u.RawQuery = q.Encode()
	return u.String()
}
