package omniq_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/bubble"
)

func TestCancelQueue(t *testing.T) {
	b, client := newMemory(t)
	task := func(i int, queue string) omniq.RawTask {
		t := rawTask()
		t.ID, t.Queue = uuid.New(), queue
		if i%3 == 0 {
			t.Delay = time.Hour
		}
		return t
	}
	const n = 2500
	tasks := make([]omniq.RawTask, n)
	for i := range tasks {
		tasks[i] = task(i, "full")
	}
	require.NoError(t, client.Enqueue(t.Context(), tasks...))
	other := task(1, "other")
	require.NoError(t, client.Enqueue(t.Context(), other))
	leases, err := b.Lease(t.Context(), omniq.LeaseRequest{Queues: []string{"full"}, Max: 10, Duration: time.Minute})
	require.NoError(t, err)
	require.Len(t, leases, 10)
	require.NoError(t, client.Cancel(t.Context(), tasks[n-2].ID))

	got, err := client.CancelQueue(t.Context(), "full")
	require.NoError(t, err)
	assert.Equal(t, n-11, got)
	got, err = client.CancelQueue(t.Context(), "full")
	require.NoError(t, err)
	assert.Zero(t, got)
	stats, err := client.Stats(t.Context())
	require.NoError(t, err)
	require.Len(t, stats, 2)
	assert.Equal(t, omniq.QueueStats{Queue: "full", Running: 10, Cancelled: n - 10}, stats[0])
	assert.Equal(t, 1, stats[1].Ready)

	_, err = client.CancelQueue(t.Context(), "")
	require.ErrorIs(t, err, omniq.ErrInvalid)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = client.CancelQueue(ctx, "other")
	require.ErrorIs(t, err, context.Canceled)
}

// sparse is a backend whose pages are empty every other time.
type sparse struct {
	omniq.Backend
	after string // of the page that was put off
}

func (s *sparse) List(ctx context.Context, r omniq.ListRequest) ([]*omniq.TaskInfo, string, error) {
	if r.After != "later" {
		s.after = r.After
		return nil, "later", nil
	}
	r.After, r.Max = s.after, 2
	return s.Backend.List(ctx, r)
}

// A page may be empty although there is another one.
func TestEmptyPages(t *testing.T) {
	b, _ := newMemory(t)
	client := newClient(t, &sparse{Backend: b})
	for range 7 {
		require.NoError(t, client.Enqueue(t.Context(), rawTask()))
	}
	n := 0
	for _, err := range client.List(t.Context(), omniq.StatusPending, "") {
		require.NoError(t, err)
		n++
	}
	assert.Equal(t, 7, n)
	n, err := client.CancelQueue(t.Context(), omniq.DefaultQueue)
	require.NoError(t, err)
	assert.Equal(t, 7, n)
}

func TestFreeKey(t *testing.T) {
	b, client := newMemory(t)
	d := omniq.ReferNoArgs[int]("report")
	first, err := d.Enqueue(t.Context(), client, omniq.UniqueFor("today", time.Hour))
	require.NoError(t, err)
	_, err = d.Enqueue(t.Context(), client, omniq.Unique("today"))
	require.ErrorIs(t, err, omniq.ErrDuplicate)
	require.NoError(t, d.FreeKey(t.Context(), client, "today"))
	_, err = d.Enqueue(t.Context(), client, omniq.Unique("today"))
	require.NoError(t, err)
	info, err := b.Inspect(t.Context(), first.ID())
	require.NoError(t, err)
	assert.Equal(t, omniq.StatusPending, info.Status, "the first goes on")

	require.NoError(t, omniq.ReferArgs[omniq.Args1[int], int]("report").FreeKey(t.Context(), client, "today"))
	require.ErrorIs(t, client.FreeKey(t.Context(), "report", "today"), omniq.ErrNotFound)
	require.ErrorIs(t, client.FreeKey(t.Context(), "", "today"), omniq.ErrInvalid)
	require.ErrorIs(t, client.FreeKey(t.Context(), "report", ""), omniq.ErrInvalid)
}

// What failed on Friday can be requeued on Monday, although results are kept for an hour.
func TestFailuresAreKept(t *testing.T) {
	for name, c := range map[string]struct {
		opts []omniq.TaskOption
		kept time.Duration
	}{
		"default":            {nil, omniq.DefaultFailureTTL},
		"short ResultTTL":    {[]omniq.TaskOption{omniq.ResultTTL(0)}, omniq.DefaultFailureTTL},
		"long ResultTTL":     {[]omniq.TaskOption{omniq.ResultTTL(30 * 24 * time.Hour)}, 30 * 24 * time.Hour},
		"FailureTTL":         {[]omniq.TaskOption{omniq.FailureTTL(time.Minute)}, time.Minute},
		"FailureTTL counts":  {[]omniq.TaskOption{omniq.FailureTTL(time.Minute), omniq.ResultTTL(time.Hour)}, time.Minute},
		"expired before run": {[]omniq.TaskOption{omniq.Queue("nobody"), omniq.TTL(time.Microsecond)}, omniq.DefaultFailureTTL},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				b, client := newMemory(t)
				broken := true
				d := omniq.DefineNoArgs("fragile", func(context.Context) (int, error) {
					if broken {
						return 0, omniq.Permanent(errOops)
					}
					return 42, nil
				})
				run(t, b, omniq.Handlers(d), omniq.Queues("default", "nobody"), omniq.LeaseDuration(time.Hour)) // a worker beats thrice in a lease
				require.NoError(t, client.Pause(t.Context(), "nobody"))
				h, err := d.Enqueue(t.Context(), client, c.opts...)
				require.NoError(t, err)
				_, err = h.Wait(t.Context())
				require.Error(t, err)
				time.Sleep(c.kept - time.Second)
				_, err = h.Result(t.Context())
				require.NoError(t, err, "it is kept until then")
				time.Sleep(2 * time.Second)
				_, err = h.Result(t.Context())
				require.ErrorIs(t, err, omniq.ErrNotFound, "and no longer")

				h, err = d.Enqueue(t.Context(), client, c.opts...)
				require.NoError(t, err)
				_, err = h.Wait(t.Context())
				require.Error(t, err)
				time.Sleep(c.kept - time.Second)
				broken = false
				require.NoError(t, client.Requeue(t.Context(), h.ID()))
				synctest.Wait()
				if name != "expired before run" && name != "short ResultTTL" {
					got, err := h.Wait(t.Context())
					require.NoError(t, err)
					assert.Equal(t, 42, got)
				}
			})
		})
	}
}

// A worker keeps a task that succeeds if it was enqueued with KeepTask, however its result is recorded.
func TestKeepTask(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		plain := omniq.DefineArgs("plain", func(_ context.Context, a omniq.Args1[int]) (int, error) { return a.V1, nil })
		tx := omniq.DefineArgs("tx", func(ctx context.Context, a omniq.Args1[int]) (int, error) {
			tx := b.Begin()
			if err := omniq.CompleteTx(ctx, tx, a.V1); err != nil {
				return 0, err
			}
			return a.V1, tx.Commit()
		}, omniq.KeepTask())
		batch := omniq.DefineBatch("batch", func(_ context.Context, items []*omniq.Item[omniq.Args1[int], int]) error {
			for _, i := range items {
				i.Succeed(i.Args.V1)
			}
			return nil
		}, omniq.UpTo(2, 0), omniq.KeepTask())
		run(t, b, omniq.Handlers(plain, tx, batch))
		kept := func(h *omniq.Handle[int], err error) *omniq.RawTask {
			t.Helper()
			require.NoError(t, err)
			_, err = h.Wait(t.Context())
			require.NoError(t, err)
			info, err := client.Inspect(t.Context(), h.ID())
			require.NoError(t, err)
			return info.Task
		}
		assert.Nil(t, kept(plain.Enqueue(t.Context(), client, omniq.MakeArgs1(7))))
		for _, task := range []*omniq.RawTask{
			kept(plain.Enqueue(t.Context(), client, omniq.MakeArgs1(7), omniq.KeepTask())), kept(tx.Enqueue(t.Context(), client, omniq.MakeArgs1(7))),
			kept(batch.Enqueue(t.Context(), client, omniq.MakeArgs1(7))),
		} {
			require.NotNil(t, task)
			assert.Equal(t, "[7]", string(task.Args))
		}
	})
}
