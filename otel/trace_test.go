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
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
	"github.com/omniq-go/omniq/codec"
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
			synctest.Test(t, func(t *testing.T) {
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
					assert.Empty(t, s.Links())
					return
				}
				assert.NotEqual(t, sent.Trace, s.SpanContext().TraceID().String())
				assert.False(t, s.Parent().IsValid())
				require.Len(t, s.Links(), 1)
				assert.Equal(t, sent.Trace, s.Links()[0].SpanContext.TraceID().String())
				assert.Equal(t, sent.Span, s.Links()[0].SpanContext.SpanID().String())
			})
		})
	}
}

// lateProvider sets the global providers after the telemetry was made, in a process of its own.
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
	spans := tracetest.NewSpanRecorder()
	for range 3 {
		if _, err := ref.Enqueue(context.Background(), client); err != nil {
			return err
		}
		otel.SetTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)))
	}
	_, err = fmt.Fprint(out, len(spans.Ended()))
	return err
}

func TestGlobalProviderThatIsSetLater(t *testing.T) {
	assert.Equal(t, "2", string(runProcess(t, "late")), "the first was enqueued before it was set")
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
	}{
		"nothing":       {nil, map[string]string{"traceparent": "ours", "tracestate": "vendor=ours", "baggage": "tenant=seven"}},
		"something":     {map[string]string{"a": "b"}, map[string]string{"a": "b", "traceparent": "ours", "tracestate": "vendor=ours", "baggage": "tenant=seven"}},
		"a traceparent": {map[string]string{"traceparent": theirs}, map[string]string{"traceparent": theirs, "baggage": "tenant=seven"}},
		"a baggage": {
			map[string]string{"baggage": "x=y"}, map[string]string{"traceparent": "ours", "tracestate": "vendor=ours", "baggage": "x=y"},
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
			synctest.Test(t, func(t *testing.T) {
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
	synctest.Test(t, func(t *testing.T) {
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
		for _, s := range attempts {
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

// Without a provider a context that is there travels on.
func TestContextTravelsWithoutAProvider(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
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
	synctest.Test(t, func(t *testing.T) {
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
