// Package jsontext reads and writes JSON text under the wire's rules: stricter than encoding/json, which replaces
// invalid UTF-8 and lone surrogates, and than RFC 8259, which leaves numbers without a bound.
package jsontext

import (
	"encoding/binary"
	"fmt"
	"math/bits"
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
	s := scanner{data: data, plain: true}
	end, err = s.value(i, maxDepth)
	return end, s.plain && err == nil, err
}

// scanner checks values. Its methods are given the place where something begins and return the place behind it.
type scanner struct {
	data  []byte
	plain bool // neither white space nor escapes were seen
}

func (s *scanner) value(i, maxDepth int) (int, error) {
	if i >= len(s.data) {
		return i, syntaxError(i, "the document ends where a value is wanted")
	}
	switch c := s.data[i]; c {
	case '"':
		return s.string(i)
	case '{':
		return s.object(i, maxDepth)
	case '[':
		return s.array(i, maxDepth)
	case 't':
		return skipLiteral(s.data, i, "true")
	case 'f':
		return skipLiteral(s.data, i, "false")
	case 'n':
		return skipLiteral(s.data, i, "null")
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		return skipNumber(s.data, i)
	default:
		return i, syntaxError(i, "%s where a value is wanted", quoteByte(c))
	}
}

func (s *scanner) object(i, maxDepth int) (int, error) {
	i, more, err := s.open(i, '}', maxDepth)
	for more && err == nil {
		if i >= len(s.data) || s.data[i] != '"' {
			return i, wantAt(s.data, i, "a key in double quotes")
		}
		if i, err = s.string(i); err != nil {
			break
		}
		if i, err = s.colon(i); err != nil {
			break
		}
		if i, err = s.value(i, maxDepth-1); err != nil {
			break
		}
		i, more, err = s.next(i, '}')
	}
	return i, err
}

func (s *scanner) array(i, maxDepth int) (int, error) {
	i, more, err := s.open(i, ']', maxDepth)
	for more && err == nil {
		if i, err = s.value(i, maxDepth-1); err != nil {
			break
		}
		i, more, err = s.next(i, ']')
	}
	return i, err
}

// open goes from the bracket that opens an array or an object to what stands first in it, or behind its end.
func (s *scanner) open(i int, closing byte, maxDepth int) (at int, more bool, err error) {
	if maxDepth <= 0 {
		return i, false, syntaxError(i, "more arrays and objects inside each other than allowed")
	}
	if i = s.space(i + 1); i < len(s.data) && s.data[i] == closing {
		return i + 1, false, nil
	}
	return i, true, nil
}

// next goes from the end of a value in an array or an object to what follows in it, or behind its end.
func (s *scanner) next(i int, closing byte) (at int, more bool, err error) {
	if i >= len(s.data) || s.data[i] <= ' ' {
		i = s.space(i)
	}
	switch {
	case i < len(s.data) && s.data[i] == ',':
		return s.space(i + 1), true, nil
	case i < len(s.data) && s.data[i] == closing:
		return i + 1, false, nil
	}
	return i, false, wantAt(s.data, i, "',' or "+quoteByte(closing))
}

// colon goes from the end of a key to the value behind its colon.
func (s *scanner) colon(i int) (int, error) {
	if i >= len(s.data) || s.data[i] != ':' {
		if i = s.space(i); i >= len(s.data) || s.data[i] != ':' {
			return i, wantAt(s.data, i, "':'")
		}
	}
	return s.space(i + 1), nil
}

func (s *scanner) space(i int) int {
	if i < len(s.data) && s.data[i] > ' ' {
		return i
	}
	end := SkipSpace(s.data, i)
	s.plain = s.plain && end == i
	return end
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
	from := i
	if i = skipDigits(data, i); i == from {
		return i, syntaxError(i, "a number without a digit")
	}
	if data[from] == '0' && i-from > 1 {
		return from + 1, syntaxError(from+1, "a digit behind a leading zero")
	}
	if i < len(data) && data[i] == '.' {
		from = i + 1
		if i = skipDigits(data, from); i == from {
			return i, syntaxError(i, "a number without a digit behind its point")
		}
	}
	exponent := i < len(data) && (data[i] == 'e' || data[i] == 'E')
	if exponent {
		from = i + 1
		if from < len(data) && (data[from] == '+' || data[from] == '-') {
			from++
		}
		if i = skipDigits(data, from); i == from {
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

func skipDigits(data []byte, i int) int {
	for i < len(data) && data[i]-'0' <= 9 {
		i++
	}
	return i
}

const (
	eachByte = 0x0101010101010101
	highBits = 0x8080808080808080
)

// special looks for what ends a string's plain run: a quote, a backslash, a control character or a byte that is not
// ASCII. The lowest bit that is set in the result is the high bit of the first of these in w, which is read in little
// endian; those above mean nothing. Without any the result is 0.
func special(w uint64) uint64 {
	quote := w ^ eachByte*'"'
	slash := w ^ eachByte*'\\'
	return ((w - eachByte*0x20) | (quote - eachByte) | (slash - eachByte) | w) & highBits
}

// string goes from the opening quote of a string behind its closing one.
func (s *scanner) string(start int) (end int, err error) {
	data, i := s.data, start+1
	for {
		for len(data)-i >= 8 {
			if w := special(binary.LittleEndian.Uint64(data[i:])); w != 0 {
				i += bits.TrailingZeros64(w) / 8
				break
			}
			i += 8
		}
		if i >= len(data) {
			return i, syntaxError(start, "a string without an end")
		}
		switch c := data[i]; {
		case c == '"':
			return i + 1, nil
		case c == '\\':
			s.plain = false
			_, n, err := unescape(data[i:])
			if err != nil {
				return i, &SyntaxError{Offset: i, Msg: err.Error()}
			}
			i += n
		case c < ' ':
			return i, syntaxError(i, "control character %s in a string", quoteByte(c))
		case c < utf8.RuneSelf:
			i++
		default:
			_, n := utf8.DecodeRune(data[i:])
			if n == 1 {
				return i, syntaxError(i, "invalid UTF-8")
			}
			i += n
		}
	}
}

// PlainString returns what is between the quotes of a string that begins at i and is ASCII without escapes, and the place behind it. Of
// anything else, also of what is no string, it says nothing.
func PlainString(data []byte, i int) (text []byte, end int, ok bool) {
	if i >= len(data) || data[i] != '"' {
		return nil, i, false
	}
	start := i + 1
	for i = start; len(data)-i >= 8; i += 8 {
		if w := special(binary.LittleEndian.Uint64(data[i:])); w != 0 {
			i += bits.TrailingZeros64(w) / 8
			return data[start:i], i + 1, data[i] == '"'
		}
	}
	for ; i < len(data) && ' ' <= data[i] && data[i] < utf8.RuneSelf && data[i] != '\\'; i++ {
		if data[i] == '"' {
			return data[start:i], i + 1, true
		}
	}
	return nil, i, false
}

// quoteByte names a byte for a message.
func quoteByte(c byte) string {
	if c < ' ' || c >= 0x7f {
		return fmt.Sprintf("byte 0x%02x", c)
	}
	return strconv.QuoteRune(rune(c))
}
