// Scale measures what several servers behind one [omniq.Route] do beside one. It prints Markdown.
//
//	go run ./internal/bench/scale            # about two minutes, with the servers that it starts
//	go run ./internal/bench/scale -quick     # about 10 s: whether everything works, not how fast
//	go run ./internal/bench/scale -engines redis,redis*2
//
// All is measured in one process, in turns: in each round every engine takes each measurement once, on new schemas or namespaces. The
// figures are medians of the rounds; ratios are made within a round first. All servers are on this machine and share its CPUs with
// the program: where one server, which uses one CPU for its scripts, or a queue's lock is the limit, several do more; where the CPUs are
// the limit, they do not.
//
//   - Enqueued: 4 goroutines store 100 tasks at a time, each time of another of 64 queues.
//   - Worked: 4 goroutines lease 100 tasks at a time of all the queues, each beginning with another one, and settle them.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/internal/bench/engines"
)

const (
	queues  = 64
	callers = 4
)

// settings are what the flags say.
type settings struct {
	tasks  int
	rounds int
}

// figures are what one round came to on one engine, a second.
type figures struct{ enqueued, worked float64 }

func main() { engines.Main("scale", run) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var s settings
	flags := flag.NewFlagSet("scale", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.IntVar(&s.tasks, "n", 50_000, "`tasks` that are enqueued and worked")
	flags.IntVar(&s.rounds, "rounds", 5, "how often everything is measured")
	names := flags.String("engines", "redis*1,redis*3,postgres*1,postgres*3", "which to measure, separated by commas: an engine, and how many servers")
	quick := flags.Bool("quick", false, "few tasks and one round")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *quick {
		s.tasks, s.rounds = 2000, 1
	}
	if flags.NArg() > 0 || s.tasks < 400 || s.rounds < 1 {
		return fmt.Errorf("-n %d, -rounds %d, arguments %q: want at least 400 tasks, a round, and no arguments", s.tasks, s.rounds, flags.Args())
	}
	all, err := engines.Measure(ctx, *names, s.rounds, stderr, s.measure)
	if err != nil {
		return err
	}
	return write(stdout, s, all)
}

// write prints the medians. What an engine is compared with is the first one of its kind.
func write(w io.Writer, s settings, all []engines.Figures[figures]) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Medians of %d rounds; %d tasks in %d queues, all servers on this machine; %s.\n\n", s.rounds, s.tasks, queues, engines.Platform())
	b.WriteString("| engine, servers | enqueued a second | to the first | worked a second | to the first |\n|---|---:|---:|---:|---:|\n")
	for _, e := range all {
		kind, _, _ := strings.Cut(e.Name, "*")
		first := all[slices.IndexFunc(all, func(f engines.Figures[figures]) bool { return strings.HasPrefix(f.Name, kind) })]
		ratio := func(of func(figures) float64) float64 {
			ratios := make([]float64, s.rounds)
			for i := range ratios {
				ratios[i] = of(e.Rounds[i]) / of(first.Rounds[i])
			}
			return engines.Median(ratios)
		}
		enqueued, worked := func(f figures) float64 { return f.enqueued }, func(f figures) float64 { return f.worked }
		fmt.Fprintf(&b, "| %s | %.0f | × %.2f | %.0f | × %.2f |\n", e.Name, e.Median(enqueued), ratio(enqueued), e.Median(worked), ratio(worked))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (s settings) measure(ctx context.Context, e engines.Engine, round int) (f figures, err error) {
	names := make([]string, queues)
	for i := range names {
		names[i] = "queue" + strconv.Itoa(i)
	}
	err = e.On(ctx, "scale_"+strconv.Itoa(round), func(b omniq.Backend) error {
		if f.enqueued, err = s.rate(func(i int) error { return s.enqueue(ctx, b, names, i) }); err != nil {
			return err
		}
		var left atomic.Int64
		left.Store(int64(s.tasks))
		f.worked, err = s.rate(func(i int) error {
			at := i * len(names) / callers
			return work(ctx, b, append(names[at:len(names):len(names)], names[:at]...), &left)
		})
		return err
	})
	return f, err
}

// rate is how many of the tasks a second are done by the callers, each of which does its part.
func (s settings) rate(part func(i int) error) (float64, error) {
	began := time.Now()
	errs := make([]error, callers)
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() { errs[i] = part(i) })
	}
	all.Wait()
	return float64(s.tasks) / time.Since(began).Seconds(), errors.Join(errs...)
}

// enqueue stores the part of one of the callers.
func (s settings) enqueue(ctx context.Context, b omniq.Backend, names []string, caller int) error {
	from, until := caller*s.tasks/callers, (caller+1)*s.tasks/callers
	for call := 0; from < until; call++ {
		tasks := make([]*omniq.RawTask, min(engines.AtOnce, until-from))
		for i := range tasks {
			task, err := engines.NewTask()
			if err != nil {
				return err
			}
			task.Queue = names[(call*callers+caller)%len(names)]
			tasks[i] = task
		}
		if err := engines.Enqueue(ctx, b, tasks, engines.AtOnce); err != nil {
			return err
		}
		from += len(tasks)
	}
	return nil
}

// work leases and settles until nothing is left.
func work(ctx context.Context, b omniq.Backend, names []string, left *atomic.Int64) error {
	for left.Load() > 0 {
		leases, err := b.Lease(ctx, omniq.LeaseRequest{Queues: names, Max: engines.AtOnce, Duration: time.Minute, Wait: 10 * time.Millisecond, WorkerID: "w"})
		if err != nil {
			return err
		}
		if err := engines.Settle(ctx, b, leases, time.Hour); err != nil {
			return err
		}
		left.Add(-int64(len(leases)))
	}
	return nil
}
