package codec

import (
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

var (
	// ErrUnknownKey is what errors.Is finds in an error of an [AESGCM] codec about data that was encrypted with a key
	// that the codec has not been given. The data may be sound: give the codec that key as a retired one.
	ErrUnknownKey = errors.New("unknown key")

	// ErrDecrypt is what errors.Is finds in an error of an [AESGCM] codec about data that is not authentic: it was
	// changed, cut, written by another codec, or encrypted with another secret of the same key ID.
	ErrDecrypt = errors.New("cannot decrypt")
)

// Key is a key of an [AESGCM] codec.
type Key struct {
	// ID names the key, in clear, in whatever is encrypted with it: 1 to 255 bytes. A new secret needs a new ID.
	ID string

	// Secret has 16, 24 or 32 bytes, for AES-128, AES-192 or AES-256. They must come from a random source: a password
	// is no secret.
	Secret []byte
}

// String tells the ID of the key and nothing of its secret.
func (k Key) String() string { return "key " + strconv.Quote(k.ID) }

// GoString is String, for the verb %#v.
func (k Key) GoString() string { return k.String() }

// AESGCM returns a codec that encrypts and authenticates what inner writes, by AES in Galois/Counter Mode (NIST SP
// 800-38D). Its name is that of inner with "+aesgcm" after it. It implements [Transform] and [Appender].
//
// It encrypts with the active key, and decrypts with the active and the retired ones. To replace a key without a
// gap, give the new one to all readers as retired, then make it active and the old one retired, and drop the old one
// when nothing that was written with it is left. The codec copies the secrets.
//
// The error of AESGCM tells which key is unfit: an ID of no or too many bytes, an ID given twice, a secret of another
// length. Inner must not be nil.
//
// # Layout
//
//	offset  bytes  what
//	0       1      version, 1
//	1       1      n, the length of the key ID
//	2       n      the key ID
//	2+n     12     nonce, random
//	14+n    m      ciphertext, as long as the plaintext
//	14+n+m  16     tag
//
// The additional data, which the tag covers too, are the first 2+n bytes and after them the name of the codec: bytes
// of one codec cannot be passed off as those of another one with the same keys, nor a key ID replaced.
//
// # Bounds
//
// Nonces are random, so one key must not encrypt more than 2^32 values, by all programs that use it together: beyond
// it the chance that a nonce occurs twice, which breaks the encryption, exceeds 2^-32. Replace a key long before.
// The length of a value is not hidden. A value is not bound to its task: whoever can write to the queue can put one
// encrypted value in the place of another, or the same again.
func AESGCM(inner Codec, active Key, retired ...Key) (Codec, error) {
	if inner == nil {
		return nil, errors.New("codec: aesgcm: the inner codec is nil")
	}
	c := &aesGCM{inner: inner, name: inner.Name() + "+aesgcm", keys: map[string]*aesKey{}}
	for _, k := range append([]Key{active}, retired...) {
		if len(k.ID) == 0 || len(k.ID) > 255 {
			return nil, fmt.Errorf("codec: aesgcm: key ID %.40q has %d bytes, want 1 to 255", k.ID, len(k.ID))
		}
		if c.keys[k.ID] != nil {
			return nil, fmt.Errorf("codec: aesgcm: two keys have the ID %q", k.ID)
		}
		aead, err := newAEAD(k.Secret)
		if err != nil {
			return nil, fmt.Errorf("codec: aesgcm: the secret of key %q: %w", k.ID, err)
		}
		header := append([]byte{aesVersion, byte(len(k.ID))}, k.ID...)
		c.keys[k.ID] = &aesKey{aead: aead, header: header, bound: slices.Concat(header, []byte(c.name))}
	}
	c.active = c.keys[active.ID]
	return c, nil
}

const aesVersion = 1

func newAEAD(secret []byte) (cipher.AEAD, error) {
	switch len(secret) {
	case 16, 24, 32:
	default:
		return nil, fmt.Errorf("it has %d bytes, want 16, 24 or 32", len(secret))
	}
	block, err := aes.NewCipher(secret)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

type aesGCM struct {
	inner  Codec
	name   string
	active *aesKey
	keys   map[string]*aesKey // by ID
}

type aesKey struct {
	aead   cipher.AEAD // puts a random nonce in front
	header []byte
	bound  []byte // the additional data
}

func (c *aesGCM) Name() string { return c.name }

func (c *aesGCM) Inner() Codec { return c.inner }

func (c *aesGCM) Marshal(v any) ([]byte, error) { return appendSealed(c, nil, v) }

func (c *aesGCM) Append(dst []byte, v any) ([]byte, error) { return appendSealed(c, dst, v) }

func (c *aesGCM) Unmarshal(data []byte, v any) error { return unmarshalSealed(c, data, v) }

func (c *aesGCM) Seal(dst, plain []byte) ([]byte, error) {
	k := c.active
	dst = slices.Grow(dst, len(k.header)+len(plain)+k.aead.Overhead())
	dst = append(dst, k.header...)
	return k.aead.Seal(dst, nil, plain, k.bound), nil
}

func (c *aesGCM) Open(sealed []byte) ([]byte, error) {
	if len(sealed) < 2 || len(sealed) < 2+int(sealed[1]) {
		return nil, fmt.Errorf("codec: aesgcm: %w: %d bytes are too few", ErrDecrypt, len(sealed))
	}
	if sealed[0] != aesVersion {
		return nil, fmt.Errorf("codec: aesgcm: %w: version %d, want %d", ErrDecrypt, sealed[0], aesVersion)
	}
	id, sealed := sealed[2:2+int(sealed[1])], sealed[2+int(sealed[1]):]
	k := c.keys[string(id)]
	if k == nil {
		return nil, fmt.Errorf("codec: aesgcm: %w: encrypted with key %q, known are %s", ErrUnknownKey, id, c.ids())
	}
	plain, err := k.aead.Open(nil, nil, sealed, k.bound)
	if err != nil {
		return nil, fmt.Errorf("codec: aesgcm: %w with key %q: %d bytes are not authentic", ErrDecrypt, id, len(sealed))
	}
	return plain, nil
}

// ids lists the keys for an error.
func (c *aesGCM) ids() string {
	ids := make([]string, 0, len(c.keys))
	for id := range c.keys {
		ids = append(ids, strconv.Quote(id))
	}
	slices.Sort(ids)
	return strings.Join(ids, ", ")
}
