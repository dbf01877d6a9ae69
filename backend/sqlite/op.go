package sqlite

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/omniq-go/omniq"
)

// errPark is what an operation returns that has found nothing, and is to be tried again when there may be something.
var errPark = errors.New("parked")

// op is one write, of many in a transaction.
type op struct {
	// do is called in the writer's goroutine, again if the transaction failed. An error is one of the database.
	do    func(*tx) error
	done  chan error
	state atomic.Uint32
	light bool // the crash of the machine may undo it, whose workers are gone then, too

	// Of those that wait: for tasks in one of the queues, or for what is revoked of a worker.
	queues []string
	worker string
	spared bool // it was not allowed to take what there may be
}

// The bits of an op's state.
const (
	opTaken uint32 = 1 << iota // the writer works on it
	opGone                     // its caller has gone
)

func (o *op) take() bool { return o.state.CompareAndSwap(0, opTaken) }

// leave tells the writer that the caller goes. It is false if the op's work is being done now.
func (o *op) leave() bool { return o.state.Or(opGone)&opTaken == 0 }

// park undoes take. It is false if the caller waits for the op to end.
func (o *op) park() bool {
	if o.state.And(^opTaken)&opGone != 0 {
		o.done <- nil
		return false
	}
	return true
}

// stirs reports whether the transaction has got something that the op may wait for.
func (o *op) stirs(t *tx) bool {
	if o.queues == nil {
		return t.revoked[o.worker]
	}
	return slices.ContainsFunc(o.queues, func(q string) bool { return t.ready[q] })
}

// empty notes that the op has found nothing, unless there may be something for others.
func (o *op) empty(t *tx) {
	if o.spared {
		return
	}
	for _, q := range o.queues {
		delete(t.ready, q)
	}
}

func (o *op) gone() bool { return o.state.Load()&opGone != 0 }

// outcomeWait is for how long a call whose context has ended waits to know what has become of its work, which is being
// done.
const outcomeWait = time.Second

// write does one write, and returns when it is committed or ctx has ended. It fails with [omniq.ErrUncertain] if ctx has
// ended and it cannot be known in time whether it is committed: do may be running then. So what do sets is looked at only without an error,
// and what do reads is not the caller's.
func (b *Backend) write(ctx context.Context, do func(*tx) error) error {
	return b.end(ctx, &op{do: do})
}

// end does one write, as write does.
func (b *Backend) end(ctx context.Context, o *op) error {
	o.done = make(chan error, 1)
	if err := b.w.submit(ctx, o); err != nil {
		return err
	}
	select {
	case err := <-o.done:
		return b.wrap(err)
	case <-ctx.Done():
	}
	if o.leave() {
		return contextError(ctx)
	}
	select {
	case err := <-o.done:
		return b.wrap(err)
	case <-time.After(outcomeWait):
		return fmt.Errorf("%w: %w", omniq.ErrUncertain, contextError(ctx))
	}
}

// wait does one write that waits until there is something to do, for no longer than a time. It reports with gone that
// there was nothing in this time or until ctx ended, and does not go while its work is done.
func (b *Backend) wait(ctx context.Context, o *op, limit time.Duration) (gone bool, err error) {
	o.done = make(chan error, 1)
	if err := b.w.submit(ctx, o); err != nil {
		return false, err
	}
	var timeout <-chan time.Time
	if limit >= 0 {
		timer := time.NewTimer(limit)
		defer timer.Stop()
		timeout = timer.C
	}
	select {
	case err := <-o.done:
		return false, b.wrap(err)
	case <-timeout:
	case <-ctx.Done():
	}
	if o.leave() {
		return true, nil
	}
	return false, b.wrap(<-o.done)
}
