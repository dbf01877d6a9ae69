package memory

import (
	"context"
	"time"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// leased returns the task of a lease, or nil if the lease is lost.
func (b *Backend) leased(id omniq.LeaseID, now time.Time) *entry {
	e := b.task(id.TaskID, now)
	if e == nil || e.token == 0 || token(e.token) != id.Token {
		return nil
	}
	return e
}

// why is why a lease is lost.
func (b *Backend) why(id omniq.LeaseID) error {
	if e := b.tasks[id.TaskID]; e != nil && e.status == omniq.StatusCancelled {
		return omniq.ErrCancelled
	}
	return omniq.ErrLeaseLost
}

// Extend makes leases last longer: see [omniq.TaskQueue]. It never blocks.
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
		e := b.leased(id, now)
		if e == nil {
			errs = engine.Report(errs, len(leases), i, b.why(id))
			continue
		}
		if expires := now.Add(by); expires.After(e.at) {
			b.coming.put(e, expires)
		}
	}
	return errs, nil
}

// Start starts attempts at tasks that were leased ahead: see [omniq.TaskQueue]. It never blocks.
func (b *Backend) Start(ctx context.Context, leases []omniq.LeaseID) ([]error, error) {
	now, err := b.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer b.end()
	var errs []error
	for i, id := range leases {
		switch e := b.leased(id, now); {
		case e == nil:
			errs = engine.Report(errs, len(leases), i, b.why(id))
		case e.started:
		case e.expired(now):
			b.finish(e, omniq.ExpiredResult(e.task, now, e.attempt), now)
			errs = engine.Report(errs, len(leases), i, omniq.ErrExpired)
		default:
			b.start(e, now)
		}
	}
	return errs, nil
}

// Settle ends leases with what became of their attempts: see [omniq.TaskQueue]. It never blocks.
func (b *Backend) Settle(ctx context.Context, settlements []omniq.Settlement) ([]error, error) {
	refused, err := check(settlements)
	if err != nil {
		return nil, err
	}
	now, err := b.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer b.end()
	var errs []error
	for i := range settlements {
		s := &settlements[i]
		e := b.leased(s.LeaseID, now)
		if e == nil {
			errs = engine.Report(errs, len(settlements), i, omniq.ErrLeaseLost)
			continue
		}
		var why error
		if refused != nil {
			why = refused[i]
		}
		if why == nil {
			why = b.settle(e, s, now)
		}
		if why != nil {
			errs = engine.Report(errs, len(settlements), i, why)
		}
	}
	return errs, nil
}

// check reports what is wrong with settlements, and with the outcome of each. It is not called while the backend is locked.
func check(settlements []omniq.Settlement) (refused []error, err error) {
	for i := range settlements {
		if err := engine.CheckSettlement(&settlements[i]); err != nil {
			return nil, err
		}
	}
	for i := range settlements {
		if err := engine.CheckOutcome(&settlements[i]); err != nil {
			refused = engine.Report(refused, len(settlements), i, err)
		}
	}
	return refused, nil
}

// settle ends a lease. With an error, because of effects that cannot be, it changes nothing.
func (b *Backend) settle(e *entry, s *omniq.Settlement, now time.Time) error {
	if s.Effects == nil {
		b.conclude(e, s, now)
		return nil
	}
	p := b.plan(len(s.Effects.Enqueue) + len(s.Effects.After))
	errs, err := p.effects(e, s, now)
	if err != nil {
		return err
	}
	p.pin()
	defer p.unpin(now)
	b.carryOut(e, s, p, errs, now)
	return nil
}

// carryOut ends a lease with effects that are planned.
func (b *Backend) carryOut(e *entry, s *omniq.Settlement, p *plan, errs []error, now time.Time) {
	e.note(&s.Effects.Notes)
	if b.events.on() {
		for _, event := range s.Effects.Events {
			b.events.add(event, now)
		}
	}
	if s.Action != omniq.ActionWait {
		b.conclude(e, s, now)
	}
	for i, t := range s.Effects.Enqueue {
		if errs == nil || admitted(errs[i]) {
			b.add(t, p, now)
		}
	}
	if s.Action == omniq.ActionWait {
		b.holdBack(e, s, now)
		b.handOver(e, s.Effects.After, p, now)
	}
	for _, id := range s.Effects.Cancel {
		if other := b.task(id, now); other != nil && other.result == nil {
			b.cancel(other, now)
		}
	}
}

// handOver makes a task wait for others that was handed out.
func (b *Backend) handOver(e *entry, after []omniq.Dependency, p *plan, now time.Time) {
	if e.started {
		e.attempt--
	}
	edges := e.edges(after, false, p.entry)
	b.leave(e, now)
	e.link().resumed, e.ends, e.due = true, time.Time{}, now
	e.accepted()
	e.token, e.started = 0, false
	b.waits(e, e.await(edges), now)
}

// conclude ends a lease as its action says.
func (b *Backend) conclude(e *entry, s *omniq.Settlement, now time.Time) {
	b.holdBack(e, s, now)
	if s.Action == omniq.ActionFinish || s.Action == omniq.ActionRetry {
		t := b.tally(e, now)
		t.Run = engine.AddTime(t.Run, s.Took)
	}
	if s.Action == omniq.ActionFinish {
		task := e.task
		b.finish(e, s.Result, now)
		if s.KeepTask {
			e.task = task
		}
		return
	}
	b.giveBack(e, s, now)
}

// giveBack ends a lease without ending its task.
func (b *Backend) giveBack(e *entry, s *omniq.Settlement, now time.Time) {
	if s.Action == omniq.ActionRetry {
		if !e.started {
			e.attempt++
		}
		e.troubled().failure = s.Error
		b.note(e, omniq.EventRetried, e.attempt, e.worker, s.Error, now)
	} else if e.started {
		e.attempt--
	}
	switch {
	case s.Action != omniq.ActionDefer:
		e.accepted()
	case e.past().shunned.IsZero():
		e.troubled().shunned = now
	}
	if s.Delay > 0 || s.Action != omniq.ActionRelease {
		e.due = now.Add(s.Delay)
	}
	b.pend(e, now)
}
