package omniq

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/google/uuid"
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
		return decodePayload(t, c, args, kwargs)
	}
	r, err := readRecipe(Raw(t.Input))
	if err != nil {
		return err
	}
	k := cook{inputsFrom(ctx), c, r.tick}
	if r.args != nil {
		if err := decodePayload(t, c, new(NoArgs), kwargs); err != nil {
			return err
		}
		return inputFault(t, "args", k.make(r.args, args))
	}
	if err := decodePayload(t, c, args, new(NoKwargs)); err != nil {
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
	r, err := readRecipe(Raw(t.Input))
	if err != nil {
		return nil, err
	}
	k := cook{inputs, c, r.tick}
	var args []A
	var kwargs []K
	if r.args != nil {
		kwargs = make([]K, 1)
		if err = decodePayload(t, c, new(NoArgs), &kwargs[0]); err == nil {
			err = inputFault(t, "args", k.make(r.args, &args))
		}
	} else {
		args = make([]A, 1)
		if err = decodePayload(t, c, &args[0], new(NoKwargs)); err == nil {
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
	ids := elementIDs(t, inputs)
	for i := range calls {
		one := *t
		one.After, one.Input, one.CreatedAt, one.RunAt, one.Delay = nil, "", now(), time.Time{}, 0
		one.ID = ids(i)
		if err = encodePayload(&one, c.writer(), &args[min(i, len(args)-1)], &kwargs[min(i, len(kwargs)-1)]); err != nil {
			return nil, fmt.Errorf("element %d of %d: %w", i+1, n, err)
		}
		calls[i] = &one
	}
	return calls, nil
}

// elementIDs are the IDs of the calls that a task stands for. They follow from what these are made of: a task that is requeued
// waits for the calls that are there, and does not bring those again that have succeeded.
func elementIDs(t *RawTask, inputs []*RawResult) func(i int) uuid.UUID {
	h := sha256.New()
	part := func(text []byte) {
		_, _ = h.Write(binary.AppendUvarint(nil, uint64(len(text))))
		_, _ = h.Write(text)
	}
	part(t.ID[:])
	for _, text := range [][]byte{t.Args, t.Kwargs, []byte(t.Codec), []byte(t.Input)} {
		part(text)
	}
	for _, r := range inputs {
		if r != nil {
			part(r.ResultData)
			part([]byte(r.Codec))
		}
	}
	seed := h.Sum(nil)
	return func(i int) uuid.UUID {
		id := t.ID // whose time they have, which engines sort by
		sum := sha256.Sum256(binary.AppendUvarint(slices.Clone(seed), uint64(i)))
		copy(id[6:], sum[:])
		id[6], id[8] = id[6]&0x0f|0x70, id[8]&0x3f|0x80 // version 7
		return id
	}
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
