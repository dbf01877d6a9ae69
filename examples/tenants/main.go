// Tenants shows what lanes do: one greedy tenant enqueues many images to shrink, and fifty small ones, a moment later, a few each.
//
//	go run ./examples/tenants                       # in memory: first without lanes, then with a lane for each tenant
//	go run ./examples/tenants -backend sqlite:q.db  # on another engine that has lanes
//	go run ./examples/tenants -each 2               # and at most 2 of each tenant at once
//
// On a terminal a table is redrawn while the tasks run. In the end it says how long the small tenants have waited.
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
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/term"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/examples/internal/engines"
)

// Image is what is to be shrunk, and for whom.
type Image struct {
	Tenant string
	Number int
}

// settings are what the flags say.
type settings struct {
	backend string
	greedy  int
	small   int
	images  int
	each    int
	takes   time.Duration
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	switch err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "tenants:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var s settings
	flags := flag.NewFlagSet("tenants", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&s.backend, "backend", "memory:", "the `URL` of an engine with lanes: memory:, sqlite:file, postgres: or redis:")
	flags.IntVar(&s.greedy, "greedy", 2000, "`images` of the greedy tenant")
	flags.IntVar(&s.small, "small", 50, "how many small `tenants` there are")
	flags.IntVar(&s.images, "images", 5, "images of each small tenant")
	flags.IntVar(&s.each, "each", 0, "at most so many `images` of each tenant at once, with lanes; 0 for any number")
	flags.DurationVar(&s.takes, "takes", 5*time.Millisecond, "how `long` an image takes")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 || min(s.greedy, s.small, s.images) < 1 || s.each < 0 {
		return fmt.Errorf("-greedy %d, -small %d, -images %d, -each %d, arguments %q: want at least 1 of each, 0 for -each, and no arguments",
			s.greedy, s.small, s.images, s.each, flags.Args())
	}
	backend, err := engines.Open(ctx, s.backend, false)
	if err != nil {
		return err
	}
	defer func() { _ = backend.Close() }() // what there is to say was said by the calls before
	if caps := backend.Capabilities(); !caps.Limits {
		return fmt.Errorf("the engine %q has no lanes", caps.Name)
	}
	for _, lanes := range []bool{false, true} {
		if err := round(ctx, backend, s, lanes, stdout); err != nil {
			return err
		}
	}
	return nil
}

// round enqueues all images and shrinks them.
func round(ctx context.Context, backend omniq.Backend, s settings, lanes bool, stdout io.Writer) error {
	client, err := omniq.NewClient(backend)
	if err != nil {
		return err
	}
	limit := omniq.Limit{}
	if lanes {
		limit.EachLane.Running = s.each
	}
	if err := client.SetLimit(ctx, omniq.DefaultQueue, limit); err != nil {
		return err
	}
	b := newBoard(stdout, lanes, s)
	shrink := omniq.DefineArgs("shrink", func(_ context.Context, i Image) (omniq.Void, error) {
		time.Sleep(s.takes)
		b.done(i.Tenant)
		return omniq.Void{}, nil
	}, omniq.ResultTTL(0))
	if err := enqueue(ctx, client, shrink, s, lanes); err != nil {
		return err
	}
	worker, err := omniq.NewWorker(backend, omniq.Handlers(shrink), omniq.Concurrency(8), omniq.Logger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return err
	}
	working, stop := context.WithCancel(ctx)
	defer stop()
	stopped := make(chan error, 1)
	b.began = time.Now()
	go func() { stopped <- worker.Run(working) }()
	for redraw := time.NewTicker(100 * time.Millisecond); ; {
		select {
		case <-redraw.C:
			b.draw()
		case <-b.over:
			stop()
			b.draw()
			b.sum()
			return <-stopped
		case <-ctx.Done():
			return <-stopped
		}
	}
}

// enqueue stores the images: those of the greedy tenant first.
func enqueue(ctx context.Context, client *omniq.Client, shrink omniq.ArgsDefinition[Image, omniq.Void], s settings, lanes bool) error {
	var tasks []omniq.Task[Image, omniq.NoKwargs]
	add := func(tenant string, n int) error {
		for i := range n {
			var opts []omniq.TaskOption
			if lanes {
				opts = append(opts, omniq.Lane(tenant))
			}
			t, err := shrink.Task(Image{tenant, i}, opts...)
			if err != nil {
				return err
			}
			tasks = append(tasks, t)
		}
		return nil
	}
	err := add("greedy", s.greedy)
	for i := range s.small {
		err = errors.Join(err, add(fmt.Sprintf("small-%02d", i+1), s.images))
	}
	for some := range slices.Chunk(tasks, 1000) {
		if err == nil {
			_, err = shrink.EnqueueMany(ctx, client, some)
		}
	}
	return err
}

// board knows how far the tenants are.
type board struct {
	out      io.Writer
	terminal bool
	lanes    bool
	s        settings
	began    time.Time
	over     chan struct{} // closed when all is done
	drawn    bool

	mu    sync.Mutex
	left  map[string]int
	ended map[string]time.Duration
}

func newBoard(out io.Writer, lanes bool, s settings) *board {
	b := &board{out: out, lanes: lanes, s: s, over: make(chan struct{}), left: make(map[string]int), ended: make(map[string]time.Duration)}
	if f, ok := out.(*os.File); ok {
		b.terminal = term.IsTerminal(int(f.Fd()))
	}
	b.left["greedy"] = s.greedy
	for i := range s.small {
		b.left[fmt.Sprintf("small-%02d", i+1)] = s.images
	}
	return b
}

// done is told of an image.
func (b *board) done(tenant string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.left[tenant]--; b.left[tenant] > 0 {
		return
	}
	delete(b.left, tenant)
	b.ended[tenant] = time.Since(b.began)
	if len(b.left) == 0 {
		close(b.over)
	}
}

// draw shows the tenants, in the place where it has shown them before.
func (b *board) draw() {
	if !b.terminal {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	const rows = 4
	if b.drawn {
		fmt.Fprintf(b.out, "\x1b[%dA", rows)
	}
	b.drawn = true
	images, waiting := 0, 0
	for tenant, n := range b.left {
		if tenant != "greedy" {
			images += n
			waiting++
		}
	}
	fmt.Fprintf(b.out, "\x1b[K%s, %.1f s\n", b.title(), time.Since(b.began).Seconds())
	fmt.Fprintf(b.out, "\x1b[K  greedy  %s %5d left\n", bar(b.left["greedy"], b.s.greedy), b.left["greedy"])
	fmt.Fprintf(b.out, "\x1b[K  small   %s %5d left\n", bar(images, b.s.small*b.s.images), images)
	fmt.Fprintf(b.out, "\x1b[K  %d of %d small tenants wait\n", waiting, b.s.small)
}

func bar(left, of int) string {
	const width = 30
	n := (of - left) * width / of
	return "[" + strings.Repeat("#", n) + strings.Repeat(".", width-n) + "]"
}

func (b *board) title() string {
	switch {
	case !b.lanes:
		return "without lanes"
	case b.s.each > 0:
		return fmt.Sprintf("with a lane for each tenant, at most %d at once", b.s.each)
	}
	return "with a lane for each tenant"
}

// sum says how long the tenants have waited.
func (b *board) sum() {
	b.mu.Lock()
	defer b.mu.Unlock()
	var small []time.Duration
	for tenant, took := range b.ended {
		if tenant != "greedy" {
			small = append(small, took)
		}
	}
	slices.Sort(small)
	fmt.Fprintf(b.out, "%s: small tenants were done after %.2f s (the median) to %.2f s, the greedy one after %.2f s\n", b.title(),
		small[len(small)/2].Seconds(), small[len(small)-1].Seconds(), b.ended["greedy"].Seconds())
}
