// Package hostile has what no engine may take, because a worker or a reader could not read it back: one table for each
// kind of thing that comes in, for the tests of every door.
package hostile

import (
	"math"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/codec"
)

// Case is something of which each door says [omniq.ErrInvalid], and why.
type Case[T any] struct {
	Name  string
	Value T
}

// texts are no name of anything.
var texts = []Case[string]{
	{"empty", ""},
	{"not UTF-8", "a\xff"},
	{"a lone surrogate", "a\xed\xa0\x80"},
	{"a NUL", "a\x00b"},
	{"a new line", "a\nb"},
	{"an escape of a terminal", "\x1b[2J"},
	{"a C1 control character", "a\u0085b"},
	{"white space before it", " a"},
	{"white space after it", "a\u3000"},
	{"nothing but white space", "\u2003"},
	{"too long", strings.Repeat("x", 256)},
	{"too long in bytes", strings.Repeat("é", 128)},
}

// Queues are no names of queues.
func Queues() []Case[string] {
	return append([]Case[string]{
		{"a space", "a b"}, {"a quote", "a'b"}, {"a letter that is not ASCII", "é"}, {"a comma", "a,b"},
		{"longer than a queue's", strings.Repeat("x", omniq.MaxQueueLen+1)},
	}, texts...)
}

// WorkerIDs are no names of workers.
func WorkerIDs() []Case[string] { return texts }

// deep is n arrays inside each other.
func deep(n int) omniq.Raw { return omniq.Raw(strings.Repeat("[", n) + strings.Repeat("]", n)) }

// deepObject is n objects inside each other.
func deepObject(n int) omniq.Raw {
	return omniq.Raw(strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n))
}

// What is large is made once.
var (
	large   = sync.OnceValue(func() string { return strings.Repeat("x", codec.MaxSize) })
	escaped = sync.OnceValue(func() string { return strings.Repeat("\x01", codec.MaxSize/6) })

	tooLarge    = sync.OnceValue(func() omniq.Raw { return omniq.Raw(`["` + large() + `"]`) })
	nearlyLarge = sync.OnceValue(func() omniq.Raw { return omniq.Raw(`["` + large()[:codec.MaxSize-50] + `"]`) })
	halfArgs    = sync.OnceValue(func() omniq.Raw { return omniq.Raw(`["` + large()[:codec.MaxSize/2] + `"]`) })
	halfKwargs  = sync.OnceValue(func() omniq.Raw { return omniq.Raw(`{"a":"` + large()[:codec.MaxSize/2] + `"}`) })
)

// documents are no JSON documents that stand in an envelope. The place of %s in a text is that of what is wrong.
var documents = []Case[string]{
	{"no JSON", "{"},
	{"something after it", "1] ["},
	{"a NUL after it", "1]\x00["},
	{"not UTF-8", "\"\xff\""},
	{"a lone surrogate", `"\ud800"`},
	{"a lone surrogate in bytes", "\"\xed\xa0\x80\""},
	{"a control character", "\"\x01\""},
	{"an escape that is none", `"\x"`},
	{"a number beyond float64", "1e400"},
	{"a negative number beyond float64", "-1e309"},
	{"no number", "NaN"},
	{"an octal number", "010"},
	{"too deep", string(deep(codec.MaxDepth - 1))},
	{"far too deep", string(deep(100_000))},
}

// Tasks are tasks that no worker could read. Each call returns new ones.
func Tasks() []Case[*omniq.RawTask] {
	var cases []Case[*omniq.RawTask]
	add := func(name string, change func(*omniq.RawTask)) {
		t := Task()
		change(t)
		cases = append(cases, Case[*omniq.RawTask]{name, t})
	}
	cases = append(cases, Case[*omniq.RawTask]{"no task", nil})
	add("no ID", func(t *omniq.RawTask) { t.ID = uuid.Nil })
	for _, text := range texts {
		add("a name: "+text.Name, func(t *omniq.RawTask) { t.FuncName = text.Value })
		if text.Value != "" {
			add("a unique key: "+text.Name, func(t *omniq.RawTask) { t.UniqueKey = text.Value })
		}
	}
	for _, queue := range Queues() {
		if queue.Value != "" {
			add("a queue: "+queue.Name, func(t *omniq.RawTask) { t.Queue = queue.Value })
		}
	}
	for _, doc := range documents {
		add("args: "+doc.Name, func(t *omniq.RawTask) { t.Args = omniq.Raw("[" + doc.Value + "]") })
		add("kwargs: "+doc.Name, func(t *omniq.RawTask) { t.Kwargs = omniq.Raw(`{"a":` + doc.Value + "}") })
	}
	add("args: an object", func(t *omniq.RawTask) { t.Args = omniq.Raw("{}") })
	add("args: null", func(t *omniq.RawTask) { t.Args = omniq.Raw("null") })
	add("kwargs: an array", func(t *omniq.RawTask) { t.Kwargs = omniq.Raw("[]") })
	add("kwargs: a text", func(t *omniq.RawTask) { t.Kwargs = omniq.Raw(`"{}"`) })
	add("kwargs: objects that are too deep", func(t *omniq.RawTask) { t.Kwargs = deepObject(codec.MaxDepth) })
	add("kwargs: a key that is not UTF-8", func(t *omniq.RawTask) { t.Kwargs = omniq.Raw("{\"\xff\":1}") })
	add("a codec without a name", func(t *omniq.RawTask) { t.Codec = "a b" })
	for name, args := range map[string]string{
		"one part": `["AAAA"]`, "no base64": `["!","AAAA"]`, "cut base64": `["AAA","AAAA"]`, "numbers": `[1,2]`, "none": `[]`,
	} {
		add("an opaque payload: "+name, func(t *omniq.RawTask) { t.Codec, t.Args = "gob", omniq.Raw(args) })
	}
	add("an opaque payload with kwargs", func(t *omniq.RawTask) {
		t.Codec, t.Args, t.Kwargs = "gob", omniq.Raw(`["",""]`), omniq.Raw(`{"a":1}`)
	})
	add("metadata: a key that is empty", func(t *omniq.RawTask) { t.Metadata = map[string]string{"": "x"} })
	add("metadata: a key that is not UTF-8", func(t *omniq.RawTask) { t.Metadata = map[string]string{"\xff": "x"} })
	add("metadata: a text that is not UTF-8", func(t *omniq.RawTask) { t.Metadata = map[string]string{"a": "\xff"} })
	add("metadata: too large", func(t *omniq.RawTask) { t.Metadata = map[string]string{"a": large()} })
	add("metadata: too large once it is escaped", func(t *omniq.RawTask) {
		t.Metadata = map[string]string{"a": escaped()}
	})
	add("args: too large", func(t *omniq.RawTask) { t.Args = tooLarge() })
	add("args: too large for the envelope", func(t *omniq.RawTask) { t.Args = nearlyLarge() })
	add("args and kwargs: too large together", func(t *omniq.RawTask) {
		t.Args, t.Kwargs = halfArgs(), halfKwargs()
	})
	add("args and metadata: too large together", func(t *omniq.RawTask) {
		t.Args = halfArgs()
		t.Metadata = map[string]string{"a": large()[:codec.MaxSize/2]}
	})
	add("created never", func(t *omniq.RawTask) { t.CreatedAt = time.Time{} })
	add("created in the year 10000", func(t *omniq.RawTask) { t.CreatedAt = year(10000) })
	add("due in the year 10000", func(t *omniq.RawTask) { t.RunAt = year(10000) })
	add("due in the year 0", func(t *omniq.RawTask) { t.RunAt = year(0) })
	add("due after its TTL", func(t *omniq.RawTask) { t.TTL, t.Delay = new(time.Second), time.Minute })
	add("a delay that is negative", func(t *omniq.RawTask) { t.Delay = -time.Second })
	add("a delay beside a time", func(t *omniq.RawTask) { t.Delay, t.RunAt = time.Second, year(2100) })
	add("a TTL that is too short", func(t *omniq.RawTask) { t.TTL = new(time.Nanosecond) })
	add("a result's TTL that is negative", func(t *omniq.RawTask) { t.ResultTTL = new(-time.Second) })
	add("a result's TTL that is too short", func(t *omniq.RawTask) { t.ResultTTL = new(time.Nanosecond) })
	add("a failure's TTL that is negative", func(t *omniq.RawTask) { t.FailureTTL = new(-time.Second) })
	add("a timeout that is negative", func(t *omniq.RawTask) { t.Timeout = -time.Second })
	add("a timeout that is too short", func(t *omniq.RawTask) { t.Timeout = time.Nanosecond })
	add("attempts that are negative", func(t *omniq.RawTask) { t.MaxAttempts = -1 })
	add("more attempts than can be counted", func(t *omniq.RawTask) { t.MaxAttempts = math.MaxInt32 + 1 })
	add("a time for no key", func(t *omniq.RawTask) { t.UniqueFor = time.Second })
	add("a key for less than no time", func(t *omniq.RawTask) { t.UniqueKey, t.UniqueFor = "k", -time.Second })
	for name, change := range map[string]func(*omniq.RawTask){
		"that is none":                    func(t *omniq.RawTask) { t.OnHeld = 3 },
		"without a key":                   func(t *omniq.RawTask) { t.UniqueKey = "" },
		"beside a time":                   func(t *omniq.RawTask) { t.UniqueFor = time.Second },
		"beside a time of its ID":         func(t *omniq.RawTask) { t.IDFor = time.Second },
		"in a flow":                       func(t *omniq.RawTask) { t.Flow = uuid.New() },
		"with dependencies":               func(t *omniq.RawTask) { t.After = []omniq.Dependency{{ID: uuid.New()}} },
		"with inputs":                     func(t *omniq.RawTask) { t.Input = "{}" },
		"of a manual one":                 func(t *omniq.RawTask) { t.Manual = true },
		"within less than no time":        func(t *omniq.RawTask) { t.ReplaceWithin = -time.Second },
		"within a nanosecond":             func(t *omniq.RawTask) { t.ReplaceWithin = time.Nanosecond },
		"within less than its delay":      func(t *omniq.RawTask) { t.Delay, t.ReplaceWithin = time.Minute, time.Second },
		"that is to refuse within a time": func(t *omniq.RawTask) { t.OnHeld, t.ReplaceWithin = omniq.HeldRefuse, time.Second },
	} {
		add("a rule for a key that is held "+name, func(t *omniq.RawTask) {
			t.UniqueKey, t.OnHeld = "k", omniq.HeldReplace
			change(t)
		})
	}
	add("an ID for less than no time", func(t *omniq.RawTask) { t.IDFor = -time.Second })
	return cases
}

// Task is a task that has nothing wrong.
func Task() *omniq.RawTask {
	return &omniq.RawTask{
		ID: uuid.New(), FuncName: "f", Args: omniq.Raw("[]"), Kwargs: omniq.Raw("{}"),
		CreatedAt: time.Now().UTC().Truncate(time.Microsecond),
	}
}

func year(y int) time.Time { return time.Date(y, 6, 1, 0, 0, 0, 0, time.UTC) }

// Results are final results that nobody could read, of the task with this ID. Each call returns new ones.
func Results(id uuid.UUID) []Case[*omniq.RawResult] {
	var cases []Case[*omniq.RawResult]
	add := func(name string, change func(*omniq.RawResult)) {
		r := Result(id)
		change(r)
		cases = append(cases, Case[*omniq.RawResult]{name, r})
	}
	for _, doc := range documents {
		add("data: "+doc.Name, func(r *omniq.RawResult) { r.ResultData = omniq.Raw("[" + doc.Value + "]") })
	}
	add("data: objects that are too deep", func(r *omniq.RawResult) { r.ResultData = deepObject(codec.MaxDepth) })
	add("data: too large", func(r *omniq.RawResult) { r.ResultData = tooLarge() })
	add("data: too large for the envelope", func(r *omniq.RawResult) { r.ResultData = nearlyLarge() })
	add("a codec without a name", func(r *omniq.RawResult) { r.Codec = "a b" })
	add("opaque data that is no text", func(r *omniq.RawResult) { r.Codec, r.ResultData = "gob", omniq.Raw("1") })
	add("opaque data that is no base64", func(r *omniq.RawResult) { r.Codec, r.ResultData = "gob", omniq.Raw(`"!"`) })
	for _, e := range Errors() {
		add("an error: "+e.Name, func(r *omniq.RawResult) { r.Status, r.ResultData, r.Error = omniq.StatusFailure, nil, e.Value })
	}
	add("a time in the year 10000", func(r *omniq.RawResult) { r.Timestamp = year(10000) })
	add("a TTL that is negative", func(r *omniq.RawResult) { r.TTL = new(-time.Second) })
	add("a TTL that is too short", func(r *omniq.RawResult) { r.TTL = new(time.Nanosecond) })
	add("attempts that are negative", func(r *omniq.RawResult) { r.Attempts = -1 })
	add("more attempts than can be counted", func(r *omniq.RawResult) { r.Attempts = math.MaxInt32 + 1 })
	return cases
}

// Result is the result of a success that has nothing wrong.
func Result(id uuid.UUID) *omniq.RawResult {
	return &omniq.RawResult{
		TaskID: id, Status: omniq.StatusSuccess, ResultData: omniq.Raw("1"),
		Timestamp: time.Now().UTC().Truncate(time.Microsecond), TTL: new(time.Hour), Attempts: 1,
	}
}

// Errors are errors that nobody could read.
func Errors() []Case[*omniq.TaskError] {
	return []Case[*omniq.TaskError]{
		{"a type that is not UTF-8", &omniq.TaskError{Type: "\xff"}},
		{"a message that is not UTF-8", &omniq.TaskError{Message: "\xff"}},
		{"a stack that is not UTF-8", &omniq.TaskError{Stack: "\xff"}},
		{"a message that is too large", &omniq.TaskError{Message: large()}},
		{"a message that is too large once it is escaped", &omniq.TaskError{Message: escaped()}},
	}
}

// Events are events that nobody could read. Each call returns new ones.
func Events() []Case[*omniq.TaskEvent] {
	var cases []Case[*omniq.TaskEvent]
	add := func(name string, change func(*omniq.TaskEvent)) {
		e := Event()
		change(e)
		cases = append(cases, Case[*omniq.TaskEvent]{name, e})
	}
	cases = append(cases, Case[*omniq.TaskEvent]{"no event", nil})
	add("no ID", func(e *omniq.TaskEvent) { e.TaskID = uuid.Nil })
	add("no type", func(e *omniq.TaskEvent) { e.EventType = 0 })
	add("a type that is none", func(e *omniq.TaskEvent) { e.EventType = 99 })
	add("a time in the year 10000", func(e *omniq.TaskEvent) { e.Timestamp = year(10000) })
	add("an attempt that is negative", func(e *omniq.TaskEvent) { e.Attempt = -1 })
	add("an attempt that cannot be counted", func(e *omniq.TaskEvent) { e.Attempt = math.MaxInt32 + 1 })
	for _, id := range WorkerIDs() {
		add("a worker: "+id.Name, func(e *omniq.TaskEvent) { e.WorkerID = &id.Value })
	}
	for _, name := range texts {
		if name.Value != "" {
			add("a function: "+name.Name, func(e *omniq.TaskEvent) { e.FuncName = name.Value })
		}
	}
	for _, queue := range Queues() {
		if queue.Value != "" {
			add("a queue: "+queue.Name, func(e *omniq.TaskEvent) { e.Queue = queue.Value })
		}
	}
	for _, problem := range Errors() {
		add("an error: "+problem.Name, func(e *omniq.TaskEvent) { e.Error = problem.Value })
	}
	return cases
}

// Event is an event that has nothing wrong.
func Event() *omniq.TaskEvent {
	return &omniq.TaskEvent{
		TaskID: uuid.New(), EventType: omniq.EventStarted, Timestamp: time.Now().UTC().Truncate(time.Microsecond),
		WorkerID: new("w"), Attempt: 1, Queue: omniq.DefaultQueue, FuncName: "f",
	}
}
