package memory

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// flow has its members that are kept. It exists while there are any.
type flow struct {
	id      uuid.UUID
	members shelf
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
	b.row++
	l := e.link()
	l.flow, l.member = f, b.row
	f.members.add(e, l.member)
}

// part takes a task out of its flow.
func (b *Backend) part(e *entry) {
	if e.links == nil || e.links.flow == nil {
		return
	}
	f := e.links.flow
	f.members.remove(e.links.member)
	if f.members.rows == 0 {
		b.flows = without(b.flows, f.id, &b.mostFlows)
	}
}

// CancelFlow ends the members of a flow that are not final: see [omniq.TaskQueue]. It never blocks.
func (b *Backend) CancelFlow(ctx context.Context, id uuid.UUID) (int, error) {
	n, known, last := 0, false, uint64(0)
	for {
		now, err := b.begin(ctx)
		if err != nil {
			return n, err
		}
		f, ok := b.flows[id]
		if !ok {
			b.end()
			if !known {
				return 0, omniq.ErrNotFound
			}
			return n, nil // nothing was kept of its members
		}
		known = true
		var more bool
		n, last, more = b.cancelSome(f, n, last, now)
		b.end()
		if !more {
			return n, nil
		}
	}
}

// cancelSome cancels some of the members after a number. It counts them, and tells the number of the last one, and whether there
// may be more. Members that come meanwhile have higher numbers.
func (b *Backend) cancelSome(f *flow, n int, last uint64, now time.Time) (int, uint64, bool) {
	looks := 0
	for number, e := range f.members.from(last) {
		if looks == atOnce {
			return n, last, true
		}
		looks++
		last = number
		if b.task(e.id, now) == e && e.result == nil {
			b.cancel(e, now)
			n++
		}
	}
	return n, last, false
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
