package backendtest

import (
	"errors"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// revokeRules say what workers hear of cancelled tasks.
var revokeRules = []rule{
	{name: "Revoked blocks until a lease of the worker is lost", check: func(c *checker) {
		c.enqueue(task(queue("own")), task(queue("other")), task(queue("settled")))
		own, settled := c.leaseOne(from("own")), c.leaseOne(from("settled"))
		foreign := c.leaseOne(from("other"), by("other"))
		pending := task(queue("pending"))
		c.enqueue(pending)
		w := c.revoking("w")
		c.blocks(w.done, "Revoked")
		require.NoError(c, c.settle(success(settled, "1", long)))
		require.NoError(c, c.cancel(pending.ID))
		require.NoError(c, c.cancel(foreign.TaskID))
		c.blocks(w.done, "Revoked of another worker")
		require.NoError(c, c.cancel(own.TaskID))
		assert.Equal(c, []omniq.LeaseID{own.LeaseID}, c.revoked(w))
		assert.Equal(c, []omniq.LeaseID{foreign.LeaseID}, c.revoked(c.revoking("other")), "nobody had asked until now")
	}},
	{name: "Revoked tells of each lease once, also of those that were lost between two calls", check: func(c *checker) {
		c.enqueue(task(), task(), task())
		one, two, three := c.leaseOne().LeaseID, c.leaseOne().LeaseID, c.leaseOne().LeaseID
		require.NoError(c, c.cancel(one.TaskID))
		require.NoError(c, c.cancel(two.TaskID))
		require.NoError(c, c.cancel(two.TaskID))
		assert.ElementsMatch(c, []omniq.LeaseID{one, two}, c.revoked(c.revoking("w")))
		w := c.revoking("w")
		c.blocks(w.done, "Revoked without news")
		require.NoError(c, c.cancel(three.TaskID))
		assert.Equal(c, []omniq.LeaseID{three}, c.revoked(w))
	}},
	{name: "a lease that was lost in another way is not revoked", check: func(c *checker) {
		c.enqueue(task())
		c.leaseOne(by("slow"), lasting(short))
		l := c.leaseOne(by("quick"))
		slow := c.revoking("slow")
		require.NoError(c, c.cancel(l.TaskID))
		assert.Equal(c, []omniq.LeaseID{l.LeaseID}, c.revoked(c.revoking("quick")))
		c.blocks(slow.done, "Revoked of a worker whose lease ran out")
	}},
	{name: "of a cancel and a lease at once the lease is revoked or never was", check: func(c *checker) {
		const n = 200
		var ids []uuid.UUID
		for range n {
			t := task()
			ids = append(ids, t.ID)
			c.enqueue(t)
		}
		ready := make(chan struct{})
		cancel := async(func() error {
			<-ready
			for _, id := range ids {
				if errs, err := c.b.Cancel(c.Context(), []uuid.UUID{id}); err != nil || first(errs) != nil {
					return errors.Join(err, first(errs))
				}
			}
			return nil
		})
		leased := make(map[omniq.LeaseID]bool)
		lease := async(func() error {
			close(ready)
			for range 10 * n {
				leases, err := c.b.Lease(c.Context(), omniq.LeaseRequest{
					Queues: []string{omniq.DefaultQueue}, Max: 3, Duration: long, WorkerID: "w",
				})
				if err != nil || len(leases) == 0 {
					return err
				}
				for _, l := range leases {
					leased[l.LeaseID] = true
				}
			}
			return errors.New("there is no end of tasks to lease")
		})
		require.NoError(c, c.ended(cancel, "Cancel"))
		require.NoError(c, c.ended(lease, "Lease"))
		for _, id := range ids {
			require.Equal(c, omniq.StatusCancelled, c.result(id).Status)
		}
		for len(leased) > 0 {
			for _, id := range c.revoked(c.revoking("w")) {
				require.True(c, leased[id], "a lease that never was, or twice")
				delete(leased, id)
			}
		}
		c.none()
	}},
}

func by(worker string) func(*omniq.LeaseRequest) {
	return func(r *omniq.LeaseRequest) { r.WorkerID = worker }
}

// revoking begins to wait for what a worker has lost.
func (c *checker) revoking(worker string) *waiter {
	w := &waiter{what: "Revoked"}
	w.done = async(func() (err error) { w.lost, err = c.b.Revoked(c.Context(), worker); return err })
	return w
}

// revoked waits until w has lost something.
func (c *checker) revoked(w *waiter) []omniq.LeaseID {
	c.Helper()
	require.NoError(c, c.ended(w.done, w.what))
	require.NotEmpty(c, w.lost)
	return w.lost
}
