// Package omniqotel traces and measures what OmniQ does, by OpenTelemetry.
//
//	telemetry, err := omniqotel.New()
//	client, err := omniq.NewClient(backend, omniq.UseEnqueue(telemetry.Enqueue))
//	worker, err := omniq.NewWorker(backend, omniq.Handlers(Resize),
//		omniq.Use(telemetry.Handle), omniq.UseEnqueue(telemetry.Enqueue), omniq.OnSettle(telemetry.Settled))
//	stop, err := telemetry.Observe(client)
//
// Each part can be left out. Names follow the semantic conventions for messaging of OpenTelemetry 1.43.0, as far as these have
// them; docs/telemetry.md has the list. dashboard.json is a dashboard of all of it for Grafana, alerts.yaml are rules for
// Prometheus.
//
// # Traces
//
// An enqueue is a span "send <queue>". Where that began travels in the metadata of each task, as traceparent, tracestate and
// baggage (W3C). A key that a task has already stays. Each attempt is a span "process <queue>": the root of a trace of its own,
// with a link to where the task was enqueued, or with [AsParent] a part of that trace. In a batch each task has its span, until it
// has its end; the function's own context has the span of the first task. Without a tracer provider there are no
// spans, and a context that is there travels on.
//
// # Metrics
//
// What a metric is told apart by are queues, names of functions, outcomes and types of errors: never an ID, an attempt or what is
// in a task. Beyond [MaxSeries] combinations all others count together, as "_OTHER".
package omniqotel

import (
	"errors"
	"reflect"
	"sync/atomic"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// ScopeName is the name of the instrumentation scope of all spans and metrics.
const ScopeName = "github.com/omniq-go/omniq/otel"

// Telemetry traces and measures. It is safe for concurrent use, by any number of clients and workers.
type Telemetry struct {
	propagator propagation.TextMapPropagator
	custom     bool // it is not the default one
	parent     bool
	tracers    trace.TracerProvider // nil for the global one
	current    atomic.Pointer[tracing]
	meter      metric.Meter
	instruments
}

// Option sets something of a [Telemetry].
type Option func(*config)

type config struct {
	tracers    trace.TracerProvider
	meters     metric.MeterProvider
	propagator propagation.TextMapPropagator
	parent     bool
}

// TracerProvider sets who makes the spans: by default the global provider, also one that is set later.
func TracerProvider(p trace.TracerProvider) Option { return func(c *config) { c.tracers = p } }

// MeterProvider sets who makes the metrics: by default the global provider, also one that is set later.
func MeterProvider(p metric.MeterProvider) Option { return func(c *config) { c.meters = p } }

// Propagator sets how the context is written into the metadata of tasks and read from it: by default as W3C's traceparent,
// tracestate and baggage, whatever the global propagator is. Who enqueues and who works must agree.
func Propagator(p propagation.TextMapPropagator) Option { return func(c *config) { c.propagator = p } }

// AsParent makes the span of each attempt a child of the one in which its task was enqueued, and not the root of a trace of its own;
// the link stays. One trace has it all then, however long a task waits and however often it is tried; a sampler decides of it
// when the task is enqueued.
func AsParent() Option { return func(c *config) { c.parent = true } }

// New returns a Telemetry. It fails if the meter provider does not make an instrument.
func New(opts ...Option) (*Telemetry, error) {
	var c config
	for _, o := range opts {
		o(&c)
	}
	t := &Telemetry{propagator: c.propagator, custom: c.propagator != nil, parent: c.parent, tracers: c.tracers}
	if !t.custom {
		t.propagator = propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})
	}
	if c.tracers != nil && isGlobal(c.tracers) {
		t.tracers = nil
	}
	if c.meters == nil {
		c.meters = otel.GetMeterProvider()
	}
	t.meter = c.meters.Meter(ScopeName, metric.WithSchemaURL(semconv.SchemaURL))
	var m maker
	t.make(&m, t.meter)
	return t, errors.Join(m.errs...)
}

// tracing is the tracer of a provider.
type tracing struct {
	provider trace.TracerProvider
	tracer   trace.Tracer // nil for a provider that records nothing
}

// tracer returns the tracer of the provider that there is now, nil for none.
func (t *Telemetry) tracer() trace.Tracer {
	provider := t.tracers
	if provider == nil {
		provider = otel.GetTracerProvider()
	}
	if c := t.current.Load(); c != nil && c.provider == provider {
		return c.tracer
	}
	c := &tracing{provider: provider}
	if records(provider) {
		c.tracer = provider.Tracer(ScopeName, trace.WithSchemaURL(semconv.SchemaURL))
	}
	if reflect.TypeOf(provider).Comparable() {
		t.current.Store(c)
	}
	return c.tracer
}

// records reports whether a provider may record spans. The global one that nobody has set does not, and its spans would cost memory
// for nothing. Once it is set, otel.GetTracerProvider returns another one.
func records(provider trace.TracerProvider) bool {
	_, none := provider.(noop.TracerProvider)
	return !none && !isGlobal(provider)
}

// isGlobal reports whether a provider is the one that stands for the global one until that is set.
func isGlobal(provider trace.TracerProvider) bool {
	t := reflect.TypeOf(provider)
	return t.Kind() == reflect.Pointer && t.Elem().PkgPath() == "go.opentelemetry.io/otel/internal/global"
}
