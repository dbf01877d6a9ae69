package omniqotel_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
	"github.com/omniq-go/omniq/internal/bubble"
	omniqotel "github.com/omniq-go/omniq/otel"
)

// everything does what there is a metric for, and returns these.
func everything(t *testing.T) (all map[string][]point) {
	exercised(t, func(t *testing.T, p process) { all = collect(t, p.reader) })
	return all
}

// exercised does what there is a metric for, and calls look then.
func exercised(t *testing.T, look func(*testing.T, process)) {
	bubble.Test(t, func(t *testing.T) {
		p := newProcess(t)
		b := newMemory(t)
		client := p.client(t, b)
		d := omniq.DefineArgs("mail", func(ctx context.Context, args omniq.Args1[string]) (omniq.Void, error) {
			time.Sleep(time.Second)
			switch info, _ := omniq.InfoFrom(ctx); {
			case args.V1 == "again" && info.Attempt == 1:
				return omniq.Void{}, errOops
			case args.V1 == "fail":
				return omniq.Void{}, omniq.Permanent(errOops)
			case args.V1 == "long":
				time.Sleep(time.Hour)
			}
			return omniq.Void{}, nil
		})
		w := p.worker(t, b, omniq.Handlers(d), omniq.Queues("mail"), omniq.Concurrency(1), omniq.ShutdownTimeout(2*time.Hour))
		stop, err := p.Observe(client)
		require.NoError(t, err)
		stopWorkers, err := p.ObserveWorkers(w)
		require.NoError(t, err)
		id := uuid.New()
		for i, what := range []string{"well", "again", "fail"} {
			_, err := d.Enqueue(t.Context(), client, omniq.MakeArgs1(what), omniq.Queue("mail"), omniq.ID(uuid.UUID{15: byte(i + 1)}))
			require.NoError(t, err)
		}
		for i := range 2 {
			_, err := d.Enqueue(t.Context(), client, omniq.MakeArgs1("later"), omniq.Queue("mail"), omniq.ID(id), omniq.Delay(24*time.Hour))
			assert.Equal(t, i == 1, errors.Is(err, omniq.ErrDuplicate))
		}
		time.Sleep(time.Minute)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- w.Run(ctx) }()
		time.Sleep(time.Minute)
		_, err = d.Enqueue(t.Context(), client, omniq.MakeArgs1("long"), omniq.Queue("mail"))
		require.NoError(t, err)
		synctest.Wait()
		require.NoError(t, client.Pause(t.Context(), "paused"))
		look(t, p)
		require.NoError(t, stop())
		require.NoError(t, stopWorkers())
		after := collect(t, p.reader)
		assert.NotContains(t, after, "omniq.up")
		assert.NotContains(t, after, "omniq.worker.healthy")
		cancel()
		require.NoError(t, <-done)
	})
}

// Each metric has its attributes, and counts what it says.
func TestMetrics(t *testing.T) {
	const (
		queue = "messaging.destination.name=mail"
		task  = queue + " omniq.task.name=mail"
		send  = queue + " messaging.operation.name=send messaging.operation.type=send messaging.system=omniq"
		run   = queue + " messaging.operation.name=process messaging.operation.type=process messaging.system=omniq omniq.task.name=mail"
	)
	state := func(queue, state string, n float64) point {
		return point{"messaging.destination.name=" + queue + " omniq.task.state=" + state, n}
	}
	assert.Equal(t, map[string][]point{
		"messaging.client.sent.messages": {
			{"error.type=omniq.Duplicate " + send + " omniq.task.name=mail", 1}, {send + " omniq.task.name=mail", 5},
		},
		"messaging.client.operation.duration": {{send, 6}},
		"messaging.client.consumed.messages":  {{run, 5}},
		"messaging.process.duration":          {{"error.type=error " + run, 2}, {run, 2}},
		"omniq.task.wait":                     {{task, 5}},
		"omniq.task.age":                      {{"messaging.destination.name=mail omniq.outcome=failure omniq.task.name=mail", 1}, {"messaging.destination.name=mail omniq.outcome=success omniq.task.name=mail", 2}},
		"omniq.task.attempts": {
			{"messaging.destination.name=mail omniq.outcome=failure omniq.task.name=mail", 1},
			{"messaging.destination.name=mail omniq.outcome=retry omniq.task.name=mail", 1},
			{"messaging.destination.name=mail omniq.outcome=success omniq.task.name=mail", 2},
		},
		"omniq.task.running":       {{task, 1}},
		"omniq.worker.running":     {{"", 1}},
		"omniq.worker.concurrency": {{"", 1}},
		"omniq.worker.healthy":     {{"", 1}},
		"omniq.up":                 {{"", 1}},
		"omniq.queue.latency":      {{queue, 0}, {"messaging.destination.name=paused", 0}},
		"omniq.queue.paused":       {{queue, 0}, {"messaging.destination.name=paused", 1}},
		"omniq.queue.tasks": slices.Concat([]point{
			state("mail", "cancelled", 0), state("mail", "expired", 0), state("mail", "failed", 1), state("mail", "ready", 0),
			state("mail", "running", 1), state("mail", "scheduled", 1), state("mail", "succeeded", 2), state("mail", "waiting", 0),
		}, []point{
			state("paused", "cancelled", 0), state("paused", "expired", 0), state("paused", "failed", 0), state("paused", "ready", 0),
			state("paused", "running", 0), state("paused", "scheduled", 0), state("paused", "succeeded", 0), state("paused", "waiting", 0),
		}),
	}, everything(t))
}

// Whatever tasks come, by themselves, in flows and batches, or by the clock, a metric is told apart by no more than queues, names,
// outcomes and types of errors.
func TestAttributesStayTheSame(t *testing.T) {
	const many = 100_000
	bubble.Test(t, func(t *testing.T) {
		p := newProcess(t, omniqotel.TracerProvider(noop.NewTracerProvider()))
		b := newMemory(t)
		client := p.client(t, b)
		stopObserving, err := p.Observe(client)
		require.NoError(t, err)
		defer func() { assert.NoError(t, stopObserving()) }()
		fails := func(task, attempt int) error {
			if task%100 == 0 && attempt == 1 {
				return omniq.RetryAfter(0, fmt.Errorf("task %d: %w", task, errOops))
			}
			return nil
		}
		d := omniq.DefineArgs("any", func(ctx context.Context, args omniq.Args1[int]) (int, error) {
			info, _ := omniq.InfoFrom(ctx)
			return args.V1, fails(args.V1, info.Attempt)
		})
		sum := omniq.DefineArgs("sum", func(ctx context.Context, numbers []int) (int, error) {
			if _, err := omniq.Enqueue(ctx, d.With(omniq.MakeArgs1(len(numbers)))); err != nil {
				return 0, err
			}
			return omniq.Become(ctx, d.With(omniq.MakeArgs1(numbers[0])))
		})
		batch := omniq.DefineBatch("batch", func(context.Context, []*omniq.Item[omniq.Args1[int], omniq.Void]) error { return nil }, omniq.UpTo(10, time.Second))
		tick := omniq.DefineNoArgsVoid("tick", nothing)
		_, err = omniq.Schedule(t.Context(), client, "each.minute", omniq.Every(time.Minute), tick.With())
		require.NoError(t, err)
		p.run(t, b, omniq.Handlers(d, sum, batch, tick))
		work := func(from, until int) {
			for i := from; i < until; i++ {
				args, tenant := omniq.MakeArgs1(i), strconv.Itoa(i)
				_, err := d.Enqueue(t.Context(), client, args, omniq.Metadata("tenant", tenant), omniq.Lane(tenant))
				require.NoError(t, err)
				_, err = batch.Enqueue(t.Context(), client, args, omniq.Priority(i%10))
				require.NoError(t, err)
				if i%10 == 0 {
					h, err := sum.On(omniq.All(d.With(args, omniq.Lane(tenant)), d.With(args))).Enqueue(t.Context(), client)
					require.NoError(t, err)
					_, err = h.Wait(t.Context())
					require.NoError(t, err)
				}
			}
			time.Sleep(10 * time.Minute) // ticks, and all has ended
			synctest.Wait()
		}
		work(0, 200)
		before := collect(t, p.reader)
		work(200, 1000)

		// The rest goes through what the worker and the client call, without these.
		enqueue := p.Enqueue(func(context.Context, []*omniq.RawTask) error { return nil })
		for i := 1000; i < many; i++ {
			task := &omniq.RawTask{ID: uuid.New(), FuncName: "any", Metadata: map[string]string{"tenant": strconv.Itoa(i)}, Lane: strconv.Itoa(i)}
			require.NoError(t, enqueue(t.Context(), []*omniq.RawTask{task}))
			for attempt := 1; ; attempt++ {
				info := omniq.Info{ID: task.ID, FuncName: "any", Queue: "default", Attempt: attempt, Lane: task.Lane, Metadata: task.Metadata, CreatedAt: time.Now()}
				err := fails(i, attempt)
				_, _ = p.Handle(func(context.Context, *omniq.RawTask) (omniq.RawResult, error) { return omniq.RawResult{}, err })(
					omniq.ContextWithInfo(t.Context(), info), task)
				if err == nil {
					p.Settled(omniq.SettledAttempt{Info: info, Outcome: omniq.OutcomeSuccess})
					break
				}
				p.Settled(omniq.SettledAttempt{Info: info, Outcome: omniq.OutcomeRetry})
			}
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		after := collect(t, p.reader)
		assert.Equal(t, sets(before), sets(after))
		assert.Len(t, after["omniq.task.attempts"], 6, "any: success and retry, sum: waiting and success, batch and tick: success")
		assert.Len(t, after["messaging.process.duration"], 5, "any: with an error and without, and the others")
		total := 0.0
		for _, s := range after["messaging.client.sent.messages"] {
			total += s.value
		}
		assert.EqualValues(t, many+1000+100*5, total, "by themselves, in batches, and five of each flow")
	})
}

// Waits, run times and ages are what they say, in seconds.
func TestSeconds(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		p := newProcess(t)
		b := newMemory(t)
		d := omniq.DefineNoArgsVoid("any", func(ctx context.Context) error {
			time.Sleep(3 * time.Second)
			if info, _ := omniq.InfoFrom(ctx); info.Attempt == 1 {
				return omniq.RetryAfter(100*time.Second, errOops)
			}
			return nil
		})
		_, err := d.Enqueue(t.Context(), p.client(t, b), omniq.Delay(1000*time.Second))
		require.NoError(t, err)
		time.Sleep(1020 * time.Second)
		p.run(t, b, omniq.Handlers(d))
		time.Sleep(200 * time.Second)
		synctest.Wait()
		var data metricdata.ResourceMetrics
		require.NoError(t, p.reader.Collect(t.Context(), &data))
		sums := make(map[string]float64)
		for _, m := range data.ScopeMetrics[0].Metrics {
			if h, ok := m.Data.(metricdata.Histogram[float64]); ok {
				for _, point := range h.DataPoints {
					sums[m.Name] += point.Sum
				}
			}
		}
		assert.Equal(t, map[string]float64{
			"omniq.task.wait": 20, "messaging.process.duration": 6, "omniq.task.age": 1020 + 3 + 100 + 3,
			"messaging.client.operation.duration": 0,
		}, sums)
	})
}

// Names that nobody has bounded count together beyond a number.
func TestAttributesAreBounded(t *testing.T) {
	reader := metric.NewManualReader()
	p := newProcess(t, omniqotel.TracerProvider(noop.NewTracerProvider()), omniqotel.MeterProvider(metric.NewMeterProvider(metric.WithReader(reader), metric.WithCardinalityLimit(-1))))
	handle := p.Handle(func(context.Context, *omniq.RawTask) (omniq.RawResult, error) { return omniq.RawResult{}, nil })
	enqueue := p.Enqueue(func(context.Context, []*omniq.RawTask) error { return nil })
	const names = 3 * omniqotel.MaxSeries
	for i := range names {
		task := &omniq.RawTask{ID: uuid.New(), FuncName: strconv.Itoa(i), Queue: "q"}
		require.NoError(t, enqueue(t.Context(), []*omniq.RawTask{task}))
		_, err := handle(t.Context(), task)
		require.NoError(t, err)
		p.Settled(omniq.SettledAttempt{Info: omniq.Info{FuncName: task.FuncName, Queue: "q"}, Outcome: omniq.OutcomeSuccess})
	}
	all := collect(t, reader)
	for _, name := range []string{"messaging.client.sent.messages", "messaging.client.consumed.messages", "messaging.process.duration", "omniq.task.running", "omniq.task.attempts"} {
		assert.LessOrEqual(t, len(all[name]), omniqotel.MaxSeries+1, name)
	}
	n := 0.0
	for _, p := range all["messaging.client.sent.messages"] {
		n += p.value
	}
	assert.EqualValues(t, names, n, "none is lost")
	for _, p := range all["omniq.task.running"] {
		assert.Zero(t, p.value, p.attributes)
	}
}

// statsBackend counts how often it is looked at, and may fail.
type statsBackend struct {
	*memory.Backend
	looks atomic.Int32
	err   error
}

func (b *statsBackend) Stats(ctx context.Context) ([]omniq.QueueStats, error) {
	b.looks.Add(1)
	if b.err != nil {
		return nil, b.err
	}
	return b.Backend.Stats(ctx)
}

// However many collect, the engine is looked at once in five seconds.
func TestOneLookForAll(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b := &statsBackend{Backend: newMemory(t)}
		other := metric.NewManualReader()
		reader := metric.NewManualReader()
		telemetry, err := omniqotel.New(omniqotel.MeterProvider(metric.NewMeterProvider(metric.WithReader(reader), metric.WithReader(other))))
		require.NoError(t, err)
		client, err := omniq.NewClient(b)
		require.NoError(t, err)
		_, err = telemetry.Observe(client)
		require.NoError(t, err)
		for range 5 {
			collect(t, reader)
			collect(t, other)
			time.Sleep(time.Second)
		}
		assert.EqualValues(t, 1, b.looks.Load())
		collect(t, reader)
		collect(t, other)
		assert.EqualValues(t, 2, b.looks.Load())
	})
}

// A backend that does not answer is seen, and what was told of it before is not told again.
func TestBackendDown(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		p := newProcess(t)
		b := &statsBackend{Backend: newMemory(t)}
		client := p.client(t, b)
		_, err := p.Observe(client)
		require.NoError(t, err)
		require.NoError(t, client.Pause(t.Context(), "q"))
		assert.Equal(t, []string{"omniq.queue.latency", "omniq.queue.paused", "omniq.queue.tasks", "omniq.up"}, namesOf(collect(t, p.reader)))
		b.err = errOops
		time.Sleep(5 * time.Second)
		assert.Equal(t, map[string][]point{"omniq.up": {{"", 0}}}, collect(t, p.reader))
		b.err = nil
		time.Sleep(5 * time.Second)
		assert.Equal(t, []point{{"", 1}}, collect(t, p.reader)["omniq.up"])
	})
}

// A worker that gets no tasks is seen.
func TestWorkerUnhealthy(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		p := newProcess(t)
		b := newMemory(t)
		handlers := omniq.Handlers(omniq.DefineNoArgsVoid("any", nothing))
		runs, rests := p.worker(t, b, handlers, omniq.Concurrency(3)), p.worker(t, b, handlers, omniq.Concurrency(4))
		_, err := p.ObserveWorkers(runs, rests)
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- runs.Run(ctx) }()
		synctest.Wait()
		assert.Equal(t, map[string][]point{
			"omniq.worker.concurrency": {{"", 7}}, "omniq.worker.running": {{"", 0}}, "omniq.worker.healthy": {{"", 0}},
		}, collect(t, p.reader))
		cancel()
		require.NoError(t, <-done)
	})
}

// idle are what there is to do without a provider.
func idle(t testing.TB) map[string]func() {
	telemetry, err := omniqotel.New()
	require.NoError(t, err)
	require.Contains(t, fmt.Sprintf("%T", otel.GetTracerProvider()), "global.", "a test has set the global provider")
	explicit, err := omniqotel.New(omniqotel.TracerProvider(noop.NewTracerProvider()))
	require.NoError(t, err)
	task := &omniq.RawTask{ID: uuid.New(), FuncName: "any", Metadata: map[string]string{"tenant": "seven"}}
	tasks := []*omniq.RawTask{task}
	ctx := omniq.ContextWithInfo(context.Background(), omniq.Info{ID: task.ID, FuncName: "any", Queue: "default", Attempt: 1})
	settled := omniq.SettledAttempt{Info: omniq.Info{FuncName: "any", Queue: "default"}, Outcome: omniq.OutcomeSuccess}
	all := make(map[string]func())
	for name, telemetry := range map[string]*omniqotel.Telemetry{"": telemetry, " of noop": explicit} {
		enqueue := telemetry.Enqueue(func(context.Context, []*omniq.RawTask) error { return nil })
		handle := telemetry.Handle(func(context.Context, *omniq.RawTask) (omniq.RawResult, error) { return omniq.RawResult{}, nil })
		all["Enqueue"+name] = func() { _ = enqueue(ctx, tasks) }
		all["Handle"+name] = func() { _, _ = handle(ctx, task) }
		all["Settled"+name] = func() { telemetry.Settled(settled) }
	}
	return all
}

func TestWithoutAProviderNothingIsAllocated(t *testing.T) {
	for name, f := range idle(t) {
		assert.Zero(t, testing.AllocsPerRun(1000, f), name)
	}
}

func BenchmarkWithoutAProvider(b *testing.B) {
	all := idle(b)
	for _, name := range namesOf(all) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				all[name]()
			}
		})
	}
}

// What an attempt costs with the SDK: metrics alone, and metrics and spans that nobody exports.
func BenchmarkWithAProvider(b *testing.B) {
	for name, opts := range map[string][]omniqotel.Option{
		"metrics":           {omniqotel.TracerProvider(noop.NewTracerProvider())},
		"metrics and spans": nil,
	} {
		b.Run(name, func(b *testing.B) {
			p := newProcess(b, opts...)
			task := &omniq.RawTask{ID: uuid.New(), FuncName: "any"}
			ctx := omniq.ContextWithInfo(context.Background(), omniq.Info{ID: task.ID, FuncName: "any", Queue: "default", Attempt: 1})
			handle := p.Handle(func(context.Context, *omniq.RawTask) (omniq.RawResult, error) { return omniq.RawResult{}, nil })
			b.ReportAllocs()
			for b.Loop() {
				_, _ = handle(ctx, task)
				if p.spans != nil && len(p.spans.Ended()) > 1000 {
					p.spans.Reset()
				}
			}
		})
	}
}

// An enqueue that its caller has cancelled is told from one that fails, however the engine says it, and is no alert.
func TestEnqueueErrors(t *testing.T) {
	rules, err := os.ReadFile("alerts.yaml")
	require.NoError(t, err)
	_, rule, ok := strings.Cut(string(rules), "alert: OmniQEnqueueFails\n")
	require.True(t, ok)
	for name, c := range map[string]struct {
		err     error
		gone    bool // the caller has given up
		want    string
		noAlert bool
	}{
		"cancelled":                   {context.Canceled, true, "context.Canceled", true},
		"cancelled meanwhile":         {fmt.Errorf("%w: %w", omniq.ErrUncertain, context.Canceled), true, "context.Canceled", true},
		"cancelled by somebody else":  {fmt.Errorf("the engine: %w", context.Canceled), false, "error", false},
		"an answer that was lost":     {omniq.ErrUncertain, false, "omniq.Uncertain", false},
		"lost while the caller left":  {omniq.ErrUncertain, true, "omniq.Uncertain", false},
		"a caller whose time is over": {context.DeadlineExceeded, false, "context.DeadlineExceeded", false},
		"the engine":                  {errOops, false, "error", false},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProcess(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			task, err := omniq.NewTask("f", omniq.Raw("[]"), omniq.Raw("{}"))
			require.NoError(t, err)
			err = p.Enqueue(func(context.Context, []*omniq.RawTask) error {
				if c.gone {
					cancel()
				}
				return c.err
			})(ctx, []*omniq.RawTask{&task})
			require.ErrorIs(t, err, c.err)
			sent := collect(t, p.reader)["messaging.client.sent.messages"]
			require.Len(t, sent, 1)
			assert.Contains(t, strings.Fields(sent[0].attributes), "error.type="+c.want)
			assert.Equal(t, c.noAlert, strings.Contains(rule, `error_type!="`+c.want+`"`))
		})
	}
}
