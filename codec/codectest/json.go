package codectest

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"

	"github.com/omniq-go/omniq/codec"
)

func checkJSONText(k *checker) {
	for _, e := range k.encodeAll() {
		if err := codec.Valid(e.data); err != nil {
			k.fail("%s: Marshal returns %.60q: %v", e.name, e.data, err)
			continue
		}
		var compact bytes.Buffer
		if err := json.Compact(&compact, e.data); err != nil || !bytes.Equal(compact.Bytes(), e.data) {
			k.fail("%s: Marshal returns %.60q, which has white space", e.name, e.data)
		}
	}
	for _, s := range []string{"<&>", "\u2028\u2029", "é", "\ufffd"} {
		if data, ok := k.marshal(s); ok && string(data) != `"`+s+`"` {
			k.fail("Marshal of %q returns %s, which has an escape that is not needed", s, data)
		}
	}
}

// rawText is JSON text that a method returns as it is.
type rawText string

func (r rawText) MarshalJSON() ([]byte, error) { return []byte(r), nil }

// loop is a value that can contain itself.
type loop struct {
	Next *loop `json:"next"`
}

func deep(levels int) any {
	v := any("end")
	for range levels {
		v = []any{v}
	}
	return v
}

func checkJSONWrites(k *checker) {
	inf, bad := math.Inf(1), "a\xffb"
	self := &loop{}
	self.Next = self
	for _, test := range []struct {
		name string
		v    any
	}{
		{"NaN", math.NaN()},
		{"a pointer to infinity", &inf},
		{"an infinite float32", float32(math.Inf(-1))},
		{"NaN in a slice", []float64{1, math.NaN()}},
		{"NaN in an interface", map[string]any{"a": math.NaN()}},
		{"a string that is not UTF-8", bad},
		{"a pointer to a string that is not UTF-8", &bad},
		{"a named string that is not UTF-8", color(bad)},
		{"a field that is not UTF-8", settings{Subject: bad}},
		{"a nested field that is not UTF-8", person{Others: []address{{}, {Street: bad}}}},
		{"a key that is not UTF-8", map[string]int{bad: 1}},
		{"a string in an interface that is not UTF-8", []any{map[string]any{"a": bad}}},
		{"a surrogate as UTF-8", "\xed\xa0\x80"},
		{"text of a method with a lone surrogate", rawText(`"\ud800"`)},
		{"text of a method that is not UTF-8", rawText("\"\xff\"")},
		{"text of a method that is no JSON", rawText(`{]`)},
		{"text of a method behind a document", []any{rawText(`1 2`)}},
		{"a number of a method beyond float64", rawText(`1e400`)},
		{"json.Number beyond float64", []json.Number{"1e400"}},
		{"json.Number that is none", json.Number("0x1")},
		{"json.RawMessage that is no JSON", json.RawMessage(`nul`)},
		{"too many levels", deep(codec.MaxDepth + 1)},
		{"too many levels of a method", rawText(strings.Repeat("[", codec.MaxDepth+1) + strings.Repeat("]", codec.MaxDepth+1))},
		{"a value that contains itself", self},
		{"a channel in a struct", struct{ C chan int }{make(chan int)}},
		{"a function in an interface", []any{func() {}}},
		{"too many bytes", strings.Repeat("x", codec.MaxSize-1)},
		{"too many bytes in a slice", []string{strings.Repeat("x", codec.MaxSize)}},
	} {
		if data, ok, err := k.tryMarshal(test.v); ok && err == nil {
			k.fail("%s: Marshal returns %.60q and no error", test.name, data)
		}
	}
	if _, ok := k.marshal(deep(codec.MaxDepth)); !ok {
		k.fail("%d levels are allowed", codec.MaxDepth)
	}
	if data, ok := k.marshal([]any{rawText(" { \"a\" : \"\\u0041\\/\" } ")}); ok && string(data) != `[{"a":"A/"}]` {
		k.fail("Marshal gives the text of a method as %s, want [{\"a\":\"A/\"}]", data)
	}
}

// brackets is a document of so many levels.
func brackets(levels int) string { return strings.Repeat("[", levels) + strings.Repeat("]", levels) }

func checkJSONReads(k *checker) {
	for _, test := range []struct{ name, data string }{
		{"nothing", ``},
		{"white space", " \n"},
		{"bytes behind the document", `{} x`},
		{"a second document", `1 2`},
		{"a bracket behind the document", `[]]`},
		{"a NUL byte behind the document", "1\x00"},
		{"a NUL byte in a string", "\"a\x00b\""},
		{"a control character in a string", "\"a\tb\""},
		{"a byte order mark", "\ufeff1"},
		{"bytes that are not UTF-8", "\"a\xffb\""},
		{"a key that is not UTF-8", "{\"\xff\":1}"},
		{"a surrogate as UTF-8", "\"\xed\xa0\x80\""},
		{"an overlong form", "\"\xc0\xaf\""},
		{"a lone high surrogate", `"\ud800"`},
		{"a lone low surrogate", `"a\udc00"`},
		{"two high surrogates", `"\ud800\ud800"`},
		{"a lone surrogate in a key", `{"\udfff":1}`},
		{"too many levels", brackets(codec.MaxDepth + 1)},
		{"a number beyond float64", `1e400`},
		{"a negative number beyond float64", `[-1e400]`},
		{"NaN", `NaN`},
		{"Infinity", `Infinity`},
		{"a hexadecimal number", `0x1`},
		{"a leading zero", `01`},
		{"a leading plus", `+1`},
		{"a leading dot", `.5`},
		{"a trailing dot", `1.`},
		{"an empty exponent", `1e`},
		{"an underscore", `1_0`},
		{"single quotes", `'a'`},
		{"a trailing comma", `[1,]`},
		{"a trailing comma in an object", `{"a":1,}`},
		{"a missing value", `{"a"}`},
		{"a key without quotes", `{a:1}`},
		{"a comment", `/**/1`},
		{"an unknown escape", `"\x41"`},
		{"a short escape", `"\u12"`},
		{"an open string", `"a`},
		{"a word", `nul`},
		{"upper case", `True`},
		{"too many bytes", strings.Repeat(" ", codec.MaxSize) + "1"},
	} {
		var v any
		if ok, err := k.tryUnmarshal([]byte(test.data), &v); ok && err == nil {
			k.fail("%s: Unmarshal of %.60q returns no error", test.name, test.data)
		}
		raw := struct{ A *int }{}
		if ok, err := k.tryUnmarshal([]byte(`{"unread":`+test.data+`}`), &raw); ok && err == nil {
			if codec.Valid([]byte(`{"unread":`+test.data+`}`)) != nil {
				k.fail("%s: Unmarshal of %.60q in an unread part returns no error", test.name, test.data)
			}
		}
	}
	for _, test := range []struct {
		data string
		want any
	}{
		{" {\"a\" :\t[1 ,\r\n null]} \n", map[string]any{"a": []any{1.0, nil}}},
		{`"\u00e9\ud83d\ude00\/\b"`, "é😀/\b"},
		{`-0.5E+2`, -50.0},
		{`"` + "\ufffd\u2028" + `"`, "\ufffd\u2028"},
	} {
		var got any
		if k.unmarshal([]byte(test.data), &got) {
			k.want(test.want, got, test.data)
		}
	}
	var v any
	k.unmarshal([]byte(brackets(codec.MaxDepth)), &v)
	for _, test := range []struct {
		data   string
		target any
	}{
		{`"1"`, new(int)},
		{`1.5`, new(int)},
		{`256`, new(uint8)},
		{`-129`, new(int8)},
		{`-1`, new(uint)},
		{`1e39`, new(float32)},
		{`1`, new(string)},
		{`0`, new(bool)},
		{`{}`, new([]int)},
		{`[]`, new(map[string]int)},
		{`[]`, new(settings)},
		{`{"subject":1}`, new(settings)},
		{`{"age":256}`, new(person)},
	} {
		if ok, err := k.tryUnmarshal([]byte(test.data), test.target); ok && err == nil {
			k.fail("Unmarshal of %s into a %T returns no error", test.data, test.target)
		}
	}
}

func checkUnmarshalValid(k *checker) {
	u := k.c.(codec.ValidUnmarshaler)
	for _, e := range k.encodeAll() {
		for _, data := range [][]byte{e.data, []byte(" " + string(e.data) + "\n")} {
			want, got := target(e.make()), target(e.make())
			var err error
			if !k.unmarshal(data, want) || !k.guard("UnmarshalValid", func() { err = u.UnmarshalValid(data, got) }) {
				return
			}
			if err != nil {
				k.fail("%s: %v", e.name, err)
				return
			}
			k.want(content(want), content(got), e.name)
		}
	}
	for _, data := range []string{`null`, `1`, `1.5`, `"a"`, `true`, `[]`, `{}`, `[1,2,3]`, `{"name":1}`, `{"name":null}`, `{"Name":"a"}`} {
		for _, v := range k.values() {
			want, got := target(v.make()), target(v.make())
			ok, wantErr := k.tryUnmarshal([]byte(data), want)
			var gotErr error
			if !ok || !k.guard("UnmarshalValid", func() { gotErr = u.UnmarshalValid([]byte(data), got) }) {
				return
			}
			if (wantErr == nil) != (gotErr == nil) {
				k.fail("%s into a %T: the error of Unmarshal is %v, that of UnmarshalValid %v", data, got, wantErr, gotErr)
			} else if wantErr == nil {
				k.want(content(want), content(got), data)
			}
		}
	}
}
