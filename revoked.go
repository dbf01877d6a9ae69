package omniq

import (
	"context"
	"errors"
	"time"

	"github.com/omniq-go/omniq/internal/logkey"
)

// watch ends the contexts of handlers whose tasks are cancelled, until ctx ends.
func (w *Worker) watch(ctx context.Context) {
	for ctx.Err() == nil {
		leases, err := w.backend.Revoked(ctx, w.id)
		w.revoke(leases)
		if err == nil || ctx.Err() != nil {
			continue
		}
		if errors.Is(err, ErrClosed) {
			return
		}
		w.log.Error("cannot ask for cancelled tasks; trying again", logkey.Error, err)
		sleep(ctx, time.Second)
	}
}

// revoke notes that the tasks of leases are cancelled. A lease may be on its way yet from the call that handed it out.
func (w *Worker) revoke(leases []LeaseID) {
	if len(leases) == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range leases {
		if a := w.held.of(id); a != nil {
			a.lose(ErrCancelled)
			continue
		}
		w.early.add(id, w.lease)
	}
}

// revoked are leases that were revoked before the worker held them, for as long as a lease lasts and at most twice that.
// The worker's mu guards it.
type revoked struct {
	now, before map[LeaseID]struct{}
	since       time.Time // when now began
}

func (r *revoked) add(id LeaseID, keep time.Duration) {
	if r.now == nil || time.Since(r.since) > keep {
		r.before, r.now, r.since = r.now, make(map[LeaseID]struct{}), time.Now()
	}
	r.now[id] = struct{}{}
}

func (r *revoked) has(id LeaseID) bool {
	if len(r.now) == 0 {
		return false
	}
	_, now := r.now[id]
	_, before := r.before[id]
	return now || before
}
