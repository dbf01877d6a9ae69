package omniq

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// ScheduleQueue is the queue of what schedules are kept as: one task for each, which workers serve by themselves. Handlers take
// nothing from it. To pause it pauses all schedules: see [Client.Pause].
const ScheduleQueue = "omniq:schedules"

// The names of the tasks in ScheduleQueue.
const (
	scheduleName = "omniq.schedule"
	watchName    = "omniq.schedule.watch"
)

// scheduleSpace is the name space of the IDs of schedules: version 5 of RFC 9562.
var scheduleSpace = uuid.MustParse("5d3bb3ca-5eb4-4f8e-9b6c-0a4c6cb1e6a2")

func scheduleID(name string) uuid.UUID { return uuid.NewSHA1(scheduleSpace, []byte(name)) }

// Schedule lets the clock start a call, with all that it is made of, each time that when ticks:
//
//	s, err := omniq.Schedule(ctx, client, "report.nightly", omniq.Cron("30 2 * * *", "Europe/Berlin"),
//		Report.On(omniq.AtTick()), omniq.Overlap(omniq.BufferOne))
//
// A schedule is durable: it is stored once, under its name, and goes on whatever process ends. Programs declare it when they start,
// as many as there are: to declare what is stored changes nothing, whoever has paused or changed it at run time since. If the
// code says something else than it did when the schedule was declared last, that is taken over: what counts are the times, the calls
// with their arguments and options, the codec that writes them, and the schedule's own. How far it has come stays, as do a pause and
// the counts.
//
// Every [Worker] on the backend serves schedules, beside its handlers, unless it is told not to: [WithoutSchedules]. There is no
// leader. A tick has exactly one run, which is enqueued in one step with the note that it was, by the engine's clock. The calls are
// then worked as any others, by whoever has their handlers. Each run is a flow with new IDs, and its tasks have the [Metadata]
// [MetadataSchedule] and [MetadataTick]. An [EnqueueMiddleware] does not see them. A call with [Replace], [Debounce] or [Latest] is no
// member of that flow: its key decides what becomes of it, and [Overlap] does not see it.
//
// Without options,
//
//   - a tick that no worker has come to within an hour is missed, and of those that have come since it is the latest that runs:
//     see [CatchUp];
//   - a tick that comes while the run before it goes on is skipped: see [Overlap];
//   - runs begin at their ticks: see [Spread].
//
// The name is 1 to [MaxNameLen] bytes of text without control characters. The errors:
//
//   - [ErrInvalid] says what is wrong with the name, the times, a zone that this machine does not know, a call or an option, that
//     there is no tick any more for what would be new, or that the engine cannot store it: it needs flows and notes.
//   - Any other error is the backend's.
//
// A client of [Client.Tx] or [Client.Through] is [ErrInvalid]: schedules are no part of a transaction. Schedule blocks until the
// schedule is stored or ctx ends; while a worker decides about it, that is some milliseconds.
func Schedule[R any](ctx context.Context, c *Client, name string, when When, call Promise[R], opts ...ScheduleOption) (*ScheduleHandle[R], error) {
	if err := checkScheduler(c, name); err != nil {
		return nil, err
	}
	fault := func(err error) error { return fmt.Errorf("omniq: schedule %q: %w", name, err) }
	sp := &spec{When: when.rule, CatchUp: catchUp{DefaultCatchUp.Microseconds(), 1}}
	if err := when.Err(); err != nil {
		return nil, fault(err)
	}
	var err error
	if sp.Calls, err = newTemplate(c, call.node, c.codecs.writer()); err != nil {
		return nil, fault(err)
	}
	for _, o := range opts {
		if err := o.applySchedule(sp); err != nil {
			return nil, fault(err)
		}
	}
	declared, err := newDeclaration(c, sp, call.node)
	if err != nil {
		return nil, fault(err)
	}
	if err := declare(ctx, c, name, sp, declared); err != nil {
		return nil, fault(err)
	}
	return AttachSchedule[R](c, name), nil
}

// checkScheduler reports what is wrong with a client or a name for schedules.
func checkScheduler(c *Client, name string) error {
	if err := c.check(); err != nil {
		return err
	}
	if err := checkText("the name of a schedule", name, MaxNameLen); err != nil {
		return err
	}
	if c.through {
		return invalid("schedule %q by a client of a transaction, want one of the backend", name)
	}
	if caps := c.backend.Capabilities(); !caps.Flows || !caps.Notes {
		return invalid("schedule %q: the engine %q has no flows, or keeps no notes", name, caps.Name)
	}
	return nil
}

// declare stores a schedule, unless that is what was declared last.
func declare(ctx context.Context, c *Client, name string, sp *spec, declared *declaration) error {
	sealed, err := declared.sealed()
	if err != nil {
		return err
	}
	table := &timetable{Name: name, Spec: sp, Declared: sealed, Revision: 1}
	for {
		_, err := changeSchedule(ctx, c, name, func(stored *timetable, state *standing) error {
			if declared.is(stored.Declared) {
				return errUnchanged
			}
			if err := sp.comes(); err != nil {
				return err
			}
			stored.set(sp, state)
			stored.Declared = sealed
			return nil
		})
		if !errors.Is(err, ErrNotFound) {
			return err
		}
		if err := sp.comes(); err != nil {
			return err
		}
		args, err := table.args()
		if err != nil {
			return err
		}
		t := &RawTask{
			ID: scheduleID(name), FuncName: scheduleName, Args: args, Kwargs: Raw("{}"), CreatedAt: now(), Queue: ScheduleQueue,
			ResultTTL: new(time.Duration(0)), FailureTTL: new(100 * 365 * 24 * time.Hour),
		}
		if err := t.Validate(); err != nil {
			return err
		}
		if err := only(c.enqueue(ctx, []*RawTask{t})); !errors.Is(err, ErrDuplicate) {
			return err
		}
	}
}

// comes refuses a schedule without a tick from now on.
func (s *spec) comes() error {
	if _, ok, rest := s.When.next(time.Now(), maxExcepted); !ok && rest.IsZero() {
		return invalid("%v does not tick after now, which is %s", s.When, time.Now().UTC().Format(time.RFC3339))
	}
	return nil
}

// ScheduleOption sets something of a schedule.
type ScheduleOption interface{ applySchedule(*spec) error }

type scheduleOption func(*spec) error

func (o scheduleOption) applySchedule(s *spec) error { return o(s) }

// DefaultCatchUp is how late a tick may be that still has a run, unless [CatchUp] says otherwise.
const DefaultCatchUp = time.Hour

// MaxCatchUp is how many ticks at the most [CatchUp] lets run that are late.
const MaxCatchUp = 1000

// CatchUp says what becomes of ticks that no worker has come to in time: because none ran, or the engine was away. Those that are
// late by more than the window, at least 10 s, are missed. Of the others the latest run, at most as many as most says, 1 to
// [MaxCatchUp]; those before them are missed, too. The default is an hour and one run. [Tick].Missed tells the next run for how many
// it stands, and [Tick].Since from when on. Missed ticks are counted, and are an event: [EventMissed].
func CatchUp(window time.Duration, most int) ScheduleOption {
	return scheduleOption(func(s *spec) error {
		if window < 10*time.Second {
			return invalid("the window of CatchUp is %v, want at least 10s", window)
		}
		if most < 1 || most > MaxCatchUp {
			return invalid("CatchUp lets %d late ticks run, want 1 to %d", most, MaxCatchUp)
		}
		s.CatchUp = catchUp{window.Microseconds(), most}
		return nil
	})
}

// OverlapRule says what becomes of a tick that comes while the run before it goes on: see [Overlap].
type OverlapRule int

// What becomes of a tick that comes while the run before it goes on. [BufferAll] is another one.
const (
	Skip        OverlapRule = 0  // it has no run
	Allow       OverlapRule = -1 // it runs beside the other one
	CancelOther OverlapRule = -2 // the other run is cancelled, its retries too, and it runs at once
	BufferOne   OverlapRule = 1  // it runs when the other one has ended; if another tick comes until then, that takes its place
)

// BufferAll lets a tick that comes while the run before it goes on run when that has ended, one after the other. At most n of them
// wait, 1 to 1,000; those that come then are dropped.
func BufferAll(n int) OverlapRule {
	if n < 1 || n > 1000 {
		return CancelOther - 1
	}
	return BufferOne + OverlapRule(n)
}

// bufferAll is how many ticks wait at the most, for one that is made by BufferAll.
func (r OverlapRule) bufferAll() (most int, ok bool) {
	if r <= BufferOne {
		return 0, false
	}
	return int(r - BufferOne), true
}

var overlapNames = map[OverlapRule]string{Skip: "skip", Allow: "allow", CancelOther: "cancel other", BufferOne: "buffer one"}

const bufferAllName = "buffer all up to "

// String returns the rule in words.
func (r OverlapRule) String() string {
	if name, ok := overlapNames[r]; ok {
		return name
	}
	if most, ok := r.bufferAll(); ok {
		return bufferAllName + strconv.Itoa(most)
	}
	return fmt.Sprintf("OverlapRule(%d)", int(r))
}

// MarshalText returns what String does. A value that is no rule is an error.
func (r OverlapRule) MarshalText() ([]byte, error) {
	if r < CancelOther {
		return nil, invalid("%v is no rule", r)
	}
	return []byte(r.String()), nil
}

// UnmarshalText accepts exactly what MarshalText returns.
func (r *OverlapRule) UnmarshalText(text []byte) error {
	for rule, name := range overlapNames {
		if name == string(text) {
			*r = rule
			return nil
		}
	}
	if digits, ok := strings.CutPrefix(string(text), bufferAllName); ok {
		if n, err := strconv.Atoi(digits); err == nil && n >= 1 && n <= 1000 {
			*r = BufferAll(n)
			return nil
		}
	}
	return invalid("%.40q is no rule about runs that overlap", text)
}

// Overlap says what becomes of a tick that comes while the run before it goes on: [Skip] by default, [Allow], [BufferOne],
// [BufferAll] or [CancelOther]. A run goes on as long as a member of its flow is not final: while it is in a queue, waits for a retry or
// for a signal. One that has failed for good has ended. Ticks that are skipped or dropped are counted, and are events:
// [EventSkipped], [EventDropped].
//
// A run that waits begins within moments of the other's end, and a minute after it at the latest.
func Overlap(rule OverlapRule) ScheduleOption {
	return scheduleOption(func(s *spec) error {
		if rule < CancelOther {
			return invalid("Overlap is %v, want Skip, Allow, BufferOne, CancelOther, or BufferAll of 1 to 1000", rule)
		}
		s.Overlap = rule
		return nil
	})
}

// Spread lets each run begin up to d after its tick, and before the next one: not all schedules at midnight. How long after it
// follows from the schedule's name and the tick, so that everybody who computes it gets the same. [Tick].Time is the tick.
func Spread(d time.Duration) ScheduleOption {
	return scheduleOption(func(s *spec) error {
		if d < 0 {
			return invalid("Spread is %v, want at least 0", d)
		}
		s.Spread = d.Microseconds()
		return nil
	})
}

// MaxRuns ends the schedule when that many of its ticks have had runs, at least 1. Triggers and backfills do not count. The count stays
// when the schedule is changed or declared anew.
func MaxRuns(n int) ScheduleOption {
	return scheduleOption(func(s *spec) error {
		if n < 1 {
			return invalid("MaxRuns is %d, want at least 1", n)
		}
		s.Runs = int64(n)
		return nil
	})
}
