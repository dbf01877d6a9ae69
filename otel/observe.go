package omniqotel

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/omniq-go/omniq"
)

// How often the engine is looked at, and how long it may take to answer.
const (
	lookEach = 5 * time.Second
	lookTime = 5 * time.Second
)

// Observe tells of the queues of a client's backend, each time that metrics are collected, until stop is called: how many tasks
// they have in each state, for how long the one that became due first has waited, whether they are paused; and whether the backend
// answers. However many collect, it looks once in five seconds at the most. All processes tell the same: one of them that observes
// is enough. Observe one client of a process.
func (t *Telemetry) Observe(client *omniq.Client) (stop func() error, err error) {
	var m maker
	gauge := made[metric.Int64ObservableGauge](&m)
	up := gauge(t.meter.Int64ObservableGauge("omniq.up",
		metric.WithDescription("1 if the backend has answered when it was looked at, 0 if not.")))
	tasks := gauge(t.meter.Int64ObservableGauge("omniq.queue.tasks", metric.WithUnit("{task}"),
		metric.WithDescription("Tasks of a queue by their state; those that have ended as long as their results are kept.")))
	paused := gauge(t.meter.Int64ObservableGauge("omniq.queue.paused", metric.WithDescription("1 if a queue is paused, 0 if not.")))
	latency := made[metric.Float64ObservableGauge](&m)(t.meter.Float64ObservableGauge("omniq.queue.latency", metric.WithUnit("s"),
		metric.WithDescription("For how long the ready task of a queue has waited that became due first.")))
	if err := errors.Join(m.errs...); err != nil {
		return nil, err
	}
	look := &look{client: client}
	r, err := t.meter.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		stats, err := look.stats(ctx)
		if err != nil {
			o.ObserveInt64(up, 0)
			return nil // which is what the metric says
		}
		o.ObserveInt64(up, 1)
		for i := range stats {
			s := &stats[i]
			queue := semconv.MessagingDestinationName(s.Queue)
			of := metric.WithAttributes(queue)
			o.ObserveInt64(paused, number(s.Paused), of)
			o.ObserveFloat64(latency, s.Latency.Seconds(), of)
			for _, state := range states {
				o.ObserveInt64(tasks, int64(state.count(s)), metric.WithAttributes(queue, state.attribute))
			}
		}
		return nil
	}, up, tasks, paused, latency)
	if err != nil {
		return nil, err
	}
	return r.Unregister, nil
}

// states are the ones of the tasks of a queue.
var states = []struct {
	attribute attribute.KeyValue
	count     func(*omniq.QueueStats) int
}{
	{taskStateKey.String("waiting"), func(s *omniq.QueueStats) int { return s.Waiting }},
	{taskStateKey.String("ready"), func(s *omniq.QueueStats) int { return s.Ready }},
	{taskStateKey.String("scheduled"), func(s *omniq.QueueStats) int { return s.Scheduled }},
	{taskStateKey.String("running"), func(s *omniq.QueueStats) int { return s.Running }},
	{taskStateKey.String("succeeded"), func(s *omniq.QueueStats) int { return s.Succeeded }},
	{taskStateKey.String("failed"), func(s *omniq.QueueStats) int { return s.Failed }},
	{taskStateKey.String("cancelled"), func(s *omniq.QueueStats) int { return s.Cancelled }},
	{taskStateKey.String("expired"), func(s *omniq.QueueStats) int { return s.Expired }},
}

func number(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// look is what a backend said of its queues when it was looked at.
type look struct {
	client *omniq.Client

	mu  sync.Mutex
	at  time.Time // zero for never
	was []omniq.QueueStats
	err error
}

// stats returns what was seen in the last five seconds, and else looks. Others wait meanwhile.
func (l *look) stats(ctx context.Context) ([]omniq.QueueStats, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.at.IsZero() || time.Since(l.at) >= lookEach {
		// What one of those who collect sees is for all of them: that its own context ends says nothing of the engine.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookTime)
		defer cancel()
		l.was, l.err = l.client.Stats(ctx)
		l.at = time.Now()
	}
	return l.was, l.err
}

// ObserveWorkers tells how workers fare, each time that metrics are collected, until stop is called: how many handlers run and can
// run at once, in all of them together, and whether all are healthy; see [omniq.Worker.Health]. Observe all the workers of a process
// by one call.
func (t *Telemetry) ObserveWorkers(workers ...*omniq.Worker) (stop func() error, err error) {
	var m maker
	gauge := made[metric.Int64ObservableGauge](&m)
	running := gauge(t.meter.Int64ObservableGauge("omniq.worker.running", metric.WithUnit("{handler}"),
		metric.WithDescription("Handlers that run; a batch is one.")))
	concurrency := gauge(t.meter.Int64ObservableGauge("omniq.worker.concurrency", metric.WithUnit("{handler}"),
		metric.WithDescription("Handlers that can run at once.")))
	healthy := gauge(t.meter.Int64ObservableGauge("omniq.worker.healthy",
		metric.WithDescription("1 if all workers get what there is to do, 0 if not.")))
	if err := errors.Join(m.errs...); err != nil {
		return nil, err
	}
	r, err := t.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		var run, places int
		well := true
		for _, w := range workers {
			h := w.Health()
			run, places, well = run+h.Handlers, places+h.Concurrency, well && h.Err == nil
		}
		o.ObserveInt64(running, int64(run))
		o.ObserveInt64(concurrency, int64(places))
		o.ObserveInt64(healthy, number(well))
		return nil
	}, running, concurrency, healthy)
	if err != nil {
		return nil, err
	}
	return r.Unregister, nil
}
