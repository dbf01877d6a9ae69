package omniq

import (
	"errors"
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

// idDigits is where the digits of each byte of an ID stand in its quoted form.
var idDigits = [16]uint8{1, 3, 5, 7, 10, 12, 15, 17, 20, 22, 25, 27, 29, 31, 33, 35}

func (w *writer) id(id *uuid.UUID) {
	var text [38]byte
	text[0], text[9], text[14], text[19], text[24], text[37] = '"', '-', '-', '-', '-', '"'
	const digits = "0123456789abcdef"
	for i, at := range idDigits {
		text[at], text[at+1] = digits[id[i]>>4], digits[id[i]&15]
	}
	w.buf = append(w.buf, text[:]...)
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
	w.lit(`{"id":`)
	w.id(&t.ID)
	w.lit(`,"func_name":`)
	w.string("func_name", t.FuncName)
	var err error
	w.lit(`,"args":`)
	if w.buf, err = appendArgs(w.buf, codec.JSON, argsShapeOf(reflect.TypeFor[A]()), &t.Args); err != nil {
		return dst, err
	}
	w.lit(`,"kwargs":`)
	if w.buf, err = appendKwargs(w.buf, codec.JSON, kwargsShapeOf(reflect.TypeFor[K]()), &t.Kwargs); err != nil {
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
	if t.Codec != "" {
		w.codec(t.Codec, any(&t.Args))
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
func (t Task[A, K]) MarshalJSON() ([]byte, error) { return t.AppendJSON(nil) }

// AppendJSON appends the result's JSON form, with a JSON payload, to dst. On an error, about a value that the wire
// cannot hold, it returns dst.
func (r *TaskResult[R]) AppendJSON(dst []byte) ([]byte, error) {
	w := writer{buf: dst}
	w.lit(`{"task_id":`)
	w.id(&r.TaskID)
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
func (r TaskResult[R]) MarshalJSON() ([]byte, error) { return r.AppendJSON(nil) }

// AppendJSON appends the event's JSON form to dst. On an error, about a value that the wire cannot hold, it returns dst.
func (e *TaskEvent) AppendJSON(dst []byte) ([]byte, error) {
	w := writer{buf: dst}
	w.lit(`{"task_id":`)
	w.id(&e.TaskID)
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
func (e TaskEvent) MarshalJSON() ([]byte, error) { return e.AppendJSON(nil) }

// field is the JSON text of a member's value, which has been checked.
type field struct {
	json  []byte
	plain bool // the text is compact, and a string in it has no escapes
}

func (f field) wrong(want string) error {
	return fmt.Errorf("found %s, want %s", jsontext.Kind(f.json[0]), want)
}

func (f field) null() bool { return f.json[0] == 'n' }

// text is the value of a string. It shares the envelope's memory where it can.
func (f field) text(want string) ([]byte, error) {
	if f.json[0] != '"' {
		return nil, f.wrong(want)
	}
	if !f.plain {
		return []byte(jsontext.UnquoteValid(f.json)), nil
	}
	return f.json[1 : len(f.json)-1], nil
}

func (f field) string(to *string) error {
	text, err := f.text("a string")
	if err == nil {
		*to = string(text)
	}
	return err
}

func (f field) id(to *uuid.UUID) error {
	text, err := f.text("a UUID")
	if err != nil {
		return err
	}
	if len(text) == 36 || len(text) == 32 {
		if *to, err = uuid.ParseBytes(text); err == nil {
			return nil
		}
	}
	return fmt.Errorf("%.60q is no UUID, want 32 hexadecimal digits with or without hyphens", text)
}

func (f field) time(to *time.Time) error {
	text, err := f.text("a time")
	if err != nil {
		return err
	}
	*to, err = iso8601.ParseTime(text)
	return err
}

func (f field) duration(to *time.Duration) error {
	text, err := f.text("a duration")
	if err != nil {
		return err
	}
	*to, err = iso8601.ParseDuration(text)
	return err
}

func (f field) durationOrNull(to **time.Duration) error {
	if f.null() {
		*to = nil
		return nil
	}
	*to = new(time.Duration)
	return f.duration(*to)
}

func (f field) int(to *int) error {
	n, err := strconv.Atoi(string(f.json))
	if err != nil {
		return fmt.Errorf("found %.40s, want a whole number of at most 64 bits", f.json)
	}
	*to = n
	return nil
}

func (f field) strings(to *map[string]string) error {
	if f.json[0] != '{' {
		return f.wrong("an object")
	}
	m := make(map[string]string)
	err := readObject(f.json, nil, func(key []byte, value field) error {
		if _, ok := m[string(key)]; ok {
			return errTwice
		}
		var s string
		if err := value.string(&s); err != nil {
			return err
		}
		m[string(key)] = s
		return nil
	})
	if len(m) > 0 {
		*to = m
	}
	return err
}

func (f field) error(to **TaskError) error {
	if f.null() {
		*to = nil
		return nil
	}
	if f.json[0] != '{' {
		return f.wrong("an object")
	}
	e := new(TaskError)
	*to = e
	var seen keySet
	return readObject(f.json, nil, func(key []byte, value field) error {
		switch string(key) {
		case "type":
			return seen.once(0, value.string(&e.Type))
		case "message":
			return seen.once(1, value.string(&e.Message))
		case "stack":
			return seen.once(2, value.string(&e.Stack))
		case "retryable":
			if value.json[0] != 't' && value.json[0] != 'f' {
				return value.wrong("a boolean")
			}
			e.Retryable = value.json[0] == 't'
			return seen.once(3, nil)
		}
		return nil
	})
}

var (
	errTwice   = errors.New("stands twice")
	errMissing = errors.New("is missing")
)

// once is errTwice if n was seen before, and err otherwise.
func (s *keySet) once(n int, err error) error {
	if !s.add(n) {
		return errTwice
	}
	return err
}

// readObject calls member for each member of the object that is the whole of data. Its errors are given the key. Members
// are found faster if their keys, in quotes and with a colon, come in the order that is expected.
func readObject(data []byte, expected []string, member func(key []byte, value field) error) error {
	if len(data) > codec.MaxSize {
		return sizeError(len(data))
	}
	o, err := jsontext.NewObject(data, jsontext.SkipSpace(data, 0), codec.MaxDepth)
	if err != nil {
		return err
	}
	for n := 0; ; n++ {
		expect := ""
		if n < len(expected) {
			expect = expected[n]
		}
		ok, err := o.NextOf(expect)
		if err != nil {
			return err
		}
		if !ok {
			return jsontext.End(data, o.At())
		}
		m := o.Member()
		if err := member(m.Key, field{data[m.Start:m.End], m.Plain}); err != nil {
			return fmt.Errorf("%.60s: %w", m.Key, err)
		}
	}
}

// required is an error that names the first of the keys, numbered from 0, that was not seen.
func (s *keySet) required(keys ...string) error {
	for i, key := range keys {
		if s.low&(1<<i) == 0 {
			return fmt.Errorf("%s: %w", key, errMissing)
		}
	}
	return nil
}

// raw is the compact form in memory of its own.
func (f field) raw() Raw {
	dst := make(Raw, 0, len(f.json))
	if f.plain {
		return append(dst, f.json...)
	}
	return jsontext.AppendCompact(dst, f.json)
}

var (
	taskKeys   = []string{`"id":`, `"func_name":`, `"args":`, `"kwargs":`, `"created_at":`, `"ttl":`}
	resultKeys = []string{`"task_id":`, `"status":`, `"result_data":`, `"timestamp":`, `"ttl":`}
	eventKeys  = []string{`"task_id":`, `"event_type":`, `"timestamp":`, `"worker_id":`}
)

// readTask reads a task's envelope into t, but for the payload.
func readTask(data []byte, t *RawTask) (args, kwargs field, err error) {
	var seen keySet
	err = readObject(data, taskKeys, func(key []byte, value field) error {
		switch string(key) {
		case "id":
			return seen.once(0, value.id(&t.ID))
		case "func_name":
			return seen.once(1, value.string(&t.FuncName))
		case "args":
			args = value
			if value.json[0] != '[' {
				return value.wrong("an array")
			}
			return seen.once(2, nil)
		case "kwargs":
			kwargs = value
			if value.json[0] != '{' {
				return value.wrong("an object")
			}
			return seen.once(3, nil)
		case "created_at":
			return seen.once(4, value.time(&t.CreatedAt))
		case "ttl":
			return seen.once(5, value.durationOrNull(&t.TTL))
		case "queue":
			return seen.once(6, value.string(&t.Queue))
		case "priority":
			return seen.once(7, value.int(&t.Priority))
		case "run_at":
			return seen.once(8, value.time(&t.RunAt))
		case "max_attempts":
			return seen.once(9, value.int(&t.MaxAttempts))
		case "timeout":
			return seen.once(10, value.duration(&t.Timeout))
		case "result_ttl":
			return seen.once(11, value.durationOrNull(&t.ResultTTL))
		case "metadata":
			return seen.once(12, value.strings(&t.Metadata))
		case "codec":
			return seen.once(13, value.string(&t.Codec))
		}
		return nil
	})
	if err == nil {
		err = seen.required("id", "func_name", "args", "kwargs", "created_at")
	}
	if err != nil {
		return args, kwargs, fmt.Errorf("omniq: task: %w", err)
	}
	return args, kwargs, nil
}

// UnmarshalJSON reads a task's JSON form with JSON payloads, the whole of data, strictly. It keeps nothing of data. When
// it fails, what is in t is unspecified. For payloads of another codec, read a [RawTask] and use [DecodeTask].
func (t *Task[A, K]) UnmarshalJSON(data []byte) error {
	var raw RawTask
	args, kwargs, err := readTask(data, &raw)
	if err != nil {
		return err
	}
	if self, ok := any(t).(*RawTask); ok {
		raw.Args, raw.Kwargs = args.raw(), kwargs.raw()
		*self = raw
		return nil
	}
	raw.Args, raw.Kwargs = args.json, kwargs.json
	*t = withPayload(&raw, *new(A), *new(K))
	return decodePayload(&raw, true, nil, &t.Args, &t.Kwargs)
}

// UnmarshalJSON reads a result's JSON form with a JSON payload, the whole of data, strictly. It keeps nothing of data.
// For a payload of another codec, read a [RawResult] and use [DecodeResult].
func (r *TaskResult[R]) UnmarshalJSON(data []byte) error {
	var raw RawResult
	result, err := readResult(data, &raw)
	if err != nil {
		return err
	}
	if self, ok := any(r).(*RawResult); ok {
		raw.ResultData = result.raw()
		*self = raw
		return nil
	}
	raw.ResultData = result.json
	typed, err := resultOf[R](&raw, true, nil)
	if err != nil {
		return err
	}
	*r = typed
	return nil
}

// readResult reads a result's envelope into r, but for the payload.
func readResult(data []byte, r *RawResult) (result field, err error) {
	var seen keySet
	err = readObject(data, resultKeys, func(key []byte, value field) error {
		switch string(key) {
		case "task_id":
			return seen.once(0, value.id(&r.TaskID))
		case "status":
			text, err := value.text("a status")
			if err == nil {
				err = r.Status.UnmarshalText(text)
			}
			return seen.once(1, err)
		case "result_data":
			result = value
			return seen.once(2, nil)
		case "timestamp":
			return seen.once(3, value.time(&r.Timestamp))
		case "ttl":
			return seen.once(4, value.durationOrNull(&r.TTL))
		case "error":
			return seen.once(5, value.error(&r.Error))
		case "attempts":
			return seen.once(6, value.int(&r.Attempts))
		case "codec":
			return seen.once(7, value.string(&r.Codec))
		}
		return nil
	})
	if err == nil {
		err = seen.required("task_id", "status", "result_data", "timestamp")
	}
	if err != nil {
		return result, fmt.Errorf("omniq: result: %w", err)
	}
	return result, nil
}

// UnmarshalJSON reads an event's JSON form, the whole of data. It keeps nothing of data.
func (e *TaskEvent) UnmarshalJSON(data []byte) error {
	var seen keySet
	var read TaskEvent
	err := readObject(data, eventKeys, func(key []byte, value field) error {
		switch string(key) {
		case "task_id":
			return seen.once(0, value.id(&read.TaskID))
		case "event_type":
			text, err := value.text("an event type")
			if err == nil {
				err = read.EventType.UnmarshalText(text)
			}
			return seen.once(1, err)
		case "timestamp":
			return seen.once(2, value.time(&read.Timestamp))
		case "worker_id":
			if value.null() {
				return seen.once(3, nil)
			}
			read.WorkerID = new(string)
			return seen.once(3, value.string(read.WorkerID))
		case "attempt":
			return seen.once(4, value.int(&read.Attempt))
		case "queue":
			return seen.once(5, value.string(&read.Queue))
		case "error":
			return seen.once(6, value.error(&read.Error))
		}
		return nil
	})
	if err == nil {
		err = seen.required("task_id", "event_type", "timestamp")
	}
	if err != nil {
		return fmt.Errorf("omniq: event: %w", err)
	}
	*e = read
	return nil
}
