// Quickstart computes digests of files, one task for each.
//
//	go run ./examples/quickstart [-algorithm sha256] [-workers N] [-all] [path ...]
//
// It takes the regular files at and below the paths, by default the current directory. Below a path it passes over
// directories named .git, links, devices and the like, and says how many. The exit status is 1 if a path or a file could
// not be read.
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

	"golang.org/x/term"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
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
		err = errors.Join(process(ctx, paths, *algorithm, *workers, r), r.print(*all))
	}
	if err != nil {
		fmt.Fprintln(stderr, "quickstart:", err)
	}
	if err != nil || r.failed > 0 {
		return 1
	}
	return 0
}

// process makes a task of each file, runs the tasks, and reports what becomes of them. It returns what kept it from
// going on; which files could not be read is in the report.
func process(ctx context.Context, paths []string, algorithm string, workers int, r *report) error {
	backend := memory.New()
	defer func() { _ = backend.Close() }() // memory has nothing to lose
	client, err := omniq.NewClient(backend)
	if err != nil {
		return err
	}
	worker, err := newWorker(backend, workers)
	if err != nil {
		return err
	}

	working, stop := context.WithCancelCause(ctx)
	var running sync.WaitGroup
	running.Go(func() { stop(worker.Run(working)) }) // without a worker there is nothing to wait for
	jobs, err := enqueue(working, client, paths, algorithm, r)
	if err == nil {
		err = collect(working, jobs, r)
	}
	stop(nil)
	running.Wait()
	if ctx.Err() != nil {
		return fmt.Errorf("stopped before the end: %w", context.Cause(ctx))
	}
	return err
}

// newWorker binds the function to its task.
func newWorker(backend omniq.Backend, workers int) (*omniq.Worker, error) {
	return omniq.NewWorker(backend,
		omniq.Handlers(omniq.Define(tasks.Digest, digest.File)),
		omniq.Concurrency(workers),
		omniq.ShutdownTimeout(0),                    // Ctrl-C does not wait for a big file
		omniq.Logger(slog.New(slog.DiscardHandler))) // failures are in the results
}

// job is a file and its task.
type job struct {
	file   string
	handle *omniq.Handle[tasks.Summary]
}

// enqueue makes a task of each file, a batch of them in one call of the backend.
func enqueue(ctx context.Context, client *omniq.Client, paths []string, algorithm string, r *report) ([]job, error) {
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
		return err
	}
	for file, err := range walk(paths) {
		switch {
		case errors.Is(err, errPassedOver):
			r.passedOver++
			continue
		case err != nil:
			r.fail(file, err)
			continue
		}
		task, err := tasks.Digest.Task(tasks.Path{Path: file}, tasks.Options{Algorithm: algorithm})
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
