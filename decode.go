package omniq

import (
	"encoding"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq/codec"
	"github.com/omniq-go/omniq/internal/iso8601"
	"github.com/omniq-go/omniq/internal/jsontext"
)

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
	const size = len(`"0000-00-00T00:00:00.000000Z"`)
	if at, end := r.object.Start, r.object.Start+size; end <= len(r.data) && r.data[at] == '"' && r.data[end-1] == '"' {
		if t, err := iso8601.ParseTime(r.data[at+1 : end-1]); err == nil {
			*to = t
			r.object.Jump(end)
			return
		}
	}
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
	taskUniqueKey
	taskUniqueFor
	taskCodec
	taskDelay
	taskFailureTTL
	taskIDFor
)

var taskKeys = []string{
	taskID: `"id":`, taskFuncName: `"func_name":`, taskArgs: `"args":`, taskKwargs: `"kwargs":`, taskCreatedAt: `"created_at":`,
	taskTTL: `"ttl":`, taskQueue: `"queue":`, taskPriority: `"priority":`, taskRunAt: `"run_at":`, taskMaxAttempts: `"max_attempts":`,
	taskTimeout: `"timeout":`, taskResultTTL: `"result_ttl":`, taskMetadata: `"metadata":`,
	taskUniqueKey: `"unique_key":`, taskUniqueFor: `"unique_for":`, taskCodec: `"codec":`,
	taskDelay: `"delay":`, taskFailureTTL: `"failure_ttl":`, taskIDFor: `"id_for":`,
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
		case taskUniqueKey:
			r.string(&t.UniqueKey)
		case taskUniqueFor:
			r.duration(&t.UniqueFor)
		case taskCodec:
			r.string(&t.Codec)
		case taskDelay:
			r.duration(&t.Delay)
		case taskFailureTTL:
			r.durationOrNull(&t.FailureTTL)
		case taskIDFor:
			r.duration(&t.IDFor)
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
