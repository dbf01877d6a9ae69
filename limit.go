package omniq

import (
	"context"
	"fmt"
	"math"
	"time"
)

// Limit bounds what runs of a queue, on all workers together. It belongs to the queue: it is stored in the engine, and holds until
// another [Client.SetLimit], whoever starts or stops meanwhile. The zero value bounds nothing.
//
// A task that is over a limit waits. That is no attempt, no retry and no event, and keeps no worker busy.
type Limit struct {
	Running  int       // how many tasks at once; 0 for any number
	Rate     Rate      // how many in a time
	EachLane LaneLimit // for each lane by itself; see Lane
}

// LaneLimit bounds what runs of each lane of a queue. Tasks without a lane are in none, and not bounded by it. What one lane does
// not use is not lent to another.
type LaneLimit struct {
	Running int  // how many tasks at once; 0 for any number
	Rate    Rate // how many in a time
}

// Rate is how many tasks are handed out in a time. The zero value bounds nothing. A task is charged when a worker leases it, each
// time that one does. The rate is counted by the generic cell rate algorithm (ITU-T I.371), which hands tasks out evenly: after
// Burst of them, one each Per/Tasks.
type Rate struct {
	Tasks int           // at least 1, and at most one for each microsecond of Per
	Per   time.Duration // at most MaxRatePer
	Burst int           // how many at once after a pause; 0 for what comes together in a tenth of a second, at least 1
}

// Bounds of a [Limit].
const (
	MaxLaneLen = 255                 // bytes of a Lane
	MaxLimit   = 1_000_000           // tasks at once, and of a burst
	MaxRatePer = 31 * 24 * time.Hour // the time of a Rate
)

// PerSecond is a [Rate] of n tasks a second.
func PerSecond(n int) Rate { return Rate{Tasks: n, Per: time.Second} }

// PerMinute is a [Rate] of n tasks a minute.
func PerMinute(n int) Rate { return Rate{Tasks: n, Per: time.Minute} }

// PerHour is a [Rate] of n tasks an hour.
func PerHour(n int) Rate { return Rate{Tasks: n, Per: time.Hour} }

func (r Rate) check(what string) error {
	switch {
	case r == Rate{}:
		return nil
	case r.Per < time.Microsecond || r.Per > MaxRatePer:
		return invalid("%s is %d tasks in %v, want a time of 1µs to %v", what, r.Tasks, r.Per, MaxRatePer)
	case r.Tasks < 1 || int64(r.Tasks) > r.Per.Microseconds():
		return invalid("%s is %d tasks in %v, want 1 to %d", what, r.Tasks, r.Per, r.Per.Microseconds())
	case r.Burst < 0 || r.Burst > MaxLimit:
		return invalid("%s has a burst of %d tasks, want 1 to %d, or 0 for a tenth of a second's", what, r.Burst, MaxLimit)
	}
	return nil
}

// Validate reports what is wrong with the limit. errors.Is finds [ErrInvalid] in what it returns.
func (l Limit) Validate() error {
	for _, n := range []int{l.Running, l.EachLane.Running} {
		if n < 0 || n > MaxLimit {
			return invalid("a limit of %d tasks at once, want 1 to %d, or 0 for none", n, MaxLimit)
		}
	}
	if err := l.Rate.check("the rate"); err != nil {
		return err
	}
	return l.EachLane.Rate.check("the rate of each lane")
}

// BoundsRunning reports whether the limit bounds how many tasks run at once, in the queue or in a lane. It is for engines.
func (l Limit) BoundsRunning() bool { return l.Running > 0 || l.EachLane.Running > 0 }

// Every returns how long one task takes of the rate, in whole microseconds and never too short, and how many may come at once. For a
// rate that bounds nothing every is 0. It is for engines, which count alike by it.
func (r Rate) Every() (every time.Duration, burst int) {
	if r.Tasks <= 0 {
		return 0, math.MaxInt
	}
	n := time.Duration(r.Tasks)
	every = (r.Per + n - 1) / n // never more than the rate
	every = (every + time.Microsecond - 1).Truncate(time.Microsecond)
	if burst = r.Burst; burst == 0 {
		burst = int(max(100*time.Millisecond/every, 1))
	}
	return every, burst
}

// Lane puts a task into a lane of its queue: that of a tenant, an account, a document. The lanes of a queue take turns, so that one
// with a million tasks delays the others by one task each. [Limit].EachLane bounds each of them. A lane is there as long as it
// has tasks, and is not declared. It is 1 to [MaxLaneLen] bytes without control characters.
//
// An engine that has no lanes, by its [Capabilities], refuses such a task with [ErrInvalid].
func Lane(name string) TaskOption {
	return taskOption(func(c *taskConfig) error {
		c.lane = name
		return checkText("lane", name, MaxLaneLen)
	})
}

// SetLimit gives a queue another limit, from now on, for all workers. Tasks that run go on; none is handed out until the limit
// permits it. The zero [Limit] takes the limit away. What a queue's limit is, [Client.Stats] tells.
//
// It fails with [ErrInvalid] for an invalid limit or queue, and for an engine that has no limits, by its [Capabilities].
func (c *Client) SetLimit(ctx context.Context, queue string, limit Limit) error {
	if err := c.check(); err != nil {
		return err
	}
	if err := checkQueue(queue); err != nil {
		return err
	}
	if err := limit.Validate(); err != nil {
		return fmt.Errorf("the limit of queue %q: %w", queue, err)
	}
	if err := c.backend.SetLimit(ctx, queue, limit); err != nil {
		return fmt.Errorf("omniq: set the limit of queue %q: %w", queue, err)
	}
	return nil
}

// Throttled is returned by a handler that was told to slow down, by an API that answered 429. No task of the task's lane is handed
// out for delay, on any worker, once the engine has stored that; without a lane, no task of the queue that has none. The task keeps
// its place, and uses no attempt. A delay below 100 ms means 100 ms. The task's TTL goes on.
//
// On an engine that has no lanes, by its [Capabilities], it is [Snooze]. [Snoozed] tells that of both.
func Throttled(delay time.Duration) error {
	return &snoozeError{delay: max(delay, minSnooze), lane: true}
}
