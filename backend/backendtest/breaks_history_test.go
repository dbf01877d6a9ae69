package backendtest

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
)

// brokenHistories tell something wrong of what was done.
var brokenHistories = []breakage{
	{"does not count requeues", func(b *broken) {
		var mu sync.Mutex
		again := 0
		b.requeue = func(ctx context.Context, ids []uuid.UUID, follow bool) ([]error, error) {
			errs, err := b.m.Requeue(ctx, ids, follow)
			mu.Lock()
			defer mu.Unlock()
			if err == nil && errs == nil {
				again += len(ids)
			}
			return errs, err
		}
		pasts(func(all []omniq.Minute) []omniq.Minute {
			mu.Lock()
			defer mu.Unlock()
			if i := slices.IndexFunc(all, func(m omniq.Minute) bool { return m.Enqueued > again }); i >= 0 {
				all[i].Enqueued -= again
			}
			return all
		})(b)
	}, []string{"History counts what becomes of tasks, by queue and function", "History has what events tell"}},
	{"counts by queue alone", pasts(func(all []omniq.Minute) []omniq.Minute {
		for i := range all {
			all[i].FuncName = "f"
		}
		return all
	}), []string{"History counts what becomes of tasks, by queue and function", others}},
	{"counts a start that was taken back", pasts(func(all []omniq.Minute) []omniq.Minute {
		for i := range all {
			all[i].Started = max(all[i].Started-1, 0)
		}
		return all
	}), []string{"History counts what happens by itself", others}},
	{"does not count what expires", pasts(func(all []omniq.Minute) []omniq.Minute {
		for i := range all {
			all[i].Expired = 0
		}
		return all
	}), []string{"History counts what happens by itself", "History has what events tell"}},
	{"counts duplicates", func(b *broken) {
		var mu sync.Mutex
		twice := 0
		b.enqueue = func(ctx context.Context, tasks []*omniq.RawTask) ([]error, error) {
			errs, err := b.m.Enqueue(ctx, tasks)
			mu.Lock()
			defer mu.Unlock()
			for _, err := range errs {
				if err != nil {
					twice++
				}
			}
			return errs, err
		}
		pasts(func(all []omniq.Minute) []omniq.Minute {
			mu.Lock()
			defer mu.Unlock()
			if len(all) > 0 {
				all[0].Enqueued += twice
			}
			return all
		})(b)
	}, []string{"History counts what was done, and nothing that was refused"}},
	{"does not know how long tasks wait", pasts(func(all []omniq.Minute) []omniq.Minute {
		for i := range all {
			all[i].Wait = 0
		}
		return all
	}), []string{"History sums how long tasks were due when they started, and how long their handlers ran"}},
	{"does not know how long handlers run", settlements(func(s *omniq.Settlement) { s.Took = min(s.Took, 0) }), []string{
		"History sums how long tasks were due when they started, and how long their handlers ran",
	}},
	{"sums up what is given back", settlements(func(s *omniq.Settlement) {
		if s.Action == omniq.ActionRelease && s.Took > 0 {
			s.Action = omniq.ActionRetry
		}
	}), []string{"History sums how long tasks were due when they started, and how long their handlers ran", others}},
	{"has seconds", pasts(func(all []omniq.Minute) []omniq.Minute {
		for i := range all {
			all[i].Start = all[i].Start.Add(time.Second)
		}
		return all
	}), []string{"each minute of History is a whole one, and there once for a queue and a function", others}},
	{"has minutes in no order", pasts(func(all []omniq.Minute) []omniq.Minute { slices.Reverse(all); return all }), []string{
		"each minute of History is a whole one, and there once for a queue and a function", others,
	}},
	{"has a row for each task", pasts(func(all []omniq.Minute) []omniq.Minute {
		var rows []omniq.Minute
		for _, m := range all {
			one := m
			one.Enqueued = min(m.Enqueued, 1)
			m.Enqueued -= one.Enqueued
			rows = append(rows, one)
			if m.Enqueued > 0 {
				m.Started, m.Succeeded, m.Failed, m.Retried, m.Cancelled, m.Expired, m.Wait, m.Run = 0, 0, 0, 0, 0, 0, 0, 0
				rows = append(rows, m)
			}
		}
		return rows
	}), []string{"each minute of History is a whole one, and there once for a queue and a function", others}},
	{"counts what depends on a failed one as failed", pasts(func(all []omniq.Minute) []omniq.Minute {
		for i := range all {
			if all[i].Queue == "flow" {
				all[i].Failed, all[i].Cancelled = all[i].Failed+all[i].Cancelled, 0
			}
		}
		return all
	}), []string{"History has what events tell"}},
	{"forgets what is too much", pasts(func(all []omniq.Minute) []omniq.Minute {
		return slices.DeleteFunc(all, func(m omniq.Minute) bool { return m.Queue == "" })
	}), []string{"what is done in very many queues is counted, for each or together"}},
	{"has a history of no time", func(b *broken) {
		b.history = func(ctx context.Context, last time.Duration) ([]omniq.Minute, error) {
			return b.m.History(ctx, max(last, 1))
		}
	}, []string{"a history that cannot be is refused"}},
	{"takes any time that a handler took", settlements(func(s *omniq.Settlement) { s.Took = max(s.Took, 0) }), []string{
		"a history that cannot be is refused",
	}},
	{"has no long history", func(b *broken) {
		b.history = func(ctx context.Context, last time.Duration) ([]omniq.Minute, error) {
			if last > omniq.HistoryKept {
				return nil, omniq.ErrInvalid
			}
			return b.m.History(ctx, last)
		}
	}, []string{"a history that cannot be is refused"}},
}

// pasts changes what is told of what was done.
func pasts(change func([]omniq.Minute) []omniq.Minute) func(*broken) {
	return func(b *broken) {
		b.history = func(ctx context.Context, last time.Duration) ([]omniq.Minute, error) {
			all, err := b.m.History(ctx, last)
			return change(all), err
		}
	}
}

// brokenHistoryShares count what one side alone does.
var brokenHistoryShares = []rift{
	{"one counts the tasks of the other twice", func(one, _ *half) {
		pasts(func(all []omniq.Minute) []omniq.Minute {
			for i := range all {
				if all[i].FuncName == "b" {
					all[i].Enqueued *= 2
				}
			}
			return all
		})(one.broken)
	}, []string{"one counts what is done in both, exactly"}},
}

// brokenHistoryLedgers count what transactions do where they do not.
var brokenHistoryLedgers = []fraud{
	{"counts what is rolled back", func(l *ledger) {
		l.rollback = (*memory.Tx).Commit
	}, []string{"History counts what is done in a transaction once it commits, and never if it is rolled back"}},
}
