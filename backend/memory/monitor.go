package memory

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// Beat notes that a worker is there: see [omniq.Monitor]. It never blocks.
func (b *Backend) Beat(ctx context.Context, w omniq.WorkerInfo) error {
	if err := engine.CheckBeat(&w); err != nil {
		return err
	}
	now, err := b.begin(ctx)
	if err != nil {
		return err
	}
	defer b.end()
	maps.DeleteFunc(b.workers, func(_ string, w omniq.WorkerInfo) bool { return gone(&w, now) })
	if w.Lease == 0 {
		delete(b.workers, w.ID)
		return nil
	}
	if b.workers == nil {
		b.workers = make(map[string]omniq.WorkerInfo)
	}
	w.Queues, w.Names = slices.Clone(w.Queues), slices.Clone(w.Names)
	w.Started, w.Seen = now.Add(-w.Up), now
	b.workers[w.ID] = w
	return nil
}

// gone reports whether a worker was silent for too long.
func gone(w *omniq.WorkerInfo, now time.Time) bool { return !now.Before(w.Seen.Add(w.Lease)) }

// Workers returns the workers that are there: see [omniq.Monitor]. It never blocks.
func (b *Backend) Workers(ctx context.Context) ([]omniq.WorkerInfo, error) {
	now, err := b.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer b.end()
	var list []omniq.WorkerInfo
	for _, id := range slices.Sorted(maps.Keys(b.workers)) {
		w := b.workers[id]
		if gone(&w, now) {
			continue
		}
		w.Queues, w.Names = slices.Clone(w.Queues), slices.Clone(w.Names)
		w.Started, w.Seen = wire(w.Started), wire(w.Seen)
		list = append(list, w)
	}
	return list, nil
}
