package backendtest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
)

// brokenStarts do something wrong with attempts that start after their lease, and with those that are lost.
var brokenStarts = []breakage{
	{"starts what is taken ahead", requests(func(r *omniq.LeaseRequest) { r.Ahead = 0 }), []string{
		"the last tasks of a Lease are taken ahead and have not started",
		"a lease that was taken ahead and runs out uses no attempt, one that has started is lost",
		"the first event of an attempt that was taken ahead is that of its Start",
		others,
	}},
	{"starts all that it takes of several queues", requests(func(r *omniq.LeaseRequest) {
		if len(r.Queues) > 1 {
			r.Ahead = 0
		}
	}), []string{"of what a Lease takes of several queues the last tasks are those taken ahead", others}},
	{"takes the first tasks of several queues ahead", leases(func(list []omniq.Lease) []omniq.Lease {
		if n := len(list); n > 0 && list[0].Task.Queue != list[n-1].Task.Queue {
			for i := range n / 2 {
				list[i].Started, list[n-1-i].Started = list[n-1-i].Started, list[i].Started
			}
		}
		return list
	}), []string{"of what a Lease takes of several queues the last tasks are those taken ahead", others}},
	{"does not hear what runs soon", requests(func(r *omniq.LeaseRequest) { r.Soon = false }), []string{
		"what is taken ahead and runs soon starts with its lease, unless it was lost before",
		"what is taken ahead of lanes and runs soon starts with its lease, unless it was lost before",
	}},
	{"starts also what was lost, if it runs soon", requests(func(r *omniq.LeaseRequest) {
		if r.Soon {
			r.Ahead = 0
		}
	}), []string{
		"what is taken ahead and runs soon starts with its lease, unless it was lost before",
		"what is taken ahead of lanes and runs soon starts with its lease, unless it was lost before",
	}},
	{"does not start", starts(func(_ omniq.LeaseID, err error) error { return nil }, true), []string{
		"Start counts an attempt once",
		"each lease of a Start counts for itself",
		others,
	}},
	{"counts each Start", func(b *broken) {
		var times sync.Map
		starts(func(id omniq.LeaseID, err error) error {
			if err == nil {
				n, _ := times.LoadOrStore(id.TaskID, new(int))
				*n.(*int)++
			}
			return err
		}, false)(b)
		infos(func(i *omniq.TaskInfo) {
			if n, ok := times.Load(i.ID); ok && i.Status == omniq.StatusRunning {
				i.Attempts += *n.(*int) - 1
			}
		})(b)
	}, []string{"Start counts an attempt once", others}},
	{"hides that a Start came too late", starts(func(_ omniq.LeaseID, err error) error { return nil }, false), []string{
		"each lease of a Start counts for itself",
		"a task whose TTL passes before its Start expires, one that has started goes on",
		others,
	}},
	{"starts what has expired", starts(func(_ omniq.LeaseID, err error) error {
		if errors.Is(err, omniq.ErrExpired) {
			err = nil
		}
		return err
	}, false), []string{"a task whose TTL passes before its Start expires, one that has started goes on"}},
	{"does not count the retry of what had not started", func(b *broken) {
		unstarted := tracks(b)
		settlements(func(s *omniq.Settlement) {
			if unstarted(s.LeaseID) && s.Action == omniq.ActionRetry {
				s.Action = omniq.ActionDefer
			}
		})(b)
	}, []string{"a task that was taken ahead is settled like one that has started"}},
	{"revokes nothing that has not started", func(b *broken) {
		unstarted := tracks(b)
		revocations(func(l []omniq.LeaseID) []omniq.LeaseID { return slices.DeleteFunc(l, unstarted) })(b)
	}, []string{"a worker hears of a cancelled task that it took ahead"}},
	{"knows of nothing that was lost", func(b *broken) {
		leases(func(l []omniq.Lease) []omniq.Lease {
			for i := range l {
				l[i].Lost = 0
			}
			return l
		})(b)
	}, []string{
		"a lease that was taken ahead and runs out uses no attempt, one that has started is lost",
		"History counts what happens by itself",
		"what is taken ahead and runs soon starts with its lease, unless it was lost before",
		"what is taken ahead of lanes and runs soon starts with its lease, unless it was lost before",
	}},
	{"brings tasks that are lost together back together", infos(func(i *omniq.TaskInfo) {
		if i.Status == omniq.StatusPending && i.Lost == 1 {
			i.Due = i.Since.Add(time.Second / 2)
		}
	}), []string{"tasks that are lost together come back one by one, within a second", others}},
	{"brings each lost task back after a second", infos(func(i *omniq.TaskInfo) {
		if i.Status == omniq.StatusPending && i.Lost > 1 {
			i.Due = i.Since.Add(time.Second / 2)
		}
	}), []string{"a task waits longer after each time it is lost, and not after those that had not started"}},
	{"refuses all settlements for one", func(b *broken) {
		b.settle = func(ctx context.Context, settlements []omniq.Settlement) ([]error, error) {
			if slices.ContainsFunc(settlements, odd) {
				return nil, omniq.ErrInvalid
			}
			return b.m.Settle(ctx, settlements)
		}
	}, []string{"a settlement that cannot be stored is refused in its place, and keeps no other from being done", others}},
	{"drops a settlement that it cannot store", func(b *broken) {
		b.settle = func(ctx context.Context, settlements []omniq.Settlement) ([]error, error) {
			return b.m.Settle(ctx, slices.DeleteFunc(slices.Clone(settlements), odd))
		}
	}, []string{"a settlement that cannot be stored is refused in its place, and keeps no other from being done", others}},
}

// brokenDefers do something wrong with what is given back, with delays and with names.
var brokenDefers = []breakage{
	{"ignores when deferred tasks are due", settlements(func(s *omniq.Settlement) {
		if s.Action == omniq.ActionDefer {
			s.Delay = 0
		}
	}), []string{"a task that is deferred waits for its delay", others}},
	{"does not know for how long a task is deferred", leases(func(l []omniq.Lease) []omniq.Lease {
		for i := range l {
			l[i].Deferred = 0
		}
		return l
	}), []string{
		"a task that is deferred uses no attempt and tells for how long",
		"a retry, a release and a new life end it that a task is deferred",
	}},
	{"counts what is deferred", settlements(func(s *omniq.Settlement) {
		if s.Action == omniq.ActionDefer {
			s.Action = omniq.ActionRetry
		}
	}), []string{"a task that is deferred uses no attempt and tells for how long", others}},
	{"defers what is released", settlements(func(s *omniq.Settlement) {
		if s.Action == omniq.ActionRelease {
			s.Action = omniq.ActionDefer
		}
	}), []string{"a retry, a release and a new life end it that a task is deferred", others}},
	{"loses the delay", tasks(func(t *omniq.RawTask) { t.Delay = 0 }), []string{
		"a task with a Delay is due that long after it was stored",
		others,
	}},
	{"counts a Delay from when the task was created", tasks(func(t *omniq.RawTask) {
		if t.Delay > 0 {
			t.Delay = max(0, t.Delay+ahead(t.CreatedAt))
		}
	}), []string{"a task with a Delay is due that long after it was stored"}},
	{"requeues tasks with their delay", func(b *broken) {
		b.requeue = func(ctx context.Context, ids []uuid.UUID, follow bool) ([]error, error) {
			errs, err := b.m.Requeue(ctx, ids, follow)
			for _, id := range ids {
				if info, err := b.m.Inspect(ctx, id); err == nil && info.Status == omniq.StatusPending {
					delayed := *info.Task
					delayed.Delay = long
					_, _ = b.m.Cancel(ctx, []uuid.UUID{id})
					_, _ = b.m.Forget(ctx, []uuid.UUID{id})
					_, _ = b.m.Enqueue(ctx, []*omniq.RawTask{&delayed})
				}
			}
			return errs, err
		}
	}, []string{"a task that is requeued is due now, whenever it was to be due", others}},
	{"keeps the place of what nobody knows", func(b *broken) {
		requests(func(r *omniq.LeaseRequest) { r.Names = nil })(b)
		settlements(func(s *omniq.Settlement) {
			if s.Action == omniq.ActionDefer {
				s.Action, s.Delay = omniq.ActionRelease, 0
			}
		})(b)
	}, []string{"a task whose name is asked for is leased in the end, although others stand before it that are not", others}},
	{"leases known names only", func(b *broken) {
		b.lease = func(ctx context.Context, r omniq.LeaseRequest) ([]omniq.Lease, error) {
			all, err := b.m.Lease(ctx, r)
			var known []omniq.Lease
			for _, l := range all {
				if r.Names == nil || slices.Contains(r.Names, l.Task.FuncName) {
					known = append(known, l)
					continue
				}
				_, _ = b.m.Settle(ctx, []omniq.Settlement{{LeaseID: l.LeaseID, Action: omniq.ActionDefer, Delay: long}})
			}
			return known, err
		}
	}, []string{"where there is no task of a name that is asked for, another one is leased", others}},
}

// brokenHolds do something wrong with keys and IDs that are held for a time.
var brokenHolds = []breakage{
	{"holds the key of a requeued task for what was left", func(b *broken) {
		var stored sync.Map
		tasks(func(t *omniq.RawTask) { stored.Store(t.ID, time.Now().Add(t.UniqueFor)) })(b)
		requeued(b, func(t *omniq.RawTask) {
			if until, ok := stored.Load(t.ID); ok && t.UniqueFor > 0 {
				time.AfterFunc(time.Until(until.(time.Time)), func() { b.unhold(t) })
			}
		})
	}, []string{"a task that is requeued holds its unique key for its time from then on", others}},
	{"requeues without the unique key", func(b *broken) { requeued(b, b.unhold) }, []string{
		"a task that is requeued holds its unique key for its time from then on",
		"a task that is requeued takes its unique key again when its time was over",
		others,
	}},
	{"does not free", func(b *broken) {
		b.free = func(ctx context.Context, _ []omniq.UniqueKey) ([]error, error) { return b.m.Free(ctx, nil) }
	}, []string{"Free takes a unique key from its task, which goes on", others}},
	{"cancels those whose keys are freed", func(b *broken) {
		var holders sync.Map
		tasks(func(t *omniq.RawTask) { holders.Store(omniq.UniqueKey{FuncName: t.FuncName, Key: t.UniqueKey}, t.ID) })(b)
		b.free = func(ctx context.Context, keys []omniq.UniqueKey) ([]error, error) {
			errs, err := b.m.Free(ctx, keys)
			for _, k := range keys {
				if id, ok := holders.Load(k); ok {
					_, _ = b.m.Cancel(ctx, []uuid.UUID{id.(uuid.UUID)})
				}
			}
			return errs, err
		}
	}, []string{"Free takes a unique key from its task, which goes on"}},
	{"ends the hold of the next with that of the last", tasks(func(t *omniq.RawTask) {
		if t.UniqueFor > 0 {
			t.UniqueFor = min(t.UniqueFor, short)
		}
	}), []string{"a unique key that is freed can be held for another time", others}},
	{"keeps no IDs", tasks(func(t *omniq.RawTask) { t.IDFor = 0 }), []string{
		"a task with an IDFor keeps its ID that long, whatever became of it",
		"an ID that is kept stands in the way of tasks with an IDFor only",
		others,
	}},
	{"keeps IDs from all", func(b *broken) {
		var kept sync.Map
		tasks(func(t *omniq.RawTask) {
			if _, ok := kept.Load(t.ID); ok && t.IDFor == 0 {
				t.IDFor = long
			} else if t.IDFor > 0 {
				kept.Store(t.ID, true)
			}
		})(b)
	}, []string{"an ID that is kept stands in the way of tasks with an IDFor only"}},
	{"ends a list with its first empty page", func(b *broken) {
		b.list = func(ctx context.Context, r omniq.ListRequest) ([]*omniq.TaskInfo, string, error) {
			if omniq.CheckQueue(r.Queue) != nil || r.Max < 1 {
				return b.m.List(ctx, r)
			}
			all := r
			all.Queue, all.Max = "", 1000
			page, next, err := b.m.List(ctx, all)
			page = slices.DeleteFunc(page, func(i *omniq.TaskInfo) bool { return i.Queue != r.Queue })
			if len(page) == 0 {
				next = ""
			}
			return page, next, err
		}
	}, []string{"a few tasks among many that a list does not want are each in one page", others}},
}

// starts changes what becomes of each lease of a Start, which does not reach the backend if it is skipped.
func starts(change func(omniq.LeaseID, error) error, skip bool) func(*broken) {
	return func(b *broken) {
		next := b.start
		b.start = func(ctx context.Context, leases []omniq.LeaseID) ([]error, error) {
			asked := leases
			if skip {
				asked = nil
			}
			errs, err := next(ctx, asked)
			if err != nil {
				return nil, err
			}
			if errs == nil {
				errs = make([]error, len(leases))
			}
			for i := range leases {
				errs[i] = change(leases[i], errs[i])
			}
			return errs, nil
		}
	}
}

// tracks tells which leases have not started.
func tracks(b *broken) func(omniq.LeaseID) bool {
	var unstarted sync.Map
	leases(func(l []omniq.Lease) []omniq.Lease {
		for _, l := range l {
			if !l.Started {
				unstarted.Store(l.LeaseID, true)
			}
		}
		return l
	})(b)
	starts(func(id omniq.LeaseID, err error) error {
		if err == nil {
			unstarted.Delete(id)
		}
		return err
	}, false)(b)
	return func(id omniq.LeaseID) bool { _, ok := unstarted.Load(id); return ok }
}

// requeued does something with each task after it was requeued.
func requeued(b *broken, do func(*omniq.RawTask)) {
	b.requeue = func(ctx context.Context, ids []uuid.UUID, follow bool) ([]error, error) {
		errs, err := b.m.Requeue(ctx, ids, follow)
		for i, id := range ids {
			if info, gone := b.m.Inspect(ctx, id); err == nil && gone == nil && (errs == nil || errs[i] == nil) && info.Task != nil {
				do(info.Task)
			}
		}
		return errs, err
	}
}

// unhold frees the unique key of a task.
func (b *broken) unhold(t *omniq.RawTask) {
	_, _ = b.m.Free(context.Background(), []omniq.UniqueKey{{FuncName: t.FuncName, Key: t.UniqueKey}})
}

// odd tells whether a settlement has a content that many engines cannot store.
func odd(s omniq.Settlement) bool {
	return s.Result != nil && (s.Result.Error != nil && strings.Contains(s.Result.Error.Message, "\x00") ||
		string(s.Result.ResultData) == `{"a`)
}
