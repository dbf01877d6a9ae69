package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/bench/engines"
)

// figures are what one round came to on one engine.
type figures struct {
	plain, limit, few, many float64 // worked a second
	leaseFew, leaseMany     float64 // milliseconds
	tenants                 float64 // seconds
}

const few = 10 // lanes

// measure takes each measurement once.
func (s settings) measure(ctx context.Context, e engines.Engine, round int) (f figures, err error) {
	cases := []struct {
		name string
		take func(b omniq.Backend) error
	}{
		{"plain", func(b omniq.Backend) (err error) { f.plain, err = worked(ctx, b, s.tasks, 0); return err }},
		{"limit", func(b omniq.Backend) (err error) {
			if err := b.SetLimit(ctx, omniq.DefaultQueue, omniq.Limit{Running: omniq.MaxLimit}); err != nil {
				return err
			}
			f.limit, err = worked(ctx, b, s.tasks, 0)
			return err
		}},
		{"few", func(b omniq.Backend) (err error) { f.few, err = worked(ctx, b, s.tasks, few); return err }},
		{"many", func(b omniq.Backend) (err error) { f.many, err = worked(ctx, b, s.tasks, s.lanes); return err }},
		{"leasefew", func(b omniq.Backend) (err error) { f.leaseFew, err = leased(ctx, b, s.tasks, few); return err }},
		{"leasemany", func(b omniq.Backend) (err error) { f.leaseMany, err = leased(ctx, b, s.tasks, s.lanes); return err }},
		{"tenants", func(b omniq.Backend) (err error) { f.tenants, err = served(ctx, b, 5*s.tasks, s.tenants); return err }},
	}
	for i := range cases {
		c := cases[(i+round)%len(cases)]
		if err := e.On(ctx, fmt.Sprintf("%s_%d", c.name, round), c.take); err != nil {
			return f, err
		}
	}
	return f, nil
}

// enqueue stores n tasks in so many lanes, in turns.
func enqueue(ctx context.Context, b omniq.Backend, n, lanes int, lane func(i int) string) error {
	tasks := make([]*omniq.RawTask, n)
	for i := range tasks {
		task, err := engines.NewTask()
		if err != nil {
			return err
		}
		if lanes > 0 {
			task.Lane = lane(i % lanes)
		}
		tasks[i] = task
	}
	return engines.Enqueue(ctx, b, tasks, 1000)
}

func number(i int) string { return strconv.Itoa(i) }

// worked is how many of n tasks in so many lanes are leased and settled a second.
func worked(ctx context.Context, b omniq.Backend, n, lanes int) (float64, error) {
	if err := enqueue(ctx, b, n, lanes, number); err != nil {
		return 0, err
	}
	took, err := engines.Work(ctx, b, n, func(omniq.Lease) bool { return true })
	return float64(n) / took.Seconds(), err
}

// leased is how many milliseconds a lease takes where so many lanes have tasks.
func leased(ctx context.Context, b omniq.Backend, n, lanes int) (float64, error) {
	if err := enqueue(ctx, b, n, lanes, number); err != nil {
		return 0, err
	}
	var took []float64
	for range n / engines.AtOnce / 2 {
		began := time.Now()
		leases, err := engines.Lease(ctx, b, engines.AtOnce)
		if err != nil {
			return 0, err
		}
		if len(leases) < engines.AtOnce {
			return 0, fmt.Errorf("a lease of %d tasks, want %d", len(leases), engines.AtOnce)
		}
		took = append(took, float64(time.Since(began).Microseconds())/1000)
	}
	return engines.Median(took), nil
}

// served is how many seconds it takes until all tasks of small tenants are leased beside a large one.
func served(ctx context.Context, b omniq.Backend, large, tenants int) (float64, error) {
	const each = 5
	if err := enqueue(ctx, b, large, 1, func(int) string { return "large" }); err != nil {
		return 0, err
	}
	if err := enqueue(ctx, b, each*tenants, tenants, number); err != nil {
		return 0, err
	}
	took, err := engines.Work(ctx, b, each*tenants, func(l omniq.Lease) bool { return l.Task.Lane != "large" })
	return took.Seconds(), err
}
