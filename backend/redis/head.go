package redis

import (
	"encoding/json"
	"fmt"
	"time"
	"unsafe"

	"github.com/google/uuid"
	"github.com/redis/rueidis"

	"github.com/omniq-go/omniq"
)

// bytesOf is a text as bytes that nobody changes.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// texts are the texts in an answer that is a list: empty for what is not there.
func texts(m rueidis.RedisMessage) []string {
	list, err := m.ToArray()
	if err != nil {
		return nil
	}
	all := make([]string, len(list))
	for i := range list {
		all[i], _ = list[i].ToString()
	}
	return all
}

func idOf(s string) (id uuid.UUID) {
	copy(id[:], s)
	return id
}

func key(id uuid.UUID) string { return string(id[:]) }

func keysOf(ids []uuid.UUID) []string {
	keys := make([]string, len(ids))
	for i := range ids {
		keys[i] = key(ids[i])
	}
	return keys
}

func statusOf(head fields) omniq.Status { return omniq.Status(head.int("status")) }

// decodeTask reads a task's envelope. It may have another ID in it, and say another time of another life: the head knows better.
func decodeTask(id uuid.UUID, head fields, envelope string) (*omniq.RawTask, error) {
	t := new(omniq.RawTask)
	if err := t.UnmarshalJSON(bytesOf(envelope)); err != nil {
		return nil, err
	}
	t.ID = id
	if again := head.int("requeued"); again != 0 {
		t.CreatedAt, t.RunAt, t.Delay = moment(again), time.Time{}, 0
	}
	return t, nil
}

// decodeResult reads a result that a worker, or who resolved or recorded it, has made.
func decodeResult(id uuid.UUID, envelope string) (*omniq.RawResult, error) {
	r := new(omniq.RawResult)
	if err := r.UnmarshalJSON(bytesOf(envelope)); err != nil {
		return nil, fmt.Errorf("redis: the result of task %v: %w", id, err)
	}
	if r.Status != omniq.StatusSuccess && string(r.ResultData) == "null" { // how nothing is written
		r.ResultData = nil
	}
	return r, nil
}

// resultOf is the result of a task as it is: what was kept of it or, where no worker has ended it, what the contract makes of its task.
func resultOf(id uuid.UUID, head fields, result, envelope string) (*omniq.RawResult, error) {
	status := statusOf(head)
	why := head.sub("why")
	switch {
	case !status.Final():
		return &omniq.RawResult{TaskID: id, Status: status, Timestamp: moment(head.int("since")), Attempts: int(head.int("attempt"))}, nil
	case why == nil:
		return decodeResult(id, result)
	}
	t, err := decodeTask(id, head, envelope)
	if err != nil {
		t = &omniq.RawTask{ID: id} // what can be said of it without its envelope
	}
	return made(t, why, moment(head.int("since")), int(head.int("attempt"))), nil
}

// made is the result of a task that no worker has ended.
func made(t *omniq.RawTask, why fields, at time.Time, attempts int) *omniq.RawResult {
	switch why.text("how") {
	case "expired":
		if t.TTL == nil {
			ttl := time.Duration(why.int("ttl")) * time.Microsecond
			with := *t
			with.TTL = &ttl
			t = &with
		}
		return omniq.ExpiredResult(t, at, attempts)
	case "inputs":
		return omniq.InputsResult(t, at, attempts, why.int("size"))
	case "dependency":
		dependency := &omniq.RawResult{TaskID: idOf(why.text("id")), Status: omniq.Status(why.int("status"))}
		if inner := why.sub("why"); inner != nil {
			dependency.Error = made(&omniq.RawTask{ID: dependency.TaskID}, inner, at, 0).Error
		} else if message, ok := why["message"].(string); ok {
			dependency.Error = &omniq.TaskError{Message: message}
		}
		return omniq.DependencyResult(t, at, attempts, why.text("name"), dependency)
	}
	return omniq.CancelledResult(t, at, attempts)
}

// decodeError reads the error of an attempt, nil for none.
func decodeError(text string) *omniq.TaskError {
	if text == "" {
		return nil
	}
	e := new(omniq.TaskError)
	if err := json.Unmarshal(bytesOf(text), e); err != nil {
		return unreadable(err)
	}
	return e
}

// unreadable is what is shown in the place of an error or a result that cannot be read.
func unreadable(err error) *omniq.TaskError {
	return &omniq.TaskError{Type: "omniq.Decode", Message: "it cannot be read: " + err.Error()}
}

func encodeError(e *omniq.TaskError) (any, error) {
	if e == nil {
		return nil, nil
	}
	text, err := json.Marshal(e)
	return text, err
}

// The places in what a script shows of a task: see view.
const (
	viewID = iota
	viewHead
	viewEnvelope
	viewResult
	viewFailure
	viewEdges
	viewProgress
	viewState
	viewSize
)

const edgeSize = 18 // bytes: an ID, the need, and whether it is an input

// decodeInfo makes what is shown of a task.
func decodeInfo(m rueidis.RedisMessage) (*omniq.TaskInfo, error) {
	v := texts(m)
	if len(v) != viewSize {
		return nil, errPacked
	}
	head, err := decodeFields(v[viewHead])
	if err != nil {
		return nil, err
	}
	id := idOf(v[viewID])
	info := &omniq.TaskInfo{
		ID: id, FuncName: head.text("name"), Queue: head.text("queue"), Status: statusOf(head), Attempts: int(head.int("attempt")),
		Lost: int(head.int("lost")), Since: moment(head.int("since")), WorkerID: head.text("worker"), Lane: head.text("lane"),
		Error: decodeError(v[viewFailure]), Flow: idOf(head.text("flow")),
	}
	if due, ok := head["due"].(int64); ok {
		info.Due = moment(due)
	}
	if info.Status == omniq.StatusRunning {
		info.Expires = moment(head.int("at"))
	}
	if v[viewProgress] != "" {
		info.Progress = omniq.Raw(v[viewProgress])
	}
	if v[viewState] != "" {
		info.State = omniq.Raw(v[viewState])
	}
	for edges := v[viewEdges]; len(edges) >= edgeSize; edges = edges[edgeSize:] {
		info.After = append(info.After, omniq.Dependency{ID: idOf(edges), Need: omniq.Need(edges[16]), Input: edges[17] == 1})
	}
	if v[viewEnvelope] != "" {
		t, err := decodeTask(id, head, v[viewEnvelope])
		if err != nil {
			info.Error = unreadable(err)
		} else {
			info.Task = t
		}
	}
	if info.Status.Final() && info.Status != omniq.StatusSuccess {
		r, err := resultOf(id, head, v[viewResult], v[viewEnvelope])
		if err != nil {
			info.Error = unreadable(err)
		} else {
			info.Error = r.Error
		}
	}
	return info, nil
}
