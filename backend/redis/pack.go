package redis

import (
	"encoding/binary"
	"errors"
	"math"
	"sort"

	"github.com/redis/rueidis"
)

// Scripts get their arguments as one MessagePack document, which Lua in the server unpacks by itself, and tasks are kept as such. This
// is as much of the format as that takes.

// fields is a map of a document.
type fields map[string]any

// encode returns the document of a value: nil, a bool, an int, an int64, a string, bytes, a list of such, fields, or what is written
// already. Fields that are nil are left out.
func encode(v any) string {
	return rueidis.BinaryString(appendValue(nil, v)) // nobody changes the bytes
}

// written is a part of a document that was written before.
type written []byte

// writer writes a list of maps right away: a call has many of these, and maps of Go would be most of what it costs here.
type writer struct {
	b      []byte
	begun  int // where the last map begins
	fields uint32
}

// newWriter begins a list of n maps.
func newWriter(n int) *writer { return &writer{b: appendArray(make([]byte, 0, 512*n+8), n)} }

func (w *writer) begin() {
	w.begun, w.fields = len(w.b), 0
	w.b = append(w.b, 0xdf, 0, 0, 0, 0)
}

func (w *writer) end() { binary.BigEndian.PutUint32(w.b[w.begun+1:], w.fields) }

// drop begins the last map anew.
func (w *writer) drop() {
	w.b = w.b[:w.begun]
	w.begin()
}

func (w *writer) name(name string) {
	w.b = appendText(w.b, name)
	w.fields++
}

func (w *writer) text(name, value string) {
	w.name(name)
	w.b = appendText(w.b, value)
}

// number leaves out a zero: a script takes that for what is not there.
func (w *writer) number(name string, n int64) {
	if n != 0 {
		w.name(name)
		w.b = appendInt(w.b, n)
	}
}

// flag leaves out false.
func (w *writer) flag(name string, set bool) {
	if set {
		w.value(name, true)
	}
}

func (w *writer) value(name string, v any) {
	w.name(name)
	w.b = appendValue(w.b, v)
}

// json writes what an envelope appends. With an error the map is to be dropped.
func (w *writer) json(name string, appendJSON func([]byte) ([]byte, error)) error {
	w.name(name)
	at := len(w.b)
	b, err := appendJSON(append(w.b, 0xdb, 0, 0, 0, 0))
	if err != nil {
		return err
	}
	binary.BigEndian.PutUint32(b[at+1:], uint32(len(b)-at-5))
	w.b = b
	return nil
}

func appendValue(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, 0xc0)
	case bool:
		if v {
			return append(b, 0xc3)
		}
		return append(b, 0xc2)
	case int:
		return appendInt(b, int64(v))
	case int64:
		return appendInt(b, v)
	case string:
		return appendText(b, v)
	case []byte:
		b = append(b, 0xdb)
		b = binary.BigEndian.AppendUint32(b, uint32(len(v)))
		return append(b, v...)
	case written:
		return append(b, v...)
	case []string:
		b = appendArray(b, len(v))
		for _, s := range v {
			b = appendText(b, s)
		}
		return b
	case []int:
		b = appendArray(b, len(v))
		for _, n := range v {
			b = appendInt(b, int64(n))
		}
		return b
	case []fields:
		b = appendArray(b, len(v))
		for _, f := range v {
			b = appendValue(b, f)
		}
		return b
	case fields:
		if v == nil {
			return append(b, 0xc0)
		}
		names := make([]string, 0, len(v))
		for name, value := range v {
			if value != nil {
				names = append(names, name)
			}
		}
		sort.Strings(names)
		b = append(b, 0xdf)
		b = binary.BigEndian.AppendUint32(b, uint32(len(names)))
		for _, name := range names {
			b = appendText(b, name)
			b = appendValue(b, v[name])
		}
		return b
	}
	panic("redis: a value that is not for a script")
}

func appendInt(b []byte, n int64) []byte {
	if n >= 0 && n < 128 {
		return append(b, byte(n))
	}
	return binary.BigEndian.AppendUint64(append(b, 0xd3), uint64(n))
}

func appendText(b []byte, s string) []byte {
	if len(s) < 32 {
		b = append(b, 0xa0|byte(len(s)))
	} else {
		b = binary.BigEndian.AppendUint32(append(b, 0xdb), uint32(len(s)))
	}
	return append(b, s...)
}

func appendArray(b []byte, n int) []byte {
	return binary.BigEndian.AppendUint32(append(b, 0xdd), uint32(n))
}

var errPacked = errors.New("redis: what is kept cannot be read")

// packed reads a document: a number as an int64, a text as a string, an array as a list, a map as fields.
type packed struct {
	s   string
	err error
}

func decodeFields(s string) (fields, error) {
	p := packed{s: s}
	switch v := p.value().(type) {
	case fields:
		return v, p.err
	case []any: // how Lua packs an empty table
		if len(v) == 0 {
			return fields{}, p.err
		}
	}
	return nil, errPacked
}

func (p *packed) take(n int) string {
	if p.err != nil || n > len(p.s) {
		p.err, p.s = errPacked, ""
		return ""
	}
	taken := p.s[:n]
	p.s = p.s[n:]
	return taken
}

// number reads n bytes.
func (p *packed) number(n int) (u uint64) {
	for _, c := range []byte(p.take(n)) {
		u = u<<8 | uint64(c)
	}
	return u
}

func (p *packed) value() any {
	head := p.take(1)
	if p.err != nil {
		return nil
	}
	switch c := head[0]; {
	case c < 0x80:
		return int64(c)
	case c < 0x90:
		return p.fields(int(c & 0x0f))
	case c < 0xa0:
		return p.list(int(c & 0x0f))
	case c < 0xc0:
		return p.take(int(c & 0x1f))
	case c >= 0xe0:
		return int64(int8(c))
	default:
		return p.long(c)
	}
}

func (p *packed) long(c byte) any {
	switch c {
	case 0xc0:
		return nil
	case 0xc2, 0xc3:
		return c == 0xc3
	case 0xca:
		return int64(math.Float32frombits(uint32(p.number(4))))
	case 0xcb:
		return int64(math.Float64frombits(p.number(8)))
	case 0xcc, 0xcd, 0xce, 0xcf:
		return int64(p.number(1 << (c - 0xcc)))
	case 0xd0:
		return int64(int8(p.number(1)))
	case 0xd1:
		return int64(int16(p.number(2)))
	case 0xd2:
		return int64(int32(p.number(4)))
	case 0xd3:
		return int64(p.number(8))
	case 0xc4, 0xd9:
		return p.take(int(p.number(1)))
	case 0xc5, 0xda:
		return p.take(int(p.number(2)))
	case 0xc6, 0xdb:
		return p.take(int(p.number(4)))
	case 0xdc:
		return p.list(int(p.number(2)))
	case 0xdd:
		return p.list(int(p.number(4)))
	case 0xde:
		return p.fields(int(p.number(2)))
	case 0xdf:
		return p.fields(int(p.number(4)))
	}
	p.err = errPacked
	return nil
}

func (p *packed) list(n int) []any {
	var l []any
	for ; n > 0 && p.err == nil; n-- {
		l = append(l, p.value())
	}
	return l
}

func (p *packed) fields(n int) fields {
	f := make(fields)
	for ; n > 0 && p.err == nil; n-- {
		name, _ := p.value().(string)
		f[name] = p.value()
	}
	return f
}

func (f fields) text(name string) string { s, _ := f[name].(string); return s }
func (f fields) int(name string) int64   { n, _ := f[name].(int64); return n }
func (f fields) is(name string) bool     { b, _ := f[name].(bool); return b }
func (f fields) sub(name string) fields  { s, _ := f[name].(fields); return s }
