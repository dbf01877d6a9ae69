package codec

import (
	"encoding"
	"math"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"
	"unsafe"

	"github.com/omniq-go/omniq/internal/jsontext"
)

// maxPlanFields is how many fields a struct with a plan may have: a decoder compares a key with one after another.
const maxPlanFields = 16

// plan codes a struct of nothing but scalars: what keyword arguments most often are.
type plan struct {
	fields []planField
}

type planField struct {
	index  int
	offset uintptr      // in the struct: fields are read and written where they are, without reflection
	bit    uint         // one of its own
	kind   reflect.Kind // Bool, Int64, Uint64, Float64 or String, for the kinds of each size
	bits   int          // of a number
	omit   bool         // when it is zero
	name   string       // without characters that JSON escapes
	key    string       // the name in quotes, between a comma and a colon
}

// planFor returns nil unless t is a struct that a plan can code in each detail as a library does.
func planFor(t reflect.Type, info *typeInfo) *plan {
	if t.Kind() != reflect.Struct || info.err != nil || info.custom || info.dynamic || hasTextMethod(t) ||
		t == timeType || t.NumField() > maxPlanFields {
		return nil
	}
	p := &plan{}
	for i := range t.NumField() {
		f := t.Field(i)
		tag := f.Tag.Get("json")
		if f.Anonymous {
			return nil
		}
		if tag == "-" || !f.IsExported() {
			continue
		}
		field, ok := planOf(f, tag)
		if !ok {
			return nil
		}
		for _, other := range p.fields {
			if strings.EqualFold(other.name, field.name) {
				return nil
			}
		}
		field.index, field.offset, field.bit = i, f.Offset, 1<<len(p.fields)
		p.fields = append(p.fields, field)
	}
	return p
}

func planOf(f reflect.StructField, tag string) (field planField, ok bool) {
	name, options, _ := strings.Cut(tag, ",")
	field = planField{name: name}
	if name == "" {
		field.name = f.Name
	}
	for _, c := range field.name {
		if c >= utf8.RuneSelf || c != '_' && c != '-' && c != '.' && !isAlphanumeric(byte(c)) {
			return field, false
		}
	}
	field.key = `,"` + field.name + `":`
	switch options {
	case "":
	case "omitempty", "omitzero":
		field.omit = true
	default:
		return field, false
	}
	if _, ok := reflect.PointerTo(f.Type).MethodByName("IsZero"); ok || hasTextMethod(f.Type) {
		return field, false
	}
	switch f.Type.Kind() {
	case reflect.Bool, reflect.String:
		field.kind = f.Type.Kind()
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		field.kind, field.bits = reflect.Int64, f.Type.Bits()
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		field.kind, field.bits = reflect.Uint64, f.Type.Bits()
	case reflect.Float32, reflect.Float64:
		field.kind, field.bits = reflect.Float64, f.Type.Bits()
	default:
		return field, false
	}
	return field, true
}

func isAlphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

func hasTextMethod(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return p.Implements(reflect.TypeFor[encoding.TextMarshaler]()) || p.Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// append appends the struct that v is or points to.
func (p *plan) append(dst []byte, v reflect.Value) ([]byte, error) {
	if v.Kind() != reflect.Pointer {
		c := reflect.New(v.Type())
		c.Elem().Set(v)
		v = c
	}
	at := v.UnsafePointer()
	if at == nil {
		return append(dst, null...), nil
	}
	n := len(dst)
	out := dst
	for i := range p.fields {
		f := &p.fields[i]
		if f.omit && f.isZero(at) {
			continue
		}
		out = append(out, f.key...)
		var err error
		if out, err = f.append(out, at); err != nil {
			t := v.Type().Elem()
			return dst, encodeError(t, "."+t.Field(f.index).Name, err)
		}
	}
	if len(out) == n {
		return append(out, "{}"...), nil
	}
	if len(out)-n >= MaxSize {
		return dst, encodeError(v.Type().Elem(), "", errTooLarge)
	}
	out[n] = '{' // in the place of the first comma
	return append(out, '}'), nil
}

// append appends the field of the struct at a place.
func (f *planField) append(dst []byte, at unsafe.Pointer) ([]byte, error) {
	switch at = unsafe.Add(at, f.offset); f.kind {
	case reflect.String:
		return jsontext.AppendString(dst, *(*string)(at))
	case reflect.Int64:
		return strconv.AppendInt(dst, f.int(at), 10), nil
	case reflect.Uint64:
		return strconv.AppendUint(dst, f.uint(at), 10), nil
	case reflect.Bool:
		return strconv.AppendBool(dst, *(*bool)(at)), nil
	default:
		return appendFloat(dst, f.float(at), f.bits)
	}
}

// isZero is as reflect.Value.IsZero: a negative zero is none.
func (f *planField) isZero(at unsafe.Pointer) bool {
	switch at = unsafe.Add(at, f.offset); f.kind {
	case reflect.String:
		return *(*string)(at) == ""
	case reflect.Bool:
		return !*(*bool)(at)
	case reflect.Float64:
		return math.Float64bits(f.float(at)) == 0
	}
	return f.uint(at) == 0
}

// int is what stands in a field, which is where at points to.
func (f *planField) int(at unsafe.Pointer) int64 {
	switch f.bits {
	case 8:
		return int64(*(*int8)(at))
	case 16:
		return int64(*(*int16)(at))
	case 32:
		return int64(*(*int32)(at))
	}
	return *(*int64)(at)
}

func (f *planField) uint(at unsafe.Pointer) uint64 {
	switch f.bits {
	case 8:
		return uint64(*(*uint8)(at))
	case 16:
		return uint64(*(*uint16)(at))
	case 32:
		return uint64(*(*uint32)(at))
	}
	return *(*uint64)(at)
}

func (f *planField) float(at unsafe.Pointer) float64 {
	if f.bits == 32 {
		return float64(*(*float32)(at))
	}
	return *(*float64)(at)
}

// setUint also sets a signed field: in two's complement it has the same bits.
func (f *planField) setUint(at unsafe.Pointer, n uint64) {
	switch f.bits {
	case 8:
		*(*uint8)(at) = uint8(n)
	case 16:
		*(*uint16)(at) = uint16(n)
	case 32:
		*(*uint32)(at) = uint32(n)
	default:
		*(*uint64)(at) = n
	}
}

func (f *planField) setFloat(at unsafe.Pointer, n float64) {
	if f.bits == 32 {
		*(*float32)(at) = float32(n)
	} else {
		*(*float64)(at) = n
	}
}

// read reads the object that begins at i into the zero struct at a place, and returns the place behind it. It checks what it reads, and
// returns false for what it leaves to a library: keys that are not exactly those of a field, values that do not fit, whatever is not an
// object, and whatever is wrong; if strict, also a key that stands twice, and null.
func (p *plan) read(data []byte, i int, at unsafe.Pointer, strict bool) (end int, ok bool) {
	if i >= len(data) || data[i] != '{' {
		return i, false
	}
	if i = skipSpace(data, i+1); i < len(data) && data[i] == '}' {
		return i + 1, true
	}
	var seen uint // a bit for each field: there are at most maxPlanFields
	for next := 0; ; next++ {
		var f *planField
		if next < len(p.fields) {
			f = &p.fields[next]
		}
		if f != nil && len(data)-i >= len(f.key)-1 && string(data[i:i+len(f.key)-1]) == f.key[1:] {
			i += len(f.key) - 1 // the next field in compact form, which is what a codec writes
		} else if f, i = p.field(data, i); f == nil {
			return i, false
		}
		i = skipSpace(data, i)
		if i == len(data) || strict && (seen&f.bit != 0 || data[i] == 'n') {
			return i, false
		}
		seen |= f.bit
		if i, ok = f.read(at, data, i); !ok {
			return i, false
		}
		switch i = skipSpace(data, i); {
		case i == len(data):
			return i, false
		case data[i] == '}':
			return i + 1, true
		case data[i] != ',':
			return i, false
		}
		i = skipSpace(data, i+1)
	}
}

// field returns the field whose name, in quotes, stands at i, and the place behind the colon.
func (p *plan) field(data []byte, i int) (*planField, int) {
	if i == len(data) || data[i] != '"' {
		return nil, i
	}
	rest := data[i+1:]
	for j := range p.fields {
		f := &p.fields[j]
		if n := len(f.name); len(rest) > n && rest[n] == '"' && string(rest[:n]) == f.name {
			if i = skipSpace(data, i+n+2); i == len(data) || data[i] != ':' {
				return nil, i
			}
			return f, i + 1
		}
	}
	return nil, i
}

// readArray is read for an array of just as many elements as there are fields, in their order. None is null.
func (p *plan) readArray(data []byte, i int, at unsafe.Pointer) (end int, ok bool) {
	if i >= len(data) || data[i] != '[' {
		return i, false
	}
	if len(p.fields) == 0 {
		i = skipSpace(data, i+1)
		return i + 1, i < len(data) && data[i] == ']'
	}
	for n := range p.fields {
		f := &p.fields[n]
		i = skipSpace(data, i+1) // behind the bracket or a comma
		if i == len(data) || data[i] == 'n' {
			return i, false
		}
		if i, ok = f.read(at, data, i); !ok {
			return i, false
		}
		closing := byte(',')
		if n == len(p.fields)-1 {
			closing = ']'
		}
		if i = skipSpace(data, i); i == len(data) || data[i] != closing {
			return i, false
		}
	}
	return i + 1, true
}

// read gives the field of the struct at a place the scalar that begins at i and returns the place behind it. Null leaves the field as it is.
func (f *planField) read(at unsafe.Pointer, data []byte, i int) (end int, ok bool) {
	at = unsafe.Add(at, f.offset)
	if f.kind == reflect.String && data[i] == '"' {
		if text, end, ok := jsontext.PlainString(data, i); ok {
			*(*string)(at) = string(text)
			return end, true
		}
		end, _, err := jsontext.Skip(data, i, 0)
		if err != nil {
			return i, false
		}
		*(*string)(at) = jsontext.UnquoteValid(data[i:end])
		return end, true
	}
	for end = i; end < len(data) && data[end] != ',' && data[end] != '}' && data[end] != ']' && !isSpace(data[end]); {
		end++
	}
	token := data[i:end]
	if string(token) == null {
		return end, true
	}
	switch f.kind {
	case reflect.Int64:
		n, ok := parseInt(token, f.bits)
		if ok {
			f.setUint(at, uint64(n))
		}
		return end, ok
	case reflect.Uint64:
		n, ok := parseUint(token, f.bits)
		if ok {
			f.setUint(at, n)
		}
		return end, ok
	case reflect.Float64:
		n, ok := parseFloat(token, f.bits)
		if ok {
			f.setFloat(at, n)
		}
		return end, ok
	case reflect.Bool:
		b := string(token) == "true"
		if b || string(token) == "false" {
			*(*bool)(at) = b
			return end, true
		}
	}
	return end, false
}

func skipSpace(data []byte, i int) int {
	for i < len(data) && data[i] <= ' ' && isSpace(data[i]) {
		i++
	}
	return i
}
