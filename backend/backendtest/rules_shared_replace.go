package backendtest

import (
	"sync/atomic"

	"github.com/stretchr/testify/assert"
)

// sharedReplaceRules say what holds between two backends on one store of tasks that take places.
var sharedReplaceRules = []sharedRule{
	{name: "what one enqueues takes the place of what the other has, and waits behind what the other works", needs: replacesInFlows,
		check: func(one, other *checker) {
			t := task(unique("k"), delay(long))
			one.enqueue(t)
			w := one.leasing()
			one.blocks(w.done, "Lease")
			other.replaced(task(replace("k"), priority(3)), t.ID)
			l := one.leased(w)
			assert.Equal(one, 3, l.Task.Priority)
			by := task(behind("k"))
			other.enqueue(by)
			other.waiting(by)
			one.taken(by)
			w = other.leasing()
			other.blocks(w.done, "Lease")
			assert.NoError(one, one.settle(success(l, "1", long)))
			assert.Equal(other, by.ID, other.leased(w).TaskID)
		}},
	{name: "what one replaces while the other leases is run, or what came after it, once", needs: replacesInFlows, check: func(one, other *checker) {
		one.stampede(other, replace("k"), nil)
		var running atomic.Int64
		other.stampede(one, behind("l"), &running)
	}},
}
