// Package ui is the web interface of OmniQ: an [http.Handler] for a server of yours.
//
//	handler, err := ui.New(client, rights, ui.Prefix("/omniq"), ui.Hosts("ops.example.com"))
//	mux.Handle("/omniq/", handler)
//
// It shows queues, tasks, flows, schedules, errors and workers, and acts on them. It reads all of it by the client and keeps nothing
// itself, so any number of processes can serve it. Pages that show the same share one look at the engine. Who may do what, a
// function of yours tells by the request: see [Rights].
//
// Pages work without scripts; with them they are live. Nothing is loaded from elsewhere.
package ui

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"github.com/omniq-go/omniq"
)

// Option sets something of a [Handler].
type Option interface{ apply(*Handler) error }

type option func(*Handler) error

func (o option) apply(h *Handler) error { return o(h) }

// Prefix says below which path the handler is mounted, like "/omniq"; without it, that is "/". Paths that a proxy, or
// [http.StripPrefix], has freed from the prefix are served as well.
func Prefix(path string) Option {
	return option(func(h *Handler) error {
		path = strings.Trim(path, "/")
		if path == "" {
			return nil
		}
		h.prefix = "/" + path
		return nil
	})
}

// Hosts says by which names the handler is reached, without ports; "*" is for all. Without it these are localhost and the
// addresses of this machine's loopback, and they always are: a name that somebody else has made point to this machine is refused.
// The paths /healthz and /readyz are served by any name.
func Hosts(names ...string) Option {
	return option(func(h *Handler) error {
		for _, name := range names {
			if name == "" || strings.ContainsAny(name, "/@") {
				return fmt.Errorf("%w: the host %q, want a name or an address without a port", omniq.ErrInvalid, name)
			}
			h.hosts = append(h.hosts, hostName(name))
		}
		return nil
	})
}

// ReadOnly takes [Act] and [Edit] from everybody.
func ReadOnly() Option {
	return option(func(h *Handler) error {
		h.most &^= Act | Edit
		return nil
	})
}

// Schema tells which tables the engine has, which the page of queues says; and what is wrong where they are not those that the program
// works with, so that an empty page is no riddle. It is asked once a minute at the most. A program has it from [omniq.Config].Schema.
func Schema(tell func(context.Context) (omniq.Schema, error)) Option {
	return option(func(h *Handler) error {
		if tell == nil {
			return fmt.Errorf("%w: the function that tells the schema is nil", omniq.ErrInvalid)
		}
		h.schema = tell
		return nil
	})
}

// Logger sets where actions and the engine's errors are logged, [slog.Default] unless set.
func Logger(l *slog.Logger) Option {
	return option(func(h *Handler) error {
		if l == nil {
			return fmt.Errorf("%w: the logger is nil", omniq.ErrInvalid)
		}
		h.log = l
		return nil
	})
}

// New returns a handler that shows what the client sees. It asks rights about each request, those for live updates again and
// again; it may be called from many goroutines at once. [Always] is for servers that only the right people can reach.
//
// It fails with [omniq.ErrInvalid] without a client, without rights, or if an option has an invalid value.
func New(client *omniq.Client, rights func(*http.Request) Rights, opts ...Option) (*Handler, error) {
	if client == nil || rights == nil {
		return nil, fmt.Errorf("%w: a web interface without a client or without rights", omniq.ErrInvalid)
	}
	h := &Handler{client: client, rights: rights, most: Everything, log: slog.Default(), closed: make(chan struct{})}
	for _, o := range opts {
		if o == nil {
			return nil, fmt.Errorf("%w: an option is nil", omniq.ErrInvalid)
		}
		if err := o.apply(h); err != nil {
			return nil, err
		}
	}
	h.table = h.routes()
	h.serve = secured(http.NewCrossOriginProtection().Handler(http.HandlerFunc(h.dispatch)))
	return h, nil
}
