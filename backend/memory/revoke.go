package memory

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/engine"
)

// revocations are the leases that are lost because their tasks were cancelled, until their workers ask for them or they
// would have ended by themselves.
type revocations struct {
	workers map[string]*revoked
	ends    moments[revocation]
}

// revoked is what one worker is to hear. It exists while there is something, or the worker waits.
type revoked struct {
	leases  map[omniq.LeaseID]struct{}
	waiting int
	more    chan struct{} // closed when there is one; nil if the worker does not wait
}

type revocation struct {
	worker string
	lease  omniq.LeaseID
}

// of returns what there is for a worker.
func (v *revocations) of(worker string) *revoked {
	r, ok := v.workers[worker]
	if !ok {
		if v.workers == nil {
			v.workers = make(map[string]*revoked)
		}
		r = &revoked{leases: make(map[omniq.LeaseID]struct{})}
		v.workers[worker] = r
	}
	return r
}

// tidy forgets a worker for whom there is nothing.
func (v *revocations) tidy(worker string, r *revoked) {
	if len(r.leases) == 0 && r.waiting == 0 {
		delete(v.workers, worker)
	}
}

// add notes that a lease is lost, which would have ended at a time.
func (v *revocations) add(worker string, lease omniq.LeaseID, until time.Time) {
	r := v.of(worker)
	r.leases[lease] = struct{}{}
	v.ends.add(until, revocation{worker, lease})
	if r.more != nil {
		close(r.more)
		r.more = nil
	}
}

func (v *revocations) advance(now time.Time) {
	for range atOnce {
		ended, ok := v.ends.pop(now)
		if !ok {
			return
		}
		if r, ok := v.workers[ended.worker]; ok {
			delete(r.leases, ended.lease)
			v.tidy(ended.worker, r)
		}
	}
}

// Revoked waits for leases of the worker that were lost because their tasks were cancelled, and returns them: see
// [omniq.TaskQueue].
func (b *Backend) Revoked(ctx context.Context, workerID string) ([]omniq.LeaseID, error) {
	if err := engine.CheckWorker(workerID); err != nil {
		return nil, err
	}
	if _, err := b.begin(ctx); err != nil {
		return nil, err
	}
	r := b.revoked.of(workerID)
	r.waiting++
	var err error
	for len(r.leases) == 0 && err == nil {
		if r.more == nil {
			r.more = make(chan struct{})
		}
		more := r.more
		b.end()
		select {
		case <-more:
		case <-ctx.Done():
			err = contextError(ctx)
		case <-b.closed:
			return nil, omniq.ErrClosed
		}
		if _, closed := b.begin(context.WithoutCancel(ctx)); closed != nil {
			return nil, closed
		}
	}
	defer b.end()
	r.waiting--
	leases := slices.Collect(maps.Keys(r.leases))
	clear(r.leases)
	b.revoked.tidy(workerID, r)
	if len(leases) > 0 {
		err = nil
	}
	return leases, err
}
