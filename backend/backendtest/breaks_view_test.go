package backendtest

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// brokenViews show something wrong.
var brokenViews = []breakage{
	{"shows no times", infos(func(i *omniq.TaskInfo) { i.Since, i.Due = time.Time{}, time.Time{} }), []string{
		"Inspect shows a pending task", others,
	}},
	{"shows no ends of leases", infos(func(i *omniq.TaskInfo) { i.Expires = time.Time{} }), []string{
		"Inspect and List show when a lease ends, as long as it lasts",
	}},
	{"shows an end of each lease that there was", infos(func(i *omniq.TaskInfo) { i.Expires = i.Since.Add(long / 2) }), []string{
		"Inspect and List show when a lease ends, as long as it lasts", others,
	}},
	{"shows queues as they were given", infos(func(i *omniq.TaskInfo) {
		if i.Task != nil {
			i.Queue = i.Task.Queue
		}
	}), []string{"Inspect shows a pending task", others}},
	{"shows no workers", infos(func(i *omniq.TaskInfo) { i.WorkerID = "" }), []string{
		"Inspect shows who works on a task, and the last error",
		"the whole task stays unless it has succeeded, and why it ended",
		"a task that has succeeded stays as long as its result, if its settlement says so",
		"List shows the tasks of a function and of a worker, in each state",
	}},
	{"drops dead letters", infos(func(i *omniq.TaskInfo) {
		if i.Status.Final() {
			i.Task = nil
		}
	}), []string{"the whole task stays unless it has succeeded, and why it ended", others}},
	{"keeps no task that has succeeded", settlements(func(s *omniq.Settlement) { s.KeepTask = false }), []string{
		"a task that has succeeded stays as long as its result, if its settlement says so",
	}},
	{"keeps each task that has succeeded", settlements(func(s *omniq.Settlement) { s.KeepTask = true }), []string{
		"the whole task stays unless it has succeeded, and why it ended",
		"a task that has succeeded stays as long as its result, if its settlement says so",
		others,
	}},
	{"requeues a success that is kept", func(b *broken) {
		b.requeue = func(ctx context.Context, ids []uuid.UUID, follow bool) ([]error, error) {
			errs, err := b.m.Requeue(ctx, ids, follow)
			for i, id := range ids {
				if info, e := b.m.Inspect(ctx, id); e == nil && info.Status == omniq.StatusSuccess && info.Task != nil {
					errs[i] = nil
				}
			}
			return errs, err
		}
	}, []string{"a task that has succeeded stays as long as its result, if its settlement says so"}},
	{"shows attempts that do not count", infos(func(i *omniq.TaskInfo) { i.Attempts = max(i.Attempts, 1) }), []string{
		"Inspect goes by the attempts that count", others,
	}},
	{"shows what it does not know", func(b *broken) {
		b.inspect = func(ctx context.Context, id uuid.UUID) (*omniq.TaskInfo, error) {
			info, err := b.m.Inspect(ctx, id)
			if errors.Is(err, omniq.ErrNotFound) {
				return &omniq.TaskInfo{ID: id}, nil
			}
			return info, err
		}
	}, []string{"Inspect knows nothing of a task that is unknown or whose result's TTL is over", others}},
	{"lists all queues", lists(func(r *omniq.ListRequest) {
		if engine.CheckQueue(r.Queue) == nil {
			r.Queue = ""
		}
	}), []string{
		"List shows the tasks in a state, of one queue or of all",
		"a few tasks among many that a list does not want are each in one page",
		others,
	}},
	{"lists other states", lists(func(r *omniq.ListRequest) {
		if r.Status == omniq.StatusExpired {
			r.Status = omniq.StatusCancelled
		}
	}), []string{"List shows the tasks in a state, of one queue or of all", others}},
	{"lists more than Max", lists(func(r *omniq.ListRequest) {
		if r.Max > 0 {
			r.Max++
		}
	}), []string{"a list has pages of at most Max tasks, and ends", others}},
	{"lists the tasks of all flows", lists(func(r *omniq.ListRequest) { r.Flow = uuid.UUID{} }), []string{
		"List shows the tasks in a state, of one queue or of all", others,
	}},
	{"lists all functions", lists(func(r *omniq.ListRequest) {
		if utf8.ValidString(r.Name) && r.Name != "\x00" {
			r.Name = ""
		}
	}), []string{"List shows the tasks of a function and of a worker, in each state"}},
	{"lists all workers", lists(func(r *omniq.ListRequest) {
		if utf8.ValidString(r.Worker) {
			r.Worker = ""
		}
	}), []string{"List shows the tasks of a function and of a worker, in each state"}},
	{"takes percent and underscore for wildcards", func(b *broken) {
		b.list = func(ctx context.Context, r omniq.ListRequest) ([]*omniq.TaskInfo, string, error) {
			r.Contains, _, _ = strings.Cut(strings.ReplaceAll(r.Contains, "_", "%"), "%")
			return b.m.List(ctx, r)
		}
	}, []string{"List finds text in what is kept of tasks, and in their errors"}},
	{"finds no errors", func(b *broken) {
		b.list = func(ctx context.Context, r omniq.ListRequest) ([]*omniq.TaskInfo, string, error) {
			page, next, err := b.m.List(ctx, r)
			return slices.DeleteFunc(page, func(i *omniq.TaskInfo) bool {
				return r.Contains != "" && i.Error != nil && strings.Contains(i.Error.Error(), r.Contains)
			}), next, err
		}
	}, []string{"List finds text in what is kept of tasks, and in their errors"}},
	{"lists the oldest first", lists(func(r *omniq.ListRequest) { r.Newest = false }), []string{
		"a list with Newest is the same one backwards",
	}},
	{"begins backwards where the page before began", func(b *broken) {
		b.list = func(ctx context.Context, r omniq.ListRequest) ([]*omniq.TaskInfo, string, error) {
			after := r.After
			page, next, err := b.m.List(ctx, r)
			if r.Newest && next != "" && after != "" && len(page) == 1 {
				next = ""
			}
			return page, next, err
		}
	}, []string{"a list with Newest is the same one backwards", others}},
	{"takes any text", lists(func(r *omniq.ListRequest) {
		if strings.ContainsRune(r.Contains, 0) || !utf8.ValidString(r.Contains) {
			r.Contains = ""
		}
	}), []string{"a list that cannot be is refused"}},
	{"lists one page", func(b *broken) {
		b.list = func(ctx context.Context, r omniq.ListRequest) ([]*omniq.TaskInfo, string, error) {
			page, _, err := b.m.List(ctx, r)
			return page, "", err
		}
	}, []string{
		"a list has pages of at most Max tasks, and ends",
		"a task that stays in a state is in one page, whatever comes and goes meanwhile",
		"a few tasks among many that a list does not want are each in one page", others,
	}},
	{"begins pages by their number", func(b *broken) {
		b.list = func(ctx context.Context, r omniq.ListRequest) ([]*omniq.TaskInfo, string, error) {
			from := 0
			if r.After != "" {
				var err error
				if from, err = strconv.Atoi(r.After); err != nil {
					return nil, "", omniq.ErrInvalid
				}
			}
			all, _, err := b.m.List(ctx, omniq.ListRequest{Status: r.Status, Queue: r.Queue, Max: min(r.Max, 1) * 1_000_000})
			if err != nil {
				return nil, "", err
			}
			from = min(from, len(all))
			if end := from + r.Max; end < len(all) {
				return all[from:end], strconv.Itoa(end), nil
			}
			return all[from:], "", nil
		}
	}, []string{"a task that stays in a state is in one page, whatever comes and goes meanwhile", others}},
	{"lists what cannot be", lists(func(r *omniq.ListRequest) { r.Max = max(r.Max, 1) }), []string{
		"a list that cannot be is refused",
	}},
	{"begins unknown pages at the first", lists(func(r *omniq.ListRequest) {
		if _, err := strconv.Atoi(r.After); err != nil {
			r.After = ""
		}
	}), []string{"a list that cannot be is refused"}},
	{"does not count what was cancelled", figures(func(s []omniq.QueueStats) []omniq.QueueStats {
		for i := range s {
			s[i].Cancelled = 0
		}
		return s
	}), []string{"the figures of a queue follow what is done with its tasks", others}},
	{"does not count what has expired", figures(func(s []omniq.QueueStats) []omniq.QueueStats {
		for i := range s {
			s[i].Expired = 0
		}
		return s
	}), []string{"what happens by itself is in the figures", others}},
	{"sorts figures backwards", figures(func(s []omniq.QueueStats) []omniq.QueueStats { slices.Reverse(s); return s }), []string{
		"there are figures of each queue, in the order of their names", others,
	}},
	{"has no figures of paused queues", figures(func(s []omniq.QueueStats) []omniq.QueueStats {
		return slices.DeleteFunc(s, func(s omniq.QueueStats) bool { return s.Paused })
	}), []string{"there are figures of each queue, in the order of their names", others}},
	{"knows no latency", figures(func(s []omniq.QueueStats) []omniq.QueueStats { return timeless(s) }), []string{
		"the latency is that of the ready task that became due first",
	}},
}

// brokenRecords do something wrong with results that are recorded or forgotten.
var brokenRecords = []breakage{
	{"drops recorded data", records(func(r *omniq.RawResult) { r.ResultData = nil }), []string{
		"a recorded result is kept as it was given", others,
	}},
	{"keeps recorded results for ever", records(func(r *omniq.RawResult) { r.TTL = nil }), []string{
		"a recorded result goes when its TTL is over", others,
	}},
	{"reports nothing of a Record", func(b *broken) {
		b.record = func(ctx context.Context, results []*omniq.RawResult) ([]error, error) {
			_, err := b.m.Record(ctx, results)
			return nil, err
		}
	}, []string{
		"each result of a Record counts for itself",
		"calls at once for the same tasks in opposite orders do not stop each other, and do each once",
	}},
	{"leaves recorded results out that are not final", func(b *broken) {
		b.record = func(ctx context.Context, results []*omniq.RawResult) ([]error, error) {
			return b.m.Record(ctx, slices.DeleteFunc(slices.Clone(results), func(r *omniq.RawResult) bool { return r != nil && !r.Status.Final() }))
		}
	}, []string{"a recorded result that is not final is refused"}},
	{"enqueues over recorded results", func(b *broken) {
		b.enqueue = func(ctx context.Context, tasks []*omniq.RawTask) ([]error, error) {
			for _, t := range tasks {
				if t == nil {
					continue
				}
				if info, err := b.m.Inspect(ctx, t.ID); err == nil && info.FuncName == "" {
					_, _ = b.m.Forget(ctx, []uuid.UUID{t.ID})
				}
			}
			return b.m.Enqueue(ctx, tasks)
		}
	}, []string{"the ID of a recorded result is taken"}},
	{"does not forget", func(b *broken) {
		b.forget = func(ctx context.Context, ids []uuid.UUID) ([]error, error) {
			_, err := b.m.Cancel(ctx, nil)
			return nil, err
		}
	}, []string{
		"Forget removes what is known of a task",
		"each task of a Forget counts for itself",
		others,
	}},
	{"reports nothing of a Forget", func(b *broken) { b.forget = quiet(b.m.Forget) }, []string{
		"each task of a Forget counts for itself",
		"calls at once for the same tasks in opposite orders do not stop each other, and do each once",
		others,
	}},
}

// infos changes what Inspect shows.
func infos(change func(*omniq.TaskInfo)) func(*broken) {
	return func(b *broken) {
		b.inspect = func(ctx context.Context, id uuid.UUID) (*omniq.TaskInfo, error) {
			info, err := b.m.Inspect(ctx, id)
			if err == nil {
				change(info)
			}
			return info, err
		}
		b.list = func(ctx context.Context, r omniq.ListRequest) ([]*omniq.TaskInfo, string, error) {
			page, next, err := b.m.List(ctx, r)
			for _, info := range page {
				change(info)
			}
			return page, next, err
		}
	}
}

// lists changes requests of lists.
func lists(change func(*omniq.ListRequest)) func(*broken) {
	return func(b *broken) {
		b.list = func(ctx context.Context, r omniq.ListRequest) ([]*omniq.TaskInfo, string, error) {
			change(&r)
			return b.m.List(ctx, r)
		}
	}
}

// figures changes figures.
func figures(change func([]omniq.QueueStats) []omniq.QueueStats) func(*broken) {
	return func(b *broken) {
		b.stats = func(ctx context.Context) ([]omniq.QueueStats, error) {
			s, err := b.m.Stats(ctx)
			return change(s), err
		}
	}
}

// records changes what is recorded.
func records(change func(*omniq.RawResult)) func(*broken) {
	return func(b *broken) {
		b.record = func(ctx context.Context, results []*omniq.RawResult) ([]error, error) {
			results = slices.Clone(results)
			for i, r := range results {
				if r == nil {
					continue
				}
				c := *r
				change(&c)
				results[i] = &c
			}
			return b.m.Record(ctx, results)
		}
	}
}
