// Package digest does the work of the quickstart: it is what the worker links, and producers do not.
package digest

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/omniq-go/omniq"
	"github.com/omniq-go/omniq/examples/quickstart/tasks"
)

var algorithms = map[string]func() hash.Hash{
	"md5":    md5.New,
	"sha1":   sha1.New,
	"sha256": sha256.New,
	"sha512": sha512.New,
}

// Algorithms lists the algorithms that [File] knows, sorted.
func Algorithms() []string { return slices.Sorted(maps.Keys(algorithms)) }

// CheckAlgorithm says which algorithms there are if name is none of them.
func CheckAlgorithm(name string) error {
	if _, ok := algorithms[name]; !ok {
		return fmt.Errorf("unknown algorithm %q, want one of %s", name, strings.Join(Algorithms(), ", "))
	}
	return nil
}

// File is the function of [tasks.Digest].
func File(ctx context.Context, args tasks.Path, opts tasks.Options) (tasks.Summary, error) {
	if err := CheckAlgorithm(opts.Algorithm); err != nil {
		return tasks.Summary{}, omniq.Permanent(err)
	}
	f, err := os.Open(args.Path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			err = omniq.Permanent(err) // trying again would not help
		}
		return tasks.Summary{}, err
	}
	defer f.Close() // it was only read: nothing can be lost
	sum := algorithms[opts.Algorithm]()
	lines := &lineCounter{ctx: ctx}
	n, err := io.Copy(io.MultiWriter(sum, lines), f)
	if err != nil {
		return tasks.Summary{}, err
	}
	return tasks.Summary{Bytes: n, Lines: lines.n, Digest: hex.EncodeToString(sum.Sum(nil))}, nil
}

// lineCounter counts newlines, and stops the copying when its context ends.
type lineCounter struct {
	ctx context.Context
	n   int64
}

func (c *lineCounter) Write(p []byte) (int, error) {
	c.n += int64(bytes.Count(p, []byte{'\n'}))
	return len(p), context.Cause(c.ctx)
}
