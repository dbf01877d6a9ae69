// Package words is a flow that counts the words of many files: its tasks with their types, and the graph that they make.
package words

import (
	"github.com/omniq-go/omniq"
)

// Dir says which files are counted: those below a directory, in chunks of so many bytes.
type Dir struct {
	Path  string `json:"path"`
	Chunk int64  `json:"chunk"`
}

// File is one of them.
type File struct {
	Number int    `json:"number"` // its place in the list
	Path   string `json:"path"`
	Size   int64  `json:"size"`
	Chunk  int64  `json:"chunk"`
}

// Chunk is a part of a file.
type Chunk struct {
	File   File  `json:"file"`
	Offset int64 `json:"offset"`
	Length int64 `json:"length"`
}

// Counts are what wc counts.
type Counts struct {
	Lines int64 `json:"lines"`
	Words int64 `json:"words"`
	Bytes int64 `json:"bytes"`
}

// Add returns the sum of both.
func (c Counts) Add(other Counts) Counts {
	return Counts{c.Lines + other.Lines, c.Words + other.Words, c.Bytes + other.Bytes}
}

// FileCounts are those of one file.
type FileCounts struct {
	Path   string `json:"path"`
	Counts Counts `json:"counts"`
}

// Report is what the flow ends with.
type Report struct {
	Files []FileCounts `json:"files"`
	Total Counts       `json:"total"`
}

// The tasks. Who only enqueues them needs no more than this; what they do is in a [Counter].
var (
	List       = omniq.ReferArgs[Dir, []File]("words.list")
	CountFile  = omniq.ReferArgs[File, FileCounts]("words.file")
	CountChunk = omniq.ReferArgs[Chunk, Counts]("words.chunk")
	Merge      = omniq.ReferArgs[omniq.Args2[string, []Counts], FileCounts]("words.merge")
	Sum        = omniq.ReferArgs[[]FileCounts, Report]("words.sum")
)

// Counted is how many bytes of a chunk have been read.
var Counted = omniq.Progress[int64]("counted")

// Flow returns the promises of the list of the files and of the report. The second is made of the first: to enqueue it stores the
// whole graph, which grows by a call for each file and for each chunk, as they become known. The options are those of all calls.
func Flow(dir Dir, opts ...omniq.TaskOption) (omniq.Promise[[]File], omniq.Promise[Report]) {
	files := List.With(dir, opts...)
	return files, Sum.On(CountFile.Each(files, opts...), opts...)
}
