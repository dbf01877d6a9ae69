package omniq

import (
	"fmt"
	"reflect"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq/codec"
	"github.com/omniq-go/omniq/internal/envelope"
	"github.com/omniq-go/omniq/internal/payload"
)

// AppendJSON appends the task's JSON form, with JSON payloads, to dst. On an error, about a value that the wire cannot
// hold, it returns dst.
func (t *Task[A, K]) AppendJSON(dst []byte) ([]byte, error) {
	w := envelope.Writer{Buf: dst}
	w.ID(`{"id":`, &t.ID)
	w.String(`,"func_name":`, t.FuncName)
	shape := payload.ShapeOf[A, K]()
	var err error
	w.Lit(`,"args":`)
	if w.Buf, err = shape.Args.Append(w.Buf, codec.JSON, &t.Args); err != nil {
		return dst, payloadFault("args", err)
	}
	w.Lit(`,"kwargs":`)
	if w.Buf, err = shape.Kwargs.Append(w.Buf, codec.JSON, &t.Kwargs); err != nil {
		return dst, payloadFault("kwargs", err)
	}
	w.Time(`,"created_at":`, t.CreatedAt)
	w.DurationOrNull(`,"ttl":`, t.TTL)
	if t.Queue != "" {
		w.String(`,"queue":`, t.Queue)
	}
	if t.Priority != 0 {
		w.Int(`,"priority":`, t.Priority)
	}
	if !t.RunAt.IsZero() {
		w.Time(`,"run_at":`, t.RunAt)
	}
	if t.MaxAttempts != 0 {
		w.Int(`,"max_attempts":`, t.MaxAttempts)
	}
	if t.Timeout != 0 {
		w.Duration(`,"timeout":`, t.Timeout)
	}
	if t.ResultTTL != nil {
		w.Duration(`,"result_ttl":`, *t.ResultTTL)
	}
	if len(t.Metadata) > 0 {
		w.Strings(`,"metadata":`, t.Metadata)
	}
	if t.UniqueKey != "" {
		w.String(`,"unique_key":`, t.UniqueKey)
	}
	if t.UniqueFor != 0 {
		w.Duration(`,"unique_for":`, t.UniqueFor)
	}
	if t.Codec != "" {
		writeCodec(&w, t.Codec, any(&t.Args))
	}
	if t.Delay != 0 {
		w.Duration(`,"delay":`, t.Delay)
	}
	if t.FailureTTL != nil {
		w.Duration(`,"failure_ttl":`, *t.FailureTTL)
	}
	if t.IDFor != 0 {
		w.Duration(`,"id_for":`, t.IDFor)
	}
	if t.Flow != uuid.Nil {
		w.ID(`,"flow":`, &t.Flow)
	}
	if len(t.After) > 0 {
		writeDependencies(&w, t.After)
	}
	if t.Manual {
		w.Bool(`,"manual":`, true)
	}
	if len(t.Input) > 0 {
		w.Lit(`,"input":`)
		w.Buf = append(w.Buf, t.Input...)
	}
	if t.Lane != "" {
		w.String(`,"lane":`, t.Lane)
	}
	if t.OnHeld != HeldRefuse {
		w.Enum(`,"on_held":`, uint8(t.OnHeld), onHeldNames[:])
	}
	if t.ReplaceWithin != 0 {
		w.Duration(`,"replace_within":`, t.ReplaceWithin)
	}
	if t.KeepTask {
		w.Bool(`,"keep_task":`, true)
	}
	return w.End(dst)
}

// writeCodec writes the codec key, which only a raw payload may have.
func writeCodec(w *envelope.Writer, name string, data any) {
	if _, raw := data.(*Raw); !raw {
		w.Fail(`,"codec":`, fmt.Errorf("%q is set beside a payload that is not raw: use Encode with the codec", name))
	}
	w.String(`,"codec":`, name)
}

// MarshalJSON returns the task's JSON form, with JSON payloads. For another codec see Encode.
func (t Task[A, K]) MarshalJSON() ([]byte, error) {
	return t.AppendJSON(make([]byte, 0, marshalSize))
}

// marshalSize is the capacity that MarshalJSON begins with: what the usual envelope has.
const marshalSize = 256

// AppendJSON appends the result's JSON form, with a JSON payload, to dst. On an error, about a value that the wire
// cannot hold, it returns dst.
func (r *TaskResult[R]) AppendJSON(dst []byte) ([]byte, error) {
	w := envelope.Writer{Buf: dst}
	w.ID(`{"task_id":`, &r.TaskID)
	w.Enum(`,"status":`, uint8(r.Status), statusNames[:])
	w.Lit(`,"result_data":`)
	if r.hasData() && !isNothing(&r.ResultData) {
		var err error
		if w.Buf, err = payload.AppendResult(w.Buf, codec.JSON, &r.ResultData); err != nil {
			return dst, payloadFault("result_data", err)
		}
	} else {
		w.Lit("null")
	}
	w.Time(`,"timestamp":`, r.Timestamp)
	w.DurationOrNull(`,"ttl":`, r.TTL)
	if r.Error != nil {
		writeError(&w, r.Error)
	}
	if r.Attempts != 0 {
		w.Int(`,"attempts":`, r.Attempts)
	}
	if r.Codec != "" {
		writeCodec(&w, r.Codec, any(&r.ResultData))
	}
	return w.End(dst)
}

// hasData reports whether ResultData is written.
func (r *TaskResult[R]) hasData() bool {
	return r.Status == StatusSuccess || !reflect.ValueOf(&r.ResultData).Elem().IsZero()
}

// MarshalJSON returns the result's JSON form, with a JSON payload. For another codec see Encode.
func (r TaskResult[R]) MarshalJSON() ([]byte, error) {
	return r.AppendJSON(make([]byte, 0, marshalSize))
}

// AppendJSON appends the event's JSON form to dst. On an error, about a value that the wire cannot hold, it returns dst.
func (e *TaskEvent) AppendJSON(dst []byte) ([]byte, error) {
	w := envelope.Writer{Buf: dst}
	w.ID(`{"task_id":`, &e.TaskID)
	w.Enum(`,"event_type":`, uint8(e.EventType), eventNames[:])
	w.Time(`,"timestamp":`, e.Timestamp)
	if e.WorkerID == nil {
		w.Lit(`,"worker_id":null`)
	} else {
		w.String(`,"worker_id":`, *e.WorkerID)
	}
	if e.Attempt != 0 {
		w.Int(`,"attempt":`, e.Attempt)
	}
	if e.Queue != "" {
		w.String(`,"queue":`, e.Queue)
	}
	if e.Error != nil {
		writeError(&w, e.Error)
	}
	if e.FuncName != "" {
		w.String(`,"func_name":`, e.FuncName)
	}
	return w.End(dst)
}

// MarshalJSON returns the event's JSON form.
func (e TaskEvent) MarshalJSON() ([]byte, error) {
	return e.AppendJSON(make([]byte, 0, marshalSize))
}

func writeError(w *envelope.Writer, e *TaskError) {
	w.String(`,"error":{"type":`, e.Type)
	w.String(`,"message":`, e.Message)
	if e.Stack != "" {
		w.String(`,"stack":`, e.Stack)
	}
	w.Bool(`,"retryable":`, e.Retryable)
	w.Lit("}")
}
