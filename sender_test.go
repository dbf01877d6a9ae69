package omniq_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/bubble"
)

// answers is a backend whose calls of Enqueue are answered as it is told: done or not, and with an error or not.
type answers []answer

type answer struct {
	done bool
	err  error
}

var (
	errLost    = fmt.Errorf("%w: connection reset", omniq.ErrUncertain)
	errRefused = errors.New("connection refused")
)

// through makes m's Enqueue answer so, and as b does when there is no further answer. It returns how often it was called.
func (a answers) through(m *meddler, b omniq.Backend) *int {
	calls := new(int)
	var mu sync.Mutex
	m.enqueue = func(ctx context.Context, tasks []*omniq.RawTask) ([]error, error) {
		mu.Lock()
		next := answer{done: true}
		if *calls < len(a) {
			next = a[*calls]
		}
		*calls++
		mu.Unlock()
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", omniq.ErrUncertain, ctx.Err())
		}
		if !next.done {
			return nil, next.err
		}
		errs, err := b.Enqueue(ctx, tasks)
		if next.err != nil {
			return nil, next.err
		}
		return errs, err
	}
	return calls
}

func TestLostAnswerToAnEnqueue(t *testing.T) {
	for name, c := range map[string]struct {
		answers answers
		calls   int
		want    error // nil for success
		stored  bool
	}{
		"done":                       {answers{{true, errLost}}, 2, nil, true},
		"not done":                   {answers{{false, errLost}}, 2, nil, true},
		"done, and down for a while": {answers{{true, errLost}, {false, errRefused}, {false, errRefused}}, 4, nil, true},
		"lost twice":                 {answers{{true, errLost}, {true, errLost}}, 3, nil, true},
		"another error":              {answers{{false, errRefused}}, 1, errRefused, false},
		"for long": {
			answers{{true, errLost}, {false, errRefused}, {false, errRefused}, {false, errRefused}, {false, errRefused}, {false, errRefused}},
			6, omniq.ErrUncertain, true,
		},
	} {
		for kind, shared := range map[string]bool{"alone": false, "gathering": true} {
			t.Run(name+", "+kind, func(t *testing.T) {
				bubble.Test(t, func(t *testing.T) {
					b, _ := newMemory(t)
					m := &meddler{Backend: b, shared: shared}
					calls := c.answers.through(m, b)
					client := newClient(t, m)
					start := time.Now()
					task := rawTask()
					err := client.Enqueue(t.Context(), task)
					if c.want != nil {
						require.ErrorIs(t, err, c.want)
					} else {
						require.NoError(t, err)
					}
					assert.Equal(t, c.calls, *calls)
					assert.Less(t, time.Since(start), 4*time.Second)
					_, err = b.Inspect(t.Context(), task.ID)
					assert.Equal(t, c.stored, err == nil)
				})
			})
		}
	}
}

// Of what is no doubt, a duplicate stays one: at the first call, and among the tasks of one call.
func TestDuplicatesAreNotHidden(t *testing.T) {
	for kind, shared := range map[string]bool{"alone": false, "gathering": true} {
		t.Run(kind, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				b, _ := newMemory(t)
				m := &meddler{Backend: b, shared: shared}
				client := newClient(t, m)
				first, holder := rawTask(), rawTask()
				holder.UniqueKey = "key"
				require.NoError(t, client.Enqueue(t.Context(), first, holder))
				require.ErrorIs(t, client.Enqueue(t.Context(), first), omniq.ErrDuplicate)

				answers{{true, errLost}}.through(m, b)
				fresh, second := rawTask(), rawTask()
				second.UniqueKey = "key"
				err := client.Enqueue(t.Context(), fresh, fresh, second)
				var e *omniq.DuplicateError
				require.ErrorAs(t, err, &e)
				assert.Equal(t, []omniq.Duplicate{{ID: fresh.ID, Holder: fresh.ID}, {ID: second.ID, Holder: holder.ID}}, e.Duplicates)
			})
		})
	}
}

// Callers whose calls went together each hear that their own tasks are stored.
func TestLostAnswerToASharedCall(t *testing.T) {
	for name, c := range map[string]answers{
		"done":                             {{true, nil}, {true, errLost}},
		"not done":                         {{true, nil}, {false, errLost}},
		"done, and down when tried alone":  {{true, nil}, {true, errLost}, {false, errRefused}, {false, errRefused}, {false, errRefused}},
		"done, and lost again and again":   {{true, nil}, {true, errLost}, {true, errLost}, {true, errLost}},
		"not done, lost again and again":   {{true, nil}, {false, errLost}, {false, errLost}, {true, errLost}},
		"done, and refused for some tries": {{true, nil}, {true, errLost}, {false, errRefused}, {true, errLost}, {false, errRefused}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				b, _ := newMemory(t)
				m := &meddler{Backend: b, shared: true}
				c.through(m, b)
				client := newClient(t, m)
				same := rawTask()
				errs := make([]error, 20)
				var wg sync.WaitGroup
				for i := range errs {
					wg.Go(func() {
						task := rawTask()
						if i == 5 || i == 6 {
							task = same
						}
						errs[i] = client.Enqueue(context.Background(), task)
					})
					if i == 0 {
						synctest.Wait() // the others gather for the second call
					}
				}
				wg.Wait()
				for i, err := range errs {
					if i == 5 || i == 6 {
						continue
					}
					assert.NoError(t, err, i)
				}
				assert.False(t, errs[5] == nil && errs[6] == nil, "one of two with one ID is a duplicate")
				assert.True(t, errs[5] == nil || errs[6] == nil, "and only one: %v, %v", errs[5], errs[6])
			})
		})
	}
}

func TestLostAnswerWhenTheContextEnds(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, _ := newMemory(t)
		m := &meddler{Backend: b, shared: true}
		calls := answers{{false, errLost}, {false, errLost}, {false, errLost}, {false, errLost}, {false, errLost}, {false, errLost}}.through(m, b)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		start := time.Now()
		err := newClient(t, m).Enqueue(ctx, rawTask())
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, omniq.ErrUncertain)
		assert.Equal(t, 100*time.Millisecond, time.Since(start))
		assert.Less(t, *calls, 4)
	})
}

// In a caller's transaction nothing is repeated: it may have ended.
func TestLostAnswerInATransaction(t *testing.T) {
	b, client := newMemory(t)
	m := &meddler{Backend: b}
	calls := answers{{true, errLost}}.through(m, b)
	require.ErrorIs(t, client.Through(m).Enqueue(t.Context(), rawTask()), omniq.ErrUncertain)
	assert.Equal(t, 1, *calls)
}
