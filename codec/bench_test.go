package codec_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"

	gojson "github.com/goccy/go-json"

	"github.com/omniq-go/omniq/codec"
)

// benchValues are passed as the runtime passes them: by pointer.
func benchValues() []struct {
	name   string
	v      any
	target func() any
} {
	number, text := 12345, "alice@example.com"
	people := []home{{Address: street{"Main Street", []float64{1.5, 2.25}}, Labels: map[string]string{"a": "b"}}, {}, {}}
	free := map[string]any{"subject": "hello world", "retries": 3.0, "tags": []any{"a", "b"}}
	return []struct {
		name   string
		v      any
		target func() any
	}{
		{"int", &number, func() any { return new(int) }},
		{"string", &text, func() any { return new(string) }},
		{"kwargs", &tiny{"hello world", 3}, func() any { return new(tiny) }},
		{"nested", &people, func() any { return new([]home) }},
		{"any", &free, func() any { return new(any) }},
	}
}

// plainEncoder is goccy/go-json or encoding/json with a buffer that is reused and no checks.
func plainEncoder(b *testing.B, encode func(v any) error, buf *bytes.Buffer, v any) {
	b.ReportAllocs()
	for b.Loop() {
		buf.Reset()
		if err := encode(v); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	for _, test := range benchValues() {
		for _, c := range []struct {
			name  string
			codec codec.Codec
		}{{"JSON", codec.JSON}, {"StdJSON", codec.StdJSON}, {"Gzip", codec.Gzip(codec.JSON)}, {"AESGCM", newAESGCM(b, key("a", 32))}} {
			b.Run(test.name+"/"+c.name, func(b *testing.B) {
				b.ReportAllocs()
				var buf []byte
				var err error
				for b.Loop() {
					if buf, err = codec.Append(c.codec, buf[:0], test.v); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		b.Run(test.name+"/baseline go-json", func(b *testing.B) {
			var buf bytes.Buffer
			e := gojson.NewEncoder(&buf)
			e.SetEscapeHTML(false)
			plainEncoder(b, e.Encode, &buf, test.v)
		})
		b.Run(test.name+"/baseline encoding_json", func(b *testing.B) {
			var buf bytes.Buffer
			e := json.NewEncoder(&buf)
			e.SetEscapeHTML(false)
			plainEncoder(b, e.Encode, &buf, test.v)
		})
	}
}

func BenchmarkUnmarshal(b *testing.B) {
	for _, test := range benchValues() {
		plain, err := codec.JSON.Marshal(test.v)
		if err != nil {
			b.Fatal(err)
		}
		run := func(name string, data []byte, unmarshal func([]byte, any) error) {
			b.Run(test.name+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				v := test.target()
				zero := reflect.ValueOf(v).Elem()
				for b.Loop() {
					zero.SetZero() // what is decoded is fresh for the baselines as well
					if err := unmarshal(data, v); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		run("JSON", plain, codec.JSON.Unmarshal)
		run("JSON of valid data", plain, codec.JSON.(codec.ValidUnmarshaler).UnmarshalValid)
		run("StdJSON", plain, codec.StdJSON.Unmarshal)
		for name, c := range map[string]codec.Codec{"Gzip": codec.Gzip(codec.JSON), "AESGCM": newAESGCM(b, key("a", 32))} {
			data, err := c.Marshal(test.v)
			if err != nil {
				b.Fatal(err)
			}
			run(name, data, c.Unmarshal)
		}
		run("baseline go-json", plain, gojson.Unmarshal)
		run("baseline encoding_json", plain, json.Unmarshal)
	}
}
