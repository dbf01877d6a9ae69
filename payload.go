package omniq

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"reflect"
	"slices"

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
	known := make([]string, len(codecs))
	for i, c := range codecs {
		known[i] = c.Name()
	}
	slices.Sort(known)
	return nil, fmt.Errorf("the payload is of codec %q, and only json and %v can be read here: add it with Codecs", name, known)
}

// payloadError says which part of a task or a result could not be encoded or decoded.
type payloadError struct {
	part string // args, kwargs or result_data
	err  error
}

func (e *payloadError) Error() string { return "omniq: " + e.part + ": " + e.err.Error() }
func (e *payloadError) Unwrap() error { return e.err }

// appendArgs appends the JSON array or the opaque bytes of args, which points to a value of a type with shape s.
func appendArgs(dst []byte, c codec.Codec, s *argsShape, args any) ([]byte, error) {
	if s.err != nil {
		return dst, s.err
	}
	return appendThrough(dst, c, args, "args", func(dst []byte, c codec.Codec) ([]byte, error) {
		switch s.kind {
		case shapeRaw:
			return appendRaw(dst, *args.(*Raw), '[')
		case shapeStruct:
			if f, ok := c.(codec.FieldCoder); ok && s.flat {
				if dst, ok, err := f.AppendArray(dst, args); ok {
					return dst, err
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
			return append(dst, ']'), nil
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
			return append(dst, ']'), nil
		}
	})
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
	return appendThrough(dst, c, kwargs, "kwargs", func(dst []byte, c codec.Codec) ([]byte, error) {
		if s.kind == shapeRaw {
			return appendRaw(dst, *kwargs.(*Raw), '{')
		}
		if s.kind == shapeStruct && len(s.keys) == 0 || s.kind == shapeMap && reflect.ValueOf(kwargs).Elem().Len() == 0 {
			return append(dst, "{}"...), nil
		}
		return codec.Append(c, dst, kwargs)
	})
}

// appendThrough calls appendJSON with the innermost codec if that writes JSON, and puts the transforms around what it
// appends. Any other codec gets the whole value.
func appendThrough(dst []byte, c codec.Codec, v any, part string, appendJSON func([]byte, codec.Codec) ([]byte, error)) ([]byte, error) {
	old := len(dst)
	var err error
	switch t, ok := c.(codec.Transform); {
	case c.Name() == codec.NameJSON:
		dst, err = appendJSON(dst, c)
	case ok:
		var plain []byte
		if plain, err = appendThrough(nil, t.Inner(), v, "", appendJSON); err == nil {
			dst, err = t.Seal(dst, plain)
		}
	default:
		dst, err = codec.Append(c, dst, v)
	}
	if err != nil {
		if part != "" {
			err = &payloadError{part, err}
		}
		return dst[:old], err
	}
	return dst, nil
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
	return decodeThrough(data, valid, c, args, "args", func(data []byte, valid bool, c codec.Codec) error {
		if s.kind == shapeRaw {
			return decodeRaw(data, args.(*Raw), '[')
		}
		v := reflect.ValueOf(args).Elem()
		if f, ok := c.(codec.FieldCoder); ok && s.flat && valid {
			if f.UnmarshalArray(data, args) {
				return nil
			}
			v.SetZero()
		}
		a, err := jsontext.NewArray(data, jsontext.SkipSpace(data, 0), codec.MaxDepth)
		if err != nil {
			return err
		}
		switch s.kind {
		case shapeStruct:
			n := 0
			for {
				ok, err := a.Next()
				if err != nil {
					return err
				}
				if !ok {
					break
				}
				if n < len(s.fields) {
					f := &s.fields[n]
					if err := decodeElement(data[a.Start:a.End], c, fieldByIndex(v, f.index), f.null); err != nil {
						return fmt.Errorf("[%d] (%s): %w", n, f.name, err)
					}
				}
				n++
			}
			if n != len(s.fields) {
				return fmt.Errorf("%d elements, want %d for %v", n, len(s.fields), s.typ)
			}
		default:
			if s.kind == shapeSlice {
				v.Set(reflect.MakeSlice(s.typ, 0, 4))
			}
			n := 0
			for {
				ok, err := a.Next()
				if err != nil {
					return err
				}
				if !ok {
					break
				}
				if s.kind == shapeSlice {
					v.Grow(1)
					v.SetLen(n + 1)
				}
				if n < v.Len() {
					if err := decodeElement(data[a.Start:a.End], c, v.Index(n), s.null); err != nil {
						return fmt.Errorf("[%d]: %w", n, err)
					}
				}
				n++
			}
			if n != v.Len() {
				return fmt.Errorf("%d elements, want %d for %v", n, v.Len(), s.typ)
			}
		}
		return jsontext.End(data, a.At())
	})
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
	return decodeThrough(data, valid, c, kwargs, "kwargs", func(data []byte, valid bool, c codec.Codec) error {
		if s.kind == shapeRaw {
			return decodeRaw(data, kwargs.(*Raw), '{')
		}
		if f, ok := c.(codec.FieldCoder); ok && s.kind == shapeStruct && valid {
			if f.UnmarshalObject(data, kwargs) {
				return nil
			}
			reflect.ValueOf(kwargs).Elem().SetZero()
		}
		o, err := jsontext.NewObject(data, jsontext.SkipSpace(data, 0), codec.MaxDepth)
		if err != nil {
			return err
		}
		var seen keySet
		n := 0
		for {
			ok, err := o.Next()
			if err != nil {
				return err
			}
			if !ok {
				break
			}
			m := o.Member()
			null := s.null
			if s.kind == shapeStruct {
				f, ok := s.keys[string(m.Key)]
				if !ok {
					return fmt.Errorf("unknown keyword %.60q for %v", m.Key, s.typ)
				}
				if !seen.add(f.number) {
					return fmt.Errorf("keyword %q stands twice", m.Key)
				}
				null = f.null
			}
			if !null && data[m.Start] == 'n' {
				return fmt.Errorf("%q: %w", m.Key, errNull)
			}
			n++
		}
		if err := jsontext.End(data, o.At()); err != nil {
			return err
		}
		if n == 0 {
			if s.kind == shapeMap {
				reflect.ValueOf(kwargs).Elem().Set(reflect.MakeMap(s.typ))
			}
			return nil
		}
		if err := unmarshal(c, data, kwargs); err != nil {
			return err
		}
		if s.kind == shapeMap {
			if got := reflect.ValueOf(kwargs).Elem().Len(); got != n {
				return fmt.Errorf("%d keywords of which only %d differ", n, got)
			}
		}
		return nil
	})
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

func decodeThrough(data []byte, valid bool, c codec.Codec, v any, part string, decodeJSON func([]byte, bool, codec.Codec) error) error {
	var err error
	switch t, ok := c.(codec.Transform); {
	case c.Name() == codec.NameJSON:
		err = decodeJSON(data, valid, c)
	case ok:
		var plain []byte
		if plain, err = t.Open(data); err == nil {
			if len(plain) > codec.MaxSize {
				err = sizeError(len(plain))
			} else {
				err = decodeThrough(plain, false, t.Inner(), v, "", decodeJSON)
			}
		}
	default:
		err = c.Unmarshal(data, v)
	}
	if err != nil && part != "" {
		return &payloadError{part, err}
	}
	return err
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
	if _, ok := data.(*Void); ok {
		return append(dst, "null"...), nil
	}
	if raw, ok := data.(*Raw); ok {
		dst, err := appendRaw(dst, *raw, 0)
		if err != nil {
			return dst, &payloadError{"result_data", err}
		}
		return dst, nil
	}
	return appendThrough(dst, c, data, "result_data", func(dst []byte, c codec.Codec) ([]byte, error) {
		return codec.Append(c, dst, data)
	})
}

// decodeResult is the reverse of appendResult. A null that is not the result of a success leaves the zero value.
func decodeResult(data []byte, valid bool, c codec.Codec, result any, success bool) error {
	switch r := result.(type) {
	case *Void:
		return nil
	case *Raw:
		if err := decodeRaw(data, r, 0); err != nil {
			return &payloadError{"result_data", err}
		}
		return nil
	}
	return decodeThrough(data, valid, c, result, "result_data", func(data []byte, valid bool, c codec.Codec) error {
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
	})
}
