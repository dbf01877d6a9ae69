package memory

import (
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
)

// holds are the unique keys that are held.
type holds struct {
	keys map[uniqueKey]*hold
	most most // that were in keys
	ends moments[*hold]
}

type uniqueKey struct{ funcName, key string }

type hold struct {
	key   uniqueKey
	id    uuid.UUID
	until time.Time // zero until the task is final
	freed bool      // it is not in keys any more
}

func keyOf(t *omniq.RawTask) uniqueKey { return uniqueKey{t.FuncName, t.UniqueKey} }

// idKey is the key of an ID that is kept. No task has an empty name.
func idKey(id uuid.UUID) uniqueKey { return uniqueKey{"", id.String()} }

// holder tells which task has a key now, also if advance has not come to it.
func (b *Backend) holder(key uniqueKey, now time.Time) (id uuid.UUID, taken bool) {
	own, ok := b.holds.keys[key]
	switch {
	case !ok:
		return uuid.Nil, false
	case own.until.IsZero(): // it may be final by now
		b.task(own.id, now)
		own, ok = b.holds.keys[key]
		return holderOf(own), ok
	case own.until.After(now):
		return own.id, true
	}
	b.holds.free(key)
	return uuid.Nil, false
}

// holderOf is the task that has a hold, none if it is nil.
func holderOf(h *hold) uuid.UUID {
	if h == nil {
		return uuid.Nil
	}
	return h.id
}

// take gives a task a key: for a time or, where that is zero, until it is released. Who had it goes on without it.
func (h *holds) take(key uniqueKey, id uuid.UUID, d time.Duration, now time.Time) {
	own, ok := h.keys[key]
	if !ok {
		if h.keys == nil {
			h.keys = make(map[uniqueKey]*hold)
		}
		own = &hold{key: key}
		h.keys[key] = own
	}
	own.id = id
	if d > 0 {
		until := now.Add(d)
		if own.until.IsZero() {
			h.ends.add(until, own)
		}
		own.until = until
	}
}

// release takes the key from t, which is final, unless it is held for a time or by another by now.
func (h *holds) release(t *omniq.RawTask) {
	key := keyOf(t)
	if own, ok := h.keys[key]; ok && own.id == t.ID && own.until.IsZero() {
		h.keys = without(h.keys, key, &h.most)
	}
}

// free takes a key from whoever has it.
func (h *holds) free(key uniqueKey) {
	h.keys[key].freed = true
	h.keys = without(h.keys, key, &h.most)
}

func (h *holds) advance(now time.Time) {
	for range atOnce {
		own, ok := h.ends.pop(now)
		if !ok {
			return
		}
		if own.freed {
			continue
		}
		if own.until.After(now) { // it was taken again meanwhile
			h.ends.add(own.until, own)
			continue
		}
		h.keys = without(h.keys, own.key, &h.most)
	}
}
