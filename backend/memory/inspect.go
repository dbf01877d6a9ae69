package memory

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// Inspect implements [omniq.TaskQueue]. It never blocks.
func (b *Backend) Inspect(ctx context.Context, id uuid.UUID) (*omniq.TaskInfo, error) {
	if _, err := b.begin(ctx); err != nil {
		return nil, err
	}
	defer b.end()
	e, ok := b.tasks[id]
	if !ok {
		return nil, omniq.ErrNotFound
	}
	return e.inspect(), nil
}

func (e *entry) inspect() *omniq.TaskInfo {
	info := &omniq.TaskInfo{
		ID: e.id, FuncName: e.name, Queue: e.queue.name, Status: e.status, Attempts: e.attempt, Lost: e.lost,
		Since: wire(e.since), Due: wire(e.due), WorkerID: e.worker, Error: e.failure, Task: e.task,
	}
	if e.result != nil {
		info.Error = e.result.Error
	}
	return info
}

// List implements [omniq.TaskQueue]. It never blocks. Its time is that of looking at every task.
func (b *Backend) List(ctx context.Context, r omniq.ListRequest) ([]*omniq.TaskInfo, string, error) {
	if err := engine.CheckList(&r); err != nil {
		return nil, "", err
	}
	if _, err := b.begin(ctx); err != nil {
		return nil, "", err
	}
	defer b.end()
	var after uint64
	if r.After != "" {
		var err error
		if after, err = strconv.ParseUint(r.After, 10, 64); err != nil || after > max(b.seq, b.ended) {
			return nil, "", invalid("%.40q is not where a page begins", r.After)
		}
	}
	found := b.first(&r, after)
	next := ""
	if len(found) > r.Max {
		found = found[:r.Max]
		next = strconv.FormatUint(found[r.Max-1].seq, 10)
	}
	page := make([]*omniq.TaskInfo, len(found))
	for i, e := range found {
		page[i] = e.inspect()
	}
	return page, next, nil
}

// first returns the first tasks of a list behind a place, one more than a page has.
func (b *Backend) first(r *omniq.ListRequest, after uint64) []*entry {
	var found []*entry
	cut := func() {
		slices.SortFunc(found, func(x, y *entry) int { return cmp.Compare(x.seq, y.seq) })
		if len(found)-1 > r.Max {
			found = found[:r.Max+1]
		}
	}
	for _, e := range b.tasks {
		if e.seq <= after || e.status != r.Status || r.Queue != "" && e.queue.name != r.Queue {
			continue
		}
		found = append(found, e)
		if len(found)/2 > r.Max { // so that it stays short, and is seldom sorted
			cut()
		}
	}
	cut()
	return found
}

// Stats implements [omniq.TaskQueue]. It never blocks. Its time is that of looking at the tasks that are ready.
func (b *Backend) Stats(ctx context.Context) ([]omniq.QueueStats, error) {
	now, err := b.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer b.end()
	var stats []omniq.QueueStats
	for _, name := range slices.Sorted(maps.Keys(b.queues)) {
		if q := b.queues[name]; q.paused || q.size > len(q.waiting) {
			stats = append(stats, q.stats(now))
		}
	}
	return stats, nil
}

func (q *queue) stats(now time.Time) omniq.QueueStats {
	s := omniq.QueueStats{
		Queue: q.name, Paused: q.paused,
		Ready: len(q.ready), Scheduled: q.counts[omniq.StatusPending] - len(q.ready), Running: q.counts[omniq.StatusRunning],
		Succeeded: q.counts[omniq.StatusSuccess], Failed: q.counts[omniq.StatusFailure],
		Cancelled: q.counts[omniq.StatusCancelled], Expired: q.counts[omniq.StatusExpired],
	}
	for _, e := range q.ready {
		s.Latency = max(s.Latency, now.Sub(e.due))
	}
	return s
}
