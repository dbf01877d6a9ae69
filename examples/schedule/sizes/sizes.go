// Package sizes has the tasks of the schedule example: how large the directories below a directory are, and how large the whole is.
package sizes

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/omniq-go/omniq"
)

// Job says what is measured, and where what comes of it goes.
type Job struct {
	Dir string `json:"dir"`
	Out string `json:"out"` // a directory
}

// Dir is a directory to be measured.
type Dir struct {
	Path string `json:"path"`
	Deep bool   `json:"deep"` // with what is below it
}

// Size is what a directory has in its files.
type Size struct {
	Dir   string `json:"dir"`
	Files int    `json:"files"`
	Bytes int64  `json:"bytes"`
}

// Directories returns the directories in the job's, and the job's itself, whose own files count.
var Directories = omniq.DefineArgs("sizes.directories", func(_ context.Context, a omniq.Args2[omniq.Tick, Job]) ([]Dir, error) {
	entries, err := os.ReadDir(a.V2.Dir)
	if err != nil {
		return nil, err
	}
	dirs := []Dir{{Path: a.V2.Dir}}
	for _, e := range entries {
		if e.IsDir() {
			dirs = append(dirs, Dir{filepath.Join(a.V2.Dir, e.Name()), true})
		}
	}
	return dirs, nil
})

// Measure adds up the files of a directory.
var Measure = omniq.DefineArgs("sizes.measure", func(ctx context.Context, dir Dir) (Size, error) {
	s := Size{Dir: dir.Path}
	err := filepath.WalkDir(dir.Path, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && !dir.Deep && path != dir.Path:
			return fs.SkipDir
		case !e.Type().IsRegular():
			return ctx.Err()
		}
		info, err := e.Info()
		if err == nil {
			s.Files, s.Bytes = s.Files+1, s.Bytes+info.Size()
		}
		return err
	})
	return s, err
})

// Report writes a table of the sizes, the largest first, and returns its path: one for each tick.
var Report = omniq.DefineArgs("sizes.report", func(_ context.Context, a omniq.Args3[[]Size, omniq.Tick, Job]) (string, error) {
	sizes, tick := slices.Clone(a.V1), a.V2
	slices.SortStableFunc(sizes, func(a, b Size) int { return int(b.Bytes - a.Bytes) })
	var text strings.Builder
	fmt.Fprintf(&text, "%s, by the %s, after %s\n", tick.Time.Format(time.DateTime), tick.Cause, tick.Since.Format(time.DateTime))
	for _, s := range sizes {
		fmt.Fprintf(&text, "%12d bytes in %6d files  %s\n", s.Bytes, s.Files, s.Dir)
	}
	path := filepath.Join(a.V3.Out, "sizes-"+tick.Time.Format("20060102T150405.000")+".txt")
	return path, os.WriteFile(path, []byte(text.String()), 0o600)
})

// Sample adds a line with the size of the whole to a file. A run that begins again after a crash may add it twice.
var Sample = omniq.DefineArgs("sizes.sample", func(ctx context.Context, a omniq.Args2[omniq.Tick, Job]) (Size, error) {
	var s Size
	err := filepath.WalkDir(a.V2.Dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			s.Files, s.Bytes = s.Files+1, s.Bytes+info.Size()
		}
		return err
	})
	if err != nil {
		return s, err
	}
	f, err := os.OpenFile(filepath.Join(a.V2.Out, "samples.csv"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return s, err
	}
	_, err = fmt.Fprintf(f, "%s,%s,%d,%d\n", a.V1.Time.Format(time.RFC3339Nano), a.V1.Cause, s.Files, s.Bytes)
	if closed := f.Close(); err == nil {
		err = closed
	}
	return s, err
})

// The names of the schedules.
const (
	NightlyName = "sizes.nightly"
	SamplesName = "sizes.samples"
)

// Declare declares the schedules: each night a flow that measures the directories side by side, and a sample again and again, one at
// a time.
func Declare(ctx context.Context, c *omniq.Client, job Job, zone string, every time.Duration) error {
	to := omniq.Value(job)
	nightly := Report.On(omniq.Join3(Measure.Each(Directories.On(omniq.Join2(omniq.AtTick(), to))), omniq.AtTick(), to))
	if _, err := omniq.Schedule(ctx, c, NightlyName, omniq.Cron("30 2 * * *", zone), nightly, omniq.Overlap(omniq.BufferOne)); err != nil {
		return err
	}
	sample := Sample.On(omniq.Join2(omniq.AtTick(), to))
	_, err := omniq.Schedule(ctx, c, SamplesName, omniq.Every(every), sample)
	return err
}
