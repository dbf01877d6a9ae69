package omniq_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/bubble"
)

// What users of other task libraries suffered, each under what went wrong and where it was seen.

// Seen in: asynq's syncer after its PR 926, where an acknowledgement was retried with a context that was already
// cancelled, so it could never succeed.
func TestAcknowledgementIsNotRetriedWithACancelledContext(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		failures := 0
		m := &meddler{Backend: b}
		m.settle = func(ctx context.Context, s []omniq.Settlement) ([]error, error) {
			assert.NoError(t, ctx.Err())
			if failures < 5 {
				failures++
				return nil, errOops
			}
			return b.Settle(ctx, s)
		}
		d := omniq.DefineNoArgs("last", func(ctx context.Context) (int, error) {
			<-ctx.Done()
			return 42, nil
		})
		w := run(t, m, omniq.Handlers(d), omniq.ShutdownTimeout(time.Second))
		h, err := d.Enqueue(t.Context(), client)
		require.NoError(t, err)
		synctest.Wait()
		require.NoError(t, w.stop(), "the worker's context and the handler's have ended when it settles")
		got, err := h.Wait(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 42, got)
		assert.Equal(t, 5, failures)
	})
}

// Seen in: asynq, where a timed-out handler's slot was reused while it still ran, and attempts overlapped.
func TestTimedOutSlotIsNotReused(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		var running atomic.Int32
		deaf := omniq.DefineNoArgsVoid("deaf", func(context.Context) error {
			assert.LessOrEqual(t, running.Add(1), int32(2), "no more than there are places")
			defer running.Add(-1)
			time.Sleep(time.Minute)
			return errOops
		}, omniq.Timeout(time.Second), omniq.Retries(2))
		run(t, b, omniq.Handlers(deaf), omniq.Concurrency(2))
		start := time.Now()
		var handles []*omniq.Handle[omniq.Void]
		for range 6 {
			h, err := deaf.Enqueue(t.Context(), client)
			require.NoError(t, err)
			handles = append(handles, h)
		}
		for _, h := range handles {
			_, err := h.Wait(t.Context())
			require.ErrorIs(t, err, omniq.ErrTimeout)
		}
		assert.GreaterOrEqual(t, time.Since(start), 9*time.Minute, "18 attempts of a minute, two at a time")
	})
}

// Seen in: asynq's BatchEnqueueContext, which reported a duplicate ID in a batch as success.
func TestDuplicateInBatchIsReported(t *testing.T) {
	_, client := newMemory(t)
	d := omniq.ReferArgs[omniq.Args1[int], int]("any")
	stored, err := d.Enqueue(t.Context(), client, omniq.MakeArgs1(0))
	require.NoError(t, err)
	twice := uuid.New()
	var tasks []omniq.Task[omniq.Args1[int], omniq.NoKwargs]
	for i, id := range []uuid.UUID{twice, uuid.New(), stored.ID(), twice} {
		task, err := d.Task(omniq.MakeArgs1(i), omniq.ID(id))
		require.NoError(t, err)
		tasks = append(tasks, task)
	}
	handles, err := d.EnqueueMany(t.Context(), client, tasks)
	var e *omniq.DuplicateError
	require.ErrorAs(t, err, &e)
	require.ErrorIs(t, err, omniq.ErrDuplicate)
	assert.Equal(t, []omniq.Duplicate{{ID: stored.ID(), Holder: stored.ID()}, {ID: twice, Holder: twice}}, e.Duplicates)
	assert.Contains(t, err.Error(), stored.ID().String())
	require.Len(t, handles, 4)
	for i, h := range handles {
		assert.Equal(t, tasks[i].ID, h.ID())
		status, err := h.Status(t.Context())
		require.NoError(t, err)
		assert.Equal(t, omniq.StatusPending, status, "the others are stored")
	}
}

// Seen in: asynq 1051 and 1144, tasks active for ever with no lease after the engine hiccuped; River 1258, thousands of
// tasks "running" for 91 days with no heartbeat.
func TestTaskIsNotRunningForEver(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		d := omniq.DefineNoArgs("any", func(ctx context.Context) (int, error) {
			info, _ := omniq.InfoFrom(ctx)
			return info.Attempt, nil
		})
		h, err := d.Enqueue(t.Context(), client)
		require.NoError(t, err)
		// A worker leases the task, and its answer is lost on the way.
		leases, err := b.Lease(t.Context(), omniq.LeaseRequest{Queues: []string{"default"}, Max: 1, Duration: omniq.DefaultLease})
		require.NoError(t, err)
		require.Len(t, leases, 1)
		start := time.Now()
		run(t, b, omniq.Handlers(d))
		attempt, err := h.Wait(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 2, attempt)
		took := time.Since(start)
		assert.True(t, omniq.DefaultLease <= took && took < omniq.DefaultLease+time.Second, "it ran after %v", took)
	})
}

// Seen in: River 1105, a rescuer that discards tasks whose kind is not registered in its own process.
func TestUnknownNameIsNotDiscarded(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		d := omniq.DefineNoArgs("new", func(context.Context) (int, error) { return 42, nil })
		h, err := d.Enqueue(t.Context(), client)
		require.NoError(t, err)
		// A worker that knows it dies, and the one that finds the task then does not know it.
		_, err = b.Lease(t.Context(), omniq.LeaseRequest{Queues: []string{"default"}, Max: 1, Duration: time.Second})
		require.NoError(t, err)
		old := run(t, b, omniq.Handlers(omniq.DefineNoArgsVoid("old", noop)))
		time.Sleep(1500 * time.Millisecond)
		require.NoError(t, old.stop())
		status, err := h.Status(t.Context())
		require.NoError(t, err)
		assert.Equal(t, omniq.StatusPending, status)
		run(t, b, omniq.Handlers(d))
		got, err := h.Wait(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 42, got)
	})
}

// Seen in: River 1302, a rescue that overwrites a task that completed meanwhile.
func TestRescueDoesNotOverwriteACompletedTask(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		var runs atomic.Int32
		d := omniq.DefineNoArgs("long", func(context.Context) (int32, error) {
			time.Sleep(3 * time.Second) // it ends at the very moment when the lease would
			return runs.Add(1), nil
		})
		m := &meddler{Backend: b}
		m.extend = func(context.Context, []omniq.LeaseID, time.Duration) ([]error, error) { return nil, errOops }
		run(t, m, omniq.Handlers(d), omniq.LeaseDuration(3*time.Second))
		for range 20 {
			h, err := d.Enqueue(t.Context(), client)
			require.NoError(t, err)
			before, err := client.Wait(t.Context(), h.ID())
			require.NoError(t, err)
			time.Sleep(10 * time.Second)
			after, err := client.Wait(t.Context(), h.ID())
			require.NoError(t, err)
			assert.Equal(t, before, after)
		}
	})
}

// Seen in: River 400, a send on a closed channel at shutdown.
func TestNoSendOnAClosedChannelAtShutdown(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		m := &meddler{Backend: b}
		m.settle = func(ctx context.Context, s []omniq.Settlement) ([]error, error) { // slow enough for handlers to queue up
			time.Sleep(10 * time.Second)
			return b.Settle(ctx, s)
		}
		end := make(chan struct{})
		d := omniq.DefineArgsVoid("any", func(_ context.Context, a omniq.Args1[int]) error {
			if a.V1 == 7 {
				<-end
			}
			return nil
		})
		for i := range 100 {
			_, err := d.Enqueue(t.Context(), client, omniq.MakeArgs1(i))
			require.NoError(t, err)
		}
		w := run(t, m, omniq.Handlers(d), omniq.Concurrency(8), omniq.ShutdownTimeout(0))
		time.Sleep(time.Second)
		require.ErrorContains(t, w.stop(), "have not returned")
		close(end)
	})
}

// Seen in: machinery 56, where a wrong argument type leaves the waiting caller hanging for ever.
func TestWrongArgumentTypeDoesNotHangTheWaiter(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		d := omniq.DefineArgs("add", func(_ context.Context, a omniq.Args2[int, int]) (int, error) { return a.V1 + a.V2, nil })
		run(t, b, omniq.Handlers(d))
		// A producer with other types in mind than the worker's.
		h, err := omniq.ReferArgs[omniq.Args2[int, string], int]("add").Enqueue(t.Context(), client, omniq.MakeArgs2(1, "2"))
		require.NoError(t, err)
		start := time.Now()
		_, err = h.Wait(t.Context())
		e := taskError(t, err)
		assert.Equal(t, "omniq.Decode", e.Type)
		assert.Contains(t, e.Message, "args")
		assert.Zero(t, time.Since(start))
	})
}

// Seen in: machinery 278, a poison message that stops the worker from starting.
func TestPoisonMessageDoesNotStopTheWorker(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		d := omniq.DefineArgs("double", func(_ context.Context, a omniq.Args1[int]) (int, error) { return 2 * a.V1, nil })
		poisons := []omniq.RawTask{
			{FuncName: "double", Args: omniq.Raw(`["text"]`)},
			{FuncName: "double", Args: omniq.Raw(`[]`)},
			{FuncName: "double", Args: omniq.Raw(`[1]`), Kwargs: omniq.Raw(`{"unknown":1}`)},
			{FuncName: "double", Args: omniq.Raw(`["AAAA","AAAA"]`), Codec: "of-nobody"},
			{FuncName: "of nobody", Args: omniq.Raw(`[1]`)},
		}
		// No door lets them all in, so they are put in the place of others on the way to the worker.
		in := make(map[uuid.UUID]*omniq.RawTask)
		m := &meddler{Backend: b}
		m.lease = func(ctx context.Context, r omniq.LeaseRequest) ([]omniq.Lease, error) {
			leases, err := b.Lease(ctx, r)
			for i := range leases {
				if p, ok := in[leases[i].TaskID]; ok {
					leases[i].Task = p
				}
			}
			return leases, err
		}
		for i := range poisons {
			p := &poisons[i]
			good := rawTask()
			good.Priority = 1
			p.ID, p.CreatedAt, p.Priority = good.ID, good.CreatedAt, 1
			in[p.ID] = p
			require.NoError(t, client.Enqueue(t.Context(), good))
		}
		h, err := d.Enqueue(t.Context(), client, omniq.MakeArgs1(21))
		require.NoError(t, err)
		run(t, m, omniq.Handlers(d), omniq.Concurrency(1))
		got, err := h.Wait(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 42, got)
		for i, p := range poisons {
			r, err := client.Wait(t.Context(), p.ID)
			require.NoError(t, err)
			assert.Equal(t, omniq.StatusFailure, r.Status, i)
		}
	})
}

// Seen in: asynq, a pause of 0.5 to 1.5 s before an idle worker sees a task (polling); River, 100 ms. Here it is no time
// at all: a clock that stands still shows that nothing waits for a timer.
func TestIdleWorkerStartsWithinAMillisecond(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		d := omniq.DefineNoArgs("now", func(context.Context) (time.Time, error) { return time.Now(), nil })
		run(t, b, omniq.Handlers(d))
		for range 3 {
			time.Sleep(time.Hour)
			start := time.Now()
			h, err := d.Enqueue(t.Context(), client)
			require.NoError(t, err)
			at, err := h.Wait(t.Context())
			require.NoError(t, err)
			assert.Zero(t, at.Sub(start))
			assert.Zero(t, time.Since(start), "and nothing on the way back")
		}
	})
}

// Seen in: asynq 913, memory that grows with every timer in a loop.
func TestMemoryDoesNotGrowWithTimers(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		d := omniq.DefineNoArgsVoid("any", noop, omniq.ResultTTL(10*time.Millisecond), omniq.Timeout(time.Hour), omniq.TTL(time.Hour))
		run(t, b, omniq.Handlers(d), omniq.LeaseDuration(30*time.Millisecond))
		round := func(n int) {
			for range n {
				h, err := d.Enqueue(t.Context(), client)
				require.NoError(t, err)
				_, err = h.Wait(t.Context())
				require.NoError(t, err)
				time.Sleep(20 * time.Millisecond)
			}
		}
		heap := func() uint64 {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return m.HeapObjects
		}
		round(500)
		before, goroutines := heap(), runtime.NumGoroutine()
		round(2000)
		assert.Less(t, heap(), before+1000, "less than one object for two tasks")
		assert.LessOrEqual(t, runtime.NumGoroutine(), goroutines+1)
	})
}

// Seen in: asynq 265, 511 and 851, River 621, taskiq 558, bullmq 216: "how do I get the result back, typed?"
func TestResultComesBackTyped(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		d := omniq.Define("images.resize", resize)
		run(t, b, omniq.Handlers(d))
		h, err := d.Enqueue(t.Context(), client, resizeArgs{"a.png", 640}, resizeOpts{Quality: 2})
		require.NoError(t, err)
		var got thumb
		got, err = h.Wait(t.Context())
		require.NoError(t, err)
		assert.Equal(t, thumb{"a.png.thumb", 1280}, got)
	})
}

// Seen in: asynq 173, 368, 382 and 919: "let me use another store than Redis", "let me embed it". Any implementation of
// the contract will do, and two may be mixed.
func TestQueueAndResultsInDifferentStores(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		queue, _ := newMemory(t)
		d := omniq.DefineNoArgs("any", func(context.Context) (int, error) { return 42, nil })
		counted := &countingStore{Backend: queue}
		client := newClient(t, counted)
		run(t, counted, omniq.Handlers(d))
		h, err := d.Enqueue(t.Context(), client)
		require.NoError(t, err)
		got, err := h.Wait(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 42, got)
		assert.EqualValues(t, 1, counted.asked.Load())
	})
}

// countingStore is a result store of somebody else's in front of another.
type countingStore struct {
	omniq.Backend
	asked atomic.Int32
}

func (s *countingStore) Await(ctx context.Context, id uuid.UUID) (*omniq.RawResult, error) {
	s.asked.Add(1)
	return s.Backend.Await(ctx, id)
}

// Many producers and workers at once: each task is done once, and each waiter gets its own result.
func TestEachTaskOnceUnderLoad(t *testing.T) {
	b, client := newMemory(t)
	var mu sync.Mutex
	done := map[int]int{}
	d := omniq.DefineArgs("count", func(_ context.Context, a omniq.Args1[int]) (string, error) {
		mu.Lock()
		defer mu.Unlock()
		done[a.V1]++
		return fmt.Sprint(a.V1), nil
	})
	for range 3 {
		run(t, b, omniq.Handlers(d), omniq.Concurrency(5))
	}
	const producers, tasks = 8, 250
	var wg sync.WaitGroup
	for p := range producers {
		wg.Go(func() {
			handles := make([]*omniq.Handle[string], tasks)
			for i := range handles {
				var err error
				handles[i], err = d.Enqueue(t.Context(), client, omniq.MakeArgs1(p*tasks+i))
				if !assert.NoError(t, err) {
					return
				}
			}
			for i, h := range handles {
				got, err := h.Wait(t.Context())
				assert.NoError(t, err)
				assert.Equal(t, fmt.Sprint(p*tasks+i), got)
			}
		})
	}
	wg.Wait()
	assert.Len(t, done, producers*tasks)
	for n, times := range done {
		assert.Equal(t, 1, times, n)
	}
}
