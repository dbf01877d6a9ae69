package omniq

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"time"
)

// settler passes the outcomes of attempts on to the backend. While one call is in flight those that end meanwhile
// gather for the next; there is no timer.
type settler struct {
	w       *Worker
	ended   chan *attempt  // has room for some, so that handlers need not wait for the engine, but not without a bound
	senders sync.WaitGroup // calls of settle
	alone   sync.WaitGroup // calls of persist
	buffer  []Settlement   // of flush
}

// maxSettlements is how many are passed on in one call.
const maxSettlements = 1000

func newSettler(w *Worker) *settler {
	return &settler{w: w, ended: make(chan *attempt, 2*(w.concurrency+w.prefetch))}
}

// settle takes charge of an attempt that has ended, unless that has been done.
func (s *settler) settle(a *attempt, settlement Settlement) {
	s.w.mu.Lock()
	if a.settling {
		s.w.mu.Unlock()
		return
	}
	a.settling = true
	s.senders.Add(1)
	s.w.mu.Unlock()
	a.settlement = settlement
	a.settlement.LeaseID = a.lease.LeaseID
	s.ended <- a
	s.senders.Done()
}

// close makes run end once it has passed on what there is. All attempts have been given to settle.
func (s *settler) close() {
	s.senders.Wait()
	close(s.ended)
}

func (s *settler) run() {
	var batch []*attempt
	for a := range s.ended {
		batch = append(batch[:0], a)
		runtime.Gosched() // attempts that are about to end do so first
	gather:
		for len(batch) < maxSettlements {
			select {
			case a, ok := <-s.ended:
				if !ok {
					break gather
				}
				batch = append(batch, a)
			default:
				break gather
			}
		}
		s.flush(batch)
		clear(batch)
	}
	s.alone.Wait()
}

// flush settles the attempts. Those that the backend fails to settle are tried again one by one: one of them may be the
// reason, and must not hold up the others.
func (s *settler) flush(batch []*attempt) {
	s.buffer = slices.Grow(s.buffer[:0], len(batch))
	again, why := s.try(batch, s.buffer)
	clear(s.buffer[:len(batch)])
	s.w.addTroubled(len(again))
	for _, a := range again {
		s.alone.Go(func() {
			s.persist(a, why)
			s.w.addTroubled(-1)
		})
	}
}

// persist tries again to settle an attempt, for as long as a lease lasts. What cannot be settled by then is left to run
// again.
func (s *settler) persist(a *attempt, why error) {
	giveUp := time.Now().Add(s.w.lease)
	pause := min(20*time.Millisecond, s.w.lease/10)
	for again := []*attempt{a}; len(again) > 0; again, why = s.try(again, nil) {
		if time.Now().Add(pause).After(giveUp) {
			s.w.log.Error("cannot settle the attempt; the task will run again", a.attrs("error", why)...)
			s.w.mu.Lock()
			s.w.drop(a)
			s.w.mu.Unlock()
			return
		}
		s.w.log.Error("cannot settle the attempt; trying again", a.attrs("pause", pause, "error", why)...)
		time.Sleep(pause)
		pause = min(2*pause, time.Second)
	}
}

// try settles the attempts whose leases are not lost, and returns those to try again, and why. No context of a caller or
// of the worker is used: a settlement by one that has ended would never succeed. It appends to settlements.
func (s *settler) try(batch []*attempt, settlements []Settlement) (again []*attempt, why error) {
	w := s.w
	w.mu.Lock()
	batch = slices.DeleteFunc(batch, func(a *attempt) bool {
		if a.lost != nil {
			w.drop(a)
			w.log.Warn("the attempt's outcome is dropped", a.attrs("error", a.lost)...)
			return true
		}
		settlements = append(settlements, a.settlement)
		return false
	})
	w.mu.Unlock()
	if len(batch) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), w.lease)
	errs, err := w.backend.Settle(ctx, settlements)
	cancel()

	w.mu.Lock()
	defer w.mu.Unlock()
	for i, a := range batch {
		e := err
		if e == nil && errs != nil {
			e = errs[i]
		}
		switch {
		case e == nil:
			if w.log.Enabled(context.Background(), slog.LevelDebug) {
				w.log.Debug("attempt settled", a.attrs("action", a.settlement.Action)...)
			}
		case errors.Is(e, ErrLeaseLost):
			w.log.Warn("the attempt's outcome is dropped", a.attrs("error", e)...)
		case errors.Is(e, ErrClosed), errors.Is(e, ErrInvalid) && (err == nil || len(batch) == 1):
			w.log.Error("cannot settle the attempt; the task will run again", a.attrs("error", e)...)
		default:
			again, why = append(again, a), e
			continue
		}
		w.drop(a)
	}
	return again, why
}
