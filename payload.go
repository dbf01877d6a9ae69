package omniq

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/omniq-go/omniq/codec"
	"github.com/omniq-go/omniq/internal/jsontext"
)

// payload is how arguments and results stand in a raw envelope: as JSON text, or as base64 text of a codec's bytes.

// wireName is what an envelope's codec key says of c: nothing for JSON.
func wireName(c codec.Codec) string {
	if name := c.Name(); name != codec.NameJSON {
		return name
	}
	return ""
}

// unknownCodecError says that a payload is of a codec that nobody has given the client or the worker.
type unknownCodecError struct {
	name  string
	known []string
}

// ErrorType makes it an error of decoding in a [TaskError].
func (e *unknownCodecError) ErrorType() string { return typeDecode }

func (e *unknownCodecError) Error() string {
	return fmt.Sprintf("the payload is of codec %q, which is not known here, only %s: add it with Codecs",
		e.name, strings.Join(e.known, ", "))
}

// codecFor finds the codec of an envelope that names one.
func codecFor(name string, codecs []codec.Codec) (codec.Codec, error) {
	if name == "" {
		name = codec.NameJSON
	}
	for _, c := range codecs {
		if c.Name() == name {
			return c, nil
		}
	}
	if name == codec.NameJSON {
		return codec.JSON, nil
	}
	known := []string{codec.NameJSON}
	for _, c := range codecs {
		if c.Name() != codec.NameJSON {
			known = append(known, c.Name())
		}
	}
	return nil, &unknownCodecError{name, known}
}

// payloadError says which part of a task or a result could not be encoded or decoded. errors.Is finds ErrInvalid in it.
type payloadError struct {
	part string // args, kwargs or result_data
	err  error
}

func (e *payloadError) Error() string   { return "omniq: " + e.part + ": " + e.err.Error() }
func (e *payloadError) Unwrap() []error { return []error{ErrInvalid, e.err} }

// appendArgs appends the JSON array or the opaque bytes of args, which points to a value of a type with shape s.
func appendArgs(dst []byte, c codec.Codec, s *argsShape, args any) ([]byte, error) {
	if s.err != nil {
		return dst, s.err
	}
	var out []byte
	var err error
	if c.Name() == codec.NameJSON {
		out, err = appendArgsJSON(dst, c, s, args)
		if err == nil {
			err = checkDepth(out, len(dst))
		}
	} else {
		out, err = appendThrough(dst, c, args, func(c codec.Codec) ([]byte, error) {
			return appendArgsJSON(nil, c, s, args)
		})
	}
	if err != nil {
		return dst, &payloadError{"args", err}
	}
	return out, nil
}

func appendArgsJSON(dst []byte, c codec.Codec, s *argsShape, args any) ([]byte, error) {
	switch s.kind {
	case shapeRaw:
		return appendRaw(dst, *args.(*Raw), '[')
	case shapeStruct:
		if f, ok := c.(codec.FieldCoder); ok && s.flat {
			if out, ok, err := f.AppendArray(dst, args); ok {
				return out, err
			}
		}
		v := reflect.ValueOf(args).Elem()
		dst = append(dst, '[')
		for i := range s.fields {
			if i > 0 {
				dst = append(dst, ',')
			}
			f := &s.fields[i]
			var err error
			if dst, err = codec.Append(c, dst, fieldByIndex(v, f.index).Addr().Interface()); err != nil {
				return dst, fmt.Errorf("%s: %w", f.name, err)
			}
		}
	default:
		v := reflect.ValueOf(args).Elem()
		dst = append(dst, '[')
		for i := range v.Len() {
			if i > 0 {
				dst = append(dst, ',')
			}
			var err error
			if dst, err = codec.Append(c, dst, v.Index(i).Addr().Interface()); err != nil {
				return dst, fmt.Errorf("[%d]: %w", i, err)
			}
		}
	}
	return append(dst, ']'), nil
}

// checkDepth refuses JSON text from a place on that is too deep for an envelope. It is known to be valid otherwise.
func checkDepth(text []byte, from int) error {
	if len(text)-from <= 2*maxPayloadDepth {
		return nil
	}
	text = text[from:]
	if bytes.Count(text, []byte("["))+bytes.Count(text, []byte("{")) <= maxPayloadDepth {
		return nil
	}
	return jsontext.Valid(text, maxPayloadDepth)
}

// fieldByIndex is reflect's, without its cost for the usual depth.
func fieldByIndex(v reflect.Value, index []int) reflect.Value {
	for _, i := range index {
		v = v.Field(i)
	}
	return v
}

// appendKwargs is appendArgs for kwargs.
func appendKwargs(dst []byte, c codec.Codec, s *kwargsShape, kwargs any) ([]byte, error) {
	if s.err != nil {
		return dst, s.err
	}
	var out []byte
	var err error
	if c.Name() == codec.NameJSON {
		out, err = appendKwargsJSON(dst, c, s, kwargs)
		if err == nil {
			err = checkDepth(out, len(dst))
		}
	} else {
		out, err = appendThrough(dst, c, kwargs, func(c codec.Codec) ([]byte, error) {
			return appendKwargsJSON(nil, c, s, kwargs)
		})
	}
	if err != nil {
		return dst, &payloadError{"kwargs", err}
	}
	return out, nil
}

func appendKwargsJSON(dst []byte, c codec.Codec, s *kwargsShape, kwargs any) ([]byte, error) {
	if s.kind == shapeRaw {
		return appendRaw(dst, *kwargs.(*Raw), '{')
	}
	if s.kind == shapeStruct && len(s.keys) == 0 || s.kind == shapeMap && reflect.ValueOf(kwargs).Elem().Len() == 0 {
		return append(dst, "{}"...), nil
	}
	return codec.Append(c, dst, kwargs)
}

// appendThrough appends the bytes of c, which is not named "json", for v. A transform is put around what marshalJSON
// returns if the innermost codec is; any other codec gets the whole value.
func appendThrough(dst []byte, c codec.Codec, v any, marshalJSON func(codec.Codec) ([]byte, error)) ([]byte, error) {
	if c.Name() == codec.NameJSON {
		plain, err := marshalJSON(c)
		return append(dst, plain...), err
	}
	t, ok := c.(codec.Transform)
	if !ok {
		return codec.Append(c, dst, v)
	}
	plain, err := appendThrough(nil, t.Inner(), v, marshalJSON)
	if err != nil {
		return dst, err
	}
	return t.Seal(dst, plain)
}

// appendRaw appends raw in its compact form, which must begin with open unless that is 0.
func appendRaw(dst []byte, raw Raw, open byte) ([]byte, error) {
	if len(raw) == 0 {
		switch open {
		case '[':
			return append(dst, "[]"...), nil
		case '{':
			return append(dst, "{}"...), nil
		}
		return append(dst, "null"...), nil
	}
	if first := raw[jsontext.SkipSpace(raw, 0):]; open != 0 && len(first) > 0 && first[0] != open {
		return dst, fmt.Errorf("raw JSON is %s, want %s", jsontext.Kind(first[0]), jsontext.Kind(open))
	}
	return jsontext.AppendCanonical(dst, raw, codec.MaxDepth)
}

// unmarshal decodes a JSON text that has been checked.
func unmarshal(c codec.Codec, data []byte, v any) error {
	if u, ok := c.(codec.ValidUnmarshaler); ok {
		return u.UnmarshalValid(data, v)
	}
	return c.Unmarshal(data, v)
}

var errNull = errors.New("null, want a value")

// decodeArgs decodes what appendArgs wrote into args, which points to a zero value of a type with shape s. Data that is
// known to be valid JSON is not checked again.
func decodeArgs(data []byte, valid bool, c codec.Codec, s *argsShape, args any) error {
	if s.err != nil {
		return s.err
	}
	var err error
	if c.Name() == codec.NameJSON {
		err = decodeArgsJSON(data, valid, c, s, args)
	} else {
		err = decodeThrough(data, c, args, func(data []byte, c codec.Codec) error {
			return decodeArgsJSON(data, false, c, s, args)
		})
	}
	if err != nil {
		return &payloadError{"args", err}
	}
	return nil
}

func decodeArgsJSON(data []byte, valid bool, c codec.Codec, s *argsShape, args any) error {
	if s.kind == shapeRaw {
		return decodeRaw(data, args.(*Raw), '[')
	}
	if f, ok := c.(codec.FieldCoder); ok && s.flat && valid && f.UnmarshalArray(data, args) {
		return nil
	}
	v := reflect.ValueOf(args).Elem()
	v.SetZero()
	if s.kind == shapeSlice {
		v.Set(reflect.MakeSlice(s.typ, 0, 4))
	}
	want := len(s.fields)
	a, err := jsontext.NewArray(data, jsontext.SkipSpace(data, 0), codec.MaxDepth)
	n := 0
	for ; err == nil; n++ {
		var more bool
		if more, err = a.Next(); !more {
			break
		}
		element := data[a.Start:a.End]
		if s.kind == shapeStruct {
			if n < want {
				f := &s.fields[n]
				if err := decodeElement(element, c, fieldByIndex(v, f.index), f.null); err != nil {
					return fmt.Errorf("[%d] (%s): %w", n, f.name, err)
				}
			}
			continue
		}
		if s.kind == shapeSlice {
			v.Grow(1)
			v.SetLen(n + 1)
		}
		if want = v.Len(); n < want {
			if err := decodeElement(element, c, v.Index(n), s.null); err != nil {
				return fmt.Errorf("[%d]: %w", n, err)
			}
		}
	}
	if err != nil {
		return err
	}
	if s.kind == shapeArray {
		want = v.Len()
	}
	if n != want {
		return fmt.Errorf("%d elements, want %d for %v", n, want, s.typ)
	}
	return jsontext.End(data, a.At())
}

func decodeElement(data []byte, c codec.Codec, v reflect.Value, null bool) error {
	if !null && data[0] == 'n' {
		return fmt.Errorf("%w of type %v", errNull, v.Type())
	}
	return unmarshal(c, data, v.Addr().Interface())
}

// decodeKwargs is decodeArgs for kwargs.
func decodeKwargs(data []byte, valid bool, c codec.Codec, s *kwargsShape, kwargs any) error {
	if s.err != nil {
		return s.err
	}
	var err error
	if c.Name() == codec.NameJSON {
		err = decodeKwargsJSON(data, valid, c, s, kwargs)
	} else {
		err = decodeThrough(data, c, kwargs, func(data []byte, c codec.Codec) error {
			return decodeKwargsJSON(data, false, c, s, kwargs)
		})
	}
	if err != nil {
		return &payloadError{"kwargs", err}
	}
	return nil
}

func decodeKwargsJSON(data []byte, valid bool, c codec.Codec, s *kwargsShape, kwargs any) error {
	if s.kind == shapeRaw {
		return decodeRaw(data, kwargs.(*Raw), '{')
	}
	if f, ok := c.(codec.FieldCoder); ok && s.kind == shapeStruct && valid && f.UnmarshalObject(data, kwargs) {
		return nil
	}
	v := reflect.ValueOf(kwargs).Elem()
	v.SetZero()
	n, err := s.check(data)
	if err != nil {
		return err
	}
	if n == 0 {
		if s.kind == shapeMap {
			v.Set(reflect.MakeMap(s.typ))
		}
		return nil
	}
	if err := unmarshal(c, data, kwargs); err != nil {
		return err
	}
	if s.kind == shapeMap && v.Len() != n {
		return fmt.Errorf("%d keywords of which only %d differ", n, v.Len())
	}
	return nil
}

// check reports what is wrong with an object of the shape, but for what its values hold, and counts its members.
func (s *kwargsShape) check(data []byte) (n int, err error) {
	o, err := jsontext.NewObject(data, jsontext.SkipSpace(data, 0), codec.MaxDepth)
	if err != nil {
		return 0, err
	}
	var seen keySet
	for ; ; n++ {
		more, err := o.Next()
		if err != nil {
			return n, err
		}
		if !more {
			return n, jsontext.End(data, o.At())
		}
		null := s.null
		if s.kind == shapeStruct {
			f, ok := s.keys[string(o.Key)]
			if !ok {
				return n, fmt.Errorf("unknown keyword %.60q for %v", o.Key, s.typ)
			}
			if !seen.add(f.number) {
				return n, fmt.Errorf("keyword %q stands twice", o.Key)
			}
			null = f.null
		}
		if !null && data[o.Start] == 'n' {
			return n, fmt.Errorf("%q: %w", o.Key, errNull)
		}
	}
}

// keySet remembers small numbers.
type keySet struct {
	low  uint64
	high map[int]bool
}

// add reports whether n is new.
func (s *keySet) add(n int) bool {
	if n < 64 {
		bit := uint64(1) << n
		old := s.low
		s.low |= bit
		return old&bit == 0
	}
	if s.high[n] {
		return false
	}
	if s.high == nil {
		s.high = make(map[int]bool)
	}
	s.high[n] = true
	return true
}

// decodeThrough is the reverse of appendThrough. What unmarshalJSON is given has not been checked.
func decodeThrough(data []byte, c codec.Codec, v any, unmarshalJSON func([]byte, codec.Codec) error) error {
	if c.Name() == codec.NameJSON {
		return unmarshalJSON(data, c)
	}
	t, ok := c.(codec.Transform)
	if !ok {
		return c.Unmarshal(data, v)
	}
	plain, err := t.Open(data)
	if err != nil {
		return err
	}
	if len(plain) > codec.MaxSize {
		return sizeError(len(plain))
	}
	return decodeThrough(plain, t.Inner(), v, unmarshalJSON)
}

// decodeRaw puts the compact form of data, in memory of its own, into raw.
func decodeRaw(data []byte, raw *Raw, open byte) (err error) {
	*raw, err = appendRaw(make(Raw, 0, len(data)), data, open)
	return err
}

func sizeError(n int) error {
	return fmt.Errorf("%d bytes, want at most %d", n, codec.MaxSize)
}

// The opaque form: args is ["<base64>","<base64>"], kwargs is {}, and result_data is "<base64>".

func appendBase64(dst, data []byte) []byte {
	dst = append(dst, '"')
	dst = base64.StdEncoding.AppendEncode(dst, data)
	return append(dst, '"')
}

func decodeBase64(lit []byte) ([]byte, error) {
	s, err := jsontext.Unquote(lit)
	if err != nil {
		return nil, err
	}
	return base64.StdEncoding.Strict().DecodeString(s)
}

// openOpaque takes the args and kwargs of an opaque payload apart.
func openOpaque(args, kwargs Raw) (a, k []byte, err error) {
	if len(kwargs) > 0 && !bytes.Equal(kwargs, []byte("{}")) {
		return nil, nil, errors.New("kwargs of an opaque payload must be {}")
	}
	array, err := jsontext.NewArray(args, 0, 2)
	if err != nil {
		return nil, nil, err
	}
	parts := [2][]byte{}
	n := 0
	for {
		ok, err := array.Next()
		if err != nil {
			return nil, nil, err
		}
		if !ok {
			break
		}
		if n < 2 {
			if parts[n], err = decodeBase64(args[array.Start:array.End]); err != nil {
				return nil, nil, err
			}
		}
		n++
	}
	if n != 2 {
		return nil, nil, fmt.Errorf("args of an opaque payload have %d elements, want 2", n)
	}
	return parts[0], parts[1], nil
}

// appendResult appends the JSON document or the opaque bytes of a result, which data points to.
func appendResult(dst []byte, c codec.Codec, data any) ([]byte, error) {
	var out []byte
	var err error
	if c.Name() == codec.NameJSON {
		out, err = appendResultJSON(dst, c, data)
		if err == nil {
			err = checkDepth(out, len(dst))
		}
	} else {
		out, err = appendThrough(dst, c, data, func(c codec.Codec) ([]byte, error) {
			return appendResultJSON(nil, c, data)
		})
	}
	if err != nil {
		return dst, &payloadError{"result_data", err}
	}
	return out, nil
}

func appendResultJSON(dst []byte, c codec.Codec, data any) ([]byte, error) {
	switch d := data.(type) {
	case *Void:
		return append(dst, "null"...), nil
	case *Raw:
		return appendRaw(dst, *d, 0)
	}
	return codec.Append(c, dst, data)
}

// decodeResult is the reverse of appendResult. A null that is not the result of a success leaves the zero value.
func decodeResult(data []byte, valid bool, c codec.Codec, result any, success bool) error {
	if _, ok := result.(*Void); ok {
		return nil
	}
	var err error
	if c.Name() == codec.NameJSON {
		err = decodeResultJSON(data, valid, c, result, success)
	} else {
		err = decodeThrough(data, c, result, func(data []byte, c codec.Codec) error {
			return decodeResultJSON(data, false, c, result, success)
		})
	}
	if err != nil {
		return &payloadError{"result_data", err}
	}
	return nil
}

func decodeResultJSON(data []byte, valid bool, c codec.Codec, result any, success bool) error {
	if raw, ok := result.(*Raw); ok {
		return decodeRaw(data, raw, 0)
	}
	if !valid {
		if err := codec.Valid(data); err != nil {
			return err
		}
	}
	if i := jsontext.SkipSpace(data, 0); data[i] == 'n' {
		if t := reflect.TypeOf(result).Elem(); !nullable(t) {
			if !success {
				return nil
			}
			return fmt.Errorf("%w of type %v", errNull, t)
		}
	}
	return unmarshal(c, data, result)
}
