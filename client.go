package omniq

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq/codec"
)

// Client enqueues tasks and reads their results. It is safe for concurrent use, holds no resource of its own and needs
// no Close; the backend is closed by who opened it.
//
// Most programs go through the typed methods of a definition or a reference, and give them the client.
type Client struct {
	backend Backend
	codecs  codecs
	ttl     *time.Duration // of tasks without one
	keep    *time.Duration // the result TTL of tasks without one
	failed  *time.Duration // the failure TTL of tasks without one
	enqueue func(ctx context.Context, tasks []*RawTask) ([]error, error)

	middleware enqueueMiddleware
	store      EnqueueFunc // put inside of the middleware

	origin  *origin
	through bool // what it enqueues may come to nothing
}

// origin is what a client has in common with those that Tx and Through have made of it.
type origin struct{ backend Backend }

// same reports whether what one client has stored is there for the other.
func (o *origin) same(other *origin) bool {
	return o == other || reflect.TypeOf(o.backend).Comparable() && o.backend == other.backend
}

// ClientOption sets something of a client.
type ClientOption interface{ applyClient(*Client) error }

// NewClient returns a client of the backend. It fails with [ErrInvalid] if an option has an invalid value.
func NewClient(b Backend, opts ...ClientOption) (*Client, error) {
	if b == nil {
		return nil, invalid("a client without a backend")
	}
	c := &Client{backend: b, enqueue: enqueueBy(b), origin: &origin{b}}
	for _, o := range opts {
		if err := o.applyClient(c); err != nil {
			return nil, err
		}
	}
	if c.store = c.middleware.around(c.put); c.store == nil {
		return nil, errNilEnqueue
	}
	return c, nil
}

// check is the error of a method of a client that NewClient has not made.
func (c *Client) check() error {
	if c == nil || c.backend == nil {
		return invalid("the client is nil or empty: make one with NewClient")
	}
	return nil
}

// Defaults sets what holds for each task of the client that does not say it itself: a [TTL], a [ResultTTL], a
// [FailureTTL]. Other task options are [ErrInvalid] here: queue and priority belong to a definition, retries and timeouts
// to the worker.
func Defaults(opts ...TaskOption) ClientOption { return clientDefaults(opts) }

type clientDefaults []TaskOption

func (d clientDefaults) applyClient(client *Client) error {
	var c taskConfig
	if err := c.apply(d); err != nil {
		return err
	}
	client.ttl, client.keep, client.failed = c.ttl, c.resultTTL, c.failureTTL
	c.ttl, c.resultTTL, c.failureTTL = nil, nil, nil
	if !reflect.ValueOf(c).IsZero() {
		return invalid("Defaults has another option than TTL, ResultTTL and FailureTTL")
	}
	return nil
}

// CodecsOption is what [Codecs] returns: it fits clients and workers.
type CodecsOption interface {
	ClientOption
	WorkerOption
}

// codecs is what a client or a worker writes with, the first, and can read.
type codecs []codec.Codec

// Codecs sets the codec that payloads are written with, [codec.JSON] by default, and further ones that can be read.
// What is read goes by the name on the wire; JSON can always be read. To change the codec of a running system, first
// make every program read the new one, then let them write it.
func Codecs(write codec.Codec, read ...codec.Codec) CodecsOption {
	return append(codecs{write}, read...)
}

func (c codecs) check() error {
	for i, one := range c {
		if one == nil {
			return invalid("codec %d is nil", i)
		}
		if err := codec.CheckName(one.Name()); err != nil {
			return invalid("%v", err)
		}
		if slices.ContainsFunc(c[:i], func(other codec.Codec) bool { return other.Name() == one.Name() }) {
			return invalid("two codecs are named %q", one.Name())
		}
	}
	return nil
}

func (c codecs) applyClient(client *Client) error {
	client.codecs = c
	return c.check()
}

func (c codecs) applyWorker(w *Worker) error {
	w.codecs = c
	return c.check()
}

// writer is the codec to write with.
func (c codecs) writer() codec.Codec {
	if len(c) == 0 {
		return codec.JSON
	}
	return c[0]
}

// Enqueue stores tasks in their raw form, all or none. Payloads of JSON are checked and made compact.
//
// It fails with [ErrInvalid] for an invalid task, and nothing is stored. It fails with a [DuplicateError] if the ID or the
// unique key of one or more was taken: the others are stored then. So are those that are not in a [BulkError], on a [Route]. It blocks while the backend does. When ctx ends first,
// whether the tasks were stored is unknown. To enqueue the same tasks again is safe because of their IDs.
//
// That a task has taken the place of another one, because its OnHeld says so, is no error. In a slice that was given as
// tasks... it has that one's ID then: the one under which it is stored.
//
// When the backend's answer is lost ([ErrUncertain]), each method of the client that enqueues does so again: five times in
// about two seconds at the most, and not after ctx has ended. A task that turns out to have been stored by then is no
// duplicate. With Tx and Through nothing is repeated.
func (c *Client) Enqueue(ctx context.Context, tasks ...RawTask) error {
	if err := c.check(); err != nil {
		return err
	}
	checked := make([]*RawTask, len(tasks))
	for i := range tasks {
		if err := tasks[i].validateHead(); err != nil {
			return err
		}
		raw, err := checkedPayload(tasks[i])
		if err != nil {
			return fmt.Errorf("%w: task %v: %w", ErrInvalid, tasks[i].ID, err)
		}
		checked[i] = &raw
	}
	err := c.store(ctx, checked)
	for i := range tasks {
		if tasks[i].OnHeld != HeldRefuse {
			tasks[i].ID = checked[i].ID
		}
	}
	return err
}

// checkedPayload returns t with a payload that is known to be right, as far as that shows without its types.
func checkedPayload(t RawTask) (RawTask, error) {
	if t.Codec == codec.NameJSON {
		t.Codec = ""
	}
	if t.Codec == "" {
		return t.Encode(codec.JSON)
	}
	return t, checkPayload(&t)
}

// put enqueues tasks that are known to be valid. One that takes the place of another gets its ID.
func (c *Client) put(ctx context.Context, tasks []*RawTask) error {
	if len(tasks) == 0 {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("omniq: enqueue: %w", err)
	}
	for _, t := range tasks {
		if err := c.complete(t); err != nil {
			return err
		}
	}
	errs, err := c.enqueue(ctx, tasks)
	if err != nil {
		return fmt.Errorf("omniq: enqueue: %w", err)
	}
	var duplicates []Duplicate
	var refused []RefusedTask
	for i, err := range errs {
		if err == nil {
			continue
		}
		d, ok := errors.AsType[Duplicate](err)
		if ok && d.Replaced {
			tasks[i].ID = d.Holder
			continue
		}
		refused = append(refused, RefusedTask{tasks[i].ID, err})
		if ok {
			duplicates = append(duplicates, d)
		}
	}
	if len(refused) > len(duplicates) {
		return bulkError("enqueue", refused)
	}
	if duplicates != nil {
		return &DuplicateError{Duplicates: duplicates}
	}
	return nil
}

// complete gives a task the client's defaults.
func (c *Client) complete(t *RawTask) error {
	if t.ResultTTL == nil {
		t.ResultTTL = c.keep
	}
	if t.FailureTTL == nil {
		t.FailureTTL = c.failed
	}
	if t.TTL == nil && c.ttl != nil {
		t.TTL = c.ttl
		if err := t.checkStart(); err != nil {
			return err
		}
	}
	if err := checkAble(c.backend, t); err != nil {
		return err
	}
	return checkTaskSize(t)
}

// Through returns a client that enqueues by e instead of the backend, and is otherwise the same. It is for an Enqueuer of
// your own that passes tasks on elsewhere; for database transactions there is [Client.Tx]. Each enqueue calls e at once, in
// the caller's goroutine. The client may be used where e may.
func (c *Client) Through(e Enqueuer) *Client {
	if c.check() != nil {
		return c // whose methods say so
	}
	through := *c
	through.through = true
	through.enqueue = func(ctx context.Context, tasks []*RawTask) ([]error, error) {
		if e == nil {
			return nil, invalid("the client is one Through nil, want what an engine makes of a transaction")
		}
		return e.Enqueue(ctx, tasks)
	}
	if through.store = through.middleware.around(through.put); through.store == nil {
		through.store = func(context.Context, []*RawTask) error { return errNilEnqueue }
	}
	return &through
}

// Result returns a task's result as it is now; see [ResultStore]. For a typed one use a [Handle].
func (c *Client) Result(ctx context.Context, id uuid.UUID) (RawResult, error) {
	if err := c.check(); err != nil {
		return RawResult{}, err
	}
	r, err := c.backend.Result(ctx, id)
	if err != nil {
		return RawResult{}, fmt.Errorf("omniq: result of task %v: %w", id, err)
	}
	return *r, nil
}

// Wait returns a task's result once the task is final, whether it succeeded or not, and blocks until then or until ctx
// ends. [ErrNotFound] says at once that there is no such task. For a typed result use a [Handle].
//
// A handler that waits for another task can wait for ever: see [Handle.Wait].
func (c *Client) Wait(ctx context.Context, id uuid.UUID) (RawResult, error) {
	if err := c.check(); err != nil {
		return RawResult{}, err
	}
	r, err := c.backend.Await(ctx, id)
	if err != nil {
		return RawResult{}, fmt.Errorf("omniq: wait for task %v: %w", id, err)
	}
	return *r, nil
}
