package backendtest

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// callRules say what holds for all methods.
var callRules = []rule{
	{name: "the slices of a call are not kept", check: func(c *checker) {
		tasks := []*omniq.RawTask{task(), task()}
		ids := []uuid.UUID{tasks[0].ID, tasks[1].ID}
		c.enqueue(tasks...)
		clear(tasks)
		leases := []omniq.Lease{c.leaseOne(), c.leaseOne()}
		assert.Equal(c, ids, []uuid.UUID{leases[0].TaskID, leases[1].TaskID})
		settlements := []omniq.Settlement{success(leases[0], "1", long), success(leases[1], "2", long)}
		_, err := c.b.Settle(c.Context(), settlements)
		require.NoError(c, err)
		clear(settlements)
		assert.JSONEq(c, "2", string(c.result(ids[1]).ResultData))
		records := []*omniq.RawResult{record(long), record(long)}
		ids = []uuid.UUID{records[0].TaskID, records[1].TaskID}
		_, err = c.b.Record(c.Context(), records)
		require.NoError(c, err)
		clear(records)
		assert.Equal(c, ids, []uuid.UUID{c.result(ids[0]).TaskID, c.result(ids[1]).TaskID})
	}},
	{name: "a call of no items does nothing", check: func(c *checker) {
		c.enqueue()
		errs, err := c.b.Settle(c.Context(), nil)
		assert.NoError(c, err)
		assert.Empty(c, errs)
		errs, err = c.b.Extend(c.Context(), nil, long)
		assert.NoError(c, err)
		assert.Empty(c, errs)
		errs, err = c.b.Start(c.Context(), nil)
		assert.NoError(c, err)
		assert.Empty(c, errs)
		errs, err = c.b.Free(c.Context(), nil)
		assert.NoError(c, err)
		assert.Empty(c, errs)
		errs, err = c.b.Record(c.Context(), nil)
		assert.NoError(c, err)
		assert.Empty(c, errs)
		errs, err = c.b.Update(c.Context(), nil)
		assert.NoError(c, err)
		assert.Empty(c, errs)
		for _, call := range []func(context.Context, []uuid.UUID) ([]error, error){c.b.Cancel, requeue(c.b), c.b.RunNow, c.b.Forget} {
			errs, err = call(c.Context(), nil)
			assert.NoError(c, err)
			assert.Empty(c, errs)
		}
	}},
	{name: "a method whose context has ended does nothing", check: func(c *checker) {
		t, failed := task(), c.final(omniq.StatusFailure)
		c.enqueue(t)
		c.pauseQueue("paused")
		want := c.stats()
		ctx, cancel := context.WithCancel(c.Context())
		cancel()
		for _, id := range []uuid.UUID{t.ID, failed.ID} {
			for name, call := range calls(c.b, id) {
				assert.ErrorIs(c, c.ended(async(func() error { return call(ctx) }), name), context.Canceled, name)
			}
		}
		assert.Equal(c, timeless(want), timeless(c.stats()))
		assert.Equal(c, t.ID, c.leaseOne().TaskID)
		c.none()
	}},
	{name: "a call that blocks ends with its context", check: func(c *checker) {
		t := task(queue("other"))
		c.enqueue(t)
		for _, name := range []string{"Lease", "Await", "Revoked"} {
			call := calls(c.b, t.ID)[name]
			ctx, cancel := context.WithTimeout(c.Context(), short)
			defer cancel()
			assert.ErrorIs(c, c.ended(async(func() error { return call(ctx) }), name), context.DeadlineExceeded, name)
			ctx, cancel = context.WithCancel(c.Context())
			defer cancel()
			done := async(func() error { return call(ctx) })
			c.blocks(done, name)
			cancel()
			assert.ErrorIs(c, c.ended(done, name), context.Canceled, name)
		}
		c.enqueue(task())
		l := c.leaseOne()
		require.NoError(c, c.cancel(l.TaskID))
		assert.Equal(c, []omniq.LeaseID{l.LeaseID}, c.revoked(c.revoking("w")), "the calls that ended took nothing")
	}},
	{name: "after Close each method returns ErrClosed", check: func(c *checker) {
		t := task(queue("other"))
		c.enqueue(t)
		waiting := []*waiter{c.leasing(), c.awaiting(t.ID), c.revoking("w")}
		for _, w := range waiting {
			c.blocks(w.done, w.what)
		}
		require.NoError(c, c.b.Close())
		for _, w := range waiting {
			assert.ErrorIs(c, c.ended(w.done, w.what), omniq.ErrClosed, w.what)
		}
		for name, call := range calls(c.b, t.ID) {
			assert.ErrorIs(c, c.ended(async(func() error { return call(c.Context()) }), name), omniq.ErrClosed, name)
		}
		assert.NoError(c, c.b.Close(), "Close may be called again")
	}},
	{name: "a request that cannot be is refused and changes nothing", check: func(c *checker) {
		c.enqueue(task(), task())
		queues := []string{omniq.DefaultQueue}
		for name, r := range map[string]omniq.LeaseRequest{
			"no queues":            {Max: 1, Duration: long},
			"no task":              {Queues: queues, Duration: long},
			"less than no task":    {Queues: queues, Max: -1, Duration: long},
			"no duration":          {Queues: queues, Max: 1},
			"a negative duration":  {Queues: queues, Max: 1, Duration: -1},
			"more ahead than all":  {Queues: queues, Max: 1, Duration: long, Ahead: 2},
			"less than none ahead": {Queues: queues, Max: 1, Duration: long, Ahead: -1},
			"no limit for a queue": {Queues: queues, Max: 1, Duration: long, Limits: []int{}},
			"a limit too many":     {Queues: queues, Max: 1, Duration: long, Limits: []int{1, 1}},
			"a limit of nothing":   {Queues: queues, Max: 1, Duration: long, Limits: []int{0}},
			"a negative limit":     {Queues: queues, Max: 1, Duration: long, Limits: []int{-1}},
			"two limits for one":   {Queues: []string{"default", ""}, Max: 1, Duration: long, Limits: []int{1, 1}},
		} {
			_, err := c.b.Lease(c.Context(), r)
			assert.ErrorIs(c, err, omniq.ErrInvalid, name)
		}
		l, other := c.leaseOne(), c.leaseOne()
		unfinished, foreign := success(l, "1", long), success(l, "1", long)
		unfinished.Result.Status, foreign.Result.TaskID = omniq.StatusRunning, uuid.New()
		for name, s := range map[string]omniq.Settlement{
			"no action":                  {LeaseID: l.LeaseID},
			"an unknown action":          {LeaseID: l.LeaseID, Action: 99},
			"no result":                  {LeaseID: l.LeaseID, Action: omniq.ActionFinish},
			"a result that is not final": unfinished,
			"a result of another task":   foreign,
			"a delay before now":         {LeaseID: l.LeaseID, Action: omniq.ActionRetry, Delay: -1},
		} {
			_, err := c.b.Settle(c.Context(), []omniq.Settlement{success(other, "1", long), s})
			assert.ErrorIs(c, err, omniq.ErrInvalid, name)
		}
		for _, by := range []time.Duration{0, -1} {
			_, err := c.b.Extend(c.Context(), []omniq.LeaseID{l.LeaseID}, by)
			assert.ErrorIs(c, err, omniq.ErrInvalid, "no time")
		}
		for _, l := range []omniq.Lease{l, other} {
			assert.Equal(c, omniq.StatusRunning, c.result(l.TaskID).Status)
			assert.NoError(c, c.settle(success(l, "1", long)))
		}
	}},
}

// calls are the methods that take a context, but for those of events. Lease, Await and Revoked block unless something is
// in the default queue, the task of the ID has ended, or the worker w has lost a lease.
func calls(b omniq.Backend, id uuid.UUID) map[string]func(context.Context) error {
	each := func(call func(context.Context, []uuid.UUID) ([]error, error)) func(context.Context) error {
		return func(ctx context.Context) error { _, err := call(ctx, []uuid.UUID{id}); return err }
	}
	all := map[string]func(context.Context) error{
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
		"Start": func(ctx context.Context) error {
			_, err := b.Start(ctx, []omniq.LeaseID{{TaskID: id, Token: "x"}})
			return err
		},
		"Free": func(ctx context.Context) error {
			_, err := b.Free(ctx, []omniq.UniqueKey{{FuncName: "f", Key: "nobody's"}})
			return err
		},
		"Cancel":  each(b.Cancel),
		"Revoked": func(ctx context.Context) error { _, err := b.Revoked(ctx, "w"); return err },
		"Requeue": each(requeue(b)),
		"RunNow":  each(b.RunNow),
		"Update": func(ctx context.Context) error {
			_, err := b.Update(ctx, []omniq.Update{updateOf(task(func(t *omniq.RawTask) { t.ID = id }), omniq.StatusPending)})
			return err
		},
		"Inspect": func(ctx context.Context) error { _, err := b.Inspect(ctx, id); return err },
		"List": func(ctx context.Context) error {
			_, _, err := b.List(ctx, omniq.ListRequest{Status: omniq.StatusPending, Max: 1})
			return err
		},
		"Stats":  func(ctx context.Context) error { _, err := b.Stats(ctx); return err },
		"Pause":  func(ctx context.Context) error { return b.Pause(ctx, omniq.DefaultQueue) },
		"Resume": func(ctx context.Context) error { return b.Resume(ctx, "paused") },
		"Result": func(ctx context.Context) error { _, err := b.Result(ctx, id); return err },
		"Await":  func(ctx context.Context) error { _, err := b.Await(ctx, id); return err },
		"Record": func(ctx context.Context) error {
			_, err := b.Record(ctx, []*omniq.RawResult{record(long)})
			return err
		},
		"Forget":  each(b.Forget),
		"Beat":    func(ctx context.Context) error { return b.Beat(ctx, beat("w")) },
		"History": func(ctx context.Context) error { _, err := b.History(ctx, long); return err },
		"Workers": func(ctx context.Context) error { _, err := b.Workers(ctx); return err },
	}
	if caps := b.Capabilities(); caps.Flows {
		all["Resolve"] = func(ctx context.Context) error {
			_, err := b.Resolve(ctx, []*omniq.RawResult{resolution(task(func(t *omniq.RawTask) { t.ID = id }), "1")})
			return err
		}
		all["CancelFlow"] = func(ctx context.Context) error { _, err := b.CancelFlow(ctx, id); return err }
		all["FlowStats"] = func(ctx context.Context) error { _, err := b.FlowStats(ctx, id); return err }
	}
	if caps := b.Capabilities(); caps.Notes {
		all["Note"] = func(ctx context.Context) error {
			_, err := b.Note(ctx, []omniq.LeaseNotes{{LeaseID: omniq.LeaseID{TaskID: id, Token: "x"}}})
			return err
		}
		all["Stream"] = func(ctx context.Context) error {
			_, err := b.Stream(ctx, omniq.StreamRequest{TaskID: id, Name: "s", Max: 1})
			return err
		}
	}
	return all
}

// requeue is Requeue without what follows from the tasks.
func requeue(b omniq.Backend) func(context.Context, []uuid.UUID) ([]error, error) {
	return func(ctx context.Context, ids []uuid.UUID) ([]error, error) { return b.Requeue(ctx, ids, false) }
}
