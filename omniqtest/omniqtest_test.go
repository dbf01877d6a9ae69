package omniqtest_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/omniqtest"
)

type mailOpts struct {
	Subject string `json:"subject"`
}

var (
	mail = omniq.DefineVoid("mail", func(_ context.Context, to omniq.Args1[string], opts mailOpts) error {
		if opts.Subject == "" {
			return omniq.Permanent(errors.New("no subject"))
		}
		return nil
	})
	half = omniq.DefineArgs("half", func(ctx context.Context, a omniq.Args1[int]) (int, error) {
		info, _ := omniq.InfoFrom(ctx)
		if info.Attempt < a.V1 {
			return 0, errors.New("not yet")
		}
		return a.V1 / 2, nil
	})
	sleepy = omniq.DefineNoArgs("sleepy", func(context.Context) (int, error) { return 0, omniq.Snooze(time.Hour) })
)

func TestRun(t *testing.T) {
	task, err := half.Task(omniq.MakeArgs1(1), omniq.Delay(time.Hour))
	require.NoError(t, err)
	got, err := omniqtest.Run(t, half, task)
	require.NoError(t, err)
	assert.Equal(t, 0, got)

	task, err = half.Task(omniq.MakeArgs1(2))
	require.NoError(t, err)
	_, err = omniqtest.Run(t, half, task)
	require.ErrorContains(t, err, "not yet", "one attempt only")

	letter, err := mail.Task(omniq.MakeArgs1("a@example.com"), mailOpts{})
	require.NoError(t, err)
	_, err = omniqtest.Run(t, mail, letter)
	var failed *omniq.TaskError
	require.ErrorAs(t, err, &failed)
	assert.False(t, failed.Retryable)
}

func TestRunOfASnooze(t *testing.T) {
	inner := &recorder{TB: t}
	task, err := sleepy.Task()
	require.NoError(t, err)
	done := make(chan struct{})
	go func() { // Fatalf ends it
		defer close(done)
		_, _ = omniqtest.Run(inner, sleepy, task)
	}()
	<-done
	assert.Contains(t, inner.fatal, "was snoozed")
}

func TestQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := omniqtest.New(t)
		signUp := func(ctx context.Context, c *omniq.Client, who string) error { // what is tested
			_, err := mail.Enqueue(ctx, c, omniq.MakeArgs1(who), mailOpts{"Welcome"})
			if err == nil {
				_, err = mail.Enqueue(ctx, c, omniq.MakeArgs1(who), mailOpts{"Still there?"}, omniq.Delay(24*time.Hour))
			}
			return err
		}
		require.NoError(t, signUp(t.Context(), q.Client, "a@example.com"))
		h, err := half.Enqueue(t.Context(), q.Client, omniq.MakeArgs1(4), omniq.ResultTTL(48*time.Hour))
		require.NoError(t, err)

		mails := omniqtest.Enqueued(q, mail)
		require.Len(t, mails, 2)
		assert.Equal(t, "Welcome", mails[0].Kwargs.Subject)
		assert.Equal(t, "a@example.com", mails[1].Args.V1)
		assert.Equal(t, 24*time.Hour, mails[1].RunAt.Sub(mails[1].CreatedAt))

		q.Drain(omniq.Handlers(mail, half))
		assert.Empty(t, omniqtest.Enqueued(q, mail))
		got, err := h.Wait(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 2, got)
	})
}

// recorder is a test that fails without anybody minding.
type recorder struct {
	testing.TB
	fatal string
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.fatal = fmt.Sprintf(format, args...)
	runtime.Goexit()
}
