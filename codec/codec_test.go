package codec_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq/codec"
	"github.com/omniq-go/omniq/codec/codectest"
)

func TestCodecs(t *testing.T) {
	encrypted := newAESGCM(t, key("2026-11", 32))
	both, err := codec.AESGCM(codec.Gzip(codec.StdJSON), key("2026-11", 16))
	require.NoError(t, err)
	for name, c := range map[string]codec.Codec{
		"JSON":           codec.JSON,
		"StdJSON":        codec.StdJSON,
		"Gzip":           codec.Gzip(codec.JSON),
		"AESGCM":         encrypted,
		"AESGCM of Gzip": both,
		"Gzip of AESGCM": codec.Gzip(encrypted),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			codectest.Run(t, c)
		})
	}
}

func TestCheckName(t *testing.T) {
	for _, name := range []string{"json", "json+gzip", "a", "0", "x-my_codec.v2", strings.Repeat("n", 64)} {
		assert.NoError(t, codec.CheckName(name))
	}
	for name, want := range map[string]string{
		"":                      `codec: name "" has 0 bytes, want 1 to 64`,
		strings.Repeat("n", 65): `has 65 bytes, want 1 to 64`,
		"JSON":                  `codec: name "JSON" has 'J' at byte 0, want a-z, 0-9 or one of "+-._"`,
		"my codec":              `has ' ' at byte 2`,
		"é":                     `at byte 0`,
		"a/b":                   `has '/' at byte 1`,
	} {
		assert.ErrorContains(t, codec.CheckName(name), want)
	}
}

// plainCodec has none of the optional methods.
type plainCodec struct{ codec.Codec }

func TestAppendWithoutAppender(t *testing.T) {
	out, err := codec.Append(plainCodec{codec.JSON}, []byte("prefix"), []int{1})
	require.NoError(t, err)
	assert.Equal(t, "prefix[1]", string(out))
	out, err = codec.Append(plainCodec{codec.JSON}, []byte("prefix"), 1i)
	require.ErrorIs(t, err, codec.ErrUnsupported)
	assert.Equal(t, "prefix", string(out))
}
