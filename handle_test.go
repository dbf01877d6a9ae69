package omniq_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/bubble"
)

func TestHandleFromPendingToDone(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		d := omniq.DefineNoArgs("slow", func(context.Context) (thumb, error) {
			time.Sleep(time.Minute)
			return thumb{"a.png", 3}, nil
		})
		h, err := d.Enqueue(t.Context(), client)
		require.NoError(t, err)
		check := func(status omniq.Status, data thumb, attempts int) {
			t.Helper()
			for _, h := range []*omniq.Handle[thumb]{h, d.Attach(client, h.ID())} {
				s, err := h.Status(t.Context())
				require.NoError(t, err)
				assert.Equal(t, status, s)
				r, err := h.Result(t.Context())
				require.NoError(t, err)
				assert.Equal(t, status, r.Status)
				assert.Equal(t, data, r.ResultData)
				assert.Equal(t, attempts, r.Attempts)
				assert.NoError(t, r.Err())
			}
		}
		check(omniq.StatusPending, thumb{}, 0)
		run(t, b, omniq.Handlers(d))
		synctest.Wait()
		check(omniq.StatusRunning, thumb{}, 1)

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = h.Wait(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)

		start := time.Now()
		got, err := h.Wait(t.Context())
		require.NoError(t, err, "the task went on")
		assert.Equal(t, thumb{"a.png", 3}, got)
		assert.Equal(t, 59*time.Second, time.Since(start))
		check(omniq.StatusSuccess, thumb{"a.png", 3}, 1)

		time.Sleep(omniq.DefaultResultTTL)
		_, err = h.Wait(t.Context())
		require.ErrorIs(t, err, omniq.ErrNotFound)
		_, err = h.Result(t.Context())
		require.ErrorIs(t, err, omniq.ErrNotFound)
		_, err = h.Status(t.Context())
		require.ErrorIs(t, err, omniq.ErrNotFound)
	})
}

// named is an error with a type of its own on the wire.
type named struct{}

func (named) Error() string     { return "no such image" }
func (named) ErrorType() string { return "images.NotFound" }

func TestWaitForAFailure(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want omniq.TaskError
	}{
		"plain":       {errOops, omniq.TaskError{Type: "error", Message: "oops", Retryable: true}},
		"wrapped":     {fmt.Errorf("in a: %w", errOops), omniq.TaskError{Type: "error", Message: "in a: oops", Retryable: true}},
		"Go type":     {&nilError{"text"}, omniq.TaskError{Type: "*omniq_test.nilError", Message: "text", Retryable: true}},
		"named":       {fmt.Errorf("a: %w", named{}), omniq.TaskError{Type: "images.NotFound", Message: "a: no such image", Retryable: true}},
		"permanent":   {omniq.Permanent(named{}), omniq.TaskError{Type: "images.NotFound", Message: "no such image"}},
		"retry after": {omniq.RetryAfter(time.Second, &nilError{"text"}), omniq.TaskError{Type: "*omniq_test.nilError", Message: "text", Retryable: true}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				b, client := newMemory(t)
				f := newFailer(func(int) error { return c.err })
				run(t, b, omniq.Handlers(f), omniq.Retries(1))
				h, err := f.Enqueue(t.Context(), client)
				require.NoError(t, err)
				_, err = h.Wait(t.Context())
				assert.Equal(t, &c.want, taskError(t, err))
				r, err := h.Result(t.Context())
				require.NoError(t, err, "that it failed is no error here")
				assert.Equal(t, omniq.StatusFailure, r.Status)
				assert.Equal(t, &c.want, r.Err())
			})
		})
	}
}

func TestResultOfAnotherType(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		d := omniq.DefineNoArgs("text", func(context.Context) (string, error) { return "a text", nil })
		run(t, b, omniq.Handlers(d))
		h, err := omniq.ReferNoArgs[int]("text").Enqueue(t.Context(), client)
		require.NoError(t, err)
		_, err = h.Wait(t.Context())
		require.ErrorContains(t, err, "result_data")
		var e *omniq.TaskError
		assert.False(t, errors.As(err, &e), "the task did not fail")
		_, err = h.Result(t.Context())
		require.ErrorContains(t, err, "result_data")
		_, err = omniq.ReferNoArgs[omniq.Void]("text").Attach(client, h.ID()).Wait(t.Context())
		require.NoError(t, err, "any result can be read as Void")
	})
}

func TestResultTTL(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		d := omniq.DefineNoArgs("slow", func(context.Context) (int, error) {
			time.Sleep(time.Second)
			return 42, nil
		})
		run(t, b, omniq.Handlers(d))
		h, err := d.Enqueue(t.Context(), client, omniq.ResultTTL(0))
		require.NoError(t, err)
		got, err := h.Wait(t.Context())
		require.NoError(t, err, "who waits gets it")
		assert.Equal(t, 42, got)
		_, err = h.Wait(t.Context())
		require.ErrorIs(t, err, omniq.ErrNotFound)

		h, err = d.Enqueue(t.Context(), client, omniq.ResultTTL(time.Minute))
		require.NoError(t, err)
		time.Sleep(time.Second + 59*time.Second)
		_, err = h.Wait(t.Context())
		require.NoError(t, err)
		time.Sleep(time.Second)
		_, err = h.Wait(t.Context())
		require.ErrorIs(t, err, omniq.ErrNotFound)
	})
}

func TestAttachToNothing(t *testing.T) {
	_, client := newMemory(t)
	for _, wait := range []func(uuid.UUID) error{
		func(id uuid.UUID) error {
			_, err := omniq.Refer[resizeArgs, resizeOpts, int]("a").Attach(client, id).Wait(t.Context())
			return err
		},
		func(id uuid.UUID) error {
			_, err := omniq.ReferArgs[resizeArgs, int]("a").Attach(client, id).Wait(t.Context())
			return err
		},
		func(id uuid.UUID) error {
			_, err := omniq.ReferKwargs[resizeOpts, int]("a").Attach(client, id).Wait(t.Context())
			return err
		},
		func(id uuid.UUID) error {
			_, err := omniq.ReferNoArgs[int]("a").Attach(client, id).Wait(t.Context())
			return err
		},
	} {
		require.ErrorIs(t, wait(uuid.New()), omniq.ErrNotFound)
	}
}
