package jsontext

import (
	"bytes"
	"errors"
	"fmt"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

const hexDigits = "0123456789abcdef"

// AppendString appends s as a JSON string with as few escapes as the grammar allows, as msgspec writes it: HTML
// characters and U+2028 stand as they are. Invalid UTF-8 is an error, and dst is returned at its old length.
func AppendString(dst []byte, s string) ([]byte, error) {
	old := len(dst)
	dst = append(dst, '"')
	from := 0
	for i := 0; ; {
		if i = skipPlain(s, i); i == len(s) {
			break
		}
		c := s[i]
		if c >= utf8.RuneSelf {
			_, n := utf8.DecodeRuneInString(s[i:])
			if n == 1 {
				return dst[:old], fmt.Errorf("invalid UTF-8 at byte %d of %.40q", i, s)
			}
			i += n
			continue
		}
		dst = append(dst, s[from:i]...)
		dst = appendEscape(dst, c)
		i++
		from = i
	}
	dst = append(dst, s[from:]...)
	return append(dst, '"'), nil
}

// skipPlain returns the place of the first byte at or after i that cannot be copied without a look, see [special].
func skipPlain(s string, i int) int {
	for len(s)-i >= 8 {
		if w := special(load64(s, i)); w != 0 {
			return i + bits.TrailingZeros64(w)/8
		}
		i += 8
	}
	for i < len(s) && ' ' <= s[i] && s[i] < utf8.RuneSelf && s[i] != '"' && s[i] != '\\' {
		i++
	}
	return i
}

// load64 is the eight bytes of s at i.
func load64(s string, i int) uint64 {
	s = s[i : i+8]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

func appendEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\b':
		return append(dst, '\\', 'b')
	case '\f':
		return append(dst, '\\', 'f')
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	}
	return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
}

// Unquote returns the value of a string literal, quotes included.
func Unquote(data []byte) (string, error) {
	if len(data) < 2 || data[0] != '"' {
		return "", syntaxError(0, "want a string")
	}
	s := scanner{data: data, plain: true}
	end, err := s.string(0)
	if err != nil {
		return "", err
	}
	if end != len(data) {
		return "", syntaxError(end, "something stands behind the string")
	}
	if s.plain {
		return string(data[1 : len(data)-1]), nil
	}
	return string(appendUnquoted(nil, data)), nil
}

// UnquoteValid is [Unquote] for a literal that has been checked.
func UnquoteValid(data []byte) string {
	if bytes.IndexByte(data, '\\') < 0 {
		return string(data[1 : len(data)-1])
	}
	return string(appendUnquoted(make([]byte, 0, len(data)), data))
}

// appendUnquoted appends the value of a valid literal.
func appendUnquoted(dst, lit []byte) []byte {
	for i := 1; i < len(lit)-1; {
		if lit[i] != '\\' {
			dst = append(dst, lit[i])
			i++
			continue
		}
		r, n, _ := unescape(lit[i:])
		dst = utf8.AppendRune(dst, r)
		i += n
	}
	return dst
}

var errEscape = errors.New("invalid escape in a string")

// unescape reads the escape at the beginning of data, which is a backslash, and returns how long it is.
func unescape(data []byte) (rune, int, error) {
	if len(data) < 2 {
		return 0, 0, errEscape
	}
	switch c := data[1]; c {
	case '"', '\\', '/':
		return rune(c), 2, nil
	case 'b':
		return '\b', 2, nil
	case 'f':
		return '\f', 2, nil
	case 'n':
		return '\n', 2, nil
	case 'r':
		return '\r', 2, nil
	case 't':
		return '\t', 2, nil
	case 'u':
	default:
		return 0, 0, errEscape
	}
	r := hex4(data[2:])
	switch {
	case r < 0:
		return 0, 0, errEscape
	case !utf16.IsSurrogate(r):
		return r, 6, nil
	case len(data) >= 12 && data[6] == '\\' && data[7] == 'u':
		if both := utf16.DecodeRune(r, hex4(data[8:])); both != utf8.RuneError {
			return both, 12, nil
		}
	}
	return 0, 0, errors.New("lone surrogate in a string")
}

// hex4 is the value of four hexadecimal digits, or -1.
func hex4(data []byte) rune {
	if len(data) < 4 {
		return -1
	}
	var r rune
	for _, c := range data[:4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return -1
		}
		r = r<<4 | rune(c)
	}
	return r
}

// AppendCanonical appends the compact form of the document in src: no white space, strings as [AppendString] writes
// them, numbers as they stand. It checks src as [Valid] does; on an error it returns dst at its old length.
func AppendCanonical(dst, src []byte, maxDepth int) ([]byte, error) {
	plain, err := validDocument(src, maxDepth)
	if err != nil {
		return dst, err
	}
	if plain {
		return append(dst, src...), nil
	}
	return AppendCompact(dst, src), nil
}

// AppendCompact is [AppendCanonical] for a document that has been checked.
func AppendCompact(dst, src []byte) []byte {
	for i := 0; i < len(src); i++ {
		switch c := src[i]; c {
		case ' ', '\t', '\n', '\r':
		case '"':
			dst = append(dst, '"')
			for i++; src[i] != '"'; {
				if src[i] != '\\' {
					dst = append(dst, src[i])
					i++
					continue
				}
				r, n, _ := unescape(src[i:])
				if r < ' ' || r == '"' || r == '\\' {
					dst = appendEscape(dst, byte(r))
				} else {
					dst = utf8.AppendRune(dst, r)
				}
				i += n
			}
			dst = append(dst, '"')
		default:
			dst = append(dst, c)
		}
	}
	return dst
}
