package codec

import "reflect"

// FieldCoder is what a codec named "json" implements that can code the fields of a struct in one go. Its methods give
// what the other ways give, for the types that they can do; where they cannot, ok is false, nothing has been done to dst,
// and what v points to is unspecified. The data is known to be one JSON document that [Valid] accepts.
type FieldCoder interface {
	// AppendArray appends the fields of the struct that v points to as an array, in the order of their declaration.
	AppendArray(dst []byte, v any) (out []byte, ok bool, err error)

	// UnmarshalArray decodes an array of just as many elements as the struct that v points to has fields.
	UnmarshalArray(data []byte, v any) (ok bool)

	// UnmarshalObject decodes an object into the struct that v points to. Each key is exactly that of a field and stands
	// there once, and no value is null.
	UnmarshalObject(data []byte, v any) (ok bool)
}

// AppendArray writes a struct as an array of its fields: see [FieldCoder].
func (goJSON) AppendArray(dst []byte, v any) (out []byte, ok bool, err error) {
	rv := reflect.ValueOf(v)
	info := encodeInfo(rv.Type())
	if info.plan == nil {
		return dst, false, nil
	}
	rv = rv.Elem()
	out = append(dst, '[')
	for i := range info.plan.fields {
		if i > 0 {
			out = append(out, ',')
		}
		f := &info.plan.fields[i]
		if out, err = f.append(out, rv.Field(f.index)); err != nil {
			return dst, true, encodeError(rv.Type(), "."+rv.Type().Field(f.index).Name, err)
		}
	}
	return append(out, ']'), true, nil
}

// UnmarshalArray reads an array into the fields of a struct: see [FieldCoder].
func (goJSON) UnmarshalArray(data []byte, v any) bool {
	rv := reflect.ValueOf(v).Elem()
	p := decodeInfo(rv.Type()).plan
	i := skipSpace(data, 0)
	if p == nil || len(p.fields) == 0 || data[i] != '[' {
		return false
	}
	for n := range p.fields {
		f := &p.fields[n]
		i = skipSpace(data, i+1) // behind the bracket or a comma
		if data[i] == 'n' || data[i] == ']' {
			return false
		}
		end, ok := f.set(rv, data, i)
		if !ok {
			return false
		}
		i = skipSpace(data, end)
		if last := n == len(p.fields)-1; last != (data[i] == ']') {
			return false
		}
	}
	return true
}

// UnmarshalObject reads an object into the fields of a struct: see [FieldCoder].
func (goJSON) UnmarshalObject(data []byte, v any) bool {
	rv := reflect.ValueOf(v).Elem()
	p := decodeInfo(rv.Type()).plan
	return p != nil && p.decode(data, rv, true)
}

var _ FieldCoder = goJSON{}
