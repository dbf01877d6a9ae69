package omniq

import (
	"context"
	"slices"

	"github.com/google/uuid"
)

// EnqueueFunc stores tasks. It is what [EnqueueMiddleware] wraps. It fails as [Client.Enqueue] does. The tasks belong to it
// until it returns. One that has taken the place of another, see [Replace], has that one's ID then.
type EnqueueFunc func(ctx context.Context, tasks []*RawTask) error

// EnqueueMiddleware puts something around every enqueue of a client, or of the handlers of a worker: traces, metrics, tenants, checks.
//
// It sees tasks that are valid, before the client's [Defaults] are set. It may change them in place, but not their IDs, and it
// passes on all of them in their order. What it has made of them is validated: [ErrInvalid] says what is wrong. With an error
// of its own, instead of a call of next, no task of the call is stored.
//
// It is called once when the client or the worker is made, and once for each [Client.Through] and [Client.Tx]. What it returns is
// called once for each enqueue. When the client repeats a call whose answer was lost, it does so inside of next.
type EnqueueMiddleware func(next EnqueueFunc) EnqueueFunc

// EnqueueOption is what [UseEnqueue] returns: it fits clients and workers.
type EnqueueOption interface {
	ClientOption
	WorkerOption
}

// UseEnqueue puts middleware around the enqueues of a client. The first is the outermost. Those of a later UseEnqueue are
// inside.
//
// In a worker it is around what handlers enqueue by [Enqueue] and [Become]. next keeps the tasks there until the attempt has
// succeeded: that it returns nil does not say that they are stored. ctx is the one that the handler has given. The middleware
// must not call Enqueue or Become itself. What it refuses of Enqueue the handler is told; with what it refuses of Become the attempt
// ends as with an error of the handler's. It does not see the calls that a task stands for by [Each], which have its metadata.
func UseEnqueue(middleware ...EnqueueMiddleware) EnqueueOption {
	return enqueueMiddleware(middleware)
}

type enqueueMiddleware []EnqueueMiddleware

func (m enqueueMiddleware) check() error {
	if slices.ContainsFunc(m, func(m EnqueueMiddleware) bool { return m == nil }) {
		return invalid("a nil middleware around enqueues")
	}
	return nil
}

func (m enqueueMiddleware) applyClient(c *Client) error {
	c.middleware = append(c.middleware, m...)
	return m.check()
}

func (m enqueueMiddleware) applyWorker(w *Worker) error {
	w.enqueues = append(w.enqueues, m...)
	return m.check()
}

// around is put inside of the middleware, nil if one has returned nil.
func (m enqueueMiddleware) around(put EnqueueFunc) EnqueueFunc {
	if len(m) == 0 {
		return put
	}
	next := same(put)
	for i := len(m) - 1; i >= 0 && next != nil; i-- {
		next = m[i](next)
	}
	if next == nil {
		return nil
	}
	return func(ctx context.Context, tasks []*RawTask) error {
		ids := make([]uuid.UUID, len(tasks))
		for i, t := range tasks {
			ids[i] = t.ID
		}
		return next(context.WithValue(ctx, enqueuedKey{}, ids), tasks)
	}
}

// enqueuedKey is of the IDs of the tasks of an enqueue, as it came to the middleware.
type enqueuedKey struct{}

// same is put for what has come through the middleware, which may have changed the tasks, but not which ones they are.
func same(put EnqueueFunc) EnqueueFunc {
	return func(ctx context.Context, tasks []*RawTask) error {
		ids, known := ctx.Value(enqueuedKey{}).([]uuid.UUID)
		if known && len(ids) != len(tasks) {
			return invalid("a middleware around enqueues was given %d tasks and has passed on %d: it may change tasks, and refuse all with an error", len(ids), len(tasks))
		}
		for i, t := range tasks {
			if t == nil {
				return invalid("a middleware around enqueues has passed on a nil task")
			}
			if known && t.ID != ids[i] {
				return invalid("a middleware around enqueues has passed on task %v in the place of %v: it may change tasks, but neither their IDs nor their order", t.ID, ids[i])
			}
			if err := t.Validate(); err != nil {
				return err
			}
		}
		return put(ctx, tasks)
	}
}

// errNilEnqueue is for a middleware that returns nothing to call.
var errNilEnqueue = invalid("a middleware around enqueues has returned nil")
