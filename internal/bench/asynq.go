package main

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/hibiken/asynq"
)

// asynqSettings are what differs from asynq's defaults.
type asynqSettings struct {
	poll       time.Duration // 0 is its default
	kept       bool          // finished tasks, and a result of each
	ownWorkers bool          // as many as it has by default
}

func asynqSystem(name, title, set string, with asynqSettings) system {
	return system{
		name: name, title: title, module: "github.com/hibiken/asynq", set: set,
		// Beside how many workers there are nothing differs.
		burnsOnly: with.ownWorkers,
		open:      func(ctx context.Context, o opening) (queue, error) { return openAsynq(ctx, o, with) },
	}
}

type asynqQueue struct {
	url       string
	client    *asynq.Client
	server    *asynq.Server
	inspector *asynq.Inspector
	handle    func(n int)
	options   []asynq.Option
	kept      bool
	closing   context.Context
}

func openAsynq(ctx context.Context, o opening, with asynqSettings) (queue, error) {
	address, err := asynq.ParseRedisURI(o.url)
	if err != nil {
		return nil, err
	}
	if one, ok := address.(asynq.RedisClientOpt); ok {
		one.PoolSize = connections // a connection for each goroutine: its default would be fewer
		address = one
	}
	q := &asynqQueue{
		url: o.url, client: asynq.NewClient(address), inspector: asynq.NewInspector(address), handle: o.handle, kept: with.kept, closing: ctx,
	}
	config := asynq.Config{Concurrency: o.workers, TaskCheckInterval: with.poll, LogLevel: asynq.ErrorLevel}
	if with.ownWorkers {
		config.Concurrency = 0
	}
	if with.kept {
		q.options = append(q.options, asynq.Retention(time.Hour))
	}
	q.server = asynq.NewServer(address, config)
	return q, nil
}

func (q *asynqQueue) enqueue(ctx context.Context, n int) error {
	_, err := q.client.EnqueueContext(ctx, asynq.NewTask("noop", strconv.AppendInt(nil, int64(n), 10)), q.options...)
	return err
}

// fill enqueues by many goroutines: asynq has no call for several tasks.
func (q *asynqQueue) fill(ctx context.Context, n int) error {
	const goroutines = 64
	var all sync.WaitGroup
	var errs [goroutines]error
	for g := range goroutines {
		all.Go(func() {
			for i := g; i < n && errs[g] == nil; i += goroutines {
				errs[g] = q.enqueue(ctx, i)
			}
		})
	}
	all.Wait()
	return errors.Join(errs[:]...)
}

func (q *asynqQueue) start(context.Context) error {
	return q.server.Start(asynq.HandlerFunc(func(_ context.Context, t *asynq.Task) error {
		n, err := strconv.Atoi(string(t.Payload()))
		if err != nil {
			return err
		}
		q.handle(n)
		if q.kept {
			_, err = t.ResultWriter().Write([]byte("null"))
		}
		return err
	}))
}

// recorded looks until nothing is left.
func (q *asynqQueue) recorded(ctx context.Context) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		if n, err := q.left(ctx); err != nil || n == 0 {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (q *asynqQueue) stop(context.Context) error {
	q.server.Shutdown()
	return nil
}

func (q *asynqQueue) left(context.Context) (int, error) {
	info, err := q.inspector.GetQueueInfo("default")
	if err != nil {
		return 0, err
	}
	return info.Pending + info.Active + info.Scheduled + info.Retry + info.Archived, nil
}

func (q *asynqQueue) close() error {
	return errors.Join(q.client.Close(), q.inspector.Close(), emptyRedis(q.closing, q.url))
}
