package ui

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
)

// seenTask is what is known of a task. It is kept for a while: so of payloads, which may be large, it has no more than is shown.
type seenTask struct {
	Info     *omniq.TaskInfo // without payloads
	Payloads []payload
	Options  []field
	Copyable bool

	Events  []omniq.TaskEvent // the newest ones, nil if there are none or they were not soon found
	Earlier int               // how many there are before these
}

// Bounds of a look at a task's events.
const (
	maxEvents  = 100         // that are shown
	maxLooked  = 10_000      // that are looked at, the oldest first
	eventsTime = time.Second // after which the task is shown without them
)

func (h *Handler) inspect(ctx context.Context, id uuid.UUID) (*seenTask, error) {
	info, err := h.client.Inspect(ctx, id)
	if err != nil {
		return nil, err
	}
	seen := &seenTask{Info: info}
	if err := seen.readEvents(ctx, h.client); err != nil {
		return nil, err
	}
	seen.Options, seen.Copyable = options(info.Task), uncopyable(info) == ""
	var result omniq.RawResult
	if info.Status == omniq.StatusSuccess {
		result, err = h.client.Result(ctx, id)
		if err != nil && !errors.Is(err, omniq.ErrNotFound) { // its time may have passed in between
			return nil, err
		}
	}
	seen.Payloads = payloads(info, &result)
	info.Progress, info.State = nil, nil
	if info.Task != nil {
		task := *info.Task // which may be the engine's own
		task.Args, task.Kwargs, task.Input, task.After = nil, nil, "", nil
		info.Task = &task
	}
	return seen, nil
}

// readEvents looks for the newest events of the task. Where none are kept, or where there are so many that the newest are not soon
// found, there are none: the task itself tells the most of what they would.
func (seen *seenTask) readEvents(ctx context.Context, client *omniq.Client) error {
	ctx, cancel := context.WithTimeout(ctx, eventsTime)
	defer cancel()
	var newest []omniq.TaskEvent
	looked := 0
	for e, err := range client.Timeline(ctx, seen.Info.ID) {
		looked++
		if errors.Is(err, omniq.ErrNoEvents) || errors.Is(err, omniq.ErrEventsGone) || ctx.Err() != nil || looked > maxLooked {
			return nil
		}
		if err != nil {
			return err
		}
		newest = append(newest, e)
		newest = newest[max(len(newest)-maxEvents, 0):]
	}
	seen.Events, seen.Earlier = newest, looked-len(newest)
	return nil
}

// step is a line of a task's timeline.
type step struct {
	Time  time.Time
	Text  string
	Class string
	Error *omniq.TaskError
}

// field is a name and a value.
type field struct{ Name, Value string }

func (h *Handler) task(c *call) (page, error) {
	id, err := c.id()
	if err != nil {
		return page{}, err
	}
	seen, err := see(c, "task "+id.String(), func(ctx context.Context) (*seenTask, error) { return h.inspect(ctx, id) })
	if errors.Is(err, omniq.ErrNotFound) {
		return page{}, &statusError{http.StatusNotFound, fmt.Sprintf("There is no task %v: it was never enqueued, or its result's time is over.", id)}
	}
	if err != nil {
		return page{}, err
	}
	data := map[string]any{
		"Info": seen.Info, "Schedule": seen.Info.Queue == omniq.ScheduleQueue, "Steps": steps(seen), "Options": seen.Options, "Copyable": seen.Copyable,
		"After": seen.Info.After[:min(len(seen.Info.After), maxAfter)], "MoreAfter": max(len(seen.Info.After)-maxAfter, 0),
	}
	if c.rights.Has(Payloads) {
		data["Payloads"] = seen.Payloads
		if seen.Info.Task != nil {
			data["Metadata"] = metadata(seen.Info.Task)
		}
	}
	return page{name: "task", Title: seen.Info.FuncName, Data: data}, nil
}

// maxAfter is how many of the tasks that one waits for are shown.
const maxAfter = 50

// steps is what is known of how a task got where it is: by its events, where these are kept.
func steps(seen *seenTask) []step {
	all := deduced(seen.Info)
	if len(seen.Events) > 0 {
		all = told(seen.Events)
	}
	if seen.Earlier > 0 {
		all = slices.Insert(all, 0, step{Text: numbered(seen.Earlier, "event") + " before these", Class: "pending"})
	}
	if info := seen.Info; info.Status == omniq.StatusPending && info.Due.After(time.Now()) {
		all = append(all, step{Time: info.Due, Text: "is due", Class: "pending"})
	}
	return all
}

// told is what events tell.
func told(events []omniq.TaskEvent) []step {
	all := make([]step, len(events))
	for i, e := range events {
		s := step{Time: e.Timestamp, Text: strings.ToLower(e.EventType.String()), Class: "pending", Error: e.Error}
		switch e.EventType {
		case omniq.EventStarted:
			s.Text, s.Class = fmt.Sprintf("attempt %d began", e.Attempt), stateClass(omniq.StatusRunning)
			if e.WorkerID != nil {
				s.Text += " on worker " + *e.WorkerID
			}
		case omniq.EventCompleted:
			s.Text, s.Class = succeeded(e.Attempt), stateClass(omniq.StatusSuccess)
		case omniq.EventFailed:
			s.Text, s.Class = fmt.Sprintf("failed for good after %s", numbered(e.Attempt, "attempt")), stateClass(omniq.StatusFailure)
		case omniq.EventRetried:
			s.Text, s.Class = fmt.Sprintf("attempt %d failed, and another one follows", e.Attempt), stateClass(omniq.StatusFailure)
		case omniq.EventCancelled:
			s.Class = stateClass(omniq.StatusCancelled)
		case omniq.EventExpired:
			s.Class = stateClass(omniq.StatusExpired)
		}
		all[i] = s
	}
	return all
}

// deduced is what a task itself tells.
func deduced(info *omniq.TaskInfo) []step {
	var all []step
	if info.Task != nil {
		all = append(all, step{Time: info.Task.CreatedAt, Text: "created, to be enqueued on queue " + info.Queue, Class: "pending"})
	}
	if len(info.After) > 0 {
		all = append(all, step{Text: fmt.Sprintf("depends on %s", numbered(len(info.After), "task")), Class: "waiting"})
	}
	failed := info.Attempts - info.Lost
	if info.Status == omniq.StatusRunning || info.Status == omniq.StatusSuccess || info.Status == omniq.StatusFailure {
		failed--
	}
	if info.Lost > 0 {
		all = append(all, step{Text: numbered(info.Lost, "attempt") + " lost: the worker died, or lost the lease", Class: "failure"})
	}
	if failed > 0 && info.Status != omniq.StatusFailure {
		all = append(all, step{Text: numbered(failed, "attempt") + " failed, or ended with the task; the last error:", Class: "failure", Error: info.Error})
	} else if failed > 0 {
		all = append(all, step{Text: numbered(failed, "attempt") + " failed before the last one", Class: "failure"})
	}
	last := step{Time: info.Since, Class: stateClass(info.Status)}
	switch info.Status {
	case omniq.StatusRunning:
		last.Text = fmt.Sprintf("attempt %d runs on worker %s", info.Attempts, info.WorkerID)
	case omniq.StatusPending:
		last.Text = "pending"
	case omniq.StatusWaiting:
		last.Text = "waits"
	case omniq.StatusSuccess:
		last.Text = succeeded(info.Attempts)
	case omniq.StatusFailure:
		last.Text = fmt.Sprintf("failed for good after %s", numbered(info.Attempts, "attempt"))
	default:
		last.Text = strings.ToLower(info.Status.String())
	}
	if info.Status.Final() && info.Status != omniq.StatusSuccess {
		last.Error = info.Error
	}
	return append(all, last)
}

// succeeded tells of the end of a task, which may have been resolved by somebody, without an attempt.
func succeeded(attempt int) string {
	if attempt == 0 {
		return "succeeded"
	}
	return fmt.Sprintf("attempt %d succeeded", attempt)
}

func numbered(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return count(n) + " " + what + "s"
}

// options are what a task was enqueued with.
func options(t *omniq.RawTask) []field {
	if t == nil {
		return nil
	}
	var all []field
	add := func(set bool, name string, value any) {
		if set {
			all = append(all, field{name, fmt.Sprint(value)})
		}
	}
	length := func(d *time.Duration) string {
		if d == nil {
			return ""
		}
		return duration(*d)
	}
	add(t.Priority != 0, "priority", t.Priority)
	add(t.MaxAttempts != 0, "attempts at most", t.MaxAttempts)
	add(t.Timeout != 0, "timeout", duration(t.Timeout))
	add(!t.RunAt.IsZero(), "run at", t.RunAt.UTC().Format(time.RFC3339))
	add(t.Delay != 0, "delay", duration(t.Delay))
	add(t.TTL != nil, "TTL", length(t.TTL))
	add(t.ResultTTL != nil, "result kept for", length(t.ResultTTL))
	add(t.FailureTTL != nil, "failure kept for", length(t.FailureTTL))
	add(t.KeepTask, "kept", "as long as its result, also when it has succeeded")
	add(t.UniqueKey != "", "unique key", t.UniqueKey)
	add(t.UniqueFor != 0, "unique for", duration(t.UniqueFor))
	add(t.OnHeld != omniq.HeldRefuse, "if its key is held", t.OnHeld)
	add(t.Manual, "manual", "somebody resolves it")
	add(t.Input != "", "arguments", "made of the results of others")
	return all
}

// metadata is what travels with a task, in order.
func metadata(t *omniq.RawTask) []field {
	var all []field
	for k, v := range t.Metadata {
		all = append(all, field{k, v})
	}
	slices.SortFunc(all, func(a, b field) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// payloads are the parts of a task that have what users have put into it.
func payloads(info *omniq.TaskInfo, result *omniq.RawResult) []payload {
	var all []payload
	if info.Task != nil {
		all = append(all, taskPayloads(info.Task)...)
	}
	if result.Status == omniq.StatusSuccess {
		all = append(all, resultPayload(result))
	}
	if len(info.Progress) > 0 {
		all = append(all, jsonPayload("Progress", info.Progress))
	}
	if len(info.State) > 0 {
		all = append(all, jsonPayload("State for the next attempt", info.State))
	}
	return all
}

// onTask is an action on the task that a form names.
func (h *Handler) onTask(done string, do func(context.Context, ...uuid.UUID) error) func(*call) (string, error) {
	return func(c *call) (string, error) {
		id, err := c.id()
		if err != nil {
			return "", err
		}
		if err := h.mayTouch(c.ctx, id); err != nil {
			return "", err
		}
		return address("task", "of", id.String(), "done", done), do(c.ctx, id)
	}
}

// mayTouch refuses what is a schedule: to cancel or to forget it would delete it, which is another right.
func (h *Handler) mayTouch(ctx context.Context, id uuid.UUID) error {
	info, err := h.client.Inspect(ctx, id)
	if err != nil {
		return err
	}
	if info.Queue == omniq.ScheduleQueue {
		return fmt.Errorf("%w: it is a schedule, and there is a page for these", omniq.ErrState)
	}
	return nil
}

// giveBack takes tasks from their workers: they are cancelled and enqueued again.
func (h *Handler) giveBack(ctx context.Context, ids ...uuid.UUID) error {
	if err := h.client.Cancel(ctx, ids...); err != nil {
		return err
	}
	if err := h.client.Requeue(ctx, ids...); err != nil {
		return fmt.Errorf("cancelled, but not enqueued again: %w", err)
	}
	return nil
}

func (h *Handler) forgetTask(c *call) (string, error) {
	if _, err := h.onTask("", h.client.Forget)(c); err != nil {
		return "", err
	}
	return address("tasks", "done", "forgotten"), nil
}

func (h *Handler) freeKey(c *call) (string, error) {
	id, err := c.id()
	if err != nil {
		return "", err
	}
	info, err := h.client.Inspect(c.ctx, id)
	if err != nil {
		return "", err
	}
	if info.Task == nil || info.Task.UniqueKey == "" {
		return "", fmt.Errorf("%w: it has no unique key that is known", omniq.ErrState)
	}
	return address("task", "of", id.String(), "done", "freed"), h.client.FreeKey(c.ctx, info.FuncName, info.Task.UniqueKey)
}
