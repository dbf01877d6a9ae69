package sqlite

import (
	"context"
	"strings"

	"github.com/omniq-go/omniq"
)

// Engine opens "sqlite:" followed by the path of the file, as [Open] takes it. An absolute path may have two slashes
// before it, as in other URLs: sqlite:///var/lib/queue.db. Nothing in it is escaped.
var Engine = omniq.Engine{Schemes: []string{"sqlite"}, Open: open}

func open(_ context.Context, url string, c omniq.Config) (omniq.Backend, error) {
	_, path, _ := strings.Cut(url, ":")
	if path == "" {
		return nil, invalid("the URL is %q, want sqlite: and the path of a file", url)
	}
	if rest, ok := strings.CutPrefix(path, "//"); ok {
		if !strings.HasPrefix(rest, "/") {
			if strings.ContainsAny(rest, "@?") { // there may be a password in it
				rest = "PATH"
			}
			return nil, invalid("the URL has a host after sqlite://, want sqlite:%s for a path from the current directory, or sqlite:///%s for an absolute one",
				rest, rest)
		}
		path = rest
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
