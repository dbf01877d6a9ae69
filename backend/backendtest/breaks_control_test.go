package backendtest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
)

// brokenCancels do something wrong with tasks that are cancelled, and with those who are to hear of it.
var brokenCancels = []breakage{
	{"does not cancel what waits", cancelsNot(omniq.StatusPending), []string{"a pending task that is cancelled never starts", others}},
	{"does not cancel what runs", cancelsNot(omniq.StatusRunning), []string{
		"a running task that is cancelled is final, and stays so when its lease would run out", others,
	}},
	{"hides that a lease was cancelled", func(b *broken) {
		b.settle = func(ctx context.Context, settlements []omniq.Settlement) ([]error, error) {
			errs, err := b.m.Settle(ctx, settlements)
			for i := range errs {
				if r, err := b.m.Result(ctx, settlements[i].TaskID); err == nil && r.Status == omniq.StatusCancelled {
					errs[i] = nil
				}
			}
			return errs, err
		}
	}, []string{"the lease of a cancelled task settles nothing", others}},
	{"calls cancelled leases lost", func(b *broken) {
		b.extend = func(ctx context.Context, leases []omniq.LeaseID, by time.Duration) ([]error, error) {
			errs, err := b.m.Extend(ctx, leases, by)
			for i := range errs {
				if errs[i] != nil {
					errs[i] = omniq.ErrLeaseLost
				}
			}
			return errs, err
		}
	}, []string{"Extend says that a task was cancelled while its result is kept", others}},
	{"calls lost leases cancelled", func(b *broken) {
		b.extend = func(ctx context.Context, leases []omniq.LeaseID, by time.Duration) ([]error, error) {
			errs, err := b.m.Extend(ctx, leases, by)
			for i := range errs {
				if errs[i] != nil {
					errs[i] = omniq.ErrCancelled
				}
			}
			return errs, err
		}
	}, []string{
		"Extend says that a task was cancelled while its result is kept",
		"a lease that another one has followed settles and extends nothing",
		others,
	}},
	{"reports nothing of a Cancel", func(b *broken) { b.cancel = quiet(b.m.Cancel) }, []string{
		"each task of a Cancel counts for itself", others,
	}},
	{"cancels and says that it was too late", func(b *broken) {
		b.cancel = func(ctx context.Context, ids []uuid.UUID) ([]error, error) {
			errs, err := b.m.Cancel(ctx, ids)
			if err == nil && errs == nil {
				errs = []error{omniq.ErrState}
			}
			return errs, err
		}
	}, []string{
		"of a cancel and a settlement at once one wins",
		"of a cancel and a requeue at once one comes after the other",
		others,
	}},
	{"does not like to cancel twice", func(b *broken) {
		b.cancel = func(ctx context.Context, ids []uuid.UUID) ([]error, error) {
			for _, id := range ids {
				if r, err := b.m.Result(ctx, id); err == nil && r.Status == omniq.StatusCancelled {
					return nil, omniq.ErrState
				}
			}
			return b.m.Cancel(ctx, ids)
		}
	}, []string{"each task of a Cancel counts for itself", others}},
	{"revokes nothing", revocations(func([]omniq.LeaseID) []omniq.LeaseID { return nil }), []string{
		"Revoked blocks until a lease of the worker is lost", others,
	}},
	{"does not wait for what is revoked", func(b *broken) {
		b.revoked = func(ctx context.Context, worker string) ([]omniq.LeaseID, error) {
			over, cancel := context.WithTimeout(ctx, time.Millisecond)
			defer cancel()
			leases, err := b.m.Revoked(over, worker)
			if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
				err = nil
			}
			return leases, err
		}
	}, []string{
		"Revoked blocks until a lease of the worker is lost",
		"Revoked tells of each lease once, also of those that were lost between two calls",
		"a lease that was lost in another way is not revoked",
		"a call that blocks ends with its context",
		others,
	}},
	{"revokes leases that ran out", func(b *broken) {
		var mu sync.Mutex
		had := make(map[uuid.UUID][]func())
		lost := make(map[string][]omniq.LeaseID)
		b.lease = func(ctx context.Context, r omniq.LeaseRequest) ([]omniq.Lease, error) {
			leases, err := b.m.Lease(ctx, r)
			mu.Lock()
			defer mu.Unlock()
			for _, l := range leases {
				had[l.TaskID] = append(had[l.TaskID], func() { lost[r.WorkerID] = append(lost[r.WorkerID], l.LeaseID) })
			}
			return leases, err
		}
		b.cancel = func(ctx context.Context, ids []uuid.UUID) ([]error, error) {
			errs, err := b.m.Cancel(ctx, ids)
			mu.Lock()
			defer mu.Unlock()
			for _, id := range ids {
				for _, lose := range had[id] {
					lose()
				}
				delete(had, id)
			}
			return errs, err
		}
		b.revoked = func(ctx context.Context, worker string) ([]omniq.LeaseID, error) {
			for {
				if _, err := b.m.Stats(ctx); err != nil {
					return nil, err
				}
				mu.Lock()
				leases := lost[worker]
				delete(lost, worker)
				mu.Unlock()
				if len(leases) > 0 {
					return leases, nil
				}
				time.Sleep(time.Millisecond)
			}
		}
	}, []string{"a lease that was lost in another way is not revoked", others}},
	{"tells any worker", func(b *broken) {
		requests(func(r *omniq.LeaseRequest) { r.WorkerID = "any" })(b)
		b.revoked = func(ctx context.Context, _ string) ([]omniq.LeaseID, error) { return b.m.Revoked(ctx, "any") }
	}, []string{
		"Revoked blocks until a lease of the worker is lost",
		others,
	}},
	{"revokes again and again", func(b *broken) {
		var mu sync.Mutex
		var all []omniq.LeaseID
		revocations(func(l []omniq.LeaseID) []omniq.LeaseID {
			mu.Lock()
			defer mu.Unlock()
			all = append(all, l...)
			return all
		})(b)
	}, []string{"Revoked tells of each lease once, also of those that were lost between two calls", others}},
	{"revokes one lease of many", revocations(func(l []omniq.LeaseID) []omniq.LeaseID { return l[:min(1, len(l))] }), []string{
		"Revoked tells of each lease once, also of those that were lost between two calls",
		"of a cancel and a lease at once the lease is revoked or never was",
	}},
}

// brokenRequeues do something wrong with tasks that begin a new life.
var brokenRequeues = []breakage{
	{"requeues tasks as they were", func(b *broken) {
		b.requeue = func(ctx context.Context, ids []uuid.UUID, follow bool) ([]error, error) {
			errs, err := b.m.Requeue(ctx, nil, false)
			for _, id := range ids {
				info, _ := b.m.Inspect(ctx, id)
				one := error(nil)
				switch {
				case info == nil:
					one = omniq.ErrNotFound
				case info.Task == nil || !info.Status.Final():
					one = omniq.ErrState
				default:
					again := *info.Task
					again.RunAt = again.CreatedAt.Add(-time.Second)
					_, _ = b.m.Forget(ctx, []uuid.UUID{id})
					_, _ = b.m.Enqueue(ctx, []*omniq.RawTask{&again})
				}
				errs = append(errs, one)
			}
			return errs, err
		}
	}, []string{
		"a task that is requeued is leased as it was enqueued, as new",
		"a task that is requeued has its whole TTL before it",
		"a task that is requeued waits behind those that were due before",
		others,
	}},
	{"counts the attempts of the old life", func(b *broken) {
		var again sync.Map
		b.requeue = func(ctx context.Context, ids []uuid.UUID, follow bool) ([]error, error) {
			for _, id := range ids {
				again.Store(id, true)
			}
			return b.m.Requeue(ctx, ids, follow)
		}
		leases(func(l []omniq.Lease) []omniq.Lease {
			for i := range l {
				if _, ok := again.Load(l[i].TaskID); ok {
					l[i].Attempt++
				}
			}
			return l
		})(b)
	}, []string{
		"a task that is requeued is leased as it was enqueued, as new",
		"a task that is requeued has no result and no attempts",
		others,
	}},
	{"removes what is requeued with its old result", func(b *broken) {
		b.requeue = func(ctx context.Context, ids []uuid.UUID, follow bool) ([]error, error) {
			time.AfterFunc(short, func() {
				_, _ = b.m.Cancel(context.Background(), ids)
				_, _ = b.m.Forget(context.Background(), ids)
			})
			return b.m.Requeue(ctx, ids, follow)
		}
	}, []string{"the TTL of the old result does not end the new life", others}},
	{"answers with old results", func(b *broken) {
		var old sync.Map
		b.await = func(ctx context.Context, id uuid.UUID) (*omniq.RawResult, error) {
			if r, ok := old.Load(id); ok && ctx.Err() == nil {
				return r.(*omniq.RawResult), nil
			}
			r, err := b.m.Await(ctx, id)
			if err == nil {
				old.Store(id, r)
			}
			return r, err
		}
	}, []string{"those who wait for a requeued task get its new result", others}},
	{"reports nothing of a Requeue", func(b *broken) {
		b.requeue = func(ctx context.Context, ids []uuid.UUID, follow bool) ([]error, error) {
			_, err := b.m.Requeue(ctx, ids, follow)
			return nil, err
		}
	}, []string{
		"each task of a Requeue counts for itself",
		"of those who requeue a task at once one does",
		"a task is requeued only if it can have its unique key",
		others,
	}},
}

// brokenKeys do something wrong with unique keys.
var brokenKeys = []breakage{
	{"does not say which task is a duplicate", func(b *broken) {
		b.enqueue = func(ctx context.Context, tasks []*omniq.RawTask) ([]error, error) {
			errs, err := b.m.Enqueue(ctx, tasks)
			for i := range errs {
				if errs[i] != nil {
					errs[i] = omniq.ErrDuplicate
				}
			}
			return errs, err
		}
	}, []string{"a duplicate names the task that is in its way", others}},
	{"forgets unique keys", tasks(func(t *omniq.RawTask) { t.UniqueKey, t.UniqueFor = "", 0 }), []string{
		"a duplicate names the task that is in its way",
		"a unique key is held until its task is final",
		"one of those who enqueue a unique key at once holds it",
		others,
	}},
	{"holds unique keys for a while", tasks(func(t *omniq.RawTask) {
		if t.UniqueKey != "" && t.UniqueFor == 0 {
			t.UniqueFor = long
		}
	}), []string{
		"a unique key is held until its task is final",
		"a task is requeued only if it can have its unique key",
		others,
	}},
	{"holds unique keys until their tasks are final only", tasks(func(t *omniq.RawTask) { t.UniqueFor = 0 }), []string{
		"a unique key for a time is held that long, whatever became of its task",
		"Forget does not end a unique key for a time",
		"a task that holds its unique key for a time can be requeued",
		others,
	}},
	{"holds unique keys in a queue", tasks(func(t *omniq.RawTask) {
		if t.UniqueKey != "" {
			t.UniqueKey += t.Queue
		}
	}), []string{"a unique key is that of a function", others}},
	{"holds unique keys for all functions", tasks(func(t *omniq.RawTask) { t.FuncName = "f" }), []string{
		"a unique key is that of a function", others,
	}},
}

// brokenPauses do something wrong with paused queues.
var brokenPauses = []breakage{
	{"does not pause", func(b *broken) { b.pause = func(ctx context.Context, _ string) error { return ctx.Err() } }, []string{
		"a paused queue hands nothing out until it is resumed",
		"a queue can be paused while a Lease waits for it",
		"what runs is not touched by Pause",
		"to pause or resume twice, or an unknown queue, is no error",
		others,
	}},
	{"does not wake who waits for a queue that is resumed", func(b *broken) {
		var resumed sync.Map
		b.resume = func(ctx context.Context, queue string) error {
			resumed.Store(queue, time.Now())
			return nil
		}
		next := b.lease
		b.lease = func(ctx context.Context, r omniq.LeaseRequest) ([]omniq.Lease, error) {
			for _, q := range r.Queues {
				if _, ok := resumed.LoadAndDelete(q); ok {
					_ = b.m.Resume(ctx, q)
				}
			}
			return next(ctx, r)
		}
	}, []string{
		"a queue can be paused while a Lease waits for it",
		"Resume wakes each who waits",
		others,
	}},
	{"cancels what runs in a paused queue", func(b *broken) {
		b.pause = func(ctx context.Context, queue string) error {
			running, _, _ := b.m.List(ctx, omniq.ListRequest{Status: omniq.StatusRunning, Queue: queue, Max: 1000})
			_, _ = b.m.Cancel(ctx, ids(running))
			return b.m.Pause(ctx, queue)
		}
	}, []string{"what runs is not touched by Pause"}},
	{"pauses once", func(b *broken) {
		var paused sync.Map
		b.pause = func(ctx context.Context, queue string) error {
			if _, again := paused.LoadOrStore(queue, true); again {
				return omniq.ErrState
			}
			return b.m.Pause(ctx, queue)
		}
	}, []string{"to pause or resume twice, or an unknown queue, is no error", others}},
	{"does not let tasks of paused queues expire", func(b *broken) {
		var paused sync.Map
		b.pause = func(ctx context.Context, queue string) error {
			paused.Store(queue, true)
			return b.m.Pause(ctx, queue)
		}
		tasks(func(t *omniq.RawTask) {
			if _, ok := paused.Load(t.Queue); ok {
				t.TTL = nil
			}
		})(b)
	}, []string{"a task of a paused queue expires"}},
}

// cancelsNot leaves tasks in a state as they are, and says nothing.
func cancelsNot(s omniq.Status) func(*broken) {
	return func(b *broken) {
		b.cancel = func(ctx context.Context, ids []uuid.UUID) ([]error, error) {
			for _, id := range ids {
				if r, err := b.m.Result(ctx, id); err == nil && r.Status == s {
					return nil, nil
				}
			}
			return b.m.Cancel(ctx, ids)
		}
	}
}

// quiet reports nothing of any item.
func quiet(call each) each {
	return func(ctx context.Context, ids []uuid.UUID) ([]error, error) {
		_, err := call(ctx, ids)
		return nil, err
	}
}

// revocations changes what workers hear.
func revocations(change func([]omniq.LeaseID) []omniq.LeaseID) func(*broken) {
	return func(b *broken) {
		b.revoked = func(ctx context.Context, worker string) ([]omniq.LeaseID, error) {
			leases, err := b.m.Revoked(ctx, worker)
			if err == nil {
				leases = change(leases)
			}
			return leases, err
		}
	}
}
