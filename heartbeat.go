package omniq

import (
	"context"
	"errors"
	"time"

	"github.com/omniq-go/omniq/internal/logkey"
)

// heartbeat extends the leases that are held, at a third of their duration, and sooner when that has failed.
func (w *Worker) heartbeat(ctx context.Context) {
	usual := w.lease / 3
	again := w.lease / 30 // the pause after a failure; doubled for each further one
	pause := again
	timer := time.NewTimer(usual)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		left, ok := w.extend(ctx)
		if ok {
			pause = again
			timer.Reset(usual)
			continue
		}
		timer.Reset(min(pause, left, usual))
		pause = min(2*pause, usual)
	}
}

// extend extends the leases that are held. When some could not be, ok is false, and left is the time until the first of
// these ends.
func (w *Worker) extend(ctx context.Context) (left time.Duration, ok bool) {
	w.mu.Lock()
	attempts := make([]*attempt, 0, len(w.held))
	leases := make([]LeaseID, 0, len(w.held))
	for a := range w.held.all {
		if a.lost == nil && !a.over {
			attempts = append(attempts, a)
			leases = append(leases, a.lease.LeaseID)
		}
	}
	w.mu.Unlock()
	if len(attempts) == 0 {
		return 0, true
	}
	call, cancel := context.WithTimeout(ctx, w.lease/4)
	asked := time.Now()
	errs, err := w.backend.Extend(call, leases, w.lease)
	cancel()

	failed, why := 0, error(nil)
	left = w.lease
	now := time.Now()
	w.mu.Lock()
	for i, a := range attempts {
		e := err
		if err == nil && errs != nil {
			e = errs[i]
		}
		switch {
		case e == nil:
			a.lease.Expires = asked.Add(w.lease)
		case err == nil && errors.Is(e, ErrCancelled):
			a.lose(ErrCancelled)
		case err == nil && errors.Is(e, ErrLeaseLost):
			a.lose(ErrLeaseLost)
		default:
			failed, why = failed+1, e
			if now.Before(a.lease.Expires) {
				left = min(left, a.lease.Expires.Sub(now))
			} else {
				a.lose(ErrLeaseLost)
			}
		}
	}
	w.mu.Unlock()
	if failed > 0 && ctx.Err() == nil { // else the worker has ended
		w.log.Error("cannot extend leases; trying again", logkey.Leases, failed, logkey.Took, time.Since(asked), logkey.Error, why)
	}
	return left, failed == 0
}

// lose says that the task is not this worker's any more, and ends its handler's context, unless it may be the handler itself
// that has ended the lease, in a transaction of its own. The worker's mu is locked.
func (a *attempt) lose(why error) {
	if a.lost == nil {
		a.lost = why
		a.jot.Load().close(why)
		if a.cancel != nil && !(a.inTx && why == ErrLeaseLost) {
			a.cancel(why)
		}
	}
}
