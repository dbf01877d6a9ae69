package omniqotel

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/omniq-go/omniq"
)

// duplicate is the error.type of a task that was not stored because there was another.
const duplicate = "omniq.Duplicate"

// callerGone is the error.type of an enqueue whose caller has cancelled it.
const callerGone = "context.Canceled"

// Enqueue traces and measures enqueues, and has the context travel in the metadata of tasks. It is for [omniq.UseEnqueue].
//
// In a worker it is around the handler's call of [omniq.Enqueue] or [omniq.Become], which is done before the tasks are stored: it
// counts them as sent also if the attempt fails then.
func (t *Telemetry) Enqueue(next omniq.EnqueueFunc) omniq.EnqueueFunc {
	return func(ctx context.Context, tasks []*omniq.RawTask) error {
		if len(tasks) == 0 {
			return next(ctx, tasks)
		}
		tracer, measured := t.tracer(), t.sent.Enabled(ctx) || t.calls.Enabled(ctx)
		if tracer == nil && !measured {
			t.inject(ctx, tasks)
			return next(ctx, tasks)
		}
		queue := oneQueue(tasks)
		began := time.Now()
		var span trace.Span
		if tracer != nil {
			ctx, span = t.startSend(ctx, tracer, queue, tasks)
			defer span.End() // also if next panics
		}
		t.inject(ctx, tasks)
		first := tasks[0].ID
		err := next(ctx, tasks)
		if span != nil && len(tasks) == 1 && tasks[0].ID != first { // it has taken the place of another
			span.SetAttributes(semconv.MessagingMessageID(tasks[0].ID.String()))
		}
		failed := sendError(ctx, err)
		if span != nil && failed != "" {
			fail(span, failed, err)
		}
		if measured {
			t.calls.Record(ctx, time.Since(began).Seconds(), t.callTable.of(seriesKey{queue, "", failed}).record...)
			t.countSent(ctx, tasks, failed, err)
		}
		return err
	}
}

// startSend begins the span of an enqueue. It has links with the contexts that tasks have brought with them, because these stay.
func (t *Telemetry) startSend(ctx context.Context, tracer trace.Tracer, queue string, tasks []*omniq.RawTask) (context.Context, trace.Span) {
	name := "send"
	set := []attribute.KeyValue{system, semconv.MessagingOperationName("send"), semconv.MessagingOperationTypeSend}
	if queue != "" {
		name += " " + queue
		set = append(set, semconv.MessagingDestinationName(queue))
	}
	if len(tasks) > 1 {
		set = append(set, semconv.MessagingBatchMessageCount(len(tasks)))
	} else {
		set = append(set, semconv.MessagingMessageID(tasks[0].ID.String()), taskNameKey.String(tasks[0].FuncName))
	}
	var links []trace.Link
	for _, task := range tasks {
		if from := trace.SpanContextFromContext(t.extract(context.Background(), task)); from.IsValid() {
			links = append(links, trace.Link{SpanContext: from})
		}
	}
	return tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(set...), trace.WithLinks(links...))
}

// sendError is the error.type of an enqueue, empty for none. That some of the tasks were there is no error of the call. Where the caller
// has given up, that is the error, whatever the engine had done by then: only so an alert can tell it from an engine that fails.
func sendError(ctx context.Context, err error) string {
	switch {
	case err == nil, errors.Is(err, omniq.ErrDuplicate):
		return ""
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		return callerGone
	case errors.Is(err, omniq.ErrUncertain):
		return "omniq.Uncertain"
	case errors.Is(err, omniq.ErrInvalid):
		return "omniq.Invalid"
	case errors.Is(err, omniq.ErrClosed):
		return "omniq.Closed"
	case errors.Is(err, context.DeadlineExceeded):
		return "context.DeadlineExceeded"
	}
	return omniq.NewTaskError(err).Type
}

// countSent counts tasks, those of one queue and name that stand together at once.
func (t *Telemetry) countSent(ctx context.Context, tasks []*omniq.RawTask, failed string, err error) {
	var refused map[uuid.UUID]bool
	if duplicates, ok := errors.AsType[*omniq.DuplicateError](err); ok {
		refused = make(map[uuid.UUID]bool, len(duplicates.Duplicates))
		for _, d := range duplicates.Duplicates {
			refused[d.ID] = true
		}
	}
	var key seriesKey
	n := int64(0)
	for _, task := range tasks {
		one := seriesKey{queueOf(task), task.FuncName, failed}
		if refused[task.ID] {
			one.detail = duplicate
		}
		if one != key && n > 0 {
			t.sent.Add(ctx, n, t.sentTable.of(key).add...)
			n = 0
		}
		key = one
		n++
	}
	t.sent.Add(ctx, n, t.sentTable.of(key).add...)
}
