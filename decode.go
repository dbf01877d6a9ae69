package omniq

import (
	"fmt"

	"github.com/omniq-go/omniq/codec"
	"github.com/omniq-go/omniq/internal/envelope"
	"github.com/omniq-go/omniq/internal/payload"
)

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
	taskFlow
	taskAfter
	taskManual
	taskInput
	taskLane
	taskOnHeld
	taskReplaceWithin
	taskKeepTask
)

var taskKeys = []string{
	taskID: `"id":`, taskFuncName: `"func_name":`, taskArgs: `"args":`, taskKwargs: `"kwargs":`, taskCreatedAt: `"created_at":`,
	taskTTL: `"ttl":`, taskQueue: `"queue":`, taskPriority: `"priority":`, taskRunAt: `"run_at":`, taskMaxAttempts: `"max_attempts":`,
	taskTimeout: `"timeout":`, taskResultTTL: `"result_ttl":`, taskMetadata: `"metadata":`,
	taskUniqueKey: `"unique_key":`, taskUniqueFor: `"unique_for":`, taskCodec: `"codec":`,
	taskDelay: `"delay":`, taskFailureTTL: `"failure_ttl":`, taskIDFor: `"id_for":`,
	taskFlow: `"flow":`, taskAfter: `"after":`, taskManual: `"manual":`, taskInput: `"input":`,
	taskLane: `"lane":`, taskOnHeld: `"on_held":`, taskReplaceWithin: `"replace_within":`,
	taskKeepTask: `"keep_task":`,
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
	eventFuncName
)

var eventKeys = []string{
	eventTaskID: `"task_id":`, eventEventType: `"event_type":`, eventTimestamp: `"timestamp":`, eventWorkerID: `"worker_id":`,
	eventAttempt: `"attempt":`, eventQueue: `"queue":`, eventError: `"error":`,
	eventFuncName: `"func_name":`,
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

// inPlace reads values of an envelope into where they are to be, while the envelope is read: see [envelope.Reader.Read].
type inPlace struct {
	args, kwargs func(data []byte, at int) (end int, ok bool)
	done         int // how many of both it has read
}

// readTask reads a task's envelope into t, but for the payload, which it reads in place if it can; nil for where it is not to be.
func readTask(data []byte, t *RawTask, in *inPlace) (args, kwargs envelope.Field, err error) {
	r := envelope.NewReader(data, taskKeys)
	for r.Next() {
		switch r.Key {
		case taskID:
			r.ID(&t.ID)
		case taskFuncName:
			r.Name(&t.FuncName)
		case taskArgs:
			args = in.read(&r, '[', "an array")
		case taskKwargs:
			kwargs = in.read(&r, '{', "an object")
		case taskCreatedAt:
			r.Time(&t.CreatedAt)
		case taskTTL:
			r.DurationOrNull(&t.TTL)
		case taskQueue:
			r.Name(&t.Queue)
		case taskPriority:
			r.Int(&t.Priority)
		case taskRunAt:
			r.Time(&t.RunAt)
		case taskMaxAttempts:
			r.Int(&t.MaxAttempts)
		case taskTimeout:
			r.Duration(&t.Timeout)
		case taskResultTTL:
			r.DurationOrNull(&t.ResultTTL)
		case taskMetadata:
			r.Strings(&t.Metadata)
		case taskUniqueKey:
			r.String(&t.UniqueKey)
		case taskUniqueFor:
			r.Duration(&t.UniqueFor)
		case taskCodec:
			r.String(&t.Codec)
		case taskDelay:
			r.Duration(&t.Delay)
		case taskFailureTTL:
			r.DurationOrNull(&t.FailureTTL)
		case taskIDFor:
			r.Duration(&t.IDFor)
		case taskFlow:
			r.ID(&t.Flow)
		case taskAfter:
			readDependencies(&r, &t.After)
		case taskManual:
			r.Bool(&t.Manual)
		case taskInput:
			if !r.Null() {
				t.Input = string(r.Value().Raw())
			}
		case taskLane:
			r.String(&t.Lane)
		case taskOnHeld:
			var on OnHeld // t stays where it is: few tasks have any
			r.Enum(&on, "a rule for a key that is held")
			t.OnHeld = on
		case taskReplaceWithin:
			r.Duration(&t.ReplaceWithin)
		case taskKeepTask:
			r.Bool(&t.KeepTask)
		}
	}
	if err := r.End(taskRequired); err != nil {
		return args, kwargs, fmt.Errorf("omniq: task: %w", err)
	}
	return args, kwargs, nil
}

func (in *inPlace) read(r *envelope.Reader, open byte, want string) envelope.Field {
	if in != nil {
		read := in.args
		if open == '{' {
			read = in.kwargs
		}
		if f, ok := r.Read(read); ok {
			in.done++
			return f
		}
	}
	return r.Kind(open, want)
}

// UnmarshalJSON reads a task's JSON form with JSON payloads, the whole of data, strictly. It keeps nothing of data. When
// it fails, what is in t is unspecified. For payloads of another codec, read a [RawTask] and use [DecodeTask].
func (t *Task[A, K]) UnmarshalJSON(data []byte) error {
	var raw RawTask
	if self, ok := any(t).(*RawTask); ok {
		args, kwargs, err := readTask(data, &raw, nil)
		if err != nil {
			return err
		}
		raw.Args, raw.Kwargs = args.Raw(), kwargs.Raw()
		*self = raw
		return nil
	}
	*t = Task[A, K]{}
	shape := payload.ShapeOf[A, K]()
	in := inPlace{
		args:   func(data []byte, at int) (int, bool) { return shape.Args.ReadJSON(data, at, codec.JSON, &t.Args) },
		kwargs: func(data []byte, at int) (int, bool) { return shape.Kwargs.ReadJSON(data, at, codec.JSON, &t.Kwargs) },
	}
	args, kwargs, err := readTask(data, &raw, &in)
	if err != nil {
		return err
	}
	t.setHead(&raw)
	if in.done == 2 && (raw.Codec == "" || raw.Codec == codec.NameJSON) {
		return nil
	}
	var zero Task[A, K]
	t.Args, t.Kwargs = zero.Args, zero.Kwargs
	raw.Args, raw.Kwargs = args.JSON, kwargs.JSON
	return decodePayload(&raw, nil, &t.Args, &t.Kwargs)
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
		raw.ResultData = result.Raw()
		*self = raw
		return nil
	}
	raw.ResultData = result.JSON
	typed, err := resultOf[R](&raw, true, nil)
	if err != nil {
		return err
	}
	*r = typed
	return nil
}

// readResult reads a result's envelope into r, but for the payload.
func readResult(data []byte, to *RawResult) (result envelope.Field, err error) {
	r := envelope.NewReader(data, resultKeys)
	for r.Next() {
		switch r.Key {
		case resultTaskID:
			r.ID(&to.TaskID)
		case resultStatus:
			r.Enum(&to.Status, "a status")
		case resultData:
			result = r.Value()
		case resultTimestamp:
			r.Time(&to.Timestamp)
		case resultTTL:
			r.DurationOrNull(&to.TTL)
		case resultError:
			readError(&r, &to.Error)
		case resultAttempts:
			r.Int(&to.Attempts)
		case resultCodec:
			r.String(&to.Codec)
		}
	}
	if err := r.End(resultRequired); err != nil {
		return result, fmt.Errorf("omniq: result: %w", err)
	}
	return result, nil
}

// UnmarshalJSON reads an event's JSON form, the whole of data. It keeps nothing of data.
func (e *TaskEvent) UnmarshalJSON(data []byte) error {
	var to TaskEvent
	r := envelope.NewReader(data, eventKeys)
	for r.Next() {
		switch r.Key {
		case eventTaskID:
			r.ID(&to.TaskID)
		case eventEventType:
			r.Enum(&to.EventType, "an event type")
		case eventTimestamp:
			r.Time(&to.Timestamp)
		case eventWorkerID:
			r.StringOrNull(&to.WorkerID)
		case eventAttempt:
			r.Int(&to.Attempt)
		case eventQueue:
			r.Name(&to.Queue)
		case eventError:
			readError(&r, &to.Error)
		case eventFuncName:
			r.Name(&to.FuncName)
		}
	}
	if err := r.End(eventRequired); err != nil {
		return fmt.Errorf("omniq: event: %w", err)
	}
	*e = to
	return nil
}

func readError(r *envelope.Reader, to **TaskError) {
	if r.Null() {
		return
	}
	f := r.Kind('{', "an object")
	if r.Err() != nil {
		return
	}
	e := new(TaskError)
	inner := envelope.NewReader(f.JSON, errorKeys)
	for inner.Next() {
		switch inner.Key {
		case errorKind:
			inner.String(&e.Type)
		case errorMessage:
			inner.String(&e.Message)
		case errorStack:
			inner.String(&e.Stack)
		case errorRetryable:
			inner.Bool(&e.Retryable)
		}
	}
	if err := inner.End(0); err != nil {
		r.Fail(err)
	}
	*to = e
}
