package payload

//lint:file-ignore U1000 only reflection looks at the fields of the types here

import (
	"encoding/json"
	"fmt"
	"math/big"
	"net/netip"
	"net/url"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type (
	marshalsOnly struct{ A int }
	textOnly     int
	readsOnly    struct{ Shape fmt.Stringer }
	both         struct{ shape fmt.Stringer }
	readsChannel struct{ C chan int }
	loop         struct{ Next *loop }
	loopOfErrors struct {
		Next map[string][]*loopOfErrors
		Err  error
	}
	allHidden  struct{ a, b int }
	someHidden struct{ A, b int }
	hiddenBase struct{ id int }
	shownBase  struct{ ID int }
	onHidden   struct{ hiddenBase }
	onShown    struct{ shownBase }
	onPointer  struct{ *shownBase }
	onError    struct{ Cause }
	Cause      struct{ Err error }
	leftOut    struct {
		A int
		C chan int `json:"-"`
		E error    `json:"-"`
	}
	generic[T any] struct{ V T }
	borrowed       struct { // has the methods of what it embeds
		A string
		time.Time
	}
)

func (marshalsOnly) MarshalJSON() ([]byte, error)  { return []byte("1"), nil }
func (textOnly) MarshalText() ([]byte, error)      { return []byte("x"), nil }
func (*readsOnly) UnmarshalJSON(_ []byte) error    { return nil }
func (*readsChannel) UnmarshalJSON(_ []byte) error { return nil }
func (both) MarshalJSON() ([]byte, error)          { return []byte("1"), nil }
func (*both) UnmarshalJSON(_ []byte) error         { return nil }

// A type that can be written and not be read back is refused when its task is made, wherever it stands.
func TestTypesThatCannotBeReadBack(t *testing.T) {
	tests := []struct {
		name string
		typ  reflect.Type
		want []string
	}{
		{"error", reflect.TypeFor[error](), []string{"is of type error, an interface with methods", "use a string"}},
		{"an interface with methods", reflect.TypeFor[fmt.Stringer](), []string{"is of type fmt.Stringer, an interface with methods", "or any"}},
		{"a nested error", reflect.TypeFor[struct{ In []map[string]*Cause }](), []string{"In[][].Err is of type error"}},
		{"an error in what is embedded", reflect.TypeFor[onError](), []string{"Cause.Err is of type error"}},
		{"an error behind itself", reflect.TypeFor[loopOfErrors](), []string{"Err is of type error"}},
		{"a generic type", reflect.TypeFor[generic[error]](), []string{"V is of type error"}},
		{"MarshalJSON alone", reflect.TypeFor[marshalsOnly](), []string{"is of type payload.marshalsOnly, which has MarshalJSON but nothing to read it by", "give it UnmarshalJSON"}},
		{"MarshalText alone", reflect.TypeFor[[]textOnly](), []string{"[] is of type payload.textOnly, which has MarshalText", "give it UnmarshalText"}},
		{"MarshalText alone as a key", reflect.TypeFor[map[textOnly]int](), []string{"whose keys of type payload.textOnly cannot be written and read"}},
		{"keys of a struct", reflect.TypeFor[map[shownBase]int](), []string{"whose keys of type payload.shownBase"}},
		{"keys of any type", reflect.TypeFor[map[any]int](), []string{"whose keys of type interface {}"}},
		{"unexported fields alone", reflect.TypeFor[allHidden](), []string{"is of type payload.allHidden, a struct of unexported fields alone"}},
		{"unexported fields behind a pointer", reflect.TypeFor[*atomic.Int64](), []string{"is of type atomic.Int64, a struct of unexported fields alone"}},
		{"a URL, whose user would be lost", reflect.TypeFor[url.URL](), []string{"User is of type url.Userinfo, a struct of unexported fields alone"}},
		{"an embedded pointer to an unexported type", reflect.TypeFor[*onPointer](), []string{"shownBase is of type *payload.shownBase, an embedded pointer to an unexported type", "embed the struct"}},
		{"a channel", reflect.TypeFor[chan int](), []string{"is of type chan int, which has no form in JSON"}},
		{"a function", reflect.TypeFor[func()](), []string{"is of type func(), which has no form in JSON"}},
		{"a complex number", reflect.TypeFor[[2]complex64](), []string{"[] is of type complex64, which has no form in JSON"}},
		{"a channel that a method would read", reflect.TypeFor[readsChannel](), []string{"C is of type chan int"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for role, err := range rolesOf(tt.typ) {
				var refused *TypeError
				require.ErrorAs(t, err, &refused, role)
				for _, part := range append(tt.want, strings.TrimSpace(role)) {
					assert.ErrorContains(t, err, part)
				}
			}
		})
	}
}

// rolesOf is what is said of a type in each place of a task. Each by its instance would be thousands of functions.
func rolesOf(t reflect.Type) map[string]error {
	field := func(name string) reflect.Type {
		return reflect.StructOf([]reflect.StructField{{Name: name, Type: t}})
	}
	return map[string]error{
		"args":    newArgs(field("V1")).err,
		"args ":   newArgs(reflect.SliceOf(t)).err,
		"kwargs":  newKwargs(field("Field")).err,
		"kwargs ": newKwargs(reflect.MapOf(reflect.TypeFor[string](), t)).err,
		"result":  CheckResult(t),
		"result ": CheckResult(reflect.PointerTo(t)),
	}
}

// What can be read back is not refused.
func TestTypesThatCanBeReadBack(t *testing.T) {
	for _, accept := range []reflect.Type{
		reflect.TypeFor[any](), reflect.TypeFor[[]any](), reflect.TypeFor[map[string]any](), reflect.TypeFor[struct{ V any }](), reflect.TypeFor[Raw](),
		reflect.TypeFor[time.Time](), reflect.TypeFor[time.Duration](), reflect.TypeFor[*time.Time](), reflect.TypeFor[uuid.UUID](), reflect.TypeFor[netip.Addr](),
		reflect.TypeFor[big.Int](), reflect.TypeFor[*big.Int](), reflect.TypeFor[json.Number](), reflect.TypeFor[[]byte](), reflect.TypeFor[[4]byte](),
		reflect.TypeFor[map[int]string](), reflect.TypeFor[map[netip.Addr]bool](), reflect.TypeFor[map[time.Duration]int](), reflect.TypeFor[map[string]map[string]int](),
		reflect.TypeFor[loop](), reflect.TypeFor[someHidden](), reflect.TypeFor[onShown](), reflect.TypeFor[onHidden](), reflect.TypeFor[struct{}](),
		reflect.TypeFor[both](), reflect.TypeFor[readsOnly](), reflect.TypeFor[leftOut](), reflect.TypeFor[generic[loop]](), reflect.TypeFor[uintptr](),
		reflect.TypeFor[borrowed](),
	} {
		for role, err := range rolesOf(accept) {
			assert.NoError(t, err, "%v as %s", accept, role)
		}
	}
}
