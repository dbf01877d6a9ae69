package payload

import (
	"github.com/omniq-go/omniq/codec"
)

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
		return SizeError(len(plain))
	}
	return decodeThrough(plain, t.Inner(), v, unmarshalJSON)
}
