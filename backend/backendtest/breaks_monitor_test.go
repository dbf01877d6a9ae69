package backendtest

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// brokenMonitors tell something wrong of workers.
var brokenMonitors = []breakage{
	{"has times of the worker's", func(b *broken) {
		var mu sync.Mutex
		said := make(map[string]omniq.WorkerInfo)
		b.beat = func(ctx context.Context, w omniq.WorkerInfo) error {
			mu.Lock()
			defer mu.Unlock()
			said[w.ID] = w
			return b.m.Beat(ctx, w)
		}
		workers(func(all []omniq.WorkerInfo) []omniq.WorkerInfo {
			mu.Lock()
			defer mu.Unlock()
			for i := range all {
				all[i].Started = said[all[i].ID].Started
			}
			return all
		})(b)
	}, []string{"a worker that beats is among Workers as it says, with times of the backend's clock"}},
	{"does not say who stops", workers(func(all []omniq.WorkerInfo) []omniq.WorkerInfo {
		for i := range all {
			all[i].Stopping = false
		}
		return all
	}), []string{"the last beat of a worker counts, and workers are in the order of their IDs"}},
	{"lets the first beat count", func(b *broken) {
		var seen sync.Map
		b.beat = func(ctx context.Context, w omniq.WorkerInfo) error {
			if first, ok := seen.Load(w.ID); ok && w.Lease > 0 {
				w = first.(omniq.WorkerInfo)
			} else if engine.CheckBeat(&w) == nil {
				seen.Store(w.ID, w)
			}
			return b.m.Beat(ctx, w)
		}
	}, []string{
		"the last beat of a worker counts, and workers are in the order of their IDs",
		"a worker that is silent for its lease is gone, and there again when it beats",
	}},
	{"has workers in another order", workers(func(all []omniq.WorkerInfo) []omniq.WorkerInfo { slices.Reverse(all); return all }), []string{
		"the last beat of a worker counts, and workers are in the order of their IDs", others,
	}},
	{"keeps the silent ones", beats(func(w *omniq.WorkerInfo) { w.Lease *= 2 }), []string{
		"a worker that is silent for its lease is gone, and there again when it beats", others,
	}},
	{"keeps those that have stopped", func(b *broken) {
		b.beat = func(ctx context.Context, w omniq.WorkerInfo) error {
			if w.Lease == 0 && engine.CheckBeat(&w) == nil && ctx.Err() == nil {
				return nil
			}
			return b.m.Beat(ctx, w)
		}
	}, []string{"a worker that says that it has stopped is gone at once"}},
	{"takes an end of an unknown one for an error", func(b *broken) {
		b.beat = func(ctx context.Context, w omniq.WorkerInfo) error {
			if w.Lease == 0 && w.ID == "unknown" {
				return omniq.ErrNotFound
			}
			return b.m.Beat(ctx, w)
		}
	}, []string{"a worker that says that it has stopped is gone at once"}},
	{"keeps the slices of beats", func(b *broken) {
		var said sync.Map
		b.beat = func(ctx context.Context, w omniq.WorkerInfo) error {
			said.Store(w.ID, w)
			return b.m.Beat(ctx, w)
		}
		workers(func(all []omniq.WorkerInfo) []omniq.WorkerInfo {
			for i := range all {
				w, _ := said.Load(all[i].ID)
				all[i].Queues, all[i].Names = w.(omniq.WorkerInfo).Queues, w.(omniq.WorkerInfo).Names
			}
			return all
		})(b)
	}, []string{"the slices of a beat are not kept, and those of Workers are the caller's"}},
	{"takes any beat", beats(func(w *omniq.WorkerInfo) {
		if w.ID == "" || strings.Contains(w.ID, "\n") {
			w.ID = "x"
		}
		w.PID, w.Concurrency, w.Running, w.Up, w.Lease = max(w.PID, 0), max(w.Concurrency, 0), max(w.Running, 0), max(w.Up, 0), max(w.Lease, 0)
	}), []string{"a beat that cannot be is refused", others}},
}

// beats changes what workers say.
func beats(change func(*omniq.WorkerInfo)) func(*broken) {
	return func(b *broken) {
		b.beat = func(ctx context.Context, w omniq.WorkerInfo) error {
			change(&w)
			return b.m.Beat(ctx, w)
		}
	}
}

// workers changes what is told of workers.
func workers(change func([]omniq.WorkerInfo) []omniq.WorkerInfo) func(*broken) {
	return func(b *broken) {
		b.workers = func(ctx context.Context) ([]omniq.WorkerInfo, error) {
			all, err := b.m.Workers(ctx)
			return change(all), err
		}
	}
}

// brokenMonitorShares tell of the workers of one side alone.
var brokenMonitorShares = []rift{
	{"each has workers of its own", func(one, other *half) {
		for _, h := range []*half{one, other} {
			var mine sync.Map
			h.beat = func(ctx context.Context, w omniq.WorkerInfo) error {
				mine.Store(w.ID, true)
				return h.m.Beat(ctx, w)
			}
			workers(func(all []omniq.WorkerInfo) []omniq.WorkerInfo {
				return slices.DeleteFunc(all, func(w omniq.WorkerInfo) bool { _, ok := mine.Load(w.ID); return !ok })
			})(h.broken)
		}
	}, []string{"one tells of workers that beat in the other, and that they have stopped"}},
}
