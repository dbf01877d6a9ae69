package backendtest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
)

// brokenReplaces do something wrong with tasks that take the places and the keys of others.
var brokenReplaces = []breakage{
	{"refuses what is to take a place", tasks(func(t *omniq.RawTask) { t.OnHeld, t.ReplaceWithin = omniq.HeldRefuse, 0 }), []string{
		"a task takes the place of the one that holds its key, and all is as it says but the ID",
		"a task that is under way loses its key to another, and goes on",
		"a task waits behind the one that is under way, until that has ended in whatever way",
		others,
	}},
	{"keeps the queue of what is replaced", overtaking(func(t *omniq.RawTask, holder *omniq.TaskInfo) { t.Queue = holder.Queue }), []string{
		"a task takes the place of the one that holds its key, and all is as it says but the ID",
		"a task that takes a place is enqueued, as events tell",
		others,
	}},
	{"keeps the TTL of what is replaced", overtaking(func(t *omniq.RawTask, holder *omniq.TaskInfo) {
		if holder.Status == omniq.StatusPending {
			t.TTL = holder.Task.TTL
		}
	}), []string{
		"a task takes the place of the one that holds its key, and all is as it says but the ID",
		"a task that takes a place has its own TTL",
	}},
	{"replaces the payload alone of what was tried", stepwise(func(ctx context.Context, b *broken, t *omniq.RawTask, holder *omniq.TaskInfo) (error, bool) {
		if holder.Status != omniq.StatusPending || holder.Attempts == 0 {
			return nil, false
		}
		u := updateOf(&omniq.RawTask{ID: holder.ID, FuncName: t.FuncName, Args: t.Args, Kwargs: t.Kwargs, Codec: t.Codec}, omniq.StatusPending)
		u.Due = t.Delay == 0 && t.RunAt.IsZero()
		errs, err := b.m.Update(ctx, []omniq.Update{u})
		return errors.Join(err, first(errs), omniq.Duplicate{ID: t.ID, Holder: holder.ID, Replaced: true}), true
	}), []string{
		"what a task had come to is gone when another takes its place",
		others,
	}},
	{"does not tell that a place was taken", func(b *broken) {
		var mu sync.Mutex
		seen := make(map[uuid.UUID]bool)
		pages(func(events []omniq.StoredEvent) []omniq.StoredEvent {
			mu.Lock()
			defer mu.Unlock()
			clear(seen)
			return slices.DeleteFunc(events, func(e omniq.StoredEvent) bool {
				again := e.EventType == omniq.EventEnqueued && seen[e.TaskID]
				seen[e.TaskID] = true
				return again
			})
		})(b)
	}, []string{"a task that takes a place is enqueued, as events tell"}},
	{"keeps the time of what is replaced", overtaking(func(t *omniq.RawTask, holder *omniq.TaskInfo) {
		if holder.Status == omniq.StatusPending {
			t.RunAt, t.Delay = holder.Due, 0
		}
	}), []string{
		"a task that takes a place is due when it says",
		others,
	}},
	{"puts a place off for ever", tasks(func(t *omniq.RawTask) { t.ReplaceWithin = 0 }), []string{
		"a task that takes a place is put off until ReplaceWithin after the first one, and no longer",
	}},
	{"counts ReplaceWithin from the first attempt", overtaking(func(t *omniq.RawTask, holder *omniq.TaskInfo) {
		if t.ReplaceWithin > 0 && holder.Attempts > 0 {
			t.Delay = 0
		}
	}), []string{"after an attempt the time of ReplaceWithin begins anew"}},
	{"puts what takes a place to the end of the line", overtaking(func(t *omniq.RawTask, holder *omniq.TaskInfo) {
		if holder.Status == omniq.StatusPending && t.Delay == 0 && t.RunAt.IsZero() {
			t.Delay = time.Microsecond
		}
	}), []string{"a task that is due at once keeps the place in line of the one that it replaces", others}},
	{"enqueues what takes a place anew", stepwise(func(ctx context.Context, b *broken, t *omniq.RawTask, holder *omniq.TaskInfo) (error, bool) {
		if holder.Status != omniq.StatusPending || holder.Task.Tied() || holder.Task.UniqueFor > 0 {
			return nil, false
		}
		_, _ = b.m.Cancel(ctx, []uuid.UUID{holder.ID})
		_, _ = b.m.Forget(ctx, []uuid.UUID{holder.ID})
		anew := *t
		anew.ID = holder.ID
		errs, err := b.m.Enqueue(ctx, []*omniq.RawTask{&anew})
		return errors.Join(err, first(errs), omniq.Duplicate{ID: t.ID, Holder: holder.ID, Replaced: true}), true
	}), []string{
		"who waits for a task gets the result of the one that takes its place",
		others,
	}},
	{"forgets who depends on what is replaced in the same call", func(b *broken) {
		b.enqueue = func(ctx context.Context, tasks []*omniq.RawTask) ([]error, error) {
			errs, err := b.m.Enqueue(ctx, tasks)
			for i := range errs {
				if d, ok := errors.AsType[omniq.Duplicate](errs[i]); ok && d.Replaced && len(errs) == 2 && len(tasks[1].After) == 1 {
					_, _ = b.m.Cancel(ctx, []uuid.UUID{tasks[1].ID})
				}
			}
			return errs, err
		}
	}, []string{"who depends on a task gets the result of the one that takes its place"}},
	{"lets each task wait behind what is under way", tasks(func(t *omniq.RawTask) {
		if t.OnHeld == omniq.HeldReplace {
			t.OnHeld = omniq.HeldBehind
		}
	}), []string{"a task that is under way loses its key to another, and goes on", others}},
	{"replaces what has handed over", stepwise(func(_ context.Context, _ *broken, t *omniq.RawTask, holder *omniq.TaskInfo) (error, bool) {
		over := holder.Status == omniq.StatusWaiting && holder.Task.OnHeld == omniq.HeldRefuse && !holder.Task.Tied()
		return omniq.Duplicate{ID: t.ID, Holder: holder.ID, Replaced: true}, over
	}), []string{"a task that has handed over to others is under way"}},
	{"frees the keys of all that ends", func(b *broken) {
		b.settle = func(ctx context.Context, settlements []omniq.Settlement) ([]error, error) {
			var keys []omniq.UniqueKey
			for _, s := range settlements {
				if info, err := b.m.Inspect(ctx, s.TaskID); err == nil && info.Task != nil && s.Action == omniq.ActionFinish && info.Task.UniqueFor == 0 {
					keys = append(keys, omniq.UniqueKey{FuncName: info.FuncName, Key: info.Task.UniqueKey})
				}
			}
			errs, err := b.m.Settle(ctx, settlements)
			_, _ = b.m.Free(ctx, keys)
			return errs, err
		}
	}, []string{"a key is freed by the end of its holder alone", others}},
	{"lets none wait behind what is under way", tasks(func(t *omniq.RawTask) {
		if t.OnHeld == omniq.HeldBehind {
			t.OnHeld = omniq.HeldReplace
		}
	}), []string{
		"a task waits behind the one that is under way, until that has ended in whatever way",
		"at most one task waits behind another: the latest",
		others,
	}},
	{"lets all wait behind what is under way", stepwise(func(ctx context.Context, b *broken, t *omniq.RawTask, holder *omniq.TaskInfo) (error, bool) {
		if holder.Status != omniq.StatusWaiting || holder.Task.OnHeld == omniq.HeldRefuse {
			return nil, false
		}
		also := *t
		also.UniqueKey, also.OnHeld, also.ReplaceWithin, also.After = "", omniq.HeldRefuse, 0, holder.After
		errs, err := b.m.Enqueue(ctx, []*omniq.RawTask{&also})
		return errors.Join(err, first(errs)), true
	}), []string{"at most one task waits behind another: the latest", others}},
	{"forgets the TTLs of what waits behind another", tasks(func(t *omniq.RawTask) {
		if t.OnHeld == omniq.HeldBehind {
			t.TTL = nil
		}
	}), []string{"a task that waits behind another expires, or is cancelled, by itself"}},
	{"requeues nothing that has waited", func(b *broken) {
		b.requeue = func(ctx context.Context, ids []uuid.UUID, follow bool) ([]error, error) {
			if info, err := b.m.Inspect(ctx, ids[0]); err == nil && len(info.After) > 0 {
				return []error{omniq.ErrState}, nil
			}
			return b.m.Requeue(ctx, ids, follow)
		}
	}, []string{"a task that waited behind another and has failed can be requeued"}},
	{"replaces what others have made of a task", stepwise(func(_ context.Context, _ *broken, t *omniq.RawTask, holder *omniq.TaskInfo) (error, bool) {
		return omniq.Duplicate{ID: t.ID, Holder: holder.ID, Replaced: true}, holder.Task.Tied()
	}), []string{"what others have made of a task that waits is not replaced"}},
	{"takes a key that is held for a time", stepwise(func(ctx context.Context, b *broken, t *omniq.RawTask, holder *omniq.TaskInfo) (error, bool) {
		if holder.Task.UniqueFor > 0 {
			_, _ = b.m.Free(ctx, []omniq.UniqueKey{{FuncName: t.FuncName, Key: t.UniqueKey}})
		}
		return nil, false
	}), []string{"a key that is held for a time, and an ID that is taken, refuse each task"}},
	{"keeps the first of a call", func(b *broken) {
		b.enqueue = func(ctx context.Context, tasks []*omniq.RawTask) ([]error, error) {
			holders := make(map[string]uuid.UUID)
			var kept []*omniq.RawTask
			var at []int
			errs := make([]error, len(tasks))
			for i, t := range tasks {
				holder, twice := holders[t.UniqueKey]
				if twice && t.OnHeld != omniq.HeldRefuse {
					errs[i] = omniq.Duplicate{ID: t.ID, Holder: holder, Replaced: true}
					continue
				}
				if t.OnHeld != omniq.HeldRefuse {
					holders[t.UniqueKey] = t.ID
				}
				kept, at = append(kept, t), append(at, i)
			}
			some, err := b.m.Enqueue(ctx, kept)
			for k, err := range some {
				errs[at[k]] = err
			}
			return errs, err
		}
	}, []string{"of two tasks of a call with one key the later takes the place of the earlier"}},
	{"leaves out of settlements what is to take a place", effects(func(e *omniq.Effects) {
		e.Enqueue = slices.Clone(e.Enqueue)
		for i, t := range e.Enqueue {
			c := *t
			c.OnHeld = omniq.HeldRefuse
			e.Enqueue[i] = &c
		}
	}), []string{
		"what a settlement enqueues takes places, too",
		"what a task enqueues at its end can have its key",
		"a task cannot hand over to one that waits for it",
	}},
	{"lets tasks wait for each other", func(b *broken) {
		b.settle = func(ctx context.Context, settlements []omniq.Settlement) ([]error, error) {
			errs, err := b.m.Settle(ctx, settlements)
			if len(settlements) == 1 && settlements[0].Action == omniq.ActionWait {
				errs = nil
			}
			return errs, err
		}
	}, []string{"a task cannot hand over to one that waits for it"}},
	{"replaces in two steps", twoSteps, []string{
		"what replaces while workers lease is run, or what came after it, once",
		"what replaces while workers lease and others wait behind them is run, or what came after it, once",
		others,
	}},
}

// stepwise does something else with a task that comes alone and whose key is held, if it says so.
func stepwise(do func(ctx context.Context, b *broken, t *omniq.RawTask, holder *omniq.TaskInfo) (error, bool)) func(*broken) {
	return func(b *broken) {
		b.enqueue = func(ctx context.Context, tasks []*omniq.RawTask) ([]error, error) {
			if len(tasks) != 1 || tasks[0].OnHeld == omniq.HeldRefuse {
				return b.m.Enqueue(ctx, tasks)
			}
			t := tasks[0]
			probe := task(unique(t.UniqueKey), named(t.FuncName), delay(long))
			errs, err := b.m.Enqueue(ctx, []*omniq.RawTask{probe})
			if err != nil {
				return nil, err
			}
			d, held := errors.AsType[omniq.Duplicate](first(errs))
			if !held {
				_, _ = b.m.Cancel(ctx, []uuid.UUID{probe.ID})
				_, _ = b.m.Forget(ctx, []uuid.UUID{probe.ID})
				return b.m.Enqueue(ctx, tasks)
			}
			holder, err := b.m.Inspect(ctx, d.Holder)
			if err != nil || holder.Task == nil {
				return b.m.Enqueue(ctx, tasks)
			}
			if err, done := do(ctx, b, t, holder); done {
				return []error{err}, nil
			}
			return b.m.Enqueue(ctx, tasks)
		}
	}
}

// twoSteps looks at the holder of a key, and changes it a step later.
var twoSteps = stepwise(func(ctx context.Context, b *broken, t *omniq.RawTask, holder *omniq.TaskInfo) (error, bool) {
	if holder.Status == omniq.StatusRunning || string(t.Args) == "[]" || holder.Task.Tied() || t.Delay > 0 {
		return nil, false
	}
	time.Sleep(step)
	u := updateOf(&omniq.RawTask{ID: holder.ID, FuncName: t.FuncName, Args: t.Args, Kwargs: t.Kwargs, Codec: t.Codec}, omniq.StatusPending)
	_, err := b.m.Update(ctx, []omniq.Update{u})
	return errors.Join(err, omniq.Duplicate{ID: t.ID, Holder: holder.ID, Replaced: true}), true
})

// overtaking changes a task that comes alone and whose key is held.
func overtaking(change func(t *omniq.RawTask, holder *omniq.TaskInfo)) func(*broken) {
	return stepwise(func(ctx context.Context, b *broken, t *omniq.RawTask, holder *omniq.TaskInfo) (error, bool) {
		c := *t
		change(&c, holder)
		errs, err := b.m.Enqueue(ctx, []*omniq.RawTask{&c})
		return errors.Join(err, first(errs)), true
	})
}
