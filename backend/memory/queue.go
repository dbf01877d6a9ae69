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
	own     lane                         // of the tasks without one
	lanes   *lanes                       // nil where there are no others
	served  uint64                       // turns of lanes
	ready   int                          // tasks of all lanes that are ready
	counts  [omniq.StatusWaiting + 1]int // tasks by status
	size    int                          // what it exists for
	waiting []*waiter
	paused  bool

	limit    omniq.Limit
	pace     engine.Pace // of its rate
	used     int64       // of that
	eachLane engine.Pace // of the rate of each lane

	tally *tally // the one that was used last
}

// waiter is a call of Lease that waits. It is in the lists of all its queues until it is woken.
type waiter struct {
	queues []*queue
	wake   chan struct{} // closed when it is woken
	woken  bool
	ahead  bool // it takes tasks ahead of their turn alone, of which a queue that bounds how many run has none
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
func (q *queue) push(e *entry, now time.Time) {
	if e.place >= 0 {
		return
	}
	l := q.lane(e.task.Lane, now)
	if l.ready.n == 0 && l.running == 0 {
		q.serve(l) // it comes after those that wait
	}
	q.put(l, e, now)
	if len(q.waiting) > 0 && q.stirs(now) {
		q.wakeOne()
	}
}

// put adds a task to what a lane has ready.
func (q *queue) put(l *lane, e *entry, now time.Time) {
	l.ready.push(e)
	q.ready++
	q.arrange(l, now)
}

// wakeOne wakes who has waited longest, of those who can take something.
func (q *queue) wakeOne() {
	if q.paused {
		return
	}
	bounds := q.limit.BoundsRunning()
	i := slices.IndexFunc(q.waiting, func(w *waiter) bool { return !w.ahead || !bounds })
	if i < 0 {
		return
	}
	w := q.waiting[i]
	w.leave()
	w.woken = true
	close(w.wake)
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
func (q *queue) drop(e *entry, now time.Time) {
	if e.place >= 0 {
		l := q.lane(e.task.Lane, now)
		l.ready.drop(e)
		q.ready--
		q.arrange(l, now)
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
			b.passOn(r.Queues, now)
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
			now = b.clock.now()
			if ctx.Err() != nil {
				b.passOn(r.Queues, now)
				b.end()
				return nil, contextError(ctx)
			}
			b.advance(now)
			continue
		}
		if r.Wait <= 0 {
			b.passOn(r.Queues, now)
			b.end()
			return nil, err
		}
		w := b.wait(&r)
		opens, stop := b.opens(r.Queues, now)
		b.end()
		if timeout == nil {
			timer := time.NewTimer(r.Wait)
			defer timer.Stop()
			timeout = timer.C
		}
		select {
		case <-w.wake:
		case <-opens:
		case <-timeout:
			r.Wait = 0
		case <-ctx.Done():
			r.Wait, err = 0, contextError(ctx)
		case <-b.closed:
			stop()
			return nil, omniq.ErrClosed
		}
		stop()
		b.mu.Lock()
		if b.isClosed() {
			b.mu.Unlock()
			return nil, omniq.ErrClosed
		}
		b.stopWaiting(w)
		now = b.clock.now()
		if err != nil && !w.woken {
			b.passOn(r.Queues, now)
			b.mu.Unlock()
			return nil, err
		}
		// Who was woken looks, even if its time is over: what it was woken for would wait for the next one otherwise.
		b.advance(now)
	}
}

// opens returns what a call that waits has to wait for beside being woken: the first time at which one of the queues opens.
func (b *Backend) opens(names []string, now time.Time) (opens <-chan time.Time, stop func()) {
	var first time.Time
	for _, name := range names {
		q := b.queues[cmp.Or(name, omniq.DefaultQueue)]
		if at := q.opens(now); at.After(now) && (first.IsZero() || at.Before(first)) { // what is open has nothing for this call
			first = at
		}
	}
	if first.IsZero() {
		return nil, func() {}
	}
	timer := time.NewTimer(first.Sub(now))
	return timer.C, func() { timer.Stop() }
}

// wakeNext wakes one of those who wait for each queue that has something.
func (b *Backend) wakeNext(names []string, now time.Time) {
	b.wakeOf(names, func(q *queue) bool { return q.available(now) })
}

// passOn is wakeNext for a call that ends: it waits no longer for a time at which a queue opens.
func (b *Backend) passOn(names []string, now time.Time) {
	b.wakeOf(names, func(q *queue) bool { return q.stirs(now) })
}

// wakeOf wakes one of those who wait for each queue of which stirs is true.
func (b *Backend) wakeOf(names []string, stirs func(*queue) bool) {
	for _, name := range names {
		if q, ok := b.queues[cmp.Or(name, omniq.DefaultQueue)]; ok && len(q.waiting) > 0 && stirs(q) {
			q.wakeOne()
		}
	}
}

// wait puts a waiter into the queues.
func (b *Backend) wait(r *omniq.LeaseRequest) *waiter {
	w := &waiter{wake: make(chan struct{}), queues: make([]*queue, len(r.Queues)), ahead: r.Ahead == r.Max}
	for i, name := range r.Queues {
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

// stranger is a task of a name that was not asked for, and its lane.
type stranger struct {
	*entry
	lane *lane
}

// take leases what is ready, and reports whether there may be more than it has looked at. Each task that becomes ready has
// woken one who waits for it. That one may take a task of another of its queues, so who takes wakes another for what is
// left.
func (b *Backend) take(r *omniq.LeaseRequest, now time.Time) (leases []omniq.Lease, more bool) {
	leases, strange, more := b.pick(r, r.Names, now)
	if strange && !more && len(leases) == 0 {
		leases, _, more = b.pick(r, nil, now)
	}
	if !more {
		b.wakeNext(r.Queues, now)
	}
	return leases, more
}

// pick leases tasks of the names, nil for all, and reports whether it has seen others that are ready.
func (b *Backend) pick(r *omniq.LeaseRequest, names []string, now time.Time) (leases []omniq.Lease, others, more bool) {
	var strange []stranger
	defer func() { putBack(strange, now) }()
	looks := atOnce
	for i, name := range r.Queues {
		q, ok := b.queues[cmp.Or(name, omniq.DefaultQueue)]
		if !ok || q.paused {
			continue
		}
		most := engine.Most(r, i, len(leases))
		if q.limit.BoundsRunning() {
			most = min(most, r.Max-r.Ahead) // what is taken ahead would keep places from others
		}
		most = min(most, len(leases)+q.room(now))
		for len(leases) < most && len(strange) < maxStrange {
			l := q.next(now)
			if l == nil {
				break
			}
			e := l.ready.pop()
			q.ready--
			switch {
			case e.expired(now), e.overloaded():
				l.aside++ // it is not to be forgotten before it is arranged
				b.discard(e, now)
				l.aside--
				q.arrange(l, now)
				if looks--; looks == 0 {
					return leases, len(strange) > 0, true
				}
			case names != nil && !slices.Contains(names, e.name):
				l.aside++
				strange = append(strange, stranger{e, l})
				q.arrange(l, now)
			default:
				if leases == nil {
					leases = make([]omniq.Lease, 0, min(r.Max, q.ready+1))
				}
				q.charge(l, now)
				leases = append(leases, b.hand(e, r, engine.Starts(r, len(leases), e.past().lost), now))
			}
		}
	}
	return leases, len(strange) > 0, false
}

// putBack makes tasks ready again that were taken out, in their places.
func putBack(strange []stranger, now time.Time) {
	for _, s := range strange {
		s.lane.aside--
		s.entry.queue.put(s.lane, s.entry, now)
	}
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
		Waited: max(0, now.Sub(e.due)),
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
	t := b.tally(e, now)
	t.Wait = engine.AddTime(t.Wait, engine.Waited(now, e.due))
	b.note(e, omniq.EventStarted, e.attempt, e.worker, nil, now)
}

// token is the text form of a lease's number.
func token(n uint64) string { return strconv.FormatUint(n, 36) }
