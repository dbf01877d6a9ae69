package backendtest

import (
	"slices"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// limitRules say what the limits of a Lease do.
var limitRules = []rule{
	{name: "a Lease takes of each queue as many as its limit allows", check: func(c *checker) {
		for range 5 {
			c.enqueue(task(queue("a")), task(queue("b")), task(queue("c")))
		}
		for _, tt := range []struct {
			max    int
			queues []string
			limits []int
			want   []string
		}{
			{10, []string{"b", "a"}, []int{2, 1}, []string{"b", "b", "a"}},
			{3, []string{"a", "c"}, []int{2, 9}, []string{"a", "a", "c"}},
			{1, []string{"c", "a"}, []int{1, 1}, []string{"c"}},
			{9, []string{"empty", "a", "b", "c"}, []int{1, 9, 1, 2}, []string{"a", "a", "b", "c", "c"}},
			{9, []string{"b", "c", "a"}, []int{9, 9, 9}, []string{"b", "b", "c"}},
		} {
			var got []string
			for _, l := range c.lease(tt.max, worst, limited(tt.limits, tt.queues...)) {
				got = append(got, l.Task.Queue)
			}
			assert.Equal(c, tt.want, got, "at most %v of queues %v, and %d in all", tt.limits, tt.queues, tt.max)
		}
		c.none(from("a", "b", "c"))
	}},
	{name: "limits hold for tasks of names that are not asked for", check: func(c *checker) {
		for range 4 {
			c.enqueue(task(queue("a"), named("g")), task(queue("b"), named("g")))
		}
		var got []string
		for _, l := range c.lease(8, worst, limited([]int{1, 2}, "a", "b"), asking("known")) {
			got = append(got, l.Task.Queue)
		}
		slices.Sort(got)
		assert.Subset(c, []string{"a", "b", "b"}, got)
		assert.NotContains(c, got[:max(len(got)-2, 0)], "b")
		assert.NotEmpty(c, got)
		rest := c.lease(9, worst, from("a", "b"))
		assert.Len(c, rest, 8-len(got), "nothing gets lost")
	}},
	{name: "a Lease with limits waits, and what is beyond them is there for the next", check: func(c *checker) {
		w := c.leasing(limited([]int{1, 1}, "a", "b"), func(r *omniq.LeaseRequest) { r.Max = 5 })
		c.blocks(w.done, "Lease")
		c.enqueue(task(queue("b")), task(queue("b")), task(queue("b")))
		require.NoError(c, c.ended(w.done, w.what))
		assert.Len(c, w.leases, 1)
		assert.Len(c, c.lease(5, worst, limited([]int{2}, "b")), 2)
	}},
}

func limited(limits []int, queues ...string) func(*omniq.LeaseRequest) {
	return func(r *omniq.LeaseRequest) { r.Queues, r.Limits = queues, limits }
}
