// Package logkey names the keys of all that is logged: those of one meaning have one name and one type, in each line of the
// runtime and of the engines. docs/telemetry.md tells users of them.
package logkey

// What a line is about.
const (
	Task     = "task"     // its ID
	Func     = "func"     // the name of its function
	Queue    = "queue"    // where it waited
	Attempt  = "attempt"  // a number, 1 for the first
	Worker   = "worker"   // the ID of one
	Schedule = "schedule" // its ID
	Backend  = "backend"  // the name of one of a route
	Name     = "name"     // of what is not known, or of a schedule
)

// What has become of it.
const (
	Outcome = "outcome" // of an attempt
	Action  = "action"  // what was to become of it
	Error   = "error"   // what went wrong
	Why     = "why"     // what the engine says, where Error is the handler's
	Stack   = "stack"   // where
	Of      = "of"      // how many attempts may fail
	Lost    = "lost"    // how many were lost
)

// Durations.
const (
	Delay   = "delay"   // until the task is due again
	Pause   = "pause"   // until the program tries again
	Since   = "since"   // for how long it has been so
	Took    = "took"    // how long a call has taken
	Timeout = "timeout" // how long it may take
)

// Numbers and lists.
const (
	Tasks       = "tasks"       // how many
	Leases      = "leases"      // how many
	Handlers    = "handlers"    // how many functions a worker has
	Concurrency = "concurrency" // how many tasks a worker runs at once
	Queues      = "queues"      // their names
	Stuck       = "stuck"       // the IDs of tasks whose handlers do not return
)
