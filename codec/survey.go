package codec

import (
	"encoding"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/omniq-go/omniq/internal/jsontext"
)

// survey looks at the parts of a value whose types only show in the value: what interfaces hold.
type survey struct {
	custom bool // one of them has a method that makes JSON text
	deep   bool // the whole may have more than MaxDepth levels
}

// maxHops bounds how many pointers, interfaces and levels lead to a part of a value. Beyond it the value is taken to
// contain itself.
const maxHops = 8 * MaxDepth

var errTooDeep = fmt.Errorf("it has more than %d levels of arrays and objects, or contains itself", MaxDepth)

var anyMapType = reflect.TypeFor[map[string]any]()

// part looks at v, which is behind so many levels and hops. It returns the place of what is wrong in v.
func (s *survey) part(v reflect.Value, level, hops int) (place string, err error) {
	info := encodeInfo(v.Type())
	if info.err != nil {
		return "", info.err
	}
	s.custom = s.custom || info.custom
	s.deep = s.deep || level+info.depth > MaxDepth
	if !info.dynamic {
		return "", nil
	}
	if hops > maxHops {
		return "", errTooDeep
	}
	switch v.Kind() {
	case reflect.Interface:
		switch {
		case v.IsNil():
		case v.CanInterface():
			return s.any(v.Interface(), level, hops+1)
		default:
			return s.part(v.Elem(), level, hops+1)
		}
	case reflect.Pointer:
		if !v.IsNil() {
			return s.part(v.Elem(), level, hops+1)
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if place, err := s.part(v.Index(i), level+1, hops+1); err != nil {
				return "[" + strconv.Itoa(i) + "]" + place, err
			}
		}
	case reflect.Map:
		if v.Type() == anyMapType && v.CanInterface() {
			return s.any(v.Interface(), level, hops)
		}
		for it := v.MapRange(); it.Next(); {
			if place, err := s.part(it.Value(), level+1, hops+1); err != nil {
				return keyPlace(it.Key()) + place, err
			}
		}
	case reflect.Struct:
		for _, f := range info.dynamicFields {
			if place, err := s.part(v.Field(f.index), level+1, hops+1); err != nil {
				return "." + f.name + place, err
			}
		}
	}
	return "", nil
}

// any is part for what an interface holds. It knows the common types.
func (s *survey) any(v any, level, hops int) (place string, err error) {
	switch v := v.(type) {
	case nil, string, bool, float64, int, int64, float32, uint, int8, int16, int32, uint8, uint16, uint32, uint64:
		return "", nil
	case map[string]any:
		s.deep = s.deep || level >= MaxDepth
		if hops > maxHops {
			return "", errTooDeep
		}
		for k, e := range v {
			if place, err := s.any(e, level+1, hops+1); err != nil {
				return "[" + strconv.Quote(k) + "]" + place, err
			}
		}
		return "", nil
	case []any:
		s.deep = s.deep || level >= MaxDepth
		if hops > maxHops {
			return "", errTooDeep
		}
		for i, e := range v {
			if place, err := s.any(e, level+1, hops+1); err != nil {
				return "[" + strconv.Itoa(i) + "]" + place, err
			}
		}
		return "", nil
	}
	return s.part(reflect.ValueOf(v), level, hops)
}

func encodesWhole(t reflect.Type) bool {
	leaf, _ := encodesItself(t)
	return leaf && t.Kind() != reflect.Interface
}

// findProblem looks for a part of v that JSON cannot hold, for the sake of a good error. It returns its place, and a
// nil error if it finds none.
func findProblem(v reflect.Value) (place string, problem error) { return problemIn(v, 0) }

func problemIn(v reflect.Value, hops int) (place string, problem error) {
	if hops > maxHops {
		return "", errTooDeep
	}
	if encodesWhole(v.Type()) {
		return "", problemOfText(v)
	}
	switch v.Kind() {
	case reflect.String:
		return "", problemOfString(v.String())
	case reflect.Float32, reflect.Float64:
		if f := v.Float(); math.IsNaN(f) || math.IsInf(f, 0) {
			return "", fmt.Errorf("JSON has no number for %v", f)
		}
	case reflect.Chan, reflect.Func, reflect.Complex64, reflect.Complex128, reflect.UnsafePointer:
		return "", fmt.Errorf("type %s has no form in JSON", v.Type())
	case reflect.Interface, reflect.Pointer:
		if !v.IsNil() {
			return problemIn(v.Elem(), hops+1)
		}
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return "", nil
		}
		for i := range v.Len() {
			if place, problem := problemIn(v.Index(i), hops+1); problem != nil {
				return "[" + strconv.Itoa(i) + "]" + place, problem
			}
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			if _, problem := problemIn(it.Key(), hops+1); problem != nil {
				return keyPlace(it.Key()), fmt.Errorf("key: %w", problem)
			}
			if place, problem := problemIn(it.Value(), hops+1); problem != nil {
				return keyPlace(it.Key()) + place, problem
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if !isEncoded(f) || v.Field(i).IsZero() && strings.Contains(f.Tag.Get("json"), ",omitzero") {
				continue
			}
			if place, problem := problemIn(v.Field(i), hops+1); problem != nil {
				return "." + f.Name + place, problem
			}
		}
	}
	return "", nil
}

func problemOfString(s string) error {
	for i, r := range s {
		if r == utf8.RuneError {
			if _, size := utf8.DecodeRuneInString(s[i:]); size == 1 {
				return fmt.Errorf("invalid UTF-8 at byte %d of %.40q", i, s)
			}
		}
	}
	return nil
}

// problemOfText is for values that are encoded by a method of theirs, which is called once more.
func problemOfText(v reflect.Value) (problem error) {
	if !v.CanInterface() || v.Kind() == reflect.Pointer && v.IsNil() {
		return nil
	}
	defer func() {
		if recover() != nil {
			problem = nil
		}
	}()
	switch m := v.Interface().(type) {
	case json.Number:
		if m != "" && jsontext.Valid([]byte(m), MaxDepth) != nil {
			return fmt.Errorf("json.Number %.40q is not a number that fits in a float64", string(m))
		}
	case json.Marshaler:
		text, err := m.MarshalJSON()
		if err != nil {
			return fmt.Errorf("MarshalJSON of %s: %w", v.Type(), err)
		}
		if err := jsontext.Valid(text, MaxDepth); err != nil {
			return fmt.Errorf("the text that MarshalJSON of %s returns: %w", v.Type(), err)
		}
	case encoding.TextMarshaler:
		text, err := m.MarshalText()
		if err != nil {
			return fmt.Errorf("MarshalText of %s: %w", v.Type(), err)
		}
		if err := problemOfString(string(text)); err != nil {
			return fmt.Errorf("MarshalText of %s: %w", v.Type(), err)
		}
	}
	return nil
}

// keyPlace is the place of a value in a map. Keys that are not simple are shown in Go's syntax.
func keyPlace(key reflect.Value) string {
	if key.Kind() == reflect.String {
		return "[" + strconv.Quote(key.String()) + "]"
	}
	return fmt.Sprintf("[%v]", key)
}
