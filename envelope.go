package omniq

import (
	"encoding"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
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

// reader reads an object with known keys, in quotes and with a colon, which are found faster in their order. Other keys
// are passed over. Use:
//
//	r := newReader(data, keys)
//	for r.next() {
//		switch r.key {
//		case n:
//			r.string(&s) // or another method, once, for the value
//		}
//	}
//	err := r.end(required)
type reader struct {
	data   []byte
	keys   []string
	key    int // the number in keys of the one that was found
	object jsontext.Object
	follow int    // the key that is expected next
	seen   uint64 // a bit for each of keys
	err    error  // ends the loop
}

var (
	errTwice   = errors.New("stands twice")
	errMissing = errors.New("is missing")
)

// newReader begins to read the object that is the whole of data.
func newReader(data []byte, keys []string) reader {
	r := reader{data: data, keys: keys}
	if len(data) > codec.MaxSize {
		r.err = sizeError(len(data))
		return r
	}
	r.object, r.err = jsontext.NewObject(data, jsontext.SkipSpace(data, 0), codec.MaxDepth)
	return r
}

// next goes to the next known member of the object.
func (r *reader) next() bool {
	for r.err == nil {
		expect := ""
		if r.follow < len(r.keys) {
			expect = r.keys[r.follow]
		}
		more, err := r.object.NextKey(expect)
		if !more {
			if r.err = err; err == nil {
				r.err = jsontext.End(r.data, r.object.At())
			}
			return false
		}
		r.key = r.follow
		if !r.object.Expected {
			r.key = slices.IndexFunc(r.keys, func(key string) bool { return key[1:len(key)-2] == string(r.object.Key) })
			if r.key < 0 {
				r.err = r.object.SkipValue()
				continue
			}
		}
		r.follow = r.key + 1
		bit := uint64(1) << r.key
		if r.seen&bit != 0 {
			r.fail(errTwice)
			return false
		}
		r.seen |= bit
		return true
	}
	return false
}

// fail ends the reading because of the value of the key that was read.
func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = fmt.Errorf("%.60s: %w", r.object.Key, err)
	}
}

// end is the error that ended the reading, or that one of the required keys, a bit for each, is missing.
func (r *reader) end(required uint64) error {
	if missing := required &^ r.seen; r.err == nil && missing != 0 {
		key := r.keys[bits.TrailingZeros64(missing)]
		return fmt.Errorf("%s: %w", key[1:len(key)-2], errMissing)
	}
	return r.err
}

// value is the value, checked, or nothing after an error.
func (r *reader) value() field {
	if r.err = r.object.SkipValue(); r.err != nil {
		return field{}
	}
	return field{r.data[r.object.Start:r.object.End], r.object.Plain}
}

// kind is value for one that begins with open.
func (r *reader) kind(open byte, want string) field {
	f := r.value()
	if r.err == nil && f.json[0] != open {
		r.fail(fmt.Errorf("found %s, want %s", jsontext.Kind(f.json[0]), want))
	}
	return f
}

// text is the value of a string. It shares the envelope's memory where it can.
func (r *reader) text(want string) []byte {
	f := r.kind('"', want)
	switch {
	case r.err != nil:
		return nil
	case !f.plain:
		return []byte(jsontext.UnquoteValid(f.json))
	}
	return f.json[1 : len(f.json)-1]
}

// null reports whether the value is null, and passes over it if so.
func (r *reader) null() bool {
	if r.object.Start < len(r.data) && r.data[r.object.Start] == 'n' {
		r.value()
		return true
	}
	return false
}

func (r *reader) string(to *string) { *to = string(r.text("a string")) }

func (r *reader) id(to *uuid.UUID) {
	const size = len(`"00000000-0000-0000-0000-000000000000"`)
	if at := r.object.Start; len(r.data)-at >= size && parseID((*[size]byte)(r.data[at:]), to) {
		r.object.Jump(at + size)
		return
	}
	text := r.text("a UUID")
	if r.err != nil {
		return
	}
	if len(text) == 36 || len(text) == 32 {
		var err error
		if *to, err = uuid.ParseBytes(text); err == nil {
			return
		}
	}
	r.fail(fmt.Errorf("%.60q is no UUID, want 32 hexadecimal digits with or without hyphens", text))
}

// hexValues has the value of each hexadecimal digit, and 0xff for what is none.
var hexValues = func() (values [256]uint8) {
	for i := range values {
		values[i] = 0xff
	}
	for i := range uint8(10) {
		values['0'+i] = i
	}
	for i := range uint8(6) {
		values['a'+i], values['A'+i] = 10+i, 10+i
	}
	return values
}()

// parseID reads the usual form of an ID, with hyphens and in quotes.
func parseID(text *[38]byte, to *uuid.UUID) bool {
	if text[0] != '"' || text[9] != '-' || text[14] != '-' || text[19] != '-' || text[24] != '-' || text[37] != '"' {
		return false
	}
	bad := uint8(0)
	for i, at := range [len(to)]uint8{1, 3, 5, 7, 10, 12, 15, 17, 20, 22, 25, 27, 29, 31, 33, 35} {
		high, low := hexValues[text[at]], hexValues[text[at+1]]
		to[i] = high<<4 | low
		bad |= high | low
	}
	return bad < 16
}

func (r *reader) enum(to encoding.TextUnmarshaler, want string) {
	if text := r.text(want); r.err == nil {
		if err := to.UnmarshalText(text); err != nil {
			r.fail(err)
		}
	}
}

func (r *reader) time(to *time.Time) {
	if text := r.text("a time"); r.err == nil {
		var err error
		if *to, err = iso8601.ParseTime(text); err != nil {
			r.fail(err)
		}
	}
}

func (r *reader) duration(to *time.Duration) {
	if text := r.text("a duration"); r.err == nil {
		var err error
		if *to, err = iso8601.ParseDuration(text); err != nil {
			r.fail(err)
		}
	}
}

func (r *reader) durationOrNull(to **time.Duration) {
	if !r.null() {
		*to = new(time.Duration)
		r.duration(*to)
	}
}

func (r *reader) stringOrNull(to **string) {
	if !r.null() {
		*to = new(string)
		r.string(*to)
	}
}

func (r *reader) int(to *int) {
	f := r.value()
	if r.err != nil {
		return
	}
	n, err := strconv.Atoi(string(f.json))
	if err != nil {
		r.fail(fmt.Errorf("found %.40s, want a whole number of at most 64 bits", f.json))
	}
	*to = n
}

func (r *reader) bool(to *bool) {
	f := r.value()
	switch {
	case r.err != nil:
	case f.json[0] == 't' || f.json[0] == 'f':
		*to = f.json[0] == 't'
	default:
		r.fail(fmt.Errorf("found %s, want a boolean", jsontext.Kind(f.json[0])))
	}
}

func (r *reader) strings(to *map[string]string) {
	f := r.kind('{', "an object")
	if r.err != nil {
		return
	}
	m := make(map[string]string)
	inner := newReader(f.json, nil)
	for inner.nextAny() {
		if _, ok := m[string(inner.object.Key)]; ok {
			inner.fail(errTwice)
			break
		}
		var s string
		inner.string(&s)
		m[string(inner.object.Key)] = s
	}
	if inner.err != nil {
		r.fail(inner.err)
	}
	if len(m) > 0 {
		*to = m
	}
}

// nextAny goes to the next member, whatever its key is.
func (r *reader) nextAny() (more bool) {
	if r.err == nil {
		more, r.err = r.object.NextKey("")
	}
	return more
}

func (r *reader) error(to **TaskError) {
	if r.null() {
		return
	}
	f := r.kind('{', "an object")
	if r.err != nil {
		return
	}
	e := new(TaskError)
	inner := newReader(f.json, errorKeys)
	for inner.next() {
		switch inner.key {
		case errorKind:
			inner.string(&e.Type)
		case errorMessage:
			inner.string(&e.Message)
		case errorStack:
			inner.string(&e.Stack)
		case errorRetryable:
			inner.bool(&e.Retryable)
		}
	}
	if inner.err != nil {
		r.fail(inner.err)
	}
	*to = e
}

// field is the JSON text of a value, which has been checked.
type field struct {
	json  []byte
	plain bool // the text is its compact form
}

// raw is the compact form in memory of its own.
func (f field) raw() Raw {
	dst := make(Raw, 0, len(f.json))
	if f.plain {
		return append(dst, f.json...)
	}
	return jsontext.AppendCompact(dst, f.json)
}

// The keys of each object, in the order in which they are written.
const (
	taskID = iota
	taskFuncName
	taskArgs
	taskKwargs
	taskCreatedAt
	taskTTL
	taskQueue
	taskPriority
	taskRunAt
	taskMaxAttempts
	taskTimeout
	taskResultTTL
	taskMetadata
	taskCodec
)

var taskKeys = []string{
	taskID: `"id":`, taskFuncName: `"func_name":`, taskArgs: `"args":`, taskKwargs: `"kwargs":`, taskCreatedAt: `"created_at":`,
	taskTTL: `"ttl":`, taskQueue: `"queue":`, taskPriority: `"priority":`, taskRunAt: `"run_at":`, taskMaxAttempts: `"max_attempts":`,
	taskTimeout: `"timeout":`, taskResultTTL: `"result_ttl":`, taskMetadata: `"metadata":`, taskCodec: `"codec":`,
}

const taskRequired = 1<<taskID | 1<<taskFuncName | 1<<taskArgs | 1<<taskKwargs | 1<<taskCreatedAt

const (
	resultTaskID = iota
	resultStatus
	resultData
	resultTimestamp
	resultTTL
	resultError
	resultAttempts
	resultCodec
)

var resultKeys = []string{
	resultTaskID: `"task_id":`, resultStatus: `"status":`, resultData: `"result_data":`, resultTimestamp: `"timestamp":`,
	resultTTL: `"ttl":`, resultError: `"error":`, resultAttempts: `"attempts":`, resultCodec: `"codec":`,
}

const resultRequired = 1<<resultTaskID | 1<<resultStatus | 1<<resultData | 1<<resultTimestamp

const (
	eventTaskID = iota
	eventEventType
	eventTimestamp
	eventWorkerID
	eventAttempt
	eventQueue
	eventError
)

var eventKeys = []string{
	eventTaskID: `"task_id":`, eventEventType: `"event_type":`, eventTimestamp: `"timestamp":`, eventWorkerID: `"worker_id":`,
	eventAttempt: `"attempt":`, eventQueue: `"queue":`, eventError: `"error":`,
}

const eventRequired = 1<<eventTaskID | 1<<eventEventType | 1<<eventTimestamp

const (
	errorKind = iota
	errorMessage
	errorStack
	errorRetryable
)

var errorKeys = []string{
	errorKind: `"type":`, errorMessage: `"message":`, errorStack: `"stack":`, errorRetryable: `"retryable":`,
}

// readTask reads a task's envelope into t, but for the payload.
func readTask(data []byte, t *RawTask) (args, kwargs field, err error) {
	r := newReader(data, taskKeys)
	for r.next() {
		switch r.key {
		case taskID:
			r.id(&t.ID)
		case taskFuncName:
			r.string(&t.FuncName)
		case taskArgs:
			args = r.kind('[', "an array")
		case taskKwargs:
			kwargs = r.kind('{', "an object")
		case taskCreatedAt:
			r.time(&t.CreatedAt)
		case taskTTL:
			r.durationOrNull(&t.TTL)
		case taskQueue:
			r.string(&t.Queue)
		case taskPriority:
			r.int(&t.Priority)
		case taskRunAt:
			r.time(&t.RunAt)
		case taskMaxAttempts:
			r.int(&t.MaxAttempts)
		case taskTimeout:
			r.duration(&t.Timeout)
		case taskResultTTL:
			r.durationOrNull(&t.ResultTTL)
		case taskMetadata:
			r.strings(&t.Metadata)
		case taskCodec:
			r.string(&t.Codec)
		}
	}
	if err := r.end(taskRequired); err != nil {
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
	*t = Task[A, K]{}
	t.setHead(&raw)
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
func readResult(data []byte, to *RawResult) (result field, err error) {
	r := newReader(data, resultKeys)
	for r.next() {
		switch r.key {
		case resultTaskID:
			r.id(&to.TaskID)
		case resultStatus:
			r.enum(&to.Status, "a status")
		case resultData:
			result = r.value()
		case resultTimestamp:
			r.time(&to.Timestamp)
		case resultTTL:
			r.durationOrNull(&to.TTL)
		case resultError:
			r.error(&to.Error)
		case resultAttempts:
			r.int(&to.Attempts)
		case resultCodec:
			r.string(&to.Codec)
		}
	}
	if err := r.end(resultRequired); err != nil {
		return result, fmt.Errorf("omniq: result: %w", err)
	}
	return result, nil
}

// UnmarshalJSON reads an event's JSON form, the whole of data. It keeps nothing of data.
func (e *TaskEvent) UnmarshalJSON(data []byte) error {
	var to TaskEvent
	r := newReader(data, eventKeys)
	for r.next() {
		switch r.key {
		case eventTaskID:
			r.id(&to.TaskID)
		case eventEventType:
			r.enum(&to.EventType, "an event type")
		case eventTimestamp:
			r.time(&to.Timestamp)
		case eventWorkerID:
			r.stringOrNull(&to.WorkerID)
		case eventAttempt:
			r.int(&to.Attempt)
		case eventQueue:
			r.string(&to.Queue)
		case eventError:
			r.error(&to.Error)
		}
	}
	if err := r.end(eventRequired); err != nil {
		return fmt.Errorf("omniq: event: %w", err)
	}
	*e = to
	return nil
}
