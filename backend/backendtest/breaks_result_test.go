package backendtest

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
)

// brokenResults do something wrong with results.
var brokenResults = []breakage{
	{"drops data", kept(func(r *omniq.RawResult) { r.ResultData = nil }), []string{"a result is kept as it was settled", others}},
	{"drops errors", kept(func(r *omniq.RawResult) { r.Error = nil }), []string{"a result is kept as it was settled", others}},
	{"keeps results for ever", kept(func(r *omniq.RawResult) { r.TTL = nil }), []string{
		"a result is kept as it was settled",
		"a result without a TTL to live reaches those who wait",
		"a result goes when its TTL is over, and its ID can be used again",
		others,
	}},
	{"keeps results without a TTL to live", kept(func(r *omniq.RawResult) {
		if d := long; r.TTL != nil && *r.TTL == 0 {
			r.TTL = &d
		}
	}), []string{"a result without a TTL to live reaches those who wait", others}},
	{"keeps no results", kept(func(r *omniq.RawResult) { r.TTL = new(time.Duration) }), []string{"a result is kept as it was settled", others}},
	{"cuts results", kept(func(r *omniq.RawResult) { r.ResultData = r.ResultData[:min(len(r.ResultData), 64<<10)] }), []string{"payloads of all sizes pass", others}},
	{"does not know what is running", results(func(r *omniq.RawResult) {
		if r.Status == omniq.StatusRunning {
			r.Status = omniq.StatusPending
		}
	}), []string{
		"a task that is not settled has a status and no result",
		others,
	}},
	{"is pending since now", results(func(r *omniq.RawResult) {
		if r.Status == omniq.StatusPending {
			r.Timestamp = time.Now()
		}
	}), []string{"a task is pending since it was enqueued even if it becomes due later"}},
	{"does not wake those who wait", awaits(func(ctx context.Context, b *broken, id uuid.UUID) (*omniq.RawResult, error) {
		if r, err := b.m.Result(ctx, id); err != nil || r.Status.Final() {
			return r, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-b.closed():
			return nil, omniq.ErrClosed
		}
	}), []string{
		"an expired task's result goes when its own TTL is over",
		"Await returns when the task is settled",
		"Await goes on while a task is tried again",
		"a result without a TTL to live reaches those who wait",
		others,
	}},
	{"looks for results now and then", awaits(func(ctx context.Context, b *broken, id uuid.UUID) (*omniq.RawResult, error) {
		for {
			if r, err := b.m.Result(ctx, id); err != nil || r.Status.Final() {
				return r, err
			}
			time.Sleep(time.Millisecond)
		}
	}), []string{"a result without a TTL to live reaches those who wait", others}},
	{"does not wait for results", awaits(func(ctx context.Context, b *broken, id uuid.UUID) (*omniq.RawResult, error) {
		return b.m.Result(ctx, id)
	}), []string{
		"Await returns when the task is settled",
		"Await goes on while a task is tried again",
		others,
	}},
	{"waits for one attempt", awaits(func(ctx context.Context, b *broken, id uuid.UUID) (*omniq.RawResult, error) {
		was := omniq.StatusPending
		for {
			r, err := b.m.Result(ctx, id)
			switch {
			case err != nil || r.Status.Final():
				return b.m.Await(ctx, id)
			case was == omniq.StatusRunning && r.Status == omniq.StatusPending:
				return r, nil
			}
			was = r.Status
			time.Sleep(time.Millisecond)
		}
	}), []string{"Await goes on while a task is tried again", "a result without a TTL to live reaches those who wait", others}},
	{"waits for what it does not know", awaits(func(ctx context.Context, b *broken, id uuid.UUID) (*omniq.RawResult, error) {
		r, err := b.m.Await(ctx, id)
		if errors.Is(err, omniq.ErrNotFound) {
			<-ctx.Done()
			err = ctx.Err()
		}
		return r, err
	}), []string{
		"an unknown ID is not found, at once",
		"a result without a TTL to live reaches those who wait",
		"a result goes when its TTL is over, and its ID can be used again",
		others,
	}},
}

// brokenCalls do not what all methods must.
var brokenCalls = []breakage{
	{"does not look at contexts", contexts(context.WithoutCancel), []string{
		"a method whose context has ended does nothing",
		"a call that blocks ends with its context",
		"Events and Append end with their context",
	}},
	{"does not look at contexts that have ended", contexts(func(ctx context.Context) context.Context {
		if ctx.Err() != nil {
			ctx = context.WithoutCancel(ctx)
		}
		return ctx
	}), []string{
		"a method whose context has ended does nothing",
		"Events and Append end with their context",
	}},
	{"returns causes only", func(b *broken) {
		b.await = func(ctx context.Context, id uuid.UUID) (*omniq.RawResult, error) {
			r, err := b.m.Await(ctx, id)
			if ctx.Err() != nil {
				err = errOther
			}
			return r, err
		}
	}, []string{
		"a method whose context has ended does nothing",
		"a call that blocks ends with its context",
	}},
	{"does not close", func(b *broken) { b.close = func() error { return nil } }, []string{
		"after Close each method returns ErrClosed",
		"after Close Events and Append return ErrClosed",
	}},
	{"closes once", func(b *broken) {
		var err error
		b.close = func() error {
			defer func() { err = omniq.ErrClosed }()
			_ = b.m.Close()
			return err
		}
	}, []string{"after Close each method returns ErrClosed"}},
	{"does not like to be called for nothing", func(b *broken) {
		b.settle = func(ctx context.Context, settlements []omniq.Settlement) ([]error, error) {
			if len(settlements) == 0 {
				return nil, omniq.ErrInvalid
			}
			return b.m.Settle(ctx, settlements)
		}
	}, []string{"a call of no items does nothing"}},
	{"accepts what cannot be", settlements(func(s *omniq.Settlement) {
		if s.Action > omniq.ActionDefer {
			s.Action = omniq.ActionRetry
		}
	}), []string{"a request that cannot be is refused and changes nothing"}},
	{"settles what comes before what cannot be", func(b *broken) {
		b.settle = func(ctx context.Context, settlements []omniq.Settlement) ([]error, error) {
			errs, lost := make([]error, len(settlements)), false
			for i := range settlements {
				one, err := b.m.Settle(ctx, settlements[i:i+1])
				if err != nil {
					return nil, err
				}
				if one != nil {
					errs[i], lost = one[0], true
				}
			}
			if !lost {
				errs = nil
			}
			return errs, nil
		}
	}, []string{"a request that cannot be is refused and changes nothing"}},
	{"reports the first of a call", func(b *broken) {
		b.settle = func(ctx context.Context, settlements []omniq.Settlement) ([]error, error) {
			errs, err := b.m.Settle(ctx, settlements)
			return errs[:min(1, len(errs))], err
		}
	}, []string{
		"a lease that was settled cannot be settled again",
		"each settlement of a call counts for itself",
		"a settlement that cannot be stored is refused in its place, and keeps no other from being done",
		"calls at once for the same tasks in opposite orders do not stop each other, and do each once",
		others,
	}},
	{"hides lost leases", func(b *broken) {
		b.settle = func(ctx context.Context, settlements []omniq.Settlement) ([]error, error) {
			_, err := b.m.Settle(ctx, settlements)
			return nil, err
		}
	}, []string{
		"a lease that another one has followed settles and extends nothing",
		"a lease that ran out settles and extends nothing even if no other one has followed",
		"a lease that never was settles and extends nothing",
		"a lease that was settled cannot be settled again",
		"each settlement of a call counts for itself",
		others,
	}},
}

// results changes what Result returns.
func results(change func(*omniq.RawResult)) func(*broken) {
	return func(b *broken) {
		b.result = func(ctx context.Context, id uuid.UUID) (*omniq.RawResult, error) {
			r, err := b.m.Result(ctx, id)
			if err == nil {
				c := *r
				r = &c
				change(r)
			}
			return r, err
		}
	}
}

// awaits replaces Await.
func awaits(f func(context.Context, *broken, uuid.UUID) (*omniq.RawResult, error)) func(*broken) {
	return func(b *broken) {
		b.await = func(ctx context.Context, id uuid.UUID) (*omniq.RawResult, error) { return f(ctx, b, id) }
	}
}
