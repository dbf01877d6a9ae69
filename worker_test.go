package omniq_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
	"github.com/omniq-go/omniq/codec"
	"github.com/omniq-go/omniq/internal/bubble"
)

// newMemory returns a backend that is closed at the test's end, and a client of it.
func newMemory(t testing.TB, opts ...omniq.ClientOption) (*memory.Backend, *omniq.Client) {
	b := memory.New()
	t.Cleanup(func() { assert.NoError(t, b.Close()) })
	return b, newClient(t, b, opts...)
}

func newClient(t testing.TB, b omniq.Backend, opts ...omniq.ClientOption) *omniq.Client {
	c, err := omniq.NewClient(b, opts...)
	require.NoError(t, err)
	return c
}

func newWorker(t testing.TB, b omniq.Backend, opts ...omniq.WorkerOption) *omniq.Worker {
	w, err := omniq.NewWorker(b, append([]omniq.WorkerOption{omniq.Logger(slog.New(slog.DiscardHandler))}, opts...)...)
	require.NoError(t, err)
	return w
}

// running is a worker that runs.
type running struct {
	*omniq.Worker
	stop func() error // ends it, waits, and returns what Run did
}

// run starts a worker without jitter and without log. If the test does not stop it, it must end well.
func run(t testing.TB, b omniq.Backend, opts ...omniq.WorkerOption) running {
	noJitter := omniq.RetryDelays(omniq.Exponential(omniq.DefaultRetryDelay, omniq.MaxRetryDelay), 0)
	w := newWorker(t, b, append([]omniq.WorkerOption{noJitter}, opts...)...)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	stopped := false
	t.Cleanup(func() {
		cancel()
		if !stopped {
			assert.NoError(t, <-done)
		}
	})
	return running{w, func() error {
		stopped = true
		cancel()
		return <-done
	}}
}

// taskError returns the TaskError in err, which must be there.
func taskError(t testing.TB, err error) *omniq.TaskError {
	var e *omniq.TaskError
	require.ErrorAs(t, err, &e)
	return e
}

// attempts returns how many attempts a final task took.
func attempts(t testing.TB, c *omniq.Client, id uuid.UUID) int {
	r, err := c.Wait(t.Context(), id)
	require.NoError(t, err)
	return r.Attempts
}

func noop(context.Context) error { return nil }

func TestNewWorkerRefuses(t *testing.T) {
	b := memory.New()
	one, other := omniq.DefineNoArgsVoid("one", noop), omniq.DefineNoArgsVoid("one", noop)
	var none omniq.Definition[omniq.NoArgs, omniq.NoKwargs, int]
	for name, c := range map[string]struct {
		opts []omniq.WorkerOption
		want string
	}{
		"no handlers":           {nil, "without handlers"},
		"one name twice":        {[]omniq.WorkerOption{omniq.Handlers(one, other)}, `two handlers are named "one"`},
		"twice in two options":  {[]omniq.WorkerOption{omniq.Handlers(one), omniq.Handlers(one)}, `two handlers are named "one"`},
		"nil handler":           {[]omniq.WorkerOption{omniq.Handlers(nil)}, "nil handler"},
		"zero definition":       {[]omniq.WorkerOption{omniq.Handlers(none)}, "that Define has not made"},
		"nil middleware":        {[]omniq.WorkerOption{omniq.Use(nil)}, "nil middleware"},
		"too much concurrency":  {[]omniq.WorkerOption{omniq.Concurrency(omniq.MaxConcurrency + 1)}, "Concurrency is 100001, want 1 to 100000"},
		"prefetch":              {[]omniq.WorkerOption{omniq.Prefetch(-1)}, "Prefetch is -1, want 0 to 100000"},
		"concurrency":           {[]omniq.WorkerOption{omniq.Concurrency(0)}, "Concurrency is 0"},
		"no queues":             {[]omniq.WorkerOption{omniq.Queues()}, "no queues"},
		"queue name":            {[]omniq.WorkerOption{omniq.Queues("a b")}, `queue "a b"`},
		"queue twice":           {[]omniq.WorkerOption{omniq.Queues("a", "b", "a")}, `queue "a" stands twice`},
		"lease":                 {[]omniq.WorkerOption{omniq.LeaseDuration(time.Millisecond)}, "want at least 30ms"},
		"shutdown":              {[]omniq.WorkerOption{omniq.ShutdownTimeout(-1)}, "ShutdownTimeout is -1ns"},
		"nil backoff":           {[]omniq.WorkerOption{omniq.RetryDelays(nil, 0)}, "nil Backoff"},
		"jitter":                {[]omniq.WorkerOption{omniq.RetryDelays(omniq.Constant(1), 1.5)}, "jitter is 1.5"},
		"nil logger":            {[]omniq.WorkerOption{omniq.Logger(nil)}, "nil logger"},
		"worker ID":             {[]omniq.WorkerOption{omniq.WorkerID("")}, `WorkerID is empty`},
		"retries":               {[]omniq.WorkerOption{omniq.Retries(-1)}, "Retries is -1"},
		"more retries than int": {[]omniq.WorkerOption{omniq.Retries(1<<63 - 1)}, "Retries is 9223372036854775807"},
		"timeout":               {[]omniq.WorkerOption{omniq.Timeout(0)}, "Timeout is 0s"},
		"codec":                 {[]omniq.WorkerOption{omniq.Codecs(nil)}, "codec 0 is nil"},
		"middleware without handler": {[]omniq.WorkerOption{
			omniq.Handlers(one),
			omniq.Use(func(omniq.HandlerFunc) omniq.HandlerFunc { return nil }),
		}, "returned nil"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := omniq.NewWorker(b, c.opts...)
			require.ErrorIs(t, err, omniq.ErrInvalid)
			assert.ErrorContains(t, err, c.want)
		})
	}
	_, err := omniq.NewWorker(nil, omniq.Handlers(one))
	require.ErrorIs(t, err, omniq.ErrInvalid)
}

func TestWorkerID(t *testing.T) {
	one := omniq.DefineNoArgsVoid("one", noop)
	assert.Equal(t, "me", newWorker(t, memory.New(), omniq.Handlers(one), omniq.WorkerID("me")).ID())
	a, b := newWorker(t, memory.New(), omniq.Handlers(one)), newWorker(t, memory.New(), omniq.Handlers(one))
	assert.NotEqual(t, a.ID(), b.ID())
}

func TestConcurrencyIsReachedAndNeverExceeded(t *testing.T) {
	for _, places := range []int{1, 7, 64} {
		t.Run(fmt.Sprint(places), func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				b, c := newMemory(t)
				var now, most atomic.Int32
				sleep := omniq.DefineArgsVoid("sleep", func(ctx context.Context, a omniq.Args1[time.Duration]) error {
					n := now.Add(1)
					defer now.Add(-1)
					for m := most.Load(); n > m; m = most.Load() {
						most.CompareAndSwap(m, n)
					}
					time.Sleep(a.V1)
					return nil
				})
				run(t, b, omniq.Handlers(sleep), omniq.Concurrency(places))
				var handles []*omniq.Handle[omniq.Void]
				for i := range 300 {
					h, err := sleep.Enqueue(t.Context(), c, omniq.MakeArgs1(time.Duration(i%5)*time.Second))
					require.NoError(t, err)
					handles = append(handles, h)
				}
				for _, h := range handles {
					_, err := h.Wait(t.Context())
					require.NoError(t, err)
				}
				assert.EqualValues(t, places, most.Load())
			})
		})
	}
}

// A place that is free is used, however many others are taken for long.
func TestFreePlaceIsUsed(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, c := newMemory(t)
		sleep := omniq.DefineArgsVoid("sleep", func(ctx context.Context, a omniq.Args1[time.Duration]) error {
			select {
			case <-time.After(a.V1):
			case <-ctx.Done():
			}
			return nil
		})
		run(t, b, omniq.Handlers(sleep), omniq.Concurrency(2))
		_, err := sleep.Enqueue(t.Context(), c, omniq.MakeArgs1(time.Hour))
		require.NoError(t, err)
		start := time.Now()
		for range 10 {
			h, err := sleep.Enqueue(t.Context(), c, omniq.MakeArgs1(time.Second))
			require.NoError(t, err)
			_, err = h.Wait(t.Context())
			require.NoError(t, err)
		}
		assert.Equal(t, 10*time.Second, time.Since(start))
	})
}

func TestOrder(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, c := newMemory(t)
		var order []string
		note := omniq.DefineArgsVoid("note", func(_ context.Context, a omniq.Args1[string]) error {
			order = append(order, a.V1)
			return nil
		})
		for _, task := range []struct {
			name string
			opts []omniq.TaskOption
		}{
			{"low 1", []omniq.TaskOption{omniq.Queue("low"), omniq.Priority(100)}},
			{"low 2", []omniq.TaskOption{omniq.Queue("low")}},
			{"elsewhere", []omniq.TaskOption{omniq.Queue("other")}},
			{"high 4", []omniq.TaskOption{omniq.Queue("high"), omniq.Priority(-1)}},
			{"high 2", []omniq.TaskOption{omniq.Queue("high")}},
			{"high 3", []omniq.TaskOption{omniq.Queue("high")}},
			{"high 1", []omniq.TaskOption{omniq.Queue("high"), omniq.Priority(1)}},
			{"high 5", []omniq.TaskOption{omniq.Queue("high"), omniq.Priority(9), omniq.Delay(time.Minute)}},
		} {
			_, err := note.Enqueue(t.Context(), c, omniq.MakeArgs1(task.name), task.opts...)
			require.NoError(t, err)
		}
		w := run(t, b, omniq.Handlers(note), omniq.Queues("high", "low"), omniq.Concurrency(1))
		time.Sleep(time.Hour)
		require.NoError(t, w.stop())
		assert.Equal(t, []string{"high 1", "high 2", "high 3", "high 4", "low 1", "low 2", "high 5"}, order)
	})
}

func TestDelay(t *testing.T) {
	for name, delay := range map[string]func() omniq.TaskOption{
		"Delay": func() omniq.TaskOption { return omniq.Delay(time.Minute) },
		"RunAt": func() omniq.TaskOption { return omniq.RunAt(time.Now().Add(time.Minute)) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				b, c := newMemory(t)
				start := time.Now()
				when := omniq.DefineNoArgs("when", func(context.Context) (time.Duration, error) { return time.Since(start), nil })
				run(t, b, omniq.Handlers(when))
				h, err := when.Enqueue(t.Context(), c, delay())
				require.NoError(t, err)
				got, err := h.Wait(t.Context())
				require.NoError(t, err)
				assert.Equal(t, time.Minute, got)
			})
		})
	}
}

func TestInfoFrom(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, c := newMemory(t)
		var got []omniq.Info
		d := omniq.DefineNoArgsVoid("info", func(ctx context.Context) error {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			info, ok := omniq.InfoFrom(ctx)
			assert.True(t, ok)
			got = append(got, info)
			if len(got) == 1 {
				return errors.New("once more")
			}
			return nil
		})
		w := run(t, b, omniq.Handlers(d), omniq.Queues("q", "default"), omniq.Retries(5))
		h, err := d.Enqueue(t.Context(), c, omniq.Queue("q"), omniq.Retries(2), omniq.Metadata("k", "v"))
		require.NoError(t, err)
		created := time.Now().UTC()
		_, err = h.Wait(t.Context())
		require.NoError(t, err)
		want := omniq.Info{
			ID: h.ID(), FuncName: "info", Queue: "q", Attempt: 1, MaxAttempts: 3, CreatedAt: created,
			Metadata: map[string]string{"k": "v"}, WorkerID: w.ID(),
		}
		second := want
		second.Attempt = 2
		assert.Equal(t, []omniq.Info{want, second}, got)

		h, err = d.Enqueue(t.Context(), c)
		require.NoError(t, err)
		_, err = h.Wait(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "default", got[2].Queue)
		assert.Equal(t, 6, got[2].MaxAttempts)
	})
	_, ok := omniq.InfoFrom(t.Context())
	assert.False(t, ok)
	info, ok := omniq.InfoFrom(omniq.ContextWithInfo(t.Context(), omniq.Info{Attempt: 7}))
	assert.True(t, ok)
	assert.Equal(t, 7, info.Attempt)
}

func TestHandlerSeesTheValuesOfRunsContext(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		type key struct{}
		b, c := newMemory(t)
		d := omniq.DefineNoArgs("value", func(ctx context.Context) (string, error) {
			_, bounded := ctx.Deadline()
			assert.False(t, bounded)
			return ctx.Value(key{}).(string), nil
		})
		ctx, cancel := context.WithTimeout(context.WithValue(t.Context(), key{}, "seen"), time.Hour)
		defer cancel()
		w := newWorker(t, b, omniq.Handlers(d))
		done := make(chan error)
		go func() { done <- w.Run(ctx) }()
		h, err := d.Enqueue(t.Context(), c)
		require.NoError(t, err)
		got, err := h.Wait(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "seen", got)
		require.NoError(t, <-done)
	})
}

func TestMiddleware(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, c := newMemory(t)
		var mu sync.Mutex
		var made, order []string
		trace := func(name string) omniq.Middleware {
			return func(next omniq.HandlerFunc) omniq.HandlerFunc {
				made = append(made, name)
				return func(ctx context.Context, task *omniq.RawTask) (omniq.RawResult, error) {
					mu.Lock()
					order = append(order, name+" "+task.FuncName)
					mu.Unlock()
					r, err := next(ctx, task)
					mu.Lock()
					defer mu.Unlock()
					order = append(order, fmt.Sprintf("%s %s %v", name, r.ResultData, err))
					return r, err
				}
			}
		}
		double := omniq.DefineArgs("double", func(_ context.Context, a omniq.Args1[int]) (int, error) { return 2 * a.V1, nil })
		run(t, b, omniq.Use(trace("1"), trace("2")), omniq.Handlers(double), omniq.Use(trace("3")))
		for range 2 {
			order = nil
			h, err := double.Enqueue(t.Context(), c, omniq.MakeArgs1(21))
			require.NoError(t, err)
			got, err := h.Wait(t.Context())
			require.NoError(t, err)
			assert.Equal(t, 42, got)
			assert.Equal(t, []string{"1 double", "2 double", "3 double", "3 42 <nil>", "2 42 <nil>", "1 42 <nil>"}, order)
		}
		assert.Len(t, made, 3, "once for a handler")
	})
}

func TestMiddlewareChangesTheOutcome(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, c := newMemory(t)
		d := omniq.DefineArgs("bad", func(_ context.Context, a omniq.Args1[string]) (string, error) {
			switch a.V1 {
			case "panic":
				panic("oh")
			case "error":
				return "", errors.New("secret")
			}
			return "", omniq.Permanent(errors.New("for ever"))
		})
		var seen error
		run(t, b, omniq.Handlers(d), omniq.Use(func(next omniq.HandlerFunc) omniq.HandlerFunc {
			return func(ctx context.Context, task *omniq.RawTask) (r omniq.RawResult, err error) {
				defer func() {
					if recover() != nil {
						r, err = omniq.RawResult{ResultData: omniq.Raw(`"recovered"`)}, nil
					}
				}()
				r, err = next(ctx, task)
				seen = err
				if err != nil && err.Error() == "secret" {
					err = omniq.Permanent(errors.New("replaced"))
				}
				return r, err
			}
		}))
		wait := func(arg string) (string, error) {
			h, err := d.Enqueue(t.Context(), c, omniq.MakeArgs1(arg))
			require.NoError(t, err)
			return h.Wait(t.Context())
		}
		got, err := wait("panic")
		require.NoError(t, err)
		assert.Equal(t, "recovered", got)

		_, err = wait("error")
		assert.Equal(t, "replaced", taskError(t, err).Message)

		_, err = wait("permanent")
		assert.Equal(t, "for ever", taskError(t, err).Message)
		assert.False(t, omniq.NewTaskError(seen).Retryable, "middleware sees that an error is permanent")
	})
}

func TestCodecs(t *testing.T) {
	type args struct{ Text string }
	zip := codec.Gzip(codec.JSON)
	text := strings.Repeat("text ", 1000)
	upper := omniq.DefineArgs("upper", func(_ context.Context, a args) (string, error) { return strings.ToUpper(a.Text), nil })
	for name, c := range map[string]struct {
		client, worker omniq.CodecsOption
		codec          string // of the result
		taskErr        string
		waitErr        string
	}{
		"both gzip":               {omniq.Codecs(zip), omniq.Codecs(zip), "json+gzip", "", ""},
		"worker writes JSON":      {omniq.Codecs(zip), omniq.Codecs(codec.JSON, zip), "", "", ""},
		"worker writes gzip":      {omniq.Codecs(codec.JSON, zip), omniq.Codecs(zip), "json+gzip", "", ""},
		"worker cannot read it":   {omniq.Codecs(zip), omniq.Codecs(codec.JSON), "", `a codec named "json+gzip"`, ""},
		"client cannot read it":   {omniq.Codecs(codec.JSON), omniq.Codecs(zip), "json+gzip", "", `payload is of codec "json+gzip"`},
		"JSON can always be read": {omniq.Codecs(codec.StdJSON), omniq.Codecs(codec.JSON), "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				b, client := newMemory(t, c.client)
				run(t, b, omniq.Handlers(upper), c.worker)
				h, err := upper.Enqueue(t.Context(), client, args{text})
				require.NoError(t, err)
				got, err := h.Wait(t.Context())
				raw, rawErr := client.Wait(t.Context(), h.ID())
				require.NoError(t, rawErr)
				assert.Equal(t, c.codec, raw.Codec)
				switch {
				case c.taskErr != "":
					e := taskError(t, err)
					assert.Equal(t, "omniq.UnknownTask", e.Type)
					assert.Contains(t, e.Message, c.taskErr)
				case c.waitErr != "":
					assert.ErrorContains(t, err, c.waitErr)
				default:
					require.NoError(t, err)
					assert.Equal(t, strings.ToUpper(text), got)
				}
			})
		})
	}
}
