package memory

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// Cancel ends tasks that are not final: see [omniq.TaskQueue]. It never blocks.
func (b *Backend) Cancel(ctx context.Context, ids []uuid.UUID) ([]error, error) {
	return b.each(ctx, ids, func(e *entry, now time.Time) error {
		switch {
		case e.result == nil:
			b.cancel(e, now)
		case e.status != omniq.StatusCancelled:
			return state(e, "one that is not final")
		}
		return nil
	})
}

// cancel ends a task that is not final.
func (b *Backend) cancel(e *entry, now time.Time) {
	if e.status == omniq.StatusRunning {
		b.revoked.add(e.worker, omniq.LeaseID{TaskID: e.id, Token: token(e.token)}, e.at)
	}
	b.finish(e, omniq.CancelledResult(e.task, now, e.attempt), now)
}

// RunNow makes tasks due now that wait for their time: see [omniq.TaskQueue]. It never blocks.
func (b *Backend) RunNow(ctx context.Context, ids []uuid.UUID) ([]error, error) {
	return b.each(ctx, ids, func(e *entry, now time.Time) error {
		if e.status != omniq.StatusPending {
			return state(e, "a pending one")
		}
		b.hasten(e, now)
		return nil
	})
}

// hasten makes a pending task due now, unless it is.
func (b *Backend) hasten(e *entry, now time.Time) {
	if e.due.After(now) {
		e.due = now
		b.pend(e, now)
	}
}

// Update gives tasks another payload: see [omniq.TaskQueue]. It never blocks.
func (b *Backend) Update(ctx context.Context, updates []omniq.Update) ([]error, error) {
	if err := engine.CheckUpdates(updates); err != nil {
		return nil, err
	}
	now, err := b.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer b.end()
	var errs []error
	for i := range updates {
		u := &updates[i]
		e := b.task(u.ID, now)
		switch {
		case e == nil:
			errs = engine.Report(errs, len(updates), i, omniq.ErrNotFound)
		case e.status != u.Status:
			errs = engine.Report(errs, len(updates), i, state(e, "one that is "+u.Status.String()))
		case e.name != u.FuncName:
			errs = engine.Report(errs, len(updates), i, fmt.Errorf("%w: it is named %q, want %q", omniq.ErrState, e.name, u.FuncName))
		case e.task == nil: // a result that was recorded for another engine
			errs = engine.Report(errs, len(updates), i, state(e, "one that was queued here"))
		default:
			if err := engine.CheckWas(e.task, u); err != nil {
				errs = engine.Report(errs, len(updates), i, err)
				continue
			}
			t := *e.task // the one that was leased before is somebody else's
			t.Args, t.Kwargs, t.Codec = u.Args, u.Kwargs, u.Codec
			if err := t.Validate(); err != nil { // what else it has may make it too large
				errs = engine.Report(errs, len(updates), i, err)
				continue
			}
			e.task = &t
			if u.Due {
				b.hasten(e, now)
			}
		}
	}
	return errs, nil
}

// Free takes unique keys from the tasks that hold them: see [omniq.TaskQueue]. It never blocks.
func (b *Backend) Free(ctx context.Context, keys []omniq.UniqueKey) ([]error, error) {
	if err := engine.CheckKeys(keys); err != nil {
		return nil, err
	}
	now, err := b.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer b.end()
	var errs []error
	for i, k := range keys {
		key := uniqueKey{k.FuncName, k.Key}
		if _, held := b.holder(key, now); !held {
			errs = engine.Report(errs, len(keys), i, omniq.ErrNotFound)
			continue
		}
		b.holds.free(key)
	}
	return errs, nil
}

// Pause keeps the tasks of a queue from being leased: see [omniq.TaskQueue]. It never blocks.
func (b *Backend) Pause(ctx context.Context, name string) error { return b.setPaused(ctx, name, true) }

// Resume lets the tasks of a queue be leased again: see [omniq.TaskQueue]. It never blocks.
func (b *Backend) Resume(ctx context.Context, name string) error {
	return b.setPaused(ctx, name, false)
}

func (b *Backend) setPaused(ctx context.Context, name string, paused bool) error {
	if err := engine.CheckQueue(name); err != nil {
		return err
	}
	now, err := b.begin(ctx)
	if err != nil {
		return err
	}
	defer b.end()
	q := b.queue(name)
	if q.paused == paused {
		b.release(q)
		return nil
	}
	q.paused = paused
	if !paused {
		b.release(q) // and the place that Pause took
		b.release(q)
		if q.stirs(now) {
			q.wakeOne()
		}
	}
	return nil
}

// SetLimit bounds what runs of a queue: see [omniq.TaskQueue]. It never blocks.
func (b *Backend) SetLimit(ctx context.Context, name string, limit omniq.Limit) error {
	if err := engine.CheckLimit(name, limit); err != nil {
		return err
	}
	now, err := b.begin(ctx)
	if err != nil {
		return err
	}
	defer b.end()
	q := b.queue(name)
	if q.limit != (omniq.Limit{}) {
		b.release(q) // the place that the last limit took
	}
	q.limit, q.pace, q.eachLane = limit, engine.PaceOf(limit.Rate), engine.PaceOf(limit.EachLane.Rate)
	q.used = q.pace.Carry(q.used, now.UnixMicro())
	q.all(func(l *lane) {
		l.used = q.eachLane.Carry(l.used, now.UnixMicro())
		q.arrange(l, now)
	})
	if q.stirs(now) {
		q.wakeOne()
	}
	if limit == (omniq.Limit{}) {
		b.release(q)
	}
	return nil
}
