package omniq

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq/internal/batch"
)

// sender enqueues tasks in a backend, and again when the answer was lost.
type sender struct {
	backend Backend
	shared  bool // calls gather while one is in flight
	group   *batch.Group[*sending]
}

// sending is a task on its way.
type sending struct {
	task  *RawTask
	maybe atomic.Bool // a call that may have stored it has failed
	first *sending    // the item before it in such a call that has the same ID, nil for none
}

// enqueueBy is how a client of the backend enqueues.
func enqueueBy(b Backend) func(context.Context, []*RawTask) ([]error, error) {
	if r, ok := b.(*route); ok {
		return r.sender()
	}
	return newSender(b).enqueue
}

func newSender(b Backend) *sender {
	caps := b.Capabilities()
	s := &sender{backend: b, shared: caps.Durable || caps.Shared} // then a call costs more than to wait for another one
	s.group = batch.New(s.send, isUncertain)
	return s
}

// The pauses before a call is repeated whose answer was lost: half of each is chance.
const (
	firstResend = 50 * time.Millisecond // doubled for each further one
	lastResend  = time.Second           // and none is longer
)

// enqueue is that of [Enqueuer], and tries again when the answer was lost.
func (s *sender) enqueue(ctx context.Context, tasks []*RawTask) ([]error, error) {
	if s.shared {
		items := newSending(tasks)
		errs, err := s.group.Do(ctx, items)
		if err == nil || ctx.Err() != nil || !inDoubt(items, err) {
			return errs, err
		}
		return s.resend(ctx, items, err)
	}
	errs, err := s.backend.Enqueue(ctx, tasks)
	if !isUncertain(err) || ctx.Err() != nil {
		return errs, err
	}
	items := newSending(tasks)
	doubt(items)
	return s.resend(ctx, items, err)
}

func newSending(tasks []*RawTask) []*sending {
	all := make([]sending, len(tasks))
	items := make([]*sending, len(tasks))
	for i, t := range tasks {
		all[i].task = t
		items[i] = &all[i]
	}
	return items
}

// resend sends items again that may have been stored, because of err.
func (s *sender) resend(ctx context.Context, items []*sending, err error) ([]error, error) {
	for pause := firstResend; pause <= lastResend; pause *= 2 {
		sleep(ctx, spread(pause, 0.5))
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%w: %w", ctx.Err(), err)
		}
		errs, again := s.group.Do(ctx, items)
		if err = again; err == nil {
			return errs, nil
		}
		if ctx.Err() != nil {
			return nil, err
		}
		if errors.Is(err, ErrInvalid) || errors.Is(err, ErrClosed) {
			break
		}
	}
	if isUncertain(err) {
		return nil, err
	}
	return nil, fmt.Errorf("%w: %w", ErrUncertain, err) // that of the first call still is
}

// send is a call of the backend, for those who have gathered.
func (s *sender) send(ctx context.Context, items []*sending) ([]error, error) {
	tasks := make([]*RawTask, len(items))
	for i, item := range items {
		tasks[i] = item.task
	}
	errs, err := s.backend.Enqueue(ctx, tasks)
	if isUncertain(err) {
		doubt(items)
	}
	for i, item := range items {
		if item.first != nil && err == nil && (errs == nil || errs[i] == nil) {
			item.first.maybe.Store(false) // it was not the one that is stored
		}
	}
	for i, err := range errs {
		if d, ok := errors.AsType[Duplicate](err); ok && d.Holder == d.ID && items[i].maybe.Load() {
			errs[i] = nil // it is in its own way
		}
	}
	return errs, err
}

// doubt notes that the items may have been stored: of those with one ID only the first, the others are duplicates.
func doubt(items []*sending) {
	seen := make(map[uuid.UUID]*sending, len(items))
	for _, item := range items {
		first, twice := seen[item.task.ID]
		switch {
		case !twice && item.first == nil:
			item.maybe.Store(true)
			seen[item.task.ID] = item
		case !twice:
			seen[item.task.ID] = item.first
		case item.first == nil && !item.maybe.Load():
			item.first = first
		}
	}
}

func isUncertain(err error) bool { return errors.Is(err, ErrUncertain) }

// inDoubt reports whether some of the items may have been stored although the call failed.
func inDoubt(items []*sending, err error) bool {
	return isUncertain(err) || slices.ContainsFunc(items, func(i *sending) bool { return i.maybe.Load() })
}
