package omniq

import (
	"fmt"

	"github.com/omniq-go/omniq/internal/envelope"
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

// readTask reads a task's envelope into t, but for the payload.
func readTask(data []byte, t *RawTask) (args, kwargs envelope.Field, err error) {
	r := envelope.NewReader(data, taskKeys)
	for r.Next() {
		switch r.Key {
		case taskID:
			r.ID(&t.ID)
		case taskFuncName:
			r.String(&t.FuncName)
		case taskArgs:
			args = r.Kind('[', "an array")
		case taskKwargs:
			kwargs = r.Kind('{', "an object")
		case taskCreatedAt:
			r.Time(&t.CreatedAt)
		case taskTTL:
			r.DurationOrNull(&t.TTL)
		case taskQueue:
			r.String(&t.Queue)
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

// UnmarshalJSON reads a task's JSON form with JSON payloads, the whole of data, strictly. It keeps nothing of data. When
// it fails, what is in t is unspecified. For payloads of another codec, read a [RawTask] and use [DecodeTask].
func (t *Task[A, K]) UnmarshalJSON(data []byte) error {
	var raw RawTask
	args, kwargs, err := readTask(data, &raw)
	if err != nil {
		return err
	}
	if self, ok := any(t).(*RawTask); ok {
		raw.Args, raw.Kwargs = args.Raw(), kwargs.Raw()
		*self = raw
		return nil
	}
	raw.Args, raw.Kwargs = args.JSON, kwargs.JSON
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
			r.String(&to.Queue)
		case eventError:
			readError(&r, &to.Error)
		case eventFuncName:
			r.String(&to.FuncName)
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
