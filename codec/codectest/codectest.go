// Package codectest tells whether a codec keeps the contract of package codec. A test of a codec of your own is
//
//	func TestMyCodec(t *testing.T) { codectest.Run(t, MyCodec) }
//
// Each rule of the contract is a subtest, whose failures name the rule and the value that broke it.
package codectest

import (
	"fmt"
	"reflect"
	"testing"

	"github.com/omniq-go/omniq/codec"
)

// Option changes what [Run] expects of a codec.
type Option interface{ apply(*options) }

type options struct {
	values    []any
	equal     func(want, got any) bool
	openEnded bool
}

type optionFunc func(*options)

func (f optionFunc) apply(o *options) { f(o) }

// Values puts values of your own in the place of the table of common Go values: for a codec that holds certain types
// only, such as generated messages. Run marshals each value and a pointer to it, and decodes into a new variable of its
// type. The codec must not change them.
func Values(values ...any) Option {
	return optionFunc(func(o *options) { o.values = values })
}

// Equal decides whether a decoded value is equal to the one that was encoded. The default is [reflect.DeepEqual], but
// that a codec that is not named "json" may decode an empty slice or map as a nil one and the reverse.
func Equal(equal func(want, got any) bool) Option {
	return optionFunc(func(o *options) { o.equal = equal })
}

// OpenEnded is for a format whose documents do not tell where they end, such as Protocol Buffers: a document that was
// cut, or has bytes after it, may then decode without an error.
func OpenEnded() Option {
	return optionFunc(func(o *options) { o.openEnded = true })
}

// Run checks c against each rule that holds for it, in a subtest named after the rule. Which rules hold depends on its
// name, on the optional interfaces of package codec that it implements, and on the options.
//
// Run uses c from many goroutines: run it with the race detector.
func Run(t *testing.T, c codec.Codec, opts ...Option) {
	t.Helper()
	for _, r := range rules {
		k := newChecker(c, opts)
		if !r.applies(k) {
			continue
		}
		t.Run(r.name, func(t *testing.T) {
			k.fail = failer(t, r.name)
			r.check(k)
		})
	}
}

// reporter is the part of testing.TB that failures go to.
type reporter interface {
	Helper()
	Errorf(format string, args ...any)
}

func failer(t reporter, rule string) func(format string, args ...any) {
	return func(format string, args ...any) {
		t.Helper()
		t.Errorf("rule %q: %s", rule, fmt.Sprintf(format, args...))
	}
}

// rule is one duty of a codec.
type rule struct {
	name    string
	applies func(*checker) bool
	check   func(*checker)
}

var rules = []rule{
	{"the name is valid and constant", always, checkName},
	{"what is decoded equals what was encoded", always, checkRoundTrip},
	{"Marshal does not change its value", always, checkMarshalKeepsValue},
	{"the caller owns what Marshal returns", always, checkMarshalGivesAway},
	{"Unmarshal does not change its data", always, checkUnmarshalKeepsData},
	{"Unmarshal does not keep its data", always, checkUnmarshalLetsGo},
	{"Unmarshal overwrites what was there", always, checkOverwrites},
	{"a codec is safe for concurrent use", always, checkConcurrency},
	{"Unmarshal wants the whole of one document", closed, checkWholeDocument},
	{"damaged data never panics", always, checkDamage},
	{"a value that cannot be held is ErrUnsupported", always, checkUnsupported},
	{"Unmarshal wants a pointer that is not nil", always, checkTargets},
	{"Append appends what Marshal returns", isAppender, checkAppend},
	{"json: what is written is one valid document", isJSON, checkJSONText},
	{"json: what is not valid is not written", isJSON, checkJSONWrites},
	{"json: what is not valid is not read", isJSON, checkJSONReads},
	{"json: UnmarshalValid does what Unmarshal does", isValidUnmarshaler, checkUnmarshalValid},
	{"a Transform changes the bytes of its inner codec", isTransform, checkTransform},
	{"Open wants the whole output of Seal", isTransform, checkOpen},
}

func always(*checker) bool   { return true }
func closed(k *checker) bool { return !k.openEnded }
func isJSON(k *checker) bool { return k.name() == codec.NameJSON }

func isAppender(k *checker) bool {
	_, ok := k.c.(codec.Appender)
	return ok
}

func isTransform(k *checker) bool {
	_, ok := k.c.(codec.Transform)
	return ok
}

func isValidUnmarshaler(k *checker) bool {
	_, ok := k.c.(codec.ValidUnmarshaler)
	return ok && isJSON(k)
}

// checker calls a codec on behalf of a rule. A panic of the codec breaks the rule.
type checker struct {
	options
	c    codec.Codec
	fail func(format string, args ...any)
}

func newChecker(c codec.Codec, opts []Option) *checker {
	k := &checker{c: c}
	for _, o := range opts {
		o.apply(&k.options)
	}
	return k
}

func (k *checker) name() (name string) {
	k.guard("Name", func() { name = k.c.Name() })
	return name
}

// guard reports whether f returned. Otherwise the rule is broken.
func (k *checker) guard(what string, f func()) (ok bool) {
	defer func() {
		if r := recover(); r != nil {
			ok = false
			if k.fail != nil {
				k.fail("%s panics: %v", what, r)
			}
		}
	}()
	f()
	return true
}

// tryMarshal returns ok false if Marshal panicked.
func (k *checker) tryMarshal(v any) (data []byte, ok bool, err error) {
	ok = k.guard(fmt.Sprintf("Marshal of a %T", v), func() { data, err = k.c.Marshal(v) })
	return data, ok, err
}

func (k *checker) tryUnmarshal(data []byte, v any) (ok bool, err error) {
	ok = k.guard(fmt.Sprintf("Unmarshal of %.60q into a %T", data, v), func() { err = k.c.Unmarshal(data, v) })
	return ok, err
}

// marshal reports whether v was encoded. Otherwise the rule is broken.
func (k *checker) marshal(v any) (data []byte, ok bool) {
	data, ok, err := k.tryMarshal(v)
	if ok && err != nil {
		k.fail("Marshal of %s: %v", show(v), err)
	}
	return data, ok && err == nil
}

func (k *checker) unmarshal(data []byte, v any) (ok bool) {
	ok, err := k.tryUnmarshal(data, v)
	if ok && err != nil {
		k.fail("Unmarshal of %.60q into a %T: %v", data, v, err)
	}
	return ok && err == nil
}

// target returns a pointer to a new variable of the type of v.
func target(v any) any { return reflect.New(reflect.TypeOf(v)).Interface() }

// content returns what a pointer points to.
func content(p any) any { return reflect.ValueOf(p).Elem().Interface() }

// want breaks the rule unless got, which was made of value v, is equal to it.
func (k *checker) want(v, got any, how string) bool {
	if k.same(v, got) {
		return true
	}
	k.fail("%s: got %s, want %s", how, show(got), show(v))
	return false
}

func (k *checker) same(want, got any) bool {
	if k.equal != nil {
		return k.equal(want, got)
	}
	if reflect.DeepEqual(want, got) {
		return true
	}
	return !isJSON(k) && isEmpty(want) && isEmpty(got)
}

func isEmpty(v any) bool {
	rv := reflect.ValueOf(v)
	return (rv.Kind() == reflect.Slice || rv.Kind() == reflect.Map) && rv.Len() == 0
}

// show is v as an error shows it.
func show(v any) string {
	s := fmt.Sprintf("%#v", v)
	if len(s) > 120 {
		s = s[:117] + "..."
	}
	return fmt.Sprintf("%T %s", v, s)
}
