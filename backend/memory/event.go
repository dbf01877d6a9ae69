package memory

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// events are kept in their order. Their numbers have no gap: those up to gone have been removed.
type events struct {
	retention time.Duration // 0 keeps none
	kept      []keptEvent
	gone      int64
	latest    map[uuid.UUID]int64 // the number of a task's last one
	most      most                // that were in latest
	more      chan struct{}       // closed when there is another one; nil if nobody waits
}

type keptEvent struct {
	*omniq.TaskEvent
	until  time.Time
	before int64 // the number of the task's event before this one; 0 for none
}

func (v *events) on() bool { return v.retention > 0 }

func (v *events) add(e *omniq.TaskEvent, now time.Time) {
	v.kept = append(v.kept, keptEvent{e, now.Add(v.retention), v.latest[e.TaskID]})
	if v.latest == nil {
		v.latest = make(map[uuid.UUID]int64)
	}
	v.latest[e.TaskID] = v.last()
	if v.more != nil {
		close(v.more)
		v.more = nil
	}
}

func (v *events) last() int64 { return v.gone + int64(len(v.kept)) }

func (v *events) advance(now time.Time) {
	n := 0
	for n < min(len(v.kept), 10*atOnce) && !v.kept[n].until.After(now) {
		n++
	}
	for i, e := range v.kept[:n] {
		if v.latest[e.TaskID] == v.gone+int64(i)+1 {
			v.latest = without(v.latest, e.TaskID, &v.most)
		}
	}
	if n > 0 {
		clear(v.kept[:n])
		v.kept = v.kept[n:]
		v.gone += int64(n)
		if len(v.kept) == 0 {
			v.kept, v.latest = nil, nil // else what they have room for stayed
		}
	}
}

func (v *events) next() time.Time {
	if len(v.kept) == 0 {
		return time.Time{}
	}
	return v.kept[0].until
}

// note counts what an event of a task tells, and keeps the event.
func (b *Backend) note(e *entry, what omniq.EventType, attempt int, worker string, why *omniq.TaskError, now time.Time) {
	engine.Add(&b.tally(e, now).Minute, what, 1)
	if !b.events.on() {
		return
	}
	event := &omniq.TaskEvent{
		TaskID: e.id, EventType: what, Timestamp: wire(now), Attempt: attempt, Queue: e.queue.name, Error: why,
		FuncName: e.name,
	}
	if worker != "" {
		event.WorkerID = new(worker)
	}
	b.events.add(event, now)
}

// Append keeps events of tasks that another engine queues: see [omniq.EventStore]. It never blocks.
func (b *Backend) Append(ctx context.Context, list []*omniq.TaskEvent) error {
	if err := engine.CheckEvents(list); err != nil {
		return err
	}
	now, err := b.begin(ctx)
	if err != nil {
		return err
	}
	defer b.end()
	if !b.events.on() {
		return omniq.ErrNoEvents
	}
	for _, e := range list {
		b.events.add(e, now)
	}
	return nil
}

// Events returns events after a cursor, and waits for one if it is told to: see [omniq.EventStore].
func (b *Backend) Events(ctx context.Context, r omniq.EventsRequest) ([]omniq.StoredEvent, omniq.Cursor, error) {
	if r.Max < 1 {
		return nil, r.After, invalid("at most %d events, want at least 1", r.Max)
	}
	if _, err := b.begin(ctx); err != nil {
		return nil, r.After, err
	}
	if !b.events.on() {
		b.end()
		return nil, r.After, omniq.ErrNoEvents
	}
	var timeout <-chan time.Time
	for {
		after, err := engine.After(r.After, b.events.last(), b.events.gone)
		if err != nil {
			b.end()
			return nil, r.After, err
		}
		some := after < b.events.last()
		if r.Task != uuid.Nil {
			some = b.events.latest[r.Task] > after
		}
		if some || r.Wait <= 0 {
			defer b.end()
			if r.Task != uuid.Nil {
				list, next := b.events.of(r.Task, after, r.Max)
				return list, next, nil
			}
			return b.events.read(r.After, after, r.Max)
		}
		if r.Task != uuid.Nil {
			after, r.After = b.events.last(), engine.Cursor(b.events.last())
		}
		if b.events.more == nil {
			b.events.more = make(chan struct{})
		}
		more := b.events.more
		b.end()
		if timeout == nil {
			timer := time.NewTimer(r.Wait)
			defer timer.Stop()
			timeout = timer.C
		}
		select {
		case <-more:
		case <-timeout:
			r.Wait = 0
		case <-ctx.Done():
			return nil, r.After, contextError(ctx)
		case <-b.closed:
			return nil, r.After, omniq.ErrClosed
		}
		if r.After != omniq.CursorOldest {
			r.After = engine.Cursor(after)
		}
		_, err = b.begin(context.WithoutCancel(ctx))
		if err != nil { // closed: nothing is locked
			return nil, r.After, err
		}
	}
}

// of returns events of a task after the one with the number after.
func (v *events) of(task uuid.UUID, after int64, limit int) ([]omniq.StoredEvent, omniq.Cursor) {
	var found []int64
	for n := v.latest[task]; n > max(after, v.gone); n = v.kept[n-v.gone-1].before {
		found = append(found, n)
	}
	if len(found) == 0 {
		return nil, engine.Cursor(v.last())
	}
	slices.Reverse(found)
	found = found[:min(limit, len(found))]
	list := make([]omniq.StoredEvent, len(found))
	for i, n := range found {
		list[i] = omniq.StoredEvent{Cursor: engine.Cursor(n), TaskEvent: v.kept[n-v.gone-1].TaskEvent}
	}
	return list, list[len(list)-1].Cursor
}

// read returns the events after the one with the number after, which the cursor from stands for.
func (v *events) read(from omniq.Cursor, after int64, limit int) ([]omniq.StoredEvent, omniq.Cursor, error) {
	first := int(after - v.gone)
	n := min(limit, len(v.kept)-first)
	if n == 0 {
		if from == omniq.CursorLatest {
			from = engine.Cursor(after)
		}
		return nil, from, nil
	}
	list := make([]omniq.StoredEvent, n)
	for i := range list {
		list[i] = omniq.StoredEvent{Cursor: engine.Cursor(after + int64(i) + 1), TaskEvent: v.kept[first+i].TaskEvent}
	}
	return list, list[n-1].Cursor, nil
}
