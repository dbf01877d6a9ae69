package sqlite

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"time"
)

// lookEvery is how often a call looks whether the file is still the one that was opened. Each write does.
const lookEvery = 200 * time.Millisecond

// files are those of a database while it is open: it, its log, and what its users share of that.
type files struct {
	path   string
	opened [3]os.FileInfo
	began  time.Time
	looked atomic.Int64 // since began
}

var suffixes = [...]string{"", "-wal", "-shm"}

// identify finds the files of a database that is open.
func identify(path string) (*files, error) {
	f := &files{path: path, began: time.Now()}
	for i, suffix := range suffixes {
		info, err := os.Stat(path + suffix)
		if err != nil {
			return nil, fmt.Errorf("sqlite: %w", err)
		}
		f.opened[i] = info
	}
	return f, nil
}

// look returns [ErrGone] if one of the files is not there, or another one is in its place. Who writes to them then writes
// to files without a name.
func (f *files) look() error {
	f.looked.Store(int64(time.Since(f.began)))
	for i, suffix := range suffixes {
		info, err := os.Stat(f.path + suffix)
		switch {
		case os.IsNotExist(err):
			return fmt.Errorf("%w: %s%s was deleted while it was open: close the backend and open it again", ErrGone, f.path, suffix)
		case err != nil: // it cannot be known, as with too many open files
		case !os.SameFile(info, f.opened[i]):
			return fmt.Errorf("%w: %s%s was replaced by another file while it was open: close the backend and open it again",
				ErrGone, f.path, suffix)
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
