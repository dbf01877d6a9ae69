package codectest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq/codec"
)

// fake is a codec whose methods a case replaces. Those that it leaves alone are those of codec.JSON.
type fake struct {
	name      func() string
	marshal   func(v any) ([]byte, error)
	unmarshal func(data []byte, v any) error
}

func (f *fake) Name() string {
	if f.name != nil {
		return f.name()
	}
	return codec.NameJSON
}

func (f *fake) Marshal(v any) ([]byte, error) {
	if f.marshal != nil {
		return f.marshal(v)
	}
	return codec.JSON.Marshal(v)
}

func (f *fake) Unmarshal(data []byte, v any) error {
	if f.unmarshal != nil {
		return f.unmarshal(data, v)
	}
	return codec.JSON.Unmarshal(data, v)
}

type fakeAppender struct {
	fake
	append func(dst []byte, v any) ([]byte, error)
}

func (f *fakeAppender) Append(dst []byte, v any) ([]byte, error) { return f.append(dst, v) }

type fakeValid struct {
	fake
	valid func(data []byte, v any) error
}

func (f *fakeValid) UnmarshalValid(data []byte, v any) error { return f.valid(data, v) }

// fakeTransform frames plain by a length in front and a mark behind.
type fakeTransform struct {
	fake
	inner codec.Codec
	seal  func(dst, plain []byte) ([]byte, error)
	open  func(sealed []byte) ([]byte, error)
}

func newTransform() *fakeTransform {
	f := &fakeTransform{inner: codec.JSON}
	f.fake.name = func() string { return "framed" }
	f.seal = func(dst, plain []byte) ([]byte, error) {
		return append(append(fmt.Appendf(dst, "%d:", len(plain)), plain...), '!'), nil
	}
	f.open = func(sealed []byte) ([]byte, error) {
		size, rest, ok := bytes.Cut(sealed, []byte(":"))
		if !ok || len(rest) == 0 || fmt.Sprint(len(rest)-1) != string(size) || rest[len(rest)-1] != '!' {
			return nil, errors.New("not a frame")
		}
		return bytes.Clone(rest[:len(rest)-1]), nil
	}
	f.marshal = func(v any) ([]byte, error) {
		plain, err := f.inner.Marshal(v)
		if err != nil {
			return nil, err
		}
		return f.seal(nil, plain)
	}
	f.unmarshal = func(data []byte, v any) error {
		plain, err := f.open(data)
		if err != nil {
			return err
		}
		return f.inner.Unmarshal(plain, v)
	}
	return f
}

func (f *fakeTransform) Inner() codec.Codec                     { return f.inner }
func (f *fakeTransform) Seal(dst, plain []byte) ([]byte, error) { return f.seal(dst, plain) }
func (f *fakeTransform) Open(sealed []byte) ([]byte, error)     { return f.open(sealed) }

// broken returns the rules that c breaks, with their first failure.
func broken(c codec.Codec, opts ...Option) map[string]string { return brokenOf(rules, c, opts...) }

func brokenOf(rules []rule, c codec.Codec, opts ...Option) map[string]string {
	failures := map[string]string{}
	for _, r := range rules {
		k := newChecker(c, opts)
		if !r.applies(k) {
			continue
		}
		k.fail = func(format string, args ...any) {
			if failures[r.name] == "" {
				failures[r.name] = fmt.Sprintf(format, args...)
			}
		}
		r.check(k)
	}
	return failures
}

// opaque is a sound codec that is not named "json".
func opaque() *fake { return &fake{name: func() string { return "opaque" }} }

func TestGoodCodecsBreakNoRule(t *testing.T) {
	assert.Empty(t, broken(&fake{}))
	assert.Empty(t, broken(opaque()))
	assert.Empty(t, broken(newTransform()))
	assert.Empty(t, broken(opaque(), Values("a", 1, []string{"b"})))
	Run(t, newTransform())
}

func TestBrokenCodecs(t *testing.T) {
	calls := 0
	buffer := make([]byte, 0, 1<<20)
	covered := map[string]bool{}
	for _, test := range []struct {
		name  string
		codec codec.Codec
		rule  string
		says  string // a part of the failure
	}{
		{"upper case", &fake{name: func() string { return "JSON" }}, "the name is valid and constant", "want a-z"},
		{"a name that changes", &fake{name: func() string { calls++; return fmt.Sprint("n", calls) }}, "the name is valid and constant", "and then"},
		{"a panic in Name", &fake{name: func() string { panic("name") }}, "the name is valid and constant", "Name panics"},
		{"loses a field", &fake{marshal: func(v any) ([]byte, error) {
			if _, ok := v.(settings); ok {
				return []byte(`{}`), nil
			}
			return codec.JSON.Marshal(v)
		}}, "what is decoded equals what was encoded", "struct of scalars"},
		{"cannot hold a required value", opaqueWith(func(v any) ([]byte, error) {
			if _, ok := v.(string); ok {
				return nil, codec.ErrUnsupported
			}
			return codec.JSON.Marshal(v)
		}, nil), "what is decoded equals what was encoded", "empty string"},
		{"a panic in Marshal", &fake{marshal: func(v any) ([]byte, error) { return []byte(v.(string)), nil }},
			"what is decoded equals what was encoded", "Marshal of a bool panics"},
		{"Marshal sorts", &fake{marshal: func(v any) ([]byte, error) {
			if s, ok := v.([]string); ok {
				s[0] = "changed"
			}
			return codec.JSON.Marshal(v)
		}}, "Marshal does not change its value", "strings: it is"},
		{"Marshal returns its buffer", &fake{marshal: func(v any) ([]byte, error) { return codec.Append(codec.JSON, buffer, v) }},
			"the caller owns what Marshal returns", "changes with later calls"},
		{"Marshal returns what it keeps", keeper(), "the caller owns what Marshal returns", "!!!"},
		{"Unmarshal decodes in place", &fake{unmarshal: func(data []byte, v any) error {
			err := codec.JSON.Unmarshal(data, v)
			if len(data) > 2 {
				data[1] = 'X'
			}
			return err
		}}, "Unmarshal does not change its data", "after Unmarshal, was"},
		{"Unmarshal keeps its data", &fake{unmarshal: func(data []byte, v any) error {
			if b, ok := v.(*[]byte); ok && codec.Valid(data) == nil {
				*b = data
				return nil
			}
			return codec.JSON.Unmarshal(data, v)
		}}, "Unmarshal does not keep its data", "bytes after the data was overwritten"},
		{"Unmarshal merges", &fake{unmarshal: func(data []byte, v any) error {
			if err := codec.Valid(data); err != nil {
				return err
			}
			return json.Unmarshal(data, v)
		}}, "Unmarshal overwrites what was there", "struct of zeros over struct of scalars"},
		{"a shared variable", racy(), "a codec is safe for concurrent use", "busy"},
		{"reads the first document", opaqueWith(nil, func(data []byte, v any) error {
			return json.NewDecoder(bytes.NewReader(data)).Decode(v)
		}), "Unmarshal wants the whole of one document", "bytes behind it"},
		{"accepts what is cut", opaqueWith(nil, func(data []byte, v any) error {
			if codec.Valid(data) != nil && reflect.ValueOf(v).Kind() == reflect.Pointer {
				return nil
			}
			return codec.JSON.Unmarshal(data, v)
		}), "Unmarshal wants the whole of one document", "which is cut"},
		{"a panic in Unmarshal", opaqueWith(nil, func(data []byte, v any) error {
			_ = data[0]
			return codec.JSON.Unmarshal(data, v)
		}), "damaged data never panics", "index out of range"},
		{"writes channels", opaqueWith(func(v any) ([]byte, error) {
			if _, ok := v.(chan int); ok {
				return []byte("{}"), nil
			}
			return codec.JSON.Marshal(v)
		}, nil), "a value that cannot be held is ErrUnsupported", "chan int returns"},
		{"an error of its own", opaqueWith(func(v any) ([]byte, error) {
			data, err := codec.JSON.Marshal(v)
			if err != nil {
				return nil, errors.New("cannot")
			}
			return data, nil
		}, nil), "a value that cannot be held is ErrUnsupported", "does not find ErrUnsupported"},
		{"Append keeps what it began", &fakeAppender{append: func(dst []byte, v any) ([]byte, error) {
			b, err := codec.JSON.Marshal(v)
			if err != nil {
				return append(dst, "half"...), err
			}
			return append(dst, b...), nil
		}}, "a value that cannot be held is ErrUnsupported", "at its old length"},
		{"accepts a value as target", opaqueWith(nil, func(data []byte, v any) error {
			if reflect.ValueOf(v).Kind() != reflect.Pointer {
				return nil
			}
			return codec.JSON.Unmarshal(data, v)
		}), "Unmarshal wants a pointer that is not nil", "returns no error"},
		{"Append overwrites", &fakeAppender{append: func(dst []byte, v any) ([]byte, error) { return codec.Append(codec.JSON, dst[:0], v) }},
			"Append appends what Marshal returns", "Append to \"prefix\""},
		{"Append writes otherwise", &fakeAppender{append: func(dst []byte, v any) ([]byte, error) {
			out, err := codec.Append(codec.JSON, dst, v)
			return append(out, ' '), err
		}}, "Append appends what Marshal returns", "Append gives"},
		{"Append fails", &fakeAppender{append: func(dst []byte, _ any) ([]byte, error) { return dst, errors.New("full") }},
			"Append appends what Marshal returns", "full"},
		{"a newline", &fake{marshal: func(v any) ([]byte, error) {
			data, err := codec.JSON.Marshal(v)
			return append(data, '\n'), err
		}}, "json: what is written is one valid document", "white space"},
		{"escapes HTML", &fake{marshal: func(v any) ([]byte, error) {
			if s, ok := v.(string); ok && strings.HasPrefix(s, "<") {
				return json.Marshal(s)
			}
			return codec.JSON.Marshal(v)
		}}, "json: what is written is one valid document", "not needed"},
		{"no JSON", &fake{marshal: func(v any) ([]byte, error) { return fmt.Appendf(nil, "<%v>", v), nil }},
			"json: what is written is one valid document", "Marshal returns"},
		{"encoding/json writes", &fake{marshal: json.Marshal}, "json: what is not valid is not written", "not UTF-8"},
		{"too few levels", &fake{marshal: func(v any) ([]byte, error) {
			data, err := codec.JSON.Marshal(v)
			if err == nil && bytes.Contains(data, []byte("[[[[[[[[")) {
				return nil, errors.New("too deep")
			}
			return data, err
		}}, "json: what is not valid is not written", "too deep"},
		{"encoding/json reads", &fake{unmarshal: json.Unmarshal}, "json: what is not valid is not read", "not UTF-8"},
		{"wraps integers", &fake{unmarshal: func(data []byte, v any) error {
			if u, ok := v.(*uint8); ok && string(data) == "256" {
				*u = 0
				return nil
			}
			return codec.JSON.Unmarshal(data, v)
		}}, "json: what is not valid is not read", "256 into a *uint8"},
		{"other errors", &fakeValid{valid: json.Unmarshal}, "json: UnmarshalValid does what Unmarshal does", "null into"},
		{"other values", &fakeValid{valid: func(data []byte, v any) error {
			if i, ok := v.(*int); ok {
				*i = 5
				return nil
			}
			return codec.JSON.Unmarshal(data, v)
		}}, "json: UnmarshalValid does what Unmarshal does", "int zero"},
		{"fails on valid data", &fakeValid{valid: func([]byte, any) error { return errors.New("no") }},
			"json: UnmarshalValid does what Unmarshal does", "true: no"},
		{"no inner codec", transformWith(func(f *fakeTransform) { f.inner = nil }), "a Transform changes the bytes of its inner codec", "returns nil"},
		{"the name of the inner codec", transformWith(func(f *fakeTransform) { f.name = func() string { return "json" } }),
			"a Transform changes the bytes of its inner codec", "could not tell them apart"},
		{"Seal changes plain", transformWith(func(f *fakeTransform) {
			seal := f.seal
			f.seal = func(dst, plain []byte) ([]byte, error) {
				sealed, err := seal(dst, plain)
				clear(plain)
				return sealed, err
			}
		}), "a Transform changes the bytes of its inner codec", "Seal changes plain"},
		{"Seal overwrites", transformWith(func(f *fakeTransform) {
			seal := f.seal
			f.seal = func(dst, plain []byte) ([]byte, error) { return seal(dst[:0], plain) }
		}), "a Transform changes the bytes of its inner codec", "does not append"},
		{"Seal fails", transformWith(func(f *fakeTransform) {
			f.seal = func(dst, _ []byte) ([]byte, error) { return dst, errors.New("full") }
		}), "a Transform changes the bytes of its inner codec", "full"},
		{"Open changes its input", transformWith(func(f *fakeTransform) {
			open := f.open
			f.open = func(sealed []byte) ([]byte, error) {
				plain, err := open(sealed)
				clear(sealed)
				return plain, err
			}
		}), "a Transform changes the bytes of its inner codec", "Open changes"},
		{"Open keeps its input", transformWith(func(f *fakeTransform) {
			open := f.open
			f.open = func(sealed []byte) ([]byte, error) {
				plain, err := open(sealed)
				if err != nil {
					return nil, err
				}
				from := bytes.IndexByte(sealed, ':') + 1
				return sealed[from : from+len(plain)], nil
			}
		}), "a Transform changes the bytes of its inner codec", "Open of what Seal gives"},
		{"Marshal does not seal", transformWith(func(f *fakeTransform) { f.marshal, f.unmarshal = nil, nil }),
			"a Transform changes the bytes of its inner codec", "not a frame"},
		{"Unmarshal does not open", transformWith(func(f *fakeTransform) {
			f.unmarshal = func([]byte, any) error { return errors.New("cannot") }
		}), "a Transform changes the bytes of its inner codec", "cannot"},
		{"another inner codec", transformWith(func(f *fakeTransform) {
			f.inner = opaqueWith(nil, func([]byte, any) error { return errors.New("not mine") })
		}), "a Transform changes the bytes of its inner codec", "the inner codec cannot decode"},
		{"an inner codec that fails", transformWith(func(f *fakeTransform) {
			f.marshal = func(v any) ([]byte, error) {
				plain, err := codec.JSON.Marshal(v)
				if err != nil {
					return nil, err
				}
				return f.seal(nil, plain)
			}
			f.inner = opaqueWith(func(any) ([]byte, error) { return nil, errors.New("inner fails") }, nil)
		}), "a Transform changes the bytes of its inner codec", "inner fails"},
		{"Open accepts a tail", transformWith(func(f *fakeTransform) {
			open := f.open
			f.open = func(sealed []byte) ([]byte, error) {
				if plain, err := open(bytes.TrimSuffix(sealed, []byte("x"))); err == nil {
					return plain, nil
				}
				return open(sealed)
			}
		}), "Open wants the whole output of Seal", "bytes behind it"},
		{"Open accepts what is cut", transformWith(func(f *fakeTransform) {
			open := f.open
			f.open = func(sealed []byte) ([]byte, error) {
				if len(sealed) == 0 {
					return nil, nil
				}
				return open(sealed)
			}
		}), "Open wants the whole output of Seal", "which is cut"},
		{"Open panics", transformWith(func(f *fakeTransform) {
			open := f.open
			f.open = func(sealed []byte) ([]byte, error) {
				_ = sealed[0]
				return open(sealed)
			}
		}), "Open wants the whole output of Seal", "Open panics"},
		{"Open panics on damage", transformWith(func(f *fakeTransform) {
			open := f.open
			f.open = func(sealed []byte) ([]byte, error) {
				if len(sealed) > 0 && sealed[0] >= 0x80 {
					panic("version")
				}
				return open(sealed)
			}
		}), "Open wants the whole output of Seal", "damaged bytes panics"},
	} {
		t.Run(test.name, func(t *testing.T) {
			i := slices.IndexFunc(rules, func(r rule) bool { return r.name == test.rule })
			require.GreaterOrEqual(t, i, 0, "there is no such rule")
			failures := brokenOf(rules[i:i+1], test.codec)
			require.Contains(t, failures, test.rule)
			assert.Contains(t, failures[test.rule], test.says)
		})
		covered[test.rule] = true
	}
	for _, r := range rules {
		assert.True(t, covered[r.name], "no case breaks the rule %q", r.name)
	}
}

func opaqueWith(marshal func(any) ([]byte, error), unmarshal func([]byte, any) error) *fake {
	f := opaque()
	f.marshal, f.unmarshal = marshal, unmarshal
	return f
}

func transformWith(change func(*fakeTransform)) *fakeTransform {
	f := newTransform()
	change(f)
	return f
}

// keeper is a codec that gives the same slice away twice.
func keeper() codec.Codec {
	var strings []byte
	return opaqueWith(func(v any) ([]byte, error) {
		if _, ok := v.([]string); !ok {
			return codec.JSON.Marshal(v)
		}
		if strings == nil {
			strings, _ = codec.JSON.Marshal(v)
		}
		return strings, nil
	}, nil)
}

// racy is what a codec looks like whose calls get in each other's way, once.
func racy() codec.Codec {
	var calls atomic.Int64
	second := make(chan struct{})
	return &fake{unmarshal: func(data []byte, v any) error {
		switch calls.Add(1) {
		case 1:
			<-second
		case 2:
			close(second)
			return errors.New("busy")
		}
		return codec.JSON.Unmarshal(data, v)
	}}
}

func TestOptions(t *testing.T) {
	cut := opaqueWith(nil, func(data []byte, v any) error {
		if codec.Valid(data) != nil && reflect.ValueOf(v).Kind() == reflect.Pointer && !reflect.ValueOf(v).IsNil() {
			return nil
		}
		return codec.JSON.Unmarshal(data, v)
	})
	assert.Contains(t, broken(cut), "Unmarshal wants the whole of one document")
	assert.Empty(t, broken(cut, OpenEnded()))

	upper := opaqueWith(func(v any) ([]byte, error) {
		if s, ok := v.(string); ok {
			v = strings.ToUpper(s)
		}
		return codec.JSON.Marshal(v)
	}, nil)
	assert.Contains(t, broken(upper, Values("a")), "what is decoded equals what was encoded")
	assert.NotContains(t, broken(upper, Values("A")), "what is decoded equals what was encoded")
	fold := Equal(func(want, got any) bool { return strings.EqualFold(want.(string), got.(string)) })
	assert.NotContains(t, broken(upper, Values("a"), fold), "what is decoded equals what was encoded")
}

type recorder struct{ got string }

func (r *recorder) Helper()                           {}
func (r *recorder) Errorf(format string, args ...any) { r.got = fmt.Sprintf(format, args...) }

func TestFailureNamesRule(t *testing.T) {
	var r recorder
	failer(&r, "a rule")("%s is %d", "it", 3)
	assert.Equal(t, `rule "a rule": it is 3`, r.got)
}
