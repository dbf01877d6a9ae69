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
	WorkerID string     // who works on it or did last, empty if nobody has
	Error    *TaskError // of the last attempt that failed, or why it ended; nil for none

	// Task is the whole task, as long as it has not succeeded.
	Task *RawTask
}

// MaxListed is how many tasks one call of [TaskQueue].List looks at.
const MaxListed = 10_000

// ListRequest is what [TaskQueue].List is asked for.
type ListRequest struct {
	Status Status // the state of the tasks that are listed; not zero
	Queue  string // of this queue only; empty for all
	After  string // where the last page said that the next one begins; empty for the first
	Max    int    // how many at the most, at least 1
}

// QueueStats are figures of one queue at one time. Those of final tasks count the results that are kept.
type QueueStats struct {
	Queue     string
	Paused    bool
	Ready     int // pending and due
	Scheduled int // pending and due later
	Running   int
	Succeeded int
	Failed    int
	Cancelled int
	Expired   int
	Latency   time.Duration // how long the ready task that became due first has waited; zero for none
}
