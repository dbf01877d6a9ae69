package omniq

import (
	"context"

	"github.com/google/uuid"
)

// Handle is where the result of one task will be. It is a small value that any number of goroutines may use; dropping
// it costs nothing.
type Handle[R any] struct {
	client *Client
	id     uuid.UUID
	flow   uuid.UUID // zero where it is not known
}

// check is the error of a method of a handle that has no client: that of an enqueue that failed, say.
func (h *Handle[R]) check() error {
	if h == nil {
		return invalid("the handle is nil: the task was not enqueued")
	}
	return h.client.check()
}

// ID is the task's ID. With it, Attach of the task's definition or reference gives the handle again, in any process.
func (h *Handle[R]) ID() uuid.UUID { return h.id }

// Wait blocks until the task is final or ctx ends. It returns what the handler returned, or
//
//   - a [TaskError] if the task failed, was cancelled or expired: errors.As finds it, and errors.Is [ErrCancelled],
//     [ErrExpired] and the like;
//   - [ErrNotFound] if there is no such task, or its result's TTL is over;
//   - the context's error if ctx ends first: the task goes on, and Wait can be called again;
//   - an error that says what does not fit if the result is no R.
//
// A handler that waits for another task keeps its place meanwhile. When all the handlers of a queue wait for tasks of that
// queue, none of these can start: they wait until their contexts end. Put the tasks that are waited for into a queue with
// workers of its own, or enqueue what is to follow at the end of the handler.
func (h *Handle[R]) Wait(ctx context.Context) (R, error) {
	var none R
	if err := h.check(); err != nil {
		return none, err
	}
	raw, err := h.client.Wait(ctx, h.id)
	if err != nil {
		return none, err
	}
	if err := raw.Err(); err != nil {
		return none, err
	}
	var r R
	err = decodeResult(&raw, false, h.client.codecs, &r)
	return r, err
}

// Result returns the result as it is now. Its Status tells whether the task is final. That a task failed is no error
// here: see [TaskResult.Err].
func (h *Handle[R]) Result(ctx context.Context) (TaskResult[R], error) {
	if err := h.check(); err != nil {
		return TaskResult[R]{}, err
	}
	raw, err := h.client.Result(ctx, h.id)
	if err != nil {
		return TaskResult[R]{}, err
	}
	return DecodeResult[R](raw, h.client.codecs...)
}

// Status returns the task's status as it is now.
func (h *Handle[R]) Status(ctx context.Context) (Status, error) {
	if err := h.check(); err != nil {
		return 0, err
	}
	raw, err := h.client.Result(ctx, h.id)
	return raw.Status, err
}

// Cancel ends the task unless it is final; see [Client.Cancel].
func (h *Handle[R]) Cancel(ctx context.Context) error {
	if err := h.check(); err != nil {
		return err
	}
	return h.client.Cancel(ctx, h.id)
}
