package omniq

import (
	"errors"
	"fmt"
	"strings"

	"github.com/omniq-go/omniq/codec"
	"github.com/omniq-go/omniq/internal/payload"
)

// wireName is what an envelope's codec key says of c: nothing for JSON.
func wireName(c codec.Codec) string {
	if name := c.Name(); name != codec.NameJSON {
		return name
	}
	return ""
}

// unknownCodecError says that a payload is of a codec that nobody has given the client or the worker.
type unknownCodecError struct {
	name  string
	known []string
}

// ErrorType makes it an error of decoding in a [TaskError].
func (e *unknownCodecError) ErrorType() string { return typeDecode }

func (e *unknownCodecError) Error() string {
	return fmt.Sprintf("the payload is of codec %q, which is not known here, only %s: add it with Codecs",
		e.name, strings.Join(e.known, ", "))
}

// codecFor finds the codec of an envelope that names one.
func codecFor(name string, codecs []codec.Codec) (codec.Codec, error) {
	if name == "" {
		name = codec.NameJSON
	}
	for _, c := range codecs {
		if c.Name() == name {
			return c, nil
		}
	}
	if name == codec.NameJSON {
		return codec.JSON, nil
	}
	known := []string{codec.NameJSON}
	for _, c := range codecs {
		if c.Name() != codec.NameJSON {
			known = append(known, c.Name())
		}
	}
	return nil, &unknownCodecError{name, known}
}

// payloadError says which part of a task or a result could not be encoded or decoded. errors.Is finds ErrInvalid in it.
type payloadError struct {
	part string // args, kwargs or result_data
	err  error
}

func (e *payloadError) Error() string   { return "omniq: " + e.part + ": " + e.err.Error() }
func (e *payloadError) Unwrap() []error { return []error{ErrInvalid, e.err} }

// payloadFault says which part an error of package payload is about. A type that cannot be a part at all says so itself.
func payloadFault(part string, err error) error {
	if err == nil {
		return nil
	}
	if t, ok := errors.AsType[*payload.TypeError](err); ok {
		return invalid("%w", t)
	}
	return &payloadError{part, err}
}
