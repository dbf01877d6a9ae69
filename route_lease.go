package omniq

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/omniq-go/omniq/internal/logkey"
)

// Bounds of what one place can cost the others in a Lease.
const (
	placePatience = 5 * time.Second       // for its answer
	minPlaceRest  = 50 * time.Millisecond // after it has failed; doubled for each further time
	maxPlaceRest  = 5 * time.Second       // and never longer
	mutePlaceRest = 30 * time.Second      // after it has not answered
	placeLeave    = time.Second           // for calls that were ended, to return what they have
)

// errMute is the cause of the end of a call that was not answered.
var errMute = errors.New("no answer")

// rest is for how long a place is left out that has failed.
type rest struct {
	mu    sync.Mutex
	until time.Time // zero for one that works
	pause time.Duration
}

// turn reports whether a place is to be asked: one that works by everybody, one that has rested by one who asks.
func (p *place) turn(now time.Time) bool {
	r := &p.rest
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Before(r.until) {
		return false
	}
	if !r.until.IsZero() {
		r.until = now.Add(placePatience)
	}
	return true
}

// failed notes that a call has failed, and leaves the place out for a while.
func (r *route) failed(p *place, err error, took time.Duration) {
	p.rest.mu.Lock()
	p.rest.pause = min(max(2*p.rest.pause, minPlaceRest), maxPlaceRest)
	pause := p.rest.pause
	if errors.Is(err, errMute) {
		pause = mutePlaceRest
	}
	p.rest.until = time.Now().Add(pause)
	p.rest.mu.Unlock()
	r.log.Error("cannot lease tasks from a backend of the route, and leaves it out; trying again",
		logkey.Backend, p.name, logkey.Took, took, logkey.Pause, pause, logkey.Error, err)
}

// works notes that a call has been answered.
func (r *route) works(p *place) {
	p.rest.mu.Lock()
	again := !p.rest.until.IsZero()
	p.rest.until, p.rest.pause = time.Time{}, 0
	p.rest.mu.Unlock()
	if again {
		r.log.Info("leases tasks from a backend of the route again", logkey.Backend, p.name)
	}
}

// share is what a lease request asks of one place: of queues that follow each other.
type share struct {
	place  *place
	queues []string
	limits []int // of queues, nil for none
}

// shares are those of a request, in its order.
func (r *route) shares(request *LeaseRequest) ([]share, error) {
	var shares []share
	for i, queue := range request.Queues {
		places, err := r.placesOf(queue)
		if err != nil {
			return nil, err
		}
		for _, p := range places {
			if n := len(shares); n == 0 || shares[n-1].place != p {
				shares = append(shares, share{place: p})
			}
			s := &shares[len(shares)-1]
			s.queues = append(s.queues, queue)
			if i < len(request.Limits) {
				s.limits = append(s.limits, request.Limits[i])
			}
		}
	}
	return shares, nil
}

func (r *route) Lease(ctx context.Context, request LeaseRequest) ([]Lease, error) {
	if p, err := r.only(request.Queues); p != nil || err != nil {
		if err != nil {
			return nil, err
		}
		leases, err := p.Backend.Lease(ctx, request)
		return p.mark(leases), p.fault(err)
	}
	shares, err := r.shares(&request)
	if err != nil {
		return nil, err
	}
	if request.Max < 1 || request.Ahead < 0 || request.Ahead > request.Max {
		return nil, invalid("at most %d tasks, want at least 1, and %d of them ahead", request.Max, request.Ahead)
	}
	if request.Limits != nil && (len(request.Limits) != len(request.Queues) || slices.Min(request.Limits) < 1) {
		return nil, invalid("limits of %v for %d queues, want one of at least 1 for each", request.Limits, len(request.Queues))
	}
	return (&leasing{route: r, LeaseRequest: request, shares: shares, end: time.Now().Add(request.Wait)}).lease(ctx)
}

// only is the place of all the queues, nil where there is more than one. What is wrong with no queue any place says.
func (r *route) only(queues []string) (only *place, err error) {
	if len(queues) == 0 {
		return r.places[0], nil
	}
	for _, queue := range queues {
		places, err := r.placesOf(queue)
		if err != nil {
			return nil, err
		}
		if len(places) > 1 || only != nil && only != places[0] {
			return nil, nil
		}
		only = places[0]
	}
	return only, nil
}

// mark makes leases of a place those of the route.
func (p *place) mark(leases []Lease) []Lease {
	for i := range leases {
		leases[i].Token = p.prefix + leases[i].Token
	}
	return leases
}

// leasing is a Lease of several places.
type leasing struct {
	*route
	LeaseRequest
	shares []share
	end    time.Time // of the wait
	got    []Lease
	err    error // of the last place that has failed
}

// lease takes what there is, share by share. Where there is nothing it waits in all places at once.
func (l *leasing) lease(ctx context.Context) ([]Lease, error) {
	for {
		working, again, err := l.take(ctx)
		if len(l.got) > 0 || err != nil {
			return l.got, err
		}
		if len(working) == 0 {
			return nil, l.err
		}
		wait := time.Until(l.end)
		if wait <= 0 {
			return nil, nil
		}
		until := l.end
		if !again.IsZero() && again.Before(until) {
			until = again
		}
		if err := l.wait(ctx, working, until); len(l.got) > 0 || err != nil {
			return l.got, err
		}
	}
}

// take asks the shares for what there is, one after the other until there is enough. It returns those that have answered, and when one
// that was left out is to be asked again, zero for none. With all of them left out, they are asked nevertheless.
func (l *leasing) take(ctx context.Context) (working []share, again time.Time, err error) {
	now := time.Now()
	works := func(s share) bool { return !s.place.until().After(now) }
	anyway := !slices.ContainsFunc(l.shares, works)
	asked := make(map[*place]bool, len(l.shares)) // false for one that is left out
	for _, s := range l.shares {
		ask, known := asked[s.place]
		if !known {
			ask = anyway || s.place.turn(now)
			asked[s.place] = ask
		}
		if !ask {
			again = sooner(again, s.place.until())
			continue
		}
		request, ok := l.rest(s)
		if !ok {
			continue
		}
		leases, err := l.ask(ctx, s.place, request, placePatience)
		l.got = append(l.got, leases...)
		switch {
		case err == nil:
			working = append(working, s)
		case ctx.Err() != nil, errors.Is(err, ErrInvalid), l.closed.Load():
			if len(l.got) > 0 {
				err = nil
			}
			return nil, again, err
		default:
			l.err, asked[s.place] = err, false
			again = sooner(again, s.place.until())
		}
		if len(l.got) >= l.Max {
			break
		}
	}
	return working, again, nil
}

func sooner(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

// until is when a place is to be asked again that was left out.
func (p *place) until() time.Time {
	p.rest.mu.Lock()
	defer p.rest.mu.Unlock()
	return p.rest.until
}

// ask is one Lease of a place, which has the request's Wait and some patience to answer. It notes whether it does.
func (l *leasing) ask(ctx context.Context, p *place, request LeaseRequest, patience time.Duration) ([]Lease, error) {
	call, cancel := context.WithTimeoutCause(ctx, request.Wait+patience, errMute)
	defer cancel()
	began := time.Now()
	leases, err := p.Backend.Lease(call, request)
	switch {
	case err == nil && call.Err() == nil:
		l.works(p)
	case err == nil, ctx.Err() != nil, errors.Is(err, ErrInvalid), l.closed.Load():
	default:
		if context.Cause(call) == errMute {
			err = fmt.Errorf("%w within %v: %v", errMute, request.Wait+patience, err) // no context of a caller's has ended
		}
		l.failed(p, err, time.Since(began))
	}
	return p.mark(leases), p.fault(err)
}

// rest is what a share is still to be asked for, if that is something.
func (l *leasing) rest(s share) (LeaseRequest, bool) {
	request := l.LeaseRequest
	request.Wait = 0
	request.Max = l.Max - len(l.got)
	request.Ahead = min(l.Ahead, request.Max)
	request.Queues, request.Limits = s.queues, s.limits
	if s.limits == nil {
		return request, true
	}
	request.Queues, request.Limits = nil, nil
	for i, queue := range s.queues {
		if room := s.limits[i] - l.taken(queue); room > 0 {
			request.Queues, request.Limits = append(request.Queues, queue), append(request.Limits, room)
		}
	}
	return request, len(request.Queues) > 0
}

// taken is how many tasks of a queue there are.
func (l *leasing) taken(queue string) (n int) {
	for i := range l.got {
		if cmp.Or(l.got[i].Task.Queue, DefaultQueue) == cmp.Or(queue, DefaultQueue) {
			n++
		}
	}
	return n
}

// wait waits for a first task in all the places at once, at most until a time, or until a place is to be asked again that fails
// meanwhile. The places share what may be taken; where that is less than one for each, what is too much is given back.
func (l *leasing) wait(ctx context.Context, working []share, until time.Time) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	shares := byPlace(working)
	replies := make(chan reply[[]Lease], len(shares))
	for i, s := range shares {
		request, _ := l.rest(s)
		request.Wait = max(time.Until(until), 0)
		request.Max = max(l.Max/len(shares), 1)
		if i < l.Max%len(shares) && l.Max > len(shares) {
			request.Max++
		}
		request.Ahead = max(request.Max-(l.Max-l.Ahead), 0)
		go func() {
			leases, err := l.ask(ctx, s.place, request, placePatience)
			replies <- reply[[]Lease]{i, leases, err}
		}()
	}
	had := make([][]Lease, len(shares))
	var again, leave <-chan time.Time
	enough := func() {
		if cancel(); leave == nil {
			leave = time.After(placeLeave)
		}
	}
	var failed error
	open := len(shares)
	for ; open > 0; open-- {
		select {
		case reply := <-replies:
			had[reply.at] = reply.value
			switch {
			case len(reply.value) > 0:
				enough()
			case reply.err == nil, leave != nil:
			case ctx.Err() != nil, errors.Is(reply.err, ErrInvalid), l.closed.Load():
				failed = reply.err
				enough()
			default:
				l.err = reply.err
				if again == nil {
					again = time.After(time.Until(shares[reply.at].place.until()))
				}
			}
		case <-again:
			open++
			enough()
			again = nil
		case <-leave:
			go l.releaseLate(replies, open)
			open = 1
		}
	}
	if l.accept(had); len(l.got) > 0 {
		return nil
	}
	return failed
}

// byPlace are shares with one for each place.
func byPlace(shares []share) []share {
	var all []share
	for _, s := range shares {
		i := slices.IndexFunc(all, func(other share) bool { return other.place == s.place })
		if i < 0 {
			all = append(all, share{s.place, slices.Clone(s.queues), slices.Clone(s.limits)})
			continue
		}
		all[i].queues, all[i].limits = append(all[i].queues, s.queues...), append(all[i].limits, s.limits...)
	}
	return all
}

// accept takes what places have handed out, as much as may be taken, and gives the rest back.
func (l *leasing) accept(had [][]Lease) {
	var surplus []Lease
	for _, leases := range had {
		for _, lease := range leases {
			if len(l.got) < l.Max && l.taken(lease.Task.Queue) < l.most(lease.Task.Queue) {
				l.got = append(l.got, lease)
			} else {
				surplus = append(surplus, lease)
			}
		}
	}
	if len(surplus) > 0 {
		go l.release(surplus)
	}
}

// most is how many tasks of a queue may be taken.
func (l *leasing) most(queue string) int {
	for i, limit := range l.Limits {
		if cmp.Or(l.Queues[i], DefaultQueue) == cmp.Or(queue, DefaultQueue) {
			return limit
		}
	}
	return l.Max
}

// releaseLate gives back what calls hand out that have not ended with their context.
func (l *leasing) releaseLate(replies <-chan reply[[]Lease], open int) {
	for range open {
		if reply := <-replies; len(reply.value) > 0 {
			l.release(reply.value)
		}
	}
}

// release gives tasks back as if they had not been handed out. Where that fails their leases end by themselves.
func (l *leasing) release(leases []Lease) {
	ctx, cancel := context.WithTimeout(context.Background(), l.Duration)
	defer cancel()
	settlements := make([]Settlement, len(leases))
	for i := range leases {
		settlements[i] = Settlement{LeaseID: leases[i].LeaseID, Action: ActionRelease}
	}
	if _, err := l.Settle(ctx, settlements); err != nil && !l.closed.Load() {
		l.log.Warn("cannot give back tasks that are too many; their leases have to end first", logkey.Tasks, len(leases), logkey.Error, err)
	}
}

// Revoked asks all places at once, until the first one answers.
func (r *route) Revoked(ctx context.Context, workerID string) ([]LeaseID, error) {
	do := func(ctx context.Context, p *place) ([]LeaseID, error) {
		leases, err := p.Backend.Revoked(ctx, workerID)
		for i := range leases {
			leases[i].Token = p.prefix + leases[i].Token
		}
		return leases, err
	}
	if len(r.places) == 1 {
		leases, err := do(ctx, r.places[0])
		return leases, r.places[0].fault(err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	replies := ask(ctx, r.places, do)
	first := <-replies
	cancel()
	leases, leave := first.value, time.After(placeLeave)
	for range r.places[1:] {
		select {
		case reply := <-replies:
			leases = append(leases, reply.value...) // told now or never
		case <-leave:
		}
	}
	if len(leases) > 0 {
		return leases, nil
	}
	return nil, first.err
}
