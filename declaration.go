package omniq

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strings"

	"github.com/omniq-go/omniq/codec"
)

// declaration is what tells what was declared of a schedule from anything else. It is the same for the same calls, also if the codec
// never writes the same twice: it is made of their JSON, and stored as the codec writes it, so that it tells no more than they do.
type declaration struct {
	codecs codecs
	digest string
}

// newDeclaration makes that of a spec, whose calls are made of n.
func newDeclaration(c *Client, sp *spec, n *node) (*declaration, error) {
	plain, writer := *sp, c.codecs.writer()
	if isOpaque(writer.Name()) {
		// What only the codec can write has no JSON. Then what it has written is all that there is to compare.
		if calls, err := newTemplate(c, n, codec.JSON); err == nil {
			plain.Calls = calls
		}
	}
	text, err := json.Marshal(&plain)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(text)
	return &declaration{c.codecs, hex.EncodeToString(sum[:16])}, nil
}

// sealed is the text that is stored: the digest or, of a codec whose payloads are no text, the codec's name and what it writes.
func (d *declaration) sealed() (string, error) {
	writer := d.codecs.writer()
	if !isOpaque(writer.Name()) {
		return d.digest, nil
	}
	data, err := writer.Marshal(d.digest)
	if err != nil {
		return "", err
	}
	return writer.Name() + ":" + base64.StdEncoding.EncodeToString(data), nil
}

// is reports whether a text is that of the same declaration by the same codec. One that cannot be read is that of another one.
func (d *declaration) is(sealed string) bool {
	name, text, opaque := strings.Cut(sealed, ":")
	writer := d.codecs.writer()
	if opaque != isOpaque(writer.Name()) {
		return false
	}
	if !opaque {
		return sealed == d.digest
	}
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil || name != writer.Name() {
		return false
	}
	var digest string
	return writer.Unmarshal(data, &digest) == nil && digest == d.digest
}
