package omniq_test

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/bubble"
)

func TestTimeoutEndsTheContext(t *testing.T) {
	for name, c := range map[string]struct {
		worker []omniq.WorkerOption
		task   []omniq.TaskOption
		want   time.Duration
	}{
		"of the task":       {nil, []omniq.TaskOption{omniq.Timeout(2 * time.Second)}, 2 * time.Second},
		"of the worker":     {[]omniq.WorkerOption{omniq.Timeout(3 * time.Second)}, nil, 3 * time.Second},
		"the task's counts": {[]omniq.WorkerOption{omniq.Timeout(3 * time.Second)}, []omniq.TaskOption{omniq.Timeout(4 * time.Second)}, 4 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				b, client := newMemory(t)
				start := time.Now()
				d := omniq.DefineNoArgsVoid("slow", func(ctx context.Context) error {
					deadline, ok := ctx.Deadline()
					assert.True(t, ok)
					assert.Equal(t, c.want, deadline.Sub(start))
					<-ctx.Done()
					assert.Equal(t, c.want, time.Since(start))
					assert.Equal(t, context.DeadlineExceeded, ctx.Err())
					assert.Equal(t, omniq.ErrTimeout, context.Cause(ctx))
					return ctx.Err()
				}, omniq.Retries(0))
				run(t, b, append(c.worker, omniq.Handlers(d))...)
				h, err := d.Enqueue(t.Context(), client, c.task...)
				require.NoError(t, err)
				_, err = h.Wait(t.Context())
				require.ErrorIs(t, err, omniq.ErrTimeout)
				e := taskError(t, err)
				assert.Contains(t, e.Message, "no result within "+c.want.String())
				assert.True(t, e.Retryable)
				assert.Equal(t, c.want, time.Since(start))
			})
		})
	}
}

// The place of an attempt that timed out is taken until its handler returns: attempts do not overlap.
func TestTimedOutAttemptKeepsItsPlace(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		start := time.Now()
		var running atomic.Int32
		var starts []time.Duration
		deaf := omniq.DefineNoArgsVoid("deaf", func(context.Context) error {
			assert.EqualValues(t, 1, running.Add(1))
			defer running.Add(-1)
			starts = append(starts, time.Since(start))
			time.Sleep(10 * time.Second)
			return errOops
		}, omniq.Timeout(2*time.Second), omniq.Retries(1))
		other := omniq.DefineNoArgs("other", func(context.Context) (time.Duration, error) {
			assert.Zero(t, running.Load())
			return time.Since(start), nil
		})
		run(t, b, omniq.Handlers(deaf, other), omniq.Concurrency(1))
		h, err := deaf.Enqueue(t.Context(), client)
		require.NoError(t, err)
		synctest.Wait()
		ho, err := other.Enqueue(t.Context(), client)
		require.NoError(t, err)
		at, err := ho.Wait(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 10*time.Second, at)
		_, err = h.Wait(t.Context())
		require.ErrorIs(t, err, omniq.ErrTimeout)
		assert.Contains(t, taskError(t, err).Message, "oops")
		assert.Equal(t, seconds(0, 11), starts)
	})
}

func TestResultAfterTheTimeoutCounts(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		d := omniq.DefineNoArgs("late", func(context.Context) (int, error) {
			time.Sleep(time.Minute)
			return 42, nil
		}, omniq.Timeout(time.Second))
		run(t, b, omniq.Handlers(d))
		h, err := d.Enqueue(t.Context(), client)
		require.NoError(t, err)
		got, err := h.Wait(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 42, got)
	})
}

func TestPanicAfterTheTimeoutIsAPanic(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		d := omniq.DefineNoArgsVoid("late", func(ctx context.Context) error {
			<-ctx.Done()
			panic("late")
		}, omniq.Timeout(time.Second), omniq.Retries(0))
		run(t, b, omniq.Handlers(d))
		h, err := d.Enqueue(t.Context(), client)
		require.NoError(t, err)
		_, err = h.Wait(t.Context())
		assert.Equal(t, "omniq.Panic", taskError(t, err).Type)
	})
}

func TestTTL(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		var ran atomic.Int32
		d := omniq.DefineArgsVoid("sleep", func(_ context.Context, a omniq.Args1[time.Duration]) error {
			ran.Add(1)
			time.Sleep(a.V1)
			return nil
		})
		start := time.Now()
		t.Log("before a worker is there")
		h, err := d.Enqueue(t.Context(), client, omniq.MakeArgs1(time.Duration(0)), omniq.TTL(time.Second))
		require.NoError(t, err)
		_, err = h.Wait(t.Context())
		require.ErrorIs(t, err, omniq.ErrExpired)
		assert.Equal(t, time.Second, time.Since(start))
		assert.Zero(t, attempts(t, client, h.ID()))

		t.Log("while the worker is busy")
		run(t, b, omniq.Handlers(d), omniq.Concurrency(1))
		long, err := d.Enqueue(t.Context(), client, omniq.MakeArgs1(time.Minute), omniq.TTL(2*time.Second))
		require.NoError(t, err)
		synctest.Wait()
		short, err := d.Enqueue(t.Context(), client, omniq.MakeArgs1(time.Duration(0)), omniq.TTL(5*time.Second))
		require.NoError(t, err)
		_, err = short.Wait(t.Context())
		require.ErrorIs(t, err, omniq.ErrExpired)
		assert.Equal(t, 6*time.Second, time.Since(start))
		_, err = long.Wait(t.Context())
		require.NoError(t, err, "a TTL bounds the start, not the end")
		assert.EqualValues(t, 1, ran.Load())
	})
}

func TestTTLBetweenAttempts(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		f := newFailer(oops)
		run(t, b, omniq.Handlers(f))
		h, err := f.Enqueue(t.Context(), client, omniq.TTL(2*time.Second))
		require.NoError(t, err)
		_, err = h.Wait(t.Context())
		require.ErrorIs(t, err, omniq.ErrExpired)
		assert.Equal(t, seconds(0, 1), f.starts)
		assert.Equal(t, 2, attempts(t, client, h.ID()))
	})
}

// A task does not start when its TTL has passed since it was leased.
func TestTTLPassesBeforeTheStart(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		var ran atomic.Int32
		d := omniq.DefineNoArgsVoid("slow", func(context.Context) error {
			ran.Add(1)
			time.Sleep(3 * time.Second)
			return nil
		})
		var log logbook
		m := unstarted(b)
		m.start = func(ctx context.Context, leases []omniq.LeaseID) ([]error, error) {
			time.Sleep(2 * time.Second)
			return b.Start(ctx, leases)
		}
		run(t, m, omniq.Handlers(d), omniq.Concurrency(1), log.option())
		first, err := d.Enqueue(t.Context(), client)
		require.NoError(t, err)
		time.Sleep(4500 * time.Millisecond)
		h, err := d.Enqueue(t.Context(), client, omniq.TTL(time.Second))
		require.NoError(t, err)
		_, err = h.Wait(t.Context())
		require.ErrorIs(t, err, omniq.ErrExpired)
		assert.Zero(t, attempts(t, client, h.ID()))
		_, err = first.Wait(t.Context())
		require.NoError(t, err)
		synctest.Wait()
		assert.EqualValues(t, 1, ran.Load())
		assert.Equal(t, 1, log.count(slog.LevelWarn, "expired", h.ID().String()), "\n%s", &log)
	})
}

// meddler is a backend with some methods in other hands.
type meddler struct {
	omniq.Backend
	shared  bool // it says so
	enqueue func(context.Context, []*omniq.RawTask) ([]error, error)
	lease   func(context.Context, omniq.LeaseRequest) ([]omniq.Lease, error)
	extend  func(context.Context, []omniq.LeaseID, time.Duration) ([]error, error)
	start   func(context.Context, []omniq.LeaseID) ([]error, error)
	settle  func(context.Context, []omniq.Settlement) ([]error, error)
	revoked func(context.Context, string) ([]omniq.LeaseID, error)
}

func (m *meddler) Capabilities() omniq.Capabilities {
	caps := m.Backend.Capabilities()
	caps.Shared = m.shared
	return caps
}

func (m *meddler) Enqueue(ctx context.Context, tasks []*omniq.RawTask) ([]error, error) {
	if m.enqueue != nil {
		return m.enqueue(ctx, tasks)
	}
	return m.Backend.Enqueue(ctx, tasks)
}

func (m *meddler) Lease(ctx context.Context, r omniq.LeaseRequest) ([]omniq.Lease, error) {
	if m.lease != nil {
		return m.lease(ctx, r)
	}
	return m.Backend.Lease(ctx, r)
}

func (m *meddler) Start(ctx context.Context, leases []omniq.LeaseID) ([]error, error) {
	if m.start != nil {
		return m.start(ctx, leases)
	}
	return m.Backend.Start(ctx, leases)
}

func (m *meddler) Extend(ctx context.Context, leases []omniq.LeaseID, by time.Duration) ([]error, error) {
	if m.extend != nil {
		return m.extend(ctx, leases, by)
	}
	return m.Backend.Extend(ctx, leases, by)
}

func (m *meddler) Settle(ctx context.Context, s []omniq.Settlement) ([]error, error) {
	if m.settle != nil {
		return m.settle(ctx, s)
	}
	return m.Backend.Settle(ctx, s)
}

func (m *meddler) Revoked(ctx context.Context, worker string) ([]omniq.LeaseID, error) {
	if m.revoked != nil {
		return m.revoked(ctx, worker)
	}
	return m.Backend.Revoked(ctx, worker)
}

// An attempt knows how long its task was due: before it was leased, and then in the worker.
func TestInfoTellsTheWait(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		waited := make(map[int][]time.Duration) // of each task, by the attempt
		d := omniq.DefineArgs("wait", func(ctx context.Context, args omniq.Args1[int]) (omniq.Void, error) {
			info, _ := omniq.InfoFrom(ctx)
			waited[args.V1] = append(waited[args.V1], info.Waited)
			time.Sleep(10 * time.Second)
			if again, _ := omniq.InfoFrom(ctx); again.Waited != info.Waited {
				t.Error("the wait is over when the handler has begun")
			}
			if info.Attempt == 1 {
				return omniq.Void{}, omniq.RetryAfter(time.Hour, errOops)
			}
			return omniq.Void{}, nil
		})
		var handles []*omniq.Handle[omniq.Void]
		for i := range 2 {
			h, err := d.Enqueue(t.Context(), client, omniq.MakeArgs1(i), omniq.Delay(time.Minute))
			require.NoError(t, err)
			handles = append(handles, h)
		}
		time.Sleep(time.Minute + time.Second)
		var l ledger
		run(t, b, omniq.Handlers(d), omniq.Concurrency(1), l.option())
		for _, h := range handles {
			_, err := h.Wait(t.Context())
			require.NoError(t, err)
		}
		assert.Equal(t, map[int][]time.Duration{
			0: {time.Second, 0},
			1: {11 * time.Second, 0}, // it waited for the first one's place
		}, waited)
		synctest.Wait()
		assert.Equal(t, 11*time.Second, l.settled()[1].Info.Waited)
	})
}
