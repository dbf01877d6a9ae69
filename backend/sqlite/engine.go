package sqlite

import (
	"context"
	"fmt"
	"strings"

	"github.com/omniq-go/omniq"
)

// Engine opens "sqlite:" followed by the path of the file.
var Engine = omniq.Engine{Schemes: []string{"sqlite"}, Open: open}

func open(_ context.Context, url string, c omniq.Config) (omniq.Backend, error) {
	path := strings.TrimPrefix(url, "sqlite:")
	if path == "" {
		return nil, fmt.Errorf("%w: sqlite: the URL is %q, want sqlite: and the path of a file", omniq.ErrInvalid, url)
	}
	var opts []Option
	if c.Events > 0 {
		opts = append(opts, WithEvents(c.Events))
	}
	b, err := Open(path, opts...)
	if err != nil {
		return nil, err
	}
	return b, nil
}
