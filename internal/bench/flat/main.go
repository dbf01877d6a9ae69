// Flat measures on each engine whether a task costs the same however many others there are, and whether the memory of a peak is given
// back. It prints Markdown.
//
//	go run ./internal/bench/flat                    # about two minutes, with the servers that it starts
//	go run ./internal/bench/flat -most 1000000      # about fifteen
//	go run ./internal/bench/flat -quick             # about 5 s: whether everything works, not how fast
//	go run ./internal/bench/flat -engines memory,sqlite
//
// All is measured in one process, in turns: in each round every engine takes each measurement once, on a new file, schema or namespace.
//
//   - A task: to enqueue it, to lease it and to settle it with a result that is kept, by the methods of the backend, one at a time and 100
//     at a time, while there are so many others that are due and as many results. There is a backend of each size, and they take turns,
//     call by call. The median of the calls counts, so that what happens now and then, as a checkpoint, does not. The last column is what
//     a call beside the most takes against the one beside the fewest: the median, too.
//   - A peak: how much larger the files or, in memory, the heap are than before when -peak tasks have been enqueued, worked and their
//     results are gone. Each time there are 1,000 tasks beside.
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
	sizes  []int // how many others there are
	peak   int
	calls  int // that are timed of each size
	rounds int
}

func main() { engines.Main("flat", run) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	s := settings{calls: 100}
	flags := flag.NewFlagSet("flat", flag.ContinueOnError)
	flags.SetOutput(stderr)
	fewest, most := 1000, 0
	flags.IntVar(&most, "most", 100_000, "`others` at the most; there are ten times fewer before, and so on down to 1,000")
	flags.IntVar(&s.peak, "peak", 100_000, "`tasks` of the peak")
	flags.IntVar(&s.rounds, "rounds", 3, "how often everything is measured")
	names := flags.String("engines", engines.Names, "which to measure, separated by commas")
	quick := flags.Bool("quick", false, "few tasks and one round")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *quick {
		fewest, most, s.peak, s.calls, s.rounds = 10, 100, 2000, 3, 1
	}
	if flags.NArg() > 0 || most < 10*fewest || s.peak < 1000 || s.rounds < 1 {
		return fmt.Errorf("-most %d, -peak %d, -rounds %d, arguments %q: want at least 10,000 others, a peak of 1,000, a round, and no arguments",
			most, s.peak, s.rounds, flags.Args())
	}
	for n := fewest; n <= most; n *= 10 {
		s.sizes = append(s.sizes, n)
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
	fmt.Fprintf(&b, "Medians of %d rounds; µs for each task; %s.\n\n| engine | at a time |", s.rounds, engines.Platform())
	for _, n := range s.sizes {
		fmt.Fprintf(&b, " beside %d |", n)
	}
	b.WriteString(" most : fewest |\n|---|---:|" + strings.Repeat("---:|", len(s.sizes)+1) + "\n")
	for _, e := range all {
		for k, batch := range batches {
			fmt.Fprintf(&b, "| %s | %d |", e.Name, batch)
			for i := range s.sizes {
				fmt.Fprintf(&b, " %.1f |", e.Median(func(f figures) float64 { return f.costs[i][k] }))
			}
			fmt.Fprintf(&b, " × %.2f |\n", e.Median(func(f figures) float64 { return f.ratios[k] }))
		}
	}
	head := fmt.Sprintf("\n| bytes, peak of %d tasks | before | at the peak | when it is over | over : before |\n|---|---:|---:|---:|---:|\n", s.peak)
	for _, e := range all {
		if e.Rounds[0].before == 0 {
			continue
		}
		fmt.Fprintf(&b, "%s| %s | %.0f | %.0f | %.0f | × %.2f |\n", head, e.Name,
			e.Median(func(f figures) float64 { return f.before }),
			e.Median(func(f figures) float64 { return f.peak }),
			e.Median(func(f figures) float64 { return f.after }),
			e.Median(func(f figures) float64 { return f.after / f.before }))
		head = "" // it stands above the first row, if there is any
	}
	_, err := io.WriteString(w, b.String())
	return err
}
