package omniq_test

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"math"
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

// gobCodec is no JSON codec and no transform of one.
type gobCodec struct{}

func (gobCodec) Name() string { return "gob" }

func (gobCodec) Marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	err := gob.NewEncoder(&b).Encode(v)
	return b.Bytes(), err
}

func (gobCodec) Unmarshal(data []byte, v any) error {
	return gob.NewDecoder(bytes.NewReader(data)).Decode(v)
}

func TestCodecsCarryTasksAndResults(t *testing.T) {
	encrypted, err := codec.AESGCM(codec.JSON, codec.Key{ID: "k", Secret: make([]byte, 32)})
	require.NoError(t, err)
	for _, c := range []codec.Codec{nil, codec.JSON, codec.StdJSON, codec.Gzip(codec.JSON), encrypted, codec.Gzip(encrypted), gobCodec{}} {
		name := "nil"
		if c != nil {
			name = c.Name()
		}
		t.Run(name, func(t *testing.T) {
			task, err := omniq.NewTask("f", mailArgs{"a@b", 3}, mailKwargs{Subject: "s"})
			require.NoError(t, err)
			raw, err := task.Encode(c)
			require.NoError(t, err)
			text, err := json.Marshal(raw)
			require.NoError(t, err)
			if c == nil || c.Name() == "json" {
				assert.Contains(t, string(text), `"args":["a@b",3],"kwargs":{"subject":"s"},`)
			} else {
				assert.Regexp(t, `"args":\["[A-Za-z0-9+/=]+","[A-Za-z0-9+/=]+"\],"kwargs":\{\},.*"codec":"`+strings.ReplaceAll(name, "+", `\+`)+`"`, string(text))
			}
			var read omniq.RawTask
			require.NoError(t, json.Unmarshal(text, &read))
			assert.Equal(t, raw, read)
			again, err := omniq.DecodeTask[mailArgs, mailKwargs](read, gobCodec{}, c2(c))
			require.NoError(t, err)
			assert.Equal(t, task, again)

			result, err := omniq.NewSuccess(task.ID, mailKwargs{Subject: "r"})
			require.NoError(t, err)
			rawResult, err := result.Encode(c)
			require.NoError(t, err)
			text, err = json.Marshal(rawResult)
			require.NoError(t, err)
			var readResult omniq.RawResult
			require.NoError(t, json.Unmarshal(text, &readResult))
			againResult, err := omniq.DecodeResult[mailKwargs](readResult, gobCodec{}, c2(c))
			require.NoError(t, err)
			assert.Equal(t, result, againResult)
		})
	}
}

// c2 is c, or the default for nil.
func c2(c codec.Codec) codec.Codec {
	if c == nil {
		return codec.JSON
	}
	return c
}

// What is inside a transform of JSON is JSON by the same rules: args are an array.
func TestTransformsKeepArgsPositional(t *testing.T) {
	z := codec.Gzip(codec.JSON)
	task, err := omniq.NewTask("f", mailArgs{"a@b", 3}, omniq.NoKwargs{})
	require.NoError(t, err)
	raw, err := task.Encode(z)
	require.NoError(t, err)
	var parts [][]byte // encoding/json reads base64
	require.NoError(t, json.Unmarshal(raw.Args, &parts))
	require.Len(t, parts, 2)
	var args omniq.Raw
	require.NoError(t, z.Unmarshal(parts[0], &args))
	assert.Equal(t, `["a@b",3]`, string(args))
}

func TestPayloadsThatCannotBeRead(t *testing.T) {
	tests := []struct {
		name string
		raw  omniq.RawTask
		want string
	}{
		{"an unknown codec", omniq.RawTask{Codec: "msgpack"}, `codec "msgpack", which is not known here, only json, gob: add it with Codecs`},
		{"kwargs beside opaque args", omniq.RawTask{Codec: "gob", Args: omniq.Raw(`["",""]`), Kwargs: omniq.Raw(`{"a":1}`)}, "kwargs of an opaque payload must be {}"},
		{"one part", omniq.RawTask{Codec: "gob", Args: omniq.Raw(`[""]`)}, "1 elements, want 2"},
		{"no base64", omniq.RawTask{Codec: "gob", Args: omniq.Raw(`["*",""]`)}, "illegal base64"},
		{"no string", omniq.RawTask{Codec: "gob", Args: omniq.Raw(`[1,2]`)}, "want a string"},
		{"garbage inside", omniq.RawTask{Codec: "gob", Args: omniq.Raw(`["AAAA","AAAA"]`)}, "omniq: args: "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := omniq.DecodeTask[mailArgs, mailKwargs](tt.raw, gobCodec{})
			assert.ErrorContains(t, err, tt.want)
		})
	}
	_, err := omniq.DecodeResult[int](omniq.RawResult{Codec: "x"})
	assert.ErrorContains(t, err, `codec "x"`)
	_, err = omniq.DecodeResult[int](omniq.RawResult{Codec: "gob", ResultData: omniq.Raw(`1`)}, gobCodec{})
	assert.ErrorContains(t, err, "result_data")
	_, err = omniq.DecodeResult[int](omniq.RawResult{Status: omniq.StatusSuccess, ResultData: omniq.Raw(`null`)})
	assert.ErrorContains(t, err, "null, want a value of type int")
	_, err = omniq.DecodeResult[int](omniq.RawResult{Status: omniq.StatusSuccess, ResultData: omniq.Raw(`1 1`)})
	assert.Error(t, err)
	nothing, err := omniq.DecodeResult[omniq.Void](omniq.RawResult{Status: omniq.StatusSuccess, ResultData: omniq.Raw(`{"any":1}`)})
	assert.NoError(t, err)
	assert.Equal(t, omniq.StatusSuccess, nothing.Status)
}

func TestValuesThatCannotBeWritten(t *testing.T) {
	encode := func(task any) error {
		_, err := json.Marshal(task)
		return err
	}
	good := omniq.Task[omniq.Args1[any], omniq.NoKwargs]{ID: uuid.New(), FuncName: "f", CreatedAt: time.Now()}
	with := func(change func(*omniq.Task[omniq.Args1[any], omniq.NoKwargs])) any {
		t := good
		change(&t)
		return t
	}
	type task = omniq.Task[omniq.Args1[any], omniq.NoKwargs]
	tests := []struct {
		name string
		task any
		want string
	}{
		{"a name that is not UTF-8", with(func(t *task) { t.FuncName = "\xff" }), "func_name: invalid UTF-8"},
		{"a year of five digits", with(func(t *task) { t.CreatedAt = time.Date(12000, 1, 1, 0, 0, 0, 0, time.UTC) }), "created_at: year 12000"},
		{"a TTL of nanoseconds", with(func(t *task) { t.TTL = new(time.Duration(5)) }), "ttl: 5ns"},
		{"a codec without raw payload", with(func(t *task) { t.Codec = "gob" }), "use Encode"},
		{"NaN", with(func(t *task) { t.Args.V1 = math.NaN() }), "NaN"},
		{"a string that is not UTF-8", with(func(t *task) { t.Args.V1 = []string{"ok", "\xff"} }), "[1]"},
		{"a channel", with(func(t *task) { t.Args.V1 = make(chan int) }), "chan int"},
		{"raw args that are no array", omniq.RawTask{Args: omniq.Raw(`{}`)}, "raw JSON is an object, want an array"},
		{"raw kwargs that are no object", omniq.RawTask{Kwargs: omniq.Raw(`[]`)}, "raw JSON is an array, want an object"},
		{"raw args that are no JSON", omniq.RawTask{Args: omniq.Raw(`[1,]`)}, "args"},
		{"a result without a status", omniq.RawResult{}, "status: 0 is none of [PENDING"},
		{"an event without a type", omniq.TaskEvent{}, "event_type: 0 is none of [ENQUEUED"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			assert.ErrorContains(t, encode(tt.task), tt.want)
		})
	}
	raw := omniq.RawTask{Args: omniq.Raw(`{}`)}
	dst, err := raw.AppendJSON([]byte("before"))
	assert.Error(t, err)
	assert.Equal(t, "before", string(dst))
	_, err = (&omniq.RawTask{Codec: "gob", Args: omniq.Raw(`["",""]`)}).Encode(codec.JSON)
	assert.ErrorIs(t, err, omniq.ErrInvalid)
	_, err = (&omniq.RawResult{Codec: "gob", ResultData: omniq.Raw(`""`)}).Encode(codec.JSON)
	assert.ErrorIs(t, err, omniq.ErrInvalid)
}

func TestBoundsOfSizeAndDepth(t *testing.T) {
	deep := func(n int) []byte {
		return []byte(`{"id":"f47ac10b-58cc-4372-a567-0e02b2c3d479","func_name":"f","args":` +
			strings.Repeat("[", n) + strings.Repeat("]", n) + `,"kwargs":{},"created_at":"2026-01-02T03:04:05Z"}`)
	}
	var task omniq.RawTask
	assert.NoError(t, task.UnmarshalJSON(deep(codec.MaxDepth-1)))
	assert.ErrorContains(t, task.UnmarshalJSON(deep(codec.MaxDepth)), "inside each other")
	assert.ErrorContains(t, task.UnmarshalJSON(bytes.Repeat([]byte(" "), codec.MaxSize+1)), "want at most 16777216")
	huge := omniq.Raw(`["` + strings.Repeat("x", codec.MaxSize) + `"]`)
	_, err := omniq.DecodeTask[[]string, omniq.NoKwargs](omniq.RawTask{Args: huge})
	assert.ErrorContains(t, err, "want at most 16777216")
	tooLarge, err := omniq.NewTask("f", omniq.MakeArgs2(string(huge[2:len(huge)-2]), "y"), omniq.NoKwargs{})
	require.NoError(t, err)
	_, err = tooLarge.Encode(nil)
	assert.Error(t, err)
	_, err = json.Marshal(tooLarge)
	assert.Error(t, err)
}

// Nothing of what is read stays in use.
func TestDecodingKeepsNothing(t *testing.T) {
	data := []byte(`{"id":"f47ac10b-58cc-4372-a567-0e02b2c3d479","func_name":"abc","args":["def",1],"kwargs":{"subject":"ghi"},"created_at":"2026-01-02T03:04:05Z"}`)
	var raw omniq.RawTask
	require.NoError(t, raw.UnmarshalJSON(data))
	var typed omniq.Task[mailArgs, mailKwargs]
	require.NoError(t, typed.UnmarshalJSON(data))
	clear(data)
	assert.Equal(t, `["def",1]{"subject":"ghi"}abc`, string(raw.Args)+string(raw.Kwargs)+raw.FuncName)
	assert.Equal(t, mailArgs{"def", 1}, typed.Args)
	assert.Equal(t, mailKwargs{Subject: "ghi"}, typed.Kwargs)
	assert.Equal(t, "abc", typed.FuncName)
}

// A field that is added to Task must not be forgotten where tasks change their form.
func TestEveryFieldOfATaskIsConverted(t *testing.T) {
	typed := omniq.Task[omniq.Args1[int], omniq.NoKwargs]{Args: omniq.MakeArgs1(1)}
	v := reflect.ValueOf(&typed).Elem()
	for i := range v.NumField() {
		switch f := v.Field(i); f.Interface().(type) {
		case string:
			f.SetString("x")
		case int:
			f.SetInt(7)
		case time.Duration:
			f.SetInt(int64(time.Minute))
		case *time.Duration:
			f.Set(reflect.ValueOf(new(time.Minute)))
		case time.Time:
			f.Set(reflect.ValueOf(time.Unix(1, 0).UTC()))
		case uuid.UUID:
			f.Set(reflect.ValueOf(uuid.New()))
		case map[string]string:
			f.Set(reflect.ValueOf(map[string]string{"a": "b"}))
		case bool:
			f.SetBool(true)
		case omniq.OnHeld:
			f.Set(reflect.ValueOf(omniq.HeldBehind))
		case []omniq.Dependency:
			f.Set(reflect.ValueOf([]omniq.Dependency{
				{ID: uuid.New()}, {ID: uuid.New(), Need: omniq.NeedFinal}, {ID: uuid.New(), Input: true}, {ID: uuid.New(), Need: omniq.NeedFinal, Input: true},
			}))
		case omniq.Args1[int], omniq.NoKwargs:
		default:
			t.Fatalf("this test does not know the type of %s", v.Type().Field(i).Name)
		}
	}
	typed.Codec, typed.Input = "", `[0,{"value":1}]`
	raw, err := typed.Encode(codec.JSON)
	require.NoError(t, err)
	back, err := omniq.DecodeTask[omniq.Args1[int], omniq.NoKwargs](raw)
	require.NoError(t, err)
	assert.Equal(t, typed, back)
	text, err := typed.MarshalJSON()
	require.NoError(t, err)
	var read omniq.Task[omniq.Args1[int], omniq.NoKwargs]
	require.NoError(t, read.UnmarshalJSON(text))
	assert.Equal(t, typed, read)
}
