package sqlite

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/omniq-go/omniq"
)

// Engine opens "sqlite:" followed by the path of the file, as [Open] takes it. An absolute path may have two slashes
// before it, as in other URLs: sqlite:///var/lib/queue.db. Nothing in it is escaped.
var Engine = omniq.Engine{Schemes: []string{"sqlite"}, Open: open, Schema: schemaAt}

// pathOf is the path in a URL.
func pathOf(url string) (string, error) {
	_, path, _ := strings.Cut(url, ":")
	if path == "" {
		return "", invalid("the URL is %q, want sqlite: and the path of a file", url)
	}
	if rest, ok := strings.CutPrefix(path, "//"); ok {
		if !strings.HasPrefix(rest, "/") {
			if strings.ContainsAny(rest, "@?") { // there may be a password in it
				rest = "PATH"
			}
			return "", invalid("the URL has a host after sqlite://, want sqlite:%s for a path from the current directory, or sqlite:///%s for an absolute one",
				rest, rest)
		}
		path = rest
	}
	return path, nil
}

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

// schemaAt tells which tables the file of a URL has. One that is not there has none.
func schemaAt(_ context.Context, url string, _ omniq.Config) (omniq.Schema, error) {
	path, err := pathOf(url)
	if err == nil {
		err = checkPath(path)
	}
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err == nil {
		err = check(path)
	}
	if err != nil {
		return omniq.Schema{}, err
	}
	found, err := schemaOf(path)
	if err != nil {
		return omniq.Schema{}, wrap(path, err)
	}
	s := omniq.Schema{Version: found.version, Newest: len(steps)}
	if !found.current() {
		var script strings.Builder
		script.WriteString("BEGIN IMMEDIATE;\n")
		err = found.upgrade(func(_, sql string) error {
			script.WriteString(strings.TrimSuffix(strings.TrimSpace(sql), ";") + "\n;\n") // the last line may be a comment
			return nil
		})
		s.SQL = script.String() + "COMMIT;\n"
	}
	return s, err
}

// schemaOf reads which tables there are in a file, if it is there.
func schemaOf(path string) (found schema, err error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return schema{}, nil
	}
	c, err := (&config{lockWait: time.Second}).connect(path, "rw")
	if err != nil {
		return schema{}, err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	err = c.snapshot(func() (err error) { found, err = version(c, path); return err })
	return found, err
}
