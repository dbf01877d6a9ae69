package omniq_test

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/bubble"
)

// paced is a task whose handler takes as long as its argument says.
func paced(began func(ctx context.Context, took time.Duration)) omniq.ArgsDefinition[omniq.Args1[time.Duration], omniq.Void] {
	return omniq.DefineArgsVoid("paced", func(ctx context.Context, a omniq.Args1[time.Duration]) error {
		if began != nil {
			began(ctx, a.V1)
		}
		time.Sleep(a.V1)
		return nil
	})
}

// fillPaced enqueues n tasks whose handlers take so long.
func fillPaced(t *testing.T, client *omniq.Client, d omniq.ArgsDefinition[omniq.Args1[time.Duration], omniq.Void], n int, took time.Duration, opts ...omniq.TaskOption) (handles []*omniq.Handle[omniq.Void]) {
	for range n {
		h, err := d.Enqueue(t.Context(), client, omniq.MakeArgs1(took), opts...)
		require.NoError(t, err)
		handles = append(handles, h)
	}
	return handles
}

// statsOf are those of the default queue.
func statsOf(t *testing.T, client *omniq.Client) omniq.QueueStats {
	synctest.Wait()
	stats, err := client.Stats(t.Context())
	require.NoError(t, err)
	require.Len(t, stats, 1)
	return stats[0]
}

// A worker takes as many tasks ahead as its handlers begin within 20 ms.
func TestTakesAhead(t *testing.T) {
	for name, c := range map[string]struct {
		took time.Duration
		opts []omniq.WorkerOption
		most int // leases at once
	}{
		"a millisecond":     {time.Millisecond, nil, 4 + 80},
		"four milliseconds": {4 * time.Millisecond, nil, 4 + 20},
		"bounded":           {time.Millisecond, []omniq.WorkerOption{omniq.Prefetch(7)}, 4 + 7},
		"switched off":      {time.Millisecond, []omniq.WorkerOption{omniq.Prefetch(0)}, 4},
		"as long as that":   {80 * time.Millisecond, nil, 4 + 1},
		"longer":            {81 * time.Millisecond, nil, 4},
		"a second":          {time.Second, nil, 4},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				b, client := newMemory(t)
				var ran atomic.Int32
				d := paced(func(ctx context.Context, _ time.Duration) {
					ran.Add(1)
					info, _ := omniq.InfoFrom(ctx)
					assert.InDelta(t, time.Since(info.CreatedAt), info.Waited, float64(time.Millisecond), "also for its turn")
					assert.Equal(t, []int{1, 0}, []int{info.Attempt, info.Lost})
				})
				const n = 1000
				fillPaced(t, client, d, n, c.took)
				began := time.Now()
				run(t, b, append(c.opts, omniq.Handlers(d), omniq.Concurrency(4))...)
				most := 0
				for ran.Load() < n {
					time.Sleep(c.took / 2)
					most = max(most, statsOf(t, client).Running)
				}
				assert.Equal(t, c.most, most)
				until(t, func() bool { return succeeded(t, client) == n })
				assert.InDelta(t, n/4*c.took, time.Since(began), float64(2*c.took+20*time.Millisecond), "handlers do not wait for tasks")
			})
		})
	}
}

// That lease calls waited for tasks does not make the worker take more ahead.
func TestTakesAheadAfterAQuietTime(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		d := paced(nil)
		run(t, b, omniq.Handlers(d), omniq.Concurrency(1))
		for range 20 {
			time.Sleep(10 * time.Second)
			fillPaced(t, client, d, 1, time.Millisecond)
		}
		time.Sleep(time.Second)
		fillPaced(t, client, d, 1000, time.Millisecond)
		most := 0
		for succeeded(t, client) < 1020 {
			time.Sleep(500 * time.Microsecond)
			most = max(most, statsOf(t, client).Running)
		}
		assert.Equal(t, 1+20, most)
	})
}

// Workers of long handlers share a queue evenly.
func TestWorkersShareEvenly(t *testing.T) {
	for _, concurrency := range []int{1, 4} {
		bubble.Test(t, func(t *testing.T) {
			b, client := newMemory(t)
			var ran [2]atomic.Int32
			for i := range ran {
				d := paced(func(context.Context, time.Duration) { ran[i].Add(1) })
				run(t, b, omniq.Handlers(d), omniq.Concurrency(concurrency))
			}
			fillPaced(t, client, paced(nil), 40*concurrency, time.Second)
			until(t, func() bool { return succeeded(t, client) == 40*concurrency })
			assert.InDelta(t, ran[0].Load(), ran[1].Load(), 1)
		})
	}
}

// aheadOf lets a worker with one place take tasks of a millisecond ahead, behind one that takes a minute, and returns their handles.
func aheadOf(t *testing.T, client *omniq.Client, w func() running) (omniq.ArgsReference[omniq.Args1[time.Duration], omniq.Void], *omniq.Handle[omniq.Void], []*omniq.Handle[omniq.Void], running) {
	d := paced(nil)
	fillPaced(t, client, d, 500, time.Millisecond)
	long := fillPaced(t, client, d, 1, time.Minute)[0]
	next := fillPaced(t, client, d, 50, time.Millisecond)
	r := w()
	for info := (*omniq.TaskInfo)(nil); info == nil || info.Status != omniq.StatusRunning || statsOf(t, client).Ready > 50; {
		time.Sleep(100 * time.Microsecond)
		synctest.Wait()
		var err error
		info, err = client.Inspect(t.Context(), long.ID())
		require.NoError(t, err)
	}
	until(t, func() bool { return succeeded(t, client) == 500 })
	synctest.Wait()
	return d.ArgsReference, long, next, r
}

// A handler that takes long all of a sudden does not hold the tasks that were taken ahead behind it.
func TestSuddenlyLong(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		var attempts atomic.Int32
		d := paced(func(ctx context.Context, took time.Duration) {
			info, _ := omniq.InfoFrom(ctx)
			assert.Equal(t, []int{1, 0}, []int{info.Attempt, info.Lost}, "what is given back has used no attempt")
			attempts.Add(1)
		})
		var l ledger
		_, long, next, _ := aheadOf(t, client, func() running {
			return run(t, b, omniq.Handlers(d), omniq.Concurrency(1), l.option())
		})
		ahead := statsOf(t, client).Running - 1
		assert.Positive(t, ahead)
		other := paced(func(context.Context, time.Duration) { attempts.Add(1) })
		run(t, b, omniq.Handlers(other), omniq.Concurrency(1))
		began := time.Now()
		for _, h := range next {
			_, err := h.Wait(t.Context())
			require.NoError(t, err)
		}
		assert.Less(t, time.Since(began), 500*time.Millisecond, "they are given back after 250 ms at the most, and not taken again")
		assert.EqualValues(t, 551, attempts.Load(), "each once")
		returned := 0
		for _, o := range l.settled() {
			if o.Outcome == omniq.OutcomeReturned {
				returned++
			}
		}
		assert.Equal(t, ahead, returned)
		_, err := long.Wait(t.Context())
		require.NoError(t, err)
		assert.Equal(t, time.Minute, time.Since(began).Round(time.Second))
	})
}

// What comes with a higher priority runs after what was taken ahead, and after nothing else.
func TestPriorityWaitsForWhatWasTakenAhead(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		var ran atomic.Int32
		d := paced(func(context.Context, time.Duration) { ran.Add(1) })
		fillPaced(t, client, d, 2000, time.Millisecond)
		run(t, b, omniq.Handlers(d), omniq.Concurrency(2))
		for range 10 {
			time.Sleep(50*time.Millisecond + 300*time.Microsecond)
			synctest.Wait()
			before := ran.Load()
			h := fillPaced(t, client, d, 1, time.Millisecond, omniq.Priority(1))[0]
			_, err := h.Wait(t.Context())
			require.NoError(t, err)
			assert.LessOrEqual(t, ran.Load()-before, int32(2+40+2), "those of 20 ms, and those that ran beside")
		}
	})
}

// Tasks that were taken ahead keep their leases, can be cancelled, and are given back at once when the worker begins to stop.
func TestWhatWasTakenAhead(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		began := make(map[string]bool)
		d := paced(func(ctx context.Context, _ time.Duration) {
			info, _ := omniq.InfoFrom(ctx)
			began[info.ID.String()] = true
		})
		_, long, next, w := aheadOf(t, client, func() running {
			return run(t, b, omniq.Handlers(d), omniq.Concurrency(1), omniq.LeaseDuration(90*time.Millisecond))
		})
		info, err := client.Inspect(t.Context(), next[0].ID())
		require.NoError(t, err)
		require.Equal(t, omniq.StatusRunning, info.Status, "it was taken ahead")
		time.Sleep(200 * time.Millisecond) // two leases
		require.NoError(t, next[0].Cancel(t.Context()))
		synctest.Wait()
		start := time.Now()
		stopped := make(chan error, 1)
		go func() { stopped <- w.stop() }()
		stats := statsOf(t, client)
		assert.Equal(t, 49, stats.Ready, "at once, and the cancelled one does not come back")
		assert.Equal(t, 1, stats.Running)
		assert.ErrorContains(t, <-stopped, "1 handlers have not returned 5s after their contexts ended: tasks ["+long.ID().String()+"]",
			"those that were taken ahead are not stuck")
		assert.Equal(t, 35*time.Second, time.Since(start))
		for i, h := range next {
			info, err := client.Inspect(t.Context(), h.ID())
			require.NoError(t, err)
			assert.Equal(t, i == 0, info.Status == omniq.StatusCancelled)
			if i > 0 {
				assert.Zero(t, info.Attempts)
			}
			assert.False(t, began[h.ID().String()])
		}
		time.Sleep(time.Minute) // the handler's
	})
}

// A batch that waits for a place does not let others be taken ahead.
func TestBatchesAreNotTakenAhead(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		batch := omniq.DefineBatch("batch", func(_ context.Context, items []*omniq.Item[omniq.Args1[int], omniq.Void]) error {
			time.Sleep(time.Minute)
			return nil
		}, omniq.UpTo(5, time.Millisecond))
		d := paced(nil)
		fillPaced(t, client, d, 500, time.Millisecond)
		for i := range 200 {
			_, err := batch.Enqueue(t.Context(), client, omniq.MakeArgs1(i))
			require.NoError(t, err)
		}
		run(t, b, omniq.Handlers(d, batch), omniq.Concurrency(1))
		until(t, func() bool { return succeeded(t, client) == 500 })
		most := 0
		for succeeded(t, client) < 700 {
			time.Sleep(time.Second)
			most = max(most, statsOf(t, client).Running)
		}
		assert.LessOrEqual(t, most, 5+20+5, "a batch that runs, those of what was taken ahead, and one that gathers")
	})
}

// That a backend does not settle what was taken ahead does not keep Run from ending in time, however much it is.
func TestShutdownWhileNothingIsGivenBack(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		var hangs atomic.Bool
		m := &meddler{Backend: b}
		m.settle = func(ctx context.Context, s []omniq.Settlement) ([]error, error) {
			if hangs.Load() {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return b.Settle(ctx, s)
		}
		d := omniq.DefineNoArgsVoid("quick", func(ctx context.Context) error {
			if hangs.Load() {
				<-ctx.Done()
			}
			time.Sleep(time.Microsecond)
			return nil
		})
		tasks := make([]omniq.Task[omniq.NoArgs, omniq.NoKwargs], 40_000)
		for i := range tasks {
			var err error
			tasks[i], err = d.Task()
			require.NoError(t, err)
		}
		_, err := d.EnqueueMany(t.Context(), client, tasks)
		require.NoError(t, err)
		w := run(t, m, omniq.Handlers(d), omniq.Concurrency(1), omniq.Prefetch(20_000), omniq.ShutdownTimeout(0), omniq.Logger(slog.New(slog.DiscardHandler)))
		for statsOf(t, client).Running < 10_000 {
			time.Sleep(time.Microsecond)
		}
		hangs.Store(true)
		start := time.Now()
		require.NoError(t, w.stop())
		assert.LessOrEqual(t, time.Since(start), 5*time.Second+omniq.DefaultLease)
	})
}
