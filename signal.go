package omniq

import (
	"context"
	"fmt"
	"reflect"
	"time"

	"github.com/google/uuid"
)

// Signal is a result that comes from outside of the workers: an approval, a payment, the end of work elsewhere. Nobody runs it.
// Somebody sends it, from whatever process:
//
//	var Approve = omniq.DefineSignal[Decision]("orders.approve")
//
//	approved := Approve.Promise(omniq.ID(order.ApprovalID), omniq.TTL(72*time.Hour)) // Promise[Decision]
//	h, err := Ship.On(omniq.Join2(packed, approved)).Enqueue(ctx, client)
//
//	err := Approve.Send(ctx, client, order.ApprovalID, Decision{By: "ada"}) // in a web handler, days later
//
// What waits for a signal waits in the engine, and keeps no place of a worker. A signal is an immutable value, usable from many
// goroutines.
type Signal[R any] struct {
	ref Reference[NoArgs, NoKwargs, R]
}

// DefineSignal returns the signal of this name, which has results of type R; [Void] for one that only happens. The programs that
// wait for it and those that send it define it alike. The options are the defaults of its promises. It panics as [Refer] does.
func DefineSignal[R any](name string, defaults ...SignalOption) Signal[R] {
	return Signal[R]{Refer[NoArgs, NoKwargs, R](name, taskOptions(defaults)...)}
}

func taskOptions(opts []SignalOption) []TaskOption {
	all := make([]TaskOption, len(opts))
	for i, o := range opts {
		all[i] = o
	}
	return all
}

// Name is the signal's name on the wire, where it is the name of a task.
func (s Signal[R]) Name() string { return s.ref.name }

func (s Signal[R]) check() error {
	if s.ref.name == "" {
		return invalid("a signal that DefineSignal has not made")
	}
	return nil
}

// Promise returns the promise of one sending of the signal, for what is to follow it. Like each promise it is stored by Enqueue:
// with the graph that it is part of or, where it is enqueued itself, alone. From then on it can be sent, before or after somebody
// waits for it.
//
// Its [Promise.ID] is what Send needs. It is a new one, to be kept where the sender finds it, or that of the option [ID]. With
// [TTL] it expires when it has not been sent by then, and what needs it ends; without, it is waited for until it is cancelled.
func (s Signal[R]) Promise(opts ...SignalOption) Promise[R] {
	if err := s.check(); err != nil {
		return Promise[R]{&node{err: err}}
	}
	n := s.ref.call(taskOptions(opts))
	if n.err == nil {
		n.head.Manual, n.encode = true, nothing
	}
	return Promise[R]{n}
}

// Attach returns the handle of a signal that was enqueued, here or elsewhere. See [Reference.Attach].
func (s Signal[R]) Attach(c *Client, id uuid.UUID) *Handle[R] { return s.ref.Attach(c, id) }

// Send ends the signal with this ID with success: those who wait for it get the value, as the result of a handler. It is written
// with the client's codec. When Send has returned without an error, the value is stored.
//
// Of several who send the same signal one gets no error:
//
//   - [ErrState] says that it has ended already: it was sent, also with the same value, was cancelled or has expired.
//   - [ErrNotFound] says that it was not enqueued, or that nothing is kept of it any more.
//   - [ErrInvalid] says that the ID is that of another task, or that the value cannot be encoded.
//   - [ErrUncertain] says that the answer was lost. To send it again is safe: [ErrState] says then that this or another one has
//     arrived, and Attach which value it was.
//   - Any other error is the backend's.
//
// Send is no part of a transaction, also with a client of [Client.Tx], and not of the success of a handler that calls it: it is
// done at once.
func (s Signal[R]) Send(ctx context.Context, c *Client, id uuid.UUID, value R) error {
	return s.resolve(ctx, c, id, "send", func(t *RawTask, attempts int) (*RawResult, error) {
		r := finalResult(t, StatusSuccess, time.Now(), attempts)
		var err error
		if r.ResultData, r.Codec, err = encodeResult(c.codecs.writer(), &value); err != nil {
			return nil, fmt.Errorf("the value of type %v: %w", reflect.TypeFor[R](), err)
		}
		return r, nil
	})
}

// Fail ends the signal with this ID with failure: what needs it never starts, and those who wait for it get a [TaskError] of err,
// which must not be nil. Otherwise it is as Send.
func (s Signal[R]) Fail(ctx context.Context, c *Client, id uuid.UUID, err error) error {
	return s.resolve(ctx, c, id, "fail", func(t *RawTask, attempts int) (*RawResult, error) {
		if err == nil {
			return nil, invalid("a failure without an error")
		}
		r := finalResult(t, StatusFailure, time.Now(), attempts)
		r.Error = NewTaskError(err)
		return r, nil
	})
}

func (s Signal[R]) resolve(ctx context.Context, c *Client, id uuid.UUID, op string, result func(*RawTask, int) (*RawResult, error)) error {
	if err := c.check(); err != nil {
		return err
	}
	if err := s.check(); err != nil {
		return err
	}
	err := func() error {
		info, err := c.backend.Inspect(ctx, id)
		switch {
		case err != nil:
			return err
		case info.FuncName != s.ref.name:
			return invalid("it is a task named %q, want one named %q", info.FuncName, s.ref.name)
		case info.Task != nil && !info.Task.Manual:
			return invalid("it is a task that workers run, want one that a promise of the signal has made")
		case info.Status.Final():
			return fmt.Errorf("%w: it has ended already, and is %v", ErrState, info.Status)
		}
		r, err := result(info.Task, info.Attempts)
		if err != nil {
			return err
		}
		return only(c.backend.Resolve(ctx, []*RawResult{r}))
	}()
	if err != nil {
		return fmt.Errorf("omniq: %s signal %q, task %v: %w", op, s.ref.name, id, err)
	}
	return nil
}
