package sqlite_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// What is stored by one statement is stored in its order, and what is in the way of one row keeps no other from its place: a task that is
// there already, or a result of an earlier life whose time is over.
func TestSomethingInTheWay(t *testing.T) {
	for name, flow := range map[string]uuid.UUID{"plain": uuid.Nil, "tied": {1}} {
		t.Run(name, func(t *testing.T) {
			const n = 200
			keep := time.Hour
			b, clock := slow(t)
			lives := 0
			old := tasksIn("q", n, func(t *omniq.RawTask) {
				if lives++; lives%2 == 0 { // of these there is more than a result
					t.Flow = uuid.UUID{2}
				}
			})
			enqueue(t, b, old...)
			finishAll(t, b, n, keep)
			clock.advance(2 * keep)

			var list []*omniq.RawTask
			var want []uuid.UUID
			twice := make(map[int]bool)
			for i, fresh := range tasksIn("q", n, func(t *omniq.RawTask) { t.Flow = flow }) {
				old[i].Flow = flow
				want = append(want, old[i].ID, fresh.ID)
				list = append(list, old[i], fresh)
				if i%50 == 7 {
					twice[len(list)] = true
					list = append(list, fresh)
				}
			}
			errs, err := b.Enqueue(t.Context(), list)
			require.NoError(t, err)
			require.Len(t, errs, len(list))
			for i, err := range errs {
				if twice[i] {
					assert.Equal(t, omniq.Duplicate{ID: list[i].ID, Holder: list[i].ID}, err)
				} else {
					assert.NoError(t, err)
				}
			}
			assert.NotZero(t, number(t, b, "SELECT count(*) FROM omniq_results"), "of earlier lives")
			assert.Equal(t, want, finishAll(t, b, 2*n, keep))
			for _, id := range want {
				r, err := b.Result(t.Context(), id)
				require.NoError(t, err)
				assert.Equal(t, omniq.StatusSuccess, r.Status)
			}
			stats, err := b.Stats(t.Context())
			require.NoError(t, err)
			require.Len(t, stats, 1)
			assert.Equal(t, 2*n, stats[0].Succeeded)
			assert.Zero(t, stats[0].Ready+stats[0].Running)
		})
	}
}

// finishAll ends the n tasks of the queue q by one call, in which one lease was never held and another one is ended twice, and returns
// which they are.
func finishAll(t *testing.T, b omniq.Backend, n int, keep time.Duration) (finished []uuid.UUID) {
	t.Helper()
	leases := leaseOf(t, b, "q", n)
	require.Len(t, leases, n)
	list := []omniq.Settlement{finish(leases[0], "1", keep)}
	list[0].Token = "1"
	for _, l := range leases {
		finished = append(finished, l.TaskID)
		list = append(list, finish(l, "1", keep))
	}
	list = append(list, list[n/2])
	errs, err := b.Settle(t.Context(), list)
	require.NoError(t, err)
	require.Len(t, errs, len(list))
	for i, err := range errs {
		if i == 0 || i == len(list)-1 {
			assert.Equal(t, omniq.ErrLeaseLost, err)
		} else {
			assert.NoError(t, err)
		}
	}
	return finished
}
