package payload

import (
	"fmt"
	"reflect"

	"github.com/omniq-go/omniq/codec"
	"github.com/omniq-go/omniq/internal/jsontext"
)

// Append appends the JSON array or the opaque bytes of args, which points to a value of the type.
func (s *Args) Append(dst []byte, c codec.Codec, args any) ([]byte, error) {
	if s.err != nil {
		return dst, s.err
	}
	var out []byte
	var err error
	if c.Name() == codec.NameJSON {
		out, err = s.appendJSON(dst, c, args)
		if err == nil {
			err = checkDepth(out, len(dst))
		}
	} else {
		out, err = appendThrough(dst, c, args, func(c codec.Codec) ([]byte, error) {
			return s.appendJSON(nil, c, args)
		})
	}
	if err != nil {
		return dst, err
	}
	return out, nil
}

func (s *Args) appendJSON(dst []byte, c codec.Codec, args any) ([]byte, error) {
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

// Decode reads what Append wrote into args, which points to a zero value of the type.
func (s *Args) Decode(data []byte, c codec.Codec, args any) error {
	if s.err != nil {
		return s.err
	}
	var err error
	if c.Name() == codec.NameJSON {
		err = s.decodeJSON(data, c, args)
	} else {
		err = decodeThrough(data, c, args, func(data []byte, c codec.Codec) error {
			return s.decodeJSON(data, c, args)
		})
	}
	return err
}

func (s *Args) decodeJSON(data []byte, c codec.Codec, args any) error {
	if s.kind == shapeRaw {
		return decodeRaw(data, args.(*Raw), '[')
	}
	if end, ok := s.ReadJSON(data, jsontext.SkipSpace(data, 0), c, args); ok && jsontext.SkipSpace(data, end) == len(data) {
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

// ReadJSON reads the array that begins at a place in data, which need not be valid, into args, which points to a zero value of the type, and
// returns the place behind it. What it reads it has checked. It does so for usual types and usual data: false says nothing of data, and
// then what args points to is unspecified.
func (s *Args) ReadJSON(data []byte, at int, c codec.Codec, args any) (end int, ok bool) {
	if f, ok := c.(codec.FieldCoder); ok && s.flat && s.err == nil {
		return f.ReadArray(data, at, args)
	}
	return at, false
}

func decodeElement(data []byte, c codec.Codec, v reflect.Value, null bool) error {
	if !null && data[0] == 'n' {
		return fmt.Errorf("%w of type %v", errNull, v.Type())
	}
	return unmarshal(c, data, v.Addr().Interface())
}

// fieldByIndex is reflect's, without its cost for the usual depth.
func fieldByIndex(v reflect.Value, index []int) reflect.Value {
	for _, i := range index {
		v = v.Field(i)
	}
	return v
}
