package backendtest

import (
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// inputRules say what a task gets of those that it has waited for.
var inputRules = []rule{
	{name: "the inputs of a task are the results of what it waited for, in the order of its dependencies", needs: flows, check: func(c *checker) {
		a, b, none, failed := task(queue("a")), task(queue("b")), task(queue("none")), task(queue("failed"))
		t := task(waitsFor(needing(b), noInput(none), ending(failed), needing(a)))
		c.enqueue(a, b, none, failed, t)
		c.succeed(none, `"none"`)
		c.succeed(a, `{"a":[1,null]}`)
		require.NoError(c, c.settle(failure(c.leaseOf(failed), long)))
		c.succeed(b, "[]")
		l := c.leaseOf(t)
		require.Len(c, l.Inputs, 4)
		assert.Nil(c, l.Inputs[1])
		for i, of := range map[int]*omniq.RawTask{0: b, 2: failed, 3: a} {
			assert.Equal(c, c.result(of.ID), l.Inputs[i], "input %d", i)
		}
		assert.Equal(c, &boom, l.Inputs[2].Error)
	}},
	{name: "a task that waits for nothing has no inputs", needs: flows, check: func(c *checker) {
		c.enqueue(task())
		assert.Empty(c, c.leaseOne().Inputs)
	}},
	{name: "each attempt of a task has its inputs", needs: flows, check: func(c *checker) {
		dep := task(queue("q"))
		t := task(after(dep))
		c.enqueue(dep, t)
		c.succeed(dep, `"input"`)
		l := c.leaseOf(t)
		for i, s := range []omniq.Settlement{
			retry(l), {Action: omniq.ActionRelease}, {Action: omniq.ActionDefer}, failure(l, long),
		} {
			c.inputs(l, `"input"`)
			s.LeaseID = l.LeaseID
			require.NoError(c, c.settle(s))
			if s.Action == omniq.ActionFinish {
				require.NoError(c, c.requeue(t.ID))
			}
			l = c.leaseOf(t)
			assert.False(c, l.Resumed, "after settlement %d", i)
		}
		require.NoError(c, c.settle(retry(l)))
		c.leaseOf(t, lasting(short))
		c.lost(t.ID)
		c.inputs(c.leaseOf(t), `"input"`)
	}},
	{name: "a task can be retried like any other, whatever it has waited for", needs: flows, check: func(c *checker) {
		dep := task(queue("q"))
		t := task(after(dep))
		c.enqueue(dep, t)
		c.succeed(dep, "1")
		for attempt := range 3 {
			l := c.leaseOf(t)
			assert.Equal(c, attempt+1, l.Attempt)
			require.NoError(c, c.settle(retry(l)))
		}
		require.NoError(c, c.settle(failure(c.leaseOf(t), long)))
		assert.Equal(c, 4, c.result(t.ID).Attempts)
	}},
	{name: "an input is kept until its task has succeeded, whatever its own TTL says", needs: flows, check: func(c *checker) {
		for _, keep := range []time.Duration{0, time.Millisecond} {
			dep, gate := task(queue("q"), resultTTL(keep)), task(queue("gate"), manual)
			t, second := task(after(dep, gate)), task(after(dep, gate), queue("second"))
			c.enqueue(dep, gate, t, second)
			require.NoError(c, c.settle(success(c.leaseOf(dep), `"input"`, keep)))
			// What goes by itself would be gone when one that is like it has gone.
			other := task(queue("q"))
			c.enqueue(other)
			require.NoError(c, c.settle(success(c.leaseOf(other), "1", keep)))
			c.notFound(other.ID)
			kept := func() {
				c.Helper()
				assert.JSONEq(c, `"input"`, string(c.result(dep.ID).ResultData))
				assert.JSONEq(c, `"input"`, string(c.await(dep.ID).ResultData))
				assert.Equal(c, omniq.StatusSuccess, c.inspect(dep.ID).Status)
				require.ErrorIs(c, c.forget(dep.ID), omniq.ErrState)
			}
			kept()
			c.resolve(gate, "1")
			l := c.leaseOf(t)
			kept()
			c.inputs(l, `"input"`, "1")
			require.NoError(c, c.settle(failure(l, long)))
			kept()
			require.NoError(c, c.requeue(t.ID))
			c.succeed(t, "1")
			kept() // for the second
			c.succeed(second, "1")
			c.notFound(dep.ID)
		}
	}},
	{name: "an input goes with the last task that could still use it", needs: flows, check: func(c *checker) {
		dep := task(queue("q"), resultTTL(0))
		failed, cancelled := task(after(dep), resultTTL(long)), task(after(dep), queue("cancelled"), resultTTL(0))
		c.enqueue(dep, failed, cancelled)
		require.NoError(c, c.settle(success(c.leaseOf(dep), `"input"`, 0)))
		require.NoError(c, c.settle(failure(c.leaseOf(failed), long)))
		c.becomes(cancelled, omniq.StatusPending)
		require.NoError(c, c.cancel(cancelled.ID))
		c.notFound(cancelled.ID)
		assert.Equal(c, omniq.StatusSuccess, c.result(dep.ID).Status)
		require.NoError(c, c.forget(failed.ID))
		c.notFound(dep.ID)
	}},
	{name: "an input whose own TTL is not over is not gone when it has been used, and can be forgotten then", needs: flows, check: func(c *checker) {
		dep := task(queue("q"))
		t := task(after(dep))
		c.enqueue(dep, t)
		c.succeed(dep, "1")
		l := c.leaseOf(t)
		require.ErrorIs(c, c.forget(dep.ID), omniq.ErrState)
		require.NoError(c, c.settle(success(l, "2", long)))
		assert.JSONEq(c, "1", string(c.result(dep.ID).ResultData))
		c.eventually("it can be forgotten", func() bool { return c.forget(dep.ID) == nil })
		c.unknown(dep.ID)
		assert.Equal(c, t.After, c.inspect(t.ID).After)
	}},
	{name: "a result that is no input is kept for its TTL alone", needs: flows, check: func(c *checker) {
		dep, gate := task(queue("q"), resultTTL(0)), task(queue("gate"))
		t := task(waitsFor(noInput(dep), needing(gate)))
		c.enqueue(dep, gate, t)
		require.NoError(c, c.settle(success(c.leaseOf(dep), "1", 0)))
		c.notFound(dep.ID)
		c.succeed(gate, "2")
		l := c.leaseOf(t)
		c.inputs(l, "", "2")
		require.NoError(c, c.settle(failure(l, long)))
		require.NoError(c, c.requeue(t.ID), "it has ended as it was needed")
		c.inputs(c.leaseOf(t), "", "2")
		assert.Equal(c, t.After, c.inspect(t.ID).After)
	}},
	{name: "a task whose result is an input of one that has not ended is not requeued", needs: flows, check: func(c *checker) {
		dep, gate := task(queue("q")), task(queue("gate"))
		t := task(waitsFor(ending(dep), needing(gate)))
		free := task(waitsFor(omniq.Dependency{ID: dep.ID, Need: omniq.NeedFinal}), queue("free"))
		c.enqueue(dep, gate, t, free)
		require.NoError(c, c.settle(failure(c.leaseOf(dep), long)))
		c.leaseOf(free)
		require.ErrorIs(c, c.requeue(dep.ID), omniq.ErrState, "while it waits")
		c.succeed(gate, "1")
		l := c.leaseOf(t)
		require.ErrorIs(c, c.requeue(dep.ID), omniq.ErrState, "while it runs")
		require.Len(c, l.Inputs, 2)
		assert.Equal(c, c.result(dep.ID), l.Inputs[0])
		require.NoError(c, c.settle(success(l, "2", long)))
		require.NoError(c, c.requeue(dep.ID))
		c.succeed(dep, "3")
	}},
	{name: "a task whose inputs are too large together ends instead of being leased", needs: flows, check: func(c *checker) {
		const size = 8 << 20
		parts := tasksOf(omniq.MaxInputs/size+1, queue("q"))
		all := task(after(parts...))
		fits := task(after(parts[1:]...), queue("fits"))
		next := task(after(all))
		c.enqueue(append(parts, all, fits, next)...)
		data := `"` + strings.Repeat("x", size-2) + `"`
		for range parts {
			require.NoError(c, c.settle(success(c.leaseOne(from("q")), data, long)))
		}
		c.becomes(all, omniq.StatusPending)
		c.none()
		r := c.await(all.ID)
		assert.Equal(c, omniq.InputsResult(all, r.Timestamp, 0, int64(len(parts)*size)), r)
		c.blocked(next, all)
		assert.Len(c, c.leaseOf(fits).Inputs, len(parts)-1)
	}},
	{name: "a task that waits for thousands gets all that they have left, in order", needs: flows, check: func(c *checker) {
		n := 2000 * c.factor()
		parts := tasksOf(n, queue("q"))
		body := task(after(parts...))
		place := make(map[uuid.UUID]int)
		for i, t := range parts {
			place[t.ID] = i
		}
		for i := 0; i < n; i += 1000 {
			c.enqueue(parts[i : i+1000]...)
		}
		c.enqueue(body)
		data := func(i int) string {
			return `"` + strings.Repeat(string(rune('a'+i%26)), 1<<10) + `"`
		}
		for left := n; left > 0; {
			leases := c.lease(100, worst, from("q"))
			require.NotEmpty(c, leases)
			ends := make([]omniq.Settlement, len(leases))
			for i, l := range leases {
				ends[i] = success(l, data(place[l.TaskID]), long)
			}
			errs, err := c.b.Settle(c.Context(), ends)
			c.places(errs, err, make([]error, len(ends))...)
			left -= len(leases)
		}
		l := c.leaseOf(body)
		require.Len(c, l.Inputs, n)
		for i, r := range l.Inputs {
			if r == nil || r.TaskID != parts[i].ID || string(r.ResultData) != data(i) { // to ask testify takes long
				require.Equal(c, parts[i].ID, r.TaskID, "input %d", i)
				require.Equal(c, data(i), string(r.ResultData), "input %d", i)
			}
		}
		require.NoError(c, c.settle(success(l, "1", long)))
		c.none(from("q", omniq.DefaultQueue))
	}},
}
