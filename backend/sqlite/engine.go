package sqlite

import (
	"context"
	"regexp"
	"strings"
	"unicode"

	"github.com/omniq-go/omniq"
)

// Engine opens "sqlite:" followed by the path of the file, as it is: sqlite:q.db is in the working directory, and
// sqlite:/var/lib/q.db and sqlite:///var/lib/q.db are the same. There are no options and no escapes in it. A path that
// looks as if it had some is refused; [Open] takes it.
var Engine = omniq.Engine{Schemes: []string{"sqlite"}, Open: open}

func open(_ context.Context, url string, c omniq.Config) (omniq.Backend, error) {
	path, err := pathOf(url)
	if err != nil {
		return nil, err
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

var escape = regexp.MustCompile("%[0-9A-Fa-f]{2}")

// pathOf is the path in a URL. The errors do not show the URL, in which another program's options may have a password.
func pathOf(url string) (string, error) {
	path := strings.TrimPrefix(url, "sqlite:")
	authority := strings.HasPrefix(path, "//")
	if authority {
		path = path[2:]
	}
	switch {
	case path == "":
		return "", invalid("the URL has no path, want sqlite: and the path of a file")
	case authority && path[0] != '/':
		return "", invalid("the URL has a host after sqlite://: want sqlite:q.db for a path in the working directory," +
			" and sqlite:/dir/q.db or sqlite:///dir/q.db for an absolute one")
	case strings.HasPrefix(path, "file:"):
		return "", invalid("the URL has a file: URI in it, want sqlite: and the path itself")
	case strings.Contains(path, "?"):
		return "", invalid("the URL has a question mark, and options are not read from it: want sqlite: and the path alone")
	case escape.MatchString(path):
		return "", invalid("the URL has an escape like %%20, which is not decoded: want sqlite: and the path as it is")
	case strings.HasPrefix(path, "~"):
		return "", invalid("the URL has a path that begins with ~, which only a shell knows: want the whole path")
	case strings.TrimSpace(path) != path || strings.ContainsFunc(path, unicode.IsControl):
		return "", invalid("the URL has a path with control characters, or white space at an end")
	}
	return path, nil
}
