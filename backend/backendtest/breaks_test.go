package backendtest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/omniq-go/omniq"
)

// breakage is a way to be broken, and the rules that it breaks.
type breakage struct {
	name   string
	breaks func(*broken)
	rules  []string // all of them, or with others at the end the first
}

// others stands for rules that are not about what is broken, but use it.
const others = "and others"

// brokenTasks do something wrong with what is enqueued.
var brokenTasks = []breakage{
	{"loses the priority", tasks(func(t *omniq.RawTask) { t.Priority = 0 }), []string{
		"a task is leased as it was enqueued",
		"tasks of higher priority are leased first",
		"a task that is requeued is leased as it was enqueued, as new",
		"the latency is that of the ready task that became due first",
		others,
	}},
	{"ignores the priority", func(b *broken) {
		var priorities sync.Map
		tasks(func(t *omniq.RawTask) { priorities.Store(t.ID, t.Priority); t.Priority = 0 })(b)
		leases(func(l []omniq.Lease) []omniq.Lease {
			for i := range l {
				t := *l[i].Task
				p, _ := priorities.Load(t.ID)
				t.Priority, _ = p.(int)
				l[i].Task = &t
			}
			return l
		})(b)
	}, []string{"tasks of higher priority are leased first", others}},
	{"loses the metadata", tasks(func(t *omniq.RawTask) { t.Metadata = nil }), []string{"a task is leased as it was enqueued", others}},
	{"loses the queue", tasks(func(t *omniq.RawTask) { t.Queue = "" }), []string{
		"a task is leased as it was enqueued",
		"queues are served in the order of the request",
		others,
	}},
	{"loses the time", tasks(func(t *omniq.RawTask) { t.RunAt = time.Time{} }), []string{
		"a task is leased as it was enqueued",
		"tasks of one priority are leased by time and then in the order of enqueuing",
		"a waiting Lease gets a delayed task",
		"a delayed task is leased when it is due and not before",
		others,
	}},
	{"forgets TTLs", tasks(func(t *omniq.RawTask) { t.TTL = nil }), []string{
		"a task is leased as it was enqueued",
		"a task whose TTL has passed becomes expired without a worker",
		"a task whose TTL has passed is not leased",
		"an expired task's result goes when its own TTL is over",
		others,
	}},
	{"forgets TTLs of results", tasks(func(t *omniq.RawTask) { t.ResultTTL, t.FailureTTL = nil, nil }), []string{
		"a task is leased as it was enqueued",
		"an expired task's result goes when its own TTL is over",
		"what a cancelled task leaves is kept as long as the task says",
		others,
	}},
	{"cuts payloads", tasks(func(t *omniq.RawTask) { t.Args = t.Args[:min(len(t.Args), 64<<10)] }), []string{"payloads of all sizes pass", others}},
	{"hides duplicates", func(b *broken) {
		b.enqueue = func(ctx context.Context, tasks []*omniq.RawTask) ([]error, error) {
			_, err := b.m.Enqueue(ctx, tasks)
			return nil, err
		}
	}, []string{
		"a duplicate is reported in its place and the others are stored",
		"one of those who enqueue a task at once stores it",
		others,
	}},
	{"reports duplicates in other places", func(b *broken) {
		b.enqueue = func(ctx context.Context, tasks []*omniq.RawTask) ([]error, error) {
			errs, err := b.m.Enqueue(ctx, tasks)
			slices.Reverse(errs)
			return errs, err
		}
	}, []string{"a duplicate is reported in its place and the others are stored", others}},
	{"stores nothing beside a duplicate", func(b *broken) {
		b.enqueue = func(ctx context.Context, tasks []*omniq.RawTask) ([]error, error) {
			errs, known := make([]error, len(tasks)), false
			for i, t := range tasks {
				if t == nil {
					return b.m.Enqueue(ctx, tasks)
				}
				if _, err := b.m.Result(ctx, t.ID); err == nil {
					errs[i], known = omniq.ErrDuplicate, true
				}
			}
			if known {
				return errs, nil
			}
			return b.m.Enqueue(ctx, tasks)
		}
	}, []string{"a duplicate is reported in its place and the others are stored", others}},
	{"keeps the slice of tasks", func(b *broken) {
		var mu sync.Mutex
		var last []*omniq.RawTask
		flush := func() {
			mu.Lock()
			defer mu.Unlock()
			_, _ = b.m.Enqueue(context.Background(), slices.DeleteFunc(last, func(t *omniq.RawTask) bool { return t == nil }))
			last = nil
		}
		b.enqueue = func(ctx context.Context, tasks []*omniq.RawTask) ([]error, error) {
			if len(tasks) != 2 {
				return b.m.Enqueue(ctx, tasks)
			}
			mu.Lock()
			defer mu.Unlock()
			last = tasks
			return nil, nil
		}
		b.lease = func(ctx context.Context, r omniq.LeaseRequest) ([]omniq.Lease, error) {
			flush()
			return b.m.Lease(ctx, r)
		}
	}, []string{"the slices of a call are not kept", others}},
}

// brokenLeases do something wrong with leases.
var brokenLeases = []breakage{
	{"leases twice", func(b *broken) {
		var mu sync.Mutex
		var last []omniq.Lease
		leases(func(l []omniq.Lease) []omniq.Lease {
			mu.Lock()
			defer mu.Unlock()
			if len(l) > 0 {
				last = l
			}
			return last
		})(b)
	}, []string{
		"a task is leased once",
		"workers at once never get the same task",
		others,
	}},
	{"leases the same to workers at once", leases(func(l []omniq.Lease) []omniq.Lease {
		if len(l) > 2 {
			l[0] = l[1]
		}
		return l
	}), []string{
		"workers at once never get the same task",
		"thousands of tasks wait in their order",
		others,
	}},
	{"leases backwards", leases(func(l []omniq.Lease) []omniq.Lease { slices.Reverse(l); return l }), []string{
		"thousands of tasks wait in their order",
		"the last tasks of a Lease are taken ahead and have not started",
		others,
	}},
	{"leases more than Max", requests(func(r *omniq.LeaseRequest) { r.Max = max(r.Max, 3) }), []string{
		"a Lease returns no more than Max tasks and does not wait for as many",
		others,
	}},
	{"waits for Max", func(b *broken) {
		b.lease = func(ctx context.Context, r omniq.LeaseRequest) ([]omniq.Lease, error) {
			var all []omniq.Lease
			for {
				leases, err := b.m.Lease(ctx, r)
				all = append(all, leases...)
				r.Max -= len(leases)
				if err != nil || r.Max <= 0 || len(leases) == 0 {
					return all, err
				}
			}
		}
	}, []string{"a Lease returns no more than Max tasks and does not wait for as many", others}},
	{"serves queues backwards", requests(func(r *omniq.LeaseRequest) {
		r.Queues = slices.Clone(r.Queues)
		slices.Reverse(r.Queues)
	}), []string{"queues are served in the order of the request", others}},
	{"serves the first queue", requests(func(r *omniq.LeaseRequest) { r.Queues = r.Queues[:1] }), []string{
		"queues are served in the order of the request",
		"a waiting Lease gets a task that is enqueued",
		others,
	}},
	{"always waits", requests(func(r *omniq.LeaseRequest) { r.Wait = max(r.Wait, 2*worst) }), []string{"Lease without Wait returns at once", others}},
	{"does not wait", requests(func(r *omniq.LeaseRequest) { r.Wait = 0 }), []string{
		"Lease returns nothing and no error when Wait is over",
		"a waiting Lease gets a task that is enqueued",
		"each waiting Lease gets a task when there is one for each",
		"each waiting Lease gets a task when they wait for several queues",
		others,
	}},
	{"gives up too early", requests(func(r *omniq.LeaseRequest) { r.Wait = min(r.Wait, time.Millisecond) }), []string{
		"Lease returns nothing and no error when Wait is over",
		"a waiting Lease gets a task that is enqueued",
		others,
	}},
	{"says that Wait is over", func(b *broken) {
		b.lease = func(ctx context.Context, r omniq.LeaseRequest) ([]omniq.Lease, error) {
			leases, err := b.m.Lease(ctx, r)
			if err == nil && len(leases) == 0 && r.Wait > 0 {
				err = context.DeadlineExceeded
			}
			return leases, err
		}
	}, []string{
		"Extend does not shorten a lease",
		"Lease returns nothing and no error when Wait is over",
		"a task whose TTL has passed is not leased",
		others,
	}},
	{"wakes for enqueued tasks only", func(b *broken) {
		var mu sync.Mutex
		news := make(chan struct{})
		b.enqueue = func(ctx context.Context, tasks []*omniq.RawTask) ([]error, error) {
			errs, err := b.m.Enqueue(ctx, tasks)
			mu.Lock()
			defer mu.Unlock()
			close(news)
			news = make(chan struct{})
			return errs, err
		}
		b.lease = func(ctx context.Context, r omniq.LeaseRequest) ([]omniq.Lease, error) {
			over := time.After(r.Wait)
			none := r
			none.Wait = 0
			for {
				mu.Lock()
				wake := news
				mu.Unlock()
				leases, err := b.m.Lease(ctx, none)
				if err != nil || len(leases) > 0 || r.Wait == 0 {
					return leases, err
				}
				select {
				case <-wake:
				case <-ctx.Done():
				case <-over:
					return nil, nil
				case <-b.closed():
				}
			}
		}
	}, []string{
		"a waiting Lease gets a delayed task",
		"a waiting Lease gets a task that is released",
		"a waiting Lease gets a task that is retried",
		"a waiting Lease gets a task whose lease runs out",
		"a waiting Lease gets a task that is requeued",
		others,
	}},
	{"never takes a lease back", requests(func(r *omniq.LeaseRequest) { r.Duration = time.Hour }), []string{
		"a task whose lease ran out is leased again as the next attempt",
		"a waiting Lease gets a task whose lease runs out",
		others,
	}},
	{"does not know old leases", func(b *broken) { // it takes the task's present one
		var now sync.Map
		leases(func(l []omniq.Lease) []omniq.Lease {
			for _, l := range l {
				now.Store(l.TaskID, l.Token)
			}
			return l
		})(b)
		settlements(func(s *omniq.Settlement) {
			if token, ok := now.Load(s.TaskID); ok {
				s.Token = token.(string)
			}
		})(b)
	}, []string{
		"a lease that another one has followed settles and extends nothing",
		"a lease that never was settles and extends nothing",
		"a lease of the old life is lost in the new one",
		others,
	}},
	{"hides it when a lease was lost to nobody", func(b *broken) {
		b.settle = func(ctx context.Context, settlements []omniq.Settlement) ([]error, error) {
			errs, err := b.m.Settle(ctx, settlements)
			for i := range errs {
				if r, err := b.m.Result(ctx, settlements[i].TaskID); err == nil && r.Status == omniq.StatusPending {
					errs[i] = nil
				}
			}
			return errs, err
		}
	}, []string{"a lease that ran out settles and extends nothing even if no other one has followed", others}},
	{"does not extend", func(b *broken) {
		b.extend = func(ctx context.Context, leases []omniq.LeaseID, by time.Duration) ([]error, error) {
			return b.m.Extend(ctx, leases, min(by, 1))
		}
	}, []string{
		"a lease that is extended lasts",
		"a lease lasts from when it was handed out or extended, whatever the times of its task are",
		"Inspect and List show when a lease ends, as long as it lasts",
	}},
	{"shortens leases", func(b *broken) {
		b.extend = func(ctx context.Context, leases []omniq.LeaseID, by time.Duration) ([]error, error) {
			if by == time.Millisecond {
				_, _ = b.m.Settle(ctx, []omniq.Settlement{{LeaseID: leases[0], Action: omniq.ActionRetry, Delay: by}})
			}
			return b.m.Extend(ctx, leases, by)
		}
	}, []string{"Extend does not shorten a lease"}},
	{"ignores when retries are due", settlements(func(s *omniq.Settlement) {
		if s.Action == omniq.ActionRetry {
			s.Delay = 0
		}
	}), []string{
		"a retry waits for its delay",
		"a task whose TTL has passed is not leased",
		others,
	}},
	{"ignores when releases are due", settlements(func(s *omniq.Settlement) {
		if s.Action == omniq.ActionRelease {
			s.Delay = 0
		}
	}), []string{
		"a release waits for its delay",
		"a task whose TTL has passed is not leased",
	}},
	{"releases to the end", settlements(func(s *omniq.Settlement) {
		if s.Action == omniq.ActionRelease && s.Delay == 0 {
			s.Action = omniq.ActionDefer
		}
	}), []string{"a release keeps when the task is due, and its place", others}},
	{"retries at the beginning", func(b *broken) {
		var retried sync.Map
		settlements(func(s *omniq.Settlement) {
			if s.Action == omniq.ActionRetry && s.Delay == 0 {
				retried.Store(s.TaskID, true)
			}
		})(b)
		next := b.lease
		b.lease = func(ctx context.Context, r omniq.LeaseRequest) ([]omniq.Lease, error) {
			if r.Max != 1 || r.Ahead > 0 {
				return next(ctx, r)
			}
			r.Max = 2
			leases, err := next(ctx, r)
			if len(leases) < 2 {
				return leases, err
			}
			if _, first := retried.Load(leases[1].TaskID); first {
				slices.Reverse(leases)
			}
			_, _ = b.m.Settle(ctx, []omniq.Settlement{{LeaseID: leases[1].LeaseID, Action: omniq.ActionRelease}})
			return leases[:1], err
		}
	}, []string{"a retry without a delay waits after those that were due before", others}},
	{"counts releases", settlements(func(s *omniq.Settlement) {
		if s.Action == omniq.ActionRelease {
			s.Action = omniq.ActionRetry
		}
	}), []string{
		"a release uses no attempt",
		"a task whose TTL has passed is not leased",
		others,
	}},
	{"does not count retries", settlements(func(s *omniq.Settlement) {
		if s.Action == omniq.ActionRetry {
			s.Action = omniq.ActionRelease
		}
	}), []string{
		"a retry uses an attempt",
		"a task whose TTL has passed is not leased",
		"Await goes on while a task is tried again",
		others,
	}},
}

var errOther = errors.New("something else")
