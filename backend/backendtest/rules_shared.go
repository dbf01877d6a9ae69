package backendtest

import (
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// sharedRules say what one backend sees of what another one on the same store does.
var sharedRules = []sharedRule{
	{name: "what one enqueues the other leases", check: func(one, other *checker) {
		t := task()
		one.enqueue(t)
		assert.Equal(other, t, other.leaseOne().Task)
		one.none()
		for _, change := range []func(*omniq.RawTask){func(*omniq.RawTask) {}, delay(short)} {
			w := other.leasing()
			other.blocks(w.done, "Lease")
			t = task(change)
			one.enqueue(t)
			assert.Equal(other, t.ID, other.leased(w).TaskID, "a Lease that waits")
		}
	}},
	{name: "a chain of tasks that goes to and fro does not stop", check: func(one, other *checker) {
		for i := range 50 {
			if i%2 > 0 {
				one, other = other, one
			}
			w := other.leasing()
			if i < 2 {
				other.blocks(w.done, "Lease")
			}
			t := task()
			one.enqueue(t)
			l := other.leased(w)
			assert.Equal(other, t.ID, l.TaskID)
			result := one.awaiting(t.ID)
			require.NoError(other, other.settle(success(l, "1", long)))
			assert.Equal(one, omniq.StatusSuccess, one.got(result).Status)
		}
	}},
	{name: "a lease of one is started, extended and settled by the other", check: func(one, other *checker) {
		one.enqueue(task())
		l := one.leaseOne(aheadOfTurn)
		require.NoError(other, other.start(l.LeaseID))
		require.NoError(other, other.extend(l.LeaseID))
		assert.Equal(one, 1, one.inspect(l.TaskID).Attempts)
		require.NoError(other, other.settle(success(l, "1", long)))
		assert.JSONEq(one, "1", string(one.result(l.TaskID).ResultData))
		assert.ErrorIs(one, one.settle(success(l, "2", long)), omniq.ErrLeaseLost)
		for _, a := range []omniq.Action{omniq.ActionRetry, omniq.ActionRelease, omniq.ActionDefer} {
			one.enqueue(task())
			l := one.leaseOne()
			w := one.leasing()
			one.blocks(w.done, "Lease")
			require.NoError(other, other.settle(omniq.Settlement{LeaseID: l.LeaseID, Action: a}))
			require.NoError(one, one.settle(success(one.leased(w), "1", long)))
		}
	}, needs: fences},
	{name: "a lease of one that runs out is leased by the other", check: func(one, other *checker) {
		one.inTime(func(d time.Duration, q string) bool {
			t := task(queue(q))
			one.enqueue(t)
			until := soon(d)
			one.leaseOne(from(q), lasting(d))
			if !other.noneUntil(until, q) {
				return false
			}
			l := other.leased(other.leasing(from(q)))
			assert.Equal(other, t.ID, l.TaskID)
			assert.Equal(other, []int{2, 1}, []int{l.Attempt, l.Lost})
			return true
		})
	}},
	{name: "who waits at one gets the result that the other settles, cancels or expires", check: func(one, other *checker) {
		for _, keep := range []time.Duration{long, 0} {
			one.inTime(func(d time.Duration, q string) bool {
				q += keep.String()
				done, cancelled := task(queue(q)), task(queue("cancelled"), resultTTL(keep))
				expired := task(queue("expired"), resultTTL(keep), ttl(2*d))
				one.enqueue(done, cancelled, expired)
				waiting := []*waiter{one.awaiting(done.ID), one.awaiting(cancelled.ID), one.awaiting(expired.ID)}
				one.blocksFor(d, waiting[0].done, "Await")
				require.NoError(other, other.settle(success(other.leaseOne(from(q)), `"done"`, keep)))
				require.NoError(other, other.cancel(cancelled.ID))
				for _, w := range waiting {
					if !one.gone(w) {
						return false
					}
				}
				assert.JSONEq(one, `"done"`, string(waiting[0].result.ResultData))
				assert.Equal(one, omniq.StatusCancelled, waiting[1].result.Status)
				assert.Equal(one, omniq.StatusExpired, waiting[2].result.Status)
				return true
			})
		}
	}},
	{name: "the worker of one hears of what the other cancels", check: func(one, other *checker) {
		one.enqueue(task(), task())
		early, l := one.leaseOne(), one.leaseOne()
		require.NoError(other, other.cancel(early.TaskID))
		assert.Equal(one, []omniq.LeaseID{early.LeaseID}, one.revoked(one.revoking("w")))
		w := one.revoking("w")
		one.blocks(w.done, "Revoked")
		require.NoError(other, other.cancel(l.TaskID))
		assert.Equal(one, []omniq.LeaseID{l.LeaseID}, one.revoked(w))
		assert.ErrorIs(one, one.extend(l.LeaseID), omniq.ErrCancelled)
		assert.ErrorIs(one, one.settle(success(l, "1", long)), omniq.ErrLeaseLost)
	}, needs: fences},
	{name: "a queue that one pauses is paused for the other until either resumes it", check: func(one, other *checker) {
		for range 2 {
			w := other.leasing(from("q"))
			other.blocks(w.done, "Lease")
			one.pauseQueue("q")
			t := task(queue("q"))
			other.enqueue(t)
			other.none(from("q"))
			other.blocks(w.done, "Lease of a paused queue")
			one.resume("q")
			assert.Equal(other, t.ID, other.leased(w).TaskID)
			one, other = other, one
		}
	}},
	{name: "an ID or a unique key that is taken at one is taken at the other", check: func(one, other *checker) {
		t := task(unique("k"), lasts(long), idFor(long))
		one.enqueue(t)
		other.taken(t)
		again := *t
		other.duplicate(other.only(other.b.Enqueue(other.Context(), []*omniq.RawTask{&again})), t.ID, t.ID)
		other.end(t, omniq.StatusSuccess)
		require.NoError(one, one.forget(t.ID))
		other.duplicate(other.only(other.b.Enqueue(other.Context(), []*omniq.RawTask{&again})), t.ID, t.ID)
		other.taken(t)
		errs, err := other.b.Free(other.Context(), []omniq.UniqueKey{{FuncName: "f", Key: "k"}})
		other.places(errs, err, nil)
		one.enqueue(task(unique("k")))
		for i := range 10 {
			key := fmt.Sprint("key", i)
			tasks := []*omniq.RawTask{task(queue(key), unique(key)), task(queue(key), unique(key))}
			var refused [2]error
			var calls [2]func() error
			for n, c := range []*checker{one, other} {
				calls[n] = func() error {
					errs, err := c.b.Enqueue(c.Context(), tasks[n:n+1])
					refused[n] = first(errs)
					return err
				}
			}
			one.atOnce(calls[i%2], calls[1-i%2])
			require.True(one, (refused[0] == nil) != (refused[1] == nil), "one of them holds it: %v", refused)
			one.leaseOne(from(key))
			other.none(from(key))
		}
	}},
	{name: "what one does the other sees", check: func(one, other *checker) {
		t := task(queue("q"))
		for _, step := range []struct {
			do   func()
			then omniq.Status
		}{
			{func() { one.enqueue(t) }, omniq.StatusPending},
			{func() { one.leaseOne(from("q"), by("one")) }, omniq.StatusRunning},
			{func() { require.NoError(one, one.cancel(t.ID)) }, omniq.StatusCancelled},
			{func() { require.NoError(other, other.requeue(t.ID)) }, omniq.StatusPending},
			{func() { other.end(t, omniq.StatusFailure) }, omniq.StatusFailure},
		} {
			step.do()
			assert.Equal(one, one.inspect(t.ID), other.inspect(t.ID))
			for _, c := range []*checker{one, other} {
				assert.Equal(c, step.then, c.result(t.ID).Status)
				assert.Equal(c, []uuid.UUID{t.ID}, ids(c.list(omniq.ListRequest{Status: step.then, Max: 5})))
			}
			assert.Equal(other, timeless(one.stats()), timeless(other.stats()))
		}
		r := record(long)
		errs, err := one.b.Record(one.Context(), []*omniq.RawResult{r})
		one.places(errs, err, nil)
		assert.Equal(other, r, other.result(r.TaskID))
		require.NoError(other, other.forget(r.TaskID))
		one.unknown(r.TaskID)
	}},
	{name: "workers of both never get the same task", check: func(one, other *checker) {
		const n = 500
		var tasks []*omniq.RawTask
		for range n {
			tasks = append(tasks, task())
		}
		one.enqueue(tasks...)
		var mu sync.Mutex
		times := make(map[uuid.UUID]int)
		var done []<-chan error
		for _, c := range []*checker{one, other, one, other} {
			done = append(done, async(func() error {
				for range n {
					leases, err := c.b.Lease(c.Context(), omniq.LeaseRequest{Queues: []string{omniq.DefaultQueue}, Max: 7, Duration: long, WorkerID: "w"})
					if err != nil || len(leases) == 0 {
						return err
					}
					mu.Lock()
					for _, l := range leases {
						times[l.TaskID]++
					}
					mu.Unlock()
				}
				return nil
			}))
		}
		for _, d := range done {
			require.NoError(one, one.ended(d, "Lease"))
		}
		require.Len(one, times, n, "each task is leased")
		for id, n := range times {
			require.Equal(one, 1, n, "task %v", id)
		}
	}},
	{name: "one reads the events of both, in one order, and is woken by the other's", needs: keeps, check: func(one, other *checker) {
		t := task(queue("q"))
		one.enqueue(t)
		require.NoError(other, other.settle(retry(other.leaseOne(from("q")))))
		other.end(t, omniq.StatusSuccess)
		want := []string{"ENQUEUED", "STARTED", "RETRIED", "STARTED", "COMPLETED"}
		assert.Equal(one, want, types(one.events(t.ID)))
		assert.Equal(other, one.stored(omniq.CursorOldest, 2), other.stored(omniq.CursorOldest, 100))
		_, latest := one.read(omniq.EventsRequest{After: omniq.CursorLatest, Max: 1})
		w := one.reading(omniq.EventsRequest{After: latest, Max: 1, Wait: long})
		one.blocks(w.done, "Events")
		next := task()
		other.enqueue(next)
		require.NoError(one, one.ended(w.done, w.what))
		require.Len(one, w.events, 1)
		assert.Equal(one, next.ID, w.events[0].TaskID)
	}},
	{name: "one that keeps no events reads those that the other keeps", needs: keeps, silent: true, check: func(one, other *checker) {
		assert.False(other, other.b.Capabilities().Events)
		for _, after := range []omniq.Cursor{omniq.CursorOldest, omniq.CursorLatest} {
			_, _, err := other.b.Events(other.Context(), omniq.EventsRequest{After: after, Max: 1, Wait: long})
			assert.ErrorIs(other, err, omniq.ErrNoEvents, "there was never one")
		}
		t := task()
		one.enqueue(t)
		assert.Equal(other, []string{"ENQUEUED"}, types(other.events(t.ID)))
		page, latest := other.read(omniq.EventsRequest{After: omniq.CursorOldest, Task: t.ID, Max: 9})
		require.Len(other, page, 1)
		w := other.reading(omniq.EventsRequest{After: latest, Max: 1, Wait: long})
		other.blocks(w.done, "Events")
		require.NoError(one, one.cancel(t.ID))
		require.NoError(other, other.ended(w.done, w.what))
		require.Len(other, w.events, 1)
		assert.Equal(other, omniq.EventCancelled, w.events[0].EventType)
		e := &omniq.TaskEvent{TaskID: uuid.New(), EventType: omniq.EventStarted, Timestamp: time.Now().UTC()}
		assert.ErrorIs(other, other.b.Append(other.Context(), []*omniq.TaskEvent{e}), omniq.ErrNoEvents)
	}},
	{name: "to close one does not hurt the other", check: func(one, other *checker) {
		held, t := task(queue("held")), task(queue("q"))
		one.enqueue(held)
		l := one.leaseOne(from("held"))
		mine := one.leasing(from("q"))
		waiting, result := other.leasing(from("q")), other.awaiting(held.ID)
		one.blocks(mine.done, "Lease")
		other.blocks(waiting.done, "Lease")
		require.NoError(one, one.b.Close())
		assert.ErrorIs(one, one.ended(mine.done, mine.what), omniq.ErrClosed)
		_, err := one.b.Enqueue(one.Context(), []*omniq.RawTask{t})
		assert.ErrorIs(one, err, omniq.ErrClosed)
		other.blocks(waiting.done, "Lease after the other one was closed")
		other.enqueue(t)
		assert.Equal(other, t.ID, other.leased(waiting).TaskID)
		require.NoError(other, other.extend(l.LeaseID))
		require.NoError(other, other.settle(success(l, "1", long)))
		assert.Equal(other, omniq.StatusSuccess, other.got(result).Status)
	}},
}

// keeps says that events are kept.
func keeps(c omniq.Capabilities) bool { return c.Events }
