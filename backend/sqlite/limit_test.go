package sqlite_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/sqlite"
)

// statsOf returns the figures of a queue.
func statsOf(t *testing.T, b *sqlite.Backend, queue string) omniq.QueueStats {
	t.Helper()
	stats, err := b.Stats(t.Context())
	require.NoError(t, err)
	for _, s := range stats {
		if s.Queue == queue {
			s.Latency = 0
			return s
		}
	}
	return omniq.QueueStats{}
}

// A limit, what its rates were charged and what is held back outlive the process.
func TestLimitsAreKept(t *testing.T) {
	path := place(t)
	limit := omniq.Limit{Running: 5, Rate: omniq.Rate{Tasks: 1, Per: time.Hour, Burst: 4}, EachLane: omniq.LaneLimit{Running: 2, Rate: omniq.PerHour(1)}}
	b, err := sqlite.Open(path)
	require.NoError(t, err)
	require.NoError(t, b.SetLimit(t.Context(), "q", limit))
	enqueue(t, b, tasksIn("q", 2, inLane("a"))...)
	enqueue(t, b, tasksIn("q", 2, func(*omniq.RawTask) {})...)
	l := leaseOf(t, b, "q", 1)[0]
	require.Equal(t, "a", l.Task.Lane)
	l = leaseOf(t, b, "q", 1)[0]
	require.NoError(t, settle(t, b, omniq.Settlement{LeaseID: l.LeaseID, Action: omniq.ActionRelease, Hold: time.Hour}))
	enqueue(t, b, tasksIn("q", 3, inLane("b"))...)
	require.NoError(t, b.Close())

	b = open(t, path)
	assert.Equal(t, omniq.QueueStats{Queue: "q", Ready: 6, Running: 1, Lanes: 2, Limit: limit}, statsOf(t, b, "q"))
	l = leaseOf(t, b, "q", 1)[0]
	assert.Equal(t, "b", l.Task.Lane, "a has used up its rate, and the others are held back")
}

// Workers of two processes' kind never hold more than a limit permits, however they come in each other's way.
func TestLimitOfTwo(t *testing.T) {
	one, other := two(t)
	const n = 200
	require.NoError(t, one.SetLimit(t.Context(), "q", omniq.Limit{Running: 3, EachLane: omniq.LaneLimit{Running: 2}}))
	for i := range n {
		enqueue(t, one, tasksIn("q", 1, inLane([]string{"a", "b", ""}[i%3]))...)
	}
	var mu sync.Mutex
	running, most, done := 0, 0, 0
	var all sync.WaitGroup
	for _, b := range []*sqlite.Backend{one, other, one, other} {
		all.Go(func() {
			for {
				mu.Lock()
				over := done == n
				mu.Unlock()
				if over {
					return
				}
				leases, err := b.Lease(t.Context(), omniq.LeaseRequest{
					Queues: []string{"q"}, Max: 2, Duration: time.Minute, Wait: 50 * time.Millisecond, WorkerID: "w",
				})
				if !assert.NoError(t, err) {
					return
				}
				mu.Lock()
				running += len(leases)
				most = max(most, running)
				mu.Unlock()
				for _, l := range leases {
					mu.Lock()
					running-- // before its lease ends
					done++
					mu.Unlock()
					assert.NoError(t, settle(t, b, finish(l, "1", 0)))
				}
			}
		})
	}
	all.Wait()
	assert.LessOrEqual(t, most, 3)
}

// A call that asks for tasks ahead alone gets none of a queue that bounds how many run, and is not in the way of another that
// waits for a place.
func TestPlaceIsNotLostToWhoTakesAhead(t *testing.T) {
	b := open(t, fresh(t))
	require.NoError(t, b.SetLimit(t.Context(), omniq.DefaultQueue, omniq.Limit{Running: 1}))
	enqueue(t, b, newTasks(2)...)
	l := lease(t, b, time.Minute)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	asks := func(ahead int) <-chan []omniq.Lease {
		return later(t, func(context.Context) ([]omniq.Lease, error) {
			got, err := b.Lease(ctx, omniq.LeaseRequest{
				Queues: []string{omniq.DefaultQueue}, Max: 1, Ahead: ahead, Duration: time.Minute, Wait: time.Minute, WorkerID: "w",
			})
			if ctx.Err() != nil {
				return got, nil
			}
			return got, err
		})
	}
	greedy := asks(1)
	require.Eventually(t, func() bool { return b.Parked(t) == 1 }, 10*time.Second, time.Millisecond)
	patient := asks(0)
	require.Eventually(t, func() bool { return b.Parked(t) == 2 }, 10*time.Second, time.Millisecond)
	require.NoError(t, settle(t, b, finish(l, "1", time.Hour)))
	select {
	case got := <-patient:
		assert.Len(t, got, 1)
	case <-time.After(5 * time.Second):
		t.Error("a place is free, and nobody gets it")
	}
	cancel()
	<-greedy
}

// A limit that another process sets, and a place that it frees, are seen by who waits here.
func TestLimitOfAnotherProcess(t *testing.T) {
	path := fresh(t)
	b, other := open(t, path), elsewhere(t, path, time.Hour)
	require.NoError(t, other.SetLimit(t.Context(), omniq.DefaultQueue, omniq.Limit{EachLane: omniq.LaneLimit{Running: 1}}))
	enqueue(t, b, tasksIn(omniq.DefaultQueue, 4, inLane("a"))...)
	theirs := leaseOf(t, other, omniq.DefaultQueue, 9)
	require.Len(t, theirs, 1)
	require.Empty(t, leaseOf(t, b, omniq.DefaultQueue, 9))
	waits := func() <-chan []omniq.Lease {
		w := later(t, func(ctx context.Context) ([]omniq.Lease, error) {
			return b.Lease(ctx, omniq.LeaseRequest{
				Queues: []string{omniq.DefaultQueue}, Max: 9, Duration: time.Minute, Wait: time.Minute, WorkerID: "w",
			})
		})
		require.Eventually(t, func() bool { return b.Parked(t) == 1 }, 10*time.Second, time.Millisecond)
		return w
	}
	w := waits()
	require.NoError(t, settle(t, other, finish(theirs[0], "1", time.Hour)))
	require.Len(t, <-w, 1)
	w = waits()
	require.NoError(t, other.SetLimit(t.Context(), omniq.DefaultQueue, omniq.Limit{}))
	require.Len(t, <-w, 2)
}

// The places of a process that is killed are free when its leases have run out, and not before; and what is counted of lanes is
// what there is, wherever in a transaction it was killed.
func TestPlacesOfAKilledProcess(t *testing.T) {
	path := fresh(t)
	b := open(t, path)
	require.NoError(t, b.SetLimit(t.Context(), omniq.DefaultQueue, omniq.Limit{Running: 3, EachLane: omniq.LaneLimit{Running: 1}}))
	for _, name := range []string{"a", "b", ""} {
		enqueue(t, b, tasksIn(omniq.DefaultQueue, 20, inLane(name))...)
	}
	other := elsewhere(t, path, time.Hour).(*remote)
	const lasts = time.Second
	theirs, err := other.Lease(t.Context(), omniq.LeaseRequest{
		Queues: []string{omniq.DefaultQueue}, Max: 9, Duration: lasts, WorkerID: "other",
	})
	require.NoError(t, err)
	require.Len(t, theirs, 3)
	busy := make(chan struct{})
	go func() { // it settles and leases until it is gone
		defer close(busy)
		for l := theirs[0]; ; {
			if _, err := other.Settle(t.Context(), []omniq.Settlement{finish(l, "1", time.Hour)}); err != nil {
				return
			}
			got, err := other.Lease(t.Context(), omniq.LeaseRequest{
				Queues: []string{omniq.DefaultQueue}, Max: 1, Duration: lasts, WorkerID: "other",
			})
			if err != nil || len(got) == 0 {
				return
			}
			l = got[0]
		}
	}()
	require.Eventually(t, func() bool { return number(t, b, "SELECT count(*) FROM omniq_results") > 5 }, 10*time.Second, time.Millisecond)
	require.NoError(t, other.kill())
	<-busy
	var mine []omniq.Lease
	for len(mine) < 3 {
		got, err := b.Lease(t.Context(), omniq.LeaseRequest{
			Queues: []string{omniq.DefaultQueue}, Max: 9, Duration: time.Minute, Wait: 10 * time.Second, WorkerID: "w",
		})
		require.NoError(t, err)
		require.NotEmpty(t, got, "a place is not free")
		mine = append(mine, got...)
	}
	assert.Len(t, mine, 3)
	assert.False(t, time.Now().Before(theirs[2].Expires), "one of theirs had not ended")
	assert.Equal(t, 3, number(t, b, "SELECT count(*) FROM omniq_tasks WHERE state = 2"))
	assert.Zero(t, number(t, b, `SELECT count(*) FROM omniq_lanes l WHERE
		ready <> (SELECT count(*) FROM omniq_tasks WHERE state = 1 AND coalesce(lane, '') = l.lane) OR
		running <> (SELECT count(*) FROM omniq_tasks WHERE state = 2 AND coalesce(lane, '') = l.lane)`))
}
