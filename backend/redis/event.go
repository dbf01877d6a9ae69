package redis

import (
	"context"
	"math"
	"time"

	"github.com/google/uuid"
	"github.com/redis/rueidis"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// Append keeps events of tasks that another engine queues: see [omniq.EventStore].
func (b *Backend) Append(ctx context.Context, list []*omniq.TaskEvent) error {
	if err := engine.CheckEvents(list); err != nil {
		return err
	}
	if err := b.alive(ctx); err != nil {
		return err
	}
	if b.config.retention == 0 {
		return omniq.ErrNoEvents
	}
	events, err := eventFields(list)
	if err != nil {
		return err
	}
	_, err = b.run(ctx, "append", fields{"list": events})
	return err
}

// Events returns events after a cursor, and waits for one if it is told to: see [omniq.EventStore].
func (b *Backend) Events(ctx context.Context, r omniq.EventsRequest) ([]omniq.StoredEvent, omniq.Cursor, error) {
	if r.Max < 1 {
		return nil, r.After, invalid("at most %d events, want at least 1", r.Max)
	}
	var watch *subscription
	defer func() {
		if watch != nil {
			watch.cancel()
		}
	}()
	for end := time.Now().Add(r.Wait); ; {
		events, next, err := b.events(ctx, &r)
		switch {
		case err != nil || len(events) > 0 || r.Wait <= 0 || !time.Now().Before(end):
			return events, next, err
		case next != omniq.CursorOldest:
			r.After = next
		}
		if watch == nil {
			watch = b.hub.subscribe(ctx, eventTopic)
			continue
		}
		if err := b.wait(ctx, watch, min(time.Until(end), b.hub.patience())); err != nil {
			return nil, r.After, err
		}
	}
}

// events looks once.
func (b *Backend) events(ctx context.Context, r *omniq.EventsRequest) ([]omniq.StoredEvent, omniq.Cursor, error) {
	args := fields{"max": r.Max}
	switch r.After {
	case omniq.CursorOldest:
		args["after"] = "oldest"
	case omniq.CursorLatest:
		args["after"] = "latest"
	default:
		n, err := engine.After(r.After, math.MaxInt64, 0) // the script knows how many there are
		if err != nil {
			return nil, r.After, err
		}
		args["after"] = n
	}
	if r.Task != uuid.Nil {
		args["task"] = key(r.Task)
	}
	answer, err := b.run(ctx, "events", args)
	if err != nil {
		return nil, r.After, err
	}
	parts, err := answer.ToArray()
	if err != nil || len(parts) == 0 {
		return nil, r.After, errPacked
	}
	switch what, _ := parts[0].ToString(); what {
	case "invalid":
		_, err := engine.After(r.After, -1, 0)
		return nil, r.After, err
	case "none":
		return nil, r.After, omniq.ErrNoEvents
	case "gone":
		return nil, r.After, omniq.ErrEventsGone
	}
	after, _ := parts[1].AsInt64()
	last, _ := parts[2].AsInt64()
	list, err := parts[3].ToArray()
	if err != nil {
		return nil, r.After, errPacked
	}
	events := make([]omniq.StoredEvent, 0, len(list))
	for i := range list {
		e, err := decodeEvent(list[i])
		if err != nil {
			return nil, r.After, err
		}
		events = append(events, e)
	}
	switch {
	case len(events) > 0:
		return events, events[len(events)-1].Cursor, nil
	case r.Task != uuid.Nil:
		return nil, engine.Cursor(last), nil
	case r.After == omniq.CursorLatest:
		return nil, engine.Cursor(after), nil
	}
	return nil, r.After, nil
}

func decodeEvent(m rueidis.RedisMessage) (e omniq.StoredEvent, err error) {
	parts, err := m.ToArray()
	if err != nil || len(parts) != 2 {
		return e, errPacked
	}
	number, _ := parts[0].AsInt64()
	text, err := parts[1].ToString()
	if err != nil {
		return e, errPacked
	}
	f, err := decodeFields(text)
	if err != nil {
		return e, err
	}
	e.Cursor, e.TaskEvent = engine.Cursor(number), new(omniq.TaskEvent)
	if text := f.text("json"); text != "" {
		return e, e.UnmarshalJSON(bytesOf(text))
	}
	e.TaskID, e.EventType, e.Timestamp = idOf(f.text("id")), omniq.EventType(f.int("what")), moment(f.int("at"))
	e.Attempt, e.Queue, e.FuncName = int(f.int("attempt")), f.text("queue"), f.text("name")
	if worker := f.text("worker"); worker != "" {
		e.WorkerID = &worker
	}
	if e.Error = decodeError(f.text("error")); e.Error == nil && f.sub("why") != nil {
		e.Error = made(&omniq.RawTask{ID: e.TaskID}, f.sub("why"), e.Timestamp, 0).Error
	}
	return e, nil
}
