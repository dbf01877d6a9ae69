package omniq

// Link is a task that takes one value and gives another: an [ArgsReference], a [KwargsReference], their definitions, or a
// [Chain].
type Link[A, R any] interface {
	// With returns the promise of a call with these args.
	With(args A, opts ...TaskOption) Promise[R]
	// On returns the promise of a call whose args are the result of another one.
	On(args Promise[A], opts ...TaskOption) Promise[R]
}

// Chain is several tasks, each of which takes the result of the one before. It is called like one of them. It is an immutable
// value.
type Chain[A, R any] struct {
	with func(args A, opts []TaskOption) Promise[R]
	on   func(args Promise[A], opts []TaskOption) Promise[R]
}

// With returns the promise of the last task's result, of calls that begin with these args. The options are those of each call;
// an [ID], which only one can have, is [ErrInvalid].
func (c Chain[A, R]) With(args A, opts ...TaskOption) Promise[R] {
	if c.with == nil {
		return Promise[R]{&node{err: invalid("a chain that Chain2, Chain3 or Chain4 has not made")}}
	}
	return c.with(args, opts)
}

// On returns the promise of the last task's result, of calls that begin with the result of another one. The options are as for
// With.
func (c Chain[A, R]) On(args Promise[A], opts ...TaskOption) Promise[R] {
	if c.on == nil {
		return Promise[R]{&node{err: invalid("a chain that Chain2, Chain3 or Chain4 has not made")}}
	}
	return c.on(args, opts)
}

// Chain2 returns two tasks as one: the second takes the result of the first.
func Chain2[A, B, R any](first Link[A, B], second Link[B, R]) Chain[A, R] {
	return Chain[A, R]{
		with: func(args A, opts []TaskOption) Promise[R] { return second.On(first.With(args, opts...), opts...) },
		on: func(args Promise[A], opts []TaskOption) Promise[R] {
			return second.On(first.On(args, opts...), opts...)
		},
	}
}

// Chain3 is [Chain2] for three tasks.
func Chain3[A, B, C, R any](first Link[A, B], second Link[B, C], third Link[C, R]) Chain[A, R] {
	return Chain2[A, C, R](Chain2(first, second), third)
}

// Chain4 is [Chain2] for four tasks.
func Chain4[A, B, C, D, R any](first Link[A, B], second Link[B, C], third Link[C, D], fourth Link[D, R]) Chain[A, R] {
	return Chain2[A, D, R](Chain3(first, second, third), fourth)
}
