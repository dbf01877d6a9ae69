// Flow counts the lines, words and bytes of the files below a directory, as wc does, in chunks that are counted side by side:
//
//	go run ./examples/flow [-chunk 1048576] [-workers 4] [-processes 2] [-fail] [dir]
//	go run ./examples/flow -flow ID [flags]
//
// It is one flow: the files are listed, each is split into chunks, these are counted, merged by file, and summed up in one report.
// While it runs, a bar shows how much has been read.
//
// With -fail one chunk fails on purpose, and so there is no report. Ctrl-C cancels the flow. After both, and after a kill, the same
// program with -flow and the ID that it has printed goes on: it runs what failed or was cancelled once more, and what follows from
// it; what has been counted stays counted. With -processes other processes do the work, and any of them may be killed.
//
// The queue is in a file, unless -backend or OMNIQ_BACKEND_URL names another place.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/google/uuid"

	"github.com/omniq-go/omniq/examples/flow/words"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// settings are what the command line asks for.
type settings struct {
	dir       words.Dir
	flow      uuid.UUID // to go on with, zero for a new one
	backend   string    // its URL
	workers   int       // in each process
	processes int       // 0 for this one alone
	worker    string    // the queue to be a worker process of, and nothing else
	counter   words.Counter
}

// run is the program. It returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	s, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintf(stderr, "flow: %v; -h shows the flags\n", err)
		return 2
	case s.worker != "":
		err = joinQueue(ctx, s)
	default:
		err = count(ctx, s, stdout, stderr)
	}
	if err != nil {
		fmt.Fprintln(stderr, "flow:", err)
		return 1
	}
	return 0
}

// parse reads the command line.
func parse(args []string, stderr io.Writer) (*settings, error) {
	s := new(settings)
	var id string
	flags := flag.NewFlagSet("flow", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // what is wrong is said here, in one line
	flags.StringVar(&s.backend, "backend", "", "the `URL` of the queue: postgres://user@host/database, redis://host or sqlite:file\n"+
		"(default: what OMNIQ_BACKEND_URL says, or a file in the user's cache directory)")
	flags.StringVar(&id, "flow", "", "go on with the flow of this `ID`, and run once more what failed or was cancelled")
	flags.Int64Var(&s.dir.Chunk, "chunk", 1<<20, "how many bytes are counted by one task")
	flags.IntVar(&s.workers, "workers", 4, "how many chunks a process counts at once")
	flags.IntVar(&s.processes, "processes", 0, "how many other processes count (default: this one does)")
	flags.StringVar(&s.worker, "worker", "", "do nothing but the tasks of a `queue`, until standard input ends; -processes starts this program so")
	flags.BoolVar(&s.counter.Fail, "fail", false, "let the first chunk of the first file fail")
	flags.DurationVar(&s.counter.Pause, "pause", 0, "wait so long after each 64 KiB, to have something to watch")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(stderr, "usage: flow [flags] [dir]\nCounts lines, words and bytes of the files below a directory, by default the current one.")
			flags.SetOutput(stderr)
			flags.PrintDefaults()
		}
		return nil, err
	}
	if flags.NArg() > 1 {
		return nil, fmt.Errorf("%d arguments, want one directory after the flags", flags.NArg())
	}
	if s.dir.Chunk < 1 || s.workers < 1 || s.processes < 0 {
		return nil, fmt.Errorf("-chunk %d, -workers %d, -processes %d: want at least 1, 1 and 0", s.dir.Chunk, s.workers, s.processes)
	}
	if id != "" {
		var err error
		if s.flow, err = uuid.Parse(id); err != nil || flags.NArg() > 0 {
			return nil, fmt.Errorf("-flow %q: want the ID of a flow, and no directory", id)
		}
	}
	if s.backend == "" {
		s.backend = os.Getenv("OMNIQ_BACKEND_URL")
	}
	if s.backend == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return nil, fmt.Errorf("%w: say by -backend where the queue is", err)
		}
		if err := os.MkdirAll(filepath.Join(cache, "omniq"), 0o700); err != nil {
			return nil, err
		}
		s.backend = "sqlite:" + filepath.Join(cache, "omniq", "flow.db")
	}
	dir := flags.Arg(0)
	if dir == "" {
		dir = "."
	}
	var err error
	s.dir.Path, err = filepath.Abs(dir) // workers may run elsewhere
	return s, err
}

// newQueue is the name of a run's own queue: any number of runs can go on at once.
func newQueue() string { return "words/" + time.Now().UTC().Format("20060102T150405.000000000") }
