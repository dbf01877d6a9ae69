package backendtest

import (
	"slices"
	"strconv"
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
		for round := range 4 {
			for s, want := range stay {
				seen := make(map[uuid.UUID]int)
				request := omniq.ListRequest{Status: s, Max: 7, Newest: round%2 > 0}
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
		for _, most := range []int{1, 4} { // a full page is not the last one, wherever it ends
			assert.ElementsMatch(c, want, ids(c.list(omniq.ListRequest{Status: omniq.StatusPending, Queue: "few", Max: most})))
		}
		assert.Equal(c, []uuid.UUID{last.ID}, ids(c.list(omniq.ListRequest{Status: omniq.StatusPending, Queue: "last", Max: 4})))
		assert.Equal(c, []uuid.UUID{running}, ids(c.list(omniq.ListRequest{Status: omniq.StatusRunning, Max: 4})))
	}},
	{name: "List shows the tasks of a function and of a worker, in each state", check: func(c *checker) {
		want := make(map[omniq.Status]map[string][]uuid.UUID) // by name, and by worker
		add := func(s omniq.Status, id uuid.UUID, keys ...string) {
			if want[s] == nil {
				want[s] = make(map[string][]uuid.UUID)
			}
			for _, k := range keys {
				want[s][k] = append(want[s][k], id)
			}
		}
		for i := range 6 {
			name, worker := []string{"name", "name's"}[i%2], []string{"w-1", "w-2", "w-11"}[i%3]
			q := queue("q" + strconv.Itoa(i))
			t := task(q, named(name), delay(long))
			c.enqueue(t)
			add(omniq.StatusPending, t.ID, name)
			for s, settle := range map[omniq.Status]func(omniq.Lease) omniq.Settlement{
				omniq.StatusRunning: nil,
				omniq.StatusSuccess: func(l omniq.Lease) omniq.Settlement { return success(l, "1", long) },
				omniq.StatusFailure: func(l omniq.Lease) omniq.Settlement { return failure(l, long) },
				omniq.StatusPending: func(l omniq.Lease) omniq.Settlement { r := retry(l); r.Delay = long; return r },
			} {
				t := task(q, named(name))
				c.enqueue(t)
				l := c.leaseOne(from(t.Queue), func(r *omniq.LeaseRequest) { r.WorkerID = worker })
				require.Equal(c, t.ID, l.TaskID)
				if settle != nil {
					require.NoError(c, c.settle(settle(l)))
				}
				add(s, t.ID, name, worker)
			}
			add(omniq.StatusCancelled, c.final(omniq.StatusCancelled, q, named(name)).ID, name)
		}
		for s, of := range want {
			for _, newest := range []bool{false, true} {
				for _, name := range []string{"name", "name's"} {
					assert.ElementsMatch(c, of[name], ids(c.list(omniq.ListRequest{Status: s, Name: name, Newest: newest, Max: 2})), "%v of %s", s, name)
				}
				for _, worker := range []string{"w-1", "w-2", "w-11"} {
					assert.ElementsMatch(c, of[worker], ids(c.list(omniq.ListRequest{Status: s, Worker: worker, Newest: newest, Max: 2})), "%v of %s", s, worker)
				}
			}
			assert.Empty(c, c.list(omniq.ListRequest{Status: s, Name: "nam_", Max: 2}))
			assert.Empty(c, c.list(omniq.ListRequest{Status: s, Worker: "w", Max: 2}))
			both := c.list(omniq.ListRequest{Status: s, Name: "name", Worker: "w-1", Max: 9})
			for _, info := range both {
				assert.Equal(c, []string{"name", "w-1"}, []string{info.FuncName, info.WorkerID})
			}
			assert.Len(c, both, len(of["w-1"])/2)
		}
	}},
	{name: "List finds text in what is kept of tasks, and in their errors", check: func(c *checker) {
		holds := func(t *omniq.RawTask) {
			t.Args, t.Kwargs = omniq.Raw(`["ann@example.org",{"n":9007199254740993}]`), omniq.Raw(`{"größe":"50%_a"}`)
			t.Metadata = map[string]string{"tenant": "acme \"x\""}
		}
		why := &omniq.TaskError{Type: "net.OpError", Message: "dial \"db\": no <route> 'x' & 100%"}
		in := map[omniq.Status][]uuid.UUID{}
		add := func(s omniq.Status, id uuid.UUID) { in[s] = append(in[s], id) }
		for _, s := range []omniq.Status{omniq.StatusPending, omniq.StatusRunning, omniq.StatusFailure, omniq.StatusSuccess} {
			for _, with := range []func(*omniq.RawTask){holds, func(*omniq.RawTask) {}} {
				t := task(queue(s.String()), with)
				c.enqueue(t)
				l := c.leaseOne(from(t.Queue))
				again := retry(l)
				again.Error = why
				end := failure(l, long)
				end.Result.Error = why
				switch s {
				case omniq.StatusPending:
					again.Delay = long
					require.NoError(c, c.settle(again))
				case omniq.StatusRunning:
					require.NoError(c, c.settle(again))
					c.leaseOne(from(t.Queue))
				case omniq.StatusFailure:
					require.NoError(c, c.settle(end))
				default:
					require.NoError(c, c.settle(success(l, `"ann@example.org"`, long)))
				}
				add(s, t.ID)
			}
			c.finds(s, 2, "net.Op", `"db"`, "<route>", "'x' &", "100%")
			c.finds(s, 1, "ann@example.org", "9007199254740993", `{"n":9`, "größe", "50%_a", `"tenant":`, `acme \"x\"`)
			c.finds(s, 0, "ann@example_org", "ANN", "50%a", "größer", "no route", "acme x")
		}
		c.finds(omniq.StatusWaiting, 0, "ann")
		assert.ElementsMatch(c, in[omniq.StatusFailure], ids(c.list(omniq.ListRequest{Status: omniq.StatusFailure, Contains: "dial", Newest: true, Max: 1})))
	}},
	{name: "a list with Newest is the same one backwards", check: func(c *checker) {
		const n = 13
		caps := c.b.Capabilities()
		flows := caps.Flows && !caps.Spread
		flow := uuid.New()
		var tasks []*omniq.RawTask
		for i := range n {
			tasks = append(tasks, task(queue([]string{"a", "b"}[i%2]), func(t *omniq.RawTask) {
				if flows {
					t.Flow = flow
				}
			}))
		}
		c.enqueue(tasks...)
		backwards := func(r omniq.ListRequest, want int) {
			c.Helper()
			r.Max = 100
			forwards := ids(c.list(r))
			require.Len(c, forwards, want)
			slices.Reverse(forwards)
			r.Newest = true
			for _, r.Max = range []int{1, 2, 5, want, 100} {
				assert.Equal(c, forwards, ids(c.list(r)), "pages of %d", r.Max)
			}
		}
		check := func(s omniq.Status) {
			c.Helper()
			backwards(omniq.ListRequest{Status: s}, n)
			backwards(omniq.ListRequest{Status: s, Queue: "b"}, n/2)
			if flows {
				backwards(omniq.ListRequest{Flow: flow}, n)
				backwards(omniq.ListRequest{Flow: flow, Status: s, Queue: "a"}, n-n/2)
			}
		}
		check(omniq.StatusPending)
		leases := c.lease(n, 0, from("a", "b"))
		require.Len(c, leases, n)
		check(omniq.StatusRunning)
		for i, l := range leases {
			require.NoError(c, c.settle(failure(l, long)))
			if i == n/2 {
				first := c.list(omniq.ListRequest{Status: omniq.StatusFailure, Newest: true, Max: 1})
				require.NotEmpty(c, first)
				assert.Equal(c, l.TaskID, first[0].ID, "the last that has failed comes first")
			}
		}
		check(omniq.StatusFailure)
		assert.Empty(c, c.list(omniq.ListRequest{Status: omniq.StatusExpired, Newest: true, Max: 1}))
	}},
	{name: "a list that cannot be is refused", check: func(c *checker) {
		c.enqueue(task())
		for name, r := range map[string]omniq.ListRequest{
			"no status":           {Max: 1},
			"an unknown status":   {Max: 1, Status: 99},
			"no task":             {Status: omniq.StatusPending},
			"less than no task":   {Status: omniq.StatusPending, Max: -1},
			"a name with a NUL":   {Status: omniq.StatusPending, Max: 1, Name: "\x00"},
			"a worker not UTF-8":  {Status: omniq.StatusPending, Max: 1, Worker: "\xff"},
			"text with a NUL":     {Status: omniq.StatusPending, Max: 1, Contains: "a\x00"},
			"text not UTF-8":      {Status: omniq.StatusPending, Max: 1, Contains: "\xff"},
			"an unknown position": {Status: omniq.StatusPending, Max: 1, After: "no such place"},
		} {
			_, _, err := c.b.List(c.Context(), r)
			assert.ErrorIs(c, err, omniq.ErrInvalid, name)
		}
	}},
}

// finds checks how many tasks in a state have each text in them.
func (c *checker) finds(s omniq.Status, want int, texts ...string) {
	c.Helper()
	if s == omniq.StatusSuccess { // of which nothing is kept that is looked into
		want = 0
	}
	for _, text := range texts {
		assert.Len(c, c.list(omniq.ListRequest{Status: s, Contains: text, Max: 9}), want, "%v with %s", s, text)
	}
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
