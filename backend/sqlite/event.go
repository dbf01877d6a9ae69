package sqlite

import (
	"context"
	"database/sql/driver"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// note counts what an event of a task tells, and keeps the event, if events are kept.
func (t *tx) note(what omniq.EventType, id uuid.UUID, name, queue string, worker driver.Value, attempt int, why *omniq.TaskError) error {
	t.tally(queue, name).n[what]++
	if t.config.retention <= 0 {
		return nil
	}
	e := omniq.TaskEvent{
		TaskID: id, EventType: what, Timestamp: time.UnixMicro(t.us).UTC(), Attempt: attempt, Queue: queue, Error: why, FuncName: name,
	}
	if name := text(worker); name != "" {
		e.WorkerID = &name
	}
	envelope, err := e.AppendJSON(nil)
	if err != nil {
		return fmt.Errorf("sqlite: an event of task %v: %w", id, err)
	}
	return t.noteEnvelope(id, string(envelope))
}

func (t *tx) noteEnvelope(id uuid.UUID, envelope string) error {
	t.noted = true
	_, err := t.q.exec("INSERT INTO omniq_events (until, task, event) VALUES (?, ?, ?)",
		t.us+microseconds(t.config.retention), id[:], envelope)
	return err
}

// Append keeps events of tasks that another engine queues: see [omniq.EventStore].
func (b *Backend) Append(ctx context.Context, events []*omniq.TaskEvent) error {
	if err := b.alive(ctx); err != nil {
		return err
	}
	if b.config.retention <= 0 {
		return omniq.ErrNoEvents
	}
	if err := engine.CheckEvents(events); err != nil {
		return err
	}
	envelopes, ids := make([]string, len(events)), make([]uuid.UUID, len(events)) // the events are the caller's again when write returns
	for i, e := range events {
		ids[i] = e.TaskID
		var err error
		if envelopes[i], err = encodeEvent(e); err != nil {
			return err
		}
	}
	return b.write(ctx, func(t *tx) error {
		for i, e := range envelopes {
			if err := t.noteEnvelope(ids[i], e); err != nil {
				return err
			}
		}
		return nil
	})
}

func encodeEvent(e *omniq.TaskEvent) (string, error) {
	envelope, err := e.AppendJSON(nil)
	if err != nil {
		return "", fmt.Errorf("%w: sqlite: an event of task %v: %w", omniq.ErrInvalid, e.TaskID, err)
	}
	return string(envelope), nil
}

// Events returns events after a cursor, and waits for one if it is told to: see [omniq.EventStore].
func (b *Backend) Events(ctx context.Context, r omniq.EventsRequest) ([]omniq.StoredEvent, omniq.Cursor, error) {
	if r.Max < 1 {
		return nil, r.After, invalid("at most %d events, want at least 1", r.Max)
	}
	var timeout <-chan time.Time
	if r.Wait > 0 {
		timer := time.NewTimer(r.Wait)
		defer timer.Stop()
		timeout = timer.C
		b.events.begin()
		defer b.events.leave()
		b.w.poke() // to poll from now on
	}
	for {
		more := b.events.next() // before it is looked, so that none is missed
		events, next, err := b.readEvents(ctx, r)
		if err != nil {
			return nil, r.After, err
		}
		if len(events) == 0 && r.After == omniq.CursorOldest && r.Task == uuid.Nil {
			next = r.After
		}
		if len(events) > 0 || r.Wait <= 0 {
			return events, next, nil
		}
		r.After = next
		select {
		case <-more:
		case <-timeout:
			r.Wait = 0
		case <-ctx.Done():
			return nil, r.After, contextError(ctx)
		case <-b.life.Done():
			return nil, r.After, b.ended()
		}
	}
}

// readEvents returns the events that there are.
func (b *Backend) readEvents(ctx context.Context, r omniq.EventsRequest) (events []omniq.StoredEvent, next omniq.Cursor, err error) {
	err = b.read(ctx, func(c *conn) error {
		return c.snapshot(func() error {
			last, err := b.place(c, omniq.CursorLatest)
			if err != nil {
				return err
			}
			if last == 0 && b.config.retention <= 0 {
				return omniq.ErrNoEvents
			}
			after, err := b.place(c, r.After)
			if err != nil {
				return err
			}
			next = engine.Cursor(after)
			q, args := "SELECT seq, event FROM omniq_events WHERE seq > ? ORDER BY seq LIMIT ?", []driver.Value{after, int64(r.Max)}
			if r.Task != uuid.Nil {
				q = "SELECT seq, event FROM omniq_events INDEXED BY omniq_events_task WHERE task = ?3 AND seq > ?1 ORDER BY seq LIMIT ?2"
				args = append(args, r.Task[:])
				next = engine.Cursor(last)
			}
			return c.query(q, func(v []driver.Value) error {
				e := new(omniq.TaskEvent)
				next = engine.Cursor(v[0].(int64))
				if err := e.UnmarshalJSON([]byte(text(v[1]))); err != nil {
					return fmt.Errorf("sqlite: event %s: %w", next, err)
				}
				events = append(events, omniq.StoredEvent{Cursor: next, TaskEvent: e})
				return nil
			}, args...)
		})
	})
	return events, next, err
}

// place is the number of the event that a cursor comes after.
func (b *Backend) place(c *conn, after omniq.Cursor) (int64, error) {
	last, err := one(c, "SELECT seq FROM sqlite_sequence WHERE name = 'omniq_events'")
	if err != nil {
		return 0, err
	}
	if after == omniq.CursorLatest {
		return last, nil
	}
	first, err := one(c, "SELECT seq FROM omniq_events WHERE until > ? ORDER BY seq LIMIT 1", b.config.clock().UnixMicro())
	if err != nil {
		return 0, err
	}
	gone := last
	if first != 0 {
		gone = first - 1
	}
	return engine.After(after, last, gone)
}
