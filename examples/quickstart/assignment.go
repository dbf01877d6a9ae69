package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/examples/quickstart/digest"
)

// assignment is what the command line asks for.
type assignment struct {
	paths               []string
	algorithm           string
	backend             string // its URL
	workers             int    // in each process
	processes           int    // 0 for this one alone
	worker              string // the queue to be a worker process of, and nothing else
	all, resume, events bool
	own                 bool // the backend is the file that nobody has named
}

const (
	maxWorkers   = 1000 // about how many files a process may have open on most systems
	maxProcesses = 100
)

// parse reads the command line. Where there is nothing to do it returns nil and the exit status.
func parse(args []string, stderr io.Writer) (j *assignment, status int) {
	j = new(assignment)
	var db string
	flags := flag.NewFlagSet("quickstart", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // what is wrong is said here, in one line
	usage := func() {
		flags.SetOutput(stderr)
		fmt.Fprintln(stderr, "usage: quickstart [flags] [path ...]")
		fmt.Fprintln(stderr, "Digests of the regular files at and below the paths, by default the current directory.")
		fmt.Fprintln(stderr, "Below a path, directories named .git, links, devices and the like are passed over and counted.")
		flags.PrintDefaults()
	}
	flags.StringVar(&j.algorithm, "algorithm", "sha256", "one of "+strings.Join(digest.Algorithms(), ", "))
	flags.StringVar(&j.backend, "backend", "", "the `URL` of the queue: postgres://user@host/database, redis://host, sqlite:file or memory:\n"+
		"(default: what OMNIQ_BACKEND_URL says, or a file in the user's cache directory)")
	flags.StringVar(&db, "db", "", "the `file` that the queue is kept in, short for -backend sqlite:file")
	flags.IntVar(&j.workers, "workers", omniq.DefaultConcurrency, fmt.Sprintf("how many files a process reads at once, 1 to %d", maxWorkers))
	flags.IntVar(&j.processes, "processes", 0,
		fmt.Sprintf("how many other processes read the files, up to %d (default: this one does)", maxProcesses))
	flags.StringVar(&j.worker, "worker", "", "do nothing but read the files of a `queue`, until standard input ends;\n"+
		"-processes starts this program so")
	flags.BoolVar(&j.all, "all", false, "list every file at the end, not just the first 20")
	flags.BoolVar(&j.resume, "resume", false, "go on with the last run of the same paths and algorithm, where it was stopped or killed")
	flags.BoolVar(&j.events, "events", false, "print what happens to each task")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		usage()
		return nil, 0
	case err != nil:
		fmt.Fprintf(stderr, "quickstart: %v; -h shows the flags\n", err)
		return nil, 2
	}
	j.paths = flags.Args()
	behind := slices.IndexFunc(j.paths, func(path string) bool { return strings.HasPrefix(path, "-") })
	switch {
	case behind > 0:
		fmt.Fprintf(stderr, "quickstart: %s stands after %s: flags go before the paths; a file of that name is ./%[1]s\n",
			printable(j.paths[behind]), printable(j.paths[0]))
		return nil, 2
	case j.backend != "" && db != "":
		fmt.Fprintln(stderr, "quickstart: -backend and -db both say where the queue is; give one of them")
		return nil, 2
	case j.worker != "" && (len(j.paths) > 0 || j.processes != 0 || j.resume || j.events):
		fmt.Fprintln(stderr, "quickstart: -worker goes with -backend, -db and -workers only: its files are those of the queue")
		return nil, 2
	}
	if db != "" {
		j.backend = "sqlite:" + db
	}
	if len(j.paths) == 0 {
		j.paths = []string{"."}
	}
	return j, 0
}

// check finds what cannot be, and the backend if none was given.
func (j *assignment) check() error {
	err := digest.CheckAlgorithm(j.algorithm)
	if j.workers < 1 || j.workers > maxWorkers {
		err = errors.Join(err, fmt.Errorf("-workers is %d, want 1 to %d", j.workers, maxWorkers))
	}
	if j.processes < 0 || j.processes > maxProcesses {
		err = errors.Join(err, fmt.Errorf("-processes is %d, want 0 to %d", j.processes, maxProcesses))
	}
	if err != nil {
		return err
	}
	if j.backend == "" {
		j.backend = os.Getenv("OMNIQ_BACKEND_URL")
	}
	if j.backend == "" {
		j.own = true
		j.backend, err = defaultBackend()
	}
	return err
}

// defaultBackend is a file in the user's cache directory.
func defaultBackend() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("there is no cache directory for the queue: %w; give a file with -db", err)
	}
	dir = filepath.Join(dir, "omniq")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("%w; give a file for the queue with -db", err)
	}
	return "sqlite:" + filepath.Join(dir, "quickstart.db"), nil
}
