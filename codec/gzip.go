package codec

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
)

// Gzip returns a codec that compresses what inner writes. Its name is that of inner with "+gzip" after it. It
// implements [Transform] and [Appender]. Inner must not be nil.
//
// The bytes are one gzip member as in RFC 1952, of any writer, and nothing after it; what Seal writes has no name, no
// comment and no time in its header. What has more than [MaxSize] bytes when it is not compressed is refused both
// ways: data that would expand without end is given up at that size.
//
// Compression pays from a few hundred bytes on. Shorter JSON gets longer: the member alone takes 18 bytes, and like the
// bytes of any codec that is not named "json" they are carried as base64.
func Gzip(inner Codec) Codec {
	if inner == nil {
		panic("codec: Gzip of a nil Codec")
	}
	return &gzipCodec{inner: inner, name: inner.Name() + "+gzip"}
}

type gzipCodec struct {
	inner Codec
	name  string
}

func (c *gzipCodec) Name() string { return c.name }

func (c *gzipCodec) Inner() Codec { return c.inner }

func (c *gzipCodec) Marshal(v any) ([]byte, error) { return appendSealed(c, nil, v) }

func (c *gzipCodec) Append(dst []byte, v any) ([]byte, error) { return appendSealed(c, dst, v) }

func (c *gzipCodec) Unmarshal(data []byte, v any) error { return unmarshalSealed(c, data, v) }

type gzipWriter struct {
	sliceWriter
	zip *gzip.Writer
}

var gzipWriters = sync.Pool{New: func() any {
	w := new(gzipWriter)
	w.zip = gzip.NewWriter(&w.sliceWriter)
	return w
}}

func (c *gzipCodec) Seal(dst, plain []byte) ([]byte, error) {
	if len(plain) > MaxSize {
		return dst, &unsupportedError{fmt.Sprintf("codec: gzip: %d bytes to compress, want at most %d", len(plain), MaxSize), nil}
	}
	w := gzipWriters.Get().(*gzipWriter)
	defer gzipWriters.Put(w)
	w.dst = dst
	defer func() { w.dst = nil }()
	w.zip.Reset(&w.sliceWriter)
	if _, err := w.zip.Write(plain); err != nil {
		return dst, fmt.Errorf("codec: gzip: %w", err)
	}
	if err := w.zip.Close(); err != nil {
		return dst, fmt.Errorf("codec: gzip: %w", err)
	}
	return w.dst, nil
}

type gzipReader struct {
	src bytes.Reader
	zip gzip.Reader
}

var gzipReaders = sync.Pool{New: func() any { return new(gzipReader) }}

func (c *gzipCodec) Open(sealed []byte) ([]byte, error) {
	r := gzipReaders.Get().(*gzipReader)
	defer gzipReaders.Put(r)
	r.src.Reset(sealed)
	defer r.src.Reset(nil)
	if err := r.zip.Reset(&r.src); err != nil {
		return nil, gzipError(err)
	}
	r.zip.Multistream(false)
	plain := bytes.NewBuffer(make([]byte, 0, plainSize(sealed)))
	if _, err := plain.ReadFrom(io.LimitReader(&r.zip, MaxSize+1)); err != nil {
		return nil, gzipError(err)
	}
	if plain.Len() > MaxSize {
		return nil, fmt.Errorf("codec: gzip: it expands to more than %d bytes", MaxSize)
	}
	if n := r.src.Len(); n > 0 {
		return nil, fmt.Errorf("codec: gzip: %d bytes behind the end of the member", n)
	}
	return plain.Bytes(), nil
}

// plainSize is how large a buffer the content of sealed is given to begin with. The member tells its size at the end;
// the bound is what deflate can expand to.
func plainSize(sealed []byte) int {
	if len(sealed) < 4 {
		return 0
	}
	told := int64(binary.LittleEndian.Uint32(sealed[len(sealed)-4:]))
	return int(min(told, 1032*int64(len(sealed)), MaxSize)) + bytes.MinRead
}

func gzipError(err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("codec: gzip: %w", err)
}
