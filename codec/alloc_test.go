//go:build !race

package codec_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/omniq-go/omniq/codec"
)

// The race detector makes pools drop what they are given, so this is tested without it.
func TestJSONDoesNotAllocate(t *testing.T) {
	buf := make([]byte, 0, 1024)
	n, s, f, b := 5, "alice@example.com", 3.5, true
	kwargs := &tiny{"hi", 3}
	person := &home{Address: street{"x", []float64{1}}}
	for _, v := range []any{&n, &s, &f, &b, kwargs, person} {
		assert.Zero(t, testing.AllocsPerRun(100, func() { _, _ = codec.Append(codec.JSON, buf, v) }), "%T", v)
	}
}
