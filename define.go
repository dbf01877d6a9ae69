package omniq

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq/internal/payload"
)

// Reference is a task by its name and its types, without its function: what programs need that enqueue it. It is an
// immutable value, made by [Refer] and usable from many goroutines. [Define] binds a function to it.
//
// For tasks without kwargs, without args or without either there are [ArgsReference], [KwargsReference] and
// [NoArgsReference].
type Reference[A, K, R any] struct {
	name     string
	defaults taskConfig
}

// Refer returns a reference to the task of this name. The options are the defaults of its tasks. The types must be
// those that the task is defined with; R is [Void] for one without a result.
//
// What is written must be readable. A, K and R may not have parts whose values JSON cannot hold, like channels, or can
// hold but not give back: an interface with methods (error is one), a type with MarshalJSON or MarshalText but without
// the method that reads, a struct whose fields are all unexported. That is so whatever codecs the client and the worker
// have. What only a codec of your own can hold belongs in a field of type any, or in a type with both methods.
//
// It panics if the name, a type or the value of an option is invalid: references are made once, at the start of a program,
// and the mistake is in its text. The message says the same as the error of [NewTask].
func Refer[A, K, R any](name string, defaults ...TaskOption) Reference[A, K, R] {
	return Reference[A, K, R]{name: name}.with(defaults)
}

// with returns r with further defaults, and panics if something is wrong with it.
func (r Reference[A, K, R]) with(defaults []TaskOption) Reference[A, K, R] {
	err := errors.Join(checkName(r.name), payloadFault("", payload.ShapeOf[A, K]().Err()),
		payloadFault("", payload.CheckResult(reflect.TypeFor[R]())), r.defaults.apply(defaults))
	if err == nil && r.defaults.id != uuid.Nil {
		err = invalid("ID is of one task, and no default")
	}
	if err != nil {
		panic(fmt.Sprintf("omniq: task %q: %v", r.name, err))
	}
	return r
}

// Name is the task's name on the wire.
func (r Reference[A, K, R]) Name() string { return r.name }

// Task returns a task with these arguments, to be enqueued by EnqueueMany. It fails as [NewTask] does.
func (r Reference[A, K, R]) Task(args A, kwargs K, opts ...TaskOption) (Task[A, K], error) {
	raw, err := r.newRaw(opts)
	if err != nil {
		return Task[A, K]{}, err
	}
	return withPayload(raw, args, kwargs), nil
}

// newRaw returns a task without its payload.
func (r *Reference[A, K, R]) newRaw(opts []TaskOption) (*RawTask, error) {
	if r.name == "" {
		return nil, invalid("a reference that Refer has not made")
	}
	c := &r.defaults
	if len(opts) > 0 {
		own := r.defaults
		if err := own.apply(opts); err != nil {
			return nil, err
		}
		c = &own
	}
	return newRawTask(r.name, c)
}

// Enqueue stores a task with these arguments. The options override the defaults. When it has returned without an error,
// the task will be run.
//
// If the ID or the unique key was taken, the error is a [DuplicateError] and the handle is that of the task that had it
// first. If the task has taken the place of another, see [Replace], there is no error, and the handle is that of the other one,
// which is this one now. With any other error there is no handle:
//
//   - [ErrInvalid] says which option has an invalid value, or which argument the codec cannot encode;
//   - any other error is the backend's, or that of an [EnqueueMiddleware].
//
// It blocks while the backend does. When ctx ends first, whether the task was stored is unknown.
func (r Reference[A, K, R]) Enqueue(ctx context.Context, c *Client, args A, kwargs K, opts ...TaskOption) (*Handle[R], error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	raw, err := r.newRaw(opts)
	if err != nil {
		return nil, err
	}
	if err := encodePayload(raw, c.codecs.writer(), &args, &kwargs); err != nil {
		return nil, err
	}
	err = c.store(ctx, []*RawTask{raw})
	if taken, ok := errors.AsType[*DuplicateError](err); ok {
		return r.Attach(c, taken.Duplicates[0].Holder), err
	}
	if err != nil {
		return nil, err
	}
	return r.Attach(c, raw.ID), nil
}

// EnqueueMany stores tasks that Task returned, all or none, in one call of the backend. The handles are in the order of
// the tasks. If IDs or unique keys were taken, the error is a [DuplicateError] with just those. The other tasks are stored
// then, and all handles are there: those of duplicates are for the tasks that were first. Any other error is as for Enqueue, and
// so is what becomes of tasks that take the places of others, also of others before them in the call.
func (r Reference[A, K, R]) EnqueueMany(ctx context.Context, c *Client, tasks []Task[A, K]) ([]*Handle[R], error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	raw := make([]*RawTask, len(tasks))
	handles := make([]*Handle[R], len(tasks))
	for i := range tasks {
		t := &tasks[i]
		err := t.Validate()
		if err == nil && t.FuncName != r.name {
			err = invalid("task %v is of %q, and this is %q", t.ID, t.FuncName, r.name)
		}
		if err == nil {
			raw[i] = new(RawTask)
			*raw[i], err = t.Encode(c.codecs.writer())
		}
		if err != nil {
			return nil, fmt.Errorf("omniq: task %d of %d: %w", i+1, len(tasks), err)
		}
		handles[i] = r.Attach(c, t.ID)
	}
	err := c.store(ctx, raw)
	for i, h := range handles {
		h.id = raw[i].ID
	}
	if taken, ok := errors.AsType[*DuplicateError](err); ok {
		holders := make(map[uuid.UUID]uuid.UUID, len(taken.Duplicates))
		for _, d := range taken.Duplicates {
			holders[d.ID] = d.Holder
		}
		for _, h := range handles {
			if holder, ok := holders[h.id]; ok {
				h.id = holder
			}
		}
		return handles, err
	}
	if err != nil {
		return nil, err
	}
	return handles, nil
}

// Attach returns the handle of a task that was enqueued before, here or elsewhere. It asks nobody whether it exists.
func (r Reference[A, K, R]) Attach(c *Client, id uuid.UUID) *Handle[R] {
	return &Handle[R]{client: c, id: id}
}

// Definition is a task with its function. It has the methods of its [Reference], and workers take it by [Handlers].
type Definition[A, K, R any] struct {
	Reference[A, K, R]
	handlerSpec
}

// Handler is a definition of any kind and any types, as [Handlers] takes it.
type Handler interface{ spec() handlerSpec }

// handlerSpec is a definition without its types.
type handlerSpec struct {
	name   string
	batch  bool
	result reflect.Type
	run    func(ctx context.Context, t *RawTask, c codecs) (RawResult, error)
	split  func(t *RawTask, inputs []*RawResult, c codecs) ([]*RawTask, error)
	gather func(results []*RawResult, c codecs) (RawResult, error)
}

func (s handlerSpec) spec() handlerSpec { return s }

// Define makes a task of fn: under a new name, or as what a reference refers to, whose types fn must have then. The
// options are the defaults of its tasks; those of a reference stay unless overridden. A name, not the function's, is
// what stands on the wire: it stays the same when the function is moved or renamed.
//
// fn is called from many goroutines at once. Its context has the task's [Info] and ends with the task's timeout, the
// loss of its lease or the worker's shutdown. What it returns besides nil is a failed attempt: see [Worker].
//
// It panics as [Refer] does, and if fn is nil.
//
// [DefineVoid] is the same for a function without a result. [DefineArgs], [DefineKwargs] and [DefineNoArgs], with their
// own Void forms, are for functions without kwargs, without args and without either.
func Define[A, K, R any, T string | Reference[A, K, R]](target T, fn func(context.Context, A, K) (R, error), defaults ...TaskOption) Definition[A, K, R] {
	ref := referenceOf[A, K, R](target).with(defaults)
	return Definition[A, K, R]{ref, newSpec(ref.name, fn)}
}

// DefineVoid is [Define] for a function without a result.
func DefineVoid[A, K any, T string | Reference[A, K, Void]](target T, fn func(context.Context, A, K) error, defaults ...TaskOption) Definition[A, K, Void] {
	ref := referenceOf[A, K, Void](target).with(defaults)
	var full func(context.Context, A, K) (Void, error)
	if fn != nil {
		full = func(ctx context.Context, args A, kwargs K) (Void, error) { return Void{}, fn(ctx, args, kwargs) }
	}
	return Definition[A, K, Void]{ref, newSpec(ref.name, full)}
}

// referenceOf is the reference that target is, or one of the name that it is.
func referenceOf[A, K, R any](target any) Reference[A, K, R] {
	if ref, ok := target.(Reference[A, K, R]); ok {
		return ref
	}
	return Reference[A, K, R]{name: target.(string)}
}

// newSpec takes the types off fn: it decodes arguments before it and encodes the result after it.
func newSpec[A, K, R any](name string, fn func(context.Context, A, K) (R, error)) handlerSpec {
	if fn == nil {
		panic(fmt.Sprintf("omniq: task %q: its function is nil", name))
	}
	run := func(ctx context.Context, t *RawTask, c codecs) (RawResult, error) {
		var args A
		var kwargs K
		if err := decodeCall(ctx, t, c, &args, &kwargs); err != nil {
			if _, ok := errors.AsType[*unknownCodecError](err); ok {
				return RawResult{}, err // as of a worker that lacks the handler: another may have it
			}
			return RawResult{}, &TaskError{Type: typeDecode, Message: validText(err.Error())}
		}
		data, err := fn(ctx, args, kwargs)
		if err != nil {
			return RawResult{}, err
		}
		var r RawResult
		if r.ResultData, r.Codec, err = encodeResult(c.writer(), &data); err != nil {
			message := fmt.Sprintf("result of type %v: %v", reflect.TypeFor[R](), err)
			return RawResult{}, Permanent(&TaskError{Type: typeEncode, Message: validText(message)})
		}
		return r, nil
	}
	return handlerSpec{name: name, result: reflect.TypeFor[R](), run: run, split: split[A, K], gather: gather[R]}
}
