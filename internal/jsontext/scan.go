// Package jsontext reads and writes JSON text under the wire's rules: stricter than encoding/json, which replaces
// invalid UTF-8 and lone surrogates, and than RFC 8259, which leaves numbers without a bound.
package jsontext

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// SyntaxError says where a document breaks the rules.
type SyntaxError struct {
	Offset int    // the byte at which it shows, from 0
	Msg    string // what is wrong there
}

func (e *SyntaxError) Error() string {
	return e.Msg + " at byte " + strconv.Itoa(e.Offset)
}

func syntaxError(offset int, format string, args ...any) error {
	return &SyntaxError{Offset: offset, Msg: fmt.Sprintf(format, args...)}
}

// Valid reports whether data is one JSON document, and nothing besides: UTF-8 without lone surrogates, numbers in
// the range of float64, at most maxDepth arrays and objects inside each other.
func Valid(data []byte, maxDepth int) error {
	_, err := validDocument(data, maxDepth)
	return err
}

// validDocument is Valid; plain as in [Skip].
func validDocument(data []byte, maxDepth int) (plain bool, err error) {
	start := SkipSpace(data, 0)
	end, plain, err := Skip(data, start, maxDepth)
	if err != nil {
		return false, err
	}
	if err := End(data, end); err != nil {
		return false, err
	}
	return plain && start == 0 && end == len(data), nil
}

// SkipSpace returns the place of the first byte at or after i that is not white space, or len(data).
func SkipSpace(data []byte, i int) int {
	for i < len(data) && (data[i] == ' ' || data[i] == '\n' || data[i] == '\t' || data[i] == '\r') {
		i++
	}
	return i
}

// End reports whether nothing but white space stands at or after i.
func End(data []byte, i int) error {
	if i = SkipSpace(data, i); i < len(data) {
		return syntaxError(i, "%s stands behind the document", quoteByte(data[i]))
	}
	return nil
}

// Skip checks the value that begins at i, which is no white space, and returns the place behind it. It is plain when
// its compact form is the same bytes: no white space and no escapes.
func Skip(data []byte, i, maxDepth int) (end int, plain bool, err error) {
	if i >= len(data) {
		return i, false, syntaxError(i, "the document ends where a value is wanted")
	}
	switch c := data[i]; c {
	case '"':
		return skipString(data, i)
	case '{':
		o := Object{Data: data, at: i, maxDepth: maxDepth}
		return o.skip()
	case '[':
		a := Array{Data: data, at: i, maxDepth: maxDepth}
		return a.skip()
	case 't':
		end, err = skipLiteral(data, i, "true")
	case 'f':
		end, err = skipLiteral(data, i, "false")
	case 'n':
		end, err = skipLiteral(data, i, "null")
	default:
		if c != '-' && (c < '0' || c > '9') {
			return i, false, syntaxError(i, "%s where a value is wanted", quoteByte(c))
		}
		end, err = skipNumber(data, i)
	}
	return end, err == nil, err
}

func skipLiteral(data []byte, i int, lit string) (int, error) {
	if len(data)-i < len(lit) || string(data[i:i+len(lit)]) != lit {
		return i, syntaxError(i, "%s where a value is wanted", quoteByte(data[i]))
	}
	return i + len(lit), nil
}

func skipNumber(data []byte, start int) (int, error) {
	i := start
	if data[i] == '-' {
		i++
	}
	digits := func() bool {
		from := i
		for i < len(data) && '0' <= data[i] && data[i] <= '9' {
			i++
		}
		return i > from
	}
	if i < len(data) && data[i] == '0' {
		i++
		if i < len(data) && '0' <= data[i] && data[i] <= '9' {
			return i, syntaxError(i, "a digit behind a leading zero")
		}
	} else if !digits() {
		return i, syntaxError(i, "a number without a digit")
	}
	if i < len(data) && data[i] == '.' {
		i++
		if !digits() {
			return i, syntaxError(i, "a number without a digit behind its point")
		}
	}
	exponent := i < len(data) && (data[i] == 'e' || data[i] == 'E')
	if exponent {
		i++
		if i < len(data) && (data[i] == '+' || data[i] == '-') {
			i++
		}
		if !digits() {
			return i, syntaxError(i, "a number without a digit in its exponent")
		}
	}
	if exponent || i-start > 300 {
		if _, err := strconv.ParseFloat(string(data[start:i]), 64); err != nil {
			return start, syntaxError(start, "number %.40s is out of range", data[start:i])
		}
	}
	return i, nil
}

const (
	eachByte = 0x0101010101010101
	highBits = 0x8080808080808080
)

// special has a high bit set if one of the eight bytes of w ends a string's plain run: a quote, a backslash, a
// control character or a byte that is not ASCII.
func special(w uint64) uint64 {
	quote := w ^ eachByte*'"'
	slash := w ^ eachByte*'\\'
	return ((w - eachByte*0x20) | (quote - eachByte) | (slash - eachByte) | w) & highBits
}

// skipString checks the string whose opening quote is at i. It is plain when it holds no escape.
func skipString(data []byte, i int) (end int, plain bool, err error) {
	start := i
	plain = true
	i++
	for {
		for len(data)-i >= 8 && special(binary.LittleEndian.Uint64(data[i:])) == 0 {
			i += 8
		}
		if i >= len(data) {
			return i, false, syntaxError(start, "a string without an end")
		}
		switch c := data[i]; {
		case c == '"':
			return i + 1, plain, nil
		case c == '\\':
			plain = false
			_, n, err := unescape(data[i:])
			if err != nil {
				return i, false, &SyntaxError{Offset: i, Msg: err.Error()}
			}
			i += n
		case c < ' ':
			return i, false, syntaxError(i, "control character %s in a string", quoteByte(c))
		case c < utf8.RuneSelf:
			i++
		default:
			_, n := utf8.DecodeRune(data[i:])
			if n == 1 {
				return i, false, syntaxError(i, "invalid UTF-8")
			}
			i += n
		}
	}
}

// quoteByte names a byte for a message.
func quoteByte(c byte) string {
	if c < ' ' || c >= 0x7f {
		return fmt.Sprintf("byte 0x%02x", c)
	}
	return strconv.QuoteRune(rune(c))
}
