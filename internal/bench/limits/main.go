// Limits measures what limits and lanes of queues cost on each engine. It prints Markdown.
//
//	go run ./internal/bench/limits            # about three minutes
//	go run ./internal/bench/limits -quick     # about 10 s: whether everything works, not how fast
//	go run ./internal/bench/limits -engines sqlite
//
// All is measured in one process, in turns: in each round every engine takes each measurement once, on a new file or schema. The
// figures are medians of the rounds; ratios are made within a round first.
//
//   - Worked: 4 goroutines lease 100 tasks at a time and settle them, by the methods of the backend: of a queue without a limit, of
//     one with a limit that is never reached, and of one whose tasks have 10 and 10,000 lanes.
//   - A lease: one goroutine leases 100 tasks at a time of a queue with 10 and with 10,000 lanes, all of which have tasks.
//   - Tenants: one lane has 100,000 tasks, and 2,000 lanes have 5 each, which came later. How long it takes, with 4 goroutines that
//     lease 100 tasks at a time and settle them, until those of the small lanes are all leased.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/omniq-go/omniq/internal/bench/engines"
)

// settings are what the flags say.
type settings struct {
	tasks   int
	lanes   int
	tenants int
	rounds  int
}

func main() { engines.Main("limits", run) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	s := settings{lanes: 10_000, tenants: 2000}
	flags := flag.NewFlagSet("limits", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.IntVar(&s.tasks, "n", 20_000, "`tasks` that are worked; five times as many of the large tenant")
	flags.IntVar(&s.rounds, "rounds", 5, "how often everything is measured")
	names := flags.String("engines", engines.Names, "which to measure, separated by commas")
	quick := flags.Bool("quick", false, "few tasks and one round")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *quick {
		s.tasks, s.lanes, s.tenants, s.rounds = 400, 100, 20, 1
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

// write prints the medians.
func write(w io.Writer, s settings, all []engines.Figures[figures]) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Medians of %d rounds; %d tasks, %d lanes, %d small tenants; %s.\n\n", s.rounds, s.tasks, s.lanes, s.tenants,
		engines.Platform())
	fmt.Fprintf(&b, "| engine | plain, worked/s | a limit | 10 lanes | %d lanes | lease of 10 lanes | of %d lanes | tenants |\n|---|---|---|---|---|---|---|---|\n", s.lanes, s.lanes)
	for _, e := range all {
		fmt.Fprintf(&b, "| %s | %.0f | × %.2f | × %.2f | × %.2f | %.2f ms | × %.2f | %.2f s |\n", e.Name,
			e.Median(func(f figures) float64 { return f.plain }),
			e.Median(func(f figures) float64 { return f.limit / f.plain }),
			e.Median(func(f figures) float64 { return f.few / f.plain }),
			e.Median(func(f figures) float64 { return f.many / f.plain }),
			e.Median(func(f figures) float64 { return f.leaseFew }),
			e.Median(func(f figures) float64 { return f.leaseMany / f.leaseFew }),
			e.Median(func(f figures) float64 { return f.tenants }))
	}
	_, err := io.WriteString(w, b.String())
	return err
}
