// Package tasks says which tasks there are. Programs that enqueue import it, and none of the code that does the work.
package tasks

import "github.com/omniq-go/omniq"

// Path is the positional argument of [Digest].
type Path struct{ Path string }

// Options are the keyword arguments of [Digest].
type Options struct {
	Algorithm string `json:"algorithm"`
}

// Summary is what [Digest] finds out about a file.
type Summary struct {
	Bytes  int64  `json:"bytes"`
	Lines  int64  `json:"lines"` // newline characters, as wc -l counts them
	Digest string `json:"digest"`
}

// Digest reads a file and returns its size, its lines and its digest.
var Digest = omniq.Refer[Path, Options, Summary]("quickstart.digest", omniq.Retries(2))
