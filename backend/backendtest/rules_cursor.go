package backendtest

import (
	"context"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// cursorRules say how events are read.
var cursorRules = []rule{
	{name: "events are read in their order from any of them on", events: long, check: func(c *checker) {
		c.history(0, 10)
		all := c.stored(omniq.CursorOldest, 100)
		c.numbers(0, 10, all)
		require.Len(c, all, 10)
		for _, size := range []int{1, 3, 10} {
			assert.Equal(c, all, c.stored(omniq.CursorOldest, size), "pages of %d", size)
		}
		for i, e := range all {
			c.numbers(i+1, 10, c.stored(e.Cursor, 3))
			page, next := c.read(omniq.EventsRequest{After: e.Cursor, Max: 1})
			if len(page) == 1 {
				assert.Equal(c, page[0].Cursor, next)
			} else {
				assert.Equal(c, e.Cursor, next, "behind the last")
			}
		}
		c.history(10, 12)
		c.numbers(10, 12, c.stored(all[9].Cursor, 100))
	}},
	{name: "where there is no event the cursor stays, and what comes is behind it", events: long, check: func(c *checker) {
		page, next := c.read(omniq.EventsRequest{After: omniq.CursorOldest, Max: 1})
		assert.Empty(c, page)
		assert.Equal(c, omniq.CursorOldest, next)
		c.history(0, 2)
		c.numbers(0, 2, c.stored(next, 100))
	}},
	{name: "CursorLatest becomes a place behind the newest event", events: long, check: func(c *checker) {
		page, first := c.read(omniq.EventsRequest{After: omniq.CursorLatest, Max: 1})
		assert.Empty(c, page)
		assert.NotEqual(c, omniq.CursorLatest, first)
		c.history(0, 3)
		page, next := c.read(omniq.EventsRequest{After: omniq.CursorLatest, Max: 1, Wait: time.Millisecond})
		assert.Empty(c, page, "they were there when the call began")
		assert.NotEqual(c, omniq.CursorLatest, next)
		c.history(3, 5)
		c.numbers(3, 5, c.stored(next, 100))
		c.numbers(0, 5, c.stored(first, 100))
	}},
	{name: "the events of one task are read by themselves, and the cursor goes on where it has none", events: long, check: func(c *checker) {
		ids := []uuid.UUID{uuid.New(), uuid.New()}
		write := func(id uuid.UUID, n int) {
			c.Helper()
			require.NoError(c, c.b.Append(c.Context(), []*omniq.TaskEvent{numbered(id, n)}))
		}
		for i := range 20 {
			write(ids[i%2], i)
		}
		all := c.stored(omniq.CursorOldest, 100)
		for k, id := range ids {
			var want []omniq.StoredEvent
			for _, e := range all {
				if e.TaskID == id {
					want = append(want, e)
				}
			}
			require.Len(c, want, 10)
			for _, size := range []int{1, 3, 100} {
				var got []omniq.StoredEvent
				for after := omniq.CursorOldest; ; {
					page, next := c.read(omniq.EventsRequest{After: after, Task: id, Max: size})
					if after = next; len(page) == 0 {
						break
					}
					assert.Equal(c, page[len(page)-1].Cursor, next)
					got = append(got, page...)
				}
				assert.Equal(c, want, got, "pages of %d", size)
			}
			page, _ := c.read(omniq.EventsRequest{After: all[10+k].Cursor, Task: id, Max: 100})
			assert.Equal(c, want[6:], page)
		}
		newest := all[len(all)-1].Cursor
		for _, after := range []omniq.Cursor{omniq.CursorOldest, all[3].Cursor, omniq.CursorLatest} {
			page, next := c.read(omniq.EventsRequest{After: after, Task: uuid.New(), Max: 9})
			assert.Empty(c, page)
			assert.Equal(c, newest, next, "a task without events, after %q", after)
		}
		w := c.reading(omniq.EventsRequest{After: newest, Task: ids[0], Max: 9, Wait: long})
		write(ids[1], 20)
		write(ids[0], 21)
		require.NoError(c, c.ended(w.done, "Events"))
		c.numbers(21, 22, w.events)
		page, next := c.read(omniq.EventsRequest{After: newest, Task: uuid.New(), Max: 9, Wait: time.Millisecond})
		assert.Empty(c, page)
		assert.Equal(c, c.stored(newest, 9)[1].Cursor, next)
		_, _, err := c.b.Events(c.Context(), omniq.EventsRequest{After: "no such place", Task: ids[0], Max: 1})
		assert.ErrorIs(c, err, omniq.ErrInvalid)
	}},
	{name: "nothing is left out between two reads, whoever writes meanwhile", events: long, check: func(c *checker) {
		const writers, n = 4, 100
		var done []<-chan error
		for range writers {
			id := uuid.New()
			done = append(done, async(func() error {
				for i := range n {
					if err := c.b.Append(c.Context(), []*omniq.TaskEvent{numbered(id, 2*i), numbered(id, 2*i+1)}); err != nil {
						return err
					}
				}
				return nil
			}))
		}
		next := make(map[uuid.UUID]int)
		var after omniq.Cursor
		for read := 0; read < 2*writers*n; {
			page, cursor := c.read(omniq.EventsRequest{After: after, Max: 7, Wait: worst})
			require.NotEmpty(c, page, "%d events were left out", 2*writers*n-read)
			for _, e := range page {
				require.Equal(c, next[e.TaskID], e.Attempt, "the next of its writer")
				next[e.TaskID]++
			}
			read += len(page)
			after = cursor
		}
		for _, d := range done {
			require.NoError(c, c.ended(d, "Append"))
		}
		page, _ := c.read(omniq.EventsRequest{After: after, Max: 1})
		assert.Empty(c, page, "all has been read")
	}},
	{name: "Events waits for the first event", events: long, check: func(c *checker) {
		for _, after := range []omniq.Cursor{omniq.CursorOldest, omniq.CursorLatest} {
			c.inTime(func(d time.Duration, _ string) bool {
				limit := 2 * d
				if after == omniq.CursorOldest {
					limit = worst // it is seen by who begins later, too
				}
				w := c.reading(omniq.EventsRequest{After: after, Max: 5, Wait: long})
				c.blocksFor(d, w.done, "Events")
				e := numbered(uuid.New(), 7)
				if after == omniq.CursorOldest {
					require.NoError(c, c.b.Append(c.Context(), []*omniq.TaskEvent{e}))
				} else {
					t := task()
					c.enqueue(t)
					e.TaskID = t.ID
				}
				select {
				case err := <-w.done:
					require.NoError(c, err)
				case <-time.After(limit):
					require.Equal(c, omniq.CursorLatest, after, "Events goes on")
					return false // it may have begun after the event
				}
				require.Len(c, w.events, 1)
				assert.Equal(c, e.TaskID, w.events[0].TaskID)
				assert.Equal(c, w.events[0].Cursor, w.next)
				return true
			})
		}
	}},
	{name: "Events without Wait returns at once", events: long, check: func(c *checker) {
		w := c.reading(omniq.EventsRequest{After: omniq.CursorLatest, Max: 1})
		require.NoError(c, c.ended(w.done, "Events"))
		assert.Empty(c, w.events)
	}},
	{name: "Events returns nothing and no error when Wait is over", events: long, check: func(c *checker) {
		for _, after := range []omniq.Cursor{omniq.CursorOldest, omniq.CursorLatest} {
			began := time.Now()
			w := c.reading(omniq.EventsRequest{After: after, Max: 1, Wait: short})
			require.NoError(c, c.ended(w.done, "Events"))
			assert.Empty(c, w.events)
			assert.GreaterOrEqual(c, time.Since(began), short)
			c.history(0, 1)
			if after == omniq.CursorOldest {
				c.numbers(0, 1, c.stored(w.next, 1))
			} else {
				c.numbers(0, 1, c.stored(w.next, 100))
			}
		}
	}},
	{name: "events are kept for their time and then gone", events: short, check: func(c *checker) {
		until := soon(short)
		c.history(0, 2)
		page, next, err := c.b.Events(c.Context(), omniq.EventsRequest{After: omniq.CursorOldest, Max: 1})
		if in := time.Now().Before(until); in {
			require.NoError(c, err)
			c.numbers(0, 1, page)
		}
		c.eventually("they are gone", func() bool { return len(c.stored(omniq.CursorOldest, 10)) == 0 })
		assert.False(c, time.Now().Before(until), "they went too early")
		if len(page) == 1 {
			_, _, err = c.b.Events(c.Context(), omniq.EventsRequest{After: next, Max: 1, Wait: long})
			assert.ErrorIs(c, err, omniq.ErrEventsGone)
		}
		_, latest := c.read(omniq.EventsRequest{After: omniq.CursorLatest, Max: 1})
		page, _ = c.read(omniq.EventsRequest{After: latest, Max: 1, Wait: 2 * short})
		assert.Empty(c, page, "nothing behind it is gone")
		c.history(2, 3)
		c.eventually("that is gone too", func() bool { return len(c.stored(omniq.CursorOldest, 10)) == 0 })
		_, _, err = c.b.Events(c.Context(), omniq.EventsRequest{After: latest, Max: 1})
		assert.ErrorIs(c, err, omniq.ErrEventsGone)
	}},
	{name: "an event that cannot be read is refused", events: long, check: func(c *checker) {
		c.history(0, 1)
		for name, r := range map[string]omniq.EventsRequest{
			"no event":           {},
			"less than no event": {Max: -1},
			"an unknown cursor":  {Max: 1, After: "no such place"},
		} {
			r.Wait = long
			_, _, err := c.b.Events(c.Context(), r)
			assert.ErrorIs(c, err, omniq.ErrInvalid, name)
		}
	}},
	{name: "Events and Append end with their context", events: long, check: func(c *checker) {
		ctx, cancel := context.WithCancel(c.Context())
		cancel()
		for name, call := range eventCalls(c.b) {
			assert.ErrorIs(c, c.ended(async(func() error { return call(ctx) }), name), context.Canceled, name)
		}
		assert.Empty(c, c.events(uuid.Nil), "nothing was appended")
		ctx, cancel = context.WithTimeout(c.Context(), short)
		defer cancel()
		events := eventCalls(c.b)["Events"]
		assert.ErrorIs(c, c.ended(async(func() error { return events(ctx) }), "Events"), context.DeadlineExceeded)
		ctx, cancel = context.WithCancel(c.Context())
		defer cancel()
		done := async(func() error { return events(ctx) })
		c.blocks(done, "Events")
		cancel()
		assert.ErrorIs(c, c.ended(done, "Events"), context.Canceled)
	}},
	{name: "after Close Events and Append return ErrClosed", events: long, check: func(c *checker) {
		w := c.reading(omniq.EventsRequest{After: omniq.CursorLatest, Max: 1, Wait: long})
		c.blocks(w.done, "Events")
		require.NoError(c, c.b.Close())
		assert.ErrorIs(c, c.ended(w.done, "Events"), omniq.ErrClosed)
		for name, call := range eventCalls(c.b) {
			assert.ErrorIs(c, c.ended(async(func() error { return call(c.Context()) }), name), omniq.ErrClosed, name)
		}
	}},
}

// eventCalls are the methods of events. Events blocks.
func eventCalls(b omniq.Backend) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"Events": func(ctx context.Context) error {
			_, _, err := b.Events(ctx, omniq.EventsRequest{After: omniq.CursorLatest, Max: 1, Wait: long})
			return err
		},
		"Append": func(ctx context.Context) error {
			return b.Append(ctx, []*omniq.TaskEvent{numbered(uuid.New(), 1)})
		},
	}
}

// numbered is an event with a number, which is its attempt's.
func numbered(id uuid.UUID, n int) *omniq.TaskEvent {
	return &omniq.TaskEvent{
		TaskID: id, EventType: omniq.EventStarted, Timestamp: time.Now().UTC().Truncate(time.Microsecond),
		Attempt: n, Queue: "n" + strconv.Itoa(n),
	}
}

// history appends events with the numbers from one to before another, in several calls.
func (c *checker) history(from, to int) {
	c.Helper()
	for n := from; n < to; n += 2 {
		events := []*omniq.TaskEvent{numbered(uuid.New(), n)}
		if n+1 < to {
			events = append(events, numbered(uuid.New(), n+1))
		}
		require.NoError(c, c.b.Append(c.Context(), events))
	}
}

// numbers checks that events have the numbers from one to before another.
func (c *checker) numbers(from, to int, events []omniq.StoredEvent) {
	c.Helper()
	want, got := []int{}, []int{}
	for n := from; n < to; n++ {
		want = append(want, n)
	}
	for _, e := range events {
		got = append(got, e.Attempt)
	}
	assert.Equal(c, want, got)
}

// read returns a page of events.
func (c *checker) read(r omniq.EventsRequest) ([]omniq.StoredEvent, omniq.Cursor) {
	c.Helper()
	page, next, err := c.b.Events(c.Context(), r)
	require.NoError(c, err)
	require.LessOrEqual(c, len(page), r.Max, "no more events than asked for")
	return page, next
}

// stored returns the events behind a cursor, read in pages.
func (c *checker) stored(after omniq.Cursor, size int) []omniq.StoredEvent {
	c.Helper()
	var all []omniq.StoredEvent
	for range 10_000 {
		page, next := c.read(omniq.EventsRequest{After: after, Max: size})
		if len(page) == 0 {
			return all
		}
		all = append(all, page...)
		after = next
	}
	require.Fail(c, "the events do not end")
	return nil
}

// reading begins to read events.
func (c *checker) reading(r omniq.EventsRequest) *waiter {
	w := &waiter{what: "Events"}
	w.done = async(func() (err error) { w.events, w.next, err = c.b.Events(c.Context(), r); return err })
	return w
}
