package sqlite

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

func aTask() *omniq.RawTask {
	return &omniq.RawTask{ID: uuid.New(), FuncName: "f", Args: omniq.Raw("[]"), Kwargs: omniq.Raw("{}"), CreatedAt: time.Now()}
}

// together lets the calls come to the writer in this order, while the file is locked, so that one transaction does all.
func together(t *testing.T, b *Backend, calls ...func()) {
	t.Helper()
	waiting := func() int {
		b.w.mu.Lock()
		defer b.w.mu.Unlock()
		return len(b.w.ops)
	}
	require.NoError(t, b.write(t.Context(), func(*tx) error { return nil })) // after what the backend does when it is opened
	release := held(t, b)
	var all sync.WaitGroup
	for _, call := range calls {
		before := waiting()
		all.Go(call)
		require.Eventually(t, func() bool { return waiting() > before }, 10*time.Second, 100*time.Microsecond)
	}
	release()
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		require.Fail(t, "a call waits still, for what the transaction has brought")
	}
}

// A call that finds nothing is looked at again when the transaction it came in brings something afterwards.
func TestOneTransaction(t *testing.T) {
	ctx := t.Context()
	leaseFrom := func(b *Backend, got *[]omniq.Lease, queues ...string) func() {
		return func() {
			leases, err := b.Lease(ctx, omniq.LeaseRequest{
				Queues: queues, Max: 1, Duration: time.Minute, Wait: time.Minute, WorkerID: "w",
			})
			assert.NoError(t, err)
			*got = leases
		}
	}
	settle := func(b *Backend, s omniq.Settlement) func() {
		return func() {
			errs, err := b.Settle(ctx, []omniq.Settlement{s})
			assert.NoError(t, err)
			assert.Nil(t, errs)
		}
	}
	put := func(b *Backend, tasks ...*omniq.RawTask) func() {
		return func() {
			errs, err := b.Enqueue(ctx, tasks)
			assert.NoError(t, err)
			assert.Nil(t, errs)
		}
	}
	success := func(l omniq.Lease) omniq.Settlement {
		return omniq.Settlement{LeaseID: l.LeaseID, Action: omniq.ActionFinish, Result: &omniq.RawResult{
			TaskID: l.TaskID, Status: omniq.StatusSuccess, ResultData: omniq.Raw("1"), Timestamp: time.Now(),
		}}
	}
	started := func(t *testing.T, b *Backend) omniq.Lease {
		put(b, aTask())()
		var got []omniq.Lease
		leaseFrom(b, &got, "default")()
		require.Len(t, got, 1)
		return got[0]
	}
	for _, c := range []struct {
		name string
		test func(t *testing.T, b *Backend)
	}{
		{"Lease and Enqueue", func(t *testing.T, b *Backend) {
			var got []omniq.Lease
			task := aTask()
			together(t, b, leaseFrom(b, &got, "other", "default"), put(b, task))
			require.Len(t, got, 1)
			assert.Equal(t, task.ID, got[0].TaskID)
		}},
		{"Leases and Enqueues", func(t *testing.T, b *Backend) {
			var first, second, third []omniq.Lease
			together(t, b, leaseFrom(b, &first, "default"), leaseFrom(b, &second, "default"), put(b, aTask()),
				leaseFrom(b, &third, "default"), put(b, aTask()), put(b, aTask()))
			assert.Len(t, first, 1)
			assert.Len(t, second, 1)
			assert.Len(t, third, 1)
		}},
		{"Lease and a retry that is due", func(t *testing.T, b *Backend) {
			l := started(t, b)
			var got []omniq.Lease
			together(t, b, leaseFrom(b, &got, "default"), settle(b, omniq.Settlement{LeaseID: l.LeaseID, Action: omniq.ActionRetry}))
			require.Len(t, got, 1)
			assert.Equal(t, l.TaskID, got[0].TaskID)
		}},
		{"Lease and a release", func(t *testing.T, b *Backend) {
			l := started(t, b)
			var got []omniq.Lease
			together(t, b, leaseFrom(b, &got, "default"), settle(b, omniq.Settlement{LeaseID: l.LeaseID, Action: omniq.ActionRelease}))
			assert.Len(t, got, 1)
		}},
		{"Lease and Resume", func(t *testing.T, b *Backend) {
			require.NoError(t, b.Pause(ctx, "default"))
			put(b, aTask())()
			var got []omniq.Lease
			together(t, b, leaseFrom(b, &got, "default"), func() { assert.NoError(t, b.Resume(ctx, "default")) })
			assert.Len(t, got, 1)
		}},
		{"Lease and Requeue", func(t *testing.T, b *Backend) {
			l := started(t, b)
			_, err := b.Cancel(ctx, []uuid.UUID{l.TaskID})
			require.NoError(t, err)
			var got []omniq.Lease
			together(t, b, leaseFrom(b, &got, "default"), func() {
				errs, err := b.Requeue(ctx, []uuid.UUID{l.TaskID}, false)
				assert.NoError(t, err)
				assert.Nil(t, errs)
			})
			assert.Len(t, got, 1)
		}},
		{"Lease and the end of what a task waits for", func(t *testing.T, b *Backend) {
			l, f := started(t, b), aTask()
			f.After = []omniq.Dependency{{ID: l.TaskID}}
			put(b, f)()
			var got []omniq.Lease
			together(t, b, leaseFrom(b, &got, "other", "default"), settle(b, success(l)))
			require.Len(t, got, 1)
			assert.Equal(t, f.ID, got[0].TaskID)
		}},
		{"Lease and the end of two that a task waits for", func(t *testing.T, b *Backend) {
			one, two, f := started(t, b), started(t, b), aTask()
			f.After = []omniq.Dependency{{ID: one.TaskID}, {ID: two.TaskID, Need: omniq.NeedFinal}}
			put(b, f)()
			var got []omniq.Lease
			together(t, b, settle(b, success(one)), leaseFrom(b, &got, "default"), func() {
				errs, err := b.Cancel(ctx, []uuid.UUID{two.TaskID})
				assert.NoError(t, err)
				assert.Nil(t, errs)
			})
			require.Len(t, got, 1)
			assert.Equal(t, f.ID, got[0].TaskID)
		}},
		{"Lease and a settlement that enqueues", func(t *testing.T, b *Backend) {
			l, next := started(t, b), aTask()
			s := success(l)
			s.Effects = &omniq.Effects{Enqueue: []*omniq.RawTask{next}}
			var got []omniq.Lease
			together(t, b, leaseFrom(b, &got, "default"), settle(b, s))
			require.Len(t, got, 1)
			assert.Equal(t, next.ID, got[0].TaskID)
		}},
		{"Lease and a task that waits for nothing", func(t *testing.T, b *Backend) {
			l := started(t, b)
			var got []omniq.Lease
			together(t, b, leaseFrom(b, &got, "default"),
				settle(b, omniq.Settlement{LeaseID: l.LeaseID, Action: omniq.ActionWait, Effects: new(omniq.Effects)}))
			require.Len(t, got, 1)
			assert.True(t, got[0].Resumed)
		}},
		{"Lease and Resolve", func(t *testing.T, b *Backend) {
			manual, f := aTask(), aTask()
			manual.Manual, f.After = true, []omniq.Dependency{{ID: manual.ID, Input: true}}
			put(b, manual, f)()
			var got []omniq.Lease
			together(t, b, leaseFrom(b, &got, "default"), func() {
				errs, err := b.Resolve(ctx, []*omniq.RawResult{success(omniq.Lease{LeaseID: omniq.LeaseID{TaskID: manual.ID}}).Result})
				assert.NoError(t, err)
				assert.Nil(t, errs)
			})
			require.Len(t, got, 1)
			assert.Equal(t, f.ID, got[0].TaskID)
		}},
		{"Stream and Note", func(t *testing.T, b *Backend) {
			l := started(t, b)
			var got omniq.StreamPage
			var reading sync.WaitGroup
			reading.Go(func() {
				page, err := b.Stream(ctx, omniq.StreamRequest{TaskID: l.TaskID, Name: "s", Max: 9, Wait: time.Minute})
				assert.NoError(t, err)
				got = page
			})
			require.Eventually(t, b.streams.waits, 10*time.Second, 100*time.Microsecond)
			items := []omniq.StreamItem{{Name: "s", Data: omniq.Raw("1")}}
			errs, err := b.Note(ctx, []omniq.LeaseNotes{{LeaseID: l.LeaseID, Notes: omniq.Notes{Stream: items}}})
			require.NoError(t, err)
			require.Nil(t, errs)
			reading.Wait()
			assert.Equal(t, []omniq.Raw{omniq.Raw("1")}, got.Items)
			assert.False(t, b.streams.waits())
		}},
		{"Revoked and Cancel", func(t *testing.T, b *Backend) {
			l := started(t, b)
			var got []omniq.LeaseID
			together(t, b, func() {
				leases, err := b.Revoked(ctx, "w")
				assert.NoError(t, err)
				got = leases
			}, func() {
				errs, err := b.Cancel(ctx, []uuid.UUID{l.TaskID})
				assert.NoError(t, err)
				assert.Nil(t, errs)
			})
			assert.Equal(t, []omniq.LeaseID{l.LeaseID}, got)
		}},
		{"Lease, Enqueue and one that fails", func(t *testing.T, b *Backend) {
			wrong := errors.New("wrong")
			var got []omniq.Lease
			together(t, b, leaseFrom(b, &got, "default"), put(b, aTask()), func() {
				assert.ErrorIs(t, b.write(ctx, func(*tx) error { return wrong }), wrong)
			})
			assert.Len(t, got, 1)
		}},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, opened(t)) })
	}
}

// Who waits for a result or for events hears of what is committed while it begins to wait, in whatever order.
func TestAwaitAndEventsBeside(t *testing.T) {
	b := opened(t, WithEvents(time.Hour), WithSynchronousNormal())
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	after := omniq.CursorOldest
	for range 100 {
		task := aTask()
		var beside sync.WaitGroup
		_, err := b.Enqueue(ctx, []*omniq.RawTask{task})
		require.NoError(t, err)
		beside.Go(func() {
			r, err := b.Await(ctx, task.ID)
			if assert.NoError(t, err) {
				assert.Equal(t, omniq.StatusCancelled, r.Status)
			}
		})
		beside.Go(func() {
			for left := 2; left > 0; {
				events, next, err := b.Events(ctx, omniq.EventsRequest{After: after, Max: 10, Wait: time.Minute})
				if !assert.NoError(t, err) {
					return
				}
				left, after = left-len(events), next
			}
		})
		_, err = b.Cancel(ctx, []uuid.UUID{task.ID})
		require.NoError(t, err)
		beside.Wait()
		require.NoError(t, ctx.Err())
	}
}

// What others have committed is acted on even if the transaction that noticed it fails.
func TestNoticedInAFailure(t *testing.T) {
	a := opened(t, WithEvents(time.Hour), WithPollInterval(time.Hour)) // only its own transactions notice
	b, err := Open(a.path, WithEvents(time.Hour))
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	awaited, ready := aTask(), aTask()
	ready.Queue = "ready"
	_, err = b.Enqueue(ctx, []*omniq.RawTask{awaited})
	require.NoError(t, err)
	require.NoError(t, a.write(ctx, func(*tx) error { return nil }))

	var waiting sync.WaitGroup
	waiting.Go(func() {
		r, err := a.Await(ctx, awaited.ID)
		if assert.NoError(t, err) {
			assert.Equal(t, omniq.StatusCancelled, r.Status)
		}
	})
	waiting.Go(func() {
		leases, err := a.Lease(ctx, omniq.LeaseRequest{Queues: []string{"ready"}, Max: 1, Duration: time.Minute, Wait: time.Minute})
		assert.NoError(t, err)
		assert.Len(t, leases, 1)
	})
	_, last, err := a.Events(ctx, omniq.EventsRequest{After: omniq.CursorLatest, Max: 1})
	require.NoError(t, err)
	waiting.Go(func() {
		events, _, err := a.Events(ctx, omniq.EventsRequest{After: last, Max: 1, Wait: time.Minute})
		assert.NoError(t, err)
		assert.Len(t, events, 1)
	})
	require.Eventually(t, func() bool {
		_, all := a.awaited.Looked()
		return all && a.awaited.Any() && a.events.waits() && !a.w.waits()
	}, 10*time.Second, time.Millisecond)

	_, err = b.Enqueue(ctx, []*omniq.RawTask{ready})
	require.NoError(t, err)
	_, err = b.Cancel(ctx, []uuid.UUID{awaited.ID})
	require.NoError(t, err)
	require.NoError(t, b.Close()) // nobody commits any more
	wrong := errors.New("wrong")
	require.ErrorIs(t, a.write(ctx, func(*tx) error { return wrong }), wrong)
	waiting.Wait()
}
