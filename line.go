package omniq

import (
	"context"
	"sync"
	"time"
)

// Bounds of what a worker takes ahead: how long a task waits for a handler in it.
const (
	aheadTime    = 20 * time.Millisecond  // for so long it takes ahead
	aheadMost    = 100 * time.Millisecond // for so long at the most, where a lease call takes long
	longestTurn  = 250 * time.Millisecond // after so long a task is given back
	aheadWeight  = 1.0 / 32               // of one task in what was seen of late
	forgetWeight = 1.0 / 64               // by which a pace that is not seen any more is forgotten
)

// pace is how soon handlers begin one task after another. It decides how many tasks a worker takes ahead. The worker's mu guards it.
//
// What bounds the pace is either how long handlers take, or what they share: processors, or the engine that settles what they return.
// The first is known of each task. The second is seen only while tasks wait: as the time from one that begins to the next.
type pace struct {
	place   float64   // for how long a task took its place, in nanoseconds
	gap     float64   // from one task that begins to the next while others wait
	call    float64   // how long a lease call took that got all that it asked for, and did not wait for it
	known   bool      // a task has ended
	waiting bool      // others waited when the last one began
	last    time.Time // when that was
	grown   int       // how many may be taken ahead for now: it doubles, so that a pace that was never tried is not trusted at once
}

// begins is told that a handler begins, and how many tasks wait for one.
func (p *pace) begins(now time.Time, others int) {
	if p.waiting {
		p.gap += (float64(now.Sub(p.last)) - p.gap) * aheadWeight
	} else {
		p.gap -= p.gap * forgetWeight
	}
	p.last, p.waiting = now, others > 0
}

// ends is told for how long a task took its place.
func (p *pace) ends(took time.Duration) {
	if !p.known {
		p.known, p.place = true, float64(took)
	}
	p.place += (float64(took) - p.place) * aheadWeight
}

// leased is told of a lease call that got as many tasks as it asked for, and did not wait for them.
func (p *pace) leased(took time.Duration, concurrency, most int) {
	if p.call == 0 {
		p.call = float64(took)
	}
	p.call += (float64(took) - p.call) / 4
	p.grown = min(max(2*p.grown, concurrency), most)
}

// stalls is told that a task has waited for too long.
func (p *pace) stalls() {
	p.gap, p.grown, p.waiting = max(p.gap, float64(longestTurn)), 0, false
}

// ahead is how many tasks to take beyond those that have a handler.
func (p *pace) ahead(concurrency int) int {
	if !p.known {
		return 0
	}
	within := min(max(2*p.call, float64(aheadTime)), float64(aheadMost))
	each := max(p.place/float64(concurrency), p.gap, 1)
	return min(p.grown, int(within/each))
}

// line are the attempts that wait for a handler, the first to come first.
type line struct {
	attempts chan *attempt // has room for all that a worker holds
	came     chan struct{} // has a token after some came

	mu     sync.Mutex // who has it may add attempts
	closed bool
}

func newLine(room int) *line {
	return &line{attempts: make(chan *attempt, room), came: make(chan struct{}, 1)}
}

func (l *line) put(all []*attempt) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range all {
		l.attempts <- a
	}
	select {
	case l.came <- struct{}{}:
	default:
	}
}

// close ends the line. What stands in it is left.
func (l *line) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	close(l.attempts)
}

// takeOverdue takes those out that came before a time.
func (l *line) takeOverdue(before time.Time) (overdue []*attempt) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	for range len(l.attempts) { // each is looked at once, and they are in their order again after the last
		select {
		case a := <-l.attempts:
			if a.since.Before(before) {
				overdue = append(overdue, a)
			} else {
				l.attempts <- a
			}
		default:
			return overdue
		}
	}
	return overdue
}

// keepTurns gives tasks back that were taken ahead and whose turn does not come, until ctx ends.
func (w *Worker) keepTurns(ctx context.Context, l *line, s *settler) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.came:
		}
		for len(l.attempts) > 0 && ctx.Err() == nil {
			sleep(ctx, longestTurn/4)
			overdue := l.takeOverdue(time.Now().Add(-longestTurn))
			if len(overdue) == 0 {
				continue
			}
			w.mu.Lock()
			w.pace.stalls()
			w.mu.Unlock()
			s.release(overdue)
			for _, a := range overdue {
				w.vacate(a)
			}
		}
	}
}
