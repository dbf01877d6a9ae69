package jsontext

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// The reference: encoding/json for the grammar, and a plain check of each rule that it does not have.

var (
	stringForm  = regexp.MustCompile(`"(?:\\.|[^"\\])*"`)
	numberForm  = regexp.MustCompile(`-?[0-9][-+.0-9eE]*`)
	unicodeForm = regexp.MustCompile(`(?:\\u[0-9a-fA-F]{4})+`)
)

func refValid(data []byte, maxDepth int) bool {
	if !utf8.Valid(data) || !json.Valid(data) {
		return false
	}
	rest := stringForm.ReplaceAllFunc(data, func([]byte) []byte { return []byte(`""`) })
	depth := 0
	for _, c := range rest {
		switch c {
		case '[', '{':
			if depth++; depth > maxDepth {
				return false
			}
		case ']', '}':
			depth--
		}
	}
	for _, n := range numberForm.FindAll(rest, -1) {
		if _, err := strconv.ParseFloat(string(n), 64); err != nil {
			return false
		}
	}
	for _, s := range stringForm.FindAllString(string(data), -1) {
		s = strings.ReplaceAll(s, `\\`, "  ") // so that a \u is an escape
		for _, run := range unicodeForm.FindAllString(s, -1) {
			var units []uint16
			for _, digits := range strings.Split(run, `\u`)[1:] {
				n, _ := strconv.ParseUint(digits, 16, 16)
				units = append(units, uint16(n))
			}
			// A lone surrogate decodes to U+FFFD, which may also stand there by itself.
			if strings.Count(string(utf16.Decode(units)), "\uFFFD") != strings.Count(strings.ToLower(run), `\ufffd`) {
				return false
			}
		}
	}
	return true
}

var seeds = []string{
	`null`, `[1,2.5e-3,-0]`, ` {"a" : "b\u00e9\ud83d\ude00" } `, `"\ud800"`, `"\\ud800"`, `"\ufffd\uFFFD"`, `1e400`, "\"\xff\"", `[[[[]]]]`,
	`{"a":1,"a":2}`, `"\ud800\ufffd"`, `[1,]`, `{"a":}`, `01`, `"12345678\n12345678"`, `"\ude00\ud83d"`, "[1\n,\t2\r]",
}

func FuzzValid(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		const maxDepth = 4
		err := Valid(data, maxDepth)
		if want := refValid(data, maxDepth); want != (err == nil) {
			t.Fatalf("%q: valid is %v by the reference, and Valid says %v", data, want, err)
		}
	})
}

// decoded is the value of a document by encoding/json, with numbers as they stand.
func decoded(t *testing.T, data []byte) (v any) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	require.NoError(t, d.Decode(&v))
	return v
}

func FuzzAppendCanonical(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		before := bytes.Clone(data)
		first, err := AppendCanonical(nil, data, 512)
		require.Equal(t, before, data, "the source is left alone")
		require.Equal(t, Valid(data, 512) == nil, err == nil)
		if err != nil {
			require.Empty(t, first)
			return
		}
		require.Equal(t, decoded(t, data), decoded(t, first))
		second, err := AppendCanonical(nil, first, 512)
		require.NoError(t, err)
		require.Equal(t, string(first), string(second))
		end, plain, err := Skip(first, 0, 512)
		require.NoError(t, err)
		require.Equal(t, len(first), end)
		require.Equal(t, bytes.IndexByte(first, '\\') < 0, plain, "only the escapes that must be are left")
		var compact bytes.Buffer
		require.NoError(t, json.Compact(&compact, data))
		if bytes.IndexByte(data, '\\') < 0 {
			require.Equal(t, compact.String(), string(first))
		}
	})
}

func FuzzString(f *testing.F) {
	for _, s := range append(seeds, "", "héllo\x00\x1f\x7f\u2028", "12345678\x8012345678") {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		lit, err := AppendString([]byte("b"), s)
		require.Equal(t, utf8.ValidString(s), err == nil)
		require.Equal(t, byte('b'), lit[0])
		if err != nil {
			require.Len(t, lit, 1)
			return
		}
		lit = lit[1:]
		back, err := Unquote(lit)
		require.NoError(t, err)
		require.Equal(t, s, back)
		require.Equal(t, s, UnquoteValid(lit))
		var std string
		require.NoError(t, json.Unmarshal(lit, &std))
		require.Equal(t, s, std)
	})
}

// Unquote of any bytes, held against encoding/json.
func FuzzUnquote(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, lit []byte) {
		got, err := Unquote(lit)
		isString := len(lit) > 1 && lit[0] == '"' && lit[len(lit)-1] == '"' && refValid(lit, 0)
		require.Equal(t, isString, err == nil, "%q", lit)
		if err == nil {
			var std string
			require.NoError(t, json.Unmarshal(lit, &std))
			require.Equal(t, std, got)
		}
	})
}

// Object and Array find the same parts as encoding/json.
func FuzzWalk(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if Valid(data, 512) != nil {
			return
		}
		i := SkipSpace(data, 0)
		if o, err := NewObject(data, i, 512); err == nil {
			d := json.NewDecoder(bytes.NewReader(data))
			_, err := d.Token()
			require.NoError(t, err)
			for {
				more, err := o.Next()
				require.NoError(t, err)
				require.Equal(t, d.More(), more)
				if !more {
					break
				}
				key, err := d.Token()
				require.NoError(t, err)
				require.Equal(t, key, string(o.Key))
				var value json.RawMessage
				require.NoError(t, d.Decode(&value))
				require.Equal(t, string(value), string(data[o.Start:o.End]))
			}
			require.NoError(t, End(data, o.At()))
		}
		if a, err := NewArray(data, i, 512); err == nil {
			var want []json.RawMessage
			require.NoError(t, json.Unmarshal(data, &want))
			for _, element := range want {
				more, err := a.Next()
				require.NoError(t, err)
				require.True(t, more)
				require.Equal(t, string(element), string(data[a.Start:a.End]))
			}
			more, err := a.Next()
			require.NoError(t, err)
			require.False(t, more)
			require.NoError(t, End(data, a.At()))
		}
	})
}
