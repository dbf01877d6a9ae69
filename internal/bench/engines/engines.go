// Package engines measures engines side by side in one process.
package engines

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
	"github.com/omniq-go/omniq/backend/postgres"
	"github.com/omniq-go/omniq/backend/redis"
	"github.com/omniq-go/omniq/backend/sqlite"
	"github.com/omniq-go/omniq/internal/pgserver"
	"github.com/omniq-go/omniq/internal/redisserver"
)

// Names are the engines that there are, separated by commas. An engine with *3 behind it is three of them, each with a server of its
// own, behind an [omniq.Route].
const Names = "memory,sqlite,postgres,redis"

// Engine opens a backend on a new place, of this name.
type Engine struct {
	Name string
	open func(ctx context.Context, place string) (omniq.Backend, error)
	size func(place string) (int64, error) // nil where it is not known
}

// Figures are what the rounds of an engine came to.
type Figures[F any] struct {
	Name   string
	Rounds []F
}

// Median is the median of a value of the rounds.
func (f Figures[F]) Median(value func(F) float64) float64 {
	values := make([]float64, len(f.Rounds))
	for i, r := range f.Rounds {
		values[i] = value(r)
	}
	return Median(values)
}

// Median is the one in the middle.
func Median[T cmp.Ordered](values []T) T {
	slices.Sort(values)
	return values[len(values)/2]
}

// Measure takes a measurement of each named engine in each round, beginning each round with another engine, and reports on progress
// what has been measured. It starts a server where an engine needs one.
func Measure[F any](
	ctx context.Context, names string, rounds int, progress io.Writer, measure func(ctx context.Context, e Engine, round int) (F, error),
) (all []Figures[F], err error) {
	dir, err := os.MkdirTemp("", "omniq-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	var engines []Engine
	for name := range strings.SplitSeq(names, ",") {
		e, end, failed := begin(ctx, name, dir, false)
		if failed != nil {
			return nil, failed
		}
		defer func() { err = errors.Join(err, end()) }()
		engines = append(engines, e)
		all = append(all, Figures[F]{Name: name})
	}
	for round := range rounds {
		for i := range engines {
			k := (i + round) % len(engines)
			f, err := measure(ctx, engines[k], round)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", engines[k].Name, err)
			}
			all[k].Rounds = append(all[k].Rounds, f)
			fmt.Fprintf(progress, "round %d: %s\n", round+1, engines[k].Name)
		}
	}
	return all, nil
}

// begin makes what an engine needs, in a directory of its own, and returns what ends that. With alone it is not a server that the
// environment names.
func begin(ctx context.Context, name, dir string, alone bool) (Engine, func() error, error) {
	none := func() error { return nil }
	if base, times, many := strings.Cut(name, "*"); many {
		n, err := strconv.Atoi(times)
		if err != nil || n < 1 || n > 16 {
			return Engine{}, nil, fmt.Errorf("-engines has %q, want a number from 1 to 16 behind *", name)
		}
		return route(ctx, base, n, dir)
	}
	given := func(variable string) string {
		if alone {
			return ""
		}
		return os.Getenv(variable)
	}
	switch name {
	case "memory":
		open := func(context.Context, string) (omniq.Backend, error) { return memory.New(), nil }
		return Engine{name, open, heap}, none, nil
	case "sqlite":
		open := func(_ context.Context, place string) (omniq.Backend, error) {
			return sqlite.Open(filepath.Join(dir, place+".db"))
		}
		return Engine{name, open, func(place string) (int64, error) { return files(filepath.Join(dir, place+".db*")) }}, none, nil
	case "postgres":
		url, end := given(pgserver.URLVariable), none
		if url == "" {
			if err := os.Chmod(dir, 0o755); err != nil { // the server may be another user's process
				return Engine{}, nil, err
			}
			started, err := pgserver.Start(ctx, dir)
			if err != nil {
				return Engine{}, nil, err
			}
			url, end = started.URL(), started.Close
		}
		return Engine{name, func(ctx context.Context, place string) (omniq.Backend, error) {
			return postgres.Open(ctx, url, postgres.WithSchema(fmt.Sprintf("bench_%d_%s", os.Getpid(), place)))
		}, nil}, end, nil
	case "redis":
		url, end := given(redisserver.URLVariable), none
		if url == "" {
			started, err := redisserver.Start(ctx, dir, "--appendonly", "yes")
			if err != nil {
				return Engine{}, nil, err
			}
			url, end = started.URL(), started.Close
		}
		return Engine{name, func(ctx context.Context, place string) (omniq.Backend, error) {
			return redis.Open(ctx, url, redis.WithNamespace(fmt.Sprintf("bench_%d_%s", os.Getpid(), place)))
		}, nil}, end, nil
	}
	return Engine{}, nil, fmt.Errorf("-engines has %q, want some of %s", name, Names)
}

// route is several engines of a kind, each with a server of its own, over which queues are spread by their hash.
func route(ctx context.Context, base string, n int, dir string) (Engine, func() error, error) {
	all, ends := make([]Engine, 0, n), make([]func() error, 0, n)
	end := func() (err error) {
		for _, end := range ends {
			err = errors.Join(err, end())
		}
		return err
	}
	for range n {
		e, ended, err := begin(ctx, base, dir, true)
		if err != nil {
			return Engine{}, nil, errors.Join(err, end())
		}
		all, ends = append(all, e), append(ends, ended)
	}
	open := func(ctx context.Context, place string) (omniq.Backend, error) {
		backends, names := make(map[string]omniq.Backend, n), make([]string, 0, n)
		for i, e := range all {
			name := "server" + strconv.Itoa(i+1)
			b, err := e.open(ctx, place+"_"+name)
			if err != nil {
				for _, b := range backends {
					err = errors.Join(err, b.Close())
				}
				return nil, err
			}
			backends[name], names = b, append(names, name)
		}
		return omniq.Route(backends, omniq.ByHash(names...))
	}
	return Engine{fmt.Sprintf("%s*%d", base, n), open, nil}, end, nil
}

// heap is how many bytes of the heap are in use.
func heap(string) (int64, error) {
	runtime.GC()
	runtime.GC() // what the first one has found in pools
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc), nil
}

// files is how many bytes files have together.
func files(pattern string) (n int64, err error) {
	names, err := filepath.Glob(pattern)
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			return 0, err
		}
		n += info.Size()
	}
	return n, err
}

// Sized reports whether Size says something.
func (e Engine) Sized() bool { return e.size != nil }

// Size is how many bytes a backend takes, in its files or, where it has none, of this process.
func (e Engine) Size(place string) (int64, error) { return e.size(place) }

// On takes a measurement on a new backend.
func (e Engine) On(ctx context.Context, place string, take func(b omniq.Backend) error) error {
	runtime.GC() // the garbage of one measurement is not to be the next one's work
	b, err := e.open(ctx, place)
	if err == nil {
		err = errors.Join(take(b), b.Close())
	}
	if err != nil {
		return fmt.Errorf("%s: %w", place, err)
	}
	return nil
}

// Main is the main function of a program of this name: it runs it until it has ended or is interrupted, and tells its error.
func Main(name string, run func(ctx context.Context, args []string, stdout, stderr io.Writer) error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, name+":", err)
		os.Exit(1)
	}
}

// Platform says where the figures were taken.
func Platform() string {
	return fmt.Sprintf("%s, %s/%s, %d CPUs", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0))
}
