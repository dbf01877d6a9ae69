package omniq_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/bubble"
)

// item is one of the batches of these tests.
type item = omniq.Item[omniq.Args1[int], string]

// batches keeps what the handler of a batch was called with.
type batches struct {
	mu    sync.Mutex
	calls [][]int
	at    []time.Duration
	began time.Time
}

func newBatches() *batches { return &batches{began: time.Now()} }

func (b *batches) note(items []*item) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var args []int
	for _, i := range items {
		args = append(args, i.Args.V1)
	}
	b.calls = append(b.calls, args)
	b.at = append(b.at, time.Since(b.began))
}

func (b *batches) sizes() (n []int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.calls {
		n = append(n, len(c))
	}
	return n
}

// enqueueAll enqueues a task for each number.
func enqueueAll(t *testing.T, client *omniq.Client, d omniq.ArgsDefinition[omniq.Args1[int], string], numbers []int, opts ...omniq.TaskOption) []*omniq.Handle[string] {
	t.Helper()
	handles := make([]*omniq.Handle[string], len(numbers))
	for i, n := range numbers {
		h, err := d.Enqueue(t.Context(), client, omniq.MakeArgs1(n), opts...)
		require.NoError(t, err)
		handles[i] = h
	}
	return handles
}

// Tasks come together, however few handlers the worker has, and each gets its own result.
func TestBatch(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		seen := newBatches()
		d := omniq.DefineBatch("batch", func(_ context.Context, items []*item) error {
			seen.note(items)
			for _, i := range items {
				i.Succeed(fmt.Sprint("row ", i.Args.V1))
			}
			return nil
		}, omniq.UpTo(100, time.Second))
		handles := enqueueAll(t, client, d, upTo(250))
		run(t, b, omniq.Handlers(d), omniq.Concurrency(3))
		for i, h := range handles {
			got, err := h.Wait(t.Context())
			require.NoError(t, err)
			assert.Equal(t, fmt.Sprint("row ", i), got)
		}
		assert.Equal(t, []int{100, 100, 50}, seen.sizes())
		assert.Equal(t, seconds(0, 0, 1), seen.at, "the last one waits for more")
		assert.ElementsMatch(t, upTo(250), slices.Concat(seen.calls...))
	})
}

// A batch takes one place, and other tasks of the worker get theirs.
func TestBatchTakesOnePlace(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		var mu sync.Mutex
		running, most, tasks := 0, 0, 0
		count := func(batch, by int) {
			mu.Lock()
			defer mu.Unlock()
			running += batch
			tasks += by
			most = max(most, running)
		}
		d := omniq.DefineBatch("batch", func(_ context.Context, items []*item) error {
			count(1, len(items))
			time.Sleep(time.Second)
			count(-1, 0)
			for _, i := range items {
				i.Succeed("")
			}
			return nil
		}, omniq.UpTo(10, 10*time.Millisecond))
		single := omniq.DefineNoArgs("single", func(context.Context) (int, error) {
			count(1, 1)
			time.Sleep(time.Second)
			count(-1, 0)
			return 1, nil
		})
		handles := enqueueAll(t, client, d, upTo(100))
		for range 8 {
			_, err := single.Enqueue(t.Context(), client)
			require.NoError(t, err)
		}
		began := time.Now()
		run(t, b, omniq.Handlers(d, single), omniq.Concurrency(4), omniq.QueueLimit(omniq.DefaultQueue, 100))
		for _, h := range handles {
			_, err := h.Wait(t.Context())
			require.NoError(t, err)
		}
		until(t, func() bool { return succeeded(t, client) == 108 })
		assert.Equal(t, 108, tasks)
		assert.Equal(t, 4, most)
		assert.Less(t, time.Since(began), 6*time.Second, "18 handlers of a second, 4 at once")
	})
}

func TestBatchEnds(t *testing.T) {
	oops := errors.New("oops")
	type end = func(items []*item) error
	for name, c := range map[string]struct {
		end  end
		want []string // results, or errors
	}{
		"each its own": {
			func(items []*item) error {
				items[0].Succeed("a")
				items[1].Fail(omniq.Permanent(oops))
				items[2].Succeed("c")
				return nil
			}, []string{"a", "oops", "c"},
		},
		"the first end counts": {
			func(items []*item) error {
				for _, i := range items {
					i.Succeed("first")
					i.Succeed("second")
					i.Fail(oops)
				}
				return oops
			}, []string{"first", "first", "first"},
		},
		"an error is that of the rest": {
			func(items []*item) error {
				items[1].Succeed("b")
				return omniq.Permanent(oops)
			}, []string{"oops", "b", "oops"},
		},
		"a panic is that of the rest": {
			func(items []*item) error {
				items[1].Succeed("b")
				panic("ouch")
			}, []string{"panic: ouch", "b", "panic: ouch"},
		},
		"so is the end of the goroutine": {
			func(items []*item) error {
				items[0].Succeed("a")
				runtime.Goexit()
				return nil
			}, []string{"a", "the handler ended its goroutine", "the handler ended its goroutine"},
		},
		"none": {
			func([]*item) error { return nil },
			slices.Repeat([]string{"the handler of the batch has returned without an end of this task"}, 3),
		},
		"a nil error": {
			func(items []*item) error { items[0].Fail(nil); return omniq.Permanent(oops) },
			[]string{"has called Fail with a nil error", "oops", "oops"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				b, client := newMemory(t)
				d := omniq.DefineBatch("batch", func(_ context.Context, items []*item) error {
					slices.SortFunc(items, func(a, b *item) int { return a.Args.V1 - b.Args.V1 })
					return c.end(items)
				}, omniq.UpTo(3, time.Minute))
				run(t, b, omniq.Handlers(d), omniq.Retries(0), omniq.Concurrency(2))
				for i, h := range enqueueAll(t, client, d, upTo(3)) {
					got, err := h.Wait(t.Context())
					if err != nil {
						got = err.Error()
					}
					assert.Contains(t, got, c.want[i])
				}
			})
		})
	}
}

// Tasks without a result need no end of their own.
func TestBatchOfVoid(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		fails := true
		d := omniq.DefineBatch("batch", func(_ context.Context, items []*omniq.Item[omniq.Args1[int], omniq.Void]) error {
			if fails {
				fails = false
				return errors.New("once")
			}
			return nil
		}, omniq.UpTo(5, time.Millisecond))
		run(t, b, omniq.Handlers(d))
		var handles []*omniq.Handle[omniq.Void]
		for i := range 5 {
			h, err := d.Enqueue(t.Context(), client, omniq.MakeArgs1(i))
			require.NoError(t, err)
			handles = append(handles, h)
		}
		for _, h := range handles {
			_, err := h.Wait(t.Context())
			require.NoError(t, err)
			info, err := client.Inspect(t.Context(), h.ID())
			require.NoError(t, err)
			assert.Equal(t, 2, info.Attempts)
		}
	})
}

// Each task has its own attempts, timeout, cancellation and payload, and its mates do not notice.
func TestBatchOfDifferentFates(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		snoozed := false
		d := omniq.DefineBatch("batch", func(_ context.Context, items []*item) error {
			for _, i := range items {
				switch info := i.Info(); {
				case i.Args.V1 == 1 && info.Attempt == 1:
					i.Fail(errors.New("again"))
				case i.Args.V1 == 2 && !snoozed:
					snoozed = true
					i.Fail(omniq.Snooze(time.Minute))
				case i.Args.V1 >= 3:
					<-i.Context().Done()
					i.Fail(context.Cause(i.Context()))
				default:
					i.Succeed(fmt.Sprint(info.Attempt))
				}
			}
			return nil
		}, omniq.UpTo(5, time.Second))
		l := new(ledger)
		w := run(t, b, omniq.Handlers(d), omniq.Retries(1), l.option())
		handles := enqueueAll(t, client, d, []int{0, 1, 2})
		handles = append(handles, enqueueAll(t, client, d, []int{3}, omniq.Timeout(10*time.Second), omniq.Retries(0))...)
		handles = append(handles, enqueueAll(t, client, d, []int{4})...)
		poison, err := omniq.ReferArgs[omniq.Args1[string], string]("batch").Enqueue(t.Context(), client, omniq.MakeArgs1("not a number"))
		require.NoError(t, err)
		_, err = poison.Wait(t.Context())
		require.ErrorContains(t, err, "omniq.Decode")
		time.Sleep(5 * time.Second)
		require.NoError(t, client.Cancel(t.Context(), handles[4].ID()))
		for i, want := range []string{"1", "2", "1", "no result within 10s", "cancelled"} {
			got, err := handles[i].Wait(t.Context())
			if err != nil {
				got = err.Error()
			}
			assert.Contains(t, got, want, "item %d", i)
		}
		require.NoError(t, w.stop())
		outcomes := make(map[omniq.AttemptOutcome]int)
		for _, s := range l.settled() {
			outcomes[s.Outcome]++
		}
		assert.Equal(t, map[omniq.AttemptOutcome]int{
			omniq.OutcomeSuccess: 3, omniq.OutcomeRetry: 1, omniq.OutcomeSnooze: 1, omniq.OutcomeFailure: 2, omniq.OutcomeCancelled: 1,
		}, outcomes)
	})
}

// A task that is cancelled, or out of time, while its batch gathers leaves it.
func TestBatchIsLeft(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		seen := newBatches()
		d := omniq.DefineBatch("batch", func(ctx context.Context, items []*item) error {
			seen.note(items)
			_, ok := omniq.InfoFrom(ctx)
			assert.False(t, ok, "the batch is no task")
			for _, i := range items {
				i.Succeed("")
			}
			return nil
		}, omniq.UpTo(10, time.Minute))
		run(t, b, omniq.Handlers(d), omniq.Concurrency(1))
		handles := enqueueAll(t, client, d, []int{1, 2})
		handles = append(handles, enqueueAll(t, client, d, []int{3}, omniq.Timeout(time.Second), omniq.Retries(0))...)
		time.Sleep(10 * time.Second)
		require.NoError(t, client.Cancel(t.Context(), handles[0].ID()))
		_, err := handles[2].Wait(t.Context())
		require.ErrorIs(t, err, omniq.ErrTimeout)
		_, err = handles[1].Wait(t.Context())
		require.NoError(t, err)
		assert.Equal(t, [][]int{{2}}, seen.calls)

		alone := enqueueAll(t, client, d, []int{4}) // all leave
		time.Sleep(time.Second)
		require.NoError(t, client.Cancel(t.Context(), alone[0].ID()))
		time.Sleep(2 * time.Minute)
		_, err = enqueueAll(t, client, d, []int{5})[0].Wait(t.Context())
		require.NoError(t, err, "the place is free again")
		assert.Equal(t, [][]int{{2}, {5}}, seen.calls)
	})
}

// A worker that stops lets its batches begin at once, and ends them as it ends handlers.
func TestBatchAtShutdown(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		seen := newBatches()
		var cause error
		d := omniq.DefineBatch("batch", func(ctx context.Context, items []*item) error {
			seen.note(items)
			if items[0].Args.V1 == 9 {
				<-ctx.Done()
				cause = context.Cause(ctx)
				return cause
			}
			for _, i := range items {
				i.Succeed("")
			}
			return nil
		}, omniq.UpTo(10, time.Hour))
		w := run(t, b, omniq.Handlers(d), omniq.ShutdownTimeout(time.Minute))
		handles := enqueueAll(t, client, d, upTo(3))
		synctest.Wait()
		require.NoError(t, w.stop())
		assert.Equal(t, seconds(0), seen.at)
		for _, h := range handles {
			_, err := h.Wait(t.Context())
			require.NoError(t, err)
		}

		w = run(t, b, omniq.Handlers(d), omniq.ShutdownTimeout(time.Minute))
		nine := enqueueAll(t, client, d, []int{9})[0]
		synctest.Wait()
		require.NoError(t, w.stop())
		require.ErrorIs(t, cause, omniq.ErrShutdown)
		info, err := client.Inspect(t.Context(), nine.ID())
		require.NoError(t, err)
		assert.Equal(t, []any{omniq.StatusPending, 0}, []any{info.Status, info.Attempts}, "it is given back")
	})
}

func TestDefineBatchPanics(t *testing.T) {
	fn := func(context.Context, []*item) error { return nil }
	for want, define := range map[string]func(){
		"its function is nil":                  func() { omniq.DefineBatch[omniq.Args1[int], string]("b", nil, omniq.UpTo(1, 0)) },
		"batches of up to 0 tasks":             func() { omniq.DefineBatch("b", fn, omniq.BatchSize{}) },
		"batches of up to 10001 tasks":         func() { omniq.DefineBatch("b", fn, omniq.UpTo(omniq.MaxBatch+1, 0)) },
		"after -1ns, want 1 to 10000, and at ": func() { omniq.DefineBatch("b", fn, omniq.UpTo(5, -1)) },
		"func_name is empty":                   func() { omniq.DefineBatch("", fn, omniq.UpTo(5, 0)) },
	} {
		func() {
			defer func() { assert.Contains(t, fmt.Sprint(recover()), want) }()
			define()
		}()
	}
}
