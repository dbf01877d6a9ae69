package omniq

import (
	"context"

	"github.com/google/uuid"
)

// NoArgsReference is a [Reference] to a task without arguments of either kind.
type NoArgsReference[R any] struct {
	full Reference[NoArgs, NoKwargs, R]
}

// ReferNoArgs is [Refer] for a task without arguments of either kind.
func ReferNoArgs[R any](name string, defaults ...TaskOption) NoArgsReference[R] {
	return NoArgsReference[R]{Refer[NoArgs, NoKwargs, R](name, defaults...)}
}

// Name is the task's name on the wire.
func (r NoArgsReference[R]) Name() string { return r.full.Name() }

// Task returns a task with no arguments, to be enqueued by EnqueueMany. See [Reference.Task].
func (r NoArgsReference[R]) Task(opts ...TaskOption) (Task[NoArgs, NoKwargs], error) {
	return r.full.Task(NoArgs{}, NoKwargs{}, opts...)
}

// Enqueue stores a task with no arguments, and returns its handle. See [Reference.Enqueue].
func (r NoArgsReference[R]) Enqueue(ctx context.Context, c *Client, opts ...TaskOption) (*Handle[R], error) {
	return r.full.Enqueue(ctx, c, NoArgs{}, NoKwargs{}, opts...)
}

// EnqueueMany stores tasks that Task returned, all or none. See [Reference.EnqueueMany].
func (r NoArgsReference[R]) EnqueueMany(ctx context.Context, c *Client, tasks []Task[NoArgs, NoKwargs]) ([]*Handle[R], error) {
	return r.full.EnqueueMany(ctx, c, tasks)
}

// Attach returns the handle of a task that was enqueued before, here or elsewhere. See [Reference.Attach].
func (r NoArgsReference[R]) Attach(c *Client, id uuid.UUID) *Handle[R] { return r.full.Attach(c, id) }

// NoArgsDefinition is a [Definition] of a task without arguments of either kind.
type NoArgsDefinition[R any] struct {
	NoArgsReference[R]
	handlerSpec
}

// DefineNoArgs is [Define] for a function without arguments of either kind.
func DefineNoArgs[R any, T string | NoArgsReference[R]](target T, fn func(context.Context) (R, error), defaults ...TaskOption) NoArgsDefinition[R] {
	ref := noArgsReferenceOf[R](target, defaults)
	var full func(context.Context, NoArgs, NoKwargs) (R, error)
	if fn != nil {
		full = func(ctx context.Context, _ NoArgs, _ NoKwargs) (R, error) { return fn(ctx) }
	}
	return NoArgsDefinition[R]{ref, newSpec(ref.Name(), full)}
}

// DefineNoArgsVoid is [DefineNoArgs] for a function without a result.
func DefineNoArgsVoid[T string | NoArgsReference[Void]](target T, fn func(context.Context) error, defaults ...TaskOption) NoArgsDefinition[Void] {
	var full func(context.Context) (Void, error)
	if fn != nil {
		full = func(ctx context.Context) (Void, error) { return Void{}, fn(ctx) }
	}
	return DefineNoArgs(target, full, defaults...)
}

func noArgsReferenceOf[R any](target any, defaults []TaskOption) NoArgsReference[R] {
	ref, ok := target.(NoArgsReference[R])
	if !ok {
		ref.full.name = target.(string)
	}
	ref.full = ref.full.with(defaults)
	return ref
}
