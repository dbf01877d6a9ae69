package omniq

import (
	"context"

	"github.com/google/uuid"
)

// ArgsReference is a [Reference] to a task without kwargs.
type ArgsReference[A, R any] struct{ full Reference[A, NoKwargs, R] }

// ReferArgs is [Refer] for a task without kwargs.
func ReferArgs[A, R any](name string, defaults ...TaskOption) ArgsReference[A, R] {
	return ArgsReference[A, R]{Refer[A, NoKwargs, R](name, defaults...)}
}

// Name is the task's name on the wire.
func (r ArgsReference[A, R]) Name() string { return r.full.Name() }

// Task returns a task with these args, to be enqueued by EnqueueMany. See [Reference.Task].
func (r ArgsReference[A, R]) Task(args A, opts ...TaskOption) (Task[A, NoKwargs], error) {
	return r.full.Task(args, NoKwargs{}, opts...)
}

// Enqueue stores a task with these args, and returns its handle. See [Reference.Enqueue].
func (r ArgsReference[A, R]) Enqueue(ctx context.Context, c *Client, args A, opts ...TaskOption) (*Handle[R], error) {
	return r.full.Enqueue(ctx, c, args, NoKwargs{}, opts...)
}

// EnqueueMany stores tasks that Task returned, all or none. See [Reference.EnqueueMany].
func (r ArgsReference[A, R]) EnqueueMany(ctx context.Context, c *Client, tasks []Task[A, NoKwargs]) ([]*Handle[R], error) {
	return r.full.EnqueueMany(ctx, c, tasks)
}

// Attach returns the handle of a task that was enqueued before, here or elsewhere. See [Reference.Attach].
func (r ArgsReference[A, R]) Attach(c *Client, id uuid.UUID) *Handle[R] { return r.full.Attach(c, id) }

// ArgsDefinition is a [Definition] of a task without kwargs.
type ArgsDefinition[A, R any] struct {
	ArgsReference[A, R]
	handlerSpec
}

// DefineArgs is [Define] for a function without kwargs.
func DefineArgs[A, R any, T string | ArgsReference[A, R]](target T, fn func(context.Context, A) (R, error), defaults ...TaskOption) ArgsDefinition[A, R] {
	ref := argsReferenceOf[A, R](target, defaults)
	var full func(context.Context, A, NoKwargs) (R, error)
	if fn != nil {
		full = func(ctx context.Context, v A, _ NoKwargs) (R, error) { return fn(ctx, v) }
	}
	return ArgsDefinition[A, R]{ref, newSpec(ref.Name(), full)}
}

// DefineArgsVoid is [DefineArgs] for a function without a result.
func DefineArgsVoid[A any, T string | ArgsReference[A, Void]](target T, fn func(context.Context, A) error, defaults ...TaskOption) ArgsDefinition[A, Void] {
	var full func(context.Context, A) (Void, error)
	if fn != nil {
		full = func(ctx context.Context, v A) (Void, error) { return Void{}, fn(ctx, v) }
	}
	return DefineArgs(target, full, defaults...)
}

func argsReferenceOf[A, R any](target any, defaults []TaskOption) ArgsReference[A, R] {
	ref, ok := target.(ArgsReference[A, R])
	if !ok {
		ref.full.name = target.(string)
	}
	ref.full = ref.full.with(defaults)
	return ref
}
