package omniq

import (
	"context"
	"fmt"
	"reflect"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq/codec"
	"github.com/omniq-go/omniq/internal/jsontext"
	"github.com/omniq-go/omniq/internal/payload"
)

// noteKey is the name under which values of one type are kept beside a task.
type noteKey struct {
	kind   string // progress, state or stream
	name   string
	quoted string // as a key of a JSON object, with its colon
}

// newNoteKey panics if the name or the type is invalid: keys are declared once, at the start of a program.
func newNoteKey[T any](kind, name string) noteKey {
	err := checkText("the name", name, MaxNameLen)
	if err == nil {
		err = payloadFault("", payload.CheckNote(reflect.TypeFor[T]()))
	}
	if err != nil {
		panic(fmt.Sprintf("omniq: %s %q: %v", kind, name, err))
	}
	return noteKey{kind, name, quoteKey(name)}
}

// quoteKey returns a key of a JSON object, which is text, with its colon.
func quoteKey(key string) string {
	quoted, _ := jsontext.AppendString(nil, key)
	return string(append(quoted, ':'))
}

// fault says which key an error is about.
func (k *noteKey) fault(err error) error {
	if k.name == "" {
		return err
	}
	return fmt.Errorf("omniq: %s %q: %w", k.kind, k.name, err)
}

func (k *noteKey) check() error {
	if k.name == "" {
		return invalid("a key that Progress, State or Stream has not made")
	}
	return nil
}

// jot is that of the attempt whose handler has the context.
func (k *noteKey) jot(ctx context.Context) (*jot, error) {
	if err := k.check(); err != nil {
		return nil, err
	}
	return jotFrom(ctx)
}

// reader is how a task is reached whose notes are read.
func (k *noteKey) reader(h Handled) (*Client, uuid.UUID, error) {
	if err := k.check(); err != nil {
		return nil, uuid.Nil, err
	}
	if h == nil {
		return nil, uuid.Nil, invalid("the handle is nil")
	}
	c, id, err := h.handled()
	if err == nil {
		err = checkNotes(c.backend)
	}
	return c, id, err
}

func checkNotes(b Backend) error {
	if caps := b.Capabilities(); !caps.Notes {
		return invalid("the engine %q keeps no progress, state and streams", caps.Name)
	}
	return nil
}

// appendNote appends the JSON text of the value that v points to. Depth is how many arrays and objects it may have inside
// each other.
func appendNote(dst []byte, v any, depth int) ([]byte, error) {
	from := len(dst)
	out, err := payload.AppendResult(dst, codec.JSON, v)
	if err != nil {
		return dst, payloadFault("value", err)
	}
	if text := out[from:]; len(text) >= 2*depth { // what is deeper is longer
		if err := jsontext.Valid(text, depth); err != nil {
			return dst, payloadFault("value", err)
		}
	}
	return out, nil
}

// memberDepth is how deep a value may be that is a member of an object.
const memberDepth = payload.MaxDepth - 1

// readNote decodes JSON text into the value that v points to.
func readNote(text Raw, v any) error {
	return payloadFault("value", payload.DecodeResult(text, false, codec.JSON, v, true))
}

// members are those of a JSON object in which each key of the a task's handlers has its place.
type members struct {
	list []member
	size int // of the object's text, but for its braces
}

type member struct {
	key   string // in quotes, with its colon
	value Raw
}

// readMembers reads an object, nil for an empty one.
func readMembers(text Raw) (m members, err error) {
	if len(text) == 0 {
		return m, nil
	}
	o, err := jsontext.NewObject(text, jsontext.SkipSpace(text, 0), payload.MaxDepth)
	for more := err == nil; more; {
		if more, err = o.Next(); more {
			_, err = m.put(quoteKey(string(o.Key)), text[o.Start:o.End:o.End])
			more = err == nil
		}
	}
	return m, err
}

// find returns the place of a key, or -1.
func (m *members) find(key string) int {
	for i := range m.list {
		if m.list[i].key == key {
			return i
		}
	}
	return -1
}

// put sets the value of a key, which it keeps, and returns the one before. An error says that the object would be too large,
// and nothing is changed.
func (m *members) put(key string, value Raw) (old Raw, err error) {
	i, size := m.find(key), m.size
	if i < 0 {
		size += len(key) + len(",")
	} else {
		size -= len(m.list[i].value)
	}
	if size += len(value); size+len("{}")-len(",") > MaxNotes {
		return nil, invalid("with the other keys it has %d bytes, want at most %d", size+len("{}")-len(","), MaxNotes)
	}
	if m.size = size; i < 0 {
		m.list = append(m.list, member{key, value})
		return nil, nil
	}
	old, m.list[i].value = m.list[i].value, value
	return old, nil
}

// text returns the object, in memory of its own.
func (m *members) text() Raw {
	b := make(Raw, 1, m.size+len("{}"))
	b[0] = '{'
	for i := range m.list {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(b, m.list[i].key...), m.list[i].value...)
	}
	return append(b, '}')
}
