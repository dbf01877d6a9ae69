package omniq

import (
	"encoding/json"
	"fmt"
	"time"
)

// Tick is what a run of a schedule is told of the time that it is for: the value of [AtTick].
type Tick struct {
	Schedule string    `json:"schedule"` // the schedule's name
	Time     time.Time `json:"time"`     // when it was due by the schedule, in UTC; for a trigger, when a worker came to it

	// Since is the Time of the last tick before it that has a run, or when the schedule was declared: what ticks that were missed,
	// skipped or dropped stood for is this run's. Those of a Backfill have the tick before them, or where it begins. A trigger and a
	// backfill are no tick of the clock: the next one's Since does not go by them.
	Since time.Time `json:"since"`

	Missed int       `json:"missed"` // how many ticks were missed before it, since the last run; see CatchUp
	Cause  TickCause `json:"cause"`
}

// TickCause is why there is a run.
type TickCause string

// Why there is a run of a schedule.
const (
	CauseClock    TickCause = "clock"    // it was due
	CauseTrigger  TickCause = "trigger"  // [ScheduleHandle.Trigger]
	CauseBackfill TickCause = "backfill" // [ScheduleHandle.Backfill]
)

// AtTick returns the promise of the tick that a run of a schedule is for. It can be an argument of the calls of a [Schedule], and of
// no others: the arguments are made at each tick, not when the schedule is declared.
func AtTick() Promise[Tick] { return Promise[Tick]{&node{kind: tickNode}} }

// Metadata of the tasks that a schedule enqueues.
const (
	MetadataSchedule = "omniq.schedule" // the schedule's name
	MetadataTick     = "omniq.tick"     // the Time of the tick, as RFC 3339
)

// withTick is the input of a task with the tick that it is for. A recipe takes it as {"tick":true}.
func withTick(input string, t *Tick) (string, error) {
	text, err := json.Marshal(t)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf(`%s,"tick":%s}`, input[:len(input)-1], text), nil
}
