package omniq

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"time"
)

// settler passes the outcomes of attempts on to the backend. While one call is in flight those that end meanwhile
// gather for the next; there is no timer.
type settler struct {
	w     *Worker
	ended chan *attempt // has room for some, so that handlers need not wait for the engine, but not without a bound
}

// maxSettlements is how many are passed on in one call.
const maxSettlements = 1000

func newSettler(w *Worker) *settler {
	return &settler{w, make(chan *attempt, 2*w.concurrency)}
}

// settle takes charge of an attempt that has ended, unless that has been done.
func (s *settler) settle(a *attempt, settlement Settlement) {
	s.w.mu.Lock()
	again := a.settling
	a.settling = true
	s.w.mu.Unlock()
	if again {
		return
	}
	a.settlement = settlement
	a.settlement.LeaseID = a.lease.LeaseID
	s.ended <- a
}

// close makes run end once it has passed on what there is.
func (s *settler) close() { close(s.ended) }

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
}

// flush settles the attempts. While the backend is in trouble it tries again, until their leases have run out. No
// context of a caller or of the worker is used: a settlement by one that has ended would never succeed.
func (s *settler) flush(batch []*attempt) {
	pause := 20 * time.Millisecond
	settlements := make([]Settlement, 0, len(batch))
	for {
		settlements = settlements[:0]
		for _, a := range batch {
			settlements = append(settlements, a.settlement)
		}
		ctx, cancel := context.WithTimeout(context.Background(), s.w.lease)
		errs, err := s.w.backend.Settle(ctx, settlements)
		cancel()
		if batch = s.sort(batch, errs, err, pause); len(batch) == 0 {
			return
		}
		if len(batch) > 1 && errors.Is(err, ErrInvalid) {
			for i := range batch { // only some of them can be the reason
				s.flush(batch[i : i+1])
			}
			return
		}
		s.w.log.Error("cannot settle attempts; trying again", "attempts", len(batch), "pause", pause, "error", err)
		time.Sleep(pause)
		pause = min(2*pause, time.Second)
	}
}

// sort lets go of the attempts that are done with, and returns those to try again after the pause.
func (s *settler) sort(batch []*attempt, errs []error, err error, pause time.Duration) (again []*attempt) {
	w := s.w
	next := time.Now().Add(pause)
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
		case a.lost, errors.Is(e, ErrLeaseLost):
			w.log.Warn("lease lost: the attempt's outcome is dropped", a.attrs()...)
		case errors.Is(e, ErrClosed), errors.Is(e, ErrInvalid) && len(batch) == 1, next.After(a.expires):
			w.log.Error("cannot settle the attempt; the task will run again", a.attrs("error", e)...)
		default:
			again = append(again, a)
			continue
		}
		delete(w.held, a)
	}
	return again
}
