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

// brokenNows do something wrong with what is to run now.
var brokenNows = []breakage{
	{"does not run now", func(b *broken) {
		b.runNow = func(ctx context.Context, ids []uuid.UUID) ([]error, error) {
			errs := make([]error, len(ids))
			for i, id := range ids {
				switch r, err := b.m.Result(ctx, id); {
				case errors.Is(err, omniq.ErrNotFound):
					errs[i] = omniq.ErrNotFound
				case err != nil:
					return nil, err
				case r.Status != omniq.StatusPending:
					errs[i] = omniq.ErrState
				}
			}
			return errs, nil
		}
	}, []string{
		"a task that waits for its time is leased after RunNow, as it was enqueued",
		"a task that waits for a retry is leased after RunNow",
		"RunNow wakes a waiting Lease",
		"RunNow does not pass a pause",
		others,
	}},
	{"says nothing of what cannot run now", func(b *broken) { b.runNow = quiet(b.m.RunNow) }, []string{
		"each task of a RunNow counts for itself",
	}},
	{"passes pauses", func(b *broken) {
		b.runNow = func(ctx context.Context, ids []uuid.UUID) ([]error, error) {
			_ = b.m.Resume(ctx, omniq.DefaultQueue)
			return b.m.RunNow(ctx, ids)
		}
	}, []string{"RunNow does not pass a pause"}},
	{"puts what is to run now before the others", func(b *broken) {
		b.runNow = func(ctx context.Context, ids []uuid.UUID) ([]error, error) {
			return again(ctx, b, ids, b.m.RunNow, func(t *omniq.RawTask) { t.RunAt, t.Delay = time.Now().Add(-time.Hour), 0 })
		}
	}, []string{"a task of RunNow waits after those that were due before", others}},
	{"puts what is due already to the end", func(b *broken) {
		b.runNow = func(ctx context.Context, ids []uuid.UUID) ([]error, error) {
			return again(ctx, b, ids, b.m.RunNow, func(*omniq.RawTask) {})
		}
	}, []string{"a task of RunNow waits after those that were due before", others}},
}

// again does something with tasks after those of them that wait were enqueued anew, with a change.
func again(ctx context.Context, b *broken, ids []uuid.UUID, then each, change func(*omniq.RawTask)) ([]error, error) {
	for _, id := range ids {
		info, err := b.m.Inspect(ctx, id)
		if err != nil || info.Status != omniq.StatusPending {
			continue
		}
		t := *info.Task
		change(&t)
		_, _ = b.m.Cancel(ctx, []uuid.UUID{id})
		_, _ = b.m.Forget(ctx, []uuid.UUID{id})
		_, _ = b.m.Enqueue(ctx, []*omniq.RawTask{&t})
	}
	return then(ctx, ids)
}

// brokenUpdates do something wrong with payloads that are changed.
var brokenUpdates = []breakage{
	{"does not update", func(b *broken) {
		b.update = func(ctx context.Context, updates []omniq.Update) ([]error, error) {
			updates = slices.Clone(updates)
			for i, u := range updates {
				if info, err := b.m.Inspect(ctx, u.ID); err == nil && info.Task != nil && u.Validate() == nil {
					updates[i].Args, updates[i].Kwargs, updates[i].Codec = info.Task.Args, info.Task.Kwargs, info.Task.Codec
				}
			}
			return b.m.Update(ctx, updates)
		}
	}, []string{
		"a task that is updated is leased with its new payload, and else as it was enqueued",
		"a retry has the payload of an update",
		"a task that has ended without success is updated, and requeued with its new payload",
		"an update that expects other args changes nothing",
		"of updates at once that expect the same args one is done",
		"an update makes its task due where that is asked for, in one step",
		"each update of a call counts for itself",
		"of an update and a Lease at once one comes after the other",
	}},
	{"forgets the codec of an update", changed(func(u *omniq.Update) { u.Codec = "" }), []string{
		"a task that is updated is leased with its new payload, and else as it was enqueued",
		others,
	}},
	{"enqueues anew what is updated", func(b *broken) {
		b.update = func(ctx context.Context, updates []omniq.Update) ([]error, error) {
			for _, u := range updates {
				if u.Validate() == nil {
					_, _ = again(ctx, b, []uuid.UUID{u.ID}, b.m.RunNow, func(t *omniq.RawTask) { t.Priority = 0 })
				}
			}
			return b.m.Update(ctx, updates)
		}
	}, []string{"a task that is updated is leased with its new payload, and else as it was enqueued", others}},
	{"does not care for the state of what is updated", func(b *broken) {
		b.update = func(ctx context.Context, updates []omniq.Update) ([]error, error) {
			updates = slices.Clone(updates)
			for i, u := range updates {
				if r, err := b.m.Result(ctx, u.ID); err == nil && u.Validate() == nil && slices.Contains(deaths, r.Status) {
					updates[i].Status = r.Status
				}
			}
			return b.m.Update(ctx, updates)
		}
	}, []string{"each update of a call counts for itself"}},
	{"says nothing of updates that are refused", func(b *broken) {
		b.update = func(ctx context.Context, updates []omniq.Update) ([]error, error) {
			_, err := b.m.Update(ctx, updates)
			return nil, err
		}
	}, []string{"each update of a call counts for itself", others}},
	{"updates whatever is there", changed(func(u *omniq.Update) { u.Was = nil }), []string{
		"an update that expects other args changes nothing",
		"of updates at once that expect the same args one is done",
		"an update makes its task due where that is asked for, in one step",
	}},
	{"looks at the args before it updates", func(b *broken) {
		var mu sync.Mutex
		looked := sync.NewCond(&mu)
		n := 0
		b.update = func(ctx context.Context, updates []omniq.Update) ([]error, error) {
			if len(updates) != 1 || updates[0].Was == nil {
				return b.m.Update(ctx, updates)
			}
			u := updates[0]
			if info, err := b.m.Inspect(ctx, u.ID); err != nil || info.Task == nil || string(info.Task.Args) != string(u.Was) {
				return b.m.Update(ctx, updates)
			}
			if len(u.Args) == len("[0]") { // of several at once: all have looked before the first updates
				mu.Lock()
				for n++; n < 8; {
					looked.Wait()
				}
				looked.Broadcast()
				mu.Unlock()
			}
			u.Was = nil
			return b.m.Update(ctx, []omniq.Update{u})
		}
	}, []string{"of updates at once that expect the same args one is done"}},
	{"makes nothing due that it updates", changed(func(u *omniq.Update) { u.Due = u.Due && u.Status != omniq.StatusPending }), []string{
		"an update makes its task due where that is asked for, in one step",
	}},
	{"makes due what it does not update", func(b *broken) {
		b.update = func(ctx context.Context, updates []omniq.Update) ([]error, error) {
			for _, u := range updates {
				if u.Due && u.Status == omniq.StatusPending {
					_, _ = b.m.RunNow(ctx, []uuid.UUID{u.ID})
				}
			}
			return b.m.Update(ctx, updates)
		}
	}, []string{"an update makes its task due where that is asked for, in one step"}},
	{"drops updates that are large", func(b *broken) {
		b.update = func(ctx context.Context, updates []omniq.Update) ([]error, error) {
			return b.m.Update(ctx, slices.DeleteFunc(slices.Clone(updates), func(u omniq.Update) bool { return len(u.Args) > 1<<20 }))
		}
	}, []string{"an update that makes its task too large is refused in its place, and the others are done"}},
	{"drops updates that no worker could read", func(b *broken) {
		b.update = func(ctx context.Context, updates []omniq.Update) ([]error, error) {
			return b.m.Update(ctx, slices.DeleteFunc(slices.Clone(updates), func(u omniq.Update) bool { return u.Validate() != nil }))
		}
	}, []string{"an update that no worker could read is refused, and nothing of its call is done", others}},
}

// changed changes each update.
func changed(change func(*omniq.Update)) func(*broken) {
	return func(b *broken) {
		b.update = func(ctx context.Context, updates []omniq.Update) ([]error, error) {
			updates = slices.Clone(updates)
			for i := range updates {
				if updates[i].Validate() == nil {
					change(&updates[i])
				}
			}
			return b.m.Update(ctx, updates)
		}
	}
}

// brokenLimits do something wrong with the limits of queues.
var brokenLimits = []breakage{
	{"has no limits", limits(func(r *omniq.LeaseRequest) { r.Limits = nil }), []string{
		"a Lease takes of each queue as many as its limit allows",
		"limits hold for tasks of names that are not asked for",
		"a Lease with limits waits, and what is beyond them is there for the next",
		others,
	}},
	{"takes the limits for those of all queues", limits(func(r *omniq.LeaseRequest) {
		r.Max, r.Limits = min(r.Max, slices.Max(r.Limits)), nil
	}), []string{"a Lease takes of each queue as many as its limit allows", others}},
	{"has limits for known names only", limits(func(r *omniq.LeaseRequest) {
		if r.Names != nil {
			r.Limits = nil
		}
	}), []string{"limits hold for tasks of names that are not asked for"}},
	{"has no limits for who waits", limits(func(r *omniq.LeaseRequest) {
		if r.Wait > worst {
			r.Limits = nil
		}
	}), []string{"a Lease with limits waits, and what is beyond them is there for the next"}},
}

// limits changes each request with limits that are allowed.
func limits(change func(*omniq.LeaseRequest)) func(*broken) {
	return requests(func(r *omniq.LeaseRequest) {
		if r.Limits != nil && len(r.Limits) == len(r.Queues) && slices.Min(r.Limits) > 0 {
			change(r)
		}
	})
}
