package omniq

import (
	"fmt"
	"time"
)

// WorkerHealth is how a worker fares at one time: see [Worker.Health].
type WorkerHealth struct {
	Err         error     // why the worker is not healthy, nil if it is
	LeasedAt    time.Time // when a lease call last came back without an error, with tasks or without any; zero if none has since Run began
	Handlers    int       // how many handlers run; a batch is one
	Concurrency int       // how many can run at once
}

// Health tells how the worker fares. It never blocks, and asks nothing of the engine.
//
// A worker is not healthy, and Err says why,
//
//   - before Run, after it, and from when its context has ended: the worker takes no tasks;
//   - while each lease call has failed for at least a lease, see [LeaseDuration];
//   - while a lease call has not come back for longer than the minute that it may wait for tasks and a lease. An engine that is
//     idle lets each call wait that long.
//
// While all its places are taken a worker asks for no tasks, and LeasedAt stays as it is: it is as healthy as it was.
func (w *Worker) Health() WorkerHealth {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := WorkerHealth{LeasedAt: w.pulse.answered, Handlers: w.handling, Concurrency: w.concurrency}
	switch {
	case !w.running:
		h.Err = fmt.Errorf("omniq: worker %s does not run", w.id)
	case w.pulse.over:
		h.Err = fmt.Errorf("omniq: worker %s stops and takes no more tasks", w.id)
	default:
		if why := w.pulse.trouble(w.lease); why != nil {
			h.Err = fmt.Errorf("omniq: worker %s: %w", w.id, why)
		}
	}
	return h
}

// leaseWait is how long a lease call may wait for tasks.
const leaseWait = time.Minute

// pulse are the lease calls of a Run. The worker's mu guards it.
type pulse struct {
	answered time.Time // when one last came back without an error
	asked    time.Time // when the first one began of those since then, zero for none
	asking   bool      // one is under way
	failing  time.Time // when the first one came back of those that have failed since then, zero for none
	err      error     // the last one's
	over     bool      // there will be no more
}

// trouble is why the worker can be taken to get no tasks, nil for nothing.
func (p *pulse) trouble(lease time.Duration) error {
	if !p.failing.IsZero() {
		if since := time.Since(p.failing); since >= lease {
			return fmt.Errorf("lease calls have failed for %v: %w", since.Round(time.Millisecond), p.err)
		}
	}
	if p.asking {
		if since := time.Since(p.asked); since > leaseWait+lease {
			return fmt.Errorf("a lease call has not come back for %v", since.Round(time.Millisecond))
		}
	}
	return nil
}

// asks is told that a lease call begins, and returns when.
func (w *Worker) asks() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if w.pulse.asking = true; w.pulse.asked.IsZero() {
		w.pulse.asked = now
	}
	return now
}

// answered is told that a lease call has come back. One that the worker has ended itself says nothing of the engine.
func (w *Worker) answered(err error, ended bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := &w.pulse
	p.asking = false
	switch now := time.Now(); {
	case ended:
	case err == nil:
		*p = pulse{answered: now}
	default:
		if p.asked, p.err = (time.Time{}), err; p.failing.IsZero() {
			p.failing = now
		}
	}
}

// asksNoMore is told that the last lease call has come back.
func (w *Worker) asksNoMore() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pulse.over = true
}
