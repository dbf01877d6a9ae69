package codec_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq/codec"
)

type (
	zeroable int
	// allScalars has a field of each kind that JSON codes without a library, and of each option of a tag.
	allScalars struct {
		Bool    bool
		Int     int     `json:"int"`
		Int8    int8    `json:"int8,omitempty"`
		Int16   int16   `json:",omitempty"`
		Int32   int32   `json:"int-32"`
		Int64   int64   `json:"int.64,omitzero"`
		Uint    uint    `json:"UINT"`
		Uint8   uint8   `json:"uint8,omitempty"`
		Uint16  uint16  `json:"uint16"`
		Uint32  uint32  `json:"uint32"`
		Uint64  uint64  `json:"uint64"`
		Float32 float32 `json:"float32,omitempty"`
		Float64 float64 `json:"float64,omitempty"`
		String  string  `json:"string,omitempty"`
		Color   color   `json:"color"`
		//lint:ignore U1000 a field that is not encoded
		private int
	}
	skipping struct {
		A int `json:"-"`
		B string
		//lint:ignore U1000 a field that is not encoded
		c string
	}
	dashed struct {
		//lint:ignore SA5008 encoding/json calls it "-"
		A int `json:"-,"`
	}
	quoted struct {
		A int    `json:"a,string"`
		B string `json:"b"`
	}
	accented struct {
		A int `json:"é"`
	}
	invalidTag struct {
		//lint:ignore SA5008 encoding/json ignores it
		A int `json:"a\"b"`
	}
	cases struct {
		A int `json:"a"`
		B int `json:"A"`
	}
	withZero struct {
		A zeroable `json:"a,omitzero"`
	}
	manyFields struct{ A, B, C, D, E, F, G, H, I, J, K, L, M, N, O, P, Q int }
	noFields   struct{}
	textual    struct{ A int }
	enum       int
	withEnum   struct {
		E enum `json:"e"`
	}
)

func (z zeroable) IsZero() bool                { return z == 7 }
func (t textual) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "n%d", t.A), nil }
func (t *textual) UnmarshalText(b []byte) error {
	_, err := fmt.Sscanf(string(b), "n%d", &t.A)
	return err
}
func (e enum) MarshalText() ([]byte, error)  { return []byte(strings.Repeat("i", int(e))), nil }
func (e *enum) UnmarshalText(b []byte) error { *e = enum(len(b)); return nil }

// What JSON does with structs of scalars must not differ from what it does with them inside other values, nor from
// what encoding/json does.
func TestStructsOfScalars(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, v := range []any{allScalars{}, skipping{}, dashed{}, quoted{}, accented{}, invalidTag{}, cases{}, withZero{}, manyFields{},
		noFields{}, textual{}, withEnum{}, tiny{}} {
		typ := reflect.TypeOf(v)
		t.Run(typ.Name(), func(t *testing.T) {
			for i := range 200 {
				p := reflect.New(typ)
				if i > 0 {
					randomize(rnd, p.Elem())
				}
				want, err := codec.StdJSON.Marshal(p.Interface())
				require.NoError(t, err)
				for _, form := range []any{p.Interface(), p.Elem().Interface(), []any{p.Interface()}} {
					got, err := codec.JSON.Marshal(form)
					require.NoError(t, err)
					require.Equal(t, string(want), strings.Trim(string(got), "[]"))
				}
				decodeAlike(t, typ, want)
				decodeAlike(t, typ, mangle(rnd, want))
			}
		})
	}
}

// decodeAlike decodes data, whether valid for typ or not, by each codec.
func decodeAlike(t *testing.T, typ reflect.Type, data []byte) {
	want, got := reflect.New(typ), reflect.New(typ)
	wantErr := codec.StdJSON.Unmarshal(data, want.Interface())
	gotErr := codec.JSON.Unmarshal(data, got.Interface())
	require.Equal(t, wantErr == nil, gotErr == nil, "%s: %v, %v", data, wantErr, gotErr)
	if wantErr == nil {
		require.Equal(t, want.Interface(), got.Interface(), "%s", data)
	}
}

var texts = []string{"", "a", "hello world", "é\u2028<>&", "\"\\\n\x01", "\ufffd", "\\ufffd"}

func randomize(rnd *rand.Rand, v reflect.Value) {
	for i := range v.NumField() {
		f := v.Field(i)
		if !f.CanSet() || rnd.IntN(4) == 0 {
			continue
		}
		bits := rnd.Uint64() >> rnd.IntN(64)
		switch f.Kind() {
		case reflect.Bool:
			f.SetBool(bits%2 == 0)
		case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
			if f.Type() == reflect.TypeFor[enum]() {
				bits %= 5
			}
			f.SetInt(int64(bits))
		case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
			f.SetUint(bits)
		case reflect.Float32:
			f.SetFloat(float64(float32(rnd.NormFloat64() * 1e8)))
		case reflect.Float64:
			f.SetFloat([]float64{float64(bits), -float64(bits), rnd.NormFloat64(), 1e21, 1e-7, rnd.NormFloat64() * 1e-9}[rnd.IntN(6)])
		case reflect.String:
			f.SetString(texts[rnd.IntN(len(texts))])
		}
	}
}

// mangle gives a document another form or another meaning.
func mangle(rnd *rand.Rand, data []byte) []byte {
	s := string(data)
	switch rnd.IntN(9) {
	case 0:
		s = strings.ReplaceAll(s, `":`, "\" : \n")
	case 1:
		s = strings.ReplaceAll(s, `,"`, " ,\t\"")
	case 2:
		s = strings.Replace(s, `}`, `,"more":{"a":[1]}}`, 1)
	case 3:
		s = strings.ToUpper(s)
	case 4:
		s = strings.ReplaceAll(s, `:0`, `:null`)
	case 5:
		s = strings.ReplaceAll(s, `:1`, `:"1`)
	case 6:
		s = strings.ReplaceAll(s, `:`, `:-`)
	case 7:
		s = strings.ReplaceAll(s, `i`, `\u0069`)
	case 8:
		s = strings.Replace(s, `{`, s[:max(0, len(s)-1)]+`,`, 1)
	}
	return []byte(s)
}

func FuzzStructOfScalars(f *testing.F) {
	for _, s := range []string{`{}`, `{"int":1}`, ` { "int" : -1 , "string" : "\u0041" } `, `{"Int":1}`, `{"int":null}`, `null`, `[]`,
		`{"string":"a\"","color":"b"}`, `{"float32":1e39}`, `{"uint8":-1}`, `{"int":1,"int":2}`, `{"Bool":tru}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		decodeAlike(t, reflect.TypeFor[allScalars](), data)
		_ = codec.JSON.(codec.ValidUnmarshaler).UnmarshalValid(data, new(allScalars))
	})
}

func TestFloatsAsInEncodingJSON(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	floats := []float64{0, 1, -1, 1e-6, 9.99e-7, 1e-7, 1e-10, 1e20, 1e21, 1e22, 1 << 24, 1<<24 + 1, 1 << 53, 1.5, 5e-324, 1.7e308}
	for range 2000 {
		floats = append(floats, rnd.NormFloat64()*float64(int64(1)<<rnd.IntN(62)), 1/rnd.NormFloat64()/float64(int64(1)<<rnd.IntN(62)), float64(rnd.Int64N(1<<30)-1<<29))
	}
	for _, x := range floats {
		for _, v := range []any{x, -x, float32(x), float32(-x)} {
			want, err := json.Marshal(v)
			if err != nil {
				continue // float32 has less range
			}
			got, err := codec.JSON.Marshal(v)
			require.NoError(t, err)
			require.Equal(t, string(want), string(got))
		}
		var back float64
		data, err := codec.JSON.Marshal(x)
		require.NoError(t, err)
		require.NoError(t, codec.JSON.Unmarshal(data, &back))
		assert.Equal(t, x, back)
	}
}
