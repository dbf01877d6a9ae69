package payload

import (
	"fmt"
	"reflect"

	"github.com/omniq-go/omniq/codec"
	"github.com/omniq-go/omniq/internal/jsontext"
)

// Append appends the JSON object or the opaque bytes of kwargs, which points to a value of the type.
func (s *Kwargs) Append(dst []byte, c codec.Codec, kwargs any) ([]byte, error) {
	if s.err != nil {
		return dst, s.err
	}
	var out []byte
	var err error
	if c.Name() == codec.NameJSON {
		out, err = s.appendJSON(dst, c, kwargs)
		if err == nil {
			err = checkDepth(out, len(dst))
		}
	} else {
		out, err = appendThrough(dst, c, kwargs, func(c codec.Codec) ([]byte, error) {
			return s.appendJSON(nil, c, kwargs)
		})
	}
	if err != nil {
		return dst, err
	}
	return out, nil
}

func (s *Kwargs) appendJSON(dst []byte, c codec.Codec, kwargs any) ([]byte, error) {
	if s.kind == shapeRaw {
		return appendRaw(dst, *kwargs.(*Raw), '{')
	}
	if s.kind == shapeStruct && len(s.keys) == 0 || s.kind == shapeMap && reflect.ValueOf(kwargs).Elem().Len() == 0 {
		return append(dst, "{}"...), nil
	}
	return codec.Append(c, dst, kwargs)
}

// Decode reads what Append wrote into kwargs, as [Args.Decode] does.
func (s *Kwargs) Decode(data []byte, c codec.Codec, kwargs any) error {
	if s.err != nil {
		return s.err
	}
	var err error
	if c.Name() == codec.NameJSON {
		err = s.decodeJSON(data, c, kwargs)
	} else {
		err = decodeThrough(data, c, kwargs, func(data []byte, c codec.Codec) error {
			return s.decodeJSON(data, c, kwargs)
		})
	}
	return err
}

func (s *Kwargs) decodeJSON(data []byte, c codec.Codec, kwargs any) error {
	if s.kind == shapeRaw {
		return decodeRaw(data, kwargs.(*Raw), '{')
	}
	if end, ok := s.ReadJSON(data, jsontext.SkipSpace(data, 0), c, kwargs); ok && jsontext.SkipSpace(data, end) == len(data) {
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

// ReadJSON is as [Args.ReadJSON], for an object.
func (s *Kwargs) ReadJSON(data []byte, at int, c codec.Codec, kwargs any) (end int, ok bool) {
	if f, ok := c.(codec.FieldCoder); ok && s.kind == shapeStruct && s.err == nil {
		return f.ReadObject(data, at, kwargs)
	}
	return at, false
}

// check reports what is wrong with an object of the shape, but for what its values hold, and counts its members.
func (s *Kwargs) check(data []byte) (n int, err error) {
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
