package codec_test

import (
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq/codec"
)

// bothJSON runs a test on each of the two codecs that must not be told apart.
func bothJSON(t *testing.T, f func(t *testing.T, c codec.Codec)) {
	t.Run("JSON", func(t *testing.T) { f(t, codec.JSON) })
	t.Run("StdJSON", func(t *testing.T) { f(t, codec.StdJSON) })
}

type (
	color  string
	street struct {
		Name   string    `json:"name"`
		Widths []float64 `json:"widths"`
	}
	home struct {
		Address street            `json:"address"`
		Labels  map[string]string `json:"labels"`
		Extra   any               `json:"extra"`
	}
	list struct {
		Next *list `json:"next"`
	}
	textOf   struct{ text string }
	jsonOf   struct{ text string }
	failing  struct{}
	panicing struct{}
	inside   struct{ home }
	tiny     struct {
		Subject string `json:"subject"`
		Retries int    `json:"retries"`
	}
)

func (t textOf) MarshalText() ([]byte, error) { return []byte(t.text), nil }
func (j jsonOf) MarshalJSON() ([]byte, error) { return []byte(j.text), nil }

var errMethod = errors.New("a method failed")

func (failing) MarshalJSON() ([]byte, error) { return nil, errMethod }
func (*failing) UnmarshalJSON([]byte) error  { return errMethod }

func (panicing) MarshalJSON() ([]byte, error) { panic("at the disco") }
func (*panicing) UnmarshalJSON([]byte) error  { panic("at the disco") }

//go:fix inline
func ref[T any](v T) *T { return new(v) }

func nested(levels int) (v any) {
	v = 1
	for range levels {
		v = []any{v}
	}
	return v
}

func TestJSONEncodes(t *testing.T) {
	when := time.Date(2026, 11, 23, 7, 10, 47, 5000, time.FixedZone("", 3600))
	for _, test := range []struct {
		name string
		v    any
		want string
	}{
		{"nil", nil, `null`},
		{"bool", true, `true`},
		{"pointer to bool", new(false), `false`},
		{"nil pointer to bool", (*bool)(nil), `null`},
		{"int", -5, `-5`},
		{"pointer to int", new(7), `7`},
		{"nil pointer to int", (*int)(nil), `null`},
		{"int64", int64(math.MinInt64), `-9223372036854775808`},
		{"pointer to int64", new(int64(1)), `1`},
		{"int32", int32(-3), `-3`},
		{"pointer to int32", new(int32(3)), `3`},
		{"int16", int16(-3), `-3`},
		{"pointer to int16", new(int16(3)), `3`},
		{"int8", int8(-128), `-128`},
		{"pointer to int8", new(int8(3)), `3`},
		{"uint", uint(3), `3`},
		{"pointer to uint", new(uint(3)), `3`},
		{"uint64", uint64(math.MaxUint64), `18446744073709551615`},
		{"pointer to uint64", new(uint64(3)), `3`},
		{"uint32", uint32(3), `3`},
		{"pointer to uint32", new(uint32(3)), `3`},
		{"uint16", uint16(3), `3`},
		{"pointer to uint16", new(uint16(3)), `3`},
		{"uint8", uint8(255), `255`},
		{"pointer to uint8", new(uint8(3)), `3`},
		{"nil pointer to uint8", (*uint8)(nil), `null`},
		{"float64", 0.1, `0.1`},
		{"pointer to float64", new(2.5), `2.5`},
		{"nil pointer to float64", (*float64)(nil), `null`},
		{"float32", float32(0.1), `0.1`},
		{"pointer to float32", new(float32(2.5)), `2.5`},
		{"nil pointer to float32", (*float32)(nil), `null`},
		{"string", "a\"\\\b\f\n\r\t\x00\x1f\x7f<&>\u2028é", `"a\"\\\b\f\n\r\t\u0000\u001f` + "\x7f<&>\u2028é\""},
		{"pointer to string", new("b"), `"b"`},
		{"nil pointer to string", (*string)(nil), `null`},
		{"named string", color("red\u2029<"), "\"red\u2029<\""},
		{"pointer to named string", new(color("red")), `"red"`},
		{"pointer to pointer", new(new(5)), `5`},
		{"struct", tiny{"<é\u2028>", 3}, "{\"subject\":\"<é\u2028>\",\"retries\":3}"},
		{"pointer to struct", &tiny{"hi", -1}, `{"subject":"hi","retries":-1}`},
		{"nil pointer to struct", (*tiny)(nil), `null`},
		{"nested", home{Address: street{"x", []float64{1, 1e-7, 1e21}}}, `{"address":{"name":"x","widths":[1,1e-7,1e+21]},"labels":null,"extra":null}`},
		{"embedded", inside{home{Labels: map[string]string{"b": "1", "a": "\u2028"}}}, "{\"address\":{\"name\":\"\",\"widths\":null},\"labels\":{\"a\":\"\u2028\",\"b\":\"1\"},\"extra\":null}"},
		{"bytes", []byte{0, 1, 255}, `"AAH/"`},
		{"replacement character", []string{"\ufffd"}, "[\"\ufffd\"]"},
		{"escape as text", []string{`\ufffd`}, `["\\ufffd"]`},
		{"time", when, `"2026-11-23T07:10:47.000005+01:00"`},
		{"text of a method", []textOf{{"<\u2028\b\">"}}, "[\"<\u2028\\b\\\">\"]"},
		{"keys of a method", map[textOf]int{{"b"}: 1, {"a\u2028"}: 2}, "{\"a\u2028\":2,\"b\":1}"},
		{"JSON of a method", []jsonOf{{" {\"a\" : [1 , 2.50e0]}\n"}, {`"\u0041\/\u2028\u001F\ud83d\ude00"`}}, "[{\"a\":[1,2.50e0]},\"A/\u2028\\u001f😀\"]"},
		{"JSON of a method in an interface", map[string]any{"a": []any{jsonOf{`"\u003c"`}}}, `{"a":["<"]}`},
		{"JSON of a method behind a pointer in an interface", any(new(any(&jsonOf{`"\u003c"`}))), `"<"`},
		{"RawMessage", json.RawMessage(` { "a" : "\u0041" } `), `{"a":"A"}`},
		{"json.Number", []json.Number{"1.50", "-0"}, `[1.50,-0]`},
		{"big.Int", big.NewInt(12345678901234), `12345678901234`},
		{"pointers to pointers in a slice", []**big.Int{new(big.NewInt(5))}, `[5]`},
		{"pointers to pointers in a map", map[string]**big.Int{"a": new(big.NewInt(5))}, `{"a":5}`},
		{"512 levels", nested(512), strings.Repeat("[", 512) + "1" + strings.Repeat("]", 512)},
		{"list", &list{&list{}}, `{"next":{"next":null}}`},
		{"interfaces in a struct", struct{ A, B, C, D any }{1, "b", &tiny{"x", 1}, []any{map[string]any{"k": nil}}}, `{"A":1,"B":"b","C":{"subject":"x","retries":1},"D":[{"k":null}]}`},
		{"interfaces in a map of ints", map[int]any{2: []any{}, 1: map[string]any{}}, `{"1":{},"2":[]}`},
		{"interfaces in an array", [2]any{1, nil}, `[1,null]`},
	} {
		t.Run(test.name, func(t *testing.T) {
			bothJSON(t, func(t *testing.T, c codec.Codec) {
				got, err := c.Marshal(test.v)
				require.NoError(t, err)
				assert.Equal(t, test.want, string(got))
				require.NoError(t, codec.Valid(got))
			})
		})
	}
}

func TestJSONRefusesToEncode(t *testing.T) {
	self := map[string]any{}
	self["a"] = self
	ring := &list{}
	ring.Next = ring
	var knot any
	knot = &knot
	for _, test := range []struct {
		name string
		v    any
		want string
	}{
		{"NaN", math.NaN(), `JSON has no number for NaN`},
		{"pointer to infinity", new(math.Inf(-1)), `JSON has no number for -Inf`},
		{"field", home{Address: street{Widths: []float64{1, math.Inf(1)}}}, `cannot encode codec_test.home: .Address.Widths[1]: JSON has no number for +Inf`},
		{"string", "a\xff", `invalid UTF-8 at byte 1`},
		{"named string", color("a\xff"), `cannot encode codec_test.color: invalid UTF-8 at byte 1`},
		{"string in a struct of scalars", &tiny{Subject: "\xff"}, `.Subject: invalid UTF-8 at byte 0`},
		{"string in a field", home{Address: street{Name: "ab\xc3"}}, `.Address.Name: invalid UTF-8 at byte 2`},
		{"string in a map", home{Labels: map[string]string{"k\"": "\xff"}}, `.Labels["k\""]: invalid UTF-8 at byte 0`},
		{"key of a map", home{Labels: map[string]string{"k\xff": ""}}, `.Labels["k\xff"]: key: invalid UTF-8 at byte 1`},
		{"string in a slice in an interface", home{Extra: []any{1, []string{"", "\xff"}}}, `.Extra[1][1]: invalid UTF-8 at byte 0`},
		{"string beside a real U+FFFD", []string{"\ufffd", "\ufffd\xff"}, `[1]: invalid UTF-8 at byte 3`},
		{"embedded", inside{home{Address: street{Name: "\xff"}}}, `.home.Address.Name: invalid UTF-8 at byte 0`},
		{"array in a map of ints", map[int][1]string{4: {"\xff"}}, `[4][0]: invalid UTF-8 at byte 0`},
		{"text of a method", []textOf{{""}, {"\xff"}}, `[1]: MarshalText of codec_test.textOf: invalid UTF-8 at byte 0`},
		{"JSON of a method", []any{&jsonOf{"\"\xff\""}}, `[0]: the text that MarshalJSON of *codec_test.jsonOf returns`},
		{"lone surrogate", json.RawMessage(`"\udc00"`), `lone surrogate`},
		{"broken JSON of a method", jsonOf{`{`}, `a method of codec_test.jsonOf`},
		{"two documents", []jsonOf{{`1 2`}}, `a method of codec_test.jsonOf`},
		{"json.Number out of range", []any{json.Number("1e400")}, `[0]: json.Number "1e400" is not a number that fits in a float64`},
		{"json.Number", json.Number("0x1"), `json.Number "0x1"`},
		{"channel", make(chan int), `type chan int has no form in JSON`},
		{"function in an interface", home{Extra: map[string]any{"f": func() {}}}, `.Extra["f"]: type func() has no form in JSON`},
		{"function in a field", struct{ F func() }{}, `.F: type func() has no form in JSON`},
		{"complex", 1i, `type complex128 has no form in JSON`},
		{"a map that contains itself", self, `["a"]["a"]`},
		{"a list that contains itself", ring, `or contains itself`},
		{"an interface that contains itself", knot, `or contains itself`},
		{"513 levels", nested(513), `at byte 512`},
		{"too many bytes", strings.Repeat("é", codec.MaxSize/2), `more than 16777216 bytes`},
		{"too many bytes in a struct", tiny{Subject: strings.Repeat("x", codec.MaxSize)}, `more than 16777216 bytes`},
		{"too many bytes in a slice", []string{strings.Repeat("x", codec.MaxSize)}, `more than 16777216 bytes`},
		{"too many bytes of a method", jsonOf{`"` + strings.Repeat("x", codec.MaxSize) + `"`}, `more than 16777216 bytes`},
		{"a type without a name", struct {
			A struct{ B, C, D, E, F, G, H, I, J, K, L, M, N, O, P, Q, R, S, T, U, V, W, X, Y, Z []float64 }
			B float64
		}{B: math.NaN()}, `cannot encode struct{...}: .B: `},
		{"a type with a long name", map[struct{ A, B, C, D, E, F, G, H, I, J, K, L, M, N, O, P, Q, R, S, T, U, V, W, X, Y, Z int }]int{}, `..`},
		{"panic", []any{panicing{}}, `panic while encoding []interface {}: at the disco`},
	} {
		t.Run(test.name, func(t *testing.T) {
			bothJSON(t, func(t *testing.T, c codec.Codec) {
				data, err := c.Marshal(test.v)
				require.Error(t, err)
				unsupported := !strings.Contains(test.want, "a method of") && !strings.Contains(test.want, "panic")
				assert.Equal(t, unsupported, errors.Is(err, codec.ErrUnsupported))
				assert.Nil(t, data)
				assert.Contains(t, err.Error(), test.want)
				assert.True(t, strings.HasPrefix(err.Error(), "codec: json: "), "%v", err)
				assert.Less(t, len(err.Error()), 400)

				prefix := []byte("prefix")
				out, err := codec.Append(c, prefix, test.v)
				require.Error(t, err)
				assert.Equal(t, "prefix", string(out))
			})
		})
	}
}

// goccy/go-json hands a marshaler a wrong pointer when a field is a pointer to a pointer. Were these values not refused,
// this test would not fail but end the process.
func TestJSONRefusesPointersToPointersInFields(t *testing.T) {
	type direct struct{ P **big.Int }
	type plain struct{ P **int }
	type deeper struct{ P ***textOf }
	type embedding struct{ direct }
	type generic[T any] struct{ V *T }
	for _, test := range []struct {
		name, field string
		v           any
	}{
		{"field", "field P of struct codec_test.direct", direct{new(big.NewInt(5))}},
		{"pointer to struct", "field P of struct codec_test.direct", &direct{new(big.NewInt(5))}},
		{"nil", "field P of struct codec_test.direct", direct{}},
		{"without a method", "field P of struct codec_test.plain", plain{new(new(1))}},
		{"three pointers", "field P of struct codec_test.deeper", deeper{new(new(&textOf{"a"}))}},
		{"embedded", "field P of struct codec_test.direct", embedding{direct{new(big.NewInt(5))}}},
		{"generic", "field V of struct codec_test.generic[*math/big.Int]", generic[*big.Int]{new(big.NewInt(5))}},
		{"slice", "field P of struct codec_test.direct", []direct{{new(big.NewInt(5))}}},
		{"map", "field P of struct codec_test.direct", map[string]*direct{"a": {new(big.NewInt(5))}}},
		{"field of a field", "field P of struct codec_test.direct", struct{ D struct{ D direct } }{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			bothJSON(t, func(t *testing.T, c codec.Codec) {
				_, err := c.Marshal(test.v)
				require.ErrorIs(t, err, codec.ErrUnsupported)
				assert.Contains(t, err.Error(), test.field)

				_, err = c.Marshal(map[string]any{"x": []any{test.v}})
				require.ErrorIs(t, err, codec.ErrUnsupported)
				assert.Contains(t, err.Error(), `["x"][0]: `+test.field)

				_, err = c.Marshal(home{Extra: &test.v})
				require.ErrorIs(t, err, codec.ErrUnsupported)

				err = c.Unmarshal([]byte(`null`), new(test.v))
				assert.NoError(t, err, "what an interface held before does not matter")
			})
		})
	}
	err := codec.JSON.Unmarshal([]byte(`{"P":5}`), &direct{})
	require.ErrorIs(t, err, codec.ErrUnsupported)
	assert.Contains(t, err.Error(), "cannot decode codec_test.direct: field P of struct codec_test.direct is a **big.Int")

	hidden := struct {
		A **big.Int `json:"-"`
		b **big.Int
	}{b: nil}
	_, err = codec.JSON.Marshal(hidden)
	assert.NoError(t, err, "fields that are not encoded do not matter")
}

func TestJSONErrorsOfMethods(t *testing.T) {
	bothJSON(t, func(t *testing.T, c codec.Codec) {
		_, err := c.Marshal([]failing{{}})
		require.ErrorIs(t, err, errMethod)
		assert.NotErrorIs(t, err, codec.ErrUnsupported)
		err = c.Unmarshal([]byte(`[1]`), new([]failing))
		require.ErrorIs(t, err, errMethod)
		assert.Contains(t, err.Error(), "codec: json: cannot decode []codec_test.failing")
		err = c.Unmarshal([]byte(`[1]`), new([]panicing))
		require.ErrorContains(t, err, "panic while decoding []codec_test.panicing: at the disco")
	})
}

func TestJSONDecodes(t *testing.T) {
	for _, test := range []struct {
		name, data string
		target     any
		want       any
	}{
		{"string", ` "a\u00e9\ud83d\ude00\n" `, new("old"), new("aé😀\n")},
		{"bool", "true\n", new(false), new(true)},
		{"false", "false", new(true), new(false)},
		{"int", " -12 ", new(1), new(-12)},
		{"minus zero", "-0", new(1), new(0)},
		{"least int8", "-128", new(int8(1)), new(int8(-128))},
		{"int16", "32767", new(int16(1)), new(int16(32767))},
		{"int32", "-2147483648", new(int32(1)), new(int32(-2147483648))},
		{"least int64", "-9223372036854775808", new(int64(1)), ref(int64(math.MinInt64))},
		{"uint", "5", new(uint(1)), new(uint(5))},
		{"uint8", "255", new(uint8(1)), new(uint8(255))},
		{"uint16", "65535", new(uint16(1)), new(uint16(65535))},
		{"uint32", "4294967295", new(uint32(1)), new(uint32(4294967295))},
		{"greatest uint64", "18446744073709551615", new(uint64(1)), ref(uint64(math.MaxUint64))},
		{"float64", "-1.5E+2", new(1.0), new(-150.0)},
		{"float32", "0.1", new(float32(1)), new(float32(0.1))},
		{"named string", `"red"`, new(color("old")), new(color("red"))},
		{"pointer", `7`, new(new(3)), new(new(7))},
		{"null pointer", ` null `, new(new(3)), new((*int)(nil))},
		{"null bytes", `null`, new([]byte("old")), new([]byte(nil))},
		{"null map", `null`, &map[string]int{"old": 1}, new(map[string]int(nil))},
		{"null interface", `null`, new(any(5)), new(any(nil))},
		{"interface that held a pointer", `5`, new(any(new(6))), new(any(5.0))},
		{"map", `{"a":1}`, &map[string]int{"old": 1}, &map[string]int{"a": 1}},
		{"shorter slice", `[{"subject":"a"}]`, &[]tiny{{"old", 5}, {"old", 6}}, &[]tiny{{"a", 0}}},
		{"struct", ` { "retries" : 3 , "subject" : "a" } `, &tiny{"old", 5}, &tiny{"a", 3}},
		{"empty object", ` { } `, &tiny{"old", 5}, &tiny{}},
		{"null field", `{"subject":null,"retries":null}`, &tiny{"old", 5}, &tiny{}},
		{"escapes in a field", `{"subject":"a\"\\\u0041","retries":1}`, &tiny{}, &tiny{`a"\A`, 1}},
		{"escapes in a key", `{"subj\u0065ct":"a"}`, &tiny{}, &tiny{"a", 0}},
		{"a quote in a key", `{"subject\"":"a","retries":1}`, &tiny{}, &tiny{"", 1}},
		{"another case", `{"Subject":"a","RETRIES":1}`, &tiny{}, &tiny{"a", 1}},
		{"unknown keys", `{"x":{"subject":"no"},"subject":"a","y":[1,{}]}`, &tiny{}, &tiny{"a", 0}},
		{"a key twice", `{"subject":"a","retries":1,"subject":"b"}`, &tiny{}, &tiny{"b", 1}},
		{"a key twice with null", `{"subject":"a","subject":null}`, &tiny{}, &tiny{"a", 0}},
		{"array", `[1]`, &[2]int{5, 6}, &[2]int{1, 0}},
		{"RawMessage", ` {"a": 1} `, new(json.RawMessage("old")), new(json.RawMessage(`{"a": 1}`))},
		{"time", `"2026-11-23T07:10:47Z"`, &time.Time{}, new(time.Date(2026, 11, 23, 7, 10, 47, 0, time.UTC))},
		{"any", `{"a":[1,"b",null,true]}`, new(any(nil)), new(any(map[string]any{"a": []any{1.0, "b", nil, true}}))},
	} {
		t.Run(test.name, func(t *testing.T) {
			bothJSON(t, func(t *testing.T, c codec.Codec) {
				require.NoError(t, c.Unmarshal([]byte(test.data), test.target))
				assert.Equal(t, test.want, test.target)
				require.NoError(t, c.(codec.ValidUnmarshaler).UnmarshalValid([]byte(test.data), test.target))
				assert.Equal(t, test.want, test.target)
			})
		})
	}
}

func TestJSONRefusesToDecode(t *testing.T) {
	type deep struct {
		A struct {
			B []tiny `json:"b"`
		} `json:"a"`
		C chan int `json:"c"`
		E error    `json:"e"`
	}
	for _, test := range []struct {
		name, data string
		target     any
		want       string
	}{
		{"nothing", ``, new(any), `at byte 0`},
		{"bytes behind", `{} x`, new(any), `at byte 3`},
		{"NUL", "1\x00", new(int), `at byte 1`},
		{"lone surrogate", `"\ud800"`, new(string), `lone surrogate`},
		{"too many bytes", strings.Repeat(" ", codec.MaxSize+1), new(any), `document of 16777217 bytes, want at most 16777216`},
		{"too many levels", strings.Repeat("[", 513) + strings.Repeat("]", 513), new(any), `at byte 512`},
		{"nil", `1`, nil, `cannot decode into nil, want a pointer`},
		{"value", `1`, 5, `cannot decode into a int, want a pointer to it`},
		{"nil pointer", `1`, (*tiny)(nil), `cannot decode into a nil *codec_test.tiny`},
		{"nil pointer to int", `1`, (*int)(nil), `cannot decode into a nil *int`},
		{"nil pointer to string", `""`, (*string)(nil), `cannot decode into a nil *string`},
		{"nil pointer to bool", `true`, (*bool)(nil), `cannot decode into a nil *bool`},
		{"nil pointer to uint", `1`, (*uint)(nil), `cannot decode into a nil *uint`},
		{"nil pointer to float64", `1`, (*float64)(nil), `cannot decode into a nil *float64`},
		{"null into int", `null`, new(int), `null does not fit a value of type int`},
		{"null into string", ` null`, new(string), `null does not fit a value of type string`},
		{"null into struct", `null`, new(tiny), `null does not fit a value of type codec_test.tiny`},
		{"null into nested struct", `null`, new(home), `null does not fit a value of type codec_test.home`},
		{"null into array", `null`, new([2]int), `null does not fit a value of type [2]int`},
		{"null into named string", `null`, new(color), `null does not fit a value of type codec_test.color`},
		{"string into int", `"1"`, new(int), `a string does not fit a value of type int`},
		{"fraction into int", `1.0`, new(int), `number 1.0 does not fit a value of type int`},
		{"exponent into int", `1e2`, new(int64), `number 1e2 does not fit a value of type int64`},
		{"range of int8", `128`, new(int8), `number 128 does not fit a value of type int8`},
		{"negative range of int8", `-129`, new(int8), `number -129 does not fit`},
		{"range of int64", `9223372036854775808`, new(int64), `does not fit a value of type int64`},
		{"negative range of int64", `-9223372036854775809`, new(int64), `does not fit a value of type int64`},
		{"range of uint64", `18446744073709551616`, new(uint64), `does not fit a value of type uint64`},
		{"far beyond uint64", `184467440737095516150`, new(uint64), `does not fit a value of type uint64`},
		{"negative uint", `-1`, new(uint), `number -1 does not fit a value of type uint`},
		{"range of float32", `1e39`, new(float32), `number 1e39 does not fit a value of type float32`},
		{"bool into float", `true`, new(float64), `true does not fit a value of type float64`},
		{"object into bool", `{}`, new(bool), `an object does not fit a value of type bool`},
		{"array into string", `[]`, new(string), `an array does not fit a value of type string`},
		{"number into struct", `1`, new(tiny), `cannot decode codec_test.tiny: number does not fit a value of type codec_test.tiny`},
		{"field", `{"retries":"3"}`, new(tiny), `cannot decode codec_test.tiny: .retries: string does not fit a value of type int`},
		{"range of a field", `{"retries":3.5}`, new(tiny), `.retries: number 3.5 does not fit a value of type int`},
		{"deep field", `{"a":{"b":[{"retries":[]}]}}`, new(deep), `.retries: array does not fit a value of type int`},
		{"time", `"yesterday"`, new(time.Time), `cannot decode time.Time: parsing time`},
		{"channel", `{"c":1}`, new(deep), `.c: number does not fit a value of type chan int`},
		{"interface with methods", `{"e":1}`, new(deep), `.e: number does not fit a value of type error`},
	} {
		t.Run(test.name, func(t *testing.T) {
			bothJSON(t, func(t *testing.T, c codec.Codec) {
				err := c.Unmarshal([]byte(test.data), test.target)
				require.Error(t, err)
				assert.Contains(t, err.Error(), test.want)
				assert.True(t, strings.HasPrefix(err.Error(), "codec: json: "), "%v", err)
			})
		})
	}
	bothJSON(t, func(t *testing.T, c codec.Codec) {
		require.ErrorIs(t, c.Unmarshal([]byte(`{"c":1}`), new(deep)), codec.ErrUnsupported)
		require.ErrorIs(t, c.Unmarshal([]byte(`{"e":1}`), new(deep)), codec.ErrUnsupported)
		require.ErrorIs(t, c.Unmarshal([]byte(`1`), nil), codec.ErrUnsupported)
		require.NotErrorIs(t, c.Unmarshal([]byte(`"1"`), new(int)), codec.ErrUnsupported)
	})
}

// UnmarshalValid is promised valid data. Given other data it may return anything, but it returns.
func TestUnmarshalValidSurvivesInvalidData(t *testing.T) {
	for _, data := range []string{"", " ", "{", `{"`, `{"subject`, `{"subject"`, `{"subject":`, `{"subject":"`, `{"subject":"\`,
		`{"subject":"\"`, `{"subject":"a"`, `{"subject":"a",`, `{"retries":1x}`, `{"retries"1}`, `{"subject":"\ud800"}`, `{"retries":1]`,
		`}`, `"`, `"\`, `-`, `1x`, `tru`} {
		for _, v := range []any{new(tiny), new(int), new(uint), new(string), new(bool), new(float64)} {
			assert.NotPanics(t, func() { _ = codec.JSON.(codec.ValidUnmarshaler).UnmarshalValid([]byte(data), v) }, "%s into %T", data, v)
		}
	}
}
