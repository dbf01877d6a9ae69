package codec

import "reflect"

// FieldCoder is what a codec named "json" implements that can code the fields of a struct in one go. Its methods give
// what the other ways give, for the types that they can do; where they cannot, ok is false, nothing has been done to dst,
// and what v points to is unspecified.
type FieldCoder interface {
	// AppendArray appends the fields of the struct that v points to as an array, in the order of their declaration.
	AppendArray(dst []byte, v any) (out []byte, ok bool, err error)

	// ReadArray reads the array that begins at a place in data, which has just as many elements as the struct that v points to, which is
	// zero, has fields. It returns the place behind the array. What it reads it has checked as [Valid] does; of the rest of data it
	// says nothing.
	ReadArray(data []byte, at int, v any) (end int, ok bool)

	// ReadObject is ReadArray for an object. Each key is exactly that of a field and stands there once, and no value is null.
	ReadObject(data []byte, at int, v any) (end int, ok bool)
}

// AppendArray writes a struct as an array of its fields: see [FieldCoder].
func (goJSON) AppendArray(dst []byte, v any) (out []byte, ok bool, err error) {
	rv := reflect.ValueOf(v)
	info := encodeInfo(rv.Type())
	if info.plan == nil {
		return dst, false, nil
	}
	at := rv.UnsafePointer()
	out = append(dst, '[')
	for i := range info.plan.fields {
		if i > 0 {
			out = append(out, ',')
		}
		f := &info.plan.fields[i]
		if out, err = f.append(out, at); err != nil {
			t := rv.Type().Elem()
			return dst, true, encodeError(t, "."+t.Field(f.index).Name, err)
		}
	}
	return append(out, ']'), true, nil
}

// ReadArray reads an array into the fields of a struct: see [FieldCoder].
func (goJSON) ReadArray(data []byte, at int, v any) (end int, ok bool) {
	rv := reflect.ValueOf(v)
	p := decodeInfo(rv.Type().Elem()).plan
	if p == nil {
		return at, false
	}
	return p.readArray(data, at, rv.UnsafePointer())
}

// ReadObject reads an object into the fields of a struct: see [FieldCoder].
func (goJSON) ReadObject(data []byte, at int, v any) (end int, ok bool) {
	rv := reflect.ValueOf(v)
	p := decodeInfo(rv.Type().Elem()).plan
	if p == nil {
		return at, false
	}
	return p.read(data, at, rv.UnsafePointer(), true)
}

var _ FieldCoder = goJSON{}
