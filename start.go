package omniq

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/omniq-go/omniq/internal/logkey"
)

// start makes the attempt count, if it does not yet, and reports whether its handler may run. While the engine has one
// such call in flight, those that come gather for the next.
func (w *Worker) start(ctx context.Context, a *attempt) bool {
	if !a.lease.Started && !w.startLease(ctx, a) {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if a.lost != nil || a.settling {
		return false
	}
	a.phase, a.began = handling, time.Now()
	w.pace.begins(a.began, len(a.crew.attempts))
	w.handling++
	return true
}

func (w *Worker) startLease(ctx context.Context, a *attempt) bool {
	lease := []LeaseID{a.lease.LeaseID}
	for pause := min(20*time.Millisecond, w.lease/10); ; pause = min(2*pause, time.Second) {
		err := only(w.starts.Do(ctx, lease))
		switch {
		case err == nil:
			return true
		case errors.Is(err, ErrLeaseLost), errors.Is(err, ErrCancelled), errors.Is(err, ErrExpired):
			w.mu.Lock()
			for _, why := range []error{ErrExpired, ErrCancelled, ErrLeaseLost} {
				if errors.Is(err, why) {
					a.lose(why)
				}
			}
			w.mu.Unlock()
			return false
		case ctx.Err() != nil, errors.Is(err, ErrClosed): // lost, or the worker ends
			return false
		}
		w.logAttempt(a, slog.LevelError, "cannot start the attempt; trying again",
			slog.Duration(logkey.Pause, pause), slog.Any(logkey.Error, err))
		sleep(ctx, pause)
	}
}

// startLeases is a call of the backend for those that have gathered.
func (w *Worker) startLeases(ctx context.Context, leases []LeaseID) ([]error, error) {
	ctx, cancel := context.WithTimeout(ctx, w.lease/3)
	defer cancel()
	return w.backend.Start(ctx, leases)
}
