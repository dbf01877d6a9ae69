package backendtest

import (
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// dependencyRules say how tasks wait for tasks.
var dependencyRules = []rule{
	{name: "a task waits until the one that it needs has succeeded", needs: flows, check: func(c *checker) {
		first := task()
		second := task(waitsFor(noInput(first)), queue("second"))
		third := task(waitsFor(noInput(second)), queue("third"))
		c.enqueue(first, second, third)
		c.waiting(second, third)
		c.none(from("second", "third"))
		l := c.leaseOf(first)
		c.waiting(second, third)
		require.NoError(c, c.settle(success(l, "1", long)))
		l = c.leaseOf(second)
		assert.Equal(c, second, l.Task)
		assert.Equal(c, []int{1, 0}, []int{l.Attempt, l.Lost})
		assert.False(c, l.Resumed)
		c.waiting(third)
		require.NoError(c, c.settle(success(l, "2", long)))
		c.succeed(third, "3")
		assert.JSONEq(c, "3", string(c.await(third.ID).ResultData))
	}},
	{name: "a task that waits for others is not due meanwhile", needs: flows, check: func(c *checker) {
		first := task()
		second := task(after(first), queue("second"))
		c.enqueue(first, second)
		assert.Empty(c, c.lease(1, while, from("second")))
		ended := time.Now()
		c.succeed(first, "1")
		assert.LessOrEqual(c, c.leaseOne(from("second")).Waited, time.Since(ended)+time.Millisecond)
	}},
	{name: "a waiting Lease gets a task whose last dependency ends", needs: flows, check: func(c *checker) {
		one, other := task(queue("one")), task(queue("other"), manual)
		last := task(waitsFor(needing(one), needing(other)))
		c.enqueue(one, other, last)
		w, result := c.leasing(), c.awaiting(last.ID)
		c.blocks(w.done, "Lease")
		c.succeed(one, "1")
		c.blocks(w.done, "Lease")
		c.blocks(result.done, "Await")
		c.resolve(other, "2")
		l := c.leased(w)
		require.Equal(c, last.ID, l.TaskID)
		require.NoError(c, c.settle(success(l, "3", long)))
		assert.JSONEq(c, "3", string(c.got(result).ResultData))
	}},
	{name: "a task waits for each of its dependencies, in whatever order they end", needs: flows, check: func(c *checker) {
		for _, order := range [][]int{{0, 1, 2}, {2, 0, 1}, {1, 2, 0}} {
			deps := []*omniq.RawTask{task(queue("0")), task(queue("1")), task(queue("2"))}
			last := task(after(deps...))
			c.enqueue(deps[0], deps[1])
			c.enqueue(deps[2], last)
			for _, i := range order {
				c.waiting(last)
				c.none()
				c.succeed(deps[i], "1")
			}
			c.succeed(last, "2")
		}
	}},
	{name: "a task may depend on one that is stored, running, or has ended", needs: flows, check: func(c *checker) {
		pending, running := task(queue("pending")), task(queue("running"))
		c.enqueue(pending, running)
		l := c.leaseOf(running)
		done := c.final(omniq.StatusSuccess)
		all := task(after(pending, running, done), queue("all"))
		c.enqueue(all)
		c.waiting(all)
		require.NoError(c, c.settle(success(l, `"running"`, long)))
		c.waiting(all)
		c.succeed(pending, `"pending"`)
		c.inputs(c.leaseOf(all), `"pending"`, `"running"`, `"done"`)
	}},
	{name: "a task whose dependencies have all ended does not wait", needs: flows, check: func(c *checker) {
		done, failed := c.final(omniq.StatusSuccess), c.final(omniq.StatusFailure)
		t := task(waitsFor(needing(done), ending(failed)))
		c.enqueue(t)
		assert.Equal(c, omniq.StatusPending, c.result(t.ID).Status)
		l := c.leaseOf(t)
		assert.Equal(c, omniq.StatusFailure, c.input(l, 1, 2).Status)
		r := record(long)
		errs, err := c.b.Record(c.Context(), []*omniq.RawResult{r})
		c.places(errs, err, nil)
		t = task(waitsFor(omniq.Dependency{ID: r.TaskID, Input: true}), queue("q"))
		c.enqueue(t)
		c.inputs(c.leaseOf(t), `"recorded"`)
	}},
	{name: "a task with a dependency that is unknown or gone fails its call, of which nothing is stored", needs: flows, check: func(c *checker) {
		forgotten := c.final(omniq.StatusSuccess)
		require.NoError(c, c.forget(forgotten.ID))
		gone := c.final(omniq.StatusSuccess, resultTTL(0))
		later := task(queue("later"))
		for name, dep := range map[string]*omniq.RawTask{
			"unknown": task(), "forgotten": forgotten, "gone": gone, "later in the call": later,
		} {
			before, t := task(), task(after(dep))
			_, err := c.b.Enqueue(c.Context(), []*omniq.RawTask{before, t, later})
			require.ErrorIs(c, err, omniq.ErrNotFound, name)
			assert.Contains(c, err.Error(), t.ID.String(), name)
			assert.Contains(c, err.Error(), dep.ID.String(), name)
			for _, t := range []*omniq.RawTask{before, t, later} {
				c.unknown(t.ID)
			}
		}
		c.none(from(omniq.DefaultQueue, "later"))
	}},
	{name: "a task ends when one that it needs ends without success, before or after it was enqueued", needs: flows, check: func(c *checker) {
		for _, death := range deaths {
			keep := 3 * time.Hour
			early := task(queue("q"), func(t *omniq.RawTask) { t.TTL = new(short) })
			if death != omniq.StatusExpired {
				early.TTL = nil
			}
			waits := task(after(early), named("waits"), func(t *omniq.RawTask) { t.FailureTTL = &keep })
			c.enqueue(early, waits)
			c.end(early, death)
			late := task(after(early), func(t *omniq.RawTask) { t.FailureTTL = &keep })
			c.enqueue(late)
			for _, t := range []*omniq.RawTask{waits, late} {
				r := c.blocked(t, early)
				want := omniq.DependencyResult(t, r.Timestamp, 0, "f", c.result(early.ID))
				assert.Equal(c, want, r, "after %v", death)
				assert.Equal(c, &keep, r.TTL, "it is kept like a failure")
				info := c.inspect(t.ID)
				assert.Equal(c, want.Error, info.Error)
				assert.Equal(c, t, info.Task)
				assert.Zero(c, info.Attempts)
			}
			c.none()
		}
	}},
	{name: "a failure goes through a chain of tasks to its end, and is named there", needs: flows, check: func(c *checker) {
		chain := tasksOf(6)
		for i, t := range chain[1:] {
			after(chain[i])(t)
		}
		side := task(after(chain[3]), queue("side"))
		other := task(waitsFor(ending(chain[3])), queue("other"))
		c.enqueue(append(chain, side, other)...)
		w := c.awaiting(chain[5].ID)
		c.blocks(w.done, "Await")
		c.succeed(chain[0], "1")
		require.NoError(c, c.settle(failure(c.leaseOf(chain[1]), long)))
		assert.Equal(c, omniq.StatusCancelled, c.got(w).Status)
		for _, t := range append(chain[2:], side) {
			r := c.blocked(t, chain[1])
			assert.Contains(c, r.Error.Message, boom.Message)
			assert.Equal(c, c.result(chain[2].ID).Error, r.Error)
		}
		l := c.leaseOf(other)
		assert.Equal(c, c.result(chain[3].ID), c.input(l, 0, 1))
		c.none(from(omniq.DefaultQueue, "side"))
	}},
	{name: "a task that needs no more than the end of another runs however that ends", needs: flows, check: func(c *checker) {
		for _, s := range append(deaths, omniq.StatusSuccess) {
			dep := task(queue("q"), func(t *omniq.RawTask) { t.TTL = new(short) })
			if s != omniq.StatusExpired {
				dep.TTL = nil
			}
			t := task(waitsFor(ending(dep)))
			c.enqueue(dep, t)
			c.end(dep, s)
			l := c.leaseOf(t)
			assert.Equal(c, c.result(dep.ID), c.input(l, 0, 1), "after %v", s)
			require.NoError(c, c.settle(success(l, "1", long)))
		}
	}},
	{name: "one that is retried, put off, given back or lost has not ended", needs: flows, check: func(c *checker) {
		dep := task(queue("q"))
		t := task(after(dep))
		c.enqueue(dep, t)
		for _, a := range []omniq.Action{omniq.ActionRetry, omniq.ActionRelease, omniq.ActionDefer} {
			s := omniq.Settlement{LeaseID: c.leaseOf(dep).LeaseID, Action: a}
			if a == omniq.ActionRetry {
				s.Error = &boom
			}
			require.NoError(c, c.settle(s))
			c.waiting(t)
			s = omniq.Settlement{LeaseID: c.leaseOf(dep).LeaseID, Action: a, Delay: time.Millisecond}
			require.NoError(c, c.settle(s))
			c.waiting(t)
		}
		c.leaseOf(dep, lasting(short))
		c.lost(dep.ID)
		c.waiting(t)
		c.none()
		c.succeed(dep, "1")
		c.inputs(c.leaseOf(t), "1")
	}},
	{name: "a task that is settled twice counts once for those that wait for it", needs: func(c omniq.Capabilities) bool {
		return c.Flows && c.Fencing
	}, check: func(c *checker) {
		one, other := task(queue("one")), task(queue("other"))
		t := task(after(one, other))
		c.enqueue(one, other, t)
		l := c.leaseOf(one)
		require.NoError(c, c.settle(success(l, "1", long)))
		for range 3 {
			require.ErrorIs(c, c.settle(success(l, "2", long)), omniq.ErrLeaseLost)
			require.ErrorIs(c, c.settle(failure(l, long)), omniq.ErrLeaseLost)
			require.ErrorIs(c, c.cancel(one.ID), omniq.ErrState)
			c.waiting(t)
		}
		c.none()
		c.succeed(other, "3")
		c.inputs(c.leaseOf(t), "1", "3")
	}},
	{name: "a task that waits is not leased, made due or updated, and can be cancelled", needs: flows, check: func(c *checker) {
		dep := task(queue("q"))
		t := task(after(dep))
		next := task(after(t))
		c.enqueue(dep, t, next)
		c.waiting(t)
		assert.ErrorIs(c, c.runNow(t.ID), omniq.ErrState)
		assert.ErrorIs(c, c.update(updateOf(t, omniq.StatusPending)), omniq.ErrState)
		assert.ErrorIs(c, c.requeue(t.ID), omniq.ErrState)
		assert.ErrorIs(c, c.forget(t.ID), omniq.ErrState)
		c.none()
		c.waiting(t, next)
		require.NoError(c, c.cancel(t.ID))
		c.cancelled(c.await(t.ID), 0)
		c.blocked(next, t)
		c.succeed(dep, "1")
		c.none()
	}},
	{name: "a task expires while it waits, and those that need it end", needs: flows, check: func(c *checker) {
		dep := task(queue("q"))
		t := task(after(dep), ttl(short))
		next := task(after(t))
		c.enqueue(dep, t, next)
		r := c.await(t.ID)
		assert.Equal(c, omniq.StatusExpired, r.Status)
		assert.ErrorIs(c, r.Err(), omniq.ErrExpired)
		assert.Zero(c, r.Attempts)
		c.blocked(next, t)
		c.succeed(dep, "1")
		c.none()
	}},
	{name: "the delay of a task counts from the end of what it waits for", needs: flows, check: func(c *checker) {
		c.inTime(func(d time.Duration, q string) bool {
			dep := task(queue("q"))
			t := task(after(dep), delay(d), queue(q))
			c.enqueue(dep, t)
			c.eventually("its delay would be over", func() bool { return time.Since(t.CreatedAt) > d })
			until := time.Now().Add(d)
			c.succeed(dep, "1")
			if !c.noneUntil(until, q) {
				return false
			}
			assert.False(c, c.leaseOf(t).Expires.Before(until), "it was leased too early")
			return true
		})
	}},
	{name: "a task is not leased before its time, though all that it waits for has ended", needs: flows, check: func(c *checker) {
		c.inTime(func(d time.Duration, q string) bool {
			dep := task(queue("q"))
			at := soon(d)
			t := task(after(dep), runAt(at), queue(q))
			c.enqueue(dep, t)
			c.succeed(dep, "1")
			if !c.noneUntil(at, q) {
				return false
			}
			c.becomes(t, omniq.StatusPending)
			c.leaseOf(t)
			return true
		})
	}},
	{name: "what a task waits for is shown, also when it has ended", needs: flows, check: func(c *checker) {
		one, other := task(queue("one")), task(queue("other"))
		t := task(waitsFor(noInput(one), ending(other)), queue("q"))
		c.enqueue(one, other, t)
		shown := func(s omniq.Status) {
			c.Helper()
			info := c.inspect(t.ID)
			assert.Equal(c, s, info.Status)
			assert.Equal(c, t.After, info.After)
			all := c.list(omniq.ListRequest{Status: s, Queue: "q", Max: 5})
			require.Len(c, all, 1)
			assert.Equal(c, t.After, all[0].After)
		}
		assert.Empty(c, c.inspect(one.ID).After)
		shown(omniq.StatusWaiting)
		c.succeed(one, "1")
		shown(omniq.StatusWaiting)
		require.NoError(c, c.cancel(other.ID))
		c.becomes(t, omniq.StatusPending)
		shown(omniq.StatusPending)
		l := c.leaseOf(t)
		shown(omniq.StatusRunning)
		require.NoError(c, c.settle(failure(l, long)))
		shown(omniq.StatusFailure)
		require.NoError(c, c.requeue(t.ID))
		c.succeed(t, "1")
		shown(omniq.StatusSuccess)
	}},
	{name: "tasks that wait are counted as such", needs: flows, check: func(c *checker) {
		dep := task(queue("q"))
		all := tasksOf(3, after(dep), queue("w"))
		c.enqueue(append([]*omniq.RawTask{dep}, all...)...)
		assert.Equal(c, []omniq.QueueStats{{Queue: "q", Ready: 1}, {Queue: "w", Waiting: 3}}, timeless(c.stats()))
		require.NoError(c, c.cancel(all[0].ID))
		assert.Contains(c, timeless(c.stats()), omniq.QueueStats{Queue: "w", Waiting: 2, Cancelled: 1})
		c.succeed(dep, "1")
		c.becomes(all[1], omniq.StatusPending)
		c.becomes(all[2], omniq.StatusPending)
		assert.Contains(c, timeless(c.stats()), omniq.QueueStats{Queue: "w", Ready: 2, Cancelled: 1})
	}},
	{name: "the holder of a duplicate takes its place as a dependency", needs: flows, check: func(c *checker) {
		stored, inCall := task(unique("stored"), queue("stored")), task(unique("in call"), queue("call"))
		c.enqueue(stored)
		one, other := task(unique("stored")), task(unique("in call"))
		t := task(waitsFor(needing(one), needing(other)))
		errs, err := c.b.Enqueue(c.Context(), []*omniq.RawTask{one, inCall, other, t})
		c.places(errs, err, omniq.ErrDuplicate, nil, omniq.ErrDuplicate, nil)
		c.duplicate(errs[0], one.ID, stored.ID)
		c.duplicate(errs[2], other.ID, inCall.ID)
		c.waiting(t)
		assert.Equal(c, []omniq.Dependency{needing(stored), needing(inCall)}, c.inspect(t.ID).After)
		assert.Equal(c, t, c.inspect(t.ID).Task, "what was enqueued stays as it was")
		c.succeed(stored, `"stored"`)
		c.waiting(t)
		c.succeed(inCall, `"in call"`)
		l := c.leaseOf(t)
		assert.Equal(c, t, l.Task)
		c.inputs(l, `"stored"`, `"in call"`)
	}},
	{name: "a holder that has ended takes the place of a duplicate, one that is gone does not", needs: flows, check: func(c *checker) {
		holder := c.final(omniq.StatusSuccess, unique("k"), lasts(long))
		again := task(unique("k"))
		t := task(after(again))
		errs, err := c.b.Enqueue(c.Context(), []*omniq.RawTask{again, t})
		c.places(errs, err, omniq.ErrDuplicate, nil)
		l := c.leaseOf(t)
		c.inputs(l, `"done"`)
		require.NoError(c, c.settle(success(l, "1", long)))
		require.NoError(c, c.forget(holder.ID))
		t = task(after(again))
		_, err = c.b.Enqueue(c.Context(), []*omniq.RawTask{again, t})
		require.ErrorIs(c, err, omniq.ErrNotFound)
		c.unknown(t.ID)
	}},
	{name: "a holder whose ID is enqueued again in the same call is waited for", needs: flows, check: func(c *checker) {
		holder := c.final(omniq.StatusSuccess, unique("k"), lasts(long))
		require.NoError(c, c.forget(holder.ID))
		duplicate, again := task(unique("k")), task(func(t *omniq.RawTask) { t.ID = holder.ID })
		t := task(after(duplicate))
		errs, err := c.b.Enqueue(c.Context(), []*omniq.RawTask{duplicate, again, t})
		c.places(errs, err, omniq.ErrDuplicate, nil, nil)
		c.duplicate(errs[0], duplicate.ID, holder.ID)
		c.waiting(t)
		c.succeed(again, `"again"`)
		c.inputs(c.leaseOf(t), `"again"`)
	}},
	{name: "a call of tasks that wait which is made again stores nothing twice", needs: flows, check: func(c *checker) {
		dep := task(queue("q"))
		t := task(after(dep))
		all := []*omniq.RawTask{dep, t, task(after(dep, t), unique("k"))}
		c.enqueue(all...)
		again := func() {
			c.Helper()
			errs, err := c.b.Enqueue(c.Context(), all)
			c.places(errs, err, omniq.ErrDuplicate, omniq.ErrDuplicate, omniq.ErrDuplicate)
		}
		again()
		c.waiting(t, all[2])
		c.succeed(dep, "1")
		again()
		c.succeed(t, "2")
		again()
		c.inputs(c.leaseOf(all[2]), "1", "2")
		c.none()
	}},
	{name: "a task with dependencies that cannot be is refused, and nothing of its call is stored", needs: flows, check: func(c *checker) {
		dep := task(queue("q"))
		c.enqueue(dep)
		self := task()
		for name, t := range map[string]*omniq.RawTask{
			"itself":          task(func(t *omniq.RawTask) { *t = *self; t.After = []omniq.Dependency{needing(self)} }),
			"one twice":       task(after(dep, dep)),
			"one without ID":  task(waitsFor(omniq.Dependency{})),
			"an unknown need": task(waitsFor(omniq.Dependency{ID: dep.ID, Need: 7})),
		} {
			before := task()
			_, err := c.b.Enqueue(c.Context(), []*omniq.RawTask{before, t})
			assert.ErrorIs(c, err, omniq.ErrInvalid, name)
			c.unknown(before.ID)
			c.unknown(t.ID)
		}
		c.none()
	}},
	{name: "the events of a task that waits are those of every task", events: long, needs: flows, check: func(c *checker) {
		dep, bad := task(queue("q")), task(queue("bad"))
		runs, ends := task(after(dep)), task(after(bad))
		c.enqueue(dep, bad, runs, ends)
		assert.Equal(c, []string{"ENQUEUED"}, types(c.events(runs.ID)))
		c.succeed(dep, "1")
		c.succeed(runs, "1")
		require.NoError(c, c.settle(failure(c.leaseOf(bad), long)))
		r := c.blocked(ends, bad)
		late := task(after(bad))
		c.enqueue(late)
		c.blocked(late, bad)
		assert.Equal(c, []string{"ENQUEUED", "STARTED", "COMPLETED"}, types(c.events(runs.ID)))
		for _, id := range []uuid.UUID{ends.ID, late.ID} {
			all := c.events(id)
			require.Equal(c, []string{"ENQUEUED", "CANCELLED"}, types(all))
			assert.Equal(c, r.Error, all[1].Error)
			assert.Nil(c, all[1].WorkerID)
		}
	}},
	{name: "many tasks that wait for one are released, or end, with it", needs: flows, check: func(c *checker) {
		const n = 600
		for _, good := range []bool{true, false} {
			dep := task(queue("q"))
			all := tasksOf(n, after(dep), queue("all"))
			last := task(after(all...), queue("last"))
			c.enqueue(append([]*omniq.RawTask{dep}, append(all, last)...)...)
			if !good {
				require.NoError(c, c.settle(failure(c.leaseOf(dep), long)))
				c.blocked(last, dep)
				for _, t := range all {
					c.blocked(t, dep)
				}
				continue
			}
			c.succeed(dep, "1")
			for left := n; left > 0; {
				leases := c.lease(100, worst, from("all"))
				require.NotEmpty(c, leases, "%d tasks are not released", left)
				ends := make([]omniq.Settlement, len(leases))
				for i, l := range leases {
					c.inputs(l, "1")
					ends[i] = success(l, "2", long)
				}
				errs, err := c.b.Settle(c.Context(), ends)
				c.places(errs, err, make([]error, len(ends))...)
				left -= len(leases)
			}
			assert.Len(c, c.leaseOf(last).Inputs, n)
		}
		c.none(from("all"))
	}},
}
