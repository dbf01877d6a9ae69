package omniq_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
	"github.com/omniq-go/omniq/internal/bubble"
)

// lease leases tasks without waiting.
func (p *pair) lease(t testing.TB, r omniq.LeaseRequest) []omniq.Lease {
	t.Helper()
	r.Duration, r.WorkerID = time.Minute, "w"
	leases, err := p.Lease(t.Context(), r)
	require.NoError(t, err)
	return leases
}

func leased(leases []omniq.Lease) (names []string) {
	for _, l := range leases {
		name := l.Task.FuncName
		if !l.Started {
			name += " ahead"
		}
		names = append(names, name)
	}
	return names
}

// Tasks are leased by the order of the queues first, wherever these live, and no more than may be.
func TestRouteLeasesInOrder(t *testing.T) {
	for name, tt := range map[string]struct {
		request omniq.LeaseRequest
		want    []string
	}{
		"all":            {omniq.LeaseRequest{Queues: []string{"one-a", "two-b", "one-c"}, Max: 9}, []string{"a1", "a2", "b1", "b2", "c1", "c2"}},
		"backwards":      {omniq.LeaseRequest{Queues: []string{"one-c", "two-b", "one-a"}, Max: 3}, []string{"c1", "c2", "b1"}},
		"some ahead":     {omniq.LeaseRequest{Queues: []string{"one-a", "two-b"}, Max: 3, Ahead: 2}, []string{"a1", "a2 ahead", "b1 ahead"}},
		"more than some": {omniq.LeaseRequest{Queues: []string{"one-a", "two-b"}, Max: 4, Ahead: 1}, []string{"a1", "a2", "b1", "b2 ahead"}},
		"with limits": {
			omniq.LeaseRequest{Queues: []string{"one-a", "two-b", "one-c"}, Max: 4, Limits: []int{1, 1, 3}}, []string{"a1", "b1", "c1", "c2"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t)
			for _, queue := range []string{"two-b", "one-c", "one-a"} {
				for i := range 2 {
					p.put(t, p.task(queue, func(t *omniq.RawTask) { t.FuncName = fmt.Sprint(queue[4:], i+1) }))
				}
			}
			assert.Equal(t, tt.want, leased(p.lease(t, tt.request)))
		})
	}
	p := newPair(t)
	for _, r := range []omniq.LeaseRequest{
		{Queues: []string{"one-a", "two-b"}}, {Queues: []string{"one-a", "two-b"}, Max: 1, Limits: []int{1}},
		{Queues: []string{"one-a", "two-b"}, Max: 1, Limits: []int{1, 0}}, {Max: 1}, {Queues: []string{"one-a", "two-b"}, Max: 1, Ahead: 2},
	} {
		r.Duration = time.Minute
		_, err := p.Lease(t.Context(), r)
		require.ErrorIs(t, err, omniq.ErrInvalid, "%+v", r)
	}
}

// A Lease that waits gets the task that comes first, in whichever backend, and is over when its Wait is.
func TestRouteLeaseWaits(t *testing.T) {
	for _, queue := range []string{"one-a", "two-b", ""} {
		bubble.Test(t, func(t *testing.T) {
			p := newPair(t)
			began := time.Now()
			go func() {
				if time.Sleep(20 * time.Second); queue != "" {
					_, err := p.Enqueue(t.Context(), []*omniq.RawTask{p.task(queue)})
					assert.NoError(t, err)
				}
			}()
			leases := p.lease(t, omniq.LeaseRequest{Queues: []string{"one-a", "two-b"}, Max: 10, Wait: time.Minute})
			if queue == "" {
				assert.Empty(t, leases)
				assert.Equal(t, time.Minute, time.Since(began))
				return
			}
			require.Len(t, leases, 1)
			assert.Equal(t, queue, leases[0].Task.Queue)
			assert.True(t, leases[0].Started)
			assert.Equal(t, 20*time.Second, time.Since(began))
		})
	}
}

func TestRouteLeaseEndsWithItsContext(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		p := newPair(t)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		r := omniq.LeaseRequest{Queues: []string{"one-a", "two-b"}, Max: 1, Duration: time.Minute, Wait: time.Hour}
		_, err := p.Lease(ctx, r)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		_, err = p.Lease(ctx, r)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Zero(t, p.log.count(slog.LevelError), &p.log)
	})
}

// eager is a backend that hands tasks out when a call that waits is ended, a while after that.
type eager struct {
	omniq.Backend
	after time.Duration
}

func (e *eager) Lease(ctx context.Context, r omniq.LeaseRequest) ([]omniq.Lease, error) {
	if r.Wait > 0 {
		<-ctx.Done()
		time.Sleep(e.after)
		r.Wait = 0
	}
	return e.Backend.Lease(context.WithoutCancel(ctx), r)
}

// What two backends hand out at once is no more than may be: the rest is given back at once, and no attempt is used. One that takes
// long to end its call holds nobody up.
func TestRouteLeasesTooMuch(t *testing.T) {
	for after, took := range map[time.Duration]time.Duration{0: 0, 10 * time.Second: time.Second} {
		for max, want := range map[int]int{1: 1, 2: 2} {
			bubble.Test(t, func(t *testing.T) {
				one, two := memory.New(), memory.New()
				b, err := omniq.Route(map[string]omniq.Backend{"one": one, "two": &eager{two, after}}, byPrefix)
				require.NoError(t, err)
				defer func() { assert.NoError(t, b.Close()) }()
				p := &pair{Backend: b}
				var began time.Time
				go func() {
					time.Sleep(time.Second)
					began = time.Now()
					_, err := two.Enqueue(context.Background(), []*omniq.RawTask{p.task("two-b")})
					assert.NoError(t, err)
					_, err = one.Enqueue(context.Background(), []*omniq.RawTask{p.task("one-a")})
					assert.NoError(t, err)
				}()
				r := omniq.LeaseRequest{Queues: []string{"one-a", "two-b"}, Max: max, Wait: time.Minute}
				leases := p.lease(t, r)
				if after > 0 {
					want = 1
				}
				require.Len(t, leases, want)
				assert.Equal(t, took, time.Since(began))
				time.Sleep(after + time.Millisecond)
				r.Wait, r.Max = 0, 2
				leases = append(leases, p.lease(t, r)...)
				require.Len(t, leases, 2)
				for _, l := range leases {
					assert.Equal(t, 1, l.Attempt)
				}
				assert.ElementsMatch(t, []string{"one-a", "two-b"}, []string{leases[0].Task.Queue, leases[1].Task.Queue})
			})
		}
	}
}

// While two backends have tasks and a worker has one place, each task is run once, and none is lost.
func TestRouteRunsEachTaskOnce(t *testing.T) {
	p := newPair(t)
	var mu sync.Mutex
	ran := map[int]int{}
	d := omniq.DefineArgsVoid("once", func(ctx context.Context, a omniq.Args1[int]) error {
		info, _ := omniq.InfoFrom(ctx)
		mu.Lock()
		defer mu.Unlock()
		ran[a.V1] += info.Attempt
		return nil
	})
	workers := []running{}
	for i := range 3 {
		workers = append(workers, run(t, p.Backend, omniq.Handlers(d), omniq.Queues("one-a", "two-b", "one-c"), omniq.Concurrency(1+2*i)))
	}
	const n = 600
	var handles []*omniq.Handle[omniq.Void]
	for i := range n {
		h, err := d.Enqueue(t.Context(), p.client, omniq.MakeArgs1(i), omniq.Queue([]string{"one-a", "two-b", "one-c"}[i%3]))
		require.NoError(t, err)
		handles = append(handles, h)
	}
	for _, h := range handles {
		_, err := h.Wait(t.Context())
		require.NoError(t, err)
	}
	for _, w := range workers {
		require.NoError(t, w.stop())
	}
	require.Len(t, ran, n)
	for i, times := range ran {
		assert.Equal(t, 1, times, i)
	}
}

// One backend in trouble holds the tasks of another one up no longer than Route says, comes back soon after that is over, and is in
// the log.
func TestRouteWorksBesideTrouble(t *testing.T) {
	for name, tt := range map[string]struct {
		trouble func(context.Context) error
		stall   time.Duration // of the others
		back    time.Duration // until it is asked again
		message string
	}{
		"it fails":     {onFire, 0, 5 * time.Second, errTrouble.Error()},
		"it is silent": {silence, 5 * time.Second, 30 * time.Second, "no answer within 5s"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				p := newPair(t)
				d := omniq.DefineNoArgs("work", func(context.Context) (int, error) { return 1, nil })
				w := run(t, p.Backend, omniq.Handlers(d), omniq.Queues("two-b", "one-a"), omniq.WithoutSchedules(), p.log.option())
				work := func(queue string) time.Duration {
					began := time.Now()
					h, err := d.Enqueue(t.Context(), p.client, omniq.Queue(queue))
					require.NoError(t, err)
					_, err = h.Wait(t.Context())
					require.NoError(t, err)
					return time.Since(began)
				}
				assert.Zero(t, work("one-a")+work("two-b"))
				p.two.set(tt.trouble, false)
				var all, longest time.Duration
				for range 300 {
					took := work("one-a")
					all, longest = all+took, max(longest, took)
					time.Sleep(time.Second)
				}
				assert.LessOrEqual(t, longest, tt.stall)
				assert.LessOrEqual(t, all, 10*tt.stall, "of 300 s and what was lost")
				require.NoError(t, w.Health().Err)
				assert.Positive(t, p.log.count(slog.LevelError, "backend=two", tt.message), &p.log)
				assert.Less(t, p.log.count(slog.LevelError, "backend=two"), 80, "not each time that it is left out")
				p.two.set(nil, false)
				assert.LessOrEqual(t, work("two-b"), tt.back)
				assert.Equal(t, 1, p.log.count(slog.LevelInfo, "backend=two"), &p.log)
				assert.Zero(t, work("two-b"))
				require.NoError(t, w.stop())
			})
		})
	}
}

// With all backends of its queues in trouble, a Lease fails as it does with one; and the worker goes on when that is over.
func TestRouteWithAllInTrouble(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		p := newPair(t)
		p.one.set(onFire, false)
		p.two.set(onFire, false)
		r := omniq.LeaseRequest{Queues: []string{"one-a", "two-b"}, Max: 1, Duration: time.Minute, Wait: time.Hour}
		for range 3 {
			_, err := p.Lease(t.Context(), r)
			require.ErrorIs(t, err, errTrouble)
			require.ErrorContains(t, err, `backend "two": `)
		}
		p.one.set(nil, false)
		p.put(t, p.task("one-a"))
		assert.Len(t, p.lease(t, r), 1)
	})
}

// A backend that gets into trouble while a Lease waits in it is asked again in that Lease.
func TestRouteLeaseSurvivesTrouble(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		p := newPair(t)
		end := make(chan error)
		calls := 0
		p.two.set(func(context.Context) error {
			if calls++; calls == 1 {
				return nil // there is nothing, and it waits
			}
			return <-end
		}, false)
		got := make(chan []omniq.Lease)
		go func() {
			r := omniq.LeaseRequest{Queues: []string{"one-a", "two-b"}, Max: 1, Duration: time.Minute, WorkerID: "w", Wait: time.Hour}
			leases, err := p.Lease(t.Context(), r)
			assert.NoError(t, err)
			got <- leases
		}()
		time.Sleep(time.Second)
		end <- errTrouble
		p.two.set(nil, false)
		p.put(t, p.task("two-b"))
		began := time.Now()
		leases := <-got
		require.Len(t, leases, 1)
		assert.LessOrEqual(t, time.Since(began), 50*time.Millisecond)
	})
}

// What a worker settles, starts, notes and extends goes to the backend that has the task, and each counts for itself.
func TestRouteSettlesInTrouble(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		p := newPair(t)
		p.put(t, p.task("one-a"), p.task("two-b"), p.task("one-a"))
		leases := p.lease(t, omniq.LeaseRequest{Queues: []string{"one-a", "two-b"}, Max: 3, Ahead: 3})
		ids := []omniq.LeaseID{leases[0].LeaseID, leases[2].LeaseID, {TaskID: uuid.New(), Token: "three:x"}, leases[1].LeaseID}
		errs, err := p.Start(t.Context(), ids)
		require.NoError(t, err)
		require.ErrorIs(t, errs[2], omniq.ErrLeaseLost)
		assert.Equal(t, []error{nil, nil}, errs[:2])
		errs, err = p.Extend(t.Context(), []omniq.LeaseID{{TaskID: ids[0].TaskID, Token: ids[1].Token}, ids[1]}, time.Hour)
		require.NoError(t, err)
		require.ErrorIs(t, errs[0], omniq.ErrLeaseLost)
		require.NoError(t, errs[1])

		var settlements []omniq.Settlement
		for _, id := range ids {
			settlements = append(settlements, omniq.Settlement{LeaseID: id, Action: omniq.ActionRelease})
		}
		p.two.set(onFire, false)
		errs, err = p.Settle(t.Context(), settlements)
		require.NoError(t, err)
		assert.Equal(t, []error{nil, nil}, []error{errs[0], errs[3]})
		require.ErrorIs(t, errs[1], errTrouble)
		require.ErrorIs(t, errs[2], omniq.ErrLeaseLost)
		p.two.set(silence, false)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		errs, err = p.Settle(ctx, settlements)
		require.NoError(t, err)
		require.ErrorIs(t, errs[1], omniq.ErrUncertain, "it may have been done")
		p.two.set(onFire, false)
		p.one.set(onFire, false)
		_, err = p.Settle(t.Context(), settlements)
		require.ErrorIs(t, err, errTrouble)
		p.one.set(nil, false)
		p.two.set(nil, false)
		errs, err = p.Settle(t.Context(), settlements[1:2])
		require.NoError(t, err)
		assert.Empty(t, errs)
	})
}

// forgetful is a backend that does not answer its first Settle, which it does.
type forgetful struct {
	omniq.Backend
	calls atomic.Int32
}

func (f *forgetful) Settle(ctx context.Context, s []omniq.Settlement) ([]error, error) {
	errs, err := f.Backend.Settle(ctx, s)
	if f.calls.Add(1) == 1 {
		return nil, silence(ctx)
	}
	return errs, err
}

// A settlement whose answer is lost in one backend may have been done, and the worker knows.
func TestRouteSettlementWhoseAnswerIsLost(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, err := omniq.Route(map[string]omniq.Backend{"one": memory.New(), "two": &forgetful{Backend: memory.New()}}, byPrefix)
		require.NoError(t, err)
		defer func() { assert.NoError(t, b.Close()) }()
		var log logbook
		gate := make(chan struct{})
		d := omniq.DefineNoArgs("work", func(context.Context) (int, error) { <-gate; return 7, nil })
		w := run(t, b, omniq.Handlers(d), omniq.Queues("one-a", "two-b"), omniq.WithoutSchedules(), omniq.Prefetch(0), log.option())
		client := newClient(t, b)
		one, err := d.Enqueue(t.Context(), client, omniq.Queue("one-a"))
		require.NoError(t, err)
		two, err := d.Enqueue(t.Context(), client, omniq.Queue("two-b"))
		require.NoError(t, err)
		synctest.Wait()
		close(gate)
		for _, h := range []*omniq.Handle[int]{one, two} {
			n, err := h.Wait(t.Context())
			require.NoError(t, err)
			assert.Equal(t, 7, n)
		}
		require.NoError(t, w.stop())
		assert.Equal(t, 1, log.count(slog.LevelWarn, "the answer was lost"), &log)
	})
}

// Cancels are told from both backends.
func TestRouteRevokes(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		p := newPair(t)
		var ended sync.WaitGroup
		d := omniq.DefineNoArgs("work", func(ctx context.Context) (int, error) {
			defer ended.Done()
			<-ctx.Done()
			assert.ErrorIs(t, context.Cause(ctx), omniq.ErrCancelled)
			return 0, ctx.Err()
		})
		run(t, p.Backend, omniq.Handlers(d), omniq.Queues("one-a", "two-b"), omniq.WithoutSchedules())
		began := time.Now()
		for range 3 {
			ended.Add(2)
			for _, queue := range []string{"one-a", "two-b"} {
				h, err := d.Enqueue(t.Context(), p.client, omniq.Queue(queue))
				require.NoError(t, err)
				synctest.Wait()
				require.NoError(t, h.Cancel(t.Context()))
			}
			ended.Wait()
		}
		assert.Zero(t, time.Since(began))
	})
}
