package omniq

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/omniq-go/omniq/internal/logkey"
)

// settler passes the outcomes of attempts on to the backend. While one call is in flight those that end meanwhile
// gather for the next; there is no timer. Only when a call takes unusually long, others are made beside it.
type settler struct {
	w        *Worker
	ended    chan *attempt   // has room for some, so that handlers need not wait for the engine, but not without a bound
	turn     chan struct{}   // who has the token gathers for the next call
	patience time.Duration   // how long a call takes that others wait for
	timeout  time.Duration   // of a call
	ctx      context.Context // ends when nothing is tried any more
	stop     context.CancelFunc
	senders  sync.WaitGroup // attempts that were taken and are not passed on yet
	lanes    sync.WaitGroup
	alone    sync.WaitGroup // calls of persist, and those that release makes
}

const (
	maxSettlements = 1000 // in one call
	settleLanes    = 4    // calls at once, beside those that are tried again
)

func newSettler(w *Worker) *settler {
	s := &settler{
		w: w, ended: make(chan *attempt, 2*w.concurrency+min(w.prefetch, maxSettlements/2)), turn: make(chan struct{}, 1),
		patience: min(w.lease/10, 250*time.Millisecond), timeout: w.lease / 3,
	}
	s.ctx, s.stop = context.WithCancel(context.Background()) // no caller's: by one that has ended nothing would be settled
	s.turn <- struct{}{}
	return s
}

// settle takes charge of an attempt that has ended, unless that has been done. It waits while the backend is behind.
func (s *settler) settle(a *attempt, settlement Settlement) {
	if s.take(a, settlement) {
		s.ended <- a
		s.senders.Done()
	}
}

// release gives attempts back that no handler runs, or whose handlers do not return. It does not wait for the backend.
func (s *settler) release(attempts []*attempt) {
	var batch []*attempt
	for _, a := range attempts {
		if s.take(a, Settlement{Action: ActionRelease}) {
			batch = append(batch, a)
		}
	}
	for some := range slices.Chunk(batch, maxSettlements) {
		s.alone.Go(func() { s.flush(some, nil) })
	}
	s.senders.Add(-len(batch))
}

// take decides how an attempt ends, and reports whether it is to be passed on: then it is one of senders until it is.
func (s *settler) take(a *attempt, settlement Settlement) bool {
	w := s.w
	w.mu.Lock()
	if a.settling || a.over {
		w.mu.Unlock()
		return false
	}
	if a.took == 0 && !a.began.IsZero() {
		a.took = time.Since(a.began)
	}
	if lost := a.lost; lost != nil {
		w.letGo(a)
		w.mu.Unlock()
		a.settlement = settlement
		w.settled(a, lost)
		return false
	}
	a.settling = true
	s.senders.Add(1)
	w.mu.Unlock()
	a.settlement = settlement
	a.settlement.LeaseID = a.lease.LeaseID
	a.settlement.Took = a.took
	a.settlement.Effects = a.withNotes(a.settlement.Effects)
	return true
}

// run begins to pass on what settle gets.
func (s *settler) run() {
	for range settleLanes {
		s.lanes.Go(s.lane)
	}
}

// close returns once all that there is has been passed on, a lease from now at the latest. All attempts have been given
// to settle.
func (s *settler) close() {
	defer s.stop()
	defer time.AfterFunc(s.w.lease, s.stop).Stop()
	s.senders.Wait()
	close(s.ended)
	s.lanes.Wait()
	s.alone.Wait()
}

// lane makes calls one after another. It keeps its turn unless a call takes longer than the others wait.
func (s *settler) lane() {
	var batch []*attempt
	var buffer []Settlement
	pass := time.AfterFunc(time.Hour, func() { s.turn <- struct{}{} })
	pass.Stop()
	mine := false
	for {
		if !mine {
			<-s.turn
		}
		if batch = s.gather(batch[:0]); len(batch) == 0 {
			s.turn <- struct{}{}
			return
		}
		pass.Reset(s.patience)
		buffer = s.flush(batch, buffer[:0])
		mine = pass.Stop()
		clear(batch)
	}
}

// gather appends what has ended to batch, and waits for a first one. There is none when the settler is closed.
func (s *settler) gather(batch []*attempt) []*attempt {
	a, ok := <-s.ended
	if !ok {
		return batch
	}
	batch = append(batch, a)
	runtime.Gosched() // attempts that are about to end do so first
	for len(batch) < maxSettlements {
		select {
		case a, ok := <-s.ended:
			if !ok {
				return batch
			}
			batch = append(batch, a)
		default:
			return batch
		}
	}
	return batch
}

// flush settles the attempts. Those that the backend fails to settle are tried again one by one: one of them may be the
// reason, and must not hold up the others. It uses and returns a buffer.
func (s *settler) flush(batch []*attempt, buffer []Settlement) []Settlement {
	buffer = slices.Grow(buffer, len(batch))
	again, why := s.try(batch, buffer)
	clear(buffer[:len(batch)])
	s.w.addTroubled(len(again))
	for _, a := range again {
		s.alone.Go(func() {
			s.persist(a, why)
			s.w.addTroubled(-1)
		})
	}
	return buffer
}

// persist tries again to settle an attempt, for as long as a lease lasts. What cannot be settled by then is left to run
// again.
func (s *settler) persist(a *attempt, why error) {
	giveUp := time.Now().Add(s.w.lease)
	pause := min(20*time.Millisecond, s.w.lease/10)
	for again := []*attempt{a}; len(again) > 0; again, why = s.try(again, nil) {
		if s.ctx.Err() != nil || time.Now().Add(pause).After(giveUp) {
			s.giveUp(a, why)
			return
		}
		s.w.logAttempt(a, slog.LevelError, "cannot settle the attempt; trying again",
			slog.Duration(logkey.Pause, pause), slog.Any(logkey.Error, why))
		sleep(s.ctx, pause)
		pause = min(2*pause, time.Second)
	}
}

// giveUp lets an attempt go that cannot be settled.
func (s *settler) giveUp(a *attempt, why error) {
	s.w.mu.Lock()
	s.w.letGo(a)
	s.w.mu.Unlock()
	s.w.settled(a, fmt.Errorf("given up: %v", why)) // whatever it is, whether the lease is lost is not known
}

// try settles the attempts whose leases are not lost, and returns those to try again, and why. It appends to settlements.
func (s *settler) try(batch []*attempt, settlements []Settlement) (again []*attempt, why error) {
	w := s.w
	var lost []*attempt
	w.mu.Lock()
	batch = slices.DeleteFunc(batch, func(a *attempt) bool {
		if a.lost != nil {
			w.letGo(a)
			lost = append(lost, a)
			return true
		}
		settlements = append(settlements, a.settlement)
		return false
	})
	w.mu.Unlock()
	for _, a := range lost {
		w.settled(a, a.lost)
	}
	if len(batch) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.timeout)
	errs, err := w.backend.Settle(ctx, settlements)
	uncertain := errors.Is(err, ErrUncertain) || err != nil && ctx.Err() != nil
	cancel()

	var refused []*attempt
	done := batch[:0]
	var dropped map[*attempt]error // why the outcomes of some were
	for i, a := range batch {
		e := err
		if e == nil && errs != nil {
			e = errs[i]
		}
		switch {
		case e == nil, errors.Is(e, ErrLeaseLost):
		case errors.Is(e, ErrInvalid) && !a.refused && (err == nil || len(batch) == 1):
			if a.withoutNotes() {
				w.logAttempt(a, slog.LevelError, "the engine refused the end of the attempt; trying again without its progress",
					slog.Any(logkey.Error, e))
			} else {
				a.settlement, a.refused = refuse(a, e), true
			}
			refused = append(refused, a)
			continue
		case errors.Is(e, ErrClosed), errors.Is(e, ErrInvalid) && (err == nil || len(batch) == 1):
		default:
			a.uncertain = a.uncertain || uncertain || isUncertain(e)
			again, why = append(again, a), e
			continue
		}
		done = append(done, a)
		if e != nil {
			if dropped == nil {
				dropped = make(map[*attempt]error)
			}
			dropped[a] = e
		}
	}
	w.mu.Lock()
	for _, a := range done {
		w.letGo(a)
	}
	w.mu.Unlock()
	for _, a := range done {
		w.settled(a, dropped[a])
	}
	if refused != nil {
		more, err := s.try(refused, nil)
		if again = append(again, more...); err != nil {
			why = err
		}
	}
	return again, why
}

// refuse is how an attempt ends whose outcome the engine does not take. It says so in plain letters: what is refused may
// be a letter.
func refuse(a *attempt, why error) Settlement {
	what := "the end"
	switch r := a.settlement.Result; {
	case a.settlement.Action == ActionWait:
		what = fmt.Sprintf("%d tasks to wait for", len(a.settlement.Effects.After))
	case r != nil && r.Status == StatusSuccess:
		what = fmt.Sprintf("a result of %d bytes", len(r.ResultData))
		if e := a.settlement.Effects; e != nil && len(e.Enqueue) > 0 {
			what += fmt.Sprintf(" with %d tasks to enqueue", len(e.Enqueue))
		}
	case r != nil && r.Error != nil:
		what = fmt.Sprintf("an error of type %.100q with a text of %d bytes and a stack of %d", r.Error.Type, len(r.Error.Message), len(r.Error.Stack))
	case a.settlement.Error != nil:
		e := a.settlement.Error
		what = fmt.Sprintf("an error of type %.100q with a text of %d bytes and a stack of %d", e.Type, len(e.Message), len(e.Stack))
	}
	message := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, fmt.Sprintf("the engine refused %s: %.1000s", what, why.Error()))
	s := failure(a, a.lease.Attempt, &TaskError{Type: typeRefused, Message: message})
	s.LeaseID = a.lease.LeaseID
	return s
}
