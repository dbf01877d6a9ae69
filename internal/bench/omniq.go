package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/omniq-go/omniq"
)

// omniqSystem is OmniQ on a backend; opening that also returns what closes it.
func omniqSystem(set string, backend func(context.Context, opening) (omniq.Backend, func() error, error)) system {
	s := system{name: "omniq", title: "OmniQ", set: set, byHand: true}
	s.open = func(ctx context.Context, o opening) (queue, error) {
		b, closeBackend, err := backend(ctx, o)
		if err != nil {
			return nil, err
		}
		q, err := openOmniQ(b, closeBackend, o)
		if err != nil {
			return nil, errors.Join(err, closeBackend())
		}
		return q, nil
	}
	return s
}

// omniqArgs are the arguments of omniqTask.
type omniqArgs struct{ N int }

var omniqTask = omniq.ReferArgs[omniqArgs, omniq.Void]("noop")

type omniqQueue struct {
	backend      omniq.Backend
	closeBackend func() error
	client       *omniq.Client
	worker       *omniq.Worker
	working      sync.WaitGroup
	cancel       context.CancelFunc
	failed       error // read after working
}

func openOmniQ(b omniq.Backend, closeBackend func() error, o opening) (*omniqQueue, error) {
	client, err := omniq.NewClient(b)
	if err != nil {
		return nil, err
	}
	worker, err := omniq.NewWorker(b, omniq.Concurrency(o.workers), omniq.Logger(quiet),
		omniq.Handlers(omniq.DefineArgsVoid(omniqTask, func(_ context.Context, args omniqArgs) error {
			o.handle(args.N)
			return nil
		})))
	if err != nil {
		return nil, err
	}
	return &omniqQueue{backend: b, closeBackend: closeBackend, client: client, worker: worker}, nil
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

func (q *omniqQueue) drain(ctx context.Context, batch int) (n int, err error) {
	keep := time.Hour
	for {
		leases, err := q.backend.Lease(ctx, omniq.LeaseRequest{
			Queues: []string{omniq.DefaultQueue}, Max: batch, Duration: time.Minute, WorkerID: "drain",
		})
		if err != nil || len(leases) == 0 {
			return n, err
		}
		settlements := make([]omniq.Settlement, len(leases))
		for i, l := range leases {
			settlements[i] = omniq.Settlement{LeaseID: l.LeaseID, Action: omniq.ActionFinish, Result: &omniq.RawResult{
				TaskID: l.TaskID, Status: omniq.StatusSuccess, ResultData: omniq.Raw("null"), Timestamp: time.Now().UTC(), TTL: &keep,
				Attempts: l.Attempt,
			}}
		}
		errs, err := q.backend.Settle(ctx, settlements)
		if err = errors.Join(append(errs, err)...); err != nil {
			return n, err
		}
		n += len(leases)
	}
}

func (q *omniqQueue) close() error { return q.closeBackend() }
