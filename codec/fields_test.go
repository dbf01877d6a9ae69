package codec

import (
	"encoding/json"
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

func TestUnmarshalArray(t *testing.T) {
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
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			require.NoError(t, Valid([]byte(tt.in)))
			var got scalars
			ok := fieldCoder(t).UnmarshalArray([]byte(tt.in), &got)
			assert.Equal(t, tt.ok, ok)
			if ok {
				assert.Equal(t, tt.want, got)
			}
		})
	}
}

func TestUnmarshalObject(t *testing.T) {
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
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got, want scalars
			ok := fieldCoder(t).UnmarshalObject([]byte(tt.in), &got)
			assert.Equal(t, tt.ok, ok)
			if ok {
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
