package omniq

import (
	"context"
	"fmt"

	"github.com/google/uuid"
)

// Update is another payload for a task that waits, or that has ended without success. [Reference.Update] makes one of typed
// arguments.
type Update struct {
	ID       uuid.UUID
	FuncName string // the task's name: an update is for tasks of one name alone
	Status   Status // the state that the task must be in: pending, or final without success
	Args     Raw    // as in a [RawTask]
	Kwargs   Raw
	Codec    string

	Was Raw  // the Args that the task must have now, byte for byte as Inspect shows them; nil for any: a compare-and-set
	Due bool // a pending task is due now, too, as by RunNow
}

// Validate reports what is wrong with the update. errors.Is finds [ErrInvalid] in what it returns.
func (u *Update) Validate() error {
	switch u.Status {
	case StatusPending, StatusFailure, StatusCancelled, StatusExpired:
	default:
		return invalid("the payload of task %v is to be updated while it is %v, want pending, failed, cancelled or expired", u.ID, u.Status)
	}
	if u.ID == uuid.Nil {
		return invalid("an update of a task without an ID")
	}
	if u.Due && u.Status != StatusPending {
		return invalid("task %v is to be updated while it is %v, and due now, want a pending one", u.ID, u.Status)
	}
	if err := checkName(u.FuncName); err != nil {
		return err
	}
	t := RawTask{ID: u.ID, FuncName: u.FuncName, Args: u.Args, Kwargs: u.Kwargs, Codec: u.Codec}
	return checkRaw(&t)
}

// Update gives a task of this name other arguments, if it is in the expected state. Nothing else of it changes. The codec is
// the client's. The state is
//
//   - [StatusPending] for a task that waits for its time, a worker or a retry;
//   - [StatusFailure], [StatusCancelled] or [StatusExpired] for one that [Client.Requeue] is to run again.
//
// [ErrState] says that it is in another state, where a worker may have it with the old arguments, or of another name.
// [ErrNotFound] says that nothing is kept of it. [ErrInvalid] is for any other state, and for arguments that cannot be encoded.
func (r Reference[A, K, R]) Update(ctx context.Context, c *Client, id uuid.UUID, expected Status, args A, kwargs K) error {
	if err := c.check(); err != nil {
		return err
	}
	u, err := newUpdate(c, id, r.name, expected, &args, &kwargs)
	if err != nil {
		return fmt.Errorf("omniq: update task %v: %w", id, err)
	}
	return c.update(ctx, []Update{u})
}

// UpdateMany gives several tasks other arguments, as Update does. The tasks are those that Task has made with the IDs of the
// tasks to change, see [ID]: only their IDs and their arguments count. The updates that were refused are in a [BulkError], and
// the others are done.
func (r Reference[A, K, R]) UpdateMany(ctx context.Context, c *Client, expected Status, tasks []Task[A, K]) error {
	if err := c.check(); err != nil {
		return err
	}
	updates := make([]Update, len(tasks))
	for i := range tasks {
		t := &tasks[i]
		if t.FuncName != r.name {
			return invalid("task %v is of %q, and this is %q", t.ID, t.FuncName, r.name)
		}
		var err error
		if updates[i], err = newUpdate(c, t.ID, r.name, expected, &t.Args, &t.Kwargs); err != nil {
			return fmt.Errorf("omniq: update task %d of %d: %w", i+1, len(tasks), err)
		}
	}
	return c.update(ctx, updates)
}

func newUpdate[A, K any](c *Client, id uuid.UUID, name string, expected Status, args *A, kwargs *K) (Update, error) {
	raw := RawTask{ID: id, FuncName: name}
	if err := encodePayload(&raw, c.codecs.writer(), args, kwargs); err != nil {
		return Update{}, err
	}
	u := Update{ID: id, FuncName: name, Status: expected, Args: raw.Args, Kwargs: raw.Kwargs, Codec: raw.Codec}
	return u, u.Validate()
}

func (c *Client) update(ctx context.Context, updates []Update) error {
	return bulk("update", updates, func(u Update) uuid.UUID { return u.ID }, func(updates []Update) ([]error, error) {
		return c.backend.Update(ctx, updates)
	})
}

// Update gives a task other args, if it is in the expected state. See [Reference.Update].
func (r ArgsReference[A, R]) Update(ctx context.Context, c *Client, id uuid.UUID, expected Status, args A) error {
	return r.full.Update(ctx, c, id, expected, args, NoKwargs{})
}

// Update gives a task other kwargs, if it is in the expected state. See [Reference.Update].
func (r KwargsReference[K, R]) Update(ctx context.Context, c *Client, id uuid.UUID, expected Status, kwargs K) error {
	return r.full.Update(ctx, c, id, expected, NoArgs{}, kwargs)
}

// UpdateMany gives several tasks other args. See [Reference.UpdateMany].
func (r ArgsReference[A, R]) UpdateMany(ctx context.Context, c *Client, expected Status, tasks []Task[A, NoKwargs]) error {
	return r.full.UpdateMany(ctx, c, expected, tasks)
}

// UpdateMany gives several tasks other kwargs. See [Reference.UpdateMany].
func (r KwargsReference[K, R]) UpdateMany(ctx context.Context, c *Client, expected Status, tasks []Task[NoArgs, K]) error {
	return r.full.UpdateMany(ctx, c, expected, tasks)
}
