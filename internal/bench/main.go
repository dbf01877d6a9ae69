// Bench compares OmniQ with other Go task queues on the same engine, SQLite, Postgres or Redis, and with SQL or scripts written
// by hand. All run in one process, in turns, on files of one disk or one server, with the same durability. It prints Markdown.
//
//	go run ./internal/bench                              # on SQLite: about ten minutes
//	go run ./internal/bench -engine postgres             # on a server that it starts: about seven minutes
//	go run ./internal/bench -engine redis                # on a server that it starts: about five minutes
//	go run ./internal/bench -quick                       # about 20 s: whether everything works, not how fast
//	go run ./internal/bench -systems omniq,raw -rounds 3 # some systems only
//	go run ./internal/bench -dir /mnt/disk -synchronous normal
//	go run ./internal/bench -engine postgres -url postgres://user@host/database
//	go run ./internal/bench -engine postgres -quick
//	go run ./internal/bench -engine redis -appendfsync always
//
// # What is measured
//
// A task does nothing and has one integer as its argument. Each measurement has a new file or schema, which is removed
// afterwards, and a system opened anew. In each round all systems take a measurement before the next one is begun, in an
// order that moves on from round to round. The tables have medians of the rounds. OmniQ is compared with a peer round by
// round, and the ratio is the median of these: what slows the machine for a while slows both.
//
//   - Enqueue: one goroutine, or 64, enqueue the tasks, each by a call of its own, while no worker runs. Each has enqueued
//     one before, so that connections are open and statements prepared. It ends early after -enqueue-limit: the rate is
//     that of the tasks until then.
//   - Burn-down: the tasks are queued already, and a worker with 16 places (-workers) runs all. The time ends when the
//     system has stopped after the last handler, so that everything that it records about a finished task is recorded.
//     It ends early after -burn-limit, and then counts the handlers until then. A task that was run twice counts once.
//   - Lease and settle, on Postgres and Redis: 4 goroutines lease 100 of the queued tasks at a time and settle them with a result
//     that is kept for an hour, by the methods of the backend and by hand. Nothing is run, and there is no worker.
//   - Latency: tasks come at a fixed rate, each in a goroutine of its own, whether the earlier ones are done or not, to
//     an idle worker with 16 places. The times are of the call that enqueues, from its begin to the handler's, from its
//     end to the handler's (less than zero counts as zero), and from its begin to the awaited result.
//   - Idleness, on Redis: how much of a CPU this process and the server use for a worker with 16 places that has nothing to do.
//
// # The contract by hand
//
// The rows by hand are two. Raw is the least that a durable queue with leases and results does. The contract by hand keeps as little as
// can be of what OmniQ promises of a task: it is stored once under its ID, as long as its result is there; the higher priority goes
// first, then the earlier due time; a lease has a token and an end, after which it settles nothing and the task is handed out again; a
// settlement stores the result and removes the task in one step; how many tasks are in each state is counted exactly. One who waits has
// to poll for the result. It has no retries, queues, pauses, names, unique keys, flows, limits, lanes, events, history, lists or expiry.
// It works by the hundred, as raw does: what OmniQ costs beside it is what all these cost, and what lies between a task and its handler.
// A test checks that it does what this says.
//
// # What each system is set to on Postgres
//
// The driver is pgx for all, with a pool of 70 connections, so that each goroutine that enqueues has one. A server that is
// started here has its defaults, but for max_connections: fsync and synchronous_commit are on. Those of any server are
// read back, and stand above the tables. Loggers drop what is below an error.
//
//   - OmniQ: postgres.New and NewWorker with their defaults. It records a result of each task, and deletes the task. What
//     goroutines of one client enqueue at the same time it stores together.
//   - River: its defaults. It keeps the row of a finished job, and records no result unless a worker gives one. A second
//     row has the fetch cooldown and the poll interval of River's own bench command, 2 ms and 20 ms, and a third also its
//     2,000 workers instead of 16.
//   - Raw: three transactions, each for 100 tasks: an insert of arrays, a lease that skips what is locked, and a delete
//     with an insert of results. It has one index beside the keys, and no priorities, delays, retries, fencing, counts or
//     expiry. Its burn-down is by 4 goroutines, and its enqueue always by the hundred, so it stands beside one goroutine
//     and 64 only for reference. It has no latency.
//
// # What each system is set to on SQLite
//
// The driver is modernc.org/sqlite for all, with journal_mode=WAL, and the synchronous of the -synchronous flag, which is
// full by default; both are read back. All have OmniQ's cache of 16 MB for each connection, and a busy_timeout of 5 s,
// OmniQ of 10 s. Loggers drop what is below an error.
//
//   - OmniQ: sqlite.Open and NewWorker with their defaults. It records a result of each task.
//   - Backlite: as in its README: connections without a bound, and a retention, so that it records finished tasks,
//     without their arguments. A second row has one connection.
//   - Goqite: one connection, as in its README; the poll interval of its runner is the README's, 10 ms. A second row has
//     1 ms. It records nothing: a finished task is deleted.
//   - River: one connection, as its driver's documentation says; everything else as it is by default. A second row has
//     the fetch cooldown and the poll interval of River's own bench command, 2 ms and 20 ms. It keeps the row of a
//     finished task.
//   - Raw: one connection with _txlock=immediate and three transactions: an insert of 100 tasks, a lease of the 100
//     oldest, and a delete of 100 tasks with an insert of their results. Its IDs are integers, and it has no index,
//     queues, priorities, retries or goroutines: less than any task queue can do with. Its enqueue is always by the
//     hundred, so it stands beside one goroutine only for reference, and it has no latency.
//
// # What each system is set to on Redis
//
// The server is one for all. One that is started here has appendonly yes and the appendfsync of its flag, everysec by default, and takes no
// snapshots; the settings of any server are read back. The database of the URL must be empty, and is emptied after each measurement.
//
//   - OmniQ: redis.Open and NewWorker with their defaults. It records a result of each task, for an hour.
//   - Asynq: as many workers as all, else its defaults: it deletes a finished task, and polls each second when there was none. A second
//     row polls each 5 ms, and keeps finished tasks and results for an hour, as OmniQ does. A third has as many workers as asynq has by
//     default, the number of CPUs; only its burn-down is measured. Its client has a pool of 70 connections. Its burn-down ends when
//     nothing is left in its queue: to stop, it waits for a poll more.
//   - Raw: three scripts, each for 100 tasks: a list of IDs, a string for each task, a sorted set of leases, a string for each result.
//     Its burn-down is by 4 goroutines.
//
// # Where a peer is better
//
// A single goroutine waits for the disk at each task, whatever the system: there backlite and goqite are as fast as OmniQ
// within the noise, in some rounds faster, and so is their call that enqueues when tasks come slowly. OmniQ's figures
// with 64 goroutines come from calls that share a transaction, and a program that enqueues from one has nothing of it.
//
// Goqite keeps nothing of a finished task, and its file stays small. River and backlite keep a row of it that SQL and
// their web interfaces look into. They fetch as many tasks as they have free workers, and then pause, so that with
// hundreds of workers (-workers 1000) they burn down faster than with 16; OmniQ does so, too, and goqite does not. River
// is compared on Postgres as well.
//
// On Postgres, too, one goroutine waits for the disk and the server at each task: River is as fast there as OmniQ within
// the noise, in some rounds faster. River's defaults are made for few fetches, not for many tasks that do nothing: 16
// workers and a fetch each 100 ms are 160 tasks a second, so that at -rate 200 they fall behind, and what stands there as
// latency is their backlog. With the settings of the second row River starts a task about as soon as OmniQ does; it, too,
// listens for notifications and polls besides. Where tasks take long, nothing of this matters much.
//
// River is older and in wider use, has clients for other languages, and a row of each finished job, with its errors, that
// SQL can look into.
//
// On Redis one goroutine that enqueues is several times faster with asynq: each call is a script there, and OmniQ's is the longer one.
// Asynq is older and in wider use, and it can group tasks.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/omniq-go/omniq/internal/pgserver"
	"github.com/omniq-go/omniq/internal/redisserver"
)

// settings are what the flags say.
type settings struct {
	tasks        int
	rounds       int
	workers      int
	enqueueLimit time.Duration
	burnLimit    time.Duration
	rate         int
	latencyTime  time.Duration
	synchronous  string
	appendfsync  string
	dir          string
	engine       engine
	systems      []system
	url          string // of the server, if there is one
	heading      string // what all systems share
}

// opening is for a system on a place.
func (s settings) opening(place string, handle func(n int)) opening {
	return opening{place, s.url, s.synchronous, s.workers, handle}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	s, err := parse(args, stderr)
	if err != nil {
		return err
	}
	// Always a directory of its own, also inside -dir: what is in there already stays as it is.
	s.dir, err = os.MkdirTemp(s.dir, "omniq-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(s.dir)) }()
	var end func() error
	if s.heading, s.url, end, err = s.engine.begin(ctx, s); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	t := newTable(s)
	for round := range s.rounds {
		if err := measureAll(ctx, s, round, t, stderr); err != nil {
			return err
		}
	}
	return t.write(stdout)
}

func parse(args []string, stderr io.Writer) (settings, error) {
	var s settings
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.IntVar(&s.tasks, "n", 20_000, "`tasks` of each measurement of enqueue and burn-down")
	flags.IntVar(&s.rounds, "rounds", 5, "how often everything is measured")
	flags.IntVar(&s.workers, "workers", 16, "`handlers` at once in each system")
	flags.DurationVar(&s.enqueueLimit, "enqueue-limit", 2*time.Second, "after which a measurement of enqueue is cut short")
	flags.DurationVar(&s.burnLimit, "burn-limit", 10*time.Second, "after which a measurement of burn-down is cut short")
	flags.IntVar(&s.rate, "rate", 200, "tasks a second for the latency")
	flags.DurationVar(&s.latencyTime, "latency-time", 3*time.Second, "for which tasks come at that rate")
	flags.StringVar(&s.synchronous, "synchronous", "full", "`full` or normal, of every system on SQLite")
	flags.StringVar(&s.dir, "dir", "", "where the files go while they are needed (default the system's for temporary files)")
	flags.StringVar(&s.appendfsync, "appendfsync", "everysec", "`everysec` or always, of the Redis server that is started")
	name := flags.String("engine", engines[0].name, "what all are measured on: `sqlite`, postgres or redis")
	flags.StringVar(&s.url, "url", "", "of the server for -engine postgres or redis (default $"+pgserver.URLVariable+" or $"+
		redisserver.URLVariable+", or one that is started)")
	names := flags.String("systems", "", "which to measure, separated by commas (default all)")
	quick := flags.Bool("quick", false, "few tasks and one round, to see whether everything works: sets -n, -rounds, the limits and -latency-time")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	if flags.NArg() > 0 {
		return s, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if *quick {
		s.tasks, s.rounds = 100, 1
		s.enqueueLimit, s.burnLimit, s.latencyTime = 500*time.Millisecond, 500*time.Millisecond, 300*time.Millisecond
	}
	if s.tasks < 1 || s.rounds < 1 || s.workers < 1 || s.rate < 1 || s.enqueueLimit <= 0 || s.burnLimit <= 0 || s.latencyTime <= 0 {
		return s, errors.New("a number that is not positive")
	}
	if s.synchronous != "full" && s.synchronous != "normal" {
		return s, fmt.Errorf("-synchronous is %q, want full or normal", s.synchronous)
	}
	if s.appendfsync != "everysec" && s.appendfsync != "always" {
		return s, fmt.Errorf("-appendfsync is %q, want everysec or always", s.appendfsync)
	}
	i := slices.IndexFunc(engines, func(known engine) bool { return known.name == *name })
	if i < 0 {
		return s, fmt.Errorf("-engine is %q, want sqlite, postgres or redis", *name)
	}
	s.engine = engines[i]
	switch {
	case s.url != "" && *name == sqliteEngine.name:
		return s, errors.New("-url is for -engine postgres or redis")
	case s.appendfsync != "everysec" && *name != redisEngine.name:
		return s, errors.New("-appendfsync is for -engine redis")
	case s.synchronous != "full" && *name != sqliteEngine.name:
		return s, errors.New("-synchronous is for -engine sqlite")
	}
	if *names == "" {
		s.systems = s.engine.systems
		return s, nil
	}
	for name := range strings.SplitSeq(*names, ",") {
		i := slices.IndexFunc(s.engine.systems, func(known system) bool { return known.name == name })
		if i < 0 {
			return s, fmt.Errorf("unknown system %q, want some of %s", name, strings.Join(s.engine.systemNames(), ","))
		}
		s.systems = append(s.systems, s.engine.systems[i])
	}
	return s, nil
}
