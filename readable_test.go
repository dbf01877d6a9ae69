package omniq_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/big"
	"net/netip"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
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
)

func (marshalsOnly) MarshalJSON() ([]byte, error)  { return []byte("1"), nil }
func (textOnly) MarshalText() ([]byte, error)      { return []byte("x"), nil }
func (*readsOnly) UnmarshalJSON(_ []byte) error    { return nil }
func (*readsChannel) UnmarshalJSON(_ []byte) error { return nil }
func (*both) MarshalJSON() ([]byte, error)         { return []byte("1"), nil }
func (*both) UnmarshalJSON(_ []byte) error         { return nil }

// A type that can be written and not be read back is refused when its task is made, wherever it stands.
func TestTypesThatCannotBeReadBack(t *testing.T) {
	tests := []struct {
		name  string
		check func(t *testing.T, want ...string)
		want  []string
	}{
		{"error", unreadable[error], []string{"is of type error, an interface with methods", "use a string"}},
		{"an interface with methods", unreadable[fmt.Stringer], []string{"is of type fmt.Stringer, an interface with methods", "or any"}},
		{"a nested error", unreadable[struct{ In []map[string]*Cause }], []string{"In[][].Err is of type error"}},
		{"an error in what is embedded", unreadable[onError], []string{"Cause.Err is of type error"}},
		{"an error behind itself", unreadable[loopOfErrors], []string{"Err is of type error"}},
		{"a generic type", unreadable[generic[error]], []string{"V is of type error"}},
		{"MarshalJSON alone", unreadable[marshalsOnly], []string{"is of type omniq_test.marshalsOnly, which has MarshalJSON but nothing to read it by", "give it UnmarshalJSON"}},
		{"MarshalText alone", unreadable[[]textOnly], []string{"[] is of type omniq_test.textOnly, which has MarshalText", "give it UnmarshalText"}},
		{"MarshalText alone as a key", unreadable[map[textOnly]int], []string{"whose keys of type omniq_test.textOnly cannot be written and read"}},
		{"keys of a struct", unreadable[map[shownBase]int], []string{"whose keys of type omniq_test.shownBase"}},
		{"keys of any type", unreadable[map[any]int], []string{"whose keys of type interface {}"}},
		{"unexported fields alone", unreadable[allHidden], []string{"is of type omniq_test.allHidden, a struct of unexported fields alone"}},
		{"unexported fields behind a pointer", unreadable[*atomic.Int64], []string{"is of type atomic.Int64, a struct of unexported fields alone"}},
		{"a URL, whose user would be lost", unreadable[url.URL], []string{"User is of type url.Userinfo, a struct of unexported fields alone"}},
		{"an embedded pointer to an unexported type", unreadable[*onPointer], []string{"shownBase is of type *omniq_test.shownBase, an embedded pointer to an unexported type", "embed the struct"}},
		{"a channel", unreadable[chan int], []string{"is of type chan int, which has no form in JSON"}},
		{"a function", unreadable[func()], []string{"is of type func(), which has no form in JSON"}},
		{"a complex number", unreadable[[2]complex64], []string{"[] is of type complex64, which has no form in JSON"}},
		{"a channel that a method would read", unreadable[readsChannel], []string{"C is of type chan int"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { tt.check(t, tt.want...) })
	}
}

// unreadable checks that V is in no place of a task.
func unreadable[V any](t *testing.T, want ...string) {
	type kwargs struct {
		Field V `json:"field"`
	}
	for role, make := range map[string]func(){
		"args":    func() { omniq.ReferArgs[omniq.Args1[V], omniq.Void]("the task") },
		"kwargs":  func() { omniq.ReferKwargs[kwargs, omniq.Void]("the task") },
		"result":  func() { omniq.ReferNoArgs[V]("the task") },
		"args ":   func() { omniq.ReferArgs[[]V, omniq.Void]("the task") },
		"kwargs ": func() { omniq.ReferKwargs[map[string]V, omniq.Void]("the task") },
		"result ": func() {
			omniq.DefineNoArgs("the task", func(context.Context) (*V, error) { return nil, nil })
		},
	} {
		message := panicOf(make)
		assert.Contains(t, message, `omniq: task "the task": omniq: invalid: `+role[:4])
		for _, part := range want {
			assert.Contains(t, message, part, role)
		}
	}
	_, err := omniq.NewTask("f", omniq.Args1[V]{}, omniq.NoKwargs{})
	require.ErrorIs(t, err, omniq.ErrInvalid)
	_, err = omniq.NewTask("f", omniq.NoArgs{}, kwargs{})
	require.ErrorIs(t, err, omniq.ErrInvalid)
}

func panicOf(f func()) (message string) {
	defer func() { message = fmt.Sprint(recover()) }()
	f()
	return ""
}

// What can be read back is not refused.
func TestTypesThatCanBeReadBack(t *testing.T) {
	for _, accept := range []func(*testing.T){
		readable[any], readable[[]any], readable[map[string]any], readable[struct{ V any }], readable[omniq.Raw],
		readable[time.Time], readable[time.Duration], readable[*time.Time], readable[uuid.UUID], readable[netip.Addr],
		readable[big.Int], readable[*big.Int], readable[json.Number], readable[[]byte], readable[[4]byte],
		readable[map[int]string], readable[map[netip.Addr]bool], readable[map[time.Duration]int], readable[map[string]map[string]int],
		readable[loop], readable[someHidden], readable[onShown], readable[onHidden], readable[struct{}],
		readable[both], readable[readsOnly], readable[leftOut], readable[generic[loop]], readable[uintptr],
		readable[omniq.TaskError], readable[omniq.Task[omniq.NoArgs, omniq.NoKwargs]], readable[borrowed],
	} {
		accept(t)
	}
}

func readable[V any](t *testing.T) {
	type kwargs struct{ Field V }
	assert.NotPanics(t, func() {
		omniq.Refer[omniq.Args1[V], kwargs, V]("f")
		omniq.Refer[[]V, map[string]V, []V]("f")
	}, "%T", *new(V))
}
