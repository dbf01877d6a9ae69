package omniq

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/omniq-go/omniq/internal/logkey"
)

// SettledAttempt is how an attempt ended in a worker, as [OnSettle] tells it.
type SettledAttempt struct {
	Info    Info
	Outcome AttemptOutcome
	Took    time.Duration // how long the handler ran, 0 if it did not begin
	Delay   time.Duration // how long from now the task is due again; 0 for at once, and where it is not
	Error   *TaskError    // why it failed, or the handler's error that was dropped; nil for none
}

// AttemptOutcome is what became of an attempt in a worker. The zero value is no outcome.
type AttemptOutcome uint8

// What can become of an attempt.
const (
	OutcomeSuccess   AttemptOutcome = iota + 1 // the task has succeeded
	OutcomeRetry                               // the attempt failed; another one follows
	OutcomeSnooze                              // the handler returned [Snooze] or [Throttled]
	OutcomeFailure                             // the task has failed for good
	OutcomeExpired                             // the task's TTL passed before the handler could begin
	OutcomeCancelled                           // the task was cancelled; what the handler returned is dropped
	OutcomeLost                                // the lease is lost, or the engine did not take the outcome: the task may run again
	OutcomeReturned                            // the task is given back and no attempt is used: the worker stops, or cannot run it
	OutcomeWaiting                             // the task waits for other calls, and ends as they end: see [Become]
)

var outcomeNames = [...]string{
	OutcomeSuccess:   "success",
	OutcomeRetry:     "retry",
	OutcomeSnooze:    "snooze",
	OutcomeFailure:   "failure",
	OutcomeExpired:   "expired",
	OutcomeCancelled: "cancelled",
	OutcomeLost:      "lost",
	OutcomeReturned:  "returned",
	OutcomeWaiting:   "waiting",
}

// String returns the outcome in one word, as for the label of a metric.
func (o AttemptOutcome) String() string { return enumString(o, outcomeNames[:], "AttemptOutcome") }

// OnSettle has f called each time that the worker is done with an attempt: after the engine has stored its outcome, or when
// the outcome is dropped. A [Middleware] knows only what the handler has returned; f is told what has become of it. An
// attempt whose process dies is told to nobody. One whose task was cancelled just before it ended may be told as lost.
//
// f is called from several goroutines at once. The worker waits for it: it is for metrics and notes, not for calls that take
// long. A panic in it is logged, and changes nothing. Of several OnSettle the first is called first.
func OnSettle(f func(SettledAttempt)) WorkerOption {
	return workerOption(func(w *Worker) error {
		if f == nil {
			return invalid("OnSettle has a nil function")
		}
		w.onSettle = append(w.onSettle, f)
		return nil
	})
}

// settled is told how the worker is done with an attempt: because the engine has taken its settlement or, with an error,
// because that was dropped. It must not be called while the worker is locked.
func (w *Worker) settled(a *attempt, dropped error) {
	if errors.Is(dropped, ErrLeaseLost) && w.inTx(a) && w.committed(noContext, a) {
		dropped = errCommitted
	}
	outcome := a.outcome(dropped)
	w.logSettled(a, outcome, dropped)
	if w.onSettle == nil {
		return
	}
	s := SettledAttempt{Info: w.infoOf(a), Outcome: outcome, Took: a.took, Error: a.told()}
	if outcome == OutcomeSuccess {
		s.Error = nil
	}
	if dropped == nil && a.settlement.Action != ActionFinish {
		s.Delay = max(a.settlement.Delay, a.settlement.Hold)
	}
	for _, f := range w.onSettle {
		var told sync.WaitGroup
		told.Go(func() { w.tell(f, s) }) // it may end its goroutine, as a test that fails does
		told.Wait()
	}
}

func (w *Worker) tell(f func(SettledAttempt), s SettledAttempt) {
	ended := false
	defer func() {
		if ended {
			return
		}
		what := "ended its goroutine"
		if v := recover(); v != nil {
			what = fmt.Sprint("panicked: ", v)
		}
		w.log.Error("the function of OnSettle "+what, logkey.Task, s.Info.ID, logkey.Stack, stack())
	}()
	f(s)
	ended = true
}

// outcome is what became of the attempt.
func (a *attempt) outcome(dropped error) AttemptOutcome {
	switch {
	case errors.Is(dropped, ErrCancelled):
		return OutcomeCancelled
	case errors.Is(dropped, ErrExpired):
		return OutcomeExpired
	case errors.Is(dropped, errCommitted):
		return OutcomeSuccess
	case dropped != nil:
		return OutcomeLost
	}
	switch s := &a.settlement; s.Action {
	case ActionFinish:
		if s.Result.Status == StatusSuccess {
			return OutcomeSuccess
		}
		return OutcomeFailure
	case ActionRetry:
		return OutcomeRetry
	case ActionWait:
		return OutcomeWaiting
	}
	if s := &a.settlement; s.Action == ActionRelease && s.Delay+s.Hold > 0 && !a.began.IsZero() {
		return OutcomeSnooze // it alone gives back a task for a while after its handler has begun
	}
	return OutcomeReturned
}

func (w *Worker) logSettled(a *attempt, outcome AttemptOutcome, dropped error) {
	switch {
	case outcome == OutcomeCancelled:
		w.logAttempt(a, slog.LevelInfo, "the task was cancelled; the attempt's outcome is dropped", a.words()...)
	case outcome == OutcomeExpired:
		w.logAttempt(a, slog.LevelWarn, "the task has expired before it could start")
	case outcome == OutcomeFailure:
		w.logAttempt(a, slog.LevelError, "task failed", append(w.counts(a), a.words()...)...)
	case outcome == OutcomeRetry:
		w.logAttempt(a, slog.LevelWarn, "attempt failed",
			append(append(w.counts(a), slog.Duration(logkey.Delay, a.settlement.Delay)), a.words()...)...)
	case outcome != OutcomeLost:
		if w.log.Enabled(a.logContext(), slog.LevelDebug) {
			w.logAttempt(a, slog.LevelDebug, "attempt settled", slog.Any(logkey.Outcome, outcome))
		}
	case errors.Is(dropped, ErrLeaseLost) && a.uncertain:
		w.logAttempt(a, slog.LevelWarn, "the attempt is settled, or its lease lost: the answer was lost", a.words()...)
	case errors.Is(dropped, ErrLeaseLost):
		w.logAttempt(a, slog.LevelWarn, "the lease is lost; the attempt's outcome is dropped", a.words()...)
	default:
		w.logAttempt(a, slog.LevelError, "cannot settle the attempt; the task will run again",
			append([]slog.Attr{slog.Any(logkey.Action, a.settlement.Action), slog.Any(logkey.Why, dropped)}, a.words()...)...)
	}
}

// counts are for the log: how often the attempt's task may fail, and how many of its attempts were lost.
func (w *Worker) counts(a *attempt) []slog.Attr {
	return []slog.Attr{slog.Int(logkey.Of, w.limit(a)), slog.Int(logkey.Lost, a.lease.Lost)}
}

// told is what the attempt's handler had to say, nil for nothing.
func (a *attempt) told() *TaskError {
	if e := a.settlement.Error; e != nil || a.settlement.Result == nil {
		return e
	}
	return a.settlement.Result.Error
}

// words are told for the log.
func (a *attempt) words() []slog.Attr {
	if e := a.told(); e != nil {
		return []slog.Attr{slog.Any(logkey.Error, e)}
	}
	return nil
}

// logContext is the context that the attempt's handler has got, once it has, and before that the worker's.
func (a *attempt) logContext() context.Context {
	if inner := a.inner.Load(); inner != nil {
		return *inner
	}
	return a.ctx
}

// logAttempt logs something of an attempt, with its handler's context: a middleware may have put a trace into it.
func (w *Worker) logAttempt(a *attempt, level slog.Level, message string, more ...slog.Attr) {
	ctx := a.logContext()
	if !w.log.Enabled(ctx, level) {
		return
	}
	t := a.lease.Task
	w.log.LogAttrs(ctx, level, message, append([]slog.Attr{
		slog.Any(logkey.Task, t.ID), slog.String(logkey.Func, t.FuncName), slog.String(logkey.Queue, cmp.Or(t.Queue, DefaultQueue)),
		slog.Int(logkey.Attempt, a.lease.Attempt),
	}, more...)...)
}

// noContext is for what is done when that of an attempt may have ended.
var noContext = context.Background()
