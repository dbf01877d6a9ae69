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

// brokenGraphs do something wrong with tasks that wait for tasks.
var brokenGraphs = []breakage{
	{"does not wait for other tasks", tasks(func(t *omniq.RawTask) { t.After = nil }), []string{
		"a task waits until the one that it needs has succeeded",
		"a task with a dependency that is unknown or gone fails its call, of which nothing is stored",
		others,
	}},
	{"counts for how long a task was due from when it was enqueued", leases(func(l []omniq.Lease) []omniq.Lease {
		for i := range l {
			l[i].Waited = max(0, time.Since(l[i].Task.CreatedAt))
		}
		return l
	}), []string{"a task that waits for others is not due meanwhile"}},
	{"waits for the first only", tasks(func(t *omniq.RawTask) { t.After = t.After[:min(len(t.After), 1)] }), []string{
		"a task waits for each of its dependencies, in whatever order they end",
		others,
	}},
	{"takes each end for success", tasks(needs(omniq.NeedFinal)), []string{
		"a task ends when one that it needs ends without success, before or after it was enqueued",
		"a failure goes through a chain of tasks to its end, and is named there",
		"many tasks that wait for one are released, or end, with it",
		others,
	}},
	{"wants success always", tasks(needs(omniq.NeedSuccess)), []string{
		"a task that needs no more than the end of another runs however that ends",
		others,
	}},
	{"does not release what waits", leases(func(l []omniq.Lease) []omniq.Lease {
		return slices.DeleteFunc(l, func(l omniq.Lease) bool { return len(l.Task.After) > 0 })
	}), []string{
		"a task waits until the one that it needs has succeeded",
		"a waiting Lease gets a task whose last dependency ends",
		"dependencies that end at once release their task once",
		"settlements at once, in opposite orders, of tasks for which the same ones wait do not stop each other",
		"whatever becomes of the tasks of a graph, each ends, runs once in a life and gets its inputs",
		"a task that waits for thousands gets all that they have left, in order",
		others,
	}},
	{"leaves what waits for a failure alone", func(b *broken) {
		result, await := b.result, b.await
		hide := func(r *omniq.RawResult, err error) (*omniq.RawResult, error) {
			if err == nil && errors.Is(r.Err(), omniq.ErrDependency) {
				return &omniq.RawResult{TaskID: r.TaskID, Status: omniq.StatusWaiting, Timestamp: r.Timestamp}, nil
			}
			return r, err
		}
		b.result = func(ctx context.Context, id uuid.UUID) (*omniq.RawResult, error) { return hide(result(ctx, id)) }
		b.await = func(ctx context.Context, id uuid.UUID) (*omniq.RawResult, error) { return hide(await(ctx, id)) }
	}, []string{
		"a task ends when one that it needs ends without success, before or after it was enqueued",
		"many tasks that wait for one are released, or end, with it",
		others,
	}},
	{"does not say which task began it", told(func(r *omniq.RawResult) {
		if errors.Is(r.Err(), omniq.ErrDependency) {
			e := *r.Error
			e.Message = "it needs another task"
			r.Error = &e
		}
	}), []string{"a failure goes through a chain of tasks to its end, and is named there", others}},
	{"hides what tasks wait for", infos(func(i *omniq.TaskInfo) { i.After = nil }), []string{
		"what a task waits for is shown, also when it has ended", others,
	}},
	{"shows what tasks wait for as long as they wait", infos(func(i *omniq.TaskInfo) {
		if i.Status != omniq.StatusWaiting {
			i.After = nil
		}
	}), []string{"what a task waits for is shown, also when it has ended", others}},
	{"shows duplicates as dependencies", infos(func(i *omniq.TaskInfo) {
		if i.Task != nil && i.Status == omniq.StatusWaiting {
			i.After = i.Task.After
		}
	}), []string{"the holder of a duplicate takes its place as a dependency", others}},
	{"hands out no inputs", inputs(func([]*omniq.RawResult) []*omniq.RawResult { return nil }), []string{
		"whatever becomes of the tasks of a graph, each ends, runs once in a life and gets its inputs",
		"the inputs of a task are the results of what it waited for, in the order of its dependencies",
		"each attempt of a task has its inputs",
		others,
	}},
	{"hands out inputs backwards", inputs(func(all []*omniq.RawResult) []*omniq.RawResult { slices.Reverse(all); return all }), []string{
		"the inputs of a task are the results of what it waited for, in the order of its dependencies",
		"a task that waits for thousands gets all that they have left, in order",
		others,
	}},
	{"hands out a part of many inputs", inputs(func(all []*omniq.RawResult) []*omniq.RawResult { return all[:min(len(all), 1000)] }), []string{
		"a task that waits for thousands gets all that they have left, in order",
	}},
	{"hands out inputs to each task", leases(func(l []omniq.Lease) []omniq.Lease {
		for i := range l {
			if l[i].Inputs == nil {
				l[i].Inputs = []*omniq.RawResult{record(long)}
			}
		}
		return l
	}), []string{"a task that waits for nothing has no inputs", others}},
	{"cuts large inputs", kept(func(r *omniq.RawResult) {
		if len(r.ResultData) > 1<<20 {
			r.ResultData = omniq.Raw(`"cut"`)
		}
	}), []string{"a task whose inputs are too large together ends instead of being leased", others}},
	{"forgets inputs in their time", func(b *broken) {
		b.forget = quiet(b.m.Forget)
		tasks(func(t *omniq.RawTask) {
			t.After = slices.Clone(t.After)
			for i := range t.After {
				t.After[i].Input = false
			}
		})(b)
	}, []string{"an input is kept until its task has succeeded, whatever its own TTL says", others}},
	{"keeps all that others wait for", tasks(func(t *omniq.RawTask) {
		t.After = slices.Clone(t.After)
		for i := range t.After {
			t.After[i].Input = true
		}
	}), []string{"a result that is no input is kept for its TTL alone", others}},
	{"counts delays from the enqueue", func(b *broken) {
		tasks(func(t *omniq.RawTask) {
			if t.Delay > 0 && len(t.After) > 0 {
				t.RunAt, t.Delay = time.Now().Add(t.Delay), 0
			}
		})(b)
	}, []string{"the delay of a task counts from the end of what it waits for"}},
	{"forgets the time of what waits", tasks(func(t *omniq.RawTask) {
		if len(t.After) > 0 {
			t.RunAt = time.Time{}
		}
	}), []string{"a task is not leased before its time, though all that it waits for has ended"}},
	{"lets nothing expire that waits", tasks(func(t *omniq.RawTask) {
		if len(t.After) > 0 || t.Manual {
			t.TTL = nil
		}
	}), []string{"a task expires while it waits, and those that need it end", "a manual task expires"}},
}

// brokenResolves do something wrong with manual tasks.
var brokenResolves = []breakage{
	{"leases what is manual", tasks(func(t *omniq.RawTask) { t.Manual = false }), []string{
		"a manual task waits until it is resolved", others,
	}},
	{"resolves everything as success", resolved(func(r *omniq.RawResult) { r.Status, r.Error = omniq.StatusSuccess, nil }), []string{
		"a manual task can be resolved as failed",
		"a Resolve with a result that cannot be is refused, and nothing of it is done",
	}},
	{"says nothing of what cannot be resolved", func(b *broken) {
		b.resolve = func(ctx context.Context, results []*omniq.RawResult) ([]error, error) {
			_, err := b.m.Resolve(ctx, results)
			return nil, err
		}
	}, []string{"each task of a Resolve counts for itself", "a manual task expires"}},
	{"drops what cannot be resolved", func(b *broken) {
		b.resolve = func(ctx context.Context, results []*omniq.RawResult) ([]error, error) {
			return b.m.Resolve(ctx, slices.DeleteFunc(slices.Clone(results), func(r *omniq.RawResult) bool {
				return r.Validate() != nil || r.Status != omniq.StatusSuccess && r.Status != omniq.StatusFailure
			}))
		}
	}, []string{"a Resolve with a result that cannot be is refused, and nothing of it is done"}},
	{"keeps what is resolved for ever", resolved(func(r *omniq.RawResult) { r.TTL = nil }), []string{
		"the result of a manual task is kept for its TTL, and who waits gets it whatever that is", others,
	}},
	{"loses what is resolved early", func(b *broken) {
		b.enqueue = func(ctx context.Context, tasks []*omniq.RawTask) ([]error, error) {
			tasks = slices.Clone(tasks)
			for i, t := range tasks {
				if t == nil || len(t.After) != 1 {
					continue
				}
				info, err := b.m.Inspect(ctx, t.After[0].ID)
				if err != nil || info.Status != omniq.StatusSuccess || info.Attempts > 0 {
					continue
				}
				c := *t
				never := task(manual)
				if _, err := b.m.Enqueue(ctx, []*omniq.RawTask{never}); err != nil {
					return nil, err
				}
				c.After = []omniq.Dependency{needing(never)}
				tasks[i] = &c
			}
			return b.m.Enqueue(ctx, tasks)
		}
	}, []string{"what is resolved before anybody waits for it is there", others}},
}

// brokenEffects do something wrong with what settlements do beside ending their leases.
var brokenEffects = []breakage{
	{"enqueues nothing as it settles", effects(func(e *omniq.Effects) { e.Enqueue = nil }), []string{
		"a settlement enqueues and cancels tasks, whichever way it ends its lease",
		"a handler that runs again brings nothing twice",
		others,
	}},
	{"cancels nothing as it settles", effects(func(e *omniq.Effects) { e.Cancel = nil }), []string{
		"a settlement enqueues and cancels tasks, whichever way it ends its lease",
		"a handover can cancel others, after which its task is told",
		others,
	}},
	{"keeps no notes as it settles", effects(func(e *omniq.Effects) { e.Notes = omniq.Notes{} }), []string{
		"a settlement brings notes, which are kept with it",
		"the last item of a stream may come with the end of the task",
		others,
	}},
	{"keeps no events as it settles", effects(func(e *omniq.Effects) {
		if len(e.Events) == 1 {
			e.Events = nil
		}
	}), []string{"a settlement brings events, which are kept with it if it takes effect"}},
	{"keeps events of what does not take effect", func(b *broken) {
		b.settle = func(ctx context.Context, settlements []omniq.Settlement) ([]error, error) {
			for _, s := range settlements {
				if s.Effects != nil {
					_ = b.m.Append(ctx, s.Effects.Events)
				}
			}
			return b.m.Settle(ctx, settlements)
		}
	}, []string{"a settlement brings events, which are kept with it if it takes effect"}},
	{"fails for events where it keeps none", func(b *broken) {
		b.settle = func(ctx context.Context, settlements []omniq.Settlement) ([]error, error) {
			for _, s := range settlements {
				if s.Effects != nil && len(s.Effects.Events) > 0 && !b.m.Capabilities().Events {
					return []error{omniq.ErrNoEvents}, nil
				}
			}
			return b.m.Settle(ctx, settlements)
		}
	}, []string{"a settlement brings events, and nothing of them is kept where none are"}},
	{"enqueues before it settles", func(b *broken) {
		b.settle = func(ctx context.Context, settlements []omniq.Settlement) ([]error, error) {
			settlements = slices.Clone(settlements)
			for i, s := range settlements {
				if s.Effects == nil || s.Action == omniq.ActionWait {
					continue
				}
				if _, err := b.m.Enqueue(ctx, s.Effects.Enqueue); err != nil {
					continue
				}
				e := *s.Effects
				e.Enqueue = nil
				settlements[i].Effects = &e
			}
			return b.m.Settle(ctx, settlements)
		}
	}, []string{
		"a settlement whose lease is lost has no effects",
		"what a finished task brings may wait for it, and take its unique key",
		others,
	}},
	{"refuses what is there already", func(b *broken) {
		b.settle = func(ctx context.Context, settlements []omniq.Settlement) ([]error, error) {
			for _, s := range settlements {
				if s.Effects == nil {
					continue
				}
				for _, t := range s.Effects.Enqueue {
					if _, err := b.m.Result(ctx, t.ID); err == nil {
						return []error{omniq.ErrInvalid}, nil
					}
				}
			}
			return b.m.Settle(ctx, settlements)
		}
	}, []string{"what a settlement brings that is there already is left out, and its holder takes its place", "a handler that runs again brings nothing twice", others}},
	{"settles without effects that cannot be", func(b *broken) {
		b.settle = func(ctx context.Context, settlements []omniq.Settlement) ([]error, error) {
			errs, err := b.m.Settle(ctx, settlements)
			for i := range errs {
				if errors.Is(errs[i], omniq.ErrInvalid) && settlements[i].Effects != nil && settlements[i].Action != omniq.ActionWait {
					settlements[i].Effects = nil
					_, err = b.m.Settle(ctx, settlements[i:i+1])
					errs[i] = nil
				}
			}
			return errs, err
		}
	}, []string{
		"a settlement with effects that cannot be changes nothing, and the others of its call are done",
		"a member adds to its flow as it is settled, and what is no member does not",
		others,
	}},
	{"does not like empty effects", func(b *broken) {
		b.settle = func(ctx context.Context, settlements []omniq.Settlement) ([]error, error) {
			for _, s := range settlements {
				if s.Effects != nil && s.Action == omniq.ActionFinish && s.Effects.Enqueue == nil && s.Effects.Empty() {
					return []error{omniq.ErrInvalid}, nil
				}
			}
			return b.m.Settle(ctx, settlements)
		}
	}, []string{"a settlement without effects and one with empty ones are the same", others}},
	{"retries what hands over", settlements(func(s *omniq.Settlement) {
		if s.Action == omniq.ActionWait && s.Effects != nil && len(s.Effects.After) > 0 && s.Effects.After[0].ID != s.TaskID {
			e := *s.Effects
			e.After = nil
			s.Action, s.Effects, s.Error = omniq.ActionRetry, &e, &boom
		}
	}), []string{
		"a task that hands over to others is leased again with their results, its attempt not used", others,
	}},
	{"does not say that a task has handed over", leases(func(l []omniq.Lease) []omniq.Lease {
		for i := range l {
			l[i].Resumed = false
		}
		return l
	}), []string{
		"a task that hands over holds no place: one worker works it and what it waits for",
		"a task that hands over to what has ended is due at once",
		others,
	}},
	{"says that each task with inputs has handed over", leases(func(l []omniq.Lease) []omniq.Lease {
		for i := range l {
			l[i].Resumed = l[i].Resumed || l[i].Inputs != nil
		}
		return l
	}), []string{"each attempt of a task has its inputs", "a task that has handed over and is requeued waits for what it was enqueued with", others}},
	{"uses an attempt of what hands over", func(b *broken) {
		var handed sync.Map
		settle := b.settle
		b.settle = func(ctx context.Context, settlements []omniq.Settlement) ([]error, error) {
			for _, s := range settlements {
				if s.Action == omniq.ActionWait {
					handed.Store(s.TaskID, true)
				}
			}
			return settle(ctx, settlements)
		}
		leases(func(l []omniq.Lease) []omniq.Lease {
			for i := range l {
				if _, ok := handed.Load(l[i].TaskID); ok {
					l[i].Attempt++
				}
			}
			return l
		})(b)
	}, []string{"a task that hands over to others is leased again with their results, its attempt not used", others}},
}

// needs gives all dependencies a need.
func needs(n omniq.Need) func(*omniq.RawTask) {
	return func(t *omniq.RawTask) {
		t.After = slices.Clone(t.After)
		for i := range t.After {
			if t.After[i].Need <= omniq.NeedFinal {
				t.After[i].Need = n
			}
		}
	}
}

// inputs changes the inputs that are handed out.
func inputs(change func([]*omniq.RawResult) []*omniq.RawResult) func(*broken) {
	return leases(func(l []omniq.Lease) []omniq.Lease {
		for i := range l {
			if l[i].Inputs != nil {
				l[i].Inputs = change(slices.Clone(l[i].Inputs))
			}
		}
		return l
	})
}

// effects changes the effects of settlements.
func effects(change func(*omniq.Effects)) func(*broken) {
	return settlements(func(s *omniq.Settlement) {
		if s.Effects != nil {
			e := *s.Effects
			change(&e)
			s.Effects = &e
		}
	})
}

// resolved changes the results by which tasks are resolved.
func resolved(change func(*omniq.RawResult)) func(*broken) {
	return func(b *broken) {
		b.resolve = func(ctx context.Context, results []*omniq.RawResult) ([]error, error) {
			results = slices.Clone(results)
			for i, r := range results {
				c := *r
				change(&c)
				results[i] = &c
			}
			return b.m.Resolve(ctx, results)
		}
	}
}

// told changes what is told of results.
func told(change func(*omniq.RawResult)) func(*broken) {
	return func(b *broken) {
		result, await := b.result, b.await
		tell := func(r *omniq.RawResult, err error) (*omniq.RawResult, error) {
			if err != nil {
				return nil, err
			}
			c := *r
			change(&c)
			return &c, nil
		}
		b.result = func(ctx context.Context, id uuid.UUID) (*omniq.RawResult, error) { return tell(result(ctx, id)) }
		b.await = func(ctx context.Context, id uuid.UUID) (*omniq.RawResult, error) { return tell(await(ctx, id)) }
	}
}
