package ui

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/omniq-go/omniq"
)

// Handler serves the web interface. [New] makes one. It may be used from many goroutines at once.
type Handler struct {
	client *omniq.Client
	rights func(*http.Request) Rights
	most   Rights // that anybody has
	prefix string // without a slash at the end
	hosts  []string
	log    *slog.Logger
	schema func(context.Context) (omniq.Schema, error) // nil for none

	serve   http.Handler
	table   []route
	looks   looks
	streams atomic.Int64
	closing sync.Once
	closed  chan struct{}
}

// Bounds of what a request may ask for.
const (
	patience = 5 * time.Second // how long a page waits for the engine
	maxForm  = 64 << 10        // bytes of a form
	maxText  = 1000            // bytes of a text in a URL or a form
)

// ServeHTTP serves one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.serve.ServeHTTP(w, r) }

// Close ends the live updates of all pages; those that begin later end as soon as the page was sent once. It is for
// [http.Server.RegisterOnShutdown]: without it Shutdown waits for them.
func (h *Handler) Close() { h.closing.Do(func() { close(h.closed) }) }

// secured adds the headers that keep a browser from doing what no page needs.
func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		head := w.Header()
		head.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "+
			"form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
		head.Set("X-Content-Type-Options", "nosniff")
		head.Set("X-Frame-Options", "DENY")
		head.Set("Referrer-Policy", "same-origin") // with less, a form's Origin would be null
		head.Set("Cross-Origin-Opener-Policy", "same-origin")
		head.Set("Cross-Origin-Resource-Policy", "same-origin")
		head.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// dispatch finds what a request asks for, and refuses what is not allowed.
func (h *Handler) dispatch(w http.ResponseWriter, r *http.Request) {
	name, ok := h.below(r)
	switch {
	case !ok: // the prefix without a slash
		w.Header().Set("Location", "./"+url.PathEscape(path.Base(h.mounted(r)))+"/") // relative: what is before it may be stripped
		w.WriteHeader(http.StatusFound)
		return
	case name == "healthz":
		h.healthz(w, r)
		return
	case name == "readyz":
		h.readyz(w, r)
		return
	}
	c := &call{h: h, w: w, r: r, ctx: r.Context(), rights: h.most & h.rights(r), root: strings.Repeat("../", strings.Count(name, "/"))}
	if err := h.admit(c); err != nil {
		c.plain(err)
		return
	}
	if a, ok := assets[name]; ok && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		a.serve(w, r)
		return
	}
	to, err := h.find(name, r.Method)
	if err == nil && !c.rights.Has(to.right) {
		err = &statusError{http.StatusForbidden, fmt.Sprintf("You have the right to %v here, and this needs %v.", c.rights, to.right)}
	}
	if err != nil {
		c.fail(err)
		return
	}
	h.run(c, to)
}

// mounted is the path under which a browser knows what was asked for, as far as this server does.
func (h *Handler) mounted(r *http.Request) string {
	if u, err := url.ParseRequestURI(r.RequestURI); err == nil && r.URL.Path == "" {
		return u.Path
	}
	return r.URL.Path
}

// below is the path below the prefix. It is not ok if the path is that of the prefix without its slash.
func (h *Handler) below(r *http.Request) (string, bool) {
	p := r.URL.Path
	if rest, ok := strings.CutPrefix(p, h.prefix); ok && h.prefix != "" && (rest == "" || rest[0] == '/') {
		p = rest
	}
	if p == "" {
		return "", false
	}
	return strings.TrimPrefix(p, "/"), true
}

// admit refuses who must not see anything.
func (h *Handler) admit(c *call) error {
	if !h.knows(c.r.Host) {
		return &statusError{http.StatusMisdirectedRequest,
			"This server does not answer to that host name. Whoever runs it can allow the name: see the option Hosts."}
	}
	if !c.rights.Has(View) {
		return &statusError{http.StatusForbidden, "You may not see this."}
	}
	return nil
}

// knows reports whether a host is one by which the handler is reached.
func (h *Handler) knows(host string) bool {
	name := hostName(host)
	if name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return true
	}
	if ip, err := netip.ParseAddr(name); err == nil && ip.IsLoopback() {
		return true
	}
	return slices.Contains(h.hosts, name) || slices.Contains(h.hosts, "*")
}

// hostName is a host without its port, in lower case.
func hostName(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.TrimSuffix(strings.ToLower(strings.Trim(host, "[]")), ".")
}

// run serves a route.
func (h *Handler) run(c *call, to route) {
	if err := c.read(cmp.Or(to.maxForm, maxForm)); err != nil {
		c.fail(err)
		return
	}
	if to.raw != nil {
		to.raw(c)
		return
	}
	ctx, cancel := context.WithTimeout(c.ctx, patience)
	defer cancel()
	c.ctx = ctx
	if to.page != nil {
		p, err := to.page(c)
		if err != nil {
			c.fail(err)
			return
		}
		c.show(http.StatusOK, p)
		return
	}
	where, err := to.act(c)
	h.looks.forget()
	h.log.LogAttrs(c.ctx, slog.LevelInfo, "ui: "+to.path, slog.String("of", short(c.form.Get("of"))), slog.String("from", c.r.RemoteAddr), logged(err))
	if err != nil {
		h.refuse(c, to, err)
		return
	}
	c.redirect(where)
}

// refuse shows an action's page again, with what was refused.
func (h *Handler) refuse(c *call, to route, refused error) {
	shown, err := h.find(to.shows, http.MethodGet)
	if err != nil || !c.rights.Has(shown.right) {
		c.fail(refused)
		return
	}
	ctx, cancel := context.WithTimeout(c.r.Context(), patience) // that of the action may be over
	defer cancel()
	c.ctx = ctx
	p, err := shown.page(c)
	if err != nil {
		c.fail(refused)
		return
	}
	p.Problem = h.said(c, refused)
	c.show(statusOf(refused), p)
}
