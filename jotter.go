package omniq

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/omniq-go/omniq/internal/batch"
	"github.com/omniq-go/omniq/internal/logkey"
)

// jotter passes on what the handlers of a worker leave of their tasks. While the engine has one such call in flight, those
// that come gather for the next. What is progress waits a little before, for what follows.
type jotter struct {
	worker *Worker
	group  *batch.Group[LeaseNotes]

	mu     sync.Mutex
	listed []*jot        // that have progress to be sent
	more   chan struct{} // holds a token after there is a first one
}

const (
	progressPause = 250 * time.Millisecond // after the first of them, before changes of progress are sent
	maxUnsent     = 5 * time.Second        // the longest pause while the engine fails to keep them

	maxNoted   = 4 * MaxNotes // bytes of notes that are gathered for one call
	maxLeaving = 1000         // notes of one caller in one call
)

func newJotter(w *Worker) *jotter {
	n := &jotter{worker: w, more: make(chan struct{}, 1)}
	n.group = batch.New(n.note, func(err error) bool {
		return isUncertain(err) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
	}).Bounded(maxNoted, noteSize)
	return n
}

func noteSize(n LeaseNotes) int {
	size := len(n.Progress) + len(n.State)
	for i := range n.Stream {
		size += len(n.Stream[i].Name) + len(n.Stream[i].Data)
	}
	return size
}

// note is a call of the backend for those that have gathered.
func (n *jotter) note(ctx context.Context, notes []LeaseNotes) ([]error, error) {
	timeout := n.worker.lease / 3
	call, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	errs, err := n.worker.backend.Note(call, notes)
	if err != nil && call.Err() != nil && ctx.Err() == nil {
		err = fmt.Errorf("%w: no answer within %v: %v", ErrUncertain, timeout, err) // no context of a caller's has ended
	}
	return errs, err
}

// list has progress sent soon.
func (n *jotter) list(j *jot) {
	n.mu.Lock()
	n.listed = append(n.listed, j)
	n.mu.Unlock()
	select {
	case n.more <- struct{}{}:
	default:
	}
}

func (n *jotter) take() []*jot {
	n.mu.Lock()
	defer n.mu.Unlock()
	listed := n.listed
	n.listed = nil
	return listed
}

// run sends progress until ctx ends. There is nothing to do for it as long as nothing is listed.
func (n *jotter) run(ctx context.Context) {
	defer n.take()
	pause := progressPause
	for {
		select {
		case <-n.more:
		case <-ctx.Done():
			return
		}
		sleep(ctx, pause)
		began := time.Now()
		failed, why := n.send(ctx, n.take())
		if failed == 0 || ctx.Err() != nil {
			pause = progressPause
			continue
		}
		pause = min(2*pause, maxUnsent)
		n.worker.log.Error("cannot keep the progress of tasks; trying again",
			logkey.Tasks, failed, logkey.Took, time.Since(began), logkey.Pause, pause, logkey.Error, why)
	}
}

// send sends the progress of attempts. Of how many the engine has failed to keep it is returned, and why: they are listed
// again.
func (n *jotter) send(ctx context.Context, listed []*jot) (failed int, why error) {
	for part := range slices.Chunk(listed, maxLeaving) {
		for len(part) > 0 {
			f, err := n.sendSome(ctx, &part)
			if failed += f; err != nil {
				why = err
			}
		}
	}
	return failed, why
}

// sendSome sends the progress of the first of the jots, as much as fits into a call, and takes them out.
func (n *jotter) sendSome(ctx context.Context, listed *[]*jot) (failed int, why error) {
	var notes []LeaseNotes
	var of []*jot
	var versions []uint64
	for size := 0; len(*listed) > 0 && size < maxNoted; *listed = (*listed)[1:] {
		j := (*listed)[0]
		progress, version := j.unsent()
		if version == 0 {
			continue
		}
		notes = append(notes, LeaseNotes{j.attempt.lease.LeaseID, Notes{Progress: progress}})
		of, versions = append(of, j), append(versions, version)
		size += len(progress)
	}
	if len(notes) == 0 {
		return 0, nil
	}
	errs, err := n.group.Do(ctx, notes)
	for i, j := range of {
		e := err
		if e == nil && errs != nil {
			e = errs[i]
		}
		switch {
		case e == nil:
			j.sent(versions[i])
		case errors.Is(e, ErrLeaseLost), errors.Is(e, ErrCancelled):
			n.worker.heed(j.attempt, e)
		case errors.Is(e, ErrClosed):
		case errors.Is(e, ErrInvalid):
			j.sent(versions[i])
			n.worker.logAttempt(j.attempt, slog.LevelError, "the engine refused the progress of the task", slog.Any(logkey.Error, e))
		default:
			failed, why = failed+1, e
			j.again()
		}
	}
	return failed, why
}
