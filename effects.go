package omniq

import (
	"time"

	"github.com/google/uuid"
)

// Effects are what a settlement does beside ending its lease.
type Effects struct {
	// Enqueue are tasks that are stored. One whose ID or UniqueKey is taken is left out without an error: a handler that ran
	// again may bring what it has brought before. Members of the settled task's own flow can be among them. One that
	// takes the place of another task does so.
	Enqueue []*RawTask

	// Cancel are tasks that are cancelled unless they are final or unknown, after Enqueue.
	Cancel []uuid.UUID

	// After are what the task waits for from now on, with [ActionWait] only; none is for what has ended at once. They may be
	// among Enqueue.
	After []Dependency

	// Events are kept as they are, where the engine keeps events: what there is to tell beside the events that it makes itself.
	Events []*TaskEvent

	Notes
}

// Notes are what a handler leaves of its task.
type Notes struct {
	Progress Raw          `json:",omitempty"` // for people to look at: a JSON object that replaces the last one; nil leaves that
	State    Raw          `json:",omitempty"` // for the task's next attempt: a JSON object that replaces the last one; nil leaves that
	Stream   []StreamItem // for readers: each is added to its stream
}

// LeaseNotes are notes of the holder of a lease.
type LeaseNotes struct {
	LeaseID
	Notes
}

// StreamItem is one value in a stream of a task.
type StreamItem struct {
	Name string // of the stream, as a task's: 1 to MaxNameLen bytes of text without control characters
	Data Raw    // JSON text
}

// StreamRequest is what [ResultStore].Stream is asked for.
type StreamRequest struct {
	TaskID uuid.UUID
	Name   string        // of the stream
	After  int64         // the number of the last item that was read, 0 for none
	Max    int           // how many items at the most, at least 1
	Wait   time.Duration // how long to wait for a first one; zero returns at once
}

// StreamPage are items of one stream.
type StreamPage struct {
	Items []Raw
	Next  int64 // the number of the last of them, to go on from
	Ended bool  // the task is final, and nothing comes after these
}

// MaxNotes is how many bytes the progress, the state and one item of a stream may have, each of them.
const MaxNotes = 1 << 20

// Empty reports whether there is nothing to keep.
func (n *Notes) Empty() bool { return n.Progress == nil && n.State == nil && len(n.Stream) == 0 }

// Validate reports what is wrong with the notes. errors.Is finds [ErrInvalid] in what it returns.
func (n *Notes) Validate() error {
	if err := checkNote("progress", n.Progress, '{'); err != nil {
		return err
	}
	if err := checkNote("state", n.State, '{'); err != nil {
		return err
	}
	for _, item := range n.Stream {
		if err := checkText("stream", item.Name, MaxNameLen); err != nil {
			return err
		}
		if len(item.Data) == 0 {
			return invalid("an item of stream %q without data, want a JSON document", item.Name)
		}
		if err := checkNote("item of stream "+item.Name, item.Data, 0); err != nil {
			return err
		}
	}
	return nil
}

func checkNote(what string, text Raw, open byte) error {
	if len(text) > MaxNotes {
		return invalid("the %s has %d bytes, want at most %d", what, len(text), MaxNotes)
	}
	if err := checkDocument(what, text, open); err != nil {
		return invalid("%w", err)
	}
	return nil
}
