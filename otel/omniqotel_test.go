package omniqotel_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
	omniqotel "github.com/omniq-go/omniq/otel"
)

func TestMain(m *testing.M) {
	if as := os.Getenv("OMNIQ_TEST_AS"); as != "" {
		if err := processes[as](os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	m.Run()
}

// processes are what the test binary does in another process of its own.
var processes = map[string]func(io.Writer) error{"producer": producer, "late": lateProvider}

var errOops = errors.New("oops")

func nothing(context.Context) error { return nil }

// process is a program that enqueues and works: its telemetry, and what that has recorded.
type process struct {
	*omniqotel.Telemetry
	spans  *tracetest.SpanRecorder
	reader *sdkmetric.ManualReader
}

func newProcess(t testing.TB, opts ...omniqotel.Option) process {
	p := process{spans: tracetest.NewSpanRecorder(), reader: sdkmetric.NewManualReader()}
	telemetry, err := omniqotel.New(append([]omniqotel.Option{
		omniqotel.TracerProvider(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(p.spans))),
		omniqotel.MeterProvider(sdkmetric.NewMeterProvider(sdkmetric.WithReader(p.reader))),
	}, opts...)...)
	require.NoError(t, err)
	p.Telemetry = telemetry
	return p
}

func (p process) client(t testing.TB, b omniq.Backend) *omniq.Client {
	client, err := omniq.NewClient(b, omniq.UseEnqueue(p.Enqueue))
	require.NoError(t, err)
	return client
}

// worker returns one that is observed, and logs nothing unless an option says so.
func (p process) worker(t testing.TB, b omniq.Backend, opts ...omniq.WorkerOption) *omniq.Worker {
	w, err := omniq.NewWorker(b, append([]omniq.WorkerOption{
		omniq.Use(p.Handle), omniq.UseEnqueue(p.Enqueue), omniq.OnSettle(p.Settled), omniq.Logger(slog.New(slog.DiscardHandler)),
	}, opts...)...)
	require.NoError(t, err)
	return w
}

// run runs a worker until the test ends, or stop is called.
func (p process) run(t testing.TB, b omniq.Backend, opts ...omniq.WorkerOption) (stop func()) {
	w := p.worker(t, b, opts...)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			cancel()
			assert.NoError(t, <-done)
		}
	}
	t.Cleanup(stop)
	return stop
}

func newMemory(t testing.TB) *memory.Backend {
	b := memory.New()
	t.Cleanup(func() { assert.NoError(t, b.Close()) })
	return b
}

// span returns the one that ended of a name.
func (p process) span(t testing.TB, name string) sdktrace.ReadOnlySpan {
	t.Helper()
	var found []sdktrace.ReadOnlySpan
	var names []string
	for _, s := range p.spans.Ended() {
		names = append(names, s.Name())
		if s.Name() == name {
			found = append(found, s)
		}
	}
	require.Len(t, found, 1, "spans named %q among %q", name, names)
	return found[0]
}

// attributesOf returns them as texts.
func attributesOf(list []attribute.KeyValue) map[string]string {
	all := make(map[string]string, len(list))
	for _, a := range list {
		all[string(a.Key)] = a.Value.String()
	}
	return all
}

// point is a point of a metric: its number, or how many it has.
type point struct {
	attributes string // as key=value, separated by blanks
	value      float64
}

// collect returns the points of all metrics that have some.
func collect(t testing.TB, reader sdkmetric.Reader) map[string][]point {
	t.Helper()
	var data metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(context.Background(), &data))
	all := make(map[string][]point)
	for _, scope := range data.ScopeMetrics {
		assert.Equal(t, omniqotel.ScopeName, scope.Scope.Name)
		for _, m := range scope.Metrics {
			all[m.Name] = points(t, m.Data)
		}
	}
	return all
}

func points(t testing.TB, data metricdata.Aggregation) (list []point) {
	t.Helper()
	add := func(set attribute.Set, value float64) {
		var texts []string
		for _, a := range set.ToSlice() {
			texts = append(texts, string(a.Key)+"="+a.Value.String())
		}
		list = append(list, point{strings.Join(texts, " "), value})
	}
	switch d := data.(type) {
	case metricdata.Sum[int64]:
		for _, p := range d.DataPoints {
			add(p.Attributes, float64(p.Value))
		}
	case metricdata.Gauge[int64]:
		for _, p := range d.DataPoints {
			add(p.Attributes, float64(p.Value))
		}
	case metricdata.Gauge[float64]:
		for _, p := range d.DataPoints {
			add(p.Attributes, p.Value)
		}
	case metricdata.Histogram[float64]:
		for _, p := range d.DataPoints {
			add(p.Attributes, float64(p.Count))
		}
	default:
		require.Fail(t, "an aggregation that nobody expects", "%T", data)
	}
	slices.SortFunc(list, func(a, b point) int { return strings.Compare(a.attributes, b.attributes) })
	return list
}

// sets returns the attributes of all points, by the names of their metrics.
func sets(all map[string][]point) map[string][]string {
	names := make(map[string][]string)
	for name, list := range all {
		for _, p := range list {
			names[name] = append(names[name], p.attributes)
		}
	}
	return names
}

func namesOf[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
