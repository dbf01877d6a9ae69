package backendtest

import (
	"bytes"
	"context"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

func fences(c omniq.Capabilities) bool { return c.Fencing }

// rules are the rules of the contract.
var rules = []rule{
	{name: "a task is leased as it was enqueued", check: func(c *checker) {
		keep, life := 90*time.Minute, 3*time.Hour
		full := task(func(t *omniq.RawTask) {
			t.FuncName = "имя.функции"
			t.Args, t.Kwargs = omniq.Raw(`["a",1,null]`), omniq.Raw(`{"k":{"x":[1.5]}}`)
			t.TTL, t.Queue, t.Priority, t.RunAt = &life, "q", -3, t.CreatedAt.Add(-time.Second)
			t.MaxAttempts, t.Timeout, t.ResultTTL = 7, 90*time.Second, &keep
			t.Metadata, t.Codec = map[string]string{"trace": "x", "": ""}, "json+gzip"
		})
		bare := task()
		c.enqueue(full, bare)
		l := c.leaseOne(from("q"))
		assert.Equal(c, full, l.Task)
		assert.Equal(c, full.ID, l.TaskID)
		assert.Equal(c, 1, l.Attempt)
		assert.NotEmpty(c, l.Token)
		assert.Equal(c, bare, c.leaseOne().Task)
	}},
	{name: "a task is leased once", check: func(c *checker) {
		c.enqueue(task())
		c.leaseOne()
		c.none()
	}},
	{name: "queues are served in the order of the request", check: func(c *checker) {
		c.enqueue(task(queue("low")), task(queue("high")), task(queue("other")), task(queue("low")))
		leases := c.lease(10, 0, from("high", "low"))
		require.Len(c, leases, 3)
		assert.Equal(c, []string{"high", "low", "low"}, []string{leases[0].Task.Queue, leases[1].Task.Queue, leases[2].Task.Queue})
	}},
	{name: "tasks of higher priority are leased first", needs: func(c omniq.Capabilities) bool { return c.Priorities }, check: func(c *checker) {
		c.enqueue(task(priority(0)), task(priority(-5)), task(priority(9)), task(priority(1)))
		for _, want := range []int{9, 1, 0, -5} {
			assert.Equal(c, want, c.leaseOne().Task.Priority)
		}
	}},
	{name: "tasks of one priority are leased by time and then in the order of enqueuing", check: func(c *checker) {
		now := time.Now().UTC().Truncate(time.Microsecond)
		first, second, third := task(), task(), task()
		older, oldest := task(runAt(now.Add(-time.Hour))), task(runAt(now.Add(-2*time.Hour)))
		c.enqueue(first, second)
		c.enqueue(third, older, oldest)
		for i, want := range []*omniq.RawTask{oldest, older, first, second, third} {
			assert.Equal(c, want.ID, c.leaseOne().TaskID, "task %d", i)
		}
	}},
	{name: "a delayed task is leased when it is due and not before", check: func(c *checker) {
		at := time.Now().Add(2 * short)
		c.enqueue(task(runAt(at.UTC().Truncate(time.Microsecond))))
		c.none()
		c.leaseOne()
		assert.False(c, time.Now().Before(at), "it was leased before its time")
	}},
	{name: "Lease without Wait returns at once", check: func(c *checker) {
		c.none()
	}},
	{name: "Lease returns nothing and no error when Wait is over", check: func(c *checker) {
		began := time.Now()
		assert.Empty(c, c.lease(1, short))
		assert.GreaterOrEqual(c, time.Since(began), short)
	}},
	{name: "a waiting Lease gets a task that is enqueued", check: func(c *checker) {
		var got omniq.Lease
		done := async(func() error { got = c.leaseOne(); return nil })
		c.blocks(done, "Lease")
		want := task()
		c.enqueue(want)
		require.NoError(c, c.ended(done, "Lease"))
		assert.Equal(c, want.ID, got.TaskID)
	}},
	{name: "each waiting Lease gets a task when there is one for each", check: func(c *checker) {
		const n = 8
		var done []<-chan error
		for range n {
			done = append(done, async(func() error { c.leaseOne(); return nil }))
		}
		c.blocks(done[0], "Lease")
		for range n {
			c.enqueue(task())
		}
		for _, d := range done {
			require.NoError(c, c.ended(d, "Lease"))
		}
	}},
	{name: "a task whose lease ran out is leased again as the next attempt", check: func(c *checker) {
		c.enqueue(task())
		first := c.leaseOne(lasting(short))
		c.none()
		second := c.leaseOne()
		assert.Equal(c, first.TaskID, second.TaskID)
		assert.Equal(c, 2, second.Attempt)
		assert.NotEqual(c, first.Token, second.Token)
	}},
	{name: "a lost lease settles and extends nothing", needs: fences, check: func(c *checker) {
		c.enqueue(task())
		lost := c.leaseOne(lasting(short))
		held := c.leaseOne()
		for _, s := range []omniq.Settlement{
			success(lost, `"late"`, long),
			{LeaseID: lost.LeaseID, Action: omniq.ActionRetry},
			{LeaseID: lost.LeaseID, Action: omniq.ActionRelease},
		} {
			assert.ErrorIs(c, c.settle(s), omniq.ErrLeaseLost)
		}
		errs, err := c.b.Extend(c.Context(), []omniq.LeaseID{lost.LeaseID, held.LeaseID}, long)
		require.NoError(c, err)
		require.Len(c, errs, 2)
		assert.ErrorIs(c, errs[0], omniq.ErrLeaseLost)
		assert.NoError(c, errs[1])
		assert.Equal(c, omniq.StatusRunning, c.result(held.TaskID).Status)
		require.NoError(c, c.settle(success(held, `"right"`, long)))
		assert.JSONEq(c, `"right"`, string(c.result(held.TaskID).ResultData))
	}},
	{name: "a lease that was settled cannot be settled again", needs: fences, check: func(c *checker) {
		c.enqueue(task())
		l := c.leaseOne()
		require.NoError(c, c.settle(success(l, "1", long)))
		assert.ErrorIs(c, c.settle(success(l, "2", long)), omniq.ErrLeaseLost)
		assert.JSONEq(c, "1", string(c.result(l.TaskID).ResultData))
	}},
	{name: "a lease that is extended lasts", check: func(c *checker) {
		c.enqueue(task())
		l := c.leaseOne(lasting(short))
		until := time.Now().Add(3 * short)
		c.eventually("the time passes", func() bool {
			errs, err := c.b.Extend(c.Context(), []omniq.LeaseID{l.LeaseID}, short)
			require.NoError(c, err)
			if errs != nil {
				require.NoError(c, errs[0])
			}
			c.none()
			return time.Now().After(until)
		})
		assert.NoError(c, c.settle(success(l, "1", long)))
	}},
	{name: "Extend does not shorten a lease", check: func(c *checker) {
		c.enqueue(task())
		l := c.leaseOne()
		_, err := c.b.Extend(c.Context(), []omniq.LeaseID{l.LeaseID}, time.Millisecond)
		require.NoError(c, err)
		assert.Empty(c, c.lease(1, short))
	}},
	{name: "a release uses no attempt", check: func(c *checker) {
		c.enqueue(task())
		for range 3 {
			l := c.leaseOne()
			assert.Equal(c, 1, l.Attempt)
			require.NoError(c, c.settle(omniq.Settlement{LeaseID: l.LeaseID, Action: omniq.ActionRelease}))
			assert.Equal(c, omniq.StatusPending, c.result(l.TaskID).Status)
		}
	}},
	{name: "a retry uses an attempt", check: func(c *checker) {
		c.enqueue(task())
		for n := 1; n <= 3; n++ {
			l := c.leaseOne()
			assert.Equal(c, n, l.Attempt)
			require.NoError(c, c.settle(omniq.Settlement{LeaseID: l.LeaseID, Action: omniq.ActionRetry, Error: &omniq.TaskError{Message: "x"}}))
			assert.Equal(c, omniq.StatusPending, c.result(l.TaskID).Status)
		}
	}},
	{name: "retries and releases wait for their time", check: func(c *checker) {
		for _, action := range []omniq.Action{omniq.ActionRetry, omniq.ActionRelease} {
			c.enqueue(task())
			l := c.leaseOne()
			at := time.Now().Add(short)
			require.NoError(c, c.settle(omniq.Settlement{LeaseID: l.LeaseID, Action: action, At: at}))
			c.none()
			again := c.leaseOne()
			assert.False(c, time.Now().Before(at), "it was leased before its time")
			require.NoError(c, c.settle(success(again, "1", long)))
		}
	}},
	{name: "a duplicate is reported in its place and the others are stored", check: func(c *checker) {
		queued, kept, twice, fresh := task(), task(), task(), task()
		c.enqueue(kept)
		require.NoError(c, c.settle(success(c.leaseOne(), "1", long)))
		c.enqueue(queued)
		errs, err := c.b.Enqueue(c.Context(), []*omniq.RawTask{queued, fresh, kept, twice, twice})
		require.NoError(c, err)
		require.Len(c, errs, 5)
		for i, duplicate := range []bool{true, false, true, false, true} {
			assert.Equal(c, duplicate, errs[i] != nil, "task %d", i)
			if duplicate {
				assert.ErrorIs(c, errs[i], omniq.ErrDuplicate, "task %d", i)
			}
		}
		leases := c.lease(10, 0)
		require.Len(c, leases, 3)
		assert.JSONEq(c, "1", string(c.result(kept.ID).ResultData))
	}},
	{name: "a result is kept as it was settled", check: func(c *checker) {
		c.enqueue(task())
		l := c.leaseOne()
		s := success(l, "null", long)
		s.Result.Status, s.Result.ResultData, s.Result.Attempts = omniq.StatusFailure, nil, 4
		s.Result.Error = &omniq.TaskError{Type: "T", Message: "m", Stack: "s", Retryable: true}
		require.NoError(c, c.settle(s))
		assert.Equal(c, s.Result, c.result(l.TaskID))
		c.none()

		c.enqueue(task())
		l = c.leaseOne()
		s = success(l, `"AAAA"`, long)
		s.Result.Codec = "json+gzip"
		require.NoError(c, c.settle(s))
		assert.Equal(c, s.Result, c.result(l.TaskID))
	}},
	{name: "a task that is not settled has a status and no result", check: func(c *checker) {
		t := task()
		c.enqueue(t)
		assert.Equal(c, omniq.StatusPending, c.result(t.ID).Status)
		c.leaseOne()
		r := c.result(t.ID)
		assert.Equal(c, omniq.StatusRunning, r.Status)
		assert.Equal(c, t.ID, r.TaskID)
		assert.Empty(c, r.ResultData)
		assert.False(c, r.Timestamp.IsZero())
	}},
	{name: "Await returns when the task is settled", check: func(c *checker) {
		c.enqueue(task())
		l := c.leaseOne()
		var got [3]*omniq.RawResult
		var done []<-chan error
		for i := range got {
			done = append(done, async(func() error { got[i] = c.await(l.TaskID); return nil }))
		}
		c.blocks(done[0], "Await")
		require.NoError(c, c.settle(success(l, "42", long)))
		for i, d := range done {
			require.NoError(c, c.ended(d, "Await"))
			require.NotNil(c, got[i])
			assert.JSONEq(c, "42", string(got[i].ResultData))
		}
		assert.JSONEq(c, "42", string(c.await(l.TaskID).ResultData), "and at once afterwards")
	}},
	{name: "an unknown ID is not found, at once", check: func(c *checker) {
		_, err := c.b.Result(c.Context(), uuid.New())
		assert.ErrorIs(c, err, omniq.ErrNotFound)
		done := async(func() error { _, err := c.b.Await(c.Context(), uuid.New()); return err })
		assert.ErrorIs(c, c.ended(done, "Await"), omniq.ErrNotFound)
	}},
	{name: "a result without a TTL to live reaches those who wait", check: func(c *checker) {
		t := task()
		c.enqueue(t)
		l := c.leaseOne()
		var got *omniq.RawResult
		ctx, cancel := context.WithCancel(c.Context())
		defer cancel()
		done := async(func() (err error) { got, err = c.b.Await(ctx, t.ID); return err })
		c.blocks(done, "Await")
		require.NoError(c, c.settle(success(l, "1", 0)))
		require.NoError(c, c.ended(done, "Await"))
		assert.JSONEq(c, "1", string(got.ResultData))
		c.eventually("the result goes", func() bool { _, err := c.b.Result(c.Context(), t.ID); return err != nil })
		_, err := c.b.Result(c.Context(), t.ID)
		assert.ErrorIs(c, err, omniq.ErrNotFound)
	}},
	{name: "a result goes when its TTL is over, and its ID can be used again", check: func(c *checker) {
		t := task()
		c.enqueue(t)
		require.NoError(c, c.settle(success(c.leaseOne(), "1", short)))
		assert.Equal(c, omniq.StatusSuccess, c.result(t.ID).Status)
		var err error
		c.eventually("the result goes", func() bool { _, err = c.b.Result(c.Context(), t.ID); return err != nil })
		assert.ErrorIs(c, err, omniq.ErrNotFound)
		c.enqueue(t)
	}},
	{name: "a task whose TTL has passed becomes expired without a worker", check: func(c *checker) {
		t := task(ttl(short))
		c.enqueue(t)
		r := c.await(t.ID)
		assert.Equal(c, omniq.StatusExpired, r.Status)
		assert.ErrorIs(c, r.Err(), omniq.ErrExpired)
		c.none()
	}},
	{name: "a task whose TTL has passed is not leased", check: func(c *checker) {
		past, waits := task(ttl(-time.Second)), task(ttl(short))
		c.enqueue(past, waits)
		l := c.leaseOne(lasting(2 * short))
		require.Equal(c, waits.ID, l.TaskID)
		assert.Empty(c, c.lease(1, 3*short), "its TTL passed while it was leased")
		assert.Equal(c, omniq.StatusExpired, c.await(past.ID).Status)
		assert.Equal(c, omniq.StatusExpired, c.await(waits.ID).Status)
	}},
	{name: "each settlement of a call counts for itself", needs: fences, check: func(c *checker) {
		c.enqueue(task(), task(), task())
		leases := c.lease(3, 0)
		require.Len(c, leases, 3)
		require.NoError(c, c.settle(success(leases[1], "1", long)))
		errs, err := c.b.Settle(c.Context(), []omniq.Settlement{
			success(leases[0], "10", long), success(leases[1], "11", long), success(leases[2], "12", long),
		})
		require.NoError(c, err)
		require.Len(c, errs, 3)
		assert.NoError(c, errs[0])
		assert.ErrorIs(c, errs[1], omniq.ErrLeaseLost)
		assert.NoError(c, errs[2])
		for i, want := range []string{"10", "1", "12"} {
			assert.JSONEq(c, want, string(c.result(leases[i].TaskID).ResultData))
		}
	}},
	{name: "workers at once never get the same task", check: func(c *checker) {
		const tasks, workers = 2000, 8
		var all []*omniq.RawTask
		for range tasks {
			all = append(all, task())
		}
		c.enqueue(all...)
		var mu sync.Mutex
		times := make(map[uuid.UUID]int)
		var wg sync.WaitGroup
		for range workers {
			wg.Go(func() {
				for {
					leases, err := c.b.Lease(c.Context(), omniq.LeaseRequest{Queues: []string{omniq.DefaultQueue}, Max: 7, Duration: long})
					if !assert.NoError(c, err) || len(leases) == 0 {
						return
					}
					var settlements []omniq.Settlement
					mu.Lock()
					for _, l := range leases {
						times[l.TaskID]++
						settlements = append(settlements, success(l, "1", long))
					}
					mu.Unlock()
					_, err = c.b.Settle(c.Context(), settlements)
					assert.NoError(c, err)
				}
			})
		}
		wg.Wait()
		require.Len(c, times, tasks, "each task is leased")
		for id, n := range times {
			require.Equal(c, 1, n, "task %v", id)
		}
	}},
	{name: "ten thousand tasks wait in their order", check: func(c *checker) {
		const n = 10_000
		var all []*omniq.RawTask
		for range n {
			all = append(all, task())
		}
		for i := 0; i < n; i += 1000 {
			c.enqueue(all[i : i+1000]...)
		}
		for i := 0; i < n; {
			leases := c.lease(500, 0)
			require.NotEmpty(c, leases)
			for _, l := range leases {
				require.Equal(c, all[i].ID, l.TaskID, "task %d", i)
				i++
			}
		}
		c.none()
	}},
	{name: "payloads of all sizes pass", check: func(c *checker) {
		for _, size := range []int{0, 1, 100, 64 << 10, 1 << 20} {
			text := omniq.Raw(`["` + string(bytes.Repeat([]byte("x"), size)) + `"]`)
			if limit := c.b.Capabilities().MaxTaskSize; limit > 0 && len(text)+2 > limit {
				continue
			}
			c.enqueue(task(func(t *omniq.RawTask) { t.Args = text }))
			l := c.leaseOne()
			require.Equal(c, text, l.Task.Args, "%d bytes", size)
			require.NoError(c, c.settle(success(l, string(text), long)))
			require.Equal(c, text, c.result(l.TaskID).ResultData, "%d bytes", size)
		}
	}},
	{name: "the slices of a call are not kept", check: func(c *checker) {
		tasks := []*omniq.RawTask{task(), task()}
		ids := []uuid.UUID{tasks[0].ID, tasks[1].ID}
		c.enqueue(tasks...)
		clear(tasks)
		leases := c.lease(2, 0)
		require.Len(c, leases, 2)
		assert.Equal(c, ids, []uuid.UUID{leases[0].TaskID, leases[1].TaskID})
		settlements := []omniq.Settlement{success(leases[0], "1", long), success(leases[1], "2", long)}
		_, err := c.b.Settle(c.Context(), settlements)
		require.NoError(c, err)
		clear(settlements)
		assert.JSONEq(c, "2", string(c.result(ids[1]).ResultData))
	}},
	{name: "a method whose context has ended does nothing", check: func(c *checker) {
		t := task()
		c.enqueue(t)
		ctx, cancel := context.WithCancel(c.Context())
		cancel()
		for name, call := range calls(c.b, t.ID) {
			done := async(func() error { return call(ctx) })
			assert.ErrorIs(c, c.ended(done, name), context.Canceled, name)
		}
		c.leaseOne()
		c.none()
	}},
	{name: "a call that blocks ends with its context", check: func(c *checker) {
		t := task(queue("other"))
		c.enqueue(t)
		for name, call := range calls(c.b, t.ID) {
			if name != "Lease" && name != "Await" {
				continue
			}
			ctx, cancel := context.WithTimeout(c.Context(), short)
			done := async(func() error { return call(ctx) })
			assert.ErrorIs(c, c.ended(done, name), context.DeadlineExceeded, name)
			cancel()
		}
		c.enqueue(task())
		c.leaseOne()
	}},
	{name: "after Close each method returns ErrClosed", check: func(c *checker) {
		t := task(queue("other"))
		c.enqueue(t)
		blocked := make(map[string]<-chan error)
		for name, call := range calls(c.b, t.ID) {
			if name == "Lease" || name == "Await" {
				blocked[name] = async(func() error { return call(c.Context()) })
			}
		}
		require.NoError(c, c.b.Close())
		for name, done := range blocked {
			assert.ErrorIs(c, c.ended(done, name), omniq.ErrClosed, name)
		}
		for name, call := range calls(c.b, t.ID) {
			done := async(func() error { return call(c.Context()) })
			assert.ErrorIs(c, c.ended(done, name), omniq.ErrClosed, name)
		}
		assert.NoError(c, c.b.Close(), "Close may be called again")
	}},
	{name: "a request that cannot be is refused and changes nothing", check: func(c *checker) {
		c.enqueue(task())
		for name, r := range map[string]omniq.LeaseRequest{
			"no queues":   {Max: 1, Duration: long},
			"no task":     {Queues: []string{omniq.DefaultQueue}, Duration: long},
			"no duration": {Queues: []string{omniq.DefaultQueue}, Max: 1},
		} {
			_, err := c.b.Lease(c.Context(), r)
			assert.ErrorIs(c, err, omniq.ErrInvalid, name)
		}
		l := c.leaseOne()
		unfinished, foreign := success(l, "1", long), success(l, "1", long)
		unfinished.Result.Status, foreign.Result.TaskID = omniq.StatusRunning, uuid.New()
		for name, s := range map[string]omniq.Settlement{
			"no action":                  {LeaseID: l.LeaseID},
			"an unknown action":          {LeaseID: l.LeaseID, Action: 99},
			"no result":                  {LeaseID: l.LeaseID, Action: omniq.ActionFinish},
			"a result that is not final": unfinished,
			"a result of another task":   foreign,
		} {
			_, err := c.b.Settle(c.Context(), []omniq.Settlement{s})
			assert.ErrorIs(c, err, omniq.ErrInvalid, name)
		}
		_, err := c.b.Extend(c.Context(), []omniq.LeaseID{l.LeaseID}, 0)
		assert.ErrorIs(c, err, omniq.ErrInvalid, "no time")
		assert.NoError(c, c.settle(success(l, "1", long)))
	}},
}

// calls are the methods that take a context. Lease and Await block unless something is in the default queue, or the
// task of the ID has ended.
func calls(b omniq.Backend, id uuid.UUID) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"Enqueue": func(ctx context.Context) error { _, err := b.Enqueue(ctx, []*omniq.RawTask{task()}); return err },
		"Lease": func(ctx context.Context) error {
			_, err := b.Lease(ctx, omniq.LeaseRequest{Queues: []string{omniq.DefaultQueue}, Max: 1, Duration: long, Wait: long})
			return err
		},
		"Extend": func(ctx context.Context) error {
			_, err := b.Extend(ctx, []omniq.LeaseID{{TaskID: id, Token: "x"}}, long)
			return err
		},
		"Settle": func(ctx context.Context) error {
			_, err := b.Settle(ctx, []omniq.Settlement{{LeaseID: omniq.LeaseID{TaskID: id, Token: "x"}, Action: omniq.ActionRelease}})
			return err
		},
		"Result": func(ctx context.Context) error { _, err := b.Result(ctx, id); return err },
		"Await":  func(ctx context.Context) error { _, err := b.Await(ctx, id); return err },
	}
}
