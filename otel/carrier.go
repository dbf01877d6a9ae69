package omniqotel

import (
	"context"
	"maps"
	"slices"

	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/codec"
)

const (
	traceparent = "traceparent"
	tracestate  = "tracestate"

	// maxValue is how many bytes of a key's value travel: what W3C says that a baggage may have at least.
	maxValue = 8192
	// nearlyFull is how large the payload of a task is that may have no room for a context.
	nearlyFull = codec.MaxSize - 8*maxValue
)

// extract returns ctx with what a task brings of the context in which it was enqueued.
func (t *Telemetry) extract(ctx context.Context, task *omniq.RawTask) context.Context {
	if len(task.Metadata) == 0 {
		return ctx
	}
	return t.propagator.Extract(ctx, propagation.MapCarrier(task.Metadata))
}

// inject writes the context into the metadata of tasks. What a task has already stays, and a traceparent keeps others from adding
// their tracestate.
func (t *Telemetry) inject(ctx context.Context, tasks []*omniq.RawTask) {
	if !t.custom && !trace.SpanContextFromContext(ctx).IsValid() && baggage.FromContext(ctx).Len() == 0 {
		return
	}
	values := make(propagation.MapCarrier)
	t.propagator.Inject(ctx, values)
	maps.DeleteFunc(values, func(_, value string) bool { return len(value) > maxValue })
	if len(values) == 0 {
		return
	}
	for _, task := range tasks {
		add(task, values)
	}
}

// add adds what a task does not have yet, in a map of its own: that of the task may be another's, too.
func add(task *omniq.RawTask, values map[string]string) {
	before := task.Metadata
	after := make(map[string]string, len(before)+len(values))
	maps.Copy(after, values)
	if _, ok := before[traceparent]; ok {
		delete(after, tracestate)
	}
	maps.Copy(after, before)
	task.Metadata = after
	if len(task.Args)+len(task.Kwargs)+len(task.Input) < nearlyFull || task.Validate() == nil {
		return
	}
	task.Metadata = before // the task matters more
}

// oneQueue returns the queue of all tasks, or an empty text if they have several.
func oneQueue(tasks []*omniq.RawTask) string {
	q := queueOf(tasks[0])
	if slices.ContainsFunc(tasks, func(t *omniq.RawTask) bool { return queueOf(t) != q }) {
		return ""
	}
	return q
}

func queueOf(t *omniq.RawTask) string {
	if t.Queue == "" {
		return omniq.DefaultQueue
	}
	return t.Queue
}
