package memory

import (
	"context"
	"time"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// holder returns the task of a lease, or nil if the lease is lost.
func (b *Backend) holder(id omniq.LeaseID) *entry {
	e, ok := b.tasks[id.TaskID]
	if !ok || e.token == 0 || token(e.token) != id.Token {
		return nil
	}
	return e
}

// Extend implements [omniq.TaskQueue]. It never blocks.
func (b *Backend) Extend(ctx context.Context, leases []omniq.LeaseID, by time.Duration) ([]error, error) {
	if by <= 0 {
		return nil, invalid("extension of %d leases by %v, want a positive time", len(leases), by)
	}
	now, err := b.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer b.end()
	var errs []error
	for i, id := range leases {
		e := b.holder(id)
		if e == nil {
			why := omniq.ErrLeaseLost
			if e := b.tasks[id.TaskID]; e != nil && e.status == omniq.StatusCancelled {
				why = omniq.ErrCancelled
			}
			errs = engine.Report(errs, len(leases), i, why)
			continue
		}
		if expires := now.Add(by); expires.After(e.at) {
			b.coming.put(e, expires)
		}
	}
	return errs, nil
}

// Settle implements [omniq.TaskQueue]. It never blocks.
func (b *Backend) Settle(ctx context.Context, settlements []omniq.Settlement) ([]error, error) {
	for i := range settlements {
		if err := check(&settlements[i]); err != nil {
			return nil, err
		}
	}
	now, err := b.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer b.end()
	var errs []error
	for i := range settlements {
		s := &settlements[i]
		e := b.holder(s.LeaseID)
		if e == nil {
			errs = engine.Report(errs, len(settlements), i, omniq.ErrLeaseLost)
			continue
		}
		if s.Action == omniq.ActionFinish {
			b.finish(e, s.Result, now)
			continue
		}
		switch s.Action {
		case omniq.ActionRelease:
			e.attempt--
		case omniq.ActionRetry:
			e.failure = s.Error
			b.note(e, omniq.EventRetried, e.attempt, e.worker, s.Error, now)
		}
		switch {
		case !s.At.IsZero():
			e.due = s.At
		case s.Action == omniq.ActionRetry:
			e.due = now
		}
		b.pend(e, now)
	}
	return errs, nil
}

func check(s *omniq.Settlement) error {
	switch s.Action {
	case omniq.ActionRetry, omniq.ActionRelease:
		return nil
	case omniq.ActionFinish:
		if s.Result == nil || s.Result.TaskID != s.TaskID || !s.Result.Status.Final() {
			return invalid("task %v finishes with result %+v, want its own with a final status", s.TaskID, s.Result)
		}
		return nil
	}
	return invalid("settlement of task %v with action %d, want one that exists", s.TaskID, s.Action)
}
