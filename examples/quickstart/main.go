// Quickstart computes digests of files, one task for each.
//
//	go run ./examples/quickstart [-algorithm sha256] [-workers N] [-all] [-db file] [-resume] [-events] [path ...]
//
// It takes the regular files at and below the paths, by default the current directory. Below a path it passes over
// directories named .git, links, devices and the like, and says how many. The exit status is 1 if a path or a file could
// not be read.
//
// The queue is in a file. Killed in the middle, the same command with -resume finishes what was left.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/term"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/examples/quickstart/digest"
	"github.com/omniq-go/omniq/examples/quickstart/tasks"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// maxWorkers is about how many files a process may have open on most systems.
const maxWorkers = 1000

// run is the program. It returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("quickstart", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprintln(stderr, "usage: quickstart [flags] [path ...]")
		fmt.Fprintln(stderr, "Digests of the regular files at and below the paths, by default the current directory.")
		fmt.Fprintln(stderr, "Below a path, directories named .git, links, devices and the like are passed over and counted.")
		flags.PrintDefaults()
	}
	algorithm := flags.String("algorithm", "sha256", "one of "+strings.Join(digest.Algorithms(), ", "))
	workers := flags.Int("workers", runtime.NumCPU(), fmt.Sprintf("how many files to read at once, 1 to %d", maxWorkers))
	all := flags.Bool("all", false, "list every file at the end, not just the first 20")
	db := flags.String("db", "", "the file that the queue is kept in (default: one in the user's cache directory)")
	resume := flags.Bool("resume", false, "go on with the last run of the same paths and algorithm, where it was stopped or killed")
	events := flags.Bool("events", false, "print what happens to each task")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	paths := flags.Args()
	if i := slices.IndexFunc(paths, func(path string) bool { return strings.HasPrefix(path, "-") }); i > 0 {
		fmt.Fprintf(stderr, "quickstart: %s stands behind %s: flags go before the paths; a file of that name is ./%[1]s\n",
			printable(paths[i]), printable(paths[0]))
		return 2
	}
	if len(paths) == 0 {
		paths = []string{"."}
	}

	r := newReport(stdout, stderr, isTerminal(stderr))
	err := digest.CheckAlgorithm(*algorithm)
	if err == nil && (*workers < 1 || *workers > maxWorkers) {
		err = fmt.Errorf("-workers is %d, want 1 to %d", *workers, maxWorkers)
	}
	if err == nil {
		job := assignment{
			paths: paths, algorithm: *algorithm, workers: *workers, db: *db, resume: *resume, events: *events,
		}
		err = errors.Join(process(ctx, job, r), r.print(*all))
	}
	if err != nil {
		fmt.Fprintln(stderr, "quickstart:", err)
	}
	if err != nil || r.failed > 0 {
		return 1
	}
	return 0
}

// assignment is what the command line asks for.
type assignment struct {
	paths          []string
	algorithm      string
	workers        int
	db             string // empty for the default
	resume, events bool
}

// process makes a task of each file, runs the tasks, and reports what becomes of them. It returns what kept it from
// going on; which files could not be read is in the report.
func process(ctx context.Context, j assignment, r *report) (err error) {
	backend, err := openQueue(j.db)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, backend.Close()) }()
	client, err := omniq.NewClient(backend)
	if err != nil {
		return err
	}
	queue, err := chooseQueue(ctx, client, j, r)
	if err != nil {
		return err
	}
	worker, err := newWorker(backend, queue, j.workers)
	if err != nil {
		return err
	}

	working, stop := context.WithCancelCause(ctx)
	var running sync.WaitGroup
	running.Go(func() { stop(worker.Run(working)) }) // without a worker there is nothing to wait for
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
	stop(nil)
	running.Wait()
	if j.events { // the last ones
		r.follow(client.Events(context.WithoutCancel(ctx), &cursor), queue)
	}
	if ctx.Err() != nil {
		return fmt.Errorf("stopped before the end: %w; the same command with -resume goes on", context.Cause(ctx))
	}
	return err
}

// newWorker binds the function to its task.
func newWorker(backend omniq.Backend, queue string, workers int) (*omniq.Worker, error) {
	return omniq.NewWorker(backend,
		omniq.Queues(queue),
		omniq.Handlers(omniq.Define(tasks.Digest, digest.File)),
		omniq.Concurrency(workers),
		omniq.LeaseDuration(5*time.Second),          // how long -resume waits for what a killed process was reading
		omniq.ShutdownTimeout(0),                    // Ctrl-C does not wait for a big file
		omniq.Logger(slog.New(slog.DiscardHandler))) // failures are in the results
}

// job is a file and its task.
type job struct {
	file   string
	handle *omniq.Handle[tasks.Summary]
}

// enqueue makes a task of each file, a batch of them in one call of the backend.
// A file that has one already, because of -resume, keeps it.
func enqueue(ctx context.Context, client *omniq.Client, queue string, a assignment, r *report) ([]job, error) {
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
		r.ended(j.file, summary, err)
	}
	return nil
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
