package engine

import (
	"sync"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
)

// Awaited are the tasks whose results somebody waits for in this process. The zero value is ready. It is safe for
// concurrent use.
type Awaited struct {
	mu      sync.Mutex
	waiting map[uuid.UUID]*Waiting
}

// Waiting are the calls that wait for one task.
type Waiting struct {
	// Done is closed when Result and Err are set, which nobody changes then.
	Done   chan struct{}
	Result *omniq.RawResult
	Err    error

	calls  int
	looked bool // one of them has seen that the task is not final
}

// Begin begins to wait for a task. Leave is to follow.
func (a *Awaited) Begin(id uuid.UUID) *Waiting {
	a.mu.Lock()
	defer a.mu.Unlock()
	w, ok := a.waiting[id]
	if !ok {
		if a.waiting == nil {
			a.waiting = make(map[uuid.UUID]*Waiting)
		}
		w = &Waiting{Done: make(chan struct{})}
		a.waiting[id] = w
	}
	w.calls++
	return w
}

// Leave ends what Begin has begun.
func (a *Awaited) Leave(id uuid.UUID, w *Waiting) {
	a.mu.Lock()
	defer a.mu.Unlock()
	w.calls--
	if w.calls == 0 && a.waiting[id] == w {
		delete(a.waiting, id)
	}
}

// Look is told that the task was not final after Begin.
func (a *Awaited) Look(w *Waiting) {
	a.mu.Lock()
	defer a.mu.Unlock()
	w.looked = true
}

// Looked returns the tasks that Look was told of, and whether those are all.
func (a *Awaited) Looked() (ids []uuid.UUID, all bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	ids = make([]uuid.UUID, 0, len(a.waiting))
	for id, w := range a.waiting {
		if w.looked {
			ids = append(ids, id)
		}
	}
	return ids, len(ids) == len(a.waiting)
}

// Any reports whether somebody waits.
func (a *Awaited) Any() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.waiting) > 0
}

// End tells those who wait for a task how it ended.
func (a *Awaited) End(id uuid.UUID, r *omniq.RawResult, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	w, ok := a.waiting[id]
	if !ok {
		return
	}
	delete(a.waiting, id)
	w.Result, w.Err = r, err
	close(w.Done)
}

// Close tells all that the backend is closed.
func (a *Awaited) Close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, w := range a.waiting {
		w.Err = omniq.ErrClosed
		close(w.Done)
	}
	a.waiting = nil
}
