package envelope

import (
	"encoding"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq/codec"
	"github.com/omniq-go/omniq/internal/iso8601"
	"github.com/omniq-go/omniq/internal/jsontext"
	"github.com/omniq-go/omniq/internal/payload"
)

// Reader reads an object with known keys, in quotes and with a colon, which are found faster in their order. Other keys
// are passed over. Use:
//
//	r := NewReader(data, keys)
//	for r.Next() {
//		switch r.Key {
//		case n:
//			r.String(&s) // or another method, once, for the value
//		}
//	}
//	err := r.End(required)
type Reader struct {
	data   []byte
	keys   []string
	Key    int // the number in keys of the one that was found
	object jsontext.Object
	follow int    // the key that is expected next
	seen   uint64 // a bit for each of keys
	err    error  // ends the loop
}

var (
	errTwice   = errors.New("stands twice")
	errMissing = errors.New("is missing")
)

// NewReader begins to read the object that is the whole of data.
func NewReader(data []byte, keys []string) Reader {
	r := Reader{data: data, keys: keys}
	if len(data) > codec.MaxSize {
		r.err = payload.SizeError(len(data))
		return r
	}
	r.object, r.err = jsontext.NewObject(data, jsontext.SkipSpace(data, 0), codec.MaxDepth)
	return r
}

// Next goes to the next known member of the object.
func (r *Reader) Next() bool {
	for r.err == nil {
		if r.follow < len(r.keys) && r.object.Follows(r.keys[r.follow]) {
			return r.found(r.follow)
		}
		expect := ""
		if r.follow < len(r.keys) {
			expect = r.keys[r.follow]
		}
		more, err := r.object.NextKey(expect)
		if !more {
			if r.err = err; err == nil {
				r.err = jsontext.End(r.data, r.object.At())
			}
			return false
		}
		r.Key = r.follow
		if !r.object.Expected {
			r.Key = slices.IndexFunc(r.keys, func(key string) bool { return key[1:len(key)-2] == string(r.object.Key) })
			if r.Key < 0 {
				r.err = r.object.SkipValue()
				continue
			}
		}
		return r.found(r.Key)
	}
	return false
}

// found notes that a key was found, and reports whether it is for the first time.
func (r *Reader) found(key int) bool {
	r.Key, r.follow = key, key+1
	bit := uint64(1) << key
	if r.seen&bit != 0 {
		r.Fail(errTwice)
		return false
	}
	r.seen |= bit
	return true
}

// Fail ends the reading because of the value of the key that was read.
func (r *Reader) Fail(err error) {
	if r.err == nil {
		r.err = fmt.Errorf("%.60s: %w", r.object.Key, err)
	}
}

// End is the error that ended the reading, or that one of the required keys, a bit for each, is missing.
func (r *Reader) End(required uint64) error {
	if missing := required &^ r.seen; r.err == nil && missing != 0 {
		key := r.keys[bits.TrailingZeros64(missing)]
		return fmt.Errorf("%s: %w", key[1:len(key)-2], errMissing)
	}
	return r.err
}

// Err is what was wrong with what has been read.
func (r *Reader) Err() error { return r.err }

// Value is the value, checked, or nothing after an error.
func (r *Reader) Value() Field {
	if r.err = r.object.SkipValue(); r.err != nil {
		return Field{}
	}
	return Field{r.data[r.object.Start:r.object.End], r.object.Plain}
}

// Kind is Value for one that begins with open.
func (r *Reader) Kind(open byte, want string) Field {
	f := r.Value()
	if r.err == nil && f.JSON[0] != open {
		r.Fail(fmt.Errorf("found %s, want %s", jsontext.Kind(f.JSON[0]), want))
	}
	return f
}

// Read lets a function read the value, which begins at a place in data. Where that returns false it says nothing of the value, and
// another method is to be called for it. Otherwise it has checked the value and returns the place behind it.
func (r *Reader) Read(read func(data []byte, at int) (end int, ok bool)) (f Field, ok bool) {
	end, ok := read(r.data, r.object.Start)
	if ok {
		f = Field{JSON: r.data[r.object.Start:end]}
		r.object.Jump(end)
	}
	return f, ok
}

// text is the value of a string. It shares the envelope's memory where it can.
func (r *Reader) text(want string) []byte {
	if text, end, ok := jsontext.PlainString(r.data, r.object.Start); ok {
		r.object.Jump(end)
		return text
	}
	f := r.Kind('"', want)
	switch {
	case r.err != nil:
		return nil
	case !f.plain:
		return []byte(jsontext.UnquoteValid(f.JSON))
	}
	return f.JSON[1 : len(f.JSON)-1]
}

// Null reports whether the value is null, and passes over it if so.
func (r *Reader) Null() bool {
	if r.object.Start < len(r.data) && r.data[r.object.Start] == 'n' {
		r.Value()
		return true
	}
	return false
}

// String reads a text.
func (r *Reader) String(to *string) { *to = string(r.text("a string")) }

// Name reads a text that many envelopes share, such as a function's name: they share its memory, too.
func (r *Reader) Name(to *string) {
	text := r.text("a string")
	if len(text) == 0 || len(text) > longestName {
		*to = string(text)
		return
	}
	slot := &names[(uint(text[0])+31*uint(text[len(text)/2])+17*uint(text[len(text)-1])+uint(len(text)))%uint(len(names))]
	if known := slot.Load(); known != nil && *known == string(text) {
		*to = *known
		return
	}
	*to = string(text)
	slot.Store(new(*to))
}

// names are the latest names that were read, as many as there are places for.
var names [256]atomic.Pointer[string]

// longestName is how many bytes a name may have that is kept.
const longestName = 64

// ID reads an ID.
func (r *Reader) ID(to *uuid.UUID) {
	const size = len(`"00000000-0000-0000-0000-000000000000"`)
	if at := r.object.Start; len(r.data)-at >= size && parseID((*[size]byte)(r.data[at:]), to) {
		r.object.Jump(at + size)
		return
	}
	text := r.text("a UUID")
	if r.err != nil {
		return
	}
	if len(text) == 36 || len(text) == 32 {
		var err error
		if *to, err = uuid.ParseBytes(text); err == nil {
			return
		}
	}
	r.Fail(fmt.Errorf("%.60q is no UUID, want 32 hexadecimal digits with or without hyphens", text))
}

// hexValues has the value of each hexadecimal digit, and 0xff for what is none.
var hexValues = func() (values [256]uint8) {
	for i := range values {
		values[i] = 0xff
	}
	for i := range uint8(10) {
		values['0'+i] = i
	}
	for i := range uint8(6) {
		values['a'+i], values['A'+i] = 10+i, 10+i
	}
	return values
}()

// parseID reads the usual form of an ID, with hyphens and in quotes.
func parseID(text *[38]byte, to *uuid.UUID) bool {
	if text[0] != '"' || text[9] != '-' || text[14] != '-' || text[19] != '-' || text[24] != '-' || text[37] != '"' {
		return false
	}
	bad := uint8(0)
	pair := func(high, low byte) byte {
		high, low = hexValues[high], hexValues[low]
		bad |= high | low
		return high<<4 | low
	}
	*to = uuid.UUID{
		pair(text[1], text[2]), pair(text[3], text[4]), pair(text[5], text[6]), pair(text[7], text[8]),
		pair(text[10], text[11]), pair(text[12], text[13]), pair(text[15], text[16]), pair(text[17], text[18]),
		pair(text[20], text[21]), pair(text[22], text[23]), pair(text[25], text[26]), pair(text[27], text[28]),
		pair(text[29], text[30]), pair(text[31], text[32]), pair(text[33], text[34]), pair(text[35], text[36]),
	}
	return bad < 16
}

// Enum reads a text that to knows.
func (r *Reader) Enum(to encoding.TextUnmarshaler, want string) {
	if text := r.text(want); r.err == nil {
		if err := to.UnmarshalText(text); err != nil {
			r.Fail(err)
		}
	}
}

// Time reads a time.
func (r *Reader) Time(to *time.Time) {
	const size = len(`"0000-00-00T00:00:00.000000Z"`)
	if at, end := r.object.Start, r.object.Start+size; end <= len(r.data) && r.data[at] == '"' && r.data[end-1] == '"' {
		if t, err := iso8601.ParseTime(r.data[at+1 : end-1]); err == nil {
			*to = t
			r.object.Jump(end)
			return
		}
	}
	if text := r.text("a time"); r.err == nil {
		var err error
		if *to, err = iso8601.ParseTime(text); err != nil {
			r.Fail(err)
		}
	}
}

// Duration reads a duration.
func (r *Reader) Duration(to *time.Duration) {
	if text := r.text("a duration"); r.err == nil {
		var err error
		if *to, err = iso8601.ParseDuration(text); err != nil {
			r.Fail(err)
		}
	}
}

// DurationOrNull leaves nil for null.
func (r *Reader) DurationOrNull(to **time.Duration) {
	if !r.Null() {
		*to = new(time.Duration)
		r.Duration(*to)
	}
}

// StringOrNull leaves nil for null.
func (r *Reader) StringOrNull(to **string) {
	if !r.Null() {
		*to = new(string)
		r.String(*to)
	}
}

// Int reads a whole number.
func (r *Reader) Int(to *int) {
	f := r.Value()
	if r.err != nil {
		return
	}
	n, err := strconv.Atoi(string(f.JSON))
	if err != nil {
		r.Fail(fmt.Errorf("found %.40s, want a whole number of at most 64 bits", f.JSON))
	}
	*to = n
}

// Bool reads true or false.
func (r *Reader) Bool(to *bool) {
	f := r.Value()
	switch {
	case r.err != nil:
	case f.JSON[0] == 't' || f.JSON[0] == 'f':
		*to = f.JSON[0] == 't'
	default:
		r.Fail(fmt.Errorf("found %s, want a boolean", jsontext.Kind(f.JSON[0])))
	}
}

// Strings reads an object of texts, and leaves nil for an empty one.
func (r *Reader) Strings(to *map[string]string) {
	f := r.Kind('{', "an object")
	if r.err != nil {
		return
	}
	m := make(map[string]string)
	inner := NewReader(f.JSON, nil)
	for inner.nextAny() {
		if _, ok := m[string(inner.object.Key)]; ok {
			inner.Fail(errTwice)
			break
		}
		var s string
		inner.String(&s)
		m[string(inner.object.Key)] = s
	}
	if inner.err != nil {
		r.Fail(inner.err)
	}
	if len(m) > 0 {
		*to = m
	}
}

// Objects reads an array of objects with known keys, each of them by read, which is to go on until Next returns false. Each
// must have the keys that are required, a bit for each.
func (r *Reader) Objects(keys []string, required uint64, read func(*Reader) error) {
	f := r.Kind('[', "an array")
	if r.err != nil {
		return
	}
	array, err := jsontext.NewArray(f.JSON, 0, codec.MaxDepth)
	more := err == nil
	for n := 1; more; n++ {
		if more, err = array.Next(); !more {
			break
		}
		inner := NewReader(f.JSON[array.Start:array.End], keys)
		if err = read(&inner); err == nil {
			err = inner.End(required)
		}
		if err != nil {
			err = fmt.Errorf("element %d: %w", n, err)
			break
		}
	}
	if err != nil {
		r.Fail(err)
	}
}

// nextAny goes to the next member, whatever its key is.
func (r *Reader) nextAny() (more bool) {
	if r.err == nil {
		more, r.err = r.object.NextKey("")
	}
	return more
}

// Field is the JSON text of a value, which has been checked.
type Field struct {
	JSON  []byte
	plain bool // the text is its compact form
}

// Raw is the compact form in memory of its own.
func (f Field) Raw() payload.Raw {
	dst := make(payload.Raw, 0, len(f.JSON))
	if f.plain {
		return append(dst, f.JSON...)
	}
	return jsontext.AppendCompact(dst, f.JSON)
}
