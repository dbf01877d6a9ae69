package omniq

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	"github.com/google/uuid"
)

// Bounds of what a worker does of a schedule in one settlement. What is left is for the next one, at once.
const (
	maxTurnTasks = 1000
	maxTurnTicks = 100_000
)

// Pauses after which a worker comes to a schedule again that has nothing to do until then.
const (
	maxIdle = 24 * time.Hour // a zone may have got other rules meanwhile
	maxWait = time.Minute    // that waits for a run's end, of which it is told
)

// turn is what a worker does of a schedule that it has leased: it decides of the ticks that have come, and changes the standing.
// What is to be stored with that, in one step, it gathers.
type turn struct {
	*timetable
	*standing
	flows  runFlows
	task   uuid.UUID // the schedule's
	worker string
	now    time.Time // by the engine's clock

	tasks  []*RawTask
	events []*TaskEvent
	next   time.Time // when there is something to do, zero for never
	again  bool      // there is now
	begun  bool      // a run is among tasks
	looked bool      // at whether the last run goes on, which is
	busy   bool
}

// runFlows are the flows of runs.
type runFlows interface {
	busy(flow uuid.UUID) (bool, error)
	cancel(flow uuid.UUID) error
}

// take does all that there is to do now.
func (t *turn) take() error {
	t.order()
	for _, do := range []func() error{t.startDeferred, t.clock, t.startDeferred, t.fill} {
		if err := do(); err != nil {
			return err
		}
	}
	if t.waits() {
		if t.looked && t.busy {
			t.tasks = append(t.tasks, newWatch(t.task, t.Flow))
		}
		t.due(t.now.Add(maxWait))
	}
	t.due(t.now.Add(maxIdle))
	return nil
}

// due sets when there is something to do, if that is sooner.
func (t *turn) due(at time.Time) {
	if t.next.IsZero() || at.Before(t.next) {
		t.next = at
	}
}

// order takes the orders that are new.
func (t *turn) order() {
	for _, o := range t.Orders {
		if o.Number <= t.Done {
			continue
		}
		t.Done = o.Number
		if o.ID != uuid.Nil {
			t.Deferred = append(t.Deferred, deferredTick{Time: t.now, Since: t.Since, Cause: CauseTrigger, ID: o.ID})
		} else {
			t.Backfills = append(t.Backfills, backfill{Since: o.From, From: o.From.Add(-time.Microsecond), Until: o.Until})
		}
	}
}

// running reports whether a run goes on beside which no other may begin.
func (t *turn) running() (bool, error) {
	if t.Spec.Overlap == Allow || t.Flow == uuid.Nil {
		return false, nil
	}
	if !t.looked {
		busy, err := t.flows.busy(t.Flow)
		if err != nil {
			return false, err
		}
		t.looked, t.busy = true, busy
	}
	return t.busy, nil
}

// full reports whether the next run is for the next turn: there would be too many tasks, or it is to cancel one that is not stored yet.
func (t *turn) full() bool {
	if t.begun && (t.Spec.Overlap == CancelOther || len(t.tasks)+len(t.Spec.Calls) > maxTurnTasks) {
		t.again = true
	}
	return t.again
}

// start begins a run.
func (t *turn) start(d deferredTick) error {
	if d.ID == uuid.Nil {
		var err error
		if d.ID, err = newID(); err != nil {
			return err
		}
	}
	tick := Tick{Schedule: t.Name, Time: d.Time.UTC(), Since: d.Since.UTC(), Missed: d.Missed, Cause: d.Cause}
	tasks, flow, err := t.Spec.Calls.run(&tick, d.ID)
	if err != nil {
		return err
	}
	t.tasks = append(t.tasks, tasks...)
	t.Flow, t.Filling, t.Problem = flow, d.Cause == CauseBackfill, ""
	t.looked, t.busy, t.begun = true, true, true
	t.Counts.Runs++
	t.Recent = append(t.Recent, ScheduledRun{Time: tick.Time, Cause: d.Cause, ID: d.ID, Flow: flow, Started: t.now})
	t.Recent = t.Recent[max(len(t.Recent)-recentRuns, 0):]
	return nil
}

// startDeferred begins runs that had to wait.
func (t *turn) startDeferred() error {
	for i := 0; i < len(t.Deferred); {
		d := t.Deferred[i]
		if t.Paused && d.Cause == CauseClock {
			i++
			continue
		}
		running, err := t.running()
		cancels := running && t.Spec.Overlap == CancelOther
		if err != nil || running && !cancels || t.full() {
			return err
		}
		if cancels {
			if err := t.cancelRun(); err != nil {
				return err
			}
		}
		if err := t.start(d); err != nil {
			return err
		}
		t.Deferred = slices.Delete(t.Deferred, i, i+1)
	}
	return nil
}

func (t *turn) cancelRun() error {
	if err := t.flows.cancel(t.Flow); err != nil {
		return err
	}
	t.busy = false
	return nil
}

// waits reports whether there are runs that wait for the end of the last one.
func (t *turn) waits() bool {
	deferred := slices.ContainsFunc(t.Deferred, func(d deferredTick) bool { return !t.Paused || d.Cause != CauseClock })
	return deferred || len(t.Backfills) > 0 && t.Spec.Overlap != Allow
}

// clock decides of the ticks that have come since the last turn: up to a change of its times by what they were before.
func (t *turn) clock() error {
	if t.Ended { // until now, if it is to go on by a change
		t.Last = t.now
	}
	if t.timetable.Version > t.standing.Version && t.Former != nil {
		until := t.Changed
		if until.After(t.now) {
			until = t.now
		}
		if err := t.tick(t.Former, until); err != nil || t.again {
			return err
		}
		if until.After(t.Last) {
			t.Last = until
		}
	}
	t.standing.Version = t.timetable.Version
	t.next = time.Time{}
	return t.tick(t.Spec.When, t.now)
}

// tick decides of the ticks of a rule up to a time.
func (t *turn) tick(when *rule, until time.Time) error {
	t.Ended = false
	var ticks []time.Time // the last ones that have come in time
	missed, looked, most, more := 0, 0, t.Spec.CatchUp.Most, false
	at, missedAt := t.Last, t.Last
	miss := func(tick time.Time) { missed, missedAt = missed+1, tick }
	for looked < maxTurnTicks {
		tick, ok, rest := when.next(at, maxTurnTicks)
		if !ok {
			switch {
			case rest.IsZero():
				t.Ended = true
			case rest.After(until):
				t.due(rest)
			case len(ticks) > 0: // it goes on after these
				more = true
			default:
				at, looked = rest, maxTurnTicks
			}
			break
		}
		due := tick.Add(t.spread(when, tick))
		if tick.After(until) || due.After(t.now) {
			t.due(due)
			break
		}
		looked, at = looked+1, tick
		if t.now.Sub(due) > micros(t.Spec.CatchUp.Window) && !t.Paused {
			miss(tick)
			continue
		}
		if ticks = append(ticks, tick); len(ticks) > most && !t.Paused {
			miss(ticks[0])
			ticks = ticks[1:]
		}
	}
	if t.Paused {
		t.Last = at
		t.again = t.again || looked == maxTurnTicks
		t.Counts.Skipped += int64(len(ticks))
		t.tell(EventSkipped, "the schedule is paused", ticks...)
		return nil
	}
	if missed > 0 {
		t.Counts.Missed += int64(missed)
		t.Behind += missed
		t.event(EventMissed, fmt.Sprintf("%d ticks after %s, the last at %s: no worker has come to the schedule in time",
			missed, t.Last.Format(time.RFC3339Nano), missedAt.Format(time.RFC3339Nano)))
		t.Last = missedAt
	}
	if looked == maxTurnTicks {
		t.again = true
		if len(ticks) == 0 {
			t.Last = at
		}
		return nil
	}
	for _, tick := range ticks {
		if t.Spec.Runs > 0 && t.Ticks >= t.Spec.Runs {
			t.Last = at // more of them are not meant
			break
		}
		if t.full() {
			return nil
		}
		if err := t.offer(tick); err != nil {
			return err
		}
		t.Last = tick
	}
	t.again = t.again || more
	t.Ended = t.Ended || t.Spec.Runs > 0 && t.Ticks >= t.Spec.Runs
	if t.Ended {
		t.next = time.Time{}
	}
	return nil
}

// spread is how long after a tick its run begins: the same for everybody who computes it, and before the next tick.
func (t *turn) spread(when *rule, tick time.Time) time.Duration {
	if t.Spec.Spread == 0 {
		return 0
	}
	most := t.Spec.Spread
	end, ok, _ := when.next(tick, maxTurnTicks)
	if until := when.Until; !ok && !until.IsZero() {
		end, ok = until, true
	}
	if ok {
		most = min(most, end.Sub(tick).Microseconds())
	}
	h := fnv.New64a()
	_, _ = h.Write(binary.BigEndian.AppendUint64([]byte(t.Name), uint64(tick.UnixMicro())))
	sum := h.Sum64()
	sum ^= sum >> 32 // its low bits alone say little
	sum *= 0x9e3779b97f4a7c15
	return micros(int64(sum >> 1 % uint64(max(most, 1))))
}

// offer begins the run of a tick of the clock, or does what Overlap says if another one goes on.
func (t *turn) offer(tick time.Time) error {
	d := deferredTick{Time: tick, Since: t.Since, Missed: t.Behind, Cause: CauseClock}
	running, err := t.running()
	if err != nil {
		return err
	}
	rule := t.Spec.Overlap
	switch {
	case running && rule == CancelOther:
		if err := t.cancelRun(); err != nil {
			return err
		}
		fallthrough
	case !running:
		t.accept(tick)
		return t.start(d)
	case rule == Skip && !t.Filling:
		t.Counts.Skipped++
		t.tell(EventSkipped, fmt.Sprintf("the run of %s goes on", t.lastRun()), tick)
		return nil
	}
	waiting := func(d deferredTick) bool { return d.Cause == CauseClock }
	if most, all := rule.bufferAll(); all {
		n := 0
		for _, other := range t.Deferred {
			if waiting(other) {
				n++
			}
		}
		if n >= most {
			t.Counts.Dropped++
			t.tell(EventDropped, fmt.Sprintf("%d ticks wait already for the end of the run of %s", n, t.lastRun()), tick)
			return nil
		}
	} else if i := slices.IndexFunc(t.Deferred, waiting); i >= 0 {
		other := t.Deferred[i]
		t.Counts.Dropped++
		t.Ticks--
		t.tell(EventDropped, fmt.Sprintf("the tick of %s waits in its place for the end of the run of %s",
			tick.Format(time.RFC3339Nano), t.lastRun()), other.Time)
		d.Since, d.Missed = other.Since, d.Missed+other.Missed
		t.Deferred = slices.Delete(t.Deferred, i, i+1)
	}
	t.accept(tick)
	t.Deferred = append(t.Deferred, d)
	return nil
}

// accept notes that a tick of the clock has a run, or will have one.
func (t *turn) accept(tick time.Time) {
	t.Since, t.Behind = tick, 0
	t.Ticks++
}

func (t *turn) lastRun() string {
	if len(t.Recent) == 0 {
		return "before"
	}
	return t.Recent[len(t.Recent)-1].Time.Format(time.RFC3339Nano)
}

// fill begins runs of backfills: as many as one turn has room for where runs may overlap, else one after the other.
func (t *turn) fill() error {
	for len(t.Backfills) > 0 && !t.again {
		b := &t.Backfills[0]
		tick, ok, rest := t.Spec.When.next(b.From, maxTurnTicks)
		switch {
		case !ok && !rest.IsZero() && rest.Before(b.Until):
			b.From, t.again = rest, true
			return nil
		case !ok || !tick.Before(b.Until):
			t.Backfills = slices.Delete(t.Backfills, 0, 1)
			continue
		}
		if running, err := t.running(); running || err != nil {
			return err
		}
		if t.full() {
			return nil
		}
		if err := t.start(deferredTick{Time: tick, Since: b.Since, Cause: CauseBackfill}); err != nil {
			return err
		}
		b.Since, b.From = tick, tick
	}
	return nil
}

// tell keeps an event about ticks.
func (t *turn) tell(what EventType, why string, ticks ...time.Time) {
	switch n := len(ticks); n {
	case 0:
	case 1:
		t.event(what, fmt.Sprintf("the tick of %s: %s", ticks[0].Format(time.RFC3339Nano), why))
	default:
		t.event(what, fmt.Sprintf("%d ticks from %s to %s: %s", n, ticks[0].Format(time.RFC3339Nano), ticks[n-1].Format(time.RFC3339Nano), why))
	}
}

func (t *turn) event(what EventType, message string) {
	t.events = append(t.events, &TaskEvent{
		TaskID: t.task, EventType: what, Timestamp: t.now.UTC().Truncate(time.Microsecond), WorkerID: new(t.worker), Queue: ScheduleQueue,
		Error: &TaskError{Type: typeSchedule, Message: message}, FuncName: scheduleName,
	})
}
