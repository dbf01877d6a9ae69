package batch_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq/internal/batch"
	"github.com/omniq-go/omniq/internal/bubble"
)

// engine records its calls, each of which takes a second.
type engine struct {
	mu    sync.Mutex
	calls [][]int
	fail  func(items []int) ([]error, error)
}

func (e *engine) do(ctx context.Context, items []int) ([]error, error) {
	e.mu.Lock()
	e.calls = append(e.calls, slices.Clone(items))
	e.mu.Unlock()
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if e.fail != nil {
		return e.fail(items)
	}
	return nil, nil
}

// together calls Do once for each of the items, the first some time before the others, and returns what each got.
func together(g *batch.Group[int], calls ...[]int) (errs [][]error, failures []error) {
	errs, failures = make([][]error, len(calls)), make([]error, len(calls))
	var wg sync.WaitGroup
	for i, items := range calls {
		wg.Go(func() { errs[i], failures[i] = g.Do(context.Background(), items) })
		synctest.Wait()
	}
	wg.Wait()
	return errs, failures
}

func TestAloneAtOnce(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		e := &engine{}
		g := batch.New(e.do, nil)
		start := time.Now()
		for i := range 3 {
			errs, err := g.Do(t.Context(), []int{i})
			require.NoError(t, err)
			assert.Nil(t, errs)
		}
		assert.Equal(t, [][]int{{0}, {1}, {2}}, e.calls)
		assert.Equal(t, 3*time.Second, time.Since(start), "nothing is added to the engine's time")
	})
}

func TestGathersWhileOneIsInFlight(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		e := &engine{}
		start := time.Now()
		_, failures := together(batch.New(e.do, nil), []int{1}, []int{2, 3}, []int{4}, []int{5, 6, 7})
		assert.Equal(t, make([]error, 4), failures)
		assert.Equal(t, [][]int{{1}, {2, 3, 4, 5, 6, 7}}, e.calls)
		assert.InDelta(t, 2*time.Second, time.Since(start), gatherMost)
	})
}

// gatherMost is how much longer a call waits at the most for those who may come back.
const gatherMost = float64(2 * time.Millisecond)

// Callers that come back when they have their answers are together in each call, not half of them in each.
func TestGathersThoseWhoComeBack(t *testing.T) {
	for _, callers := range []int{1, 2, 8, 64} {
		bubble.Test(t, func(t *testing.T) {
			e := &engine{}
			g := batch.New(e.do, nil)
			start := time.Now()
			var all sync.WaitGroup
			const rounds = 20
			for i := range callers {
				all.Go(func() {
					for range rounds {
						_, err := g.Do(t.Context(), []int{i})
						assert.NoError(t, err)
						time.Sleep(time.Millisecond)
					}
				})
			}
			all.Wait()
			for _, call := range e.calls[2 : len(e.calls)-1] {
				assert.Len(t, call, callers)
			}
			assert.InDelta(t, rounds, time.Since(start).Seconds(), 2)
		})
	}
}

// Where callers do not come back those who wait hardly wait longer.
func TestThoseWhoDoNotComeBack(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		e := &engine{}
		g := batch.New(e.do, nil)
		start := time.Now()
		var all sync.WaitGroup
		for i := range 400 {
			time.Sleep(100 * time.Millisecond)
			all.Go(func() {
				_, err := g.Do(t.Context(), []int{i})
				assert.NoError(t, err)
			})
		}
		all.Wait()
		waited := time.Since(start) - time.Duration(len(e.calls))*time.Second
		assert.LessOrEqual(t, waited, 100*time.Millisecond+time.Duration(len(e.calls)/8+1)*2*time.Millisecond)
	})
}

func TestErrorsGoToTheirCallers(t *testing.T) {
	odd := errors.New("odd")
	bubble.Test(t, func(t *testing.T) {
		e := &engine{fail: func(items []int) ([]error, error) {
			errs := make([]error, len(items))
			for i, n := range items {
				if n%2 == 1 {
					errs[i] = odd
				}
			}
			return errs, nil
		}}
		errs, failures := together(batch.New(e.do, nil), []int{0}, []int{1, 2}, []int{4}, []int{6, 8, 3})
		assert.Equal(t, make([]error, 4), failures)
		assert.Equal(t, [][]error{{nil}, {odd, nil}, {nil}, {nil, nil, odd}}, errs)
		assert.Len(t, e.calls, 2)
	})
}

func TestFailureIsNotShared(t *testing.T) {
	poison := errors.New("poison")
	bubble.Test(t, func(t *testing.T) {
		e := &engine{fail: func(items []int) ([]error, error) {
			if slices.Contains(items, 13) {
				return nil, poison
			}
			return nil, nil
		}}
		start := time.Now()
		_, failures := together(batch.New(e.do, nil), []int{1}, []int{2}, []int{13}, []int{3})
		assert.Equal(t, []error{nil, nil, poison, nil}, failures)
		assert.Equal(t, [][]int{{1}, {2, 13, 3}}, e.calls[:2])
		assert.ElementsMatch(t, [][]int{{2}, {13}, {3}}, e.calls[2:])
		assert.InDelta(t, 3*time.Second, time.Since(start), gatherMost, "they do not wait for each other")
	})
}

// A failure whose effect is not known is each caller's, and no call is made again.
func TestFinalFailure(t *testing.T) {
	unknown := errors.New("unknown")
	bubble.Test(t, func(t *testing.T) {
		e := &engine{fail: func(items []int) ([]error, error) {
			if slices.Contains(items, 13) {
				return nil, fmt.Errorf("lost: %w", unknown)
			}
			return nil, nil
		}}
		g := batch.New(e.do, func(err error) bool { return errors.Is(err, unknown) })
		_, failures := together(g, []int{1}, []int{2}, []int{13}, []int{3})
		require.NoError(t, failures[0])
		for _, err := range failures[1:] {
			require.ErrorIs(t, err, unknown)
		}
		assert.Equal(t, [][]int{{1}, {2, 13, 3}}, e.calls)
	})
}

// An item that has to wait for somebody holds up nobody else: neither those that share its call, nor those that come
// later. So it is for one that comes alone.
func TestBlocked(t *testing.T) {
	for _, alone := range []bool{false, true} {
		bubble.Test(t, func(t *testing.T) {
			unblock := make(chan struct{})
			var mu sync.Mutex
			largest := 0 // of the calls with the item that succeeded
			g := batch.New(func(ctx context.Context, items []int) ([]error, error) {
				if !slices.Contains(items, 13) {
					time.Sleep(time.Second)
					return nil, nil
				}
				if batch.Shared(ctx) {
					return nil, fmt.Errorf("blocked: %w", batch.ErrBlocked)
				}
				<-unblock
				mu.Lock()
				defer mu.Unlock()
				largest = max(largest, len(items))
				return nil, nil
			}, nil)
			var done sync.WaitGroup
			call := func(item int, within time.Duration) {
				synctest.Wait()
				done.Go(func() {
					ctx, cancel := context.WithTimeout(t.Context(), within)
					defer cancel()
					_, err := g.Do(ctx, []int{item})
					assert.NoError(t, err, item)
				})
			}
			if !alone {
				call(1, 2*time.Second)
			}
			call(13, time.Hour)
			for i := range 40 {
				call(100+i, 3*time.Second+time.Millisecond) // their own call, one that fails, and one more
			}
			time.Sleep(time.Minute)
			call(2, time.Second+time.Millisecond)
			time.Sleep(time.Minute)
			close(unblock)
			done.Wait()
			assert.Equal(t, 1, largest)
		})
	}
}

func TestCallsAreBounded(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		e := &engine{}
		half := make([]int, batch.MaxItems/2)
		large := make([]int, 3*batch.MaxItems)
		together(batch.New(e.do, nil), []int{1}, half, half, []int{2}, large, []int{3})
		var sizes []int
		for _, c := range e.calls {
			sizes = append(sizes, len(c))
		}
		assert.Equal(t, []int{1, batch.MaxItems, 1, 3 * batch.MaxItems, 1}, sizes)
	})
}

func TestContextEndsAWait(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		e := &engine{}
		g := batch.New(e.do, nil)
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = g.Do(context.Background(), []int{1}) })
		synctest.Wait()

		ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		wg.Go(func() {
			start := time.Now()
			_, err := g.Do(ctx, []int{2})
			assert.ErrorIs(t, err, context.DeadlineExceeded)
			assert.Equal(t, time.Second/2, time.Since(start))
		})
		synctest.Wait()
		wg.Go(func() { _, _ = g.Do(context.Background(), []int{3}) })
		wg.Wait()
		assert.Equal(t, [][]int{{1}, {3}}, e.calls, "what was given up before its turn is not done")
	})
}

func TestContextOfTheCallerThatIsAlone(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		e := &engine{}
		g := batch.New(e.do, nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		_, err := g.Do(ctx, []int{1})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		_, err = g.Do(t.Context(), []int{2})
		require.NoError(t, err)
	})
}

// A shared call ends when nobody waits for it any more, and not before: a hanging engine does not block the group.
func TestSharedCallEndsWithItsLastCaller(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		hang := func(ctx context.Context, items []int) ([]error, error) {
			if items[0] == 1 {
				time.Sleep(time.Second)
				return nil, nil
			}
			if slices.Contains(items, 2) {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return nil, nil
		}
		g := batch.New(hang, nil)
		start := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = g.Do(context.Background(), []int{1}) })
		for _, patience := range []time.Duration{3 * time.Second, 5 * time.Second} {
			synctest.Wait()
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			wg.Go(func() {
				_, err := g.Do(ctx, []int{2})
				assert.ErrorIs(t, err, context.DeadlineExceeded)
				assert.Equal(t, patience, time.Since(start))
			})
		}
		time.Sleep(4 * time.Second) // the two are in flight, and one of them has left
		wg.Go(func() {
			_, err := g.Do(context.Background(), []int{3})
			assert.NoError(t, err)
			assert.Equal(t, 5*time.Second, time.Since(start))
		})
		wg.Wait()
	})
}

func TestManyCallers(t *testing.T) {
	var mu sync.Mutex
	done := map[int]bool{}
	g := batch.New(func(_ context.Context, items []int) ([]error, error) {
		mu.Lock()
		defer mu.Unlock()
		errs := make([]error, len(items))
		for i, n := range items {
			if done[n] {
				errs[i] = fmt.Errorf("%d twice", n)
			}
			done[n] = true
		}
		return errs, nil
	}, nil)
	const callers, calls = 16, 500
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := range calls {
				ctx := t.Context()
				if i%10 == 0 { // these leave at some moment
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, time.Duration(i)*time.Microsecond)
					defer cancel()
				}
				errs, err := g.Do(ctx, []int{c*calls + i})
				if i%10 != 0 {
					assert.NoError(t, err)
					assert.Equal(t, []error{nil}, errs)
				}
			}
		})
	}
	wg.Wait()
	assert.GreaterOrEqual(t, len(done), callers*calls*9/10)
	assert.LessOrEqual(t, len(done), callers*calls)
}

// Calls are gathered up to a weight, and one that is heavier is made by itself.
func TestBoundedByWeight(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		e := &engine{}
		g := batch.New(e.do, nil).Bounded(10, func(n int) int { return n })
		errs, failures := together(g, []int{1}, []int{4}, []int{3, 3}, []int{1}, []int{50}, []int{10}, []int{0})
		for i := range errs {
			assert.Empty(t, errs[i])
			require.NoError(t, failures[i])
		}
		assert.Equal(t, [][]int{{1}, {4, 3, 3}, {1}, {50}, {10, 0}}, e.calls)
	})
}
