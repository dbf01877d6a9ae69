package postgres

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
)

// awaited are the tasks whose results somebody waits for in this process. What ends here is handed over here; for what
// ends elsewhere there are the hub and the polls.
type awaited struct {
	mu      sync.Mutex
	waiting map[uuid.UUID]*waiting
}

// waiting are the calls that wait for one task.
type waiting struct {
	calls  int
	done   chan struct{} // closed when the others are set
	result *omniq.RawResult
	err    error
}

// Await implements [omniq.ResultStore].
func (b *Backend) Await(ctx context.Context, id uuid.UUID) (*omniq.RawResult, error) {
	if err := b.alive(ctx); err != nil {
		return nil, err
	}
	// Who waits is known before it is looked, so that no end of the task is missed in between.
	w := b.awaited.begin(id)
	defer b.awaited.leave(id, w)
	s := b.hub.subscribe(resultTopic(id))
	defer b.hub.cancel(s)
	poll := time.NewTicker(b.config.poll)
	defer poll.Stop()
	for waited := false; ; waited = true {
		r, err := b.result(ctx, id, waited)
		switch {
		case err == nil && r.Status.Final():
			return r, nil
		case errors.Is(err, omniq.ErrNotFound):
			select {
			case <-w.done: // it was settled in between, and its result is not kept
				return w.result, w.err
			default:
				return nil, err
			}
		case err != nil:
			return nil, err
		}
		select {
		case <-w.done:
			return w.result, w.err
		case <-s.woken:
		case <-poll.C:
		case <-ctx.Done():
			return nil, contextError(ctx)
		case <-b.closing:
			return nil, omniq.ErrClosed
		}
	}
}

func (a *awaited) begin(id uuid.UUID) *waiting {
	a.mu.Lock()
	defer a.mu.Unlock()
	w, ok := a.waiting[id]
	if !ok {
		w = &waiting{done: make(chan struct{})}
		a.waiting[id] = w
	}
	w.calls++
	return w
}

func (a *awaited) leave(id uuid.UUID, w *waiting) {
	a.mu.Lock()
	defer a.mu.Unlock()
	w.calls--
	if w.calls == 0 && a.waiting[id] == w {
		delete(a.waiting, id)
	}
}

// end tells those who wait for a task.
func (a *awaited) end(id uuid.UUID, r *omniq.RawResult, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.finish(id, r, err)
}

// finish is called with the lock.
func (a *awaited) finish(id uuid.UUID, r *omniq.RawResult, err error) {
	w, ok := a.waiting[id]
	if !ok {
		return
	}
	delete(a.waiting, id)
	w.result, w.err = r, err
	close(w.done)
}

func (a *awaited) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for id := range a.waiting {
		a.finish(id, nil, omniq.ErrClosed)
	}
}
