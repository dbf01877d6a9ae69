package omniq_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/bubble"
)

// collect reads a stream to its end.
func collect[T any](t *testing.T, k omniq.StreamKey[T], h omniq.Handled) (all []T) {
	for v, err := range k.Of(t.Context(), h) {
		if !assert.NoError(t, err) {
			break
		}
		all = append(all, v)
	}
	return all
}

// upTo are the numbers from 0.
func upTo(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// Readers get all values in their order, whenever they come and however these were sent, and end with the task.
func TestStreamIsRead(t *testing.T) {
	for name, c := range map[string]struct {
		values int
		chunk  int // how many are sent at once
		pause  time.Duration
		end    error
	}{
		"nothing":       {},
		"one by one":    {values: 250, chunk: 1, pause: time.Millisecond},
		"at once":       {values: 2500, chunk: 2500},
		"in parts":      {values: 1000, chunk: 150, pause: time.Second},
		"and a failure": {values: 10, chunk: 3, pause: time.Second, end: omniq.Permanent(errOops)},
		"very slow":     {values: 3, chunk: 1, pause: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				b, client := newMemory(t)
				var done time.Time
				h := handle(t, b, client, func(ctx context.Context) error {
					if c.values > 0 {
						for part := range slices.Chunk(upTo(c.values), c.chunk) {
							if err := errors.Join(noteRows.Send(ctx, part...), noteTexts.Send(ctx, "<&>")); err != nil {
								return err
							}
							time.Sleep(c.pause)
						}
					}
					done = time.Now()
					return c.end
				})
				want := upTo(c.values)
				if c.values == 0 {
					want = nil
				}
				var wg sync.WaitGroup
				for range 3 {
					wg.Go(func() {
						assert.Equal(t, want, collect(t, noteRows, h))
						assert.Zero(t, time.Since(done), "the end is told by the engine")
					})
				}
				wg.Wait()
				assert.Equal(t, want, collect(t, noteRows, h), "late")
				for _, text := range collect(t, noteTexts, h) {
					assert.Equal(t, "<&>", text)
				}
				assert.Empty(t, collect(t, omniq.Stream[int]("other"), h))
				for _, err := range noteRows.Of(t.Context(), h) {
					require.NoError(t, err)
					break
				}
			})
		})
	}
}

// A value reaches a reader when Send has returned, not only at the end.
func TestStreamIsReadWhileItIsSent(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		read := make(chan struct{})
		h := handle(t, b, client, func(ctx context.Context) error {
			for i := range 3 {
				if err := noteRows.Send(ctx, i); err != nil {
					return err
				}
				<-read
			}
			return nil
		})
		n := 0
		for v, err := range noteRows.Of(t.Context(), h) {
			require.NoError(t, err)
			assert.Equal(t, n, v)
			n++
			read <- struct{}{}
		}
		assert.Equal(t, 3, n)
	})
}

// The values of an attempt that has failed stay, and a state tells the next one where to go on.
func TestStreamOverAttempts(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		h := handle(t, b, client, func(ctx context.Context) error {
			from, _, err := noteCursor.Load(ctx)
			if err != nil {
				return err
			}
			for i := from; i < 6; i++ {
				if err := errors.Join(noteRows.Send(ctx, i), noteCursor.Save(ctx, i+1)); err != nil {
					return err
				}
				if i == 1 || i == 3 {
					return errOops
				}
			}
			return nil
		})
		assert.Equal(t, upTo(6), collect(t, noteRows, h))
		r, err := client.Result(t.Context(), h.ID())
		require.NoError(t, err)
		assert.Equal(t, 3, r.Attempts)
	})
}

// No call of the engine grows without bounds, and what was stored before an error is told.
func TestStreamIsSentInParts(t *testing.T) {
	many, large := make([]string, 2500), make([]string, 5)
	for i := range large {
		large[i] = strings.Repeat("x", omniq.MaxNotes/2)
	}
	for name, c := range map[string]struct {
		values []string
		fails  int // the call that fails, 0 for none
		calls  int
		text   string
	}{
		"many":               {values: many, calls: 3},
		"many, with a fault": {values: many, fails: 2, calls: 2, text: "the first 1000 of 2500 values are stored: the disk is full"},
		"large":              {values: large, calls: 5},
		"the first fails":    {values: many, fails: 1, calls: 1, text: `omniq: stream "texts": the disk is full`},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				m, client := newMemory(t)
				b := &scribe{Backend: m}
				b.note = func(ctx context.Context, notes []omniq.LeaseNotes) ([]error, error) {
					if calls, _ := b.noted(); calls == c.fails {
						return nil, errors.New("the disk is full")
					}
					return m.Note(ctx, notes)
				}
				h := handle(t, b, client, func(ctx context.Context) error {
					err := noteTexts.Send(ctx, c.values...)
					if c.text == "" {
						return err
					}
					require.ErrorContains(t, err, c.text)
					return nil
				})
				_, err := h.Wait(t.Context())
				require.NoError(t, err)
				calls, _ := b.noted()
				assert.Equal(t, c.calls, calls)
				for _, call := range b.calls {
					size := 0
					for _, item := range call[0].Stream {
						size += len(item.Data)
					}
					assert.LessOrEqual(t, size, omniq.MaxNotes)
				}
				if c.text == "" {
					assert.Equal(t, c.values, collect(t, noteTexts, h))
				}
			})
		})
	}
}

// Goroutines of one handler send at once: nothing is lost, and each one's order is kept.
func TestStreamOfSeveralGoroutines(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m, client := newMemory(t)
		b := &scribe{Backend: m}
		b.note = func(ctx context.Context, notes []omniq.LeaseNotes) ([]error, error) {
			time.Sleep(time.Millisecond)
			return m.Note(ctx, notes)
		}
		h := handle(t, b, client, func(ctx context.Context) error {
			var wg sync.WaitGroup
			for g := range 10 {
				wg.Go(func() {
					for i := range 20 {
						assert.NoError(t, noteRows.Send(ctx, g*100+i))
					}
				})
			}
			wg.Wait()
			return nil
		})
		got := collect(t, noteRows, h)
		require.Len(t, got, 200)
		next := map[int]int{}
		for _, n := range got {
			assert.Equal(t, next[n/100], n%100, fmt.Sprint(got))
			next[n/100]++
		}
		calls, _ := b.noted()
		assert.LessOrEqual(t, calls, 41)
	})
}

// A reader is told what ends it before the task does.
func TestReadersThatEndEarly(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		h := handle(t, b, client, func(ctx context.Context) error {
			err := noteRows.Send(ctx, 1)
			<-ctx.Done()
			return err
		})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		var errs []error
		for _, err := range noteRows.Of(ctx, h) {
			errs = append(errs, err)
		}
		require.Len(t, errs, 2)
		require.NoError(t, errs[0])
		require.ErrorIs(t, errs[1], context.DeadlineExceeded)
		for _, err := range omniq.Stream[string]("rows").Of(t.Context(), h) {
			require.ErrorIs(t, err, omniq.ErrInvalid)
			require.ErrorContains(t, err, `omniq: stream "rows"`)
		}
	})
}
