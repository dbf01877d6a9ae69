package omniq

import (
	"time"

	"github.com/google/uuid"
)

// TaskInfo is what a backend knows of a task, for people and tools to look at. What it points to is not to be changed.
type TaskInfo struct {
	ID       uuid.UUID
	FuncName string
	Queue    string
	Status   Status
	Attempts int        // how many attempts have started, without those that were taken back
	Lost     int        // how many of them were lost: their leases expired
	Since    time.Time  // when it got its status; by the backend's clock, as all the times here
	Due      time.Time  // when it may start, or became due last
	Expires  time.Time  // when the lease of one that is running ends, unless it is extended; zero for others
	WorkerID string     // who works on it or did last, empty if nobody has
	Error    *TaskError // of the last attempt that failed, or why it ended; nil for none

	Lane  string       // of its Queue, empty for none; see Lane
	Flow  uuid.UUID    // the flow that it is a member of, zero for none
	After []Dependency // what it waits for, or has waited for: where a task was refused as a duplicate, its holder instead

	Progress Raw `json:",omitempty"` // what its handler has last said of its progress, a JSON object; nil for nothing
	State    Raw `json:",omitempty"` // what its handler has last left for its next attempt, a JSON object; nil for nothing, and after a success

	// Task is the whole task, as long as it has not succeeded; with KeepTask as long as its result.
	Task *RawTask
}

// MaxListed is how many tasks one call of [TaskQueue].List looks at.
const MaxListed = 10_000

// ListRequest is what [TaskQueue].List is asked for.
type ListRequest struct {
	Status Status    // the state of the tasks that are listed; zero only with a Flow, for all
	Queue  string    // of this queue only; empty for all
	Lane   string    // of this lane of Queue only; empty for all
	Flow   uuid.UUID // of this flow only; zero for all
	Name   string    // that call this function only; empty for all
	Worker string    // that this worker works on, or did last; empty for all

	// Contains is text that only those have in them: in the JSON form of the task, as far as it is kept, byte for byte, so
	// in its arguments and metadata, or in the type or the message of the Error. Empty is for all. What is compressed or
	// encrypted is not found.
	Contains string

	// Newest is for the list backwards: what ended without success last comes first, and else the newest tasks or results; of a flow
	// the last members. For the newest an engine may take the highest IDs, which they are where IDs are of version 7.
	Newest bool

	After string // where the last page said that the next one begins; empty for the first
	Max   int    // how many at the most, at least 1
}

// QueueStats are figures of one queue at one time. Those of final tasks count the results that are kept.
type QueueStats struct {
	Queue     string
	Paused    bool
	Waiting   int // for other tasks, or to be resolved
	Ready     int // pending and due
	Scheduled int // pending and due later
	Running   int
	Succeeded int
	Failed    int
	Cancelled int
	Expired   int
	Latency   time.Duration // how long the ready task that became due first has waited; zero for none
	Lanes     int           // lanes that have a task that is ready or running; see Lane
	Limit     Limit         // zero for none; see Client.SetLimit
}

// FlowStats are figures of one flow at one time: how many of its members are in each state. Those of final members count the
// results that are kept.
type FlowStats struct {
	Waiting   int // for other tasks, or to be resolved
	Pending   int
	Running   int
	Succeeded int
	Failed    int
	Cancelled int
	Expired   int
}

// Members is how many members there are.
func (s *FlowStats) Members() int { return s.Open() + s.Succeeded + s.Failed + s.Cancelled + s.Expired }

// Open is how many members are not final.
func (s *FlowStats) Open() int { return s.Waiting + s.Pending + s.Running }

// Status is the flow's: running as long as a member is not final, then failed if a member has failed or expired, cancelled if
// one was cancelled, and success if all have succeeded. It is zero if there is no member.
func (s *FlowStats) Status() Status {
	switch {
	case s.Members() == 0:
		return 0
	case s.Open() > 0:
		return StatusRunning
	case s.Failed+s.Expired > 0:
		return StatusFailure
	case s.Cancelled > 0:
		return StatusCancelled
	}
	return StatusSuccess
}
