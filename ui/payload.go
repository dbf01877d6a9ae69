package ui

import (
	"bytes"
	"encoding/json"
	"fmt"
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

// taskPayloads are the arguments of a task. What a codec wrote that is not JSON travels in base64: both parts stand in its Args.
func taskPayloads(t *omniq.RawTask) []payload {
	const args, kwargs = "Arguments", "Keyword arguments"
	if t.Codec == "" {
		return []payload{jsonPayload(args, t.Args), jsonPayload(kwargs, t.Kwargs)}
	}
	var parts [2][]byte
	_ = json.Unmarshal(t.Args, &parts) // what is no such array has no bytes that could be counted
	return []payload{{Name: args, Hidden: sealed(parts[0], t.Codec)}, {Name: kwargs, Hidden: sealed(parts[1], t.Codec)}}
}

// resultPayload is the result of a task that succeeded.
func resultPayload(r *omniq.RawResult) payload {
	const name = "Result"
	if r.Codec == "" {
		return jsonPayload(name, r.ResultData)
	}
	var data []byte
	_ = json.Unmarshal(r.ResultData, &data)
	return payload{Name: name, Hidden: sealed(data, r.Codec)}
}

// jsonPayload shows a part that is JSON.
func jsonPayload(name string, raw omniq.Raw) payload {
	if len(raw) == 0 {
		return payload{Name: name, Hidden: "nothing is kept"}
	}
	p := payload{Name: name}
	p.Text, p.Cut = shownJSON(raw)
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
func sealed(data []byte, codec string) string {
	if key, ok := aesKey(data); ok && strings.HasSuffix(codec, "+aesgcm") {
		return fmt.Sprintf("encrypted by key %q with codec %s, %s", key, codec, numbered(len(data), "byte"))
	}
	return fmt.Sprintf("written by codec %s, %s", codec, numbered(len(data), "byte"))
}

// aesKey is the ID of the key, which stands in clear before what it has encrypted: see codec.AESGCM.
func aesKey(data []byte) (string, bool) {
	const version = 1
	if len(data) < 2 || data[0] != version || len(data) < 2+int(data[1]) || data[1] == 0 {
		return "", false
	}
	return string(data[2 : 2+int(data[1])]), true
}
