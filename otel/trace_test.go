package omniqotel_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
	"github.com/omniq-go/omniq/codec"
	"github.com/omniq-go/omniq/internal/bubble"
	omniqotel "github.com/omniq-go/omniq/otel"
)

// produced is what a producer tells of a task: its JSON as it is stored, and the span in which it was enqueued.
type produced struct {
	Task        json.RawMessage
	Trace, Span string
}

// producer enqueues a task in a process of its own.
func producer(out io.Writer) error {
	spans := tracetest.NewSpanRecorder()
	telemetry, err := omniqotel.New(omniqotel.TracerProvider(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))))
	if err != nil {
		return err
	}
	b := memory.New()
	client, err := omniq.NewClient(b, omniq.UseEnqueue(telemetry.Enqueue))
	if err != nil {
		return err
	}
	member, err := baggage.NewMember("tenant", "seven")
	if err != nil {
		return err
	}
	bag, err := baggage.New(member)
	if err != nil {
		return err
	}
	ctx := baggage.ContextWithBaggage(context.Background(), bag)
	h, err := omniq.ReferNoArgs[omniq.Void]("resize").Enqueue(ctx, client, omniq.Queue("images"))
	if err != nil {
		return err
	}
	info, err := b.Inspect(ctx, h.ID())
	if err != nil {
		return err
	}
	text, err := info.Task.AppendJSON(nil)
	if err != nil {
		return err
	}
	sent := spans.Ended()[0].SpanContext()
	return json.NewEncoder(out).Encode(produced{text, sent.TraceID().String(), sent.SpanID().String()})
}

func runProcess(t testing.TB, as string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "OMNIQ_TEST_AS="+as)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "%s", stderr.String())
	return out
}

// A handler knows in which span of which other process its task was enqueued: by a link or, if that is asked for, as its parent.
func TestTraceFromOneProcessToAnother(t *testing.T) {
	var sent produced
	require.NoError(t, json.Unmarshal(runProcess(t, "producer"), &sent))
	for name, parent := range map[string]bool{"link": false, "parent": true} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				var opts []omniqotel.Option
				if parent {
					opts = append(opts, omniqotel.AsParent())
				}
				p := newProcess(t, opts...)
				var task omniq.RawTask
				require.NoError(t, task.UnmarshalJSON(sent.Task))
				b := newMemory(t)
				client, err := omniq.NewClient(b)
				require.NoError(t, err)
				require.NoError(t, client.Enqueue(t.Context(), task))
				var tenant string
				var inside trace.SpanContext
				stop := p.run(t, b, omniq.Queues("images"), omniq.Handlers(omniq.DefineNoArgsVoid("resize", func(ctx context.Context) error {
					tenant = baggage.FromContext(ctx).Member("tenant").Value()
					inside = trace.SpanContextFromContext(ctx)
					return nil
				})))
				_, err = client.Wait(t.Context(), task.ID)
				require.NoError(t, err)
				stop()

				s := p.span(t, "process images")
				assert.Equal(t, "seven", tenant, "the baggage has travelled")
				assert.Equal(t, s.SpanContext(), inside)
				assert.Equal(t, trace.SpanKindConsumer, s.SpanKind())
				assert.Equal(t, omniqotel.ScopeName, s.InstrumentationScope().Name)
				if parent {
					assert.Equal(t, sent.Trace, s.SpanContext().TraceID().String())
					assert.Equal(t, sent.Span, s.Parent().SpanID().String())
				} else {
					assert.NotEqual(t, sent.Trace, s.SpanContext().TraceID().String())
					assert.False(t, s.Parent().IsValid())
				}
				require.Len(t, s.Links(), 1)
				assert.Equal(t, sent.Trace, s.Links()[0].SpanContext.TraceID().String())
				assert.Equal(t, sent.Span, s.Links()[0].SpanContext.SpanID().String())
			})
		})
	}
}

// lateProvider sets the global providers after the telemetry was made and used, in a process of its own.
func lateProvider(out io.Writer) error {
	telemetry, err := omniqotel.New(omniqotel.TracerProvider(otel.GetTracerProvider()))
	if err != nil {
		return err
	}
	client, err := omniq.NewClient(memory.New(), omniq.UseEnqueue(telemetry.Enqueue))
	if err != nil {
		return err
	}
	ref := omniq.ReferNoArgs[omniq.Void]("any")
	if _, err := telemetry.Observe(client); err != nil {
		return err
	}
	spans, reader := tracetest.NewSpanRecorder(), sdkmetric.NewManualReader()
	for range 3 {
		if _, err := ref.Enqueue(context.Background(), client); err != nil {
			return err
		}
		if len(spans.Ended()) == 0 {
			otel.SetTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)))
			otel.SetMeterProvider(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)))
		}
	}
	var data metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &data); err != nil {
		return err
	}
	counts := map[string]int64{"spans": int64(len(spans.Ended()))}
	for _, m := range data.ScopeMetrics[0].Metrics {
		switch d := m.Data.(type) {
		case metricdata.Sum[int64]:
			counts[m.Name] = d.DataPoints[0].Value
		case metricdata.Gauge[int64]:
			counts[m.Name] = d.DataPoints[0].Value
		}
	}
	return json.NewEncoder(out).Encode(counts)
}

func TestGlobalProviderThatIsSetLater(t *testing.T) {
	var counts map[string]int
	require.NoError(t, json.Unmarshal(runProcess(t, "late"), &counts))
	assert.Equal(t, []int{2, 2, 1}, []int{counts["spans"], counts["messaging.client.sent.messages"], counts["omniq.up"]},
		"the first was enqueued before they were set")
}

// What a task has already stays, whoever has written it.
func TestWhatIsThereStays(t *testing.T) {
	const theirs = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	p := newProcess(t)
	b := newMemory(t)
	client := p.client(t, b)
	member, err := baggage.NewMember("tenant", "seven")
	require.NoError(t, err)
	bag, err := baggage.New(member)
	require.NoError(t, err)
	state, err := trace.ParseTraceState("vendor=ours")
	require.NoError(t, err)
	ctx := trace.ContextWithSpanContext(baggage.ContextWithBaggage(t.Context(), bag), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled, TraceState: state,
	}))
	for name, c := range map[string]struct {
		has, want map[string]string
		links     []string // of the span
	}{
		"nothing": {nil, map[string]string{"traceparent": "ours", "tracestate": "vendor=ours", "baggage": "tenant=seven"}, nil},
		"something": {
			map[string]string{"a": "b"},
			map[string]string{"a": "b", "traceparent": "ours", "tracestate": "vendor=ours", "baggage": "tenant=seven"}, nil,
		},
		"a traceparent": {
			map[string]string{"traceparent": theirs}, map[string]string{"traceparent": theirs, "baggage": "tenant=seven"}, []string{theirs},
		},
		"a baggage": {
			map[string]string{"baggage": "x=y"},
			map[string]string{"traceparent": "ours", "tracestate": "vendor=ours", "baggage": "x=y"}, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			task := omniq.RawTask{
				ID: uuid.New(), FuncName: "any", CreatedAt: time.Now(), Metadata: c.has, Args: omniq.Raw("[]"), Kwargs: omniq.Raw("{}"),
			}
			had := len(c.has)
			require.NoError(t, client.Enqueue(ctx, task))
			assert.Len(t, c.has, had, "the caller's map is the caller's")
			info, err := b.Inspect(t.Context(), task.ID)
			require.NoError(t, err)
			got := info.Task.Metadata
			spans := p.spans.Ended()
			var links []string
			for _, l := range spans[len(spans)-1].Links() {
				links = append(links, fmt.Sprintf("00-%v-%v-01", l.SpanContext.TraceID(), l.SpanContext.SpanID()))
			}
			assert.Equal(t, c.links, links)
			if last := spans[len(spans)-1].SpanContext(); strings.Contains(got["traceparent"], last.TraceID().String()+"-"+last.SpanID().String()) {
				got["traceparent"] = "ours"
			}
			assert.Equal(t, c.want, got)
		})
	}
}

// A context that is too large is dropped, the task is not.
func TestContextThatIsTooLarge(t *testing.T) {
	p := newProcess(t, omniqotel.Propagator(large{}))
	b := newMemory(t)
	client := p.client(t, b)
	size := func(n int) omniq.Raw { return omniq.Raw(`["` + strings.Repeat("x", n) + `"]`) }
	for name, c := range map[string]struct {
		args omniq.Raw
		want []string
	}{
		"the value":          {size(1), []string{"small"}},
		"beside the payload": {size(codec.MaxSize - 4000), nil},
		"not yet":            {size(codec.MaxSize - 10_000), []string{"small"}},
	} {
		t.Run(name, func(t *testing.T) {
			task := omniq.RawTask{ID: uuid.New(), FuncName: "any", CreatedAt: time.Now(), Args: c.args, Kwargs: omniq.Raw("{}")}
			require.NoError(t, client.Enqueue(t.Context(), task))
			info, err := b.Inspect(t.Context(), task.ID)
			require.NoError(t, err)
			assert.ElementsMatch(t, c.want, namesOf(info.Task.Metadata))
		})
	}
}

// large is a propagator of a value of 8 KiB and of a larger one.
type large struct{ propagation.TraceContext }

func (large) Inject(_ context.Context, c propagation.TextMapCarrier) {
	c.Set("small", strings.Repeat("x", 8192))
	c.Set("large", strings.Repeat("x", 8193))
}

// An enqueue is one span, whatever it enqueues.
func TestSendSpans(t *testing.T) {
	b := newMemory(t)
	one := omniq.ReferArgs[omniq.Args1[int], omniq.Void]("one")
	silent, err := omniq.NewClient(b)
	require.NoError(t, err)
	two := func(ctx context.Context, client *omniq.Client, queues ...string) error {
		var tasks []omniq.Task[omniq.Args1[int], omniq.NoKwargs]
		for i, queue := range queues {
			task, err := one.Task(omniq.MakeArgs1(i))
			if err != nil {
				return err
			}
			task.Queue = queue
			tasks = append(tasks, task)
		}
		_, err := one.EnqueueMany(ctx, client, tasks)
		return err
	}
	for name, c := range map[string]struct {
		enqueue func(context.Context, *omniq.Client) error
		span    string
		want    map[string]string
		err     string // the status
	}{
		"a task": {
			func(ctx context.Context, client *omniq.Client) error {
				_, err := one.Enqueue(ctx, client, omniq.MakeArgs1(1), omniq.ID(uuid.UUID{15: 1}), omniq.Queue("q"))
				return err
			}, "send q", map[string]string{
				"messaging.destination.name": "q", "messaging.message.id": "00000000-0000-0000-0000-000000000001", "omniq.task.name": "one",
			}, "",
		},
		"a duplicate": {
			func(ctx context.Context, client *omniq.Client) error {
				for range 2 {
					_, err := one.Enqueue(ctx, client, omniq.MakeArgs1(1), omniq.ID(uuid.UUID{15: 2}))
					if errors.Is(err, omniq.ErrDuplicate) {
						return nil
					}
					ctx = context.Background()
				}
				return errOops
			}, "send default", map[string]string{
				"messaging.destination.name": "default", "messaging.message.id": "00000000-0000-0000-0000-000000000002", "omniq.task.name": "one",
			}, "",
		},
		"a task in the place of another": {
			func(_ context.Context, client *omniq.Client) error {
				_, err := one.Enqueue(t.Context(), silent, omniq.MakeArgs1(1), omniq.ID(uuid.UUID{15: 4}), omniq.Replace("k"))
				require.NoError(t, err)
				_, err = one.Enqueue(t.Context(), client, omniq.MakeArgs1(2), omniq.ID(uuid.UUID{15: 5}), omniq.Replace("k"))
				return err
			}, "send default", map[string]string{
				"messaging.destination.name": "default", "messaging.message.id": "00000000-0000-0000-0000-000000000004", "omniq.task.name": "one",
			}, "",
		},
		"many": {
			func(ctx context.Context, client *omniq.Client) error { return two(ctx, client, "default", "") },
			"send default", map[string]string{"messaging.destination.name": "default", "messaging.batch.message_count": "2"}, "",
		},
		"several queues": {
			func(ctx context.Context, client *omniq.Client) error { return two(ctx, client, "a", "b") },
			"send", map[string]string{"messaging.batch.message_count": "2"}, "",
		},
		"a call that fails": {
			func(_ context.Context, client *omniq.Client) error {
				ctx, cancel := context.WithCancel(context.Background())
				cancel()
				_, err := one.Enqueue(ctx, client, omniq.MakeArgs1(1), omniq.ID(uuid.UUID{15: 3}))
				if !errors.Is(err, context.Canceled) {
					return errOops
				}
				return nil
			}, "send default", map[string]string{
				"messaging.destination.name": "default", "messaging.message.id": "00000000-0000-0000-0000-000000000003", "omniq.task.name": "one",
				"error.type": "context.Canceled",
			}, "context canceled",
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProcess(t)
			require.NoError(t, c.enqueue(t.Context(), p.client(t, b)))
			ended := p.spans.Ended()
			s := ended[0]
			assert.Equal(t, c.span, s.Name())
			assert.Equal(t, trace.SpanKindProducer, s.SpanKind())
			c.want["messaging.system"], c.want["messaging.operation.name"], c.want["messaging.operation.type"] = "omniq", "send", "send"
			assert.Equal(t, c.want, attributesOf(s.Attributes()))
			for _, s := range ended {
				if c.err == "" {
					assert.Equal(t, codes.Unset, s.Status().Code)
				} else {
					assert.Equal(t, codes.Error, s.Status().Code)
					assert.Contains(t, s.Status().Description, c.err)
				}
			}
		})
	}
}

// The span of an attempt says how the handler ended. What is no failure has no status.
func TestProcessSpans(t *testing.T) {
	waits := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	for name, c := range map[string]struct {
		handler func(context.Context) error
		task    []omniq.TaskOption
		with    func(h *omniq.Handle[omniq.Void], stop func()) // while the handler runs
		outcome string
		failed  string // the error.type
		status  string // of the error
	}{
		"success": {handler: nothing, outcome: "success"},
		"failure": {handler: func(context.Context) error { return omniq.Permanent(errOops) }, failed: "error", status: "oops"},
		"an error of a type": {
			handler: func(context.Context) error { return omniq.Permanent(fmt.Errorf("x: %w", os.ErrNotExist)) },
			failed:  "error", status: "x: file does not exist",
		},
		"an error that is no text": {
			handler: func(context.Context) error { return omniq.Permanent(errors.New("a\xffb")) }, failed: "error", status: "a\uFFFDb",
		},
		"panic":              {handler: func(context.Context) error { panic("help") }, failed: "omniq.Panic", status: "panicked"},
		"the goroutine ends": {handler: func(context.Context) error { runtime.Goexit(); return nil }, failed: "omniq.Panic", status: "ended its goroutine"},
		"timeout": {
			handler: waits, task: []omniq.TaskOption{omniq.Timeout(time.Second)}, failed: "omniq.Timeout", status: "context deadline exceeded",
		},
		"snooze": {handler: func(context.Context) error { return omniq.Snooze(time.Hour) }, outcome: "snooze"},
		"cancelled": {
			handler: waits, with: func(h *omniq.Handle[omniq.Void], _ func()) { _ = h.Cancel(context.Background()) }, outcome: "cancelled",
		},
		"given back": {handler: waits, with: func(_ *omniq.Handle[omniq.Void], stop func()) { stop() }, outcome: "returned"},
		"become": {
			handler: func(ctx context.Context) error {
				_, err := omniq.Become(ctx, omniq.DefineNoArgsVoid("next", nothing).With())
				return err
			},
			outcome: "waiting",
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				p := newProcess(t)
				b := newMemory(t)
				client := p.client(t, b)
				d := omniq.DefineNoArgsVoid("any", c.handler)
				stop := p.run(t, b, omniq.Handlers(d), omniq.Retries(0), omniq.WorkerID("w"), omniq.ShutdownTimeout(time.Second))
				h, err := d.Enqueue(t.Context(), client, c.task...)
				require.NoError(t, err)
				synctest.Wait()
				if c.with != nil {
					c.with(h, stop)
				}
				time.Sleep(2 * time.Second)
				synctest.Wait()
				s := p.span(t, "process default")
				want := map[string]string{
					"messaging.system": "omniq", "messaging.operation.name": "process", "messaging.operation.type": "process",
					"messaging.destination.name": "default", "messaging.message.id": h.ID().String(), "messaging.client.id": "w",
					"omniq.task.name": "any", "omniq.task.attempt": "1",
				}
				if c.outcome != "" {
					want["omniq.outcome"] = c.outcome
				}
				if c.failed != "" {
					want["error.type"] = c.failed
					assert.Equal(t, codes.Error, s.Status().Code)
					assert.Contains(t, s.Status().Description, c.status)
				} else {
					assert.Equal(t, codes.Unset, s.Status().Code)
				}
				assert.Equal(t, want, attributesOf(s.Attributes()))
			})
		})
	}
}

// Each attempt is a span of its own, linked with where the task was enqueued; and so are those of what a handler enqueues with its
// success, linked with the handler's.
func TestSpansOfAttemptsAndOfWhatHandlersEnqueue(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		p := newProcess(t)
		b := newMemory(t)
		client := p.client(t, b)
		child := omniq.DefineNoArgsVoid("child", nothing)
		parent := omniq.DefineNoArgsVoid("parent", func(ctx context.Context) error {
			if info, _ := omniq.InfoFrom(ctx); info.Attempt == 1 {
				return errOops
			}
			_, err := omniq.Enqueue(ctx, child.With(omniq.Queue("other")))
			return err
		})
		p.run(t, b, omniq.Handlers(parent, child), omniq.Queues("default", "other"))
		_, err := parent.Enqueue(t.Context(), client)
		require.NoError(t, err)
		time.Sleep(time.Minute)
		synctest.Wait()

		sent := p.span(t, "send default").SpanContext()
		var attempts []sdktrace.ReadOnlySpan
		for _, s := range p.spans.Ended() {
			if s.Name() == "process default" {
				attempts = append(attempts, s)
			}
		}
		require.Len(t, attempts, 2)
		assert.Equal(t, codes.Error, attempts[0].Status().Code)
		assert.Equal(t, codes.Unset, attempts[1].Status().Code)
		for i, s := range attempts {
			assert.Equal(t, strconv.Itoa(i+1), attributesOf(s.Attributes())["omniq.task.attempt"])
			require.Len(t, s.Links(), 1)
			assert.Equal(t, sent.SpanID(), s.Links()[0].SpanContext.SpanID())
		}
		assert.NotEqual(t, attempts[0].SpanContext().TraceID(), attempts[1].SpanContext().TraceID())
		inHandler := p.span(t, "send other")
		assert.Equal(t, attempts[1].SpanContext().SpanID(), inHandler.Parent().SpanID())
		last := p.span(t, "process other")
		require.Len(t, last.Links(), 1)
		assert.Equal(t, inHandler.SpanContext().SpanID(), last.Links()[0].SpanContext.SpanID())
	})
}

// named returns the spans that ended of a name, in that order.
func (p process) named(name string) (found []sdktrace.ReadOnlySpan) {
	for _, s := range p.spans.Ended() {
		if s.Name() == name {
			found = append(found, s)
		}
	}
	return found
}

// linked fails unless a span has one link, with the span.
func linked(t *testing.T, s sdktrace.ReadOnlySpan, with sdktrace.ReadOnlySpan) {
	t.Helper()
	require.Len(t, s.Links(), 1)
	assert.Equal(t, with.SpanContext().TraceID(), s.Links()[0].SpanContext.TraceID())
	assert.Equal(t, with.SpanContext().SpanID(), s.Links()[0].SpanContext.SpanID())
}

// A flow is one enqueue, and each of its calls is linked with that, also those that a task stands for. To wait for a result is no span.
func TestSpansOfAFlow(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		p := newProcess(t)
		b := newMemory(t)
		client := p.client(t, b)
		square := omniq.DefineArgs("square", func(_ context.Context, a omniq.Args1[int]) (int, error) { return a.V1 * a.V1, nil }, omniq.Queue("squares"))
		sum := omniq.DefineArgs("sum", func(_ context.Context, n []int) (int, error) { return len(n), nil }, omniq.Queue("sums"))
		numbers := omniq.DefineNoArgs("numbers", func(context.Context) ([]omniq.Args1[int], error) {
			return []omniq.Args1[int]{{V1: 1}, {V1: 2}, {V1: 3}}, nil
		})
		p.run(t, b, omniq.Handlers(square, sum, numbers), omniq.Queues("default", "squares", "sums"))
		ctx, outer := sdktrace.NewTracerProvider().Tracer("").Start(t.Context(), "outer")
		h, err := sum.On(square.Each(numbers.With())).Enqueue(ctx, client)
		require.NoError(t, err)
		n, err := h.Wait(ctx)
		require.NoError(t, err)
		assert.Equal(t, 3, n)
		synctest.Wait()

		sent := p.span(t, "send")
		assert.Equal(t, outer.SpanContext().SpanID(), sent.Parent().SpanID())
		assert.Equal(t, "3", attributesOf(sent.Attributes())["messaging.batch.message_count"], "numbers, all their squares, and the sum")
		linked(t, p.span(t, "process default"), sent)
		linked(t, p.span(t, "process sums"), sent)
		squares := p.named("process squares")
		assert.Len(t, p.spans.Ended(), 1+1+1+len(squares), "no other span")
		for _, s := range squares {
			linked(t, s, sent)
		}
		assert.GreaterOrEqual(t, len(squares), 3)
	})
}

// What the clock starts has no context that it could bring: its attempts are roots without links.
func TestSpansOfASchedule(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		p := newProcess(t)
		b := newMemory(t)
		tick := omniq.DefineNoArgsVoid("tick", nothing)
		p.run(t, b, omniq.Handlers(tick))
		ctx, _ := sdktrace.NewTracerProvider().Tracer("").Start(t.Context(), "outer")
		_, err := omniq.Schedule(ctx, p.client(t, b), "each.minute", omniq.Every(time.Minute), tick.With())
		require.NoError(t, err)
		time.Sleep(3*time.Minute + time.Second)
		synctest.Wait()
		attempts := p.named("process default")
		assert.Len(t, attempts, 3)
		assert.Len(t, p.spans.Ended(), 3, "no other span")
		for _, s := range attempts {
			assert.Empty(t, s.Links())
			assert.False(t, s.Parent().IsValid())
		}
	})
}

// Each task of a batch has its own span, its own link and its own end.
func TestSpansOfABatch(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		p := newProcess(t)
		b := newMemory(t)
		client := p.client(t, b)
		var own, items []trace.SpanID
		insert := omniq.DefineBatch("insert", func(ctx context.Context, batch []*omniq.Item[omniq.Args1[int], omniq.Void]) error {
			own = append(own, trace.SpanContextFromContext(ctx).SpanID())
			for _, i := range batch {
				items = append(items, trace.SpanContextFromContext(i.Context()).SpanID())
				if i.Args.V1 == 1 {
					i.Fail(omniq.Permanent(errOops))
				}
			}
			time.Sleep(time.Second)
			return nil
		}, omniq.UpTo(3, time.Minute))
		for i := range 3 {
			_, err := insert.Enqueue(t.Context(), client, omniq.MakeArgs1(i), omniq.ID(uuid.UUID{15: byte(i + 1)}))
			require.NoError(t, err)
		}
		p.run(t, b, omniq.Handlers(insert))
		time.Sleep(2 * time.Second)
		synctest.Wait()

		sent, attempts := p.named("send default"), p.named("process default")
		require.Len(t, sent, 3)
		require.Len(t, attempts, 3)
		var ids []trace.SpanID
		for _, s := range attempts {
			ids = append(ids, s.SpanContext().SpanID())
			took := s.EndTime().Sub(s.StartTime())
			set := attributesOf(s.Attributes())
			i := set["messaging.message.id"][35] - '1'
			linked(t, s, sent[i])
			if i == 1 {
				assert.Equal(t, codes.Error, s.Status().Code)
				assert.Equal(t, "error", set["error.type"])
				assert.Zero(t, took, "it has its end before the batch")
			} else {
				assert.Equal(t, codes.Unset, s.Status().Code)
				assert.Equal(t, "success", set["omniq.outcome"])
				assert.Equal(t, time.Second, took)
			}
		}
		assert.ElementsMatch(t, ids, items)
		assert.Equal(t, items[:1], own, "the function's own context has the span of the first")
		assert.Equal(t, []point{{"messaging.destination.name=default omniq.task.name=insert", 0}}, collect(t, p.reader)["omniq.task.running"])
	})
}

// A span around the worker is no parent of its attempts.
func TestSpanAroundTheWorker(t *testing.T) {
	for name, opts := range map[string][]omniqotel.Option{"link": nil, "parent": {omniqotel.AsParent()}} {
		t.Run(name, func(t *testing.T) {
			p := newProcess(t, opts...)
			ctx, _ := sdktrace.NewTracerProvider().Tracer("").Start(t.Context(), "outer")
			_, err := p.Handle(func(context.Context, *omniq.RawTask) (omniq.RawResult, error) { return omniq.RawResult{}, nil })(ctx, &omniq.RawTask{})
			require.NoError(t, err)
			s := p.span(t, "process default")
			assert.False(t, s.Parent().IsValid())
			assert.Empty(t, s.Links())
		})
	}
}

// Without a provider a context that is there travels on.
func TestContextTravelsWithoutAProvider(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		telemetry, err := omniqotel.New()
		require.NoError(t, err)
		p := process{Telemetry: telemetry}
		b := newMemory(t)
		client := p.client(t, b)
		want := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, Remote: true})
		var got trace.SpanContext
		d := omniq.DefineNoArgsVoid("any", func(ctx context.Context) error { got = trace.SpanContextFromContext(ctx); return nil })
		p.run(t, b, omniq.Handlers(d))
		h, err := d.Enqueue(trace.ContextWithSpanContext(t.Context(), want), client)
		require.NoError(t, err)
		_, err = h.Wait(t.Context())
		require.NoError(t, err)
		assert.Equal(t, want, got)
	})
}

// tracedHandler adds the trace that a context has to each line, as the bridges of OpenTelemetry do.
type tracedHandler struct{ slog.Handler }

func (h tracedHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return tracedHandler{h.Handler.WithAttrs(attrs)}
}

func (h tracedHandler) Handle(ctx context.Context, r slog.Record) error {
	if s := trace.SpanContextFromContext(ctx); s.IsValid() {
		r.AddAttrs(slog.String("trace_id", s.TraceID().String()), slog.String("span_id", s.SpanID().String()))
	}
	return h.Handler.Handle(ctx, r)
}

// What the worker logs of an attempt has the trace of the attempt.
func TestLogsHaveTheTrace(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		p := newProcess(t)
		b := newMemory(t)
		d := omniq.DefineNoArgsVoid("any", func(context.Context) error { return omniq.Permanent(errOops) })
		var out bytes.Buffer
		stop := p.run(t, b, omniq.Handlers(d), omniq.Logger(slog.New(tracedHandler{slog.NewJSONHandler(&out, nil)})))
		h, err := d.Enqueue(t.Context(), p.client(t, b))
		require.NoError(t, err)
		_, err = h.Wait(t.Context())
		require.ErrorContains(t, err, "oops")
		stop()
		var line map[string]any
		require.NoError(t, json.Unmarshal(out.Bytes(), &line), "one line: %s", out.String())
		s := p.span(t, "process default").SpanContext()
		assert.Equal(t, "task failed", line["msg"])
		assert.Equal(t, "default", line["queue"])
		assert.Equal(t, s.TraceID().String(), line["trace_id"])
		assert.Equal(t, s.SpanID().String(), line["span_id"])
	})
}
