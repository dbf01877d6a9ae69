package backendtest

import (
	"fmt"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// tangleRules say what holds for tasks that are tied to others whatever is done at once.
var tangleRules = []rule{
	{name: "dependencies that end at once release their task once", needs: flows, check: func(c *checker) {
		for i := range 30 {
			one, other := task(queue("one")), task(queue("other"))
			t := task(after(one, other))
			c.enqueue(one, other, t)
			ends := []omniq.Settlement{success(c.leaseOf(one), "1", long), success(c.leaseOf(other), "2", long)}
			c.atOnce(c.settling(ends[i%2]), c.settling(ends[1-i%2]))
			l := c.leaseOf(t)
			c.inputs(l, "1", "2")
			c.none()
			require.NoError(c, c.settle(success(l, "3", long)))
		}
	}},
	{name: "a task that is enqueued while the one that it needs ends does not wait for ever", needs: flows, check: func(c *checker) {
		for i := range 30 {
			dep := task(queue("dep"))
			c.enqueue(dep)
			l := c.leaseOf(dep)
			t := task(after(dep))
			end := success(l, "1", long)
			if i%4 > 1 {
				end = failure(l, long)
			}
			calls := []func() error{c.settling(end), func() error {
				_, err := c.b.Enqueue(c.Context(), []*omniq.RawTask{t})
				return err
			}}
			c.atOnce(calls[i%2], calls[1-i%2])
			if i%4 > 1 {
				c.blocked(t, dep)
				c.none()
				continue
			}
			c.succeed(t, "2")
		}
	}},
	{name: "of a cancel and the end of what a task waits for at once, both count", needs: flows, check: func(c *checker) {
		for i := range 30 {
			dep := task(queue("dep"))
			t := task(after(dep))
			next := task(after(t))
			c.enqueue(dep, t, next)
			calls := []func() error{c.settling(success(c.leaseOf(dep), "1", long)), func() error {
				errs, err := c.b.Cancel(c.Context(), []uuid.UUID{t.ID})
				if err == nil {
					err = first(errs)
				}
				return err
			}}
			c.atOnce(calls[i%2], calls[1-i%2])
			c.cancelled(c.await(t.ID), 0)
			c.blocked(next, t)
			c.none()
		}
	}},
	{name: "a task that hands over while what it hands over to ends is leased again", needs: flows, check: func(c *checker) {
		for i := range 30 {
			t, child := task(queue("t")), task(queue("child"))
			c.enqueue(t, child)
			calls := []func() error{
				c.settling(handover(c.leaseOf(t), nil, needing(child))), c.settling(success(c.leaseOf(child), "1", long)),
			}
			c.atOnce(calls[i%2], calls[1-i%2])
			l := c.leaseOf(t)
			c.inputs(l, "1")
			require.NoError(c, c.settle(success(l, "2", long)))
		}
	}},
	{name: "settlements at once, in opposite orders, of tasks for which the same ones wait do not stop each other", needs: flows, check: func(c *checker) {
		const n = 20
		for range 3 {
			deps := tasksOf(n, queue("deps"))
			all := tasksOf(n, after(deps...))
			c.enqueue(append(deps, all...)...)
			var ends [2][]omniq.Settlement
			for i := range n {
				ends[i%2] = append(ends[i%2], success(c.leaseOne(from("deps")), "1", long))
			}
			for i, j := 0, n/2-1; i < j; i, j = i+1, j-1 {
				ends[1][i], ends[1][j] = ends[1][j], ends[1][i]
			}
			c.atOnce(c.settling(ends[0]...), c.settling(ends[1]...))
			for range n {
				l := c.leaseOne()
				require.Len(c, l.Inputs, n)
				require.NoError(c, c.settle(success(l, "2", long)))
			}
			c.none()
		}
	}},
	{name: "whatever becomes of the tasks of a graph, each ends, runs once in a life and gets its inputs", needs: func(c omniq.Capabilities) bool {
		return c.Flows && c.Fencing
	}, check: func(c *checker) {
		for i := range 2 * c.factor() {
			size := 40
			if c.factor() > 1 {
				size += 160 * (i % 2)
			}
			newGraph(c, size).run()
		}
	}},
	{name: "a graph whose tasks nobody could read is refused, and nothing of it is stored", needs: flows, check: func(c *checker) {
		flow := uuid.New()
		all := tasksOf(5, member(flow))
		for i := range all[1:] {
			after(all[i])(all[i+1])
		}
		bad := *all[3]
		bad.FuncName = ""
		_, err := c.b.Enqueue(c.Context(), []*omniq.RawTask{all[0], all[1], all[2], &bad, all[4]})
		require.ErrorIs(c, err, omniq.ErrInvalid)
		c.noFlow(flow)
		for _, t := range all {
			c.unknown(t.ID)
		}
		c.enqueue(all...)
		assert.Equal(c, omniq.FlowStats{Pending: 1, Waiting: 4}, c.flowStats(flow))
	}},
}

// settling is a call that settles leases, each of which must go well.
func (c *checker) settling(all ...omniq.Settlement) func() error {
	return func() error {
		errs, err := c.b.Settle(c.Context(), all)
		for i := range errs {
			if errs[i] != nil && err == nil {
				err = fmt.Errorf("settlement %d: %w", i, errs[i])
			}
		}
		return err
	}
}
