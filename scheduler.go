package omniq

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq/internal/logkey"
)

// scheduler serves schedules for a worker: it leases those that are due, decides of their ticks, and settles.
type scheduler struct{ *Worker }

func (w *Worker) servesSchedules() bool {
	caps := w.backend.Capabilities()
	return !w.noSchedules && caps.Flows && caps.Notes
}

const (
	maxSchedules  = 16               // that are leased at once
	scheduleLease = 10 * time.Second // a schedule whose process has ended is late by that
)

// run serves schedules until ctx ends or the backend is closed.
func (s *scheduler) run(ctx context.Context) {
	const minPause, maxPause = 50 * time.Millisecond, 5 * time.Second
	pause := minPause
	duration := min(s.lease, scheduleLease)
	for ctx.Err() == nil {
		leases, err := s.backend.Lease(ctx, LeaseRequest{
			Queues: []string{ScheduleQueue}, Max: maxSchedules, Ahead: maxSchedules, Duration: duration, Wait: time.Hour, WorkerID: s.id,
		})
		if err == nil && len(leases) > 0 {
			err = s.serve(context.WithoutCancel(ctx), leases, duration)
		}
		switch {
		case err == nil:
			pause = minPause
		case errors.Is(err, ErrClosed):
			return
		case ctx.Err() == nil:
			s.log.Error("cannot serve schedules; trying again", logkey.Pause, pause, logkey.Error, err)
			sleep(ctx, pause)
			pause = min(2*pause, maxPause)
		}
	}
}

// serve does what there is to do of schedules, and ends their leases.
func (s *scheduler) serve(ctx context.Context, leases []Lease, duration time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, duration)
	defer cancel()
	settlements := make([]Settlement, len(leases))
	began := time.Now()
	var all sync.WaitGroup
	for i := range leases {
		all.Go(func() { settlements[i] = s.attend(ctx, &leases[i], leases[i].Expires.Add(-duration), began) })
	}
	all.Wait()
	errs, err := s.settle(ctx, settlements)
	if err != nil {
		return fmt.Errorf("%d schedules wait for their leases to end: %w", len(leases), err)
	}
	var refused []Settlement
	for i, err := range errs {
		switch {
		case err == nil, errors.Is(err, ErrLeaseLost): // of the latter somebody has cancelled, or another one has it
		case errors.Is(err, ErrInvalid):
			s.log.Error("the engine refused a run of a schedule", logkey.Schedule, leases[i].TaskID, logkey.Error, err)
			refused = append(refused, s.refuse(&leases[i], &settlements[i], err))
		default:
			s.log.Error("cannot serve a schedule; its lease has to end first", logkey.Schedule, leases[i].TaskID, logkey.Error, err)
		}
	}
	if refused == nil {
		return nil
	}
	_, err = s.backend.Settle(ctx, refused)
	return err
}

// settle ends leases, each by itself if that fails for all: one of them may be the reason.
func (s *scheduler) settle(ctx context.Context, settlements []Settlement) ([]error, error) {
	errs, err := s.backend.Settle(ctx, settlements)
	if err == nil || len(settlements) == 1 || ctx.Err() != nil || errors.Is(err, ErrClosed) {
		return errs, err
	}
	errs = make([]error, len(settlements))
	for i := range settlements {
		errs[i] = only(s.backend.Settle(ctx, settlements[i:i+1]))
	}
	return errs, nil
}

// attend does what there is to do of one schedule, and says how its lease ends.
func (s *scheduler) attend(ctx context.Context, l *Lease, now, began time.Time) Settlement {
	settlement, err := s.decide(ctx, l, now, began)
	if err != nil {
		const least, most = time.Second, time.Minute
		delay := min(max(l.Deferred/4, least), most)
		s.log.Warn("cannot serve the schedule; it stays due", logkey.Schedule, l.TaskID, logkey.Delay, delay, logkey.Error, err)
		settlement = Settlement{Action: ActionDefer, Delay: spread(delay, 0.2)}
	}
	settlement.LeaseID = l.LeaseID
	return settlement
}

func (s *scheduler) decide(ctx context.Context, l *Lease, now, began time.Time) (Settlement, error) {
	switch l.Task.FuncName {
	case scheduleName:
		return s.turn(ctx, l, now, began)
	case watchName:
		return s.watch(ctx, l)
	}
	return Settlement{}, fmt.Errorf("the function %q is not known to this release", l.Task.FuncName)
}

func (s *scheduler) turn(ctx context.Context, l *Lease, now, began time.Time) (Settlement, error) {
	table, err := readTimetable(l.Task.Args)
	if err != nil {
		return Settlement{}, err
	}
	state, err := readStanding(l.State)
	if err != nil {
		return Settlement{}, fmt.Errorf("its state: %w", err)
	}
	if state.Began.IsZero() {
		// The program that declared it may have another clock.
		state.Began = l.Task.CreatedAt
		if state.Began.After(now) {
			state.Began = now
		}
		state.Last, state.Since = state.Began, state.Began
	}
	t := turn{timetable: table, standing: state, flows: &flowsOf{ctx, s.backend}, task: l.TaskID, worker: s.id, now: now}
	if err := t.take(); err != nil {
		return Settlement{}, err
	}
	text, err := json.Marshal(t.standing)
	if err != nil {
		return Settlement{}, err
	}
	settlement := Settlement{Action: ActionRelease, Effects: &Effects{Enqueue: t.tasks, Events: t.events, Notes: Notes{State: text}}}
	if !t.again {
		settlement.Delay = max(t.next.Sub(now)-time.Since(began), time.Microsecond).Truncate(time.Microsecond)
	}
	if n := len(t.tasks); n > 0 {
		s.log.Debug("schedule", logkey.Name, t.Name, logkey.Tasks, n, logkey.Delay, settlement.Delay)
	}
	return settlement, nil
}

// refuse is how the lease of a schedule ends whose runs the engine does not take: they are dropped, and it says so.
func (s *scheduler) refuse(l *Lease, refused *Settlement, why error) Settlement {
	settlement := Settlement{LeaseID: l.LeaseID, Action: ActionDefer, Delay: time.Second}
	if refused.Effects == nil || refused.Action != ActionRelease {
		return settlement
	}
	before, err := readStanding(l.State)
	if err != nil {
		return settlement
	}
	after, err := readStanding(refused.Effects.State)
	if err != nil {
		return settlement
	}
	n := after.Counts.Runs - before.Counts.Runs
	after.Counts.Runs, after.Counts.Dropped = before.Counts.Runs, after.Counts.Dropped+n
	after.Recent, after.Flow, after.Filling = before.Recent, before.Flow, before.Filling
	after.Problem = validText(fmt.Sprintf("the engine refused %d runs: %.500v", n, why))
	text, err := json.Marshal(after)
	if err != nil {
		return settlement
	}
	event := &TaskEvent{
		TaskID: l.TaskID, EventType: EventDropped, Timestamp: now(), WorkerID: &s.id, Queue: ScheduleQueue,
		Error: &TaskError{Type: typeSchedule, Message: after.Problem}, FuncName: scheduleName,
	}
	settlement = *refused
	settlement.Effects = &Effects{Events: append(refused.Effects.Events, event), Notes: Notes{State: text}}
	return settlement
}

// flowsOf asks a backend about runs.
type flowsOf struct {
	ctx     context.Context
	backend Backend
}

func (f *flowsOf) busy(flow uuid.UUID) (bool, error) {
	stats, err := f.backend.FlowStats(f.ctx, flow)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return stats.Open() > 0, err
}

func (f *flowsOf) cancel(flow uuid.UUID) error {
	if _, err := f.backend.CancelFlow(f.ctx, flow); !errors.Is(err, ErrNotFound) {
		return err
	}
	return nil
}

// watched is the args of a task that waits for the end of a run, and makes its schedule due then.
type watched struct {
	Schedule uuid.UUID `json:"schedule"`
	Flow     uuid.UUID `json:"flow"`
}

func newWatch(schedule, flow uuid.UUID) *RawTask {
	args, _ := json.Marshal([]watched{{schedule, flow}}) // it has two IDs
	return &RawTask{
		ID: uuid.NewSHA1(flow, schedule[:]), FuncName: watchName, Args: args, Kwargs: Raw("{}"), CreatedAt: now(), Queue: ScheduleQueue,
		ResultTTL: new(time.Duration(0)),
	}
}

// watch waits for the members of a run that are not final, or tells the schedule that there are none.
func (s *scheduler) watch(ctx context.Context, l *Lease) (Settlement, error) {
	var list []watched
	if err := json.Unmarshal(l.Task.Args, &list); err != nil || len(list) != 1 {
		return Settlement{}, fmt.Errorf("args of %q that this release does not know: %.200s", watchName, l.Task.Args)
	}
	busy, err := (&flowsOf{ctx, s.backend}).busy(list[0].Flow)
	if err != nil {
		return Settlement{}, err
	}
	if busy {
		return s.waitFor(ctx, list[0].Flow)
	}
	err = only(s.backend.RunNow(ctx, []uuid.UUID{list[0].Schedule}))
	switch {
	case errors.Is(err, ErrState): // somebody has it, and may have looked before the end
		return Settlement{Action: ActionRelease, Delay: 20 * time.Millisecond}, nil
	case err != nil && !errors.Is(err, ErrNotFound):
		return Settlement{}, err
	}
	r := finalResult(l.Task, StatusSuccess, time.Now(), l.Attempt)
	r.ResultData = Raw("null")
	return Settlement{Action: ActionFinish, Result: r}, nil
}

// waitFor waits for the members of a flow that are not final, as far as there are some.
func (s *scheduler) waitFor(ctx context.Context, flow uuid.UUID) (Settlement, error) {
	var after []Dependency
	for _, status := range []Status{StatusWaiting, StatusPending, StatusRunning} {
		page, _, err := s.backend.List(ctx, ListRequest{Status: status, Flow: flow, Max: pageSize})
		if err != nil {
			return Settlement{}, err
		}
		for _, info := range page {
			after = append(after, Dependency{ID: info.ID, Need: NeedFinal})
		}
		if len(after) > 0 { // those that wait end last
			return Settlement{Action: ActionWait, Effects: &Effects{After: after}}, nil
		}
	}
	return Settlement{Action: ActionRelease, Delay: 20 * time.Millisecond}, nil // each changed its state meanwhile
}
