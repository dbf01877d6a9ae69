package backendtest

import (
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// raceRules say what becomes of calls that are made at once.
var raceRules = []rule{
	{name: "calls at once for a pending task come one after another", check: func(c *checker) {
		c.inOrder(omniq.StatusPending, callLease, callCancel, callRequeue, callForget, callEnqueue)
	}},
	{name: "calls at once for a running task come one after another", needs: fences, check: func(c *checker) {
		c.inOrder(omniq.StatusRunning,
			callLease, callCancel, callRequeue, callForget, callEnqueue, callRetry, callFail, callExtend)
	}},
	{name: "calls at once for a task that has failed come one after another", needs: fences, check: func(c *checker) {
		c.inOrder(omniq.StatusFailure, callLease, callCancel, callRequeue, callForget, callEnqueue, callFail)
	}},
	{name: "calls at once for a task that was cancelled while it ran come one after another", needs: fences, check: func(c *checker) {
		c.inOrder(omniq.StatusCancelled, callLease, callCancel, callRequeue, callForget, callFail, callExtend)
	}},
	{name: "a task that is enqueued again while it is settled is not queued beside its result", check: func(c *checker) {
		for i := range 40 {
			keep := long
			if i%4 > 1 {
				keep = 0
			}
			q := fmt.Sprint("q", i)
			t := task(queue(q))
			c.enqueue(t)
			l := c.leaseOne(from(q))
			var taken, lost error
			calls := []func() error{func() error {
				errs, err := c.b.Enqueue(c.Context(), []*omniq.RawTask{t})
				taken = first(errs)
				return err
			}, func() error {
				errs, err := c.b.Settle(c.Context(), []omniq.Settlement{success(l, "1", keep)})
				lost = first(errs)
				return err
			}}
			c.atOnce(calls[i%2], calls[1-i%2])
			require.NoError(c, lost)
			switch {
			case taken == nil:
				require.Zero(c, keep, "its result is kept")
				require.Equal(c, omniq.StatusPending, c.result(t.ID).Status)
				require.Equal(c, 1, c.leaseOne(from(q)).Attempt)
			default:
				c.duplicate(taken, t.ID, t.ID)
				if keep > 0 {
					require.Equal(c, omniq.StatusSuccess, c.result(t.ID).Status)
				} else {
					c.unknown(t.ID)
				}
			}
			c.none(from(q))
		}
	}},
	{name: "of those who enqueue and requeue tasks of a unique key at once one holds it", check: func(c *checker) {
		for i := range 20 {
			q := fmt.Sprint("q", i)
			tasks := make([]*omniq.RawTask, 4) // the first two are requeued
			for i := range tasks {
				tasks[i] = task(unique(q), queue(q))
				if i < 2 {
					c.enqueue(tasks[i])
					c.end(tasks[i], omniq.StatusFailure)
				}
			}
			refused := make([]error, len(tasks))
			var calls []<-chan error
			for n := range tasks {
				n = (n + i) % len(tasks)
				calls = append(calls, async(func() (err error) {
					var errs []error
					if n < 2 {
						errs, err = c.b.Requeue(c.Context(), []uuid.UUID{tasks[n].ID}, false)
					} else {
						errs, err = c.b.Enqueue(c.Context(), tasks[n:n+1])
					}
					refused[n] = first(errs)
					return err
				}))
			}
			for _, done := range calls {
				require.NoError(c, c.ended(done, "Enqueue or Requeue"))
			}
			l := c.leaseOne(from(q))
			for i, t := range tasks {
				if t.ID == l.TaskID {
					require.NoError(c, refused[i])
				} else {
					c.duplicate(refused[i], t.ID, l.TaskID)
				}
			}
			c.none(from(q))
		}
	}},
	{name: "calls at once for the same tasks in opposite orders do not stop each other, and do each once", check: func(c *checker) {
		for i := range 3 {
			c.opposite(fmt.Sprint("q", i))
		}
	}},
	{name: "a Lease that begins after Pause has returned hands nothing out", check: func(c *checker) {
		c.enqueue(task(), task(), task(), task(), task(), task(), task(), task())
		for range 10 {
			var paused atomic.Bool
			var late atomic.Int64
			began := make(chan struct{}, 1)
			var done []<-chan error
			for range 4 {
				done = append(done, async(func() error {
					for i := 1; ; i++ {
						after := paused.Load()
						leases, err := c.b.Lease(c.Context(), omniq.LeaseRequest{
							Queues: []string{omniq.DefaultQueue}, Max: 1, Duration: long, WorkerID: "w",
						})
						if err != nil || after {
							late.Add(int64(len(leases)))
							return err
						}
						for _, l := range leases { // so that there is always one
							back := omniq.Settlement{LeaseID: l.LeaseID, Action: omniq.ActionRelease}
							if _, err := c.b.Settle(c.Context(), []omniq.Settlement{back}); err != nil {
								return err
							}
						}
						select {
						case began <- struct{}{}:
						default:
						}
						if i%10 == 0 {
							c.pause()
						}
					}
				}))
			}
			require.NoError(c, c.ended(async(func() error { <-began; return nil }), "Lease"))
			c.pauseQueue(omniq.DefaultQueue)
			paused.Store(true)
			for _, d := range done {
				require.NoError(c, c.ended(d, "Lease and Settle"))
			}
			require.Zero(c, late.Load(), "tasks that were leased then")
			c.none()
			c.resume(omniq.DefaultQueue)
		}
		c.leaseOne()
	}},
	{name: "the events of calls at once tell what became of their tasks", events: long, needs: tells, check: func(c *checker) {
		all := c.inOrder(omniq.StatusRunning, callLease, callCancel, callRequeue, callRetry, callFail)
		told := make(map[uuid.UUID]omniq.Status)
		for _, e := range c.stored(omniq.CursorOldest, 100) {
			to, ok := toldBy[e.EventType]
			require.True(c, ok, "nothing was %v", e.EventType)
			was := told[e.TaskID]
			require.True(c, slices.Contains(to.from, was), "%v of a task that was %v", e.EventType, was)
			told[e.TaskID] = to.status
		}
		for _, r := range all {
			require.Equal(c, told[r.task.ID], c.inspect(r.task.ID).Status, "the last event tells it")
		}
	}},
	{name: "no event of a task is left out between two reads, whoever writes meanwhile", events: long, check: func(c *checker) {
		const writers, n = 4, 20
		var done []<-chan error
		for i := range writers {
			q := fmt.Sprint("q", i)
			done = append(done, async(func() error {
				for range n {
					_, err := c.b.Enqueue(c.Context(), []*omniq.RawTask{task(queue(q)), task(queue(q))})
					if err != nil {
						return err
					}
					leases, err := c.b.Lease(c.Context(), omniq.LeaseRequest{
						Queues: []string{q}, Max: 1, Duration: long, Wait: worst, WorkerID: "w",
					})
					if err != nil || len(leases) == 0 {
						return err
					}
					if _, err := c.b.Settle(c.Context(), []omniq.Settlement{success(leases[0], "1", long)}); err != nil {
						return err
					}
				}
				return nil
			}))
		}
		want := []omniq.EventType{omniq.EventEnqueued, omniq.EventStarted, omniq.EventCompleted}
		seen := make(map[uuid.UUID]int)
		var after omniq.Cursor
		for read := 0; read < 4*writers*n; { // of each two tasks one is settled
			page, next := c.read(omniq.EventsRequest{After: after, Max: 7, Wait: worst})
			require.NotEmpty(c, page, "%d events were left out", 4*writers*n-read)
			for _, e := range page {
				require.Less(c, seen[e.TaskID], len(want), "an event too many: %v", e.EventType)
				require.Equal(c, want[seen[e.TaskID]], e.EventType, "the next of its task")
				seen[e.TaskID]++
			}
			read += len(page)
			after = next
		}
		for _, d := range done {
			require.NoError(c, c.ended(d, "Enqueue, Lease and Settle"))
		}
		page, _ := c.read(omniq.EventsRequest{After: after, Max: 1})
		assert.Empty(c, page, "all has been read")
	}},
}

// tells says that events are written with what they tell of, and leases are fenced.
func tells(c omniq.Capabilities) bool { return c.AtomicEvents && c.Fencing }

// toldBy is what a task is after an event, and what it can have been before; 0 for unknown.
var toldBy = map[omniq.EventType]struct {
	status omniq.Status
	from   []omniq.Status
}{
	omniq.EventEnqueued:  {omniq.StatusPending, []omniq.Status{0, omniq.StatusFailure, omniq.StatusCancelled}},
	omniq.EventStarted:   {omniq.StatusRunning, []omniq.Status{omniq.StatusPending}},
	omniq.EventRetried:   {omniq.StatusPending, []omniq.Status{omniq.StatusRunning}},
	omniq.EventFailed:    {omniq.StatusFailure, []omniq.Status{omniq.StatusRunning}},
	omniq.EventCancelled: {omniq.StatusCancelled, []omniq.Status{omniq.StatusPending, omniq.StatusRunning}},
}

// opposite lets each method that takes many items have them in one order and in the opposite one at once.
func (c *checker) opposite(q string) {
	c.Helper()
	const n = 20
	tasks := make([]*omniq.RawTask, n)
	ids := make([]uuid.UUID, n)
	for i := range tasks {
		tasks[i] = task(queue(q), unique(fmt.Sprint(q, i)))
		ids[i] = tasks[i].ID
	}
	each := func(name string, twice error, call func(from []int) ([]error, error)) {
		c.Helper()
		c.once(name, n, twice, call)
	}
	of := func(method func([]uuid.UUID) ([]error, error)) func([]int) ([]error, error) {
		return func(order []int) ([]error, error) { return method(pick(ids, order)) }
	}
	each("Enqueue", omniq.ErrDuplicate, func(order []int) ([]error, error) {
		return c.b.Enqueue(c.Context(), pick(tasks, order))
	})
	lease := func() []omniq.Lease {
		c.Helper()
		var all []omniq.Lease
		for range n {
			all = append(all, c.leaseOne(from(q)))
		}
		c.none(from(q))
		return all
	}
	leases := lease()
	each("Extend", nil, func(order []int) ([]error, error) {
		var all []omniq.LeaseID
		for _, l := range pick(leases, order) {
			all = append(all, l.LeaseID)
		}
		return c.b.Extend(c.Context(), all, long)
	})
	settle := func(order []int) ([]error, error) {
		var all []omniq.Settlement
		for _, l := range pick(leases, order) {
			all = append(all, failure(l, long))
		}
		return c.b.Settle(c.Context(), all)
	}
	requeue := of(func(ids []uuid.UUID) ([]error, error) { return c.b.Requeue(c.Context(), ids, false) })
	each("Settle", omniq.ErrLeaseLost, settle)
	each("Requeue", omniq.ErrState, requeue)
	leases = lease()
	each("Cancel", nil, of(func(ids []uuid.UUID) ([]error, error) { return c.b.Cancel(c.Context(), ids) }))
	for _, id := range ids {
		require.Equal(c, omniq.StatusCancelled, c.result(id).Status)
	}
	each("Requeue", omniq.ErrState, requeue)
	leases = lease()
	each("Settle", omniq.ErrLeaseLost, settle)
	each("Forget", omniq.ErrNotFound, of(func(ids []uuid.UUID) ([]error, error) { return c.b.Forget(c.Context(), ids) }))
	each("Record", omniq.ErrDuplicate, func(order []int) ([]error, error) {
		var all []*omniq.RawResult
		for _, id := range pick(ids, order) {
			r := record(long)
			r.TaskID = id
			all = append(all, r)
		}
		return c.b.Record(c.Context(), all)
	})
}

// once makes a call four times at once, with n items in one order and in the opposite one, and checks that each item is
// done in one of the calls, and in the others is refused as one that was done before; nil for not at all.
func (c *checker) once(name string, n int, twice error, call func(order []int) ([]error, error)) {
	c.Helper()
	var done [4]<-chan error
	var refused [4][]error
	for i := range done {
		order := make([]int, n)
		for k := range order {
			order[k] = k
		}
		if i%2 > 0 {
			slices.Reverse(order)
		}
		done[i] = async(func() error {
			errs, err := call(order)
			if errs != nil && len(errs) != n {
				return fmt.Errorf("%d errors of %d items", len(errs), n)
			}
			if i%2 > 0 {
				slices.Reverse(errs)
			}
			refused[i] = errs
			return err
		})
	}
	for _, d := range done {
		require.NoError(c, c.ended(d, name), name)
	}
	for k := range n {
		did := 0
		for _, errs := range refused {
			if errs == nil || errs[k] == nil {
				did++
				continue
			}
			require.NotNil(c, twice, "%s of item %d: %v", name, k, errs[k])
			require.ErrorIs(c, errs[k], twice, "%s of item %d", name, k)
		}
		if twice != nil {
			require.Equal(c, 1, did, "%s did item %d", name, k)
		}
	}
}

// pick returns items in an order.
func pick[E any](items []E, order []int) []E {
	picked := make([]E, len(order))
	for i, k := range order {
		picked[i] = items[k]
	}
	return picked
}
