package main

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"time"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/examples/internal/children"
	"github.com/omniq-go/omniq/examples/internal/engines"
	"github.com/omniq-go/omniq/examples/quickstart/digest"
	"github.com/omniq-go/omniq/examples/quickstart/tasks"
)

// newWorker binds the function to its task.
func newWorker(backend omniq.Backend, queue string, workers int) (*omniq.Worker, error) {
	return omniq.NewWorker(backend,
		omniq.Queues(queue),
		omniq.Handlers(omniq.Define(tasks.Digest, digest.File)),
		omniq.Concurrency(workers),
		omniq.LeaseDuration(5*time.Second),          // how long others wait for what a killed process was reading
		omniq.ShutdownTimeout(0),                    // Ctrl-C does not wait for a big file
		omniq.Logger(slog.New(slog.DiscardHandler))) // failures are in the results
}

// joinQueue is the program with -worker. It opens the backend for itself, and works the tasks of the queue until ctx or the process
// ends that has started this one.
func joinQueue(ctx context.Context, j *assignment) (err error) {
	ctx, stop := children.WithParent(ctx)
	defer stop()
	backend, err := engines.Open(ctx, j.backend, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, backend.Close()) }()
	worker, err := newWorker(backend, j.worker, j.workers)
	if err != nil {
		return err
	}
	return worker.Run(ctx)
}

// runProcesses starts this program with -worker, in several processes, and stops them when ctx ends. What one was reading that is
// killed is for the others when its leases have run out.
func runProcesses(ctx context.Context, j *assignment, queue string, r *report) error {
	p := children.Program{
		Name: "quickstart", Args: []string{"-worker", queue, "-workers", strconv.Itoa(j.workers)},
		Env: []string{"OMNIQ_BACKEND_URL=" + j.backend}, Output: r,
	}
	return p.Run(ctx, j.processes)
}
