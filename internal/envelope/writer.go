// Package envelope writes and reads the JSON objects around payloads. It does so by hand: their small fields have forms that
// a struct coder reaches only through method calls, and those cost more than all the rest.
package envelope

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq/codec"
	"github.com/omniq-go/omniq/internal/iso8601"
	"github.com/omniq-go/omniq/internal/jsontext"
	"github.com/omniq-go/omniq/internal/payload"
)

// Writer appends an envelope to Buf. It keeps the first error. A key is given as the text that stands before the value, with
// what begins or divides the object, as in `,"ttl":`. The methods are inlined as far as they write the key: a key whose
// length is known is copied in few instructions.
type Writer struct {
	Buf []byte
	err error
}

// Lit appends text as it is.
func (w *Writer) Lit(s string) { w.Buf = append(w.Buf, s...) }

// Fail says what is wrong with the value of a key.
func (w *Writer) Fail(key string, err error) {
	if w.err == nil {
		w.err = fmt.Errorf("omniq: %s: %w", strings.ReplaceAll(strings.Trim(key, `{,":`), `":{"`, "."), err)
	}
}

// ID appends a key and an ID.
func (w *Writer) ID(key string, id *uuid.UUID) {
	w.Lit(key)
	w.id(id)
}

func (w *Writer) id(id *uuid.UUID) {
	const form = `"00000000-0000-0000-0000-000000000000"`
	w.Lit(form)
	text := (*[len(form)]byte)(w.Buf[len(w.Buf)-len(form):])
	a, b := hexDigits([4]byte(id[0:])), hexDigits([4]byte(id[4:]))
	c, d := hexDigits([4]byte(id[8:])), hexDigits([4]byte(id[12:]))
	copy(text[1:9], a[:])
	copy(text[10:14], b[:4])
	copy(text[15:19], b[4:])
	copy(text[20:24], c[:4])
	copy(text[25:29], c[4:])
	copy(text[29:37], d[:])
}

// hexDigits returns the lower-case hexadecimal digits of b, all computed at once: each half of a byte is moved into a
// byte of its own, and those above 9 are lifted to the letters.
func hexDigits(b [4]byte) (digits [8]byte) {
	const each = 0x0101010101010101
	w := uint64(binary.BigEndian.Uint32(b[:]))
	w = (w | w<<16) & 0x0000ffff0000ffff
	w = (w | w<<8) & 0x00ff00ff00ff00ff
	w = (w | w<<4) & 0x0f0f0f0f0f0f0f0f
	letters := (w + 6*each) >> 4 & each
	w += '0'*each + letters*('a'-'9'-1)
	binary.BigEndian.PutUint64(digits[:], w)
	return digits
}

// String appends a key and a text, which must be UTF-8.
func (w *Writer) String(key, s string) {
	w.Lit(key)
	w.text(key, s)
}

func (w *Writer) text(key, s string) {
	var err error
	if w.Buf, err = jsontext.AppendString(w.Buf, s); err != nil {
		w.Fail(key, err)
	}
}

// Time appends a key and a time.
func (w *Writer) Time(key string, t time.Time) {
	w.Lit(key)
	w.time(key, t)
}

func (w *Writer) time(key string, t time.Time) {
	var err error
	w.Buf = append(w.Buf, '"')
	if w.Buf, err = iso8601.AppendTime(w.Buf, t); err != nil {
		w.Fail(key, err)
	}
	w.Buf = append(w.Buf, '"')
}

// Duration appends a key and a duration, which is none or at least a microsecond.
func (w *Writer) Duration(key string, d time.Duration) {
	w.Lit(key)
	w.duration(key, d)
}

func (w *Writer) duration(key string, d time.Duration) {
	if d != 0 && -time.Microsecond < d && d < time.Microsecond {
		w.Fail(key, fmt.Errorf("%v is shorter than a microsecond", d))
	}
	w.Buf = append(w.Buf, '"')
	w.Buf = iso8601.AppendDuration(w.Buf, d)
	w.Buf = append(w.Buf, '"')
}

// DurationOrNull appends a key and a duration, or null for nil.
func (w *Writer) DurationOrNull(key string, d *time.Duration) {
	w.Lit(key)
	if d == nil {
		w.Lit("null")
		return
	}
	w.duration(key, *d)
}

// Int appends a key and a number.
func (w *Writer) Int(key string, n int) {
	w.Lit(key)
	w.Buf = strconv.AppendInt(w.Buf, int64(n), 10)
}

// Bool appends a key and true or false.
func (w *Writer) Bool(key string, b bool) {
	w.Lit(key)
	w.Buf = strconv.AppendBool(w.Buf, b)
}

// Enum appends a key and the name with number n, which is not that of the first.
func (w *Writer) Enum(key string, n uint8, names []string) {
	if n == 0 || int(n) >= len(names) {
		w.Fail(key, fmt.Errorf("%d is none of %v", n, names[1:]))
		return
	}
	w.Lit(key)
	w.Buf = append(w.Buf, '"')
	w.Buf = append(w.Buf, names[n]...)
	w.Buf = append(w.Buf, '"')
}

// Strings appends a key and an object of texts, in the order of its keys.
func (w *Writer) Strings(key string, m map[string]string) {
	w.Lit(key)
	w.Lit("{")
	for i, k := range slices.Sorted(maps.Keys(m)) {
		if i > 0 {
			w.Lit(",")
		}
		w.text(key, k)
		w.Lit(":")
		w.text(key, m[k])
	}
	w.Lit("}")
}

// End closes the object, which began where dst ends. On an error it returns dst.
func (w *Writer) End(dst []byte) ([]byte, error) {
	w.Buf = append(w.Buf, '}')
	if n := len(w.Buf) - len(dst); w.err == nil && n > codec.MaxSize {
		w.err = fmt.Errorf("omniq: %w", payload.SizeError(n))
	}
	if w.err != nil {
		return dst, w.err
	}
	return w.Buf, nil
}
