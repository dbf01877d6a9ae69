package codec

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type scalars struct {
	B bool
	I int8
	U uint64
	F float64
	G float32
	S string
}

func fieldCoder(t *testing.T) FieldCoder {
	c, ok := JSON.(FieldCoder)
	require.True(t, ok)
	return c
}

func TestAppendArray(t *testing.T) {
	c := fieldCoder(t)
	got, ok, err := c.AppendArray([]byte("x"), &scalars{true, -128, 1<<64 - 1, 3.5, 0.1, "a\"é\u2028"})
	require.NoError(t, err)
	require.True(t, ok)
	assert.Equal(t, `x[true,-128,18446744073709551615,3.5,0.1,"a\"é`+"\u2028"+`"]`, string(got))

	got, ok, err = c.AppendArray([]byte("x"), &scalars{S: "\xff"})
	assert.True(t, ok)
	assert.ErrorIs(t, err, ErrUnsupported)
	assert.ErrorContains(t, err, ".S")
	assert.Equal(t, "x", string(got))

	_, ok, err = c.AppendArray(nil, &struct{ P *int }{})
	assert.NoError(t, err)
	assert.False(t, ok, "not a struct of scalars")
}

func TestReadArray(t *testing.T) {
	tests := []struct {
		name, in string
		want     scalars
		ok       bool
	}{
		{"compact", `[true,-128,7,3.5,0.5,"a"]`, scalars{true, -128, 7, 3.5, 0.5, "a"}, true},
		{"white space", " [ true , -128 ,\n7, 3.5 ,0.5 , \"a\" ] ", scalars{true, -128, 7, 3.5, 0.5, "a"}, true},
		{"brackets and commas in a string", `[false,0,0,0,0,"],["]`, scalars{S: "],["}, true},
		{"escapes", `[false,0,0,0,0,"\u0041\"\\"]`, scalars{S: `A"\`}, true},
		{"too few", `[true,-128,7,3.5,0.5]`, scalars{}, false},
		{"too many", `[true,-128,7,3.5,0.5,"a",1]`, scalars{}, false},
		{"none", `[]`, scalars{}, false},
		{"null", `[true,null,7,3.5,0.5,"a"]`, scalars{}, false},
		{"out of range", `[true,128,7,3.5,0.5,"a"]`, scalars{}, false},
		{"another kind", `[true,"1",7,3.5,0.5,"a"]`, scalars{}, false},
		{"nested", `[true,[1],7,3.5,0.5,"a"]`, scalars{}, false},
		{"object", `{"B":true}`, scalars{}, false},
		{"no end", `[true,-128,7,3.5,0.5,"a"`, scalars{}, false},
		{"no end of a string", `[true,-128,7,3.5,0.5,"a`, scalars{}, false},
		{"no element", `[true,-128,7,`, scalars{}, false},
		{"a bracket alone", `[`, scalars{}, false},
		{"nothing", ``, scalars{}, false},
		{"not UTF-8", "[true,-128,7,3.5,0.5,\"\xff\"]", scalars{}, false},
		{"a control character", "[true,-128,7,3.5,0.5,\"\n\"]", scalars{}, false},
		{"a lone surrogate", `[true,-128,7,3.5,0.5,"\ud800"]`, scalars{}, false},
		{"UTF-8", `[true,-128,7,3.5,0.5,"ä\u00e4"]`, scalars{true, -128, 7, 3.5, 0.5, "ää"}, true},
		{"a number without a digit behind its point", `[true,-128,7,1.e5,0.5,"a"]`, scalars{}, false},
		{"a number with a zero in front", `[true,-128,7,01.5,0.5,"a"]`, scalars{}, false},
		{"a number with a plus", `[true,-128,7,+1,0.5,"a"]`, scalars{}, false},
		{"an underscore", `[true,-128,7,1_0,0.5,"a"]`, scalars{}, false},
		{"infinity", `[true,-128,7,Inf,0.5,"a"]`, scalars{}, false},
		{"an exponent", `[true,-128,7,1.5E+2,0.5,"a"]`, scalars{true, -128, 7, 150, 0.5, "a"}, true},
		{"out of the range of floats", `[true,-128,7,1e999,0.5,"a"]`, scalars{}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, around := range [][2]string{{"", ""}, {"x", "y"}, {"", ","}, {"[", "]"}} {
				var got scalars
				start := len(tt.in) - len(strings.TrimLeft(tt.in, " "))
				end, ok := fieldCoder(t).ReadArray([]byte(around[0]+tt.in+around[1]), start+len(around[0]), &got)
				if !ok && tt.ok || ok && !tt.ok && around[1] == "" {
					t.Errorf("%q: %v", tt.in, ok)
				}
				if ok && tt.ok {
					assert.Equal(t, tt.want, got)
					assert.Equal(t, len(around[0])+len(strings.TrimRight(tt.in, " ")), end)
				}
			}
		})
	}
}

func TestReadObject(t *testing.T) {
	tests := []struct {
		name, in string
		ok       bool
	}{
		{"compact", `{"B":true,"I":1,"U":2,"F":3.5,"G":1,"S":"x"}`, true},
		{"another order, some missing", `{ "S" : "x" , "B":true}`, true},
		{"empty", `{}`, true},
		{"unknown", `{"B":true,"X":1}`, false},
		{"another case", `{"b":true}`, false},
		{"twice", `{"B":true,"B":true}`, false},
		{"null", `{"B":null}`, false},
		{"array", `[1]`, false},
		{"no end", `{"B":true`, false},
		{"no value", `{"B":`, false},
		{"no colon", `{"B" true}`, false},
		{"a comma too many", `{"B":true,}`, false},
		{"no comma", `{"B":true"I":1}`, false},
		{"a bracket alone", `{`, false},
		{"nothing", ``, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got, want scalars
			end, ok := fieldCoder(t).ReadObject([]byte(tt.in), 0, &got)
			assert.Equal(t, tt.ok, ok)
			if ok {
				assert.Equal(t, len(tt.in), end)
				require.NoError(t, json.Unmarshal([]byte(tt.in), &want))
				assert.Equal(t, want, got)
			}
		})
	}
}

// The short forms of numbers are those of encoding/json.
func FuzzFloat(f *testing.F) {
	for _, x := range []float64{0, 0.1, 0.5, -3.0625, 1234567.8901, 1e15, 99999999999.9999, 1e-4, 12.34565} {
		f.Add(x)
	}
	f.Fuzz(func(t *testing.T, x float64) {
		want, err := json.Marshal(x)
		if err != nil {
			return
		}
		got, err := JSON.Marshal(x)
		require.NoError(t, err)
		require.Equal(t, string(want), string(got))
	})
}

// What is read in one go is valid, and what a library makes of it.
func FuzzRead(f *testing.F) {
	for _, text := range []string{
		`[true,-128,7,3.5,0.5,"a"]`, `[false,0,0,1e5,-0.25,"\u00e4ö"]`, `[ true , 1 , 2 , 3.0 , 4 , "" ]`, `[true,-0,0,-0,-0.0,"\""]`,
		`{"B":true,"I":1,"U":2,"F":3.5,"G":1,"S":"x"}`, `{ "S":"é", "F":1234567.125 }`, `{}`, `[true,1,2,1.e5,3,""]`, `{"B":true,}`, `[1`,
	} {
		f.Add([]byte(text))
	}
	coder := JSON.(FieldCoder)
	f.Fuzz(func(t *testing.T, data []byte) {
		var array, object, want scalars
		if end, ok := coder.ReadArray(data, 0, &array); ok {
			require.NoError(t, Valid(data[:end]))
			elements := []any{&want.B, &want.I, &want.U, &want.F, &want.G, &want.S}
			require.NoError(t, json.Unmarshal(data[:end], &elements))
			require.Len(t, elements, 6)
			require.Equal(t, want, array)
		}
		if end, ok := coder.ReadObject(data, 0, &object); ok {
			require.NoError(t, Valid(data[:end]))
			want = scalars{}
			require.NoError(t, json.Unmarshal(data[:end], &want))
			require.Equal(t, want, object)
		}
	})
}
