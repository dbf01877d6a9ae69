package redis_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq/backend/redis"
)

// What is packed here the server's Lua unpacks, and what that packs is read here.
func TestPack(t *testing.T) {
	t.Parallel()
	c := connect(t, url(t))
	long := strings.Repeat("x", 100_000)
	for _, value := range []any{
		int64(0), int64(127), int64(128), int64(255), int64(256), int64(65535), int64(65536), int64(1) << 32, int64(1) << 52, int64(-1), int64(-32),
		int64(-33), int64(-128), int64(-129), int64(-32768), int64(-32769), -int64(1) << 31, -int64(1)<<31 - 1, -int64(1) << 52,
		"", "text", "\x00\xff\x80", strings.Repeat("y", 31), strings.Repeat("y", 32), strings.Repeat("z", 255), strings.Repeat("z", 256), long, true, false,
	} {
		text, err := c.Do(t.Context(), c.B().Eval().Script("return cmsgpack.pack(cmsgpack.unpack(ARGV[1]))").Numkeys(0).
			Arg(redis.Pack(map[string]any{"value": value})).Build()).ToString()
		require.NoError(t, err)
		got, err := redis.Head(text)
		require.NoError(t, err)
		assert.Equal(t, map[string]any{"value": value}, got)
	}
	text, err := c.Do(t.Context(), c.B().Eval().Script("local l = {} for i = 1, 70000 do l[i] = i end return cmsgpack.pack({ few = { 1, 'a' }, many = l, map = { x = true }, half = 1.5 })").
		Numkeys(0).Build()).ToString()
	require.NoError(t, err)
	got, err := redis.Head(text)
	require.NoError(t, err)
	assert.Equal(t, []any{int64(1), "a"}, got["few"])
	assert.Len(t, got["many"], 70000)
	assert.Equal(t, int64(1), got["half"], "all numbers are whole ones")
	empty, err := redis.Head("\x90") // how Lua packs an empty table
	require.NoError(t, err)
	assert.Empty(t, empty)
}

// What is cut off anywhere is an error, and no panic.
func TestPackCutOff(t *testing.T) {
	t.Parallel()
	whole := redis.Pack(map[string]any{"a": int64(300), "b": "text", "c": true})
	for n := range len(whole) {
		_, err := redis.Head(whole[:n])
		assert.Error(t, err, n)
	}
	for _, text := range []string{"\xc1", "\xdd\xff\xff\xff\xff", "\xdf\xff\xff\xff\xff", "\xdb\xff\xff\xff\xff", "\x01"} {
		_, err := redis.Head(text)
		assert.Error(t, err, "%q", text)
	}
}
