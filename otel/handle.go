package omniqotel

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/omniq-go/omniq"
)

// Handle traces and measures the handlers of a worker. It is for [omniq.Use], and belongs before other middleware: what comes
// after it has the span in its context, and so have the lines that the worker logs of the attempt.
func (t *Telemetry) Handle(next omniq.HandlerFunc) omniq.HandlerFunc {
	return func(ctx context.Context, task *omniq.RawTask) (omniq.RawResult, error) {
		tracer, measured := t.tracer(), t.processed.Enabled(ctx) || t.started.Enabled(ctx) || t.waits.Enabled(ctx) || t.running.Enabled(ctx)
		ctx = t.extract(ctx, task)
		if tracer == nil && !measured {
			return next(ctx, task)
		}
		h := handling{t: t, task: task, measured: measured, began: time.Now(), err: errEnded}
		ctx = h.begin(ctx, tracer)
		defer h.end(ctx)
		result, err := next(ctx, task)
		h.err = err
		return result, err
	}
}

// panicked is the error.type of a handler that has panicked, as in [omniq.TaskError].
const panicked = "omniq.Panic"

// errEnded is what there is of a handler that has panicked, or ended its goroutine.
var errEnded = errors.New("the handler panicked or ended its goroutine")

// handling is one call of a handler.
type handling struct {
	t        *Telemetry
	task     *omniq.RawTask
	measured bool
	began    time.Time
	span     trace.Span // nil for none
	err      error
}

func (h *handling) key(detail string) seriesKey {
	return seriesKey{queueOf(h.task), h.task.FuncName, detail}
}

func (h *handling) begin(ctx context.Context, tracer trace.Tracer) context.Context {
	info, known := omniq.InfoFrom(ctx)
	if h.measured {
		task := h.t.taskTable.of(h.key(""))
		h.t.started.Add(ctx, 1, h.t.processedTable.of(h.key("")).add...)
		h.t.running.Add(ctx, 1, task.add...)
		if known {
			h.t.waits.Record(ctx, info.Waited.Seconds(), task.record...)
		}
	}
	if tracer == nil {
		return ctx
	}
	set := []attribute.KeyValue{
		system, semconv.MessagingOperationName("process"), semconv.MessagingOperationTypeProcess,
		semconv.MessagingDestinationName(queueOf(h.task)), semconv.MessagingMessageID(h.task.ID.String()),
		taskNameKey.String(h.task.FuncName),
	}
	if known {
		set = append(set, semconv.MessagingClientID(info.WorkerID), taskAttemptKey.Int(info.Attempt))
	}
	opts := []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(set...)}
	from := trace.SpanContextFromContext(ctx)
	brought := from.IsValid() && from.IsRemote() // by the task: a span around Run is of no attempt
	if brought {
		opts = append(opts, trace.WithLinks(trace.Link{SpanContext: from}))
	}
	if !brought || !h.t.parent {
		opts = append(opts, trace.WithNewRoot())
	}
	ctx, h.span = tracer.Start(ctx, "process "+queueOf(h.task), opts...)
	return ctx
}

func (h *handling) end(ctx context.Context) {
	outcome, failed := outcomeOf(ctx, h.err)
	if h.measured {
		h.t.processed.Record(ctx, time.Since(h.began).Seconds(), h.t.processedTable.of(h.key(failed)).record...)
		h.t.running.Add(ctx, -1, h.t.taskTable.of(h.key("")).add...)
	}
	if h.span == nil {
		return
	}
	if outcome != 0 {
		h.span.SetAttributes(outcomeKey.String(outcome.String()))
	}
	if failed != "" {
		fail(h.span, failed, h.err)
	}
	h.span.End()
}

// fail gives a span its error. An exporter loses all that it sends with a text that is not UTF-8, so the message is that of a
// [omniq.TaskError], which is valid and not too long.
func fail(span trace.Span, kind string, err error) {
	span.SetStatus(codes.Error, omniq.NewTaskError(err).Message)
	span.SetAttributes(semconv.ErrorTypeKey.String(kind))
}

// outcomeOf is what will become of an attempt, as far as that shows when its handler has returned, or the error.type of its
// failure: whether another attempt follows is the worker's to decide. To snooze, to be cancelled and to be given back is no error.
func outcomeOf(ctx context.Context, err error) (outcome omniq.AttemptOutcome, failed string) {
	cause := context.Cause(ctx)
	_, snoozed := omniq.Snoozed(err)
	switch {
	case errors.Is(cause, omniq.ErrCancelled):
		return omniq.OutcomeCancelled, ""
	case errors.Is(cause, omniq.ErrLeaseLost):
		return omniq.OutcomeLost, ""
	case err == nil:
		return omniq.OutcomeSuccess, ""
	case errors.Is(err, errEnded):
		return 0, panicked
	case omniq.Became(err):
		return omniq.OutcomeWaiting, ""
	case snoozed:
		return omniq.OutcomeSnooze, ""
	case errors.Is(cause, omniq.ErrShutdown):
		return omniq.OutcomeReturned, ""
	}
	failed = omniq.NewTaskError(err).Type
	if errors.Is(cause, omniq.ErrTimeout) && failed != panicked {
		failed = "omniq.Timeout"
	}
	return 0, failed
}
