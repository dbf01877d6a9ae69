package backendtest

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
)

// step is how long these backends take between their look and their act, in the time of the bubble that they run in. Calls
// that do not come between begin later, so that they do: late, for half of it.
const step = 2 * time.Millisecond

// brokenRaces do in two steps what is to be one, and forget that there are others.
var brokenRaces = []breakage{
	{"leases in two steps", func(b *broken) {
		b.lease = func(ctx context.Context, r omniq.LeaseRequest) ([]omniq.Lease, error) {
			if len(r.Queues) != 1 || r.Wait > 0 {
				return b.m.Lease(ctx, r)
			}
			due, _, _ := b.m.List(ctx, omniq.ListRequest{Status: omniq.StatusPending, Queue: r.Queues[0], Max: 1})
			if len(due) == 0 {
				return b.m.Lease(ctx, r)
			}
			time.Sleep(step)
			leases, err := b.m.Lease(ctx, r)
			if err == nil && len(leases) == 0 {
				leases = []omniq.Lease{{LeaseID: omniq.LeaseID{TaskID: due[0].ID}, Task: due[0].Task, Attempt: due[0].Attempts + 1}}
			}
			return leases, err
		}
	}, []string{"calls at once for a pending task come one after another", others}},
	{"settles in two steps", func(b *broken) {
		b.settle = func(ctx context.Context, settlements []omniq.Settlement) ([]error, error) {
			for _, s := range settlements {
				if r, err := b.m.Result(ctx, s.TaskID); err != nil || r.Status != omniq.StatusRunning {
					return b.m.Settle(ctx, settlements)
				}
			}
			time.Sleep(step)
			_, err := b.m.Settle(ctx, settlements)
			return nil, err
		}
		late(&b.cancel)
	}, []string{
		"calls at once for a running task come one after another",
		"of a cancel and a settlement at once one wins",
		"calls at once for the same tasks in opposite orders do not stop each other, and do each once",
		others,
	}},
	{"requeues in two steps", func(b *broken) {
		b.requeue = func(ctx context.Context, ids []uuid.UUID, follow bool) ([]error, error) {
			for _, id := range ids {
				if info, err := b.m.Inspect(ctx, id); err != nil || !info.Status.Final() || info.Task == nil {
					return b.m.Requeue(ctx, ids, follow)
				}
			}
			time.Sleep(step)
			_, err := b.m.Requeue(ctx, ids, follow)
			return nil, err
		}
		late(&b.forget)
	}, []string{
		"calls at once for a task that has failed come one after another",
		"calls at once for a task that was cancelled while it ran come one after another",
		"of those who requeue a task at once one does",
		"calls at once for the same tasks in opposite orders do not stop each other, and do each once",
		others,
	}},
	{"looks for results before it looks for tasks", func(b *broken) {
		b.enqueue = func(ctx context.Context, tasks []*omniq.RawTask) ([]error, error) {
			if len(tasks) != 1 {
				return b.m.Enqueue(ctx, tasks)
			}
			if r, err := b.m.Result(ctx, tasks[0].ID); err != nil || r.Status.Final() {
				return b.m.Enqueue(ctx, tasks)
			}
			time.Sleep(step)
			if r, err := b.m.Result(ctx, tasks[0].ID); err == nil && r.Status.Final() {
				_, _ = b.m.Forget(ctx, []uuid.UUID{r.TaskID}) // or it could not be stored beside it
			}
			return b.m.Enqueue(ctx, tasks)
		}
		b.settle = func(ctx context.Context, settlements []omniq.Settlement) ([]error, error) {
			time.Sleep(step / 2)
			return b.m.Settle(ctx, settlements)
		}
	}, []string{
		"a task that is enqueued again while it is settled is not queued beside its result",
		"calls at once for a running task come one after another",
		others,
	}},
	{"takes unique keys in two steps", func(b *broken) {
		var mu sync.Mutex
		holders := make(map[string]uuid.UUID)
		look := func(ctx context.Context, key string, id uuid.UUID) error {
			mu.Lock()
			holder, held := holders[key]
			mu.Unlock()
			if r, err := b.m.Result(ctx, holder); held && err == nil && !r.Status.Final() && holder != id {
				return omniq.Duplicate{ID: id, Holder: holder}
			}
			time.Sleep(step)
			mu.Lock()
			defer mu.Unlock()
			holders[key] = id
			return nil
		}
		keys := make(map[uuid.UUID]string)
		b.enqueue = func(ctx context.Context, tasks []*omniq.RawTask) ([]error, error) {
			if len(tasks) != 1 || tasks[0].UniqueKey == "" || tasks[0].UniqueFor != 0 {
				return b.m.Enqueue(ctx, tasks)
			}
			t := *tasks[0]
			mu.Lock()
			keys[t.ID] = t.UniqueKey
			mu.Unlock()
			if err := look(ctx, t.UniqueKey, t.ID); err != nil {
				return []error{err}, nil
			}
			t.UniqueKey = ""
			return b.m.Enqueue(ctx, []*omniq.RawTask{&t})
		}
		b.requeue = func(ctx context.Context, ids []uuid.UUID, follow bool) ([]error, error) {
			if len(ids) != 1 {
				return b.m.Requeue(ctx, ids, follow)
			}
			mu.Lock()
			key, unique := keys[ids[0]]
			mu.Unlock()
			if unique {
				if err := look(ctx, key, ids[0]); err != nil {
					return []error{err}, nil
				}
			}
			return b.m.Requeue(ctx, ids, follow)
		}
	}, []string{
		"of those who enqueue and requeue tasks of a unique key at once one holds it",
		"one of those who enqueue a unique key at once holds it",
		others,
	}},
	{"locks tasks in the order of the call", func(b *broken) {
		var locks sync.Map
		next := b.cancel
		b.cancel = func(ctx context.Context, ids []uuid.UUID) ([]error, error) {
			seen := make(map[uuid.UUID]bool)
			for _, id := range ids {
				if seen[id] {
					continue
				}
				seen[id] = true
				l, _ := locks.LoadOrStore(id, make(chan struct{}, 1))
				lock := l.(chan struct{})
				select {
				case lock <- struct{}{}:
					defer func() { <-lock }()
				case <-ctx.Done():
					return nil, ctx.Err()
				}
				time.Sleep(step)
			}
			return next(ctx, ids)
		}
	}, []string{"calls at once for the same tasks in opposite orders do not stop each other, and do each once"}},
	{"hands out what it had fetched before a queue was paused", func(b *broken) {
		var mu sync.Mutex
		var fetched []omniq.Lease
		next := b.lease
		b.lease = func(ctx context.Context, r omniq.LeaseRequest) ([]omniq.Lease, error) {
			if r.Max != 1 || r.Wait > 0 || !slices.Equal(r.Queues, []string{omniq.DefaultQueue}) {
				return next(ctx, r)
			}
			mu.Lock()
			defer mu.Unlock()
			if len(fetched) == 0 {
				var err error
				r.Max = 3
				if fetched, err = next(ctx, r); err != nil || len(fetched) == 0 {
					return nil, err
				}
			}
			one := fetched[:1]
			fetched = fetched[1:]
			return one, nil
		}
	}, []string{"a Lease that begins after Pause has returned hands nothing out", others}},
	{"sorts events of one time by their types", pages(func(p []omniq.StoredEvent) []omniq.StoredEvent {
		slices.SortStableFunc(p, func(x, y omniq.StoredEvent) int {
			return cmp.Or(x.Timestamp.Compare(y.Timestamp), cmp.Compare(x.EventType, y.EventType))
		})
		return p
	}), []string{"the events of calls at once tell what became of their tasks", others}},
	{"leaves out the second event of a page", pages(func(p []omniq.StoredEvent) []omniq.StoredEvent {
		if len(p) > 1 {
			p = slices.Delete(slices.Clone(p), 1, 2)
		}
		return p
	}), []string{"no event of a task is left out between two reads, whoever writes meanwhile", others}},
	{"pauses a little later", func(b *broken) {
		b.pause = func(ctx context.Context, queue string) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			// Later than those who rest between their calls, so that one of them calls before it on any machine.
			time.AfterFunc(10*step, func() { _ = b.m.Pause(context.Background(), queue) })
			_, err := b.m.Stats(ctx)
			return err
		}
	}, []string{
		"a paused queue hands nothing out until it is resumed",
		"a Lease that begins after Pause has returned hands nothing out",
		others,
	}},
}

// late lets calls begin between the steps of others.
func late(method *each) {
	next := *method
	*method = func(ctx context.Context, ids []uuid.UUID) ([]error, error) {
		time.Sleep(step / 2)
		return next(ctx, ids)
	}
}
