package omniq_test

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// addVectors seeds f with the documents of one type in testdata/wire.
func addVectors(f *testing.F, typ string) {
	for _, file := range []string{"canonical.json", "accepted.json", "rejected.json"} {
		b, err := os.ReadFile("testdata/wire/" + file)
		require.NoError(f, err)
		var all []vector
		require.NoError(f, json.Unmarshal(b, &all))
		for _, v := range all {
			if v.Type == typ && v.JSON != nil {
				f.Add([]byte(*v.JSON))
			}
		}
	}
}

// fuzzEnvelope holds a decoder against the reference, and what it accepts against its own encoder: written once, a
// document stays the same.
func fuzzEnvelope[E envelope](t *testing.T, data []byte, reference func([]byte) bool, fresh func() E) {
	e := fresh()
	err := e.UnmarshalJSON(data)
	if want := reference(data); want != (err == nil) {
		t.Fatalf("%q: accepted %v by the reference, and the decoder says %v", data, want, err)
	}
	if err != nil {
		return
	}
	first, err := e.AppendJSON(nil)
	require.NoError(t, err)
	again := fresh()
	require.NoError(t, again.UnmarshalJSON(first), "%s", first)
	second, err := again.AppendJSON(nil)
	require.NoError(t, err)
	require.Equal(t, string(first), string(second))
	require.True(t, reference(first), "%s", first)
}

func FuzzTask(f *testing.F) {
	addVectors(f, "Task")
	f.Add([]byte(`{"id":"f47ac10b-58cc-4372-a567-0e02b2c3d479","func_name":"f","args":[],"kwargs":{},"created_at":"2026-01-02T03:04:05Z","ttl":null,"queue":"q","priority":-1,"run_at":"2026-01-02T03:04:05Z","max_attempts":3,"timeout":"PT1S","result_ttl":"P0D","metadata":{"a":"b"},"unique_key":"k","unique_for":"PT1S","codec":"json+gzip","delay":"PT1S","failure_ttl":"P1D","id_for":"P1D","lane":"l","on_held":"BEHIND","replace_within":"PT1S","keep_task":true}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		fuzzEnvelope(t, data, refTask, func() *omniq.RawTask { return new(omniq.RawTask) })
	})
}

func FuzzResult(f *testing.F) {
	addVectors(f, "TaskResult")
	f.Add([]byte(`{"task_id":"f47ac10b-58cc-4372-a567-0e02b2c3d479","status":"FAILURE","result_data":null,"timestamp":"2026-01-02T03:04:05Z","ttl":null,"error":{"type":"T","message":"m","stack":"s","retryable":true},"attempts":3,"codec":"x"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		fuzzEnvelope(t, data, refResult, func() *omniq.RawResult { return new(omniq.RawResult) })
	})
}

func FuzzEvent(f *testing.F) {
	addVectors(f, "TaskEvent")
	f.Add([]byte(`{"task_id":"f47ac10b-58cc-4372-a567-0e02b2c3d479","event_type":"FAILED","timestamp":"2026-01-02T03:04:05Z","worker_id":null,"attempt":1,"queue":"q","error":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		fuzzEnvelope(t, data, refEvent, func() *omniq.TaskEvent { return new(omniq.TaskEvent) })
	})
}

type fuzzArgs struct {
	A int8
	B string
	C *float64
	D []bool
}

type fuzzKwargs struct {
	X uint              `json:"x"`
	Y map[string]string `json:"y,omitempty"`
	Z any
}

// refPayload is the reference for fuzzArgs and fuzzKwargs.
func refPayload(args, kwargs []byte) bool {
	whole := append(append(append([]byte(`{"a":`), args...), `,"k":`...), kwargs...)
	o, err := refDocument(append(whole, '}'))
	if err != nil || len(o.keys) != 2 {
		return false
	}
	var elements []json.RawMessage
	if o.values["a"][0] != '[' || json.Unmarshal(o.values["a"], &elements) != nil || len(elements) != 4 {
		return false
	}
	var a fuzzArgs
	for i, target := range []any{&a.A, &a.B, &a.C, &a.D} {
		if i < 2 && string(elements[i]) == "null" || json.Unmarshal(elements[i], target) != nil {
			return false
		}
	}
	var k fuzzKwargs
	members, err := refObject(o.values["k"])
	if err != nil || len(members.keys) != len(members.values) {
		return false
	}
	for key, target := range map[string]any{"x": &k.X, "y": &k.Y, "Z": &k.Z} {
		value, ok := members.values[key]
		if !ok {
			continue
		}
		if key == "x" && string(value) == "null" || json.Unmarshal(value, target) != nil {
			return false
		}
		delete(members.values, key)
	}
	return len(members.values) == 0
}

func FuzzArgs(f *testing.F) {
	f.Add([]byte(`[1,"a",2.5,[true]]`), []byte(`{"x":1,"y":{"a":"b"},"Z":[null]}`))
	f.Add([]byte(` [ -128 , "" , null , null ] `), []byte(`{}`))
	f.Add([]byte(`[1,"a",2.5]`), []byte(`{"X":1}`))
	f.Add([]byte(`[null,"a",2.5,[]]`), []byte(`{"x":1,"x":2}`))
	f.Fuzz(func(t *testing.T, args, kwargs []byte) {
		if len(args) == 0 || len(kwargs) == 0 {
			return // nothing stands for [] and {} in a raw task
		}
		raw := omniq.RawTask{Args: args, Kwargs: kwargs}
		task, err := omniq.DecodeTask[fuzzArgs, fuzzKwargs](raw)
		if want := refPayload(args, kwargs); want != (err == nil) {
			t.Fatalf("%q %q: accepted %v by the reference, and the decoder says %v", args, kwargs, want, err)
		}
		if err != nil {
			return
		}
		first, err := task.Encode(nil)
		require.NoError(t, err)
		task, err = omniq.DecodeTask[fuzzArgs, fuzzKwargs](first)
		require.NoError(t, err)
		second, err := task.Encode(nil)
		require.NoError(t, err)
		require.Equal(t, first, second)
	})
}
