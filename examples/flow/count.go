package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/examples/flow/words"
	"github.com/omniq-go/omniq/examples/internal/children"
	"github.com/omniq-go/omniq/examples/internal/engines"
)

// count opens the queue, sees to it that the flow is run, and prints its report.
func count(ctx context.Context, s *settings, stdout, stderr io.Writer) (err error) {
	backend, err := engines.Open(ctx, s.backend, s.processes > 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, backend.Close()) }()
	client, err := omniq.NewClient(backend)
	if err != nil {
		return err
	}

	b := newBar(stderr)
	cursor := omniq.CursorLatest
	for _, err := range client.Events(ctx, &cursor) { // from here on
		if err != nil {
			return err
		}
	}
	f, err := begin(ctx, client, s, b)
	if err != nil {
		return err
	}
	fmt.Fprintf(b, "flow %v\n", f.ID())

	working, stop := context.WithCancelCause(ctx)
	var running sync.WaitGroup
	running.Go(func() { stop(work(working, backend, f.queue, s, b)) })
	running.Go(func() { b.follow(working, client, f, &cursor) })
	stats, err := f.Wait(working)
	if err != nil && ctx.Err() != nil {
		err = f.cancel(context.WithoutCancel(ctx))
	} else if err != nil && context.Cause(working) != nil {
		err = context.Cause(working)
	}
	stop(nil)
	running.Wait()
	b.end()
	if err != nil {
		return err
	}
	if stats.Failed+stats.Cancelled+stats.Expired > 0 {
		return f.failures(ctx)
	}
	report, err := f.report.Wait(ctx)
	if err != nil {
		return err
	}
	return write(stdout, report)
}

// flow is one with the tasks that others are made of.
type flow struct {
	omniq.Flow
	queue  string
	files  *omniq.Handle[[]words.File]
	report *omniq.Handle[words.Report]
}

// begin stores a new flow, or lets the one that the settings name go on.
func begin(ctx context.Context, client *omniq.Client, s *settings, b *bar) (*flow, error) {
	if s.flow != uuid.Nil {
		return resume(ctx, client, client.Flow(s.flow), b)
	}
	queue := newQueue()
	files, report := words.Flow(s.dir, omniq.Queue(queue))
	h, err := report.Enqueue(ctx, client) // the whole graph, in one step
	if err != nil {
		return nil, err
	}
	f, err := h.Flow(ctx)
	return &flow{f, queue, words.List.Attach(client, files.ID()), h}, err
}

// resume finds the tasks of a flow, and runs those once more that have not succeeded.
func resume(ctx context.Context, client *omniq.Client, of omniq.Flow, b *bar) (*flow, error) {
	f := &flow{Flow: of}
	counted := 0
	for info, err := range of.Tasks(ctx) {
		if err != nil {
			return nil, err
		}
		switch info.FuncName {
		case words.List.Name():
			f.files = words.List.Attach(client, info.ID)
		case words.Sum.Name():
			f.report, f.queue = words.Sum.Attach(client, info.ID), info.Queue
		case words.CountChunk.Name():
			if info.Status != omniq.StatusSuccess {
				continue
			}
			counted++
			n, _, err := words.Counted.Of(ctx, words.CountChunk.Attach(client, info.ID)) // it is kept with the result
			if err != nil {
				return nil, err
			}
			b.set(info.ID, n)
		}
	}
	if f.files == nil || f.report == nil {
		return nil, fmt.Errorf("there is no flow %v that counts words", of.ID())
	}
	n, err := of.Requeue(ctx)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(b, "%d tasks are run once more; %d chunks were counted already\n", n, counted)
	return f, nil
}

// cancel cancels what is left. Ctx is one that Ctrl-C does not end.
func (f *flow) cancel(ctx context.Context) error {
	ctx, stop := context.WithTimeout(ctx, 15*time.Second)
	defer stop()
	n, err := f.Cancel(ctx)
	if err != nil {
		return fmt.Errorf("interrupted; the flow could not be cancelled: %w", err)
	}
	return fmt.Errorf("interrupted: %d tasks are cancelled; -flow %v goes on", n, f.ID())
}

// failures is an error that tells which tasks have failed.
func (f *flow) failures(ctx context.Context) error {
	var failed []error
	for info, err := range f.Tasks(ctx) {
		if err != nil {
			return err
		}
		if info.Status == omniq.StatusFailure {
			failed = append(failed, fmt.Errorf("task %v, %q: %w", info.ID, info.FuncName, info.Error))
		}
	}
	return errors.Join(append(failed, fmt.Errorf("there is no report; -flow %v runs once more what did not succeed", f.ID()))...)
}

// work does the tasks, in this process or in others, until ctx ends.
func work(ctx context.Context, backend omniq.Backend, queue string, s *settings, b *bar) error {
	if s.processes == 0 {
		worker, err := newWorker(backend, queue, s)
		if err != nil {
			return err
		}
		return worker.Run(ctx)
	}
	p := children.Program{
		Name: "flow",
		Args: []string{"-worker", queue, "-workers", strconv.Itoa(s.workers), "-pause", s.counter.Pause.String(), "-fail=" + strconv.FormatBool(s.counter.Fail)},
		Env:  []string{"OMNIQ_BACKEND_URL=" + s.backend}, Output: b,
	}
	return p.Run(ctx, s.processes)
}

func newWorker(backend omniq.Backend, queue string, s *settings) (*omniq.Worker, error) {
	return omniq.NewWorker(backend,
		omniq.Queues(queue),
		s.counter.Handlers(),
		omniq.Concurrency(s.workers),
		omniq.LeaseDuration(5*time.Second),          // how long others wait for what a killed process was counting
		omniq.Logger(slog.New(slog.DiscardHandler))) // failures are in the results
}

// joinQueue is the program with -worker: it works the tasks of a queue until ctx or the process ends that has started this one.
func joinQueue(ctx context.Context, s *settings) (err error) {
	ctx, stop := children.WithParent(ctx)
	defer stop()
	backend, err := engines.Open(ctx, s.backend, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, backend.Close()) }()
	worker, err := newWorker(backend, s.worker, s)
	if err != nil {
		return err
	}
	return worker.Run(ctx)
}

// write writes the report, as wc does.
func write(w io.Writer, r words.Report) error {
	table := tabwriter.NewWriter(w, 0, 8, 1, ' ', tabwriter.AlignRight)
	line := func(c words.Counts, name string) {
		fmt.Fprintf(table, "%d\t%d\t%d\t %s\n", c.Lines, c.Words, c.Bytes, name)
	}
	for _, f := range r.Files {
		line(f.Counts, f.Path)
	}
	line(r.Total, "total")
	return table.Flush()
}
