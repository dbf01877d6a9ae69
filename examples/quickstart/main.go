// Quickstart computes digests of files, one task for each.
//
//	go run ./examples/quickstart [-algorithm sha256] [-workers 16] [-all] [-resume] [-events] [path ...]
//	go run ./examples/quickstart -backend postgres://user@host/database -processes 4 [flags] [path ...]
//
// It takes the regular files at and below the paths, by default the current directory. Below a path it passes over
// directories named .git, links, devices and the like, and says how many. The exit status is 1 if a path or a file could
// not be read.
//
// The queue is in a file, unless -backend or OMNIQ_BACKEND_URL names another place. Killed in the middle, the same
// command with -resume finishes what was left. With -processes other processes do the work, and any of them may be
// killed, too.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/examples/internal/engines"
	"github.com/omniq-go/omniq/examples/quickstart/tasks"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the program. It returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	j, status := parse(args, stderr)
	if j == nil {
		return status
	}
	failed := false
	err := j.check()
	switch {
	case err != nil:
	case j.worker != "":
		err = joinQueue(ctx, j)
	default:
		failed, err = digests(ctx, j, stdout, stderr)
	}
	if err != nil {
		fmt.Fprintln(stderr, "quickstart:", err)
	}
	if err != nil || failed {
		return 1
	}
	return 0
}

// digests opens the backend, does the work and prints what came of it. It tells whether some file has no digest.
func digests(ctx context.Context, j *assignment, stdout, stderr io.Writer) (failed bool, err error) {
	backend, err := engines.Open(ctx, j.backend, j.processes > 0)
	if err != nil {
		return false, err
	}
	r := newReport(stdout, stderr, columns(stderr) > 0)
	err = errors.Join(process(ctx, backend, j, r), backend.Close(), r.print(j.all))
	if j.own && err == nil {
		fmt.Fprintf(stderr, "to see the tasks in a browser: omniq ui --backend %q\n", j.backend)
	}
	return r.failed > 0, err
}

// process makes a task of each file, runs the tasks, and reports what becomes of them. It returns what kept it from
// going on; which files could not be read is in the report.
func process(ctx context.Context, backend omniq.Backend, j *assignment, r *report) error {
	client, err := omniq.NewClient(backend)
	if err != nil {
		return err
	}
	queue, err := chooseQueue(ctx, client, j, r)
	if err != nil {
		return err
	}
	work := func(ctx context.Context) error { return runProcesses(ctx, j, queue, r) }
	if j.processes == 0 {
		worker, err := newWorker(backend, queue, j.workers)
		if err != nil {
			return err
		}
		work = worker.Run
	}

	working, stop := context.WithCancelCause(ctx)
	var running sync.WaitGroup
	running.Go(func() { stop(work(working)) }) // without a worker there is nothing to wait for
	cursor := omniq.CursorLatest
	if j.events {
		for _, err := range client.Events(working, &cursor) { // from here on, whenever the goroutine begins
			if err != nil {
				stop(nil)
				running.Wait()
				return err
			}
		}
		running.Go(func() { r.follow(client.Follow(working, &cursor), queue) })
	}
	jobs, err := enqueue(working, client, queue, j, r)
	if err == nil {
		err = collect(working, jobs, r)
	}
	if working.Err() != nil {
		err = context.Cause(working)
	}
	stop(nil)
	running.Wait()
	if j.events { // the last ones
		r.follow(client.Events(context.WithoutCancel(ctx), &cursor), queue)
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil && backend.Capabilities().Durable {
		return fmt.Errorf("stopped before the end: %w; the same command with -resume goes on", err)
	}
	return err
}

// job is a file and its task.
type job struct {
	file   string
	handle *omniq.Handle[tasks.Summary]
}

// enqueue makes a task of each file, a batch of them in one call of the backend.
// A file that has one already, because of -resume, keeps it.
func enqueue(ctx context.Context, client *omniq.Client, queue string, a *assignment, r *report) ([]job, error) {
	const batchSize = 100
	var jobs []job
	var batch []omniq.Task[tasks.Path, tasks.Options]
	send := func() error {
		handles, err := tasks.Digest.EnqueueMany(ctx, client, batch)
		for i, h := range handles {
			jobs = append(jobs, job{batch[i].Args.Path, h})
		}
		r.found(len(handles))
		batch = batch[:0]
		if errors.Is(err, omniq.ErrDuplicate) {
			return nil
		}
		return err
	}
	for file, err := range walk(a.paths) {
		switch {
		case errors.Is(err, errPassedOver):
			r.passedOver++
			continue
		case err != nil:
			r.fail(file, err)
			continue
		}
		task, err := tasks.Digest.Task(tasks.Path{Path: file}, tasks.Options{Algorithm: a.algorithm},
			omniq.Queue(queue), omniq.ID(taskID(queue, file)), omniq.TTL(keep), omniq.ResultTTL(keep))
		if err != nil {
			return nil, err
		}
		if batch = append(batch, task); len(batch) == batchSize {
			if err := send(); err != nil {
				return nil, err
			}
		}
	}
	err := send()
	return jobs, err
}

// collect waits for the results, and reports them.
func collect(ctx context.Context, jobs []job, r *report) error {
	r.begin(len(jobs))
	for _, j := range jobs {
		summary, err := j.handle.Wait(ctx) // a tasks.Summary
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if _, ended := errors.AsType[*omniq.TaskError](err); err != nil && !ended {
			return err // it is the backend that failed, and not the task
		}
		r.ended(j.file, summary, err)
	}
	return nil
}
