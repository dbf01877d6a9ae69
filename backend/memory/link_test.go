package memory

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/bubble"
)

// tied is a task with dependencies whose results are inputs. Nothing of it is kept when it has ended.
func tied(flow uuid.UUID, after ...*omniq.RawTask) *omniq.RawTask {
	t := &omniq.RawTask{ID: uuid.New(), FuncName: "f", CreatedAt: time.Now(), Flow: flow, ResultTTL: new(time.Duration), FailureTTL: new(time.Duration)}
	for _, d := range after {
		t.After = append(t.After, omniq.Dependency{ID: d.ID, Input: true})
	}
	return t
}

func store(t testing.TB, b *Backend, tasks ...*omniq.RawTask) {
	t.Helper()
	errs, err := b.Enqueue(t.Context(), tasks)
	require.NoError(t, err)
	require.Nil(t, errs)
}

// lease leases the next task.
func lease(t testing.TB, b *Backend) omniq.Lease {
	t.Helper()
	leases, err := b.Lease(t.Context(), omniq.LeaseRequest{Queues: []string{"default"}, Max: 1, Duration: time.Hour, Wait: time.Hour})
	require.NoError(t, err)
	require.Len(t, leases, 1)
	return leases[0]
}

// finish lets a lease succeed, with a result that is kept for a time, and with effects.
func finish(t testing.TB, b *Backend, l omniq.Lease, keep time.Duration, effects *omniq.Effects) {
	t.Helper()
	settle(t, b, omniq.Settlement{LeaseID: l.LeaseID, Action: omniq.ActionFinish, Effects: effects, Result: &omniq.RawResult{
		TaskID: l.TaskID, Status: omniq.StatusSuccess, ResultData: omniq.Raw("1"), TTL: &keep, Timestamp: time.Now().UTC(),
	}})
}

func settle(t testing.TB, b *Backend, s omniq.Settlement) {
	t.Helper()
	errs, err := b.Settle(t.Context(), []omniq.Settlement{s})
	require.NoError(t, err)
	require.Nil(t, errs)
}

// Whatever way flows go, nothing of them is kept.
func TestNothingIsLeftOfFlows(t *testing.T) {
	tests := []struct {
		name string
		end  func(*testing.T, *Backend, uuid.UUID)
	}{
		{"they succeed", func(t *testing.T, b *Backend, _ uuid.UUID) {
			for range 7 {
				finish(t, b, lease(t, b), 0, nil)
			}
		}},
		{"they fail", func(t *testing.T, b *Backend, _ uuid.UUID) {
			l := lease(t, b)
			settle(t, b, omniq.Settlement{LeaseID: l.LeaseID, Action: omniq.ActionFinish, Result: &omniq.RawResult{
				TaskID: l.TaskID, Status: omniq.StatusFailure, Error: &omniq.TaskError{Type: "T", Message: "m"}, TTL: new(time.Duration),
			}})
		}},
		{"they are cancelled", func(t *testing.T, b *Backend, flow uuid.UUID) {
			_, err := b.CancelFlow(t.Context(), flow)
			require.NoError(t, err)
		}},
		{"they grow", func(t *testing.T, b *Backend, flow uuid.UUID) {
			child := tied(flow)
			settle(t, b, omniq.Settlement{LeaseID: lease(t, b).LeaseID, Action: omniq.ActionWait, Effects: &omniq.Effects{
				Enqueue: []*omniq.RawTask{child}, After: []omniq.Dependency{{ID: child.ID, Input: true}},
				Notes: omniq.Notes{Stream: []omniq.StreamItem{{Name: "s", Data: omniq.Raw("1")}}},
			}})
			for range 8 {
				finish(t, b, lease(t, b), 0, nil)
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				b := New()
				defer func() { require.NoError(t, b.Close()) }()
				flow := uuid.New()
				first := tied(flow)
				second, third := tied(flow, first), tied(flow, first)
				fourth := tied(flow, second, third)
				fifth := tied(flow, fourth)
				sixth := tied(flow, first, fifth)
				store(t, b, first, second, third, fourth, fifth, sixth, tied(flow, sixth))
				tt.end(t, b, flow)
				time.Sleep(time.Second)
				synctest.Wait()
				b.mu.Lock()
				defer b.mu.Unlock()
				assert.Empty(t, b.tasks)
				assert.Empty(t, b.queues)
				assert.Empty(t, b.flows)
				assert.Empty(t, b.fallout)
				assert.Empty(t, b.coming)
				assert.Empty(t, b.going)
			})
		})
	}
}

// A task that stays does not keep what is forgotten of the many that have waited for it.
func TestFollowersAreForgotten(t *testing.T) {
	b := New()
	defer func() { require.NoError(t, b.Close()) }()
	dep := tied(uuid.Nil)
	store(t, b, dep)
	finish(t, b, lease(t, b), time.Hour, nil)
	for range 5000 {
		store(t, b, tied(uuid.Nil, dep))
		finish(t, b, lease(t, b), 0, nil)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	assert.Len(t, b.tasks, 1)
	assert.Less(t, len(b.tasks[dep.ID].links.followers), 50)
	assert.Zero(t, b.tasks[dep.ID].links.wanted)
}

// A task that hands over again and again does not keep those that it has handed over to.
func TestThoseThatWereHandedOverToAreForgotten(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b := New()
		defer func() { require.NoError(t, b.Close()) }()
		top := tied(uuid.Nil)
		top.Priority = -1
		stays := tied(uuid.Nil)
		store(t, b, top, stays)
		finish(t, b, lease(t, b), time.Hour, nil)
		for range 1000 {
			child := tied(uuid.Nil)
			settle(t, b, omniq.Settlement{LeaseID: lease(t, b).LeaseID, Action: omniq.ActionWait, Effects: &omniq.Effects{
				Enqueue: []*omniq.RawTask{child}, After: []omniq.Dependency{{ID: child.ID, Input: true}, {ID: stays.ID}},
			}})
			finish(t, b, lease(t, b), 0, nil)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		b.mu.Lock()
		defer b.mu.Unlock()
		assert.Len(t, b.tasks, 3, "the last of them is an input")
		assert.Less(t, len(b.tasks[stays.ID].links.followers), 50)
	})
}

// A chain of tasks, each of which brings the next one, does not keep those that are gone.
func TestChainIsForgotten(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b := New()
		defer func() { require.NoError(t, b.Close()) }()
		flow := uuid.New()
		last := tied(flow)
		store(t, b, last)
		for range 1000 {
			next := tied(flow, last)
			finish(t, b, lease(t, b), 0, &omniq.Effects{Enqueue: []*omniq.RawTask{next}})
			last = next
		}
		time.Sleep(time.Second)
		synctest.Wait()
		b.mu.Lock()
		defer b.mu.Unlock()
		assert.Len(t, b.tasks, 2, "the last one and its input")
		depth := 0
		for e := b.tasks[last.ID]; len(e.links.own) > 0; e = e.links.own[0].dep {
			depth++
		}
		assert.LessOrEqual(t, depth, 2)
		assert.Less(t, b.flows[flow].members.rows, 200)
	})
}

// No call does more than a part of what follows from the end of one task, and all is done in the end.
func TestFalloutIsDoneInParts(t *testing.T) {
	for _, fails := range []bool{false, true} {
		bubble.Test(t, func(t *testing.T) {
			b := New()
			defer func() { require.NoError(t, b.Close()) }()
			dep := tied(uuid.Nil)
			dep.Queue = "dep"
			store(t, b, dep)
			leases, err := b.Lease(t.Context(), omniq.LeaseRequest{Queues: []string{"dep"}, Max: 1, Duration: time.Hour})
			require.NoError(t, err)
			require.Len(t, leases, 1)
			burst(t, b, func(_ int, t *omniq.RawTask) { t.After = []omniq.Dependency{{ID: dep.ID, Input: true}} })
			if fails {
				errs, err := b.Cancel(t.Context(), []uuid.UUID{dep.ID})
				require.NoError(t, err)
				require.Nil(t, errs)
			} else {
				finish(t, b, leases[0], time.Hour, nil)
			}
			waiting := func() int {
				return b.queues["default"].counts[omniq.StatusWaiting]
			}
			require.GreaterOrEqual(t, waiting(), many-2*atOnce)
			for left := waiting(); left > 0; left = waiting() {
				_, err := b.Stats(t.Context())
				require.NoError(t, err)
				require.Less(t, waiting(), left)
				require.GreaterOrEqual(t, waiting(), left-2*atOnce)
			}
			assert.Empty(t, b.fallout)
		})
	}
}

// A task that is enqueued, and others that are forgotten, while the followers of one are told keep no other from being told.
func TestFalloutMissesNobody(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b := New()
		dep := tied(uuid.Nil)
		dep.Queue = "dep"
		store(t, b, dep)
		leases, err := b.Lease(t.Context(), omniq.LeaseRequest{Queues: []string{"dep"}, Max: 1, Duration: time.Hour})
		require.NoError(t, err)
		require.Len(t, leases, 1)
		none := time.Duration(0)
		tasks := burst(t, b, func(_ int, t *omniq.RawTask) {
			t.After, t.ResultTTL = []omniq.Dependency{{ID: dep.ID, Input: true}}, &none
		})
		finish(t, b, leases[0], time.Hour, nil)
		ids := make([]uuid.UUID, 0, many/2+100)
		for _, t := range tasks[:many/2+100] { // more than half: the followers are put into another array
			ids = append(ids, t.ID)
		}
		_, err = b.Cancel(t.Context(), ids)
		require.NoError(t, err)
		late := tied(uuid.Nil, dep)
		store(t, b, late)
		for len(b.fallout) > 0 {
			_, err := b.Stats(t.Context())
			require.NoError(t, err)
		}
		assert.Zero(t, b.queues["default"].counts[omniq.StatusWaiting])
		assert.Equal(t, many-len(ids)+1, b.queues["default"].counts[omniq.StatusPending])
		require.NoError(t, b.Close())
	})
}
