package main

import (
	"context"
	"time"
)

// system is one of those that are compared.
type system struct {
	name   string
	title  string
	module string // whose version the table tells, if any
	set    string // what it was set to, for the table
	// bulk says that there is no call for a single task: fill stands for enqueue.
	bulk bool
	// byHand says that what open returns is a batcher.
	byHand bool
	// burnsOnly says that only its burn-down is measured: in all else it is the system before it.
	burnsOnly bool
	open      func(ctx context.Context, o opening) (queue, error)
}

// opening is what a system is opened with.
type opening struct {
	place       string      // that nothing is in: a file, or the name of a schema
	url         string      // of the server that the schema is for, if any
	synchronous string      // of SQLite, if it is one
	workers     int         // handlers at once
	handle      func(n int) // what the handlers do
}

// queue is a system that was opened on a place of its own.
type queue interface {
	// enqueue enqueues task n by the call for a single task. It is safe for concurrent use.
	enqueue(ctx context.Context, n int) error
	// fill enqueues tasks 0 to n-1, as many at a time as is best.
	fill(ctx context.Context, n int) error
	// start begins to run tasks: the handler given to open is called with their numbers.
	start(ctx context.Context) error
	// stop returns when what has been run is recorded. It is called at most once, after start.
	stop(ctx context.Context) error
	// left counts the tasks that are not finished. It is called after stop.
	left(ctx context.Context) (int, error)
	close() error
}

// batcher is a queue whose tasks can be leased and settled by hand.
type batcher interface {
	// drain leases so many tasks at a time and settles them with a result, until there are none. It is safe for concurrent
	// use, and returns how many it has settled.
	drain(ctx context.Context, batch int) (int, error)
}

// recorder is a queue that takes a while to stop, which is none of its burn-down.
type recorder interface {
	// recorded returns when what has been run is recorded.
	recorded(ctx context.Context) error
}

// waiter is a queue that has results.
type waiter interface {
	// enqueueAndWait calls enqueued as soon as it has enqueued task n, and returns once it has the result.
	enqueueAndWait(ctx context.Context, n int, enqueued func()) error
}

// engine is what the systems that are compared have in common.
type engine struct {
	name string
	// systems stand in the order of the table. OmniQ comes first: the others are compared with it.
	systems      []system
	measurements []measurement
	// begin makes what all systems share, in s.dir if that is files. It returns what it is and is set to, where systems
	// are opened, empty for files, and what ends it.
	begin func(ctx context.Context, s settings) (heading, url string, end func() error, err error)
	// place returns one of its own for each name.
	place func(s settings, name string) string
	// cpu is how much time of a CPU the server has used, for idleness.
	cpu func(ctx context.Context, url string) (time.Duration, error)
}

var engines = []engine{sqliteEngine, postgresEngine, redisEngine}

func (e engine) systemNames() []string {
	names := make([]string, len(e.systems))
	for i, s := range e.systems {
		names[i] = s.name
	}
	return names
}
