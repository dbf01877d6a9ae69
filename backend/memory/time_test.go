package memory_test

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
	"github.com/omniq-go/omniq/internal/bubble"
)

func task(change ...func(*omniq.RawTask)) *omniq.RawTask {
	t := &omniq.RawTask{ID: uuid.New(), FuncName: "f", CreatedAt: time.Now()}
	for _, f := range change {
		f(t)
	}
	return t
}

func request(duration, wait time.Duration) omniq.LeaseRequest {
	return omniq.LeaseRequest{Queues: []string{omniq.DefaultQueue}, Max: 10, Duration: duration, Wait: wait}
}

func finish(l omniq.Lease, ttl time.Duration) []omniq.Settlement {
	return []omniq.Settlement{{LeaseID: l.LeaseID, Action: omniq.ActionFinish, Result: &omniq.RawResult{
		TaskID: l.TaskID, Status: omniq.StatusSuccess, Timestamp: time.Now(), TTL: &ttl, Attempts: l.Attempt,
	}}}
}

// What happens by itself does so at its very moment.
func TestMoments(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b := memory.New()
		defer func() { require.NoError(t, b.Close()) }()
		ctx, began := t.Context(), time.Now()
		_, err := b.Enqueue(ctx, []*omniq.RawTask{task(func(t *omniq.RawTask) { t.RunAt = time.Now().Add(time.Hour) })})
		require.NoError(t, err)

		leases, err := b.Lease(ctx, request(time.Minute, 24*time.Hour))
		require.NoError(t, err)
		require.Len(t, leases, 1)
		assert.Equal(t, time.Hour, time.Since(began), "a delayed task")
		assert.True(t, time.Now().Add(time.Minute).Equal(leases[0].Expires))

		leases, err = b.Lease(ctx, request(time.Minute, 24*time.Hour))
		require.NoError(t, err)
		require.Len(t, leases, 1)
		pause := time.Since(began) - time.Hour - time.Minute
		assert.True(t, 0 <= pause && pause < time.Second, "a lease that ran out, after a pause of %v", pause)

		_, err = b.Settle(ctx, finish(leases[0], time.Second))
		require.NoError(t, err)
		time.Sleep(time.Second - 1)
		_, err = b.Result(ctx, leases[0].TaskID)
		assert.NoError(t, err, "a result just before its TTL is over")
		time.Sleep(time.Nanosecond)
		_, err = b.Result(ctx, leases[0].TaskID)
		assert.ErrorIs(t, err, omniq.ErrNotFound)

		life := time.Minute
		waiting := task(func(t *omniq.RawTask) { t.TTL = &life })
		_, err = b.Enqueue(ctx, []*omniq.RawTask{waiting})
		require.NoError(t, err)
		began = time.Now()
		r, err := b.Await(ctx, waiting.ID)
		require.NoError(t, err)
		assert.Equal(t, omniq.StatusExpired, r.Status)
		assert.Equal(t, time.Minute, time.Since(began), "a task that expires")
	})
}

// Who waits is pushed: no time passes.
func TestWaitingIsPushed(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b := memory.New()
		defer func() { require.NoError(t, b.Close()) }()
		ctx, began := t.Context(), time.Now()
		want := task()
		done := make(chan time.Duration)
		go func() {
			leases, err := b.Lease(ctx, request(time.Minute, time.Hour))
			assert.NoError(t, err)
			done <- time.Since(began)
			_, err = b.Settle(ctx, finish(leases[0], 0))
			assert.NoError(t, err)
		}()
		synctest.Wait()
		_, err := b.Enqueue(ctx, []*omniq.RawTask{want})
		require.NoError(t, err)
		go func() { assert.Zero(t, <-done, "a Lease that waits") }()
		_, err = b.Await(ctx, want.ID)
		require.NoError(t, err)
		assert.Zero(t, time.Since(began), "an Await")
	})
}

// A waiter whose context ends at the moment in which it is woken passes the task on.
func TestNoWakeIsLost(t *testing.T) {
	b := memory.New()
	defer func() { require.NoError(t, b.Close()) }()
	for range 2000 {
		ctx, cancel := context.WithCancel(t.Context())
		got := make(chan int, 2)
		lease := func(ctx context.Context) {
			leases, _ := b.Lease(ctx, request(time.Minute, time.Minute)) // the context's error is expected
			for _, l := range leases {
				_, err := b.Settle(t.Context(), finish(l, 0))
				assert.NoError(t, err)
			}
			got <- len(leases)
		}
		other, stop := context.WithCancel(t.Context())
		go lease(ctx)
		go lease(other)
		go cancel()
		_, err := b.Enqueue(t.Context(), []*omniq.RawTask{task()})
		require.NoError(t, err)
		if <-got == 0 {
			require.Equal(t, 1, <-got)
		} else {
			stop()
			<-got
		}
		stop()
	}
}

// Settled tasks and results that are gone leave nothing.
func TestMemoryIsBoundedByWhatIsQueued(t *testing.T) {
	b := memory.New()
	defer func() { require.NoError(t, b.Close()) }()
	round := func() {
		var tasks []*omniq.RawTask
		for range 1000 {
			tasks = append(tasks, task(func(t *omniq.RawTask) { t.Queue = uuid.NewString() }))
		}
		var queues []string
		for _, task := range tasks {
			queues = append(queues, task.Queue)
		}
		_, err := b.Enqueue(t.Context(), tasks)
		require.NoError(t, err)
		r := request(time.Hour, 0)
		r.Queues, r.Max = queues, len(tasks)
		leases, err := b.Lease(t.Context(), r)
		require.NoError(t, err)
		require.Len(t, leases, len(tasks))
		for _, l := range leases {
			_, err := b.Settle(t.Context(), finish(l, 0))
			require.NoError(t, err)
		}
	}
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	round()
	before := heap()
	for range 200 {
		round()
	}
	assert.Less(t, heap(), before+1<<20, "200,000 tasks have left something behind")
}

func ExampleNew() {
	backend := memory.New()
	defer func() { _ = backend.Close() }()
	double := omniq.DefineArgs("double", func(_ context.Context, args omniq.Args1[int]) (int, error) { return 2 * args.V1, nil })
	worker, err := omniq.NewWorker(backend, omniq.Handlers(double), omniq.Logger(slog.New(slog.DiscardHandler)))
	if err != nil {
		panic(err)
	}
	client, err := omniq.NewClient(backend)
	if err != nil {
		panic(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go func() { _ = worker.Run(ctx) }()

	handle, err := double.Enqueue(ctx, client, omniq.MakeArgs1(21))
	if err != nil {
		panic(err)
	}
	fmt.Println(handle.Wait(ctx))
	// Output: 42 <nil>
}
