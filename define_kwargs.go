package omniq

import (
	"context"

	"github.com/google/uuid"
)

// KwargsReference is a [Reference] to a task without positional args.
type KwargsReference[K, R any] struct{ full Reference[NoArgs, K, R] }

// ReferKwargs is [Refer] for a task without positional args.
func ReferKwargs[K, R any](name string, defaults ...TaskOption) KwargsReference[K, R] {
	return KwargsReference[K, R]{Refer[NoArgs, K, R](name, defaults...)}
}

// Name is the task's name on the wire.
func (r KwargsReference[K, R]) Name() string { return r.full.Name() }

// Task returns a task with these kwargs, to be enqueued by EnqueueMany. See [Reference.Task].
func (r KwargsReference[K, R]) Task(kwargs K, opts ...TaskOption) (Task[NoArgs, K], error) {
	return r.full.Task(NoArgs{}, kwargs, opts...)
}

// Enqueue stores a task with these kwargs, and returns its handle. See [Reference.Enqueue].
func (r KwargsReference[K, R]) Enqueue(ctx context.Context, c *Client, kwargs K, opts ...TaskOption) (*Handle[R], error) {
	return r.full.Enqueue(ctx, c, NoArgs{}, kwargs, opts...)
}

// EnqueueMany stores tasks that Task returned, all or none. See [Reference.EnqueueMany].
func (r KwargsReference[K, R]) EnqueueMany(ctx context.Context, c *Client, tasks []Task[NoArgs, K]) ([]*Handle[R], error) {
	return r.full.EnqueueMany(ctx, c, tasks)
}

// Attach returns the handle of a task that was enqueued before, here or elsewhere. See [Reference.Attach].
func (r KwargsReference[K, R]) Attach(c *Client, id uuid.UUID) *Handle[R] {
	return r.full.Attach(c, id)
}

// KwargsDefinition is a [Definition] of a task without positional args.
type KwargsDefinition[K, R any] struct {
	KwargsReference[K, R]
	handlerSpec
}

// DefineKwargs is [Define] for a function without positional args.
func DefineKwargs[K, R any, T string | KwargsReference[K, R]](target T, fn func(context.Context, K) (R, error), defaults ...TaskOption) KwargsDefinition[K, R] {
	ref := kwargsReferenceOf[K, R](target, defaults)
	var full func(context.Context, NoArgs, K) (R, error)
	if fn != nil {
		full = func(ctx context.Context, _ NoArgs, v K) (R, error) { return fn(ctx, v) }
	}
	return KwargsDefinition[K, R]{ref, newSpec(ref.Name(), full)}
}

// DefineKwargsVoid is [DefineKwargs] for a function without a result.
func DefineKwargsVoid[K any, T string | KwargsReference[K, Void]](target T, fn func(context.Context, K) error, defaults ...TaskOption) KwargsDefinition[K, Void] {
	var full func(context.Context, K) (Void, error)
	if fn != nil {
		full = func(ctx context.Context, v K) (Void, error) { return Void{}, fn(ctx, v) }
	}
	return DefineKwargs(target, full, defaults...)
}

func kwargsReferenceOf[K, R any](target any, defaults []TaskOption) KwargsReference[K, R] {
	ref, ok := target.(KwargsReference[K, R])
	if !ok {
		ref.full.name = target.(string)
	}
	ref.full = ref.full.with(defaults)
	return ref
}
