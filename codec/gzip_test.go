package codec_test

import (
	"bytes"
	"compress/gzip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq/codec"
)

func zip(t testing.TB, plain []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Name, w.Comment = "another writer", "with a header of its own"
	_, err := w.Write(plain)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}

func TestGzip(t *testing.T) {
	c := codec.Gzip(codec.JSON)
	assert.Equal(t, "json+gzip", c.Name())
	long := strings.Repeat("the same again, ", 1000)
	data, err := c.Marshal(long)
	require.NoError(t, err)
	assert.Less(t, len(data), len(long)/20)

	var got string
	require.NoError(t, c.Unmarshal(data, &got))
	assert.Equal(t, long, got)
	require.NoError(t, c.Unmarshal(zip(t, []byte(`"of another writer"`)), &got))
	assert.Equal(t, "of another writer", got)

	again, err := c.Marshal(long)
	require.NoError(t, err)
	assert.Equal(t, data, again, "the same value gives the same bytes")
	assert.PanicsWithValue(t, "codec: Gzip of a nil Codec", func() { codec.Gzip(nil) })
}

func TestGzipRefuses(t *testing.T) {
	c := codec.Gzip(codec.JSON)
	sound := zip(t, []byte(`"sound"`))
	for _, test := range []struct {
		name string
		data []byte
		want string
	}{
		{"nothing", nil, "codec: gzip: unexpected EOF"},
		{"half a header", sound[:5], "codec: gzip: unexpected EOF"},
		{"half a member", sound[:len(sound)-9], "codec: gzip: unexpected EOF"},
		{"no gzip", []byte(`"plain text in JSON"`), "codec: gzip: gzip: invalid header"},
		{"another checksum", append(bytes.Clone(sound[:len(sound)-8]), 1, 2, 3, 4, 7, 0, 0, 0), "codec: gzip: gzip: invalid checksum"},
		{"a byte behind", append(bytes.Clone(sound), 0), "codec: gzip: 1 bytes behind the end of the member"},
		{"two members", append(bytes.Clone(sound), sound...), "bytes behind the end of the member"},
		{"a bomb", zip(t, make([]byte, codec.MaxSize+1)), "codec: gzip: it expands to more than 16777216 bytes"},
		{"no JSON inside", zip(t, []byte(`"open`)), "codec: json: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := c.Unmarshal(test.data, new(any))
			require.Error(t, err)
			assert.Contains(t, err.Error(), test.want)
		})
	}
	t.Run("largest", func(t *testing.T) {
		largest := make([]byte, codec.MaxSize)
		sealed, err := c.(codec.Transform).Seal(nil, largest)
		require.NoError(t, err)
		plain, err := c.(codec.Transform).Open(sealed)
		require.NoError(t, err)
		assert.True(t, bytes.Equal(largest, plain))
	})
	t.Run("too large", func(t *testing.T) {
		out, err := c.(codec.Transform).Seal([]byte("prefix"), make([]byte, codec.MaxSize+1))
		require.EqualError(t, err, "codec: gzip: 16777217 bytes to compress, want at most 16777216")
		assert.Equal(t, "prefix", string(out))
	})
	t.Run("inner error", func(t *testing.T) {
		_, err := c.Marshal(make(chan int))
		require.ErrorIs(t, err, codec.ErrUnsupported)
		assert.Contains(t, err.Error(), "codec: json: ")
	})
}

func FuzzGzip(f *testing.F) {
	c := codec.Gzip(codec.JSON)
	for _, v := range []any{nil, "a", 1.5, []any{true}, map[string]any{"k": "v"}} {
		data, err := c.Marshal(v)
		require.NoError(f, err)
		f.Add(data)
	}
	f.Add(zip(f, []byte(`"a"`)))
	f.Fuzz(func(t *testing.T, data []byte) { checkAccepted(t, c, data) })
}

// checkAccepted checks that what c decodes from data, it encodes again.
func checkAccepted(t *testing.T, c codec.Codec, data []byte) {
	given := bytes.Clone(data)
	var v any
	err := c.Unmarshal(data, &v)
	require.Equal(t, given, data, "Unmarshal changes its data")
	if err != nil {
		return
	}
	again, err := c.Marshal(v)
	require.NoError(t, err)
	var w any
	require.NoError(t, c.Unmarshal(again, &w))
	require.Equal(t, v, w)
}
