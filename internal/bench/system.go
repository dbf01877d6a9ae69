package main

import "context"

// system is one of those that are compared.
type system struct {
	name   string
	title  string
	module string // whose version the table tells, if any
	set    string // what it was set to, for the table
	// bulk says that there is no call for a single task: fill stands for enqueue.
	bulk bool
	open func(ctx context.Context, o opening) (queue, error)
}

// opening is what a system is opened with.
type opening struct {
	file        string
	synchronous string
	workers     int         // handlers at once
	handle      func(n int) // what the handlers do
}

// queue is a system that was opened on a file of its own.
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

// waiter is a queue that has results.
type waiter interface {
	// enqueueAndWait calls enqueued as soon as it has enqueued task n, and returns once it has the result.
	enqueueAndWait(ctx context.Context, n int, enqueued func()) error
}

// systems stand in the order of the table. OmniQ comes first: the others are compared with it.
var systems = []system{
	omniqSystem(false),
	omniqSystem(true),
	backliteSystem(false),
	backliteSystem(true),
	goqiteSystem(goqitePoll),
	goqiteSystem(goqiteFastPoll),
	riverSystem(false),
	riverSystem(true),
	rawSystem,
}

func systemNames() []string {
	names := make([]string, len(systems))
	for i, s := range systems {
		names[i] = s.name
	}
	return names
}
