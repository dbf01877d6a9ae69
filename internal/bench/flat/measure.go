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
	ratios              [len(batches)]float64   // of the largest size to the smallest
	before, peak, after float64                 // bytes, 0 where they are not known
}

// measure takes each measurement once.
func (s settings) measure(ctx context.Context, e engines.Engine, round int) (f figures, err error) {
	if err = s.onAll(ctx, e, round, nil, &f); err != nil || !e.Sized() {
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

// onAll takes the costs when there is a backend of each size.
func (s settings) onAll(ctx context.Context, e engines.Engine, round int, backends []omniq.Backend, f *figures) error {
	if len(backends) == len(s.sizes) {
		return s.costs(ctx, backends, f)
	}
	n := s.sizes[len(backends)]
	return e.On(ctx, fmt.Sprintf("flat_%d_%d", round, n), func(b omniq.Backend) error {
		if err := fill(ctx, b, n); err != nil {
			return err
		}
		return s.onAll(ctx, e, round, append(backends, b), f)
	})
}

// fill stores n tasks that are due, and n results or a few more.
func fill(ctx context.Context, b omniq.Backend, n int) error {
	if err := enqueue(ctx, b, 2*n); err != nil {
		return err
	}
	if _, err := engines.Work(ctx, b, n, func(omniq.Lease) bool { return true }); err != nil {
		return err
	}
	stats, err := b.Stats(ctx)
	if err != nil {
		return err
	}
	return enqueue(ctx, b, n-stats[0].Ready) // the workers may have taken more
}

// costs are what a task costs in a call of each batch on each backend. The calls take turns, so that what slows the machine for a while
// slows all.
func (s settings) costs(ctx context.Context, backends []omniq.Backend, f *figures) error {
	f.costs = make([][len(batches)]float64, len(backends))
	for k, batch := range batches {
		took := make([][]float64, len(backends))
		var ratios []float64
		for call := range s.calls {
			for i := range backends {
				i = (i + call) % len(backends)
				us, err := cost(ctx, backends[i], batch)
				if err != nil {
					return err
				}
				took[i] = append(took[i], us)
			}
			ratios = append(ratios, took[len(took)-1][call]/took[0][call])
		}
		for i := range took {
			f.costs[i][k] = engines.Median(took[i])
		}
		f.ratios[k] = engines.Median(ratios)
	}
	return nil
}

// cost is how many µs each task of so many in a call takes, to its end.
func cost(ctx context.Context, b omniq.Backend, batch int) (float64, error) {
	tasks, err := newTasks(batch)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if err := engines.Enqueue(ctx, b, tasks, batch); err != nil {
		return 0, err
	}
	var leases []omniq.Lease
	for len(leases) < batch { // one that waits only a moment may come back without any
		some, err := engines.Lease(ctx, b, batch-len(leases))
		if err != nil {
			return 0, err
		}
		leases = append(leases, some...)
	}
	err = engines.Settle(ctx, b, leases, time.Hour)
	return float64(time.Since(began).Nanoseconds()) / 1000 / float64(batch), err
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
