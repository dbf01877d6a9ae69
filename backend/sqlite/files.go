package sqlite

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"
)

// lookEvery is how often a call looks whether the file is still the one that was opened. Each write does.
const lookEvery = 200 * time.Millisecond

// files are those of a database while it is open: it, its log, and what its users share of that.
type files struct {
	paths  [3]string
	opened [3]os.FileInfo
	began  time.Time
	looked atomic.Int64 // since began
}

// identify finds the files of a database that is open. The path may be a symbolic link, beside which the others are not.
func identify(path string) (*files, error) {
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	f := &files{paths: [...]string{path, target + "-wal", target + "-shm"}, began: time.Now()}
	for i, path := range f.paths {
		if f.opened[i], err = os.Stat(path); err != nil {
			return nil, fmt.Errorf("sqlite: %w", err)
		}
	}
	return f, nil
}

// look returns [ErrGone] if one of the files is not there, or another one is in its place. Who writes to them then writes
// to files without a name.
func (f *files) look() error {
	f.looked.Store(int64(time.Since(f.began)))
	for i, path := range f.paths {
		info, err := os.Stat(path)
		switch {
		case os.IsNotExist(err):
			return fmt.Errorf("%w: %s was deleted while it was open: close the backend and open it again", ErrGone, path)
		case err != nil: // it cannot be known, as with too many open files
		case !os.SameFile(info, f.opened[i]):
			return fmt.Errorf("%w: %s was replaced by another file while it was open: close the backend and open it again",
				ErrGone, path)
		}
	}
	return nil
}

// intact ends the backend if its files are gone. It looks now and then only, unless that is to be known now.
func (b *Backend) intact(now bool) error {
	if b.life.Err() != nil {
		return b.ended()
	}
	if !now && int64(time.Since(b.files.began))-b.files.looked.Load() < int64(lookEvery) {
		return nil
	}
	if err := b.files.look(); err != nil {
		b.die(err)
		return b.ended()
	}
	return nil
}

// ended is the error of all calls after the backend has ended.
func (b *Backend) ended() error { return context.Cause(b.life) }
