package codectest

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/omniq-go/omniq/codec"
)

// value is one value of the table. It is made anew for each use.
type value struct {
	name string
	make func() any
	// optional values may be ErrUnsupported for a codec that is not named "json".
	optional bool
}

// The types of the table.
type (
	color   string
	level   int8
	address struct {
		Street string `json:"street"`
		Number int    `json:"number"`
	}
	person struct {
		Name    string         `json:"name"`
		Age     uint8          `json:"age"`
		Score   float64        `json:"score"`
		Admin   bool           `json:"admin"`
		Color   color          `json:"color"`
		Tags    []string       `json:"tags"`
		Home    address        `json:"home"`
		Others  []address      `json:"others"`
		Count   map[string]int `json:"count"`
		Skipped int            `json:"-"`
	}
	settings struct {
		Subject string  `json:"subject"`
		Retries int     `json:"retries,omitempty"`
		Ratio   float32 `json:"ratio"`
		Urgent  bool    `json:"urgent"`
	}
	links struct {
		Number *int     `json:"number"`
		Text   *string  `json:"text,omitempty"`
		Home   *address `json:"home"`
	}
	// ident is text of two parts, by methods.
	ident struct{ high, low uint16 }
)

func (i ident) MarshalText() ([]byte, error) {
	return fmt.Appendf(nil, "%04x-%04x", i.high, i.low), nil
}

func (i *ident) UnmarshalText(text []byte) error {
	if len(text) != 9 {
		return errors.New("ident: want 9 bytes")
	}
	_, err := fmt.Sscanf(string(text), "%04x-%04x", &i.high, &i.low)
	return err
}

func just(v any) func() any { return func() any { return v } }

func newPerson() any {
	return person{
		Name: "Zoë \"Z\" O'Neil", Age: 44, Score: 1.5e-9, Admin: true, Color: "red", Tags: []string{"a", "b\\c"},
		Home: address{"Main St", 12}, Others: []address{{"x", -1}, {"y", 2}}, Count: map[string]int{"one": 1, "two": 2},
	}
}

func newLinks() any {
	n, s := 7, "seven"
	return links{&n, &s, &address{"Side St", 3}}
}

func allBytes() []byte {
	b := make([]byte, 256)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}

func ascii() string {
	var b strings.Builder
	for c := range 128 {
		b.WriteByte(byte(c))
	}
	return b.String()
}

// values returns the table for a codec.
func (k *checker) values() []value {
	if k.options.values == nil {
		return table
	}
	var values []value
	for i, v := range k.options.values {
		values = append(values, value{name: fmt.Sprintf("value %d", i), make: just(v)})
	}
	return values
}

var table = []value{
	{"true", just(true), false},
	{"false", just(false), false},
	{"int zero", just(0), false},
	{"int", just(-123456789), false},
	{"int least", just(math.MinInt), false},
	{"int greatest", just(math.MaxInt), false},
	{"int8 least", just(int8(math.MinInt8)), false},
	{"int8 greatest", just(int8(math.MaxInt8)), false},
	{"int16 least", just(int16(math.MinInt16)), false},
	{"int32 greatest", just(int32(math.MaxInt32)), false},
	{"int64 least", just(int64(math.MinInt64)), false},
	{"int64 greatest", just(int64(math.MaxInt64)), false},
	{"uint zero", just(uint(0)), false},
	{"uint8 greatest", just(uint8(math.MaxUint8)), false},
	{"uint16 greatest", just(uint16(math.MaxUint16)), false},
	{"uint32 greatest", just(uint32(math.MaxUint32)), false},
	{"uint64 greatest", just(uint64(math.MaxUint64)), false},
	{"float64", just(0.1), false},
	{"float64 whole", just(3.0), false},
	{"float64 greatest", just(math.MaxFloat64), false},
	{"float64 least", just(-math.MaxFloat64), false},
	{"float64 nearest to zero", just(math.SmallestNonzeroFloat64), false},
	{"float32", just(float32(0.1)), false},
	{"float32 greatest", just(float32(math.MaxFloat32)), false},
	{"empty string", just(""), false},
	{"ASCII", just(ascii()), false},
	{"HTML", just("<a href='x'>&amp;</a>"), false},
	{"accents and emoji", just("naïve 日本語 👩‍🚀"), false},
	{"line separators", just("a\u2028b\u2029c"), false},
	{"replacement character", just("\ufffd"), false},
	{"last character", just("\U0010ffff"), false},
	{"escapes as text", just(`\ufffd \u0000 \"`), false},
	{"long string", just(strings.Repeat("0123456789é", 2_000)), false},
	{"named string", just(color("red")), false},
	{"named int8", just(level(-3)), false},
	{"bytes", func() any { return allBytes() }, false},
	{"strings", func() any { return []string{"a", "", "c\n"} }, false},
	{"ints", func() any { return []int{1, -2, math.MaxInt} }, false},
	{"floats", func() any { return []float64{0.5, 1e21, 1e-7} }, false},
	{"array", just([3]int{1, 2, 3}), false},
	{"map", func() any { return map[string]int{"a": 1, "": 2, "é\"": 3} }, false},
	{"map of slices", func() any { return map[string][]string{"a": {"b"}, "c": {"d", "e"}} }, false},
	{"struct of scalars", just(settings{"hi <b>", 3, 0.25, true}), false},
	{"struct of zeros", just(settings{}), false},
	{"struct", newPerson, false},
	{"structs", func() any { return []person{newPerson().(person), {Name: "b", Tags: []string{"c"}}} }, true},
	{"pointers", newLinks, false},
	{"nil pointers", just(links{}), false},
	{"empty slice", func() any { return []int{} }, true},
	{"nil slice", just([]int(nil)), true},
	{"empty map", func() any { return map[string]int{} }, true},
	{"nil map", just(map[string]int(nil)), true},
	{"nil bytes", just([]byte(nil)), true},
	{"nil pointer", just((*int)(nil)), true},
	{"nil pointer to a struct", just((*address)(nil)), true},
	{"empty struct", just(struct{}{}), true},
	{"map of ints", func() any { return map[int]string{-1: "a", 2: "b"} }, true},
	{"time", just(time.Date(2026, 11, 23, 7, 10, 47, 123456789, time.UTC)), true},
	{"zero time", just(time.Time{}), true},
	{"text by a method", just(ident{0xfeed, 0xbeef}), true},
	{"texts by a method", func() any { return map[ident][]ident{{1, 2}: {{3, 4}}} }, true},
	{"any", func() any {
		return map[string]any{"a": 1.5, "b": []any{"x", nil, true, map[string]any{}}, "c": map[string]any{"d": "e"}}
	}, true},
	{"anys", func() any { return []any{"a", 2.5, nil, []any{}} }, true},
}

// encoded is a value with its encoded form.
type encoded struct {
	value
	data []byte
}

// encodeAll encodes the table. A value that cannot be encoded breaks the rule, but for an optional one.
func (k *checker) encodeAll() []encoded {
	var all []encoded
	for _, v := range k.values() {
		data, ok, err := k.tryMarshal(v.make())
		switch {
		case !ok:
		case err == nil:
			all = append(all, encoded{v, data})
		case v.optional && !isJSON(k) && errors.Is(err, codec.ErrUnsupported):
		default:
			k.fail("%s: Marshal of %s: %v", v.name, show(v.make()), err)
		}
	}
	return all
}
