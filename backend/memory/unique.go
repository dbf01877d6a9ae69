package memory

import (
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
)

// holds are the unique keys that are held.
type holds struct {
	keys map[uniqueKey]*hold
	ends moments[*hold]
}

type uniqueKey struct{ funcName, key string }

type hold struct {
	key   uniqueKey
	id    uuid.UUID
	until time.Time // zero until the task is final
}

func keyOf(t *omniq.RawTask) uniqueKey { return uniqueKey{t.FuncName, t.UniqueKey} }

// holder tells which task has the key of t.
func (h *holds) holder(t *omniq.RawTask) (id uuid.UUID, taken bool) {
	if own, ok := h.keys[keyOf(t)]; ok {
		return own.id, true
	}
	return uuid.Nil, false
}

// take gives t its key, which nobody else has.
func (h *holds) take(t *omniq.RawTask, now time.Time) {
	key := keyOf(t)
	own, ok := h.keys[key]
	if !ok {
		if h.keys == nil {
			h.keys = make(map[uniqueKey]*hold)
		}
		own = &hold{key: key, id: t.ID}
		h.keys[key] = own
	}
	if t.UniqueFor > 0 {
		until := now.Add(t.UniqueFor)
		if own.until.IsZero() {
			h.ends.add(until, own)
		}
		own.until = until
	}
}

// release takes the key from t, which is final, unless it is held for a time.
func (h *holds) release(t *omniq.RawTask) {
	if t.UniqueFor == 0 {
		delete(h.keys, keyOf(t))
	}
}

func (h *holds) advance(now time.Time) {
	for own, ok := h.ends.pop(now); ok; own, ok = h.ends.pop(now) {
		if own.until.After(now) { // it was taken again meanwhile
			h.ends.add(own.until, own)
			continue
		}
		delete(h.keys, own.key)
	}
}
