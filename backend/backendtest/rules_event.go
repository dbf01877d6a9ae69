package backendtest

import (
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// eventRules say which events tasks have.
var eventRules = []rule{
	{name: "a task has the events of what happened to it", events: long, check: func(c *checker) {
		for _, s := range stories {
			t := task(queue("q"))
			began := time.Now().Truncate(time.Millisecond)
			s.tell(c, t)
			got := c.events(t.ID)
			at := began
			for _, e := range got {
				assert.Equal(c, time.UTC, e.Timestamp.Location(), s.name)
				assert.False(c, e.Timestamp.Before(at) || e.Timestamp.After(time.Now()), "%s: %v at %v, want from %v until now",
					s.name, e.EventType, e.Timestamp, at)
				at = e.Timestamp
			}
			assert.Equal(c, s.want, bare(got), s.name)
		}
	}},
	{name: "the task of a recorded result has no event", events: long, check: func(c *checker) {
		r := record(long)
		errs, err := c.b.Record(c.Context(), []*omniq.RawResult{r})
		c.places(errs, err, nil)
		require.NoError(c, c.forget(r.TaskID))
		assert.Empty(c, c.events(uuid.Nil))
	}},
	{name: "what is refused has no event", events: long, needs: fences, check: func(c *checker) {
		t := task(unique("k"))
		c.enqueue(t)
		_, err := c.b.Enqueue(c.Context(), []*omniq.RawTask{t, task(unique("k"))})
		require.NoError(c, err)
		assert.ErrorIs(c, c.requeue(t.ID), omniq.ErrState)
		l := c.leaseOne()
		require.NoError(c, c.settle(success(l, "1", long)))
		c.refuses(l.LeaseID)
		assert.ErrorIs(c, c.settle(failure(l, long)), omniq.ErrLeaseLost)
		assert.ErrorIs(c, c.cancel(t.ID), omniq.ErrState)
		assert.Equal(c, []string{"ENQUEUED", "STARTED", "COMPLETED"}, types(c.events(uuid.Nil)))
	}},
	{name: "to cancel twice is one event", events: long, check: func(c *checker) {
		t := c.final(omniq.StatusCancelled)
		require.NoError(c, c.cancel(t.ID))
		assert.Equal(c, []string{"ENQUEUED", "CANCELLED"}, types(c.events(uuid.Nil)))
	}},
	{name: "the events outlive what is known of their task", events: long, check: func(c *checker) {
		t := c.final(omniq.StatusFailure, resultTTL(0))
		other := c.final(omniq.StatusFailure)
		require.NoError(c, c.forget(other.ID))
		for _, id := range []uuid.UUID{t.ID, other.ID} {
			assert.Equal(c, []string{"ENQUEUED", "STARTED", "FAILED"}, types(c.events(id)))
		}
	}},
	{name: "the events of a call have the order of its items", events: long, check: func(c *checker) {
		tasks := []*omniq.RawTask{task(), task(), task()}
		c.enqueue(tasks...)
		all := c.events(uuid.Nil)
		require.Len(c, all, len(tasks))
		for i, e := range all {
			assert.Equal(c, tasks[i].ID, e.TaskID)
		}
	}},
	{name: "appended events are kept as they were given", events: long, check: func(c *checker) {
		c.enqueue(task())
		var want []*omniq.TaskEvent
		for _, what := range omniq.EventTypes() {
			want = append(want, &omniq.TaskEvent{
				TaskID: uuid.New(), EventType: what, Timestamp: time.Now().UTC().Truncate(time.Microsecond).Add(-time.Hour),
			})
		}
		want[1].WorkerID, want[1].Attempt, want[1].Queue, want[1].Error, want[1].FuncName = new("worker"), 3, "q", &boom, "g"
		given := append([]*omniq.TaskEvent(nil), want...)
		require.NoError(c, c.b.Append(c.Context(), given))
		clear(given)
		require.NoError(c, c.b.Append(c.Context(), nil))
		c.enqueue(task())
		got := c.events(uuid.Nil)
		require.Len(c, got, len(want)+2)
		assert.Equal(c, want, got[1:len(got)-1])
	}},
	{name: "a backend that keeps no events says so", events: silent, check: func(c *checker) {
		c.final(omniq.StatusSuccess)
		for _, after := range []omniq.Cursor{omniq.CursorOldest, omniq.CursorLatest} {
			_, _, err := c.b.Events(c.Context(), omniq.EventsRequest{After: after, Max: 1, Wait: long})
			assert.ErrorIs(c, err, omniq.ErrNoEvents)
		}
		e := &omniq.TaskEvent{TaskID: uuid.New(), EventType: omniq.EventStarted, Timestamp: time.Now().UTC()}
		assert.ErrorIs(c, c.b.Append(c.Context(), []*omniq.TaskEvent{e}), omniq.ErrNoEvents)
	}},
}

// story is what happens to a task, and its events without their times.
type story struct {
	name string
	tell func(*checker, *omniq.RawTask)
	want []omniq.TaskEvent
}

var (
	enqueued = omniq.TaskEvent{EventType: omniq.EventEnqueued, Queue: "q", FuncName: "f"}
	started  = omniq.TaskEvent{EventType: omniq.EventStarted, Queue: "q", FuncName: "f", WorkerID: new("w"), Attempt: 1}
)

var stories = []story{
	{"a success", func(c *checker, t *omniq.RawTask) {
		c.enqueue(t)
		c.end(t, omniq.StatusSuccess)
	}, []omniq.TaskEvent{enqueued, started, event(omniq.EventCompleted, 1)}},
	{"a retry on another worker, and a failure", func(c *checker, t *omniq.RawTask) {
		c.enqueue(t)
		require.NoError(c, c.settle(retry(c.leaseOne(from("q"), by("first")))))
		c.end(t, omniq.StatusFailure)
	}, []omniq.TaskEvent{
		enqueued, {EventType: omniq.EventStarted, Queue: "q", FuncName: "f", WorkerID: new("first"), Attempt: 1},
		{EventType: omniq.EventRetried, Queue: "q", FuncName: "f", WorkerID: new("first"), Attempt: 1, Error: &boom},
		event(omniq.EventStarted, 2), event(omniq.EventFailed, 2),
	}},
	{"a cancel before it starts", func(c *checker, t *omniq.RawTask) {
		c.enqueue(t)
		c.end(t, omniq.StatusCancelled)
	}, []omniq.TaskEvent{enqueued, event(omniq.EventCancelled, 0)}},
	{"a cancel while it runs", func(c *checker, t *omniq.RawTask) {
		c.enqueue(t)
		c.leaseOne(from("q"))
		c.end(t, omniq.StatusCancelled)
	}, []omniq.TaskEvent{enqueued, started, event(omniq.EventCancelled, 1)}},
	{"an expiry", func(c *checker, t *omniq.RawTask) {
		over(t)
		c.enqueue(t)
		c.end(t, omniq.StatusExpired)
	}, []omniq.TaskEvent{enqueued, event(omniq.EventExpired, 0)}},
	{"a requeue", func(c *checker, t *omniq.RawTask) {
		c.enqueue(t)
		c.end(t, omniq.StatusFailure)
		require.NoError(c, c.requeue(t.ID))
		c.end(t, omniq.StatusSuccess)
	}, []omniq.TaskEvent{
		enqueued, started, event(omniq.EventFailed, 1), enqueued, started, event(omniq.EventCompleted, 1),
	}},
	{"a release", func(c *checker, t *omniq.RawTask) {
		c.enqueue(t)
		l := c.leaseOne(from("q"))
		require.NoError(c, c.settle(omniq.Settlement{LeaseID: l.LeaseID, Action: omniq.ActionRelease}))
		c.end(t, omniq.StatusSuccess)
	}, []omniq.TaskEvent{enqueued, started, started, event(omniq.EventCompleted, 1)}},
	{"a lease that runs out", func(c *checker, t *omniq.RawTask) {
		c.enqueue(t)
		c.leaseOne(from("q"), lasting(short))
		c.end(t, omniq.StatusSuccess)
	}, []omniq.TaskEvent{enqueued, started, event(omniq.EventStarted, 2), event(omniq.EventCompleted, 2)}},
}

// event returns an event of an attempt as a story has it.
func event(what omniq.EventType, attempt int) omniq.TaskEvent {
	e := started
	e.EventType, e.Attempt = what, attempt
	switch what {
	case omniq.EventFailed:
		e.Error = &boom
	case omniq.EventCancelled, omniq.EventExpired:
		e.WorkerID = nil // see bare
	}
	return e
}

// bare returns events without their tasks and times. The contract does not say on which worker a task is cancelled or
// expires, and why is in their type.
func bare(events []*omniq.TaskEvent) []omniq.TaskEvent {
	var all []omniq.TaskEvent
	for _, e := range events {
		e := *e
		e.TaskID, e.Timestamp = uuid.Nil, time.Time{}
		if e.EventType == omniq.EventCancelled || e.EventType == omniq.EventExpired {
			e.WorkerID, e.Error = nil, nil
		}
		all = append(all, e)
	}
	return all
}

// types returns the names of the types of events.
func types(events []*omniq.TaskEvent) []string {
	var all []string
	for _, e := range events {
		all = append(all, e.EventType.String())
	}
	return all
}

// events returns the events of a task that are kept, or, with no ID, of all.
func (c *checker) events(id uuid.UUID) []*omniq.TaskEvent {
	c.Helper()
	var all []*omniq.TaskEvent
	for _, e := range c.stored(omniq.CursorOldest, 100) {
		if id == uuid.Nil || e.TaskID == id {
			all = append(all, e.TaskEvent)
		}
	}
	return all
}
