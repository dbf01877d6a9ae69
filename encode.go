package omniq

import (
	"encoding/binary"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq/codec"
	"github.com/omniq-go/omniq/internal/iso8601"
	"github.com/omniq-go/omniq/internal/jsontext"
)

// The envelopes are written and read by hand: their small fields have forms that a struct coder reaches only through
// method calls, and those cost more than all the rest.

// writer appends an envelope. It keeps the first error.
type writer struct {
	buf []byte
	err error
}

func (w *writer) lit(s string) { w.buf = append(w.buf, s...) }

func (w *writer) fail(key string, err error) {
	if w.err == nil {
		w.err = fmt.Errorf("omniq: %s: %w", key, err)
	}
}

// id appends key, which begins the envelope, and the ID.
func (w *writer) id(key string, id *uuid.UUID) {
	const form = `"00000000-0000-0000-0000-000000000000"`
	w.lit(key)
	w.lit(form)
	text := (*[len(form)]byte)(w.buf[len(w.buf)-len(form):])
	a, b := hexDigits([4]byte(id[0:])), hexDigits([4]byte(id[4:]))
	c, d := hexDigits([4]byte(id[8:])), hexDigits([4]byte(id[12:]))
	copy(text[1:9], a[:])
	copy(text[10:14], b[:4])
	copy(text[15:19], b[4:])
	copy(text[20:24], c[:4])
	copy(text[25:29], c[4:])
	copy(text[29:37], d[:])
}

// hexDigits returns the lower-case hexadecimal digits of b, all computed at once: each half of a byte is moved into a
// byte of its own, and those above 9 are lifted to the letters.
func hexDigits(b [4]byte) (digits [8]byte) {
	const each = 0x0101010101010101
	w := uint64(binary.BigEndian.Uint32(b[:]))
	w = (w | w<<16) & 0x0000ffff0000ffff
	w = (w | w<<8) & 0x00ff00ff00ff00ff
	w = (w | w<<4) & 0x0f0f0f0f0f0f0f0f
	letters := (w + 6*each) >> 4 & each
	w += '0'*each + letters*('a'-'9'-1)
	binary.BigEndian.PutUint64(digits[:], w)
	return digits
}

func (w *writer) string(key, s string) {
	var err error
	if w.buf, err = jsontext.AppendString(w.buf, s); err != nil {
		w.fail(key, err)
	}
}

func (w *writer) time(key string, t time.Time) {
	var err error
	w.buf = append(w.buf, '"')
	if w.buf, err = iso8601.AppendTime(w.buf, t); err != nil {
		w.fail(key, err)
	}
	w.buf = append(w.buf, '"')
}

func (w *writer) duration(key string, d time.Duration) {
	if d != 0 && -time.Microsecond < d && d < time.Microsecond {
		w.fail(key, fmt.Errorf("%v is shorter than a microsecond", d))
	}
	w.buf = append(w.buf, '"')
	w.buf = iso8601.AppendDuration(w.buf, d)
	w.buf = append(w.buf, '"')
}

func (w *writer) durationOrNull(key string, d *time.Duration) {
	if d == nil {
		w.lit("null")
		return
	}
	w.duration(key, *d)
}

func (w *writer) int(n int) { w.buf = strconv.AppendInt(w.buf, int64(n), 10) }

func (w *writer) enum(key string, n uint8, names []string) {
	if n == 0 || int(n) >= len(names) {
		w.fail(key, fmt.Errorf("%d is none of %v", n, names[1:]))
		return
	}
	w.buf = append(w.buf, '"')
	w.buf = append(w.buf, names[n]...)
	w.buf = append(w.buf, '"')
}

func (w *writer) error(e *TaskError) {
	w.lit(`,"error":{"type":`)
	w.string("error.type", e.Type)
	w.lit(`,"message":`)
	w.string("error.message", e.Message)
	if e.Stack != "" {
		w.lit(`,"stack":`)
		w.string("error.stack", e.Stack)
	}
	w.lit(`,"retryable":`)
	w.buf = strconv.AppendBool(w.buf, e.Retryable)
	w.lit("}")
}

// end closes the object. On an error it returns dst.
func (w *writer) end(dst []byte) ([]byte, error) {
	w.buf = append(w.buf, '}')
	if n := len(w.buf) - len(dst); w.err == nil && n > codec.MaxSize {
		w.err = fmt.Errorf("omniq: %w", sizeError(n))
	}
	if w.err != nil {
		return dst, w.err
	}
	return w.buf, nil
}

// AppendJSON appends the task's JSON form, with JSON payloads, to dst. On an error, about a value that the wire cannot
// hold, it returns dst.
func (t *Task[A, K]) AppendJSON(dst []byte) ([]byte, error) {
	w := writer{buf: dst}
	w.id(`{"id":`, &t.ID)
	w.lit(`,"func_name":`)
	w.string("func_name", t.FuncName)
	shape := shapeOf[A, K]()
	var err error
	w.lit(`,"args":`)
	if w.buf, err = appendArgs(w.buf, codec.JSON, shape.args, &t.Args); err != nil {
		return dst, err
	}
	w.lit(`,"kwargs":`)
	if w.buf, err = appendKwargs(w.buf, codec.JSON, shape.kwargs, &t.Kwargs); err != nil {
		return dst, err
	}
	w.lit(`,"created_at":`)
	w.time("created_at", t.CreatedAt)
	w.lit(`,"ttl":`)
	w.durationOrNull("ttl", t.TTL)
	if t.Queue != "" {
		w.lit(`,"queue":`)
		w.string("queue", t.Queue)
	}
	if t.Priority != 0 {
		w.lit(`,"priority":`)
		w.int(t.Priority)
	}
	if !t.RunAt.IsZero() {
		w.lit(`,"run_at":`)
		w.time("run_at", t.RunAt)
	}
	if t.MaxAttempts != 0 {
		w.lit(`,"max_attempts":`)
		w.int(t.MaxAttempts)
	}
	if t.Timeout != 0 {
		w.lit(`,"timeout":`)
		w.duration("timeout", t.Timeout)
	}
	if t.ResultTTL != nil {
		w.lit(`,"result_ttl":`)
		w.duration("result_ttl", *t.ResultTTL)
	}
	if len(t.Metadata) > 0 {
		w.metadata(t.Metadata)
	}
	if t.UniqueKey != "" {
		w.lit(`,"unique_key":`)
		w.string("unique_key", t.UniqueKey)
	}
	if t.UniqueFor != 0 {
		w.lit(`,"unique_for":`)
		w.duration("unique_for", t.UniqueFor)
	}
	if t.Codec != "" {
		w.codec(t.Codec, any(&t.Args))
	}
	if t.Delay != 0 {
		w.lit(`,"delay":`)
		w.duration("delay", t.Delay)
	}
	if t.FailureTTL != nil {
		w.lit(`,"failure_ttl":`)
		w.duration("failure_ttl", *t.FailureTTL)
	}
	if t.IDFor != 0 {
		w.lit(`,"id_for":`)
		w.duration("id_for", t.IDFor)
	}
	return w.end(dst)
}

func (w *writer) metadata(m map[string]string) {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	w.lit(`,"metadata":{`)
	for i, k := range keys {
		if i > 0 {
			w.lit(",")
		}
		w.string("metadata", k)
		w.lit(":")
		w.string("metadata", m[k])
	}
	w.lit("}")
}

// codec writes the codec key, which only a raw payload may have.
func (w *writer) codec(name string, payload any) {
	if _, raw := payload.(*Raw); !raw {
		w.fail("codec", fmt.Errorf("%q is set beside a payload that is not raw: use Encode with the codec", name))
	}
	w.lit(`,"codec":`)
	w.string("codec", name)
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
	w := writer{buf: dst}
	w.id(`{"task_id":`, &r.TaskID)
	w.lit(`,"status":`)
	w.enum("status", uint8(r.Status), statusNames[:])
	w.lit(`,"result_data":`)
	if r.hasData() {
		var err error
		if w.buf, err = appendResult(w.buf, codec.JSON, &r.ResultData); err != nil {
			return dst, err
		}
	} else {
		w.lit("null")
	}
	w.lit(`,"timestamp":`)
	w.time("timestamp", r.Timestamp)
	w.lit(`,"ttl":`)
	w.durationOrNull("ttl", r.TTL)
	if r.Error != nil {
		w.error(r.Error)
	}
	if r.Attempts != 0 {
		w.lit(`,"attempts":`)
		w.int(r.Attempts)
	}
	if r.Codec != "" {
		w.codec(r.Codec, any(&r.ResultData))
	}
	return w.end(dst)
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
	w := writer{buf: dst}
	w.id(`{"task_id":`, &e.TaskID)
	w.lit(`,"event_type":`)
	w.enum("event_type", uint8(e.EventType), eventNames[:])
	w.lit(`,"timestamp":`)
	w.time("timestamp", e.Timestamp)
	w.lit(`,"worker_id":`)
	if e.WorkerID == nil {
		w.lit("null")
	} else {
		w.string("worker_id", *e.WorkerID)
	}
	if e.Attempt != 0 {
		w.lit(`,"attempt":`)
		w.int(e.Attempt)
	}
	if e.Queue != "" {
		w.lit(`,"queue":`)
		w.string("queue", e.Queue)
	}
	if e.Error != nil {
		w.error(e.Error)
	}
	return w.end(dst)
}

// MarshalJSON returns the event's JSON form.
func (e TaskEvent) MarshalJSON() ([]byte, error) {
	return e.AppendJSON(make([]byte, 0, marshalSize))
}
