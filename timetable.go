package omniq

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// timetable is the args of a schedule's task: what was declared, and what was asked of it since. Clients write it.
type timetable struct {
	Name     string `json:"name"`
	Spec     *spec  `json:"spec"`
	Declared string `json:"declared"` // what of: see declaration
	Revision int64  `json:"revision"` // how often the spec has changed

	// Up to a change of its times those before it count, even if no worker comes to it until long after.
	Former  *rule     `json:"former,omitempty"`
	Changed time.Time `json:"changed,omitzero"`  // by the clock of who has changed them
	Version int64     `json:"version,omitempty"` // the revision with which they have changed

	Paused bool    `json:"paused,omitempty"`
	Note   string  `json:"note,omitempty"`
	Orders []order `json:"orders,omitempty"`
	Number int64   `json:"number,omitempty"` // of the last order
}

// spec is what is declared of a schedule.
type spec struct {
	When    *rule       `json:"when"`
	Calls   template    `json:"calls"`
	CatchUp catchUp     `json:"catch_up"`
	Overlap OverlapRule `json:"overlap"`
	Spread  int64       `json:"spread,omitempty"` // in microseconds
	Runs    int64       `json:"runs,omitempty"`   // at most, 0 for no limit
}

type catchUp struct {
	Window int64 `json:"window"` // in microseconds
	Most   int   `json:"most"`
}

// order is something that a worker is to do with a schedule once.
type order struct {
	Number int64     `json:"number"`
	ID     uuid.UUID `json:"id,omitzero"` // of a trigger: the ID of the run's task
	From   time.Time `json:"from,omitzero"`
	Until  time.Time `json:"until,omitzero"` // of a backfill
}

// standing is the state of a schedule's task: how far it has come. Workers write it, each time with what they have done.
type standing struct {
	Began     time.Time      `json:"began"`
	Version   int64          `json:"version,omitempty"` // of the times by which it ticks now
	Last      time.Time      `json:"last"`              // it has been decided of each tick up to this one
	Since     time.Time      `json:"since"`             // the last tick of the clock that has a run
	Behind    int            `json:"behind"`            // ticks that were missed since
	Ticks     int64          `json:"ticks"`             // ticks of the clock that have a run, or wait for theirs
	Done      int64          `json:"done"`              // the last order that was taken
	Flow      uuid.UUID      `json:"flow,omitzero"`     // of the last run
	Filling   bool           `json:"filling"`           // the last run was one of a backfill
	Deferred  []deferredTick `json:"deferred"`          // ticks that wait for the run before them
	Backfills []backfill     `json:"backfills"`         // what is left of them
	Counts    ScheduleCounts `json:"counts"`            //
	Recent    []ScheduledRun `json:"recent"`            // the last runs, the latest last
	Problem   string         `json:"problem"`           // why the last tick has no run, empty for no problem
	Ended     bool           `json:"ended,omitempty"`   // there is no further tick
}

type deferredTick struct {
	Time   time.Time `json:"time"`
	Since  time.Time `json:"since"`
	Missed int       `json:"missed,omitempty"`
	Cause  TickCause `json:"cause"`
	ID     uuid.UUID `json:"id,omitzero"` // of a trigger
}

type backfill struct {
	Since time.Time `json:"since"` // the tick before, or where it begins
	From  time.Time `json:"from"`  // ticks after this one are left
	Until time.Time `json:"until"` // those at or after it are not meant
}

// recentRuns is how many of the last runs a schedule remembers.
const recentRuns = 20

// set gives the schedule another spec.
func (t *timetable) set(sp *spec, state *standing) {
	t.Revision++
	before, _ := json.Marshal(t.Spec.When)
	after, _ := json.Marshal(sp.When)
	if !bytes.Equal(before, after) && t.Version <= state.Version { // else a change waits that was before this one
		t.Former, t.Changed, t.Version = t.Spec.When, now(), t.Revision
	}
	t.Spec = sp
}

// args is the timetable as the args of a task.
func (t *timetable) args() (Raw, error) {
	text, err := json.Marshal([]*timetable{t})
	if err != nil {
		return nil, fmt.Errorf("omniq: schedule %q: %w", t.Name, err)
	}
	return text, nil
}

func readTimetable(args Raw) (*timetable, error) {
	var list []*timetable
	if err := json.Unmarshal(args, &list); err != nil {
		return nil, err
	}
	if len(list) != 1 || list[0] == nil || list[0].Spec == nil || list[0].Spec.When == nil || len(list[0].Spec.Calls) == 0 {
		return nil, fmt.Errorf("no timetable of a schedule that this release knows: %.200s", args)
	}
	return list[0], list[0].Spec.check()
}

// check refuses what no client writes.
func (s *spec) check() error {
	c := s.CatchUp
	if c.Most < 1 || c.Most > MaxCatchUp || c.Window < 1 || s.Spread < 0 || s.Runs < 0 || len(s.Calls) > MaxScheduledCalls || s.When.count() > maxRules {
		return fmt.Errorf("a schedule with %+v, a spread of %d, %d runs, %d calls and %d parts of its times, which this release does not know",
			c, s.Spread, s.Runs, len(s.Calls), s.When.count())
	}
	return nil
}

func readStanding(state Raw) (*standing, error) {
	s := new(standing)
	if state == nil {
		return s, nil
	}
	return s, json.Unmarshal(state, s)
}
