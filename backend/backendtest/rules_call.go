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
	}},
	{name: "a call of no items does nothing", check: func(c *checker) {
		c.enqueue()
		errs, err := c.b.Settle(c.Context(), nil)
		assert.NoError(c, err)
		assert.Empty(c, errs)
		errs, err = c.b.Extend(c.Context(), nil, long)
		assert.NoError(c, err)
		assert.Empty(c, errs)
	}},
	{name: "a method whose context has ended does nothing", check: func(c *checker) {
		t := task()
		c.enqueue(t)
		ctx, cancel := context.WithCancel(c.Context())
		cancel()
		for name, call := range calls(c.b, t.ID) {
			assert.ErrorIs(c, c.ended(async(func() error { return call(ctx) }), name), context.Canceled, name)
		}
		assert.Equal(c, t.ID, c.leaseOne().TaskID)
		c.none()
	}},
	{name: "a call that blocks ends with its context", check: func(c *checker) {
		t := task(queue("other"))
		c.enqueue(t)
		for _, name := range []string{"Lease", "Await"} {
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
		c.leaseOne()
	}},
	{name: "after Close each method returns ErrClosed", check: func(c *checker) {
		t := task(queue("other"))
		c.enqueue(t)
		waiting := []*waiter{c.leasing(), c.awaiting(t.ID)}
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
			"no queues":           {Max: 1, Duration: long},
			"no task":             {Queues: queues, Duration: long},
			"less than no task":   {Queues: queues, Max: -1, Duration: long},
			"no duration":         {Queues: queues, Max: 1},
			"a negative duration": {Queues: queues, Max: 1, Duration: -1},
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
