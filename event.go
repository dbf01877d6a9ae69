package omniq

import (
	"time"

	"github.com/google/uuid"
)

// EventType says what happened to a task. The zero value is no type, and is refused wherever one is written.
//
// The text forms are upper-case names; reading them is case-sensitive.
type EventType uint8

// What can happen to a task.
const (
	EventEnqueued  EventType = iota + 1 // it was stored
	EventStarted                        // an attempt began
	EventCompleted                      // it succeeded
	EventFailed                         // it failed for good
	EventRetried                        // an attempt failed and another will follow
	EventCancelled                      // somebody cancelled it
	EventExpired                        // its TTL passed before it could start

	// These are of schedules. The Error of the event says which ticks it is about, and why there is no run for them.
	EventMissed  // ticks had passed too long ago when a worker came to the schedule: see CatchUp
	EventSkipped // a tick was left out: the schedule is paused, or Overlap does not allow it
	EventDropped // a tick that had waited for the run before it was given up for a later one: see Overlap
)

var eventNames = [...]string{
	EventEnqueued:  "ENQUEUED",
	EventStarted:   "STARTED",
	EventCompleted: "COMPLETED",
	EventFailed:    "FAILED",
	EventRetried:   "RETRIED",
	EventCancelled: "CANCELLED",
	EventExpired:   "EXPIRED",
	EventMissed:    "MISSED",
	EventSkipped:   "SKIPPED",
	EventDropped:   "DROPPED",
}

// EventTypes returns all types of events, in the order of their values. The caller owns the slice.
func EventTypes() []EventType { return enumerate[EventType](len(eventNames)) }

// String returns the name, or a form like EventType(9) for a value that is no type.
func (e EventType) String() string { return enumString(e, eventNames[:], "EventType") }

// MarshalText returns the name. A value that is no type is an error.
func (e EventType) MarshalText() ([]byte, error) { return enumText(e, eventNames[:], "event type") }

// UnmarshalText accepts exactly the names.
func (e *EventType) UnmarshalText(text []byte) error {
	return enumParse(e, text, eventNames[:], "event type")
}

// TaskEvent is one thing that happened to a task.
//
// The JSON form has the keys of the first four fields, always, and those of the others where they are set.
type TaskEvent struct {
	TaskID    uuid.UUID
	EventType EventType
	Timestamp time.Time // in UTC and microseconds
	WorkerID  *string   // which worker it happened on, nil for none

	Attempt int        // which attempt it is about, 0 for none
	Queue   string     // the task's queue
	Error   *TaskError // why an attempt failed, or why ticks of a schedule have no run

	FuncName string // the function that the task calls; empty in events of before there was this
}

// EventOption sets something of an event.
type EventOption interface{ applyEvent(*TaskEvent) error }

type eventOption func(*TaskEvent) error

func (o eventOption) applyEvent(e *TaskEvent) error { return o(e) }

// OnWorker records which worker the event happened on; see [CheckWorkerID].
func OnWorker(id string) EventOption {
	return eventOption(func(e *TaskEvent) error {
		e.WorkerID = &id
		return CheckWorkerID(id)
	})
}

// OnAttempt records which attempt the event is about, from 1, and the error that ended it, nil for none.
func OnAttempt(n int, err error) EventOption {
	return eventOption(func(e *TaskEvent) error {
		if n < 1 {
			return invalid("attempt is %d, want at least 1", n)
		}
		e.Attempt, e.Error = n, NewTaskError(err)
		return nil
	})
}

// OnQueue records the task's queue.
func OnQueue(name string) EventOption {
	return eventOption(func(e *TaskEvent) error {
		e.Queue = name
		return checkQueue(name)
	})
}

// NewEvent returns an event that happens now. It fails with [ErrInvalid] if the ID is all zeros, the type is none, or an
// option has an invalid value.
func NewEvent(taskID uuid.UUID, eventType EventType, opts ...EventOption) (TaskEvent, error) {
	e := TaskEvent{TaskID: taskID, EventType: eventType, Timestamp: now()}
	if taskID == uuid.Nil {
		return TaskEvent{}, invalid("an event without a task ID")
	}
	if _, err := eventType.MarshalText(); err != nil {
		return TaskEvent{}, invalid("%v", err)
	}
	for _, o := range opts {
		if err := o.applyEvent(&e); err != nil {
			return TaskEvent{}, err
		}
	}
	return e, nil
}
