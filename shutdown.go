package omniq

import (
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq/internal/logkey"
)

// within reports whether done is closed before d has passed.
func within(done <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

// giveBack gives back what was taken ahead, and no handler has begun. Without prefetch there is nothing: each task has a
// handler that is free, and is started. The channel is closed.
func (w *Worker) giveBack(attempts <-chan *attempt, s *settler) {
	if w.prefetch == 0 {
		return
	}
	w.mu.Lock()
	w.stopping = true
	w.mu.Unlock()
	var all []*attempt
	for a := range attempts {
		all = append(all, a)
		w.vacate(a)
	}
	s.release(all)
}

// endHandlers ends the contexts of the handlers. It does so one by one: a context that they had in common would be a
// lock that all of them take twice.
func (w *Worker) endHandlers() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ending = true
	for a := range w.held.all {
		if a.cancel != nil {
			a.cancel(ErrShutdown)
		}
	}
}

// abandon gives back the tasks whose handlers do not return.
func (w *Worker) abandon(s *settler) error {
	w.mu.Lock()
	var left []*attempt
	var stuck []uuid.UUID
	for a := range w.held.all {
		if a.settling || a.over {
			continue // it waits only to be settled, or was abandoned before
		}
		left = append(left, a)
		if a.phase == handling {
			stuck = append(stuck, a.lease.Task.ID)
		}
	}
	w.mu.Unlock()
	s.release(left)
	if len(stuck) == 0 {
		return nil
	}
	w.log.Error("handlers have not returned; their tasks are given back", logkey.Stuck, stuck)
	return fmt.Errorf("omniq: worker: %d handlers have not returned %v after their contexts ended: tasks %v",
		len(stuck), afterShutdown, stuck)
}
