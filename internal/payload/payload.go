package payload

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/omniq-go/omniq/codec"
	"github.com/omniq-go/omniq/internal/jsontext"
)

// MaxDepth is how many arrays and objects may stand inside each other in a payload: the envelope is one more.
const MaxDepth = codec.MaxDepth - 1

var errNull = errors.New("null, want a value")

// checkDepth refuses JSON text from a place on that is too deep for an envelope. It is known to be valid otherwise.
func checkDepth(text []byte, from int) error {
	if len(text)-from <= 2*MaxDepth {
		return nil
	}
	text = text[from:]
	if bytes.Count(text, []byte("["))+bytes.Count(text, []byte("{")) <= MaxDepth {
		return nil
	}
	return jsontext.Valid(text, MaxDepth)
}

// unmarshal decodes a JSON text that has been checked.
func unmarshal(c codec.Codec, data []byte, v any) error {
	if u, ok := c.(codec.ValidUnmarshaler); ok {
		return u.UnmarshalValid(data, v)
	}
	return c.Unmarshal(data, v)
}

// SizeError says that something has n bytes.
func SizeError(n int) error {
	return fmt.Errorf("%d bytes, want at most %d", n, codec.MaxSize)
}
