package engine

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
)

// CheckTasks reports what is wrong with the first of the tasks that cannot be stored: it is [omniq.ErrInvalid].
func CheckTasks(tasks []*omniq.RawTask) error {
	for _, t := range tasks {
		if err := t.Validate(); err != nil {
			return err
		}
	}
	return nil
}

// CheckResults reports what is wrong with the first of the results that cannot be recorded: it is [omniq.ErrInvalid].
func CheckResults(results []*omniq.RawResult) error {
	for _, r := range results {
		if err := r.Validate(); err != nil {
			return err
		}
		if !r.Status.Final() {
			return fmt.Errorf("%w: the result of task %v is %v, want a final status", omniq.ErrInvalid, r.TaskID, r.Status)
		}
	}
	return nil
}

// CheckEvents reports what is wrong with the first of the events that cannot be kept: it is [omniq.ErrInvalid].
func CheckEvents(events []*omniq.TaskEvent) error {
	for _, e := range events {
		if err := e.Validate(); err != nil {
			return err
		}
	}
	return nil
}

// CheckList reports what is wrong with a request for a page of tasks, but for its After: it is [omniq.ErrInvalid].
func CheckList(r *omniq.ListRequest) error {
	_, err := r.Status.MarshalText()
	if r.Status == 0 && r.Flow != uuid.Nil {
		err = nil
	}
	if err != nil || r.Max < 1 {
		return fmt.Errorf("%w: a list of at most %d tasks that are %v, want at least one, and a status", omniq.ErrInvalid, r.Max, r.Status)
	}
	if r.Lane != "" && (r.Queue == "" || !isText(r.Lane)) {
		return fmt.Errorf("%w: a list of lane %.100q of queue %q, want text, and a queue", omniq.ErrInvalid, r.Lane, r.Queue)
	}
	for what, s := range map[string]string{"tasks named": r.Name, "tasks of worker": r.Worker, "tasks with": r.Contains} {
		if !isText(s) {
			return fmt.Errorf("%w: a list of %s %.100q, want UTF-8 without NUL", omniq.ErrInvalid, what, s)
		}
	}
	return CheckQueue(r.Queue)
}

// CheckLimit reports what is wrong with the limit of a queue, whose name may be empty here: it is [omniq.ErrInvalid].
func CheckLimit(queue string, limit omniq.Limit) error {
	if err := CheckQueue(queue); err != nil {
		return err
	}
	return limit.Validate()
}

// CheckLease reports what is wrong with a request for leases: it is [omniq.ErrInvalid].
func CheckLease(r *omniq.LeaseRequest) error {
	switch {
	case len(r.Queues) == 0 || r.Max < 1 || r.Duration <= 0:
		return fmt.Errorf("%w: lease of at most %d tasks of queues %q for %v, want at least one of each",
			omniq.ErrInvalid, r.Max, r.Queues, r.Duration)
	case r.Ahead < 0 || r.Ahead > r.Max:
		return fmt.Errorf("%w: lease of at most %d tasks, %d of them ahead, want 0 to %d ahead", omniq.ErrInvalid, r.Max, r.Ahead, r.Max)
	}
	if r.Limits != nil && len(r.Limits) != len(r.Queues) {
		return fmt.Errorf("%w: lease with %d limits for %d queues, want one for each", omniq.ErrInvalid, len(r.Limits), len(r.Queues))
	}
	for i, q := range r.Queues {
		if err := CheckQueue(q); err != nil {
			return err
		}
		if r.Limits == nil {
			continue
		}
		for _, other := range r.Queues[:i] {
			if cmp.Or(other, omniq.DefaultQueue) == cmp.Or(q, omniq.DefaultQueue) {
				return fmt.Errorf("%w: lease with limits of queue %q twice, want each queue once", omniq.ErrInvalid, q)
			}
		}
		if r.Limits[i] < 1 {
			return fmt.Errorf("%w: lease of at most %d tasks of queue %q, want at least 1", omniq.ErrInvalid, r.Limits[i], q)
		}
	}
	for _, name := range r.Names {
		if !isText(name) {
			return fmt.Errorf("%w: lease of tasks named %.100q, want UTF-8 without NUL", omniq.ErrInvalid, name)
		}
	}
	return CheckWorker(r.WorkerID)
}

// CheckTransaction reports that a caller's transaction is nil: it is [omniq.ErrInvalid].
func CheckTransaction(tx any) error {
	if v := reflect.ValueOf(tx); !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		return fmt.Errorf("%w: the transaction is nil (%T)", omniq.ErrInvalid, tx)
	}
	return nil
}

// CheckUpdates reports what is wrong with the first of the updates that cannot be stored: it is [omniq.ErrInvalid].
func CheckUpdates(updates []omniq.Update) error {
	for i := range updates {
		if err := updates[i].Validate(); err != nil {
			return err
		}
	}
	return nil
}

// CheckWas reports that a task has other args than an update expects: it is [omniq.ErrState].
func CheckWas(t *omniq.RawTask, u *omniq.Update) error {
	if u.Was != nil && string(t.Args) != string(u.Was) {
		return fmt.Errorf("%w: its args are others than the update expects", omniq.ErrState)
	}
	return nil
}

// isText reports whether each engine can be asked for s.
func isText(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

// CheckResolutions reports what is wrong with the first of the results that manual tasks cannot end with: it is
// [omniq.ErrInvalid].
func CheckResolutions(results []*omniq.RawResult) error {
	for _, r := range results {
		if err := r.Validate(); err != nil {
			return err
		}
		if r.Status != omniq.StatusSuccess && r.Status != omniq.StatusFailure {
			return fmt.Errorf("%w: task %v is resolved as %v, want %v or %v", omniq.ErrInvalid, r.TaskID, r.Status,
				omniq.StatusSuccess, omniq.StatusFailure)
		}
	}
	return nil
}

// CheckStream reports what is wrong with a request for a stream: it is [omniq.ErrInvalid].
func CheckStream(r *omniq.StreamRequest) error {
	if r.Max < 1 || r.After < 0 || !isText(r.Name) {
		return fmt.Errorf("%w: at most %d items after the %d-th of stream %.100q, want at least 1, and 0 or more, and text",
			omniq.ErrInvalid, r.Max, r.After, r.Name)
	}
	return nil
}

// CheckKeys reports what is wrong with the first of the keys that cannot be: it is [omniq.ErrInvalid].
func CheckKeys(keys []omniq.UniqueKey) error {
	for _, k := range keys {
		if !isText(k.FuncName) || !isText(k.Key) {
			return fmt.Errorf("%w: the unique key is %.100q of task %.100q, want UTF-8 without NUL", omniq.ErrInvalid, k.Key, k.FuncName)
		}
	}
	return nil
}

// CheckQueue reports what is wrong with the name of a queue, which may be empty here: it is [omniq.ErrInvalid].
func CheckQueue(name string) error {
	if name == "" {
		return nil
	}
	return omniq.CheckQueue(name)
}

// CheckWorker reports what is wrong with the name of a worker, which may be empty here: it is [omniq.ErrInvalid].
func CheckWorker(id string) error {
	if id == "" {
		return nil
	}
	return omniq.CheckWorkerID(id)
}

// CheckOutcome reports what keeps the result or the error of a settlement from being stored, whatever engine it is for. It
// is [omniq.ErrInvalid], and the business of this one settlement.
func CheckOutcome(s *omniq.Settlement) error {
	switch s.Action {
	case omniq.ActionFinish:
		if err := s.Result.Validate(); err != nil {
			return err
		}
	case omniq.ActionRetry:
		if err := s.Error.Validate(); err != nil {
			return fmt.Errorf("the error of task %v: %w", s.TaskID, err)
		}
	}
	if s.Effects == nil {
		return nil
	}
	if err := CheckTasks(s.Effects.Enqueue); err != nil {
		return fmt.Errorf("what task %v enqueues: %w", s.TaskID, err)
	}
	if err := CheckEvents(s.Effects.Events); err != nil {
		return fmt.Errorf("what the end of task %v tells: %w", s.TaskID, err)
	}
	return s.Effects.Notes.Validate()
}

// CheckSettlement reports what is wrong with a settlement, whatever engine it is for: it is [omniq.ErrInvalid].
func CheckSettlement(s *omniq.Settlement) error {
	if e := s.Effects; e != nil && len(e.After) > 0 && s.Action != omniq.ActionWait {
		return fmt.Errorf("%w: task %v is to wait for others, and its action is %d, want %d", omniq.ErrInvalid, s.TaskID, s.Action, omniq.ActionWait)
	}
	if s.Hold < 0 {
		return fmt.Errorf("%w: task %v holds its lane back for %v, want at least 0", omniq.ErrInvalid, s.TaskID, s.Hold)
	}
	if s.Took < 0 {
		return fmt.Errorf("%w: task %v took %v, want at least 0", omniq.ErrInvalid, s.TaskID, s.Took)
	}
	switch s.Action {
	case omniq.ActionWait:
		if s.Effects == nil {
			return fmt.Errorf("%w: task %v is to wait, and for what is not said", omniq.ErrInvalid, s.TaskID)
		}
		return omniq.CheckDependencies(s.TaskID, s.Effects.After)
	case omniq.ActionRetry, omniq.ActionRelease, omniq.ActionDefer:
		if s.Delay < 0 {
			return fmt.Errorf("%w: task %v is given back for %v, want at least 0", omniq.ErrInvalid, s.TaskID, s.Delay)
		}
		return nil
	case omniq.ActionFinish:
		switch r := s.Result; {
		case r == nil:
			return fmt.Errorf("%w: task %v finishes without a result", omniq.ErrInvalid, s.TaskID)
		case r.TaskID != s.TaskID || !r.Status.Final():
			return fmt.Errorf("%w: task %v finishes with a result of task %v that is %v, want its own with a final status",
				omniq.ErrInvalid, s.TaskID, r.TaskID, r.Status)
		}
		return nil
	}
	return fmt.Errorf("%w: settlement of task %v with action %d, want one that exists", omniq.ErrInvalid, s.TaskID, s.Action)
}

// CheckBeat reports what keeps a worker from being kept: it is [omniq.ErrInvalid].
func CheckBeat(w *omniq.WorkerInfo) error {
	if err := omniq.CheckWorkerID(w.ID); err != nil {
		return err
	}
	if w.PID < 0 || w.Concurrency < 0 || w.Running < 0 || w.Up < 0 || w.Lease < 0 {
		return fmt.Errorf("%w: worker %q has the PID %d, the concurrency %d and %d handlers that run, and says after %v that it is there for %v, want at least 0",
			omniq.ErrInvalid, w.ID, w.PID, w.Concurrency, w.Running, w.Up, w.Lease)
	}
	for _, s := range slices.Concat([]string{w.Host, w.Version}, w.Queues, w.Names) {
		if !isText(s) {
			return fmt.Errorf("%w: worker %q says %.100q, want UTF-8 without NUL", omniq.ErrInvalid, w.ID, s)
		}
	}
	return nil
}

// CheckHistory reports what is wrong with a request for what was done: it is [omniq.ErrInvalid].
func CheckHistory(last time.Duration) error {
	if last <= 0 {
		return fmt.Errorf("%w: a history of %v, want a positive time", omniq.ErrInvalid, last)
	}
	return nil
}
