// Package redis is a backend in Redis 7.0 or later, or Valkey 7.2 or later, for any number of machines.
//
// Everything that a method does is one Lua script in the server, which is atomic: a result, the end of its task, the tasks that this
// releases and the event are written together, or nothing is. The files in lua are the scripts, and say what is kept and how. They are
// sent once, and run by their hashes. All times that are compared are the server's.
//
// It does all that the contract has but for transactions of callers, because no other data of theirs is written in the same step: tasks that are
// to be enqueued if and only if a handler succeeds are its Effects.
//
// # What may be lost
//
// A server keeps what it has acknowledged as its settings say, and [Open] reads them:
//
//	settings                         survives                                     Capabilities.Survives
//	appendonly no                    the end of this process, but not a server's  SurvivesProcess; Open warns
//	appendonly yes, everysec         a crash of the server; the last second is    SurvivesServer
//	                                 lost when the machine loses power
//	appendonly yes, always           a power failure                              SurvivesPower
//
// Replicas change none of that: they get what the master has acknowledged a little later, and a fail-over to one loses what that one had not
// got. Tasks that were enqueued are gone then, and what was settled runs again. [WaitReplicas] makes each write wait
// for replicas, which narrows this and does not close it. What a worker holds from before a fail-over settles nothing that was handed out
// again, because leases are told apart by random tokens, which nobody counts. The numbers of events may come again after such a loss: a
// reader may have to begin anew.
//
// [Open] refuses a server that evicts keys, a replica, and one that is too old.
//
// # Memory
//
// All tasks are in the server's memory: about 1 kB for one that is pending, of which 0.3 kB are its envelope; 0.7 kB for one that has
// succeeded and whose result is kept; 0.2 kB for each event. With maxmemory set, a server whose memory is full refuses what brings
// more (Enqueue, Requeue, Record, Note, Append), whole and with an error that says OOM, and goes on with what frees some: Lease, Extend,
// Settle, Cancel, Forget.
//
// # Time
//
// The server does one thing at a time. A call of n tasks keeps it for some 20 to 50 µs each, which is for the caller to bound; a flow is
// stored in one step, whatever its size, and so are the tasks of a call requeued. What happens to very many
// tasks by itself goes in steps of a hundred, of a few milliseconds each: tasks that become due or expire, leases and results whose time
// is over, the followers of a task that ends or is requeued, the members of a flow that is cancelled. Each process does such steps, and goes on with what another
// has begun. No call scans the keys.
//
// # Push
//
// Scripts tell of what they have done in sharded channels: tasks that are ready, results, cancelled tasks, events. Each process
// has one connection that listens for what somebody waits for there, and looks by itself besides, see [WithPollInterval], and
// each time that the connection has broken.
//
// # Namespaces and clusters
//
// The names of all keys and channels begin with the namespace in braces, {omniq} unless [WithNamespace] says otherwise. So they are in one
// slot: on a cluster one of its masters has all of a namespace, and several namespaces spread over several. A task costs that master 27 µs
// to be enqueued, and 58 µs to be leased and settled, 116 µs together with events, in calls of a hundred on two busy cores: some 10,000 tasks
// a second are what one namespace can come to, and each further one on a master of its own adds as many.
//
// While the slot of a namespace moves to another master its calls wait, for a minute at the most: they fail with TRYAGAIN after it, and
// nothing was done then.
//
// # Rights
//
// With access control lists, the user of a backend of namespace omniq needs what this gives:
//
//	ACL SETUSER worker on >password ~{omniq}:* &{omniq}:c:* +@read +@write +@scripting +@pubsub +@connection -@dangerous +time +info +wait +config|get
//
// Without +config|get it is not known whether appendfsync is always, and Capabilities say everysec.
package redis
