package codec_test

import (
	"bytes"
	"encoding/gob"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/omniq-go/omniq/codec"
	"github.com/omniq-go/omniq/codec/codectest"
)

// Gob is a codec of a program's own.
type Gob struct{}

func (Gob) Name() string { return "gob" }

func (Gob) Marshal(v any) (data []byte, err error) {
	defer func() {
		if r := recover(); r != nil { // gob panics on nil pointers
			data, err = nil, fmt.Errorf("gob: %v: %w", r, codec.ErrUnsupported)
		}
	}()
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(v); err != nil {
		return nil, fmt.Errorf("%w: %w", codec.ErrUnsupported, err)
	}
	return b.Bytes(), nil
}

func (Gob) Unmarshal(data []byte, v any) error {
	rv := reflect.ValueOf(v)
	if rv.Kind() != reflect.Pointer || rv.IsNil() {
		return fmt.Errorf("gob: cannot decode into %T: %w", v, codec.ErrUnsupported)
	}
	rv.Elem().SetZero() // gob leaves alone what it has no value for
	r := bytes.NewReader(data)
	if err := gob.NewDecoder(r).DecodeValue(rv); err != nil {
		return err
	}
	if r.Len() > 0 {
		return errors.New("gob: bytes behind the value")
	}
	return nil
}

func TestGob(t *testing.T) { codectest.Run(t, Gob{}) }

type Invoice struct {
	Number int      `json:"number"`
	Lines  []string `json:"lines"`
}

// A codec of your own is a type with three methods. Package codectest tells whether it keeps the contract:
//
//	func TestGob(t *testing.T) { codectest.Run(t, Gob{}) }
func ExampleCodec() {
	var c codec.Codec = Gob{}
	data, err := c.Marshal(Invoice{7, []string{"one", "two"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	var got Invoice
	if err := c.Unmarshal(data, &got); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(c.Name(), got)

	_, err = c.Marshal(func() {})
	fmt.Println(errors.Is(err, codec.ErrUnsupported))
	// Output:
	// gob {7 [one two]}
	// true
}

func ExampleJSON() {
	data, err := codec.JSON.Marshal(Invoice{7, []string{"a < b", "naïve"}})
	fmt.Println(string(data), err)

	_, err = codec.JSON.Marshal(Invoice{7, []string{"fine", "caf\xe9"}})
	fmt.Println(err)

	var got Invoice
	fmt.Println(codec.JSON.Unmarshal([]byte(`{"number":"7"}`), &got))
	fmt.Println(codec.JSON.Unmarshal([]byte(`{"number":7} {}`), &got))
	// Output:
	// {"number":7,"lines":["a < b","naïve"]} <nil>
	// codec: json: cannot encode codec_test.Invoice: .Lines[1]: invalid UTF-8 at byte 3 of "caf\xe9"
	// codec: json: cannot decode codec_test.Invoice: .number: string does not fit a value of type int
	// codec: json: '{' stands behind the document at byte 13
}

func ExampleGzip() {
	c := codec.Gzip(codec.JSON)
	report := strings.Repeat("the same line again\n", 1000)
	data, err := c.Marshal(report)
	if err != nil {
		fmt.Println(err)
		return
	}
	var got string
	if err := c.Unmarshal(data, &got); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(c.Name(), got == report, len(data) < len(report)/50)
	// Output: json+gzip true true
}

func ExampleAESGCM() {
	// Secrets come from where the program keeps its secrets. They are 16, 24 or 32 random bytes.
	old := codec.Key{ID: "2026-10", Secret: []byte("an example of no secret 12345678")}
	next := codec.Key{ID: "2026-11", Secret: []byte("another example of none 12345678")}

	before, _ := codec.AESGCM(codec.JSON, old)
	during, _ := codec.AESGCM(codec.JSON, next, old) // writes with the next key, reads both
	after, _ := codec.AESGCM(codec.JSON, next)

	data, _ := before.Marshal("written before the rotation")
	var got string
	fmt.Println(during.Unmarshal(data, &got), got)

	err := after.Unmarshal(data, &got)
	fmt.Println(err, errors.Is(err, codec.ErrUnknownKey))

	data[len(data)-1] ^= 1
	err = during.Unmarshal(data, &got)
	fmt.Println(err, errors.Is(err, codec.ErrDecrypt))
	// Output:
	// <nil> written before the rotation
	// codec: aesgcm: unknown key: encrypted with key "2026-10", known are "2026-11" true
	// codec: aesgcm: cannot decrypt with key "2026-10": 57 bytes are not authentic true
}
