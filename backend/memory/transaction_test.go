package memory_test

import (
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
)

func newTask(change ...func(*omniq.RawTask)) *omniq.RawTask {
	t := &omniq.RawTask{ID: uuid.New(), FuncName: "f", CreatedAt: time.Now()}
	for _, f := range change {
		f(t)
	}
	return t
}

func unique(t *omniq.RawTask) { t.UniqueKey = "k" }

// lease leases the one task that is there.
func lease(t *testing.T, b *memory.Backend) omniq.Lease {
	t.Helper()
	leases, err := b.Lease(t.Context(), omniq.LeaseRequest{Queues: []string{"default"}, Max: 1, Duration: time.Hour})
	require.NoError(t, err)
	require.Len(t, leases, 1)
	return leases[0]
}

func success(l omniq.Lease) []omniq.Settlement {
	return []omniq.Settlement{{LeaseID: l.LeaseID, Action: omniq.ActionFinish, Result: &omniq.RawResult{
		TaskID: l.TaskID, Status: omniq.StatusSuccess, ResultData: omniq.Raw("1"), Timestamp: time.Now(), Attempts: 1,
	}}}
}

// Of two that conflict the second one to commit fails, and has done nothing.
func TestTxConflicts(t *testing.T) {
	for name, c := range map[string]struct {
		is error
		// Both return after they have used the transaction, or have done the same outside.
		in      func(*testing.T, *memory.Backend, *memory.Tx)
		outside func(*testing.T, *memory.Backend)
	}{
		"an ID": {
			omniq.ErrDuplicate,
			func(t *testing.T, _ *memory.Backend, tx *memory.Tx) {
				errs, err := tx.Enqueue(t.Context(), []*omniq.RawTask{newTask(same)})
				require.NoError(t, err)
				require.Empty(t, errs)
			},
			func(t *testing.T, b *memory.Backend) {
				errs, err := b.Enqueue(t.Context(), []*omniq.RawTask{newTask(same)})
				require.NoError(t, err)
				require.Empty(t, errs)
			},
		},
		"a unique key": {
			omniq.ErrDuplicate,
			func(t *testing.T, _ *memory.Backend, tx *memory.Tx) {
				errs, err := tx.Enqueue(t.Context(), []*omniq.RawTask{newTask(unique)})
				require.NoError(t, err)
				require.Empty(t, errs)
			},
			func(t *testing.T, b *memory.Backend) {
				errs, err := b.Enqueue(t.Context(), []*omniq.RawTask{newTask(unique)})
				require.NoError(t, err)
				require.Empty(t, errs)
			},
		},
		"a place": {
			omniq.ErrDuplicate,
			func(t *testing.T, b *memory.Backend, tx *memory.Tx) {
				first := newTask(unique)
				errs, err := b.Enqueue(t.Context(), []*omniq.RawTask{first})
				require.NoError(t, err)
				require.Empty(t, errs)
				by := newTask(unique, func(t *omniq.RawTask) { t.OnHeld = omniq.HeldReplace })
				errs, err = tx.Enqueue(t.Context(), []*omniq.RawTask{by})
				require.NoError(t, err)
				require.Equal(t, []error{omniq.Duplicate{ID: by.ID, Holder: first.ID, Replaced: true}}, errs)
			},
			func(t *testing.T, b *memory.Backend) { lease(t, b) },
		},
		"a lease": {
			omniq.ErrLeaseLost,
			func(t *testing.T, b *memory.Backend, tx *memory.Tx) {
				errs, err := b.Enqueue(t.Context(), []*omniq.RawTask{newTask(same)})
				require.NoError(t, err)
				require.Empty(t, errs)
				errs, err = tx.Settle(t.Context(), success(lease(t, b)))
				require.NoError(t, err)
				require.Empty(t, errs)
			},
			func(t *testing.T, b *memory.Backend) {
				errs, err := b.Cancel(t.Context(), []uuid.UUID{sameID})
				require.NoError(t, err)
				require.Empty(t, errs)
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := memory.New()
			t.Cleanup(func() { assert.NoError(t, b.Close()) })
			tx, own := b.Begin(), newTask()
			errs, err := tx.Enqueue(t.Context(), []*omniq.RawTask{own})
			require.NoError(t, err)
			require.Empty(t, errs)
			c.in(t, b, tx)
			c.outside(t, b)
			err = tx.Commit()
			require.ErrorIs(t, err, memory.ErrConflict)
			require.ErrorIs(t, err, c.is)
			_, err = b.Result(t.Context(), own.ID)
			require.ErrorIs(t, err, omniq.ErrNotFound, "nothing of it was done")
			require.ErrorIs(t, tx.Commit(), memory.ErrTxDone)
			require.ErrorIs(t, tx.Rollback(), memory.ErrTxDone)
		})
	}
}

var sameID = uuid.New()

func same(t *omniq.RawTask) { t.ID = sameID }

// Many transactions at once that settle one lease and enqueue one key: one of them commits.
func TestTxAtOnce(t *testing.T) {
	b := memory.New()
	t.Cleanup(func() { assert.NoError(t, b.Close()) })
	for range 50 {
		_, err := b.Enqueue(t.Context(), []*omniq.RawTask{newTask()})
		require.NoError(t, err)
		l := lease(t, b)
		var all sync.WaitGroup
		var mu sync.Mutex
		committed := 0
		for range 4 {
			all.Go(func() {
				tx := b.Begin()
				next := newTask(func(t *omniq.RawTask) { t.UniqueKey, t.Queue = l.TaskID.String(), "next" })
				_, enqueue := tx.Enqueue(t.Context(), []*omniq.RawTask{next})
				_, settle := tx.Settle(t.Context(), success(l))
				assert.NoError(t, enqueue)
				assert.NoError(t, settle)
				if tx.Commit() == nil {
					mu.Lock()
					defer mu.Unlock()
					committed++
				}
			})
		}
		all.Wait()
		r, err := b.Result(t.Context(), l.TaskID)
		require.NoError(t, err)
		assert.Equal(t, omniq.StatusSuccess, r.Status)
		assert.GreaterOrEqual(t, committed, 1)
	}
	stats, err := b.Stats(t.Context())
	require.NoError(t, err)
	assert.Equal(t, 50, stats[len(stats)-1].Ready, "one of each")
}

func TestTxOfAClosedBackend(t *testing.T) {
	b := memory.New()
	tx := b.Begin()
	require.NoError(t, b.Close())
	_, err := tx.Enqueue(t.Context(), nil)
	require.ErrorIs(t, err, omniq.ErrClosed)
	_, err = tx.Settle(t.Context(), nil)
	require.ErrorIs(t, err, omniq.ErrClosed)
	require.ErrorIs(t, tx.Commit(), omniq.ErrClosed)
}
