package engines

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/omniq-go/omniq"
)

const (
	// AtOnce is how many tasks are leased and settled at once.
	AtOnce = 100
	// workers are how many goroutines lease and settle.
	workers = 4
)

// NewTask returns a task without arguments.
func NewTask() (*omniq.RawTask, error) {
	task, err := omniq.NewTask("f", omniq.Raw("[]"), omniq.Raw("{}"))
	return &task, err
}

// Enqueue stores tasks, so many in one step.
func Enqueue(ctx context.Context, b omniq.Backend, tasks []*omniq.RawTask, step int) error {
	for some := range slices.Chunk(tasks, step) {
		errs, err := b.Enqueue(ctx, some)
		if err = errors.Join(append(errs, err)...); err != nil {
			return err
		}
	}
	return nil
}

// Work leases and settles tasks until n that count have been leased, and returns how long that takes.
func Work(ctx context.Context, b omniq.Backend, n int, counts func(omniq.Lease) bool) (time.Duration, error) {
	began := time.Now()
	var left atomic.Int64
	left.Store(int64(n))
	errs := make([]error, workers)
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() { errs[i] = work(ctx, b, &left, counts) })
	}
	all.Wait()
	return time.Since(began), errors.Join(errs...)
}

func work(ctx context.Context, b omniq.Backend, left *atomic.Int64, counts func(omniq.Lease) bool) error {
	for left.Load() > 0 {
		leases, err := Lease(ctx, b, AtOnce)
		if err != nil {
			return err
		}
		for _, l := range leases {
			if counts(l) {
				left.Add(-1)
			}
		}
		if err := Settle(ctx, b, leases, time.Hour); err != nil {
			return err
		}
	}
	return nil
}

// Lease leases so many tasks at the most of the default queue that are due, and waits for one only a moment.
func Lease(ctx context.Context, b omniq.Backend, most int) ([]omniq.Lease, error) {
	return b.Lease(ctx, omniq.LeaseRequest{
		Queues: []string{omniq.DefaultQueue}, Max: most, Duration: time.Minute, Wait: 10 * time.Millisecond, WorkerID: "w",
	})
}

// Settle lets tasks succeed, with results that are kept for so long.
func Settle(ctx context.Context, b omniq.Backend, leases []omniq.Lease, kept time.Duration) error {
	if len(leases) == 0 {
		return nil
	}
	ends := make([]omniq.Settlement, len(leases))
	for i, l := range leases {
		ends[i] = omniq.Settlement{LeaseID: l.LeaseID, Action: omniq.ActionFinish, Result: &omniq.RawResult{
			TaskID: l.TaskID, Status: omniq.StatusSuccess, ResultData: omniq.Raw("1"), Timestamp: time.Now().UTC(), TTL: &kept,
			Attempts: l.Attempt,
		}}
	}
	errs, err := b.Settle(ctx, ends)
	return errors.Join(append(errs, err)...)
}
