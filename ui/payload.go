package ui

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/omniq-go/omniq"
)

// Bounds of what is shown of a payload, and of what can be copied.
const (
	maxShown  = 16 << 10 // bytes of each part
	maxCopied = 64 << 10 // bytes of args and kwargs together
)

// payload is a part of a task or a result as it is shown. Exactly one of Text and Hidden is set where there is any.
type payload struct {
	Name   string
	Text   string // JSON, the numbers and the order of keys as they are
	Cut    int    // how many bytes more there are
	Hidden string // why nothing is shown of it
}

// newPayload shows a part that was written by a codec, empty for JSON.
func newPayload(name string, raw omniq.Raw, codec string) payload {
	p := payload{Name: name}
	switch {
	case len(raw) == 0:
		p.Hidden = "nothing is kept"
	case codec != "":
		p.Hidden = sealed(raw, codec)
	default:
		p.Text, p.Cut = shownJSON(raw)
	}
	return p
}

// shownJSON is JSON with line breaks, or as much of it as is shown.
func shownJSON(raw omniq.Raw) (text string, more int) {
	if len(raw) > maxShown {
		cut := maxShown
		for cut > 0 && !utf8.RuneStart(raw[cut]) {
			cut--
		}
		return string(raw[:cut]), len(raw) - cut
	}
	var b bytes.Buffer
	if len(raw) == 0 || json.Indent(&b, raw, "", "  ") != nil || b.Len() > 4*maxShown { // deep is long
		return string(raw), 0
	}
	return b.String(), 0
}

// sealed names a payload that is not JSON: how it was written, by which key where that can be told, and how long it is.
func sealed(raw omniq.Raw, codec string) string {
	parts := sealedParts(raw)
	size := 0
	for _, part := range parts {
		size += len(part)
	}
	if len(parts) > 0 && strings.HasSuffix(codec, "+aesgcm") {
		if key, ok := aesKey(parts[0]); ok {
			return fmt.Sprintf("encrypted by key %q with codec %s, %s bytes", key, codec, count(size))
		}
	}
	return fmt.Sprintf("written by codec %s, %s bytes", codec, count(size))
}

// sealedParts are the values of a payload that is no JSON, whose bytes travel in base64: each argument by itself, or a result.
func sealedParts(raw omniq.Raw) [][]byte {
	var one []byte
	if json.Unmarshal(raw, &one) == nil {
		return [][]byte{one}
	}
	var list [][]byte
	if json.Unmarshal(raw, &list) == nil {
		return list
	}
	var named map[string][]byte
	if json.Unmarshal(raw, &named) != nil {
		return nil
	}
	return slices.Collect(maps.Values(named))
}

// aesKey is the ID of the key, which stands in clear before what it has encrypted: see codec.AESGCM.
func aesKey(data []byte) (string, bool) {
	const version = 1
	if len(data) < 2 || data[0] != version || len(data) < 2+int(data[1]) || data[1] == 0 {
		return "", false
	}
	return string(data[2 : 2+int(data[1])]), true
}
