package omniq

import (
	"context"
	"slices"

	"github.com/google/uuid"
)

// EnqueueFunc stores tasks. It is what [EnqueueMiddleware] wraps. It fails as [Client.Enqueue] does. The tasks belong to it
// until it returns. One that has taken the place of another, see [Replace], has that one's ID then.
type EnqueueFunc func(ctx context.Context, tasks []*RawTask) error

// EnqueueMiddleware puts something around every enqueue of a client: traces, metrics, tenants, checks.
//
// It sees tasks that are valid, before the client's [Defaults] are set. It may change them in place, but not their IDs, and it
// passes on all of them in their order. What it has made of them is validated: [ErrInvalid] says what is wrong. With an error
// of its own, instead of a call of next, no task of the call is stored.
//
// It is called once when the client is made, and once for each [Client.Through] and [Client.Tx]. What it returns is called
// once for each enqueue. When the client repeats a call whose answer was lost, it does so inside of next.
type EnqueueMiddleware func(next EnqueueFunc) EnqueueFunc

// UseEnqueue puts middleware around the enqueues of a client. The first is the outermost. Those of a later UseEnqueue are
// inside.
func UseEnqueue(middleware ...EnqueueMiddleware) ClientOption {
	return enqueueMiddleware(middleware)
}

type enqueueMiddleware []EnqueueMiddleware

func (m enqueueMiddleware) applyClient(c *Client) error {
	if slices.ContainsFunc(m, func(m EnqueueMiddleware) bool { return m == nil }) {
		return invalid("a nil middleware around enqueues")
	}
	c.middleware = append(c.middleware, m...)
	return nil
}

// wrapped is put inside of the middleware, nil if one has returned nil.
func (c *Client) wrapped() EnqueueFunc {
	if len(c.middleware) == 0 {
		return c.put
	}
	next := EnqueueFunc(c.putSame)
	for i := len(c.middleware) - 1; i >= 0 && next != nil; i-- {
		next = c.middleware[i](next)
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

// putSame is put for what has come through the middleware, which may have changed the tasks, but not which ones they are.
func (c *Client) putSame(ctx context.Context, tasks []*RawTask) error {
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
	return c.put(ctx, tasks)
}
