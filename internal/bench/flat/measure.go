package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/bench/engines"
)

// batches are how many tasks a call has.
var batches = [...]int{1, engines.AtOnce}

// figures are what one round came to on one engine.
type figures struct {
	costs               [][len(batches)]float64 // µs a task, by size and batch
	before, peak, after float64                 // bytes, 0 where they are not known
}

// measure takes each measurement once.
func (s settings) measure(ctx context.Context, e engines.Engine, round int) (f figures, err error) {
	err = e.On(ctx, fmt.Sprintf("flat_%d", round), func(b omniq.Backend) error {
		f.costs, err = s.costs(ctx, b)
		return err
	})
	if err != nil || !e.Sized() {
		return f, err
	}
	place := fmt.Sprintf("peak_%d", round)
	err = e.On(ctx, place, func(b omniq.Backend) error {
		return s.overPeak(ctx, b, func() (float64, error) {
			n, err := e.Size(place)
			return float64(n), err
		}, &f)
	})
	return f, err
}

// costs are what a task costs beside each number of others. Those of one size are among those of the next.
func (s settings) costs(ctx context.Context, b omniq.Backend) (costs [][len(batches)]float64, err error) {
	there := 0
	for _, n := range s.sizes {
		if err := enqueue(ctx, b, 2*(n-there)); err != nil {
			return nil, err
		}
		if _, err := engines.Work(ctx, b, n-there, func(omniq.Lease) bool { return true }); err != nil {
			return nil, err
		}
		// What the workers have taken too many of has results.
		stats, err := b.Stats(ctx)
		if err != nil {
			return nil, err
		}
		if err := enqueue(ctx, b, n-stats[0].Ready); err != nil {
			return nil, err
		}
		there = n
		var cost [len(batches)]float64
		for k, batch := range batches {
			if cost[k], err = s.cost(ctx, b, batch); err != nil {
				return nil, err
			}
		}
		costs = append(costs, cost)
	}
	return costs, nil
}

// cost is how many µs each task of so many in a call takes, to its end.
func (s settings) cost(ctx context.Context, b omniq.Backend, batch int) (float64, error) {
	var took []float64
	for range s.calls {
		tasks, err := newTasks(batch)
		if err != nil {
			return 0, err
		}
		began := time.Now()
		if err := engines.Enqueue(ctx, b, tasks, batch); err != nil {
			return 0, err
		}
		leases, err := engines.Lease(ctx, b, batch)
		if err != nil || len(leases) != batch {
			return 0, fmt.Errorf("%d leases, want %d: %w", len(leases), batch, err)
		}
		if err := engines.Settle(ctx, b, leases, time.Hour); err != nil {
			return 0, err
		}
		took = append(took, float64(time.Since(began).Nanoseconds())/1000/float64(batch))
	}
	return engines.Median(took), nil
}

func newTasks(n int) ([]*omniq.RawTask, error) {
	tasks := make([]*omniq.RawTask, n)
	for i := range tasks {
		var err error
		if tasks[i], err = engines.NewTask(); err != nil {
			return nil, err
		}
	}
	return tasks, nil
}

// enqueue stores n tasks.
func enqueue(ctx context.Context, b omniq.Backend, n int) error {
	const step = 1000
	for ; n > 0; n -= step {
		tasks, err := newTasks(min(n, step))
		if err != nil {
			return err
		}
		if err := engines.Enqueue(ctx, b, tasks, step); err != nil {
			return err
		}
	}
	return nil
}

// overPeak takes sizes before, at and after a peak.
func (s settings) overPeak(ctx context.Context, b omniq.Backend, size func() (float64, error), f *figures) (err error) {
	if err := enqueue(ctx, b, 1000); err != nil {
		return err
	}
	if f.before, err = size(); err != nil {
		return err
	}
	if err := enqueue(ctx, b, s.peak); err != nil {
		return err
	}
	done := make([]uuid.UUID, 0, s.peak)
	for len(done) < s.peak {
		leases, err := engines.Lease(ctx, b, min(engines.AtOnce, s.peak-len(done)))
		if err != nil {
			return err
		}
		for _, l := range leases {
			done = append(done, l.TaskID)
		}
		if err := engines.Settle(ctx, b, leases, time.Hour); err != nil {
			return err
		}
	}
	if f.peak, err = size(); err != nil {
		return err
	}
	for len(done) > 0 {
		some := done[:min(1000, len(done))]
		errs, err := b.Forget(ctx, some)
		if err = errors.Join(append(errs, err)...); err != nil {
			return err
		}
		done = done[len(some):]
	}
	done = nil //nolint:ineffassign,wastedassign // it is in the heap, too
	f.after, err = settled(ctx, size)
	return err
}

// settled is the size when it has not become smaller for a while: an engine may give back a part at a time.
func settled(ctx context.Context, size func() (float64, error)) (float64, error) {
	const still = 2 * time.Second
	least, err := size()
	for since := time.Now(); err == nil && time.Since(since) < still; {
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
		var n float64
		if n, err = size(); n < least {
			least, since = n, time.Now()
		}
	}
	return least, err
}
