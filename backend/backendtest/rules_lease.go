package backendtest

import (
	"bytes"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// leaseRules say which tasks are handed out to whom, and how leases end.
var leaseRules = []rule{
	{name: "a task is leased as it was enqueued", check: func(c *checker) {
		keep, life := 90*time.Minute, 3*time.Hour
		full := task(func(t *omniq.RawTask) {
			t.FuncName = "имя.функции"
			t.Args, t.Kwargs = omniq.Raw(`["AAAA","/w=="]`), omniq.Raw(`{}`)
			t.TTL, t.Queue, t.Priority, t.RunAt = &life, "q", -3, t.CreatedAt.Add(-time.Second)
			t.MaxAttempts, t.Timeout, t.ResultTTL = 7, 90*time.Second, &keep
			t.Metadata, t.Codec = map[string]string{"trace": "x", "empty": ""}, "json+gzip"
		})
		bare := task()
		c.enqueue(full, bare)
		for n := 1; n <= 2; n++ {
			l := c.leaseOne(from("q"))
			assert.Equal(c, full, l.Task)
			assert.Equal(c, full.ID, l.TaskID)
			assert.NotEmpty(c, l.Token)
			require.NoError(c, c.settle(omniq.Settlement{LeaseID: l.LeaseID, Action: omniq.ActionRetry}))
		}
		assert.Equal(c, bare, c.leaseOne().Task)
	}},
	{name: "a task is leased once", check: func(c *checker) {
		c.enqueue(task())
		c.leaseOne()
		c.none()
	}},
	{name: "a Lease returns no more than Max tasks and does not wait for as many", check: func(c *checker) {
		c.enqueue(task(), task(), task())
		var n int
		for n < 3 {
			w := c.leasing(func(r *omniq.LeaseRequest) { r.Max = 2 })
			require.NoError(c, c.ended(w.done, "Lease"))
			require.NotEmpty(c, w.leases)
			require.LessOrEqual(c, len(w.leases), 2)
			n += len(w.leases)
		}
		assert.Equal(c, 3, n)
	}},
	{name: "queues are served in the order of the request", check: func(c *checker) {
		c.enqueue(task(queue("low")), task(queue("high")), task(queue("other")), task(queue("low")))
		var got []string
		for range 3 {
			got = append(got, c.leaseOne(from("high", "low")).Task.Queue)
		}
		assert.Equal(c, []string{"high", "low", "low"}, got)
		c.none(from("high", "low"))
	}},
	{name: "tasks of higher priority are leased first", needs: prioritizes, check: func(c *checker) {
		c.enqueue(task(priority(0)), task(priority(-5)), task(priority(9)), task(priority(1)))
		for _, want := range []int{9, 1, 0, -5} {
			assert.Equal(c, want, c.leaseOne().Task.Priority)
		}
	}},
	{name: "tasks of one priority are leased by time and then in the order of enqueuing", check: func(c *checker) {
		now := time.Now().UTC().Truncate(time.Millisecond)
		first, second, third := task(), task(), task()
		older, oldest := task(runAt(now.Add(-time.Hour))), task(runAt(now.Add(-2*time.Hour)))
		c.enqueue(first, second)
		c.enqueue(third, older, oldest)
		for i, want := range []*omniq.RawTask{oldest, older, first, second, third} {
			assert.Equal(c, want.ID, c.leaseOne().TaskID, "task %d", i)
		}
	}},
	{name: "a task whose lease ran out is leased again as the next attempt", check: func(c *checker) {
		c.inTime(func(d time.Duration, q string) bool {
			c.enqueue(task(queue(q)))
			until := time.Now().Add(d)
			first := c.leaseOne(from(q), lasting(d))
			if !c.noneUntil(until, q) {
				return false
			}
			second := c.leaseOne(from(q))
			assert.False(c, time.Now().Before(until), "its lease had not run out")
			assert.Equal(c, []int{1, 2}, []int{first.Attempt, second.Attempt})
			assert.Equal(c, first.Task, second.Task)
			assert.NotEqual(c, first.Token, second.Token)
			return true
		})
	}},
	{name: "a lease that another one has followed settles and extends nothing", needs: fences, check: func(c *checker) {
		c.enqueue(task())
		lost := c.leaseOne(lasting(short))
		held := c.leaseOne()
		c.refuses(lost.LeaseID)
		errs, err := c.b.Extend(c.Context(), []omniq.LeaseID{lost.LeaseID, held.LeaseID}, long)
		require.NoError(c, err)
		require.Len(c, errs, 2)
		assert.ErrorIs(c, errs[0], omniq.ErrLeaseLost)
		assert.NoError(c, errs[1])
		assert.Equal(c, omniq.StatusRunning, c.result(held.TaskID).Status)
		require.NoError(c, c.settle(success(held, `"right"`, long)))
		assert.JSONEq(c, `"right"`, string(c.result(held.TaskID).ResultData))
	}},
	{name: "a lease that ran out settles and extends nothing even if no other one has followed", needs: fences, check: func(c *checker) {
		c.enqueue(task())
		lost := c.leaseOne(lasting(short))
		c.lost(lost.TaskID)
		c.refuses(lost.LeaseID)
		assert.Equal(c, omniq.StatusPending, c.result(lost.TaskID).Status)
		assert.Equal(c, 2, c.leaseOne().Attempt)
	}},
	{name: "a lease that never was settles and extends nothing", needs: fences, check: func(c *checker) {
		c.enqueue(task())
		held := c.leaseOne()
		c.refuses(omniq.LeaseID{TaskID: uuid.New(), Token: held.Token})
		c.refuses(omniq.LeaseID{TaskID: held.TaskID, Token: held.Token + "x"})
		c.refuses(omniq.LeaseID{TaskID: held.TaskID})
		assert.Equal(c, omniq.StatusRunning, c.result(held.TaskID).Status)
		assert.NoError(c, c.settle(success(held, "1", long)))
	}},
	{name: "a lease that was settled cannot be settled again", needs: fences, check: func(c *checker) {
		c.enqueue(task())
		l := c.leaseOne()
		require.NoError(c, c.settle(success(l, "1", long)))
		c.refuses(l.LeaseID)
		assert.JSONEq(c, "1", string(c.result(l.TaskID).ResultData))

		c.enqueue(task())
		l = c.leaseOne()
		errs, err := c.b.Settle(c.Context(), []omniq.Settlement{success(l, "1", long), success(l, "2", long)})
		require.NoError(c, err)
		require.Len(c, errs, 2)
		assert.NoError(c, errs[0])
		assert.ErrorIs(c, errs[1], omniq.ErrLeaseLost)
		assert.JSONEq(c, "1", string(c.result(l.TaskID).ResultData))
	}},
	{name: "each settlement of a call counts for itself", needs: fences, check: func(c *checker) {
		c.enqueue(task(), task(), task())
		leases := []omniq.Lease{c.leaseOne(), c.leaseOne(), c.leaseOne()}
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
	{name: "a settlement that cannot be stored is refused in its place, and keeps no other from being done", needs: fences, check: func(c *checker) {
		contents := map[string]func(*omniq.RawResult){
			"a result that is no JSON": func(r *omniq.RawResult) { r.ResultData = omniq.Raw(`{"a`) },
			"a result that is no text": func(r *omniq.RawResult) { r.ResultData = omniq.Raw("\"\xff\"") },
			"a result with a zero":     func(r *omniq.RawResult) { r.ResultData = omniq.Raw("\"\x00\"") },
			"an error with a zero": func(r *omniq.RawResult) {
				r.Status, r.ResultData, r.Error = omniq.StatusFailure, nil, &omniq.TaskError{Message: "a\x00b"}
			},
			"an error that is no text": func(r *omniq.RawResult) {
				r.Status, r.ResultData, r.Error = omniq.StatusFailure, nil, &omniq.TaskError{Message: "a\xffb"}
			},
			"a result that is larger than any": nil,
		}
		if limit := c.b.Capabilities().MaxTaskSize; limit > 0 {
			contents["a result that is larger than any"] = func(r *omniq.RawResult) { r.ResultData = bytes.Repeat([]byte("1"), limit+1) }
		} else {
			delete(contents, "a result that is larger than any")
		}
		for what, change := range contents {
			c.enqueue(task(), task(), task())
			leases := []omniq.Lease{c.leaseOne(), c.leaseOne(), c.leaseOne()}
			all := []omniq.Settlement{success(leases[0], "1", long), success(leases[1], "2", long), success(leases[2], "3", long)}
			change(all[1].Result)
			errs, err := c.b.Settle(c.Context(), all)
			require.NoError(c, err, what)
			if errs == nil {
				errs = make([]error, 3)
			}
			require.Len(c, errs, 3, what)
			require.NoError(c, errs[0], what)
			require.NoError(c, errs[2], what)
			assert.Equal(c, all[0].Result, c.result(leases[0].TaskID))
			assert.Equal(c, all[2].Result, c.result(leases[2].TaskID))
			if errs[1] == nil {
				assert.Equal(c, all[1].Result, c.result(leases[1].TaskID), what)
				continue
			}
			assert.ErrorIs(c, errs[1], omniq.ErrInvalid, what)
			assert.Equal(c, omniq.StatusRunning, c.result(leases[1].TaskID).Status, what)
			assert.NoError(c, c.settle(success(leases[1], "2", long)), what)
		}
	}},
	{name: "a lease that is extended lasts", check: func(c *checker) {
		c.inTime(func(d time.Duration, q string) bool {
			c.enqueue(task(queue(q)))
			until := time.Now().Add(d)
			l := c.leaseOne(from(q), lasting(d))
			for end := until.Add(2 * d); until.Before(end); {
				next := time.Now().Add(d)
				errs, err := c.b.Extend(c.Context(), []omniq.LeaseID{l.LeaseID}, d)
				require.NoError(c, err)
				if !time.Now().Before(until) {
					return false
				}
				if errs != nil {
					require.Len(c, errs, 1)
					require.NoError(c, errs[0])
				}
				until = next
				if !c.noneUntil(until, q) {
					return false
				}
				c.pause()
			}
			return true
		})
	}},
	{name: "Extend does not shorten a lease", check: func(c *checker) {
		c.enqueue(task())
		l := c.leaseOne()
		_, err := c.b.Extend(c.Context(), []omniq.LeaseID{l.LeaseID}, time.Millisecond)
		require.NoError(c, err)
		assert.Empty(c, c.lease(1, short))
		assert.NoError(c, c.settle(success(l, "1", long)))
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
	{name: "a release keeps when the task is due, and its place", check: func(c *checker) {
		c.enqueue(task(), task(queue("q"), runAt(soon(-time.Hour))))
		c.enqueue(task())
		l, old := c.leaseOne(), c.leaseOne(from("q"))
		due := c.inspect(old.TaskID).Due
		c.pause()
		for _, l := range []omniq.Lease{l, old} {
			require.NoError(c, c.settle(omniq.Settlement{LeaseID: l.LeaseID, Action: omniq.ActionRelease}))
		}
		assert.Equal(c, l.TaskID, c.leaseOne().TaskID)
		assert.Equal(c, due, c.inspect(old.TaskID).Due)
	}},
	{name: "a retry without a delay waits after those that were due before", check: func(c *checker) {
		c.enqueue(task())
		l := c.leaseOne()
		other := task()
		c.enqueue(other)
		c.pause()
		require.NoError(c, c.settle(retry(l)))
		assert.Equal(c, []uuid.UUID{other.ID, l.TaskID}, []uuid.UUID{c.leaseOne().TaskID, c.leaseOne().TaskID})
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
	{name: "workers at once never get the same task", check: func(c *checker) {
		const tasks, workers = 700, 8
		var all []*omniq.RawTask
		for range tasks {
			all = append(all, task())
		}
		c.enqueue(all...)
		var mu sync.Mutex
		times := make(map[uuid.UUID]int)
		note := func(leases []omniq.Lease) (twice bool) {
			mu.Lock()
			defer mu.Unlock()
			for _, l := range leases {
				times[l.TaskID]++
				twice = twice || times[l.TaskID] > 1
			}
			return twice
		}
		var wg sync.WaitGroup
		for range workers {
			wg.Go(func() {
				for {
					leases, err := c.b.Lease(c.Context(), omniq.LeaseRequest{Queues: []string{omniq.DefaultQueue}, Max: 7, Duration: long})
					if !assert.NoError(c, err) || len(leases) == 0 || note(leases) {
						return
					}
					var settlements []omniq.Settlement
					for _, l := range leases {
						settlements = append(settlements, success(l, "1", long))
					}
					errs, err := c.b.Settle(c.Context(), settlements)
					assert.NoError(c, err)
					for _, err := range errs {
						assert.NoError(c, err)
					}
				}
			})
		}
		wg.Wait()
		for id, n := range times {
			if n != 1 {
				require.Equal(c, 1, n, "task %v", id)
			}
		}
		require.Len(c, times, tasks, "each task is leased")
	}},
	{name: "thousands of tasks wait in their order", check: func(c *checker) {
		const n = 3000
		var all []*omniq.RawTask
		for range n {
			all = append(all, task())
		}
		for i := 0; i < n; i += 1000 {
			c.enqueue(all[i : i+1000]...)
		}
		for rest := all; len(rest) > 0; {
			leases := c.lease(500, 0)
			require.NotEmpty(c, leases)
			require.LessOrEqual(c, len(leases), len(rest))
			for _, l := range leases {
				if l.TaskID != rest[0].ID { // to ask testify thousands of times takes long
					require.Equal(c, rest[0].ID, l.TaskID, "%d tasks from the end", len(rest))
				}
				rest = rest[1:]
			}
		}
		c.none()
	}},
}

// lost waits until the lease of a task has run out.
func (c *checker) lost(id uuid.UUID) {
	c.Helper()
	c.eventually("the task is pending again", func() bool { return c.result(id).Status == omniq.StatusPending })
}

// refuses checks that a lease settles and extends nothing.
func (c *checker) refuses(id omniq.LeaseID) {
	c.Helper()
	for _, s := range []omniq.Settlement{
		success(omniq.Lease{LeaseID: id}, `"late"`, long),
		{LeaseID: id, Action: omniq.ActionRetry},
		{LeaseID: id, Action: omniq.ActionRelease},
	} {
		assert.ErrorIs(c, c.settle(s), omniq.ErrLeaseLost)
	}
	errs, err := c.b.Extend(c.Context(), []omniq.LeaseID{id}, long)
	require.NoError(c, err)
	require.Len(c, errs, 1)
	assert.ErrorIs(c, errs[0], omniq.ErrLeaseLost)
}
