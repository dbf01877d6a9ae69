package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
)

// Await waits for a task's result: see [omniq.ResultStore].
func (b *Backend) Await(ctx context.Context, id uuid.UUID) (*omniq.RawResult, error) {
	if err := b.alive(ctx); err != nil {
		return nil, err
	}
	// Who waits is known before it is looked, so that no end of the task is missed in between.
	w := b.awaited.Begin(id)
	defer b.awaited.Leave(id, w)
	s := b.hub.subscribe(resultTopic(id))
	defer b.hub.cancel(s)
	poll := time.NewTicker(b.config.poll)
	defer poll.Stop()
	for waited := false; ; waited = true {
		r, err := b.result(ctx, id, waited)
		switch {
		case err == nil && r.Status.Final():
			return r, nil
		case errors.Is(err, omniq.ErrNotFound):
			select {
			case <-w.Done: // it was settled in between, and its result is not kept
				return w.Result, w.Err
			default:
				return nil, err
			}
		case err != nil:
			return nil, err
		}
		b.awaited.Look(w)
		select {
		case <-w.Done:
			return w.Result, w.Err
		case <-s.woken:
		case <-poll.C:
		case <-ctx.Done():
			return nil, contextError(ctx)
		case <-b.closing:
			return nil, omniq.ErrClosed
		}
	}
}
