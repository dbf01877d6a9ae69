package jsontext

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const maxDepth = 512

func nested(open, inner, closing string, n int) string {
	return strings.Repeat(open, n) + inner + strings.Repeat(closing, n)
}

func TestValid(t *testing.T) {
	tests := []struct {
		in    string
		wrong string // what the error says; empty for a document
	}{
		{in: `null`}, {in: `true`}, {in: `false`}, {in: `0`}, {in: `-0`}, {in: `-1.5e-7`}, {in: `1E+2`}, {in: `""`},
		{in: " \t\r\n[ ] \n"}, {in: `{}`}, {in: `{ "a" : 1 , "a" : [ ] }`}, {in: `"é\u00e9\ud83d\ude00\/\b\f\n\r\t\\\""`},
		{in: `"1234567\""`}, {in: `"12345678é"`}, {in: `[1,[2,{"a":[]}]]`}, {in: nested("[", "1", "]", maxDepth)},
		{in: nested(`{"a":`, "1", "}", maxDepth)}, {in: `1` + strings.Repeat("0", 308)}, {in: "1e-400"},
		{"", "the document ends where a value is wanted"},
		{"  ", "the document ends where a value is wanted at byte 2"},
		{"nul", "'n' where a value is wanted"}, {"nulL", "'n' where"}, {"tru", "'t' where"}, {"fals", "'f' where"},
		{"+1", "'+' where a value is wanted"}, {"\x00", "byte 0x00 where"}, {"\x80", "byte 0x80 where"},
		{"-", "a number without a digit"}, {"-a", "a number without a digit"}, {"01", "a digit behind a leading zero at byte 1"},
		{"-00", "a digit behind a leading zero"}, {"1.", "behind its point"}, {"1.e2", "behind its point"}, {"1e", "in its exponent"},
		{"1e+", "in its exponent"}, {"1e400", "number 1e400 is out of range at byte 0"}, {"-1e400", "out of range"},
		{"1" + strings.Repeat("0", 309), "out of range"}, {"0x1", "'x' stands behind the document at byte 1"},
		{"1 2", "'2' stands behind the document at byte 2"}, {"{}\x00", "byte 0x00 stands behind"},
		{`"a`, "a string without an end at byte 0"}, {`"12345678`, "a string without an end"}, {"\"a\nb\"", "control character byte 0x0a"},
		{"\"12345678\x01\"", "control character"}, {"\"\xff\"", "invalid UTF-8 at byte 1"}, {"\"\xed\xa0\x80\"", "invalid UTF-8"},
		{"\"\xc0\xaf\"", "invalid UTF-8"}, {`"\x"`, "invalid escape"}, {`"\u12"`, "invalid escape"}, {`"\u12g4"`, "invalid escape"},
		{`"\`, "invalid escape"}, {`"\ud800"`, "lone surrogate"}, {`"\udc00"`, "lone surrogate"}, {`"\udc00\ud800"`, "lone surrogate"},
		{`"\ud800\u0041"`, "lone surrogate"}, {`"\ud800\n12345"`, "lone surrogate"},
		{"[", "the document ends where a value is wanted"}, {"[1", "the document ends, want ',' or ']'"}, {"[1 2]", "found '2', want ',' or ']'"},
		{"[1,]", "']' where a value is wanted"}, {"[,1]", "',' where a value is wanted"}, {"[1}", "found '}', want ',' or ']'"},
		{"{", "the document ends, want a key in double quotes"}, {"{1:2}", "found '1', want a key in double quotes"},
		{`{"a`, "a string without an end"}, {`{"a"`, "the document ends, want ':'"}, {`{"a" 1}`, "found '1', want ':'"},
		{`{"a":}`, "'}' where a value is wanted"}, {`{"a":1`, "want ',' or '}'"}, {`{"a":1]`, "found ']', want ',' or '}'"},
		{`{"a":1,}`, "found '}', want a key in double quotes"},
		{nested("[", "1", "]", maxDepth+1), "inside each other than allowed"}, {nested(`{"a":`, "1", "}", maxDepth+1), "inside each other than allowed"},
	}
	for _, tt := range tests {
		t.Run(tt.in[:min(len(tt.in), 20)], func(t *testing.T) {
			err := Valid([]byte(tt.in), maxDepth)
			if tt.wrong == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.wrong)
			var syntax *SyntaxError
			require.ErrorAs(t, err, &syntax)
			assert.LessOrEqual(t, syntax.Offset, len(tt.in))
		})
	}
}

func TestAppendCanonical(t *testing.T) {
	tests := []struct{ in, want string }{
		{`{"a":[1,"b"]}`, `{"a":[1,"b"]}`},
		{" { \"a\" : [ 1 , \"b c\" ] } ", `{"a":[1,"b c"]}`},
		{`[1.0,1e2,-0.0]`, `[1.0,1e2,-0.0]`},
		{`"\u0041\/\u00e9\u2028<>&"`, "\"A/é\u2028<>&\""},
		{`"\u0000\u001f\u0008\u000c\u000a\u000d\u0009\u0022\u005c\u007f"`, `"\u0000\u001f\b\f\n\r\t\"\\` + "\x7f\""},
		{`"\ud83d\uDE00\uFFFD"`, `"😀` + "\uFFFD\""},
		{`{ "\u0061":1,"a" :2}`, `{"a":1,"a":2}`},
		{"[ ]", "[]"}, {"{ }", "{}"}, {"[1 ]", "[1]"}, {"[ 1]", "[1]"}, {`{"a" :1}`, `{"a":1}`}, {`{"a": 1}`, `{"a":1}`},
		{"[1, 2]", "[1,2]"}, {"[1 ,2]", "[1,2]"}, {"1 ", "1"}, {" 1", "1"},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			got, err := AppendCanonical([]byte("before"), []byte(tt.in), maxDepth)
			require.NoError(t, err)
			assert.Equal(t, "before"+tt.want, string(got))
			assert.Equal(t, tt.want, string(AppendCompact(nil, []byte(tt.in))))
			_, plain, err := Skip([]byte(tt.in), SkipSpace([]byte(tt.in), 0), maxDepth)
			require.NoError(t, err)
			if plain {
				assert.Equal(t, strings.TrimSpace(tt.in), tt.want, "what is plain is its compact form")
			}
		})
	}
	for _, in := range []string{"", "[1,]", `"\ud800"`, "1 1", " ["} {
		got, err := AppendCanonical([]byte("before"), []byte(in), maxDepth)
		require.Error(t, err)
		assert.Equal(t, "before", string(got), "as it was after an error")
	}
}

func TestAppendString(t *testing.T) {
	// Each byte at each place of words of eight, so that no lane of the fast path is left out.
	for c := range 256 {
		for n := range 18 {
			s := strings.Repeat("x", n) + string([]byte{byte(c)}) + strings.Repeat("y", 17-n)
			got, err := AppendString([]byte("b"), s)
			if c >= 0x80 {
				require.ErrorContains(t, err, "invalid UTF-8 at byte")
				require.Equal(t, "b", string(got))
				continue
			}
			require.NoError(t, err)
			require.NoError(t, Valid(got[1:], 0))
			back, err := Unquote(got[1:])
			require.NoError(t, err)
			require.Equal(t, s, back)
			require.Equal(t, s, UnquoteValid(got[1:]))
			raw := `"` + s + `"`
			plain := c >= 0x20 && c != '"' && c != '\\'
			require.Equal(t, plain, string(got[1:]) == raw, "byte %x", c)
			require.Equal(t, plain, Valid([]byte(raw), 0) == nil, "byte %x as it stands", c)
		}
	}
}

func TestUnquote(t *testing.T) {
	for in, want := range map[string]string{
		`""`: "", `"a"`: "a", `"\u0041b"`: "Ab", `"\ud83d\ude00"`: "😀", `"é"`: "é", `"\""`: `"`,
	} {
		got, err := Unquote([]byte(in))
		require.NoError(t, err, in)
		assert.Equal(t, want, got, in)
		assert.Equal(t, want, UnquoteValid([]byte(in)), in)
	}
	for in, wrong := range map[string]string{
		``: "want a string", `"`: "want a string", `a"`: "want a string", `null`: "want a string", `"a"b`: "behind the string",
		`"a" `: "behind the string", `"a`: "without an end", "\"\xff\"": "UTF-8",
	} {
		_, err := Unquote([]byte(in))
		assert.ErrorContains(t, err, wrong, "%q", in)
	}
}

func TestObject(t *testing.T) {
	data := []byte(`{ "a":1, "\u0062" : [ 2 ] ,"c":"x","d":null}`)
	o, err := NewObject(data, 0, maxDepth)
	require.NoError(t, err)
	type member struct {
		key, value      string
		expected, plain bool
	}
	var got []member
	for _, expect := range []string{`"a":`, `"b":`, `"x":`, ``} {
		more, err := o.NextKey(expect)
		require.NoError(t, err)
		require.True(t, more)
		require.NoError(t, o.SkipValue())
		got = append(got, member{string(o.Key), string(data[o.Start:o.End]), o.Expected, o.Plain})
	}
	more, err := o.NextKey(`"e":`)
	require.NoError(t, err)
	assert.False(t, more)
	assert.Equal(t, len(data), o.At())
	assert.Equal(t, []member{
		{"a", "1", true, true}, {"b", "[ 2 ]", false, false}, {"c", `"x"`, false, true}, {"d", "null", false, true},
	}, got)
}

func TestObjectJump(t *testing.T) {
	data := []byte(`{"a":1,"b":2}`)
	o, err := NewObject(data, 0, maxDepth)
	require.NoError(t, err)
	more, err := o.NextKey(`"a":`)
	require.NoError(t, err)
	require.True(t, more)
	o.Jump(o.Start + 1)
	more, err = o.Next()
	require.NoError(t, err)
	require.True(t, more)
	assert.Equal(t, "b", string(o.Key))
}

func TestObjectAndArrayRefuse(t *testing.T) {
	walk := func(in string, depth int) error {
		data := []byte(in)
		if o, err := NewObject(data, 0, depth); err == nil {
			for {
				if more, err := o.Next(); !more {
					return err
				}
			}
		} else if a, arrayErr := NewArray(data, 0, depth); arrayErr == nil {
			for {
				if more, err := a.Next(); !more {
					return err
				}
			}
		} else {
			require.Equal(t, strings.ReplaceAll(err.Error(), "an object", "an array"), arrayErr.Error())
			return err
		}
	}
	for _, tt := range []struct {
		in    string
		depth int
		wrong string
	}{
		{"", 1, "the document is empty, want an object"}, {"1", 1, "found a number, want an object"},
		{`"a"`, 1, "found a string"}, {"null", 1, "found null"}, {"true", 1, "found a boolean"}, {"?", 1, "found '?'"},
		{"{}", 0, "inside each other"}, {"[]", 0, "inside each other"}, {"[[]]", 1, "inside each other"}, {`{"a":{}}`, 1, "inside each other"},
		{`{"a":1 "b"}`, 1, "want ',' or '}'"}, {"{a}", 1, "want a key"}, {"{", 1, "want a key"}, {`{"a`, 1, "without an end"},
		{`{"a"}`, 1, "want ':'"}, {`{"a":x}`, 1, "'x' where a value is wanted"}, {"[x]", 1, "'x' where"}, {"[1:", 1, "want ',' or ']'"},
		{"{}", 1, ""}, {"[]", 1, ""}, {"[1,2]", 1, ""}, {`{"a":[]}`, 2, ""},
	} {
		err := walk(tt.in, tt.depth)
		if tt.wrong == "" {
			assert.NoError(t, err, tt.in)
			continue
		}
		assert.ErrorContains(t, err, tt.wrong, tt.in)
	}
}

func TestKind(t *testing.T) {
	for in, want := range map[string]string{
		"{": "an object", "[": "an array", `"`: "a string", "t": "a boolean", "f": "a boolean", "n": "null", "-": "a number", "7": "a number", "\x01": "byte 0x01",
	} {
		assert.Equal(t, want, Kind(in[0]))
	}
}
