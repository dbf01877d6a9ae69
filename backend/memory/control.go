package memory

import (
	"context"
	"fmt"
	"slices"
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

// Requeue enqueues tasks again that have ended without success: see [omniq.TaskQueue]. It never blocks.
func (b *Backend) Requeue(ctx context.Context, ids []uuid.UUID, follow bool) ([]error, error) {
	now, err := b.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer b.end()
	var errs []error
	again := make(map[*entry]bool) // those that have begun a new life because of others
	for {
		left, some := errs, false
		errs = nil
		for i, id := range ids {
			if left != nil && left[i] == nil {
				continue // it is done
			}
			e := b.task(id, now)
			switch {
			case e == nil:
				err = omniq.ErrNotFound
			case again[e]:
				delete(again, e) // else it could stand twice in the call
				err = nil
			default:
				if err = b.requeue(e, now); err == nil && follow {
					b.follow(e, again, now)
				}
			}
			if err != nil {
				errs = engine.Report(errs, len(ids), i, err)
			}
			some = some || err == nil
		}
		if errs == nil || !some { // those that wait for others in the call come after them
			return errs, nil
		}
	}
}

// requeue begins a new life of a task.
func (b *Backend) requeue(e *entry, now time.Time) error {
	if e.result == nil || e.task == nil {
		return state(e, "one that is final without success")
	}
	if e.links != nil {
		for _, d := range e.links.own {
			if d.dep.result != nil && !d.need.Met(d.dep.status) {
				return fmt.Errorf("%w: it needs task %v, which is %v: requeue that one", omniq.ErrState, d.dep.id, d.dep.status)
			}
		}
	}
	if f := b.user(e); f != nil {
		return fmt.Errorf("%w: task %v goes on with its result", omniq.ErrState, f.id)
	}
	t := *e.task
	t.CreatedAt, t.RunAt, t.Delay = wire(now), time.Time{}, 0
	if t.UniqueKey != "" {
		if holder, taken := b.holder(keyOf(&t), now); taken && holder != e.id {
			return omniq.Duplicate{ID: e.id, Holder: holder}
		}
	}
	b.going.drop(e)
	e.result, e.attempt, e.lost, e.shunned, e.worker = nil, 0, 0, time.Time{}, ""
	e.notes.renew()
	if l := e.links; l != nil {
		l.leave()
		l.after, l.open, l.resumed, l.blocked, l.over = nil, 0, false, false, false
	}
	if t.TTL != nil {
		e.ends = now.Add(*t.TTL)
	}
	b.begins(e, &t, now)
	return nil
}

// follow begins new lives of the tasks that a task had ended by its own end, and of those that they had ended.
func (b *Backend) follow(e *entry, again map[*entry]bool, now time.Time) {
	if e.links == nil {
		return
	}
	for _, f := range slices.Clone(e.links.followers) {
		if f.result != nil && f.links.blocked && !again[f.entry] && b.tasks[f.id] == f.entry && b.requeue(f.entry, now) == nil {
			again[f.entry] = true
			b.follow(f.entry, again, now)
		}
	}
}

// RunNow makes tasks due now that wait for their time: see [omniq.TaskQueue]. It never blocks.
func (b *Backend) RunNow(ctx context.Context, ids []uuid.UUID) ([]error, error) {
	return b.each(ctx, ids, func(e *entry, now time.Time) error {
		if e.status != omniq.StatusPending {
			return state(e, "a pending one")
		}
		if e.due.After(now) {
			e.due = now
			b.pend(e, now)
		}
		return nil
	})
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
			t := *e.task // the one that was leased before is somebody else's
			t.Args, t.Kwargs, t.Codec = u.Args, u.Kwargs, u.Codec
			if err := t.Validate(); err != nil { // what else it has may make it too large
				errs = engine.Report(errs, len(updates), i, err)
				continue
			}
			e.task = &t
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
	if _, err := b.begin(ctx); err != nil {
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
		if q.ready.n > 0 {
			q.wakeOne()
		}
	}
	return nil
}
