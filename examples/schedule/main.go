// Schedule measures directories by the clock: each night a report, as a flow, and a sample every few seconds.
//
//	go run ./examples/schedule serve [-dir .] [-out sizes] [-zone Europe/Berlin] [-every 10s]
//
// declares two schedules and works them until Ctrl-C. It may run several times at once. From other terminals, at the same time:
//
//	go run ./examples/schedule                                    what there is, and when it is due
//	go run ./examples/schedule pause sizes.samples "disk is busy"
//	go run ./examples/schedule resume sizes.samples
//	go run ./examples/schedule trigger sizes.nightly              a run now
//	go run ./examples/schedule backfill sizes.nightly 2027-03-01 2027-03-08
//	go run ./examples/schedule delete sizes.samples
//
// The queue is in a file, unless -backend before the command or OMNIQ_BACKEND_URL names another place.
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
	"strings"
	"syscall"
	"time"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/examples/internal/engines"
	"github.com/omniq-go/omniq/examples/schedule/sizes"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

const usage = `usage: schedule [-backend URL] [command]
  serve [flags]             declare the schedules and work them; -h shows the flags
  list                      what there is, and when it is due: the command without one
  pause NAME [NOTE]         start no runs until resume
  resume NAME
  trigger NAME              a run now
  backfill NAME FROM UNTIL  runs for the ticks between two days or times, like 2027-03-01 or 2027-03-01T12:00:00Z
  delete NAME
`

var errUsage = errors.New("no such command, or not its arguments")

// run is the program. It returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("schedule", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // what is wrong is said here
	url := flags.String("backend", os.Getenv("OMNIQ_BACKEND_URL"), "")
	err := flags.Parse(args)
	if err == nil {
		err = withClient(ctx, *url, func(c *omniq.Client, b omniq.Backend) error { return do(ctx, c, b, flags.Args(), stdout, stderr) })
	}
	switch {
	case err == nil:
		return 0
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintln(stderr, strings.TrimSpace(usage))
		return 0
	case errors.Is(err, errUsage):
		fmt.Fprintf(stderr, "schedule: %v\n%s", err, usage)
		return 2
	}
	fmt.Fprintln(stderr, "schedule:", err)
	return 1
}

// withClient opens the queue, by default in a file in the user's cache directory.
func withClient(ctx context.Context, url string, do func(*omniq.Client, omniq.Backend) error) error {
	if url == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return fmt.Errorf("%w: say by -backend where the queue is", err)
		}
		if err := os.MkdirAll(filepath.Join(cache, "omniq"), 0o700); err != nil {
			return err
		}
		url = "sqlite:" + filepath.Join(cache, "omniq", "schedule.db")
	}
	b, err := engines.Open(ctx, url, true)
	if err != nil {
		return err
	}
	c, err := omniq.NewClient(b)
	if err == nil {
		err = do(c, b)
	}
	return errors.Join(err, b.Close())
}

// do does one command.
func do(ctx context.Context, c *omniq.Client, b omniq.Backend, args []string, stdout, stderr io.Writer) error {
	command, rest := "list", args
	if len(args) > 0 {
		command, rest = args[0], args[1:]
	}
	if command == "serve" {
		return serve(ctx, c, b, rest, stderr)
	}
	if command == "list" && len(rest) == 0 {
		return list(ctx, c, stdout)
	}
	if len(rest) == 0 {
		return errUsage
	}
	s, n := c.Schedule(rest[0]), len(rest)
	switch {
	case command == "pause" && n <= 2:
		return s.Pause(ctx, strings.Join(rest[1:], ""))
	case command == "resume" && n == 1:
		return s.Resume(ctx)
	case command == "delete" && n == 1:
		return s.Delete(ctx)
	case command == "trigger" && n == 1:
		h, err := s.Trigger(ctx)
		if err != nil {
			return err
		}
		result, err := h.Wait(ctx)
		fmt.Fprintf(stdout, "%s\n", result)
		return err
	case command == "backfill" && n == 3:
		from, err := parseTime(rest[1])
		if err != nil {
			return err
		}
		until, err := parseTime(rest[2])
		if err != nil {
			return err
		}
		return s.Backfill(ctx, from, until)
	}
	return errUsage
}

func parseTime(text string) (time.Time, error) {
	if t, err := time.Parse(time.DateOnly, text); err == nil {
		return t, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, fmt.Errorf("%q is no time, want one like 2027-03-01 or 2027-03-01T12:00:00Z", text)
	}
	return t, nil
}

// list prints the schedules.
func list(ctx context.Context, c *omniq.Client, stdout io.Writer) error {
	n := 0
	for info, err := range c.Schedules(ctx) {
		if err != nil {
			return err
		}
		n++
		fmt.Fprintf(stdout, "%s: %v\n", info.Name, info.When)
		fmt.Fprintf(stdout, "  %d runs; %d ticks missed, %d skipped, %d dropped; %d wait, %d backfills\n", info.Counts.Runs, info.Counts.Missed,
			info.Counts.Skipped, info.Counts.Dropped, info.Waiting, info.Filling)
		if info.Paused {
			fmt.Fprintf(stdout, "  paused: %s\n", info.Note)
		}
		for _, tick := range info.Next(3) {
			fmt.Fprintf(stdout, "  next: %s\n", tick.Local().Format(time.RFC1123))
		}
		for _, r := range info.Runs[:min(len(info.Runs), 3)] {
			status := "forgotten"
			if result, err := c.Result(ctx, r.ID); err == nil {
				status = result.Status.String()
			} else if !errors.Is(err, omniq.ErrNotFound) {
				return err
			}
			fmt.Fprintf(stdout, "  run of %s, by the %s: %s\n", r.Time.Local().Format(time.RFC1123), r.Cause, status)
		}
	}
	if n == 0 {
		fmt.Fprintln(stdout, "There is no schedule. This declares two and works them: go run ./examples/schedule serve")
	}
	return nil
}

// serve declares the schedules, and works them until ctx ends.
func serve(ctx context.Context, c *omniq.Client, b omniq.Backend, args []string, stderr io.Writer) error {
	flags := flag.NewFlagSet("schedule serve", flag.ContinueOnError)
	flags.SetOutput(stderr)
	dir := flags.String("dir", ".", "the `directory` that is measured")
	out := flags.String("out", "sizes", "the `directory` for reports and samples")
	zone := flags.String("zone", "UTC", "the `zone` by whose clock the nightly report runs at 02:30")
	every := flags.Duration("every", 10*time.Second, "the distance of samples")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return errUsage
	}
	job := sizes.Job{Dir: *dir, Out: *out}
	for _, path := range []*string{&job.Dir, &job.Out} { // other processes run elsewhere
		var err error
		if *path, err = filepath.Abs(*path); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(job.Out, 0o700); err != nil {
		return err
	}
	if err := sizes.Declare(ctx, c, job, *zone, *every); err != nil {
		return err
	}
	w, err := omniq.NewWorker(b, omniq.Handlers(sizes.Directories, sizes.Measure, sizes.Report, sizes.Sample))
	if err != nil {
		return err
	}
	fmt.Fprintf(stderr, "serving; reports go to %s\n", job.Out)
	return w.Run(ctx)
}
