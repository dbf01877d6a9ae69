package words

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/omniq-go/omniq"
)

// Counter does the tasks.
type Counter struct {
	Fail  bool          // the first chunk of the first file fails, on purpose
	Pause time.Duration // after each block, so that there is something to watch
}

// Handlers are the tasks with what they do.
func (c *Counter) Handlers() omniq.WorkerOption {
	return omniq.Handlers(
		omniq.DefineArgs(List, list),
		omniq.DefineArgs(CountFile, countFile),
		omniq.DefineArgs(CountChunk, c.countChunk),
		omniq.DefineArgs(Merge, merge),
		omniq.DefineArgs(Sum, sum))
}

// list finds the regular files, but for those in directories named .git.
func list(ctx context.Context, dir Dir) (files []File, err error) {
	err = filepath.WalkDir(dir.Path, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && entry.Name() == ".git" && path != dir.Path:
			return fs.SkipDir
		case !entry.Type().IsRegular():
			return ctx.Err()
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		files = append(files, File{len(files), path, info.Size(), dir.Chunk})
		return ctx.Err()
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, omniq.Permanent(err)
	}
	return files, err
}

// countFile hands the work over: its result will be that of Merge, for which all chunks are counted. Meanwhile it keeps no place
// of a worker.
func countFile(ctx context.Context, f File) (FileCounts, error) {
	info, _ := omniq.InfoFrom(ctx)
	same := omniq.Queue(info.Queue)
	var chunks []omniq.Promise[Counts]
	for at := int64(0); at < f.Size; at += f.Chunk {
		chunks = append(chunks, CountChunk.With(Chunk{f, at, min(f.Chunk, f.Size-at)}, same, omniq.Retries(2)))
	}
	return omniq.Become(ctx, Merge.On(omniq.Join2(omniq.Value(f.Path), omniq.All(chunks...)), same))
}

const blockSize = 64 << 10

// countChunk counts, of the words that begin in the chunk, and tells how far it is.
func (c *Counter) countChunk(ctx context.Context, chunk Chunk) (counts Counts, err error) {
	if c.Fail && chunk.File.Number == 0 && chunk.Offset == 0 {
		return Counts{}, omniq.Permanent(errors.New("this chunk fails on purpose, because of -fail"))
	}
	f, err := os.Open(chunk.File.Path)
	if err != nil {
		return Counts{}, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	block := make([]byte, blockSize)
	space := true // before the chunk
	if chunk.Offset > 0 {
		if _, err := f.ReadAt(block[:1], chunk.Offset-1); err != nil {
			return Counts{}, changed(chunk.File, err)
		}
		space = isSpace(block[0])
	}
	for counts.Bytes < chunk.Length {
		part := block[:min(blockSize, chunk.Length-counts.Bytes)]
		if _, err := f.ReadAt(part, chunk.Offset+counts.Bytes); err != nil {
			return Counts{}, changed(chunk.File, err)
		}
		for _, b := range part {
			if b == '\n' {
				counts.Lines++
			}
			now := isSpace(b)
			if space && !now {
				counts.Words++
			}
			space = now
		}
		counts.Bytes += int64(len(part))
		if err := Counted.Set(ctx, counts.Bytes); err != nil {
			return Counts{}, err
		}
		select {
		case <-time.After(c.Pause):
		case <-ctx.Done():
			return Counts{}, context.Cause(ctx)
		}
	}
	return counts, nil
}

// changed is the error of a file that is shorter than it was.
func changed(f File, err error) error {
	if errors.Is(err, io.EOF) {
		return omniq.Permanent(fmt.Errorf("%s had %d bytes when it was listed, and has fewer now", f.Path, f.Size))
	}
	return err
}

// isSpace is true for what is between words, in the C locale.
func isSpace(b byte) bool { return b == ' ' || '\t' <= b && b <= '\r' }

// merge makes the counts of a file of those of its chunks.
func merge(_ context.Context, a omniq.Args2[string, []Counts]) (FileCounts, error) {
	f := FileCounts{Path: a.V1}
	for _, c := range a.V2 {
		f.Counts = f.Counts.Add(c)
	}
	return f, nil
}

// sum makes the report.
func sum(_ context.Context, files []FileCounts) (Report, error) {
	r := Report{Files: files}
	for _, f := range files {
		r.Total = r.Total.Add(f.Counts)
	}
	return r, nil
}
