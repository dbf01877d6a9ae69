package omniq_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
	"github.com/omniq-go/omniq/codec"
	"github.com/omniq-go/omniq/internal/bubble"
)

func TestClientTx(t *testing.T) {
	for name, c := range map[string]struct {
		mix    bool
		end    func(*memory.Tx) error
		stored bool
	}{
		"commit":            {end: (*memory.Tx).Commit, stored: true},
		"rollback":          {end: (*memory.Tx).Rollback},
		"no end":            {end: func(*memory.Tx) error { return nil }},
		"commit of a mix":   {mix: true, end: (*memory.Tx).Commit, stored: true},
		"rollback of a mix": {mix: true, end: (*memory.Tx).Rollback},
	} {
		t.Run(name, func(t *testing.T) {
			queue := memory.New()
			b := omniq.Backend(queue)
			if c.mix {
				b = omniq.Mix(queue, memory.New())
			}
			t.Cleanup(func() { assert.NoError(t, b.Close()) })
			client := newClient(t, b)
			d := omniq.ReferArgs[omniq.Args1[int], int]("any")
			tx := queue.Begin()
			in := client.Tx(tx)
			first, err := d.Enqueue(t.Context(), in, omniq.MakeArgs1(1), omniq.Unique("k"))
			require.NoError(t, err)
			again, err := d.Enqueue(t.Context(), in, omniq.MakeArgs1(2), omniq.Unique("k"))
			require.ErrorIs(t, err, omniq.ErrDuplicate)
			assert.Equal(t, first.ID(), again.ID(), "the transaction sees its own tasks")
			_, err = first.Status(t.Context())
			require.ErrorIs(t, err, omniq.ErrNotFound, "nobody else sees them")

			require.NoError(t, c.end(tx))
			status, err := first.Status(t.Context())
			if !c.stored {
				require.ErrorIs(t, err, omniq.ErrNotFound)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, omniq.StatusPending, status)
			_, err = d.Enqueue(t.Context(), in, omniq.MakeArgs1(3))
			require.ErrorIs(t, err, memory.ErrTxDone)
		})
	}
}

// What no engine can use as its transaction is refused by each enqueue, and by CompleteTx.
func TestTxRefuses(t *testing.T) {
	queue, other := memory.New(), memory.New()
	for name, c := range map[string]struct {
		backend omniq.Backend
		tx      any
		want    string
	}{
		"nil":             {queue, nil, "the transaction is nil (<nil>)"},
		"a nil one":       {queue, (*memory.Tx)(nil), "the transaction is nil (*memory.Tx)"},
		"nil of a type":   {queue, (*sql.Tx)(nil), "the transaction is nil (*sql.Tx)"},
		"another type":    {queue, new(sql.Tx), "a transaction of type *sql.Tx, want what Begin has returned"},
		"no pointer":      {queue, 7, "a transaction of type int"},
		"an empty one":    {queue, new(memory.Tx), "a transaction of another backend"},
		"of another":      {queue, other.Begin(), "a transaction of another backend"},
		"none at all":     {&meddler{Backend: queue}, queue.Begin(), `the backend "memory" has no transactions`},
		"none of a mix":   {omniq.Mix(&meddler{Backend: queue}, other), queue.Begin(), `the backend "memory" has no transactions`},
		"of the results":  {omniq.Mix(queue, other), other.Begin(), "a transaction of another backend"},
		"nil for a mix":   {omniq.Mix(queue, other), nil, "the transaction is nil"},
		"other for a mix": {omniq.Mix(queue, other), "tx", "a transaction of type string"},
	} {
		t.Run(name, func(t *testing.T) {
			in := newClient(t, c.backend).Tx(c.tx)
			d := omniq.DefineNoArgs("any", func(ctx context.Context) (int, error) {
				return 0, omniq.Permanent(omniq.CompleteTx(ctx, c.tx, 7))
			})
			_, err := d.Enqueue(t.Context(), in)
			require.ErrorIs(t, err, omniq.ErrInvalid)
			assert.ErrorContains(t, err, c.want)
			require.ErrorIs(t, in.Enqueue(t.Context(), rawTask()), omniq.ErrInvalid)
			_, err = in.Stats(t.Context())
			require.NoError(t, err, "everything else works")

			w := run(t, c.backend, omniq.Handlers(d))
			h, err := d.Enqueue(t.Context(), newClient(t, c.backend))
			require.NoError(t, err)
			_, err = h.Wait(t.Context())
			assert.Contains(t, taskError(t, err).Message, c.want)
			require.NoError(t, w.stop())
		})
	}
}

// A transaction that Begin has not returned is an error, and no crash.
func TestEmptyMemoryTx(t *testing.T) {
	var none *memory.Tx
	for _, tx := range []*memory.Tx{none, new(memory.Tx)} {
		_, enqueue := tx.Enqueue(t.Context(), nil)
		_, settle := tx.Settle(t.Context(), nil)
		for _, err := range []error{enqueue, settle, tx.Commit(), tx.Rollback()} {
			require.ErrorIs(t, err, omniq.ErrInvalid)
		}
	}
	_, err := memory.New().Transaction(none)
	require.ErrorIs(t, err, omniq.ErrInvalid)
}

func TestCompleteTx(t *testing.T) {
	const took = time.Second
	notCommitted := errNotCommitted
	for name, c := range map[string]struct {
		// What the handler does with its first attempt after CompleteTx, which has gone well.
		end   func(ctx context.Context, tx *memory.Tx) error
		task  []omniq.TaskOption
		data  int // the result: 7 of CompleteTx, 9 of the second attempt
		fails string
		want  []outcome
	}{
		"commit": {
			end:  func(_ context.Context, tx *memory.Tx) error { return tx.Commit() },
			data: 7, want: []outcome{{omniq.OutcomeSuccess, 1, took, 0, ""}},
		},
		"commit, and an error": {
			end:  func(_ context.Context, tx *memory.Tx) error { return errors.Join(errOops, tx.Commit()) },
			data: 7, want: []outcome{{omniq.OutcomeSuccess, 1, took, 0, ""}},
		},
		"commit, and a permanent error": {
			end:  func(_ context.Context, tx *memory.Tx) error { _ = tx.Commit(); return omniq.Permanent(errOops) },
			data: 7, want: []outcome{{omniq.OutcomeSuccess, 1, took, 0, ""}},
		},
		"commit, and a panic": {
			end:  func(_ context.Context, tx *memory.Tx) error { _ = tx.Commit(); panic("too late") },
			data: 7, want: []outcome{{omniq.OutcomeSuccess, 1, took, 0, ""}},
		},
		"commit, and a snooze": {
			end:  func(_ context.Context, tx *memory.Tx) error { _ = tx.Commit(); return omniq.Snooze(time.Hour) },
			data: 7, want: []outcome{{omniq.OutcomeSuccess, 1, took, 0, ""}},
		},
		"commit, and no end for longer than a lease": {
			end: func(ctx context.Context, tx *memory.Tx) error {
				_ = tx.Commit()
				time.Sleep(time.Hour)
				return ctx.Err()
			},
			data: 7, want: []outcome{{omniq.OutcomeSuccess, 1, took + time.Hour, 0, ""}},
		},
		"commit after longer than a lease": {
			end: func(ctx context.Context, tx *memory.Tx) error {
				time.Sleep(time.Hour)
				return errors.Join(ctx.Err(), tx.Commit())
			},
			data: 7, want: []outcome{{omniq.OutcomeSuccess, 1, took + time.Hour, 0, ""}},
		},
		"commit of a result without a TTL": {
			end:  func(_ context.Context, tx *memory.Tx) error { return tx.Commit() },
			task: []omniq.TaskOption{omniq.ResultTTL(0)},
			data: 7, want: []outcome{{omniq.OutcomeSuccess, 1, took, 0, ""}},
		},
		"rollback": {
			end:  func(_ context.Context, tx *memory.Tx) error { return errors.Join(errOops, tx.Rollback()) },
			data: 9, want: []outcome{{omniq.OutcomeRetry, 1, took, time.Second, "oops"}, {omniq.OutcomeSuccess, 2, 0, 0, ""}},
		},
		"rollback without an error": {
			end:  func(_ context.Context, tx *memory.Tx) error { return tx.Rollback() },
			data: 9, want: []outcome{{omniq.OutcomeRetry, 1, took, time.Second, notCommitted}, {omniq.OutcomeSuccess, 2, 0, 0, ""}},
		},
		"neither": {
			end:  func(context.Context, *memory.Tx) error { return nil },
			data: 9, want: []outcome{{omniq.OutcomeRetry, 1, took, time.Second, notCommitted}, {omniq.OutcomeSuccess, 2, 0, 0, ""}},
		},
		"neither, and no retry": {
			end:   func(context.Context, *memory.Tx) error { return nil },
			task:  []omniq.TaskOption{omniq.Retries(0)},
			fails: notCommitted, want: []outcome{{omniq.OutcomeFailure, 1, took, 0, notCommitted}},
		},
		"rollback, and a permanent error": {
			end:   func(_ context.Context, tx *memory.Tx) error { _ = tx.Rollback(); return omniq.Permanent(errOops) },
			fails: "oops", want: []outcome{{omniq.OutcomeFailure, 1, took, 0, "oops"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				b, client := newMemory(t)
				var l ledger
				d := omniq.DefineNoArgs("pay", func(ctx context.Context) (int, error) {
					if info, _ := omniq.InfoFrom(ctx); info.Attempt > 1 {
						return 9, nil
					}
					time.Sleep(took)
					tx := b.Begin()
					if err := omniq.CompleteTx(ctx, tx, 7); err != nil {
						return 0, omniq.Permanent(err)
					}
					return 0, c.end(ctx, tx)
				})
				policy := func(f omniq.Failure) time.Duration {
					assert.NotContains(t, name, "commit,", "what was committed is no failure")
					return time.Second
				}
				w := run(t, b, omniq.Handlers(d), l.option(), omniq.RetryDelays(policy, 0))
				h, err := d.Enqueue(t.Context(), client, c.task...)
				require.NoError(t, err)
				got, err := h.Wait(t.Context())
				if c.fails != "" {
					assert.Equal(t, c.fails, taskError(t, err).Message)
				} else {
					require.NoError(t, err)
					assert.Equal(t, c.data, got)
				}
				time.Sleep(2 * time.Hour)
				require.NoError(t, w.stop())
				assert.Equal(t, c.want, outcomes(l.settled()))
			})
		})
	}
}

const errNotCommitted = "the handler returned without an error, and did not commit the transaction in which CompleteTx has recorded its result"

// What a handler enqueues and its own end are one.
func TestCompleteTxWithWhatWasEnqueued(t *testing.T) {
	for _, commit := range []bool{true, false} {
		t.Run(fmt.Sprint(commit), func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				b, client := newMemory(t)
				next := omniq.ReferArgs[omniq.Args1[string], int]("next", omniq.Queue("other"))
				d := omniq.DefineNoArgs("first", func(ctx context.Context) (int, error) {
					tx := b.Begin()
					defer func() { _ = tx.Rollback() }()
					if _, err := next.Enqueue(ctx, client.Tx(tx), omniq.MakeArgs1("x")); err != nil {
						return 0, err
					}
					if err := omniq.CompleteTx(ctx, tx, 7); err != nil {
						return 0, err
					}
					if !commit {
						return 0, omniq.Permanent(errOops)
					}
					return 7, tx.Commit()
				})
				run(t, b, omniq.Handlers(d))
				h, err := d.Enqueue(t.Context(), client)
				require.NoError(t, err)
				_, err = h.Wait(t.Context())
				assert.Equal(t, commit, err == nil)
				stats, err := client.Stats(t.Context())
				require.NoError(t, err)
				if commit {
					assert.Equal(t, []omniq.QueueStats{{Queue: "default", Succeeded: 1}, {Queue: "other", Ready: 1}}, stats)
				} else {
					assert.Equal(t, []omniq.QueueStats{{Queue: "default", Failed: 1}}, stats)
				}
			})
		})
	}
}

// Without its lease a handler completes nothing: its writes are to go, too.
func TestCompleteTxWithoutTheLease(t *testing.T) {
	for name, c := range map[string]struct {
		lose    func(*testing.T, *omniq.Handle[int])
		before  bool // CompleteTx comes before the loss, Commit after it
		outcome omniq.AttemptOutcome
	}{
		"cancelled before":     {cancels, false, omniq.OutcomeCancelled},
		"cancelled in between": {cancels, true, omniq.OutcomeCancelled},
		"run out before":       {func(*testing.T, *omniq.Handle[int]) { time.Sleep(time.Minute) }, false, omniq.OutcomeLost},
		"run out in between":   {func(*testing.T, *omniq.Handle[int]) { time.Sleep(time.Minute) }, true, omniq.OutcomeLost},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				m, client := newMemory(t)
				b := &transactor{meddler{Backend: m}, m}
				b.extend = func(context.Context, []omniq.LeaseID, time.Duration) ([]error, error) {
					return nil, errors.New("no connection")
				}
				var l ledger
				lost := make(chan struct{})
				var complete, commit error
				d := omniq.DefineNoArgs("pay", func(ctx context.Context) (int, error) {
					if info, _ := omniq.InfoFrom(ctx); info.Attempt > 1 {
						return 9, nil
					}
					tx := m.Begin()
					defer func() { _ = tx.Rollback() }()
					if !c.before {
						<-lost
					}
					if complete = omniq.CompleteTx(context.WithoutCancel(ctx), tx, 7); complete != nil {
						return 0, complete
					}
					<-lost
					commit = tx.Commit()
					return 7, commit
				})
				w := run(t, b, omniq.Handlers(d), l.option(), omniq.LeaseDuration(10*time.Second))
				h, err := d.Enqueue(t.Context(), client)
				require.NoError(t, err)
				synctest.Wait()
				c.lose(t, h)
				synctest.Wait()
				close(lost)
				_, _ = h.Wait(t.Context())
				require.NoError(t, w.stop())
				if c.before {
					require.NoError(t, complete)
					require.ErrorIs(t, commit, memory.ErrConflict)
					require.ErrorIs(t, commit, omniq.ErrLeaseLost)
				} else {
					require.ErrorIs(t, complete, omniq.ErrLeaseLost)
				}
				for _, o := range outcomes(l.settled()) { // meanwhile the task may have come again, and was given back
					if o.attempt == 1 {
						assert.Equal(t, c.outcome, o.Outcome)
					} else {
						assert.Contains(t, []omniq.AttemptOutcome{omniq.OutcomeReturned, omniq.OutcomeSuccess}, o.Outcome)
					}
				}
				got, err := h.Wait(t.Context())
				if c.outcome == omniq.OutcomeCancelled {
					require.ErrorIs(t, err, omniq.ErrCancelled)
				} else {
					require.NoError(t, err)
					assert.Equal(t, 9, got, "of the other attempt")
				}
			})
		})
	}
}

func cancels(t *testing.T, h *omniq.Handle[int]) { require.NoError(t, h.Cancel(t.Context())) }

// transactor is a meddler with the transactions of its memory.
type transactor struct {
	meddler
	m *memory.Backend
}

func (b *transactor) Transaction(tx any) (omniq.Transaction, error) { return b.m.Transaction(tx) }

// The end of a task that is cancelled or expires while its transaction is open ends its handler's context.
func TestCancelAfterCompleteTxEndsTheContext(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		var cause error
		d := omniq.DefineNoArgs("pay", func(ctx context.Context) (int, error) {
			if err := omniq.CompleteTx(ctx, b.Begin(), 7); err != nil {
				return 0, err
			}
			<-ctx.Done()
			cause = context.Cause(ctx)
			return 0, cause
		})
		w := run(t, b, omniq.Handlers(d))
		h, err := d.Enqueue(t.Context(), client)
		require.NoError(t, err)
		synctest.Wait()
		require.NoError(t, h.Cancel(t.Context()))
		require.NoError(t, w.stop())
		require.ErrorIs(t, cause, omniq.ErrCancelled)
	})
}

func TestCompleteTxRefuses(t *testing.T) {
	b, client := newMemory(t)
	require.ErrorContains(t, omniq.CompleteTx(t.Context(), b.Begin(), 1), "the context is not that of a handler")
	inTest := omniq.ContextWithInfo(t.Context(), omniq.Info{Attempt: 1})
	require.ErrorIs(t, omniq.CompleteTx(inTest, b.Begin(), 1), omniq.ErrInvalid)

	for name, c := range map[string]struct {
		complete func(ctx context.Context) error
		is       error
		want     string
	}{
		"another type": {
			func(ctx context.Context) error { return omniq.CompleteTx(ctx, b.Begin(), "seven") }, omniq.ErrInvalid,
			`the result is of type string, and that of the handler of "pay" is map[string]interface {}`,
		},
		"no type": {
			func(ctx context.Context) error { return omniq.CompleteTx[any](ctx, b.Begin(), nil) }, omniq.ErrInvalid, "the result is of type interface {}",
		},
		"what cannot be stored": {
			func(ctx context.Context) error {
				return omniq.CompleteTx(ctx, b.Begin(), map[string]any{"x": make(chan int)})
			}, omniq.ErrInvalid, "chan int",
		},
		"a transaction that has ended": {
			func(ctx context.Context) error {
				tx := b.Begin()
				return errors.Join(tx.Commit(), omniq.CompleteTx(ctx, tx, map[string]any{}))
			}, memory.ErrTxDone, "the transaction has ended",
		},
		"twice": {
			func(ctx context.Context) error {
				tx := b.Begin()
				return errors.Join(omniq.CompleteTx(ctx, tx, map[string]any{}), omniq.CompleteTx(ctx, tx, map[string]any{}))
			}, omniq.ErrLeaseLost, "complete task",
		},
		"a context that has ended": {
			func(ctx context.Context) error {
				ctx, cancel := context.WithCancel(ctx)
				cancel()
				return omniq.CompleteTx(ctx, b.Begin(), map[string]any{})
			}, context.Canceled, "complete task",
		},
	} {
		t.Run(name, func(t *testing.T) {
			var err error
			d := omniq.DefineNoArgs("pay", func(ctx context.Context) (map[string]any, error) {
				err = c.complete(ctx)
				return map[string]any{"done": true}, omniq.Permanent(errOops)
			})
			w := run(t, b, omniq.Handlers(d))
			h, enqueueErr := d.Enqueue(t.Context(), client)
			require.NoError(t, enqueueErr)
			_, waitErr := h.Wait(t.Context())
			require.Error(t, waitErr)
			require.NoError(t, w.stop())
			require.ErrorIs(t, err, c.is)
			assert.ErrorContains(t, err, c.want)
		})
	}
}

// A handler without a result completes with Void. Its context may be derived from the worker's. The result is in the
// worker's codec.
func TestCompleteTxOnItsWay(t *testing.T) {
	zip := omniq.Codecs(namedCodec{codec.JSON, "zip"})
	b, client := newMemory(t, zip)
	type key struct{}
	void := omniq.DefineNoArgsVoid("void", func(ctx context.Context) error {
		tx := b.Begin()
		if err := omniq.CompleteTx(ctx, tx, omniq.Void{}); err != nil {
			return err
		}
		return tx.Commit()
	})
	seven := omniq.DefineNoArgs("seven", func(ctx context.Context) (int, error) {
		tx := b.Begin()
		if err := omniq.CompleteTx(ctx, tx, 7); err != nil {
			return 0, err
		}
		return 7, tx.Commit()
	})
	w := run(t, b, omniq.Handlers(void, seven), zip, omniq.Use(func(next omniq.HandlerFunc) omniq.HandlerFunc {
		return func(ctx context.Context, t *omniq.RawTask) (omniq.RawResult, error) {
			ctx, cancel := context.WithTimeout(context.WithValue(ctx, key{}, 1), time.Hour)
			defer cancel()
			return next(ctx, t)
		}
	}))
	nothing, err := void.Enqueue(t.Context(), client)
	require.NoError(t, err)
	_, err = nothing.Wait(t.Context())
	require.NoError(t, err)
	h, err := seven.Enqueue(t.Context(), client)
	require.NoError(t, err)
	r, err := client.Wait(t.Context(), h.ID())
	require.NoError(t, err)
	assert.Equal(t, "zip", r.Codec)
	got, err := h.Wait(t.Context())
	require.NoError(t, err)
	assert.Equal(t, 7, got)
	require.NoError(t, w.stop())
}

// Where results are kept elsewhere a task cannot end in the queue's transaction.
func TestCompleteTxOfAMix(t *testing.T) {
	queue := memory.New()
	b := omniq.Mix(queue, memory.New())
	t.Cleanup(func() { assert.NoError(t, b.Close()) })
	var complete error
	d := omniq.DefineNoArgs("pay", func(ctx context.Context) (int, error) {
		complete = omniq.CompleteTx(ctx, queue.Begin(), 7)
		return 7, nil
	})
	w := run(t, b, omniq.Handlers(d))
	h, err := d.Enqueue(t.Context(), newClient(t, b))
	require.NoError(t, err)
	_, err = h.Wait(t.Context())
	require.NoError(t, err)
	require.NoError(t, w.stop())
	require.ErrorIs(t, complete, omniq.ErrInvalid)
	assert.ErrorContains(t, complete, "in another engine than the queue")
}
