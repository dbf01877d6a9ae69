package omniq

import (
	"fmt"

	"github.com/omniq-go/omniq/codec"
	"github.com/omniq-go/omniq/internal/payload"
)

// Encode returns the task in its raw form with a payload of codec c, [codec.JSON] if c is nil. It shares nothing with
// t that anybody changes. On a [RawTask] whose payload is encoded already, c must be of the same name.
func (t *Task[A, K]) Encode(c codec.Codec) (RawTask, error) {
	if c == nil {
		c = codec.JSON
	}
	if t.Codec != "" {
		self, ok := any(t).(*RawTask)
		if !ok || t.Codec != wireName(c) {
			return RawTask{}, invalid("task %v says that its payload is of codec %q, and %q is asked for", t.ID, t.Codec, c.Name())
		}
		return *self, nil
	}
	raw := RawTask{
		ID: t.ID, FuncName: t.FuncName, CreatedAt: t.CreatedAt, TTL: t.TTL, Queue: t.Queue, Priority: t.Priority,
		RunAt: t.RunAt, MaxAttempts: t.MaxAttempts, Timeout: t.Timeout, ResultTTL: t.ResultTTL, Metadata: t.Metadata,
		UniqueKey: t.UniqueKey, UniqueFor: t.UniqueFor,
		Delay: t.Delay, FailureTTL: t.FailureTTL, IDFor: t.IDFor,
		Flow: t.Flow, After: t.After, Manual: t.Manual, Input: t.Input, Lane: t.Lane,
		OnHeld: t.OnHeld, ReplaceWithin: t.ReplaceWithin, KeepTask: t.KeepTask,
	}
	if err := encodePayload(&raw, c, &t.Args, &t.Kwargs); err != nil {
		return RawTask{}, err
	}
	return raw, nil
}

// encodePayload sets the payload of raw, and its codec.
func encodePayload[A, K any](raw *RawTask, c codec.Codec, a *A, k *K) error {
	shape := payload.ShapeOf[A, K]()
	args, err := shape.Args.Append(make([]byte, 0, 64), c, a)
	if err != nil {
		return payloadFault("args", err)
	}
	n := len(args)
	both, err := shape.Kwargs.Append(args, c, k)
	if err != nil {
		return payloadFault("kwargs", err)
	}
	if len(both) > codec.MaxSize {
		return invalid("the payload has %w", payload.SizeError(len(both)))
	}
	raw.Codec = wireName(c)
	if raw.Codec == "" {
		raw.Args, raw.Kwargs = both[:n:n], both[n:]
		return nil
	}
	raw.Args = append(raw.Args[:0:0], '[')
	raw.Args = append(payload.AppendBase64(raw.Args, both[:n]), ',')
	raw.Args = append(payload.AppendBase64(raw.Args, both[n:]), ']')
	raw.Kwargs = Raw("{}")
	return nil
}

// DecodeTask returns the task in its typed form. JSON payloads can always be read, those of other codecs if codecs has
// one of the name that raw.Codec says. The error says which argument is wrong. It keeps nothing of raw's payload.
func DecodeTask[A, K any](raw RawTask, codecs ...codec.Codec) (Task[A, K], error) {
	var args A
	var kwargs K
	err := decodePayload(&raw, codecs, &args, &kwargs)
	return withPayload(&raw, args, kwargs), err
}

// decodePayload decodes the payload of raw into zero values of its types.
func decodePayload[A, K any](raw *RawTask, codecs []codec.Codec, args *A, kwargs *K) error {
	c, err := codecFor(raw.Codec, codecs)
	if err != nil {
		return fmt.Errorf("omniq: task: %w", err)
	}
	a, k := []byte(raw.Args), []byte(raw.Kwargs)
	if len(a)+len(k) > codec.MaxSize {
		return fmt.Errorf("omniq: task: the payload has %w", payload.SizeError(len(a)+len(k)))
	}
	if len(a) == 0 {
		a = []byte("[]")
	}
	if len(k) == 0 {
		k = []byte("{}")
	}
	if raw.Codec != "" && raw.Codec != codec.NameJSON {
		if a, k, err = payload.OpenOpaque(a, k); err != nil {
			return fmt.Errorf("omniq: task: %w", err)
		}
	}
	shape := payload.ShapeOf[A, K]()
	if err := shape.Args.Decode(a, c, args); err != nil {
		return payloadFault("args", err)
	}
	return payloadFault("kwargs", shape.Kwargs.Decode(k, c, kwargs))
}

// Encode returns the result in its raw form with a payload of codec c, [codec.JSON] if c is nil. It shares nothing
// with r that anybody changes. On a [RawResult] whose payload is encoded already, c must be of the same name.
func (r *TaskResult[R]) Encode(c codec.Codec) (RawResult, error) {
	if c == nil {
		c = codec.JSON
	}
	raw := RawResult{TaskID: r.TaskID, Status: r.Status, Timestamp: r.Timestamp, TTL: r.TTL, Error: r.Error, Attempts: r.Attempts}
	if r.Codec != "" {
		self, ok := any(r).(*RawResult)
		if !ok || r.Codec != wireName(c) {
			return RawResult{}, invalid("result of task %v says that its payload is of codec %q, and %q is asked for", r.TaskID, r.Codec, c.Name())
		}
		return *self, nil
	}
	if !r.hasData() {
		return raw, nil
	}
	var err error
	raw.ResultData, raw.Codec, err = encodeResult(c, &r.ResultData)
	return raw, err
}

// encodeResult returns what stands in result_data for the value that data points to, and the name of its codec. What
// says nothing, a [Void] or an empty [Raw], is nil.
func encodeResult(c codec.Codec, data any) (Raw, string, error) {
	if isNothing(data) {
		return nil, "", nil
	}
	b, err := payload.AppendResult(make([]byte, 0, 32), c, data)
	if err != nil {
		return nil, "", payloadFault("result_data", err)
	}
	name := wireName(c)
	if name != "" {
		b = payload.AppendBase64(nil, b)
	}
	if n := len(b); n > codec.MaxSize-envelopeRoom {
		return nil, "", invalid("result_data has %d bytes, want at most %d: with what stands around it, it is to fit into %d",
			n, codec.MaxSize-envelopeRoom, codec.MaxSize)
	}
	return b, name, nil
}

func isNothing(data any) bool {
	switch d := data.(type) {
	case *Void:
		return true
	case *Raw:
		return len(*d) == 0
	}
	return false
}

// DecodeResult returns the result in its typed form, as [DecodeTask] does for tasks.
func DecodeResult[R any](raw RawResult, codecs ...codec.Codec) (TaskResult[R], error) {
	return resultOf[R](&raw, false, codecs)
}

// resultOf is [DecodeResult]. A JSON payload that is known to be valid is not checked again.
func resultOf[R any](raw *RawResult, valid bool, codecs []codec.Codec) (TaskResult[R], error) {
	r := TaskResult[R]{TaskID: raw.TaskID, Status: raw.Status, Timestamp: raw.Timestamp, TTL: raw.TTL, Error: raw.Error, Attempts: raw.Attempts}
	err := decodeResult(raw, valid, codecs, &r.ResultData)
	return r, err
}

// decodeResult decodes the payload of raw into a zero value of its type.
func decodeResult[R any](raw *RawResult, valid bool, codecs []codec.Codec, to *R) error {
	c, err := codecFor(raw.Codec, codecs)
	if err != nil {
		return fmt.Errorf("omniq: result: %w", err)
	}
	data := []byte(raw.ResultData)
	if len(data) > codec.MaxSize {
		return fmt.Errorf("omniq: result_data has %w", payload.SizeError(len(data)))
	}
	switch {
	case len(data) == 0:
		data = []byte("null")
	case raw.Codec != "" && raw.Codec != codec.NameJSON:
		valid = false
		if data, err = payload.DecodeBase64(data); err != nil {
			return &payloadError{"result_data", err}
		}
	}
	if _, ok := any(to).(*Void); ok {
		return nil
	}
	return payloadFault("result_data", payload.DecodeResult(data, valid, c, to, raw.Status == StatusSuccess))
}
