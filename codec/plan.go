package codec

import (
	"encoding"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/omniq-go/omniq/internal/jsontext"
)

// maxPlanFields is how many fields a struct with a plan may have: a decoder compares a key with one after another.
const maxPlanFields = 16

// plan codes a struct of nothing but scalars: what keyword arguments most often are.
type plan struct {
	fields []planField
}

type planField struct {
	index int
	bit   uint         // one of its own
	kind  reflect.Kind // Bool, Int64, Uint64, Float64 or String, for the kinds of each size
	bits  int
	omit  bool   // when it is zero
	name  string // without characters that JSON escapes
	key   string // the name in quotes, between a comma and a colon
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
		field.index, field.bit = i, 1<<len(p.fields)
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
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return append(dst, null...), nil
		}
		v = v.Elem()
	}
	n := len(dst)
	out := dst
	for i := range p.fields {
		f := &p.fields[i]
		fv := v.Field(f.index)
		if f.omit && fv.IsZero() {
			continue
		}
		out = append(out, f.key...)
		var err error
		if out, err = f.append(out, fv); err != nil {
			return dst, encodeError(v.Type(), "."+v.Type().Field(f.index).Name, err)
		}
	}
	if len(out) == n {
		return append(out, "{}"...), nil
	}
	if len(out)-n >= MaxSize {
		return dst, encodeError(v.Type(), "", errTooLarge)
	}
	out[n] = '{' // in the place of the first comma
	return append(out, '}'), nil
}

// append appends the scalar v.
func (f *planField) append(dst []byte, v reflect.Value) ([]byte, error) {
	switch f.kind {
	case reflect.String:
		return jsontext.AppendString(dst, v.String())
	case reflect.Int64:
		return strconv.AppendInt(dst, v.Int(), 10), nil
	case reflect.Uint64:
		return strconv.AppendUint(dst, v.Uint(), 10), nil
	case reflect.Bool:
		return strconv.AppendBool(dst, v.Bool()), nil
	default:
		return appendFloat(dst, v.Float(), f.bits)
	}
}

// decode decodes valid data into the zero struct v. It returns false for what it leaves to a library: keys that are
// not exactly those of a field, values that do not fit, and whatever is not an object; if strict, also a key that stands
// twice, and null.
func (p *plan) decode(data []byte, v reflect.Value, strict bool) bool {
	i := skipSpace(data, 0)
	if i == len(data) || data[i] != '{' {
		return false
	}
	if i = skipSpace(data, i+1); i < len(data) && data[i] == '}' {
		return skipSpace(data, i+1) == len(data)
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
			return false
		}
		i = skipSpace(data, i)
		if strict && (seen&f.bit != 0 || data[i] == 'n') {
			return false
		}
		seen |= f.bit
		end, ok := f.set(v, data, i)
		if !ok {
			return false
		}
		if i = skipSpace(data, end); i == len(data) {
			return false
		}
		if data[i] == '}' {
			return skipSpace(data, i+1) == len(data)
		}
		i = skipSpace(data, i+1) // behind a comma
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

// set gives the field of v the scalar that begins at i and returns the place behind it. Null leaves the field as it is.
func (f *planField) set(v reflect.Value, data []byte, i int) (end int, ok bool) {
	if f.kind == reflect.String && i < len(data) && data[i] == '"' {
		end = i + 1
		for end < len(data) && data[end] != '"' && data[end] != '\\' {
			end++
		}
		if end < len(data) && data[end] == '"' {
			v.Field(f.index).SetString(string(data[i+1 : end]))
			return end + 1, true
		}
		for ; end < len(data) && data[end] != '"'; end++ {
			if data[end] == '\\' {
				end++
			}
		}
		if end >= len(data) {
			return end, false
		}
		s, err := jsontext.Unquote(data[i : end+1])
		if err != nil {
			return end, false
		}
		v.Field(f.index).SetString(s)
		return end + 1, true
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
			v.Field(f.index).SetInt(n)
		}
		return end, ok
	case reflect.Uint64:
		n, ok := parseUint(token, f.bits)
		if ok {
			v.Field(f.index).SetUint(n)
		}
		return end, ok
	case reflect.Float64:
		n, ok := parseFloat(token, f.bits)
		if ok {
			v.Field(f.index).SetFloat(n)
		}
		return end, ok
	case reflect.Bool:
		b := string(token) == "true"
		if b || string(token) == "false" {
			v.Field(f.index).SetBool(b)
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
