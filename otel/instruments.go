package omniqotel

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/omniq-go/omniq"
)

// Bounds of histograms, in seconds. The first fourteen are those of the semantic conventions; tasks may take longer, and wait
// longer.
var (
	callBounds = []float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}
	taskBounds = append(callBounds[:len(callBounds):len(callBounds)], 30, 60, 300, 900, 3600)
	ageBounds  = append(taskBounds[:len(taskBounds):len(taskBounds)], 4*3600, 24*3600, 7*24*3600)
)

// instruments are those that are told what happens.
type instruments struct {
	sent      metric.Int64Counter
	calls     metric.Float64Histogram
	started   metric.Int64Counter
	processed metric.Float64Histogram
	waits     metric.Float64Histogram
	ages      metric.Float64Histogram
	attempts  metric.Int64Counter
	running   metric.Int64UpDownCounter

	sentTable      table // of sent
	callTable      table // of calls
	processedTable table // of started and processed
	taskTable      table // of the others
}

// maker keeps the errors of what it makes.
type maker struct{ errs []error }

func made[T any](m *maker) func(T, error) T {
	return func(instrument T, err error) T {
		if err != nil {
			m.errs = append(m.errs, err)
		}
		return instrument
	}
}

func (i *instruments) make(m *maker, meter metric.Meter) {
	counter, histogram := made[metric.Int64Counter](m), made[metric.Float64Histogram](m)
	i.sent = counter(meter.Int64Counter("messaging.client.sent.messages", metric.WithUnit("{message}"),
		metric.WithDescription("Tasks that were enqueued, and with error.type those that were not.")))
	i.calls = histogram(meter.Float64Histogram("messaging.client.operation.duration", metric.WithUnit("s"),
		metric.WithExplicitBucketBoundaries(callBounds...), metric.WithDescription("How long calls that enqueue took.")))
	i.started = counter(meter.Int64Counter("messaging.client.consumed.messages", metric.WithUnit("{message}"),
		metric.WithDescription("Attempts whose handlers were started.")))
	i.processed = histogram(meter.Float64Histogram("messaging.process.duration", metric.WithUnit("s"),
		metric.WithExplicitBucketBoundaries(taskBounds...), metric.WithDescription("How long handlers ran.")))
	i.waits = histogram(meter.Float64Histogram("omniq.task.wait", metric.WithUnit("s"),
		metric.WithExplicitBucketBoundaries(taskBounds...), metric.WithDescription("How long tasks were due before their handlers began.")))
	i.ages = histogram(meter.Float64Histogram("omniq.task.age", metric.WithUnit("s"),
		metric.WithExplicitBucketBoundaries(ageBounds...),
		metric.WithDescription("From when tasks were enqueued until they had succeeded or failed for good.")))
	i.attempts = counter(meter.Int64Counter("omniq.task.attempts", metric.WithUnit("{attempt}"),
		metric.WithDescription("Attempts that workers are done with, by what became of them.")))
	i.running = made[metric.Int64UpDownCounter](m)(meter.Int64UpDownCounter("omniq.task.running", metric.WithUnit("{task}"),
		metric.WithDescription("Tasks whose handlers run.")))

	i.sentTable.attributes = operation("send", semconv.MessagingOperationTypeSend, true)
	i.callTable.attributes = operation("send", semconv.MessagingOperationTypeSend, false)
	i.processedTable.attributes = operation("process", semconv.MessagingOperationTypeProcess, true)
	i.taskTable.attributes = taskAttributes
}

// Settled measures what became of an attempt. It is for [omniq.OnSettle].
func (t *Telemetry) Settled(s omniq.SettledAttempt) {
	ctx := context.Background()
	if !t.attempts.Enabled(ctx) && !t.ages.Enabled(ctx) {
		return
	}
	key := seriesKey{s.Info.Queue, s.Info.FuncName, s.Outcome.String()}
	t.attempts.Add(ctx, 1, t.taskTable.of(key).add...)
	if s.Outcome == omniq.OutcomeSuccess || s.Outcome == omniq.OutcomeFailure {
		t.ages.Record(ctx, max(0, time.Since(s.Info.CreatedAt).Seconds()), t.taskTable.of(key).record...)
	}
}
