package omniq

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/google/uuid"
)

// Become makes the result of the task whose handler calls it that of another call, which is stored with all that it is made of
// when the handler has returned. The handler returns what Become returns:
//
//	return omniq.Become(ctx, Sum.On(omniq.All(parts...)))
//
// Until that call has ended, the task waits, without a worker's place, and has used no attempt. Then it ends as the call has
// ended: with its result, or with its error. Its TTL does not count any more. To requeue it runs its handler again.
//
// The calls are members of the task's flow, if it has one. ctx is the handler's or derived from it; in any other context, and
// with a promise that is not a call or cannot be encoded, the error is [ErrInvalid]. With an engine without flows, too.
func Become[R any](ctx context.Context, p Promise[R]) (R, error) {
	var none R
	h, err := executionFrom(ctx, "Become")
	if err == nil {
		err = h.attempt.outbox.check(p.node)
	}
	if err != nil {
		return none, err
	}
	return none, &waitError{ctx: ctx, become: p.node}
}

// Enqueue stores a call, with all that it is made of, if and only if the attempt succeeds whose handler calls it: in one step
// with its result. Before that nobody knows the calls: a Wait for one is [ErrNotFound]. They are members of the task's flow, if
// it has one. A call whose ID or unique key is taken by then is left out without an error; so is one with [Replace], [Debounce]
// or [Latest] that takes the place of a task, and the handle knows nothing of that one.
//
// ctx is the handler's or derived from it. In any other context, after the handler has returned, and for what is wrong with the
// promise, the error is [ErrInvalid], as for [Promise.Enqueue]. Of [UseEnqueue] only what the worker has sees the calls.
func Enqueue[R any](ctx context.Context, p Promise[R]) (*Handle[R], error) {
	h, err := executionFrom(ctx, "Enqueue")
	if err != nil {
		return nil, err
	}
	if err := h.attempt.outbox.enqueue(ctx, p.node); err != nil {
		return nil, err
	}
	return &Handle[R]{client: h.worker.client(), id: p.node.head.ID}, nil
}

// Cancel cancels tasks if and only if the attempt succeeds whose handler calls it: in one step with its result. What is final or
// unknown by then is left alone. ctx is as for [Enqueue].
func Cancel(ctx context.Context, ids ...uuid.UUID) error {
	h, err := executionFrom(ctx, "Cancel")
	if err != nil {
		return err
	}
	return h.attempt.outbox.cancel(ids)
}

// executionFrom is the attempt whose handler has the context, in a worker of an engine with flows.
func executionFrom(ctx context.Context, what string) (*execution, error) {
	h, ok := ctx.Value(executionKey{}).(*execution)
	if !ok {
		return nil, invalid("%s: the context is not that of a handler in a worker", what)
	}
	if caps := h.worker.backend.Capabilities(); !caps.Flows {
		return nil, invalid("%s: the engine %q has no flows", what, caps.Name)
	}
	h.worker.mu.Lock()
	defer h.worker.mu.Unlock()
	if h.attempt.outbox == nil {
		h.attempt.outbox = h.newOutbox()
	}
	if h.attempt.outbox == shut {
		return nil, errReturned
	}
	return h, nil
}

// client is one for the handles of tasks that handlers enqueue.
func (w *Worker) client() *Client {
	return &Client{backend: w.backend, codecs: w.codecs, origin: &origin{w.backend}}
}

func (h *execution) newOutbox() *outbox {
	o := &outbox{keep: h.worker.keep, all: newGraph(h.worker.codecs.writer(), &origin{h.worker.backend})}
	o.all.flow = h.attempt.lease.Task.Flow
	return o
}

// shut is the outbox of an attempt that has ended without one.
var shut = &outbox{closed: true}

// shut returns the attempt's outbox, to which its handler can add nothing any more.
func (w *Worker) shut(a *attempt) *outbox {
	w.mu.Lock()
	defer w.mu.Unlock()
	a.shut = true
	if a.outbox == nil {
		a.outbox = shut
	} else if a.outbox != shut {
		a.outbox.setClosed(true)
	}
	return a.outbox
}

// reopen is for a settlement that has not taken effect, while the handler runs.
func (w *Worker) reopen(a *attempt) {
	w.mu.Lock()
	defer w.mu.Unlock()
	a.shut = false
	a.jot.Load().reopen()
	if a.outbox == shut {
		a.outbox = nil
	} else {
		a.outbox.setClosed(false)
	}
}

// outbox is what an attempt does if it succeeds.
type outbox struct {
	keep   EnqueueFunc
	turn   sync.Mutex // is held while a call is added, and so while middleware runs: nobody must wait for it who holds another lock
	mu     sync.Mutex // guards the rest
	all    *graph
	ids    []uuid.UUID // to cancel
	closed bool        // it is part of a settlement
}

var errReturned = fmt.Errorf("%w: the attempt has ended already", ErrInvalid)

// enqueue adds a call. With an error nothing of it is added.
func (o *outbox) enqueue(ctx context.Context, n *node) error {
	o.turn.Lock()
	defer o.turn.Unlock()
	return o.add(ctx, n, false)
}

// add adds a call, if the outbox is not closed, or the call is the last one.
func (o *outbox) add(ctx context.Context, n *node, last bool) error {
	g, err := o.graph(n, last)
	if err != nil {
		return err
	}
	return o.keep(context.WithValue(ctx, keptKey{}, &kept{o, g, last}), g.tasks)
}

// graph is made of a call, beside those that there are.
func (o *outbox) graph(n *node, last bool) (*graph, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed && !last {
		return nil, errReturned
	}
	g := newGraph(o.all.writer, o.all.origin)
	g.flow, g.base = o.all.flow, o.all
	return g, g.add(n)
}

// kept is what is added to an outbox.
type kept struct {
	outbox *outbox
	graph  *graph
	last   bool
}

type keptKey struct{}

// keepTasks adds the tasks to the outbox that the context has.
func keepTasks(ctx context.Context, tasks []*RawTask) error {
	k, ok := ctx.Value(keptKey{}).(*kept)
	if !ok {
		return invalid("a middleware around enqueues has passed on a context that is not made of the one that it got")
	}
	o, g := k.outbox, k.graph
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed && !k.last { // meanwhile
		return errReturned
	}
	for _, t := range tasks {
		if err := checkAble(o.all.origin.backend, t); err != nil {
			return err
		}
	}
	if len(o.all.tasks)+len(tasks) > MaxDependencies {
		return invalid("the attempt enqueues more than %d calls", MaxDependencies)
	}
	g.tasks = tasks
	o.all.merge(g)
	return nil
}

// check reports what is wrong with a call.
func (o *outbox) check(n *node) error {
	_, err := o.graph(n, false)
	return err
}

func (o *outbox) cancel(ids []uuid.UUID) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return errReturned
	}
	o.ids = append(o.ids, ids...)
	return nil
}

func (o *outbox) setClosed(closed bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = closed
}

// effects are what a settlement does, nil for nothing.
func (o *outbox) effects() *Effects {
	if o == shut {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.all.tasks) == 0 && len(o.ids) == 0 {
		return nil
	}
	return &Effects{Enqueue: slices.Clone(o.all.tasks), Cancel: slices.Clone(o.ids)}
}

// waitError says that the task is to wait for calls, and to end with what they end with.
type waitError struct {
	ctx    context.Context // of become
	become *node           // a call
	each   []*RawTask      // or a call for each element
}

// Became reports whether err, which a handler has returned, is what [Become] has returned: the task waits for another call. It is
// for middleware, and for tests of handlers.
func Became(err error) bool {
	_, ok := errors.AsType[*waitError](err)
	return ok
}

func (e *waitError) Error() string {
	return "omniq: the task's result will be that of another call: its handler returns what Become has returned"
}

// pass is how an attempt ends whose task is to wait. An error is one of the middleware around enqueues, and the handler's.
func (w *Worker) pass(a *attempt, o *outbox, e *waitError) (Settlement, error) {
	if e.become == nil {
		after := make([]Dependency, len(e.each))
		for i, t := range e.each {
			after[i] = Dependency{ID: t.ID, Input: true}
		}
		return Settlement{Action: ActionWait, Effects: &Effects{Enqueue: e.each, After: after}}, nil
	}
	if o == shut {
		const message = "the handler returned what Become has returned in another attempt"
		return failure(a, a.lease.Attempt, &TaskError{Type: typeEncode, Message: message}), nil
	}
	switch err := o.add(e.ctx, e.become, true); {
	case errors.Is(err, ErrInvalid): // not after check, but for the middleware, and a promise that another client has stored meanwhile
		return failure(a, a.lease.Attempt, &TaskError{Type: typeEncode, Message: validText(err.Error())}), nil
	case err != nil:
		return Settlement{}, err
	}
	effects := o.effects()
	if effects == nil {
		effects = new(Effects)
	}
	effects.After = []Dependency{{ID: e.become.head.ID, Need: NeedFinal, Input: true}}
	return Settlement{Action: ActionWait, Effects: effects}, nil
}

// spread makes a task that stands for a call for each element wait for these calls.
func (w *Worker) spread(a *attempt) error {
	t := a.lease.Task
	calls, err := w.specs[t.FuncName].split(t, a.lease.Inputs, w.codecs)
	if err != nil {
		if _, ok := errors.AsType[*unknownCodecError](err); ok {
			return err
		}
		return &TaskError{Type: typeDecode, Message: validText(err.Error())}
	}
	return &waitError{each: calls}
}

// resume ends a task that has waited for calls.
func (w *Worker) resume(a *attempt, each bool) (RawResult, error) {
	inputs := a.lease.Inputs
	if each {
		r, err := w.specs[a.lease.Task.FuncName].gather(inputs, w.codecs)
		if err != nil {
			if _, ok := errors.AsType[*unknownCodecError](err); !ok {
				err = &TaskError{Type: typeDecode, Message: validText(err.Error())}
			}
		}
		return r, err
	}
	if len(inputs) != 1 || inputs[0] == nil {
		return RawResult{}, &TaskError{Type: typeInput, Message: fmt.Sprintf("%d results of the call that the task was to become, want 1", len(inputs))}
	}
	if r := inputs[0]; r.Status != StatusSuccess {
		return RawResult{}, &endedError{r}
	}
	return RawResult{ResultData: inputs[0].ResultData, Codec: inputs[0].Codec}, nil
}

// endedError says that the call that the task was to become has ended without success.
type endedError struct{ result *RawResult }

func (e *endedError) Error() string { return e.result.Err().Error() }
