package omniq

import (
	"context"
	"fmt"
	"reflect"
	"time"
)

// inputsFrom are the results of what the task of a handler has waited for.
func inputsFrom(ctx context.Context) []*RawResult {
	if h, ok := ctx.Value(executionKey{}).(*execution); ok {
		return h.attempt.lease.Inputs
	}
	return nil
}

// decodeCall decodes the arguments of a task, or makes them of its inputs.
func decodeCall[A, K any](ctx context.Context, t *RawTask, c codecs, args *A, kwargs *K) error {
	if len(t.Input) == 0 {
		return decodePayload(t, false, c, args, kwargs)
	}
	r, err := readRecipe(t.Input)
	if err != nil {
		return err
	}
	k := cook{inputsFrom(ctx), c}
	if r.args != nil {
		if err := decodePayload(t, false, c, new(NoArgs), kwargs); err != nil {
			return err
		}
		return inputFault(t, "args", k.make(r.args, args))
	}
	if err := decodePayload(t, false, c, args, new(NoKwargs)); err != nil {
		return err
	}
	return inputFault(t, "kwargs", k.make(r.kwargs, kwargs))
}

// inputFault says which task it is whose part cannot be made: the error says which result it cannot be made of.
func inputFault(t *RawTask, part string, err error) error {
	if err == nil {
		return nil
	}
	return payloadFault(fmt.Sprintf("%s of task %v, %q", part, t.ID, t.FuncName), err)
}

// split makes of a task that stands for a call for each element of a result these calls.
func split[A, K any](t *RawTask, inputs []*RawResult, c codecs) ([]*RawTask, error) {
	r, err := readRecipe(t.Input)
	if err != nil {
		return nil, err
	}
	k := cook{inputs, c}
	var args []A
	var kwargs []K
	if r.args != nil {
		kwargs = make([]K, 1)
		if err = decodePayload(t, false, c, new(NoArgs), &kwargs[0]); err == nil {
			err = inputFault(t, "args", k.make(r.args, &args))
		}
	} else {
		args = make([]A, 1)
		if err = decodePayload(t, false, c, &args[0], new(NoKwargs)); err == nil {
			err = inputFault(t, "kwargs", k.make(r.kwargs, &kwargs))
		}
	}
	if err != nil {
		return nil, err
	}
	n := len(args)
	if r.args == nil {
		n = len(kwargs)
	}
	if n > MaxDependencies {
		return nil, invalid("a call for each of %d elements, want at most %d", n, MaxDependencies)
	}
	calls := make([]*RawTask, n)
	for i := range calls {
		one := *t
		one.After, one.Input, one.CreatedAt, one.RunAt, one.Delay = nil, nil, now(), time.Time{}, 0
		if one.ID, err = newID(); err == nil {
			err = encodePayload(&one, c.writer(), &args[min(i, len(args)-1)], &kwargs[min(i, len(kwargs)-1)])
		}
		if err != nil {
			return nil, fmt.Errorf("element %d of %d: %w", i+1, n, err)
		}
		calls[i] = &one
	}
	return calls, nil
}

// gather makes one result of those of several calls.
func gather[R any](inputs []*RawResult, c codecs) (r RawResult, err error) {
	all := make([]R, len(inputs))
	for i, input := range inputs {
		if err := decodeResultInto(input, c, &all[i]); err != nil {
			return r, fmt.Errorf("the result of task %v as %v: %w", input.TaskID, reflect.TypeFor[R](), err)
		}
	}
	r.ResultData, r.Codec, err = encodeResult(c.writer(), &all)
	return r, err
}
