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

// strange is text that is allowed: whoever cannot store it must say so when it comes.
const strange = "\x00\x01\x1f\x7f\u0085\u2028\ufeff\uffff\U0010ffff'\"\\%s$1;--\n"

// strangeJSON is strange as a JSON text in its compact form.
const strangeJSON = `"\u0000\u0001\u001f` + "\x7f\u0085\u2028\ufeff\uffff\U0010ffff" + `'\"\\%s$1;--\n"`

// name is the longest name, in which there is what looks like something else.
var name = func() string {
	odd := "'; DROP TABLE omniq_tasks; --\u2028\"\\ {s} $1 ?1 :a "
	return odd + strings.Repeat("x", omniq.MaxNameLen-len(odd))
}()

// EdgeTasks are tasks that are just allowed: whoever takes one must hand it out as it was. Each call returns new ones.
func EdgeTasks() []Case[*omniq.RawTask] {
	var cases []Case[*omniq.RawTask]
	add := func(name string, change func(*omniq.RawTask)) {
		t := Task()
		change(t)
		cases = append(cases, Case[*omniq.RawTask]{name, t})
	}
	add("the longest names", func(t *omniq.RawTask) {
		t.FuncName, t.UniqueKey = name, strings.Repeat("🎉", omniq.MaxKeyLen/4)
		t.Queue = strings.Repeat("q", omniq.MaxQueueLen)
	})
	add("texts", func(t *omniq.RawTask) {
		t.Args, t.Kwargs = omniq.Raw("["+strangeJSON+"]"), omniq.Raw("{"+strangeJSON+":"+strangeJSON+"}")
		t.Metadata = map[string]string{strange: strange}
	})
	add("numbers", func(t *omniq.RawTask) {
		t.Args = omniq.Raw("[1.7976931348623157e308,-1e308,1e-400,-0,0.1,123456789012345678901234567890,1E+2]")
	})
	add("the deepest arrays", func(t *omniq.RawTask) { t.Args = deep(codec.MaxDepth - 1) })
	add("the deepest objects", func(t *omniq.RawTask) { t.Kwargs = deepObject(codec.MaxDepth - 1) })
	add("the largest envelope", func(t *omniq.RawTask) {
		t.Metadata = map[string]string{"a": "b"}
		t.Args = omniq.Raw(`[""]`)
		envelope, err := t.AppendJSON(nil)
		if err != nil {
			panic(err)
		}
		t.Args = largest(codec.MaxSize - len(envelope) + len(t.Args))
	})
	add("the lowest priority", func(t *omniq.RawTask) { t.Priority = math.MinInt })
	add("the highest priority", func(t *omniq.RawTask) { t.Priority = math.MaxInt })
	add("the greatest counts and times", func(t *omniq.RawTask) {
		t.MaxAttempts, t.Timeout = math.MaxInt32, 106751*24*time.Hour
		t.TTL, t.ResultTTL, t.FailureTTL = new(106751*24*time.Hour), new(106751*24*time.Hour), new(106751*24*time.Hour)
		t.UniqueKey, t.UniqueFor, t.IDFor = "k", 106751*24*time.Hour, 106751*24*time.Hour
	})
	add("a payload of a codec", func(t *omniq.RawTask) { t.Codec, t.Args = strings.Repeat("c", 64), omniq.Raw(`["AAAA",""]`) })
	return cases
}

// EdgeResults are results of the task with this ID that are just allowed: whoever takes one must give it back as it was.
// Each call returns new ones.
func EdgeResults(id uuid.UUID) []Case[*omniq.RawResult] {
	var cases []Case[*omniq.RawResult]
	add := func(name string, change func(*omniq.RawResult)) {
		r := Result(id)
		change(r)
		cases = append(cases, Case[*omniq.RawResult]{name, r})
	}
	add("texts", func(r *omniq.RawResult) { r.ResultData = omniq.Raw(strangeJSON) })
	add("an error of texts", func(r *omniq.RawResult) {
		r.Status, r.ResultData = omniq.StatusFailure, nil
		r.Error = &omniq.TaskError{Type: strange, Message: strange, Stack: strange, Retryable: true}
	})
	add("the deepest arrays", func(r *omniq.RawResult) { r.ResultData = deep(codec.MaxDepth - 1) })
	add("the largest envelope", func(r *omniq.RawResult) {
		r.ResultData = omniq.Raw(`[""]`)
		envelope, err := r.AppendJSON(nil)
		if err != nil {
			panic(err)
		}
		r.ResultData = largest(codec.MaxSize - len(envelope) + len(r.ResultData))
	})
	add("the longest texts that the runtime makes", func(r *omniq.RawResult) {
		text := strings.Repeat("\x01", 64<<10)
		r.Status, r.ResultData = omniq.StatusFailure, nil
		r.Error = &omniq.TaskError{Type: text, Message: text, Stack: text}
	})
	add("the greatest counts and times", func(r *omniq.RawResult) {
		r.TTL, r.Attempts = new(106751*24*time.Hour), math.MaxInt32
	})
	return cases
}

var documentsBySize sync.Map // int -> omniq.Raw

// largest is an array of so many bytes, made once.
func largest(size int) omniq.Raw {
	doc, ok := documentsBySize.Load(size)
	if !ok {
		doc, _ = documentsBySize.LoadOrStore(size, omniq.Raw(`["`+large()[:size-len(`[""]`)]+`"]`))
	}
	return doc.(omniq.Raw)
}
