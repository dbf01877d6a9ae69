// Package engines opens the engines that benchmarks measure, each time on a new place.
package engines

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/backend/memory"
	"github.com/omniq-go/omniq/backend/postgres"
	"github.com/omniq-go/omniq/backend/sqlite"
	"github.com/omniq-go/omniq/internal/pgserver"
)

// Engine opens a backend on a new place, of this name.
type Engine struct {
	Name string
	Open func(ctx context.Context, place string) (omniq.Backend, error)
}

// Begin makes what an engine needs, in a directory of its own, and returns what ends that.
func Begin(ctx context.Context, name, dir string) (Engine, func() error, error) {
	none := func() error { return nil }
	switch name {
	case "memory":
		return Engine{name, func(context.Context, string) (omniq.Backend, error) { return memory.New(), nil }}, none, nil
	case "sqlite":
		return Engine{name, func(_ context.Context, place string) (omniq.Backend, error) {
			return sqlite.Open(filepath.Join(dir, place+".db"))
		}}, none, nil
	case "postgres":
		url, end := os.Getenv(pgserver.URLVariable), none
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
		}}, end, nil
	}
	return Engine{}, nil, fmt.Errorf("-engines has %q, want some of memory, sqlite, postgres", name)
}

// Median is the one in the middle.
func Median[T cmp.Ordered](values []T) T {
	slices.Sort(values)
	return values[len(values)/2]
}
