package payload

import (
	"fmt"
	"reflect"

	"github.com/omniq-go/omniq/codec"
	"github.com/omniq-go/omniq/internal/jsontext"
)

// AppendResult appends the JSON document or the opaque bytes of a result, which data points to.
func AppendResult(dst []byte, c codec.Codec, data any) ([]byte, error) {
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
		return dst, err
	}
	return out, nil
}

func appendResultJSON(dst []byte, c codec.Codec, data any) ([]byte, error) {
	if raw, ok := data.(*Raw); ok {
		return appendRaw(dst, *raw, 0)
	}
	return codec.Append(c, dst, data)
}

// DecodeResult is the reverse of [AppendResult]. A null that is not the result of a success leaves the zero value.
func DecodeResult(data []byte, valid bool, c codec.Codec, result any, success bool) error {
	var err error
	if c.Name() == codec.NameJSON {
		err = decodeResultJSON(data, valid, c, result, success)
	} else {
		err = decodeThrough(data, c, result, func(data []byte, c codec.Codec) error {
			return decodeResultJSON(data, false, c, result, success)
		})
	}
	return err
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
