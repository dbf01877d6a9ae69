package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
)

// handTask is a task of a store by hand.
type handTask struct {
	id       uuid.UUID
	args     string
	priority int
	due      time.Time
}

// handLease is tasks that were leased in one step.
type handLease struct {
	token int64 // 0 where a store has none
	ids   []uuid.UUID
	args  []string
}

// State of a task, by which it is counted.
const (
	handPending = 1
	handRunning = 2
	handDone    = 3
)

// handStore is what a task queue does, by hand. Each method is one step of the engine, which is done whole or not at all.
type handStore interface {
	// enqueue stores tasks, and returns how many it has stored.
	enqueue(ctx context.Context, tasks []handTask) (int, error)
	// lease hands out so many tasks at the most for this time, and none when there are none.
	lease(ctx context.Context, most int, lasts time.Duration) (handLease, error)
	// settle ends a lease with a result of each task, and returns of how many it was.
	settle(ctx context.Context, l handLease) (int, error)
	// left counts the tasks that are not finished.
	left(ctx context.Context) (int, error)
	close() error
}

// handQueue is a store as it is measured: by so many tasks in each step as rawBatch is, and so many goroutines.
type handQueue struct {
	handStore
	goroutines int
	handle     func(n int)
	working    sync.WaitGroup
	cancel     context.CancelFunc
	mu         sync.Mutex
	failed     error
}

func (q *handQueue) enqueue(context.Context, int) error { return errors.ErrUnsupported }

func (q *handQueue) fill(ctx context.Context, n int) error {
	for from := 0; from < n; from += rawBatch {
		tasks := make([]handTask, min(rawBatch, n-from))
		now := time.Now()
		for i := range tasks {
			tasks[i] = handTask{id: uuid.Must(uuid.NewV7()), args: "[" + strconv.Itoa(from+i) + "]", due: now}
		}
		stored, err := q.handStore.enqueue(ctx, tasks)
		if err != nil || stored != len(tasks) {
			return fmt.Errorf("%d of %d tasks were stored: %w", stored, len(tasks), err)
		}
	}
	return nil
}

func (q *handQueue) start(ctx context.Context) error {
	ctx, q.cancel = context.WithCancel(ctx)
	for range q.goroutines {
		q.working.Go(func() {
			_, err := q.work(ctx, rawBatch, q.handle)
			q.mu.Lock()
			defer q.mu.Unlock()
			q.failed = errors.Join(q.failed, err)
		})
	}
	return nil
}

func (q *handQueue) drain(ctx context.Context, batch int) (int, error) {
	return q.work(ctx, batch, func(int) {})
}

// work leases, runs and settles until no task is left. When stopping ends, it still finishes the batch.
func (q *handQueue) work(stopping context.Context, batch int, handle func(int)) (n int, err error) {
	ctx := context.WithoutCancel(stopping)
	for stopping.Err() == nil {
		l, err := q.lease(ctx, batch, time.Minute)
		if err != nil || len(l.ids) == 0 {
			return n, err
		}
		for _, args := range l.args {
			number, err := strconv.Atoi(strings.Trim(args, "[]"))
			if err != nil {
				return n, err
			}
			handle(number)
		}
		settled, err := q.settle(ctx, l)
		if err != nil || settled != len(l.ids) {
			return n, fmt.Errorf("%d of %d tasks were settled: %w", settled, len(l.ids), err)
		}
		n += settled
	}
	return n, nil
}

func (q *handQueue) stop(context.Context) error {
	q.cancel()
	q.working.Wait()
	return q.failed
}

// floorStore is the least that keeps what OmniQ's contract says of a task that nobody waits for or cancels: it is found by its ID, is
// handed out by priority and due time, one at a time of it by a token and until an end, leaves a result, and is counted by its state.
type floorStore interface {
	handStore
	// result returns the state of a task, which is what one who waits polls for: with handDone there is a result. It fails for an
	// unknown ID.
	result(ctx context.Context, id uuid.UUID) (state int, err error)
	// counts returns how many tasks are in each state.
	counts(ctx context.Context) (map[int]int, error)
}

// floorSystem is a store of which a row shows what the contract itself costs.
func floorSystem(set string, goroutines int, open func(ctx context.Context, o opening) (floorStore, error)) system {
	return handSystem("floor", "the contract by hand", set, goroutines, func(ctx context.Context, o opening) (handStore, error) {
		return open(ctx, o)
	})
}

// handSystem is a store by hand.
func handSystem(name, title, set string, goroutines int, open func(ctx context.Context, o opening) (handStore, error)) system {
	return system{
		name: name, title: title, set: set, bulk: true, byHand: true,
		open: func(ctx context.Context, o opening) (queue, error) {
			store, err := open(ctx, o)
			if err != nil {
				return nil, err
			}
			return &handQueue{handStore: store, goroutines: goroutines, handle: o.handle}, nil
		},
	}
}
