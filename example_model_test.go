package omniq_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
)

type ResizeArgs struct {
	Path  string
	Width int
}

type ResizeOpts struct {
	Quality int `json:"quality"`
}

// A struct of arguments is an array on the wire, a struct of keywords an object.
func ExampleNewTask() {
	task, err := omniq.NewTask("images.resize", ResizeArgs{"a.png", 640}, ResizeOpts{Quality: 80}, omniq.TTL(time.Hour))
	if err != nil {
		panic(err)
	}
	raw, err := task.Encode(nil)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(raw.Args), string(raw.Kwargs), task.TTL)
	// Output: ["a.png",640] {"quality":80} 1h0m0s
}

func ExampleTask_Validate() {
	task := omniq.RawTask{ID: uuid.New(), CreatedAt: time.Now()}
	fmt.Println(task.Validate())
	// Output: omniq: invalid: func_name is empty, want 1 to 255 bytes
}

func ExampleDecodeTask() {
	var raw omniq.RawTask
	err := json.Unmarshal([]byte(`{
		"id": "f47ac10b-58cc-4372-a567-0e02b2c3d479", "func_name": "images.resize",
		"args": ["a.png", "wide"], "kwargs": {}, "created_at": "2026-11-23T07:10:47Z"
	}`), &raw)
	if err != nil {
		panic(err)
	}
	_, err = omniq.DecodeTask[ResizeArgs, ResizeOpts](raw)
	fmt.Println(err)
	// Output: omniq: args: [1] (Width): codec: json: a string does not fit a value of type int
}

func ExampleNewSuccess() {
	result, err := omniq.NewSuccess(uuid.MustParse("f47ac10b-58cc-4372-a567-0e02b2c3d479"), []int{1, 2})
	if err != nil {
		panic(err)
	}
	result.Timestamp = time.Date(2026, 11, 23, 7, 10, 47, 0, time.UTC)
	text, err := json.Marshal(result)
	fmt.Println(string(text), err)
	// Output: {"task_id":"f47ac10b-58cc-4372-a567-0e02b2c3d479","status":"SUCCESS","result_data":[1,2],"timestamp":"2026-11-23T07:10:47Z","ttl":null} <nil>
}

func ExampleNewFailure() {
	result, err := omniq.NewFailure[int](uuid.New(), omniq.Permanent(errors.New("no such customer")))
	if err != nil {
		panic(err)
	}
	var e *omniq.TaskError
	fmt.Println(errors.As(result.Err(), &e), e.Message, e.Retryable)
	// Output: true no such customer false
}

func ExampleNewEvent() {
	event, err := omniq.NewEvent(uuid.New(), omniq.EventStarted, omniq.OnWorker("w-1"), omniq.OnAttempt(1, nil))
	fmt.Println(event.EventType, *event.WorkerID, event.Attempt, err)
	// Output: STARTED w-1 1 <nil>
}

func ExampleStatus_CanBecome() {
	fmt.Println(omniq.StatusRunning.CanBecome(omniq.StatusPending), omniq.StatusSuccess.CanBecome(omniq.StatusPending))
	fmt.Println(omniq.StatusSuccess.Final())
	// Output:
	// true false
	// true
}

func ExampleMakeArgs2() {
	args := omniq.MakeArgs2("a.png", 640) // an Args2[string, int], for tasks without a type of their own
	fmt.Println(args.V1, args.V2)
	// Output: a.png 640
}
