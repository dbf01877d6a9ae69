package omniq

import (
	"context"
	"fmt"
	"time"
)

// Monitor is the part of a [Backend] that tells what workers there are, and what was done.
type Monitor interface {
	// Beat says that a worker is there: it is among Workers for its Lease from now, or until its next Beat. The last one of an
	// ID counts. A Lease of zero says that it has stopped: it is gone at once, and that of an unknown one is no error.
	// Started and Seen are not looked at. One with an invalid ID, a number below zero, or text that is not UTF-8 or has a NUL is
	// [ErrInvalid]. What beats say need not outlive a crash of the machine.
	Beat(ctx context.Context, worker WorkerInfo) error

	// Workers returns the workers that are there, in the order of their IDs.
	Workers(ctx context.Context) ([]WorkerInfo, error)

	// History returns what was done with tasks, by minute, queue and function, in the order of these. It begins with the
	// minute that it was so long ago, and has what was done up to now. A time that is not positive is [ErrInvalid], and of one
	// that is longer than [HistoryKept] the rest is not there. What is done is in it in one step with that: nothing is missing
	// and nothing is counted twice, also after the end of a process. It does not depend on whether events are kept.
	History(ctx context.Context, last time.Duration) ([]Minute, error)
}

// MaxPlaces is how many queues and functions a [Monitor] tells apart in one minute at least. Of more, an engine may put what
// calls one function together, with an empty Queue, and of more functions all, with an empty FuncName, too.
const MaxPlaces = 200

// HistoryKept is for how long the [Monitor] tells what was done.
const HistoryKept = 24 * time.Hour

// Minute is what was done in one minute with the tasks of a queue that call one function. Each number is of what an event tells, and
// of what happens by itself when that is written down.
type Minute struct {
	Start    time.Time // a whole minute in UTC, by the backend's clock
	Queue    string    // empty for those beyond MaxPlaces
	FuncName string

	Enqueued  int // tasks that were stored or requeued
	Started   int // attempts that began; those that were taken back or lost, too
	Succeeded int // tasks
	Failed    int // tasks that failed for good
	Retried   int // attempts that failed and were followed by another
	Cancelled int // tasks
	Expired   int // tasks

	Wait time.Duration // how long each of those that started had been due, together
	Run  time.Duration // how long the handlers ran whose attempts succeeded, failed or were retried, together: see Settlement.Took
}

// WorkerInfo is what a worker says of itself, and since when the engine knows it.
type WorkerInfo struct {
	ID          string
	Host        string   // where it runs
	PID         int      // of its process there
	Version     string   // of its program, empty if that is not known
	Queues      []string // where it takes tasks from, the first first
	Names       []string // the functions that it has, in their order
	Concurrency int      // how many handlers run in it at once, at the most
	Running     int      // how many do; a batch is one
	Stopping    bool     // it takes no more tasks

	Up    time.Duration // for how long it had run when it was seen last
	Lease time.Duration // for how long it is there after it was seen last

	Started time.Time // by the backend's clock, as far as Up tells
	Seen    time.Time // when it was seen last; by the backend's clock
}

// Workers returns the workers that are there, of all processes, in the order of their IDs. One whose process has died is there
// until its lease is over, one that has stopped is not.
func (c *Client) Workers(ctx context.Context) ([]WorkerInfo, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	workers, err := c.backend.Workers(ctx)
	if err != nil {
		return nil, fmt.Errorf("omniq: workers: %w", err)
	}
	return workers, nil
}

// History returns what was done with tasks, by minute, queue and function, in the order of these: from the minute that it was so
// long ago up to now. It goes back a day, see [HistoryKept]. The numbers are exact, and there whether events are kept or not. What
// the call costs grows with the number of minutes times the functions that were used in them.
func (c *Client) History(ctx context.Context, last time.Duration) ([]Minute, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	minutes, err := c.backend.History(ctx, last)
	if err != nil {
		return nil, fmt.Errorf("omniq: history of %v: %w", last, err)
	}
	return minutes, nil
}
