package omniq_test

import (
	"encoding/json"
	"testing"
	"time"

	gojson "github.com/goccy/go-json"
	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/iso8601"
)

// benchJSON is the task that the benchmarks write and read: 229 bytes, as in what was measured of other programs.
const benchJSON = `{"id":"f47ac10b-58cc-4372-a567-0e02b2c3d479","func_name":"send_email","args":[42,"alice@example.com",3.5],` +
	`"kwargs":{"subject":"Your invoice of 23 November.","retries":3},"created_at":"2026-11-23T07:10:47.123456Z","ttl":"PT3600S"}`

type benchKwargs struct {
	Subject string `json:"subject"`
	Retries int    `json:"retries"`
}

type benchTask = omniq.Task[omniq.Args3[int, string, float64], benchKwargs]

func newBenchTask() benchTask {
	return benchTask{
		ID: uuid.MustParse("f47ac10b-58cc-4372-a567-0e02b2c3d479"), FuncName: "send_email",
		Args: omniq.MakeArgs3(42, "alice@example.com", 3.5), Kwargs: benchKwargs{"Your invoice of 23 November.", 3},
		CreatedAt: time.Date(2026, 11, 23, 7, 10, 47, 123456000, time.UTC), TTL: new(time.Hour),
	}
}

// libraryTask is what a program would have that leaves the wire to a JSON library. Args is one of
//
//   - typedArgs, whose methods write and read the array: only this gives back what Task does, an int as an int;
//   - []any, which a library codes without a method, but which checks neither the number nor the types of the
//     arguments and makes a float64 of 42.
//
// TTL is *isoDuration, a duration that can be computed with, as in Task; or *string, its text, which is less.
type libraryTask[Args, TTL any] struct {
	ID        uuid.UUID   `json:"id"`
	FuncName  string      `json:"func_name"`
	Args      Args        `json:"args"`
	Kwargs    benchKwargs `json:"kwargs"`
	CreatedAt time.Time   `json:"created_at"`
	TTL       TTL         `json:"ttl"`
}

type (
	typedTask = libraryTask[typedArgs, *isoDuration]
	plainTask = libraryTask[[]any, *isoDuration]
	lightTask = libraryTask[[]any, *string]
)

type typedArgs struct {
	N    int
	Addr string
	X    float64
}

func (a typedArgs) MarshalJSON() ([]byte, error) { return gojson.Marshal([]any{a.N, a.Addr, a.X}) }

// UnmarshalJSON decodes into where the elements point to. It does not see whether there are too few or too many.
func (a *typedArgs) UnmarshalJSON(data []byte) error {
	elements := []any{&a.N, &a.Addr, &a.X}
	return gojson.Unmarshal(data, &elements)
}

type isoDuration time.Duration

func (d isoDuration) MarshalText() ([]byte, error) {
	return iso8601.AppendDuration(nil, time.Duration(d)), nil
}

func (d *isoDuration) UnmarshalText(text []byte) error {
	parsed, err := iso8601.ParseDuration(text)
	*d = isoDuration(parsed)
	return err
}

func newLibraryTask[Args, TTL any](args Args, ttl TTL) libraryTask[Args, TTL] {
	t := newBenchTask()
	return libraryTask[Args, TTL]{t.ID, t.FuncName, args, t.Kwargs, t.CreatedAt, ttl}
}

func newTypedTask() typedTask {
	return newLibraryTask(typedArgs{42, "alice@example.com", 3.5}, new(isoDuration(time.Hour)))
}

func newPlainTask() plainTask {
	return newLibraryTask([]any{42, "alice@example.com", 3.5}, new(isoDuration(time.Hour)))
}

func newLightTask() lightTask {
	return newLibraryTask([]any{42, "alice@example.com", 3.5}, new("PT3600S"))
}

func TestBenchmarksCompareEqualThings(t *testing.T) {
	require.Len(t, benchJSON, 229)
	task, typed, plain, light := newBenchTask(), newTypedTask(), newPlainTask(), newLightTask()
	appended, err := task.AppendJSON(nil)
	require.NoError(t, err)
	assert.Equal(t, benchJSON, string(appended), "omniq-append")
	for name, marshal := range map[string]func(any) ([]byte, error){"go-json": gojson.Marshal, "encoding-json": json.Marshal} {
		for _, v := range []any{&typed, &plain, &light} {
			got, err := marshal(v)
			require.NoError(t, err)
			assert.Equal(t, benchJSON, string(got), name)
		}
	}
	got, err := task.MarshalJSON()
	require.NoError(t, err)
	assert.Equal(t, benchJSON, string(got), "omniq-marshal")

	var decoded benchTask
	require.NoError(t, decoded.UnmarshalJSON([]byte(benchJSON)))
	assert.Equal(t, task, decoded)
	for name, unmarshal := range map[string]func([]byte, any) error{
		"go-json":       func(data []byte, v any) error { return gojson.Unmarshal(data, v) },
		"encoding-json": json.Unmarshal,
	} {
		var decoded plainTask
		require.NoError(t, unmarshal([]byte(benchJSON), &decoded), name)
		want := plain
		want.Args = []any{42.0, "alice@example.com", 3.5}
		assert.Equal(t, want, decoded, name)
		var decodedTyped typedTask
		require.NoError(t, unmarshal([]byte(benchJSON), &decodedTyped), name)
		assert.Equal(t, typed, decodedTyped, name)
	}
}

func TestAppendJSONDoesNotAllocate(t *testing.T) {
	task := newBenchTask()
	buf := make([]byte, 0, 512)
	assert.Zero(t, testing.AllocsPerRun(100, func() { buf, _ = task.AppendJSON(buf[:0]) }), "a task")
	result, err := omniq.NewSuccess(task.ID, 42, omniq.TTL(time.Hour))
	require.NoError(t, err)
	assert.Zero(t, testing.AllocsPerRun(100, func() { buf, _ = result.AppendJSON(buf[:0]) }), "a result")
	event, err := omniq.NewEvent(task.ID, omniq.EventStarted, omniq.OnWorker("w-1"), omniq.OnQueue("mail"))
	require.NoError(t, err)
	assert.Zero(t, testing.AllocsPerRun(100, func() { buf, _ = event.AppendJSON(buf[:0]) }), "an event")
}

func BenchmarkTaskEncode(b *testing.B) {
	bench := func(name string, encode func() ([]byte, error)) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(benchJSON)))
			for b.Loop() {
				if _, err := encode(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	task, typed, plain, light := newBenchTask(), newTypedTask(), newPlainTask(), newLightTask()
	buf := make([]byte, 0, 512)
	bench("omniq-append", func() ([]byte, error) { return task.AppendJSON(buf[:0]) })
	bench("omniq-marshal", func() ([]byte, error) { return task.MarshalJSON() })
	bench("go-json", func() ([]byte, error) { return gojson.Marshal(&typed) })
	bench("go-json-any", func() ([]byte, error) { return gojson.Marshal(&plain) })
	bench("go-json-any-text", func() ([]byte, error) { return gojson.Marshal(&light) })
	bench("encoding-json", func() ([]byte, error) { return json.Marshal(&typed) })
}

func BenchmarkTaskDecode(b *testing.B) {
	bench := func(name string, decode func(data []byte) error) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(benchJSON)))
			data := []byte(benchJSON)
			for b.Loop() {
				if err := decode(data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	bench("omniq", func(data []byte) error {
		var t benchTask
		return t.UnmarshalJSON(data)
	})
	bench("go-json", func(data []byte) error {
		var t typedTask
		return gojson.Unmarshal(data, &t)
	})
	bench("go-json-any", func(data []byte) error {
		var t plainTask
		return gojson.Unmarshal(data, &t)
	})
	bench("go-json-any-text", func(data []byte) error {
		var t lightTask
		return gojson.Unmarshal(data, &t)
	})
	bench("encoding-json", func(data []byte) error {
		var t typedTask
		return json.Unmarshal(data, &t)
	})
}
