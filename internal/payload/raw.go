package payload

import (
	"fmt"

	"github.com/omniq-go/omniq/codec"
	"github.com/omniq-go/omniq/internal/jsontext"
)

// appendRaw appends raw in its compact form, which must begin with open unless that is 0.
func appendRaw(dst []byte, raw Raw, open byte) ([]byte, error) {
	if len(raw) == 0 {
		switch open {
		case '[':
			return append(dst, "[]"...), nil
		case '{':
			return append(dst, "{}"...), nil
		}
		return append(dst, "null"...), nil
	}
	if first := raw[jsontext.SkipSpace(raw, 0):]; open != 0 && len(first) > 0 && first[0] != open {
		return dst, fmt.Errorf("raw JSON is %s, want %s", jsontext.Kind(first[0]), jsontext.Kind(open))
	}
	return jsontext.AppendCanonical(dst, raw, codec.MaxDepth)
}

// decodeRaw puts the compact form of data, in memory of its own, into raw.
func decodeRaw(data []byte, raw *Raw, open byte) (err error) {
	*raw, err = appendRaw(make(Raw, 0, len(data)), data, open)
	return err
}
