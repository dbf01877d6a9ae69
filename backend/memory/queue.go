package memory

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// maxStrange is how many tasks of names that it did not ask for a Lease looks at.
const maxStrange = 100

// queue is what a named queue has ready, and who waits for it. It exists while a task or a result is in it, somebody
// waits, or it is paused.
type queue struct {
	name    string
	ready   ready
	counts  [omniq.StatusWaiting + 1]int // tasks by status
	size    int                          // what it exists for
	waiting []*waiter
	paused  bool
}

// waiter is a call of Lease that waits. It is in the lists of all its queues until it is woken.
type waiter struct {
	queues []*queue
	wake   chan struct{} // closed when it is woken
	woken  bool
}

// queue returns the queue of this name, with a place more for what it is to exist for.
func (b *Backend) queue(name string) *queue {
	name = cmp.Or(name, omniq.DefaultQueue)
	q, ok := b.queues[name]
	if !ok {
		q = &queue{name: name}
		b.queues[name] = q
	}
	q.size++
	return q
}

// release gives a place back.
func (b *Backend) release(q *queue) {
	q.size--
	if q.size == 0 {
		delete(b.queues, q.name)
	}
}

// push makes e ready, and wakes who has waited longest.
func (q *queue) push(e *entry) {
	if e.place < 0 {
		q.ready.push(e)
		q.wakeOne()
	}
}

// wakeOne wakes who has waited longest.
func (q *queue) wakeOne() {
	if len(q.waiting) > 0 && !q.paused {
		w := q.waiting[0]
		w.leave()
		w.woken = true
		close(w.wake)
	}
}

// leave takes the waiter out of the lists of its queues.
func (w *waiter) leave() {
	for _, q := range w.queues {
		if i := slices.Index(q.waiting, w); i >= 0 {
			q.waiting = slices.Delete(q.waiting, i, i+1)
		}
	}
}

// drop takes e out of what is ready, if it is there.
func (q *queue) drop(e *entry) {
	if e.place >= 0 {
		q.ready.drop(e)
	}
}

// Lease hands out tasks that are due, and waits for one if it is told to: see [omniq.TaskQueue].
func (b *Backend) Lease(ctx context.Context, r omniq.LeaseRequest) ([]omniq.Lease, error) {
	if err := engine.CheckLease(&r); err != nil {
		return nil, err
	}
	now, err := b.begin(ctx)
	if err != nil {
		return nil, err
	}
	var timeout <-chan time.Time
	for {
		leases, more := b.take(&r, now)
		if len(leases) > 0 {
			b.end()
			return leases, nil
		}
		if more || r.Wait <= 0 && b.behind(now) { // others have their turn before it looks again
			b.end()
			b.mu.Lock()
			if b.isClosed() {
				b.mu.Unlock()
				return nil, omniq.ErrClosed
			}
			if ctx.Err() != nil {
				b.wakeNext(r.Queues)
				b.end()
				return nil, contextError(ctx)
			}
			now = b.clock.now()
			b.advance(now)
			continue
		}
		if r.Wait <= 0 {
			b.end()
			return nil, err
		}
		w := b.wait(r.Queues)
		b.end()
		if timeout == nil {
			timer := time.NewTimer(r.Wait)
			defer timer.Stop()
			timeout = timer.C
		}
		select {
		case <-w.wake:
		case <-timeout:
			r.Wait = 0
		case <-ctx.Done():
			r.Wait, err = 0, contextError(ctx)
		case <-b.closed:
			return nil, omniq.ErrClosed
		}
		b.mu.Lock()
		if b.isClosed() {
			b.mu.Unlock()
			return nil, omniq.ErrClosed
		}
		b.stopWaiting(w)
		if err != nil && !w.woken {
			b.mu.Unlock()
			return nil, err
		}
		// Who was woken looks, even if its time is over: what it was woken for would wait for the next one otherwise.
		now = b.clock.now()
		b.advance(now)
	}
}

// wakeNext wakes one of those who wait for each queue that has something.
func (b *Backend) wakeNext(names []string) {
	for _, name := range names {
		if q, ok := b.queues[cmp.Or(name, omniq.DefaultQueue)]; ok && q.ready.n > 0 {
			q.wakeOne()
		}
	}
}

// wait puts a waiter into the queues.
func (b *Backend) wait(names []string) *waiter {
	w := &waiter{wake: make(chan struct{}), queues: make([]*queue, len(names))}
	for i, name := range names {
		w.queues[i] = b.queue(name)
		w.queues[i].waiting = append(w.queues[i].waiting, w)
	}
	return w
}

// stopWaiting takes a waiter out of its queues.
func (b *Backend) stopWaiting(w *waiter) {
	w.leave()
	for _, q := range w.queues {
		b.release(q)
	}
}

// stranger is a task of a name that was not asked for, and the number of its queue in the request.
type stranger struct {
	*entry
	queue int
}

// take leases what is ready, and reports whether there may be more than it has looked at. Each task that becomes ready has
// woken one who waits for it. That one may take a task of another of its queues, so who takes wakes another for what is
// left.
func (b *Backend) take(r *omniq.LeaseRequest, now time.Time) (leases []omniq.Lease, more bool) {
	var strange []stranger // tasks of names that were not asked for, with the first place
	looks := atOnce
	for i, name := range r.Queues {
		q, ok := b.queues[cmp.Or(name, omniq.DefaultQueue)]
		if !ok || q.paused {
			continue
		}
		most := engine.Most(r, i, len(leases))
		for q.ready.n > 0 && len(leases) < most && len(strange) < maxStrange {
			e := q.ready.pop()
			switch {
			case e.expired(now), e.overloaded():
				b.discard(e, now)
				if looks--; looks == 0 {
					for _, s := range strange {
						s.entry.queue.ready.push(s.entry)
					}
					return leases, true
				}
			case r.Names != nil && !slices.Contains(r.Names, e.name):
				strange = append(strange, stranger{e, i})
			default:
				if leases == nil {
					leases = make([]omniq.Lease, 0, min(r.Max, q.ready.n+1))
				}
				leases = append(leases, b.hand(e, r, len(leases) < r.Max-r.Ahead, now))
			}
		}
	}
	none := len(leases) == 0
	first := 0 // of those of a queue among leases
	for k, s := range strange {
		if k > 0 && s.queue != strange[k-1].queue {
			first = len(leases)
		}
		if none && len(leases) < engine.Most(r, s.queue, first) {
			leases = append(leases, b.hand(s.entry, r, len(leases) < r.Max-r.Ahead, now))
		} else {
			s.entry.queue.ready.push(s.entry)
		}
	}
	b.wakeNext(r.Queues)
	return leases, false
}

// hand hands a task out.
func (b *Backend) hand(e *entry, r *omniq.LeaseRequest, start bool, now time.Time) omniq.Lease {
	b.tokens++
	e.token, e.worker = b.tokens, r.WorkerID
	b.become(e, omniq.StatusRunning, now)
	attempt := e.attempt + 1
	if start {
		b.start(e, now)
	}
	expires := now.Add(r.Duration)
	b.coming.put(e, expires)
	l := omniq.Lease{
		LeaseID: omniq.LeaseID{TaskID: e.id, Token: token(e.token)},
		Task:    e.task, Attempt: attempt, Started: start, Lost: e.past().lost, Expires: expires,
	}
	if shunned := e.past().shunned; !shunned.IsZero() {
		l.Deferred = now.Sub(shunned)
	}
	if e.links != nil {
		l.Inputs, l.Resumed = e.inputs(), e.links.resumed
	}
	if e.notes != nil {
		l.State = e.notes.state
	}
	return l
}

// start counts the attempt of a task that is handed out.
func (b *Backend) start(e *entry, now time.Time) {
	e.attempt++
	e.started = true
	b.note(e, omniq.EventStarted, e.attempt, e.worker, nil, now)
}

// token is the text form of a lease's number.
func token(n uint64) string { return strconv.FormatUint(n, 36) }
