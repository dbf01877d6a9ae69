package omniq_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/codec"
)

const (
	taskHead   = `{"id":"f47ac10b-58cc-4372-a567-0e02b2c3d479","func_name":"f","args":[],"kwargs":{},"created_at":"2026-01-02T03:04:05Z"`
	resultHead = `{"task_id":"f47ac10b-58cc-4372-a567-0e02b2c3d479","status":"FAILURE","result_data":null,"timestamp":"2026-01-02T03:04:05Z"`
	eventHead  = `{"task_id":"f47ac10b-58cc-4372-a567-0e02b2c3d479","event_type":"FAILED","timestamp":"2026-01-02T03:04:05Z"`
)

func TestEnvelopesThatAreRefused(t *testing.T) {
	tests := []struct {
		name, in string
		into     envelope
		wrong    string
	}{
		{"priority with a fraction", taskHead + `,"priority":1.5}`, new(omniq.RawTask), "priority: found 1.5, want a whole number of at most 64 bits"},
		{"priority too large", taskHead + `,"priority":9223372036854775808}`, new(omniq.RawTask), "priority: found 9223372036854775808"},
		{"priority text", taskHead + `,"priority":"1"}`, new(omniq.RawTask), "priority: found"},
		{"priority broken", taskHead + `,"priority":01}`, new(omniq.RawTask), "leading zero"},
		{"queue null", taskHead + `,"queue":null}`, new(omniq.RawTask), "queue: found null, want a string"},
		{"timeout null", taskHead + `,"timeout":null}`, new(omniq.RawTask), "timeout: found null, want a duration"},
		{"run_at of another form", taskHead + `,"run_at":"tomorrow"}`, new(omniq.RawTask), `run_at: "tomorrow" is no RFC 3339 time`},
		{"created_at of the usual length", strings.Replace(taskHead, "2026-01-02T03:04:05Z", "2026-13-02T03:04:05.000000Z", 1) + "}", new(omniq.RawTask), "is no RFC 3339 time"},
		{"ttl with hours behind days", taskHead + `,"ttl":"P1D1H"}`, new(omniq.RawTask), "is no ISO 8601 duration"},
		{"ttl with a number before T", taskHead + `,"ttl":"P1D1T"}`, new(omniq.RawTask), "is no ISO 8601 duration"},
		{"ttl broken", taskHead + `,"ttl":nul}`, new(omniq.RawTask), "where a value is wanted"},
		{"metadata array", taskHead + `,"metadata":[]}`, new(omniq.RawTask), "metadata: found an array, want an object"},
		{"metadata of a number", taskHead + `,"metadata":{"a":1}}`, new(omniq.RawTask), "metadata: a: found a number, want a string"},
		{"metadata twice", taskHead + `,"metadata":{"a":"1","\u0061":"2"}}`, new(omniq.RawTask), "metadata: a: stands twice"},
		{"a key twice", taskHead + `,"id":1}`, new(omniq.RawTask), "id: stands twice"},
		{"a key twice, escaped", taskHead + `,"\u0069d":1}`, new(omniq.RawTask), "id: stands twice"},
		{"an unknown key's value", taskHead + `,"later":[1,]}`, new(omniq.RawTask), "where a value is wanted"},
		{"an unknown key's text", taskHead + `,"later":"\ud800"}`, new(omniq.RawTask), "lone surrogate"},
		{"too large", strings.Repeat(" ", codec.MaxSize) + taskHead + "}", new(omniq.RawTask), "want at most"},
		{"id with a letter that is no digit", strings.Replace(taskHead, "f47ac10b-", "g47ac10b-", 1) + "}", new(omniq.RawTask), "is no UUID"},
		{"id with hyphens elsewhere", strings.Replace(taskHead, "f47ac10b-58cc", "f47ac1-0b58cc", 1) + "}", new(omniq.RawTask), "is no UUID"},
		{"error text", resultHead + `,"error":"x"}`, new(omniq.RawResult), "error: found a string, want an object"},
		{"error twice", resultHead + `,"error":{"type":"a","type":"b"}}`, new(omniq.RawResult), "error: type: stands twice"},
		{"error of another type", resultHead + `,"error":{"message":1}}`, new(omniq.RawResult), "error: message: found a number, want a string"},
		{"retryable text", resultHead + `,"error":{"retryable":"true"}}`, new(omniq.RawResult), "error: retryable: found a string, want a boolean"},
		{"retryable null", resultHead + `,"error":{"retryable":null}}`, new(omniq.RawResult), "found null, want a boolean"},
		{"attempts null", resultHead + `,"attempts":null}`, new(omniq.RawResult), "attempts: found null"},
		{"attempt text", eventHead + `,"attempt":"1"}`, new(omniq.TaskEvent), "attempt: found"},
		{"a function that is none", eventHead + `,"func_name":1}`, new(omniq.TaskEvent), "func_name: found"},
		{"error broken", eventHead + `,"error":nul}`, new(omniq.TaskEvent), "where a value is wanted"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.into.UnmarshalJSON([]byte(tt.in))
			require.ErrorContains(t, err, tt.wrong)
			assert.True(t, strings.HasPrefix(err.Error(), "omniq: "), err)
		})
	}
}

func TestEnvelopesWithAllTheirKeys(t *testing.T) {
	for _, in := range []string{
		taskHead + `,"ttl":"PT1S","queue":"q","priority":-1,"run_at":"2026-01-02T03:04:05.500000Z","max_attempts":3,"timeout":"PT1S",` +
			`"result_ttl":"P0D","metadata":{"a":"b","c":"\n"},"unique_key":"k","unique_for":"PT60S","codec":"json+gzip",` +
			`"delay":"PT5S","failure_ttl":"P7D","id_for":"P3D","lane":"a lane","on_held":"REPLACE","replace_within":"PT5S","keep_task":true}`,
	} {
		var task omniq.RawTask
		require.NoError(t, task.UnmarshalJSON([]byte(in)))
		got, err := task.MarshalJSON()
		require.NoError(t, err)
		assert.Equal(t, in, string(got))
	}
	in := resultHead + `,"ttl":null,"error":{"type":"T","message":"m","stack":"s","retryable":true},"attempts":3,"codec":"x"}`
	var result omniq.RawResult
	require.NoError(t, result.UnmarshalJSON([]byte(in)))
	got, err := result.MarshalJSON()
	require.NoError(t, err)
	assert.Equal(t, in, string(got))

	in = eventHead + `,"worker_id":"w","attempt":2,"queue":"q","error":{"type":"T","message":"m","retryable":false},"func_name":"f"}`
	var event omniq.TaskEvent
	require.NoError(t, event.UnmarshalJSON([]byte(in)))
	got, err = event.MarshalJSON()
	require.NoError(t, err)
	assert.Equal(t, in, string(got))
}

// Raw results go through a codec as typed ones do: who reads them as a type finds what the codec has written.
func TestRawResultThroughATransform(t *testing.T) {
	gz := codec.Gzip(codec.JSON)
	r, err := omniq.NewSuccess(uuid.New(), omniq.Raw(`{ "a" : [1] }`))
	require.NoError(t, err)
	raw, err := r.Encode(gz)
	require.NoError(t, err)
	assert.Equal(t, "json+gzip", raw.Codec)
	typed, err := omniq.DecodeResult[map[string][]int](raw, gz)
	require.NoError(t, err)
	assert.Equal(t, map[string][]int{"a": {1}}, typed.ResultData)
	again, err := omniq.DecodeResult[omniq.Raw](raw, gz)
	require.NoError(t, err)
	assert.Equal(t, `{"a":[1]}`, string(again.ResultData))
}

type (
	kwInner struct {
		A int `json:"a"`
		B int
	}
	kwOther struct {
		B int
		C int `json:"c"`
	}
	kwDeep struct {
		kwInner
		D int `json:"d"`
	}
)

// Which keywords there are is what encoding/json says, except that each must be spelled exactly.
func TestKeywordsAreThoseOfEncodingJSON(t *testing.T) {
	t.Run("plain", sameKeywords[struct {
		A int
		B int `json:"b"`
		C int `json:"-"`
		//lint:ignore SA5008 what encoding/json makes of such a tag is what is tested
		D int `json:"-,"`
	}])
	t.Run("conflict", sameKeywords[struct {
		kwInner
		kwOther
	}])
	t.Run("hidden", sameKeywords[struct {
		kwInner
		B int
	}])
	t.Run("deep", sameKeywords[struct {
		kwDeep
		kwOther
	}])
	t.Run("a name decides", sameKeywords[struct {
		A int `json:"x"`
		X int `json:"X"`
		Y int `json:"y"`
		Z int `json:"Y"`
	}])
	t.Run("tagged wins", sameKeywords[struct {
		kwInner
		E struct{ B int } `json:"B"`
	}])
	t.Run("embedded with a name", sameKeywords[struct {
		kwInner `json:"in"`
		B       int
	}])
	t.Run("bad names", sameKeywords[struct {
		//lint:ignore SA5008 what encoding/json makes of such a tag is what is tested
		A int `json:"a\"b"`
		B int `json:"a b"`
		C int `json:"é"`
	}])
}

// sameKeywords offers a keyword after the other to a handler's type and to encoding/json.
func sameKeywords[K any](t *testing.T) {
	var zero K
	all, err := json.Marshal(zero)
	require.NoError(t, err)
	var known map[string]any
	require.NoError(t, json.Unmarshal(all, &known))
	candidates := []string{"", "A", "B", "C", "D", "E", "X", "Y", "Z", "a", "b", "c", "d", "x", "y", "in", "-", "a b", `a"b`, "é", "kwInner", "kwDeep", "unknown"}
	written, err := (&omniq.Task[omniq.NoArgs, K]{CreatedAt: time.Unix(0, 0)}).Encode(nil)
	require.NoError(t, err)
	assert.JSONEq(t, string(all), string(written.Kwargs))
	_, err = omniq.DecodeTask[omniq.NoArgs, K](written)
	require.NoError(t, err, "what is written can be read")
	for key := range known {
		candidates = append(candidates, key)
	}
	for _, key := range candidates {
		quoted, err := json.Marshal(key)
		require.NoError(t, err)
		value := "1"
		if known[key] != nil && reflect.TypeOf(known[key]).Kind() == reflect.Map {
			value = "{}"
		}
		_, err = omniq.DecodeTask[omniq.NoArgs, K](omniq.RawTask{Kwargs: omniq.Raw(fmt.Sprintf(`{%s:%s}`, quoted, value))})
		if _, ok := known[key]; ok {
			assert.NoError(t, err, "keyword %q", key)
		} else {
			assert.ErrorContains(t, err, "unknown keyword", "keyword %q", key)
		}
	}
}

// More keywords than bits of a word.
func TestManyKeywords(t *testing.T) {
	var members []string
	for i := range reflect.TypeFor[manyKeywords]().NumField() {
		members = append(members, fmt.Sprintf(`"F%d":%d`, i, i))
	}
	require.Len(t, members, 70)
	raw := omniq.RawTask{Kwargs: omniq.Raw("{" + strings.Join(members, ",") + "}")}
	task, err := omniq.DecodeTask[omniq.NoArgs, manyKeywords](raw)
	require.NoError(t, err)
	assert.Equal(t, 69, task.Kwargs.F69)
	for _, key := range []string{"F0", "F63", "F64", "F69"} {
		raw.Kwargs = omniq.Raw("{" + strings.Join(members, ",") + `,"` + key + `":1}`)
		_, err = omniq.DecodeTask[omniq.NoArgs, manyKeywords](raw)
		assert.ErrorContains(t, err, `keyword "`+key+`" stands twice`)
	}
}

type manyKeywords struct {
	F0, F1, F2, F3, F4, F5, F6, F7, F8, F9           int
	F10, F11, F12, F13, F14, F15, F16, F17, F18, F19 int
	F20, F21, F22, F23, F24, F25, F26, F27, F28, F29 int
	F30, F31, F32, F33, F34, F35, F36, F37, F38, F39 int
	F40, F41, F42, F43, F44, F45, F46, F47, F48, F49 int
	F50, F51, F52, F53, F54, F55, F56, F57, F58, F59 int
	F60, F61, F62, F63, F64, F65, F66, F67, F68, F69 int
}

func TestErrorTexts(t *testing.T) {
	id := uuid.MustParse("f47ac10b-58cc-4372-a567-0e02b2c3d479")
	same := omniq.Duplicate{ID: id, Holder: id}
	one := &omniq.DuplicateError{Duplicates: []omniq.Duplicate{same}}
	assert.EqualError(t, one, "omniq: duplicate task: the ID "+id.String()+" is taken")
	more := &omniq.DuplicateError{Duplicates: []omniq.Duplicate{same, same, same}}
	assert.EqualError(t, more, "omniq: duplicate task: the ID "+id.String()+" is taken, and 2 more")
	assert.ErrorIs(t, more, omniq.ErrDuplicate)
	assert.ErrorIs(t, same, omniq.ErrDuplicate)
	other := uuid.New()
	assert.EqualError(t, omniq.Duplicate{ID: id, Holder: other},
		"omniq: duplicate task: task "+other.String()+" holds the unique key of task "+id.String())

	// The cause of an argument that cannot be written or read can be found.
	_, err := omniq.Task[omniq.Args1[stubborn], omniq.NoKwargs]{CreatedAt: time.Unix(0, 0)}.MarshalJSON()
	require.ErrorIs(t, err, errStubborn)
	assert.ErrorContains(t, err, "omniq: args: ")
}

type stubborn struct{}

var errStubborn = errors.New("too stubborn")

func (stubborn) MarshalJSON() ([]byte, error)  { return nil, errStubborn }
func (*stubborn) UnmarshalJSON(_ []byte) error { return errStubborn }
