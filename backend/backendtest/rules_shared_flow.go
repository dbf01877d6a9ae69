package backendtest

import (
	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// sharedFlowRules say what one backend makes of flows that another one on the same store works on.
var sharedFlowRules = []sharedRule{
	{name: "what one waits for the other may end, which releases or ends what waits", needs: flows, check: func(one, other *checker) {
		for range 2 {
			dep, gate := task(queue("dep")), task(manual)
			t := task(after(dep, gate), queue("t"))
			one.enqueue(dep, gate)
			other.enqueue(t)
			w, result := one.leasing(from("t")), one.awaiting(t.ID)
			one.blocks(w.done, "Lease")
			other.succeed(dep, "1")
			other.resolve(gate, "2")
			l := one.leased(w)
			one.inputs(l, "1", "2")
			assert.Equal(other, one.inspect(t.ID), other.inspect(t.ID))
			assert.Equal(other, t.After, other.inspect(t.ID).After)
			require.NoError(other, other.settle(success(l, "3", long)))
			assert.Equal(one, omniq.StatusSuccess, one.got(result).Status)

			bad := task(queue("bad"))
			blocked := task(after(bad))
			one.enqueue(bad, blocked)
			result = one.awaiting(blocked.ID)
			one.blocks(result.done, "Await")
			require.NoError(other, other.settle(failure(other.leaseOf(bad), long)))
			assert.Equal(one, omniq.StatusCancelled, one.got(result).Status)
			one.blocked(blocked, bad)
			require.Equal(other, []error{nil}, other.requeueAll(true, bad))
			one.waiting(blocked)
			one.succeed(bad, "1")
			other.succeed(blocked, "2")
			one, other = other, one
		}
	}},
	{name: "a task that hands over at one is leased again at the other", needs: flows, check: func(one, other *checker) {
		t := task(queue("t"))
		one.enqueue(t)
		w := other.leasing()
		other.blocks(w.done, "Lease")
		child := task()
		require.NoError(one, one.settle(handover(one.leaseOf(t), []*omniq.RawTask{child}, needing(child))))
		l := other.leased(w)
		require.Equal(other, child.ID, l.TaskID)
		w = other.leasing(from("t"))
		other.blocks(w.done, "Lease")
		require.NoError(one, one.settle(success(l, "1", long)))
		l = other.leased(w)
		assert.True(other, l.Resumed)
		other.inputs(l, "1")
	}},
	{name: "a flow that one cancels ends at the other, too", needs: flows, check: func(one, other *checker) {
		flow := uuid.New()
		running, ready := task(member(flow), queue("running")), task(member(flow))
		waits := task(member(flow), after(running))
		one.enqueue(running, ready, waits)
		l := other.leaseOf(running)
		lost, result := other.revoking("w"), other.awaiting(waits.ID)
		other.blocks(lost.done, "Revoked")
		assert.Equal(other, one.flowStats(flow), other.flowStats(flow))
		n, err := one.b.CancelFlow(one.Context(), flow)
		require.NoError(one, err)
		assert.Equal(one, 3, n)
		assert.Equal(other, []omniq.LeaseID{l.LeaseID}, other.revoked(lost))
		assert.Equal(other, omniq.StatusCancelled, other.got(result).Status)
		assert.Equal(other, omniq.FlowStats{Cancelled: 3}, other.flowStats(flow))
		child := task(member(flow))
		s := success(l, "1", long)
		s.Effects = &omniq.Effects{Enqueue: []*omniq.RawTask{child}}
		assert.ErrorIs(other, other.settle(s), omniq.ErrLeaseLost)
		other.unknown(child.ID)
		_, err = other.b.Enqueue(other.Context(), []*omniq.RawTask{child})
		assert.ErrorIs(other, err, omniq.ErrState)
		other.none()
		assert.Len(other, other.list(omniq.ListRequest{Flow: flow, Max: 2}), 3)
	}},
	{name: "who reads a stream at one gets what is put in at the other, and its end", needs: notes, check: func(one, other *checker) {
		t := task()
		one.enqueue(t)
		r := omniq.StreamRequest{TaskID: t.ID, Name: "s", Max: 5, Wait: long}
		w := one.reader(r)
		one.blocks(w.done, "Stream")
		l := other.leaseOf(t)
		other.put(l, "s", "1")
		require.NoError(one, one.ended(w.done, "Stream"))
		assert.Equal(one, []string{"1"}, texts(w.page.Items))
		r.After = w.page.Next
		w = one.reader(r)
		one.blocks(w.done, "Stream")
		require.NoError(other, other.note(l, omniq.Notes{Progress: omniq.Raw(`{"p":1}`), State: omniq.Raw(`{"s":1}`)}))
		assert.Equal(one, `{"p":1}`, string(one.inspect(t.ID).Progress))
		require.NoError(other, other.settle(retry(l)))
		l = one.leaseOf(t)
		assert.Equal(one, `{"s":1}`, string(l.State))
		one.blocks(w.done, "Stream")
		require.NoError(other, other.settle(success(l, "1", long)))
		require.NoError(one, one.ended(w.done, "Stream"))
		assert.Empty(one, w.page.Items)
		assert.True(one, w.page.Ended)
	}},
}
