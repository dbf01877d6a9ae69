package codec_test

import (
	"bytes"
	"encoding/json"
	"io"
	"strconv"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq/codec"
)

// plainValid is codec.Valid said slowly.
func plainValid(data []byte) bool {
	return len(data) <= codec.MaxSize && json.Valid(data) && utf8.Valid(data) && !hasLoneSurrogate(data) && depthOf(data) <= codec.MaxDepth && numbersFit(data)
}

// hasLoneSurrogate looks at the escapes of valid JSON.
func hasLoneSurrogate(data []byte) bool {
	units := func(i int) (unit uint64, ok bool) {
		if i+6 > len(data) || data[i] != '\\' || data[i+1] != 'u' {
			return 0, false
		}
		unit, err := strconv.ParseUint(string(data[i+2:i+6]), 16, 16)
		return unit, err == nil
	}
	for i := 0; i < len(data); i++ {
		if data[i] != '\\' {
			continue
		}
		unit, ok := units(i)
		switch {
		case !ok:
			i++ // an escape of two bytes
		case unit < 0xd800 || unit > 0xdfff:
			i += 5
		case unit >= 0xdc00:
			return true
		default:
			low, ok := units(i + 6)
			if !ok || low < 0xdc00 || low > 0xdfff {
				return true
			}
			i += 11
		}
	}
	return false
}

// depthOf counts the levels of valid JSON.
func depthOf(data []byte) (deepest int) {
	depth, inString := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '[' || c == '{':
			depth++
			deepest = max(deepest, depth)
		case c == ']' || c == '}':
			depth--
		}
	}
	return deepest
}

func numbersFit(data []byte) bool {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	for {
		token, err := d.Token()
		if err == io.EOF {
			return true
		}
		if n, ok := token.(json.Number); ok {
			if _, err := n.Float64(); err != nil {
				return false
			}
		}
		if err != nil {
			return false
		}
	}
}

func FuzzJSON(f *testing.F) {
	for _, s := range []string{
		`null`, ` true `, `-0`, `1e308`, `1e309`, `1E-400`, `01`, `1.`, `"a"`, `"\u00e9"`, `"\ud83d\ude00"`, `"\ud800"`, `"\udc00\ud800"`,
		`"\\ud800"`, `"\ud800\u0041"`, `"\ufffd"`, "\"\ufffd\u2028\"", "\"\xff\"", "\"\xed\xa0\x80\"", "\"\x00\"", "1\x00", `{} {}`, `[1,]`,
		`{"a":1,"a":2}`, `{"a":[1,{"b":null}]}`, `{"\u0061":"\/"}`, "\ufeff1", `[[[[]]]]`, `"\b\f\n\r\t\"\\"`, "\"\x7f\"", `{"":""}`, `[`, `"`, ``,
		`{"a":1e400}`, `["\uD834\uDD1E"]`, `123456789012345678901234567890`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var v any
		err := codec.JSON.Unmarshal(data, &v)
		require.Equal(t, plainValid(data), err == nil, "%q: %v", data, err)
		var w any
		stdErr := codec.StdJSON.Unmarshal(data, &w)
		require.Equal(t, err == nil, stdErr == nil, "%q: %v, %v", data, err, stdErr)
		if err != nil {
			return
		}
		require.Equal(t, w, v)
		var plain any
		require.NoError(t, json.Unmarshal(data, &plain))
		require.Equal(t, plain, v)

		again, err := codec.JSON.Marshal(v)
		require.NoError(t, err)
		require.True(t, plainValid(again), "%q", again)
		stdAgain, err := codec.StdJSON.Marshal(v)
		require.NoError(t, err)
		require.Equal(t, string(stdAgain), string(again))
		checkAccepted(t, codec.JSON, data)

		raw, err := codec.JSON.Marshal(json.RawMessage(data))
		require.NoError(t, err)
		stdRaw, err := codec.StdJSON.Marshal(json.RawMessage(data))
		require.NoError(t, err)
		require.Equal(t, string(stdRaw), string(raw))
	})
}

// Strings of any bytes are written or refused alike by each codec, wherever they stand.
func FuzzJSONStrings(f *testing.F) {
	for _, s := range []string{"", "a", "\xff", "\ufffd", "\\ufffd", "\u2028<>&\x7f", "\x00\x1f\b\f", "\"\\/", "\xed\xa0\x80", "é😀", "\ufffd\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, v := range []any{s, &s, color(s), tiny{Subject: s}, []string{s}, map[string]int{s: 1}, map[string]any{s: s}, []any{[]any{s}},
			street{Name: s}, textOf{s}, map[textOf]textOf{{s}: {s}}} {
			got, err := codec.JSON.Marshal(v)
			want, wantErr := codec.StdJSON.Marshal(v)
			require.Equal(t, utf8.ValidString(s), err == nil, "%T: %v", v, err)
			require.Equal(t, utf8.ValidString(s), wantErr == nil, "%T: %v", v, wantErr)
			require.Equal(t, string(want), string(got), "%T", v)
			if err == nil {
				require.True(t, plainValid(got), "%q", got)
			}
		}
	})
}
