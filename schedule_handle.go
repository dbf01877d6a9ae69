package omniq

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
)

// ScheduleHandle is one schedule, for people and programs that look after it, in any process. It is a small value that any number
// of goroutines may use. R is the result of its runs.
//
// Its methods return [ErrNotFound] if there is no such schedule. Those that change it wait while a worker decides about it, some
// milliseconds, until ctx ends.
type ScheduleHandle[R any] struct {
	client *Client
	name   string
}

// AttachSchedule returns the schedule with this name, whose runs have results of type R. It asks nobody whether there is one.
func AttachSchedule[R any](c *Client, name string) *ScheduleHandle[R] {
	return &ScheduleHandle[R]{c, name}
}

// Schedule returns the schedule with this name, for tools that know nothing of its results. It asks nobody whether there is one.
func (c *Client) Schedule(name string) *ScheduleHandle[Raw] { return AttachSchedule[Raw](c, name) }

// Name is the schedule's name.
func (s *ScheduleHandle[R]) Name() string { return s.name }

// fault says what was asked of which schedule.
func (s *ScheduleHandle[R]) fault(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("omniq: %s schedule %q: %w", what, s.name, err)
}

// errUnchanged says that there is nothing to change.
var errUnchanged = errors.New("omniq: unchanged")

// changeSchedule changes the timetable of a schedule by compare-and-set, and makes it due. The change is called again if another
// one was faster.
func changeSchedule(ctx context.Context, c *Client, name string, change func(*timetable, *standing) error) (*timetable, error) {
	const least, most = time.Millisecond, 100 * time.Millisecond
	id := scheduleID(name)
	for pause := least; ; pause = min(2*pause, most) {
		info, table, state, err := inspectSchedule(ctx, c, name)
		if err != nil {
			return nil, err
		}
		if err := change(table, state); errors.Is(err, errUnchanged) {
			return table, nil
		} else if err != nil {
			return nil, err
		}
		table.Orders = slices.DeleteFunc(table.Orders, func(o order) bool { return o.Number <= state.Done })
		args, err := table.args()
		if err != nil {
			return nil, err
		}
		u := Update{
			ID: id, FuncName: scheduleName, Status: StatusPending, Args: args, Kwargs: Raw("{}"), Was: info.Task.Args, Due: true,
		}
		if info.Status.Final() { // it could not be read once
			u.Status, u.Due = info.Status, false
		}
		if err := u.Validate(); err != nil && info.Status != StatusRunning {
			return nil, err
		}
		err = only(c.backend.Update(ctx, []Update{u}))
		if err == nil && info.Status.Final() {
			err = only(c.backend.Requeue(ctx, []uuid.UUID{id}, false))
		}
		if !errors.Is(err, ErrState) {
			return table, err
		}
		sleep(ctx, spread(pause, 0.5))
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%w: it is in the hands of a worker, or has been changed again and again", ctx.Err())
		}
	}
}

// change changes the schedule.
func (s *ScheduleHandle[R]) change(ctx context.Context, what string, do func(*timetable, *standing) error) (*timetable, error) {
	if err := checkScheduler(s.client, s.name); err != nil {
		return nil, err
	}
	table, err := changeSchedule(ctx, s.client, s.name, do)
	return table, s.fault(what, err)
}

// Pause keeps the schedule from starting runs, also those that wait for the end of another, until Resume. The note says why, for
// those who look: at most 1,000 bytes. Ticks that come meanwhile are skipped: they are counted, and do not run later:
// [ScheduleHandle.Backfill] is for them. Runs that have begun go on, and Trigger starts one nevertheless. To pause again changes the note.
func (s *ScheduleHandle[R]) Pause(ctx context.Context, note string) error {
	if len(note) > 1000 || validText(note) != note {
		return s.fault("pause", invalid("the note has %d bytes, want at most 1000, of UTF-8", len(note)))
	}
	return s.setPaused(ctx, "pause", true, note)
}

// Resume ends what Pause began. It is no error if the schedule is not paused.
func (s *ScheduleHandle[R]) Resume(ctx context.Context) error {
	return s.setPaused(ctx, "resume", false, "")
}

func (s *ScheduleHandle[R]) setPaused(ctx context.Context, what string, paused bool, note string) error {
	_, err := s.change(ctx, what, func(t *timetable, _ *standing) error {
		if t.Paused == paused && t.Note == note {
			return errUnchanged
		}
		t.Paused, t.Note = paused, note
		return nil
	})
	return err
}

// maxOrders is how many triggers and backfills may wait for a worker.
const maxOrders = 1000

func (t *timetable) add(o order, state *standing) error {
	waiting := len(state.Deferred) + len(state.Backfills)
	for _, other := range t.Orders {
		if other.Number > state.Done {
			waiting++
		}
	}
	if waiting >= maxOrders {
		return fmt.Errorf("%w: %d runs and backfills wait already", ErrState, waiting)
	}
	t.Number = max(t.Number, state.Done) + 1
	o.Number = t.Number
	t.Orders = append(t.Orders, o)
	return nil
}

// Trigger starts a run now, beside those of the clock, and returns its handle. It does so also while the schedule is paused. Where
// [Overlap] does not let it run beside one that goes on, it begins when that has ended; with [CancelOther] that one is cancelled.
//
// It blocks until a worker has stored the run, or ctx ends: the error is the context's then, and the handle is there, because the
// run will begin. [ErrState] says that a thousand runs wait already, and [ErrInvalid] that the engine has refused the run.
func (s *ScheduleHandle[R]) Trigger(ctx context.Context) (*Handle[R], error) {
	id, err := newID()
	if err != nil {
		return nil, s.fault("trigger", err)
	}
	table, err := s.change(ctx, "trigger", func(t *timetable, state *standing) error {
		return t.add(order{ID: id}, state)
	})
	if err != nil {
		return nil, err
	}
	h := &Handle[R]{client: s.client, id: id}
	const least, most = 2 * time.Millisecond, 250 * time.Millisecond
	for pause := least; ; pause = min(2*pause, most) {
		sleep(ctx, pause)
		switch _, err := s.client.backend.Result(ctx, id); {
		case err == nil:
			return h, nil
		case ctx.Err() != nil:
			return h, s.fault("trigger", ctx.Err())
		case !errors.Is(err, ErrNotFound):
			return h, s.fault("trigger", err)
		}
		if waits, err := s.waits(ctx, id, table.Number); !waits || err != nil {
			return h, s.fault("trigger", err)
		}
	}
}

// waits reports whether a trigger's run is still to begin. The error is that of one that will not.
func (s *ScheduleHandle[R]) waits(ctx context.Context, id uuid.UUID, number int64) (bool, error) {
	_, _, state, err := inspectSchedule(ctx, s.client, s.name)
	switch {
	case err != nil:
		return false, err
	case state.Done < number || slices.ContainsFunc(state.Deferred, func(d deferredTick) bool { return d.ID == id }):
		return true, nil
	case state.Problem != "" && !slices.ContainsFunc(state.Recent, func(r ScheduledRun) bool { return r.ID == id }):
		return false, fmt.Errorf("%w: %s", ErrInvalid, state.Problem)
	}
	return false, nil // it has begun, and nothing of it is kept any more
}

// Backfill starts runs for the ticks from a time on, and before another one, as if they had come one after the other: in the past,
// for which there was no schedule yet, or in which it was paused. The cause of these ticks is [CauseBackfill]. With [Allow] the runs
// are enqueued at once, a few at a time; otherwise one begins when the one before has ended. Ticks of the clock go first.
//
// It returns when the backfill is stored; a worker does it, in the order of the calls. Ticks that have had runs have another one.
// [ErrInvalid] says that until is not after from, [ErrState] that a thousand backfills wait already.
func (s *ScheduleHandle[R]) Backfill(ctx context.Context, from, until time.Time) error {
	if !from.Before(until) || checkTime("", from) != nil || checkTime("", until) != nil {
		return s.fault("backfill", invalid("from %v until %v, want a time before a later one", from, until))
	}
	_, err := s.change(ctx, "backfill", func(t *timetable, state *standing) error {
		return t.add(order{From: from.UTC().Truncate(time.Microsecond), Until: until.UTC()}, state)
	})
	return err
}

// Reschedule gives the schedule other times, and the options that are given; the calls and the other options stay. It is for people
// at run time: it holds until the code declares something else than it did last.
//
// The revision is that of [ScheduleInfo], from which the change was made: if another one was faster, the error is [ErrState]; with 0
// it does not count. [ErrInvalid] is as for [Schedule].
func (s *ScheduleHandle[R]) Reschedule(ctx context.Context, revision int64, when When, opts ...ScheduleOption) error {
	if err := when.Err(); err != nil {
		return s.fault("reschedule", err)
	}
	_, err := s.change(ctx, "reschedule", func(t *timetable, state *standing) error {
		if revision != 0 && revision != t.Revision {
			return fmt.Errorf("%w: it has been changed meanwhile: the revision is %d, and not %d", ErrState, t.Revision, revision)
		}
		sp := *t.Spec
		sp.When = when.rule
		for _, o := range opts {
			if err := o.applySchedule(&sp); err != nil {
				return err
			}
		}
		t.set(&sp, state)
		return sp.comes()
	})
	return err
}

// Delete removes the schedule, and what it knows of its runs. Those that have begun go on. To declare it again begins anew: with the
// first tick from then on.
func (s *ScheduleHandle[R]) Delete(ctx context.Context) error {
	if err := checkScheduler(s.client, s.name); err != nil {
		return err
	}
	id := []uuid.UUID{scheduleID(s.name)}
	err := only(s.client.backend.Cancel(ctx, id))
	if errors.Is(err, ErrState) { // it has failed, because it could not be read
		err = only(s.client.backend.Forget(ctx, id))
	}
	return s.fault("delete", err)
}
