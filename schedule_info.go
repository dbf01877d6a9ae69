package omniq

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/google/uuid"
)

// ScheduleInfo is what is known of a schedule at one time. Times are by the engine's clock.
type ScheduleInfo struct {
	Name     string
	When     When
	Revision int64 // how often its times, calls or options were set
	Paused   bool
	Note     string // why it is paused

	Overlap OverlapRule
	CatchUp time.Duration // how late a tick may be
	Most    int           // how many late ticks run at once
	Spread  time.Duration
	MaxRuns int // 0 for no limit

	Declared time.Time      // when it began
	Last     time.Time      // up to when it has been decided about ticks of the clock
	Ended    bool           // there is no further tick, or MaxRuns is reached
	Counts   ScheduleCounts // since it was declared
	Waiting  int            // ticks that wait for the end of the run before them
	Filling  int            // backfills that have not ended
	Runs     []ScheduledRun // the last ones, at most 20, the latest first
	Problem  string         // why the last tick has no run though it should; empty for no problem
}

// ScheduleCounts are how many ticks have come to what.
type ScheduleCounts struct {
	Runs    int64 `json:"runs"`    // runs that were started, by triggers and backfills too
	Missed  int64 `json:"missed"`  // no worker came in time
	Skipped int64 `json:"skipped"` // the schedule was paused, or the run before it went on
	Dropped int64 `json:"dropped"` // it waited for the end of the run before it, and another one took its place
}

// ScheduledRun is one run of a schedule.
type ScheduledRun struct {
	Time    time.Time `json:"time"` // of the tick
	Cause   TickCause `json:"cause"`
	ID      uuid.UUID `json:"id"`   // of the call's task: see [ScheduleHandle.Run]
	Flow    uuid.UUID `json:"flow"` // see [Client.Flow]
	Started time.Time `json:"started"`
}

// Next returns the next ticks, at most n: none while the schedule is paused, and none that MaxRuns does not allow.
func (i *ScheduleInfo) Next(n int) []time.Time {
	if i.Paused || i.Ended {
		return nil
	}
	var ticks []time.Time
	at := i.Last
	if now := time.Now(); now.After(at) {
		at = now
	}
	for range n {
		tick, ok := i.When.Next(at)
		if !ok {
			break
		}
		ticks, at = append(ticks, tick), tick
	}
	return ticks
}

// Describe returns what is known of the schedule now.
func (s *ScheduleHandle[R]) Describe(ctx context.Context) (*ScheduleInfo, error) {
	if err := checkScheduler(s.client, s.name); err != nil {
		return nil, err
	}
	info, table, state, err := inspectSchedule(ctx, s.client, s.name)
	if err != nil {
		return nil, s.fault("describe", err)
	}
	return newScheduleInfo(info, table, state), nil
}

// Run returns the handle of a run's task. It asks nobody whether its result is kept.
func (s *ScheduleHandle[R]) Run(r ScheduledRun) *Handle[R] {
	return &Handle[R]{client: s.client, id: r.ID, flow: r.Flow}
}

func inspectSchedule(ctx context.Context, c *Client, name string) (*TaskInfo, *timetable, *standing, error) {
	info, err := c.backend.Inspect(ctx, scheduleID(name))
	if err != nil {
		return nil, nil, nil, err
	}
	table, state, err := readSchedule(info)
	return info, table, state, err
}

func readSchedule(info *TaskInfo) (*timetable, *standing, error) {
	if info.Task == nil { // it has ended meanwhile
		return nil, nil, ErrNotFound
	}
	table, err := readTimetable(info.Task.Args)
	if err != nil {
		return nil, nil, fmt.Errorf("it is not known to this release: %w", err)
	}
	state, err := readStanding(info.State)
	if err != nil {
		return nil, nil, fmt.Errorf("its state is not known to this release: %w", err)
	}
	return table, state, nil
}

func newScheduleInfo(info *TaskInfo, t *timetable, s *standing) *ScheduleInfo {
	i := &ScheduleInfo{
		Name: t.Name, When: When{t.Spec.When}, Revision: t.Revision, Paused: t.Paused, Note: t.Note,
		Overlap: t.Spec.Overlap, CatchUp: micros(t.Spec.CatchUp.Window), Most: t.Spec.CatchUp.Most, Spread: micros(t.Spec.Spread),
		MaxRuns: int(t.Spec.Runs), Declared: s.Began, Last: s.Last, Ended: s.Ended, Counts: s.Counts, Waiting: len(s.Deferred),
		Filling: len(s.Backfills), Problem: s.Problem,
	}
	if s.Began.IsZero() { // no worker has seen it
		i.Declared, i.Last = info.Task.CreatedAt, info.Task.CreatedAt
	}
	for _, o := range t.Orders {
		switch {
		case o.Number <= s.Done:
		case o.ID != uuid.Nil:
			i.Waiting++
		default:
			i.Filling++
		}
	}
	for n := len(s.Recent) - 1; n >= 0; n-- {
		i.Runs = append(i.Runs, s.Recent[n])
	}
	if info.Status.Final() && info.Error != nil {
		i.Problem = info.Error.Error()
	}
	return i
}

// Schedules yields all schedules there are, in no particular order. One that is declared or deleted meanwhile may be missed. After an
// error it yields no more, but for one that this release cannot read, which is an error among the others.
func (c *Client) Schedules(ctx context.Context) iter.Seq2[*ScheduleInfo, error] {
	return func(yield func(*ScheduleInfo, error) bool) {
		if err := c.check(); err != nil {
			yield(nil, err)
			return
		}
		seen := make(map[uuid.UUID]bool)
		// A schedule is in the hands of a worker for some milliseconds, again and again.
		for _, status := range []Status{StatusPending, StatusRunning, StatusPending, StatusFailure} {
			for info, err := range c.List(ctx, status, ScheduleQueue) {
				if err != nil {
					yield(nil, err)
					return
				}
				if info.FuncName != scheduleName || seen[info.ID] {
					continue
				}
				seen[info.ID] = true
				table, state, err := readSchedule(info)
				var one *ScheduleInfo
				if err != nil {
					err = fmt.Errorf("omniq: schedule %v: %w", info.ID, err)
				} else {
					one = newScheduleInfo(info, table, state)
				}
				if !yield(one, err) {
					return
				}
			}
		}
	}
}
