package memory

import (
	"context"

	"github.com/omniq-go/omniq"
)

// Engine opens "memory:": an empty backend of its own for each call.
var Engine = omniq.Engine{Schemes: []string{"memory"}, Open: open}

func open(_ context.Context, url string, c omniq.Config) (omniq.Backend, error) {
	if url != "memory:" {
		return nil, invalid("the URL has something after memory:, want nothing: there is nothing to choose")
	}
	var opts []Option
	if c.Events > 0 {
		opts = append(opts, WithEvents(c.Events))
	}
	return New(opts...), nil
}
