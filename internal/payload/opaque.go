package payload

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/omniq-go/omniq/internal/jsontext"
)

// The opaque form: args is ["<base64>","<base64>"], kwargs is {}, and result_data is "<base64>".

// AppendBase64 appends the bytes of a codec as JSON text.
func AppendBase64(dst, data []byte) []byte {
	dst = append(dst, '"')
	dst = base64.StdEncoding.AppendEncode(dst, data)
	return append(dst, '"')
}

// DecodeBase64 is the reverse of [AppendBase64].
func DecodeBase64(lit []byte) ([]byte, error) {
	s, err := jsontext.Unquote(lit)
	if err != nil {
		return nil, err
	}
	return base64.StdEncoding.Strict().DecodeString(s)
}

// OpenOpaque takes the args and kwargs of an opaque payload apart.
func OpenOpaque(args, kwargs Raw) (a, k []byte, err error) {
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
			if parts[n], err = DecodeBase64(args[array.Start:array.End]); err != nil {
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
