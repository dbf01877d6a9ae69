package omniq_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

type inner struct {
	B int
	C string
}

type Named struct{ D int }

// borrowed has the methods of what it embeds, which write it whole.
type borrowed struct {
	A string
	time.Time
}

type hidden struct {
	V int
	w int
}

type (
	withOmitEmpty struct {
		A int `json:"a,omitempty"`
	}
	withOmitZero struct {
		A int `json:",omitzero"`
	}
	withString struct {
		A int `json:"a,string"`
	}
	withPointer struct{ *Named }
	ownForm     struct{ A int }
	ownText     struct{ A int }
)

func (ownForm) MarshalJSON() ([]byte, error)  { return []byte(`[1]`), nil }
func (*ownText) UnmarshalText(_ []byte) error { return nil }

// argsJSON is what args looks like on the wire, which must read as the same value.
func argsJSON[A any](t *testing.T, args A) string {
	t.Helper()
	task, err := omniq.NewTask("f", args, omniq.NoKwargs{})
	require.NoError(t, err)
	raw, err := task.Encode(nil)
	require.NoError(t, err)
	again, err := omniq.DecodeTask[A, omniq.NoKwargs](raw)
	require.NoError(t, err)
	text, err := json.Marshal(again)
	require.NoError(t, err)
	first, err := json.Marshal(task)
	require.NoError(t, err)
	assert.Equal(t, string(first), string(text))
	return string(raw.Args)
}

func TestArgsOnTheWire(t *testing.T) {
	one := 1
	moment := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	assert.Equal(t, `["a",2,"c",{"D":4},null,true,{}]`, argsJSON(t, struct {
		A string
		inner
		Named   `json:"named"`
		skipped int
		Left    int `json:"-"`
		P       *int
		Renamed bool `json:"other"`
		M       map[string]int
	}{A: "a", inner: inner{2, "c"}, Named: Named{4}, skipped: 9, Left: 9, Renamed: true, M: map[string]int{}}))
	assert.Equal(t, `[1,"2026-01-02T03:04:05Z"]`, argsJSON(t, struct {
		P *int
		T time.Time
	}{&one, moment}))
	assert.Equal(t, `[1]`, argsJSON(t, hidden{V: 1, w: 2}))
	assert.Equal(t, `[]`, argsJSON(t, omniq.NoArgs{}))
	assert.Equal(t, `[]`, argsJSON(t, []string(nil)))
	assert.Equal(t, `["x","y"]`, argsJSON(t, []string{"x", "y"}))
	assert.Equal(t, `[1,2,3]`, argsJSON(t, [3]int{1, 2, 3}))
	assert.Equal(t, `[null,1]`, argsJSON(t, []*int{nil, &one}))
	assert.Equal(t, `[1]`, argsJSON(t, omniq.MakeArgs1(1)))
	assert.Equal(t, `[1,"b"]`, argsJSON(t, omniq.MakeArgs2(1, "b")))
	assert.Equal(t, `[1,"b",3.5]`, argsJSON(t, omniq.MakeArgs3(1, "b", 3.5)))
	assert.Equal(t, `[1,2,3,[4]]`, argsJSON(t, omniq.MakeArgs4(1, 2, 3, []int{4})))
	assert.Equal(t, `[1,2,3,4,{"D":5}]`, argsJSON(t, omniq.MakeArgs5(1, 2, 3, 4, Named{5})))
	assert.Equal(t, `[1,2,3,4,5,false]`, argsJSON(t, omniq.MakeArgs6(1, 2, 3, 4, 5, false)))
	assert.Equal(t, `[1,{"a":null}]`, argsJSON(t, omniq.Raw(" [1, {\"a\" :null}]")))
	assert.Equal(t, `[]`, argsJSON(t, omniq.Raw(nil)))
}

func TestKwargsOnTheWire(t *testing.T) {
	type embedded struct {
		Named
		Own int `json:"own"`
	}
	tests := []struct {
		name   string
		encode func() (omniq.RawTask, error)
		want   string
	}{
		{"a struct", kwargsOf(mailKwargs{Subject: "s"}), `{"subject":"s"}`},
		{"an embedded struct", kwargsOf(embedded{Named{1}, 2}), `{"D":1,"own":2}`},
		{"none", kwargsOf(omniq.NoKwargs{}), `{}`},
		{"a map", kwargsOf(map[string]any{"b": 1, "a": nil}), `{"a":null,"b":1}`},
		{"a nil map", kwargsOf(map[string]int(nil)), `{}`},
		{"raw", kwargsOf(omniq.Raw(`{"z": 1}`)), `{"z":1}`},
		{"raw nil", kwargsOf(omniq.Raw(nil)), `{}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			raw, err := tt.encode()
			require.NoError(t, err)
			assert.Equal(t, tt.want, string(raw.Kwargs))
		})
	}
}

func kwargsOf[K any](kwargs K) func() (omniq.RawTask, error) {
	return func() (omniq.RawTask, error) {
		task, err := omniq.NewTask("f", omniq.NoArgs{}, kwargs)
		if err != nil {
			return omniq.RawTask{}, err
		}
		raw, err := task.Encode(nil)
		if err != nil {
			return raw, err
		}
		_, err = omniq.DecodeTask[omniq.NoArgs, K](raw)
		return raw, err
	}
}

func TestArgsTypesThatAreRefused(t *testing.T) {
	tests := []struct {
		make func() error
		want string
	}{
		{refused(withOmitEmpty{}), "withOmitEmpty has omitempty on its field A"},
		{refused(withOmitZero{}), "has omitzero on its field A"},
		{refused(withString{}), "has string on its field A"},
		{refused(withPointer{}), "embeds the pointer *omniq_test.Named"},
		{refused(ownForm{}), "ownForm has a JSON or text form of its own"},
		{refused(ownText{}), "ownText has a JSON or text form of its own"},
		{refused(borrowed{}), "borrowed has a JSON or text form of its own"},
		{refused(uuid.UUID{}), "uuid.UUID has a JSON or text form of its own"},
		{refused([]byte("x")), "[]uint8 is bytes"},
		{refused(map[string]int{}), "map[string]int is named"},
		{refused(&inner{}), "is a pointer: use omniq_test.inner itself"},
		{refused("x"), "string is one value: wrap it, as in Args1[string]"},
	}
	for _, tt := range tests {
		err := tt.make()
		assert.ErrorIs(t, err, omniq.ErrInvalid)
		assert.ErrorContains(t, err, tt.want)
	}
}

func refused[A any](args A) func() error {
	return func() error {
		_, err := omniq.NewTask("f", args, omniq.NoKwargs{})
		return err
	}
}

func TestDecodingIsStrict(t *testing.T) {
	type kwargs struct {
		A int            `json:"a"`
		P *int           `json:"p"`
		M map[string]int `json:"m"`
	}
	tests := []struct {
		name, args, kwargs string
		want               string // in the error; "" for none
	}{
		{"right", `["x",1]`, `{"a":1,"p":null,"m":null}`, ""},
		{"missing keywords", `["x",1]`, `{}`, ""},
		{"an argument too few", `["x"]`, `{}`, "omniq: args: 1 elements, want 2 for omniq_test.mailArgs"},
		{"an argument too many", `["x",1,2]`, `{}`, "omniq: args: 3 elements, want 2"},
		{"an argument of another type", `["x","y"]`, `{}`, "omniq: args: [1] (Tries)"},
		{"null for a scalar", `[null,1]`, `{}`, "omniq: args: [0] (To): null, want a value of type string"},
		{"an unknown keyword", `["x",1]`, `{"b":1}`, `omniq: kwargs: unknown keyword "b"`},
		{"another case", `["x",1]`, `{"A":1}`, `unknown keyword "A"`},
		{"a keyword twice", `["x",1]`, `{"a":1,"a":1}`, `keyword "a" stands twice`},
		{"null for a keyword", `["x",1]`, `{"a":null}`, `"a": null, want a value`},
		{"a keyword of another type", `["x",1]`, `{"a":1.5}`, "omniq: kwargs: "},
		{"an object for args", `{}`, `{}`, "found an object, want an array"},
		{"an array for kwargs", `["x",1]`, `[]`, "found an array, want an object"},
		{"something behind", `["x",1]]`, `{}`, "stands behind the document"},
		{"an escaped keyword", `["x",1]`, `{"\u0061":1}`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := omniq.DecodeTask[mailArgs, kwargs](omniq.RawTask{Args: omniq.Raw(tt.args), Kwargs: omniq.Raw(tt.kwargs)})
			if tt.want == "" {
				require.NoError(t, err)
				return
			}
			assert.ErrorContains(t, err, tt.want)
		})
	}
	_, err := omniq.DecodeTask[omniq.NoArgs, map[string]int](omniq.RawTask{Kwargs: omniq.Raw(`{"a":1,"a":2}`)})
	assert.ErrorContains(t, err, "2 keywords of which only 1 differ")
	_, err = omniq.DecodeTask[omniq.NoArgs, map[string]int](omniq.RawTask{Kwargs: omniq.Raw(`{"a":null}`)})
	assert.ErrorContains(t, err, `"a": null`)
	_, err = omniq.DecodeTask[[2]int, omniq.NoKwargs](omniq.RawTask{Args: omniq.Raw(`[1,2,3]`)})
	assert.ErrorContains(t, err, "3 elements, want 2")
}
