// Package omniq runs functions later, elsewhere or again, and keeps their types on the whole way: the compiler
// checks arguments, keyword arguments and results where a task is enqueued, in its handler, and where its result is
// awaited. On the wire a task is plain JSON, byte for byte what Python's msgspec writes for the same structs.
//
// # A task from end to end
//
// [Define] makes a task of a function; [Refer] makes one of a name alone, for programs without the function's code.
// Both give a typed Enqueue, whose [Handle] has a typed Wait. A [Worker] runs the functions. [Client] and Worker meet
// in a [Backend], which stores tasks and results; package backend/memory is one inside the process.
//
// # Delivery
//
// At least once: a handler may run again after a crash or a lost lease; a result is recorded once. A worker holds a
// task by a lease, which it extends while the handler runs. A worker that has lost the lease cannot settle the task any more.
// A handler that fails is retried with growing delays, as [Retries] and [Backoff] say, unless its error is
// [Permanent]. [Worker] has the details.
//
// # Types on the wire
//
// An args type is positional: a struct is written as an array of its fields, in their order. A kwargs type is named:
// a struct is written as an object. [Task] has the rules. Package codec turns the values themselves into bytes.
package omniq
