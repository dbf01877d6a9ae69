package backendtest

import (
	"bytes"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// resultRules say what is kept of a task, and who is told.
var resultRules = []rule{
	{name: "a result is kept as it was settled", check: func(c *checker) {
		for _, change := range []func(*omniq.RawResult){
			func(r *omniq.RawResult) {},
			func(r *omniq.RawResult) { r.ResultData, r.Codec = omniq.Raw(`"AAAA"`), "json+gzip" },
			func(r *omniq.RawResult) { r.TTL = nil },
			func(r *omniq.RawResult) {
				r.Status, r.ResultData, r.Attempts = omniq.StatusFailure, nil, 4
				r.Error = &omniq.TaskError{Type: "T", Message: "m", Stack: "s", Retryable: true}
			},
			func(r *omniq.RawResult) {
				r.Status, r.ResultData, r.Error = omniq.StatusCancelled, nil, &omniq.TaskError{Message: "ж"}
			},
		} {
			c.enqueue(task())
			l := c.leaseOne()
			s := success(l, "null", long)
			change(s.Result)
			require.NoError(c, c.settle(s))
			assert.Equal(c, s.Result, c.result(l.TaskID))
			assert.Equal(c, s.Result, c.await(l.TaskID))
			c.none()
		}
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
	{name: "a task is pending since it was enqueued even if it becomes due later", check: func(c *checker) {
		at := soon(short)
		t := task(queue("a"), runAt(at))
		c.enqueue(t, task(queue("b"), runAt(at)))
		r := c.result(t.ID)
		assert.Equal(c, omniq.StatusPending, r.Status)
		c.leaseOne(from("b")) // now both are due
		assert.Equal(c, r, c.result(t.ID))
	}},
	{name: "Await returns when the task is settled", check: func(c *checker) {
		c.enqueue(task())
		l := c.leaseOne()
		waiting := []*waiter{c.awaiting(l.TaskID), c.awaiting(l.TaskID), c.awaiting(l.TaskID)}
		c.blocks(waiting[0].done, "Await")
		require.NoError(c, c.settle(success(l, "42", long)))
		for _, w := range waiting {
			assert.JSONEq(c, "42", string(c.got(w).ResultData))
		}
		assert.JSONEq(c, "42", string(c.await(l.TaskID).ResultData), "and at once afterwards")
	}},
	{name: "Await goes on while a task is tried again", check: func(c *checker) {
		t := task()
		c.enqueue(t)
		w := c.awaiting(t.ID)
		c.blocks(w.done, "Await of a pending task")
		l := c.leaseOne()
		c.blocks(w.done, "Await of a running task")
		require.NoError(c, c.settle(omniq.Settlement{LeaseID: l.LeaseID, Action: omniq.ActionRetry}))
		c.blocks(w.done, "Await of a task that is retried")
		c.leaseOne(lasting(short))
		l = c.leaseOne()
		c.blocks(w.done, "Await of a task whose lease ran out")
		require.NoError(c, c.settle(success(l, "42", long)))
		r := c.got(w)
		assert.JSONEq(c, "42", string(r.ResultData))
		assert.Equal(c, 3, r.Attempts)
	}},
	{name: "an unknown ID is not found, at once", check: func(c *checker) {
		_, err := c.b.Result(c.Context(), uuid.New())
		assert.ErrorIs(c, err, omniq.ErrNotFound)
		assert.ErrorIs(c, c.ended(c.awaiting(uuid.New()).done, "Await"), omniq.ErrNotFound)
	}},
	{name: "a result without a TTL to live reaches those who wait", check: func(c *checker) {
		c.inTime(func(d time.Duration, q string) bool {
			t := task(queue(q))
			c.enqueue(t)
			l := c.leaseOne(from(q))
			w := c.awaiting(t.ID)
			c.blocksFor(d, w.done, "Await")
			require.NoError(c, c.settle(success(l, "1", 0)))
			if !c.gone(w) {
				return false
			}
			assert.JSONEq(c, "1", string(w.result.ResultData))
			c.notFound(t.ID)
			assert.ErrorIs(c, c.ended(c.awaiting(t.ID).done, "Await"), omniq.ErrNotFound)
			c.enqueue(t)
			assert.Equal(c, t.ID, c.leaseOne(from(q)).TaskID)
			return true
		})
	}},
	{name: "a result goes when its TTL is over, and its ID can be used again", check: func(c *checker) {
		c.inTime(func(d time.Duration, q string) bool {
			t := task(queue(q))
			c.enqueue(t)
			l := c.leaseOne(from(q))
			until := time.Now().Add(d)
			require.NoError(c, c.settle(success(l, "1", d)))
			_, err := c.b.Result(c.Context(), t.ID)
			if !time.Now().Before(until) {
				return false
			}
			require.NoError(c, err, "its TTL is not over")
			c.notFound(t.ID)
			assert.ErrorIs(c, c.ended(c.awaiting(t.ID).done, "Await"), omniq.ErrNotFound)
			c.enqueue(t)
			l = c.leaseOne(from(q))
			assert.Equal(c, []any{t.ID, 1}, []any{l.TaskID, l.Attempt})
			return true
		})
	}},
	{name: "a duplicate is reported in its place and the others are stored", check: func(c *checker) {
		queued, kept, twice, fresh := task(), task(), task(), task()
		running := task(queue("running"))
		c.enqueue(kept, running)
		require.NoError(c, c.settle(success(c.leaseOne(), "1", long)))
		held := c.leaseOne(from("running"))
		c.enqueue(queued)
		errs, err := c.b.Enqueue(c.Context(), []*omniq.RawTask{queued, fresh, kept, twice, twice, running})
		require.NoError(c, err)
		require.Len(c, errs, 6)
		for i, duplicate := range []bool{true, false, true, false, true, true} {
			if duplicate {
				assert.ErrorIs(c, errs[i], omniq.ErrDuplicate, "task %d", i)
			} else {
				assert.NoError(c, errs[i], "task %d", i)
			}
		}
		for _, want := range []*omniq.RawTask{queued, fresh, twice} {
			assert.Equal(c, want.ID, c.leaseOne().TaskID)
		}
		c.none(from(omniq.DefaultQueue, "running"))
		assert.JSONEq(c, "1", string(c.result(kept.ID).ResultData))
		assert.NoError(c, c.settle(success(held, "1", long)))
	}},
	{name: "one of those who enqueue a task at once stores it", check: func(c *checker) {
		const n = 50
		var tasks []*omniq.RawTask
		for range n {
			tasks = append(tasks, task())
		}
		var calls []<-chan error
		var refused [4][]error
		for i := range refused {
			calls = append(calls, async(func() (err error) { refused[i], err = c.b.Enqueue(c.Context(), tasks); return err }))
		}
		for _, done := range calls {
			require.NoError(c, c.ended(done, "Enqueue"))
		}
		stored := make([]int, n)
		for _, errs := range refused {
			for i := range stored {
				if errs == nil || errs[i] == nil {
					stored[i]++
					continue
				}
				assert.ErrorIs(c, errs[i], omniq.ErrDuplicate)
			}
		}
		for i := range stored {
			assert.Equal(c, 1, stored[i], "task %d", i)
			c.leaseOne()
		}
		c.none()
	}},
	{name: "payloads of all sizes pass", check: func(c *checker) {
		for _, size := range []int{0, 1, 100, 64 << 10, 1 << 20} {
			x := bytes.Repeat([]byte("x"), size)
			args, kwargs := omniq.Raw(`["`+string(x)+`"]`), omniq.Raw(`{"k":"`+string(x)+`"}`)
			if limit := c.b.Capabilities().MaxTaskSize; limit > 0 && len(args)+len(kwargs) > limit {
				continue
			}
			c.enqueue(task(func(t *omniq.RawTask) { t.Args, t.Kwargs = args, kwargs }))
			l := c.leaseOne()
			require.True(c, bytes.Equal(args, l.Task.Args), "args of %d bytes", size)
			require.True(c, bytes.Equal(kwargs, l.Task.Kwargs), "kwargs of %d bytes", size)
			require.NoError(c, c.settle(success(l, string(args), long)))
			require.True(c, bytes.Equal(args, c.result(l.TaskID).ResultData), "a result of %d bytes", size)
		}
	}},
}
