package backendtest

import (
	"context"
	"errors"
	"log/slog"
	"reflect"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/hostile"
)

// transactionRules say what holds for a caller's transactions.
var transactionRules = []transactionRule{
	{name: "a task that is enqueued in a transaction is there once it commits", check: func(c *transactor) {
		t := task(queue("q"), priority(2), unique("k"), func(t *omniq.RawTask) { t.Args = omniq.Raw(`["x"]`) })
		later := task(queue("q"), delay(long))
		in := c.begin()
		c.enqueueIn(in, t, later)
		_, err := c.b.Result(c.Context(), t.ID)
		assert.ErrorIs(c, err, omniq.ErrNotFound, "nobody sees it before that")
		require.NoError(c, in.Commit())
		assert.Equal(c, omniq.StatusPending, c.result(t.ID).Status)
		l := c.leaseOne(from("q"))
		assert.Equal(c, t, l.Task)
		c.none(from("q"))
		assert.Equal(c, omniq.StatusPending, c.result(later.ID).Status)
		c.taken(t)
		assert.NoError(c, c.settle(success(l, "1", long)))
	}},
	{name: "a task of a transaction that is rolled back was never there", check: func(c *transactor) {
		t := task(unique("k"), lasts(long), func(t *omniq.RawTask) { t.IDFor = long })
		in := c.begin()
		c.enqueueIn(in, t)
		require.NoError(c, in.Rollback())
		c.unknown(t.ID)
		c.none()
		c.enqueue(t)
		assert.Equal(c, t.ID, c.leaseOne().TaskID)
	}},
	{name: "a transaction knows the tasks that were there, and its own", check: func(c *transactor) {
		there := task(unique("there"))
		c.enqueue(there)
		in := c.begin()
		own := task(unique("own"))
		c.enqueueIn(in, own)
		second, third, fresh := task(unique("there")), task(unique("own")), task()
		errs, err := in.Enqueue(c.Context(), []*omniq.RawTask{there, second, own, third, fresh})
		c.places(errs, err, omniq.ErrDuplicate, omniq.ErrDuplicate, omniq.ErrDuplicate, omniq.ErrDuplicate, nil)
		require.Len(c, errs, 5)
		c.duplicate(errs[0], there.ID, there.ID)
		c.duplicate(errs[1], second.ID, there.ID)
		c.duplicate(errs[2], own.ID, own.ID)
		c.duplicate(errs[3], third.ID, own.ID)
		require.NoError(c, in.Commit())
		var got []uuid.UUID
		for _, l := range c.lease(9, worst) {
			got = append(got, l.TaskID)
		}
		assert.ElementsMatch(c, []uuid.UUID{there.ID, own.ID, fresh.ID}, got)
	}},
	{name: "a task takes the place of another in a transaction, once it commits", needs: replaces, check: func(c *transactor) {
		for i, commit := range []bool{true, false} {
			q := queueOf(i)
			t, runs := task(unique(q), queue(q), delay(long)), task(unique("runs"+q), queue("runs"+q))
			c.enqueue(t, runs)
			l := c.leaseOf(runs)
			was := c.inspect(t.ID)
			one, two, other, third := task(replace(q)), task(replace(q), queue(q), priority(2)), task(replace("runs"+q)), task(replace("runs"+q), priority(1))
			in := c.begin()
			for _, tasks := range [][]*omniq.RawTask{{one, other}, {two, third, task(unique(q))}} {
				errs, err := in.Enqueue(c.Context(), tasks)
				require.NoError(c, err)
				require.Len(c, errs, len(tasks))
				assert.Equal(c, omniq.Duplicate{ID: tasks[0].ID, Holder: t.ID, Replaced: true}, errs[0])
				if tasks[1] == other {
					assert.NoError(c, errs[1])
					continue
				}
				assert.Equal(c, omniq.Duplicate{ID: third.ID, Holder: other.ID, Replaced: true}, errs[1])
				c.duplicate(errs[2], tasks[2].ID, t.ID)
			}
			assert.Equal(c, was, c.inspect(t.ID), "nobody sees it before that")
			c.unknown(other.ID)
			if !commit {
				require.NoError(c, in.Rollback())
				assert.Equal(c, was, c.inspect(t.ID))
				c.unknown(other.ID)
				c.taken(runs)
				continue
			}
			require.NoError(c, in.Commit())
			c.taken(other)
			assert.Equal(c, 2, c.leaseOf(t).Task.Priority)
			assert.Equal(c, 1, c.leaseOf(other).Task.Priority)
			require.NoError(c, c.settle(success(l, "1", long)))
			c.taken(other)
		}
	}},
	{name: "a waiting Lease gets a task that a transaction commits", check: func(c *transactor) {
		w := c.leasing()
		c.blocks(w.done, "Lease")
		t := task()
		in := c.begin()
		c.enqueueIn(in, t)
		require.NoError(c, in.Commit())
		assert.Equal(c, t.ID, c.leased(w).TaskID)
	}},
	{name: "a transaction refuses a task that no worker could read, and goes on", check: func(c *transactor) {
		in := c.begin()
		for _, bad := range hostile.Tasks() {
			if bad.Value != nil && len(bad.Value.Args)+len(bad.Value.Kwargs) > 1<<20 {
				continue // which takes long, and is the same as outside
			}
			_, err := in.Enqueue(c.Context(), []*omniq.RawTask{task(), bad.Value})
			assert.ErrorIs(c, err, omniq.ErrInvalid, bad.Name)
		}
		t := task()
		c.enqueueIn(in, t)
		require.NoError(c, in.Commit())
		leases := c.lease(9, worst)
		require.Len(c, leases, 1)
		assert.Equal(c, t.ID, leases[0].TaskID)
	}},
	{name: "a settlement in a transaction counts once it commits", check: func(c *transactor) {
		t := task(unique("k"))
		c.enqueue(t)
		l := c.leaseOne()
		w := c.awaiting(t.ID)
		c.blocks(w.done, "Await")
		in := c.begin()
		require.NoError(c, c.settleIn(in, success(l, `"in"`, long)))
		assert.Equal(c, omniq.StatusRunning, c.result(t.ID).Status, "nobody sees it before that")
		c.blocks(w.done, "Await")
		require.NoError(c, in.Commit())
		r := c.got(w)
		assert.Equal(c, omniq.StatusSuccess, r.Status)
		assert.JSONEq(c, `"in"`, string(r.ResultData))
		assert.Equal(c, 1, r.Attempts)
		assert.Equal(c, r, c.result(t.ID))
		c.none()
		c.enqueue(task(unique("k")))
	}},
	{name: "a lease that a transaction has settled is lost", needs: fences, check: func(c *transactor) {
		c.enqueue(task())
		l := c.leaseOne()
		in := c.begin()
		require.NoError(c, c.settleIn(in, success(l, "1", long)))
		require.ErrorIs(c, c.settleIn(in, success(l, "2", long)), omniq.ErrLeaseLost, "in the transaction itself")
		require.NoError(c, in.Commit())
		c.refuses(l.LeaseID)
		assert.JSONEq(c, "1", string(c.result(l.TaskID).ResultData))
	}},
	{name: "a lease goes on when a transaction that has settled it is rolled back", check: func(c *transactor) {
		for _, end := range []func(omniq.Lease) omniq.Settlement{
			func(l omniq.Lease) omniq.Settlement { return success(l, "1", long) },
			func(l omniq.Lease) omniq.Settlement { return failure(l, long) }, retry,
		} {
			t := task(unique("k"))
			c.enqueue(t)
			l := c.leaseOne()
			in := c.begin()
			require.NoError(c, c.settleIn(in, end(l)))
			require.NoError(c, in.Rollback())
			assert.Equal(c, omniq.StatusRunning, c.result(t.ID).Status)
			c.taken(t)
			c.none()
			assert.NoError(c, c.extend(l.LeaseID))
			assert.NoError(c, c.settle(success(l, `"after"`, long)))
			assert.JSONEq(c, `"after"`, string(c.result(t.ID).ResultData))
		}
	}},
	{name: "each settlement of a transaction counts for itself", check: func(c *transactor) {
		for range 5 {
			c.enqueue(task())
		}
		l := c.lease(5, worst)
		require.Len(c, l, 5)
		later := retry(l[1])
		later.Delay = long
		bad := success(l[3], "1", long)
		bad.Result.ResultData = omniq.Raw("{")
		unknown := success(l[4], "1", long)
		unknown.Token = "unknown"
		in := c.begin()
		errs, err := in.Settle(c.Context(), []omniq.Settlement{
			success(l[0], `"0"`, long), later, {LeaseID: l[2].LeaseID, Action: omniq.ActionRelease}, bad, unknown,
		})
		c.places(errs, err, nil, nil, nil, omniq.ErrInvalid, omniq.ErrLeaseLost)
		require.NoError(c, in.Commit())
		assert.JSONEq(c, `"0"`, string(c.result(l[0].TaskID).ResultData))
		info := c.inspect(l[1].TaskID)
		assert.Equal(c, omniq.StatusPending, info.Status)
		assert.Equal(c, 1, info.Attempts)
		if assert.NotNil(c, info.Error) {
			assert.Equal(c, boom, *info.Error)
		}
		released := c.leaseOne()
		assert.Equal(c, l[2].TaskID, released.TaskID)
		assert.Equal(c, 1, released.Attempt)
		c.none()
		for _, l := range l[3:] {
			assert.NoError(c, c.settle(success(l, "1", long)), "its lease goes on")
		}
	}},
	{name: "settlements that cannot be are refused, and nothing of their call is done", check: func(c *transactor) {
		c.enqueue(task(), task())
		l, other := c.leaseOne(), c.leaseOne()
		unfinished := success(l, "1", long)
		unfinished.Result.Status = omniq.StatusRunning
		in := c.begin()
		for name, s := range map[string]omniq.Settlement{
			"no action":                  {LeaseID: l.LeaseID},
			"no result":                  {LeaseID: l.LeaseID, Action: omniq.ActionFinish},
			"a result that is not final": unfinished,
			"a delay before now":         {LeaseID: l.LeaseID, Action: omniq.ActionRetry, Delay: -1},
		} {
			_, err := in.Settle(c.Context(), []omniq.Settlement{success(other, "1", long), s})
			assert.ErrorIs(c, err, omniq.ErrInvalid, name)
		}
		require.NoError(c, in.Commit())
		for _, l := range []omniq.Lease{l, other} {
			assert.Equal(c, omniq.StatusRunning, c.result(l.TaskID).Status)
			assert.NoError(c, c.settle(success(l, "1", long)))
		}
	}},
	{name: "what a transaction enqueues and settles is one", check: func(c *transactor) {
		for _, commit := range []bool{true, false} {
			c.enqueue(task())
			l := c.leaseOne()
			next := task(queue("next"))
			in := c.begin()
			c.enqueueIn(in, next)
			require.NoError(c, c.settleIn(in, success(l, "1", long)))
			if commit {
				require.NoError(c, in.Commit())
				assert.Equal(c, omniq.StatusSuccess, c.result(l.TaskID).Status)
				assert.Equal(c, next.ID, c.leaseOne(from("next")).TaskID)
				continue
			}
			require.NoError(c, in.Rollback())
			assert.Equal(c, omniq.StatusRunning, c.result(l.TaskID).Status)
			c.unknown(next.ID)
			c.none(from("next"))
		}
	}},
	{name: "a task that ends in a transaction frees its unique key there", check: func(c *transactor) {
		t, next := task(unique("k")), task(unique("k"))
		c.enqueue(t)
		l := c.leaseOne()
		in := c.begin()
		require.NoError(c, c.settleIn(in, success(l, "1", long)))
		c.enqueueIn(in, next)
		require.NoError(c, in.Commit())
		assert.Equal(c, next.ID, c.leaseOne().TaskID)
		c.taken(next)
	}},
	{name: "a lease that is lost settles nothing in a transaction, which goes on", needs: fences, check: func(c *transactor) {
		c.enqueue(task(), task())
		cancelled, expired := c.leaseOne(), c.leaseOne(lasting(time.Millisecond))
		require.NoError(c, c.cancel(cancelled.TaskID))
		c.lost(expired.TaskID)
		in := c.begin()
		for _, l := range []omniq.Lease{cancelled, expired} {
			assert.ErrorIs(c, c.settleIn(in, success(l, "1", long)), omniq.ErrLeaseLost)
		}
		t := task(queue("q"))
		c.enqueueIn(in, t)
		require.NoError(c, in.Commit())
		assert.Equal(c, t.ID, c.leaseOne(from("q")).TaskID)
		assert.Equal(c, omniq.StatusCancelled, c.result(cancelled.TaskID).Status)
		assert.Equal(c, omniq.StatusPending, c.result(expired.TaskID).Status)
	}},
	{name: "what is no transaction of the engine's is refused", check: func(c *transactor) {
		b, ok := c.b.(omniq.Transactor)
		require.True(c, ok)
		in := c.beginTx()
		none := reflect.Zero(reflect.TypeOf(in.Tx)).Interface()
		require.NoError(c, in.Rollback())
		for _, bad := range []any{nil, 7, "tx", struct{}{}, &struct{}{}, (*struct{})(nil), none, c.b} {
			_, err := b.Transaction(bad)
			assert.ErrorIs(c, err, omniq.ErrInvalid, "%T", bad)
		}
	}},
	{name: "a transaction that has ended takes nothing", check: func(c *transactor) {
		c.enqueue(task())
		l := c.leaseOne()
		for _, commit := range []bool{true, false} {
			in := c.begin()
			end := in.Rollback
			if commit {
				end = in.Commit
			}
			require.NoError(c, end())
			t := task(queue("q"))
			_, err := in.Enqueue(c.Context(), []*omniq.RawTask{t})
			assert.Error(c, err)
			_, err = in.Settle(c.Context(), []omniq.Settlement{success(l, "1", long)})
			assert.Error(c, err)
			c.unknown(t.ID)
		}
		assert.NoError(c, c.settle(success(l, "1", long)))
	}},
	{name: "a handler's task has succeeded if the transaction commits that has its result, and else runs again", check: func(c *transactor) {
		attempts, waiting := 0, make(chan struct{})
		complete := omniq.DefineNoArgs("complete", func(ctx context.Context) (string, error) {
			select {
			case <-waiting:
			case <-ctx.Done():
			}
			attempts++
			in := c.beginTx()
			err := omniq.CompleteTx(ctx, in.Tx, "done")
			if err == nil && attempts == 2 {
				return "done", in.Commit()
			}
			return "done", errors.Join(err, in.Rollback())
		})
		client, err := omniq.NewClient(c.b)
		require.NoError(c, err)
		worker, err := omniq.NewWorker(c.b, omniq.Handlers(complete), omniq.Retries(1),
			omniq.RetryDelays(omniq.Constant(0), 0), omniq.Logger(slog.New(slog.DiscardHandler)))
		require.NoError(c, err)
		ctx, stop := context.WithTimeout(c.Context(), worst)
		defer stop()
		ran := make(chan error, 1)
		go func() { ran <- worker.Run(ctx) }()
		h, err := complete.Enqueue(ctx, client)
		require.NoError(c, err)
		w := c.awaiting(h.ID())
		c.blocks(w.done, "Await")
		close(waiting)
		c.got(w)
		got, err := h.Wait(ctx)
		stop()
		require.NoError(c, <-ran)
		require.NoError(c, err)
		assert.Equal(c, "done", got)
		assert.Equal(c, 2, attempts)
		assert.Equal(c, 2, c.result(h.ID()).Attempts)
	}},
	{name: "a call of no items does nothing in a transaction", check: func(c *transactor) {
		in := c.begin()
		errs, err := in.Enqueue(c.Context(), nil)
		assert.NoError(c, err)
		assert.Empty(c, errs)
		errs, err = in.Settle(c.Context(), nil)
		assert.NoError(c, err)
		assert.Empty(c, errs)
		t := task()
		c.enqueueIn(in, t)
		require.NoError(c, in.Commit())
		assert.Equal(c, t.ID, c.leaseOne().TaskID)
	}},
	{name: "the events of a transaction are there once it commits", needs: keeps, check: func(c *transactor) {
		for _, commit := range []bool{true, false} {
			t, next := task(), task(queue("next"))
			c.enqueue(t)
			l := c.leaseOne()
			in := c.begin()
			c.enqueueIn(in, next)
			require.NoError(c, c.settleIn(in, success(l, "1", long)))
			require.Len(c, c.events(t.ID), 2, "nobody sees them before that")
			require.Empty(c, c.events(next.ID), "nobody sees them before that")
			if !commit {
				require.NoError(c, in.Rollback())
				assert.Len(c, c.events(t.ID), 2)
				assert.Empty(c, c.events(next.ID))
				continue
			}
			require.NoError(c, in.Commit())
			all := c.events(t.ID)
			require.Len(c, all, 3)
			assert.Equal(c, omniq.EventCompleted, all[2].EventType)
			all = c.events(next.ID)
			require.Len(c, all, 1)
			assert.Equal(c, omniq.EventEnqueued, all[0].EventType)
		}
	}},
}
