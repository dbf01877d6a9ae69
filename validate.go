package omniq

import (
	"errors"
	"fmt"
	"math"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq/codec"
	"github.com/omniq-go/omniq/internal/jsontext"
	"github.com/omniq-go/omniq/internal/payload"
)

// Whatever can put something into an engine asks here whether a worker or a reader could read it back.

// MaxWorkerIDLen is how many bytes the name of a worker may have.
const MaxWorkerIDLen = 255

// CheckQueue reports what is wrong with the name of a queue, nil if nothing is: it has 1 to [MaxQueueLen] letters, digits
// or some of "_-.:/". errors.Is finds [ErrInvalid] in what it returns.
func CheckQueue(name string) error { return checkQueue(name) }

// CheckWorkerID reports what is wrong with the name of a worker, nil if nothing is: it has 1 to [MaxWorkerIDLen] bytes of
// text without control characters, and no white space at an end. errors.Is finds [ErrInvalid] in what it returns.
func CheckWorkerID(id string) error { return checkText("WorkerID", id, MaxWorkerIDLen) }

// envelopeRoom is more than what an envelope has beside its payload and its texts: keys, times, numbers.
const envelopeRoom = 2 << 10

// checkRaw is the part of Validate that is about the payload of a raw task, and about the size of the whole.
func checkRaw(t *RawTask) error {
	err := checkPayload(t)
	if err != nil {
		return invalid("task %v: %w", t.ID, err)
	}
	return checkTaskSize(t)
}

func checkPayload(t *RawTask) error {
	if n := len(t.Args) + len(t.Kwargs); n > codec.MaxSize {
		return fmt.Errorf("args and kwargs have %w", payload.SizeError(n))
	}
	if err := checkDocument("args", t.Args, '['); err != nil {
		return err
	}
	if err := checkDocument("kwargs", t.Kwargs, '{'); err != nil {
		return err
	}
	if err := checkDocument("input", Raw(t.Input), 0); err != nil {
		return err
	}
	if isOpaque(t.Codec) {
		_, _, err := payload.OpenOpaque(t.Args, t.Kwargs)
		return err
	}
	return nil
}

// checkTaskSize refuses a task whose envelope, which only engines write, would be too large. Its payload is valid.
func checkTaskSize(t *RawTask) error {
	n := len(t.Args) + len(t.Kwargs) + len(t.Input) + len(t.After)*dependencySize + textSize(t.FuncName, t.Queue, t.UniqueKey, t.Codec, t.Lane)
	for k, v := range t.Metadata {
		n += textSize(k, v) + len(`"":"",`)
	}
	if n+envelopeRoom <= codec.MaxSize {
		return nil
	}
	if n-len(t.Args)-len(t.Kwargs)-len(t.Input) > codec.MaxSize { // the payload may have white space
		return invalid("task %v has %w", t.ID, payload.SizeError(n))
	}
	if _, err := t.AppendJSON(make([]byte, 0, n+envelopeRoom)); err != nil {
		return invalid("task %v: %w", t.ID, err)
	}
	return nil
}

// textSize is how many bytes the texts have in JSON, without quotes.
func textSize(texts ...string) (n int) {
	for _, s := range texts {
		n += len(s)
		for i := range len(s) {
			switch c := s[i]; {
			case c >= ' ' && c != '"' && c != '\\':
			case c == '"', c == '\\', c == '\b', c == '\f', c == '\n', c == '\r', c == '\t':
				n++
			default:
				n += len(`\u0000`) - 1
			}
		}
	}
	return n
}

// checkDocument checks a JSON text that begins with open, unless that is 0. An empty one stands for nothing.
func checkDocument(part string, doc Raw, open byte) error {
	if len(doc) == 0 {
		return nil
	}
	if first := doc[jsontext.SkipSpace(doc, 0):]; open != 0 && len(first) > 0 && first[0] != open {
		return fmt.Errorf("%s: found %s, want %s", part, jsontext.Kind(first[0]), jsontext.Kind(open))
	}
	if err := jsontext.Valid(doc, payload.MaxDepth); err != nil {
		return fmt.Errorf("%s: %w", part, err)
	}
	return nil
}

// isOpaque reports whether a payload of the codec with this name is base64 text of bytes.
func isOpaque(name string) bool { return name != "" && name != codec.NameJSON }

// Validate reports what is wrong with the result, for those that were not made by the runtime; of a [RawResult] the
// payload and the size of the whole, too. errors.Is finds [ErrInvalid] in what it returns.
func (r *TaskResult[R]) Validate() error {
	if r == nil {
		return invalid("the result is nil")
	}
	if r.TaskID == uuid.Nil {
		return invalid("a result without a task ID")
	}
	err := r.check()
	if raw, ok := any(r).(*RawResult); ok && err == nil {
		err = checkRawResult(raw)
	}
	if err != nil {
		return invalid("the result of task %v: %w", r.TaskID, err)
	}
	return nil
}

func (r *TaskResult[R]) check() error {
	if _, err := r.Status.MarshalText(); err != nil {
		return err
	}
	if err := checkTime("Timestamp", r.Timestamp); err != nil {
		return err
	}
	if err := checkDuration("TTL", r.TTL); err != nil {
		return err
	}
	if r.Attempts < 0 || r.Attempts > math.MaxInt32 {
		return fmt.Errorf("attempts is %d, want 0 to %d", r.Attempts, math.MaxInt32)
	}
	if r.Codec != "" {
		if err := codec.CheckName(r.Codec); err != nil {
			return err
		}
	}
	return r.Error.check()
}

func checkRawResult(r *RawResult) error {
	if n := len(r.ResultData); n > codec.MaxSize {
		return fmt.Errorf("result_data has %w", payload.SizeError(n))
	}
	if err := checkDocument("result_data", r.ResultData, 0); err != nil {
		return err
	}
	if isOpaque(r.Codec) && len(r.ResultData) > 0 {
		if _, err := payload.DecodeBase64(r.ResultData); err != nil {
			return fmt.Errorf("result_data: %w", err)
		}
	}
	if len(r.ResultData)+r.Error.size()+envelopeRoom <= codec.MaxSize {
		return nil
	}
	_, err := r.AppendJSON(nil)
	return err
}

// Validate reports what is wrong with the event, for those that were not made by [NewEvent]. errors.Is finds [ErrInvalid]
// in what it returns.
func (e *TaskEvent) Validate() error {
	if e == nil {
		return invalid("the event is nil")
	}
	if e.TaskID == uuid.Nil {
		return invalid("an event without a task ID")
	}
	if err := e.check(); err != nil {
		return invalid("an event of task %v: %w", e.TaskID, err)
	}
	return nil
}

func (e *TaskEvent) check() error {
	if _, err := e.EventType.MarshalText(); err != nil {
		return err
	}
	if err := checkTime("Timestamp", e.Timestamp); err != nil {
		return err
	}
	if e.WorkerID != nil {
		if err := CheckWorkerID(*e.WorkerID); err != nil {
			return err
		}
	}
	if e.Attempt < 0 || e.Attempt > math.MaxInt32 {
		return fmt.Errorf("attempt is %d, want 0 to %d", e.Attempt, math.MaxInt32)
	}
	if e.Queue != "" {
		if err := checkQueue(e.Queue); err != nil {
			return err
		}
	}
	if e.FuncName != "" {
		if err := checkName(e.FuncName); err != nil {
			return err
		}
	}
	return e.Error.check()
}

// Validate reports what is wrong with the error, nil if nothing is, for those that were not made by [NewTaskError]: what
// is not UTF-8, and what is too large for an envelope. errors.Is finds [ErrInvalid] in what it returns.
func (e *TaskError) Validate() error {
	if err := e.check(); err != nil {
		return invalid("%w", err)
	}
	return nil
}

// check is Validate. There is nothing wrong with no error.
func (e *TaskError) check() error {
	if e == nil {
		return nil
	}
	for _, text := range []string{e.Type, e.Message, e.Stack} {
		if !utf8.ValidString(text) {
			return fmt.Errorf("the error's text %.40q is not UTF-8", text)
		}
	}
	if n := e.size() + envelopeRoom; n > codec.MaxSize {
		return fmt.Errorf("the error has %w", payload.SizeError(n))
	}
	return nil
}

// size is that of its texts in JSON.
func (e *TaskError) size() int {
	if e == nil {
		return 0
	}
	return textSize(e.Type, e.Message, e.Stack)
}

// checkTime refuses what is no time on the wire.
func checkTime(what string, t time.Time) error {
	if y := t.UTC().Year(); y < 1 || y > 9999 {
		return fmt.Errorf("%s is in the year %d, want 1 to 9999", what, y)
	}
	return nil
}

var errShort = errors.New("shorter than a microsecond")

// checkDuration refuses what is no duration of something that is kept; nil stands for ever.
func checkDuration(what string, d *time.Duration) error {
	switch {
	case d == nil || *d == 0:
		return nil
	case *d < 0:
		return fmt.Errorf("%s is %v, want at least 0", what, *d)
	case *d < time.Microsecond:
		return fmt.Errorf("%s is %v, %w", what, *d, errShort)
	}
	return nil
}

// checkAble refuses a task with something that the engine does not have.
func checkAble(b Backend, t *RawTask) error {
	if t.Lane == "" && t.OnHeld == HeldRefuse {
		return nil
	}
	switch caps := b.Capabilities(); {
	case t.Lane != "" && !caps.Limits:
		return invalid("task %v is in lane %q, and the engine %q has no lanes", t.ID, t.Lane, caps.Name)
	case t.OnHeld != HeldRefuse && !caps.Replaces:
		return invalid("task %v has an OnHeld of %v, and in the engine %q no task takes the place of another", t.ID, t.OnHeld, caps.Name)
	case t.OnHeld == HeldBehind && !caps.Flows:
		return invalid("task %v has an OnHeld of %v, and in the engine %q, which has no flows, no task waits for another", t.ID, t.OnHeld, caps.Name)
	}
	return nil
}
