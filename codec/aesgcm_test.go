package codec_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq/codec"
)

func key(id string, size int) codec.Key {
	return codec.Key{ID: id, Secret: bytes.Repeat([]byte(id[:1]), size)}
}

func newAESGCM(t testing.TB, active codec.Key, retired ...codec.Key) codec.Codec {
	c, err := codec.AESGCM(codec.JSON, active, retired...)
	require.NoError(t, err)
	return c
}

func TestAESGCM(t *testing.T) {
	for _, size := range []int{16, 24, 32} {
		c := newAESGCM(t, key("a", size))
		assert.Equal(t, "json+aesgcm", c.Name())
		first, err := c.Marshal("attack at dawn")
		require.NoError(t, err)
		assert.NotContains(t, string(first), "dawn")
		second, err := c.Marshal("attack at dawn")
		require.NoError(t, err)
		assert.NotEqual(t, first, second, "each has a nonce of its own")
		for _, data := range [][]byte{first, second} {
			var got string
			require.NoError(t, c.Unmarshal(data, &got))
			assert.Equal(t, "attack at dawn", got)
		}
	}
}

// The layout that the documentation promises, read without the codec.
func TestAESGCMLayout(t *testing.T) {
	k := key("2026-11", 32)
	sealed, err := newAESGCM(t, k).Marshal([]int{1, 2})
	require.NoError(t, err)

	n := len(k.ID)
	require.Equal(t, 2+n+12+len("[1,2]")+16, len(sealed))
	assert.Equal(t, byte(1), sealed[0])
	assert.Equal(t, byte(n), sealed[1])
	assert.Equal(t, k.ID, string(sealed[2:2+n]))
	block, err := aes.NewCipher(k.Secret)
	require.NoError(t, err)
	gcm, err := cipher.NewGCM(block)
	require.NoError(t, err)
	bound := append(bytes.Clone(sealed[:2+n]), "json+aesgcm"...)
	plain, err := gcm.Open(nil, sealed[2+n:14+n], sealed[14+n:], bound)
	require.NoError(t, err)
	assert.Equal(t, "[1,2]", string(plain))
}

func TestAESGCMRotation(t *testing.T) {
	old, next := key("old", 32), key("next", 16)
	before := newAESGCM(t, old)
	ready := newAESGCM(t, old, next)
	during := newAESGCM(t, next, old)
	after := newAESGCM(t, next)
	byOld, err := ready.Marshal("written by the old key")
	require.NoError(t, err)
	byNext, err := during.Marshal("written by the next key")
	require.NoError(t, err)

	var got string
	for _, c := range []codec.Codec{before, ready, during} {
		require.NoError(t, c.Unmarshal(byOld, &got))
		assert.Equal(t, "written by the old key", got)
	}
	for _, c := range []codec.Codec{ready, during, after} {
		require.NoError(t, c.Unmarshal(byNext, &got))
		assert.Equal(t, "written by the next key", got)
	}
	err = after.Unmarshal(byOld, &got)
	require.ErrorIs(t, err, codec.ErrUnknownKey)
	assert.NotErrorIs(t, err, codec.ErrDecrypt)
	assert.EqualError(t, err, `codec: aesgcm: unknown key: encrypted with key "old", known are "next"`)
	err = newAESGCM(t, key("z", 16), key("y", 16)).Unmarshal(byOld, &got)
	assert.ErrorContains(t, err, `known are "y", "z"`)
}

func TestAESGCMRefuses(t *testing.T) {
	a, b := key("a", 32), key("b", 32)
	c := newAESGCM(t, a, b)
	sealed, err := c.Marshal("top secret")
	require.NoError(t, err)

	refuse := func(t *testing.T, c codec.Codec, data []byte, want error) {
		t.Helper()
		got := "untouched"
		err := c.Unmarshal(data, &got)
		require.ErrorIs(t, err, want)
		assert.Equal(t, "untouched", got)
		assert.NotContains(t, err.Error(), "secret")
		assert.NotContains(t, err.Error(), "aaaa")
	}
	t.Run("a changed bit anywhere", func(t *testing.T) {
		for i := range sealed {
			for bit := range 8 {
				damaged := bytes.Clone(sealed)
				damaged[i] ^= 1 << bit
				err := c.Unmarshal(damaged, new(string))
				require.Error(t, err)
				assert.Truef(t, strings.Contains(err.Error(), "unknown key") || strings.Contains(err.Error(), "cannot decrypt"), "%v", err)
			}
		}
	})
	t.Run("cut", func(t *testing.T) {
		for n := range sealed {
			refuse(t, c, sealed[:n], codec.ErrDecrypt)
		}
	})
	t.Run("the ID of another known key", func(t *testing.T) {
		damaged := bytes.Clone(sealed)
		damaged[2] = 'b'
		refuse(t, c, damaged, codec.ErrDecrypt)
	})
	t.Run("another ID of the same secret", func(t *testing.T) {
		renamed := newAESGCM(t, codec.Key{ID: "c", Secret: a.Secret})
		damaged := bytes.Clone(sealed)
		damaged[2] = 'c'
		refuse(t, renamed, damaged, codec.ErrDecrypt)
	})
	t.Run("another secret of the same ID", func(t *testing.T) {
		refuse(t, newAESGCM(t, codec.Key{ID: "a", Secret: b.Secret}), sealed, codec.ErrDecrypt)
	})
	t.Run("another codec with the same key", func(t *testing.T) {
		other, err := codec.AESGCM(codec.Gzip(codec.JSON), a)
		require.NoError(t, err)
		refuse(t, other, sealed, codec.ErrDecrypt)
	})
	t.Run("another version", func(t *testing.T) {
		damaged := bytes.Clone(sealed)
		damaged[0] = 2
		refuse(t, c, damaged, codec.ErrDecrypt)
		assert.EqualError(t, c.Unmarshal(damaged, new(any)), "codec: aesgcm: cannot decrypt: version 2, want 1")
	})
	t.Run("inner error", func(t *testing.T) {
		_, err := c.Marshal(func() {})
		require.ErrorIs(t, err, codec.ErrUnsupported)
	})
}

func TestAESGCMRefusesKeys(t *testing.T) {
	for _, test := range []struct {
		name    string
		inner   codec.Codec
		active  codec.Key
		retired []codec.Key
		want    string
	}{
		{"no inner codec", nil, key("a", 16), nil, "codec: aesgcm: the inner codec is nil"},
		{"no secret", codec.JSON, codec.Key{ID: "a"}, nil, `codec: aesgcm: the secret of key "a": it has 0 bytes, want 16, 24 or 32`},
		{"a secret of 17 bytes", codec.JSON, key("a", 16), []codec.Key{key("b", 17)}, `codec: aesgcm: the secret of key "b": it has 17 bytes, want 16, 24 or 32`},
		{"no ID", codec.JSON, codec.Key{Secret: make([]byte, 16)}, nil, `codec: aesgcm: key ID "" has 0 bytes, want 1 to 255`},
		{"a long ID", codec.JSON, key(strings.Repeat("i", 256), 16), nil, `has 256 bytes, want 1 to 255`},
		{"an ID twice", codec.JSON, key("a", 16), []codec.Key{key("b", 16), key("a", 32)}, `codec: aesgcm: two keys have the ID "a"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, err := codec.AESGCM(test.inner, test.active, test.retired...)
			require.ErrorContains(t, err, test.want)
			assert.Nil(t, c)
		})
	}
	longest := newAESGCM(t, key(strings.Repeat("i", 255), 16))
	data, err := longest.Marshal("a")
	require.NoError(t, err)
	require.NoError(t, longest.Unmarshal(data, new(string)))
}

func TestAESGCMCopiesSecrets(t *testing.T) {
	k := key("a", 32)
	c := newAESGCM(t, k)
	data, err := c.Marshal("a")
	require.NoError(t, err)
	clear(k.Secret)
	require.NoError(t, c.Unmarshal(data, new(string)))
}

func TestKeyHidesSecret(t *testing.T) {
	k := codec.Key{ID: "a", Secret: []byte("hush, hush, hush")}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		assert.Equal(t, `key "a"`, fmt.Sprintf(format, k))
		assert.Equal(t, `[key "a"]`, fmt.Sprintf("["+format+"]", &k))
	}
}

func FuzzAESGCM(f *testing.F) {
	c := newAESGCM(f, key("a", 32), key("b", 16))
	for _, v := range []any{nil, "a", 1.5, []any{true}, map[string]any{"k": "v"}} {
		data, err := c.Marshal(v)
		require.NoError(f, err)
		f.Add(data)
	}
	f.Add([]byte{1, 1, 'a'})
	f.Add([]byte{1, 255})
	f.Fuzz(func(t *testing.T, data []byte) {
		checkAccepted(t, c, data)
		tr := c.(codec.Transform)
		sealed, err := tr.Seal(nil, data)
		require.NoError(t, err)
		plain, err := tr.Open(sealed)
		require.NoError(t, err)
		require.True(t, bytes.Equal(data, plain))
	})
}
