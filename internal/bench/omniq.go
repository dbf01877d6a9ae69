package main

import (
	"context"
	"errors"
	"sync"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/sqlite"
)

func omniqSystem(tuned bool) system {
	if tuned {
		return system{
			name: "omniq-tuned", title: "OmniQ, tuned",
			set:  "as above, and `Prefetch(500)`",
			open: func(ctx context.Context, o opening) (queue, error) { return openOmniQ(ctx, o, 500) },
		}
	}
	return system{
		name: "omniq", title: "OmniQ",
		set:  "defaults of `sqlite.Open` and `NewWorker`, a result of each task",
		open: func(ctx context.Context, o opening) (queue, error) { return openOmniQ(ctx, o, 0) },
	}
}

// omniqArgs are the arguments of omniqTask.
type omniqArgs struct{ N int }

var omniqTask = omniq.ReferArgs[omniqArgs, omniq.Void]("noop")

type omniqQueue struct {
	backend *sqlite.Backend
	client  *omniq.Client
	worker  *omniq.Worker
	working sync.WaitGroup
	cancel  context.CancelFunc
	failed  error // read after working
}

func openOmniQ(ctx context.Context, o opening, prefetch int) (queue, error) {
	var options []sqlite.Option
	if o.synchronous == "normal" {
		options = append(options, sqlite.WithSynchronousNormal())
	}
	backend, err := sqlite.Open(o.file, options...)
	if err != nil {
		return nil, err
	}
	q := &omniqQueue{backend: backend}
	err = checkDatabase(ctx, backend.DB(), o.synchronous)
	if err == nil {
		q.client, err = omniq.NewClient(backend)
	}
	if err == nil {
		q.worker, err = omniq.NewWorker(backend, omniq.Concurrency(o.workers), omniq.Prefetch(prefetch), omniq.Logger(quiet),
			omniq.Handlers(omniq.DefineArgsVoid(omniqTask, func(_ context.Context, args omniqArgs) error {
				o.handle(args.N)
				return nil
			})))
	}
	if err != nil {
		return nil, errors.Join(err, backend.Close())
	}
	return q, nil
}

func (q *omniqQueue) enqueue(ctx context.Context, n int) error {
	_, err := omniqTask.Enqueue(ctx, q.client, omniqArgs{n})
	return err
}

func (q *omniqQueue) enqueueAndWait(ctx context.Context, n int, enqueued func()) error {
	handle, err := omniqTask.Enqueue(ctx, q.client, omniqArgs{n})
	if err != nil {
		return err
	}
	enqueued()
	_, err = handle.Wait(ctx)
	return err
}

func (q *omniqQueue) fill(ctx context.Context, n int) error {
	const batch = 1000
	for from := 0; from < n; from += batch {
		tasks := make([]omniq.Task[omniqArgs, omniq.NoKwargs], 0, batch)
		for i := from; i < min(from+batch, n); i++ {
			task, err := omniqTask.Task(omniqArgs{i})
			if err != nil {
				return err
			}
			tasks = append(tasks, task)
		}
		if _, err := omniqTask.EnqueueMany(ctx, q.client, tasks); err != nil {
			return err
		}
	}
	return nil
}

func (q *omniqQueue) start(ctx context.Context) error {
	ctx, q.cancel = context.WithCancel(ctx)
	q.working.Go(func() { q.failed = q.worker.Run(ctx) })
	return nil
}

func (q *omniqQueue) stop(context.Context) error {
	q.cancel()
	q.working.Wait()
	return q.failed
}

func (q *omniqQueue) left(ctx context.Context) (int, error) {
	stats, err := q.client.Stats(ctx)
	left := 0
	for _, s := range stats {
		left += s.Ready + s.Scheduled + s.Running + s.Failed + s.Cancelled + s.Expired
	}
	return left, err
}

func (q *omniqQueue) close() error { return q.backend.Close() }
