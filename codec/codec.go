// Package codec turns arguments, keyword arguments and results into bytes and back.
//
// [JSON] is the default: JSON text, encoded and decoded by goccy/go-json, with stricter rules than either that
// library or encoding/json applies. [StdJSON] does the same on encoding/json. [Gzip] and [AESGCM] change the bytes
// of another codec. A codec of your own implements [Codec], and package codectest tells whether it is a good one.
//
// # How a codec's bytes are carried
//
// A codec whose Name is "json" writes JSON text, which stands in a task or a result as it is; any such codec can
// take the place of another, because readers cannot tell them apart. It is given one positional argument at a time.
// The bytes of any other codec are opaque: the name is carried beside them, and they travel as base64 text. Such a
// codec is given the whole argument value, but for a [Transform], whose inner codec decides.
//
// Reading goes by the name that was written, so programs that write different formats can share a queue, as long as
// each reader has been given the codecs of all of them.
package codec

import (
	"errors"
	"fmt"
)

// NameJSON is the Name of each codec that writes JSON text.
const NameJSON = "json"

const (
	// MaxSize is the size in bytes of the largest JSON document that is read or written: 16 MiB.
	MaxSize = 16 << 20
	// MaxDepth is how many arrays and objects may stand inside each other in a JSON document that is read or written.
	MaxDepth = 512
)

// Codec encodes and decodes the values that tasks carry. A Codec must be safe for concurrent use.
//
// Implementations may also have the methods of [Appender], [ValidUnmarshaler] or [Transform]; each is optional.
type Codec interface {
	// Name is what the format is called on the wire: 1 to 64 characters from a-z, 0-9 and "+-._". It is constant,
	// and it names the format, not the library: all codecs that write JSON text are called "json".
	Name() string

	// Marshal returns the encoded form of v, which is a value or a pointer to one and is not changed. The caller owns
	// what is returned. A value that the format cannot hold is an error that names its type or its place.
	Marshal(v any) ([]byte, error)

	// Unmarshal decodes data, the whole of it, into the value that v points to, and overwrites what was there. It
	// neither changes data nor keeps it. When it fails, what v points to is unspecified.
	Unmarshal(data []byte, v any) error
}

// Appender is what a codec implements that can encode without a buffer of its own.
type Appender interface {
	// Append does what Marshal does, and appends the encoded form to dst. On an error it returns dst at its old length.
	Append(dst []byte, v any) ([]byte, error)
}

// ValidUnmarshaler is what a codec named "json" implements that can skip its validation.
type ValidUnmarshaler interface {
	// UnmarshalValid does what Unmarshal does with data that is known to be one JSON document that [Valid] accepts.
	UnmarshalValid(data []byte, v any) error
}

// Transform is what a codec implements that changes the bytes of another one: it compresses or encrypts them, say.
// Marshal(v) must give what Seal gives for Inner().Marshal(v), and Unmarshal the reverse, but for what is random in
// it. Its name must differ from that of the inner codec. Because of it, positional arguments are an array inside as
// well, whatever is put around the JSON codec.
type Transform interface {
	Codec

	// Inner is the codec whose bytes are changed.
	Inner() Codec

	// Seal appends the changed form of plain to dst, which must not overlap plain. It neither changes plain nor keeps
	// it. On an error it returns dst at its old length.
	Seal(dst, plain []byte) ([]byte, error)

	// Open returns what Seal was given. Anything else than one whole output of Seal or of another program
	// that writes the same format, is an error. It neither changes sealed nor keeps it; the caller owns what is returned.
	Open(sealed []byte) ([]byte, error)
}

// ErrUnsupported is what errors.Is finds in an error of Marshal or Unmarshal about a type or a value that the codec
// cannot hold, whatever the data: a function, NaN in JSON, a value that is too large. The mistake is in the program.
// An error of a value's own method is not one of these.
var ErrUnsupported = errors.New("unsupported")

// Append appends c's encoded form of v to dst, through [Appender] where c implements it. On an error it returns dst
// at its old length.
func Append(c Codec, dst []byte, v any) ([]byte, error) {
	if a, ok := c.(Appender); ok {
		return a.Append(dst, v)
	}
	b, err := c.Marshal(v)
	if err != nil {
		return dst, err
	}
	return append(dst, b...), nil
}

// CheckName reports what is wrong with the name of a codec, nil if nothing is.
func CheckName(name string) error {
	if name == "" || len(name) > 64 {
		return fmt.Errorf("codec: name %.80q has %d bytes, want 1 to 64", name, len(name))
	}
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '+', c == '-', c == '.', c == '_':
		default:
			return fmt.Errorf("codec: name %q has %q at byte %d, want a-z, 0-9 or one of \"+-._\"", name, c, i)
		}
	}
	return nil
}
