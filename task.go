package omniq

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq/codec"
	"github.com/omniq-go/omniq/internal/payload"
)

// Bounds of what a task may carry.
const (
	MaxNameLen  = 255 // bytes of a FuncName
	MaxQueueLen = 100 // bytes of a Queue
	MaxKeyLen   = 255 // bytes of a UniqueKey
)

// Task is a call of a named function with positional arguments A and keyword arguments K, at some time, somewhere.
//
// A is positional, an array on the wire: a struct, whose exported fields stand in the order of their declaration;
// one of [Args1] to [Args6] or [NoArgs]; a slice or an array; or [Raw]. In such a struct
//
//   - unexported fields and fields tagged json:"-" are left out; names in json tags mean nothing;
//   - omitempty, omitzero and string in a json tag are refused, because each position must be there as it is;
//   - an embedded struct's fields stand in its place, unless it has a name in its json tag or a text or JSON form of
//     its own; an embedded pointer is refused;
//   - a field may be of any type that the codec can write, pointers included, which are null when nil.
//
// K is named, an object on the wire: a struct with the usual json tags, a map with string keys, [NoKwargs] or [Raw].
//
// Pointers, []byte and types with a MarshalJSON or MarshalText method of their own are neither; they can be fields.
// A nil slice or map is [] or {}, never null.
//
// Reading is strict, because a task that its handler understands by half must not run: the number of arguments must be
// right, a keyword must be known, spelled exactly and given once, and null is refused for a type that has no nil. A
// keyword that is missing leaves its field's zero value.
//
// The JSON form has the keys of the first six fields, always, and those of the others where they are set.
type Task[A, K any] struct {
	ID        uuid.UUID      // unique; version 7 unless chosen otherwise
	FuncName  string         // which function to run: 1 to MaxNameLen bytes of text without control characters
	Args      A              // positional arguments
	Kwargs    K              // keyword arguments
	CreatedAt time.Time      // in UTC and microseconds
	TTL       *time.Duration // how long after CreatedAt it may start; nil for ever

	Queue       string            // where it waits; empty means DefaultQueue
	Priority    int               // higher is leased first within a queue; 0 by default
	RunAt       time.Time         // when it is due, by the backend's clock; zero means at once, or after Delay
	Delay       time.Duration     // how long after it was stored, and all of After have ended, it is due; 0 beside a RunAt
	MaxAttempts int               // how often it may be tried; 0 leaves it to the worker
	Timeout     time.Duration     // how long one attempt may take; 0 leaves it to the worker
	ResultTTL   *time.Duration    // how long its result can be read; nil means DefaultResultTTL
	FailureTTL  *time.Duration    // the same of a result by which it failed or expired; nil means DefaultFailureTTL, or ResultTTL if longer
	Metadata    map[string]string // what travels with it beside the arguments: trace ids, tenants
	UniqueKey   string            // what only one task of this FuncName may hold at a time; empty for nothing
	UniqueFor   time.Duration     // how long from the enqueue it holds UniqueKey; 0 until it is final
	IDFor       time.Duration     // how long from the enqueue no other task with an IDFor gets its ID; 0 as long as its result is kept

	Flow   uuid.UUID    // the flow that it is a member of; zero for none
	After  []Dependency // the tasks that must have ended before it is due; at most MaxDependencies
	Manual bool         // nobody leases it: Resolve ends it
	OnHeld OnHeld       // what becomes of it when its UniqueKey is held; more than HeldRefuse is for tasks that are not Tied
	Lane   string       // of its Queue, in which lanes take turns; empty for none

	ReplaceWithin time.Duration // how long after one that it replaces became pending it is due at the latest; 0 for no bound
	KeepTask      bool          // it stays as long as its result when it has succeeded, too

	// Input says how a worker makes its arguments of the results of After. It is nil for a task that has its arguments. It
	// is the client's and the worker's business: engines keep it. It is JSON.
	Input string

	// Codec names the codec of the payload of a [RawTask] when that is not JSON. Tasks of other types hold decoded
	// values: Encode sets it, and DecodeTask goes by it.
	Codec string
}

// NewTask returns a task of the named function with a new ID, created now. It fails with [ErrInvalid] if A or K has the wrong
// shape, or if the name or an option has an invalid value.
func NewTask[A, K any](name string, args A, kwargs K, opts ...TaskOption) (Task[A, K], error) {
	if err := payloadFault("", payload.ShapeOf[A, K]().Err()); err != nil {
		return Task[A, K]{}, err
	}
	if err := checkName(name); err != nil {
		return Task[A, K]{}, err
	}
	var c taskConfig
	if err := c.apply(opts); err != nil {
		return Task[A, K]{}, err
	}
	raw, err := newRawTask(name, &c)
	if err != nil {
		return Task[A, K]{}, err
	}
	return withPayload(raw, args, kwargs), nil
}

// newRawTask returns a task without its payload, of a name that has been checked.
func newRawTask(name string, c *taskConfig) (*RawTask, error) {
	t := &RawTask{
		ID: c.id, FuncName: name, CreatedAt: now(), TTL: c.ttl, Queue: c.queue, Priority: c.priority, RunAt: c.runAt,
		MaxAttempts: c.maxAttempts, Timeout: c.timeout, ResultTTL: c.resultTTL, Metadata: c.metadata,
		UniqueKey: c.uniqueKey, UniqueFor: c.uniqueFor, Delay: c.delay, FailureTTL: c.failureTTL, IDFor: c.idFor,
		Lane: c.lane, OnHeld: c.onHeld, ReplaceWithin: c.within, KeepTask: c.keepTask,
	}
	if t.ID == uuid.Nil {
		id, err := newID()
		if err != nil {
			return nil, err
		}
		t.ID = id
	}
	return t, t.checkStart()
}

// newID returns a UUID of version 7. Its chance comes from the runtime's generator, which is seeded by the system and
// cryptographically strong, and costs no system call.
func newID() (uuid.UUID, error) { return uuid.NewV7FromReader(randomReader{}) }

type randomReader struct{}

func (randomReader) Read(p []byte) (int, error) {
	var b [8]byte
	for n := 0; n < len(p); n += copy(p[n:], b[:]) {
		binary.LittleEndian.PutUint64(b[:], rand.Uint64())
	}
	return len(p), nil
}

// withPayload returns t with a payload instead of its own.
func withPayload[A, K any](t *RawTask, args A, kwargs K) Task[A, K] {
	typed := Task[A, K]{Args: args, Kwargs: kwargs}
	typed.setHead(t)
	return typed
}

// setHead copies what is not payload.
func (t *Task[A, K]) setHead(from *RawTask) {
	t.ID, t.FuncName, t.CreatedAt, t.TTL = from.ID, from.FuncName, from.CreatedAt, from.TTL
	t.Queue, t.Priority, t.RunAt, t.MaxAttempts = from.Queue, from.Priority, from.RunAt, from.MaxAttempts
	t.Timeout, t.ResultTTL, t.Metadata = from.Timeout, from.ResultTTL, from.Metadata
	t.UniqueKey, t.UniqueFor, t.IDFor = from.UniqueKey, from.UniqueFor, from.IDFor
	t.Delay, t.FailureTTL = from.Delay, from.FailureTTL
	t.Flow, t.After, t.Manual, t.Input, t.Lane = from.Flow, from.After, from.Manual, from.Input, from.Lane
	t.OnHeld, t.ReplaceWithin, t.KeepTask = from.OnHeld, from.ReplaceWithin, from.KeepTask
}

// checkStart refuses a task whose TTL ends before it is due.
func (t *Task[A, K]) checkStart() error {
	if t.TTL == nil || len(t.After) > 0 { // it may have less time than its TTL anyway
		return nil
	}
	after := t.Delay
	if !t.RunAt.IsZero() {
		after = t.RunAt.Sub(t.CreatedAt)
	}
	if after > max(*t.TTL, 0) {
		return invalid("task %v is due %v after it was created and could never start: its TTL is %v", t.ID, after, *t.TTL)
	}
	return nil
}

// Validate reports what is wrong with the fields other than Args and Kwargs, for tasks that were not made by NewTask; with
// those of a [RawTask], too, and with the size of the whole. errors.Is finds [ErrInvalid] in what it returns. It accepts a
// TTL that is not positive, which a peer may send: such a task has expired.
func (t *Task[A, K]) Validate() error {
	if err := t.validateHead(); err != nil {
		return err
	}
	if raw, ok := any(t).(*RawTask); ok {
		return checkRaw(raw)
	}
	return nil
}

// validateHead is Validate for what is not payload.
func (t *Task[A, K]) validateHead() error {
	if t == nil {
		return invalid("the task is nil")
	}
	if t.ID == uuid.Nil {
		return invalid("a task without an ID")
	}
	if err := checkName(t.FuncName); err != nil {
		return err
	}
	if t.Queue != "" {
		if err := checkQueue(t.Queue); err != nil {
			return err
		}
	}
	if t.CreatedAt.IsZero() {
		return invalid("task %v: CreatedAt is not set", t.ID)
	}
	if err := t.checkTimes(); err != nil {
		return invalid("task %v: %w", t.ID, err)
	}
	if t.MaxAttempts < 0 || t.MaxAttempts > math.MaxInt32 {
		return invalid("task %v: MaxAttempts is %d, want 1 to %d, or 0 for the worker's default", t.ID, t.MaxAttempts, math.MaxInt32)
	}
	if t.Timeout < 0 || t.Timeout != t.Timeout.Truncate(time.Microsecond) {
		return invalid("task %v: Timeout is %v, want whole microseconds, or 0 for the worker's default", t.ID, t.Timeout)
	}
	if t.Delay < 0 || t.Delay != t.Delay.Truncate(time.Microsecond) || t.Delay > 0 && !t.RunAt.IsZero() {
		return invalid("task %v: Delay is %v, want whole microseconds, and 0 beside a RunAt", t.ID, t.Delay)
	}
	if t.IDFor < 0 || t.IDFor != t.IDFor.Truncate(time.Microsecond) {
		return invalid("task %v: IDFor is %v, want whole microseconds, at least 0", t.ID, t.IDFor)
	}
	if t.UniqueKey != "" {
		if err := checkText("unique_key", t.UniqueKey, MaxKeyLen); err != nil {
			return err
		}
	}
	if t.UniqueFor < 0 || t.UniqueFor != t.UniqueFor.Truncate(time.Microsecond) || t.UniqueFor > 0 && t.UniqueKey == "" {
		return invalid("task %v: UniqueFor is %v, want whole microseconds, and 0 without a UniqueKey", t.ID, t.UniqueFor)
	}
	if err := t.checkOnHeld(); err != nil {
		return err
	}
	if t.Lane != "" {
		if err := checkText("lane", t.Lane, MaxLaneLen); err != nil {
			return err
		}
	}
	if t.Codec != "" {
		if err := codec.CheckName(t.Codec); err != nil {
			return invalid("task %v: %v", t.ID, err)
		}
	}
	if err := checkMetadata(t.Metadata); err != nil {
		return err
	}
	if len(t.After) > 0 {
		if err := checkDependencies(t.ID, t.After); err != nil {
			return invalid("task %v: %w", t.ID, err)
		}
	}
	return t.checkStart()
}

// checkOnHeld refuses what cannot take the place of another task.
func (t *Task[A, K]) checkOnHeld() error {
	if t.ReplaceWithin < 0 || t.ReplaceWithin != t.ReplaceWithin.Truncate(time.Microsecond) || t.ReplaceWithin > 0 && t.ReplaceWithin < t.Delay {
		return invalid("task %v: ReplaceWithin is %v, want whole microseconds and at least its Delay, or 0 for no bound", t.ID, t.ReplaceWithin)
	}
	if t.OnHeld == HeldRefuse {
		if t.ReplaceWithin > 0 {
			return invalid("task %v: ReplaceWithin is %v, and OnHeld %v, want 0 for what replaces nothing", t.ID, t.ReplaceWithin, t.OnHeld)
		}
		return nil
	}
	what := ""
	switch {
	case int(t.OnHeld) >= len(onHeldNames):
		return invalid("task %v: OnHeld is %v, want one of %v", t.ID, t.OnHeld, onHeldNames)
	case t.UniqueKey == "":
		return invalid("task %v: OnHeld is %v, and it has no UniqueKey", t.ID, t.OnHeld)
	case t.UniqueFor > 0:
		what = "a UniqueFor"
	case t.IDFor > 0:
		what = "an IDFor"
	case t.Flow != uuid.Nil:
		what = "a Flow"
	case len(t.After) > 0 || t.Input != "":
		what = "dependencies"
	case t.Manual:
		what = "a worker to wait for: it is manual"
	default:
		return nil
	}
	return invalid("task %v: OnHeld is %v, and it has %s, which it would lose with the place of another", t.ID, t.OnHeld, what)
}

// checkTimes refuses times and durations that the wire cannot hold.
func (t *Task[A, K]) checkTimes() error {
	if err := checkTime("CreatedAt", t.CreatedAt); err != nil {
		return err
	}
	if !t.RunAt.IsZero() {
		if err := checkTime("RunAt", t.RunAt); err != nil {
			return err
		}
	}
	if t.TTL != nil && *t.TTL > 0 {
		if err := checkDuration("TTL", t.TTL); err != nil {
			return err
		}
	}
	if err := checkDuration("ResultTTL", t.ResultTTL); err != nil {
		return err
	}
	return checkDuration("FailureTTL", t.FailureTTL)
}

// Tied reports whether the task is tied to others: it is a member of a flow, waits for tasks, or is manual. Only an engine with
// flows can store such a task: see [Capabilities].
func (t *Task[A, K]) Tied() bool { return t.Flow != uuid.Nil || len(t.After) > 0 || t.Manual }

// Deadline is the time after which the task may not start, by the clock of the program that made it. There is none, and
// ok is false, without a TTL. The backend counts by its own clock: see Remaining.
func (t *Task[A, K]) Deadline() (deadline time.Time, ok bool) {
	if t.TTL == nil {
		return time.Time{}, false
	}
	return t.CreatedAt.Add(*t.TTL), true
}

// Remaining is what is left of the task's TTL now, by this program's clock: what a backend counts from the moment in
// which it stores the task. It is not more than the TTL, and 0 or less once that has passed. There is none, and ok is
// false, without a TTL.
func (t *Task[A, K]) Remaining() (left time.Duration, ok bool) {
	if t.TTL == nil {
		return 0, false
	}
	return *t.TTL - max(time.Since(t.CreatedAt), 0), true
}

func checkName(name string) error {
	return checkText("func_name", name, MaxNameLen)
}

// checkQueue is stricter than checkName: engines make names of their own of a queue's.
func checkQueue(queue string) error {
	if queue == "" || len(queue) > MaxQueueLen {
		return invalid("queue %.120q has %d bytes, want 1 to %d", queue, len(queue), MaxQueueLen)
	}
	for i := range len(queue) {
		switch c := queue[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-', c == '.', c == ':', c == '/':
		default:
			return invalid("queue %q has %q at byte %d, want letters, digits or one of \"_-.:/\"", queue, c, i)
		}
	}
	return nil
}

func checkText(what, s string, maxLen int) error {
	if s == "" {
		return invalid("%s is empty, want 1 to %d bytes", what, maxLen)
	}
	if len(s) > maxLen {
		return invalid("%s %.40q... has %d bytes, want at most %d", what, s, len(s), maxLen)
	}
	if !utf8.ValidString(s) {
		return invalid("%s %q is not UTF-8", what, s)
	}
	for i, r := range s {
		if unicode.IsControl(r) || unicode.IsSpace(r) && (i == 0 || i+utf8.RuneLen(r) == len(s)) {
			return invalid("%s %q has %q at byte %d: control characters, and white space at an end, are not allowed", what, s, r, i)
		}
	}
	return nil
}

func checkMetadata(metadata map[string]string) error {
	for k, v := range metadata {
		if k == "" || !utf8.ValidString(k) || !utf8.ValidString(v) {
			return invalid("metadata %q: %q, want UTF-8 and a key that is not empty", k, v)
		}
	}
	return nil
}

// now is the time as the wire holds it.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }
