package omniq

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/omniq-go/omniq/internal/logkey"
)

// fetch leases tasks for the places that are free, until ctx ends or the backend is closed.
func (w *Worker) fetch(ctx context.Context, attempts chan<- *attempt) error {
	const minPause, maxPause = 50 * time.Millisecond, 5 * time.Second
	const maxStrange = time.Second
	pause, strange := minPause, minPause
	defer w.asksNoMore()
	for ctx.Err() == nil {
		call, r, ok := w.reserve(ctx)
		if !ok {
			return nil
		}
		w.asks()
		leases, err := w.backend.Lease(call, r)
		w.answered(err, call.Err() != nil && len(leases) == 0)
		if w.limits != nil {
			renewed := call.Err() != nil && ctx.Err() == nil
			w.asked(leases)
			if renewed && errors.Is(err, context.Canceled) {
				err = nil
			}
		}
		w.unreserve(r.Max - len(leases))
		w.hold(ctx, leases, attempts)
		switch {
		case err == nil && w.allStrange(leases):
			sleep(ctx, spread(strange, 0.5)) // a worker that knows them is to find them first
			pause, strange = minPause, min(2*strange, maxStrange)
		case err == nil:
			pause = minPause
			if len(leases) > 0 {
				strange = minPause
			}
		case errors.Is(err, ErrClosed):
			return fmt.Errorf("omniq: worker: %w", err)
		case ctx.Err() == nil:
			w.log.Error("cannot lease tasks; trying again", logkey.Pause, pause, logkey.Error, err)
			sleep(ctx, pause)
			pause = min(2*pause, maxPause)
		}
	}
	return nil
}

// allStrange reports whether there are leases and this worker has no handler for any of them.
func (w *Worker) allStrange(leases []Lease) bool {
	for i := range leases {
		if _, ok := w.handlers[leases[i].Task.FuncName]; ok {
			return false
		}
	}
	return len(leases) > 0
}

// sleep pauses for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// hold takes charge of leases, for which places are reserved, and passes them on. It does not block.
func (w *Worker) hold(ctx context.Context, leases []Lease, attempts chan<- *attempt) {
	if len(leases) == 0 {
		return
	}
	stopping := ctx.Err() != nil
	now := time.Now()
	expires := now.Add(w.lease)
	all := make([]*attempt, len(leases)) // each by itself: a long one must not keep the others' payloads
	for i := range leases {
		all[i] = &attempt{lease: leases[i], since: now, ctx: ctx, giveBack: stopping}
		all[i].lease.Expires = expires
	}
	w.mu.Lock()
	for _, a := range all {
		w.held.add(a)
		if w.early.has(a.lease.LeaseID) {
			a.lost = ErrCancelled
		}
	}
	w.mu.Unlock()
	for _, a := range all {
		attempts <- a
	}
}

// reserve takes all the places that are free, waits until there is one that a queue may fill, and returns what to ask for. Of
// the places, those that are ahead have no handler that is free. Attempts that cannot be settled count like those that run: a
// backend in trouble is not asked for ever more tasks. The call may end before ctx does, when more queues may be asked.
func (w *Worker) reserve(ctx context.Context) (call context.Context, r LeaseRequest, ok bool) {
	r = LeaseRequest{Duration: w.lease, Wait: leaseWait, WorkerID: w.id, Names: w.names}
	for {
		runtime.Gosched() // handlers that are about to return do so first, and one lease serves them all
		w.mu.Lock()
		all := w.concurrency + w.prefetch + w.extra
		idle := max(w.concurrency-(all-w.free-w.gathering), 0) // handlers
		r.Max = max(min(w.free, all-w.troubled), 0)
		r.Ahead = max(r.Max-idle, 0)
		call, r.Queues, r.Limits = ctx, w.order(), nil
		if w.limits != nil && r.Max > 0 {
			call = w.boundQueues(ctx, &r)
		}
		if r.Max > 0 && len(r.Queues) > 0 {
			w.free -= r.Max
			w.mu.Unlock()
			return call, r, true
		}
		w.mu.Unlock()
		select {
		case <-w.freed:
		case <-ctx.Done():
			return nil, r, false
		}
	}
}

func (w *Worker) unreserve(n int) {
	if n == 0 {
		return
	}
	w.mu.Lock()
	w.free += n
	w.mu.Unlock()
	w.wakeReserve()
}

// vacate gives back the place of an attempt.
func (w *Worker) vacate(a *attempt) {
	w.mu.Lock()
	if w.limits != nil {
		w.leaveQueue(a.lease.Task.Queue)
	}
	if !a.vacated {
		w.free++
	}
	w.mu.Unlock()
	w.wakeReserve()
}

func (w *Worker) addTroubled(n int) {
	if n == 0 {
		return
	}
	w.mu.Lock()
	w.troubled += n
	w.mu.Unlock()
	w.wakeReserve()
}

func (w *Worker) wakeReserve() {
	select {
	case w.freed <- struct{}{}:
	default:
	}
}
