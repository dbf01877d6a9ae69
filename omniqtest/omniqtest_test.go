package omniqtest_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
	"github.com/omniq-go/omniq/internal/bubble"
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
	bubble.Test(t, func(t *testing.T) {
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
		assert.Equal(t, 24*time.Hour, mails[1].Delay)

		q.Drain(omniq.Handlers(mail, half))
		assert.Empty(t, omniqtest.Enqueued(q, mail))
		got, err := h.Wait(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 2, got)
	})
}

// What takes the place of another is one task, with its last arguments, and what waits behind one that runs is drained, too.
func TestDrainOfWhatTakesAPlace(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		q := omniqtest.New(t)
		var again *omniq.Handle[int]
		half := omniq.DefineArgs("half", func(ctx context.Context, a omniq.Args1[int]) (n int, err error) {
			if a.V1 == 8 {
				again, err = omniq.ReferArgs[omniq.Args1[int], int]("half").Enqueue(ctx, q.Client, omniq.MakeArgs1(6), omniq.Latest("k"))
			}
			return a.V1 / 2, err
		})
		for _, n := range []int{2, 4, 8} {
			_, err := half.Enqueue(t.Context(), q.Client, omniq.MakeArgs1(n), omniq.Debounce("k", time.Hour, 24*time.Hour))
			require.NoError(t, err)
		}
		tasks := omniqtest.Enqueued(q, half)
		require.Len(t, tasks, 1)
		assert.Equal(t, 8, tasks[0].Args.V1)
		got, err := omniqtest.Run(t, half, tasks[0])
		require.NoError(t, err)
		assert.Equal(t, 4, got)
		q.Drain(omniq.Handlers(half))
		got, err = again.Wait(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 3, got)
	})
}

// Run works the queue of its task, and Drain works all that there are, also those that come meanwhile.
func TestQueues(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		task, err := half.Task(omniq.MakeArgs1(1), omniq.Queue("halves"))
		require.NoError(t, err)
		_, err = omniqtest.Run(t, half, task)
		require.NoError(t, err)

		q := omniqtest.New(t)
		next := omniq.DefineArgs("next", func(ctx context.Context, a omniq.Args1[int]) (int, error) {
			_, err := half.Enqueue(ctx, q.Client, omniq.MakeArgs1(1), omniq.Queue(fmt.Sprint("of-", a.V1)), omniq.Delay(time.Hour))
			return 0, err
		})
		for i, queue := range []string{"one", "two", omniq.DefaultQueue} {
			_, err := next.Enqueue(t.Context(), q.Client, omniq.MakeArgs1(i), omniq.Queue(queue), omniq.ResultTTL(48*time.Hour))
			require.NoError(t, err)
		}
		q.Drain(omniq.Handlers(next, half))
		stats, err := q.Client.Stats(t.Context())
		require.NoError(t, err)
		assert.Len(t, stats, 6)
		for _, s := range stats {
			assert.Equal(t, 1, s.Succeeded, s.Queue)
		}
	})
}

// On is for any backend, and leaves it open.
func TestOn(t *testing.T) {
	b := memory.New()
	defer func() { require.NoError(t, b.Close()) }()
	t.Run("inner", func(t *testing.T) {
		q := omniqtest.On(t, b)
		_, err := half.Enqueue(t.Context(), q.Client, omniq.MakeArgs1(1), omniq.Queue("q"))
		require.NoError(t, err)
		assert.Len(t, omniqtest.Enqueued(q, half), 1)
		q.Drain(omniq.Handlers(half))
	})
	stats, err := b.Stats(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []omniq.QueueStats{{Queue: "q", Succeeded: 1}}, stats)
}

// What can never end is said, and fails the test.
func TestDrainOfWhatNeverEnds(t *testing.T) {
	tests := []struct {
		name string
		do   func(context.Context, *omniqtest.Queue) error
		work []omniq.WorkerOption
		want string
	}{
		{"a paused queue", func(ctx context.Context, q *omniqtest.Queue) error {
			_, err := half.Enqueue(ctx, q.Client, omniq.MakeArgs1(1), omniq.Queue("stopped"))
			return errors.Join(err, q.Client.Pause(ctx, "stopped"))
		}, []omniq.WorkerOption{omniq.Handlers(half)}, `queue "stopped" is paused and has 1 tasks`},
		{"a worker that cannot be", func(ctx context.Context, q *omniqtest.Queue) error {
			_, err := half.Enqueue(ctx, q.Client, omniq.MakeArgs1(1))
			return err
		}, []omniq.WorkerOption{omniq.Handlers(half), omniq.Concurrency(-1)}, "Concurrency"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				inner := &recorder{TB: t}
				q := omniqtest.New(inner)
				require.NoError(t, tt.do(t.Context(), q))
				inner.drain(q, tt.work...)
				assert.Contains(t, inner.fatal, tt.want)
			})
		})
	}
}

// While nothing happens Drain says what it waits for, and before the test's time is over it fails.
func TestDrainSaysWhatItWaitsFor(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		inner := &recorder{TB: t, deadline: time.Now().Add(time.Hour)}
		q := omniqtest.New(inner)
		_, err := half.Enqueue(t.Context(), q.Client, omniq.MakeArgs1(1), omniq.Queue("later"), omniq.Delay(24*time.Hour))
		require.NoError(t, err)
		began := time.Now()
		inner.drain(q, omniq.Handlers(half))
		assert.Less(t, time.Since(began), time.Hour)
		assert.Contains(t, inner.fatal, `function "half" in queue "later", which is due at`)
		require.Len(t, inner.logs, 9, "after 10 s, 20 s and so on")
		assert.Contains(t, inner.logs[0], `function "half" in queue "later", which is due at`)
	})
}

// recorder is a test that fails without anybody minding.
type recorder struct {
	testing.TB
	fatal    string
	logs     []string
	deadline time.Time
}

func (r *recorder) Deadline() (time.Time, bool) { return r.deadline, !r.deadline.IsZero() }

func (r *recorder) Logf(format string, args ...any) {
	r.logs = append(r.logs, fmt.Sprintf(format, args...))
}

// drain drains a queue, which Fatalf may end.
func (r *recorder) drain(q *omniqtest.Queue, opts ...omniq.WorkerOption) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		q.Drain(opts...)
	}()
	<-done
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.fatal = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// A handler completes in a transaction of the queue's backend, where that has some.
func TestCompleteTx(t *testing.T) {
	b := memory.New()
	t.Cleanup(func() { assert.NoError(t, b.Close()) })
	pay := omniq.DefineNoArgs("pay", func(ctx context.Context) (int, error) {
		tx := b.Begin()
		if err := omniq.CompleteTx(ctx, tx, 7); err != nil {
			return 0, omniq.Permanent(err)
		}
		return 7, tx.Commit()
	})
	q := omniqtest.On(t, b)
	h, err := pay.Enqueue(t.Context(), q.Client)
	require.NoError(t, err)
	q.Drain(omniq.Handlers(pay))
	got, err := h.Wait(t.Context())
	require.NoError(t, err)
	assert.Equal(t, 7, got)

	q = omniqtest.On(t, struct{ omniq.Backend }{b}) // which hides the transactions
	h, err = pay.Enqueue(t.Context(), q.Client)
	require.NoError(t, err)
	q.Drain(omniq.Handlers(pay))
	_, err = h.Wait(t.Context())
	require.ErrorContains(t, err, "has no transactions")
}
