package omniq

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/google/uuid"
)

// Events yields the events that are kept after the cursor, the oldest first, and ends with the newest. It moves the
// cursor past each event before it yields it. So whoever breaks off can go on there, in another process too.
//
// Nothing is left out, however slow the reader is. [ErrEventsGone] says that it was slower than the backend keeps
// events, and [ErrNoEvents] that nobody keeps any. After an error Events yields no more.
func (c *Client) Events(ctx context.Context, cursor *Cursor) iter.Seq2[TaskEvent, error] {
	return c.events(ctx, cursor, EventsRequest{})
}

// Follow is Events that waits for further events instead of ending, until ctx ends: that error is yielded too.
func (c *Client) Follow(ctx context.Context, cursor *Cursor) iter.Seq2[TaskEvent, error] {
	return c.events(ctx, cursor, EventsRequest{Wait: time.Minute})
}

// Timeline yields the events of a task that are kept, the oldest first, and ends with the newest. Of a task without any, and of an
// unknown one, it yields nothing.
func (c *Client) Timeline(ctx context.Context, id uuid.UUID) iter.Seq2[TaskEvent, error] {
	cursor := CursorOldest
	return c.events(ctx, &cursor, EventsRequest{Task: id})
}

func (c *Client) events(ctx context.Context, cursor *Cursor, request EventsRequest) iter.Seq2[TaskEvent, error] {
	return func(yield func(TaskEvent, error) bool) {
		err := c.check()
		if err == nil && cursor == nil {
			err = invalid("the cursor is nil, want a pointer to one, like CursorOldest")
		}
		if err != nil {
			yield(TaskEvent{}, err)
			return
		}
		for {
			request.After, request.Max = *cursor, pageSize
			page, next, err := c.backend.Events(ctx, request)
			if err != nil {
				yield(TaskEvent{}, fmt.Errorf("omniq: events after %q: %w", *cursor, err))
				return
			}
			for _, e := range page {
				*cursor = e.Cursor
				if !yield(*e.TaskEvent, nil) {
					return
				}
			}
			*cursor = next
			if len(page) == 0 && request.Wait == 0 {
				return
			}
		}
	}
}
