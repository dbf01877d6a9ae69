package backendtest

import (
	"slices"
	"sync"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// listRules say what lists contain.
var listRules = []rule{
	{name: "List shows the tasks in a state, of one queue or of all", check: func(c *checker) {
		want := make(map[omniq.Status]map[string]uuid.UUID)
		for _, s := range omniq.Statuses() {
			if s == omniq.StatusWaiting && !c.b.Capabilities().Flows {
				continue
			}
			want[s] = make(map[string]uuid.UUID)
			for _, q := range []string{"one", omniq.DefaultQueue} {
				switch {
				case s.Final():
					want[s][q] = c.final(s, queue(q)).ID
				case s == omniq.StatusPending:
					t := task(queue(q), runAt(soon(long))) // not to be in the way of the others
					c.enqueue(t)
					want[s][q] = t.ID
				case s == omniq.StatusWaiting:
					t := task(queue(q), func(t *omniq.RawTask) { t.Manual = true })
					c.enqueue(t)
					want[s][q] = t.ID
				default:
					c.enqueue(task(queue(q)))
					want[s][q] = c.leaseOne(from(q)).TaskID
				}
			}
		}
		for s, of := range want {
			all := c.list(omniq.ListRequest{Status: s, Max: 10})
			assert.ElementsMatch(c, []uuid.UUID{of["one"], of[omniq.DefaultQueue]}, ids(all), "all that are %v", s)
			for q, id := range of {
				one := c.list(omniq.ListRequest{Status: s, Queue: q, Max: 10})
				require.Equal(c, []uuid.UUID{id}, ids(one), "those of queue %s that are %v", q, s)
				assert.Equal(c, c.inspect(id), one[0], "as Inspect shows it")
			}
			assert.Empty(c, c.list(omniq.ListRequest{Status: s, Queue: "none", Max: 10}))
			assert.Empty(c, c.list(omniq.ListRequest{Status: s, Flow: uuid.New(), Max: 10}), "of a flow that there is not")
		}
	}},
	{name: "a list has pages of at most Max tasks, and ends", check: func(c *checker) {
		const n = 10
		var want []uuid.UUID
		for i := range n {
			t := task(priority(i%3), queue([]string{"a", "b"}[i%2]))
			want = append(want, t.ID)
			c.enqueue(t)
		}
		for _, size := range []int{1, 3, 5, n, 1000} {
			assert.ElementsMatch(c, want, ids(c.list(omniq.ListRequest{Status: omniq.StatusPending, Max: size})), "pages of %d", size)
		}
		for range n {
			l := c.leaseOne(from("a", "b"))
			require.NoError(c, c.settle(failure(l, long)))
		}
		assert.ElementsMatch(c, want, ids(c.list(omniq.ListRequest{Status: omniq.StatusFailure, Max: 3})))
	}},
	{name: "a task that stays in a state is in one page, whatever comes and goes meanwhile", check: func(c *checker) {
		const n = 60
		var gone []uuid.UUID // what is there when the lists begin, and goes meanwhile
		for range 3 * n {
			gone = append(gone, c.visitor(omniq.StatusPending))
		}
		first := gone[:2*n]
		gone = slices.Clone(gone[2*n:])
		stay := make(map[omniq.Status][]uuid.UUID)
		for range n {
			stay[omniq.StatusPending] = append(stay[omniq.StatusPending], c.visitor(omniq.StatusPending))
			stay[omniq.StatusFailure] = append(stay[omniq.StatusFailure], c.visitor(omniq.StatusFailure))
			stay[omniq.StatusCancelled] = append(stay[omniq.StatusCancelled], c.visitor(omniq.StatusCancelled))
		}
		done := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			for i := range 2000 { // no more, because what comes could keep a list from ending
				select {
				case <-done:
					return
				default:
				}
				t := task(queue("visitors"), priority(i%2))
				_, err := c.b.Enqueue(c.Context(), []*omniq.RawTask{t})
				assert.NoError(c, err)
				gone = append(gone, t.ID)
				_, err = c.b.Cancel(c.Context(), gone[:1])
				assert.NoError(c, err)
				if i%2 == 0 {
					_, err = c.b.Forget(c.Context(), gone[:1])
					assert.NoError(c, err)
				}
				gone = gone[1:]
			}
		})
		for range 3 {
			for s, want := range stay {
				seen := make(map[uuid.UUID]int)
				request := omniq.ListRequest{Status: s, Max: 7}
				for pages := 0; ; pages++ {
					page, next, err := c.b.List(c.Context(), request)
					if !assert.NoError(c, err) {
						break
					}
					for _, info := range page {
						seen[info.ID]++
					}
					if request.After = next; next == "" || pages == 1000 {
						break
					}
					if len(first) > 0 && s == omniq.StatusPending {
						_, err = c.b.Cancel(c.Context(), first[:1])
						assert.NoError(c, err)
						first = first[1:]
					}
				}
				for _, id := range want {
					assert.Equal(c, 1, seen[id], "pages with a %v task", s)
				}
			}
		}
		close(done)
		wg.Wait()
	}},
	{name: "a few tasks among many that a list does not want are each in one page", check: func(c *checker) {
		var first []*omniq.RawTask
		for range omniq.MaxListed/1000 + 1 {
			var many []*omniq.RawTask
			for range 1000 {
				many = append(many, task(queue("many")))
			}
			few := task(queue("few"))
			c.enqueue(append(many, few)...)
			first = append(first, few)
		}
		last := task(queue("last"))
		c.enqueue(last)
		running := c.leaseOne(from("many")).TaskID
		var want []uuid.UUID
		for _, t := range first {
			want = append(want, t.ID)
		}
		assert.ElementsMatch(c, want, ids(c.list(omniq.ListRequest{Status: omniq.StatusPending, Queue: "few", Max: 4})))
		assert.Equal(c, []uuid.UUID{last.ID}, ids(c.list(omniq.ListRequest{Status: omniq.StatusPending, Queue: "last", Max: 4})))
		assert.Equal(c, []uuid.UUID{running}, ids(c.list(omniq.ListRequest{Status: omniq.StatusRunning, Max: 4})))
	}},
	{name: "a list that cannot be is refused", check: func(c *checker) {
		c.enqueue(task())
		for name, r := range map[string]omniq.ListRequest{
			"no status":           {Max: 1},
			"an unknown status":   {Max: 1, Status: 99},
			"no task":             {Status: omniq.StatusPending},
			"less than no task":   {Status: omniq.StatusPending, Max: -1},
			"an unknown position": {Status: omniq.StatusPending, Max: 1, After: "no such place"},
		} {
			_, _, err := c.b.List(c.Context(), r)
			assert.ErrorIs(c, err, omniq.ErrInvalid, name)
		}
	}},
}

// list returns what all pages of a list have.
func (c *checker) list(r omniq.ListRequest) []*omniq.TaskInfo {
	c.Helper()
	var all []*omniq.TaskInfo
	for range 1000 {
		page, next, err := c.b.List(c.Context(), r)
		require.NoError(c, err)
		require.LessOrEqual(c, len(page), r.Max, "no more tasks than asked for")
		all = append(all, page...)
		if next == "" {
			return all
		}
		r.After = next
	}
	require.Fail(c, "the list does not end")
	return nil
}

func ids(infos []*omniq.TaskInfo) []uuid.UUID {
	var all []uuid.UUID
	for _, info := range infos {
		all = append(all, info.ID)
	}
	return all
}

// visitor enqueues a task and lets it come to a state.
func (c *checker) visitor(s omniq.Status) uuid.UUID {
	c.Helper()
	if s.Final() {
		return c.final(s).ID
	}
	t := task(queue("visitors"))
	c.enqueue(t)
	return t.ID
}
