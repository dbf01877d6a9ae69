package backendtest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
)

// brokenEvents do something wrong with what events there are.
var brokenEvents = []breakage{
	{"has no event of a retry", pages(func(p []omniq.StoredEvent) []omniq.StoredEvent {
		return slices.DeleteFunc(p, func(e omniq.StoredEvent) bool { return e.EventType == omniq.EventRetried })
	}), []string{"a task has the events of what happened to it", others}},
	{"has no attempts in events", noted(func(e *omniq.TaskEvent) { e.Attempt = 0 }), []string{
		"a task has the events of what happened to it", others,
	}},
	{"has no workers in events", noted(func(e *omniq.TaskEvent) { e.WorkerID = nil }), []string{
		"a task has the events of what happened to it",
		"the first event of an attempt that was taken ahead is that of its Start",
		"appended events are kept as they were given",
	}},
	{"has no queues in events", noted(func(e *omniq.TaskEvent) { e.Queue = "" }), []string{
		"History has what events tell",
		"a task has the events of what happened to it",
		"appended events are kept as they were given",
	}},
	{"has no functions in events", noted(func(e *omniq.TaskEvent) { e.FuncName = "" }), []string{
		"a task has the events of what happened to it",
		"appended events are kept as they were given",
	}},
	{"reads the events of all tasks", reads(func(r *omniq.EventsRequest) { r.Task = uuid.Nil }), []string{
		"the events of one task are read by themselves, and the cursor goes on where it has none",
	}},
	{"stays where a task has no event", func(b *broken) {
		b.events = func(ctx context.Context, r omniq.EventsRequest) ([]omniq.StoredEvent, omniq.Cursor, error) {
			page, next, err := b.m.Events(ctx, r)
			if len(page) == 0 && r.Task != uuid.Nil {
				next = r.After
			}
			return page, next, err
		}
	}, []string{"the events of one task are read by themselves, and the cursor goes on where it has none"}},
	{"has no errors in events", noted(func(e *omniq.TaskEvent) { e.Error = nil }), []string{
		"a task has the events of what happened to it",
		"appended events are kept as they were given",
	}},
	{"has events of what is recorded", func(b *broken) {
		b.record = func(ctx context.Context, results []*omniq.RawResult) ([]error, error) {
			errs, err := b.m.Record(ctx, results)
			for _, r := range results {
				if r != nil {
					b.note(r.TaskID, omniq.EventCompleted)
				}
			}
			return errs, err
		}
	}, []string{"the task of a recorded result has no event"}},
	{"has events of what is refused", func(b *broken) {
		b.settle = func(ctx context.Context, settlements []omniq.Settlement) ([]error, error) {
			errs, err := b.m.Settle(ctx, settlements)
			for i := range errs {
				b.note(settlements[i].TaskID, omniq.EventRetried)
			}
			return errs, err
		}
	}, []string{"what is refused has no event", others}},
	{"has an event of each Cancel", func(b *broken) {
		b.cancel = func(ctx context.Context, ids []uuid.UUID) ([]error, error) {
			for _, id := range ids {
				if r, err := b.m.Result(ctx, id); err == nil && r.Status == omniq.StatusCancelled {
					b.note(id, omniq.EventCancelled)
				}
			}
			return b.m.Cancel(ctx, ids)
		}
	}, []string{"to cancel twice is one event", others}},
	{"forgets the events of what it forgets", func(b *broken) {
		pages(func(p []omniq.StoredEvent) []omniq.StoredEvent {
			return slices.DeleteFunc(p, func(e omniq.StoredEvent) bool {
				_, err := b.m.Result(context.Background(), e.TaskID)
				return errors.Is(err, omniq.ErrNotFound)
			})
		})(b)
	}, []string{"the events outlive what is known of their task", others}},
	{"has the events of a call backwards", func(b *broken) {
		b.enqueue = func(ctx context.Context, tasks []*omniq.RawTask) ([]error, error) {
			tasks = slices.Clone(tasks)
			slices.Reverse(tasks)
			errs, err := b.m.Enqueue(ctx, tasks)
			slices.Reverse(errs)
			return errs, err
		}
	}, []string{"the events of a call have the order of its items", others}},
	{"keeps the slice of events", func(b *broken) {
		var mu sync.Mutex
		var last []*omniq.TaskEvent
		b.append = func(ctx context.Context, events []*omniq.TaskEvent) error {
			if len(events) < 3 {
				return b.m.Append(ctx, events)
			}
			mu.Lock()
			defer mu.Unlock()
			last = events
			return nil
		}
		b.enqueue = func(ctx context.Context, tasks []*omniq.RawTask) ([]error, error) {
			mu.Lock()
			defer mu.Unlock()
			_ = b.m.Append(ctx, slices.DeleteFunc(last, func(e *omniq.TaskEvent) bool { return e == nil }))
			last = nil
			return b.m.Enqueue(ctx, tasks)
		}
	}, []string{"appended events are kept as they were given", others}},
	{"keeps no events and does not say so", func(b *broken) {
		b.events = func(ctx context.Context, r omniq.EventsRequest) ([]omniq.StoredEvent, omniq.Cursor, error) {
			page, next, err := b.m.Events(ctx, r)
			if errors.Is(err, omniq.ErrNoEvents) {
				err = nil
			}
			return page, next, err
		}
	}, []string{"a backend that keeps no events says so"}},
}

// brokenCursors do something wrong with the order of events and the places in it.
var brokenCursors = []breakage{
	{"reads pages backwards", pages(func(p []omniq.StoredEvent) []omniq.StoredEvent { slices.Reverse(p); return p }), []string{
		"events are read in their order from any of them on",
		"nothing is left out between two reads, whoever writes meanwhile",
		others,
	}},
	{"makes a place of the oldest event's", func(b *broken) {
		b.events = func(ctx context.Context, r omniq.EventsRequest) ([]omniq.StoredEvent, omniq.Cursor, error) {
			page, next, err := b.m.Events(ctx, r)
			if next == omniq.CursorOldest {
				next = "0"
			}
			return page, next, err
		}
	}, []string{"where there is no event the cursor stays, and what comes is behind it"}},
	{"reads from the oldest when asked for the latest", reads(func(r *omniq.EventsRequest) {
		if r.After == omniq.CursorLatest {
			r.After = omniq.CursorOldest
		}
	}), []string{"CursorLatest becomes a place behind the newest event", others}},
	{"makes no place of the latest", func(b *broken) {
		b.events = func(ctx context.Context, r omniq.EventsRequest) ([]omniq.StoredEvent, omniq.Cursor, error) {
			page, next, err := b.m.Events(ctx, r)
			if len(page) == 0 {
				next = r.After
			}
			return page, next, err
		}
	}, []string{"CursorLatest becomes a place behind the newest event", others}},
	{"leaves events out", pages(func(p []omniq.StoredEvent) []omniq.StoredEvent {
		if len(p) == 7 {
			p = p[:6]
		}
		return p
	}), []string{"nothing is left out between two reads, whoever writes meanwhile", others}},
	{"does not wait for events", reads(func(r *omniq.EventsRequest) { r.Wait = 0 }), []string{
		"Events waits for the first event",
		"Events returns nothing and no error when Wait is over",
		others,
	}},
	{"always waits for events", reads(func(r *omniq.EventsRequest) { r.Wait = max(r.Wait, 2*worst) }), []string{
		"Events without Wait returns at once", others,
	}},
	{"says that Wait for events is over", func(b *broken) {
		b.events = func(ctx context.Context, r omniq.EventsRequest) ([]omniq.StoredEvent, omniq.Cursor, error) {
			page, next, err := b.m.Events(ctx, r)
			if err == nil && len(page) == 0 && r.Wait > 0 {
				err = context.DeadlineExceeded
			}
			return page, next, err
		}
	}, []string{"Events returns nothing and no error when Wait is over", others}},
	{"wakes for appended events only", func(b *broken) {
		more := make(chan struct{}, 1)
		b.append = func(ctx context.Context, events []*omniq.TaskEvent) error {
			err := b.m.Append(ctx, events)
			select {
			case more <- struct{}{}:
			default:
			}
			return err
		}
		b.events = func(ctx context.Context, r omniq.EventsRequest) ([]omniq.StoredEvent, omniq.Cursor, error) {
			wait := r.Wait
			r.Wait = 0
			page, next, err := b.m.Events(ctx, r)
			if err != nil || len(page) > 0 || wait == 0 {
				return page, next, err
			}
			select {
			case <-more:
			case <-time.After(wait):
			case <-ctx.Done():
			case <-b.closed():
			}
			r.After = next
			return b.m.Events(ctx, r)
		}
	}, []string{"Events waits for the first event", others}},
	{"hides that events are gone", func(b *broken) {
		b.events = func(ctx context.Context, r omniq.EventsRequest) ([]omniq.StoredEvent, omniq.Cursor, error) {
			page, next, err := b.m.Events(ctx, r)
			if errors.Is(err, omniq.ErrEventsGone) {
				r.After, r.Wait = omniq.CursorOldest, 0
				page, next, err = b.m.Events(ctx, r)
			}
			return page, next, err
		}
	}, []string{"events are kept for their time and then gone"}},
	{"reads from the oldest when it does not know a cursor", reads(func(r *omniq.EventsRequest) {
		if r.After == "no such place" {
			r.After = omniq.CursorOldest
		}
	}), []string{
		"an event that cannot be read is refused",
		"the events of one task are read by themselves, and the cursor goes on where it has none",
	}},
	{"does not end Append with its context", func(b *broken) {
		b.append = func(ctx context.Context, events []*omniq.TaskEvent) error {
			return b.m.Append(context.WithoutCancel(ctx), events)
		}
	}, []string{"Events and Append end with their context"}},
	{"reads events when it is closed", func(b *broken) {
		b.events = func(ctx context.Context, r omniq.EventsRequest) ([]omniq.StoredEvent, omniq.Cursor, error) {
			page, next, err := b.m.Events(ctx, r)
			if errors.Is(err, omniq.ErrClosed) {
				err = nil
			}
			return page, next, err
		}
	}, []string{"after Close Events and Append return ErrClosed"}},
}

// note appends an event.
func (b *broken) note(id uuid.UUID, what omniq.EventType) {
	_ = b.m.Append(context.Background(), []*omniq.TaskEvent{{TaskID: id, EventType: what, Timestamp: time.Now().UTC()}})
}

// pages changes the pages of events.
func pages(change func([]omniq.StoredEvent) []omniq.StoredEvent) func(*broken) {
	return func(b *broken) {
		b.events = func(ctx context.Context, r omniq.EventsRequest) ([]omniq.StoredEvent, omniq.Cursor, error) {
			page, next, err := b.m.Events(ctx, r)
			return change(page), next, err
		}
	}
}

// noted changes each event.
func noted(change func(*omniq.TaskEvent)) func(*broken) {
	return pages(func(page []omniq.StoredEvent) []omniq.StoredEvent {
		for i := range page {
			e := *page[i].TaskEvent
			change(&e)
			page[i].TaskEvent = &e
		}
		return page
	})
}

// reads changes requests of events.
func reads(change func(*omniq.EventsRequest)) func(*broken) {
	return func(b *broken) {
		b.events = func(ctx context.Context, r omniq.EventsRequest) ([]omniq.StoredEvent, omniq.Cursor, error) {
			change(&r)
			return b.m.Events(ctx, r)
		}
	}
}
