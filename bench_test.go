package omniq_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
)

// Tasks that do nothing, with one small argument, from several producers through one worker in the same process, with
// each result awaited. What is measured is all of OmniQ, and nothing of the work.
//
// typed is what an application writes. raw is the baseline: the same with JSON that nobody encodes or decodes. What lies
// between the two is the price of types.
func BenchmarkEndToEnd(b *testing.B) {
	increment := omniq.DefineArgs("increment", func(_ context.Context, a omniq.Args1[int]) (int, error) { return a.V1 + 1, nil })
	echo := omniq.Define("echo", func(_ context.Context, args, _ omniq.Raw) (omniq.Raw, error) { return args[1 : len(args)-1], nil })
	id := func() uuid.UUID { return uuid.Must(uuid.NewV7()) }
	rawTask := func() omniq.RawTask {
		return omniq.RawTask{ID: id(), FuncName: "echo", Args: omniq.Raw("[123]"), CreatedAt: time.Now()}
	}

	b.Run("one by one/typed", func(b *testing.B) {
		endToEnd(b, increment, func(ctx context.Context, c *omniq.Client, n int) error {
			handles := make([]*omniq.Handle[int], n)
			for i := range handles {
				var err error
				if handles[i], err = increment.Enqueue(ctx, c, omniq.MakeArgs1(123)); err != nil {
					return err
				}
			}
			return waitTyped(ctx, handles)
		})
	})
	b.Run("one by one/raw", func(b *testing.B) {
		endToEnd(b, echo, func(ctx context.Context, c *omniq.Client, n int) error {
			ids := make([]uuid.UUID, n)
			for i := range ids {
				t := rawTask()
				ids[i] = t.ID
				if err := c.Enqueue(ctx, t); err != nil {
					return err
				}
			}
			return waitRaw(ctx, c, ids)
		})
	})
	b.Run("batches/typed", func(b *testing.B) {
		endToEnd(b, increment, func(ctx context.Context, c *omniq.Client, n int) error {
			tasks := make([]omniq.Task[omniq.Args1[int], omniq.NoKwargs], n)
			for i := range tasks {
				var err error
				if tasks[i], err = increment.Task(omniq.MakeArgs1(123)); err != nil {
					return err
				}
			}
			handles, err := increment.EnqueueMany(ctx, c, tasks)
			if err != nil {
				return err
			}
			return waitTyped(ctx, handles)
		})
	})
	b.Run("batches/raw", func(b *testing.B) {
		endToEnd(b, echo, func(ctx context.Context, c *omniq.Client, n int) error {
			tasks := make([]omniq.RawTask, n)
			ids := make([]uuid.UUID, n)
			for i := range tasks {
				tasks[i] = rawTask()
				ids[i] = tasks[i].ID
			}
			if err := c.Enqueue(ctx, tasks...); err != nil {
				return err
			}
			return waitRaw(ctx, c, ids)
		})
	})
}

func waitTyped(ctx context.Context, handles []*omniq.Handle[int]) error {
	for _, h := range handles {
		if _, err := h.Wait(ctx); err != nil {
			return err
		}
	}
	return nil
}

func waitRaw(ctx context.Context, c *omniq.Client, ids []uuid.UUID) error {
	for _, id := range ids {
		if _, err := c.Wait(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// endToEnd lets producers make b.N tasks, in windows of 100 whose results they await.
func endToEnd(b *testing.B, h omniq.Handler, window func(ctx context.Context, c *omniq.Client, n int) error) {
	const producers, size = 8, 100
	backend, client := newMemory(b)
	run(b, backend, omniq.Handlers(h), omniq.Concurrency(64))
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for p := range producers {
		wg.Go(func() {
			left := b.N / producers
			if p < b.N%producers {
				left++
			}
			for left > 0 {
				n := min(left, size)
				if err := window(b.Context(), client, n); err != nil {
					b.Error(err)
					return
				}
				left -= n
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tasks/s")
}

// How long an idle worker takes to start a task, and a caller who waits to have its result. Both end when a goroutine
// runs, so this is the time of the machine's scheduler as well.
func BenchmarkWakeUp(b *testing.B) {
	backend := memory.New()
	b.Cleanup(func() { _ = backend.Close() })
	client := newClient(b, backend)
	at := omniq.DefineNoArgs("at", func(context.Context) (int64, error) { return time.Now().UnixNano(), nil })
	var settled time.Time
	note := omniq.Use(func(next omniq.HandlerFunc) omniq.HandlerFunc {
		return func(ctx context.Context, t *omniq.RawTask) (omniq.RawResult, error) {
			r, err := next(ctx, t)
			settled = time.Now()
			return r, err
		}
	})
	run(b, backend, omniq.Handlers(at), note)
	starts, wakes := make([]time.Duration, 0, b.N), make([]time.Duration, 0, b.N)
	for b.Loop() {
		enqueued := time.Now()
		h, err := at.Enqueue(b.Context(), client)
		if err != nil {
			b.Fatal(err)
		}
		started, err := h.Wait(b.Context())
		awake := time.Now()
		if err != nil {
			b.Fatal(err)
		}
		starts = append(starts, time.Unix(0, started).Sub(enqueued))
		wakes = append(wakes, awake.Sub(settled))
	}
	report := func(d []time.Duration, what string) {
		slices.Sort(d)
		b.ReportMetric(float64(d[len(d)/2].Nanoseconds()), "ns-p50-"+what)
		b.ReportMetric(float64(d[len(d)*99/100].Nanoseconds()), "ns-p99-"+what)
	}
	report(starts, "start")
	report(wakes, "result")
}
