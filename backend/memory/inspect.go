package memory

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// Inspect tells what is known of a task: see [omniq.TaskQueue]. It never blocks.
func (b *Backend) Inspect(ctx context.Context, id uuid.UUID) (*omniq.TaskInfo, error) {
	now, err := b.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer b.end()
	e := b.task(id, now)
	if e == nil {
		return nil, omniq.ErrNotFound
	}
	return e.inspect(), nil
}

func (e *entry) inspect() *omniq.TaskInfo {
	info := &omniq.TaskInfo{
		ID: e.id, FuncName: e.name, Queue: e.queue.name, Status: e.status, Attempts: e.attempt, Lost: e.past().lost,
		Since: wire(e.since), Due: wire(e.due), WorkerID: e.worker, Error: e.past().failure, Task: e.task,
	}
	if e.status == omniq.StatusRunning {
		info.Expires = wire(e.at)
	}
	if e.task != nil {
		info.Lane = e.task.Lane
	}
	if e.result != nil {
		info.Error = e.result.Error
	}
	if e.links != nil {
		info.After = e.dependencies()
		if e.links.flow != nil {
			info.Flow = e.links.flow.id
		}
	}
	if e.notes != nil {
		info.Progress, info.State = e.notes.progress, e.notes.state
	}
	return info
}

// List returns a page of the tasks in a state: see [omniq.TaskQueue]. It never blocks.
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
		if after, err = strconv.ParseUint(r.After, 10, 64); err != nil || after > b.row {
			return nil, "", invalid("%.40q is not where a page begins", r.After)
		}
	}
	var found []*entry
	var last uint64
	if r.Flow == uuid.Nil {
		found, last = b.shelves[r.Status].page(&r, after)
	} else if f, ok := b.flows[r.Flow]; ok {
		found, last = f.members.page(&r, after)
	}
	page := make([]*omniq.TaskInfo, len(found))
	for i, e := range found {
		page[i] = e.inspect()
	}
	if last == 0 {
		return page, "", nil
	}
	return page, strconv.FormatUint(last, 10), nil
}

// Stats returns figures of each queue: see [omniq.TaskQueue]. It never blocks.
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
		Queue: q.name, Paused: q.paused, Waiting: q.counts[omniq.StatusWaiting],
		Ready: q.ready, Scheduled: q.counts[omniq.StatusPending] - q.ready, Running: q.counts[omniq.StatusRunning],
		Succeeded: q.counts[omniq.StatusSuccess], Failed: q.counts[omniq.StatusFailure],
		Cancelled: q.counts[omniq.StatusCancelled], Expired: q.counts[omniq.StatusExpired],
		Limit: q.limit,
	}
	q.all(func(l *lane) {
		if since := l.ready.since(); !since.IsZero() {
			s.Latency = max(s.Latency, now.Sub(since))
		}
		if l != &q.own && l.ready.n+l.running > 0 {
			s.Lanes++
		}
	})
	return s
}
