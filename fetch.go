package omniq

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"time"

	"github.com/omniq-go/omniq/internal/logkey"
)

// fetch leases tasks for the places that are free, until ctx ends or the backend is closed.
func (w *Worker) fetch(ctx context.Context, l *line) error {
	const minPause, maxPause = 50 * time.Millisecond, 5 * time.Second
	const maxStrange = time.Second
	pause, strange := minPause, minPause
	dry := false // there was nothing to take ahead
	defer w.asksNoMore()
	for ctx.Err() == nil {
		call, r, ok := w.reserve(ctx, dry)
		if !ok {
			return nil
		}
		began := w.asks()
		leases, err := w.backend.Lease(call, r)
		w.answered(err, call.Err() != nil && len(leases) == 0)
		dry = r.Wait == 0 && len(leases) < r.Max
		if took := time.Since(began); len(leases) == r.Max && leases[0].Waited >= took { // it has not waited for tasks
			w.outpaced(took)
		}
		if w.limits != nil {
			renewed := call.Err() != nil && ctx.Err() == nil
			w.asked(leases)
			if renewed && errors.Is(err, context.Canceled) {
				err = nil
			}
		}
		w.unreserve(r.Max - len(leases))
		w.hold(ctx, leases, l)
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
func (w *Worker) hold(ctx context.Context, leases []Lease, l *line) {
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
	l.put(all)
}

// outpaced is told of a lease call that got all that it asked for, at once: there may be more.
func (w *Worker) outpaced(took time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pace.leased(took, w.concurrency, w.prefetch)
}

// reserve takes all the places that may be filled now, waits until there is one that a queue may fill, and returns what to ask for.
// Of the places, those that are ahead have no handler that is free: they are filled again when half of them are free, so that calls
// are few. Nobody waits for tasks that are only to be taken ahead, because a handler may be free by then; where there were none, the next
// ones are for a handler. Attempts that cannot be settled count like those that run: a backend in trouble is not asked for ever more
// tasks. The call may end before ctx does, when more queues may be asked.
func (w *Worker) reserve(ctx context.Context, dry bool) (call context.Context, r LeaseRequest, ok bool) {
	r = LeaseRequest{Duration: w.lease, WorkerID: w.id, Names: w.names, Soon: true}
	for {
		runtime.Gosched() // handlers that are about to return do so first, and one lease serves them all
		w.mu.Lock()
		all := w.concurrency + w.prefetch + w.extra
		idle := max(w.concurrency-(all-w.free-w.gathering), 0) // handlers
		ahead := 0
		if w.weights == nil && w.blocked == 0 && w.troubled == 0 && !dry { // each lease draws by the weights: large ones would be few draws
			ahead = min(w.pace.ahead(w.concurrency), w.prefetch)
		}
		unused := w.prefetch - ahead
		r.Max = max(min(w.free, all-w.troubled)-unused, 0)
		r.Ahead = max(r.Max-idle, 0)
		w.wanted, r.Wait = 0, leaseWait
		if w.free <= w.prefetch {
			r.Wait = 0
		}
		if idle == 0 && r.Max <= ahead/2 {
			w.wanted = unused + ahead/2 + 1
			r.Max = 0
		}
		call, r.Queues, r.Limits = ctx, w.order(), nil
		if w.limits != nil && r.Max > 0 {
			call = w.boundQueues(ctx, &r)
		}
		if r.Max > 0 && len(r.Queues) > 0 {
			w.free -= r.Max
			w.wanted = math.MaxInt // it is looked at again after the call
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
	if !a.joined && !a.began.IsZero() {
		w.pace.ends(time.Since(a.began))
	}
	enough := w.free >= w.wanted
	w.mu.Unlock()
	if enough {
		w.wakeReserve()
	}
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
