package codec

import (
	"fmt"
	"math"
	"reflect"
	"strconv"

	"github.com/omniq-go/omniq/internal/jsontext"
)

const null = "null"

// appendScalar appends v if it is nil, of a predeclared scalar type, or a pointer to one. Otherwise ok is false.
// Types that are named in a program may have methods and are not for it.
func appendScalar(dst []byte, v any) (out []byte, ok bool, err error) {
	switch v := v.(type) {
	case nil:
		return append(dst, null...), true, nil
	case string:
		out, err = appendString(dst, v)
	case *string:
		if v == nil {
			return append(dst, null...), true, nil
		}
		out, err = appendString(dst, *v)
	case int:
		out = strconv.AppendInt(dst, int64(v), 10)
	case *int:
		out = appendIntPointer(dst, v)
	case bool:
		out = strconv.AppendBool(dst, v)
	case *bool:
		if v == nil {
			return append(dst, null...), true, nil
		}
		out = strconv.AppendBool(dst, *v)
	case float64:
		out, err = appendFloat(dst, v, 64)
	case *float64:
		if v == nil {
			return append(dst, null...), true, nil
		}
		out, err = appendFloat(dst, *v, 64)
	case float32:
		out, err = appendFloat(dst, float64(v), 32)
	case *float32:
		if v == nil {
			return append(dst, null...), true, nil
		}
		out, err = appendFloat(dst, float64(*v), 32)
	case int64:
		out = strconv.AppendInt(dst, v, 10)
	case *int64:
		out = appendIntPointer(dst, v)
	case int32:
		out = strconv.AppendInt(dst, int64(v), 10)
	case *int32:
		out = appendIntPointer(dst, v)
	case int16:
		out = strconv.AppendInt(dst, int64(v), 10)
	case *int16:
		out = appendIntPointer(dst, v)
	case int8:
		out = strconv.AppendInt(dst, int64(v), 10)
	case *int8:
		out = appendIntPointer(dst, v)
	case uint:
		out = strconv.AppendUint(dst, uint64(v), 10)
	case *uint:
		out = appendUintPointer(dst, v)
	case uint64:
		out = strconv.AppendUint(dst, v, 10)
	case *uint64:
		out = appendUintPointer(dst, v)
	case uint32:
		out = strconv.AppendUint(dst, uint64(v), 10)
	case *uint32:
		out = appendUintPointer(dst, v)
	case uint16:
		out = strconv.AppendUint(dst, uint64(v), 10)
	case *uint16:
		out = appendUintPointer(dst, v)
	case uint8:
		out = strconv.AppendUint(dst, uint64(v), 10)
	case *uint8:
		out = appendUintPointer(dst, v)
	default:
		return dst, false, nil
	}
	if err != nil {
		return dst, true, &unsupportedError{"codec: json: " + err.Error(), err}
	}
	return out, true, nil
}

func appendIntPointer[T int | int64 | int32 | int16 | int8](dst []byte, v *T) []byte {
	if v == nil {
		return append(dst, null...)
	}
	return strconv.AppendInt(dst, int64(*v), 10)
}

func appendUintPointer[T uint | uint64 | uint32 | uint16 | uint8](dst []byte, v *T) []byte {
	if v == nil {
		return append(dst, null...)
	}
	return strconv.AppendUint(dst, uint64(*v), 10)
}

// appendString appends s as a JSON string. On an error it returns dst at its old length.
func appendString(dst []byte, s string) ([]byte, error) {
	out, err := jsontext.AppendString(dst, s)
	if err != nil {
		return dst, err
	}
	if size := len(out) - len(dst); size > MaxSize {
		return dst, errTooLarge
	}
	return out, nil
}

// appendFloat appends f as encoding/json does: the shortest decimal form, with an exponent below 1e-6 and from 1e21.
func appendFloat(dst []byte, f float64, bits int) ([]byte, error) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return dst, fmt.Errorf("JSON has no number for %v", f)
	}
	if f == math.Trunc(f) && math.Abs(f) < 1<<24 && (f != 0 || !math.Signbit(f)) {
		return strconv.AppendInt(dst, int64(f), 10), nil
	}
	// A number of at most four decimals that is whole when scaled up is its own shortest form: no two numbers of up to
	// fifteen digits are the same float64.
	if scaled := f * 1e4; bits == 64 && f != math.Trunc(f) && scaled == math.Trunc(scaled) && math.Abs(scaled) < 1e15 && scaled/1e4 == f {
		return appendDecimal(dst, int64(scaled)), nil
	}
	format, abs := byte('f'), math.Abs(f)
	if abs != 0 {
		if bits == 64 && (abs < 1e-6 || abs >= 1e21) || bits == 32 && (float32(abs) < 1e-6 || float32(abs) >= 1e21) {
			format = 'e'
		}
	}
	dst = strconv.AppendFloat(dst, f, format, -1, bits)
	if n := len(dst); format == 'e' && n >= 4 && dst[n-4] == 'e' && dst[n-3] == '-' && dst[n-2] == '0' {
		dst[n-2] = dst[n-1] // e-07 becomes e-7
		dst = dst[:n-1]
	}
	return dst, nil
}

// appendDecimal appends n ten-thousandths, which are no whole number.
func appendDecimal(dst []byte, n int64) []byte {
	if n < 0 {
		dst = append(dst, '-')
		n = -n
	}
	dst = strconv.AppendInt(dst, n/1e4, 10)
	frac := int(n % 1e4)
	dst = append(dst, '.', byte('0'+frac/1000), byte('0'+frac/100%10), byte('0'+frac/10%10), byte('0'+frac%10))
	for dst[len(dst)-1] == '0' {
		dst = dst[:len(dst)-1]
	}
	return dst
}

// decodeScalar decodes valid data into v if it points to a predeclared scalar type. Otherwise ok is false.
func decodeScalar(data []byte, v any) (ok bool, err error) {
	switch v := v.(type) {
	case *string:
		return true, decodeString(data, v)
	case *bool:
		return true, decodeBool(data, v)
	case *float64:
		return true, decodeFloat(data, v, 64)
	case *float32:
		return true, decodeFloat(data, v, 32)
	case *int:
		return true, decodeInt(data, v, strconv.IntSize)
	case *int64:
		return true, decodeInt(data, v, 64)
	case *int32:
		return true, decodeInt(data, v, 32)
	case *int16:
		return true, decodeInt(data, v, 16)
	case *int8:
		return true, decodeInt(data, v, 8)
	case *uint:
		return true, decodeUint(data, v, strconv.IntSize)
	case *uint64:
		return true, decodeUint(data, v, 64)
	case *uint32:
		return true, decodeUint(data, v, 32)
	case *uint16:
		return true, decodeUint(data, v, 16)
	case *uint8:
		return true, decodeUint(data, v, 8)
	}
	return false, nil
}

func decodeString(data []byte, v *string) error {
	if v == nil {
		return nilTarget(v)
	}
	data = trimSpace(data)
	if len(data) == 0 || data[0] != '"' {
		return misfit(data, reflect.TypeFor[string]())
	}
	s, err := jsontext.Unquote(data)
	if err != nil {
		return fmt.Errorf("codec: json: %w", err)
	}
	*v = s
	return nil
}

func decodeBool(data []byte, v *bool) error {
	if v == nil {
		return nilTarget(v)
	}
	switch data = trimSpace(data); string(data) {
	case "true":
		*v = true
	case "false":
		*v = false
	default:
		return misfit(data, reflect.TypeFor[bool]())
	}
	return nil
}

func decodeFloat[T float64 | float32](data []byte, v *T, bits int) error {
	if v == nil {
		return nilTarget(v)
	}
	data = trimSpace(data)
	f, ok := parseFloat(data, bits)
	if !ok {
		return misfit(data, reflect.TypeFor[T]())
	}
	*v = T(f)
	return nil
}

func decodeInt[T int | int64 | int32 | int16 | int8](data []byte, v *T, bits int) error {
	if v == nil {
		return nilTarget(v)
	}
	data = trimSpace(data)
	i, ok := parseInt(data, bits)
	if !ok {
		return misfit(data, reflect.TypeFor[T]())
	}
	*v = T(i)
	return nil
}

func decodeUint[T uint | uint64 | uint32 | uint16 | uint8](data []byte, v *T, bits int) error {
	if v == nil {
		return nilTarget(v)
	}
	data = trimSpace(data)
	u, ok := parseUint(data, bits)
	if !ok {
		return misfit(data, reflect.TypeFor[T]())
	}
	*v = T(u)
	return nil
}

// parseInt reads a JSON number without fraction and exponent that fits in so many bits.
func parseInt(data []byte, bits int) (int64, bool) {
	if len(data) > 0 && data[0] == '-' {
		u, ok := parseUint(data[1:], 64)
		if !ok || u > 1<<(bits-1) {
			return 0, false
		}
		return -int64(u), true
	}
	u, ok := parseUint(data, bits-1)
	return int64(u), ok
}

// parseUint reads decimal digits, without a zero in front, that fit in so many bits.
func parseUint(data []byte, bits int) (uint64, bool) {
	if len(data) == 0 || len(data) > 20 || data[0] == '0' && len(data) > 1 {
		return 0, false
	}
	var u uint64
	for i, c := range data {
		c -= '0'
		if c > 9 || i == 19 && (u > math.MaxUint64/10 || u == math.MaxUint64/10 && c > math.MaxUint64%10) {
			return 0, false
		}
		u = u*10 + uint64(c)
	}
	return u, bits == 64 || u>>bits == 0
}

// parseFloat reads a JSON number within the range of so many bits. It refuses the words, the hexadecimal digits and
// the underscores that strconv accepts as well.
func parseFloat(data []byte, bits int) (float64, bool) {
	if len(data) == 0 {
		return 0, false
	}
	if bits == 64 {
		if f, ok := parseDecimal(data); ok {
			return f, true
		}
	}
	if end, _, err := jsontext.Skip(data, 0, 0); err != nil || end != len(data) {
		return 0, false
	}
	f, err := strconv.ParseFloat(string(data), bits)
	return f, err == nil
}

// parseDecimal reads a number of at most 15 digits without an exponent. Its digits and the power of ten by which they are divided are
// float64s, so that the quotient is the one that is nearest. False says nothing of the data.
func parseDecimal(data []byte) (float64, bool) {
	if len(data) > 16 || data[0] == '0' && len(data) > 1 && data[1] != '.' {
		return 0, false
	}
	n, scale := uint64(0), -1
	for i, c := range data {
		switch {
		case '0' <= c && c <= '9':
			n = n*10 + uint64(c-'0')
			if scale >= 0 {
				scale++
			}
		case c == '.' && scale < 0 && i > 0:
			scale = 0
		default:
			return 0, false
		}
	}
	if scale < 0 && len(data) > 15 || scale == 0 {
		return 0, false
	}
	return float64(n) / powersOfTen[max(scale, 0)], true
}

var powersOfTen = [...]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15}

// trimSpace cuts off JSON's white space.
func trimSpace(data []byte) []byte {
	for len(data) > 0 && isSpace(data[0]) {
		data = data[1:]
	}
	for len(data) > 0 && isSpace(data[len(data)-1]) {
		data = data[:len(data)-1]
	}
	return data
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

func isNull(data []byte) bool { return string(trimSpace(data)) == null }
