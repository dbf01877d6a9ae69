package redis

import (
	"context"
	"errors"
	"time"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/logkey"
)

// resting is the longest time for which the housekeeper does not look.
const resting = 2 * time.Second

// keepHouse does what happens by itself: tasks become due or expire, leases run out, results and events go, and what follows from the ends
// of tasks. Each process does, in parts that do not keep the server from others for long; what one has begun another goes on with.
func (b *Backend) keepHouse() {
	work := b.hub.subscribe(b.ctx, workTopic)
	defer work.cancel()
	troubled := false
	due := time.Now()
	next := time.NewTimer(0)
	defer next.Stop()
	for {
		select {
		case <-next.C:
		case <-work.woken:
			// Something comes earlier than was known, or there is work now.
			if after, err := decodeFields(work.message()); err == nil && after.int("after") > 0 {
				if at := time.Now().Add(time.Duration(after.int("after")) * time.Microsecond); at.Before(due) {
					due = at
					next.Reset(time.Until(due))
				}
				continue
			}
		case <-b.closing:
			return
		}
		ctx, cancel := context.WithTimeout(b.ctx, 10*time.Second)
		wait, err := b.sweep(ctx)
		cancel()
		switch {
		case errors.Is(err, omniq.ErrClosed) || b.ctx.Err() != nil:
			return
		case err != nil && !troubled:
			b.config.logger.Warn("redis: what happens by itself is late", logkey.Error, err)
		}
		troubled = err != nil
		due = time.Now().Add(wait)
		next.Reset(wait)
	}
}

// sweep does a part of it, and tells when to go on.
func (b *Backend) sweep(ctx context.Context) (wait time.Duration, err error) {
	answer, err := b.run(ctx, "sweep", fields{})
	if err != nil {
		return time.Second, err
	}
	numbers, err := answer.AsIntSlice()
	switch {
	case err != nil || len(numbers) != 3:
		return time.Second, err
	case numbers[0] == 1:
		return 0, nil
	case numbers[1] < 0:
		return resting, nil
	}
	return min(max(time.Duration(numbers[1])*time.Microsecond, 500*time.Microsecond), resting), nil
}
