package codec

import (
	"bytes"
	"fmt"
	"reflect"
	"sync"
	"unicode/utf8"

	gojson "github.com/goccy/go-json"

	"github.com/omniq-go/omniq/internal/jsontext"
)

// JSON writes and reads JSON text by goccy/go-json. It implements [Appender] and [ValidUnmarshaler].
//
// Go types map to JSON as in encoding/json, with its struct tags and its interfaces: exported fields, json.Marshaler,
// encoding.TextMarshaler, []byte as base64, keys matched without regard to case, unknown keys ignored, a JSON array
// that is longer than a Go array cut. These rules are stricter:
//
//   - What it writes is one compact document that [Valid] accepts: no HTML escapes, the fewest other escapes, and
//     what a MarshalJSON method returns is brought to the same form.
//   - A string that is not UTF-8 is an error, where encoding/json replaces what is wrong. So are NaN and infinities,
//     numbers of a MarshalJSON method or a json.Number that no float64 can hold, and a value that contains itself.
//   - Unmarshal refuses what Valid refuses, and null for a value that has no null: a number, a string, a bool, a
//     struct, an array, or a type with UnmarshalText. Inside arrays and objects null leaves such a value zero.
//   - Unmarshal sets the target to its zero value first, so nothing of an old value is left.
//   - A struct with a field that is a pointer to a pointer is refused both ways: the library would crash on some.
//   - A MarshalJSON or UnmarshalJSON method that panics makes an error.
//
// An error about a value names its place in the value, such as .Address.Street, ["key"] or [3].
var JSON Codec = goJSON{}

type goJSON struct{}

func (goJSON) Name() string { return NameJSON }

func (goJSON) Marshal(v any) ([]byte, error) { return appendJSON(nil, v, goLibrary{}) }

func (goJSON) Append(dst []byte, v any) ([]byte, error) { return appendJSON(dst, v, goLibrary{}) }

func (goJSON) Unmarshal(data []byte, v any) error {
	if err := Valid(data); err != nil {
		return err
	}
	return decodeJSON(data, v, goLibrary{})
}

func (goJSON) UnmarshalValid(data []byte, v any) error { return decodeJSON(data, v, goLibrary{}) }

// Valid reports whether data is what a codec named "json" may write: one JSON document of at most [MaxSize] bytes and
// [MaxDepth] levels, in UTF-8 without lone surrogates, each number within the range of float64, nothing but white
// space around it. The error names the byte offset.
func Valid(data []byte) error {
	if len(data) > MaxSize {
		return tooLarge(len(data))
	}
	if err := jsontext.Valid(data, MaxDepth); err != nil {
		return fmt.Errorf("codec: json: %w", err)
	}
	return nil
}

func tooLarge(size int) error {
	return fmt.Errorf("codec: json: document of %d bytes, want at most %d", size, MaxSize)
}

// library is what does the work for values that are neither scalars nor structs of scalars.
type library interface {
	// encode appends the JSON text of v to dst. Whether the text is compact, in UTF-8 and bounded in size and depth is
	// for the caller to see to. It may panic.
	encode(dst []byte, v any) ([]byte, error)

	// decode decodes valid data into v, which is a pointer to a zero value. It may panic.
	decode(data []byte, v any) error

	// lossy is whether encode replaces what is not UTF-8 by the escape \ufffd and writes escapes that are not needed.
	lossy() bool

	// plans is whether structs of scalars are coded by their plan.
	plans() bool
}

// appendJSON appends the JSON text of v to dst. On an error it returns dst at its old length.
func appendJSON(dst []byte, v any, lib library) ([]byte, error) {
	if out, ok, err := appendScalar(dst, v); ok {
		return out, err
	}
	info := encodeInfo(reflect.TypeOf(v))
	if info.plan != nil && lib.plans() {
		return info.plan.append(dst, reflect.ValueOf(v))
	}
	return appendByLibrary(dst, v, info, lib)
}

func appendByLibrary(dst []byte, v any, info *typeInfo, lib library) (out []byte, err error) {
	rv := reflect.ValueOf(v)
	if info.err != nil {
		return dst, encodeError(rv.Type(), "", info.err)
	}
	canonical, deep := info.custom || lib.lossy(), info.depth > MaxDepth
	if info.dynamic {
		s := survey{}
		if place, err := s.part(rv, 0, 0); err != nil {
			return dst, encodeError(rv.Type(), place, err)
		}
		canonical, deep = canonical || s.custom, deep || s.deep
	}
	defer func() {
		if r := recover(); r != nil {
			out, err = dst, fmt.Errorf("codec: json: panic while encoding %s: %v", typeName(rv.Type()), r)
		}
	}()
	n := len(dst)
	if canonical {
		return appendCanonical(dst, rv, v, lib)
	}
	out, err = lib.encode(dst, v)
	switch {
	case err != nil:
		return dst, libraryEncodeError(rv, err)
	case len(out)-n > MaxSize:
		return dst, encodeError(rv.Type(), "", errTooLarge)
	case !utf8.Valid(out[n:]):
		return dst, invalidUTF8(rv)
	case deep:
		if err := jsontext.Valid(out[n:], MaxDepth); err != nil {
			return dst, encodeError(rv.Type(), "", err)
		}
	}
	return out, nil
}

// appendCanonical is for values whose text is not compact JSON as it comes from the library.
func appendCanonical(dst []byte, rv reflect.Value, v any, lib library) ([]byte, error) {
	s := takeScratch()
	defer s.release()
	var err error
	s.b, err = lib.encode(s.b[:0], v)
	if err != nil {
		return dst, libraryEncodeError(rv, err)
	}
	if len(s.b) > MaxSize {
		return dst, encodeError(rv.Type(), "", errTooLarge)
	}
	if lib.lossy() && bytes.Contains(s.b, []byte(`\ufffd`)) {
		if place, problem := findProblem(rv); problem != nil {
			return dst, encodeError(rv.Type(), place, problem)
		}
	}
	out, err := jsontext.AppendCanonical(dst, s.b, MaxDepth)
	if err != nil {
		if place, problem := findProblem(rv); problem != nil {
			return dst, encodeError(rv.Type(), place, problem)
		}
		return dst, encodeError(rv.Type(), "", err)
	}
	return out, nil
}

// decodeJSON decodes valid data into v.
func decodeJSON(data []byte, v any, lib library) error {
	if ok, err := decodeScalar(data, v); ok {
		return err
	}
	rv := reflect.ValueOf(v)
	switch {
	case v == nil:
		return &unsupportedError{"codec: json: cannot decode into nil, want a pointer", nil}
	case rv.Kind() != reflect.Pointer:
		return &unsupportedError{fmt.Sprintf("codec: json: cannot decode into a %s, want a pointer to it", typeName(rv.Type())), nil}
	case rv.IsNil():
		return nilTarget(v)
	}
	target := rv.Elem()
	info := decodeInfo(target.Type())
	if info.err != nil {
		return &unsupportedError{fmt.Sprintf("codec: json: cannot decode %s: %v", typeName(info.typ), info.err), info.err}
	}
	target.SetZero()
	if info.plan != nil && lib.plans() {
		if end, ok := info.plan.read(data, skipSpace(data, 0), rv.UnsafePointer(), false); ok && skipSpace(data, end) == len(data) {
			return nil
		}
		target.SetZero()
	}
	if !info.nullable && isNull(data) {
		return nullTarget(info.typ)
	}
	return decodeByLibrary(data, v, info.typ, lib)
}

func decodeByLibrary(data []byte, v any, t reflect.Type, lib library) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("codec: json: panic while decoding %s: %v", typeName(t), r)
		}
	}()
	if err := lib.decode(data, v); err != nil {
		return libraryDecodeError(t, err)
	}
	return nil
}

func nilTarget(v any) error {
	return &unsupportedError{fmt.Sprintf("codec: json: cannot decode into a nil %T", v), nil}
}

func nullTarget(t reflect.Type) error {
	return fmt.Errorf("codec: json: null does not fit a value of type %s", typeName(t))
}

// goLibrary is goccy/go-json.
type goLibrary struct{}

// sliceWriter lets an encoder write into the slice of a caller.
type sliceWriter struct{ dst []byte }

func (w *sliceWriter) Write(p []byte) (int, error) {
	w.dst = append(w.dst, p...)
	return len(p), nil
}

type goEncoder struct {
	sliceWriter
	enc *gojson.Encoder
}

var goEncoders = sync.Pool{New: func() any {
	e := new(goEncoder)
	e.enc = gojson.NewEncoder(&e.sliceWriter)
	e.enc.SetEscapeHTML(false)
	return e
}}

// goOptions make go-json write strings as they are, so that what is wrong with them can be seen in the output.
var goOptions = []gojson.EncodeOptionFunc{gojson.DisableNormalizeUTF8()}

func (goLibrary) encode(dst []byte, v any) ([]byte, error) {
	e := goEncoders.Get().(*goEncoder)
	e.dst = dst
	err := e.enc.EncodeWithOption(v, goOptions...)
	out := e.dst
	e.dst = nil
	goEncoders.Put(e)
	if err != nil {
		return dst, err
	}
	return out[:len(out)-1], nil
}

func (goLibrary) decode(data []byte, v any) error { return gojson.Unmarshal(data, v) }

func (goLibrary) lossy() bool { return false }

func (goLibrary) plans() bool { return true }
