package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/omniq-go/omniq"
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

// joinQueue is the program with -worker. It opens the backend for itself, and works the tasks of the queue until ctx or
// the standard input ends: that is a pipe from the process that has started this one, and ends with it, even if it is
// killed.
func joinQueue(ctx context.Context, j *assignment) (err error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	backend, err := openBackend(ctx, j.backend, true)
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

// runProcesses starts this program with -worker, in several processes, and stops them when ctx ends. One that ends before
// is reported, and the others go on: what it was reading is theirs when its leases have run out.
func runProcesses(ctx context.Context, j *assignment, queue string, r *report) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	var running sync.WaitGroup
	defer running.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var pids []string
	for range j.processes {
		c := exec.CommandContext(ctx, program, "-worker", queue, "-workers", strconv.Itoa(j.workers))
		c.Env = append(os.Environ(), "OMNIQ_BACKEND_URL="+j.backend) // no argument: everybody can see those, and a password in it
		c.Stderr = r
		c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
		c.WaitDelay = 10 * time.Second // from then on to be killed
		if _, err := c.StdinPipe(); err != nil {
			return err
		}
		if err := c.Start(); err != nil {
			return err
		}
		pids = append(pids, strconv.Itoa(c.Process.Pid))
		running.Go(func() {
			_ = c.Wait() // what there is to say of it is in the state
			if ctx.Err() == nil {
				fmt.Fprintf(r, "quickstart: worker process %d has ended: %v\n", c.Process.Pid, c.ProcessState)
			}
		})
	}
	fmt.Fprintf(r, "worker processes: %s\n", strings.Join(pids, " "))
	running.Wait()
	if ctx.Err() == nil {
		return errors.New("no worker process is left")
	}
	return nil
}
