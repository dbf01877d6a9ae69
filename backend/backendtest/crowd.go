package backendtest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/omniq-go/omniq"
)

// crowd has workers lease and settle n tasks of the default queue at once, and checks that no more run than its limit permits.
func (c *checker) crowd(workers, n int) {
	c.Helper()
	limit := c.stats()[0].Limit
	ctx, stop := context.WithTimeout(c.Context(), worst)
	defer stop()
	var mu sync.Mutex
	running, done, most, mostOfLane := make(map[string]int), 0, 0, 0
	count := func(lane string, by int) {
		mu.Lock()
		defer mu.Unlock()
		running[lane] += by
		all := 0
		for _, n := range running {
			all += n
		}
		most, mostOfLane = max(most, all), max(mostOfLane, running[lane])
		if by < 0 {
			if done++; done == n {
				stop()
			}
		}
	}
	errs := make(chan error, workers)
	for range workers {
		go func() {
			for ctx.Err() == nil {
				leases, err := c.b.Lease(ctx, omniq.LeaseRequest{
					Queues: []string{omniq.DefaultQueue}, Max: 3, Duration: long, Wait: long, WorkerID: "w",
				})
				for _, l := range leases {
					count(l.Task.Lane, 1)
				}
				for _, l := range leases {
					count(l.Task.Lane, -1) // before its lease ends: others may begin at once
					if refused, err := c.b.Settle(c.Context(), []omniq.Settlement{success(l, "1", 0)}); err != nil || refused != nil {
						errs <- errors.Join(append(refused, err)...)
						return
					}
				}
				if err != nil && ctx.Err() == nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	for range workers {
		select {
		case err := <-errs:
			require.NoError(c, err)
		case <-time.After(2 * worst):
			require.Fail(c, "a worker goes on")
		}
	}
	assert.Equal(c, n, done, "tasks that were leased and settled")
	assert.LessOrEqual(c, most, limit.Running, "tasks that ran at once")
	assert.LessOrEqual(c, mostOfLane, limit.EachLane.Running, "tasks of a lane that ran at once")
}
