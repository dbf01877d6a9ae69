package codec

import (
	"encoding/json"
	"sync"
)

// StdJSON does what [JSON] does, by encoding/json. It writes the same bytes, accepts and refuses the same documents
// and the same types, and takes longer. The texts of errors differ.
var StdJSON Codec = stdJSON{}

type stdJSON struct{}

func (stdJSON) Name() string { return NameJSON }

func (stdJSON) Marshal(v any) ([]byte, error) { return appendJSON(nil, v, stdLibrary{}) }

func (stdJSON) Append(dst []byte, v any) ([]byte, error) { return appendJSON(dst, v, stdLibrary{}) }

func (stdJSON) Unmarshal(data []byte, v any) error {
	if err := Valid(data); err != nil {
		return err
	}
	return decodeJSON(data, v, stdLibrary{})
}

func (stdJSON) UnmarshalValid(data []byte, v any) error { return decodeJSON(data, v, stdLibrary{}) }

// stdLibrary is encoding/json.
type stdLibrary struct{}

type stdEncoder struct {
	sliceWriter
	enc *json.Encoder
}

var stdEncoders = sync.Pool{New: func() any {
	e := new(stdEncoder)
	e.enc = json.NewEncoder(&e.sliceWriter)
	e.enc.SetEscapeHTML(false)
	return e
}}

func (stdLibrary) encode(dst []byte, v any) ([]byte, error) {
	e := stdEncoders.Get().(*stdEncoder)
	e.dst = dst
	if err := e.enc.Encode(v); err != nil {
		return dst, err
	}
	out := e.dst
	e.dst = nil
	stdEncoders.Put(e)
	return out[:len(out)-1], nil
}

func (stdLibrary) decode(data []byte, v any) error { return json.Unmarshal(data, v) }

func (stdLibrary) lossy() bool { return true }

func (stdLibrary) plans() bool { return false }
