package omniq_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/bubble"
)

// fill enqueues n tasks into each of the queues.
func fill(t *testing.T, client *omniq.Client, ref omniq.NoArgsReference[omniq.Void], n int, queues ...string) {
	t.Helper()
	var tasks []omniq.Task[omniq.NoArgs, omniq.NoKwargs]
	for _, q := range queues {
		for range n {
			task, err := ref.Task(omniq.Queue(q))
			require.NoError(t, err)
			tasks = append(tasks, task)
		}
	}
	_, err := ref.EnqueueMany(t.Context(), client, tasks)
	require.NoError(t, err)
}

// Each queue provides its share of the tasks, and none waits for ever.
func TestQueueWeights(t *testing.T) {
	const draws = 2000
	for name, weights := range map[string]map[string]int{
		"6, 3 and 1":   {"a": 6, "b": 3, "c": 1},
		"one alone":    {"a": 7},
		"equal":        {"a": 5, "b": 5},
		"far from one": {"a": 1_000_000, "b": 500_000, "c": 1},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				b, client := newMemory(t)
				counts, last := make(map[string]int), make(map[string]int)
				n, gap := 0, make(map[string]int)
				enough := make(chan struct{})
				d := omniq.DefineNoArgsVoid("any", func(ctx context.Context) error {
					if n == draws {
						close(enough)
						<-ctx.Done()
						return nil
					}
					info, _ := omniq.InfoFrom(ctx)
					n++
					counts[info.Queue]++
					gap[info.Queue] = max(gap[info.Queue], n-last[info.Queue])
					last[info.Queue] = n
					return nil
				})
				sum := 0
				for q, weight := range weights {
					fill(t, client, omniq.ReferNoArgs[omniq.Void]("any"), draws+1, q)
					sum += weight
				}
				w := run(t, b, omniq.Handlers(d), omniq.QueueWeights(weights), omniq.Concurrency(1), omniq.ShutdownTimeout(0))
				<-enough
				require.NoError(t, w.stop())
				for q, weight := range weights {
					p := float64(weight) / float64(sum)
					sigma := math.Sqrt(draws * p * (1 - p))
					assert.InDelta(t, draws*p, counts[q], 6*sigma+1, "queue %s: six standard deviations", q)
					if p*draws > 100 {
						assert.Less(t, float64(gap[q]), 25/p, "queue %s: one in 10,000,000,000 draws waits longer", q)
					}
				}
			})
		})
	}
}

// A heavy queue without tasks does not keep the others from their turn.
func TestEmptyQueueOfWeightCostsNothing(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		done := 0
		d := omniq.DefineNoArgsVoid("any", func(context.Context) error { done++; return nil })
		run(t, b, omniq.Handlers(d), omniq.QueueWeights(map[string]int{"heavy": 1_000_000, "light": 1}), omniq.Concurrency(1))
		start := time.Now()
		fill(t, client, d.NoArgsReference, 100, "light")
		synctest.Wait()
		assert.Equal(t, 100, done)
		assert.Zero(t, time.Since(start))
	})
}

// Of Queues and QueueWeights the last one holds.
func TestLastQueuesHold(t *testing.T) {
	weights := omniq.QueueWeights(map[string]int{"a": 1, "b": 1})
	d := omniq.DefineNoArgsVoid("any", noop)
	for name, c := range map[string]struct {
		opts   []omniq.WorkerOption
		orders [][]string // those that are to be seen
	}{
		"strict":        {[]omniq.WorkerOption{weights, omniq.Queues("b", "a")}, [][]string{{"b", "a"}}},
		"weights":       {[]omniq.WorkerOption{omniq.Queues("c", "d"), weights}, [][]string{{"a", "b"}, {"b", "a"}}},
		"other weights": {[]omniq.WorkerOption{weights, omniq.QueueWeights(map[string]int{"c": 1})}, [][]string{{"c"}}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				b, _ := newMemory(t)
				var seen [][]string
				m := &meddler{Backend: b, lease: func(ctx context.Context, r omniq.LeaseRequest) ([]omniq.Lease, error) {
					assert.Nil(t, r.Limits)
					if !slices.ContainsFunc(seen, func(q []string) bool { return slices.Equal(q, r.Queues) }) {
						seen = append(seen, slices.Clone(r.Queues))
					}
					return b.Lease(ctx, r)
				}}
				w := run(t, m, append(c.opts, omniq.Handlers(d), omniq.WithoutSchedules())...)
				time.Sleep(2 * time.Hour) // a call waits for a minute
				require.NoError(t, w.stop())
				assert.ElementsMatch(t, c.orders, seen)
			})
		})
	}
}

// crowd notes how many handlers of each queue run at once.
type crowd struct {
	mu        sync.Mutex
	now, most map[string]int
	done      map[string]int
}

func newCrowd() *crowd {
	return &crowd{now: make(map[string]int), most: make(map[string]int), done: make(map[string]int)}
}

// define makes a task that takes as long as its queue says.
func (c *crowd) define(took map[string]time.Duration) omniq.NoArgsDefinition[omniq.Void] {
	return omniq.DefineNoArgsVoid("any", func(ctx context.Context) error {
		info, _ := omniq.InfoFrom(ctx)
		c.add(info.Queue, 1)
		defer c.add(info.Queue, -1)
		time.Sleep(took[info.Queue])
		return nil
	})
}

func (c *crowd) add(queue string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now[queue] += n
	c.most[queue] = max(c.most[queue], c.now[queue])
	if n < 0 {
		c.done[queue]++
	}
}

func (c *crowd) ended(queue string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.done[queue]
}

// peak is how many ran at once.
func (c *crowd) peak(queue string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.most[queue]
}

func TestQueueLimit(t *testing.T) {
	for name, c := range map[string]struct {
		opts []omniq.WorkerOption
		most map[string]int // handlers at once
		took time.Duration  // until all is done: 12 tasks of a minute in slow, 120 of a second in quick
	}{
		"one queue has a limit": {
			[]omniq.WorkerOption{omniq.Queues("slow", "quick"), omniq.QueueLimit("slow", 2)},
			map[string]int{"slow": 2, "quick": 6}, 6 * time.Minute,
		},
		"in the other order": {
			[]omniq.WorkerOption{omniq.Queues("quick", "slow"), omniq.QueueLimit("slow", 2)},
			map[string]int{"slow": 2, "quick": 8}, 6*time.Minute + 15*time.Second,
		},
		"both have limits": {
			[]omniq.WorkerOption{omniq.Queues("slow", "quick"), omniq.QueueLimit("slow", 3), omniq.QueueLimit("quick", 1)},
			map[string]int{"slow": 3, "quick": 1}, 4 * time.Minute,
		},
		"with weights": {
			[]omniq.WorkerOption{
				omniq.QueueWeights(map[string]int{"slow": 9, "quick": 1}), omniq.QueueLimit("slow", 1), omniq.QueueLimit("quick", 1),
			},
			map[string]int{"slow": 1, "quick": 1}, 12 * time.Minute,
		},
		"the last limit holds": {
			[]omniq.WorkerOption{omniq.Queues("slow", "quick"), omniq.QueueLimit("slow", 8), omniq.QueueLimit("slow", 4)},
			map[string]int{"slow": 4, "quick": 4}, 3 * time.Minute,
		},
		"more than there are handlers": {
			[]omniq.WorkerOption{omniq.Queues("slow", "quick"), omniq.QueueLimit("slow", 100)},
			map[string]int{"slow": 8, "quick": 8}, 2 * time.Minute,
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				b, client := newMemory(t)
				crowd := newCrowd()
				d := crowd.define(map[string]time.Duration{"slow": time.Minute, "quick": time.Second})
				fill(t, client, d.NoArgsReference, 12, "slow")
				fill(t, client, d.NoArgsReference, 120, "quick")
				start := time.Now()
				w := run(t, b, append(c.opts, omniq.Handlers(d), omniq.Concurrency(8))...)
				for crowd.ended("slow") < 12 || crowd.ended("quick") < 120 {
					time.Sleep(time.Second)
					synctest.Wait()
				}
				assert.LessOrEqual(t, time.Since(start), c.took, "a place that is free is filled at once")
				for q, most := range c.most {
					assert.LessOrEqual(t, crowd.peak(q), most, q)
				}
				assert.Equal(t, c.most["slow"], crowd.peak("slow"), "the limit is used")
				require.NoError(t, w.stop())
			})
		})
	}
}

// What was taken ahead counts, too.
func TestQueueLimitWithPrefetch(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		crowd := newCrowd()
		d := crowd.define(map[string]time.Duration{"slow": 10 * time.Millisecond, "quick": time.Millisecond})
		fill(t, client, d.NoArgsReference, 10, "slow")
		fill(t, client, d.NoArgsReference, 100, "quick")
		run(t, b, omniq.Handlers(d), omniq.Concurrency(4), omniq.Prefetch(6), omniq.Queues("slow", "quick"), omniq.QueueLimit("slow", 2))
		for crowd.ended("slow") < 10 || crowd.ended("quick") < 100 {
			time.Sleep(500 * time.Microsecond)
			synctest.Wait()
			stats, err := client.Stats(t.Context())
			require.NoError(t, err)
			for _, s := range stats {
				if s.Queue == "slow" {
					assert.LessOrEqual(t, s.Running, 2)
				}
			}
		}
		assert.Equal(t, 2, crowd.peak("slow"))
	})
}

// A queue that was full is asked for again as soon as it has room, although a call waits for the others.
func TestFullQueueGetsRoom(t *testing.T) {
	for name, opts := range map[string][]omniq.WorkerOption{
		"plain":         {omniq.Concurrency(4)},
		"ahead":         {omniq.Concurrency(4), omniq.Prefetch(4)},
		"more ahead":    {omniq.Concurrency(1), omniq.Prefetch(20)},
		"with failures": {omniq.Concurrency(4), omniq.Retries(0)},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				b, client := newMemory(t)
				var starts []time.Duration
				start := time.Now()
				d := omniq.DefineNoArgsVoid("any", func(context.Context) error {
					starts = append(starts, time.Since(start))
					time.Sleep(10 * time.Second)
					if name == "with failures" {
						panic("failed")
					}
					return nil
				})
				fill(t, client, d.NoArgsReference, 4, "full")
				run(t, b, append(opts, omniq.Handlers(d), omniq.Queues("full", "empty"), omniq.QueueLimit("full", 1))...)
				time.Sleep(time.Minute)
				synctest.Wait()
				assert.Equal(t, seconds(0, 10, 20, 30), starts)
			})
		})
	}
}

// A worker whose queues are full asks for nothing, and one that has room in some waits in one call.
func TestFullQueuesAreNotAskedFor(t *testing.T) {
	for name, c := range map[string]struct {
		queues []string
		calls  int // in an hour
	}{
		"all are full": {[]string{"full", "other"}, 0},
		"one is empty": {[]string{"full", "empty", "other"}, 60},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				b, client := newMemory(t)
				var calls atomic.Int32
				m := &meddler{Backend: b, lease: func(ctx context.Context, r omniq.LeaseRequest) ([]omniq.Lease, error) {
					calls.Add(1)
					return b.Lease(ctx, r)
				}}
				block := make(chan struct{})
				d := omniq.DefineNoArgsVoid("any", func(context.Context) error { <-block; return nil })
				fill(t, client, d.NoArgsReference, 5, "full", "other")
				run(t, m, omniq.Handlers(d), omniq.Concurrency(10), omniq.Prefetch(10), omniq.Queues(c.queues...),
					omniq.QueueLimit("full", 1), omniq.QueueLimit("other", 2))
				synctest.Wait()
				stats, err := client.Stats(t.Context())
				require.NoError(t, err)
				require.Equal(t, 1, stats[0].Running)
				require.Equal(t, 2, stats[len(stats)-1].Running)
				calls.Store(0)
				time.Sleep(time.Hour)
				synctest.Wait()
				assert.InDelta(t, c.calls, calls.Load(), 1)
				close(block)
				synctest.Wait()
			})
		})
	}
}

// An engine that does not care for limits gives too much once, and is not asked for that queue until it has room.
func TestEngineWithoutLimits(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		m := &meddler{Backend: b, lease: func(ctx context.Context, r omniq.LeaseRequest) ([]omniq.Lease, error) {
			r.Limits = nil
			return b.Lease(ctx, r)
		}}
		crowd := newCrowd()
		d := crowd.define(map[string]time.Duration{"full": time.Minute})
		fill(t, client, d.NoArgsReference, 20, "full")
		run(t, m, omniq.Handlers(d), omniq.Concurrency(4), omniq.Queues("full"), omniq.QueueLimit("full", 2))
		for crowd.ended("full") < 20 {
			time.Sleep(time.Second)
			synctest.Wait()
		}
		assert.LessOrEqual(t, crowd.peak("full"), 4)
	})
}

// Many quick tasks of queues that are full all the time: no limit is exceeded, and nothing is left over. For the race detector.
func TestQueueLimitsUnderLoad(t *testing.T) {
	b, client := newMemory(t)
	var now, done [3]atomic.Int32
	index := map[string]int{"default": 0, "one": 1, "two": 2}
	limit := [3]int32{100, 1, 2}
	d := omniq.DefineNoArgsVoid("any", func(ctx context.Context) error {
		info, _ := omniq.InfoFrom(ctx)
		i := index[info.Queue]
		assert.LessOrEqual(t, now[i].Add(1), limit[i], info.Queue)
		now[i].Add(-1)
		done[i].Add(1)
		return nil
	})
	w := run(t, b, omniq.Handlers(d), omniq.Prefetch(4), omniq.QueueWeights(map[string]int{"default": 1, "one": 1, "two": 1}),
		omniq.QueueLimit("one", 1), omniq.QueueLimit("two", 2))
	const n = 500
	fill(t, client, d.NoArgsReference, n, "default", "one", "two")
	for i := range done {
		require.Eventually(t, func() bool { return done[i].Load() == n }, time.Minute, time.Millisecond)
	}
	require.NoError(t, w.stop())
}

func TestQueueOptionsRefuse(t *testing.T) {
	b, _ := newMemory(t)
	h := omniq.Handlers(omniq.DefineNoArgsVoid("any", noop))
	for name, c := range map[string]struct {
		opts []omniq.WorkerOption
		want string
	}{
		"no weights":         {[]omniq.WorkerOption{omniq.QueueWeights(nil)}, "no queues"},
		"weight 0":           {[]omniq.WorkerOption{omniq.QueueWeights(map[string]int{"a": 0})}, `the weight of queue "a" is 0, want 1 to 1000000`},
		"weight too great":   {[]omniq.WorkerOption{omniq.QueueWeights(map[string]int{"a": 1_000_001})}, `the weight of queue "a" is 1000001`},
		"bad name":           {[]omniq.WorkerOption{omniq.QueueWeights(map[string]int{"a b": 1})}, `queue "a b"`},
		"empty name":         {[]omniq.WorkerOption{omniq.QueueWeights(map[string]int{"": 1})}, "queue"},
		"limit 0":            {[]omniq.WorkerOption{omniq.QueueLimit("default", 0)}, `the limit of queue "default" is 0, want at least 1`},
		"limit of no queue":  {[]omniq.WorkerOption{omniq.QueueLimit("a", 1)}, `QueueLimit is of queue "a", and the worker takes tasks from ["default"] only`},
		"limit of other":     {[]omniq.WorkerOption{omniq.QueueLimit("a", 1), omniq.Queues("a"), omniq.Queues("b")}, `QueueLimit is of queue "a"`},
		"limit without name": {[]omniq.WorkerOption{omniq.QueueLimit("", 1)}, `QueueLimit is of queue ""`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := omniq.NewWorker(b, append(c.opts, h)...)
			require.ErrorIs(t, err, omniq.ErrInvalid)
			assert.ErrorContains(t, err, c.want, fmt.Sprint(name))
		})
	}
}
