// Flows measures what it costs on each engine that tasks wait for others. It prints Markdown.
//
//	go run ./internal/bench/flows            # about three minutes, with a PostgreSQL server that it starts
//	go run ./internal/bench/flows -quick     # about 10 s: whether everything works, not how fast
//	go run ./internal/bench/flows -engines memory,sqlite
//
// All is measured in one process, in turns: in each round every engine takes each measurement once, on a new file or schema. The
// figures are medians of the rounds; ratios are made within a round first.
//
//   - Worked: 4 goroutines lease 100 tasks at a time and settle them, by the methods of the backend, with results that are kept.
//     Nobody waits for plain tasks. For a chord one task waits for all, for 200 chords 200 tasks wait for a share each, whose
//     members are leased in turns. The results are their inputs. These tasks are worked, too.
//   - A link: the time from the end of one handler of a chain of 1,000 calls to the begin of the next, in one worker.
//   - Enqueue: a graph of 1,000 calls, of which the last takes the results of all others, by one Enqueue of its promise, against
//     one EnqueueMany of 1,000 tasks.
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
	members int
	links   int
	calls   int
	rounds  int
}

func main() { engines.Main("flows", run) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var s settings
	flags := flag.NewFlagSet("flows", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.IntVar(&s.members, "n", 20_000, "`members` of the chords")
	flags.IntVar(&s.rounds, "rounds", 5, "how often everything is measured")
	names := flags.String("engines", engines.Names, "which to measure, separated by commas")
	quick := flags.Bool("quick", false, "small flows and one round")
	if err := flags.Parse(args); err != nil {
		return err
	}
	s.links, s.calls = 1000, 1000
	if *quick {
		s.members, s.links, s.calls, s.rounds = 400, 20, 20, 1
	}
	if flags.NArg() > 0 || s.members < 400 || s.rounds < 1 {
		return fmt.Errorf("-n %d, -rounds %d, arguments %q: want at least 400 members, a round, and no arguments", s.members, s.rounds, flags.Args())
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
	fmt.Fprintf(&b, "Medians of %d rounds; %d members, a chain of %d links, %d calls; %s.\n\n", s.rounds, s.members, s.links, s.calls,
		engines.Platform())
	b.WriteString("| engine | plain, worked/s | one chord | 200 chords | link, p50 | p99 | EnqueueMany | graph |\n|---|---|---|---|---|---|---|---|\n")
	for _, e := range all {
		fmt.Fprintf(&b, "| %s | %.0f | × %.2f | × %.2f | %.2f ms | %.2f ms | %.1f ms | × %.2f |\n", e.Name,
			e.Median(func(f figures) float64 { return f.plain }),
			e.Median(func(f figures) float64 { return f.chord / f.plain }),
			e.Median(func(f figures) float64 { return f.chords / f.plain }),
			e.Median(func(f figures) float64 { return f.link50 }),
			e.Median(func(f figures) float64 { return f.link99 }),
			e.Median(func(f figures) float64 { return f.many }),
			e.Median(func(f figures) float64 { return f.graph / f.many }))
	}
	_, err := io.WriteString(w, b.String())
	return err
}
