package omniq_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/codec"
	"github.com/omniq-go/omniq/internal/bubble"
)

type decision struct {
	By string
	OK bool
}

var (
	approve = omniq.DefineSignal[decision]("approve")
	ship    = omniq.DefineArgs("ship", func(_ context.Context, a omniq.Args2[int, decision]) (string, error) {
		return fmt.Sprintf("%d by %s", a.V1, a.V2.By), nil
	})
	shipping = omniq.Handlers(ship, flowLen, flowFetch)
)

// order is the promise of what ships n things once it is approved.
func order(approved omniq.Promise[decision]) omniq.Promise[string] {
	return ship.On(omniq.Join2(flowLen.With(str("abc")), approved))
}

// A signal is delivered whenever it is sent, written in whatever codec, and waits without a place of the worker's.
func TestSignal(t *testing.T) {
	yes := decision{"ada", true}
	send := func(ctx context.Context, c *omniq.Client, id uuid.UUID) error { return approve.Send(ctx, c, id, yes) }
	fail := func(ctx context.Context, c *omniq.Client, id uuid.UUID) error {
		return approve.Fail(ctx, c, id, errOops)
	}
	cancel := func(ctx context.Context, c *omniq.Client, id uuid.UUID) error { return c.Cancel(ctx, id) }
	expire := func(context.Context, *omniq.Client, uuid.UUID) error { time.Sleep(2 * time.Hour); return nil }
	for name, c := range map[string]struct {
		codec codec.Codec
		opts  []omniq.SignalOption
		do    func(context.Context, *omniq.Client, uuid.UUID) error
		is    omniq.Status // of the signal
		err   error        // of what waits for it
		says  string
	}{
		"sent":              {codec.JSON, nil, send, omniq.StatusSuccess, nil, ""},
		"sent, as gob":      {gobCodec{}, nil, send, omniq.StatusSuccess, nil, ""},
		"sent within a TTL": {codec.JSON, []omniq.SignalOption{omniq.TTL(time.Hour)}, send, omniq.StatusSuccess, nil, ""},
		"failed":            {codec.JSON, nil, fail, omniq.StatusFailure, omniq.ErrDependency, `"approve", which failed: oops`},
		"cancelled":         {codec.JSON, nil, cancel, omniq.StatusCancelled, omniq.ErrDependency, `"approve", which was cancelled`},
		"expired": {codec.JSON, []omniq.SignalOption{omniq.TTL(time.Hour)}, expire, omniq.StatusExpired, omniq.ErrDependency,
			`"approve", which expired`},
	} {
		for when, early := range map[string]bool{"before anybody waits": true, "after": false} {
			t.Run(name+" "+when, func(t *testing.T) {
				bubble.Test(t, func(t *testing.T) {
					b, client := newMemory(t, omniq.Codecs(c.codec))
					run(t, b, shipping, omniq.Codecs(c.codec), omniq.Concurrency(1))
					signal := approve.Promise(c.opts...)
					var h *omniq.Handle[string]
					var err error
					if early {
						_, err = signal.Enqueue(t.Context(), client)
						require.NoError(t, err)
						require.NoError(t, c.do(t.Context(), client, signal.ID()))
						h, err = order(signal).Enqueue(t.Context(), client)
						require.NoError(t, err)
					} else {
						h, err = order(signal).Enqueue(t.Context(), client)
						require.NoError(t, err)
						synctest.Wait()
						require.NoError(t, c.do(t.Context(), client, signal.ID()))
					}
					got, err := h.Wait(t.Context())
					r, resultErr := approve.Attach(client, signal.ID()).Result(t.Context())
					require.NoError(t, resultErr)
					assert.Equal(t, c.is, r.Status)
					if c.err != nil {
						require.ErrorIs(t, err, c.err)
						assert.ErrorContains(t, err, c.says)
						return
					}
					require.NoError(t, err)
					assert.Equal(t, "3 by ada", got)
					assert.Equal(t, yes, r.ResultData)
				})
			})
		}
	}
}

// A signal keeps its result for as long as its options say, and its metadata.
func TestSignalOptions(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		_, client := newMemory(t)
		s := omniq.DefineSignal[int]("s", omniq.ResultTTL(time.Minute), omniq.FailureTTL(2*time.Minute), omniq.Metadata("k", "v"))
		assert.Equal(t, "s", s.Name())
		id := uuid.New()
		won, err := s.Promise(omniq.ID(id), omniq.Unique("key")).Enqueue(t.Context(), client)
		require.NoError(t, err)
		assert.Equal(t, id, won.ID())
		info, err := client.Inspect(t.Context(), id)
		require.NoError(t, err)
		assert.Equal(t, omniq.StatusWaiting, info.Status)
		assert.Equal(t, map[string]string{"k": "v"}, info.Task.Metadata)
		same, err := s.Promise(omniq.UniqueFor("key", time.Hour)).Enqueue(t.Context(), client)
		require.ErrorIs(t, err, omniq.ErrDuplicate)
		assert.Equal(t, id, same.ID(), "one signal for the same thing")

		failed, err := s.Promise(omniq.KeepID(time.Hour)).Enqueue(t.Context(), client)
		require.NoError(t, err)
		require.NoError(t, s.Send(t.Context(), client, won.ID(), 7))
		require.NoError(t, s.Fail(t.Context(), client, failed.ID(), omniq.Permanent(errOops)))
		got, err := won.Wait(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 7, got)
		_, err = failed.Wait(t.Context())
		e := taskError(t, err)
		assert.Equal(t, "oops", e.Message)
		assert.False(t, e.Retryable)
		time.Sleep(61 * time.Second)
		_, err = won.Result(t.Context())
		require.ErrorIs(t, err, omniq.ErrNotFound)
		_, err = failed.Result(t.Context())
		require.NoError(t, err)
		time.Sleep(time.Minute)
		_, err = failed.Result(t.Context())
		require.ErrorIs(t, err, omniq.ErrNotFound)
	})
}

// A signal that has ended without success waits anew once it is requeued, and what needs it with it.
func TestSignalIsRequeued(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		run(t, b, shipping)
		signal := approve.Promise(omniq.TTL(time.Hour))
		h, err := order(signal).Enqueue(t.Context(), client)
		f := flowOf(t, h, err)
		_, err = h.Wait(t.Context())
		require.ErrorIs(t, err, omniq.ErrDependency)
		n, err := f.Requeue(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 2, n)
		time.Sleep(59 * time.Minute)
		require.NoError(t, approve.Send(t.Context(), client, signal.ID(), decision{By: "bob"}))
		got, err := h.Wait(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "3 by bob", got)
	})
}

// A handler hands its result over to whoever sends a signal. No handler of the signal's name runs it.
func TestBecomeASignal(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		id := uuid.New()
		ask := omniq.DefineNoArgs("ask", func(ctx context.Context) (decision, error) {
			return omniq.Become(ctx, approve.Promise(omniq.ID(id)))
		})
		never := omniq.DefineNoArgs(approve.Name(), func(context.Context) (decision, error) {
			assert.Fail(t, "a signal was run")
			return decision{}, nil
		})
		run(t, b, omniq.Handlers(ask, never), omniq.Concurrency(1))
		h, err := ask.Enqueue(t.Context(), client)
		require.NoError(t, err)
		synctest.Wait()
		require.NoError(t, approve.Send(t.Context(), client, id, decision{By: "ada"}))
		got, err := h.Wait(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "ada", got.By)
	})
}

// A signal without a value is an order of events.
func TestSignalWithoutAValue(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, client := newMemory(t)
		run(t, b, flowHandlers)
		gone := omniq.DefineSignal[omniq.Void]("gone")
		signal := gone.Promise()
		h, err := flowNote.On(signal).Enqueue(t.Context(), client)
		require.NoError(t, err)
		require.NoError(t, gone.Send(t.Context(), client, signal.ID(), omniq.Void{}))
		_, err = h.Wait(t.Context())
		require.NoError(t, err)
	})
}

// Whatever is wrong with a sending is told, and changes nothing.
func TestSignalsThatCannotBeSent(t *testing.T) {
	b, client := newMemory(t)
	ctx := t.Context()
	enqueue := func(p omniq.Promise[decision]) uuid.UUID {
		h, err := p.Enqueue(ctx, client)
		require.NoError(t, err)
		return h.ID()
	}
	other, err := flowLen.Enqueue(ctx, client, str("a"))
	require.NoError(t, err)
	run, err := omniq.ReferNoArgs[decision](approve.Name()).Enqueue(ctx, client)
	require.NoError(t, err)
	waiting, sent, cancelled := enqueue(approve.Promise()), enqueue(approve.Promise()), enqueue(approve.Promise())
	require.NoError(t, approve.Send(ctx, client, sent, decision{By: "ada"}))
	require.NoError(t, client.Cancel(ctx, cancelled))
	number := omniq.DefineSignal[float64]("number")
	infinite, err := number.Promise().Enqueue(ctx, client)
	require.NoError(t, err)
	yes := decision{By: "ada"}
	for name, c := range map[string]struct {
		err  error
		is   error
		says string
	}{
		"unknown":           {approve.Send(ctx, client, uuid.New(), yes), omniq.ErrNotFound, `send signal "approve", task `},
		"no ID":             {approve.Send(ctx, client, uuid.Nil, yes), omniq.ErrNotFound, ""},
		"another task":      {approve.Send(ctx, client, other.ID(), yes), omniq.ErrInvalid, `a task named "flow.len", want one named "approve"`},
		"a task of workers": {approve.Send(ctx, client, run.ID(), yes), omniq.ErrInvalid, "that workers run"},
		"sent twice":        {approve.Send(ctx, client, sent, yes), omniq.ErrState, "is SUCCESS"},
		"failed after":      {approve.Fail(ctx, client, sent, errOops), omniq.ErrState, "is SUCCESS"},
		"cancelled":         {approve.Send(ctx, client, cancelled, yes), omniq.ErrState, "is CANCELLED"},
		"no error":          {approve.Fail(ctx, client, waiting, nil), omniq.ErrInvalid, "a failure without an error"},
		"no JSON":           {number.Send(ctx, client, infinite.ID(), math.Inf(1)), omniq.ErrInvalid, "the value of type float64"},
		"too large":         {approve.Send(ctx, client, waiting, decision{By: strings.Repeat("x", codec.MaxSize)}), omniq.ErrInvalid, "decision"},
		"another name":      {number.Send(ctx, client, waiting, 1), omniq.ErrInvalid, `named "approve", want one named "number"`},
		"no signal":         {omniq.Signal[decision]{}.Send(ctx, client, waiting, yes), omniq.ErrInvalid, "that DefineSignal has not made"},
		"no client":         {approve.Send(ctx, nil, waiting, yes), omniq.ErrInvalid, "make one with NewClient"},
	} {
		t.Run(name, func(t *testing.T) {
			require.ErrorIs(t, c.err, c.is)
			assert.ErrorContains(t, c.err, c.says)
		})
	}
	_, err = omniq.Signal[decision]{}.Promise().Enqueue(ctx, client)
	require.ErrorIs(t, err, omniq.ErrInvalid)
	_, err = order(approve.Promise(omniq.TTL(-1))).Enqueue(ctx, client)
	require.ErrorIs(t, err, omniq.ErrInvalid)
	assert.Panics(t, func() { omniq.DefineSignal[chan int]("s") })
	assert.Panics(t, func() { omniq.DefineSignal[int]("") })
	for id, want := range map[uuid.UUID]omniq.Status{waiting: omniq.StatusWaiting, sent: omniq.StatusSuccess, other.ID(): omniq.StatusPending} {
		r, err := b.Result(ctx, id)
		require.NoError(t, err)
		assert.Equal(t, want, r.Status)
	}
}

// Of many who send a signal at once one has done it.
func TestSignalIsSentOnce(t *testing.T) {
	_, client := newMemory(t)
	h, err := approve.Promise().Enqueue(t.Context(), client)
	require.NoError(t, err)
	errs := make([]error, 8)
	var senders sync.WaitGroup
	for i := range errs {
		senders.Go(func() { errs[i] = approve.Send(t.Context(), client, h.ID(), decision{By: fmt.Sprint(i)}) })
	}
	senders.Wait()
	got, err := h.Wait(t.Context())
	require.NoError(t, err)
	for i, err := range errs {
		if got.By == fmt.Sprint(i) {
			require.NoError(t, err)
		} else {
			require.ErrorIs(t, err, omniq.ErrState)
		}
	}
}

// A signal is enqueued in a transaction, and not sent in one.
func TestSignalAndTransactions(t *testing.T) {
	b, client := newMemory(t)
	ctx := t.Context()
	tx := b.Begin()
	h, err := approve.Promise().Enqueue(ctx, client.Tx(tx))
	require.NoError(t, err)
	require.ErrorIs(t, approve.Send(ctx, client, h.ID(), decision{}), omniq.ErrNotFound)
	require.NoError(t, tx.Commit())
	tx = b.Begin()
	require.NoError(t, approve.Send(ctx, client.Tx(tx), h.ID(), decision{By: "ada"}))
	require.NoError(t, tx.Rollback())
	got, err := h.Wait(ctx)
	require.NoError(t, err)
	assert.Equal(t, "ada", got.By)
}

// deaf is a backend that loses the answers to Resolve.
type deaf struct{ omniq.Backend }

func (d deaf) Resolve(ctx context.Context, results []*omniq.RawResult) ([]error, error) {
	_, err := d.Backend.Resolve(ctx, results)
	return nil, errors.Join(omniq.ErrUncertain, err)
}

// When the answer was lost, sending again tells that the signal has arrived.
func TestSignalWhoseAnswerIsLost(t *testing.T) {
	b, client := newMemory(t)
	h, err := approve.Promise().Enqueue(t.Context(), client)
	require.NoError(t, err)
	lossy := newClient(t, deaf{b})
	require.ErrorIs(t, approve.Send(t.Context(), lossy, h.ID(), decision{By: "ada"}), omniq.ErrUncertain)
	require.ErrorIs(t, approve.Send(t.Context(), lossy, h.ID(), decision{By: "ada"}), omniq.ErrState)
	got, err := h.Wait(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "ada", got.By)
}
