package memory

import (
	"context"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// flow has its members that are kept, in the order in which they were enqueued. It exists while there are any.
type flow struct {
	id      uuid.UUID
	members []*entry // nil where one is forgotten
	size    int
	stats   omniq.FlowStats
}

// join makes a task a member of a flow.
func (b *Backend) join(e *entry, id uuid.UUID) {
	f, ok := b.flows[id]
	if !ok {
		f = &flow{id: id}
		if b.flows == nil {
			b.flows = make(map[uuid.UUID]*flow)
		}
		b.flows[id] = f
	}
	l := e.link()
	l.flow, l.member = f, len(f.members)
	f.members = append(f.members, e)
	f.size++
}

// part takes a task out of its flow.
func (b *Backend) part(e *entry) {
	if e.links == nil || e.links.flow == nil {
		return
	}
	f := e.links.flow
	f.members[e.links.member] = nil
	if f.size--; f.size == 0 {
		delete(b.flows, f.id)
	}
}

// CancelFlow ends the members of a flow that are not final: see [omniq.TaskQueue]. It never blocks.
func (b *Backend) CancelFlow(ctx context.Context, id uuid.UUID) (int, error) {
	n := 0
	for {
		now, err := b.begin(ctx)
		if err != nil {
			return n, err
		}
		f, ok := b.flows[id]
		if !ok {
			b.end()
			if n > 0 { // and nothing was kept of them
				return n, nil
			}
			return 0, omniq.ErrNotFound
		}
		left := atOnce
		for i := 0; i < len(f.members) && left > 0; i++ {
			if e := f.members[i]; e != nil && !e.status.Final() && b.task(e.id, now) == e && !e.status.Final() {
				b.cancel(e, now)
				n++
				left--
			}
		}
		b.end()
		if left > 0 {
			return n, nil
		}
	}
}

// FlowStats returns figures of a flow: see [omniq.TaskQueue]. It never blocks.
func (b *Backend) FlowStats(ctx context.Context, id uuid.UUID) (omniq.FlowStats, error) {
	if _, err := b.begin(ctx); err != nil {
		return omniq.FlowStats{}, err
	}
	defer b.end()
	f, ok := b.flows[id]
	if !ok {
		return omniq.FlowStats{}, omniq.ErrNotFound
	}
	return f.stats, nil
}

// page returns the next members in a state, or in any, and of a queue, or of all, that come after a number, and the number of
// the last one that was looked at: zero if nothing comes after it. The numbers begin with 1.
func (f *flow) page(r *omniq.ListRequest, after uint64) (page []*entry, last uint64) {
	looked := 0
	for i := after; i < uint64(len(f.members)); i++ {
		e := f.members[i]
		if e == nil {
			continue
		}
		if looked == omniq.MaxListed || len(page) == r.Max {
			return page, last
		}
		looked++
		last = i + 1
		if (r.Status == 0 || e.status == r.Status) && (r.Queue == "" || e.queue.name == r.Queue) {
			page = append(page, e)
		}
	}
	return page, 0
}

// count counts a member in or out of a state.
func (e *entry) count(s omniq.Status, n int) {
	e.queue.counts[s] += n
	if e.links != nil && e.links.flow != nil {
		engine.CountMember(&e.links.flow.stats, s, n)
	}
}

// Resolve ends manual tasks: see [omniq.TaskQueue]. It never blocks.
func (b *Backend) Resolve(ctx context.Context, results []*omniq.RawResult) ([]error, error) {
	if err := engine.CheckResolutions(results); err != nil {
		return nil, err
	}
	now, err := b.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer b.end()
	var errs []error
	for i, r := range results {
		e := b.task(r.TaskID, now)
		switch {
		case e == nil:
			errs = engine.Report(errs, len(results), i, omniq.ErrNotFound)
		case e.result != nil || !e.task.Manual:
			errs = engine.Report(errs, len(results), i, state(e, "a manual one that waits"))
		default:
			b.finish(e, r, now)
		}
	}
	return errs, nil
}
