// Quickstart computes digests of files, one task for each.
//
//	go run ./examples/quickstart [-algorithm sha256] [-workers N] [-all] [path ...]
//
// It takes the regular files at and below the paths, by default the current directory. Directories named .git, and
// links, devices and the like, are passed over. The exit status is 1 if a path or a file could not be read.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
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
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the program. It returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("quickstart", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprintln(stderr, "usage: quickstart [flags] [path ...]")
		fmt.Fprintln(stderr, "Digests of the regular files at and below the paths, by default the current directory.")
		fmt.Fprintln(stderr, "Directories named .git, links, devices and the like are passed over.")
		flags.PrintDefaults()
	}
	algorithm := flags.String("algorithm", "sha256", "one of "+strings.Join(digest.Algorithms(), ", "))
	workers := flags.Int("workers", runtime.NumCPU(), "how many files to read at once")
	all := flags.Bool("all", false, "list every file at the end, not just the first 20")
	switch err := flags.Parse(args); {
	case err == flag.ErrHelp:
		return 0
	case err != nil:
		return 2
	}
	if err := digest.CheckAlgorithm(*algorithm); err != nil {
		fmt.Fprintln(stderr, "quickstart:", err)
		return 1
	}
	paths := flags.Args()
	if len(paths) == 0 {
		paths = []string{"."}
	}

	r := newReport(stdout, stderr, isTerminal(stderr))
	if err := process(ctx, paths, *algorithm, *workers, r); err != nil {
		fmt.Fprintln(stderr, "quickstart:", err)
		return 1
	}
	r.print(*all)
	if r.failed > 0 {
		return 1
	}
	return 0
}

// process makes a task of each file, runs the tasks, and reports what became of them. It returns what kept it from
// going on; that single files could not be read is in the report.
func process(ctx context.Context, paths []string, algorithm string, workers int, r *report) error {
	backend := memory.New()
	defer func() { _ = backend.Close() }() // memory has nothing to lose
	client, err := omniq.NewClient(backend)
	if err != nil {
		return err
	}
	worker, err := omniq.NewWorker(backend,
		omniq.Handlers(omniq.Define(tasks.Digest, digest.File)),
		omniq.Concurrency(workers),
		omniq.Logger(slog.New(slog.DiscardHandler))) // failures are in the results
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { err = worker.Run(ctx) })
	enqueueErr := enqueue(ctx, client, paths, algorithm, r)
	stop()
	running.Wait()
	if enqueueErr != nil {
		return enqueueErr
	}
	return err
}

// enqueue makes the tasks, in batches, and waits for their results.
func enqueue(ctx context.Context, client *omniq.Client, paths []string, algorithm string, r *report) error {
	const batchSize = 100
	var files []string
	var handles []*omniq.Handle[tasks.Summary]
	var batch []omniq.Task[tasks.Path, tasks.Options]
	send := func() error {
		sent, err := tasks.Digest.EnqueueMany(ctx, client, batch)
		handles, batch = append(handles, sent...), batch[:0]
		return err
	}
	for file, err := range walk(paths) {
		if err != nil {
			r.fail(file, err)
			continue
		}
		if err := checkName(file); err != nil {
			r.fail(file, err)
			continue
		}
		task, err := tasks.Digest.Task(tasks.Path{Path: file}, tasks.Options{Algorithm: algorithm})
		if err != nil {
			return err
		}
		files, batch = append(files, file), append(batch, task)
		if len(batch) == batchSize {
			if err := send(); err != nil {
				return err
			}
		}
	}
	if err := send(); err != nil {
		return err
	}
	r.begin(len(handles))
	for i, h := range handles {
		summary, err := h.Wait(ctx)
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("interrupted after %d of %d files", i, len(handles))
		case err != nil:
			r.fail(files[i], err)
		default:
			r.done(files[i], summary)
		}
	}
	return nil
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

