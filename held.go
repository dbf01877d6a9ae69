package omniq

import "github.com/google/uuid"

// held are attempts by their tasks. Those of one task are a chain, the newest first: a lease may be lost and come again
// while the handler of the first still runs. The worker's mu guards it.
type held map[uuid.UUID]*attempt

func (h *held) add(a *attempt) {
	if *h == nil {
		*h = make(held)
	}
	id := a.lease.TaskID
	a.older = (*h)[id]
	(*h)[id] = a
}

func (h held) remove(a *attempt) {
	id := a.lease.TaskID
	switch newest := h[id]; {
	case newest != a:
		for ; newest != nil; newest = newest.older {
			if newest.older == a {
				newest.older = a.older
				return
			}
		}
	case a.older != nil:
		h[id] = a.older
	default:
		delete(h, id)
	}
}

// of returns the attempt with a lease, or nil.
func (h held) of(id LeaseID) *attempt {
	a := h[id.TaskID]
	for a != nil && a.lease.Token != id.Token {
		a = a.older
	}
	return a
}

// all yields each attempt.
func (h held) all(yield func(*attempt) bool) {
	for _, a := range h {
		for ; a != nil; a = a.older {
			if !yield(a) {
				return
			}
		}
	}
}

// busy reports whether an earlier attempt of a's task has a handler that has not returned.
func (h held) busy(a *attempt) bool {
	for other := h[a.lease.TaskID]; other != nil; other = other.older {
		if other != a && (other.phase == starting || other.phase == handling) {
			return true
		}
	}
	return false
}

// letGo ends what the worker has to do with an attempt's lease. It stays held while its handler runs, so that the worker
// does not start its task again. The worker's mu is locked.
func (w *Worker) letGo(a *attempt) {
	a.over = true
	if a.phase != starting && a.phase != handling {
		w.held.remove(a)
	}
}
