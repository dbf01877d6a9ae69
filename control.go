package omniq

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/google/uuid"
)

// The methods of a client here are for people and tools that look after tasks. They pass on the errors of the backend's
// contract with what was asked: see [TaskQueue].

// Cancel ends each task unless it is final. A pending one never starts. Of a running one the handler's context ends, with
// the cause [ErrCancelled], and what it returns is dropped. Those who wait get a [TaskError] that is [ErrCancelled].
//
// To cancel a cancelled task is no error. One that ended otherwise is [ErrState], an unknown one [ErrNotFound]. The tasks that
// were refused are in a [BulkError], and the others are done.
func (c *Client) Cancel(ctx context.Context, ids ...uuid.UUID) error {
	return c.each(ctx, "cancel", ids, Backend.Cancel)
}

// Requeue enqueues each task again that failed for good, was cancelled or has expired. It has the same ID and is due now. All
// its attempts and its whole TTL are before it. The tasks of its flow that could not start because of it are enqueued again
// with it, and wait for it.
//
// [ErrState] says that a task is in another state, [ErrNotFound] that nothing is kept of it any more, and [ErrDuplicate] that
// another task holds its unique key by now. The tasks that were refused are in a [BulkError], and the others are done.
func (c *Client) Requeue(ctx context.Context, ids ...uuid.UUID) error {
	return c.requeue(ctx, ids, true)
}

func (c *Client) requeue(ctx context.Context, ids []uuid.UUID, follow bool) error {
	return c.each(ctx, "requeue", ids, func(b Backend, ctx context.Context, ids []uuid.UUID) ([]error, error) {
		return b.Requeue(ctx, ids, follow)
	})
}

// RunNow makes each task due now that waits for its time or for a retry. One that is due already keeps its place. The queue's
// order, the priorities and a pause hold as for every task.
//
// [ErrState] says that a task is not pending, [ErrNotFound] that it is unknown. The tasks that were refused are in a
// [BulkError], and the others are done.
func (c *Client) RunNow(ctx context.Context, ids ...uuid.UUID) error {
	return c.each(ctx, "run now", ids, Backend.RunNow)
}

// Forget removes each final task's result, and all that is known of the task, before the result's TTL is over.
//
// [ErrState] says that a task is not final, [ErrNotFound] that it is unknown. The tasks that were refused are in a
// [BulkError], and the others are done.
func (c *Client) Forget(ctx context.Context, ids ...uuid.UUID) error {
	return c.each(ctx, "forget", ids, Backend.Forget)
}

// BulkError says which tasks of a call were refused, and why. The others are done, unless it stands beside another error,
// which says how far the call has come: a call about more than a thousand tasks is several of the backend's. errors.Is and
// errors.As look into the error of each task.
type BulkError struct {
	Op      string        // what was asked: "cancel", "requeue", "run now", "forget", "update", or "enqueue" on a Route
	Refused []RefusedTask // in the order of the call, at least one
}

// RefusedTask is a task of a [BulkError].
type RefusedTask struct {
	ID  uuid.UUID
	Err error
}

func (e *BulkError) Error() string {
	first := e.Refused[0]
	s := fmt.Sprintf("omniq: %s task %v: %v", e.Op, first.ID, first.Err)
	if n := len(e.Refused) - 1; n > 0 {
		s += fmt.Sprintf(", and %d more", n)
	}
	return s
}

// Unwrap returns the errors of all tasks.
func (e *BulkError) Unwrap() []error {
	errs := make([]error, len(e.Refused))
	for i, r := range e.Refused {
		errs[i] = r.Err
	}
	return errs
}

// maxBulk is how many tasks a call of the backend is about at the most.
const maxBulk = 1000

// each asks the backend for something about each of the tasks.
func (c *Client) each(ctx context.Context, op string, ids []uuid.UUID, do func(Backend, context.Context, []uuid.UUID) ([]error, error)) error {
	if err := c.check(); err != nil {
		return err
	}
	return bulk(op, ids, func(id uuid.UUID) uuid.UUID { return id }, func(ids []uuid.UUID) ([]error, error) {
		return do(c.backend, ctx, ids)
	})
}

// bulk does something about each of the items, some of them at once.
func bulk[T any](op string, items []T, id func(T) uuid.UUID, do func([]T) ([]error, error)) error {
	var refused []RefusedTask
	done := 0
	for part := range slices.Chunk(items, maxBulk) {
		errs, err := do(part)
		if err != nil && len(items) == 1 {
			return fmt.Errorf("omniq: %s task %v: %w", op, id(items[0]), err)
		}
		if err != nil {
			err = fmt.Errorf("omniq: %s %d tasks, after %d of them: %w", op, len(items), done, err)
			return errors.Join(err, bulkError(op, refused))
		}
		for i, err := range errs {
			if err != nil {
				refused = append(refused, RefusedTask{id(part[i]), err})
			}
		}
		done += len(part)
	}
	return bulkError(op, refused)
}

// only is the error of a call of the backend about one item.
func only(errs []error, err error) error {
	if err == nil && len(errs) > 0 {
		return errs[0]
	}
	return err
}

// bulkError is nil where nothing was refused.
func bulkError(op string, refused []RefusedTask) error {
	if refused == nil {
		return nil
	}
	return &BulkError{Op: op, Refused: refused}
}

// Inspect returns what is known of a task now: its state, attempts, last error, and the task itself unless it succeeded.
func (c *Client) Inspect(ctx context.Context, id uuid.UUID) (*TaskInfo, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	info, err := c.backend.Inspect(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("omniq: inspect task %v: %w", id, err)
	}
	return info, nil
}

// pageSize is how many tasks or events are read at once.
const pageSize = 200

// List yields the tasks that are in a state, of one queue or, if it is empty, of all. It reads page by page: a task that
// is in the state all the time is yielded once, others may be missed. After an error it yields no more.
func (c *Client) List(ctx context.Context, status Status, queue string) iter.Seq2[*TaskInfo, error] {
	return func(yield func(*TaskInfo, error) bool) {
		if err := c.check(); err != nil {
			yield(nil, err)
			return
		}
		for info, err := range c.pages(ctx, ListRequest{Status: status, Queue: queue, Max: pageSize}) {
			if err != nil {
				err = fmt.Errorf("omniq: list %v tasks: %w", status, err)
			}
			if !yield(info, err) {
				return
			}
		}
	}
}

// pages yields the tasks of all pages from the first on.
func (c *Client) pages(ctx context.Context, request ListRequest) iter.Seq2[*TaskInfo, error] {
	return func(yield func(*TaskInfo, error) bool) {
		for {
			page, next, err := c.backend.List(ctx, request)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, info := range page {
				if !yield(info, nil) {
					return
				}
			}
			if next == "" {
				return
			}
			request.After = next
		}
	}
}

// Stats returns figures of each queue that has tasks or results, or is paused, in the order of their names.
func (c *Client) Stats(ctx context.Context) ([]QueueStats, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	stats, err := c.backend.Stats(ctx)
	if err != nil {
		return nil, fmt.Errorf("omniq: stats: %w", err)
	}
	return stats, nil
}

// Pause keeps the tasks of a queue from being started, by any worker, until Resume. Running ones go on, and tasks can be
// enqueued.
func (c *Client) Pause(ctx context.Context, queue string) error {
	return c.queue(ctx, "pause", queue, Backend.Pause)
}

// Resume ends what Pause began.
func (c *Client) Resume(ctx context.Context, queue string) error {
	return c.queue(ctx, "resume", queue, Backend.Resume)
}

// CancelQueue cancels every task of a queue that is pending, due or not, and returns how many it has cancelled, also with
// an error. Running tasks are left alone, but one that starts while CancelQueue works may be cancelled as [Client.Cancel]
// does it. A task that is enqueued meanwhile may be cancelled or not: to be sure that the queue is empty, stop the producers
// first. It works in batches of a thousand, each of them all or none, and can be called again after an error.
func (c *Client) CancelQueue(ctx context.Context, queue string) (n int, err error) {
	const batch = 1000
	if err := errors.Join(c.check(), checkQueue(queue)); err != nil {
		return 0, err
	}
	request := ListRequest{Status: StatusPending, Queue: queue, Max: batch}
	for {
		page, next, err := c.backend.List(ctx, request)
		if err != nil {
			return n, fmt.Errorf("omniq: cancel queue %q after %d tasks: %w", queue, n, err)
		}
		cancelled, err := c.cancelAll(ctx, page)
		if n += cancelled; err != nil {
			return n, fmt.Errorf("omniq: cancel queue %q after %d tasks: %w", queue, n, err)
		}
		if next == "" {
			return n, nil
		}
		request.After = next
	}
}

// cancelAll cancels those of the tasks that have not ended, and returns how many.
func (c *Client) cancelAll(ctx context.Context, tasks []*TaskInfo) (n int, err error) {
	if len(tasks) == 0 {
		return 0, nil
	}
	ids := make([]uuid.UUID, len(tasks))
	for i, t := range tasks {
		ids[i] = t.ID
	}
	errs, err := c.backend.Cancel(ctx, ids)
	if err != nil {
		return 0, err
	}
	n = len(ids)
	var trouble error
	for i, err := range errs {
		if err == nil {
			continue
		}
		n--
		if !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrState) { // with these it has ended meanwhile
			trouble = fmt.Errorf("task %v: %w", ids[i], err)
		}
	}
	return n, trouble
}

// FreeKey takes a unique key from the task of this name that holds it, so that another one can be enqueued with it before
// that one is final or its [UniqueFor] is over. The holder goes on without it. [ErrNotFound] says that nobody holds it.
func (c *Client) FreeKey(ctx context.Context, funcName, key string) error {
	if err := errors.Join(c.check(), checkName(funcName), checkText("unique_key", key, MaxKeyLen)); err != nil {
		return err
	}
	err := only(c.backend.Free(ctx, []UniqueKey{{funcName, key}}))
	if err != nil {
		return fmt.Errorf("omniq: free key %q of tasks named %q: %w", key, funcName, err)
	}
	return nil
}

// FreeKey takes a unique key from the task of this name that holds it. See [Client.FreeKey].
func (r Reference[A, K, R]) FreeKey(ctx context.Context, c *Client, key string) error {
	return c.FreeKey(ctx, r.name, key)
}

// FreeKey takes a unique key from the task of this name that holds it. See [Client.FreeKey].
func (r ArgsReference[A, R]) FreeKey(ctx context.Context, c *Client, key string) error {
	return r.full.FreeKey(ctx, c, key)
}

// FreeKey takes a unique key from the task of this name that holds it. See [Client.FreeKey].
func (r KwargsReference[K, R]) FreeKey(ctx context.Context, c *Client, key string) error {
	return r.full.FreeKey(ctx, c, key)
}

// FreeKey takes a unique key from the task of this name that holds it. See [Client.FreeKey].
func (r NoArgsReference[R]) FreeKey(ctx context.Context, c *Client, key string) error {
	return r.full.FreeKey(ctx, c, key)
}

func (c *Client) queue(ctx context.Context, what, queue string, do func(Backend, context.Context, string) error) error {
	if err := c.check(); err != nil {
		return err
	}
	err := checkQueue(queue)
	if err == nil {
		err = do(c.backend, ctx, queue)
	}
	if err != nil {
		return fmt.Errorf("omniq: %s queue %q: %w", what, queue, err)
	}
	return nil
}
