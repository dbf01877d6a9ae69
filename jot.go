package omniq

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// jot is what the handler of one attempt leaves of its task.
type jot struct {
	worker  *Worker
	attempt *attempt
	saving  chan struct{} // has a token, which who saves state holds

	mu       sync.Mutex
	closed   error // why nothing can be left any more, nil while it can
	progress members
	version  uint64 // of progress
	kept     uint64 // the version that the engine has
	listed   bool   // the worker's jotter has it
	state    members
	stateErr error // why what the attempts before have left cannot be read
}

// jotFrom is that of the attempt whose handler has the context.
func jotFrom(ctx context.Context) (*jot, error) {
	h, ok := ctx.Value(executionKey{}).(*execution)
	if !ok {
		return nil, invalid("the context is not that of a handler in a worker")
	}
	if j := h.attempt.jot.Load(); j != nil {
		return j, nil
	}
	return h.worker.newJot(h.attempt)
}

func (w *Worker) newJot(a *attempt) (*jot, error) {
	if err := checkNotes(w.backend); err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if j := a.jot.Load(); j != nil {
		return j, nil
	}
	if err := a.ended(); err != nil {
		return nil, err
	}
	j := &jot{worker: w, attempt: a, saving: make(chan struct{}, 1)}
	j.saving <- struct{}{}
	j.state, j.stateErr = readMembers(a.lease.State)
	a.jot.Store(j)
	return j, nil
}

// ended is why the attempt's handler can leave nothing any more, nil if it can. The worker's mu is locked.
func (a *attempt) ended() error {
	switch {
	case a.lost != nil && !errors.Is(a.lost, errCommitted):
		return a.lost
	case a.lost != nil, a.shut, a.settling, a.over:
		return errReturned
	}
	return nil
}

// close says that nothing can be left any more.
func (j *jot) close(why error) {
	if j == nil {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed == nil {
		j.closed = why
	}
}

// reopen takes back a close, as far as something else does not stand against it. The worker's mu is locked.
func (j *jot) reopen() {
	if j == nil {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed = j.attempt.ended(); j.closed == nil && j.version != j.kept && !j.listed {
		j.listed = true
		j.worker.jotter.list(j)
	}
}

func (j *jot) open() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.closed
}

// withNotes closes what the attempt's handler leaves, and adds what the engine does not have of it to the effects of a
// settlement, which may be nil.
func (a *attempt) withNotes(e *Effects) *Effects {
	j := a.jot.Load()
	if j == nil {
		return e
	}
	j.close(errReturned)
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.version == j.kept {
		return e
	}
	if e == nil {
		e = new(Effects)
	}
	e.Progress = j.progress.text()
	return e
}

// withoutNotes takes the notes out of the attempt's settlement, and reports whether there were any: what the engine cannot
// keep of them is not to take the outcome with it.
func (a *attempt) withoutNotes() bool {
	e := a.settlement.Effects
	if e == nil || e.Empty() {
		return false
	}
	bare := *e
	bare.Notes = Notes{}
	if a.settlement.Effects = &bare; bare.Enqueue == nil && bare.Cancel == nil && a.settlement.Action != ActionWait {
		a.settlement.Effects = nil
	}
	return true
}

// set sets the progress under a key, to be sent soon. It keeps value, and returns memory that is free now.
func (j *jot) set(key string, value Raw) (free Raw, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed != nil {
		return value, j.closed
	}
	free, err = j.progress.put(key, value)
	if err != nil {
		return value, err
	}
	j.version++
	if !j.listed {
		j.listed = true
		j.worker.jotter.list(j)
	}
	return free, nil
}

// unsent returns the progress that the engine does not have, and its version: zero for none.
func (j *jot) unsent() (progress Raw, version uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.listed = false
	if j.closed != nil || j.version == j.kept {
		return nil, 0
	}
	return j.progress.text(), j.version
}

// sent says that the engine has a version of the progress, or will never have it.
func (j *jot) sent(version uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.kept = max(j.kept, version)
}

// again lists progress once more that the engine may not have.
func (j *jot) again() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed == nil && !j.listed {
		j.listed = true
		j.worker.jotter.list(j)
	}
}

// load returns the state under a key, nil for none.
func (j *jot) load(key string) (Raw, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case j.closed != nil:
		return nil, j.closed
	case j.stateErr != nil:
		return nil, fmt.Errorf("what the task has cannot be read: %w", j.stateErr)
	}
	if i := j.state.find(key); i >= 0 {
		return j.state.list[i].value, nil
	}
	return nil, nil
}

// save stores the state with a value under a key, which it keeps.
func (j *jot) save(ctx context.Context, key string, value Raw) error {
	ctx, stop, err := j.lasting(ctx)
	if err != nil {
		return err
	}
	defer stop()
	select {
	case <-j.saving:
		defer func() { j.saving <- struct{}{} }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	next, err := j.with(key, value)
	if err != nil {
		return err
	}
	notes := []LeaseNotes{{LeaseID: j.attempt.lease.LeaseID, Notes: Notes{State: next.text()}}}
	err = j.leave(ctx, notes)
	for pause := firstResend; isUncertain(err) && pause <= lastResend; pause *= 2 { // once more is as good as once
		sleep(ctx, spread(pause, 0.5))
		if ctx.Err() != nil || j.open() != nil {
			break
		}
		err = j.leave(ctx, notes)
	}
	if err == nil {
		j.mu.Lock()
		j.state = next
		j.mu.Unlock()
	}
	return err
}

// send adds items to streams, in as many steps as it takes.
func (j *jot) send(ctx context.Context, items []StreamItem) error {
	ctx, stop, err := j.lasting(ctx)
	if err != nil {
		return err
	}
	defer stop()
	for sent := 0; sent < len(items); {
		n := sent
		for size := 0; n < len(items) && n-sent < maxLeaving && (n == sent || size+len(items[n].Data) <= MaxNotes); n++ {
			size += len(items[n].Data)
		}
		err := j.leave(ctx, []LeaseNotes{{LeaseID: j.attempt.lease.LeaseID, Notes: Notes{Stream: items[sent:n:n]}}})
		if err != nil && sent > 0 {
			err = fmt.Errorf("the first %d of %d values are stored: %w", sent, len(items), err)
		}
		if err != nil {
			return err
		}
		sent = n
	}
	return nil
}

// with returns the state with a value under a key.
func (j *jot) with(key string, value Raw) (members, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case j.closed != nil:
		return members{}, j.closed
	case j.stateErr != nil:
		return members{}, fmt.Errorf("what the task has cannot be read: %w", j.stateErr)
	}
	next := j.state
	next.list = append(make([]member, 0, len(next.list)+1), next.list...)
	_, err := next.put(key, value)
	return next, err
}

// leave passes notes of the attempt's on, with those of others.
func (j *jot) leave(ctx context.Context, notes []LeaseNotes) error {
	if err := j.open(); err != nil {
		return err
	}
	errs, err := j.worker.jotter.group.Do(ctx, notes)
	for _, e := range errs {
		if err == nil {
			err = e
		}
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = context.Cause(ctx)
	}
	j.worker.heed(j.attempt, err)
	return err
}

// lasting returns a context that ends with ctx, but not when the attempt's own does: what a handler leaves that is told to
// stop is kept as long as its lease is.
func (j *jot) lasting(ctx context.Context) (context.Context, func(), error) {
	own := j.attempt.execution.Context
	if ctx.Err() != nil && own.Err() == nil {
		return nil, nil, ctx.Err()
	}
	lasting, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		if own.Err() == nil {
			cancel(ctx.Err())
		}
	})
	return lasting, func() { stop(); cancel(nil) }, nil
}

// heed ends an attempt of which the engine has said that its lease is lost, unless it ends anyway.
func (w *Worker) heed(a *attempt, err error) {
	for _, why := range []error{ErrCancelled, ErrLeaseLost} {
		if errors.Is(err, why) {
			w.mu.Lock()
			if a.ended() == nil {
				a.lose(why)
			}
			w.mu.Unlock()
			return
		}
	}
}
